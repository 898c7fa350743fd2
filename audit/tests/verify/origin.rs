//! A log that goes on under a new origin, from an older copy.

use crate::{
    dishonest::{offered_request, then, then_says},
    file::{Row, checkpoint, export, rows, write},
    world::{World, agency, log_signer, request_id},
};
use passerelle_audit::{
    keys::SigningKey,
    merkle::{Tree, leaf_hash},
    note::Signer,
    verify::{Fault, FaultCode as Code, Options, Report, Running, follows, verify},
};
use passerelle_model::{
    bytes::Digest,
    decide::{Command, Reply},
    entry::{EntryBody, Record, StopCause, Supersedes, TreeHead, next_origin},
    statement::{Body, Resumption, WithdrawalScope},
    vocabulary::Category,
};

/// The key of the log, under the next origin.
fn next_signer() -> Signer {
    let name = next_origin(log_signer().verifier_key().name());
    Signer::new(&name, SigningKey::from_seed(&[200; 32])).unwrap()
}

fn head(rows: &[Row]) -> TreeHead {
    let tree: Tree = rows.iter().map(|row| leaf_hash(&row.entry)).collect();
    TreeHead {
        size: tree.size(),
        root: tree.root(),
    }
}

/// The entry by which the log of this world goes on, after so many of the former log were cosigned.
fn entry(world: &World, newest: &TreeHead) -> Supersedes {
    let mut members: Vec<_> = (0..4).map(agency).collect();
    members.sort();
    Supersedes {
        former: log_signer().verifier_key().to_string(),
        key: next_signer().verifier_key().to_string(),
        carried: head(&rows(&world.records)),
        newest: newest.clone(),
        note: None,
        members,
    }
}

fn index_of(reply: Reply) -> u64 {
    match reply {
        Reply::Done { index } => index,
        other => panic!("{other:?}"),
    }
}

fn resumption(supersedes: u64, withdrawals: Vec<Digest>) -> Body {
    Body::Resumption(Resumption {
        supersedes,
        withdrawals,
        complete: true,
    })
}

/// A log with an open request whose newest entries, among them a withdrawal, are lost, and which
/// goes on; the former log; the index of the entry; and the lost withdrawal's statement.
struct Gone {
    world: World,
    former: Vec<Record>,
    index: u64,
    entry: Supersedes,
}

fn goes_on() -> Gone {
    let mut former = offered_request();
    former.withdraw(1, WithdrawalScope::All);
    let former = former.records;
    let mut world = offered_request();
    let entry = entry(&world, &head(&rows(&former)));
    let index = index_of(world.run(&Command::Supersede(Box::new(entry.clone()))));
    Gone {
        world,
        former,
        index,
        entry,
    }
}

fn recovered() -> Gone {
    let mut gone = goes_on();
    gone.world.withdraw(1, WithdrawalScope::All);
    for n in 0..4 {
        let said = resumption(gone.index, Vec::new());
        gone.world.say(n, said, Vec::new(), &[]);
    }
    gone
}

/// Exported under the new origin.
fn exported(records: &[Record]) -> Vec<u8> {
    let (log, rows) = (next_signer(), rows(records));
    write(
        &rows,
        checkpoint(&rows, &log, &[0, 1, 2, 3]),
        log.verifier_key(),
    )
}

fn checked(export: &[u8]) -> Result<Report, Fault> {
    verify(export, &Options::default())
}

fn refused(records: &[Record], index: usize, code: Code) {
    let fault = checked(&exported(records)).unwrap_err();
    assert_eq!(
        (fault.index, fault.code),
        (Some(index as u64), code),
        "{fault}"
    );
}

