//! Renewing an enrolment: new keys and a new certificate for the same membership.
//!
//! In scope: preparing them beside the old ones, putting them in place as one, whatever crashes.
//! Out of scope: asking the broker ([`crate::enrol`]).

use crate::home::{Home, HomeError, Membership, io_error};
use passerelle_audit::note::VerifierKey;
use std::io;
use zeroize::Zeroizing;

/// Whether `later` is the key `former` under a later origin of the same log: `NAME/2` after `NAME`.
fn is_later_origin(former: &str, later: &str) -> bool {
    let (Ok(former), Ok(later)) = (former.parse::<VerifierKey>(), later.parse::<VerifierKey>())
    else {
        return false;
    };
    let generation = |name: &str| -> Option<(String, u64)> {
        match name.rsplit_once('/') {
            Some((base, number)) if number.parse::<u64>().is_ok_and(|n| n >= 2) => {
                Some((base.to_owned(), number.parse().ok()?))
            }
            _ => Some((name.to_owned(), 1)),
        }
    };
    let (Some(from), Some(to)) = (generation(former.name()), generation(later.name())) else {
        return false;
    };
    former.public_key() == later.public_key() && from.0 == to.0 && from.1 < to.1
}

impl Home {
    /// Where an enrolment that renews this one is prepared.
    pub fn renewal(&self) -> Self {
        Self::new(&self.path("renewal"))
    }

    /// Checks that `renewed` is this membership with other keys: the data here belong to it.
    ///
    /// # Errors
    /// [`HomeError::AlreadyEnrolled`], or a damaged file.
    pub fn require_same(&self, renewed: &Membership) -> Result<(), HomeError> {
        let old = self.membership()?;
        let same = Membership {
            joined: renewed.joined,
            // The rules may have changed; every agency counts that for itself.
            bundle: renewed.bundle,
            // So may the origin of the log, under the same key: this agency accepts it by a command
            // of its own, and cosigns nothing of it before.
            checkpoint_key: match is_later_origin(&old.checkpoint_key, &renewed.checkpoint_key) {
                true => renewed.checkpoint_key.clone(),
                false => old.checkpoint_key.clone(),
            },
            ..old.clone()
        };
        if same == *renewed {
            return Ok(());
        }
        Err(self.already_enrolled()?)
    }

    /// What is wrong if it is enrolled and should not be.
    ///
    /// # Errors
    /// A damaged file.
    pub fn already_enrolled(&self) -> Result<HomeError, HomeError> {
        Ok(HomeError::AlreadyEnrolled {
            dir: self.shown(),
            agency: self.membership()?.agency.to_string(),
        })
    }

    /// Puts a prepared renewal in place. Does nothing if there is none that is complete; done
    /// again after a crash it ends the same.
    ///
    /// # Errors
    /// The file system, or a damaged file.
    pub fn finish_renewal(&self) -> Result<(), HomeError> {
        const SEALING: &str = "keys/sealing.key";
        const FORMER: &str = "keys/sealing.former";
        let renewal = self.renewal();
        if !renewal.is_enrolled() {
            return Ok(());
        }
        let (old, new) = (self.read(SEALING)?, renewal.read(SEALING)?);
        if old.trim() != new.trim() {
            let mut former = match self.path(FORMER).exists() {
                true => self.read(FORMER)?,
                false => Zeroizing::default(),
            };
            if !former.contains(old.trim()) {
                former.push_str(old.trim());
                former.push('\n');
                self.write(FORMER, former.as_bytes())?;
            }
        }
        for name in [
            "keys/signing.pem",
            "keys/witness.pem",
            SEALING,
            "tls/request.pem",
            "tls/ca.pem",
            "tls/agent.pem",
            "federation.json",
        ] {
            self.write(name, renewal.read(name)?.as_bytes())?;
        }
        self.drop_renewal()
    }

