//! The program's command line, run as a user would, with `--json`.

use crate::surroundings::Surroundings;
use anyhow::Context as _;
use serde_json::Value;
use std::{path::Path, process::Stdio};

/// How one command ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    /// Standard output as JSON; null if it is not.
    pub json: Value,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// The error code that a refused or failed command printed.
    pub fn error_code(&self) -> Option<String> {
        let parse = |line: &str| serde_json::from_str::<Value>(line).ok();
        let mut lines = self.stderr.lines().rev().filter_map(parse);
        lines.find_map(|l| l.get("error")?.as_str().map(str::to_owned))
    }

    /// The same, which must have succeeded.
    pub fn done(self) -> anyhow::Result<Self> {
        anyhow::ensure!(self.code == 0, "exit code {}: {}", self.code, self.stderr);
        Ok(self)
    }

    /// A text field of the output.
    pub fn text(&self, field: &str) -> anyhow::Result<String> {
        let value = self.json.get(field).and_then(Value::as_str);
        let value = value.with_context(|| format!("no `{field}` in {}", self.stdout))?;
        Ok(value.to_owned())
    }
}

/// Runs `exe ARGS --json` to its end.
pub async fn run(exe: &Path, args: &[&str]) -> anyhow::Result<Ran> {
    run_in(&Surroundings::default(), exe, args).await
}

/// The same, in these surroundings.
pub async fn run_in(surroundings: &Surroundings, exe: &Path, args: &[&str]) -> anyhow::Result<Ran> {
    let output = tokio::process::Command::from(surroundings.command(exe))
        .args(args)
        .arg("--json")
        .env_remove("PASSERELLE_LOG")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("`{}` can't be run", exe.display()))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(Ran {
        code: output.status.code().unwrap_or(-1),
        json: serde_json::from_str(&stdout).unwrap_or(Value::Null),
        stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
