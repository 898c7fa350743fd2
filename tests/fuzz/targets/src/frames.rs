//! Messages of the wire: decoded, converted, and looked at as broker and agent do.

use crate::{Input, world};
use passerelle_agent::{api::input, facts::mapping::Mapping, verify::check_notice};
use passerelle_audit::{
    dsse,
    note::{SignatureType, VerifierKey, parse_signature_lines},
    witness::{AddCheckpoint, WitnessState, consider},
};
use passerelle_broker::oprf::{MAX_BATCH, OprfServer};
use passerelle_model::{
    bytes::{Digest, PublicKey},
    commitment::Opening,
    error::ErrorCode,
    ids::{AgencyId, AgreementId, CaseId, ConsentId, RequestId},
    statement::{Envelope, PAYLOAD_TYPE},
    vocabulary::{Category, Level, Purpose, Sector},
};
use passerelle_proto::{
    convert,
    v1::{self, agent_frame, broker_frame},
};
use prost::Message;

/// One message of the services, chosen by the first byte.
pub fn frames(data: &[u8]) {
    let mut choice = Input::new(data);
    let kind = choice.byte();
    let bytes = choice.rest();
    match kind % 20 {
        0..=3 => message(bytes, agent_frame),
        4..=7 => message(bytes, broker_frame),
        8 => message(bytes, enrol_request),
        9 => message(bytes, enrol_response),
        10 => message(bytes, log_row),
        11 => message(bytes, |wire: v1::InviteRequest| {
            let _ = (
                wire.agency.parse::<AgencyId>(),
                wire.sector.parse::<Sector>(),
            );
        }),
        12 => message(bytes, |wire: v1::AskRequest| ask(&wire)),
        13 => message(bytes, |wire: v1::RecordConsentRequest| consent(&wire)),
        14 => message(bytes, |wire: v1::ImportFactsRequest| {
            if let Ok(mapping) = Mapping::from_toml(&wire.mapping) {
                let _ = passerelle_agent::facts::csv_import::parse(&mapping, wire.csv.as_slice());
            }
        }),
        15 => message(bytes, |wire: v1::OpenCaseRequest| {
            let _ = wire.person.map(|person| input::person(&person));
        }),
        16 => message(bytes, |wire: v1::AdvanceCaseRequest| {
            let _ = input::id::<CaseId>("case", &wire.case);
            let _ = input::codes::<Category>("plan", &wire.plan);
        }),
        17 => message(bytes, |wire: v1::ReviewRequest| {
            let _ = input::id::<RequestId>("request", &wire.request);
        }),
        18 => message(bytes, |_: v1::EntriesRequest| {}),
        _ => message(bytes, |_: v1::AuditEntriesRequest| {}),
    }
}

/// Decodes; what was decoded reads back as it is written, and is then looked at.
fn message<M: Message + Default + PartialEq>(bytes: &[u8], look: impl FnOnce(M)) {
    let Ok(decoded) = M::decode(bytes) else {
        return;
    };
    let written = decoded.encode_to_vec();
    assert!(M::decode(written.as_slice()).unwrap() == decoded);
    look(decoded);
}

fn openings(wire: Vec<v1::Opening>) {
    if let Ok(read) = convert::openings(wire.clone()) {
        for opening in &read {
            let one = v1::Opening::from(opening.clone());
            assert_eq!(Opening::try_from(one).as_ref(), Ok(opening));
        }
        assert_eq!(convert::openings_to_wire(read), wire);
    }
}

fn envelope(wire: v1::Envelope) {
    let Ok(read) = Envelope::try_from(wire.clone()) else {
        assert_ne!(wire.signature.len(), 64);
        return;
    };
    assert_eq!(v1::Envelope::from(read.clone()), wire);
    // Nothing is signed by this key.
    let key = world::key(77).public_key();
    let payload = read.payload.0.clone();
    let verdict = read.verify(
        &world::federation(),
        &world::member(1),
        |_, signature| dsse::verify(&key, PAYLOAD_TYPE, &payload, signature),
        Vec::new(),
        std::collections::BTreeMap::new(),
    );
    assert!(verdict.is_err(), "a statement that nobody signed");
}

