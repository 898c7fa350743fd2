//! Subject handles, server side: RFC 9497, VOPRF(ristretto255, SHA-512), verifiable mode.
//!
//! In scope: the key, evaluating batches of blinded elements, the proof that the published key was
//! used. Out of scope: limiting and counting evaluations (the caller does), the client (crate
//! `agent`), key rotation.

use rand_core_06::OsRng;
use std::fmt;
use voprf::{BlindedElement, Group as _, Ristretto255, VoprfServer};
use zeroize::Zeroizing;

/// Most elements in one batch. The client has the same limit.
pub const MAX_BATCH: usize = 256;
/// Size of a group element, in bytes (RFC 9497, 4.1).
pub const ELEMENT_BYTES: usize = 32;
/// Size of the secret key, in bytes.
pub const KEY_BYTES: usize = 32;

/// Why a batch or a key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OprfError {
    /// No element, or more than [`MAX_BATCH`].
    #[error("a batch has 1 to {MAX_BATCH} elements")]
    BatchSize,
    /// Not the canonical encoding of a group element, or the identity.
    #[error("element {index} of the batch is not a group element")]
    Element {
        /// Which, from 0.
        index: usize,
    },
    /// Not the canonical encoding of a scalar other than zero.
    #[error("the key is not a scalar of the group")]
    Key,
    /// The library failed where RFC 9497 leaves no reason to.
    #[error("the evaluation failed")]
    Failed,
}

/// What a batch comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// One element of [`ELEMENT_BYTES`] for each blinded one, in order.
    pub elements: Vec<Vec<u8>>,
    /// One proof for all, 64 bytes.
    pub proof: Vec<u8>,
}

/// The holder of the key of the oblivious function.
pub struct OprfServer {
    server: VoprfServer<Ristretto255>,
}

impl fmt::Debug for OprfServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OprfServer(..)")
    }
}

impl OprfServer {
    /// A server with a fresh key.
    pub fn generate() -> Result<Self, OprfError> {
        let server = VoprfServer::new(&mut OsRng).map_err(|_| OprfError::Key)?;
        Ok(Self { server })
    }

