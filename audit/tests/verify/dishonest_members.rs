//! As [`crate::dishonest`]: who may speak, who may withdraw, and the log as a whole.

use crate::{
    dishonest::{
        assert_refused, forged, is_said, offered_request, refused, resay, said, then, then_says,
    },
    file::{check, export},
    story::story,
    world::{
        World, agency, agency_keys, agreement_id, cosigner, envelope, find, receipt, signing_key,
    },
};
use passerelle_audit::verify::FaultCode as Code;
use passerelle_model::{
    bytes::Digest,
    entry::EntryBody,
    statement::{AgreementSignature, Body, ReceiptKind, Withdrawal, WithdrawalScope},
};

#[test]
fn strangers_and_revoked_agencies_are_not_heard() {
    let mut records = World::new().records;
    records.drain(7..9);
    let body = receipt(1, ReceiptKind::Delivered);
    let at = records.last().unwrap().entry.at;
    records.push(forged(&records, said(3, envelope(3, 3, at, body.clone()))));
    assert_refused(&records, 7, Code::UnknownAgency);

    let mut world = World::new();
    world.run(&passerelle_model::decide::Command::Revoke { agency: agency(1) });
    let (records, last) = then_says(&world, 1, body);
    assert_refused(&records, last, Code::Revoked);
}

#[test]
fn members_join_only_by_their_own_unused_invitation() {
    let (mut records, last) = then(&World::new(), {
        let (token, certificate) = (Digest([1; 32]), "aa".to_owned());
        EntryBody::Enrolled {
            agency: agency(1),
            keys: agency_keys(1),
            token,
            certificate,
        }
    });
    assert_refused(&records, last, Code::Invitation);
    // Index 1 invited agency 0, and index 2 enrolled it.
    let EntryBody::Enrolled { token: used, .. } = records[2].entry.body.clone() else {
        panic!("not enrolled at 2")
    };
    if let EntryBody::Enrolled { token, .. } = &mut records[last].entry.body {
        *token = used;
    }
    assert_refused(&records, last, Code::Invitation);

    let mut records = World::new().records;
    if let EntryBody::Enrolled { keys, .. } = &mut records[2].entry.body {
        keys.sector = agency_keys(1).sector;
    }
    assert_refused(&records, 2, Code::Invitation);
    let mut records = World::new().records;
    let enrolled_at = records[2].entry.at;
    if let EntryBody::Invited { expires_at, .. } = &mut records[1].entry.body {
        *expires_at = enrolled_at;
    }
    assert_refused(&records, 2, Code::Invitation);
    let mut records = World::new().records;
    let repeated = records[1].entry.body.clone();
    records.push(forged(&records, repeated));
    assert_refused(&records, 9, Code::Invitation);
}

#[test]
fn a_witness_that_counts_twice_does_not_make_a_quorum() {
    // Agencies 1 to 3 share a witness key: of four witnesses only two are left.
    let mut records = World::new().records;
    for index in [4, 6, 8] {
        if let EntryBody::Enrolled { keys, .. } = &mut records[index].entry.body {
            keys.witness = *cosigner(1).verifier_key().public_key();
        }
    }
    let fault = refused(&records);
    assert_eq!((fault.index, fault.code), (None, Code::Quorum));
    assert!(fault.message.starts_with("2 of 4"), "{fault}");
}

#[test]
fn a_withdrawal_by_an_agency_that_the_consent_does_not_name_is_found() {
    let world = offered_request();
    let consent = crate::world::consent_id(1);
    let body = Body::Withdrawal(Withdrawal {
        consent,
        scope: WithdrawalScope::All,
    });
    let (records, last) = then_says(&world, 3, body.clone());
    assert_refused(&records, last, Code::NotAParty);
    let (records, last) = then_says(&World::new(), 1, body);
    assert_refused(&records, last, Code::UnknownConsent);
}

#[test]
fn agreements_are_signed_by_parties_for_the_proposed_terms() {
    let signed = |change: &dyn Fn(&mut AgreementSignature), by: u8| {
        let mut records = story().records;
        let index = find(&records, 0, |body| {
            is_said(body, |body| matches!(body, Body::AgreementSignature(_)))
        });
        resay(&mut records, index, by, |statement| {
            statement.agency = agency(by);
            if let Body::AgreementSignature(signature) = &mut statement.body {
                change(signature);
            }
        });
        if let EntryBody::Said { agency: name, .. } = &mut records[index].entry.body {
            *name = agency(by);
        }
        (records, index)
    };
    let (records, index) = signed(&|s| s.terms = Digest([1; 32]), 1);
    assert_refused(&records, index, Code::Terms);
    let (records, index) = signed(&|_| {}, 2);
    assert_refused(&records, index, Code::NotAParty);
    let (records, index) = signed(&|_| {}, 0);
    assert_refused(&records, index, Code::Duplicate);
    let (records, index) = signed(&|s| s.agreement = agreement_id(9), 1);
    assert_refused(&records, index, Code::UnknownAgreement);
}

#[test]
fn nonces_are_used_once_and_time_does_not_go_back() {
    let mut records = story().records;
    records[20].entry.nonce = records[3].entry.nonce;
    assert_refused(&records, 20, Code::Nonce);

    let mut records = World::new().records;
    let at = records[8].entry.at;
    records[8].entry.at = at.minus_s(300);
    let report = check(&export(&records)).unwrap();
    assert_eq!(report.warnings[0].index, 8);
    records[8].entry.at = at.minus_s(301);
    assert_refused(&records, 8, Code::Time);
}

#[test]
fn a_log_begins_with_its_one_founding_under_its_own_key() {
    let mut records = World::new().records;
    let founded = records[0].entry.body.clone();
    records.push(forged(&records, founded));
    assert_refused(&records, 9, Code::Founding);

    let mut records = World::new().records;
    records.remove(0);
    assert_refused(&records, 0, Code::Founding);

    for change in 0..2 {
        let mut records = World::new().records;
        if let EntryBody::Founded {
            federation, keys, ..
        } = &mut records[0].entry.body
        {
            match change {
                0 => *federation = "autre".parse().unwrap(),
                _ => keys.checkpoint = cosigner(0).verifier_key().to_string(),
            }
        }
        assert_refused(&records, 0, Code::Founding);
    }
}

#[test]
fn keys_change_with_a_new_enrolment_only() {
    // A key that was never enrolled signs, in an otherwise perfect log.
    let mut records = story().records;
    let enrolled = find(&records, 1, |body| {
        matches!(body, EntryBody::Enrolled { .. })
    });
    if let EntryBody::Enrolled { keys, .. } = &mut records[enrolled].entry.body {
        keys.signing = signing_key(9).public_key();
    }
    let first = find(
        &records,
        0,
        |body| matches!(body, EntryBody::Said { agency: name, .. } if *name == agency(1)),
    );
    assert_refused(&records, first, Code::Signature);
}
