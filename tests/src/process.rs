//! One child process of a test: started, stopped, frozen or killed by its id, and never left
//! behind.

use crate::surroundings::Surroundings;
use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    time::Duration,
};

/// A running service. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    out: PathBuf,
    log: PathBuf,
    log_before: usize,
}

impl Process {
    /// Starts `exe ARGS`; its output goes to the end of `out` and `log`, which logs at `level`.
    pub fn start(
        exe: &Path,
        args: &[&str],
        out: PathBuf,
        log: PathBuf,
        level: &str,
    ) -> anyhow::Result<Self> {
        Self::start_in(&Surroundings::default(), exe, args, out, log, level)
    }

    /// As [`Self::start`], in these surroundings.
    pub fn start_in(
        surroundings: &Surroundings,
        exe: &Path,
        args: &[&str],
        out: PathBuf,
        log: PathBuf,
        level: &str,
    ) -> anyhow::Result<Self> {
        let to = |path: &Path| OpenOptions::new().create(true).append(true).open(path);
        // What an earlier run printed must not be taken for what this one prints.
        std::fs::write(&out, b"")?;
        let log_before = std::fs::metadata(&log).map_or(0, |m| m.len() as usize);
        let child = surroundings
            .command(exe)
            .args(args)
            .env("PASSERELLE_LOG", level)
            .stdin(Stdio::null())
            .stdout(to(&out)?)
            .stderr(to(&log)?)
            .spawn()
            .with_context(|| format!("`{}` can't be started", exe.display()))?;
        Ok(Self {
            child,
            out,
            log,
            log_before,
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed on standard output.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// What it, and those before it in the same place, have logged.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What this one alone has logged.
    pub fn own_log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(self.log_before..).unwrap_or_default()).into_owned()
    }

    /// An error if it has ended by itself.
    pub fn require_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("a service ended ({status}):\n{}", self.log()),
        }
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it ends by itself.
    pub async fn end(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        crate::office::within(patience, "a service to end by itself", || {
            let ended = self.ended();
            async move { ended }
        })
        .await
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("no process id")?, signal)?;
        Ok(())
    }

    /// SIGKILL, and waits: nothing of it runs any more.
    pub fn kill9(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGSTOP: it is there, and does nothing.
    pub fn sigstop(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: it goes on.
    pub fn sigcont(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, and waits for an orderly end.
    pub async fn terminate(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let child = &mut self.child;
        crate::wait::until("a service to end after SIGTERM", || {
            let status = child.try_wait();
            async move { Ok(status?) }
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
