//! Keys of the projection's rows: table name, slash, id.

use passerelle_model::bytes::{Digest, Handle};

pub(crate) const META: &[u8] = b"meta";
pub(crate) const MEMBER: &str = "member/";
pub(crate) const OUT: &str = "out/";
pub(crate) const SENT: &str = "sent/";
pub(crate) const ASK: &str = "ask/";
pub(crate) const SEALED: &str = "sealed/";
pub(crate) const KEPT: &str = "kept/";
pub(crate) const HOLD: &str = "hold/";
pub(crate) const OFFER: &str = "offer/";
pub(crate) const AGREEMENT: &str = "agreement/";
pub(crate) const CONSENT: &str = "consent/";
pub(crate) const CASE: &str = "case/";
pub(crate) const PERSON: &str = "person/";
pub(crate) const NO_HANDLE: &str = "nohandle/";
pub(crate) const TOKEN: &str = "token/";
pub(crate) const LABEL: &str = "label/";
pub(crate) const STAGED: &str = "staged/";
pub(crate) const WARY: &str = "wary/";
pub(crate) const EVIDENCE: &str = "evidence/";
pub(crate) const MARK: &str = "mark/";
pub(crate) const NAMED_BY: &[u8] = b"namedby";

pub(crate) fn of(table: &str, id: &[u8]) -> Vec<u8> {
    [table.as_bytes(), id].concat()
}

pub(crate) fn out(seq: u64) -> Vec<u8> {
    of(OUT, &seq.to_be_bytes())
}

/// People by match token; without a source id the prefix.
pub(crate) fn by_token(token: &Digest, source: &str) -> Vec<u8> {
    [b"bytoken/", &token.0[..], source.as_bytes()].concat()
}

/// People by handle; without a source id the prefix.
pub(crate) fn by_handle(handle: &Handle, source: &str) -> Vec<u8> {
    [b"byhandle/", &handle.0[..], source.as_bytes()].concat()
}

pub(crate) fn staged(import: &str, part: u32) -> Vec<u8> {
    let head = [STAGED.as_bytes(), import.as_bytes(), b"/"].concat();
    [&head[..], &part.to_be_bytes()].concat()
}
