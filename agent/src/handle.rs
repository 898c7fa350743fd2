//! Subject handles, client side: RFC 9497, VOPRF(ristretto255, SHA-512), verifiable mode.
//!
//! In scope: blinding match tokens, checking the broker's proof, unblinding into handles.
//! Out of scope: making tokens ([`crate::person`]), the transport, the server (crate `broker`).
//!
//! The broker sees uniformly random group elements. An agency cannot compute a handle alone, so it
//! cannot try out a telephone book. The proof shows that one and the same key was used for all:
//! without it the broker could mark one agency's handles with a key of their own.

use passerelle_model::bytes::Handle;
use rand_core_06::OsRng;
use std::fmt;
use voprf::{EvaluationElement, Group as _, Proof, Ristretto255, VoprfClient};
use zeroize::Zeroizing;

/// Most tokens in one batch. The server has the same limit.
pub const MAX_BATCH: usize = 256;
/// Longest token, in bytes (RFC 9497, 1.2).
pub const MAX_TOKEN_BYTES: usize = 65_535;
/// Size of a group element, in bytes (RFC 9497, 4.1).
pub const ELEMENT_BYTES: usize = 32;
/// Size of a proof, in bytes: two scalars (RFC 9497, 2.2).
pub const PROOF_BYTES: usize = 64;

/// Why there are no handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandleError {
    /// No token, or more than [`MAX_BATCH`].
    #[error("a batch has 1 to {MAX_BATCH} tokens")]
    BatchSize,
    /// A token that is empty or longer than [`MAX_TOKEN_BYTES`].
    #[error("a match token is empty or too long")]
    Token,
    /// The server's public key is no element of the group.
    #[error("the server's public key is not a group element")]
    PublicKey,
    /// The server misbehaved: wrong number of elements, not group elements, or no proof.
    #[error("the server's evaluation is malformed")]
    Malformed,
    /// The server misbehaved: it did not use the key that it published.
    #[error("the server's proof does not verify under its public key")]
    Proof,
}

/// The secret state of one batch, from blinding to unblinding. Used once.
pub struct Blinding {
    tokens: Vec<Zeroizing<Vec<u8>>>,
    clients: Vec<VoprfClient<Ristretto255>>,
}

impl fmt::Debug for Blinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blinding({} tokens)", self.tokens.len())
    }
}

impl Blinding {
    /// Blinds `tokens`. Returns the state, and one element of [`ELEMENT_BYTES`] for each, in
    /// order, to send to the server.
    pub fn blind(tokens: &[Vec<u8>]) -> Result<(Self, Vec<Vec<u8>>), HandleError> {
        if tokens.is_empty() || tokens.len() > MAX_BATCH {
            return Err(HandleError::BatchSize);
        }
        let mut state = Self {
            tokens: Vec::with_capacity(tokens.len()),
            clients: Vec::with_capacity(tokens.len()),
        };
        let mut elements = Vec::with_capacity(tokens.len());
        for token in tokens {
            // The library finds out only when it unblinds.
            if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
                return Err(HandleError::Token);
            }
            let blinded = VoprfClient::blind(token, &mut OsRng).map_err(|_| HandleError::Token)?;
            elements.push(blinded.message.serialize().to_vec());
            state.clients.push(blinded.state);
            state.tokens.push(Zeroizing::new(token.clone()));
        }
        Ok((state, elements))
    }

    /// Checks the server's proof over the whole batch, and unblinds. The handle is the first 32
    /// bytes of the 64-byte output.
    pub fn finalize(
        self,
        evaluated: &[Vec<u8>],
        proof: &[u8],
        server_public_key: &[u8],
    ) -> Result<Vec<Handle>, HandleError> {
        let public_key = (server_public_key.len() == ELEMENT_BYTES)
            .then(|| Ristretto255::deserialize_elem(server_public_key).ok())
            .flatten()
            .ok_or(HandleError::PublicKey)?;
        if evaluated.len() != self.clients.len() || proof.len() != PROOF_BYTES {
            return Err(HandleError::Malformed);
        }
        let proof = Proof::deserialize(proof).map_err(|_| HandleError::Malformed)?;
        let elements = evaluated
            .iter()
            .map(|bytes| element(bytes))
            .collect::<Result<Vec<_>, _>>()?;
        let inputs: Vec<&[u8]> = self.tokens.iter().map(|t| t.as_slice()).collect();
        VoprfClient::batch_finalize(&inputs, &self.clients, &elements, &proof, public_key)
            .map_err(|_| HandleError::Proof)?
            .map(|output| {
                let output = output.map_err(|_| HandleError::Token)?;
                let head = output.get(..32).and_then(Handle::from_slice);
                head.ok_or(HandleError::Malformed)
            })
            .collect()
    }
}

