//! An export that somebody has changed.

use crate::offices::{AGENCIES, CLINIC, EXE, HOUSE, OVERSIGHT, open};
use anyhow::Result;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_export_is_refused_with_the_index_of_its_first_fault() -> Result<()> {
    let federation = open().await?;
    for number in 1..4 {
        let person = federation.person("Dubruit", &format!("Maude{number}"), "1991-02-03");
        let person = person?;
        federation
            .consent(HOUSE, &person, "in_service", HOUSE, CLINIC)
            .await?;
    }
    federation
        .settled(&AGENCIES, Duration::from_secs(60))
        .await?;
    let export = federation.export(OVERSIGHT).await?;
    let honest = std::fs::read_to_string(&export.path)?;
    let verify = async |name: &str, text: &str| -> Result<(Option<i32>, String)> {
        let file = federation.file(name, text)?;
        let output = federation.audit_verify(EXE, &file).await?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8(said)?))
    };
    let (code, said) = verify("honest", &honest).await?;
    assert_eq!(code, Some(0), "{said}");

    for (name, text, index) in changed_copies(&honest) {
        assert_ne!(text, honest, "{name}");
        let (code, said) = verify(name, &text).await?;
        assert_eq!(code, Some(1), "{name}: {said}");
        if let Some(index) = index {
            let named = said
                .split(|c: char| !c.is_ascii_digit())
                .any(|n| n == index.to_string());
            assert!(named, "{name}: index {index} is not named in: {said}");
        }
    }
    let missing = federation.audit_verify(EXE, "/no/such/export").await?;
    assert_eq!(missing.status.code(), Some(3), "{missing:?}");
    let misused = federation.audit_verify(EXE, "--nonsense").await?;
    assert_eq!(misused.status.code(), Some(2), "{misused:?}");
    Ok(())
}

/// Copies with a fault, and the index that must be named where there is but one candidate.
fn changed_copies(honest: &str) -> Vec<(&'static str, String, Option<usize>)> {
    let lines: Vec<_> = honest.lines().collect();
    let rows = lines.len() - 1;
    assert!(rows >= 10, "{rows}");
    let changed = |line: usize, change: &dyn Fn(&str) -> String| {
        let mut all: Vec<_> = lines.iter().map(|l| (*l).to_owned()).collect();
        all[line] = change(&all[line]);
        all.join("\n") + "\n"
    };
    // One letter of the base64 of an entry, in its middle.
    let flip = |line: &str| {
        let start = line.find("\"entry\":\"").unwrap() + 120;
        let new = if line.as_bytes()[start] == b'A' {
            "B"
        } else {
            "A"
        };
        format!("{}{new}{}", &line[..start], &line[start + 1..])
    };
    let without = |line: usize| {
        let mut all = lines.clone();
        all.remove(line);
        all.join("\n") + "\n"
    };
    let mut swapped = lines.clone();
    swapped.swap(5, 6);
    let twice = changed(4, &|line| format!("{line}\n{line}"));
    let root = changed(0, &|line| line.replacen("\\n", "\\n1", 1));
    vec![
        ("letter-1", changed(1, &flip), None),
        ("letter-7", changed(7, &flip), None),
        ("letter-last", changed(rows, &flip), None),
        ("dropped", without(8), Some(7)),
        ("dropped-last", without(rows), Some(rows - 1)),
        ("swapped", swapped.join("\n") + "\n", Some(4)),
        ("twice", twice, Some(4)),
        (
            "cut",
            honest[..honest.len() - 40].to_owned(),
            Some(rows - 1),
        ),
        ("root", root, None),
        ("empty", String::new(), None),
    ]
}
