//! A mirror against a broker that shows what the test wants.

pub(crate) mod stage;

use super::{
    CHECKPOINT, DIRECTORY, Mirror,
    follow::{Step, Trouble},
};
use crate::{
    audit_read::{Source, page, read},
    entropy,
    testing::{NAMES, NOW},
};
use passerelle_audit::{
    fork::ForkProof,
    merkle::{Tree, leaf_hash},
};
use passerelle_journal::JournalRecord;
use passerelle_model::{commitment::Field, error::ErrorCode};
use passerelle_proto::{convert, v1};
use stage::{Log, Stage, federation_id};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_new_is_stored_and_goes_on_after_a_restart() {
    let mut stage = Stage::new().await;
    let mut log = Log::new(5, 0, 0);
    stage.shows(&log);
    assert_eq!(stage.step().await, Ok(Step::Level(8)));
    assert_eq!(stage.step().await, Ok(Step::Level(8)));
    assert_eq!(stage.stored(), log.entries);
    stage.reopen();
    assert_eq!(stage.verified(), 8);
    for n in 5..60 {
        log.add(n, 0);
    }
    stage.shows(&log);
    assert_eq!(stage.step().await, Ok(Step::Level(63)));
    assert_eq!(stage.stored(), log.entries);
    let status = stage.mirror.status();
    assert_eq!((status.size, status.behind), (63, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_that_does_not_lead_to_the_signed_root() {
    let stage = Stage::new().await;
    let log = Log::new(5, 0, 0);
    stage.shows(&log);
    stage.step().await.unwrap();
    let longer = Log::new(9, 0, 0);
    type Spoil = fn(&mut Vec<v1::LogRow>);
    let spoil: [(&str, Spoil); 6] = [
        ("another entry", |rows| rows[9].entry = b"{}".to_vec()),
        ("one hidden", |rows| {
            rows[9].leaf_hash = leaf_hash(&rows[9].entry).0.to_vec();
            rows[9].entry.clear();
        }),
        ("out of order", |rows| rows.swap(9, 10)),
        ("exchanged", |rows| {
            rows.swap(9, 10);
            rows[9].index = 9;
            rows[10].index = 10;
        }),
        ("one left out", |rows| drop(rows.remove(9))),
        ("too few", |rows| rows.truncate(10)),
    ];
    for (what, spoil) in spoil {
        stage.shows(&longer);
        spoil(&mut stage.shown.lock().unwrap().rows);
        assert_eq!(stage.step().await, Err(Trouble::Entries), "{what}");
        assert_eq!(stage.stored(), log.entries, "{what}");
        assert_eq!(stage.verified(), 8, "{what}");
    }
    stage.shows(&longer);
    assert_eq!(stage.step().await, Ok(Step::Level(12)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_needs_the_log_a_quorum_and_the_own_witness() {
    let stage = Stage::new().await;
    let log = Log::new(5, 0, 0);
    stage.shows(&log);
    let shows = |note: String| stage.shown.lock().unwrap().note = Some(note);
    for (cosigners, outcome) in [
        (&["police", "clinic"][..], Err(Trouble::NoQuorum)),
        (&["police"][..], Err(Trouble::NoQuorum)),
        (&NAMES[..], Ok(Step::Level(8))),
    ] {
        shows(log.federation.checkpoint(cosigners));
        assert_eq!(stage.step().await, outcome, "{cosigners:?}");
    }
    let note = log.note().replace("log.test\n8", "log.test\n9");
    shows(note);
    assert_eq!(stage.step().await, Err(Trouble::Checkpoint));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_log_of_the_same_or_a_smaller_size_is_a_contradiction() {
    let stage = Stage::new().await;
    let log = Log::new(5, 0, 0);
    stage.shows(&log);
    stage.step().await.unwrap();
    stage.shows(&Log::new(5, 3, 1));
    assert_eq!(stage.step().await, Err(Trouble::Contradiction));
    stage.shows(&Log::new(4, 0, 0));
    assert_eq!(stage.step().await, Err(Trouble::Contradiction));
    // A longer one whose beginning differs can't be told from wrong entries here.
    stage.shows(&Log::new(9, 3, 1));
    assert_eq!(stage.step().await, Err(Trouble::Entries));
    assert_eq!(stage.stored(), log.entries);
    stage.shows(&log);
    assert_eq!(stage.step().await, Ok(Step::Level(8)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_beyond_the_checkpoint_is_not_shown_and_is_verified_again() {
    let mut stage = Stage::new().await;
    let log = Log::new(5, 0, 0);
    stage.shows(&log);
    stage.step().await.unwrap();
    let longer = Log::new(9, 0, 0);
    let record = |entry: &Vec<u8>| JournalRecord {
        entry: entry.clone(),
        sidecar: Vec::new(),
    };
    // Two of four appended, and the checkpoint not written.
    let batch: Vec<_> = longer.entries[8..10].iter().map(record).collect();
    stage.mirror.writer().append(&batch).unwrap();
    stage.reopen();
    assert_eq!((stage.verified(), stage.stored().len()), (8, 10));
    let log_read = read(&stage.node, Source::Mirror).await.unwrap();
    assert_eq!(page(&log_read, 0, 0, 0).unwrap().size, 8);
    stage.shows(&longer);
    assert_eq!(stage.step().await, Ok(Step::Level(12)));
    assert_eq!(stage.stored(), longer.entries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_whose_checkpoint_is_not_over_its_entries_is_not_opened() {
    let stage = Stage::new().await;
    stage.shows(&Log::new(5, 0, 0));
    stage.step().await.unwrap();
    let log = stage.node.context.identity.anchors.log.clone();
    let path = stage.dir.path().join(DIRECTORY);
    let copy = |note: &str| {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join(DIRECTORY);
        std::fs::create_dir_all(to.join("entries")).unwrap();
        for file in std::fs::read_dir(path.join("entries")).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join("entries").join(file.file_name())).unwrap();
        }
        std::fs::write(to.join(CHECKPOINT), note).unwrap();
        let opened = Mirror::open(dir.path(), &federation_id(), &log);
        opened.map(|mirror| mirror.verified().unwrap().size())
    };
    assert_eq!(copy(&Log::new(5, 0, 0).note()).unwrap(), 8);
    assert_eq!(copy(&Log::new(4, 0, 0).note()).unwrap(), 7);
    for (what, note) in [
        ("other entries", Log::new(5, 3, 1).note()),
        ("more entries", Log::new(6, 0, 0).note()),
        ("no checkpoint", "log.test\n".to_owned()),
    ] {
        assert!(copy(&note).is_err(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_is_read_while_the_broker_has_nothing_to_show() {
    let stage = Stage::new().await;
    let log = Log::new(5, 0, 0);
    assert_eq!(
        read(&stage.node, Source::Mirror).await.err(),
        Some(ErrorCode::Unavailable)
    );
    assert_eq!(
        read(&stage.node, Source::Newest).await.err(),
        Some(ErrorCode::NoQuorum)
    );
    stage.shows(&log);
    stage.step().await.unwrap();
    stage.shown.lock().unwrap().note = None;
    let log_read = read(&stage.node, Source::Newest).await.unwrap();
    let page = page(&log_read, 0, 0, 0).unwrap();
    assert!(page.from_mirror);
    assert_eq!(
        (page.size, page.cosignatures, page.entries.len()),
        (8, 3, 8)
    );
    let tree: Tree = log.entries.iter().map(|entry| leaf_hash(entry)).collect();
    let verified = stage.mirror.verified().unwrap();
    assert_eq!(verified.signed().checkpoint().root(), tree.root());
    let mut without = stage.node.clone();
    without.mirror = None;
    assert_eq!(
        read(&without, Source::Mirror).await.err(),
        Some(ErrorCode::WrongState)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_opens_nothing_in_an_entry_is_not_kept_with_it() {
    let stage = Stage::new().await;
    let log = Log::new(5, 0, 0);
    stage.shows(&log);
    let made_up = entropy::opening(Field::Subject, &[7; 32]).unwrap();
    for row in &mut stage.shown.lock().unwrap().rows {
        row.openings = convert::openings_to_wire(vec![made_up.clone()]);
    }
    assert_eq!(stage.step().await, Ok(Step::Level(8)));
    let mut kept = Vec::new();
    let each = &mut |_, openings| {
        kept.push(openings);
        Ok(())
    };
    stage.mirror.read_opened(0, 8, each).unwrap();
    assert_eq!(kept, vec![Vec::new(); 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_leaves_an_alert_and_a_proof_that_the_logs_key_confirms() {
    for (other, sizes, rounds) in [
        (Log::new(5, 3, 1), (8, 8), 1),
        (Log::new(3, 2, 1), (6, 8), 1),
        // Of a longer one it must be seen first that its entries don't follow.
        (Log::new(9, 3, 1), (8, 12), 3),
    ] {
        let stage = Stage::new().await;
        stage.shows(&Log::new(5, 0, 0));
        stage.rounds(1).await;
        stage.shows(&other);
        stage.rounds(rounds - 1).await;
        assert!(stage.alerts().is_empty());
        stage.rounds(3).await;
        let alerts = stage.alerts();
        assert_eq!(alerts.len(), 1, "{alerts:?}");
        assert_eq!(alerts[0].0, "forked");
        let proof = std::fs::read_to_string(alerts[0].1.as_ref().unwrap()).unwrap();
        let log = &stage.node.context.identity.anchors.log;
        let fork = ForkProof::parse(&proof).unwrap().check(log).unwrap();
        assert_eq!((fork.smaller().size(), fork.larger().size()), sizes);
        assert_eq!((stage.verified(), stage.stored().len()), (8, 8));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_is_an_alert_and_what_was_once_is_none() {
    let spoil = |stage: &Stage| stage.shown.lock().unwrap().rows.truncate(10);
    let forge = |stage: &Stage| {
        let note = Log::new(9, 0, 0)
            .note()
            .replace("log.test\n12", "log.test\n13");
        stage.shown.lock().unwrap().note = Some(note);
    };
    let shrink = |stage: &Stage| stage.shows(&Log::new(4, 0, 0));
    type Wrong<'a> = &'a dyn Fn(&Stage);
    let all: [(Wrong<'_>, usize, &str); 3] = [
        (&spoil, 3, "entries_do_not_match"),
        (&forge, 3, "checkpoint_invalid"),
        (&shrink, 1, "went_back"),
    ];
    for (wrong, rounds, code) in all {
        let stage = Stage::new().await;
        stage.shows(&Log::new(5, 0, 0));
        stage.rounds(1).await;
        let longer = Log::new(9, 0, 0);
        stage.shows(&longer);
        wrong(&stage);
        stage.rounds(rounds - 1).await;
        assert!(stage.alerts().is_empty(), "{code} after {}", rounds - 1);
        stage.rounds(3).await;
        assert_eq!(stage.alerts(), [(code.to_owned(), None)]);
        assert!(stage.mirror.status().trouble.is_some());
        stage.shows(&longer);
        stage.rounds(1).await;
        assert_eq!(
            (stage.verified(), stage.mirror.status().trouble),
            (12, None)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_against_the_rules_is_kept_and_an_alert() {
    let stage = Stage::new().await;
    // Cosigned by all, and it begins without a founding.
    stage.shows(&Log::new(5, 0, 0));
    stage.rounds(2).await;
    let alerts = stage.node.context.alerts.all();
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].code, "entry_invalid");
    assert!(alerts[0].what.contains("founding"), "{}", alerts[0].what);
    assert_eq!((stage.verified(), stage.mirror.status().checked), (8, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_can_be_reached_and_shows_less_than_is_known_is_stale() {
    let stage = Stage::new().await;
    // Three enrolments came as notices, and no checkpoint is shown.
    stage.rounds(1).await;
    stage.clock.set(NOW.plus_s(3_600));
    stage.rounds(1).await;
    assert!(stage.alerts().is_empty(), "it can't be reached");
    stage.link.up();
    stage.rounds(1).await;
    stage.clock.set(NOW.plus_s(3_600 + 599));
    stage.rounds(1).await;
    assert!(stage.alerts().is_empty());
    stage.clock.set(NOW.plus_s(3_600 + 600));
    stage.rounds(2).await;
    assert_eq!(stage.alerts(), [("stale".to_owned(), None)]);
    stage.shows(&Log::new(0, 0, 0));
    stage.rounds(1).await;
    stage.clock.set(NOW.plus_s(9_000));
    stage.rounds(2).await;
    assert_eq!(stage.alerts().len(), 1, "an idle log is not stale");
}