/// Decodes one element. The length is checked here: the library ignores what follows.
fn element(bytes: &[u8]) -> Result<EvaluationElement<Ristretto255>, HandleError> {
    if bytes.len() != ELEMENT_BYTES {
        return Err(HandleError::Malformed);
    }
    EvaluationElement::deserialize(bytes).map_err(|_| HandleError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use voprf::{BlindedElement, VoprfServer};

    type Evaluation = (Vec<Vec<u8>>, Vec<u8>, Vec<u8>);

    fn evaluate(server: &VoprfServer<Ristretto255>, blinded: &[Vec<u8>]) -> Evaluation {
        let blinded: Vec<_> = blinded
            .iter()
            .map(|b| BlindedElement::deserialize(b).unwrap())
            .collect();
        let result = server.batch_blind_evaluate(&mut OsRng, &blinded).unwrap();
        let elements = result.messages.iter().map(|m| m.serialize().to_vec());
        let key = Ristretto255::serialize_elem(server.get_public_key()).to_vec();
        (elements.collect(), result.proof.serialize().to_vec(), key)
    }

    fn server() -> VoprfServer<Ristretto255> {
        VoprfServer::new(&mut OsRng).unwrap()
    }

    fn tokens() -> Vec<Vec<u8>> {
        vec![b"one".to_vec(), b"two".to_vec(), b"one".to_vec()]
    }

    #[test]
    fn the_same_token_has_the_same_handle_whatever_the_blinding() {
        let server = server();
        let mut seen = Vec::new();
        for _ in 0..2 {
            let (state, blinded) = Blinding::blind(&tokens()).unwrap();
            assert_ne!(blinded[0], blinded[2], "blinding must hide equal tokens");
            let (elements, proof, key) = evaluate(&server, &blinded);
            seen.push(state.finalize(&elements, &proof, &key).unwrap());
        }
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[0][0], seen[0][2]);
        assert_ne!(seen[0][0], seen[0][1]);
        let direct = server.evaluate(b"two").unwrap();
        assert_eq!(seen[0][1].0, direct[..32]);
    }

    #[test]
    fn another_key_than_the_published_one_is_refused() {
        let (honest, marking) = (server(), server());
        let (state, blinded) = Blinding::blind(&tokens()).unwrap();
        let (_, _, published) = evaluate(&honest, &blinded);
        let (elements, proof, _) = evaluate(&marking, &blinded);
        assert_eq!(
            state.finalize(&elements, &proof, &published),
            Err(HandleError::Proof)
        );
    }

    #[test]
    fn one_element_under_another_key_spoils_the_batch() {
        let (honest, marking) = (server(), server());
        let (state, blinded) = Blinding::blind(&tokens()).unwrap();
        let (mut elements, proof, published) = evaluate(&honest, &blinded);
        elements[1] = evaluate(&marking, &blinded).0[1].clone();
        assert_eq!(
            state.finalize(&elements, &proof, &published),
            Err(HandleError::Proof)
        );
    }

    #[test]
    fn malformed_answers_are_refused() {
        let server = server();
        let spoilers: [fn(&mut Evaluation); 8] = [
            |e| drop(e.0.pop()),
            |e| e.0[0] = vec![0; 32],
            |e| e.0[0] = vec![0xff; 32],
            |e| e.0[0].push(0),
            |e| e.0.swap(0, 1),
            |e| e.1[0] ^= 1,
            |e| e.1.push(0),
            |e| e.2 = vec![0; 32],
        ];
        for (index, spoil) in spoilers.iter().enumerate() {
            let (state, blinded) = Blinding::blind(&tokens()).unwrap();
            let mut evaluation = evaluate(&server, &blinded);
            spoil(&mut evaluation);
            let (elements, proof, key) = evaluation;
            assert!(state.finalize(&elements, &proof, &key).is_err(), "{index}");
        }
    }

    #[test]
    fn batches_and_tokens_have_limits() {
        assert!(Blinding::blind(&[]).is_err());
        assert!(Blinding::blind(&vec![b"x".to_vec(); MAX_BATCH + 1]).is_err());
        assert!(Blinding::blind(&[Vec::new()]).is_err());
        assert!(Blinding::blind(&[vec![0; 65_536]]).is_err());
    }

    #[test]
    fn debug_output_hides_tokens() {
        let (state, _) = Blinding::blind(&tokens()).unwrap();
        assert_eq!(format!("{state:?}"), "Blinding(3 tokens)");
    }

    /// RFC 9497, A.1.2.3 (batch of two).
    #[test]
    fn the_published_vector_verifies() {
        let hex = |s: &str| hex::decode(s).unwrap();
        let blinds = [
            "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706",
            "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e",
        ];
        let blinded = [
            "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
            "90a0145ea9da29254c3a56be4fe185465ebb3bf2a1801f7124bbbadac751e654",
        ];
        let evaluated = [
            "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e",
            "cc5ac221950a49ceaa73c8db41b82c20372a4c8d63e5dded2db920b7eee36a2a",
        ];
        let proof = "cc203910175d786927eeb44ea847328047892ddf8590e723c37205cb74600b0a\
                     5ab5337c8eb4ceae0494c2cf89529dcf94572ed267473d567aeed6ab873dee08";
        let public_key = "c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e";
        let state = Blinding {
            tokens: vec![Zeroizing::new(hex("00")), Zeroizing::new(vec![0x5a; 17])],
            clients: (0..2)
                .map(|i| {
                    let bytes = [hex(blinds[i]), hex(blinded[i])].concat();
                    VoprfClient::deserialize(&bytes).unwrap()
                })
                .collect(),
        };
        let handles = state
            .finalize(&evaluated.map(hex), &hex(proof), &hex(public_key))
            .unwrap();
        assert_eq!(
            handles.iter().map(Handle::to_hex).collect::<Vec<_>>(),
            [
                "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7d",
                "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60",
            ]
        );
    }
}
