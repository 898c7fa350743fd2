//! Messages of the wire.

use super::{log, of, tree};
use crate::{decide::opening, world};
use passerelle_audit::{
    merkle::{Tree, leaf_hash},
    tlog_proof::TlogProof,
};
use passerelle_model::entry::EntryBody;
use passerelle_proto::v1::{self, agent_frame, broker_frame};
use prost::Message as _;

fn from_agent(frame: agent_frame::Frame) -> Vec<u8> {
    v1::AgentFrame { frame: Some(frame) }.encode_to_vec()
}

fn from_broker(frame: broker_frame::Frame) -> Vec<u8> {
    v1::BrokerFrame { frame: Some(frame) }.encode_to_vec()
}

fn agent_frames() -> Vec<Vec<u8>> {
    use agent_frame::Frame;
    let head = world::head(&tree(4), 0b001);
    let signature = head.note().signatures()[1].to_string();
    let submit = v1::Submit {
        call: 7,
        envelope: log::signed().into_iter().next().map(Into::into),
        openings: vec![opening().into()],
        payloads: [("context".to_owned(), b"sealed".to_vec())].into(),
    };
    let hello = v1::Hello {
        protocol: 1,
        next_notice: 3,
        next_member: 4,
        witness_size: 5,
        origin: String::new(),
    };
    let refused = v1::CosignRefused {
        size: 9,
        status: 409,
        known_size: 8,
    };
    vec![
        from_agent(Frame::Hello(hello)),
        from_agent(Frame::Submit(submit)),
        from_agent(Frame::Evaluate(v1::Evaluate {
            call: 1,
            blinded: vec![vec![7; 32]],
        })),
        from_agent(Frame::Cosigned(v1::Cosigned {
            size: 4,
            signature: signature.trim_end().to_owned(),
        })),
        from_agent(Frame::CosignRefused(refused)),
    ]
}

fn broker_frames() -> Vec<Vec<u8>> {
    use broker_frame::Frame;
    let tree = tree(4);
    let round = v1::WitnessRound {
        old_size: 0,
        proof: Vec::new(),
        checkpoint: world::head(&tree, 0).note().to_string(),
    };
    let reply = v1::Reply {
        call: 1,
        code: "stale".to_owned(),
        index: 3,
        logged: true,
    };
    let evaluated = v1::Evaluated {
        call: 1,
        code: String::new(),
        elements: vec![vec![7; 32]],
        proof: vec![1; 64],
    };
    let welcome = v1::Welcome {
        protocol: 1,
        time_ms: world::NOW.0,
    };
    let mut frames = vec![
        from_broker(Frame::Welcome(welcome)),
        from_broker(Frame::Reply(reply)),
        from_broker(Frame::Evaluated(evaluated)),
        from_broker(Frame::WitnessRound(round)),
    ];
    frames.extend(
        good_notices()
            .into_iter()
            .take(2)
            .map(|n| from_broker(Frame::Notice(n))),
    );
    frames
}

/// Messages of the other services.
fn others() -> Vec<Vec<u8>> {
    let person = Some(v1::Person {
        family_name: "Uapishtan-Leblanc".to_owned(),
        given_name: "Noémie".to_owned(),
        birth_date: "2003-01-23".to_owned(),
    });
    let enrol = v1::EnrolRequest {
        token: vec![1; 32],
        csr_pem: "-----BEGIN".to_owned(),
        signing_key: world::agency_keys(0).signing.0.to_vec(),
        sealing_key: vec![9; 32],
        witness_key: world::agency_keys(0).witness.0.to_vec(),
    };
    let ask = v1::AskRequest {
        person: person.clone(),
        holder: "sante-centre".to_owned(),
        items: vec![v1::AskItem {
            category: "in_service".to_owned(),
            level: "known".to_owned(),
        }],
        purpose: "plan".to_owned(),
        basis: "consent".to_owned(),
        justification: "because".to_owned(),
        worker: "w-1".to_owned(),
        ..v1::AskRequest::default()
    };
    let consent = v1::RecordConsentRequest {
        person,
        giver: "subject".to_owned(),
        categories: vec!["in_service".to_owned()],
        purposes: vec!["plan".to_owned()],
        recipients: vec!["police-nord".to_owned()],
        ..v1::RecordConsentRequest::default()
    };
    let import = v1::ImportFactsRequest {
        mapping: include_str!("../../data/short.toml").to_owned(),
        csv: b"id|f|g|b|p|c|t|d|s|r\n".to_vec(),
        dry_run: true,
        bring_back: false,
    };
    let row = v1::LogRow {
        index: 1,
        entry: b"{}".to_vec(),
        leaf_hash: Vec::new(),
        openings: vec![opening().into()],
    };
    vec![
        of(8, enrol.encode_to_vec()),
        of(10, row.encode_to_vec()),
        of(12, ask.encode_to_vec()),
        of(13, consent.encode_to_vec()),
        of(14, import.encode_to_vec()),
    ]
}

pub(super) fn frames() -> Vec<Vec<u8>> {
    let agent = agent_frames().into_iter().map(|bytes| of(0, bytes));
    let broker = broker_frames().into_iter().map(|bytes| of(4, bytes));
    agent.chain(broker).chain(others()).collect()
}

/// Notices of some entries of a log, each proven and cosigned by all.
fn good_notices() -> Vec<v1::Notice> {
    let mut tree = Tree::new();
    let records = log::log().records;
    let mut entries = Vec::new();
    for record in &records {
        let entry = record.entry.to_bytes().unwrap();
        tree.push(leaf_hash(&entry));
        entries.push(entry);
    }
    let note = world::head(&tree, 0b111).note().clone();
    let of_interest = |body: &EntryBody| {
        use EntryBody as B;
        matches!(
            body,
            B::Enrolled { .. } | B::Said { .. } | B::Offered { .. } | B::Decided { .. }
        )
    };
    let mut notices = Vec::new();
    for (index, record) in (0..)
        .zip(&records)
        .filter(|(_, r)| of_interest(&r.entry.body))
        .take(6)
    {
        let hashes = tree.inclusion_proof(index, tree.size()).unwrap();
        notices.push(v1::Notice {
            index,
            entry: entries[index as usize].clone(),
            openings: vec![opening().into()],
            proof: TlogProof::new(index, hashes, note.clone())
                .unwrap()
                .to_string(),
            membership: record.entry.body.is_for_all(),
            ..v1::Notice::default()
        });
    }
    notices
}

pub(super) fn notices() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = good_notices()
        .iter()
        .map(|n| of(0, n.encode_to_vec()))
        .collect();
    for (number, notice) in good_notices().into_iter().enumerate() {
        let by = if number % 2 == 0 { 7 } else { 1 };
        seeds.push(of(1, [&[by, 3, 1], notice.entry.as_slice()].concat()));
        seeds.push(of(
            2,
            [&[7, 3, 1, 1, 0, 30, 2], notice.entry.as_slice()].concat(),
        ));
    }
    seeds.push(of(
        1,
        [&[7, 0, 0][..], b"{\"@type\":\"later\",\"@version\":2}"].concat(),
    ));
    seeds
}
