//! A draft as it stands in the file: everything may be missing, and everything knows its place.

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Draft {
    pub(super) title: Option<Spanned<Text>>,
    pub(super) supersedes: Option<Spanned<String>>,
    pub(super) frequency: Option<Spanned<String>>,
    pub(super) starts: Option<Spanned<String>>,
    pub(super) review: Option<Spanned<String>>,
    pub(super) ends: Option<Spanned<String>>,
    pub(super) purposes: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) parties: Vec<Spanned<Party>>,
    #[serde(default)]
    pub(super) lines: Vec<Spanned<Line>>,
    pub(super) texts: Option<Spanned<Texts>>,
    pub(super) contacts: Option<Spanned<Contacts>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    pub(super) en: Option<Spanned<String>>,
    pub(super) fr: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Party {
    pub(super) agency: Option<Spanned<String>>,
    pub(super) name: Option<Spanned<Text>>,
    pub(super) function: Option<Spanned<Text>>,
    pub(super) basis: Option<Spanned<String>>,
    pub(super) signatory: Option<Spanned<Signatory>>,
    pub(super) signatures_needed: Option<Spanned<u16>>,
    #[serde(default)]
    pub(super) signatories: Vec<Spanned<Signer>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signer {
    pub(super) office: Option<Spanned<Text>>,
    pub(super) key: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signatory {
    pub(super) name: Option<Spanned<String>>,
    pub(super) office: Option<Spanned<Text>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) from: Option<Spanned<String>>,
    pub(super) to: Option<Spanned<String>>,
    pub(super) category: Option<Spanned<String>>,
    pub(super) level: Option<Spanned<String>>,
    pub(super) retention_days: Option<Spanned<u16>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Texts {
    pub(super) purpose: Option<Spanned<Text>>,
    pub(super) onward: Option<Spanned<Text>>,
    pub(super) security: Option<Spanned<Text>>,
    pub(super) retention: Option<Spanned<Text>>,
    pub(super) assessment: Option<Spanned<Text>>,
    pub(super) withdrawal: Option<Spanned<Text>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contact {
    pub(super) office: Option<Spanned<Text>>,
    pub(super) reach: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contacts {
    pub(super) rights: Option<Spanned<Contact>>,
    pub(super) breach: Option<Spanned<Contact>>,
}
