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
    let kinds_of = |kind| {
        let request = request.clone();
        world.police.write(NOW, move |context, view| {
            let events = match kind {
                "view" => requester::viewed(context, view, &request, "w-1", NOW)?,
                _ => requester::erase(context, view, &request, NOW)?,
            };
            let kinds = kinds(&events);
            Ok((events, kinds))
        })
    };
    assert_eq!(kinds_of("view").unwrap(), ["viewed", "stated"]);
    assert_eq!(kinds_of("view").unwrap(), ["viewed"], "attested once");
    assert_eq!(kinds_of("erase").unwrap(), ["erased", "stated"]);
    assert_eq!(kinds_of("erase").unwrap(), [""; 0]);
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
    let refused = world.police.write(NOW, move |context, view| {
        requester::erase(context, view, &permit.request, NOW).map(|events| (events, ()))
    });
    assert_eq!(refused, Err(ErrorCode::WrongState));
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
        let bundle = Digest([5; 32]);
        fork.notice(NOW, EntryBody::BundleActivated { bundle }, &[]);
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
