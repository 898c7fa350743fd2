//! What a second person at the agency has to look at: questions that look like curiosity, and
//! emergencies that were claimed.
//!
//! In scope: recognising them before a question leaves (own record, same surname, co-worker, off
//! hours, no service, unusual volume), audit cases, verdicts, questions that are held until
//! somebody releases them, suspended workers, reviews of emergency overrides.
//! Out of scope: the federation's decisions; who opens the local socket.
//!
//! Only the agency that asks can do this: nobody else knows its workers or the person's name.
//! Nothing of it crosses to the broker, but for what came of the review of an emergency: that is an
//! entry of the log, with the second person by commitment. A person stands in an audit case only
//! sealed, under a key that an erasure destroys ([`crate::vault`]); what a case says in the clear
//! are codes, ids of workers and times.

mod apart;
pub mod detect;
mod lists;
mod names;
pub mod override_review;
pub mod question;
pub mod record;
pub mod settings;
pub mod texts;
pub mod verdict;
pub mod watch;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident {
        $($(#[$vmeta:meta])* $variant:ident = $code:literal,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vmeta])* $variant,)* }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }
        }
    )*};
}

codes! {
    /// Why somebody has to look.
    Kind {
        /// The worker is the person asked about.
        OwnRecord = "own_record",
        /// The person has a surname in common with the worker.
        SameSurname = "same_surname",
        /// The person is another worker of the agency.
        CoWorker = "co_worker",
        /// Outside the agency's working hours.
        OffHours = "off_hours",
        /// The agency has nothing to do with the person, as far as its own records show.
        NoService = "no_service",
        /// More questions than usual.
        Volume = "volume",
        /// An emergency was claimed, and the permit wants it reviewed.
        EmergencyOverride = "emergency_override",
    }

    /// What is done about it, the mildest first.
    Action {
        /// Recorded, no more.
        Note = "note",
        /// Recorded, and somebody has to look at it by a deadline.
        Alert = "alert",
        /// As an alert, and the question waits until a second person releases it.
        Hold = "hold",
        /// As an alert, and the question is refused.
        Block = "block",
    }

    /// What a second person found.
    Finding {
        /// The worker had a reason.
        Justified = "justified",
        /// The worker had none.
        NotJustified = "not_justified",
        /// There was no need to know.
        NoAccessNeeded = "no_access_needed",
    }
}

impl Action {
    /// Whether the question stays here.
    pub const fn stops(self) -> bool {
        matches!(self, Self::Hold | Self::Block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_what_is_stored() {
        let quoted = |code: &str| format!("\"{code}\"");
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_string(kind).unwrap(), quoted(kind.code()));
        }
        for action in Action::ALL {
            assert_eq!(
                serde_json::to_string(action).unwrap(),
                quoted(action.code())
            );
        }
        for finding in Finding::ALL {
            assert_eq!(
                serde_json::to_string(finding).unwrap(),
                quoted(finding.code())
            );
        }
    }

    #[test]
    fn of_two_actions_the_stricter_is_the_greater() {
        assert!(Action::ALL.is_sorted());
        assert!(!Action::Alert.stops() && Action::Hold.stops() && Action::Block.stops());
    }
}
