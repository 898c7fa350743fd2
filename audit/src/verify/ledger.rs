//! What the verifier remembers of the entries so far: what later entries are checked against.
//!
//! It grows with the number of requests, consents, agreements and agencies, never with the bytes
//! of entries; of a request that has ended only a few words stay.
//!
//! An auditor may not see every entry. A check that fails is a fault only if no unreadable entry
//! can explain it: [`Ledger::require`] is told since when an entry could have changed the facts.

use super::{
    bundle::Bundles,
    fault::{Fault, FaultCode},
    origin::Origin,
    report::{Check, Tally},
    reviews::Review,
    row::{Job, Parsed, Readable},
    seals::Reached,
};
use crate::merkle::Frontier;
use passerelle_model::{
    bytes::{Digest, Nonce, PublicKey},
    entry::EntryBody,
    ids::{AgencyId, FederationId},
    panel::Panel,
    pdp::Obligation,
    request::Status,
    statement::{AgencyKeys, Item, Signatories, WithdrawalScope},
    time::Timestamp,
    vocabulary::{Category, LegalBasis, Level, Purpose, Sector, Stage},
};
use std::collections::{BTreeSet, HashMap, HashSet};

/// How far the time of an entry may be behind that of an earlier one, in seconds.
const MAX_BACKWARDS_S: u64 = 300;

/// The 128 random bits of an identifier.
pub(super) type Id = u128;

/// Position of an agency in [`Ledger::members`].
pub(super) type Agency = u32;

/// The random part of an identifier such as `req-0123...`.
pub(super) fn id(text: &str) -> Id {
    let digits = text.rsplit('-').next().unwrap_or_default();
    // The model's parser has made sure of 32 digits.
    Id::from_str_radix(digits, 16).unwrap_or_default()
}

/// The first half of a digest or nonce: enough to tell values apart that collide only if
/// somebody spends 2^64 hashes on having his own log refused.
pub(super) fn half(bytes: &[u8; 32]) -> u128 {
    let (half, _) = bytes.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    u128::from_be_bytes(*half)
}

/// Since when an unreadable entry could explain a failed check.
#[derive(Clone, Copy, Debug)]
pub(super) enum Since {
    /// No entry at all could: the entries at hand contradict each other.
    Never,
    /// Any entry before this one.
    Ever,
    /// An entry after this index.
    Index(u64),
}

/// An agency that was named.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: AgencyId,
    /// None if it never enrolled, as far as can be read.
    pub(super) keys: Option<AgencyKeys>,
    pub(super) active: bool,
    /// Index of the entry since which it has been a member without a break.
    pub(super) since: u64,
    /// Index of the entry that last changed the above.
    pub(super) touched: u64,
}

#[derive(Debug)]
pub(super) struct Invitation {
    pub(super) agency: Agency,
    pub(super) sector: Sector,
    pub(super) expires_at: Timestamp,
    pub(super) used: bool,
}

#[derive(Debug)]
pub(super) struct Consent {
    pub(super) recorded_by: Agency,
    pub(super) recipients: Vec<Agency>,
    pub(super) disclosers: Vec<Agency>,
    pub(super) categories: Vec<Category>,
    pub(super) purposes: Vec<Purpose>,
    pub(super) given_at: Timestamp,
    pub(super) expires_at: Timestamp,
    /// What was withdrawn.
    pub(super) withdrawn: Vec<WithdrawalScope>,
    /// The requests of which a decision rested on it.
    pub(super) requests: Vec<Id>,
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) from: Agency,
    pub(super) to: Agency,
    pub(super) category: Category,
    pub(super) level: Level,
}

#[derive(Debug)]
pub(super) struct Agreement {
    pub(super) terms: Digest,
    pub(super) parties: Vec<Agency>,
    pub(super) signed: Vec<Agency>,
    /// Who signs for a party, where its node's key is not enough.
    pub(super) signatories: Vec<(Agency, Signatories)>,
    pub(super) purposes: Vec<Purpose>,
    pub(super) lines: Vec<Line>,
    pub(super) starts_at: Timestamp,
    pub(super) ends_at: Timestamp,
    pub(super) version: u16,
    pub(super) supersedes: Option<Id>,
    /// Whose suspension stands.
    pub(super) suspended: Vec<Agency>,
    pub(super) terminated: bool,
    /// The next version, signed by all, and when it begins.
    pub(super) successor: Option<(Id, Timestamp)>,
    pub(super) touched: u64,
}

