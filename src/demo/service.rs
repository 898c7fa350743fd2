//! The processes of the demonstration: start, stop, crash, never leave behind.

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsStr,
    fs::OpenOptions,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::process::{Child, Command};

/// How long a process may take to stop when it is told to.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// A running process. Dropping it kills it.
pub(super) struct Service {
    name: String,
    child: Child,
}

impl Service {
    /// Starts `exe` with `args`, output to the end of `log`.
    pub(super) fn start<S: AsRef<OsStr>>(
        name: &str,
        exe: &Path,
        args: &[S],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let open = || {
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(log)
                .with_context(|| format!("`{}` can't be written", log.display()))
        };
        let child = Command::new(exe)
            .args(args)
            .arg("--end-with-parent")
            .stdin(Stdio::null())
            .stdout(open()?)
            .stderr(open()?)
            // An interrupt typed at the terminal is for the demonstration, which then stops its
            // processes in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("`{name}` can't be started"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    /// Its process id, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// An error if it has ended by itself.
    pub(super) fn require_alive(&mut self, log: &Path) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let last = text.lines().last().unwrap_or("nothing").to_owned();
            bail!(
                "`{}` ended ({status}); its log ends with: {last}",
                self.name
            );
        }
        Ok(())
    }

    /// Tells it to stop, and waits; kills it if it does not.
    pub(super) async fn stop(mut self) -> anyhow::Result<ExitStatus> {
        let pid = self
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself in between; `wait` tells.
            let _ended = kill_process(pid, Signal::TERM);
        }
        match tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_elapsed) => {
                self.child.kill().await?;
                bail!(
                    "`{}` did not stop within {} s and was killed",
                    self.name,
                    STOP_TIMEOUT.as_secs()
                )
            }
        }
    }
}

/// Asks the system to end this process when its parent does, however that ends.
pub(crate) fn end_with_parent() -> std::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    Ok(())
}