    /// The server whose key [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(key: &[u8]) -> Result<Self, OprfError> {
        let server = VoprfServer::new_with_key(key).map_err(|_| OprfError::Key)?;
        Ok(Self { server })
    }

    /// The secret key, [`KEY_BYTES`] long. Whoever has it can compute everyone's handle from a
    /// name: it goes to the key file and nowhere else.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        // The serialised form is the scalar followed by the public key.
        let mut bytes = Zeroizing::new(self.server.serialize().to_vec());
        bytes.truncate(KEY_BYTES);
        bytes
    }

    /// The public key, [`ELEMENT_BYTES`] long, against which clients check the proof.
    pub fn public_key(&self) -> Vec<u8> {
        Ristretto255::serialize_elem(self.server.get_public_key()).to_vec()
    }

    /// Evaluates a batch. Learns nothing about what was blinded. All or nothing: one malformed
    /// element refuses the batch.
    pub fn evaluate_batch<B: AsRef<[u8]>>(&self, blinded: &[B]) -> Result<Evaluated, OprfError> {
        if blinded.is_empty() || blinded.len() > MAX_BATCH {
            return Err(OprfError::BatchSize);
        }
        let elements = blinded
            .iter()
            .enumerate()
            .map(|(index, bytes)| element(index, bytes.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        let result = self
            .server
            .batch_blind_evaluate(&mut OsRng, &elements)
            .map_err(|_| OprfError::Failed)?;
        Ok(Evaluated {
            elements: result
                .messages
                .iter()
                .map(|m| m.serialize().to_vec())
                .collect(),
            proof: result.proof.serialize().to_vec(),
        })
    }
}

/// Decodes one element. The length is checked here: the library ignores what follows.
fn element(index: usize, bytes: &[u8]) -> Result<BlindedElement<Ristretto255>, OprfError> {
    if bytes.len() != ELEMENT_BYTES {
        return Err(OprfError::Element { index });
    }
    BlindedElement::deserialize(bytes).map_err(|_| OprfError::Element { index })
}

#[cfg(test)]
mod tests {
    use super::*;
    use voprf::{EvaluationElement, Proof, VoprfClient};

    fn hex(text: &str) -> Vec<u8> {
        hex::decode(text).unwrap()
    }

    #[test]
    fn a_client_accepts_the_proof_and_gets_the_function_value() {
        let server = OprfServer::generate().unwrap();
        let blinded = VoprfClient::<Ristretto255>::blind(b"token", &mut OsRng).unwrap();
        let evaluated = server
            .evaluate_batch(&[blinded.message.serialize()])
            .unwrap();
        let output = blinded
            .state
            .finalize(
                b"token",
                &EvaluationElement::deserialize(&evaluated.elements[0]).unwrap(),
                &Proof::deserialize(&evaluated.proof).unwrap(),
                Ristretto255::deserialize_elem(&server.public_key()).unwrap(),
            )
            .unwrap();
        assert_eq!(output, server.server.evaluate(b"token").unwrap());
    }

    #[test]
    fn a_key_survives_writing_and_reading() {
        let server = OprfServer::generate().unwrap();
        let bytes = server.to_bytes();
        assert_eq!(bytes.len(), KEY_BYTES);
        let again = OprfServer::from_bytes(&bytes).unwrap();
        assert_eq!(again.public_key(), server.public_key());
        assert_ne!(
            OprfServer::generate().unwrap().public_key(),
            server.public_key()
        );
    }

    #[test]
    fn malformed_keys_are_refused() {
        for key in [
            vec![],
            vec![0; 32],
            vec![0xff; 32],
            vec![1; 31],
            vec![1; 33],
        ] {
            assert_eq!(OprfServer::from_bytes(&key).unwrap_err(), OprfError::Key);
        }
    }

    #[test]
    fn malformed_elements_refuse_the_batch_and_name_their_place() {
        let server = OprfServer::generate().unwrap();
        let good = server.public_key();
        let identity = vec![0; 32];
        let mut trailing = good.clone();
        trailing.push(0);
        for bad in [
            identity,
            vec![0xff; 32],
            good[..31].to_vec(),
            trailing,
            vec![],
        ] {
            assert_eq!(
                server.evaluate_batch(&[good.clone(), bad]).unwrap_err(),
                OprfError::Element { index: 1 }
            );
        }
    }

    #[test]
    fn batches_have_limits() {
        let server = OprfServer::generate().unwrap();
        let element = server.public_key();
        assert_eq!(
            server.evaluate_batch::<Vec<u8>>(&[]).unwrap_err(),
            OprfError::BatchSize
        );
        assert_eq!(
            server.evaluate_batch(&vec![element.clone(); MAX_BATCH + 1]),
            Err(OprfError::BatchSize)
        );
        let full = server.evaluate_batch(&vec![element; MAX_BATCH]).unwrap();
        assert_eq!(full.elements.len(), MAX_BATCH);
    }

    #[test]
    fn debug_output_hides_the_key() {
        let server = OprfServer::generate().unwrap();
        assert_eq!(format!("{server:?}"), "OprfServer(..)");
    }

    /// RFC 9497, A.1.2: the key pair, and the evaluations of test vector 3.
    #[test]
    fn the_published_vectors_come_out() {
        let key = "e6f73f344b79b379f1a0dd37e07ff62e38d9f71345ce62ae3a9bc60b04ccd909";
        let server = OprfServer::from_bytes(&hex(key)).unwrap();
        assert_eq!(
            hex::encode(server.public_key()),
            "c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e"
        );
        let blinded = [
            "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
            "90a0145ea9da29254c3a56be4fe185465ebb3bf2a1801f7124bbbadac751e654",
        ];
        let evaluated = server.evaluate_batch(&blinded.map(hex)).unwrap();
        let elements: Vec<_> = evaluated.elements.iter().map(hex::encode).collect();
        assert_eq!(
            elements,
            [
                "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e",
                "cc5ac221950a49ceaa73c8db41b82c20372a4c8d63e5dded2db920b7eee36a2a",
            ]
        );
    }
}
