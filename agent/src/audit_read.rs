//! Reading the log, believing nothing: every row is hashed, and the root over all must be that of a
//! checkpoint which the log signed and a quorum of the members cosigned.
//!
//! In scope: fetching from the broker, reading from this agency's own mirror, checking, one
//! sentence an entry, searching, the export file.
//! Out of scope: checking an export later, alone (binary `passerelle-audit`); what a search finds
//! ([`passerelle_audit::search`]); keeping the mirror ([`crate::mirror`]).

mod describe;
mod openings;
mod search;

pub use search::{SearchFailure, SearchView, search};

use crate::{holder::storage, node::Node, session::code_of, state};
use describe::describe;
use passerelle_audit::{
    checkpoint::{self, SignedCheckpoint},
    cosignature::cosigned_by,
    export::{ExportHeader, ExportRow, write_header, write_row},
    merkle::{Frontier, leaf_hash},
};
use passerelle_model::{
    bytes::Digest,
    commitment::Opening,
    entry::{Entry, MAX_ENTRY_BYTES},
    error::ErrorCode,
    vocabulary::Sector,
};
use passerelle_proto::{
    MAX_MESSAGE_BYTES, convert,
    v1::{EntriesRequest, LatestCheckpointRequest, LogRow, log_read_client::LogReadClient},
    views::{AuditLine, AuditPage},
};
use std::time::Duration;
use tokio::{
    task::block_in_place,
    time::{Instant, timeout},
};

/// How long one reply may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// How much longer all of them may take for each that comes: ten a second are few for any link.
const PACE: Duration = Duration::from_millis(100);
/// Most bytes of entries and openings held in memory at once.
const MAX_BYTES: usize = 512 * 1024 * 1024;
/// Most entries on a page.
const MAX_PAGE: usize = 1_000;

/// A row, checked once the root over all is.
pub struct Row {
    pub(crate) entry: Option<Vec<u8>>,
    pub(crate) leaf: Digest,
    pub(crate) openings: Vec<Opening>,
}

impl Row {
    /// About what it takes in memory: openings come beside an entry, and are not in its root.
    fn bytes(&self) -> usize {
        let entry = self.entry.as_ref().map_or(64, Vec::len);
        let opening = |o: &Opening| o.data.0.len().saturating_add(64);
        let openings = self.openings.iter().map(opening);
        openings.fold(entry, usize::saturating_add)
    }
}

