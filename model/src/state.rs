//! The projection's tables: typed access to the rows that [`apply`](crate::apply::apply) writes.
//!
//! Every key starts with one table byte. Parts of a key are identifiers (which have no NUL),
//! fixed-size digests, or big-endian numbers, so that byte order is the order wanted.

use crate::{
    binary,
    bundle::{BundleTerms, Proposal},
    bytes::{Digest, Handle},
    entry::BrokerKeys,
    ids::{AgencyId, AgreementId, CaseId, ConsentId, FederationId, RequestId},
    panel::Panel,
    records::{Agency, Agreement, Case, Consent, Invitation, RequestRow},
    store::{Overlay, Read, StoreError},
    time::Timestamp,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Version of the tables; another version on disk means rebuild.
pub const SCHEMA_VERSION: u32 = 6;

/// Most consents of a person, and agreements of a pair, that a decision looks at. With more it
/// denies: the one left out might be the one that is withdrawn.
pub const MAX_CANDIDATES: usize = 256;

/// What the log says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Federation {
    /// Its name.
    pub federation: FederationId,
    /// The broker's keys.
    pub keys: BrokerKeys,
    /// The bundle in force.
    pub bundle: Digest,
    /// The place that it takes.
    pub terms: BundleTerms,
    /// How many members witness for all.
    pub panel: Panel,
}

/// How far the log is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The first index that no seal covers.
    pub until: u64,
    /// When everything was covered last; the founding, before the first seal.
    pub at: Timestamp,
}

/// Keys of the tables.
pub mod key {
    use super::{AgencyId, Digest, Handle, Timestamp};

    const SEPARATOR: &[u8] = &[0];

    fn join(table: u8, parts: &[&[u8]]) -> Vec<u8> {
        let mut key = vec![table];
        for part in parts {
            key.extend_from_slice(part);
        }
        key
    }

