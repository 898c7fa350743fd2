//! The files of a log (C2SP tlog-tiles v0.1.0), made out of an export of it.
//!
//! In scope: which files there are and what is in each, so that a plain web server and programs
//! that know nothing of us can serve and read the log. Out of scope: writing them, whether the
//! export is the log (verify it first, see [`crate::verify`]), who may read which.

use crate::{
    checkpoint::Checkpoint,
    export::{ExportError, ExportReader, ExportRow},
    merkle::{MerkleError, Tree, leaf_hash},
    note::Note,
    tiles::{TILE_WIDTH, TileError, TileKind, TilePath, encode_bundle, new_tiles, tile_content},
};
use passerelle_model::bytes::Digest;
use std::io::{self, BufRead};

/// The name of the newest checkpoint among the files.
pub const CHECKPOINT: &str = "checkpoint";

/// Why there are no files.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The export can't be read.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Its checkpoint is none, or its rows are not what it commits to.
    #[error("the export is not in order: {0}")]
    NotInOrder(String),
    /// Who exported the log may not read this entry.
    #[error("entry {0} is not readable in this export, so no bundle can hold it")]
    Hidden(u64),
    /// The file changed between two readings.
    #[error("the export changed while it was read")]
    Changed,
    /// What was made before is of another log, or of more of this one.
    #[error("{0}")]
    NotGoingOn(String),
    /// A file can't be written.
    #[error(transparent)]
    Write(#[from] io::Error),
}

impl From<TileError> for FilesError {
    fn from(error: TileError) -> Self {
        Self::NotInOrder(error.to_string())
    }
}

/// Who takes the files, in an order in which each rests on those before: its path below the log's
/// prefix, and its bytes.
pub type Take<'a> = &'a mut dyn FnMut(&str, &[u8]) -> io::Result<()>;

/// The tree of an export, and its checkpoint. Takes 64 bytes of memory for each entry.
#[derive(Debug)]
pub struct LogFiles {
    tree: Tree,
    note: String,
    checkpoint: Checkpoint,
}

impl LogFiles {
    /// Reads an export.
    ///
    /// # Errors
    /// [`FilesError`]; also if the root over the rows is not that of the checkpoint. No signature
    /// is looked at.
    pub fn read(export: impl BufRead) -> Result<Self, FilesError> {
        let mut reader = ExportReader::new(export)?;
        let note = reader.header().checkpoint.clone();
        let checkpoint = checkpoint(&note)?;
        let mut tree = Tree::new();
        while let Some(row) = reader.next_row()? {
            tree.push(leaf(&row));
        }
        if (tree.size(), tree.root()) != (checkpoint.size(), checkpoint.root()) {
            let reason = "the root over its rows is not that of its checkpoint";
            return Err(FilesError::NotInOrder(reason.to_owned()));
        }
        Ok(Self {
            tree,
            note,
            checkpoint,
        })
    }

    /// How many entries.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The root over them.
    pub fn root(&self) -> Digest {
        self.tree.root()
    }

    /// Whether this log goes on where `earlier`, the note of a checkpoint, was.
    ///
    /// # Errors
    /// [`FilesError::NotGoingOn`]: of another log, of a longer one, or of another history.
    pub fn goes_on_from(&self, earlier: &str) -> Result<(), FilesError> {
        let refuse = |reason: String| Err(FilesError::NotGoingOn(reason));
        let Ok(earlier) = checkpoint(earlier) else {
            return refuse("the checkpoint that is there is none".to_owned());
        };
        if earlier.origin() != self.checkpoint.origin() {
            return refuse(format!("the files there are of `{}`", earlier.origin()));
        }
        let (before, now) = (earlier.size(), self.size());
        match self.tree.root_at(before) {
            Ok(root) if root == earlier.root() => Ok(()),
            Ok(_) => refuse(format!(
                "the files there are of another history, at {before} entries: keep both, the log \
                 may have forked"
            )),
            Err(MerkleError::OutOfRange { .. }) => refuse(format!(
                "the files there are of {before} entries, more than the {now} of this export"
            )),
            Err(error) => refuse(error.to_string()),
        }
    }

    /// Gives every file of the log to `take`: bundles of entries, which are read again from
    /// `export` (without: none), tiles of hashes, the checkpoint last.
    ///
    /// # Errors
    /// [`FilesError`]; [`FilesError::Changed`] if the entries are not those of the first reading.
    pub fn each(&self, export: Option<impl BufRead>, take: Take<'_>) -> Result<(), FilesError> {
        if let Some(export) = export {
            self.each_bundle(export, take)?;
        }
        let paths = new_tiles(0, self.size()).into_iter();
        for path in paths.filter(|path| path.kind() != TileKind::Entries) {
            take(&path.to_string(), &tile_content(&self.tree, &path)?)?;
        }
        take(CHECKPOINT, self.note.as_bytes())?;
        Ok(())
    }

    fn each_bundle(&self, export: impl BufRead, take: Take<'_>) -> Result<(), FilesError> {
        let mut reader = ExportReader::new(export)?;
        for bundle in 0..self.size().div_ceil(u64::from(TILE_WIDTH)) {
            let start = bundle.saturating_mul(u64::from(TILE_WIDTH));
            let width = self.size().saturating_sub(start).min(TILE_WIDTH.into());
            let mut entries = Vec::new();
            for index in start..start.saturating_add(width) {
                let row = reader.next_row()?.ok_or(FilesError::Changed)?;
                if self.tree.leaf(index) != Some(leaf(&row)) {
                    return Err(FilesError::Changed);
                }
                match row {
                    ExportRow::Entry { entry, .. } => entries.push(entry),
                    ExportRow::Hidden { index, .. } => return Err(FilesError::Hidden(index)),
                }
            }
            let width = u16::try_from(width).ok();
            let path = width.and_then(|w| TilePath::new(TileKind::Entries, bundle, w));
            let path = path.ok_or(FilesError::Changed)?;
            let content = encode_bundle(entries.iter().map(Vec::as_slice))?;
            take(&path.to_string(), &content)?;
        }
        Ok(())
    }
}

