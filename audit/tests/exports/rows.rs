//! One row for each exchange, with what the entries say and nothing more.

use crate::{
    file::{Row, check, export_rows, rows as file_rows},
    story::story,
    world::{World, agency, consent_id, find, opening, request_id, statement},
};
use passerelle_audit::{
    disclosure::{Disclosure, KnownBy, Outcome, Walked, walk},
    merkle::{Tree, leaf_hash},
};
use passerelle_model::{
    bytes::{Bytes, Handle, Nonce},
    commitment::{Field, Opening},
    entry::{Entry, EntryBody},
    statement::{Body, PAYLOAD_ANSWER},
    vocabulary::{Category, LegalBasis, Purpose},
};

/// Verified, as the program does it, and walked.
pub(crate) fn walked(file: &[u8]) -> (Vec<Disclosure>, Walked) {
    let report = check(file).unwrap();
    let mut rows = Vec::new();
    let walked = walk(file, &mut |_, row| {
        rows.push(row);
        Ok(())
    })
    .unwrap();
    assert_eq!((walked.size, walked.root), (report.size, report.root));
    assert_eq!(walked.rows, rows.len() as u64);
    (rows, walked)
}

/// As oversight exports it: every entry, and every opening that the broker has, which are those of
/// handles.
pub(crate) fn story_rows() -> Vec<Row> {
    file_rows(&story().records)
}

/// As an agency exports it: of the openings here only those of consents travel, see
/// docs/EXPORTS.md.
pub(crate) fn as_exported(rows: &mut [Row]) {
    for row in rows {
        let entry = Entry::from_bytes(&row.entry).unwrap();
        let of_consent = match &entry.body {
            EntryBody::Said { envelope, .. } => {
                let statement = envelope.unverified_statement().unwrap();
                matches!(statement.body, Body::Consent(_))
            }
            _ => false,
        };
        if !of_consent {
            row.openings.clear();
        }
    }
}

pub(crate) fn of(rows: &[Disclosure], n: u8) -> &Disclosure {
    let mut found = rows.iter().filter(|r| r.request == Some(request_id(n)));
    let row = found.next().unwrap();
    assert!(found.next().is_none(), "{n} twice");
    row
}

#[test]
fn every_exchange_and_every_refusal_is_one_row_with_what_came_of_it() {
    let (rows, walked) = walked(&export_rows(&story_rows()));
    let outcomes: Vec<_> = (1..=6).map(|n| of(&rows, n).outcome).collect();
    use Outcome as O;
    assert_eq!(
        outcomes,
        [
            O::Answered,
            O::Denied,
            O::Stopped,
            O::Expired,
            O::Answered,
            O::Stopped
        ]
    );
    let refused: Vec<_> = rows.iter().filter(|r| r.outcome == O::Refused).collect();
    let reasons: Vec<_> = refused.iter().map(|r| r.reason.unwrap()).collect();
    assert_eq!(reasons, ["not_a_party", "bad_signature"]);
    assert!(
        refused
            .iter()
            .all(|r| r.recipient == Some(agency(2)) && r.request.is_none())
    );
    assert_eq!(rows.len(), 8);
    assert_eq!(of(&rows, 3).reason, Some("withdrawn"));
    assert_eq!(of(&rows, 6).reason, Some("revoked"));
    assert_eq!(walked.log.origin, "essai.example/log");

    let row = of(&rows, 1);
    assert_eq!(row.recipient, Some(agency(0)));
    assert_eq!(row.source, Some(agency(1)));
    assert_eq!(row.purpose, Some(Purpose::Plan));
    assert!(
        row.basis
            .is_some_and(|basis| LegalBasis::ALL.contains(&basis))
    );
    assert_eq!(row.items[0].category, Category::InService);
    assert_eq!(row.items[0].rules, ["test-rule"]);
    assert_eq!(row.consents, [consent_id(1)]);
    let steps = row.steps;
    let order = [
        steps.requested,
        steps.decided,
        steps.offered,
        steps.answered,
        steps.delivered,
        steps.viewed,
        steps.recalled,
        steps.erased,
    ];
    let order: Vec<u64> = order.iter().map(|step| step.unwrap().index).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(
        row.settled,
        steps.answered.unwrap(),
        "a disclosure has the date of its answer"
    );
    assert!(of(&rows, 5).agreements.len() == 1 && of(&rows, 5).consents.is_empty());
}

#[test]
fn the_leaf_hash_of_a_row_is_that_of_the_log() {
    let file = story_rows();
    let tree: Tree = file.iter().map(|row| leaf_hash(&row.entry)).collect();
    let (rows, walked) = walked(&export_rows(&file));
    assert_eq!(walked.root, tree.root());
    for row in rows {
        assert_eq!(tree.leaf(row.settled.index), Some(row.settled.leaf_hash));
    }
}

