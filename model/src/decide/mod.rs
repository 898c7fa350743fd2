//! `decide`: what a command leads to. Pure and deterministic: time and entropy are inputs, the
//! policy decision point is a pure function, and everything else is read from the projection.
//!
//! Events are applied to the overlay as they are drafted, so that a later event of the same
//! command, and the next command of the same batch, see them. Nothing is true before the caller
//! has made the records durable; if it can't, it drops the overlay.

mod agreement;
mod bundle;
mod case;
mod consent;
mod exchange;
mod membership;
mod origin;
mod seal;

pub use consent::MAX_CONSENT_LIFE_S;
pub use origin::lacks_nothing;

use crate::{
    apply::apply,
    bundle::BundleTerms,
    bytes::{Digest, Nonce},
    canonical::CanonicalError,
    entry::{BrokerKeys, Entry, EntryBody, MAX_ENTRY_BYTES, Record, Sidecar, Supersedes},
    error::ErrorCode,
    ids::{AgencyId, FederationId, RequestId},
    panel::Panel,
    pdp::PolicyDecisionPoint,
    state,
    statement::{AgencyKeys, Body, VERSION, Verified},
    store::{Overlay, StoreError},
    time::Timestamp,
    vocabulary::Sector,
};
use sha2::Digest as _;

/// How far ahead of the broker's clock a statement may be, in seconds.
pub const MAX_CLOCK_SKEW_S: u64 = 300;

/// How old a statement may be when it arrives, in seconds: an agency may have been offline.
/// A replay is caught by its digest, whatever its age.
pub const MAX_STATEMENT_AGE_S: u64 = 30 * 86_400;

/// Longest life of a request, in seconds.
pub const MAX_REQUEST_LIFE_S: u64 = 30 * 86_400;

/// Life of a permit, in seconds.
pub const PERMIT_LIFE_S: u64 = 300;

/// Age, in seconds, from which a permit that still holds is issued again when its holder asks. The
/// holder's clock may be up to `PERMIT_LIFE_S - MIN_RENEWAL_AGE_S` fast; one that is faster would
/// find every permit expired and ask for ever.
pub const MIN_RENEWAL_AGE_S: u64 = 60;

/// Most requests that one tick ends.
pub const MAX_EXPIRED_PER_TICK: usize = 256;

/// Most requests that a withdrawal or a revocation stops or recalls in one step, so that no
/// command leads to more than a batch can hold.
pub const MAX_SWEPT: usize = 256;

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Command {
    /// Begin the log.
    Found {
        /// The federation.
        federation: FederationId,
        /// Its broker's keys.
        keys: BrokerKeys,
        /// How many members witness for all.
        panel: Panel,
    },
    /// Propose a bundle to the agencies.
    ProposeBundle {
        /// The bundle, and the place that it is to take.
        terms: BundleTerms,
    },
    /// Put the decision point's bundle in force, if it is not and enough agencies have endorsed it.
    ActivateBundle,
    /// Invite an agency.
    Invite {
        /// Who.
        agency: AgencyId,
        /// As what.
        sector: Sector,
        /// Digest of the one-time token.
        token: Digest,
        /// Until when.
        expires_at: Timestamp,
    },
    /// Go on under a new origin of the log, from the copy that is at hand.
    Supersede(Box<Supersedes>),
    /// Take up an invitation.
    Enrol {
        /// Who, for a check against the invitation.
        agency: AgencyId,
        /// Digest of the token that was shown.
        token: Digest,
        /// The agency's keys.
        keys: AgencyKeys,
        /// Serial number of the certificate issued for it.
        certificate: String,
    },
    /// Shut an agency out.
    Revoke {
        /// Who.
        agency: AgencyId,
    },
    /// Sequence a signed statement.
    Say(Box<Verified>),
    /// Record that a statement was refused before it got here.
    Refuse {
        /// From whom, by certificate.
        agency: AgencyId,
        /// Why.
        code: ErrorCode,
        /// Digest of its payload.
        statement: Digest,
    },
    /// Issue a permit for a request whose holder can be reached now.
    Offer {
        /// Which.
        request: RequestId,
    },
    /// End what is due.
    Tick,
    /// Record evaluations of the oblivious function.
    CountEvaluations {
        /// For whom.
        agency: AgencyId,
        /// How many.
        count: u32,
    },
}

/// What decides beside the state.
pub struct Inputs<'a> {
    /// The broker's clock.
    pub now: Timestamp,
    /// Fresh randomness for the nonces of this command's entries.
    pub seed: [u8; 32],
    /// Index of the next entry.
    pub next_index: u64,
    /// The policy decision point.
    pub pdp: &'a dyn PolicyDecisionPoint,
}

/// The answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Sequenced at this index.
    Done {
        /// Index of the entry that records it.
        index: u64,
    },
    /// Refused; nothing else changed.
    Refused {
        /// Why.
        code: ErrorCode,
        /// Index of the entry that records it (the first, for a replay), if there is one.
        index: Option<u64>,
    },
    /// There was nothing to do.
    Nothing,
}

