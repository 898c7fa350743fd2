//! Evidence on paper: the file stays where it is, its SHA-256 is what is recorded.

use super::Place;
use crate::cli::{
    Global, backend,
    failure::{Exit, Failure},
    output,
};
use passerelle_model::bytes::Digest;
use passerelle_proto::{v1, views::EvidenceCheck};
use sha2::{Digest as _, Sha256};
use std::{fs::File, io::Read as _, path::Path};

/// The longest scan that is read: one gibibyte.
const MAX_BYTES: u64 = 1 << 30;
const CHUNK_BYTES: usize = 64 * 1024;

/// SHA-256 of the content of a file.
pub(super) fn digest(path: &Path) -> Result<Digest, Failure> {
    let failed = |error: std::io::Error| Failure::file(path, &error);
    let file = File::open(path).map_err(failed)?;
    let mut file = file.take(MAX_BYTES + 1);
    let (mut hash, mut chunk, mut size_bytes) = (Sha256::new(), vec![0; CHUNK_BYTES], 0_u64);
    loop {
        let count = file.read(&mut chunk).map_err(failed)?;
        let Some(read) = chunk.get(..count).filter(|read| !read.is_empty()) else {
            break;
        };
        hash.update(read);
        size_bytes = size_bytes.saturating_add(count as u64);
    }
    if size_bytes == 0 || size_bytes > MAX_BYTES {
        let file = path.display();
        return Err(Failure::usage(format!(
            "`{file}` is empty or over 1 GiB: no evidence of anything"
        )));
    }
    Ok(Digest(hash.finalize().into()))
}

/// The same in hexadecimal; empty without a file.
pub(super) fn optional(path: Option<&Path>) -> Result<String, Failure> {
    path.map_or_else(|| Ok(String::new()), |path| Ok(digest(path)?.to_hex()))
}

/// `consent check-evidence`: refused if the file is another.
pub(super) async fn check(
    global: Global,
    place: &Place,
    consent: String,
    file: &Path,
) -> Result<Exit, Failure> {
    let request = v1::CheckEvidenceRequest {
        consent,
        evidence: digest(file)?.to_hex(),
    };
    let mut node = backend::consents(&place.dir).await?;
    let check: EvidenceCheck = backend::document(node.check_evidence(request).await)?;
    output::print(global, &check, |check| {
        let what = match check.is_same {
            true => "this file is the evidence that was recorded",
            false => "this file is NOT the evidence that was recorded",
        };
        format!("{}: {what}", check.consent)
    })?;
    Ok(match check.is_same {
        true => Exit::Done,
        false => Exit::Refused,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_digest_of_its_content_and_an_empty_one_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("form.pdf");
        std::fs::write(&path, b"abc").unwrap();
        // FIPS 180-4, the example of one block.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest(&path).unwrap().to_hex(), abc);
        std::fs::write(&path, vec![b'x'; CHUNK_BYTES * 2 + 1]).unwrap();
        let long = Digest::of(&vec![b'x'; CHUNK_BYTES * 2 + 1]);
        assert_eq!(digest(&path).unwrap(), long);
        std::fs::write(&path, b"").unwrap();
        assert!(digest(&path).is_err());
        assert!(digest(&dir.path().join("none")).is_err());
    }
}
