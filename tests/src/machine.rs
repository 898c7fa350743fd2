//! What a test asks of the machine beyond a user's rights: mounts, loop devices, other hosts, a
//! clock of its own. Where the machine refuses, the test fails, unless `PASSERELLE_WITHOUT_ROOT`
//! is 1: then it says what was left out.

use anyhow::Context as _;
use std::{
    fs::File,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// What the machine gave, or `None` if the test is to be left out.
///
/// # Errors
/// What the machine said, unless tests without root are allowed.
pub fn given<T>(what: &str, attempt: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    let error = match attempt {
        Ok(value) => return Ok(Some(value)),
        Err(error) => error,
    };
    if std::env::var("PASSERELLE_WITHOUT_ROOT").as_deref() == Ok("1") {
        // Not by `eprintln!`, which a test that passes keeps to itself.
        let line = format!("LEFT OUT (PASSERELLE_WITHOUT_ROOT=1): {what}: {error:#}\n");
        std::io::stderr().write_all(line.as_bytes())?;
        return Ok(None);
    }
    let how = "needs root and its tools; PASSERELLE_WITHOUT_ROOT=1 leaves it out";
    Err(error.context(format!("{what} {how}")))
}

/// Runs a system command; its standard output.
///
/// # Errors
/// It is not there, or fails.
pub fn run(words: &[&str]) -> anyhow::Result<String> {
    run_with(words, None)
}

/// The same with a file as standard input, which the kernel may be told of as descriptor 0.
///
/// # Errors
/// It is not there, or fails.
pub fn run_with(words: &[&str], input: Option<&File>) -> anyhow::Result<String> {
    let (program, args) = words.split_first().context("no command")?;
    let input = input.map_or(Ok(Stdio::null()), |f| f.try_clone().map(Stdio::from))?;
    let output = Command::new(program)
        .args(args)
        .stdin(input)
        .env("PATH", search_path())
        .output()
        .with_context(|| format!("`{program}` can't be run"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{words:?}: {}", said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// As [`run`], for what is being taken down: says what went wrong and goes on.
pub fn run_last(words: &[&str]) {
    if let Err(error) = run(words) {
        eprintln!("not taken down: {error:#}");
    }
}

/// System tools are not in everybody's path.
fn search_path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/sbin:/sbin")
}

/// A path as text.
///
/// # Errors
/// It is not text.
pub fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is not text")
}
