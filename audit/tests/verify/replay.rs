//! Decisions made again out of an export are those that the state machine made; whoever changes
//! one in the log is found, and what can't be known is said to be so.

use crate::{
    file::{Row, check, export_rows, rows},
    story::{file, story},
    world::{TestPdp, find},
};
use passerelle_audit::replay::{Obstacle, Outcome, ReplayError, Replayed, Rules, replay};
use passerelle_model::{
    bytes::{Digest, Nonce},
    entry::{Entry, EntryBody},
    pdp::{Effect, Matter, PolicyDecisionPoint, Ruling},
    vocabulary::Category,
};

/// As the test's rules, but nothing about whether somebody is in service.
struct Stricter;

impl PolicyDecisionPoint for Stricter {
    fn rule(&self, matter: &Matter) -> Ruling {
        match matter.item.category {
            Category::InService => Ruling::deny("not_in_service"),
            _ => TestPdp.rule(matter),
        }
    }

    fn bundle(&self) -> Digest {
        Digest([8; 32])
    }
}

const IN_FORCE: Rules<'_> = Rules::InForce(&[&Stricter, &TestPdp]);

fn all(file: &[u8], rules: Rules<'_>) -> Result<Vec<Replayed>, ReplayError> {
    let mut all = Vec::new();
    replay(file, &(0..=u64::MAX), rules, &mut |one| all.push(one))?;
    Ok(all)
}

fn story_rows() -> Vec<Row> {
    rows(&story().records)
}

fn change(row: &mut Row, change: impl FnOnce(&mut EntryBody)) {
    let mut entry = Entry::from_bytes(&row.entry).unwrap();
    change(&mut entry.body);
    entry.nonce = Nonce(Digest::of(&row.entry).0);
    row.entry = entry.to_bytes().unwrap();
}

#[test]
fn every_decision_of_an_honest_log_comes_out_the_same() {
    let replayed = all(file(), IN_FORCE).unwrap();
    let decisions = check(file()).unwrap().entries["decided"];
    assert_eq!(replayed.len() as u64, decisions);
    assert!(decisions > 6);
    for one in &replayed {
        assert_eq!(one.outcome, Outcome::Same, "{}", one.index);
        assert!(!one.logged.is_empty());
    }
    let effects: Vec<Effect> = replayed
        .iter()
        .map(|one| one.logged[0].ruling.effect)
        .collect();
    for effect in [Effect::Permit, Effect::Review, Effect::Deny] {
        assert!(effects.contains(&effect), "{effect:?}");
    }
}

#[test]
fn a_changed_decision_is_reported_with_what_it_should_have_been() {
    let records = story().records;
    let denied = find(&records, 0, |body| match body {
        EntryBody::Decided { items, .. } => items[0].ruling.effect == Effect::Deny,
        _ => false,
    });
    // A reason alone: the verifier, which does not know the rules, has nothing to say against it.
    let mut rows = story_rows();
    change(&mut rows[denied], |body| {
        if let EntryBody::Decided { items, .. } = body {
            items[0].ruling = Ruling::deny("because");
        }
    });
    let file = export_rows(&rows);
    assert!(check(&file).is_ok());
    for one in all(&file, IN_FORCE).unwrap() {
        if one.index != denied as u64 {
            assert_eq!(one.outcome, Outcome::Same);
            continue;
        }
        assert_eq!(one.logged[0].ruling, Ruling::deny("because"));
        let Outcome::Differs(again) = one.outcome else {
            panic!("{:?}", one.outcome);
        };
        assert_eq!(again[0].ruling, Ruling::deny("no_rule_permits"));
    }
}

#[test]
fn other_rules_show_what_they_would_have_decided() {
    let replayed = all(file(), Rules::Other(&Stricter)).unwrap();
    let mut differences = 0;
    for one in &replayed {
        let asked = one.logged[0].category == Category::InService;
        match &one.outcome {
            Outcome::Same => assert!(!asked),
            Outcome::Differs(again) => {
                differences += 1;
                assert!(asked);
                assert_eq!(again[0].ruling, Ruling::deny("not_in_service"));
            }
            Outcome::NotPossible(obstacle) => panic!("{obstacle}"),
        }
    }
    assert!(differences > 0 && differences < replayed.len());
    // They are not the rules that made the decisions.
    for one in all(file(), Rules::InForce(&[&Stricter])).unwrap() {
        assert_eq!(one.outcome, Outcome::NotPossible(Obstacle::OtherRules));
    }
}

