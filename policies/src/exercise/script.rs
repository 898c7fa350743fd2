//! An exercise that has passed every check: what each event says to the state machine.
//!
//! In scope: the events as statements, with identifiers made of the names in the file. Out of
//! scope: reading the file (`file`, `check`), playing it (`play`).

use super::{
    file::{Said, Text, Verdict, View},
    moment::Moment,
};
use crate::local::RecordFacts;
use passerelle_model::{
    bytes::{Bytes, Digest, Handle, Nonce},
    commitment::{Field, Opening},
    error::ErrorCode,
    ids::AgencyId,
    pdp::{Effect, Obligation},
    statement::{AgreementTerms, Body, Item, Request},
    vocabulary::{Category, Sector, WorkerRole},
};
use std::collections::{BTreeMap, BTreeSet};

/// An exercise, checked whole.
#[derive(Clone, Debug)]
pub struct Exercise {
    pub(crate) title: Text,
    pub(crate) about: Option<Text>,
    pub(crate) agencies: Vec<Agency>,
    pub(crate) people: BTreeMap<String, Person>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) events: Vec<Event>,
    pub(crate) questions: Vec<Question>,
    pub(crate) discuss: Vec<Text>,
    /// Rules that the file expects, with the line of each, for a check against the bundles.
    pub(crate) rules_named: Vec<(String, u64, u64)>,
}

impl Exercise {
    /// Its title.
    pub const fn title(&self) -> &Text {
        &self.title
    }

    /// What it is about.
    pub const fn about(&self) -> Option<&Text> {
        self.about.as_ref()
    }

    /// How many events and how many questions it has.
    pub const fn size(&self) -> (usize, usize) {
        (self.events.len(), self.questions.len())
    }

    pub(crate) fn agency(&self, id: &AgencyId) -> Option<&Agency> {
        self.agencies.iter().find(|a| a.id == *id)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Agency {
    pub(crate) id: AgencyId,
    pub(crate) sector: Sector,
    pub(crate) name: Text,
    pub(crate) population: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) agency: AgencyId,
    pub(crate) role: WorkerRole,
    pub(crate) trained: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) name: String,
    /// By agency, where it writes the name otherwise.
    pub(crate) spelled: BTreeMap<AgencyId, String>,
    pub(crate) about: Option<Text>,
}

#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) holder: AgencyId,
    pub(crate) person: String,
    pub(crate) category: Category,
    pub(crate) code: Option<String>,
    pub(crate) record: RecordFacts,
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) at: Moment,
    pub(crate) say: Option<Text>,
    pub(crate) action: Action,
    pub(crate) refused: Option<ErrorCode>,
    pub(crate) then: Vec<(usize, BTreeMap<Party, View>)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Time passes, or something is told.
    Nothing,
    /// An agency says something, about somebody perhaps.
    Say {
        by: AgencyId,
        what: Box<Body>,
        about: Option<String>,
    },
    /// An agency proposes an agreement, and these sign.
    Propose {
        by: AgencyId,
        terms: Box<AgreementTerms>,
        signers: Vec<AgencyId>,
    },
    /// The question of this number is asked.
    Ask(usize),
    /// A person at the holder decides on it.
    Answer {
        question: usize,
        by: String,
        verdict: Verdict,
        record: Option<String>,
    },
    /// The requester erases what it received.
    Erase(usize),
    /// An agency can't be reached from here on.
    Away(AgencyId),
    /// It can again.
    Back(AgencyId),
    /// It is shut out.
    Revoke(AgencyId),
}

/// Who may see something of a question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    /// An agency.
    Agency(AgencyId),
    /// The person whom it is about.
    Person,
    /// Who reads the log.
    Oversight,
}

/// The words for the person and for the readers of the log where a party is named.
pub(crate) const PERSON: &str = "person";
pub(crate) const OVERSIGHT: &str = "oversight";

impl std::fmt::Display for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Agency(agency) => agency.as_str(),
            Self::Person => PERSON,
            Self::Oversight => OVERSIGHT,
        })
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) id: String,
    pub(crate) worker: String,
    pub(crate) requester: AgencyId,
    pub(crate) person: Option<String>,
    /// Whose records the holder finds: the person's, or those of whom it brought to the table.
    pub(crate) found: Option<String>,
    /// Whether a person at the holder looks for other spellings, whatever is found.
    pub(crate) near: bool,
    /// Whose records the holder has under another spelling.
    pub(crate) found_near: Option<String>,
    pub(crate) why: Option<Text>,
    pub(crate) request: Request,
    /// Beside the items that the request asks for, in their order.
    pub(crate) expect: Vec<Option<Expected>>,
    pub(crate) sees: BTreeMap<Party, View>,
}

impl Question {
    pub(crate) fn items(&self) -> &[Item] {
        &self.request.items
    }

    pub(crate) const fn holder(&self) -> &AgencyId {
        &self.request.holder
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) decision: Effect,
    pub(crate) rules: Option<BTreeSet<String>>,
    pub(crate) obligations: Option<BTreeSet<Obligation>>,
    pub(crate) said: Option<Said>,
}

/// 16 bytes that stand for `name` among things of one kind.
pub(crate) fn bytes_of(kind: &str, name: &str) -> [u8; 16] {
    let digest = digest_of(kind, name);
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest.0) {
        *to = from;
    }
    bytes
}

pub(crate) fn digest_of(kind: &str, name: &str) -> Digest {
    Digest::of(format!("exercise {kind} {name}").as_bytes())
}

/// What opens the commitment to a person of the exercise.
pub(crate) fn opening_of(person: &str) -> Opening {
    Opening {
        field: Field::Subject,
        random: Nonce(digest_of("random", person).0),
        data: Bytes(handle_of(person).0.to_vec()),
    }
}

pub(crate) fn handle_of(person: &str) -> Handle {
    Handle(digest_of("person", person).0)
}