#[test]
fn an_honest_log_goes_on_and_the_former_one_is_shown_to_be_its_beginning() {
    let mut gone = recovered();
    gone.world.consent(2, 2, 0);
    gone.world.ask(2, 2, 0, Category::InService);
    let export = exported(&gone.world.records);
    let report = checked(&export).unwrap();
    assert!(report.is_complete(), "{report}");
    assert_eq!(report.origins, [(gone.index, gone.entry.clone())]);
    assert_eq!(report.origin, "essai.example/log/2");
    follows(&self::export(&gone.former)[..], &gone.entry).unwrap();
    // As the mirror takes it in, entry by entry.
    let mut running = Running::new(report.federation, next_signer().verifier_key());
    for record in &gone.world.records {
        running.take(&record.entry.to_bytes().unwrap()).unwrap();
    }
}

#[test]
fn another_former_log_or_one_that_is_too_short_does_not_lead_to_it() {
    let gone = goes_on();
    let mut other = offered_request();
    other.withdraw(1, WithdrawalScope::Recipient(agency(0)));
    for wrong in [
        export(&other.records),
        export(&gone.former[..3]),
        exported(&gone.world.records),
        export(&gone.former)[..2_000].to_vec(),
    ] {
        assert!(follows(&wrong[..], &gone.entry).is_err());
    }
}

#[test]
fn an_entry_that_does_not_fit_what_stands_before_it_is_named() {
    let world = offered_request();
    let right = entry(&world, &head(&rows(&world.records)));
    let zeros = Digest([0; 32]);
    let changes: [&dyn Fn(&mut Supersedes); 8] = [
        &|e| e.carried.root = zeros,
        &|e| e.carried.size -= 1,
        &|e| e.newest.size -= 1,
        &|e| e.newest.root = zeros,
        &|e| e.members.reverse(),
        &|e| e.members.clear(),
        &|e| e.note = Some("a note that nobody signed\n".to_owned()),
        &|e| e.former = next_signer().verifier_key().to_string(),
    ];
    for change in changes {
        let mut wrong = right.clone();
        change(&mut wrong);
        let (records, last) = then(&world, EntryBody::Supersedes(Box::new(wrong)));
        refused(&records, last, Code::Origin);
    }
    let (records, _) = then(&world, EntryBody::Supersedes(Box::new(right)));
    checked(&exported(&records)).unwrap();
}

#[test]
fn a_log_is_not_shown_under_a_key_that_it_has_not_gone_over_to() {
    let world = offered_request();
    let fault = checked(&exported(&world.records)).unwrap_err();
    assert_eq!(fault.code, Code::Origin, "{fault}");
    let fault = checked(&export(&recovered().world.records)).unwrap_err();
    assert_eq!(fault.code, Code::Origin, "{fault}");
}

#[test]
fn whoever_asks_before_all_have_gone_on_is_named() {
    let gone = goes_on();
    let mut asks = offered_request();
    asks.ask(3, 2, 0, Category::InService);
    let asked = asks
        .records
        .iter()
        .find_map(|record| match &record.entry.body {
            EntryBody::Said { envelope, .. } => {
                let body = envelope.unverified_statement().unwrap().body;
                let is_it = matches!(&body, Body::Request(r) if r.request == request_id(3));
                is_it.then_some(body)
            }
            _ => None,
        });
    let (records, last) = then_says(&gone.world, 0, asked.unwrap());
    refused(&records, last, Code::Origin);
}

#[test]
fn a_resumption_whose_withdrawals_are_missing_is_named() {
    let gone = goes_on();
    let said = resumption(gone.index, vec![Digest([9; 32])]);
    let (records, last) = then_says(&gone.world, 1, said);
    refused(&records, last, Code::Origin);
    let (records, last) = then_says(&gone.world, 1, resumption(gone.index + 1, Vec::new()));
    refused(&records, last, Code::WrongState);
}

#[test]
fn a_request_is_not_stopped_for_an_origin_that_there_is_not() {
    let stopped = EntryBody::Stopped {
        request: request_id(1),
        cause: StopCause::Superseded,
    };
    let (records, last) = then(&offered_request(), stopped);
    let fault = crate::file::check(&export(&records)).unwrap_err();
    assert_eq!(
        (fault.index, fault.code),
        (Some(last as u64), Code::WrongState)
    );
}
