//! Small files that are either wholly old or wholly new after a crash: keys, certificates,
//! configuration.
//!
//! In scope: writing one file atomically and durably, with its permissions set before its first
//! byte. Out of scope: records that grow (the segment files) and locking between processes.

use std::{
    fs::{File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};
use tempfile::NamedTempFile;

/// Replaces `path` by `bytes` with permission bits `mode` (for example `0o600`).
///
/// When it returns, the content survives a power cut. After a crash inside it, `path` holds the
/// old content or the new, never a mixture; a temporary file beside it may be left over.
///
/// # Errors
/// Whatever the file system says; `path` then holds what it held before, unless only the last
/// step, the sync of the directory, failed: then it holds the new content, perhaps not durably.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = directory_of(path);
    let file = filled(directory, bytes, mode)?;
    file.persist(path).map_err(|failed| failed.error)?;
    sync_directory(directory)
}

/// As [`write_atomically`], for what must never be overwritten, such as a root key.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when `path` exists, even when two processes try at once.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = directory_of(path);
    let file = filled(directory, bytes, mode)?;
    file.persist_noclobber(path)
        .map_err(|failed| failed.error)?;
    sync_directory(directory)
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The temporary file is born with 0600 and is widened only before the rename, so that nobody
/// else can open a key while it is being written.
fn filled(directory: &Path, bytes: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(".writing-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// A rename is durable only once the directory that holds the name is.
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn names_in(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn content_and_mode_are_replaced_and_nothing_is_left_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key.pem");
        write_atomically(&path, b"first, and longer", 0o644).unwrap();
        assert_eq!(mode_of(&path), 0o644);
        write_atomically(&path, b"second", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(mode_of(&path), 0o600, "the old mode must not survive");
        assert_eq!(names_in(directory.path()), ["key.pem"]);
    }

    #[test]
    fn a_new_file_never_overwrites() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root.pem");
        write_new(&path, b"root", 0o600).unwrap();
        let refused = write_new(&path, b"other", 0o600).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"root");
        assert_eq!(names_in(directory.path()), ["root.pem"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write_atomically(&path, b"x", 0o600).is_err());
        assert_eq!(names_in(directory.path()), ["taken"]);
        assert!(write_atomically(&directory.path().join("no/such"), b"x", 0o600).is_err());
    }
}
