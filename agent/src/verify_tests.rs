//! Every way in which a notice or a permit can be wrong.

use crate::{
    entropy,
    requester::{self, Question},
    testing::{Federation, NAMES, NOW, agency, permit_for, question},
    trust::Trust,
    verify::{self, Checked, CheckedNotice, CheckedPermit, check_permit, check_said},
};
use passerelle_model::{
    bytes::{Digest, Handle, PublicKey},
    commitment::{Field, Opening},
    entry::{Entry, EntryBody},
    error::ErrorCode,
    permit::Permit,
    statement::{Body, Envelope, Item, PAYLOAD_TYPE},
    time::Timestamp,
    vocabulary::{Category, LegalBasis, Level, Purpose},
};
use passerelle_proto::{convert, v1};

fn check_notice(notice: v1::Notice, trust: &Trust) -> Result<CheckedNotice, ErrorCode> {
    match verify::check_notice(notice, trust)? {
        Checked::Entry(checked) => Ok(*checked),
        Checked::Later(_) => panic!("an entry of a later version"),
    }
}

/// A request of the police to the clinic, with what a broker knows of it.
struct Asked {
    federation: Federation,
    envelope: Envelope,
    opening: Opening,
    context: Vec<u8>,
    permit: Permit,
    _dir: tempfile::TempDir,
}

fn asked() -> Asked {
    let federation = Federation::new();
    let dir = tempfile::tempdir().unwrap();
    let context = federation.context("police", dir.path());
    let question = Question {
        subject: Some(Handle([9; 32])),
        items: vec![Item {
            category: Category::InService,
            level: Level::Involvement,
        }],
        ..question(&context.config.workers[0])
    };
    let trust = federation.trust("police");
    let (request, stated) = requester::ask(&context, &trust, question, NOW).unwrap();
    let kept = stated.kept.as_ref().unwrap();
    let openings = context.vault.unseal(&request, kept).unwrap();
    let openings = openings.unwrap().openings;
    let opening = openings.into_iter().find(|o| o.field == Field::Subject);
    Asked {
        permit: permit_for("police", &stated.envelope, NOW),
        federation,
        opening: opening.unwrap(),
        context: stated.payloads["context"].0.clone(),
        envelope: stated.envelope,
        _dir: dir,
    }
}

impl Asked {
    fn notice(&mut self) -> v1::Notice {
        let opening = [self.opening.clone()];
        self.federation
            .offer(&self.permit, &self.envelope, &opening, &self.context)
    }

    fn check(&self, notice: v1::Notice) -> Result<CheckedPermit, ErrorCode> {
        self.check_at(notice, NOW)
    }

    fn check_at(&self, notice: v1::Notice, at: Timestamp) -> Result<CheckedPermit, ErrorCode> {
        let trust = self.federation.trust("clinic");
        check_permit(&check_notice(notice, &trust)?, &trust, at)
    }

    fn code(mut self, change: impl FnOnce(&mut Self)) -> ErrorCode {
        change(&mut self);
        let notice = self.notice();
        self.check(notice).err().expect("must be refused")
    }
}

#[test]
fn an_honest_permit_passes_and_names_the_person() {
    let mut asked = asked();
    let notice = asked.notice();
    let checked = asked.check(notice).unwrap();
    assert_eq!(checked.subject(), Some(Handle([9; 32])));
    assert_eq!(checked.digest(), asked.permit.digest().unwrap());
}

#[test]
fn an_expired_permit_is_refused() {
    let mut asked = asked();
    let notice = asked.notice();
    let at = |at| asked.check_at(notice.clone(), at).err();
    assert_eq!(at(asked.permit.not_after), Some(ErrorCode::PermitExpired));
    assert_eq!(at(Timestamp(asked.permit.not_after.0 - 1)), None);
}

#[test]
fn a_permit_from_the_future_is_refused() {
    let code = asked().code(|a| {
        a.permit.issued_at = NOW.plus_s(301);
        a.permit.not_after = NOW.plus_s(900);
    });
    assert_eq!(code, ErrorCode::Stale);
}

