use super::*;
use crate::checkpoint::Checkpoint;
use crate::cosignature::Cosigner;
use crate::keys::SigningKey;
use crate::merkle::Tree;
use crate::note::Signer;
use crate::witness::{WitnessState, consider};
use proptest::prelude::*;

const ORIGIN: &str = "log.example/essai";
const TIME_S: u64 = 1_800_000_000;

fn log(seed: u8) -> Signer {
    Signer::new(ORIGIN, SigningKey::from_seed(&[seed; 32])).unwrap()
}

fn cosigner(seed: u8) -> Cosigner {
    let name = format!("witness.example/{seed}");
    Cosigner::new(&name, SigningKey::from_seed(&[seed; 32])).unwrap()
}

fn key(seed: u8) -> String {
    cosigner(seed).verifier_key().to_string()
}

/// A checkpoint of this log, cosigned by these.
fn note(log: &Signer, cosigners: &[u8]) -> Note {
    let mut tree = Tree::new();
    tree.push(crate::merkle::leaf_hash(b"one"));
    let signed = Checkpoint::new(ORIGIN, 1, tree.root()).unwrap();
    let mut note = signed.sign(log).unwrap().note().clone();
    let key = log.verifier_key();
    let text = note.to_string();
    for seed in cosigners {
        let accepted = consider(&WitnessState::default(), key, 0, &[], &text).unwrap();
        note.add(cosigner(*seed).cosign(&accepted, TIME_S).unwrap())
            .unwrap();
    }
    note
}

/// The example of the specification, with keys: two of X1 to X3, and one of Y4 to Y6.
fn example() -> String {
    format!(
        "log {}\n\n\
         witness X1 {}\nwitness X2 {}\nwitness X3 {}\n\
         group X-witnesses 2 X1 X2 X3\n\n\
         witness Y1 {}\nwitness Y2 {}\nwitness Y3 {}\n\
         group Y-witnesses any Y1 Y2 Y3\n\n\
         group X-and-Y all X-witnesses Y-witnesses\n\
         quorum X-and-Y\n",
        log(9).verifier_key(),
        key(1),
        key(2),
        key(3),
        key(4),
        key(5),
        key(6)
    )
}

fn parse(text: &str) -> Result<TlogPolicy, PolicyError> {
    TlogPolicy::parse(text.as_bytes())
}

#[test]
fn the_published_example_wants_two_of_one_group_and_one_of_the_other() {
    let policy = parse(&example()).unwrap();
    assert_eq!((policy.logs().len(), policy.witnesses().len()), (1, 6));
    assert_eq!(policy.quorum(), "X-and-Y");
    for (cosigners, met) in [
        (&[][..], false),
        (&[1, 2], false),
        (&[1, 2, 3], false),
        (&[1, 4, 5, 6], false),
        (&[1, 2, 4], true),
        (&[3, 2, 6], true),
        (&[1, 2, 3, 4, 5, 6], true),
        // Whom the policy does not know counts for nothing.
        (&[1, 4, 7, 8], false),
        (&[1, 2, 4, 7], true),
    ] {
        assert_eq!(
            policy.is_met(&note(&log(9), cosigners)),
            met,
            "{cosigners:?}"
        );
    }
}

#[test]
fn another_log_or_a_forged_cosignature_meets_nothing() {
    let policy = parse(&example()).unwrap();
    assert!(!policy.is_met(&note(&log(8), &[1, 2, 4])));
    let good = note(&log(9), &[1, 2, 4]);
    let stolen = good.signatures()[1].clone();
    // A line in the name of a witness that does not verify spoils the note.
    let forged = good.to_string().replacen("\n1\n", "\n2\n", 1);
    assert!(!policy.is_met(&Note::parse(&forged).unwrap()));
    let mut bytes = stolen.bytes.clone();
    bytes[20] ^= 1;
    let mut spoilt = good.clone();
    spoilt
        .add(crate::note::NoteSignature { bytes, ..stolen })
        .unwrap();
    assert!(!policy.is_met(&spoilt));
    let without_logs = example().replacen("log ", "# log ", 1);
    let policy = parse(&without_logs).unwrap();
    assert!(!policy.is_met(&good), "no log is known");
    let signed = open_note(good, log(9).verifier_key()).unwrap();
    let judged = policy.judge(&signed).unwrap();
    assert!(judged.met);
    assert_eq!(judged.cosigned.len(), 3);
    assert_eq!(judged.cosigned[0].time_s(), TIME_S);
}

