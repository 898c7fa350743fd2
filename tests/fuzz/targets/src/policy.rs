//! Policy files: an agency's own, and those of the library.

use crate::{Input, decide::Log};
use passerelle_model::{
    pdp::PolicyDecisionPoint as _,
    records::Agency,
    vocabulary::{Category, Level, Purpose},
};
use passerelle_policies::{
    Bundle, CedarPdp, LocalMatter, LocalPdp, RecordFacts, Verdict, bundle::MAX_BUNDLE_BYTES,
    embedded_files,
};
use std::sync::LazyLock;

static SHIPPED: LazyLock<LocalPdp> = LazyLock::new(|| LocalPdp::load(None).unwrap());
static BUNDLE: LazyLock<CedarPdp> = LazyLock::new(|| CedarPdp::load_embedded().unwrap());
static REQUESTERS: LazyLock<Vec<Agency>> =
    LazyLock::new(|| passerelle_model::state::agencies(&Log::new().store).unwrap());

/// An agency's own policy, a bundle file, or one file of the library in place of the shipped one.
pub fn policy(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let Some(text) = input.text() else { return };
    match kind {
        0..=127 => local(text),
        255 => bundle(text),
        kind => library(usize::from(kind - 128), text),
    }
}

/// An agency's own policy can only forbid: no answer that the shipped one would not give.
fn local(text: &str) {
    let Ok(own) = LocalPdp::load(Some(text)) else {
        return;
    };
    for agency in REQUESTERS.iter() {
        for mask in 0..16_u8 {
            let bit = |n: u8| mask >> n & 1 == 1;
            let matter = LocalMatter {
                requester: agency,
                purpose: if bit(0) {
                    Purpose::Deliver
                } else {
                    Purpose::Plan
                },
                emergency: bit(1),
                on_consent: bit(2),
                review_approved: bit(3),
                category: if bit(1) {
                    Category::InService
                } else {
                    Category::SafetyFlag
                },
                level: if bit(2) { Level::Detail } else { Level::Known },
                record: Some(RecordFacts {
                    specially_protected: bit(3) && bit(0),
                    third_party_at_risk: bit(2) && bit(0),
                    sensitivity: mask % 4,
                    ..RecordFacts::default()
                }),
            };
            let (with, without) = (own.rule(&matter), SHIPPED.rule(&matter));
            assert!(!with.rules.is_empty());
            if with.verdict == Verdict::Release {
                assert_eq!(without.verdict, Verdict::Release, "the file permits");
            }
            let nothing = LocalMatter {
                record: None,
                ..matter
            };
            assert_eq!(own.rule(&nothing).verdict, Verdict::CannotSay);
        }
    }
}

/// A bundle file has one spelling, and its digest is that of what is in it.
fn bundle(text: &str) {
    let Ok(bundle) = Bundle::from_bytes(text.as_bytes()) else {
        return;
    };
    assert!(text.len() <= MAX_BUNDLE_BYTES);
    assert_eq!(bundle.to_bytes().unwrap(), text.as_bytes());
    let again = Bundle::new(bundle.files().clone(), bundle.terms().clone()).unwrap();
    let same_language = again.language() == bundle.language();
    assert_eq!(again.digest() == bundle.digest(), same_language);
}

fn library(file: usize, text: &str) {
    let mut files = embedded_files();
    let names: Vec<String> = files.keys().cloned().collect();
    let name = &names[file % names.len()];
    let same = files.insert(name.clone(), text.to_owned()).as_deref() == Some(text);
    match CedarPdp::load_dir(&files) {
        Ok(loaded) => {
            assert_eq!(
                loaded.bundle() == BUNDLE.bundle(),
                same,
                "the digest hides a change"
            );
            assert!(!loaded.library().rules().is_empty());
        }
        Err(error) => {
            assert!(!same && !error.problems.is_empty());
        }
    }
}