#[test]
fn the_person_is_known_only_where_an_opening_says_so() {
    let person = |rows: &[Disclosure], n| of(rows, n).person;
    let mut file = story_rows();
    let (rows, _) = walked(&export_rows(&file));
    let known = person(&rows, 1).unwrap();
    assert_eq!(
        (known.handle, known.known_by),
        (Handle([1; 32]), KnownBy::Request)
    );
    assert_eq!(
        person(&rows, 2).unwrap().handle,
        Handle([1; 32]),
        "a denial has a person too"
    );

    as_exported(&mut file);
    let (rows, exported) = walked(&export_rows(&file));
    let known = person(&rows, 1).unwrap();
    assert_eq!(
        (known.handle, known.known_by),
        (Handle([1; 32]), KnownBy::Consent)
    );
    assert_eq!(person(&rows, 2), None, "a denial rests on no consent");
    assert_eq!(person(&rows, 5), None, "nor does an agreement name anybody");
    assert_eq!(exported.persons_opened, 3);

    for row in &mut file {
        row.openings.clear();
    }
    let (rows, exported) = walked(&export_rows(&file));
    assert!(rows.iter().all(|row| row.person.is_none()));
    assert_eq!(exported.persons_opened, 0);
}

#[test]
fn whatever_one_may_not_read_the_rest_is_not_guessed() {
    let whole = story_rows();
    let (all, _) = walked(&export_rows(&whole));
    for hidden in 0..whole.len() {
        let mut file = whole.clone();
        file[hidden].hidden = true;
        let file = export_rows(&file);
        let mut rows = Vec::new();
        let walked = walk(&file[..], &mut |_, row| {
            rows.push(row);
            Ok(())
        });
        walked.unwrap();
        for row in &rows {
            let Some(whole) = all.iter().find(|whole| whole.request == row.request) else {
                panic!("{hidden}: an exchange that never was: {row:?}");
            };
            if row.request.is_none() {
                continue;
            }
            assert!(
                row.purpose.is_none() || row.purpose == whole.purpose,
                "{hidden}"
            );
            assert!(
                row.recipient.is_none() || row.recipient == whole.recipient,
                "{hidden}"
            );
            assert!(
                row.source.is_none() || row.source == whole.source,
                "{hidden}"
            );
            let handle = |row: &Disclosure| row.person.map(|person| person.handle);
            assert!(
                row.person.is_none() || handle(row) == handle(whole),
                "{hidden}"
            );
            // Not knowing an answer makes an exchange open, never another's outcome.
            let open = row.outcome == Outcome::Open || row.outcome == whole.outcome;
            assert!(open, "{hidden}: {:?}, {:?}", row.outcome, whole.outcome);
        }
    }
}

/// An exchange that is answered, with an opening of the answer's outcome in the export.
pub(crate) fn answered_with(outcome: &str) -> Vec<Row> {
    let mut world = World::new();
    world.consent(1, 1, 0);
    world.ask(1, 1, 0, Category::InService);
    world.offer(1);
    let opened = Opening {
        field: Field::Outcome,
        random: Nonce([77; 32]),
        data: Bytes(outcome.as_bytes().to_vec()),
    };
    let Body::Answer(mut answer) = world.answer_body(1) else {
        panic!("not an answer");
    };
    answer.outcome = opened.commitment();
    let body = Body::Answer(answer);
    world.say(1, body, Vec::new(), &[(PAYLOAD_ANSWER, b"sealed answer")]);
    let is_answer = |body: &EntryBody| matches!(body, EntryBody::Said { .. });
    let said = world
        .records
        .iter()
        .filter(|r| is_answer(&r.entry.body))
        .count();
    let index = find(&world.records, said - 1, is_answer);
    assert!(matches!(
        statement(&world.records[index]).body,
        Body::Answer(_)
    ));
    let mut rows = file_rows(&world.records);
    rows[index].openings = vec![opened];
    rows
}

#[test]
fn an_opened_outcome_says_whether_facts_crossed() {
    for (code, outcome, is_disclosure) in [
        ("released", Outcome::Released, true),
        ("declined", Outcome::Declined, false),
        ("cannot_say", Outcome::CannotSay, false),
        ("nonsense", Outcome::Answered, true),
    ] {
        let (rows, _) = walked(&export_rows(&answered_with(code)));
        assert_eq!(of(&rows, 1).outcome, outcome);
        assert_eq!(outcome.is_disclosure(), is_disclosure);
    }
}

#[test]
fn a_file_that_was_not_verified_is_no_ground_to_panic() {
    let mut file = story_rows();
    file[3].entry = b"{}".to_vec();
    let file = export_rows(&file);
    let error = walk(&file[..], &mut |_, _| Ok(())).unwrap_err();
    assert!(error.to_string().starts_with("entry 3: "), "{error}");
    // An opening of somebody else's commitment is not this one's.
    let mut file = story_rows();
    for row in &mut file {
        row.openings = vec![opening(Field::Subject, 99)];
    }
    let file = export_rows(&file);
    let walked = walk(&file[..], &mut |_, row| {
        assert!(row.person.is_none());
        Ok(())
    });
    assert_eq!(walked.unwrap().persons_opened, 0);
}
