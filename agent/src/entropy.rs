//! Randomness from the operating system, and the identifiers and openings made of it.

use passerelle_model::{
    bytes::{Bytes, Nonce},
    commitment::{Field, Opening},
    error::ErrorCode,
};

/// `N` fresh random bytes.
///
/// # Errors
/// [`ErrorCode::Internal`]: the system gives none. Nothing is done with weak ones.
pub fn random<const N: usize>() -> Result<[u8; N], ErrorCode> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| ErrorCode::Internal)?;
    Ok(bytes)
}

/// A fresh opening of `field` for `data`.
///
/// # Errors
/// As [`random`].
pub fn opening(field: Field, data: &[u8]) -> Result<Opening, ErrorCode> {
    Ok(Opening {
        field,
        random: Nonce(random()?),
        data: Bytes(data.to_vec()),
    })
}
