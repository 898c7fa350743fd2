//! What is journaled of people's own requests, and its rows.
//!
//! In scope: events, rows, `apply`, reads. Out of scope: who may (module `api::rights`).
//!
//! At the door: the person's name and handle are sealed under a key of the group's own, which is
//! destroyed when the reply is given and the group erased. At an owner: a restriction is of a
//! person, not of a request, so that whoever is asked next, by whichever door, can't tell by
//! mistake what a colleague keeps back.

use super::{Kind, Restriction};
use crate::{
    ground,
    holder::storage,
    state::{self, key, load, put},
    vault,
};
use passerelle_model::{
    bytes::{Bytes, Digest, Handle},
    error::ErrorCode,
    ids::{AgencyId, RequestId, RightsId},
    store::{Overlay, Read, StoreError},
    time::Timestamp,
    vocabulary::Purpose,
};
use serde::{Deserialize, Serialize};

const GROUP: &str = "rights/";
const RESTRICTED: &str = "restrict/";

/// Most rounds of one group: more than a year of asking each month.
pub const MAX_ROUNDS: usize = 16;

/// The owners were asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// When.
    pub at: Timestamp,
    /// Until when they answer.
    pub due: Timestamp,
    /// Whom, and under which id.
    pub asked: Vec<(AgencyId, RequestId)>,
}

/// A person has asked.
#[derive(Clone, Serialize, Deserialize)]
pub struct Opened {
    /// Its id.
    pub group: RightsId,
    /// What for.
    pub kind: Kind,
    /// Who verified identity.
    pub worker: String,
    /// SHA-256 of what identity was verified on.
    pub evidence: Digest,
    /// The first round.
    pub round: Round,
    /// [`Kept`], sealed.
    pub kept: Bytes,
}

/// What says whom it is about. Only ever sealed.
#[derive(Clone, Serialize, Deserialize)]
pub struct Kept {
    /// The name as typed.
    pub label: String,
    /// The handle.
    pub handle: Handle,
    /// What the person says.
    pub says: String,
}

/// What happens around people's own requests.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RightsEvent {
    /// At the door: a person has asked.
    Opened(Box<Opened>),
    /// At the door: the same owners are asked once more, all of them.
    AskedAgain {
        /// By which group.
        group: RightsId,
        /// The round.
        round: Round,
    },
    /// At the door: what says whom it was about is to be destroyed; the key follows.
    Erased {
        /// Which group.
        group: RightsId,
    },
    /// At an owner: nothing is told about this person through a door until then.
    Restricted {
        /// The request at which that was decided.
        request: RequestId,
        /// The person.
        handle: Handle,
        /// From then on it is owed.
        until: Timestamp,
        /// Why.
        reason: Restriction,
        /// Who decided.
        worker: String,
    },
    /// At an owner: no restriction stands any more.
    Lifted {
        /// The person.
        handle: Handle,
        /// Who decided.
        worker: String,
    },
}

impl RightsEvent {
    /// The code of the kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Opened(_) => "rights_opened",
            Self::AskedAgain { .. } => "rights_asked_again",
            Self::Erased { .. } => "rights_erased",
            Self::Restricted { .. } => "rights_restricted",
            Self::Lifted { .. } => "rights_restriction_lifted",
        }
    }
}

/// A person's request, at the door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRow {
    /// Its id.
    pub group: RightsId,
    /// What for.
    pub kind: Kind,
    /// Who verified identity.
    pub worker: String,
    /// SHA-256 of what identity was verified on.
    pub evidence: Digest,
    /// When the owners were asked, the first round first.
    pub rounds: Vec<Round>,
    /// Whether what says whom it is about is destroyed.
    pub is_erased: bool,
}

/// For so long the owners are asked once more by themselves.
const ROUNDS_FOR_S: u64 = 366 * 86_400;

impl GroupRow {
    /// Whether the owners are to be asked once more at `now`, every `every_s` seconds; 0: never.
    pub fn is_round_due(&self, now: Timestamp, every_s: u64) -> bool {
        let (Some(first), Some(last)) = (self.rounds.first(), self.rounds.last()) else {
            return false;
        };
        every_s > 0
            && !self.is_erased
            && self.kind == Kind::Access
            && self.rounds.len() < MAX_ROUNDS
            && now < first.at.plus_s(ROUNDS_FOR_S)
            && last.at.plus_s(every_s) <= now
    }
}

/// What an owner keeps back about a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestrictionRow {
    /// The person.
    pub handle: Handle,
    /// The request at which it was decided.
    pub request: RequestId,
    /// When.
    pub at: Timestamp,
    /// From then on it is owed.
    pub until: Timestamp,
    /// Why.
    pub reason: Restriction,
    /// Who decided.
    pub worker: String,
}