/// What a command led to.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The events, in order, from `next_index` on.
    pub records: Vec<Record>,
    /// The answer.
    pub reply: Reply,
}

/// Either the projection failed, which ends the process, or the command is refused.
pub(crate) enum Stop {
    Store(StoreError),
    Refused(ErrorCode),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ErrorCode> for Stop {
    fn from(code: ErrorCode) -> Self {
        Self::Refused(code)
    }
}

impl From<CanonicalError> for Stop {
    fn from(_: CanonicalError) -> Self {
        Self::Refused(ErrorCode::Internal)
    }
}

type Step<T = ()> = Result<T, Stop>;

fn ensure(condition: bool, otherwise: ErrorCode) -> Step {
    if condition {
        Ok(())
    } else {
        Err(Stop::Refused(otherwise))
    }
}

/// Events in the making.
struct Draft<'a, 'base> {
    state: &'a mut Overlay<'base>,
    inputs: &'a Inputs<'a>,
    records: Vec<Record>,
}

impl Draft<'_, '_> {
    /// Adds an event, applies it, and says its index.
    fn push(&mut self, body: EntryBody, sidecar: Sidecar) -> Step<u64> {
        let count = self.records.len() as u64;
        let mut hash = sha2::Sha256::new();
        hash.update(self.inputs.seed);
        hash.update(count.to_be_bytes());
        let entry = Entry {
            kind: body.code().to_owned(),
            version: VERSION,
            at: self.inputs.now,
            body,
            nonce: Nonce(hash.finalize().into()),
        };
        ensure(
            entry.to_bytes()?.len() <= MAX_ENTRY_BYTES,
            ErrorCode::TooLarge,
        )?;
        let index = self.next_index();
        let record = Record { entry, sidecar };
        apply(self.state, index, &record)?;
        self.records.push(record);
        Ok(index)
    }

    /// The index of the next event.
    fn next_index(&self) -> u64 {
        let count = self.records.len() as u64;
        self.inputs.next_index.saturating_add(count)
    }

    /// Whether the agency says again what may have been lost with a former origin of the log. What
    /// the log had taken once it takes again, however old it is and whoever has left since: else a
    /// withdrawal could not be entered for want of its consent.
    fn resumes(&self, agency: &AgencyId) -> Step<bool> {
        Ok(state::awaited(self.state, agency)?.is_some())
    }

    /// Whether each of these is a member, or may be named all the same.
    fn require_members<'b>(
        &self,
        agencies: impl IntoIterator<Item = &'b AgencyId>,
        by: &AgencyId,
    ) -> Step {
        if self.resumes(by)? {
            return Ok(());
        }
        for agency in agencies {
            let member = state::member(self.state, agency)?;
            ensure(member.is_some(), ErrorCode::UnknownAgency)?;
        }
        Ok(())
    }

    fn push_public(&mut self, body: EntryBody) -> Step<u64> {
        self.push(body, Sidecar::default())
    }

    /// Adds the event of a statement, with the parts of its private half that belong here.
    fn push_said(&mut self, said: &Verified, sidecar: Sidecar) -> Step<u64> {
        let agency = said.statement().agency.clone();
        self.push(
            EntryBody::Said {
                agency,
                envelope: said.envelope().clone(),
            },
            sidecar,
        )
    }
}

/// Decides `command`. After an error the overlay must be dropped with everything in it.
///
/// Commands check everything before their first event, so that a refusal leaves nothing but the
/// entry that records it. One exception, on purpose: an answer whose ground is gone stops its
/// request in the same step in which it is refused.
pub fn decide(
    state: &mut Overlay<'_>,
    command: &Command,
    inputs: &Inputs<'_>,
) -> Result<Decided, StoreError> {
    let mut draft = Draft {
        state,
        inputs,
        records: Vec::new(),
    };
    let outcome = run(&mut draft, command);
    let reply = match outcome {
        Ok(reply) => reply,
        Err(Stop::Store(error)) => return Err(error),
        Err(Stop::Refused(code)) => refuse(&mut draft, command, code)?,
    };
    Ok(Decided {
        records: draft.records,
        reply,
    })
}

fn run(draft: &mut Draft<'_, '_>, command: &Command) -> Step<Reply> {
    match command {
        Command::Found {
            federation,
            keys,
            panel,
        } => membership::found(draft, federation, keys, *panel),
        Command::Supersede(supersedes) => origin::supersede(draft, supersedes),
        Command::ProposeBundle { terms } => bundle::propose(draft, terms),
        Command::ActivateBundle => bundle::activate(draft),
        Command::Invite {
            agency,
            sector,
            token,
            expires_at,
        } => membership::invite(draft, agency, *sector, token, *expires_at),
        Command::Enrol {
            agency,
            token,
            keys,
            certificate,
        } => membership::enrol(draft, agency, token, keys, certificate),
        Command::Revoke { agency } => membership::revoke(draft, agency),
        Command::Say(said) => say(draft, said),
        Command::Refuse { code, .. } => Err(Stop::Refused(*code)),
        Command::Offer { request } => exchange::offer(draft, request),
        Command::Tick => tick(draft),
        Command::CountEvaluations { agency, count } => {
            let body = EntryBody::HandlesEvaluated {
                agency: agency.clone(),
                count: *count,
            };
            Ok(Reply::Done {
                index: draft.push_public(body)?,
            })
        }
    }
}

