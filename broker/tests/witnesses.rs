//! Witness rounds over a real ledger, with cosigners that answer, are late, lie, or are silent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use passerelle_audit::{
    cosignature::Cosigner,
    keys::SigningKey,
    note::{Signer, VerifierKey},
    witness::{WitnessState, consider},
};
use passerelle_broker::{
    clock, home::log_origin, ledger::Ledger, operator, serve::embedded_pdp, witnesses::Witnesses,
};
use passerelle_model::{
    bytes::{Digest, PublicKey},
    decide::{Command, Reply},
    error::ErrorCode,
    ids::{AgencyId, FederationId, witness_name},
    panel::Panel,
    statement::AgencyKeys,
    vocabulary::Sector,
};

struct Party {
    agency: AgencyId,
    cosigner: Cosigner,
    state: WitnessState,
}

struct World {
    _dir: tempfile::TempDir,
    ledger: Ledger,
    log: VerifierKey,
    witnesses: Witnesses,
    parties: Vec<Party>,
    seed: u8,
}

fn federation() -> FederationId {
    "essai".parse().unwrap()
}

impl World {
    fn new(parties: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = dir.path().join("b");
        operator::init(&broker, &federation(), Panel::default()).unwrap();
        let ledger = Ledger::open(&broker).unwrap();
        let signer =
            Signer::new(&log_origin(&federation()), SigningKey::from_seed(&[77; 32])).unwrap();
        let log = signer.verifier_key().clone();
        let witnesses = Witnesses::new(federation(), signer, ledger.view().clone()).unwrap();
        let mut world = Self {
            _dir: dir,
            ledger,
            log,
            witnesses,
            parties: Vec::new(),
            seed: 0,
        };
        for n in 0..parties {
            world.enrol(n);
        }
        world.witnesses.reload_members().unwrap();
        world
    }

    fn run(&mut self, command: &Command) -> Reply {
        self.seed += 1;
        let pdp = embedded_pdp().unwrap();
        let mut batch = self.ledger.batch(pdp.as_ref());
        let (reply, _) = batch.run(command, clock::now(), [self.seed; 32]).unwrap();
        let finished = batch.finish();
        self.ledger.commit(finished).unwrap();
        reply
    }

    fn enrol(&mut self, n: u8) {
        let agency: AgencyId = format!("agence-{n}").parse().unwrap();
        let (sector, token) = (Sector::Community, Digest([n; 32]));
        let expires_at = clock::now().plus_s(60);
        self.run(&Command::Invite {
            agency: agency.clone(),
            sector,
            token,
            expires_at,
        });
        let key = SigningKey::from_seed(&[n + 1; 32]);
        let unused = PublicKey([0; 32]);
        let keys = AgencyKeys {
            sector,
            signing: unused,
            sealing: unused,
            witness: key.public_key(),
        };
        let enrol = Command::Enrol {
            agency: agency.clone(),
            token,
            keys,
            certificate: format!("{n}"),
        };
        assert!(matches!(self.run(&enrol), Reply::Done { .. }));
        let cosigner = Cosigner::new(&witness_name(&federation(), &agency), key).unwrap();
        self.parties.push(Party {
            agency,
            cosigner,
            state: WitnessState::default(),
        });
    }

    fn grow(&mut self) {
        let agency = self.parties[0].agency.clone();
        self.run(&Command::CountEvaluations { agency, count: 1 });
    }

    /// The party answers what it is offered; says the size that it cosigned.
    fn cosign(&mut self, n: usize) -> Result<u64, ErrorCode> {
        let party = &mut self.parties[n];
        let offer = self
            .witnesses
            .offer(&party.agency, party.state.size)
            .unwrap();
        let (log, old) = (&self.log, offer.old_size);
        let accepted = consider(&party.state, log, old, &offer.proof, &offer.checkpoint).unwrap();
        party.state = accepted.state();
        let line = party.cosigner.cosign(&accepted, 1).unwrap().to_string();
        self.witnesses
            .cosigned(&party.agency, offer.size, line.trim_end())?;
        Ok(offer.size)
    }

    fn deliverable(&self, n: usize) -> u64 {
        self.witnesses
            .deliverable(&self.parties[n].agency)
            .map_or(0, |c| c.size)
    }

    fn published(&self) -> u64 {
        self.witnesses.published().map_or(0, |c| c.size)
    }
}

#[test]
fn three_of_four_publish_and_the_fourth_may_be_down() {
    let mut world = World::new(4);
    world.witnesses.start_round().unwrap();
    world.cosign(0).unwrap();
    world.cosign(1).unwrap();
    assert_eq!(world.published(), 0, "two of four are no quorum");
    let size = world.cosign(2).unwrap();
    assert_eq!(world.published(), size);
    assert_eq!(world.deliverable(2), size);
    assert_eq!(
        world.deliverable(3),
        0,
        "nobody acts on what its own witness has not cosigned"
    );
}

