//! A log of many entries, to measure by hand:
//! `ENTRIES=1000000 cargo test --release -p passerelle-audit --test verify -- --ignored large`

use crate::file::{Row, checkpoint, write};
use crate::world::{World, agency, envelope, federation, log_signer, opening};
use passerelle_audit::verify::{Options, verify};
use passerelle_model::{
    bytes::{Digest, Nonce, PublicKey},
    commitment::Field,
    entry::{Entry, EntryBody},
    ids::RequestId,
    pdp::{Effect, ItemRuling, Reason, Ruling},
    permit::Permit,
    statement::{Answer, Body, Item, Receipt, ReceiptKind, Request, VERSION},
    time::Timestamp,
    vocabulary::{Category, LegalBasis, Level, Purpose, WorkerRole},
};
use std::{io::BufReader, time::Instant};

fn entry(rows: &mut Vec<Row>, at: Timestamp, body: EntryBody) {
    let nonce = Nonce(Digest::of(&rows.len().to_be_bytes()).0);
    let entry = Entry {
        kind: body.code().to_owned(),
        version: VERSION,
        at,
        body,
        nonce,
    };
    let entry = entry.to_bytes().unwrap();
    rows.push(Row {
        entry,
        openings: Vec::new(),
        hidden: false,
    });
}

fn said(n: u8, at: Timestamp, body: Body) -> (EntryBody, Digest) {
    let envelope = envelope(n, n, at, body);
    let digest = envelope.digest();
    (
        EntryBody::Said {
            agency: agency(n),
            envelope,
        },
        digest,
    )
}

/// Request, decision, permit, answer, receipt: five entries, three of them signed.
fn exchange(rows: &mut Vec<Row>, at: Timestamp, number: u64) {
    let mut random = [0; 16];
    random[..8].copy_from_slice(&number.to_be_bytes());
    let request = RequestId::from_random(random);
    let item = Item {
        category: Category::InService,
        level: Level::Known,
    };
    let asked = Request {
        request: request.clone(),
        holder: agency(1),
        items: vec![item],
        purpose: Purpose::Plan,
        basis: LegalBasis::Gdpr6,
        reliance: None,
        case: None,
        emergency: None,
        subject: Some(opening(Field::Subject, 1).commitment()),
        worker: opening(Field::Worker, 1).commitment(),
        role: WorkerRole::Officer,
        trained: true,
        justification: opening(Field::Justification, 1).commitment(),
        context: Digest([1; 32]),
        reply_key: PublicKey([1; 32]),
        not_after: at.plus_s(100),
    };
    let (body, statement) = said(0, at, Body::Request(Box::new(asked)));
    entry(rows, at, body);
    let ruling = Ruling {
        effect: Effect::Permit,
        reasons: vec![Reason {
            rule: "r".into(),
            source: "s".into(),
            text: "t".into(),
        }],
        ..Ruling::deny("r")
    };
    let decision = rows.len() as u64;
    let items = vec![ItemRuling {
        category: item.category,
        level: item.level,
        ruling,
    }];
    let bundle = Digest([7; 32]);
    entry(
        rows,
        at,
        EntryBody::Decided {
            request: request.clone(),
            items,
            bundle,
        },
    );
    let permit = Permit {
        request: request.clone(),
        statement,
        requester: agency(0),
        holder: agency(1),
        items: vec![item],
        purpose: Purpose::Plan,
        basis: LegalBasis::Gdpr6,
        case: None,
        reply_key: PublicKey([1; 32]),
        review: false,
        obligations: Vec::new(),
        decision,
        bundle,
        issued_at: at,
        not_after: at.plus_s(100),
    };
    let digest = permit.digest().unwrap();
    entry(
        rows,
        at,
        EntryBody::Offered {
            permit: Box::new(permit),
        },
    );
    let outcome = opening(Field::Outcome, 1).commitment();
    let sealed = Digest([3; 32]);
    let answer = Answer {
        request: request.clone(),
        permit: digest,
        outcome,
        sealed,
    };
    entry(rows, at, said(1, at, Body::Answer(answer)).0);
    let receipt = Receipt {
        request,
        kind: ReceiptKind::Delivered,
        sealed,
    };
    entry(rows, at, said(0, at, Body::Receipt(receipt)).0);
}

/// A log of at least so many entries, most of them of exchanges between two agencies.
pub(crate) fn rows(size: usize) -> Vec<Row> {
    let world = World::new();
    let mut rows = crate::file::rows(&world.records);
    let mut number = 0;
    while rows.len() < size {
        number += 1;
        exchange(&mut rows, world.now, number);
    }
    rows
}

#[test]
#[ignore = "a measurement, worth something in release only"]
fn large_logs_verify_in_time() {
    let size: usize = std::env::var("ENTRIES").map_or(10_000, |n| n.parse().unwrap());
    let rows = rows(size);
    let log = log_signer();
    let file = write(
        &rows,
        checkpoint(&rows, &log, &[0, 1, 2]),
        log.verifier_key(),
    );
    let entries = rows.len();
    drop(rows);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("export.jsonl");
    std::fs::write(&path, &file).unwrap();
    if let Ok(keep) = std::env::var("KEEP") {
        std::fs::copy(&path, keep).unwrap();
    }
    let bytes = file.len();
    drop(file);
    for threads in [1, 2] {
        let begun = Instant::now();
        let reader = BufReader::new(std::fs::File::open(&path).unwrap());
        let report = verify(
            reader,
            &Options {
                threads,
                ..Options::default()
            },
        )
        .unwrap();
        assert_eq!(
            (report.size, report.federation),
            (entries as u64, federation())
        );
        let seconds = begun.elapsed().as_secs_f64();
        eprintln!("{entries} entries, {bytes} bytes, {threads} threads: {seconds:.1} s");
    }
}