    /// The federation's only row.
    pub fn federation() -> Vec<u8> {
        vec![b'f']
    }
    /// Proposal of a bundle by its digest.
    pub fn proposal(bundle: &Digest) -> Vec<u8> {
        join(b'b', &[&bundle.0])
    }
    /// The table of proposals.
    pub fn proposal_table() -> Vec<u8> {
        vec![b'b']
    }
    /// Agency by name; an empty name is the prefix of all.
    pub fn agency(agency: &str) -> Vec<u8> {
        join(b'a', &[agency.as_bytes()])
    }
    /// Invitation by token digest.
    pub fn invitation(token: &Digest) -> Vec<u8> {
        join(b'i', &[&token.0])
    }
    /// The table of invitations.
    pub fn invitation_table() -> Vec<u8> {
        vec![b'i']
    }
    /// Index of the newest entry `supersedes`.
    pub fn origin() -> Vec<u8> {
        vec![b'v']
    }
    /// Consents whose withdrawal has not been carried out on every request; without an id the
    /// prefix.
    pub fn sweep(consent: &str) -> Vec<u8> {
        join(b'z', &[consent.as_bytes()])
    }
    /// Agreement by id.
    pub fn agreement(id: &str) -> Vec<u8> {
        join(b'g', &[id.as_bytes()])
    }
    /// Agreements by discloser and recipient; without an id the prefix.
    pub fn agreement_by_pair(from: &AgencyId, to: &AgencyId, id: &str) -> Vec<u8> {
        let (from, to) = (from.as_str().as_bytes(), to.as_str().as_bytes());
        join(b'p', &[from, SEPARATOR, to, SEPARATOR, id.as_bytes()])
    }
    /// Consent by id.
    pub fn consent(id: &str) -> Vec<u8> {
        join(b'c', &[id.as_bytes()])
    }
    /// Consents by person; without an id the prefix.
    pub fn consent_by_subject(subject: &Handle, id: &str) -> Vec<u8> {
        join(b's', &[&subject.0, id.as_bytes()])
    }
    /// Case by id.
    pub fn case(id: &str) -> Vec<u8> {
        join(b'k', &[id.as_bytes()])
    }
    /// Request by id.
    pub fn request(id: &str) -> Vec<u8> {
        join(b'r', &[id.as_bytes()])
    }
    /// Open requests by holder; without a request the prefix.
    pub fn open_by_holder(holder: &AgencyId, request: &str) -> Vec<u8> {
        join(
            b'h',
            &[holder.as_str().as_bytes(), SEPARATOR, request.as_bytes()],
        )
    }
    /// Open requests by requester; without a request the prefix.
    pub fn open_by_requester(requester: &AgencyId, request: &str) -> Vec<u8> {
        join(
            b'q',
            &[requester.as_str().as_bytes(), SEPARATOR, request.as_bytes()],
        )
    }
    /// Requests that rest on a consent; without a request the prefix.
    pub fn by_consent(consent: &str, request: &str) -> Vec<u8> {
        join(b'w', &[consent.as_bytes(), SEPARATOR, request.as_bytes()])
    }
    /// Open requests that rest on an agreement; without a request the prefix.
    pub fn by_agreement(agreement: &str, request: &str) -> Vec<u8> {
        join(b'y', &[agreement.as_bytes(), SEPARATOR, request.as_bytes()])
    }
    /// Agreements that were suspended or ended while open requests rest on them; without an id the
    /// prefix.
    pub fn halted(agreement: &str) -> Vec<u8> {
        join(b'x', &[agreement.as_bytes()])
    }
    /// Open requests by the time at which they end.
    pub fn due(at: Timestamp, request: &str) -> Vec<u8> {
        join(b'd', &[&at.0.to_be_bytes(), request.as_bytes()])
    }
    /// The table of open requests by end.
    pub fn due_table() -> Vec<u8> {
        vec![b'd']
    }
    /// Entries that concern an agency: its mailbox, and its right to read.
    pub fn mailbox(agency: &AgencyId, index: u64) -> Vec<u8> {
        join(
            b'o',
            &[agency.as_str().as_bytes(), SEPARATOR, &index.to_be_bytes()],
        )
    }
    /// The prefix of an agency's mailbox.
    pub fn mailbox_of(agency: &AgencyId) -> Vec<u8> {
        join(b'o', &[agency.as_str().as_bytes(), SEPARATOR])
    }
    /// Entries for everybody: who is a member, and by which rules all work.
    pub fn membership(index: u64) -> Vec<u8> {
        join(b'm', &[&index.to_be_bytes()])
    }
    /// The table of membership entries.
    pub fn membership_table() -> Vec<u8> {
        vec![b'm']
    }
    /// The only row of how far the log is sealed.
    pub fn sealed() -> Vec<u8> {
        vec![b'l']
    }
    /// Agencies that have not gone on under the present origin of the log; an empty name is the
    /// prefix of all.
    pub fn awaited(agency: &str) -> Vec<u8> {
        join(b'u', &[agency.as_bytes()])
    }
    /// Statements already sequenced, by digest.
    pub fn seen(statement: &Digest) -> Vec<u8> {
        join(b'n', &[&statement.0])
    }
}

/// Reads one row.
pub fn row<T: DeserializeOwned>(state: &dyn Read, key: &[u8]) -> Result<Option<T>, StoreError> {
    state.get(key)?.map(|bytes| decode(&bytes)).transpose()
}

/// Decodes a row's value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    binary::from_slice(bytes).map_err(|e| StoreError(format!("row does not decode: {e}")))
}

/// Writes one row.
pub fn put<T: Serialize>(
    state: &mut Overlay<'_>,
    key: Vec<u8>,
    value: &T,
) -> Result<(), StoreError> {
    let bytes =
        binary::to_vec(value).map_err(|e| StoreError(format!("row does not encode: {e}")))?;
    state.write(key, Some(bytes));
    Ok(())
}

/// What follows `prefix` in each key under it, as text.
pub fn suffixes(state: &dyn Read, prefix: &[u8], limit: usize) -> Result<Vec<String>, StoreError> {
    let rows = state.scan(prefix, None, limit)?;
    rows.into_iter()
        .map(|(key, _)| {
            let suffix = key.get(prefix.len()..).unwrap_or_default();
            String::from_utf8(suffix.to_vec()).map_err(|_| StoreError("key is not text".into()))
        })
        .collect()
}

/// The federation, once founded.
pub fn federation(state: &dyn Read) -> Result<Option<Federation>, StoreError> {
    row(state, &key::federation())
}

/// A bundle that is proposed.
pub fn proposal(state: &dyn Read, bundle: &Digest) -> Result<Option<Proposal>, StoreError> {
    row(state, &key::proposal(bundle))
}