#[test]
fn a_late_cosignature_counts_for_its_own_agency_after_the_next_round_has_begun() {
    let mut world = World::new(4);
    world.witnesses.start_round().unwrap();
    let late = world.witnesses.offer(&world.parties[3].agency, 0).unwrap();
    for n in 0..3 {
        world.cosign(n).unwrap();
    }
    world.grow();
    world.witnesses.start_round().unwrap();
    let party = &mut world.parties[3];
    let state = WitnessState::default();
    let accepted = consider(&state, &world.log, 0, &late.proof, &late.checkpoint).unwrap();
    party.state = accepted.state();
    let line = party.cosigner.cosign(&accepted, 1).unwrap().to_string();
    world
        .witnesses
        .cosigned(&party.agency, late.size, line.trim_end())
        .unwrap();
    assert_eq!(world.deliverable(3), late.size);
}

#[test]
fn a_round_keeps_its_checkpoint_until_its_quorum_is_met() {
    let mut world = World::new(4);
    world.witnesses.start_round().unwrap();
    let first = world.cosign(0).unwrap();
    world.grow();
    world.witnesses.start_round().unwrap();
    assert_eq!(world.cosign(1).unwrap(), first);
    assert_eq!(world.cosign(2).unwrap(), first);
    world.witnesses.start_round().unwrap();
    assert_eq!(world.cosign(0).unwrap(), first + 1);
}

#[test]
fn a_false_cosignature_is_refused_and_does_not_count() {
    let world = World::new(1);
    world.witnesses.start_round().unwrap();
    let agency = world.parties[0].agency.clone();
    let offer = world.witnesses.offer(&agency, 0).unwrap();
    let name = witness_name(&federation(), &agency);
    let stranger = Cosigner::new(&name, SigningKey::from_seed(&[99; 32])).unwrap();
    let accepted = consider(
        &WitnessState::default(),
        &world.log,
        0,
        &offer.proof,
        &offer.checkpoint,
    )
    .unwrap();
    let line = stranger.cosign(&accepted, 1).unwrap().to_string();
    let refused = world
        .witnesses
        .cosigned(&agency, offer.size, line.trim_end());
    assert_eq!(refused, Err(ErrorCode::BadSignature));
    for junk in [
        "",
        "x",
        "— a b",
        "— essai/agence-0 AAAA\n— essai/agence-0 AAAA",
    ] {
        assert!(
            world.witnesses.cosigned(&agency, offer.size, junk).is_err(),
            "{junk:?}"
        );
    }
    assert_eq!(world.published(), 0);
}

#[test]
fn an_old_copy_signs_nothing_once_no_quorum_is_left_without_the_doubters() {
    let mut world = World::new(4);
    let doubters: Vec<_> = world.parties.iter().map(|p| p.agency.clone()).collect();
    world.witnesses.saw_more(&doubters[0], 1_000);
    assert!(
        world.witnesses.rolled_back().is_none(),
        "one liar can't stop the log"
    );
    world.witnesses.saw_more(&doubters[1], 1_000);
    assert!(world.witnesses.rolled_back().is_some());
    world.grow();
    world.witnesses.start_round().unwrap();
    assert!(
        world.witnesses.offer(&doubters[2], 0).is_none(),
        "a checkpoint was signed"
    );
}

/// What it entered by itself makes it as long as the log that was lost.
#[test]
fn an_old_copy_is_known_by_what_was_signed_and_not_by_its_length() {
    let mut world = World::new(4);
    world.grow();
    let size = world.ledger.view().tree().size();
    let doubter = world.parties[0].agency.clone();
    world.witnesses.saw_more(&doubter, size);
    assert!(world.witnesses.must_wait(&doubter), "nothing was signed");
    world.witnesses.start_round().unwrap();
    world.witnesses.saw_more(&doubter, size);
    assert!(!world.witnesses.must_wait(&doubter), "now it was");
}

#[test]
fn a_witness_that_refuses_another_log_waits_until_it_cosigns() {
    let mut world = World::new(4);
    world.witnesses.start_round().unwrap();
    let agencies: Vec<_> = world.parties.iter().map(|p| p.agency.clone()).collect();
    // Who stands nowhere can't contradict; a conflict is settled from where it stands.
    for (status, known) in [(422, 0), (409, 1), (403, 1)] {
        world.witnesses.refused(&agencies[0], status, known);
        assert!(!world.witnesses.must_wait(&agencies[0]), "{status} {known}");
    }
    world.witnesses.refused(&agencies[0], 422, 1);
    assert!(world.witnesses.must_wait(&agencies[0]));
    assert!(!world.witnesses.must_wait(&agencies[1]), "itself alone");
    assert!(world.witnesses.rolled_back().is_none());
    world.cosign(0).unwrap();
    assert!(!world.witnesses.must_wait(&agencies[0]));
    for agency in &agencies[1..3] {
        world.witnesses.refused(agency, 422, 1);
    }
    assert!(world.witnesses.rolled_back().is_some());
    assert!(world.witnesses.must_wait(&agencies[3]), "all of them");
}