    /// Removes what was prepared for a renewal.
    ///
    /// # Errors
    /// The file system.
    pub fn drop_renewal(&self) -> Result<(), HomeError> {
        let renewal = self.renewal();
        // First what makes it complete, so that a half deleted one is never carried out.
        for gone in [
            std::fs::remove_file(renewal.path("federation.json")),
            std::fs::remove_dir_all(renewal.dir()),
        ] {
            match gone {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("remove", renewal.dir())(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{home::Keys, seal::SealingKeys};
    use passerelle_audit::{keys::SigningKey, note::SignatureType};
    use passerelle_model::{bytes::PublicKey, panel::Panel, vocabulary::Sector};

    fn membership(agency: &str, joined: u64) -> Membership {
        Membership {
            federation: "nord".parse().unwrap(),
            agency: agency.parse().unwrap(),
            sector: Sector::Health,
            checkpoint_key: "log".to_owned(),
            permit_key: PublicKey([1; 32]),
            oprf_key: PublicKey([2; 32]),
            panel: Panel::default(),
            bundle: None,
            joined,
        }
    }

    /// Everything that enrolment writes.
    fn enrolled(home: &Home, joined: u64) -> Keys {
        home.create().unwrap();
        for name in ["tls/request.pem", "tls/ca.pem", "tls/agent.pem"] {
            home.write(name, joined.to_string().as_bytes()).unwrap();
        }
        let json = serde_json::to_vec(&membership("clinic", joined)).unwrap();
        home.write("federation.json", &json).unwrap();
        home.make_keys().unwrap()
    }

    #[test]
    fn a_renewal_replaces_keys_and_certificate_and_keeps_what_opens_old_context() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        let old = enrolled(&home, 1);
        home.write("vault.keys", b"x").unwrap();
        let renewal = home.renewal();
        let new = enrolled(&renewal, 9);
        // Not complete yet: nothing happens.
        let json = renewal.read("federation.json").unwrap();
        std::fs::remove_file(renewal.path("federation.json")).unwrap();
        home.finish_renewal().unwrap();
        assert_eq!(home.membership().unwrap().joined, 1);
        renewal.write("federation.json", json.as_bytes()).unwrap();
        // A crash in the middle: some files are in place already.
        let sealing = renewal.read("keys/sealing.key").unwrap();
        let old_sealing = home.read("keys/sealing.key").unwrap();
        let former = format!("{}\n", old_sealing.as_str());
        home.write("keys/sealing.former", former.as_bytes())
            .unwrap();
        home.write("keys/sealing.key", sealing.as_bytes()).unwrap();
        home.finish_renewal().unwrap();
        home.finish_renewal().unwrap();
        let keys = home.keys().unwrap();
        assert_eq!(keys.signing.public_key(), new.signing.public_key());
        assert_eq!(keys.witness.public_key(), new.witness.public_key());
        assert_eq!(keys.sealing.public(), new.sealing.public());
        let former: Vec<_> = keys
            .former_sealing
            .iter()
            .map(SealingKeys::public)
            .collect();
        assert_eq!(former, [old.sealing.public()]);
        assert_eq!(home.membership().unwrap().joined, 9);
        assert_eq!(home.read("tls/agent.pem").unwrap().as_str(), "9");
        assert_eq!(home.read("vault.keys").unwrap().as_str(), "x");
        assert!(!renewal.dir().exists());
    }

    #[test]
    fn only_the_same_membership_can_be_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path());
        enrolled(&home, 1);
        assert!(home.require_same(&membership("clinic", 9)).is_ok());
        assert!(home.require_same(&membership("police", 9)).is_err());
        let other_log = Membership {
            checkpoint_key: "other".to_owned(),
            ..membership("clinic", 9)
        };
        assert!(home.require_same(&other_log).is_err());
    }

    #[test]
    fn an_origin_is_a_later_one_by_its_number_under_the_same_key_alone() {
        let key = |name: &str, seed| {
            let public = SigningKey::from_seed(&[seed; 32]).public_key();
            let key = VerifierKey::new(name, SignatureType::Ed25519, public);
            key.unwrap().to_string()
        };
        let first = key("passerelle/estrie", 1);
        for later in ["passerelle/estrie/2", "passerelle/estrie/11"] {
            assert!(is_later_origin(&first, &key(later, 1)), "{later}");
            assert!(!is_later_origin(&first, &key(later, 2)), "another key");
            assert!(!is_later_origin(&key(later, 1), &first), "back");
        }
        assert!(is_later_origin(&key("a/2", 1), &key("a/3", 1)));
        assert!(!is_later_origin(&key("a/3", 1), &key("a/3", 1)));
        assert!(!is_later_origin(&key("a/2", 1), &key("b/3", 1)));
        assert!(!is_later_origin(&first, "no key"));
    }
}
