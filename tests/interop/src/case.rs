//! What is judged: a thing in one of the formats, with the keys and the place to judge it by.

use passerelle_model::bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which check a case is for. The names are those that the Go program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The text of a log's key.
    LogKey,
    /// The text of a witness's key.
    WitnessKey,
    /// A checkpoint with the log's signature alone.
    Checkpoint,
    /// A checkpoint that all given witnesses have cosigned.
    Cosigned,
    /// An inclusion proof beside a root.
    Inclusion,
    /// A consistency proof between two roots.
    Consistency,
    /// An offline proof (tlog-proof) for an entry.
    Proof,
    /// A directory of tiles and bundles against a checkpoint.
    Tiles,
    /// Proofs that must come out of the tiles of a directory.
    TileProofs,
    /// A request to a witness. Only Passerelle judges it: Tessera has the asking side alone.
    Request,
}

impl Kind {
    /// Its name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LogKey => "log key",
            Self::WitnessKey => "witness key",
            Self::Checkpoint => "checkpoint",
            Self::Cosigned => "cosigned checkpoint",
            Self::Inclusion => "inclusion proof",
            Self::Consistency => "consistency proof",
            Self::Proof => "tlog-proof",
            Self::Tiles => "tiles and bundles",
            Self::TileProofs => "proofs out of tiles",
            Self::Request => "witness request",
        }
    }

    /// The part that travels as text, if there is one.
    pub(crate) fn text_part(self) -> Option<&'static str> {
        match self {
            Self::LogKey | Self::WitnessKey => Some("key"),
            Self::Checkpoint | Self::Cosigned | Self::Tiles | Self::TileProofs => Some("note"),
            Self::Proof => Some("proof"),
            Self::Request => Some("request"),
            Self::Inclusion | Self::Consistency => None,
        }
    }
}

/// One thing to judge.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Case {
    /// The check.
    pub(crate) kind: Kind,
    /// What it takes; numbers as decimals, hashes as they are, several of them one after another.
    pub(crate) parts: BTreeMap<&'static str, Bytes>,
}

impl Case {
    /// A case without parts.
    pub(crate) fn new(kind: Kind) -> Self {
        let parts = BTreeMap::new();
        Self { kind, parts }
    }

    /// The same with a part set.
    pub(crate) fn with(&self, part: &'static str, bytes: impl AsRef<[u8]>) -> Self {
        let mut case = self.clone();
        case.parts.insert(part, Bytes(bytes.as_ref().to_vec()));
        case
    }

    /// The same as another kind.
    pub(crate) fn of(&self, kind: Kind) -> Self {
        Self {
            kind,
            ..self.clone()
        }
    }

    /// A part; empty if there is none.
    pub(crate) fn part(&self, part: &str) -> &[u8] {
        self.parts.get(part).map_or(&[], |bytes| &bytes.0)
    }

    /// A part as text.
    pub(crate) fn text(&self, part: &str) -> Result<&str, String> {
        std::str::from_utf8(self.part(part)).map_err(|_| format!("`{part}` is not UTF-8"))
    }

    /// A part as a number.
    pub(crate) fn number(&self, part: &str) -> Result<u64, String> {
        let number = self.text(part)?.parse();
        number.map_err(|_| format!("`{part}` is not a number"))
    }
}

/// What a side says of a case.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Verdict {
    /// Whether it is accepted.
    pub(crate) ok: bool,
    /// As what: two cases with one meaning say the same.
    pub(crate) meaning: String,
    /// Why not.
    pub(crate) why: String,
}

impl From<Result<String, String>> for Verdict {
    fn from(outcome: Result<String, String>) -> Self {
        let (ok, meaning, why) = match outcome {
            Ok(meaning) => (true, meaning, String::new()),
            Err(why) => (false, String::new(), why),
        };
        Self { ok, meaning, why }
    }
}

/// Who made what is judged, or who judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    /// Passerelle.
    Ours,
    /// Go's libraries and Tessera.
    Theirs,
}

/// Something that both sides accept, and who made it.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// Who made it.
    pub(crate) maker: Side,
    /// What it is, for people.
    pub(crate) name: String,
    /// What is judged.
    pub(crate) case: Case,
    /// Private keys to sign nonsense with.
    pub(crate) keys: Keys,
}

/// The private keys of a log and its witnesses, all made for this run.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// The log's.
    pub(crate) log: ed25519_dalek::SigningKey,
    /// Those of witnesses, in the order of the `witness_keys`; fewer if some are not known.
    pub(crate) witnesses: Vec<ed25519_dalek::SigningKey>,
}

/// A base with one thing changed.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    /// What was changed; before a colon the class.
    pub(crate) change: String,
    /// What is judged.
    pub(crate) case: Case,
}

impl Trial {
    /// The class of the change.
    pub(crate) fn class(&self) -> &str {
        self.change.split(':').next().unwrap_or_default()
    }
}