#[test]
fn a_permit_for_another_holder_is_refused() {
    let code = asked().code(|a| a.permit.holder = agency("mentors"));
    assert_eq!(code, ErrorCode::PermitMismatch);
    // And a request to somebody else, under a permit for us.
    let mut other = asked();
    let notice = other.notice();
    let trust = other.federation.trust("mentors");
    let checked = check_notice(notice, &trust).unwrap();
    let refused = check_permit(&checked, &trust, NOW).err();
    assert_eq!(refused, Some(ErrorCode::PermitMismatch));
}

#[test]
fn a_permit_that_says_other_than_the_request_is_refused() {
    let changes: [fn(&mut Permit); 9] = [
        |p| p.items[0].level = Level::Coded,
        |p| p.items[0].category = Category::Diagnosis,
        |p| p.items.clear(),
        |p| p.purpose = Purpose::Plan,
        |p| p.basis = LegalBasis::Gdpr6,
        |p| p.reply_key = PublicKey([3; 32]),
        |p| p.statement = Digest([3; 32]),
        |p| p.case = Some(format!("case-{}", "0".repeat(32)).parse().unwrap()),
        |p| p.not_after = NOW.plus_s(86_401),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let code = asked().code(|a| change(&mut a.permit));
        assert_eq!(code, ErrorCode::PermitMismatch, "change {number}");
    }
}

#[test]
fn a_lower_level_than_asked_is_in_order() {
    let mut asked = asked();
    asked.permit.items[0].level = Level::Known;
    let notice = asked.notice();
    assert!(asked.check(notice).is_ok());
}

#[test]
fn a_wrong_or_missing_signature_of_the_broker_is_refused() {
    let mut asked = asked();
    let good = asked.notice();
    for signature in [
        Vec::new(),
        vec![0; 64],
        // The broker's, over another permit.
        {
            let mut other = asked.permit.clone();
            other.review = true;
            asked.federation.sign_permit(&other).0.to_vec()
        },
    ] {
        let notice = v1::Notice {
            permit_signature: signature,
            ..good.clone()
        };
        assert_eq!(asked.check(notice).err(), Some(ErrorCode::BadSignature));
    }
}

#[test]
fn a_statement_that_the_requester_did_not_sign_is_refused() {
    // Another agency's key.
    let code = asked().code(|a| {
        let forger = a.federation.keys("mentors").signing;
        a.envelope.signature =
            passerelle_audit::dsse::sign(&forger, PAYLOAD_TYPE, &a.envelope.payload.0);
    });
    assert_eq!(code, ErrorCode::BadSignature);
    // Another agency's name.
    let code = asked().code(|a| a.permit.requester = agency("mentors"));
    assert_eq!(code, ErrorCode::WrongAgency);
    // A name that no member has.
    let code = asked().code(|a| a.permit.requester = agency("nobody"));
    assert_eq!(code, ErrorCode::UnknownAgency);
}

/// Changes the statement's JSON and signs it again with the requester's own key.
fn resigned(change: impl Fn(&str) -> String) -> ErrorCode {
    asked().code(|a| {
        let text = String::from_utf8(a.envelope.payload.0.clone()).unwrap();
        a.envelope.payload.0 = change(&text).into_bytes();
        let key = a.federation.keys("police").signing;
        a.envelope.signature =
            passerelle_audit::dsse::sign(&key, PAYLOAD_TYPE, &a.envelope.payload.0);
        a.permit.statement = a.envelope.digest();
    })
}

#[test]
fn a_statement_with_an_unknown_code_or_another_form_is_refused() {
    assert_eq!(
        resigned(|t| t.replace("in_service", "horoscope")),
        ErrorCode::UnknownCode
    );
    assert_eq!(resigned(|t| format!("{t} ")), ErrorCode::Malformed);
    assert_eq!(
        resigned(|t| t.replace("\"nord\"", "\"sud\"")),
        ErrorCode::WrongFederation
    );
    assert_eq!(
        resigned(|t| t.replace("\"@version\":1", "\"@version\":2")),
        ErrorCode::Malformed
    );
}

