//! C2SP tlog-tiles v0.1.0: the tree and the entries as static files.
//!
//! In scope: paths, the bytes of hash tiles and entry bundles, which files a growth adds.
//! Out of scope: writing, serving and deleting them, checkpoints.

use crate::merkle::HashRead;
use crate::text;
use passerelle_model::bytes::Digest;
use std::{fmt, str::FromStr};

/// Hashes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Largest entry in bytes: its length is a 16-bit number in a bundle.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;
/// Highest level that a path may name.
pub const MAX_LEVEL: u8 = 63;
/// Longest path that is looked at: any 64-bit index fits.
const MAX_PATH_BYTES: usize = 64;
/// Tree levels per tile level: a tile spans a subtree of 2^8 leaves.
const TILE_HEIGHT: u32 = 8;

/// Why a path, a tile or a bundle is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Not a path of a tile or bundle in its one spelling.
    #[error("not a tile path")]
    MalformedPath,
    /// The tree has too few leaves for this tile.
    #[error("the tree of {size} leaves has no tile `{path}`")]
    NotInTree {
        /// Number of leaves.
        size: u64,
        /// The path of the tile.
        path: String,
    },
    /// Over [`MAX_ENTRY_BYTES`].
    #[error("the entry has {size_bytes} bytes, more than {MAX_ENTRY_BYTES}")]
    EntryTooLarge {
        /// Its size in bytes.
        size_bytes: usize,
    },
    /// Not 1 to 256 entries.
    #[error("a bundle holds 1 to {TILE_WIDTH} entries")]
    WrongCount,
    /// A bundle that ends within an entry.
    #[error("the bundle ends within entry {entry}")]
    Truncated {
        /// Its number within the bundle, from zero.
        entry: usize,
    },
    /// A tile whose size is not one hash for each unit of its width.
    #[error("the tile has the wrong size")]
    WrongSize,
}

/// What a tile file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TileKind {
    /// Hashes at this tile level, 0 to [`MAX_LEVEL`]; level 0 has the leaf hashes.
    Hashes(u8),
    /// Log entries.
    Entries,
}

/// The place of one tile or bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl TilePath {
    /// `width` is 1 to [`TILE_WIDTH`] hashes or entries; below the full width the tile is partial.
    pub fn new(kind: TileKind, index: u64, width: u16) -> Option<Self> {
        let level_fits = !matches!(kind, TileKind::Hashes(level) if level > MAX_LEVEL);
        let fits = level_fits && (1..=TILE_WIDTH).contains(&width);
        fits.then_some(Self { kind, index, width })
    }

    /// What the file holds.
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// Position within the level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Number of hashes or entries.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether the tile will still grow.
    pub fn is_partial(&self) -> bool {
        self.width < TILE_WIDTH
    }

    /// Index of the first hash or entry at the tile's level.
    pub fn start(&self) -> Option<u64> {
        self.index.checked_mul(u64::from(TILE_WIDTH))
    }

    fn parse_strict(path: &str) -> Option<Self> {
        if path.len() > MAX_PATH_BYTES {
            return None;
        }
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(u8::try_from(text::decimal(level)?).ok()?),
        };
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => {
                let width = u16::try_from(text::decimal(width)?).ok()?;
                (index, (width < TILE_WIDTH).then_some(width)?)
            }
            None => (rest, TILE_WIDTH),
        };
        let mut number: u64 = 0;
        for element in index.split('/') {
            let digits = element.strip_prefix('x').unwrap_or(element);
            if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            number = number
                .checked_mul(1000)?
                .checked_add(digits.parse().ok()?)?;
        }
        Self::new(kind, number, width)
    }
}

/// The path below the log's prefix, without a leading slash.
impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => write!(f, "tile/entries/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for (position, group) in groups.iter().enumerate().rev() {
            match position {
                0 => write!(f, "{group:03}")?,
                _ => write!(f, "x{group:03}/")?,
            }
        }
        if self.is_partial() {
            write!(f, ".p/{}", self.width)
        } else {
            Ok(())
        }
    }
}

impl FromStr for TilePath {
    type Err = TileError;

    fn from_str(path: &str) -> Result<Self, TileError> {
        let parsed = Self::parse_strict(path).ok_or(TileError::MalformedPath)?;
        // Written again and compared: refuses missing or extra `x` and leading groups of zeros.
        if parsed.to_string() == path {
            Ok(parsed)
        } else {
            Err(TileError::MalformedPath)
        }
    }
}

/// The tiles and bundles that a log must write when it grows from `old_size` to `new_size`
/// leaves, bundles first: nothing points to an entry that is not there yet.
///
/// Partial tiles of the old size are superseded by the ones here. The list is about 1/128 of the
/// growth, so grow in steps.
pub fn new_tiles(old_size: u64, new_size: u64) -> Vec<TilePath> {
    let mut paths = level_tiles(TileKind::Entries, old_size, new_size);
    for level in 0..u64::BITS / TILE_HEIGHT {
        let shift = level * TILE_HEIGHT;
        let (old, new) = (old_size >> shift, new_size >> shift);
        let Ok(level) = u8::try_from(level) else {
            break;
        };
        paths.extend(level_tiles(TileKind::Hashes(level), old, new));
    }
    paths
}

