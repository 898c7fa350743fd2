//! Published notes and keys, other spellings, caps, mutations.

use super::*;
use proptest::prelude::*;

/// Note and key that the documentation of Go's `golang.org/x/mod/sumdb/note` publishes.
const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n\
    \n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngo\
        tpRZb6KE6RyyBwJnAM=\n";
/// The private half, published with it: the seed after its type byte.
const GO_SEED: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
/// The same note with a second signature, from the same documentation.
const GO_SECOND: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vA\
        F1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

/// Key and note of the specification, section "Verifier keys".
const SPEC_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const SPEC_NOTE: &str = "This is an example message.\n\n\
    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mF\
        XmRKuwHjG1Yu72IneyaQM=\n";
/// The first example of the specification: its text has an empty line.
const POEM: &str = "Ognuno sta solo sul cuor della terra\n\
    trafitto da un raggio di sole:\n\
    \n\
    ed è subito sera.\n\
    \n\
    — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrM\
        ouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";

fn signer(seed: u8) -> Signer {
    Signer::new("log.example", SigningKey::from_seed(&[seed; 32])).unwrap()
}

#[test]
fn published_notes_verify() {
    for (key, note) in [(GO_KEY, GO_NOTE), (SPEC_KEY, SPEC_NOTE)] {
        let key: VerifierKey = key.parse().unwrap();
        let note: Note = note.parse().unwrap();
        assert_eq!(note.verify(&key), Ok(()));
    }
}

#[test]
fn our_signature_is_the_published_one() {
    let seed = text::base64_decode(GO_SEED).unwrap();
    let key = SigningKey::from_seed(seed[1..].try_into().unwrap());
    let signer = Signer::new("PeterNeumann", key).unwrap();
    assert_eq!(signer.verifier_key().to_string(), GO_KEY);
    let text = Note::parse(GO_NOTE).unwrap().text().to_owned();
    assert_eq!(signer.sign(&text).unwrap().to_string(), GO_NOTE);
}

#[test]
fn signatures_begin_after_the_last_empty_line() {
    let note = Note::parse(POEM).unwrap();
    assert!(note.text().contains("\n\n") && note.text().ends_with("sera.\n"));
    assert_eq!(note.signatures().len(), 1);
    assert_eq!(note.to_string(), POEM);
}

#[test]
fn unknown_signatures_are_kept_and_ignored() {
    let both = format!("{GO_NOTE}{GO_SECOND}");
    let note = Note::parse(&both).unwrap();
    assert_eq!(note.verify(&GO_KEY.parse().unwrap()), Ok(()));
    assert_eq!(note.to_string(), both);
    // Long ones of types yet unsupported too, and ones that share only the name or only the id.
    let key: VerifierKey = GO_KEY.parse().unwrap();
    let mut note = Note::parse(GO_NOTE).unwrap();
    let unknown = |name: &str, key_id| NoteSignature {
        name: name.into(),
        key_id,
        bytes: vec![1; 2428],
    };
    note.add(unknown("pq.example", [1, 2, 3, 4])).unwrap();
    note.add(unknown("PeterNeumann", [1, 2, 3, 4])).unwrap();
    note.add(unknown("pq.example", key.id())).unwrap();
    let parsed = Note::parse(&note.to_string()).unwrap();
    assert_eq!(
        (parsed.verify(&key), parsed.signatures().len()),
        (Ok(()), 4)
    );
}

#[test]
fn a_wrong_signature_of_a_known_key_spoils_the_note() {
    let key: VerifierKey = GO_KEY.parse().unwrap();
    let mut note = Note::parse(GO_NOTE).unwrap();
    let wrong = NoteSignature {
        bytes: vec![0; 64],
        ..note.signatures()[0].clone()
    };
    note.add(wrong.clone()).unwrap();
    assert_eq!(
        note.verify(&key),
        Err(NoteError::BadSignature("PeterNeumann".into()))
    );
    let short = NoteSignature {
        bytes: vec![0; 63],
        ..wrong
    };
    let note = Note::new(note.text(), vec![short]).unwrap();
    assert_eq!(
        note.verify(&key),
        Err(NoteError::BadSignature("PeterNeumann".into()))
    );
}

#[test]
fn a_key_of_another_type_does_not_verify_notes() {
    let key = *signer(1).verifier_key().public_key();
    let cosigner = VerifierKey::new("log.example", SignatureType::CosignatureV1, key).unwrap();
    assert_ne!(cosigner.id(), signer(1).verifier_key().id());
    let note = signer(1).sign("text\n").unwrap();
    assert_eq!(
        note.verify(&cosigner),
        Err(NoteError::WrongType("log.example".into()))
    );
}

#[test]
fn malformed_keys_are_refused() {
    for key in [
        "",
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10T",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n",
        "PeterNeumann+c74f20a3+AR==",
        "PeterNeumann+c74f20a3+",
        "PeterNeumann+c74f20a3",
        // Wrong length and unknown type, both with a fitting id.
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ] {
        assert!(key.parse::<VerifierKey>().is_err(), "{key}");
    }
    let later = format!("log.example+00000000+{}", text::base64_encode(&[6; 1313]));
    assert_eq!(
        later.parse::<VerifierKey>(),
        Err(NoteError::UnsupportedType(6))
    );
}

