//! The examples that `--help` shows, typed as they stand.

use crate::offices::EXE;
use anyhow::{Context as _, Result};
use passerelle_audit::{
    keys::SigningKey,
    note::{SignatureType, VerifierKey},
};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::Command;

/// The help of a command, and of all below it.
async fn helps(exe: &Path) -> Result<Vec<(String, String)>> {
    let mut open = vec![Vec::<String>::new()];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        let output = Command::new(exe).args(&path).arg("--help").output().await?;
        anyhow::ensure!(output.status.success(), "{path:?}");
        let text = String::from_utf8(output.stdout)?;
        let commands = text.split_once("Commands:\n").map_or("", |(_, rest)| rest);
        let commands = commands.split("\n\n").next().unwrap_or_default();
        for line in commands.lines() {
            let is_name = line.starts_with("  ") && !line.starts_with("   ");
            let name = line.split_whitespace().next().filter(|_| is_name);
            if let Some(name) = name.filter(|name| *name != "help") {
                open.push([&path[..], &[name.to_owned()]].concat());
            }
        }
        found.push((path.join(" "), text));
    }
    Ok(found)
}

/// As a shell would split it, as far as the examples go; standard input is left out.
fn words(line: &str) -> Vec<String> {
    let line = line.split(" < ").next().unwrap_or(line);
    let quoted = line.split('\'').enumerate();
    quoted.fold(Vec::new(), |mut words: Vec<String>, (index, part)| {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
        words
    })
}

fn examples(help: &str, program: &str) -> Vec<Vec<String>> {
    let start = format!("{program} ");
    let text = help.replace("\\\n", " ");
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| line.starts_with(&start));
    lines.map(|line| words(line)[1..].to_vec()).collect()
}

/// A directory with the files that the examples name.
fn place() -> Result<tempfile::TempDir> {
    let dir = tempfile::Builder::new().prefix("psr").tempdir_in("/tmp")?;
    let person = "family_name = \"A\"\ngiven_name = \"B\"\nbirth_date = \"1990-01-01\"\n";
    for (name, text) in [
        ("person.toml", person),
        ("draft.toml", ""),
        ("police.toml", ""),
        ("police.csv", ""),
        ("token.txt", "TOKEN"),
        ("policy.txt", "quorum none\n"),
    ] {
        std::fs::write(dir.path().join(name), text)?;
    }
    Ok(dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_of_the_help_parses() -> Result<()> {
    let mut tried = 0;
    for (program, exe) in [
        ("passerelle", PathBuf::from(EXE)),
        (
            "passerelle-audit",
            PathBuf::from(EXE).with_file_name("passerelle-audit"),
        ),
    ] {
        if !exe.exists() {
            continue;
        }
        for (path, help) in helps(&exe).await? {
            let examples = examples(&help, program);
            let has_commands = help.contains("Commands:\n");
            assert!(
                !examples.is_empty() || has_commands,
                "`{path}` has no example"
            );
            for words in examples {
                parses(&exe, &words)
                    .await
                    .with_context(|| format!("{words:?} of `{path}`"))?;
                tried += 1;
            }
        }
    }
    assert!(tried >= 40, "{tried} examples");
    Ok(())
}

/// The key of some log, or of some witness.
fn key(of_a_witness: bool) -> Result<String> {
    let kind = match of_a_witness {
        true => SignatureType::CosignatureV1,
        false => SignatureType::Ed25519,
    };
    let key = SigningKey::from_seed(&[1; 32]).public_key();
    Ok(VerifierKey::new("example.org/log", kind, key)?.to_string())
}

/// Runs it where there is nothing to do it with: it is refused or fails, but not for its form.
async fn parses(exe: &Path, words: &[String]) -> Result<()> {
    let dir = place()?;
    let here = dir.path().display().to_string();
    let mut args: Vec<_> = words
        .iter()
        .map(|word| {
            word.replace("/srv", &here)
                .replace("10.0.0.5:7443", "127.0.0.1:9")
        })
        .map(|word| word.replace("broker.example:7443", "127.0.0.1:9"))
        .collect();
    // Where the example says KEY, a key is to be put.
    while let Some(at) = args.iter().position(|word| word == "KEY") {
        args[at] = key(args[at - 1] == "--witness")?;
    }
    // A demonstration wants an empty directory, and this one is not.
    if args.first().is_some_and(|word| word == "demo") {
        args.retain(|word| word != "--dir" && !word.starts_with("/tmp/"));
        args.extend(["--dir".to_owned(), here.clone()]);
    }
    let output = Command::new(exe)
        .args(&args)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let patience = std::time::Duration::from_secs(60);
    let output = tokio::time::timeout(patience, output)
        .await
        .context("it runs on")??;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code();
    let misused = code == Some(2) && text.contains("--help");
    anyhow::ensure!(code.is_some() && !misused, "{code:?}: {text}");
    Ok(())
}
