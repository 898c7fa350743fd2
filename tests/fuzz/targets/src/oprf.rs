//! The oblivious function: blinded elements at the broker, evaluations at the agent.

use crate::Input;
use passerelle_agent::handle::Blinding;
use passerelle_broker::oprf::{ELEMENT_BYTES, MAX_BATCH, OprfServer};
use std::sync::LazyLock;

static SERVER: LazyLock<OprfServer> = LazyLock::new(|| {
    let mut key = [0; 32];
    key[0] = 7;
    OprfServer::from_bytes(&key).unwrap()
});

/// Elements as an agency sends them, or an evaluation with a change as a broker might send it.
pub fn oprf(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 3 {
        0 => elements(input),
        1 => evaluation(input),
        _ => made_up(input),
    }
}

fn elements(mut input: Input<'_>) {
    let length = match input.byte() {
        other @ 1..=80 => usize::from(other),
        _ => ELEMENT_BYTES,
    };
    let blinded: Vec<&[u8]> = input.rest().chunks(length).take(MAX_BATCH + 1).collect();
    let Ok(evaluated) = SERVER.evaluate_batch(&blinded) else {
        return;
    };
    assert!((1..=MAX_BATCH).contains(&blinded.len()));
    assert_eq!(evaluated.elements.len(), blinded.len());
    assert!(blinded.iter().all(|element| element.len() == ELEMENT_BYTES));
    // The identity would show the key's absence.
    assert!(blinded.iter().all(|element| **element != [0; 32]));
}

fn evaluation(mut input: Input<'_>) {
    let count = usize::from(input.byte() % 3) + 1;
    let mut change = Input::new(input.take(6));
    let tokens: Vec<Vec<u8>> = (0..count)
        .map(|n| [&[n as u8], input.take(8)].concat())
        .collect();
    let (state, blinded) = Blinding::blind(&tokens).unwrap();
    let good = SERVER.evaluate_batch(&blinded).unwrap();
    let key = SERVER.public_key();
    let handles = state.finalize(&good.elements, &good.proof, &key).unwrap();
    let (state, blinded) = Blinding::blind(&tokens).unwrap();
    let mut other = SERVER.evaluate_batch(&blinded).unwrap();
    let before = other.clone();
    let place = usize::from(change.byte()) % (count + 1);
    match other.elements.get_mut(place) {
        Some(element) => *element = change.change(element),
        None => other.proof = change.change(&other.proof),
    }
    match state.finalize(&other.elements, &other.proof, &key) {
        // One person has one handle, however often it is asked for.
        Ok(again) => {
            assert_eq!(again, handles);
            assert_eq!(other, before, "a changed evaluation is accepted");
        }
        Err(_) => assert_ne!(other, before),
    }
}

/// A broker that has no key can't make an evaluation.
fn made_up(mut input: Input<'_>) {
    let key = match input.byte() % 2 {
        0 => SERVER.public_key(),
        _ => input.take(32).to_vec(),
    };
    let proof = input.take(64).to_vec();
    let (state, _) = Blinding::blind(&[b"token".to_vec()]).unwrap();
    let elements: Vec<Vec<u8>> = input.rest().chunks(32).take(2).map(Into::into).collect();
    assert!(state.finalize(&elements, &proof, &key).is_err());
}