#[derive(Debug)]
pub(super) struct Case {
    pub(super) lead: Agency,
    /// Who has not left.
    pub(super) present: BTreeSet<Agency>,
    pub(super) stage: Stage,
    pub(super) closed: bool,
    pub(super) touched: u64,
}

/// What a request's statement says, kept while an answer may come.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) statement: Digest,
    pub(super) items: Vec<Item>,
    pub(super) purpose: Purpose,
    pub(super) basis: LegalBasis,
    pub(super) case: Option<Id>,
    pub(super) reply_key: PublicKey,
    pub(super) not_after: Timestamp,
}

/// An item that a decision allows, and what that rests on.
#[derive(Debug)]
pub(super) struct Allowed {
    pub(super) item: Item,
    pub(super) review: bool,
    pub(super) consent: Option<Id>,
    pub(super) agreement: Option<Id>,
}

#[derive(Debug)]
pub(super) struct Decision {
    pub(super) index: u64,
    pub(super) bundle: Digest,
    pub(super) allowed: Vec<Allowed>,
    pub(super) obligations: Vec<Obligation>,
}

#[derive(Debug)]
pub(super) struct Permit {
    pub(super) index: u64,
    pub(super) digest: Digest,
    pub(super) decision: u64,
    pub(super) not_after: Timestamp,
}

/// A request. Parts may be missing where entries are not readable.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) requester: Option<Agency>,
    pub(super) holder: Option<Agency>,
    pub(super) status: Status,
    /// Index of the last entry about it.
    pub(super) touched: u64,
    pub(super) asked: Option<Box<Asked>>,
    pub(super) decision: Option<Box<Decision>>,
    pub(super) permit: Option<Box<Permit>>,
    /// Whether the holder ever had a permit, and so hears of the end.
    pub(super) had_permit: bool,
    /// Digest of the sealed answer.
    pub(super) sealed: Option<Digest>,
    /// The categories and consents on which the latest decision rests. Stays: recalls need it.
    pub(super) rests_on: Box<[(Category, Id)]>,
}

impl Request {
    pub(super) fn new(status: Status, index: u64) -> Self {
        Self {
            requester: None,
            holder: None,
            status,
            touched: index,
            asked: None,
            decision: None,
            permit: None,
            had_permit: false,
            sealed: None,
            rests_on: Box::default(),
        }
    }
}

/// What a withdrawal or revocation obliges the broker to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Stop,
    Recall,
}

/// Everything so far.
pub(super) struct Ledger {
    pub(super) tally: Tally,
    pub(super) frontier: Frontier,
    pub(super) federation: FederationId,
    pub(super) log_key: String,
    pub(super) origin: Origin,
    /// The present entry.
    pub(super) index: u64,
    pub(super) now: Timestamp,
    pub(super) first_at: Option<Timestamp>,
    pub(super) last_at: Option<Timestamp>,
    last_unreadable: Option<u64>,
    nonces: HashSet<u128>,
    pub(super) seen: HashSet<u128>,
    names: HashMap<AgencyId, Agency>,
    pub(super) members: Vec<Member>,
    pub(super) invitations: HashMap<Digest, Invitation>,
    /// The bundle in force, and since which index.
    pub(super) bundle: Option<(Digest, u64)>,
    pub(super) bundles: Bundles,
    /// How many members witness for all.
    pub(super) panel: Panel,
    pub(super) requests: HashMap<Id, Request>,
    pub(super) consents: HashMap<Id, Consent>,
    pub(super) agreements: HashMap<Id, Agreement>,
    pub(super) cases: HashMap<Id, Case>,
    pub(super) due: HashMap<Id, Due>,
    pub(super) reached: Reached,
    /// The emergencies of which a review is wanted.
    pub(super) reviews: HashMap<Id, Review>,
    /// Signatures to be checked, of the present chunk.
    pub(super) jobs: Vec<Job>,
}