fn leaf(row: &ExportRow) -> Digest {
    match row {
        ExportRow::Entry { entry, .. } => leaf_hash(entry),
        ExportRow::Hidden { leaf_hash, .. } => *leaf_hash,
    }
}

fn checkpoint(note: &str) -> Result<Checkpoint, FilesError> {
    let refuse = |error: String| FilesError::NotInOrder(error);
    let note: Note = note.parse().map_err(|e| refuse(format!("{e}")))?;
    Checkpoint::parse(note.text()).map_err(|e| refuse(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        export::{ExportHeader, write_header, write_row},
        keys::SigningKey,
        note::Signer,
    };
    use std::collections::BTreeMap;

    type Files = BTreeMap<String, Vec<u8>>;

    /// An export of so many entries, `odd` among them with other bytes.
    fn export(size: u64, odd: Option<u64>, hidden: Option<u64>) -> Vec<u8> {
        let mut tree = Tree::new();
        let rows = (0..size).map(|index| {
            let text = if odd == Some(index) { "odd" } else { "entry" };
            let entry = format!("{{\"{text}\":{index}}}").into_bytes();
            match hidden == Some(index) {
                true => ExportRow::Hidden {
                    index,
                    leaf_hash: leaf_hash(&entry),
                },
                false => ExportRow::Entry {
                    index,
                    entry,
                    openings: Vec::new(),
                },
            }
        });
        let rows: Vec<_> = rows.collect();
        for row in &rows {
            tree.push(leaf(row));
        }
        let signer = Signer::new("essai.example/log", SigningKey::from_seed(&[1; 32])).unwrap();
        let checkpoint = Checkpoint::new("essai.example/log", size, tree.root()).unwrap();
        let signed = checkpoint.sign(&signer).unwrap();
        let key = signer.verifier_key().to_string();
        let header = ExportHeader::new(signed.note().to_string(), key, "essai".parse().unwrap());
        let mut file = Vec::new();
        write_header(&mut file, &header).unwrap();
        for row in rows {
            write_row(&mut file, &row).unwrap();
        }
        file
    }

    fn files(export: &[u8]) -> Result<Files, FilesError> {
        let log = LogFiles::read(export)?;
        let mut files = Files::new();
        log.each(Some(export), &mut |path, bytes| {
            files.insert(path.to_owned(), bytes.to_vec());
            Ok(())
        })?;
        Ok(files)
    }

    #[test]
    fn every_file_of_the_log_is_there_and_holds_what_it_should() {
        let made = files(&export(600, None, None)).unwrap();
        let mut names: Vec<_> = made.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "checkpoint",
                "tile/0/000",
                "tile/0/001",
                "tile/0/002.p/88",
                "tile/1/000.p/2",
                "tile/entries/000",
                "tile/entries/001",
                "tile/entries/002.p/88",
            ]
        );
        let bundle = crate::tiles::decode_bundle(&made["tile/entries/002.p/88"], 88).unwrap();
        assert_eq!(bundle[87], b"{\"entry\":599}");
        let hashes = crate::tiles::decode_tile(&made["tile/0/002.p/88"], 88).unwrap();
        assert_eq!(hashes[87], leaf_hash(bundle[87]));
    }

    #[test]
    fn what_is_hidden_is_in_no_bundle_and_its_hash_is_in_the_tiles() {
        let file = export(300, None, Some(7));
        assert!(matches!(files(&file), Err(FilesError::Hidden(7))));
        let log = LogFiles::read(&file[..]).unwrap();
        let mut names = Vec::new();
        let without: Option<&[u8]> = None;
        log.each(without, &mut |path, _| {
            names.push(path.to_owned());
            Ok(())
        })
        .unwrap();
        assert!(names.iter().all(|name| !name.contains("entries")));
        assert_eq!(names.last().map(String::as_str), Some("checkpoint"));
    }

    #[test]
    fn an_export_that_does_not_lead_to_its_checkpoint_or_changes_makes_no_files() {
        let file = export(10, None, None);
        let cut = file.iter().rposition(|b| *b == b'{').unwrap();
        let shorter = LogFiles::read(&file[..cut]);
        assert!(matches!(shorter, Err(FilesError::NotInOrder(_))));
        let log = LogFiles::read(&file[..]).unwrap();
        let other = export(10, Some(9), None);
        let mut taken = 0;
        let changed = log.each(Some(&other[..]), &mut |_, _| {
            taken += 1;
            Ok(())
        });
        assert!(matches!(changed, Err(FilesError::Changed)));
        assert_eq!(taken, 0);
    }

    #[test]
    fn files_of_another_history_or_of_more_entries_are_not_gone_on_with() {
        let note = |file: &[u8]| ExportReader::new(file).unwrap().header().checkpoint.clone();
        let log = LogFiles::read(&export(20, None, None)[..]).unwrap();
        for size in [0, 1, 19, 20] {
            assert!(log.goes_on_from(&note(&export(size, None, None))).is_ok());
        }
        for other in [export(21, None, None), export(15, Some(3), None)] {
            let refused = log.goes_on_from(&note(&other));
            assert!(matches!(refused, Err(FilesError::NotGoingOn(_))));
        }
        assert!(log.goes_on_from("nothing").is_err());
    }
}
