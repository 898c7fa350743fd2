//! The invitation that a broker's operator hands to an agency: one line of text.
//!
//! `pass1.` and base64url of the 32-byte SHA-256 fingerprint of the federation's CA certificate
//! (DER) and the 32-byte one-time secret. The fingerprint lets the new agent trust the broker on
//! first contact; the secret lets the broker trust the agent.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use passerelle_model::{bytes::Digest, error::ErrorCode};

const PREFIX: &str = "pass1.";

/// An invitation.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// SHA-256 of the CA certificate (DER).
    pub ca_fingerprint: Digest,
    /// The one-time secret; the log has its digest only.
    pub secret: [u8; 32],
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Invitation(..)")
    }
}

impl Invitation {
    /// The line of text.
    pub fn to_text(&self) -> String {
        let bytes = [self.ca_fingerprint.0, self.secret].concat();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Parses the line of text; spaces around it are ignored.
    pub fn from_text(text: &str) -> Result<Self, ErrorCode> {
        let bytes = text
            .trim()
            .strip_prefix(PREFIX)
            .and_then(|b| URL_SAFE_NO_PAD.decode(b).ok())
            .ok_or(ErrorCode::InviteInvalid)?;
        let (fingerprint, secret) = bytes.split_at_checked(32).ok_or(ErrorCode::InviteInvalid)?;
        Ok(Self {
            ca_fingerprint: Digest::from_slice(fingerprint).ok_or(ErrorCode::InviteInvalid)?,
            secret: secret.try_into().map_err(|_| ErrorCode::InviteInvalid)?,
        })
    }

    /// What the log knows the secret by.
    pub fn token_digest(secret: &[u8]) -> Digest {
        Digest::of(secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_damage_is_refused() {
        let invitation = Invitation {
            ca_fingerprint: Digest([1; 32]),
            secret: [2; 32],
        };
        let text = invitation.to_text();
        assert_eq!(
            Invitation::from_text(&format!(" {text}\n")).unwrap(),
            invitation
        );
        for bad in [
            "",
            "pass1.",
            &text.replace("pass1", "pass2"),
            &text[..text.len() - 1],
        ] {
            assert!(Invitation::from_text(bad).is_err(), "{bad}");
        }
    }
}
