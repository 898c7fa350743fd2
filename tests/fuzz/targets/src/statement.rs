//! Signed statements: canonical JSON in DSSE envelopes.

use crate::{Input, world};
use passerelle_audit::dsse;
use passerelle_model::{
    bytes::Bytes,
    canonical,
    statement::{Envelope, PAYLOAD_TYPE, Statement},
};
use passerelle_proto::v1;
use std::collections::BTreeMap;

/// A statement, an envelope as it stands in entries, or an envelope with one change.
pub fn statement(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    match kind % 4 {
        0 => parse(input.rest()),
        1 => envelope(input.rest()),
        2 => change(input),
        _ => separation(input),
    }
}

fn parse(bytes: &[u8]) {
    let Ok(said) = canonical::from_slice::<Statement>(bytes) else {
        return;
    };
    assert_eq!(canonical::to_vec(&said).unwrap(), bytes);
    let signed = sign(bytes.to_vec());
    let verified = verify(signed.clone());
    // Signed by the member's own key: only name, federation and version can be wrong.
    let due = said.version == 1
        && said.agency == world::member(0)
        && said.federation == world::federation();
    assert_eq!(verified.is_ok(), due);
    if let Ok(verified) = verified {
        assert_eq!(verified.statement(), &said);
        assert_eq!(verified.envelope(), &signed);
        assert_eq!(verified.digest(), signed.digest());
    }
}

fn envelope(bytes: &[u8]) {
    let Ok(envelope) = canonical::from_slice::<Envelope>(bytes) else {
        return;
    };
    assert_eq!(canonical::to_vec(&envelope).unwrap(), bytes);
    let wire = v1::Envelope::from(envelope.clone());
    assert_eq!(Envelope::try_from(wire).as_ref(), Ok(&envelope));
    if let Ok(verified) = verify(envelope) {
        assert_eq!(verified.statement().agency, world::member(0));
    }
}

fn sign(payload: Vec<u8>) -> Envelope {
    let signature = dsse::sign(&world::statement_key(0), PAYLOAD_TYPE, &payload);
    Envelope {
        payload: Bytes(payload),
        signature,
    }
}

/// As a broker's session does for the first member.
fn verify(
    envelope: Envelope,
) -> Result<passerelle_model::statement::Verified, passerelle_model::error::ErrorCode> {
    let key = world::statement_key(0).public_key();
    let payload = envelope.payload.0.clone();
    envelope.verify(
        &world::federation(),
        &world::member(0),
        |signed, signature| {
            let encoded = dsse::pre_authentication_encoding(PAYLOAD_TYPE, &payload);
            assert_eq!(signed, encoded, "two encodings of one statement");
            dsse::verify(&key, PAYLOAD_TYPE, &payload, signature)
        },
        Vec::new(),
        BTreeMap::new(),
    )
}

/// A signature is good for its payload and type only.
fn change(mut input: Input<'_>) {
    let mut change = Input::new(input.take(4));
    let payload = input.rest();
    let good = sign(payload.to_vec());
    let key = world::statement_key(0).public_key();
    assert!(dsse::verify(&key, PAYLOAD_TYPE, payload, &good.signature));
    let other = world::statement_key(1).public_key();
    assert!(!dsse::verify(
        &other,
        PAYLOAD_TYPE,
        payload,
        &good.signature
    ));
    let permit = passerelle_model::permit::PAYLOAD_TYPE;
    assert!(!dsse::verify(&key, permit, payload, &good.signature));
    let changed = change.change(payload);
    if changed != payload {
        assert!(!dsse::verify(&key, PAYLOAD_TYPE, &changed, &good.signature));
    }
    let mut signature = good.signature;
    let (place, bit) = (usize::from(change.byte()) % 64, change.byte() % 8);
    signature.0[place] ^= 1 << bit;
    assert!(!dsse::verify(&key, PAYLOAD_TYPE, payload, &signature));
}

/// Two different pairs of type and payload never have one encoding.
fn separation(mut input: Input<'_>) {
    let lengths = [input.byte(), input.byte(), input.byte()].map(usize::from);
    let mut texts = lengths.map(|length| String::from_utf8_lossy(input.take(length)).into_owned());
    let last = String::from_utf8_lossy(input.rest()).into_owned();
    let [first, second, third] = &mut texts;
    let one = dsse::pre_authentication_encoding(first, second.as_bytes());
    let two = dsse::pre_authentication_encoding(third, last.as_bytes());
    assert_eq!(one == two, (first, second.as_str()) == (third, &last));
}