/// What time and earlier steps left to do: requests that are due; withdrawals, ends of agreements
/// and revocations that were too large for one step, the seal of the day.
fn tick(draft: &mut Draft<'_, '_>) -> Step<Reply> {
    let before = draft.records.len();
    exchange::end_due(draft)?;
    let sweeps = state::key::sweep("");
    if let [id, ..] = state::suffixes(draft.state, &sweeps, 1)?.as_slice() {
        let id = id.parse().map_err(|_| Stop::Refused(ErrorCode::Internal))?;
        consent::sweep(draft, &id)?;
    }
    let halted = state::key::halted("");
    if let [id, ..] = state::suffixes(draft.state, &halted, 1)?.as_slice() {
        let id = id.parse().map_err(|_| Stop::Refused(ErrorCode::Internal))?;
        agreement::sweep(draft, &id)?;
    }
    for agency in state::agencies(draft.state)? {
        if !agency.active {
            membership::stop_requests_of(draft, &agency.agency)?;
        }
    }
    seal::seal_due(draft)?;
    Ok(if draft.records.len() == before {
        Reply::Nothing
    } else {
        Reply::Done {
            index: draft.inputs.next_index,
        }
    })
}

fn say(draft: &mut Draft<'_, '_>, said: &Verified) -> Step<Reply> {
    let statement = said.statement();
    let now = draft.inputs.now;
    let member = state::member(draft.state, &statement.agency)?.ok_or(ErrorCode::Revoked)?;
    // The key may have been replaced between the check of the signature and this step.
    ensure(
        said.signed_by().is_none_or(|k| k == member.keys.signing),
        ErrorCode::BadSignature,
    )?;
    ensure(
        state::seen(draft.state, &said.digest())?.is_none(),
        ErrorCode::Replayed,
    )?;
    let federation = state::federation(draft.state)?.ok_or(ErrorCode::Internal)?;
    ensure(
        statement.federation == federation.federation,
        ErrorCode::WrongFederation,
    )?;
    ensure(
        federation.bundle == draft.inputs.pdp.bundle(),
        ErrorCode::BundleNotHeld,
    )?;
    let resumes = draft.resumes(&statement.agency)? && statement.body.is_paper();
    ensure(
        statement.at <= now.plus_s(MAX_CLOCK_SKEW_S)
            && (resumes || now.minus_s(MAX_STATEMENT_AGE_S) <= statement.at),
        ErrorCode::Stale,
    )?;
    let index = match &statement.body {
        Body::Request(request) => exchange::request(draft, said, request)?,
        Body::Answer(answer) => exchange::answer(draft, said, answer)?,
        Body::Receipt(receipt) => exchange::receipt(draft, said, receipt)?,
        Body::Renewal(renewal) => exchange::renewal(draft, said, renewal)?,
        Body::Consent(terms) => consent::record(draft, said, terms)?,
        Body::Withdrawal(withdrawal) => consent::withdraw(draft, said, withdrawal)?,
        Body::Agreement(terms) => agreement::propose(draft, said, terms)?,
        Body::AgreementSignature(signature) => agreement::sign(draft, said, signature)?,
        Body::AgreementChange(change) => agreement::change(draft, said, change)?,
        Body::CaseOpening(opening) => case::open(draft, said, opening)?,
        Body::CaseAdvance(advance) => case::advance(draft, said, advance)?,
        Body::BundleEndorsement(endorsement) => bundle::endorse(draft, said, endorsement)?,
        Body::OverrideReview(review) => exchange::review(draft, said, review)?,
        Body::Resumption(resumption) => origin::resume(draft, said, resumption)?,
    };
    Ok(Reply::Done { index })
}

/// A refused statement is an entry too. A replay is not: resending after a lost reply is how an
/// honest agent makes sure, and the first entry already says all.
fn refuse(
    draft: &mut Draft<'_, '_>,
    command: &Command,
    code: ErrorCode,
) -> Result<Reply, StoreError> {
    let (agency, statement) = match command {
        Command::Say(said) => (said.statement().agency.clone(), said.digest()),
        Command::Refuse {
            agency, statement, ..
        } => (agency.clone(), *statement),
        _ => return Ok(Reply::Refused { code, index: None }),
    };
    if code == ErrorCode::Replayed {
        return Ok(Reply::Refused {
            code,
            index: state::seen(draft.state, &statement)?,
        });
    }
    // An answer that no longer stands stops its request: that event is there already.
    let index = draft.push_public(EntryBody::Refused {
        agency,
        code,
        statement,
    });
    match index {
        Ok(index) => Ok(Reply::Refused {
            code,
            index: Some(index),
        }),
        Err(Stop::Store(error)) => Err(error),
        Err(Stop::Refused(code)) => Ok(Reply::Refused { code, index: None }),
    }
}

#[cfg(test)]
mod tests;
