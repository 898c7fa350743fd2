//! The Go program: built once, run for each batch.

use crate::case::{Case, Verdict};
use anyhow::{Context as _, Result, bail, ensure};
use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The program of tests/interop/go.
pub(crate) struct Go {
    program: PathBuf,
}

impl Go {
    /// Builds it with the `go` at this path. Modules and whatever else Go keeps go below `work`.
    pub(crate) fn build(go: &Path, sources: &Path, work: &Path) -> Result<Self> {
        let program = work.join("interop-go");
        let given = std::env::var_os("GOFLAGS").unwrap_or_default();
        // A cache that can be removed; and no word of the machine's directories in the program.
        let mut flags = OsString::from("-modcacherw -trimpath -mod=readonly ");
        flags.push(given);
        let status = Command::new(go)
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(sources)
            .env("GOPATH", work.join("go"))
            .env("GOMODCACHE", work.join("go/modules"))
            .env("GOCACHE", work.join("go/cache"))
            .env("GOFLAGS", flags)
            .env("GOWORK", "off")
            // An older Go fetches the one that go.mod asks for.
            .env("GOTOOLCHAIN", "auto")
            .env("CGO_ENABLED", "0")
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("`{}` can't be run", go.display()))?;
        ensure!(status.success(), "the Go program can't be built: {status}");
        Ok(Self { program })
    }

    fn start(&self, command: &str) -> Result<std::process::Child> {
        let child = Command::new(&self.program)
            .arg(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        child.context("the Go program can't be run")
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, command: &str, input: &[u8]) -> Result<Vec<u8>> {
        let mut child = self.start(command)?;
        // It reads all before it writes.
        let mut stdin = child.stdin.take().context("no input")?;
        stdin.write_all(input)?;
        drop(stdin);
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "`{command}`: {}", output.status);
        Ok(output.stdout)
    }

    /// The verdicts on cases, in their order.
    pub(crate) fn judge<'a>(
        &self,
        cases: impl Iterator<Item = &'a Case> + Send,
    ) -> Result<Vec<Verdict>> {
        let mut child = self.start("judge")?;
        let mut stdin = BufWriter::new(child.stdin.take().context("no input")?);
        let stdout = BufReader::new(child.stdout.take().context("no output")?);
        let (verdicts, asked) = std::thread::scope(|scope| {
            let asking = scope.spawn(move || -> Result<usize> {
                let mut asked = 0;
                for case in cases {
                    serde_json::to_writer(&mut stdin, case)?;
                    stdin.write_all(b"\n")?;
                    asked += 1;
                }
                stdin.flush()?;
                Ok(asked)
            });
            let verdicts = stdout
                .lines()
                .map(|line| Ok(serde_json::from_str(&line?)?))
                .collect::<Result<Vec<Verdict>>>();
            match asking.join() {
                Ok(asked) => Ok((verdicts?, asked?)),
                Err(_) => bail!("the thread that asks has panicked"),
            }
        })?;
        let status = child.wait()?;
        ensure!(status.success(), "`judge`: {status}");
        ensure!(verdicts.len() == asked, "not as many verdicts as cases");
        Ok(verdicts)
    }
}
