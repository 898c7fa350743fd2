//! Exercises on the command line: how each ends, and what is written.

use crate::offices::EXE;
use anyhow::{Context as _, Result};
use std::{path::Path, process::Output};
use tokio::process::Command;

async fn run(dir: &Path, args: &[&str]) -> Result<Output> {
    let output = Command::new(EXE)
        .arg("exercise")
        .args(args)
        .current_dir(dir)
        .output();
    Ok(output.await?)
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test]
async fn every_exercise_that_is_listed_is_played_as_expected() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (code, listed, _) = said(&run(dir.path(), &["list", "--json"]).await?);
    assert_eq!(code, Some(0));
    let listed: serde_json::Value = serde_json::from_str(&listed)?;
    let listed = listed.as_array().context("a list")?;
    assert!(listed.len() >= 6);
    for row in listed {
        let name = row["name"].as_str().context("a name")?;
        let report = ["run", name, "--report", "out.html", "--json"];
        let (code, played, error) = said(&run(dir.path(), &report).await?);
        assert_eq!(code, Some(0), "{name}: {error}");
        let played: serde_json::Value = serde_json::from_str(&played)?;
        assert_eq!(played["as_expected"], true, "{name}");
        let page = std::fs::read_to_string(dir.path().join("out.html"))?;
        assert!(page.contains("lang=\"fr\"") && page.ends_with("</html>\n"));
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_as_expected_ends_with_1_and_what_is_wrong_with_2() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let shown = said(&run(dir.path(), &["show", "4-police-ask-for-a-diagnosis"]).await?).1;
    let otherwise = shown.replacen("decision: deny", "decision: permit", 1);
    let wrong = shown.replacen("about: sam", "about: nobody-known", 1);
    std::fs::write(dir.path().join("otherwise.yaml"), otherwise)?;
    std::fs::write(dir.path().join("wrong.yaml"), &wrong)?;

    let (code, text, _) = said(&run(dir.path(), &["run", "otherwise.yaml"]).await?);
    assert_eq!(code, Some(1));
    assert!(text.contains("expected permit, came out as deny"), "{text}");

    let args = ["run", "wrong.yaml", "--report", "none.html"];
    let (code, text, error) = said(&run(dir.path(), &args).await?);
    assert_eq!((code, text.as_str()), (Some(2), ""), "{error}");
    let line = wrong
        .lines()
        .position(|l| l.contains("nobody-known"))
        .context("a line")?;
    let place = format!("`wrong.yaml`:{}:", line + 1);
    assert!(error.contains(&place), "{error}");
    assert!(error.contains("known are: robin, sam"), "{error}");
    assert!(!dir.path().join("none.html").exists(), "nothing was played");

    let (code, text, _) = said(&run(dir.path(), &["check", "wrong.yaml"]).await?);
    assert_eq!(code, Some(1));
    assert!(
        text.starts_with(&format!("wrong.yaml:{}:", line + 1)),
        "{text}"
    );

    let (code, _, _) = said(&run(dir.path(), &["run", "no-such-file.yaml"]).await?);
    assert_eq!(code, Some(3));
    let (code, _, _) = said(&run(dir.path(), &["show", "no-such-exercise"]).await?);
    assert_eq!(code, Some(2));
    Ok(())
}