#[test]
fn other_spellings_of_notes_are_refused() {
    for (from, to) in [
        ("\n", "\r\n"),
        ("\n\n", "\n"),
        ("—", "-"),
        ("— ", "—"),
        ("— ", "—  "),
        ("Neumann ", "Neumann  "),
        ("Neumann ", "+Neumann "),
        ("Neumann ", "Neu mann "),
        ("nAM=", "nAN="),
        ("nAM=", "nAM"),
        ("nAM=", "nAM=="),
        ("nAM=\n", "nAM="),
        ("nAM=\n", "nAM= \n"),
        ("nAM=\n", "nAM=\n\n"),
        ("nAM=\n", "nAM=\nmore\n"),
        ("problem,", "problem\t"),
        ("problem,", "problem\u{0}"),
        ("problem,", "problem\u{9b}"),
    ] {
        let note = GO_NOTE.replace(from, to);
        assert!(Note::parse(&note).is_err(), "{from:?} to {to:?}");
    }
    for note in [
        "",
        "\n",
        "\n\n",
        "text\n",
        "text\n\n",
        "text\n\n— a AAAAAA==\n",
    ] {
        assert!(Note::parse(note).is_err(), "{note:?}");
    }
}

#[test]
fn caps_hold_and_leave_room_for_sixteen() {
    let line = |n: usize| format!("— w{n}.example AAAAAAA=\n");
    let note = |count: usize| format!("text\n\n{}", (0..count).map(line).collect::<String>());
    const { assert!(MAX_SIGNATURES >= 16) };
    assert!(Note::parse(&note(MAX_SIGNATURES)).is_ok());
    assert_eq!(
        Note::parse(&note(MAX_SIGNATURES + 1)),
        Err(NoteError::TooLarge)
    );
    let large = format!("{}{}", "x".repeat(MAX_NOTE_BYTES), note(1));
    assert_eq!(Note::parse(&large), Err(NoteError::TooLarge));
    let mut full = Note::parse(&note(MAX_SIGNATURES)).unwrap();
    let one_more = signer(1).sign("text\n").unwrap().signatures()[0].clone();
    assert_eq!(full.add(one_more), Err(NoteError::TooLarge));
    assert_eq!(full.signatures().len(), MAX_SIGNATURES);
    // Post-quantum signatures in every place still fit.
    let long = NoteSignature {
        name: "w".repeat(200),
        key_id: [1; 4],
        bytes: vec![1; 2428],
    };
    let lines = vec![long; MAX_SIGNATURES];
    assert!(Note::new("text\n", lines).is_ok());
}

#[test]
fn an_answer_of_a_witness_parses_as_signature_lines() {
    // The example of tlog-witness, section "add-checkpoint".
    let lines = "— witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnu\
        cjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==\n\
        — witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt\
        64vWhO+DlkL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==\n\
        — witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrr\
        KbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==\n";
    let parsed = parse_signature_lines(lines).unwrap();
    assert_eq!(
        parsed.iter().map(ToString::to_string).collect::<String>(),
        lines
    );
    assert_eq!(parsed[2].name(), "witness.example/w2");
    assert!(parse_signature_lines("").is_err());
    assert!(parse_signature_lines(lines.trim_end()).is_err());
}

proptest! {
    #[test]
    fn parse_after_serialise_is_identity(
        body in "([ -~é]{0,20}\n){1,5}",
        lines in prop::collection::vec(
            ("[a-z./]{1,20}", any::<[u8; 4]>(), prop::collection::vec(any::<u8>(), 1..80)), 1..5,
        ),
    ) {
        let lines = lines.into_iter();
        let lines = lines.map(|(name, key_id, bytes)| NoteSignature { name, key_id, bytes });
        let note = Note::new(&body, lines.collect()).unwrap();
        prop_assert_eq!(Note::parse(&note.to_string()).unwrap(), note);
    }

    #[test]
    fn serialise_after_parse_is_identity(at in 0..GO_NOTE.len(), by: char) {
        let mut note: Vec<char> = GO_NOTE.chars().collect();
        let at = at % note.len();
        note[at] = by;
        let note: String = note.into_iter().collect();
        if let Ok(parsed) = Note::parse(&note) {
            prop_assert_eq!(parsed.to_string(), note);
        }
    }

    #[test]
    fn any_changed_byte_is_refused(at in 0..GO_NOTE.len(), by in 1_u8..) {
        let mut note = GO_NOTE.as_bytes().to_vec();
        note[at] ^= by;
        if let Some(note) = String::from_utf8(note).ok().and_then(|note| Note::parse(&note).ok()) {
            prop_assert!(note.verify(&GO_KEY.parse().unwrap()).is_err());
        }
    }

    #[test]
    fn key_round_trips(name in "[a-zé./-]{1,30}", seed: [u8; 32], cosigner: bool) {
        let kind = match cosigner {
            true => SignatureType::CosignatureV1,
            false => SignatureType::Ed25519,
        };
        let key = SigningKey::from_seed(&seed).public_key();
        let key = VerifierKey::new(&name, kind, key).unwrap();
        prop_assert_eq!(key.to_string().parse::<VerifierKey>().unwrap(), key);
    }
}