fn agent_frame(wire: v1::AgentFrame) {
    use agent_frame::Frame;
    match wire.frame {
        None | Some(Frame::Hello(_) | Frame::CosignRefused(_)) => {}
        Some(Frame::Submit(submit)) => {
            openings(submit.openings);
            let payloads = convert::payloads(submit.payloads.clone());
            assert_eq!(convert::payloads_to_wire(payloads), submit.payloads);
            if let Some(wire) = submit.envelope {
                envelope(wire);
            }
        }
        Some(Frame::Evaluate(asked)) => {
            let server = OprfServer::from_bytes(&[1; 32]);
            if asked.blinded.len() <= 4 || asked.blinded.len() > MAX_BATCH {
                let evaluated = server.map(|server| server.evaluate_batch(&asked.blinded));
                let many = asked.blinded.is_empty() || asked.blinded.len() > MAX_BATCH;
                assert!(!many || !matches!(evaluated, Ok(Ok(_))));
            }
        }
        Some(Frame::Cosigned(cosigned)) => {
            let line = format!("{}\n", cosigned.signature);
            if let Ok(lines) = parse_signature_lines(&line) {
                let written: String = lines.iter().map(ToString::to_string).collect();
                assert_eq!(written, line);
            }
        }
    }
}

fn broker_frame(wire: v1::BrokerFrame) {
    use broker_frame::Frame;
    match wire.frame {
        None | Some(Frame::Welcome(_)) => {}
        Some(Frame::Reply(reply)) => {
            if let Ok(code) = reply.code.parse::<ErrorCode>() {
                assert_eq!(code.code(), reply.code);
                assert_eq!(convert::code_of(&convert::status(code)), Some(code));
            }
        }
        Some(Frame::Evaluated(evaluated)) => {
            let (blinding, _) =
                passerelle_agent::handle::Blinding::blind(&[b"token".to_vec()]).unwrap();
            let key = world::agency_keys(0).signing.0;
            let handles = blinding.finalize(&evaluated.elements, &evaluated.proof, &key);
            assert!(handles.is_err(), "an evaluation without the key");
        }
        Some(Frame::Notice(notice)) => {
            openings(notice.openings.clone());
            let _ = check_notice(notice, &world::trust());
        }
        Some(Frame::WitnessRound(round)) => witness_round(&round),
    }
}

/// As the agent's witness does.
fn witness_round(round: &v1::WitnessRound) {
    let proof: Option<Vec<Digest>> = round.proof.iter().map(|h| Digest::from_slice(h)).collect();
    let Some(proof) = proof else { return };
    let log = world::signer();
    let state = WitnessState::default();
    let verdict = consider(
        &state,
        log.verifier_key(),
        round.old_size,
        &proof,
        &round.checkpoint,
    );
    if let Ok(accepted) = verdict {
        assert_eq!(accepted.checkpoint().note().to_string(), round.checkpoint);
        let text = format!("old {}\n\n{}", round.old_size, round.checkpoint);
        assert!(AddCheckpoint::parse(&text).is_ok());
    }
}

fn enrol_request(wire: v1::EnrolRequest) {
    for (kind, key) in [
        (SignatureType::Ed25519, &wire.signing_key),
        (SignatureType::CosignatureV1, &wire.witness_key),
    ] {
        if let Some(key) = PublicKey::from_slice(key)
            && let Ok(verifier) = VerifierKey::new("agency", kind, key)
        {
            assert_eq!(verifier.to_string().parse(), Ok(verifier));
        }
    }
    let digest = passerelle_proto::invitation::Invitation::token_digest(&wire.token);
    assert_eq!(digest, Digest::of(&wire.token));
}

fn enrol_response(wire: v1::EnrolResponse) {
    let _ = (
        wire.agency.parse::<AgencyId>(),
        wire.sector.parse::<Sector>(),
    );
    if let Ok(key) = wire.checkpoint_key.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), wire.checkpoint_key);
    }
}

fn log_row(wire: v1::LogRow) {
    openings(wire.openings);
    if let Ok(entry) = passerelle_model::entry::Entry::from_bytes(&wire.entry) {
        assert_eq!(entry.to_bytes().unwrap(), wire.entry);
    }
}

fn ask(wire: &v1::AskRequest) {
    let _ = wire.person.as_ref().map(input::person);
    let _ = input::id::<AgencyId>("holder", &wire.holder);
    for item in &wire.items {
        let _ = input::code::<Category>("category", &item.category);
        let _ = input::code::<Level>("level", &item.level);
    }
    let _ = input::optional_id::<ConsentId>("consent", &wire.consent);
    let _ = input::optional_id::<AgreementId>("agreement", &wire.agreement);
    let refused = input::code::<Purpose>("purpose", &wire.purpose);
    if let Err(status) = refused {
        assert_eq!(convert::code_of(&status), Some(ErrorCode::UnknownCode));
    }
}

fn consent(wire: &v1::RecordConsentRequest) {
    let _ = wire.person.as_ref().map(input::person);
    let _ = input::codes::<Category>("categories", &wire.categories);
    let _ = input::codes::<Purpose>("purposes", &wire.purposes);
    let _ = input::ids::<AgencyId>("recipients", &wire.recipients);
}