#[test]
fn a_single_witness_or_none_can_be_the_quorum() {
    let one = format!(
        "log {}\nwitness w {}\nquorum w\n",
        log(9).verifier_key(),
        key(1)
    );
    let policy = parse(&one).unwrap();
    assert!(policy.is_met(&note(&log(9), &[1])));
    assert!(!policy.is_met(&note(&log(9), &[2])));
    let none = format!("log {}\nquorum none\n", log(9).verifier_key());
    assert!(parse(&none).unwrap().is_met(&note(&log(9), &[])));
}

#[test]
fn blanks_tabs_comments_urls_and_foreign_octets_are_read() {
    let mut file = format!(
        "# policy\n \t \n\tlog \t {} https://log.example/\n  # in between\nquorum none\n\
         witness \u{212a} {} http://w.example:8080 \n",
        log(9).verifier_key(),
        key(1)
    )
    .into_bytes();
    file.extend(b"# \xff\xfe\ngroup \xff 1 \xe2\x84\xaa\n");
    let policy = TlogPolicy::parse(&file).unwrap();
    assert_eq!(policy.witnesses()[0].name(), "\u{212a}");
    assert_eq!(policy.groups[0].name, b"\xff");
    assert_eq!(TlogPolicy::parse(&policy.to_bytes()).unwrap(), policy);
    // The Kelvin sign is not the letter K.
    let other = example().replace("quorum X-and-Y", "quorum x-and-y");
    assert!(parse(&other).is_err());
}

#[test]
fn each_wrong_line_is_named_with_its_number() {
    let (log9, w1, w2) = (log(9).verifier_key().to_string(), key(1), key(2));
    let head = format!("witness a {w1}\nwitness b {w2}\n");
    let quorum = "quorum none\n";
    let undefined = |name: &str| Problem::Undefined(name.to_owned());
    let threshold = |found: &str, most| Problem::Threshold {
        found: found.to_owned(),
        most,
    };
    let form = Problem::Form;
    let group = form("group NAME any|all|NUMBER MEMBER...");
    let renamed = w1.replace("/1+", "/renamed+");
    let same_key = {
        let key = *cosigner(1).verifier_key().public_key();
        VerifierKey::new("other", SignatureType::CosignatureV1, key).unwrap()
    };
    for (text, line, problem) in [
        (String::new(), 1, Problem::NoQuorum),
        (head.clone(), 3, Problem::NoQuorum),
        (
            format!("{quorum}\nquorum none\n"),
            3,
            Problem::SecondQuorum(1),
        ),
        ("quorum none".to_owned(), 1, Problem::Unended),
        ("quorum none\r\n".to_owned(), 1, Problem::Octet(b'\r')),
        ("# \0\n".to_owned(), 1, Problem::Octet(0)),
        ("\u{7f}\n".to_owned(), 1, Problem::Octet(0x7f)),
        (
            format!("{head}Quorum a\n"),
            3,
            Problem::Unknown("Quorum".to_owned()),
        ),
        (
            format!("{head}policy x\n"),
            3,
            Problem::Unknown("policy".to_owned()),
        ),
        ("quorum\n".to_owned(), 1, form("quorum NAME")),
        ("quorum a b\n".to_owned(), 1, form("quorum NAME")),
        ("log\n".to_owned(), 1, form("log KEY [URL]")),
        (format!("log {log9} u v\n"), 1, form("log KEY [URL]")),
        (format!("witness {w1}\n"), 1, form("witness NAME KEY [URL]")),
        (format!("log {w1}\n"), 1, Problem::KeyKind),
        (format!("witness a {log9}\n"), 1, Problem::KeyKind),
        (
            format!("witness a {renamed}\n"),
            1,
            Problem::Key(NoteError::MalformedKey),
        ),
        (
            format!("log {log9}\nlog {log9}\n"),
            2,
            Problem::DuplicateKey(1),
        ),
        (
            format!("{head}witness c {same_key}\n"),
            3,
            Problem::DuplicateKey(1),
        ),
        (format!("witness none {w1}\n"), 1, Problem::Reserved),
        (format!("{head}group none any a\n"), 3, Problem::Reserved),
        (
            format!("witness a {w1}\nwitness a {w2}\n"),
            2,
            Problem::DuplicateName("a".to_owned(), 1),
        ),
        (
            format!("{head}group b any a\n"),
            3,
            Problem::DuplicateName("b".to_owned(), 2),
        ),
        (format!("quorum a\n{head}"), 1, undefined("a")),
        (format!("{head}quorum c\n"), 3, undefined("c")),
        (format!("{head}group g any a c\n"), 3, undefined("c")),
        (format!("{head}group g any none\n"), 3, undefined("none")),
        // In a circle: with itself, and two with each other.
        (format!("{head}group g any g\n"), 3, undefined("g")),
        (
            format!("{head}group g any h\ngroup h any g\n"),
            3,
            undefined("h"),
        ),
        (
            format!("{head}group g any a a\n"),
            3,
            Problem::MemberTwice("a".to_owned(), 3),
        ),
        (
            format!("{head}group g any a\ngroup h any a\n"),
            4,
            Problem::MemberTwice("a".to_owned(), 3),
        ),
        (format!("{head}group g any\n"), 3, group.clone()),
        (format!("{head}group g\n"), 3, group),
        (format!("{head}group g 0 a b\n"), 3, threshold("0", 2)),
        (format!("{head}group g 3 a b\n"), 3, threshold("3", 2)),
        (format!("{head}group g 02 a b\n"), 3, threshold("02", 2)),
        (format!("{head}group g ALL a b\n"), 3, threshold("ALL", 2)),
        (
            format!("{head}group g 18446744073709551616 a b\n"),
            3,
            threshold("18446744073709551616", 2),
        ),
    ] {
        let expected = PolicyError { line, problem };
        assert_eq!(parse(&text), Err(expected), "{text}");
    }
}

