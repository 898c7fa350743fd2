//! Identifiers. They enter public entries, so their form leaves no room for free text: an agency
//! has a short public name, everything else is a prefix and random hexadecimal made by a node.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// An identifier of the wrong form. Carries the form, not the input, which may be private text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {what}: expected {form}")]
pub struct InvalidId {
    /// Which identifier was expected.
    pub what: &'static str,
    /// Its form, for the person who reads the message.
    pub form: &'static str,
}

macro_rules! id_type {
    ($(#[$meta:meta])* $name:ident, $what:literal, $form:expr, $valid:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidId { what: $what, form: $form })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

macro_rules! random_ids {
    ($($(#[$meta:meta])* $name:ident, $what:literal, $prefix:literal;)*) => {$(
        id_type!(
            $(#[$meta])* $name, $what,
            concat!("`", $prefix, "-` and 32 hexadecimal digits"),
            |text| text.strip_prefix(concat!($prefix, "-")).is_some_and(is_hex_32)
        );

        impl $name {
            /// Makes the identifier of 16 random bytes.
            pub fn from_random(random: [u8; 16]) -> Self {
                Self(format!(concat!($prefix, "-{}"), hex::encode(random)))
            }
        }
    )*};
}

fn is_hex_32(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Lower-case letters, digits and inner hyphens, 2 to 40 characters.
fn is_slug(text: &str) -> bool {
    (2..=40).contains(&text.len())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.starts_with('-')
        && !text.ends_with('-')
}

id_type!(
    /// The public short name of an agency within its federation, as in `police-nord`.
    AgencyId, "agency name", "2 to 40 lower-case letters, digits and inner hyphens", is_slug
);
id_type!(
    /// The public name of a federation. Part of every signed statement, so that a statement made
    /// in one federation is worth nothing in another.
    FederationId, "federation name", "2 to 40 lower-case letters, digits and inner hyphens", is_slug
);

random_ids! {
    /// A request.
    RequestId, "request id", "req";
    /// A case at a table.
    CaseId, "case id", "case";
    /// A consent record.
    ConsentId, "consent id", "consent";
    /// An information sharing agreement.
    AgreementId, "agreement id", "isa";
    /// Something at one agency that a second person there has to look at. Stays at that agency.
    AuditCaseId, "audit case id", "audit";
    /// What a person asks about herself at one agency, of several owners. Stays at that agency.
    RightsId, "id of a person's request", "rights";
    /// A consent to a service. Stays at the agency that offers it.
    ServiceConsentId, "service consent id", "service";
}

/// The name under which an agency's witness cosigns: unique among federations too, since a key id
/// is made of name and key.
pub fn witness_name(federation: &FederationId, agency: &AgencyId) -> String {
    format!("{federation}/{agency}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_has_no_room_for_a_name() {
        assert!("police-nord".parse::<AgencyId>().is_ok());
        assert!(
            "case-00112233445566778899aabbccddeeff"
                .parse::<CaseId>()
                .is_ok()
        );
        for bad in [
            "",
            "a",
            "-a",
            "Police",
            "josé",
            "a b",
            "case-marie",
            "case-",
            "req-0011",
        ] {
            assert!(bad.parse::<CaseId>().is_err(), "{bad}");
        }
        for bad in ["", "a", "-ab", "ab-", "Police", "jo é", "a/b", "a\nb"] {
            assert!(bad.parse::<AgencyId>().is_err(), "{bad}");
        }
    }
}
