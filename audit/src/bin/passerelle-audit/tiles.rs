//! `tiles`: the files of a log (C2SP tlog-tiles), written to a directory, by an export that is
//! verified first.
//!
//! In scope: a directory that only grows: what is there is of the same log and no longer, or nothing
//! is written. Out of scope: serving it; what is in the files, which is the library's `files`.

use crate::{
    FAULT, UNREADABLE,
    exports::{Failed, Given, exit, is_of, not_written},
};
use clap::Args;
use passerelle_audit::files::{CHECKPOINT, FilesError, LogFiles};
use std::{
    fs::{self, DirBuilder},
    io::{self, BufReader, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Where the entries are. For this user alone, until somebody decides who else reads them.
const ENTRIES: &str = "tile/entries";

pub(crate) const EXAMPLES: &str = "\
Examples:
  passerelle-audit tiles log.export --out /srv/log
      Then any web server can serve /srv/log, and any C2SP tool read it.
  passerelle-audit tiles log.export --out /srv/public --without-entries
      What anybody may have: checkpoint and hashes.

Again with a later export, the directory is brought up to date: the checkpoint comes last, and
nothing is written if what is there is of another log, of a longer one, or of another history.
Entries say who asked whom and why: tile/entries is made for this user alone. Serve it to auditors.
Exit codes: 0 written, 1 a fault was found, 2 wrong usage, 3 a file can't be read or written.";

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    given: Given,
    /// The directory; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Leave the bundles of entries out.
    #[arg(long)]
    without_entries: bool,
}

pub(crate) fn write(arguments: &Arguments) -> ExitCode {
    exit(run(arguments))
}

fn run(arguments: &Arguments) -> Result<(), Failed> {
    let Arguments { given, out, .. } = arguments;
    let report = given.verified()?;
    let log = LogFiles::read(given.open()?)?;
    is_of(&report, log.size(), log.root())?;
    match fs::read_to_string(out.join(CHECKPOINT)) {
        Ok(earlier) => log.goes_on_from(&earlier)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(not_written(&out.join(CHECKPOINT), &error)),
    }
    // Said before anything is written.
    if !arguments.without_entries && !report.is_complete() {
        let message = "not every entry is readable in this export: use one of an oversight body, \
                       or `--without-entries`\n";
        return Err(Failed(message.to_owned(), FAULT));
    }
    let entries: Option<BufReader<_>> = match arguments.without_entries {
        true => None,
        false => Some(given.open()?),
    };
    let mut written = 0_u64;
    let mut at = out.clone();
    log.each(entries, &mut |path, bytes| {
        at = out.join(path);
        written = written.saturating_add(u64::from(put(out, path, bytes)?));
        Ok(())
    })
    .map_err(|error| match error {
        FilesError::Write(error) => not_written(&at, &error),
        error => error.into(),
    })?;
    let (size, out) = (log.size(), out.display());
    let text = format!("{size} entries in `{out}`: {written} files written\n");
    // The files are there, whether or not anybody reads this.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

/// Writes a file whole or not at all. Whether it was not there as it is.
fn put(out: &Path, path: &str, bytes: &[u8]) -> io::Result<bool> {
    let place = out.join(path);
    if fs::read(&place).is_ok_and(|there| there == bytes) {
        return Ok(false);
    }
    let directory = place.parent().unwrap_or(out);
    if path.starts_with(ENTRIES) {
        DirBuilder::new().recursive(true).create(out.join("tile"))?;
        let mut private = DirBuilder::new();
        private
            .recursive(true)
            .mode(0o700)
            .create(out.join(ENTRIES))?;
    }
    fs::create_dir_all(directory)?;
    let partial = place.with_extension("partial");
    fs::write(&partial, bytes)?;
    // Not synced: after a power cut the same command mends what is missing.
    fs::rename(&partial, &place)?;
    Ok(true)
}

impl From<FilesError> for Failed {
    fn from(error: FilesError) -> Self {
        let code = match error {
            FilesError::Write(_) | FilesError::Export(_) => UNREADABLE,
            FilesError::NotInOrder(_)
            | FilesError::Hidden(_)
            | FilesError::Changed
            | FilesError::NotGoingOn(_) => FAULT,
        };
        Self(format!("{error}\n"), code)
    }
}
