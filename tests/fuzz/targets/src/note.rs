//! Notes, signature lines and verifier keys (C2SP signed-note).

use crate::{Input, world};
use passerelle_audit::note::{
    MAX_NAME_BYTES, MAX_NOTE_BYTES, MAX_SIGNATURES, Note, Signer, VerifierKey,
    parse_signature_lines,
};

/// A note, a verifier key, signature lines, or a text to sign and then to change.
pub fn note(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    match (kind % 4, input.text()) {
        (0, Some(text)) => parse(text),
        (1, Some(text)) => verifier_key(text),
        (2, Some(text)) => signature_lines(text),
        (3, _) => sign(input),
        _ => {}
    }
}

fn parse(text: &str) {
    let Ok(note) = Note::parse(text) else { return };
    assert_eq!(note.to_string(), text, "a note has one spelling");
    assert!(text.len() <= MAX_NOTE_BYTES && note.signatures().len() <= MAX_SIGNATURES);
    assert!(note.text().ends_with('\n'));
    let known = world::signer().verifier_key().clone();
    // Nobody but `world` has the key, and it signs this origin only.
    assert!(note.verify(&known).is_err() || note.text().starts_with(world::ORIGIN));
    let again = Note::new(note.text(), note.signatures().to_vec()).unwrap();
    assert_eq!(again, note);
}

fn verifier_key(text: &str) {
    let Ok(key) = text.parse::<VerifierKey>() else {
        return;
    };
    assert_eq!(key.to_string(), text, "a verifier key has one spelling");
    assert!(key.name().len() <= MAX_NAME_BYTES);
    assert_eq!(
        VerifierKey::new(key.name(), key.kind(), *key.public_key()),
        Ok(key)
    );
}

fn signature_lines(text: &str) {
    let Ok(lines) = parse_signature_lines(text) else {
        return;
    };
    assert!((1..=MAX_SIGNATURES).contains(&lines.len()));
    let written: String = lines.iter().map(ToString::to_string).collect();
    assert_eq!(written, text, "signature lines have one spelling");
}

fn sign(mut input: Input<'_>) {
    let mut change = Input::new(input.take(4));
    let Some(text) = input.text() else { return };
    let signer = Signer::new("fuzz.example/log", world::key(9)).unwrap();
    let Ok(note) = signer.sign(text) else { return };
    let key = signer.verifier_key();
    assert_eq!(note.verify(key), Ok(()));
    let written = note.to_string();
    assert_eq!(Note::parse(&written).as_ref(), Ok(&note));
    let Ok(changed) = String::from_utf8(change.change(written.as_bytes())) else {
        return;
    };
    if let Ok(parsed) = Note::parse(&changed)
        && parsed.verify(key).is_ok()
    {
        // A line may be there twice; nothing else may differ.
        assert_eq!(parsed.text(), note.text(), "a changed text verifies");
        assert!(parsed.signatures().contains(&note.signatures()[0]));
    }
}
