//! Consents to a service: the person agrees to what the agency does, not to what it says of her.
//!
//! In scope: what is journaled of them, rows, reads. Out of scope: consents to share, which are
//! statements in the log (module `standing`); who may record one (module
//! `api::service_consents`).
//!
//! Nobody else needs them, so nobody else gets them: they are in no statement, and no rule sees
//! them (decision 0022). What says of whom and of what is sealed under a key of the record's own,
//! which is destroyed when the record is erased.

use crate::{
    state::{self, key, load, put},
    vault,
};
use passerelle_model::{
    bytes::{Bytes, Digest},
    ids::ServiceConsentId,
    store::{Overlay, Read, StoreError},
    time::Timestamp,
    vocabulary::{Capacity, ConsentGiver, ConsentMethod, Language},
};
use serde::{Deserialize, Serialize};

const TABLE: &str = "service/";

/// A consent to a service, without what says of whom and to what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceConsent {
    /// Its id.
    pub consent: ServiceConsentId,
    /// Who gave it.
    pub giver: ConsentGiver,
    /// The giver's capacity.
    pub capacity: Capacity,
    /// How.
    pub method: ConsentMethod,
    /// In which language it was explained.
    pub language: Language,
    /// Whether an interpreter helped.
    pub interpreter: bool,
    /// When it was given.
    pub given_at: Timestamp,
    /// At this instant it is over.
    pub expires_at: Timestamp,
    /// The worker who recorded it.
    pub worker: String,
}

/// What says of whom and to what. Only ever sealed.
#[derive(Clone, Serialize, Deserialize)]
pub struct Kept {
    /// The name of the person's match token ([`crate::vault::Index`]).
    pub token: Digest,
    /// The name as typed.
    pub label: String,
    /// The service.
    pub service: String,
    /// SHA-256 of the paper.
    pub evidence: Option<Digest>,
}

/// What happens to them.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceEvent {
    /// Given.
    Recorded {
        /// What.
        record: ServiceConsent,
        /// [`Kept`], sealed.
        kept: Bytes,
    },
    /// Taken back.
    Withdrawn {
        /// Which.
        consent: ServiceConsentId,
        /// Who was told.
        worker: String,
    },
    /// What says of whom and to what is to be destroyed; the key follows.
    Erased {
        /// Which.
        consent: ServiceConsentId,
    },
}

impl ServiceEvent {
    /// The code of the kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Recorded { .. } => "service_consent_recorded",
            Self::Withdrawn { .. } => "service_consent_withdrawn",
            Self::Erased { .. } => "service_consent_erased",
        }
    }
}

/// A consent to a service with what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRow {
    /// As it was given.
    pub record: ServiceConsent,
    /// When it was withdrawn; the first time counts.
    pub withdrawn_at: Option<Timestamp>,
    /// Whether what says of whom and to what is destroyed.
    pub is_erased: bool,
}

impl ServiceRow {
    /// active, expired, withdrawn, erased. At the very instant of its end it is over.
    pub fn status(&self, now: Timestamp) -> &'static str {
        if self.is_erased {
            "erased"
        } else if self.withdrawn_at.is_some() {
            "withdrawn"
        } else if now >= self.record.expires_at {
            "expired"
        } else {
            "active"
        }
    }
}

fn row_key(consent: &ServiceConsentId) -> Vec<u8> {
    key::of(TABLE, consent.as_str().as_bytes())
}

/// Carries out an event.
pub(crate) fn apply(
    view: &mut Overlay<'_>,
    at: Timestamp,
    event: &ServiceEvent,
) -> Result<(), StoreError> {
    match event {
        ServiceEvent::Recorded { record, kept } => {
            let name = record.consent.as_str();
            view.write(vault::kept_key(name), Some(kept.0.clone()));
            let row = ServiceRow {
                record: record.clone(),
                withdrawn_at: None,
                is_erased: false,
            };
            put(view, row_key(&record.consent), &row)
        }
        ServiceEvent::Withdrawn { consent, .. } => edit(view, consent, |row| {
            row.withdrawn_at.get_or_insert(at);
        }),
        ServiceEvent::Erased { consent } => {
            view.write(vault::kept_key(consent.as_str()), None);
            edit(view, consent, |row| row.is_erased = true)
        }
    }
}

fn edit(
    view: &mut Overlay<'_>,
    consent: &ServiceConsentId,
    edit: impl FnOnce(&mut ServiceRow),
) -> Result<(), StoreError> {
    let Some(mut row) = service_consent(view, consent)? else {
        return Ok(());
    };
    edit(&mut row);
    put(view, row_key(consent), &row)
}

/// One of them.
pub fn service_consent(
    view: &dyn Read,
    consent: &ServiceConsentId,
) -> Result<Option<ServiceRow>, StoreError> {
    load(view, &row_key(consent))
}

/// All of them.
pub fn service_consents(view: &dyn Read) -> Result<Vec<ServiceRow>, StoreError> {
    state::table(view, TABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_at_the_very_instant_of_its_end_and_once_withdrawn_stays_so() {
        let mut row = ServiceRow {
            record: ServiceConsent {
                consent: ServiceConsentId::from_random([1; 16]),
                giver: ConsentGiver::Subject,
                capacity: Capacity::Capable,
                method: ConsentMethod::Written,
                language: Language::French,
                interpreter: false,
                given_at: Timestamp(10),
                expires_at: Timestamp(20),
                worker: "nurse-1".to_owned(),
            },
            withdrawn_at: None,
            is_erased: false,
        };
        assert_eq!(row.status(Timestamp(19)), "active");
        assert_eq!(row.status(Timestamp(20)), "expired");
        row.withdrawn_at = Some(Timestamp(12));
        assert_eq!(row.status(Timestamp(11)), "withdrawn", "by whatever clock");
        row.is_erased = true;
        assert_eq!(row.status(Timestamp(11)), "erased");
    }
}