#[test]
fn a_change_of_members_gives_up_the_round_that_does_not_cover_it() {
    let mut world = World::new(4);
    world.witnesses.start_round().unwrap();
    let before = world.cosign(0).unwrap();
    world.cosign(1).unwrap();
    // Two of four are gone for good: without them there is no quorum, until one is shut out.
    let gone = world.parties[3].agency.clone();
    world.run(&Command::Revoke {
        agency: gone.clone(),
    });
    world.witnesses.start_round().unwrap();
    assert_eq!(world.published(), 0);
    world.witnesses.reload_members().unwrap();
    world.witnesses.start_round().unwrap();
    for n in 0..3 {
        assert_eq!(
            world.cosign(n).unwrap(),
            before + 1,
            "the round covers the revocation"
        );
    }
    assert_eq!(world.published(), before + 1);
    let late = world.witnesses.cosigned(&gone, before + 1, "x");
    assert!(late.is_err(), "a former member counts no more");
}

#[test]
fn reading_the_members_again_keeps_a_round_that_covers_them() {
    let mut world = World::new(4);
    world.witnesses.start_round().unwrap();
    world.cosign(0).unwrap();
    world.cosign(1).unwrap();
    world.witnesses.reload_members().unwrap();
    world.witnesses.start_round().unwrap();
    let size = world.cosign(2).unwrap();
    assert_eq!(world.published(), size, "the first two were forgotten");
}

/// An outside witness cosigns the checkpoint of this size. Whether it counts; `None` if it is asked
/// about none.
fn outside(world: &World, seed: u8, size: u64) -> Option<bool> {
    let name = format!("witness.example/{seed}");
    let cosigner = Cosigner::new(&name, SigningKey::from_seed(&[seed; 32])).unwrap();
    let offer = world.witnesses.offer_outside(0, size)?;
    let (state, log) = (WitnessState::default(), &world.log);
    let accepted = consider(&state, log, 0, &offer.proof, &offer.checkpoint).unwrap();
    let line = cosigner.cosign(&accepted, 1).unwrap();
    let key = cosigner.verifier_key();
    world.witnesses.cosigned_outside(size, key, line)
}

impl World {
    /// Of four members and so many outside witnesses that must be met, with a round that is begun.
    fn requiring(outside: usize) -> Self {
        let Self {
            _dir,
            ledger,
            log,
            witnesses,
            parties,
            seed,
        } = Self::new(4);
        let world = Self {
            _dir,
            ledger,
            log,
            witnesses: witnesses.requiring_outside(outside),
            parties,
            seed,
        };
        world.witnesses.start_round().unwrap();
        world
    }
}

#[test]
fn nothing_is_published_below_the_outside_witnesses_that_must_be_met() {
    let mut world = World::requiring(2);
    for n in 0..3 {
        assert_eq!(world.witnesses.for_outside(), 0, "no quorum of members yet");
        world.cosign(n).unwrap();
    }
    let size = world.witnesses.for_outside();
    assert_eq!((world.published(), world.deliverable(0)), (0, 0));
    assert_eq!(world.witnesses.waits_for_outside(), Some((size, 0)));
    assert_eq!(outside(&world, 101, size), Some(true));
    assert_eq!((world.published(), world.deliverable(0)), (0, 0));
    assert_eq!(world.witnesses.waits_for_outside(), Some((size, 1)));
    // The same once more is not a second one.
    outside(&world, 101, size);
    assert_eq!(world.published(), 0);
    assert_eq!(outside(&world, 102, size), Some(true));
    assert_eq!((world.published(), world.deliverable(0)), (size, size));
    assert_eq!(world.deliverable(3), 0, "its own witness has not cosigned");
    assert_eq!(world.witnesses.waits_for_outside(), None);
    // Whoever comes later still counts, the member for itself.
    world.cosign(3).unwrap();
    assert_eq!(world.deliverable(3), size);
    assert_eq!(outside(&world, 103, size), Some(true));
}

#[test]
fn outside_witnesses_never_stand_in_for_members() {
    let mut world = World::requiring(1);
    world.cosign(0).unwrap();
    world.cosign(1).unwrap();
    let size = world.ledger.view().tree().size();
    for seed in 101..110 {
        assert_eq!(outside(&world, seed, size), None, "nobody is asked yet");
    }
    assert_eq!(world.published(), 0);
}

#[test]
fn a_round_that_waits_outside_stays_until_it_is_met_so_that_a_busy_log_can_be() {
    let mut world = World::requiring(1);
    for n in 0..3 {
        world.cosign(n).unwrap();
    }
    let size = world.witnesses.for_outside();
    for _ in 0..5 {
        world.grow();
        world.witnesses.start_round().unwrap();
    }
    assert_eq!(world.witnesses.for_outside(), size);
    assert_eq!(outside(&world, 101, size), Some(true));
    assert_eq!(world.published(), size);
    world.witnesses.start_round().unwrap();
    let newest = world.cosign(0).unwrap();
    assert_eq!(newest, size + 5);
    assert_eq!(world.published(), size, "the former stays published");
}
