//! k of n people who sign for a party of an agreement.

use super::*;
use crate::{
    bytes::{PublicKey, Signature},
    ids::FederationId,
    statement::{Endorsed, Endorsement, MAX_SIGNATORIES, Signatories},
};
use ed25519_dalek::{Signer as _, SigningKey};

fn person(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn key(n: u8) -> PublicKey {
    PublicKey(person(n).verifying_key().to_bytes())
}

fn signatories(of: u8, needed: u16, people: &[u8]) -> Signatories {
    Signatories {
        agency: agency(of),
        needed,
        keys: people.iter().map(|n| key(*n)).collect(),
    }
}

/// As the person signs it: with DSSE around it.
fn endorse(by: u8, endorsed: &Endorsed) -> Endorsement {
    let payload = endorsed.to_bytes().unwrap();
    let kind = crate::statement::ENDORSEMENT_TYPE;
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    let signed = [head.as_bytes(), &payload].concat();
    Endorsement {
        key: key(by),
        signature: Signature(person(by).sign(&signed).to_bytes()),
    }
}

impl World {
    fn federation_name() -> FederationId {
        "essai".parse().unwrap()
    }

    /// Proposed by agency 0; people sign for agency 1, and for 0 if they are named too.
    fn with_people(rules: &[Signatories]) -> Self {
        let mut world = Self::with_rules(&ByAgreement { blindly: false });
        assert_eq!(refusal(world.propose_with(1, None, 0, rules)), None);
        world
    }

    fn propose_with(
        &mut self,
        n: u8,
        after: Option<u8>,
        starts_s: u64,
        rules: &[Signatories],
    ) -> Reply {
        let mut terms = self.terms(n, after, starts_s, &[0, 1]);
        terms.signatories = rules.to_vec();
        self.say(0, Body::Agreement(Box::new(terms)), Vec::new(), &[])
    }

    fn endorsed(&self, n: u8, by: u8) -> Endorsed {
        Endorsed {
            federation: Self::federation_name(),
            agency: agency(by),
            agreement: id(n),
            terms: self.agreement(n).unwrap().digest,
        }
    }

    fn signs_with(&mut self, n: u8, by: u8, endorsements: Vec<Endorsement>) -> Option<ErrorCode> {
        self.now = self.now.plus_s(1);
        let signature = AgreementSignature {
            agreement: id(n),
            terms: self.agreement(n).unwrap().digest,
            endorsements,
        };
        refusal(self.say(by, Body::AgreementSignature(signature), Vec::new(), &[]))
    }

    fn is_agreed(&self, n: u8) -> bool {
        self.agreement(n).unwrap().is_signed_by_all()
    }
}

const MISSING: Option<ErrorCode> = Some(ErrorCode::SignatoriesMissing);

#[test]
fn a_party_signs_with_k_of_its_n_people_and_with_no_fewer() {
    let mut world = World::with_people(&[signatories(1, 2, &[11, 12, 13])]);
    let of = world.endorsed(1, 1);
    assert_eq!(world.signs_with(1, 1, Vec::new()), MISSING);
    assert_eq!(world.signs_with(1, 1, vec![endorse(12, &of)]), MISSING);
    let twice = vec![endorse(12, &of), endorse(12, &of)];
    assert_eq!(world.signs_with(1, 1, twice), Some(ErrorCode::Duplicate));
    let stranger = vec![endorse(12, &of), endorse(99, &of)];
    assert_eq!(world.signs_with(1, 1, stranger), MISSING);
    assert!(!world.is_agreed(1));
    assert_eq!(
        world.signs_with(1, 1, vec![endorse(11, &of), endorse(13, &of)]),
        None
    );
    assert!(world.is_agreed(1));
    let again = vec![endorse(11, &of), endorse(12, &of)];
    assert_eq!(world.signs_with(1, 1, again), Some(ErrorCode::Duplicate));
}

#[test]
fn an_endorsement_is_of_these_terms_for_this_party_in_this_federation() {
    let rules = [signatories(1, 1, &[11]), signatories(0, 1, &[21])];
    let mut world = World::with_people(&rules);
    // The same people of another agreement.
    world.propose_with(2, None, 0, &rules);
    let right = world.endorsed(1, 1);
    let wrong = [
        Endorsed {
            terms: Digest([1; 32]),
            ..right.clone()
        },
        Endorsed {
            agency: agency(0),
            ..right.clone()
        },
        Endorsed {
            federation: "sud".parse().unwrap(),
            ..right.clone()
        },
        world.endorsed(2, 1),
    ];
    for endorsed in wrong {
        let endorsement = endorse(11, &endorsed);
        let refused = world.signs_with(1, 1, vec![endorsement]);
        assert_eq!(refused, Some(ErrorCode::BadSignature), "{endorsed:?}");
    }
    let of_another = Endorsement {
        key: key(11),
        ..endorse(12, &right)
    };
    let refused = world.signs_with(1, 1, vec![of_another]);
    assert_eq!(refused, Some(ErrorCode::BadSignature));
    // Who signs for the other party does not for this one.
    assert_eq!(world.signs_with(1, 1, vec![endorse(21, &right)]), MISSING);
    // A bare signature, without what says of which kind it is.
    let bare = Endorsement {
        key: key(11),
        signature: Signature(person(11).sign(&right.to_bytes().unwrap()).to_bytes()),
    };
    assert_eq!(
        world.signs_with(1, 1, vec![bare]),
        Some(ErrorCode::BadSignature)
    );
    assert_eq!(world.signs_with(1, 1, vec![endorse(11, &right)]), None);
    assert!(!world.is_agreed(1), "the proposer's people have not signed");
    let own = world.endorsed(1, 0);
    assert_eq!(world.signs_with(1, 0, vec![endorse(21, &own)]), None);
    assert!(world.is_agreed(1));
}

#[test]
fn a_proposal_is_its_own_signature_only_where_nobody_signs_for_the_proposer() {
    let mut world = World::with_people(&[signatories(0, 1, &[21])]);
    assert_eq!(world.agreement(1).unwrap().signed, [] as [AgencyId; 0]);
    assert_eq!(world.signs_with(1, 1, Vec::new()), None);
    assert!(!world.is_agreed(1));
    assert_eq!(world.signs_with(1, 0, Vec::new()), MISSING);
    let of = world.endorsed(1, 0);
    assert_eq!(world.signs_with(1, 0, vec![endorse(21, &of)]), None);
    assert!(world.is_agreed(1));
    let mut plain = World::with_people(&[]);
    assert_eq!(plain.agreement(1).unwrap().signed, [agency(0)]);
    // Endorsements that nobody asked for change nothing.
    let of = plain.endorsed(1, 1);
    assert_eq!(plain.signs_with(1, 1, vec![endorse(11, &of)]), None);
    assert!(plain.is_agreed(1));
}

#[test]
fn a_next_version_neither_drops_nor_replaces_who_signs_without_them() {
    let mut world = World::with_people(&[signatories(1, 2, &[11, 12])]);
    let of = world.endorsed(1, 1);
    let both = |of: &Endorsed| vec![endorse(11, of), endorse(12, of)];
    assert_eq!(world.signs_with(1, 1, both(&of)), None);
    let dropped = world.propose_with(2, Some(1), 10, &[]);
    assert_eq!(refusal(dropped), Some(ErrorCode::OutOfRange));
    let others = [signatories(1, 1, &[13])];
    assert_eq!(refusal(world.propose_with(2, Some(1), 10, &others)), None);
    let next = world.endorsed(2, 1);
    // What was endorsed of the version before is not of this one.
    assert_eq!(
        world.signs_with(2, 1, both(&of)),
        Some(ErrorCode::BadSignature)
    );
    assert_eq!(world.signs_with(2, 1, vec![endorse(13, &next)]), MISSING);
    assert_eq!(world.signs_with(2, 1, both(&next)), MISSING);
    let all = [both(&next), vec![endorse(13, &next)]].concat();
    assert_eq!(world.signs_with(2, 1, all), None);
    assert!(world.is_agreed(2));
}

#[test]
fn people_who_sign_are_as_many_as_needed_each_for_one_party_with_keys_that_can_sign() {
    let refused = |rules: &[Signatories]| {
        let mut world = World::with_rules(&ByAgreement { blindly: false });
        refusal(world.propose_with(1, None, 0, rules))
    };
    let out_of_range = Some(ErrorCode::OutOfRange);
    let many: Vec<u8> = (1..=17).collect();
    assert_eq!(many.len(), MAX_SIGNATORIES + 1);
    for rules in [
        vec![signatories(1, 0, &[11])],
        vec![signatories(1, 2, &[11])],
        vec![signatories(1, 1, &[])],
        vec![signatories(1, 1, &[11, 11])],
        vec![signatories(1, 1, &many)],
        vec![signatories(2, 1, &[11])],
        vec![signatories(1, 1, &[11]), signatories(1, 1, &[12])],
        vec![signatories(1, 1, &[11]), signatories(0, 1, &[11])],
    ] {
        assert_eq!(refused(&rules), out_of_range, "{rules:?}");
    }
    // Small order: it would verify what nobody signed.
    let mut small = signatories(1, 1, &[11]);
    for first in [0, 1] {
        let mut bytes = [0; 32];
        bytes[0] = first;
        small.keys = vec![PublicKey(bytes)];
        assert_eq!(refused(&[small.clone()]), out_of_range);
    }
    assert_eq!(refused(&[signatories(1, 16, &many[..16])]), None);
}

#[test]
fn without_people_the_canonical_form_is_what_it_was_before_there_could_be_any() {
    let world = World::with_people(&[]);
    let terms = world.agreement(1).unwrap().terms;
    let text = String::from_utf8(canonical::to_vec(&terms).unwrap()).unwrap();
    assert!(!text.contains("signatories"), "{text}");
    let signature = AgreementSignature {
        agreement: id(1),
        terms: Digest([1; 32]),
        endorsements: Vec::new(),
    };
    let bytes = canonical::to_vec(&signature).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("endorsements"));
    let back: AgreementSignature = canonical::from_slice(&bytes).unwrap();
    assert_eq!(back, signature);
    // An empty list that is spelt out is another text, and refused.
    let text = String::from_utf8(bytes).unwrap();
    let spelt = text.replace(",\"terms\"", ",\"endorsements\":[],\"terms\"");
    assert_ne!(text, spelt);
    assert!(canonical::from_slice::<AgreementSignature>(spelt.as_bytes()).is_err());
}