/// Every bundle that is proposed, [`MAX_PROPOSALS`](crate::bundle::MAX_PROPOSALS) at most.
pub fn proposals(state: &dyn Read) -> Result<Vec<Proposal>, StoreError> {
    let rows = state.scan(&key::proposal_table(), None, usize::MAX)?;
    rows.iter().map(|(_, value)| decode(value)).collect()
}

/// Those who may endorse a bundle: every member.
pub fn endorsers(state: &dyn Read) -> Result<Vec<AgencyId>, StoreError> {
    let agencies = agencies(state)?.into_iter();
    Ok(agencies.filter(|a| a.active).map(|a| a.agency).collect())
}

/// The bundle that is proposed and endorsed, and whose time it is, if there is one: the one that
/// was proposed first.
pub fn endorsed(state: &dyn Read, now: Timestamp) -> Result<Option<Proposal>, StoreError> {
    let mut proposals = proposals(state)?;
    if proposals.is_empty() {
        return Ok(None);
    }
    let Some(federation) = federation(state)? else {
        return Ok(None);
    };
    let members = endorsers(state)?;
    proposals.sort_by_key(|p| p.index);
    let fits = |p: &Proposal| p.check(&federation.terms, &members, now).is_ok();
    Ok(proposals.into_iter().find(fits))
}

/// How far the log is sealed, once it is founded.
pub fn sealed(state: &dyn Read) -> Result<Option<Sealed>, StoreError> {
    row(state, &key::sealed())
}

/// An agency, member or former member.
pub fn agency(state: &dyn Read, id: &AgencyId) -> Result<Option<Agency>, StoreError> {
    row(state, &key::agency(id.as_str()))
}

/// A member.
pub fn member(state: &dyn Read, id: &AgencyId) -> Result<Option<Agency>, StoreError> {
    Ok(agency(state, id)?.filter(|a| a.active))
}

/// Every agency, members and former members.
pub fn agencies(state: &dyn Read) -> Result<Vec<Agency>, StoreError> {
    let rows = state.scan(&key::agency(""), None, usize::MAX)?;
    rows.iter().map(|(_, value)| decode(value)).collect()
}

/// An open invitation.
pub fn invitation(state: &dyn Read, token: &Digest) -> Result<Option<Invitation>, StoreError> {
    row(state, &key::invitation(token))
}

/// An agreement.
pub fn agreement(state: &dyn Read, id: &AgreementId) -> Result<Option<Agreement>, StoreError> {
    row(state, &key::agreement(id.as_str()))
}

/// Whether open requests rest on an agreement that is suspended or ended.
pub fn halted(state: &dyn Read, id: &AgreementId) -> Result<bool, StoreError> {
    Ok(state.get(&key::halted(id.as_str()))?.is_some())
}

/// A consent.
pub fn consent(state: &dyn Read, id: &ConsentId) -> Result<Option<Consent>, StoreError> {
    row(state, &key::consent(id.as_str()))
}

/// A case.
pub fn case(state: &dyn Read, id: &CaseId) -> Result<Option<Case>, StoreError> {
    row(state, &key::case(id.as_str()))
}

/// A request.
pub fn request(state: &dyn Read, id: &RequestId) -> Result<Option<RequestRow>, StoreError> {
    row(state, &key::request(id.as_str()))
}

/// A request by the text of a key.
pub fn request_by_text(state: &dyn Read, id: &str) -> Result<Option<RequestRow>, StoreError> {
    row(state, &key::request(id))
}

/// The index of the entry `supersedes` since which `agency` is awaited: what it said under the
/// former origin may be missing. `None` if it is not.
pub fn awaited(state: &dyn Read, agency: &AgencyId) -> Result<Option<u64>, StoreError> {
    row(state, &key::awaited(agency.as_str()))
}

/// Who has been a member under a former origin of the log and has not said since that nothing of
/// its own is missing; with the index of the entry `supersedes`.
pub fn all_awaited(state: &dyn Read) -> Result<Vec<(AgencyId, u64)>, StoreError> {
    let prefix = key::awaited("");
    let rows = state.scan(&prefix, None, usize::MAX)?;
    rows.into_iter()
        .map(|(key, value)| {
            let name = key.get(prefix.len()..).unwrap_or_default();
            let name = std::str::from_utf8(name).ok().and_then(|n| n.parse().ok());
            let name = name.ok_or_else(|| StoreError("key is not text".into()))?;
            Ok((name, decode(&value)?))
        })
        .collect()
}

