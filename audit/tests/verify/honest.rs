//! Honest logs pass, and stay without fault whatever part of them may not be read.

use crate::{
    file::{Row, check, checkpoint, export, export_rows, rows, write},
    story::{file, story},
    world::{World, agency, cosigner, log_signer, opening, request_id},
};
use passerelle_audit::verify::{FaultCode, Options, Trust, verify};
use passerelle_model::{
    commitment::Field,
    decide::Command,
    statement::{ReceiptKind, WithdrawalScope},
    vocabulary::Category,
};
use proptest::prelude::*;

#[test]
fn an_honest_log_verifies_and_the_report_counts_what_was_checked() {
    let report = check(file()).unwrap();
    assert!(report.is_complete());
    assert_eq!(report.warnings, []);
    assert_eq!(report.log_key_trust, Trust::FromExport);
    let types = [
        "founded",
        "invited",
        "enrolled",
        "revoked",
        "said",
        "refused",
        "decided",
        "offered",
        "stopped",
        "recalled",
        "expired",
        "handles_evaluated",
        "sealed",
    ];
    for kind in types {
        assert!(
            report.entries.get(kind).is_some_and(|n| *n > 0),
            "no `{kind}` in the story"
        );
    }
    let statements = report.statements.values().sum::<u64>();
    assert_eq!(report.entries["said"], statements);
    assert_eq!(report.checks["statement_signatures"], statements);
    assert_eq!(report.statements.len(), 10, "{:?}", report.statements);
    assert_eq!(report.entries.values().sum::<u64>(), report.size);
    assert!(report.checks["openings"] > 0);
    assert_eq!(report.checks["seals_counted_again"], 4);
    let [own] = &report.cosignatures[..] else {
        panic!("one set of witnesses")
    };
    assert_eq!((own.witnesses, own.needed, own.found), (4, 3, 4));
    let text = report.to_string();
    assert!(text.contains("consistency but not whose log"), "{text}");
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let with = |threads| {
        verify(
            file(),
            &Options {
                threads,
                ..Options::default()
            },
        )
        .unwrap()
    };
    let one = with(0);
    for threads in [1, 2, 3, 1000] {
        assert_eq!(with(threads), one);
    }
}

#[test]
fn keys_from_outside_say_whose_log_it_is() {
    let mut options = Options {
        log_key: Some(log_signer().verifier_key().clone()),
        witnesses: (0..3).map(|n| cosigner(n).verifier_key().clone()).collect(),
        threads: 1,
        ..Options::default()
    };
    let report = verify(file(), &options).unwrap();
    assert_eq!(report.log_key_trust, Trust::Given);
    assert_eq!(report.cosignatures.len(), 2);
    assert_eq!(report.cosignatures[1].trust, Trust::Given);

    // The same name with another key, and a witness that has not cosigned among three.
    let stranger = passerelle_audit::note::Signer::new(
        log_signer().verifier_key().name(),
        passerelle_audit::keys::SigningKey::from_seed(&[77; 32]),
    );
    options.log_key = Some(stranger.unwrap().verifier_key().clone());
    assert_eq!(
        verify(file(), &options).unwrap_err().code,
        FaultCode::OtherLogKey
    );
    options.log_key = None;
    let rows = rows(&story().records);
    let log = log_signer();
    let three = write(
        &rows,
        checkpoint(&rows, &log, &[1, 2, 3]),
        log.verifier_key(),
    );
    assert!(check(&three).is_ok());
    assert_eq!(
        verify(&three[..], &options).unwrap_err().code,
        FaultCode::Quorum
    );
    options.witnesses = vec![log.verifier_key().clone()];
    assert_eq!(
        verify(&three[..], &options).unwrap_err().code,
        FaultCode::Key
    );
}

#[test]
fn authorised_openings_of_every_field_are_checked() {
    let records = story().records;
    let mut rows = rows(&records);
    let fields = [
        (Field::Worker, "request", 1),
        (Field::Justification, "request", 1),
        (Field::Outcome, "answer", 1),
        (Field::Evidence, "consent", 1),
    ];
    for (field, kind, n) in fields {
        let commitment = opening(field, n).commitment().to_hex();
        let of_statement = |row: &&mut Row| {
            let record = passerelle_model::entry::Entry::from_bytes(&row.entry).unwrap();
            match record.body {
                passerelle_model::entry::EntryBody::Said { envelope, .. } => {
                    String::from_utf8_lossy(&envelope.payload.0).contains(&commitment)
                }
                _ => false,
            }
        };
        let row = rows.iter_mut().find(of_statement);
        row.unwrap_or_else(|| panic!("no {kind} with {field:?}"))
            .openings
            .push(opening(field, n));
    }
    let all = check(&export_rows(&rows)).unwrap().checks["openings"];
    assert_eq!(all, check(file()).unwrap().checks["openings"] + 4);
}

fn hide(rows: &mut [Row], which: impl Fn(usize) -> bool) {
    for (index, row) in rows.iter_mut().enumerate() {
        row.hidden = which(index);
    }
}

