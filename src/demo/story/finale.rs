//! The log leaves the federation and is verified by whoever trusts nobody.

use crate::demo::{
    cast::{OVERSIGHT, PEOPLE},
    report::Report,
    world::{BROKER, World},
};
use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// The export's name in the demonstration's directory.
pub(crate) const EXPORT: &str = "audit-export";

/// Exports, verifies, and looks for names where none may be.
pub(super) async fn audit(world: &World, report: &mut Report) -> anyhow::Result<()> {
    let export = world.root().join(EXPORT);
    let (dir, out) = (world.dir(OVERSIGHT), export.display().to_string());
    let args = ["audit", "export", "--dir", &dir, "--out", &out];
    let done: serde_json::Value = world.shell.done(&args).await?;
    let size = done.get("size_bytes").map(ToString::to_string);
    report.say(&format!("{out}: {} bytes", size.unwrap_or_default()));
    let (whole, lines) = verify(&export).await?;
    for line in &lines {
        report.say(&format!("  {line}"));
    }
    report.check(
        "the export verifies, without network and without trust",
        whole,
    );
    let damaged = damaged_copy(&export)?;
    let (changed, lines) = verify(&damaged).await?;
    if let Some(line) = lines.first() {
        report.say(&format!("with one bit changed: {line}"));
    }
    report.check("a copy with one bit changed does not", whole && !changed);
    let found = names_in(&world.root().join(BROKER), &world.root().join("broker.log"))?;
    report.check(
        "no name of the story stands in anything that the broker stored or logged",
        found.is_empty(),
    );
    for file in found {
        report.say(&format!("  found in `{}`", file.display()));
    }
    Ok(())
}

/// The verifier beside this program: an auditor builds and runs that one alone.
fn verifier() -> anyhow::Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let folder = exe.parent().context("this program has no directory")?;
    let path = folder.join("passerelle-audit");
    if !path.exists() {
        bail!(
            "`{}` is missing: build it with the workspace",
            path.display()
        );
    }
    Ok(path)
}

async fn verify(export: &Path) -> anyhow::Result<(bool, Vec<String>)> {
    let output = Command::new(verifier()?)
        .arg("verify")
        .arg(export)
        .kill_on_drop(true)
        .output()
        .await?;
    let text = [output.stdout, output.stderr].concat();
    let lines = String::from_utf8_lossy(&text)
        .lines()
        .map(str::to_owned)
        .collect();
    Ok((output.status.success(), lines))
}

/// A copy with one bit of its middle flipped.
fn damaged_copy(export: &Path) -> anyhow::Result<PathBuf> {
    let mut bytes = std::fs::read(export)?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    let path = export.with_extension("damaged");
    std::fs::write(&path, bytes)?;
    Ok(path)
}

/// Files below `dir`, or `log`, that hold a family name of the story.
fn names_in(dir: &Path, log: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let names = family_names()?;
    let mut open = vec![dir.to_owned(), log.to_owned()];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                open.push(entry?.path());
            }
        } else if path.is_file() {
            let bytes = std::fs::read(&path)?;
            if names.iter().any(|name| holds(&bytes, name.as_bytes())) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn holds(bytes: &[u8], name: &[u8]) -> bool {
    bytes.windows(name.len()).any(|window| window == name)
}

/// As typed in the person files, and in capitals.
fn family_names() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for (file, text) in PEOPLE {
        let table: toml::Table = toml::from_str(text)?;
        let name = table
            .get("family_name")
            .and_then(toml::Value::as_str)
            .with_context(|| format!("`{file}` has no family name"))?;
        names.extend([name.to_owned(), name.to_uppercase()]);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_name_is_found_and_its_absence_is_no_accident() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let store = dir.path().join("store");
        std::fs::create_dir_all(store.join("deep")).unwrap();
        std::fs::write(&log, "nothing").unwrap();
        std::fs::write(store.join("deep/a"), [0_u8, 1, 2]).unwrap();
        assert!(names_in(&store, &log).unwrap().is_empty());
        let name = family_names().unwrap().remove(0);
        std::fs::write(store.join("deep/a"), format!("\0{name}\0")).unwrap();
        assert_eq!(names_in(&store, &log).unwrap(), [store.join("deep/a")]);
    }
}