fn level_tiles(kind: TileKind, old: u64, new: u64) -> Vec<TilePath> {
    let full = u64::from(TILE_WIDTH);
    if old >= new {
        return Vec::new();
    }
    (old / full..=(new - 1) / full)
        .filter_map(|index| {
            let width = (new - index * full).min(full);
            TilePath::new(kind, index, u16::try_from(width).ok()?)
        })
        .collect()
}

/// The bytes of a hash tile of this tree: its hashes, one after another.
pub fn tile_content(
    tree: &(impl HashRead + ?Sized),
    path: &TilePath,
) -> Result<Vec<u8>, TileError> {
    let missing = || TileError::NotInTree {
        size: tree.size(),
        path: path.to_string(),
    };
    let TileKind::Hashes(level) = path.kind else {
        return Err(missing());
    };
    let start = path.start().ok_or_else(missing)?;
    let hashes = tree.run(u32::from(level) * TILE_HEIGHT, start, path.width);
    let hashes = hashes.ok_or_else(missing)?;
    Ok(hashes.iter().flat_map(|hash| hash.0).collect())
}

/// The hashes in the bytes of a tile of `width` hashes.
pub fn decode_tile(content: &[u8], width: u16) -> Result<Vec<Digest>, TileError> {
    let (hashes, rest) = content.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() != usize::from(width) {
        return Err(TileError::WrongSize);
    }
    Ok(hashes.iter().copied().map(Digest).collect())
}

/// The bytes of a bundle of 1 to 256 entries: each one after its length in 16 bits.
pub fn encode_bundle<'a>(
    entries: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, TileError> {
    let mut bundle = Vec::new();
    let mut count = 0;
    for entry in entries {
        let too_large = |_| TileError::EntryTooLarge {
            size_bytes: entry.len(),
        };
        let length = u16::try_from(entry.len()).map_err(too_large)?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
        count += 1;
        if count > TILE_WIDTH {
            return Err(TileError::WrongCount);
        }
    }
    if count == 0 {
        Err(TileError::WrongCount)
    } else {
        Ok(bundle)
    }
}