/// A checkpoint that the log signed and a quorum of the panel cosigned.
pub(crate) struct Offer {
    pub(crate) signed: SignedCheckpoint,
    pub(crate) note: String,
    pub(crate) cosignatures: usize,
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Head {
    checkpoint: String,
    cosignatures: usize,
    from_mirror: bool,
}

/// The log up to a checkpoint, checked.
pub struct CheckedLog {
    head: Head,
    rows: Vec<Row>,
}

/// Who takes the rows, in order.
type Each<'a> = &'a mut (dyn FnMut(Row) -> Result<(), ErrorCode> + Send);

/// Whether this agency may read every entry.
pub(crate) fn reads_all(node: &Node) -> bool {
    node.context.identity.membership.sector == Sector::Oversight
}

/// The newest checkpoint that the broker shows, if the log signed it and a quorum cosigned it.
///
/// # Errors
/// [`ErrorCode::Unavailable`]; [`ErrorCode::ProofInvalid`] or [`ErrorCode::NoQuorum`].
pub(crate) async fn latest(node: &Node) -> Result<Offer, ErrorCode> {
    let mut client = LogReadClient::new(node.channel.clone());
    let latest = timeout(
        DEADLINE,
        client.latest_checkpoint(LatestCheckpointRequest {}),
    );
    let latest = latest.await.map_err(|_| ErrorCode::Unavailable)?;
    offer(
        node,
        latest.map_err(|s| code_of(&s))?.into_inner().checkpoint,
    )
}

/// Checks the note of a checkpoint.
///
/// # Errors
/// [`ErrorCode::ProofInvalid`] or [`ErrorCode::NoQuorum`].
pub(crate) fn offer(node: &Node, note: String) -> Result<Offer, ErrorCode> {
    let trust = node.trust()?;
    let signed = checkpoint::open(&note, &trust.anchors.log);
    let signed = signed.map_err(|_| ErrorCode::ProofInvalid)?;
    let cosigned = cosigned_by(&signed, trust.witnesses()).map_err(|_| ErrorCode::ProofInvalid)?;
    if cosigned.len() < trust.quorum() {
        return Err(ErrorCode::NoQuorum);
    }
    Ok(Offer {
        signed,
        note,
        cosignatures: cosigned.len(),
    })
}

/// Fetches the rows from the size of `tree` up to the checkpoint's, and gives each to `each`. They
/// count for nothing before the root of `tree` has been compared.
///
/// # Errors
/// [`ErrorCode::Unavailable`]; [`ErrorCode::ProofInvalid`] for rows out of order or hidden from
/// who reads all; those of `each`.
pub(crate) async fn rows(
    node: &Node,
    offer: &Offer,
    tree: &mut Frontier,
    each: Each<'_>,
) -> Result<(), ErrorCode> {
    let mut client =
        LogReadClient::new(node.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let until = offer.signed.checkpoint().size();
    let from = tree.size();
    if from >= until {
        return Ok(());
    }
    let request = EntriesRequest { from, until };
    let entries = timeout(DEADLINE, client.entries(request)).await;
    let entries = entries.map_err(|_| ErrorCode::Unavailable)?;
    let mut stream = entries.map_err(|s| code_of(&s))?.into_inner();
    let began = Instant::now();
    let mut patience = DEADLINE;
    while tree.size() < until {
        let row = timeout(DEADLINE, stream.message()).await;
        let row = row.map_err(|_| ErrorCode::Unavailable)?;
        // Else a row each half minute would keep a mirror from ever saying that it is behind.
        patience = patience.saturating_add(PACE);
        if began.elapsed() > patience {
            return Err(ErrorCode::Unavailable);
        }
        let row = row
            .map_err(|s| code_of(&s))?
            .ok_or(ErrorCode::ProofInvalid)?;
        if row.index != tree.size() {
            return Err(ErrorCode::ProofInvalid);
        }
        let row = check_row(row, reads_all(node))?;
        tree.push(row.leaf);
        each(row)?;
    }
    Ok(())
}

/// Reads the whole log up to the newest cosigned checkpoint, from the broker.
async fn from_broker(node: &Node, each: Each<'_>) -> Result<Head, ErrorCode> {
    let offer = latest(node).await?;
    let size = offer.signed.checkpoint().size();
    let meta = state::meta(node.core.view()).map_err(storage)?;
    check_size(size, &meta)?;
    let mut tree = Frontier::new();
    rows(node, &offer, &mut tree, each).await?;
    if tree.root() != offer.signed.checkpoint().root() {
        return Err(ErrorCode::ProofInvalid);
    }
    Ok(Head {
        checkpoint: offer.note,
        cosignatures: offer.cosignatures,
        from_mirror: false,
    })
}

/// Reads the whole log up to the newest checkpoint that the mirror has verified, from the mirror.
fn from_mirror(node: &Node, opened: bool, each: Each<'_>) -> Result<Head, ErrorCode> {
    let mirror = node.mirror.as_ref().ok_or(ErrorCode::WrongState)?;
    let verified = mirror.verified().ok_or(ErrorCode::Unavailable)?;
    // The members may have changed since: whoever cosigned it did so when it counted.
    let trust = node.trust()?;
    let cosigned = cosigned_by(verified.signed(), trust.witnesses());
    let mut tree = Frontier::new();
    let mut take = |entry: Vec<u8>, openings| {
        let leaf = leaf_hash(&entry);
        tree.push(leaf);
        each(Row {
            entry: Some(entry),
            leaf,
            openings,
        })
    };
    let size = verified.size();
    match opened {
        true => mirror.read_opened(0, size, &mut take)?,
        false => mirror.read(0, size, &mut |entry| take(entry, Vec::new()))?,
    }
    // It was verified before it was stored: this finds a disk that rots.
    if tree.root() != verified.signed().checkpoint().root() {
        return Err(ErrorCode::Storage);
    }
    Ok(Head {
        checkpoint: verified.signed().note().to_string(),
        cosignatures: cosigned.map_or(0, |cosigned| cosigned.len()),
        from_mirror: true,
    })
}

/// Where to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the broker; from the mirror, if there is one, while the broker can't be reached.
    Newest,
    /// From the mirror alone.
    Mirror,
}

/// Shows every row to something made by `begin`, which begins anew where the source changes.
async fn walk<T: Send>(
    node: &Node,
    (source, opened): (Source, bool),
    begin: impl Fn() -> T + Send + Sync,
    take: impl Fn(&mut T, Row) -> Result<(), ErrorCode> + Send + Sync,
) -> Result<(Head, T), ErrorCode> {
    if source == Source::Newest {
        let mut taken = begin();
        match from_broker(node, &mut |row| take(&mut taken, row)).await {
            Ok(head) => return Ok((head, taken)),
            Err(ErrorCode::Unavailable | ErrorCode::NoQuorum) if has_mirror(node) => {
                tracing::info!("the broker can't be read now: the mirror is");
            }
            Err(code) => return Err(code),
        }
    }
    let mut taken = begin();
    // Seconds for a large log: not on a thread that serves others.
    let head = block_in_place(|| from_mirror(node, opened, &mut |row| take(&mut taken, row)))?;
    Ok((head, taken))
}

fn has_mirror(node: &Node) -> bool {
    let mirror = node.mirror.as_ref();
    mirror.and_then(|mirror| mirror.verified()).is_some()
}

/// Reads and checks the whole log.
///
/// # Errors
/// [`ErrorCode::Unavailable`]; [`ErrorCode::ProofInvalid`] or [`ErrorCode::NoQuorum`] if it is
/// not what the witnesses cosigned; [`ErrorCode::WrongState`] without a mirror that is asked for.
pub async fn read(node: &Node, source: Source) -> Result<CheckedLog, ErrorCode> {
    read_with(node, source, false).await
}

/// As [`read`]; with `opened` what the mirror has opens whom its entries are about, as what the
/// broker gives an oversight body does anyway.
///
/// # Errors
/// As there.
pub async fn read_with(node: &Node, source: Source, opened: bool) -> Result<CheckedLog, ErrorCode> {
    let take = |(rows, bytes): &mut (Vec<Row>, usize), row: Row| {
        *bytes = bytes.saturating_add(row.bytes());
        if *bytes > MAX_BYTES {
            return Err(ErrorCode::TooLarge);
        }
        rows.push(row);
        Ok(())
    };
    let (head, (rows, _)) = walk(node, (source, opened), || (Vec::new(), 0), take).await?;
    Ok(CheckedLog { head, rows })
}

/// Notices may have proved a longer log than the one offered: then it leaves something out.
fn check_size(size: u64, meta: &state::Meta) -> Result<(), ErrorCode> {
    if size < meta.next_notice.max(meta.next_member) {
        return Err(ErrorCode::ProofInvalid);
    }
    Ok(())
}

/// An oversight body may read every entry: one that is hidden from it is a fault.
fn check_row(row: LogRow, reads_all: bool) -> Result<Row, ErrorCode> {
    let LogRow {
        index: _,
        entry,
        leaf_hash: hash,
        openings,
    } = row;
    let (entry, leaf) = match (entry.as_slice(), hash.as_slice()) {
        ([], _) if reads_all => return Err(ErrorCode::ProofInvalid),
        // No log holds a longer one.
        (bytes, _) if bytes.len() > MAX_ENTRY_BYTES => return Err(ErrorCode::ProofInvalid),
        ([], hash) => (None, Digest::from_slice(hash).ok_or(ErrorCode::Malformed)?),
        (bytes, _) => {
            let leaf = leaf_hash(bytes);
            (Some(entry), leaf)
        }
    };
    Ok(Row {
        entry,
        leaf,
        openings: convert::openings(openings)?,
    })
}

/// A page of the log: `from` to `until` (0: the end), or the last so many.
///
/// # Errors
/// [`ErrorCode::Malformed`]: an entry is in the log but in no form known here.
pub fn page(log: &CheckedLog, from: u64, until: u64, last: u32) -> Result<AuditPage, ErrorCode> {
    let size = log.rows.len() as u64;
    let until = if until == 0 { size } else { until.min(size) };
    let from = match last {
        0 => from,
        last => from.max(until.saturating_sub(u64::from(last))),
    };
    let entries = (0_u64..)
        .zip(&log.rows)
        .filter(|(index, _)| (from..until).contains(index))
        .take(MAX_PAGE)
        .map(|(index, row)| line(index, row))
        .collect::<Result<_, _>>()?;
    Ok(AuditPage {
        size,
        cosignatures: log.head.cosignatures as u64,
        from_mirror: log.head.from_mirror,
        entries,
    })
}

fn line(index: u64, row: &Row) -> Result<AuditLine, ErrorCode> {
    let leaf_hash = row.leaf.to_hex();
    let Some(bytes) = &row.entry else {
        return Ok(AuditLine {
            index,
            entry: None,
            what: "sealed".to_owned(),
            summary: "concerns other agencies".to_owned(),
            leaf_hash,
        });
    };
    let entry = Entry::from_bytes(bytes).map_err(|_| ErrorCode::Malformed)?;
    let (what, summary) = describe(&entry)?;
    Ok(AuditLine {
        index,
        entry: Some(serde_json::from_slice(bytes).map_err(|_| ErrorCode::Malformed)?),
        what,
        summary,
        leaf_hash,
    })
}

/// The export file, in the one spelling that an auditor's program reads.
///
/// # Errors
/// [`ErrorCode::Internal`]: it can't be encoded.
pub fn export(node: &Node, log: &CheckedLog) -> Result<Vec<u8>, ErrorCode> {
    let membership = &node.context.identity.membership;
    let header = ExportHeader::new(
        log.head.checkpoint.clone(),
        node.context.identity.anchors.log.to_string(),
        membership.federation.clone(),
    );
    let mut file = Vec::new();
    write_header(&mut file, &header).map_err(|_| ErrorCode::Internal)?;
    for (index, row) in (0_u64..).zip(&log.rows) {
        let row = match &row.entry {
            Some(entry) => ExportRow::Entry {
                index,
                entry: entry.clone(),
                openings: row.openings.clone(),
            },
            None => ExportRow::Hidden {
                index,
                leaf_hash: row.leaf,
            },
        };
        write_row(&mut file, &row).map_err(|_| ErrorCode::Internal)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_hidden_from_an_oversight_body_is_a_fault() {
        let hidden = || LogRow {
            leaf_hash: vec![1; 32],
            ..LogRow::default()
        };
        assert!(check_row(hidden(), false).is_ok());
        assert_eq!(
            check_row(hidden(), true).err(),
            Some(ErrorCode::ProofInvalid)
        );
        let shown = LogRow {
            entry: b"{}".to_vec(),
            ..LogRow::default()
        };
        assert!(check_row(shown, true).is_ok());
    }

    #[test]
    fn a_log_shorter_than_what_notices_proved_is_refused() {
        let meta = state::Meta {
            next_notice: 5,
            next_member: 7,
            ..state::Meta::default()
        };
        assert_eq!(check_size(6, &meta), Err(ErrorCode::ProofInvalid));
        assert_eq!(check_size(7, &meta), Ok(()));
    }
}