#[test]
fn limits_are_kept() {
    let long = vec![b'#'; MAX_POLICY_BYTES + 1];
    assert_eq!(
        TlogPolicy::parse(&long).unwrap_err().problem,
        Problem::TooLong
    );
    let many = |count: u8| {
        let lines = (1..=count).map(|n| format!("witness w{n} {}\n", key(n)));
        format!("{}quorum none\n", lines.collect::<String>())
    };
    assert!(parse(&many(64)).is_ok());
    let error = parse(&many(65)).unwrap_err();
    assert_eq!((error.line, error.problem), (65, Problem::TooMany));
}

/// A policy with groups made of what is there: each takes some of what no group has yet.
fn policies() -> impl Strategy<Value = (String, Vec<(usize, Vec<usize>)>)> {
    let groups = prop::collection::vec((any::<u8>(), 1_usize..4), 0..4);
    (1_u8..6, groups).prop_map(|(count, groups)| {
        let mut text = String::new();
        for n in 1..=count {
            text.push_str(&format!("witness n{} {}\n", n - 1, key(n)));
        }
        let mut free: Vec<usize> = (0..usize::from(count)).collect();
        let (mut made, mut next) = (Vec::new(), usize::from(count));
        for (needed, size) in groups {
            let members: Vec<usize> = free.drain(..size.min(free.len())).collect();
            let needed = 1 + usize::from(needed) % members.len().max(1);
            let names: Vec<_> = members.iter().map(|m| format!("n{m}")).collect();
            text.push_str(&format!("group n{next} {needed} {}\n", names.join(" ")));
            made.push((needed, members));
            free.push(next);
            next += 1;
        }
        text.push_str(&format!("quorum n{}\n", next - 1));
        (text, made)
    })
}

/// The rule by recursion, as the specification words it.
fn witnesses(member: usize, have: &[bool], groups: &[(usize, Vec<usize>)]) -> bool {
    if let Some(has) = have.get(member) {
        return *has;
    }
    let (needed, members) = &groups[member - have.len()];
    let found = members.iter().filter(|m| witnesses(**m, have, groups));
    found.count() >= *needed
}

proptest! {
    #[test]
    fn what_is_written_is_read((text, groups) in policies(), have in any::<[bool; 6]>()) {
        let policy = parse(&text).unwrap();
        prop_assert_eq!(String::from_utf8(policy.to_bytes()).unwrap(), text);
        let have = &have[..policy.witnesses().len()];
        let last = have.len() + groups.len() - 1;
        prop_assert_eq!(policy.is_quorum(have), witnesses(last, have, &groups));
    }

    #[test]
    fn more_cosignatures_never_unmake_a_quorum(
        (text, _) in policies(),
        have in any::<[bool; 6]>(),
        one in 0_usize..6,
    ) {
        let policy = parse(&text).unwrap();
        let mut more = have;
        more[one] = true;
        prop_assert!(!policy.is_quorum(&have) || policy.is_quorum(&more));
    }

    #[test]
    fn whatever_is_read_is_read_again_as_it_is_written(
        at in any::<prop::sample::Index>(),
        octet in any::<u8>(),
    ) {
        let mut file = example().into_bytes();
        let at = at.index(file.len());
        file[at] = octet;
        if let Ok(policy) = TlogPolicy::parse(&file) {
            prop_assert_eq!(TlogPolicy::parse(&policy.to_bytes()), Ok(policy));
        }
    }
}
