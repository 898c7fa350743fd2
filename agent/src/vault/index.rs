//! Names for what an agency looks people up by: they say nothing without a key of the vault.
//!
//! In scope: names for the source's ids, for match tokens, and for the flags of facts. Out of scope:
//! who is looked up.
//!
//! An id is often a number and a match token is made of a name and a birth date: of both, whoever
//! reads a plain digest finds the original by trying. These are HMAC-SHA-256 (RFC 2104) under a key
//! in the vault's file, of which a journal, a projection and their copies hold nothing. Who loses that
//! file loses the names: nobody is found by them any more, and people are imported anew.

use super::{Vault, VaultError, tag_of};
use crate::{entropy, facts::csv_import::SourceId, person::Person, state::Weight};
use passerelle_journal::key_file::Tag;
use passerelle_model::{
    bytes::{Digest, Handle},
    error::ErrorCode,
    ids::RequestId,
    store::Read,
    vocabulary::Category,
};
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// What the key is found by in the file. No request and no record is called so.
const NAME: &str = "index/people";
/// Bytes of SHA-256's block.
const BLOCK_BYTES: usize = 64;

/// One key is made, however many ask for it at once.
static MAKING: Mutex<()> = Mutex::new(());

/// The tag of the key, which belongs to nothing that is journaled.
pub(super) fn tag() -> Tag {
    tag_of(NAME)
}

/// Makes names.
pub struct Index(Zeroizing<[u8; 32]>);

impl Vault {
    /// The names that this file's key makes. The key is made when it is first needed, and durable
    /// once the journal is.
    ///
    /// # Errors
    /// [`ErrorCode::Storage`]: it can't be read, or is damaged.
    pub fn index(&self) -> Result<Index, ErrorCode> {
        let _one = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = self.0.get(&tag()).map_err(VaultError::from)? {
            return Ok(Index(key));
        }
        let key = Zeroizing::new(entropy::random::<32>()?);
        self.0.put(&tag(), &key).map_err(VaultError::from)?;
        Ok(Index(key))
    }
}

impl Index {
    /// That of an id in the source.
    pub fn source(&self, id: &SourceId) -> SourceId {
        SourceId(self.name(b"source", id.0.as_bytes()).to_hex())
    }

    /// That of a person's match token.
    pub fn token(&self, person: &Person) -> Digest {
        self.name(b"token", &person.match_token())
    }

    /// That of a worker who may not look at a question.
    pub fn apart(&self, request: &RequestId, worker: &str) -> Digest {
        let question = [request.as_str().as_bytes(), b"/"].concat();
        self.name(b"apart", &[&question, worker.as_bytes()].concat())
    }

    /// That of flags which facts of a category have.
    pub fn weight(&self, category: Category, weight: Weight) -> Digest {
        let flags = [
            weight.specially_protected,
            weight.youth_record,
            weight.third_party_at_risk,
            weight.restricted,
        ];
        let mut text = flags.map(u8::from).to_vec();
        text.push(weight.sensitivity);
        text.extend(category.code().as_bytes());
        self.name(b"weight", &text)
    }

    /// That of the key itself: names by another one are not comparable.
    pub fn check(&self) -> Digest {
        self.name(b"check", b"")
    }

    /// The handle of a person, if it was ever asked for.
    ///
    /// # Errors
    /// [`ErrorCode::Storage`].
    pub fn handle_of(&self, view: &dyn Read, person: &Person) -> Result<Option<Handle>, ErrorCode> {
        for token in self.tokens(person) {
            let found = crate::state::handle_of(view, &token);
            if let Some(handle) = found.map_err(crate::holder::storage)? {
                return Ok(Some(handle));
            }
        }
        Ok(None)
    }

    /// Under what a person may be known: this name, and the digest that versions before it wrote.
    pub fn tokens(&self, person: &Person) -> [Digest; 2] {
        [self.token(person), Digest::of(&person.match_token())]
    }

    /// The same for a source's id.
    pub fn sources(&self, id: &SourceId) -> [SourceId; 2] {
        [self.source(id), id.clone()]
    }

    fn name(&self, what: &[u8], data: &[u8]) -> Digest {
        let label = [b"passerelle/index/", what, b"/v1\0"].concat();
        hmac(self.0.as_slice(), &[&label, data].concat())
    }
}

/// HMAC-SHA-256 with a key of at most a block (RFC 2104, section 2).
fn hmac(key: &[u8], message: &[u8]) -> Digest {
    let pad = |byte: u8| {
        let mut block = Zeroizing::new([byte; BLOCK_BYTES]);
        for (into, from) in block.iter_mut().zip(key) {
            *into ^= from;
        }
        block
    };
    let inner = Digest::of(&[&pad(0x36)[..], message].concat());
    Digest::of(&[&pad(0x5c)[..], &inner.0].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;
    use passerelle_journal::files::OsDisk;
    use passerelle_model::store::Memory;

    #[test]
    fn the_function_is_that_of_rfc_4231() {
        // Test cases 1 and 2.
        let of = |key: &[u8], data: &[u8]| hmac(key, data).to_hex();
        assert_eq!(
            of(&[0x0b; 20], b"Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            of(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_name_is_the_same_after_a_start_and_another_with_another_file() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let open =
            |dir: &tempfile::TempDir| Vault::open_on(&Home::new(dir.path()), &OsDisk).unwrap();
        let id = SourceId("4711".to_owned());
        let vault = open(&dir);
        let name = vault.index().unwrap().source(&id);
        assert!(!name.0.contains("4711"));
        assert_eq!(vault.index().unwrap().source(&id), name);
        // What nothing in the journal keeps is swept, but for this.
        vault.sweep(&Memory::default()).unwrap();
        drop(vault);
        assert_eq!(open(&dir).index().unwrap().source(&id), name);
        assert_ne!(open(&other).index().unwrap().source(&id), name);
    }
}
