//! Types commands as a user would: spawns this program with arguments and reads what it prints.

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use std::{
    ffi::OsStr,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Mutex,
    time::Duration,
};
use tokio::process::Command;

/// Longest time that one command may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// Runs commands and notes each in a file.
pub(super) struct Shell {
    exe: PathBuf,
    typed: Mutex<std::fs::File>,
}

/// What a command left behind.
#[derive(Debug)]
pub(super) struct Ran {
    /// Its exit code.
    pub(super) exit: i32,
    stdout: Vec<u8>,
    stderr: String,
}

impl Ran {
    /// What it printed.
    pub(super) fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.stdout)
            .with_context(|| format!("unexpected output; it reported: {}", self.error()))
    }

    /// Its report of a failure.
    pub(super) fn error(&self) -> &str {
        self.stderr.lines().last().unwrap_or("nothing")
    }
}

impl Shell {
    /// Commands are noted in `log`.
    pub(super) fn new(log: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            exe: std::env::current_exe().context("this program's own path is unknown")?,
            typed: Mutex::new(
                std::fs::File::create(log)
                    .with_context(|| format!("`{}` can't be written", log.display()))?,
            ),
        })
    }

    /// This program.
    pub(super) fn exe(&self) -> &Path {
        &self.exe
    }

    /// Runs `passerelle` with `args`, printing JSON.
    pub(super) async fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> anyhow::Result<Ran> {
        self.note(args);
        let output = Command::new(&self.exe)
            .args(args)
            .arg("--json")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(COMMAND_TIMEOUT, output)
            .await
            .with_context(|| format!("no end within {} s", COMMAND_TIMEOUT.as_secs()))
            .and_then(|output| Ok(output?))
            .with_context(|| format!("`{}`", quoted(args)))?;
        Ok(Ran {
            exit: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Runs a command that must be done, and reads what it printed.
    pub(super) async fn done<T: DeserializeOwned, S: AsRef<OsStr>>(
        &self,
        args: &[S],
    ) -> anyhow::Result<T> {
        let ran = self.run(args).await?;
        if ran.exit != 0 {
            bail!(
                "`{}` ended with {}: {}",
                quoted(args),
                ran.exit,
                ran.error()
            );
        }
        ran.json().with_context(|| format!("`{}`", quoted(args)))
    }

    fn note<S: AsRef<OsStr>>(&self, args: &[S]) {
        if let Ok(mut file) = self.typed.lock() {
            // For the curious only; the story does not depend on it.
            let _unread = writeln!(file, "{}", quoted(args));
        }
    }
}

/// The command as one would type it.
pub(super) fn quoted<S: AsRef<OsStr>>(args: &[S]) -> String {
    let mut line = "passerelle".to_owned();
    for arg in args {
        let arg = arg.as_ref().to_string_lossy();
        line.push(' ');
        let plain = |c: char| c.is_alphanumeric() || "-_./:=,".contains(c);
        // The one secret among the arguments is an invitation that is used at once.
        if arg.starts_with("pass1.") {
            line.push_str("TOKEN");
        } else if !arg.is_empty() && arg.chars().all(plain) {
            line.push_str(&arg);
        } else {
            line.push_str(&format!("'{}'", arg.replace('\'', "'\\''")));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noted_command_can_be_typed_again_but_holds_no_invitation() {
        assert_eq!(
            quoted(&["agent", "show", "--dir", "/tmp/a b", "l'eau", ""]),
            r"passerelle agent show --dir '/tmp/a b' 'l'\''eau' ''"
        );
        assert_eq!(
            quoted(&["--token", "pass1.abc"]),
            "passerelle --token TOKEN"
        );
    }
}
