//! The model's own types: each kind of statement and of entry, and the permit. What exchanges
//! make of them is compared where the tests of `decide` run them.

use super::*;
use crate::{
    bytes::{Bytes, Nonce, Signature},
    entry::{Entry, EntryBody},
    permit::Permit,
    statement::{Body, Envelope, Statement, VERSION},
    time::Timestamp,
    vocabulary::{
        AgreementReason, Capacity, CaseOutcome, Category, ConsentGiver, ConsentMethod,
        EmergencyKind, Language, LegalBasis, Level, Profile, Purpose, ReviewFinding, Sector, Stage,
        Threshold, WorkerRole,
    },
};

fn hex(digit: &str) -> String {
    digit.repeat(64)
}

fn id(prefix: &str, digit: &str) -> String {
    format!("{prefix}-{}", digit.repeat(32))
}

fn request() -> Value {
    json!({"request": {
        "request": id("req", "a"), "holder": "maison-commune",
        "items": [
            {"category": Category::InService, "level": Level::Known},
            {"category": Category::SafetyFlag, "level": Level::Contact},
        ],
        "purpose": Purpose::Plan, "basis": LegalBasis::Consent,
        "reliance": {"consent": id("consent", "b")}, "case": id("case", "1"),
        "emergency": EmergencyKind::ALL.first(), "subject": hex("c"), "worker": hex("d"),
        "role": WorkerRole::Officer, "trained": true, "justification": hex("e"),
        "context": hex("f"), "reply_key": hex("0"), "not_after": 1_800_000_086_400_000_u64,
    }})
}

fn consent() -> Value {
    json!({"consent": {
        "consent": id("consent", "b"), "subject": hex("c"), "giver": ConsentGiver::ALL.first(),
        "capacity": Capacity::ALL.last(), "categories": Category::ALL, "purposes": Purpose::ALL,
        "recipients": ["police-nord", "sante-centre"], "disclosers": ["maison-commune"],
        "method": ConsentMethod::ALL.first(), "language": Language::ALL.last(),
        "interpreter": false, "notice_version": u32::MAX, "given_at": 0,
        "expires_at": (1_u64 << 53) - 1, "redisclosure": true, "evidence": null,
    }})
}

fn agreement() -> Value {
    let line = |level: &Level| {
        json!({"from": "police-nord", "to": "sante-centre", "category": Category::Name,
            "level": level, "retention_days": 30})
    };
    json!({"agreement": {
        "agreement": id("isa", "9"),
        "edition": {"version": 2, "supersedes": id("isa", "8"), "document": hex("6")},
        "parties": [
            {"agency": "police-nord", "basis": LegalBasis::ALL.first()},
            {"agency": "sante-centre", "basis": LegalBasis::ALL.last()},
        ],
        "purposes": [], "lines": Level::ALL.iter().map(line).collect::<Vec<_>>(),
        "starts_at": 1, "review_at": 2, "ends_at": 3,
    }})
}

fn case_advance() -> Value {
    json!({"case_advance": {
        "case": id("case", "1"), "stage": Stage::ALL.last(), "threshold": Threshold::ALL.first(),
        "agencies": ["police-nord"], "plan": [Category::Enrolled], "subject": hex("7"),
        "outcome": CaseOutcome::ALL.first(),
    }})
}

fn bodies() -> Vec<Body> {
    let (req, consent_id, sealed) = (id("req", "a"), id("consent", "b"), hex("3"));
    let mut short = request();
    for absent in ["reliance", "case", "emergency", "subject"] {
        short["request"][absent] = Value::Null;
    }
    let receipt = |kind| json!({"receipt": {"request": req, "kind": kind, "sealed": sealed}});
    let withdrawal = |scope: Value| json!({"withdrawal": {"consent": consent_id, "scope": scope}});
    let texts = [
        request(),
        short,
        json!({"answer":
            {"request": req, "permit": hex("1"), "outcome": hex("2"), "sealed": sealed}}),
        receipt("delivered"),
        receipt("viewed"),
        receipt("erased"),
        json!({"renewal": {"request": req, "permit": hex("1")}}),
        consent(),
        withdrawal(json!("all")),
        withdrawal(json!({"recipient": "police-nord"})),
        withdrawal(json!({"category": Category::Charges})),
        agreement(),
        json!({"agreement_signature": {"agreement": id("isa", "9"), "terms": hex("8")}}),
        json!({"agreement_change": {"agreement": id("isa", "9"), "change": "lift"}}),
        json!({"agreement_change": {"agreement": id("isa", "9"),
            "change": {"suspend": AgreementReason::ALL.first()}}}),
        json!({"agreement_change": {"agreement": id("isa", "9"),
            "change": {"terminate": AgreementReason::ALL.last()}}}),
        json!({"case_opening": {"case": id("case", "1"), "profile": Profile::ALL.first(),
            "agencies": ["police-nord", "sante-centre"]}}),
        case_advance(),
        json!({"bundle_endorsement": {"bundle": hex("7"), "terms": hex("8")}}),
        json!({"override_review": {"request": req, "finding": ReviewFinding::ALL.last(),
            "reviewer": hex("4"), "role": WorkerRole::PrivacyOfficer}}),
        json!({"resumption": {"supersedes": 7, "withdrawals": [hex("9")], "complete": true}}),
    ];
    let parse = |text: Value| serde_json::from_value(text).unwrap();
    texts.into_iter().map(parse).collect()
}