#[test]
fn no_fault_is_reported_that_one_or_two_unreadable_rows_explain() {
    let all = rows(&story().records);
    for first in 0..all.len() {
        for second in (first..all.len()).step_by(3) {
            let mut rows = all.clone();
            hide(&mut rows, |index| index == first || index == second);
            let report = check(&export_rows(&rows));
            let report = report.unwrap_or_else(|fault| panic!("{first}, {second}: {fault}"));
            assert_eq!(report.not_readable, if first == second { 1 } else { 2 });
            assert!(!report.is_complete());
        }
    }
}

#[test]
fn a_log_of_which_nothing_may_be_read_still_has_its_root() {
    let mut rows = rows(&story().records);
    hide(&mut rows, |_| true);
    let report = check(&export_rows(&rows)).unwrap();
    assert_eq!(report.not_readable, report.size);
    assert!(report.to_string().contains("not readable in this export"));
}

#[test]
fn a_hole_in_what_must_follow_a_withdrawal_is_a_warning() {
    let mut records = story().records;
    let recalled = crate::world::find(&records, 0, |body| {
        matches!(body, passerelle_model::entry::EntryBody::Recalled { .. })
    });
    // Up to where indices would no longer fit.
    records.truncate(recalled + 2);
    records.remove(recalled);
    let report = check(&export(&records)).unwrap();
    assert_eq!(report.warnings.len(), 1);
    assert_eq!(report.warnings[0].index, recalled as u64);
}

#[derive(Clone, Debug)]
enum Op {
    Consent(u8, u8, u8),
    Withdraw(u8, u8),
    Ask(u8, u8, u8, bool),
    Offer(u8),
    Answer(u8, u8),
    Renew(u8, u8),
    Receive(u8, u8, u8),
    Revoke(u8),
    Enrol(u8),
    Wait(u16),
    Tick,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0u8..3, 0u8..2, 0u8..3).prop_map(|(n, p, r)| Op::Consent(n, p, r)),
        2 => (0u8..3, 0u8..4).prop_map(|(n, s)| Op::Withdraw(n, s)),
        5 => (0u8..6, 0u8..2, 0u8..3, any::<bool>()).prop_map(|(n, p, f, m)| Op::Ask(n, p, f, m)),
        6 => (0u8..6).prop_map(Op::Offer),
        6 => (0u8..6, 0u8..3).prop_map(|(n, by)| Op::Answer(n, by)),
        1 => (0u8..6, 0u8..3).prop_map(|(n, by)| Op::Renew(n, by)),
        2 => (0u8..6, 0u8..3, 0u8..3).prop_map(|(n, f, k)| Op::Receive(n, f, k)),
        1 => (0u8..3).prop_map(Op::Revoke),
        1 => (0u8..3).prop_map(Op::Enrol),
        2 => prop_oneof![Just(1u16), Just(15), Just(400), Just(8_000)].prop_map(Op::Wait),
        1 => Just(Op::Tick),
    ]
}

fn carry_out(world: &mut World, op: &Op) {
    match op {
        Op::Consent(n, person, recipient) => {
            world.consent(*n, *person, *recipient);
        }
        Op::Withdraw(n, scope) => {
            let scope = match scope {
                0 | 1 => WithdrawalScope::All,
                2 => WithdrawalScope::Category(Category::InService),
                _ => WithdrawalScope::Recipient(agency(0)),
            };
            world.withdraw(*n, scope);
        }
        Op::Ask(n, person, from, mentor) => {
            let category = if *mentor {
                Category::Mentor
            } else {
                Category::InService
            };
            world.ask(*n, *person, *from, category);
        }
        Op::Offer(n) => {
            world.run(&Command::Offer {
                request: request_id(*n),
            });
        }
        Op::Answer(n, by) => {
            world.answer(*n, *by);
        }
        Op::Renew(n, by) => {
            world.renew(*n, *by);
        }
        Op::Receive(n, from, kind) => {
            let kinds = [
                ReceiptKind::Delivered,
                ReceiptKind::Viewed,
                ReceiptKind::Erased,
            ];
            world.receive(*n, *from, kinds[usize::from(*kind)]);
        }
        Op::Revoke(n) => {
            world.run(&Command::Revoke { agency: agency(*n) });
        }
        Op::Enrol(n) => world.enrol(*n),
        Op::Wait(seconds) => world.now = world.now.plus_s(u64::from(*seconds)),
        Op::Tick => {
            world.run(&Command::Tick);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_state_machine_does_verifies_also_in_part(
        ops in proptest::collection::vec(op(), 1..60),
        hidden in proptest::collection::vec(proptest::bool::weighted(0.2), 1..40),
    ) {
        let mut world = World::new();
        for op in &ops {
            carry_out(&mut world, op);
        }
        let report = check(&export(&world.records));
        let report = report.map_err(|fault| TestCaseError::fail(fault.to_string()))?;
        prop_assert!(report.is_complete());
        prop_assert_eq!(&report.warnings, &[]);

        let mut rows = rows(&world.records);
        hide(&mut rows, |index| hidden[index % hidden.len()]);
        let report = check(&export_rows(&rows));
        prop_assert!(report.is_ok(), "{report:?}");
    }
}
