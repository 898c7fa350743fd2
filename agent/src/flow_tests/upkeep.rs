//! Erasure, rebuild, import, witness.

use super::*;
use crate::{
    home::{Home, HomeError},
    vault::Vault,
};
use passerelle_journal::files::OsDisk;
use passerelle_model::store::Read as _;

#[test]
fn erasing_destroys_what_could_open_the_answer() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let offer = world.offer(&stated, &permit);
    world.clinic.hears(NOW, offer).unwrap();
    world.deliver(|_| ());
    let request = permit.request.clone();
    let views = || {
        let request = request.clone();
        world.police.write(NOW, move |context, view| {
            let events = requester::viewed(context, view, &request, "w-1", NOW)?;
            let kinds = kinds(&events);
            Ok((events, kinds))
        })
    };
    assert_eq!(views().unwrap(), ["viewed", "stated"]);
    assert_eq!(views().unwrap(), ["viewed"], "attested once");
    assert_eq!(
        world.police.erases(&request).unwrap(),
        ["erasure_begun", "erased", "stated"]
    );
    assert_eq!(world.police.erases(&request).unwrap(), [""; 0]);
    assert_eq!(world.opened(&request).err(), Some(ErrorCode::WrongState));
    assert!(world.police.context.vault.key(&request).unwrap().is_none());
    let view = world.police.core.view();
    assert!(view.scan(b"kept/", None, 9).unwrap().is_empty());
    assert_eq!(world.police.asks(&request).status, Status::Erased);
}

#[test]
fn an_open_request_cannot_be_erased() {
    let world = world(fact());
    let (_, permit) = world.ask(KNOWN);
    let refused = world.police.erases(&permit.request);
    assert_eq!(refused, Err(ErrorCode::WrongState));
}

#[test]
fn a_lost_file_of_keys_is_not_attested_as_an_erasure() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let offer = world.offer(&stated, &permit);
    world.clinic.hears(NOW, offer).unwrap();
    world.deliver(|_| ());
    world.police.settles();
    world.police.context.vault.destroy(&permit.request).unwrap();
    let view = world.police.core.view();
    assert_eq!(erasure::unfinished(view).unwrap(), []);
    let request = permit.request.clone();
    let unasked = world.police.write(NOW, move |context, view| {
        let events = erasure::finish(context, view, &request, NOW)?;
        Ok((events, ()))
    });
    assert_eq!(unasked, Err(ErrorCode::WrongState), "nobody set out to");
    assert_eq!(world.police.asks(&permit.request).status, Status::Delivered);
    assert_eq!(
        world.opened(&permit.request).err(),
        Some(ErrorCode::WrongState)
    );
}

#[test]
fn an_erasure_cut_short_is_finished_whatever_became_of_the_request() {
    let mut world = world(fact());
    let (_, denied) = world.ask(KNOWN);
    world.police_hear(EntryBody::Expired {
        request: denied.request.clone(),
    });
    let request = denied.request.clone();
    let begins = || {
        let request = request.clone();
        let begun = world.police.write(NOW, move |_, view| {
            let events = erasure::begin(view, &request)?;
            Ok((events.clone(), events.len()))
        });
        begun.unwrap()
    };
    assert_eq!((begins(), begins()), (1, 0));
    // The crash came after the key was gone.
    world.police.context.vault.destroy(&request).unwrap();
    let unfinished = || erasure::unfinished(world.police.core.view()).unwrap();
    assert_eq!(unfinished(), std::slice::from_ref(&request));
    // Nothing was answered, so there is nothing to attest.
    assert_eq!(world.police.erases(&request).unwrap(), ["erased"]);
    assert_eq!(unfinished(), []);
    assert_eq!(world.police.asks(&request).status, Status::Erased);
}

