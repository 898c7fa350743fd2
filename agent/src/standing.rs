//! What this agency's own journal knows of consents, by person.
//!
//! In scope: the rows beside the consents themselves (by person, said here, withdrawn here or
//! before they came), and all that is known of one person. Out of scope: whether they carry a
//! permit ([`crate::ground`]).
//!
//! The broker orders the log, so it could enter a consent a second time to lose its withdrawals,
//! or enter the withdrawal first. The first record of a consent counts, and a withdrawal counts
//! wherever it stands.

use crate::state::{self, key, load, put};
use passerelle_model::{
    bytes::{Digest, Handle},
    ids::ConsentId,
    records::{Consent, Withdrawn},
    state::MAX_CANDIDATES,
    statement::WithdrawalScope,
    store::{Overlay, Read, StoreError},
};
use serde::{Deserialize, Serialize};

/// Consents by person: whether this agency said it, as its own journal shows.
const BY_PERSON: &[u8] = b"consentof/";
/// Consents that this agency said: the digest of the statement.
const SAID_HERE: &str = "consentsaid/";
/// Withdrawals that this agency said and that have not come back from the log.
const ON_ITS_WAY: &str = "withdrawing/";
/// Withdrawals that came before their consent.
const EARLY: &str = "withdrawn/";

/// A consent as known here.
pub(crate) struct Standing {
    /// With its withdrawals, those under way among them.
    pub(crate) consent: Consent,
    /// Whether this agency recorded it: its own journal says so, not the broker.
    pub(crate) recorded_here: bool,
}

/// A withdrawal that was said here.
#[derive(Serialize, Deserialize)]
struct OnItsWay {
    scope: WithdrawalScope,
    statement: Digest,
}

fn by_person(person: &Handle, consent: &str) -> Vec<u8> {
    [BY_PERSON, &person.0, consent.as_bytes()].concat()
}

fn of(table: &str, consent: &ConsentId) -> Vec<u8> {
    key::of(table, consent.as_str().as_bytes())
}

/// Every consent of the person that names this agency; `None` if there are more than can be looked
/// at: the one left out might be the one that is withdrawn.
///
/// # Errors
/// The store.
pub(crate) fn consents_of(
    view: &dyn Read,
    person: &Handle,
) -> Result<Option<Vec<Standing>>, StoreError> {
    let prefix = by_person(person, "");
    let rows = view.scan(&prefix, None, MAX_CANDIDATES.saturating_add(1))?;
    if rows.len() > MAX_CANDIDATES {
        return Ok(None);
    }
    let mut found = Vec::new();
    for (key, _) in rows {
        let id = key.get(prefix.len()..).unwrap_or_default();
        let recorded_here = load(view, &key)?.unwrap_or(false);
        let Some(consent) = consent(view, id)? else {
            continue;
        };
        found.push(Standing {
            consent,
            recorded_here,
        });
    }
    Ok(Some(found))
}

/// The consent, with its withdrawals, those under way among them.
pub(crate) fn consent(view: &dyn Read, id: &[u8]) -> Result<Option<Consent>, StoreError> {
    let Some(mut consent) = load::<Consent>(view, &key::of(key::CONSENT, id))? else {
        return Ok(None);
    };
    let leaving: Option<Vec<OnItsWay>> = load(view, &key::of(ON_ITS_WAY, id))?;
    let leaving = leaving.unwrap_or_default().into_iter();
    // Its place is not known yet: it comes after everything that is.
    consent.withdrawn.extend(leaving.map(|w| Withdrawn {
        scope: w.scope,
        index: u64::MAX,
    }));
    Ok(Some(consent))
}

/// Notes a consent that is said here.
pub(crate) fn said(
    view: &mut Overlay<'_>,
    consent: &ConsentId,
    statement: &Digest,
) -> Result<(), StoreError> {
    put(view, of(SAID_HERE, consent), statement)
}

/// A consent that was said here was refused: if it is entered all the same, it is not one that this
/// agency recorded.
pub(crate) fn unsaid(view: &mut Overlay<'_>, consent: &ConsentId) -> Result<(), StoreError> {
    view.write(of(SAID_HERE, consent), None);
    Ok(())
}

/// Files a consent that came from the log, by `statement`, under its person.
pub(crate) fn consented(
    view: &mut Overlay<'_>,
    mut row: Consent,
    is_own: bool,
    statement: &Digest,
) -> Result<(), StoreError> {
    let id = row.terms.consent.clone();
    if state::consent(view, &id)?.is_some() {
        return Ok(());
    }
    let said: Option<Digest> = load(view, &of(SAID_HERE, &id))?;
    let recorded_here = is_own && said.as_ref() == Some(statement);
    let early: Option<Vec<Withdrawn>> = load(view, &of(EARLY, &id))?;
    row.withdrawn = early.unwrap_or_default();
    put(view, by_person(&row.subject, id.as_str()), &recorded_here)?;
    put(view, of(key::CONSENT, &id), &row)
}

/// Notes a withdrawal that is said here: it counts from now on, whatever the broker makes of it.
pub(crate) fn withdrawing(
    view: &mut Overlay<'_>,
    consent: &ConsentId,
    scope: WithdrawalScope,
    statement: Digest,
) -> Result<(), StoreError> {
    let key = of(ON_ITS_WAY, consent);
    let mut leaving: Vec<OnItsWay> = load(view, &key)?.unwrap_or_default();
    leaving.push(OnItsWay { scope, statement });
    put(view, key, &leaving)
}

/// A withdrawal that was said here came back from the log, or was refused.
fn arrived(
    view: &mut Overlay<'_>,
    consent: &ConsentId,
    statement: &Digest,
) -> Result<(), StoreError> {
    let key = of(ON_ITS_WAY, consent);
    let Some(mut leaving) = load::<Vec<OnItsWay>>(view, &key)? else {
        return Ok(());
    };
    leaving.retain(|w| w.statement != *statement);
    if leaving.is_empty() {
        view.write(key, None);
        return Ok(());
    }
    put(view, key, &leaving)
}

/// Carries out a withdrawal by `statement`, that came from the log or that the log refused.
pub(crate) fn withdrawn(
    view: &mut Overlay<'_>,
    consent: &ConsentId,
    withdrawn: Withdrawn,
    statement: &Digest,
) -> Result<(), StoreError> {
    arrived(view, consent, statement)?;
    match state::consent(view, consent)? {
        Some(mut row) => {
            row.withdrawn.push(withdrawn);
            put(view, of(key::CONSENT, consent), &row)
        }
        None => {
            let key = of(EARLY, consent);
            let mut early: Vec<Withdrawn> = load(view, &key)?.unwrap_or_default();
            early.push(withdrawn);
            put(view, key, &early)
        }
    }
}

/// The log goes on from an older copy: what was recorded or withdrawn in the entries from `index` on
/// has no place in it any more. It counts as of that place, so that every withdrawal known here
/// defeats it, and so does every one that the new log brings.
pub(crate) fn take_back(view: &mut Overlay<'_>, index: u64) -> Result<(), StoreError> {
    for (row, bytes) in view.scan(key::CONSENT.as_bytes(), None, usize::MAX)? {
        let mut consent: Consent = state::decode(&bytes)?;
        let withdrawn = consent.withdrawn.iter().map(|w| w.index);
        if consent.recorded.max(withdrawn.max().unwrap_or(0)) <= index {
            continue;
        }
        consent.recorded = consent.recorded.min(index);
        for withdrawn in &mut consent.withdrawn {
            withdrawn.index = withdrawn.index.min(index);
        }
        put(view, row, &consent)?;
    }
    Ok(())
}
