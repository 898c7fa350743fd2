//! Entries on their way into the mirror, of which the root is not known yet.
//!
//! In scope: a file without a name, of which a crash leaves nothing. Out of scope: judging what is
//! in it.

use passerelle_journal::JournalRecord;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Its name, for as long as it has one.
const INCOMING: &str = "incoming";
/// Entries, and bytes of entries, that are made durable together.
const BATCH_ENTRIES: usize = 4_096;
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Entries, each after its length in 16 bits, and what is sealed beside it after its own in 32.
pub(super) struct Incoming(BufWriter<File>);

impl Incoming {
    /// An empty one, on the disk of `dir`.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(INCOMING);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        Ok(Self(BufWriter::new(file)))
    }

    pub(super) fn push(&mut self, entry: &[u8], sealed: &[u8]) -> io::Result<()> {
        let length = u16::try_from(entry.len()).map_err(io::Error::other)?;
        self.0.write_all(&length.to_be_bytes())?;
        self.0.write_all(entry)?;
        let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
        self.0.write_all(&length.to_be_bytes())?;
        self.0.write_all(sealed)
    }

    pub(super) fn rewind(self) -> io::Result<Arrived> {
        let mut file = self
            .0
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(Arrived(BufReader::new(file)))
    }
}

/// The same, to be read.
pub(super) struct Arrived(BufReader<File>);

impl Arrived {
    /// The next entries; none at the end.
    pub(super) fn batch(&mut self) -> io::Result<Vec<JournalRecord>> {
        let (mut batch, mut bytes) = (Vec::new(), 0_usize);
        while batch.len() < BATCH_ENTRIES && bytes < BATCH_BYTES {
            let mut length = [0; 2];
            match self.0.read_exact(&mut length) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
            let mut entry = vec![0; usize::from(u16::from_be_bytes(length))];
            self.0.read_exact(&mut entry)?;
            let mut length = [0; 4];
            self.0.read_exact(&mut length)?;
            let length = usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?;
            let mut sidecar = vec![0; length];
            self.0.read_exact(&mut sidecar)?;
            bytes = bytes.saturating_add(entry.len()).saturating_add(length);
            batch.push(JournalRecord { entry, sidecar });
        }
        Ok(batch)
    }
}