impl Ledger {
    pub(super) fn new(federation: FederationId, log_key: String) -> Self {
        Self {
            tally: Tally::default(),
            frontier: Frontier::new(),
            federation,
            log_key,
            origin: Origin::default(),
            index: 0,
            now: Timestamp::default(),
            first_at: None,
            last_at: None,
            last_unreadable: None,
            nonces: HashSet::new(),
            seen: HashSet::new(),
            names: HashMap::new(),
            members: Vec::new(),
            invitations: HashMap::new(),
            bundle: None,
            bundles: Bundles::default(),
            panel: Panel::default(),
            requests: HashMap::new(),
            consents: HashMap::new(),
            agreements: HashMap::new(),
            cases: HashMap::new(),
            due: HashMap::new(),
            reached: Reached::default(),
            reviews: HashMap::new(),
            jobs: Vec::new(),
        }
    }

    /// Takes in the next row, the one at `position` of its chunk.
    pub(super) fn take(&mut self, position: usize, row: &Parsed) -> Result<(), Fault> {
        self.index = row.index;
        self.check_new_origin(row)?;
        self.frontier.push(row.leaf);
        let Some(readable) = &row.entry else {
            self.tally.not_readable += 1;
            // Entry 0 can be nothing but the founding: it explains nothing that comes later.
            if row.index > 0 {
                self.last_unreadable = Some(row.index);
            }
            // What was due may be in it.
            self.due.clear();
            return Ok(());
        };
        self.common(readable)?;
        self.body(position, readable)?;
        self.note_reached(readable);
        Ok(())
    }

    fn common(&mut self, readable: &Readable) -> Result<(), Fault> {
        let entry = &readable.entry;
        self.now = entry.at;
        *self.tally.entries.entry(entry.body.code()).or_default() += 1;
        self.tally.checked(Check::CanonicalEntry, 1);
        if readable.openings > 0 {
            self.tally.checked(Check::Opening, readable.openings);
        }
        let Nonce(nonce) = &entry.nonce;
        self.tally.checked(Check::Nonce, 1);
        if !self.nonces.insert(half(nonce)) {
            return Err(self.fault(FaultCode::Nonce, "the nonce of an earlier entry"));
        }
        self.first_at.get_or_insert(entry.at);
        let latest = self.last_at.map_or(entry.at, |last| last.max(entry.at));
        if entry.at.plus_s(MAX_BACKWARDS_S) < latest {
            let message = format!(
                "its time is {}, that of an earlier entry {}",
                entry.at.to_rfc3339(),
                latest.to_rfc3339()
            );
            return Err(self.fault(FaultCode::Time, message));
        }
        if entry.at < latest {
            let message = "its time is before that of an earlier entry".to_owned();
            self.tally.warn(self.index, message);
        }
        self.last_at = Some(latest);
        let founding = matches!(entry.body, EntryBody::Founded { .. });
        if founding == (self.index == 0) {
            Ok(())
        } else if founding {
            Err(self.fault(FaultCode::Founding, "the log is founded again"))
        } else {
            Err(self.fault(
                FaultCode::Founding,
                "the log does not begin with its founding",
            ))
        }
    }