#[test]
fn a_range_gives_its_own_decisions_and_reads_no_further() {
    let whole = all(file(), IN_FORCE).unwrap();
    let (first, second) = (whole[0].index, whole[1].index);
    for (range, expected) in [
        (first..=first, &whole[..1]),
        (first..=second, &whole[..2]),
        (first + 1..=second, &whole[1..2]),
        (0..=first - 1, &whole[..0]),
    ] {
        let mut found = Vec::new();
        replay(file(), &range, IN_FORCE, &mut |one| found.push(one)).unwrap();
        assert_eq!(found, expected);
    }
    let mut lines: Vec<&[u8]> = file().split_inclusive(|byte| *byte == b'\n').collect();
    lines.truncate(usize::try_from(second).unwrap() + 2);
    let part = lines.concat();
    assert!(replay(&part[..], &(0..=second), IN_FORCE, &mut |_| {}).is_ok());
    let beyond = 1_000_000..=1_000_000;
    let error = replay(file(), &beyond, IN_FORCE, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("no such entry"), "{error}");
}

#[test]
fn what_is_not_opened_is_not_guessed() {
    let mut rows = story_rows();
    for row in &mut rows {
        row.openings.clear();
    }
    for one in all(&export_rows(&rows), IN_FORCE).unwrap() {
        let obstacle = Obstacle::PersonNotOpened;
        assert_eq!(one.outcome, Outcome::NotPossible(obstacle), "{}", one.index);
    }
    // Consents alone: nothing is called changed, and what does not rest on them stays the same.
    let mut rows = story_rows();
    let mut shut = 0;
    for row in &mut rows {
        let entry = Entry::from_bytes(&row.entry).unwrap();
        if let EntryBody::Said { envelope, .. } = &entry.body {
            let text = String::from_utf8_lossy(&envelope.payload.0).into_owned();
            if text.contains("\"consent\":{\"capacity\"") {
                row.openings.clear();
                shut += 1;
            }
        }
    }
    assert!(shut > 2);
    let replayed = all(&export_rows(&rows), IN_FORCE).unwrap();
    let of = |outcome: &Outcome| {
        replayed
            .iter()
            .filter(|one| one.outcome == *outcome)
            .count()
    };
    let excused = of(&Outcome::NotPossible(Obstacle::EarlierNotOpened));
    assert!(excused > 0 && of(&Outcome::Same) > 0);
    assert_eq!(excused + of(&Outcome::Same), replayed.len());
}

#[test]
fn an_entry_that_is_hidden_out_of_place_or_malformed_ends_the_replay() {
    let mut hidden = story_rows();
    hidden[9].hidden = true;
    hidden[9].openings.clear();
    let error = all(&export_rows(&hidden), IN_FORCE).unwrap_err();
    assert!(matches!(error, ReplayError::Hidden(9)), "{error}");

    let mut lines: Vec<&[u8]> = file().split_inclusive(|byte| *byte == b'\n').collect();
    lines.swap(5, 6);
    let error = all(&lines.concat(), IN_FORCE).unwrap_err();
    assert!(
        matches!(error, ReplayError::Entry { index: 4, .. }),
        "{error}"
    );

    let mut malformed = story_rows();
    malformed[9].entry.push(b' ');
    let error = all(&export_rows(&malformed), IN_FORCE).unwrap_err();
    assert!(
        matches!(error, ReplayError::Entry { index: 9, .. }),
        "{error}"
    );

    // A decision on a request that nobody made, and one that the state has no place for.
    let records = story().records;
    let decided = find(&records, 0, |body| {
        matches!(body, EntryBody::Decided { .. })
    });
    let mut dropped = story_rows();
    dropped.remove(decided - 1);
    assert!(all(&export_rows(&dropped), IN_FORCE).is_err());
}
