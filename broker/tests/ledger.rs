//! The ledger on a real directory: what was committed is there after every kind of restart, and a
//! projection in any condition is made good from the journal.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use passerelle_broker::{home, ledger::Ledger, operator, serve::embedded_pdp};
use passerelle_model::{
    bytes::Digest,
    decide::{Command, Reply},
    error::ErrorCode,
    ids::AgencyId,
    panel::Panel,
    state,
    time::Timestamp,
    vocabulary::Sector,
};
use std::{fs, path::Path};

fn invite(ledger: &mut Ledger, n: u8) -> Reply {
    let pdp = embedded_pdp().unwrap();
    let now = Timestamp(1_800_000_000_000);
    let command = Command::Invite {
        agency: "police-nord".parse().unwrap(),
        sector: Sector::LawEnforcement,
        token: Digest([n; 32]),
        expires_at: now.plus_s(60),
    };
    let mut batch = ledger.batch(pdp.as_ref());
    let (reply, _) = batch.run(&command, now, [n; 32]).unwrap();
    let finished = batch.finish();
    ledger.commit(finished).unwrap();
    reply
}

fn founded() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let broker = dir.path().join("b");
    operator::init(&broker, &"essai".parse().unwrap(), Panel::default()).unwrap();
    dir
}

fn expect(dir: &Path, size: u64, root: Digest) {
    let ledger = Ledger::open(dir).unwrap();
    assert_eq!(ledger.next_index(), size);
    assert_eq!(ledger.root(), root);
    let projection = &ledger.view().projection;
    assert_eq!(projection.watermark(), size);
    for n in 0..u8::try_from(size - 1).unwrap() {
        assert!(
            state::invitation(projection.as_ref(), &Digest([n; 32]))
                .unwrap()
                .is_some()
        );
    }
}

#[test]
fn a_projection_in_any_condition_is_made_good_from_the_journal() {
    let home = founded();
    let dir = home.path().join("b");
    let root = {
        let mut ledger = Ledger::open(&dir).unwrap();
        for n in 0..5 {
            assert!(matches!(invite(&mut ledger, n), Reply::Done { .. }));
        }
        ledger.root()
    };
    expect(&dir, 6, root);
    let projection = dir.join("projection");
    let damage: [&dyn Fn(); 3] = [
        &|| fs::remove_dir_all(&projection).unwrap(),
        &|| for_each_file(&projection, &|f| fs::write(f, b"not a database").unwrap()),
        &|| {
            for_each_file(&projection, &|f| {
                let half = fs::read(f).map(|b| b.len() / 2).unwrap();
                fs::OpenOptions::new()
                    .write(true)
                    .open(f)
                    .unwrap()
                    .set_len(half as u64)
                    .unwrap();
            });
        },
    ];
    for spoil in damage {
        spoil();
        expect(&dir, 6, root);
    }
}

fn for_each_file(dir: &Path, change: &dyn Fn(&Path)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            for_each_file(&path, change)
        } else {
            change(&path)
        }
    }
}

#[test]
fn a_second_process_cannot_open_the_same_ledger() {
    let home = founded();
    let dir = home.path().join("b");
    let first = Ledger::open(&dir).unwrap();
    assert!(Ledger::open(&dir).is_err());
    drop(first);
    assert!(Ledger::open(&dir).is_ok());
}

#[test]
fn a_broker_is_never_made_over_another() {
    let home = founded();
    let dir = home.path().join("b");
    let keys = fs::read(dir.join("keys/checkpoint.pem")).unwrap();
    assert!(operator::init(&dir, &"autre".parse().unwrap(), Panel::default()).is_err());
    assert_eq!(fs::read(dir.join("keys/checkpoint.pem")).unwrap(), keys);
}

#[test]
fn an_unknown_setting_is_refused_with_its_name() {
    let home = founded();
    let dir = home.path().join("b");
    let path = dir.join("broker.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("allow_everything = true\n{text}")).unwrap();
    let error = home::Home::open(&dir).err().unwrap().to_string();
    assert!(error.contains("allow_everything"), "{error}");
}

#[test]
fn key_files_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = founded();
    let dir = home.path().join("b");
    for file in [
        "keys/checkpoint.pem",
        "keys/permit.pem",
        "keys/oprf.key",
        "tls/ca.pem",
    ] {
        let mode = fs::metadata(dir.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} has mode {mode:o}");
    }
}

#[tokio::test]
async fn an_operator_works_without_a_running_broker_and_is_told_what_is_wrong() {
    let home = founded();
    let dir = home.path().join("b");
    let agency: AgencyId = "sante-centre".parse().unwrap();
    let invited = passerelle_broker::invite(&dir, &agency, Sector::Health, 0)
        .await
        .unwrap();
    assert_eq!(invited.index, 1);
    let refused = passerelle_broker::revoke(&dir, &agency).await.unwrap_err();
    assert!(matches!(
        refused,
        passerelle_broker::BrokerError::Refused(ErrorCode::UnknownAgency)
    ));
    let (status, running) = passerelle_broker::status(&dir).await.unwrap();
    assert_eq!((status.log_size, running), (2, false));
    let nowhere = passerelle_broker::status(&home.path().join("nowhere"))
        .await
        .unwrap_err();
    assert!(nowhere.to_string().contains("broker init"), "{nowhere}");
}

#[test]
fn the_example_in_the_documents_is_read() {
    let text = include_str!("../../docs/examples/broker.toml");
    let config: home::Config = toml::from_str(text).unwrap();
    assert_eq!(config.limits.statements_per_s, 200);
    let outside = passerelle_broker::outside::Outside::parse(&config.outside_witnesses).unwrap();
    assert_eq!(outside[0].view().name, "witness.example/w1");
}