#[test]
fn an_opening_that_does_not_open_is_refused() {
    let wrong = entropy::opening(Field::Subject, &[8; 32]).unwrap();
    let code = asked().code(|a| a.opening = wrong);
    assert_eq!(code, ErrorCode::OpeningMismatch);
    let code = asked().code(|a| a.opening.field = Field::Worker);
    assert_eq!(code, ErrorCode::OpeningMismatch);
}

#[test]
fn a_context_that_was_changed_is_refused() {
    let code = asked().code(|a| a.context[40] ^= 1);
    assert_eq!(code, ErrorCode::PayloadMismatch);
}

#[test]
fn a_requester_that_was_shut_out_is_refused() {
    let mut asked = asked();
    let notice = asked.notice();
    let trust = asked.federation.trust("clinic");
    let checked = check_notice(notice, &trust).unwrap();
    let mut members = std::collections::BTreeMap::new();
    for name in NAMES {
        let mut member = trust.member(&agency(name)).unwrap().clone();
        member.active = name != "police";
        members.insert(agency(name), member);
    }
    let trust = Trust::new(trust.anchors, members);
    let refused = check_permit(&checked, &trust, NOW).err();
    assert_eq!(refused, Some(ErrorCode::UnknownAgency));
}

#[test]
fn a_tampered_proof_or_entry_is_refused() {
    let mut asked = asked();
    asked.federation.notice(
        NOW,
        EntryBody::HandlesEvaluated {
            agency: agency("clinic"),
            count: 1,
        },
        &[],
    );
    let good = asked.notice();
    assert!(asked.check(good.clone()).is_ok());
    let with_proof = |proof: String| v1::Notice {
        proof,
        ..good.clone()
    };
    let lines: Vec<_> = good.proof.lines().collect();
    let hash = lines.iter().position(|l| l.len() == 44).unwrap();
    let other_hash = good.proof.replacen(lines[hash], &"A".repeat(43), 1);
    for (what, notice) in [
        ("hash", with_proof(other_hash)),
        ("no proof", with_proof(String::new())),
        (
            "index in the proof",
            with_proof(good.proof.replace("index 1", "index 0")),
        ),
        (
            "index beside the proof",
            v1::Notice {
                index: 0,
                ..good.clone()
            },
        ),
        (
            "entry",
            v1::Notice {
                entry: String::from_utf8(good.entry.clone())
                    .unwrap()
                    .replace("clinic", "clynic")
                    .into_bytes(),
                ..good.clone()
            },
        ),
    ] {
        assert_eq!(
            asked.check(notice).err(),
            Some(ErrorCode::ProofInvalid),
            "{what}"
        );
    }
}

#[test]
fn too_few_witnesses_or_without_our_own_is_refused() {
    let mut asked = asked();
    for cosigners in [
        &["clinic"][..],
        &["clinic", "police"],
        &["police", "mentors"],
        &[],
    ] {
        let body = EntryBody::HandlesEvaluated {
            agency: agency("clinic"),
            count: 1,
        };
        let notice = asked.federation.notice(NOW, body, cosigners);
        let trust = asked.federation.trust("clinic");
        let refused = check_notice(notice, &trust).err();
        assert_eq!(refused, Some(ErrorCode::NoQuorum), "{cosigners:?}");
    }
}

#[test]
fn an_entry_in_no_form_of_ours_is_refused() {
    let mut asked = asked();
    let notice = asked.notice();
    let text = String::from_utf8(notice.entry).unwrap();
    for bytes in [
        "nonsense".to_owned(),
        format!("{text} "),
        text.replace("\"@version\":1", "\"@version\":9"),
    ] {
        let notice = asked
            .federation
            .notice_of(bytes.into_bytes(), false, &NAMES);
        assert_eq!(asked.check(notice).err(), Some(ErrorCode::Malformed));
    }
}