/// Index of the newest entry `supersedes`: agreements and cases from before it, or said again after
/// it, carry nothing, since what ended them may be lost. `None` under the first origin.
pub fn origin(state: &dyn Read) -> Result<Option<u64>, StoreError> {
    row(state, &key::origin())
}

/// Whether a member is awaited: until it has said that nothing of its own is missing nobody may
/// ask, since what is missing may be a withdrawal.
pub fn is_recovering(state: &dyn Read) -> Result<bool, StoreError> {
    for (agency, _) in all_awaited(state)? {
        if member(state, &agency)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Agencies that left without having said that nothing of their own is missing: what they withdrew
/// or ended before the entry at this index may be lost for good.
pub fn unheard(state: &dyn Read) -> Result<Vec<(AgencyId, u64)>, StoreError> {
    let mut unheard = all_awaited(state)?;
    let mut failed = None;
    unheard.retain(|(agency, _)| match member(state, agency) {
        Ok(member) => member.is_none(),
        Err(error) => {
            failed = Some(error);
            true
        }
    });
    failed.map_or(Ok(unheard), Err)
}

/// The index at which a statement was sequenced.
pub fn seen(state: &dyn Read, statement: &Digest) -> Result<Option<u64>, StoreError> {
    row(state, &key::seen(statement))
}

/// The indices of an agency's entries from `from` on, at most `limit`.
pub fn mailbox(
    state: &dyn Read,
    agency: &AgencyId,
    from: u64,
    limit: usize,
) -> Result<Vec<u64>, StoreError> {
    indices(state, &key::mailbox_of(agency), from, limit)
}

/// The indices of membership entries from `from` on.
pub fn membership(state: &dyn Read, from: u64, limit: usize) -> Result<Vec<u64>, StoreError> {
    indices(state, &key::membership_table(), from, limit)
}

/// Whether the entry at `index` concerns `agency`.
pub fn concerns(state: &dyn Read, agency: &AgencyId, index: u64) -> Result<bool, StoreError> {
    Ok(state.get(&key::mailbox(agency, index))?.is_some()
        || state.get(&key::membership(index))?.is_some())
}

/// The indices that follow `prefix`, from `from` on, at most `limit`.
pub(crate) fn indices(
    state: &dyn Read,
    prefix: &[u8],
    from: u64,
    limit: usize,
) -> Result<Vec<u64>, StoreError> {
    let after = from
        .checked_sub(1)
        .map(|i| [prefix, &i.to_be_bytes()].concat());
    let rows = state.scan(prefix, after.as_deref(), limit)?;
    rows.iter()
        .map(|(key, _)| {
            let suffix = key.get(prefix.len()..).and_then(|s| s.try_into().ok());
            suffix
                .map(u64::from_be_bytes)
                .ok_or_else(|| StoreError("key has no index".into()))
        })
        .collect()
}

/// Every consent about `subject`; `None` if there are more than [`MAX_CANDIDATES`].
pub fn consents_of(view: &dyn Read, subject: &Handle) -> Result<Option<Vec<Consent>>, StoreError> {
    candidates(view, &key::consent_by_subject(subject, ""), key::consent)
}

/// Agreements, signed by all, with a line from `from` to `to`; `None` if there are more than
/// [`MAX_CANDIDATES`].
pub fn agreements_between(
    view: &dyn Read,
    from: &AgencyId,
    to: &AgencyId,
) -> Result<Option<Vec<Agreement>>, StoreError> {
    candidates(view, &key::agreement_by_pair(from, to, ""), key::agreement)
}

fn candidates<T: DeserializeOwned>(
    view: &dyn Read,
    index: &[u8],
    table: impl Fn(&str) -> Vec<u8>,
) -> Result<Option<Vec<T>>, StoreError> {
    let ids = suffixes(view, index, MAX_CANDIDATES.saturating_add(1))?;
    if ids.len() > MAX_CANDIDATES {
        return Ok(None);
    }
    let rows = ids
        .iter()
        .filter_map(|id| row(view, &table(id)).transpose());
    rows.collect::<Result<_, _>>().map(Some)
}