impl RestrictionRow {
    /// Whether it stands at `now`. At its very end it does not.
    pub fn stands(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

fn group_key(group: &RightsId) -> Vec<u8> {
    key::of(GROUP, group.as_str().as_bytes())
}

fn restriction_key(handle: &Handle) -> Vec<u8> {
    key::of(RESTRICTED, &handle.0)
}

/// Carries out an event.
pub(crate) fn apply(
    view: &mut Overlay<'_>,
    at: Timestamp,
    event: &RightsEvent,
) -> Result<(), StoreError> {
    match event {
        RightsEvent::Opened(opened) => {
            let name = opened.group.as_str();
            view.write(vault::kept_key(name), Some(opened.kept.0.clone()));
            let row = GroupRow {
                group: opened.group.clone(),
                kind: opened.kind,
                worker: opened.worker.clone(),
                evidence: opened.evidence,
                rounds: vec![opened.round.clone()],
                is_erased: false,
            };
            put(view, group_key(&opened.group), &row)
        }
        RightsEvent::AskedAgain {
            group,
            round: asked,
        } => edit(view, group, |row| row.rounds.push(asked.clone())),
        RightsEvent::Erased { group } => {
            view.write(vault::kept_key(group.as_str()), None);
            edit(view, group, |row| row.is_erased = true)
        }
        RightsEvent::Restricted {
            request,
            handle,
            until,
            reason,
            worker,
        } => {
            let row = RestrictionRow {
                handle: *handle,
                request: request.clone(),
                at,
                until: *until,
                reason: *reason,
                worker: worker.clone(),
            };
            put(view, restriction_key(handle), &row)
        }
        RightsEvent::Lifted { handle, .. } => {
            view.write(restriction_key(handle), None);
            Ok(())
        }
    }
}

fn edit(
    view: &mut Overlay<'_>,
    group: &RightsId,
    edit: impl FnOnce(&mut GroupRow),
) -> Result<(), StoreError> {
    let Some(mut row) = self::group(view, group)? else {
        return Ok(());
    };
    edit(&mut row);
    put(view, group_key(group), &row)
}

/// A person's request.
pub fn group(view: &dyn Read, id: &RightsId) -> Result<Option<GroupRow>, StoreError> {
    load(view, &group_key(id))
}

/// All of them.
pub fn groups(view: &dyn Read) -> Result<Vec<GroupRow>, StoreError> {
    state::table(view, GROUP)
}

/// What this agency keeps back, or kept back and owes.
pub fn restrictions(view: &dyn Read) -> Result<Vec<RestrictionRow>, StoreError> {
    state::table(view, RESTRICTED)
}

/// What this agency keeps back about a person, or kept back and owes.
pub fn restriction(view: &dyn Read, handle: &Handle) -> Result<Option<RestrictionRow>, StoreError> {
    load(view, &restriction_key(handle))
}

/// The restriction on the person whom `request` is about, if that is a person's own request.
///
/// # Errors
/// The store.
pub fn restriction_at(
    view: &dyn Read,
    request: &RequestId,
) -> Result<Option<RestrictionRow>, ErrorCode> {
    let row = state::hold(view, request).map_err(storage)?;
    if row.is_none_or(|row| row.purpose != Purpose::RightsRequest) {
        return Ok(None);
    }
    match ground::subject_of(view, request)? {
        Some(handle) => restriction(view, &handle).map_err(storage),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: u64 = 86_400;

    fn asked_on(days: &[u64]) -> GroupRow {
        let round = |day: &u64| Round {
            at: Timestamp::default().plus_s(day * DAY_S),
            due: Timestamp::default().plus_s((day + 30) * DAY_S),
            asked: Vec::new(),
        };
        GroupRow {
            group: RightsId::from_random([1; 16]),
            kind: Kind::Access,
            worker: "officer".to_owned(),
            evidence: Digest::of(b"form"),
            rounds: days.iter().map(round).collect(),
            is_erased: false,
        }
    }

    #[test]
    fn a_round_is_due_after_its_days_for_a_year_and_never_by_default() {
        let day = |day: u64| Timestamp::default().plus_s(day * DAY_S);
        let row = asked_on(&[0, 90]);
        assert!(!row.is_round_due(day(179), 90 * DAY_S));
        assert!(row.is_round_due(day(180), 90 * DAY_S));
        assert!(!row.is_round_due(day(180), 0));
        assert!(!row.is_round_due(day(366), 90 * DAY_S), "after a year");
        let erased = GroupRow {
            is_erased: true,
            ..row.clone()
        };
        assert!(!erased.is_round_due(day(180), 90 * DAY_S));
        let correction = GroupRow {
            kind: Kind::Correction,
            ..row
        };
        assert!(!correction.is_round_due(day(180), 90 * DAY_S), "said once");
        assert!(!asked_on(&[0; MAX_ROUNDS]).is_round_due(day(180), DAY_S));
    }

    #[test]
    fn at_the_very_end_of_a_restriction_the_answer_is_owed() {
        let row = RestrictionRow {
            handle: Handle([1; 32]),
            request: RequestId::from_random([2; 16]),
            at: Timestamp(5),
            until: Timestamp(10),
            reason: Restriction::Safety,
            worker: "officer".to_owned(),
        };
        assert!(row.stands(Timestamp(9)) && !row.stands(Timestamp(10)));
    }
}
