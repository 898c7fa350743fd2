//! What a process of a test runs in: environment variables, and a command in front of it that
//! puts it elsewhere (`nsenter --net=FILE`).

use std::{ffi::OsString, path::Path};

/// Where and how a node's processes run. The default is the test's own surroundings.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    before: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
}

impl Surroundings {
    /// Behind this command, which must end by replacing itself with the one that follows, so that
    /// the process id stays the same.
    #[must_use]
    pub fn behind(mut self, command: &[&str]) -> Self {
        self.before = command.iter().map(OsString::from).collect();
        self
    }

    /// With this environment variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// A command that runs the program at `exe` here.
    pub fn command(&self, exe: &Path) -> std::process::Command {
        let mut words = self.before.iter().map(OsString::as_os_str);
        let mut command = match words.next() {
            None => std::process::Command::new(exe),
            Some(first) => {
                let mut command = std::process::Command::new(first);
                command.args(words).arg(exe);
                command
            }
        };
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        command.envs(variables);
        command
    }
}