    fn body(&mut self, position: usize, readable: &Readable) -> Result<(), Fault> {
        let body = &readable.entry.body;
        if !matches!(body, EntryBody::Sealed { .. }) {
            self.end_seal()?;
        }
        match body {
            EntryBody::Founded {
                federation,
                keys,
                bundle,
                panel,
            } => self.founded(federation, &keys.checkpoint, *bundle, *panel),
            EntryBody::BundleActivated { bundle } => self.bundle_activated(*bundle),
            EntryBody::BundleProposed { terms } => self.bundle_proposed(terms),
            EntryBody::Invited {
                agency,
                sector,
                token,
                expires_at,
            } => self.invited(agency, *sector, token, *expires_at),
            EntryBody::Enrolled {
                agency,
                keys,
                token,
                ..
            } => self.enrolled(agency, keys, token),
            EntryBody::Revoked { agency } => self.revoked(agency),
            EntryBody::Supersedes(supersedes) => self.superseded_by(supersedes),
            EntryBody::Said { .. } => match &readable.said {
                Some(said) => self.said(position, said),
                None => Ok(()),
            },
            EntryBody::Refused { .. } | EntryBody::HandlesEvaluated { .. } => Ok(()),
            EntryBody::Decided {
                request,
                items,
                bundle,
            } => self.decided(id(request.as_str()), items, *bundle),
            EntryBody::Offered { permit } => self.offered(permit),
            EntryBody::Stopped { request, cause } => self.stopped(id(request.as_str()), cause),
            EntryBody::Recalled { request, consent } => {
                self.recalled(id(request.as_str()), id(consent.as_str()))
            }
            EntryBody::WithdrawalCarriedOut { .. } => {
                self.note_undone();
                Ok(())
            }
            EntryBody::Expired { request } => self.expired(id(request.as_str())),
            EntryBody::Sealed {
                from,
                until,
                counts,
            } => self.sealed((*from, *until), counts, &readable.sealed),
        }
    }

    /// A large withdrawal or revocation is carried out in several steps. When the log says that
    /// one has been, or ends, and requests are left, that is no proof of wrong, since an answer is
    /// checked for itself; but somebody was not told.
    fn note_undone(&mut self) {
        if !self.due.is_empty() {
            let open = self.due.len();
            self.due.clear();
            let message = format!(
                "the withdrawal or revocation before it left {open} requests neither stopped \
                 nor recalled"
            );
            self.tally.warn(self.index, message);
        }
    }

    /// Whether the statement with this digest is new.
    pub(super) fn first_seen(&mut self, digest: &Digest) -> bool {
        self.seen.insert(half(&digest.0))
    }

    pub(super) fn fault(&self, code: FaultCode, message: impl Into<String>) -> Fault {
        Fault::at(self.index, code, message)
    }

    /// Whether an unreadable entry could explain a failed check.
    pub(super) fn is_excused(&self, since: Since) -> bool {
        match since {
            Since::Never => false,
            Since::Ever => self.last_unreadable.is_some(),
            Since::Index(since) => self.last_unreadable.is_some_and(|last| last > since),
        }
    }

    /// A check: passed, failed for a reason that an unreadable entry may explain (`false`), or
    /// failed.
    pub(super) fn require(
        &mut self,
        passed: bool,
        since: Since,
        code: FaultCode,
        message: impl FnOnce() -> String,
    ) -> Result<bool, Fault> {
        if passed {
            return Ok(true);
        }
        if self.is_excused(since) {
            self.tally.excused(code);
            return Ok(false);
        }
        Err(self.fault(code, message()))
    }

    /// The agency's position; an unknown one gets one without having enrolled.
    pub(super) fn agency(&mut self, name: &AgencyId) -> Agency {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        // Far more names than any export holds.
        let new = Agency::try_from(self.members.len()).unwrap_or(Agency::MAX);
        self.names.insert(name.clone(), new);
        self.members.push(Member {
            name: name.clone(),
            keys: None,
            active: false,
            since: 0,
            touched: 0,
        });
        new
    }

    pub(super) fn member(&self, agency: Agency) -> Option<&Member> {
        self.members.get(usize::try_from(agency).ok()?)
    }

    pub(super) fn member_mut(&mut self, agency: Agency) -> Option<&mut Member> {
        self.members.get_mut(usize::try_from(agency).ok()?)
    }

    /// The agency must be a member now. `false` if that can't be known.
    pub(super) fn require_active(&mut self, agency: Agency) -> Result<bool, Fault> {
        let (enrolled, active, touched, name) = match self.member(agency) {
            Some(m) => (m.keys.is_some(), m.active, m.touched, m.name.clone()),
            None => return Ok(false),
        };
        let unknown = || format!("`{name}` had not enrolled");
        if !self.require(enrolled, Since::Ever, FaultCode::UnknownAgency, unknown)? {
            return Ok(false);
        }
        let revoked = || format!("`{name}` had been revoked");
        self.require(active, Since::Index(touched), FaultCode::Revoked, revoked)
    }
}
