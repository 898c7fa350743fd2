//! A small federation with fixed keys: a log, its witnesses, its members. The keys are public
//! constants of a test.

use passerelle_agent::trust::{Anchors, Member, Trust, witness_key};
use passerelle_audit::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    cosignature::{self, Cosigner},
    dsse::SigningKey,
    merkle::Tree,
    note::{Signer, VerifierKey},
    witness::{WitnessState, consider},
};
use passerelle_model::{
    bytes::PublicKey,
    ids::{AgencyId, FederationId, witness_name},
    panel::Panel,
    statement::AgencyKeys,
    time::Timestamp,
    vocabulary::Sector,
};
use std::sync::LazyLock;

/// The log's name.
pub const ORIGIN: &str = "fuzz.example/nord";

/// The members' names, in the order of their keys.
pub const MEMBERS: [&str; 3] = ["police-nord", "sante-centre", "maison-commune"];

/// What the broker's clock says.
pub const NOW: Timestamp = Timestamp(1_795_269_789_000);

/// A key that everybody knows.
pub fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

/// The federation's name.
pub fn federation() -> FederationId {
    "nord".parse().unwrap()
}

/// A member's name.
pub fn member(number: usize) -> AgencyId {
    MEMBERS[number % MEMBERS.len()].parse().unwrap()
}

static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::new(ORIGIN, key(100)).unwrap());

static COSIGNERS: LazyLock<Vec<Cosigner>> = LazyLock::new(|| {
    let of = |n| {
        let name = witness_name(&federation(), &member(n));
        Cosigner::new(&name, key(number(n) + 32)).unwrap()
    };
    (0..MEMBERS.len()).map(of).collect()
});

/// The log's key.
pub fn signer() -> Signer {
    SIGNER.clone()
}

/// The key of permits.
pub fn permit_key() -> SigningKey {
    key(101)
}

/// The number of a member's key: for statements, and 32 higher for cosignatures.
const fn number(member: usize) -> u8 {
    (member % MEMBERS.len()) as u8 + 1
}

/// A member's key for statements.
pub fn statement_key(member: usize) -> SigningKey {
    key(number(member))
}

/// A member's witness.
pub fn cosigner(of: usize) -> Cosigner {
    COSIGNERS[of % MEMBERS.len()].clone()
}

/// The keys of all witnesses.
pub fn witnesses() -> Vec<VerifierKey> {
    let keys = (0..MEMBERS.len()).map(|n| cosigner(n).verifier_key().clone());
    keys.collect()
}

/// A member's keys, as it enrolled with.
pub fn agency_keys(of: usize) -> AgencyKeys {
    AgencyKeys {
        sector: [Sector::LawEnforcement, Sector::Health, Sector::Community][of % 3],
        signing: statement_key(of).public_key(),
        sealing: PublicKey([9; 32]),
        witness: key(number(of) + 32).public_key(),
    }
}

/// What the first member's agent believes.
pub fn trust() -> Trust {
    let anchors = Anchors {
        own_witness: witness_key(&federation(), &member(0), agency_keys(0).witness).unwrap(),
        federation: federation(),
        agency: member(0),
        log: signer().verifier_key().clone(),
        permit: permit_key().public_key(),
        panel: Panel::default(),
    };
    let members = (0..MEMBERS.len()).map(|n| {
        let row = Member {
            keys: agency_keys(n),
            former: Vec::new(),
            active: true,
            certificate: String::new(),
            since: n as u64,
        };
        (member(n), row)
    });
    Trust::new(anchors, members.collect())
}

/// The head of `tree`, signed by the log and cosigned by the members of which `by` has the bit.
pub fn head(tree: &Tree, by: u8) -> SignedCheckpoint {
    let checkpoint = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap();
    let mut signed = checkpoint.sign(&signer()).unwrap();
    let bare = signed.note().to_string();
    let log = signer().verifier_key().clone();
    for number in (0..MEMBERS.len()).filter(|n| by >> n & 1 == 1) {
        let cosigner = cosigner(number);
        let state = WitnessState::default();
        let accepted = consider(&state, &log, 0, &[], &bare).unwrap();
        let line = cosigner.cosign(&accepted, NOW.seconds()).unwrap();
        cosignature::add(&mut signed, cosigner.verifier_key(), line).unwrap();
    }
    signed
}