fn statement(body: Body) -> Statement {
    Statement {
        version: VERSION,
        federation: "essai".parse().unwrap(),
        agency: "police-nord".parse().unwrap(),
        at: Timestamp(1_800_000_000_000),
        body,
    }
}

/// A request for two items that relies on a consent.
pub(super) fn request_statement() -> Statement {
    statement(serde_json::from_value(request()).unwrap())
}

/// The entry of a statement.
pub(super) fn said(statement: &Statement) -> Entry {
    let payload = Bytes(to_vec(statement).unwrap());
    entry(EntryBody::Said {
        agency: statement.agency.clone(),
        envelope: Envelope {
            payload,
            signature: Signature([0xab; 64]),
        },
    })
}

fn entry(body: EntryBody) -> Entry {
    Entry {
        kind: body.code().to_owned(),
        version: VERSION,
        at: Timestamp(1_800_000_000_123),
        body,
        nonce: Nonce([0x5a; 32]),
    }
}

fn permit() -> Permit {
    let text = json!({
        "request": id("req", "a"), "statement": hex("1"), "requester": "police-nord",
        "holder": "maison-commune",
        "items": [{"category": Category::InService, "level": Level::Known}],
        "purpose": Purpose::Plan, "basis": LegalBasis::Gdpr6, "case": null,
        "reply_key": hex("0"), "review": true,
        "obligations": [{"retain_days": 30}, "no_redisclosure", {"notice": "avis-é\"\n"},
            {"review_within_hours": 72}, "second_approver", "notify_subject", "alert"],
        "decision": 12, "bundle": hex("7"), "issued_at": 1_800_000_000_000_u64,
        "not_after": 1_800_000_300_000_u64,
    });
    serde_json::from_value(text).unwrap()
}

fn acts() -> Vec<EntryBody> {
    let (req, consent) = (id("req", "a"), id("consent", "b"));
    let keys = json!({"sector": Sector::Health, "signing": hex("1"), "sealing": hex("2"),
        "witness": hex("3")});
    let stopped = |cause: Value| json!({"stopped": {"request": req, "cause": cause}});
    let ruling = json!({"effect": "deny", "reasons":
        [{"rule": "règle", "source": "", "text": "\u{1f600}\\"}], "obligations": [],
        "consent": consent, "agreement": null});
    let texts = [
        json!({"founded": {"federation": "essai", "bundle": hex("7"), "panel": 16, "keys":
            {"checkpoint": "essai+01020304+AA==", "permit": hex("4"), "oprf": hex("5")}}}),
        json!({"bundle_activated": {"bundle": hex("7")}}),
        json!({"bundle_proposed": {"terms": {"bundle": hex("8"), "previous": hex("7"),
            "revision": 2, "not_before": 5, "expires_at": null}}}),
        json!({"invited": {"agency": "sante-centre", "sector": Sector::Health, "token": hex("6"),
            "expires_at": 5}}),
        json!({"enrolled": {"agency": "sante-centre", "keys": keys, "token": hex("6"),
            "certificate": "0a"}}),
        json!({"revoked": {"agency": "sante-centre"}}),
        json!({"refused": {"agency": "police-nord", "code": crate::error::ErrorCode::BadSignature,
            "statement": hex("1")}}),
        json!({"decided": {"request": req, "bundle": hex("7"), "items": [
            {"category": Category::Name, "level": Level::Detail, "ruling": ruling}]}}),
        json!({"offered": {"permit": permit()}}),
        stopped(json!({"withdrawn": consent})),
        stopped(json!("decided_again")),
        stopped(json!({"revoked": "sante-centre"})),
        stopped(json!("superseded")),
        json!({"supersedes": {"former": "essai+01020304+AA==", "key": "essai/2+05060708+AA==",
            "carried": {"size": 7, "root": hex("6")}, "newest": {"size": 9, "root": hex("5")},
            "note": null, "members": ["police-nord", "sante-centre"]}}),
        json!({"recalled": {"request": req, "consent": consent}}),
        json!({"withdrawal_carried_out": {"consent": consent}}),
        json!({"expired": {"request": req}}),
        json!({"handles_evaluated": {"agency": "police-nord", "count": 1}}),
        json!({"sealed": {"from": 0, "until": 7, "counts": {"police-nord": "00".repeat(32)}}}),
    ];
    let parse = |text: Value| serde_json::from_value(text).unwrap();
    texts.into_iter().map(parse).collect()
}

#[test]
fn every_statement_is_written_as_another_implementation_writes_it() {
    for body in bodies() {
        let statement = statement(body);
        assert_canonical(&statement);
        assert_canonical(&said(&statement));
    }
}

#[test]
fn every_entry_and_the_permit_are_written_as_another_implementation_writes_them() {
    for body in acts() {
        let entry = entry(body);
        assert_canonical(&entry);
        assert_eq!(
            Entry::from_bytes(&entry.to_bytes().unwrap()).unwrap(),
            entry
        );
    }
    assert_canonical(&permit());
    assert_canonical(&said(&request_statement()));
}

#[test]
fn a_statement_with_any_byte_changed_is_refused_or_another() {
    let statement = request_statement();
    let bytes = to_vec(&statement).unwrap();
    for at in 0..bytes.len() {
        for change in [1, 0x20, 0x80] {
            let mut other = bytes.clone();
            other[at] ^= change;
            if let Ok(read) = from_slice::<Statement>(&other) {
                assert_ne!(read, statement);
            }
        }
    }
}