/// The entries in a bundle of exactly `width` of them.
pub fn decode_bundle(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::new();
    let mut rest = bundle;
    while !rest.is_empty() {
        let truncated = TileError::Truncated {
            entry: entries.len(),
        };
        if entries.len() == usize::from(width) {
            return Err(TileError::WrongCount);
        }
        let Some((length, after)) = rest.split_first_chunk::<2>() else {
            return Err(truncated);
        };
        let length = usize::from(u16::from_be_bytes(*length));
        let Some((entry, after)) = after.split_at_checked(length) else {
            return Err(truncated);
        };
        entries.push(entry);
        rest = after;
    }
    if entries.len() == usize::from(width) && width > 0 {
        Ok(entries)
    } else {
        Err(TileError::WrongCount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{Tree, leaf_hash, node_hash};
    use proptest::prelude::*;

    fn tree(size: u64) -> Tree {
        let mut tree = Tree::new();
        for n in 0..size {
            tree.push(leaf_hash(&n.to_be_bytes()));
        }
        tree
    }

    fn path(text: &str) -> TilePath {
        text.parse().unwrap()
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        let full = TilePath::new(TileKind::Hashes(0), 1_234_067, 256).unwrap();
        assert_eq!(full.to_string(), "tile/0/x001/x234/067");
        let partial = TilePath::new(TileKind::Entries, 273, 112).unwrap();
        assert_eq!(partial.to_string(), "tile/entries/273.p/112");
        assert_eq!(
            path("tile/63/000"),
            TilePath::new(TileKind::Hashes(63), 0, 256).unwrap()
        );
    }

    #[test]
    fn other_spellings_of_paths_are_refused() {
        for text in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "/tile/0/000",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/data/000",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/0/x001",
            "tile/0/x001/x002",
            "tile/0/+01",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p",
            "tile/0/000/",
            "tile/0/../000",
            "tile/0/000.p/1/",
            "tile/0/xx01/002",
            "tile/8/0/000",
            // 2^64
            "tile/0/x018/x446/x744/x073/x709/x551/616",
        ] {
            assert_eq!(
                text.parse::<TilePath>(),
                Err(TileError::MalformedPath),
                "{text}"
            );
        }
        assert_eq!(
            path("tile/0/x018/x446/x744/x073/x709/x551/615").index(),
            u64::MAX
        );
    }

    #[test]
    fn a_tree_of_70000_has_the_tiles_of_the_specification() {
        let all = new_tiles(0, 70_000);
        let of = |kind| {
            all.iter()
                .filter(move |tile| tile.kind() == kind)
                .collect::<Vec<_>>()
        };
        let leaves = of(TileKind::Hashes(0));
        assert_eq!(leaves.len(), 274);
        assert_eq!(leaves.iter().filter(|tile| tile.is_partial()).count(), 1);
        assert_eq!(leaves[273].width(), 112);
        assert_eq!(of(TileKind::Entries).len(), 274);
        let upper: Vec<_> = of(TileKind::Hashes(1))
            .iter()
            .map(|tile| tile.width())
            .collect();
        assert_eq!(upper, [256, 17]);
        assert_eq!(of(TileKind::Hashes(2)), [&path("tile/2/000.p/1")]);
        assert!(of(TileKind::Hashes(3)).is_empty());
    }

    #[test]
    fn growth_writes_only_what_changed() {
        assert!(new_tiles(300, 300).is_empty());
        let grown: Vec<_> = new_tiles(255, 257)
            .iter()
            .map(TilePath::to_string)
            .collect();
        assert_eq!(
            grown,
            [
                "tile/entries/000",
                "tile/entries/001.p/1",
                "tile/0/000",
                "tile/0/001.p/1",
                "tile/1/000.p/1",
            ]
        );
        let grown: Vec<_> = new_tiles(256, 300)
            .iter()
            .map(TilePath::to_string)
            .collect();
        assert_eq!(grown, ["tile/entries/001.p/44", "tile/0/001.p/44"]);
    }

    #[test]
    fn upper_tiles_hold_the_roots_of_full_tiles_below() {
        let tree = tree(600);
        let lower = tile_content(&tree, &path("tile/0/001")).unwrap();
        let mut hashes = decode_tile(&lower, 256).unwrap();
        while hashes.len() > 1 {
            hashes = hashes
                .chunks(2)
                .map(|pair| node_hash(&pair[0], &pair[1]))
                .collect();
        }
        let upper = tile_content(&tree, &path("tile/1/000.p/2")).unwrap();
        assert_eq!(decode_tile(&upper, 2).unwrap()[1], hashes[0]);
        for beyond in [
            "tile/1/000.p/3",
            "tile/0/002.p/89",
            "tile/8/000",
            "tile/entries/000",
        ] {
            let refused = tile_content(&tree, &path(beyond));
            assert!(
                matches!(refused, Err(TileError::NotInTree { .. })),
                "{beyond}"
            );
        }
        assert_eq!(decode_tile(&upper, 3), Err(TileError::WrongSize));
        assert_eq!(decode_tile(&upper[1..], 2), Err(TileError::WrongSize));
    }

    #[test]
    fn bundles_hold_1_to_256_entries_of_up_to_65535_bytes() {
        let largest = vec![7; MAX_ENTRY_BYTES];
        let bundle = encode_bundle([&largest[..], b""]).unwrap();
        assert_eq!(decode_bundle(&bundle, 2).unwrap(), [&largest[..], b""]);
        let larger = vec![7; MAX_ENTRY_BYTES + 1];
        let refused = encode_bundle([&larger[..]]);
        assert_eq!(
            refused,
            Err(TileError::EntryTooLarge { size_bytes: 65_536 })
        );
        assert_eq!(encode_bundle([]), Err(TileError::WrongCount));
        assert!(encode_bundle(vec![&b"x"[..]; 256]).is_ok());
        assert_eq!(
            encode_bundle(vec![&b"x"[..]; 257]),
            Err(TileError::WrongCount)
        );
        assert_eq!(decode_bundle(b"", 0), Err(TileError::WrongCount));
    }

    #[test]
    fn bundles_of_another_width_or_cut_short_are_refused() {
        let bundle = encode_bundle([&b"one"[..], b"two"]).unwrap();
        assert_eq!(decode_bundle(&bundle, 1), Err(TileError::WrongCount));
        assert_eq!(decode_bundle(&bundle, 3), Err(TileError::WrongCount));
        for end in [1, 4, 6, 9] {
            assert!(matches!(
                decode_bundle(&bundle[..end], 2),
                Err(TileError::Truncated { .. })
            ));
        }
    }

    proptest! {
        #[test]
        fn path_round_trips(
            level in prop::option::of(0..=MAX_LEVEL), index: u64, width in 1..=TILE_WIDTH,
        ) {
            let kind = level.map_or(TileKind::Entries, TileKind::Hashes);
            let tile = TilePath::new(kind, index, width).unwrap();
            prop_assert_eq!(path(&tile.to_string()), tile);
        }

        #[test]
        fn bundle_round_trips(
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..=256),
        ) {
            let bundle = encode_bundle(entries.iter().map(Vec::as_slice)).unwrap();
            let width = u16::try_from(entries.len()).unwrap();
            prop_assert_eq!(decode_bundle(&bundle, width).unwrap(), entries);
        }
    }
}
