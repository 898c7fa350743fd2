//! The names that the project gives: systems of identifiers and codes, own terms. As in the export
//! of the log (crate `passerelle-audit`).

use super::{Identity, Refusal, at::At};
use crate::{
    bytes::Handle,
    ids::{AgencyId, ConsentId, FederationId},
};
use std::fmt::Display;

const BASE: &str = "urn:passerelle:";

pub(super) const CATEGORIES: &str = "urn:passerelle:category";
pub(super) const PURPOSES: &str = "urn:passerelle:purpose";
pub(super) const METHODS: &str = "urn:passerelle:consent-method";
pub(super) const GIVERS: &str = "urn:passerelle:consent-giver";
pub(super) const CAPACITIES: &str = "urn:passerelle:capacity";

/// An own term, for what a format has no field: the address of a FHIR extension, a property in
/// JSON-LD (there with the prefix `psr:`).
pub(super) fn term(name: &str) -> String {
    format!("{BASE}term:{name}")
}

/// A code as an IRI.
pub(super) fn code(system: &str, code: &str) -> String {
    format!("{system}:{code}")
}

/// Systems of identifiers of one federation.
pub(super) struct Names<'a>(pub(super) &'a FederationId);

impl Names<'_> {
    pub(super) fn agencies(&self) -> String {
        format!("{BASE}{}:agency", self.0)
    }

    pub(super) fn handles(&self) -> String {
        format!("{BASE}{}:handle", self.0)
    }

    pub(super) fn consents(&self) -> String {
        format!("{BASE}{}:consent", self.0)
    }

    pub(super) fn notices(&self) -> String {
        format!("{BASE}{}:notice", self.0)
    }

    pub(super) fn agency(&self, agency: &AgencyId) -> String {
        code(&self.agencies(), agency.as_str())
    }
}

/// What an identity of ours is.
pub(super) trait Own: Sized {
    /// The identifier that this text is.
    fn of(text: &str) -> Option<Self>;
}

impl Own for ConsentId {
    fn of(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Own for Handle {
    fn of(text: &str) -> Option<Self> {
        Self::from_hex(text).ok()
    }
}

/// System and value of an identity, `system` being that of our own.
pub(super) fn system_and_value<T: Display>(
    identity: &Identity<T>,
    own: String,
) -> (String, String) {
    match identity {
        Identity::Own(id) => (own, id.to_string()),
        Identity::Other { system, value } => (system.clone(), value.clone()),
    }
}

/// An identity of this federation.
pub(super) fn own_identity<T: Own>(value: &At<'_>) -> Result<Identity<T>, Refusal> {
    let id = T::of(value.text()?).map(Identity::Own);
    id.ok_or_else(|| value.refuse("no identifier of this federation"))
}

/// The identity that `system` and `value` give, `own` being the system of our own.
pub(super) fn identity<T: Own>(
    system: &At<'_>,
    value: &At<'_>,
    own: &str,
) -> Result<Identity<T>, Refusal> {
    let (text, given) = (system.text()?, value.text()?);
    if text == own {
        return own_identity(value);
    }
    let scheme = text.split_once(':').map(|(scheme, rest)| {
        !rest.is_empty()
            && scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric())
    });
    let is_uri = scheme == Some(true) && !text.contains(|c: char| c.is_whitespace() || c == '|');
    if !is_uri || text.starts_with("_:") {
        return Err(system.refuse("expected an absolute URI"));
    }
    Ok(Identity::Other {
        system: text.to_owned(),
        value: given.to_owned(),
    })
}