#[test]
fn a_lost_projection_is_rebuilt_from_the_journal() {
    let mut world = world(fact());
    let (stated, permit) = world.ask(KNOWN);
    let offer = world.offer(&stated, &permit);
    world.clinic.hears(NOW, offer).unwrap();
    let World { clinic, .. } = world;
    let rows = |core: &Core| core.view().scan(b"", None, 10_000).unwrap();
    let before = rows(&clinic.core);
    let Agent {
        context,
        core,
        writer,
        dir,
    } = clinic;
    drop(core);
    writer.join();
    std::fs::remove_dir_all(dir.path().join("projection")).unwrap();
    let (core, _writer) = Core::start(dir.path(), agency("clinic"), context.vault.clone()).unwrap();
    assert!(rows(&core) == before, "the rows differ after the rebuild");
    assert_eq!(state::outbox(core.view(), None, 10).unwrap().len(), 1);
}

#[test]
fn an_import_without_its_commit_has_no_effect() {
    let mut federation = Federation::new();
    let clinic = Agent::new(&mut federation, "clinic", &[]);
    let mut events = import(fact());
    let commit = events.split_off(1);
    clinic.happens(events);
    assert_eq!(clinic.meta().people, 0);
    clinic.happens(commit);
    let meta = clinic.meta();
    assert_eq!((meta.people, meta.facts, meta.without_handle), (1, 1, 0));
    // The same again changes nothing but the row.
    clinic.happens(import(fact()));
    let meta = clinic.meta();
    assert_eq!((meta.people, meta.facts, meta.without_handle), (1, 1, 0));
    assert_eq!(
        state::people_by_handle(clinic.core.view(), &KNOWN)
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_witness_cosigns_what_extends_its_tree_and_remembers_it() {
    let mut federation = Federation::new();
    let clinic = Agent::new(&mut federation, "clinic", &[]);
    federation.enrolments(&[]);
    let clock = crate::clock::ManualClock::new(NOW);
    let round = |old_size, checkpoint| {
        let round = v1::WitnessRound {
            old_size,
            proof: Vec::new(),
            checkpoint,
        };
        let (context, core) = (&clinic.context, &clinic.core);
        run(async {
            crate::witness::round(context, core, &clock, round)
                .await?
                .await
        })
        .unwrap()
    };
    use v1::agent_frame::Frame;
    let checkpoint = federation.checkpoint(&[]);
    let Frame::Cosigned(cosigned) = round(0, checkpoint.clone()) else {
        panic!("must be cosigned");
    };
    assert_eq!(cosigned.size, 3);
    assert!(!cosigned.signature.contains('\n'));
    assert_eq!(clinic.meta().witness.size, 3);
    let refused = |frame| match frame {
        Frame::CosignRefused(refused) => (refused.status, refused.size, refused.known_size),
        _ => panic!("must be refused"),
    };
    assert_eq!(refused(round(0, checkpoint.clone())), (409, 3, 3));
    assert!(
        matches!(round(3, checkpoint), Frame::Cosigned(_)),
        "again is in order"
    );
    // Another log of the same size.
    let mut fork = Federation::new();
    for _ in 0..3 {
        let agency = agency("clinic");
        fork.notice(NOW, EntryBody::HandlesEvaluated { agency, count: 1 }, &[]);
    }
    assert_eq!(refused(round(3, fork.checkpoint(&[]))), (422, 3, 3));
    assert_eq!(refused(round(3, "nonsense".into())), (400, 0, 3));
    assert_eq!(clinic.meta().witness.size, 3);
}

#[test]
fn two_processes_cannot_share_a_directory() {
    let mut federation = Federation::new();
    let clinic = Agent::new(&mut federation, "clinic", &[]);
    let vault = clinic.context.vault.clone();
    assert!(Core::start(clinic.dir.path(), agency("clinic"), vault).is_err());
    let home = Home::new(clinic.dir.path());
    let refused = Vault::open_on(&home, &OsDisk).err();
    assert!(matches!(refused, Some(HomeError::Running(_))));
}