#[test]
fn an_entry_of_a_later_type_is_passed_over_unless_it_claims_to_be_about_members() {
    let mut asked = asked();
    let notice = asked.notice();
    let text = String::from_utf8(notice.entry).unwrap();
    let later = text.replace("offered", "auctioned").into_bytes();
    let trust = asked.federation.trust("clinic");
    let notice = asked.federation.notice_of(later.clone(), false, &NAMES);
    match verify::check_notice(notice, &trust) {
        Ok(Checked::Later(noticed)) => assert_eq!(noticed.problem, Some(ErrorCode::UnknownCode)),
        _ => panic!("must be passed over"),
    }
    // Its place in the log has to be proved all the same.
    let notice = asked
        .federation
        .notice_of(later.clone(), false, &["clinic"]);
    let refused = verify::check_notice(notice, &trust).err();
    assert_eq!(refused, Some(ErrorCode::NoQuorum));
    let notice = asked.federation.notice_of(later, true, &NAMES);
    let refused = verify::check_notice(notice, &trust).err();
    assert_eq!(refused, Some(ErrorCode::Malformed));
}

#[test]
fn membership_entries_go_by_their_own_cursor_only() {
    let mut federation = Federation::new();
    let trust = federation.trust("clinic");
    let mut enrolments = federation.enrolments(&["clinic"]);
    let mut notice = enrolments.remove(0);
    assert!(check_notice(notice.clone(), &trust).is_ok());
    notice.membership = false;
    // Without the flag it needs the quorum, and then it is in the wrong place.
    assert_eq!(
        check_notice(notice, &trust).err(),
        Some(ErrorCode::NoQuorum)
    );
    let mut other = federation.notice(
        NOW,
        EntryBody::HandlesEvaluated {
            agency: agency("clinic"),
            count: 1,
        },
        &["clinic"],
    );
    other.membership = true;
    assert_eq!(
        check_notice(other, &trust).err(),
        Some(ErrorCode::Malformed)
    );
}

#[test]
fn what_an_agency_is_said_to_say_needs_its_signature() {
    let mut asked = asked();
    let trust = asked.federation.trust("clinic");
    let honest = asked.federation.said(NOW, "police", asked.envelope.clone());
    let checked = check_notice(honest, &trust).unwrap();
    let said = check_said(&checked, &trust, nothing_is_ours)
        .unwrap()
        .unwrap();
    assert!(matches!(said.statement().body, Body::Request(_)));
    let stolen = asked
        .federation
        .said(NOW, "mentors", asked.envelope.clone());
    let checked = check_notice(stolen, &trust).unwrap();
    assert_eq!(
        check_said(&checked, &trust, nothing_is_ours).err(),
        Some(ErrorCode::WrongAgency)
    );
    let mut forged = asked.envelope.clone();
    forged.signature.0[0] ^= 1;
    let forged = asked.federation.said(NOW, "police", forged);
    let checked = check_notice(forged, &trust).unwrap();
    assert_eq!(
        check_said(&checked, &trust, nothing_is_ours).err(),
        Some(ErrorCode::BadSignature)
    );
    // Nor is another agency's word taken for ours, whatever the journal has.
    assert_eq!(
        check_said(&checked, &trust, |_| Ok(true)).err(),
        Some(ErrorCode::BadSignature)
    );
    // Our own is the one that our journal has, and no other.
    let own = asked.federation.trust("police");
    let checked = check_notice(
        asked.federation.said(NOW, "police", asked.envelope.clone()),
        &own,
    );
    let checked = checked.unwrap();
    let digest = asked.envelope.digest();
    let said = check_said(&checked, &own, |d| Ok(*d == digest));
    assert!(said.unwrap().is_some());
    let mut forged = asked.envelope.clone();
    forged.signature.0[0] ^= 1;
    let forged = asked.federation.said(NOW, "police", forged);
    let checked = check_notice(forged, &own).unwrap();
    let said = check_said(&checked, &own, nothing_is_ours);
    assert_eq!(said.err(), Some(ErrorCode::BadSignature));
}

fn nothing_is_ours(_: &Digest) -> Result<bool, ErrorCode> {
    Ok(false)
}

#[test]
fn bad_openings_on_the_wire_are_refused() {
    let mut asked = asked();
    let mut notice = asked.notice();
    let mut opening = convert::openings_to_wire(vec![asked.opening.clone()]).remove(0);
    opening.field = "horoscope".into();
    notice.openings = vec![opening];
    assert_eq!(asked.check(notice).err(), Some(ErrorCode::UnknownCode));
    let entry = Entry::from_bytes(&asked.notice().entry).unwrap();
    assert_eq!(entry.kind, "offered");
}
