//! The Python program: its libraries, what protoc makes for it, running it.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::OnceCell,
    time::timeout,
};

/// Reached only by a program that hangs.
const PATIENCE: Duration = Duration::from_secs(180);

/// Where the sources are, and where what is made of them goes.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign")
}

fn made(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    target.expect("it is a directory in `target`").join(name)
}

fn python() -> PathBuf {
    made("foreign-venv").join("bin/python")
}

static READY: OnceCell<()> = OnceCell::const_new();

async fn run(command: &mut Command, otherwise: &str) {
    let ran = command.stdin(Stdio::null()).output().await;
    let ran = ran.unwrap_or_else(|error| panic!("{otherwise}: {error}"));
    assert!(
        ran.status.success(),
        "{otherwise}:\n{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
}

/// Makes the virtual environment, unless it is there with these requirements, and the stubs.
async fn prepare() {
    let requirements = sources().join("requirements.txt");
    let wanted = std::fs::read(&requirements).expect("the requirements are there");
    let done = made("foreign-venv").join("requirements.done");
    if std::fs::read(&done).ok().as_deref() != Some(&*wanted) {
        run(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(made("foreign-venv")),
            "no virtual environment for the foreign client; on Debian: `apt-get install \
             python3 python3-venv`",
        )
        .await;
        run(
            Command::new(python())
                .args(["-m", "pip", "install", "--quiet", "--no-deps", "-r"])
                .arg(&requirements),
            "the foreign client's libraries can't be installed (PyPI must be reachable once)",
        )
        .await;
        std::fs::write(&done, &wanted).expect("the target directory can be written");
    }
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/proto");
    let stubs = made("foreign-stubs");
    std::fs::create_dir_all(&stubs).expect("the target directory can be written");
    run(
        Command::new(python())
            .args(["-m", "grpc_tools.protoc", "-I"])
            .arg(&protos)
            .arg(format!("--python_out={}", stubs.display()))
            .arg(format!("--grpc_python_out={}", stubs.display()))
            .arg(protos.join("passerelle/v1/exchange.proto")),
        "protoc does not take the .proto files",
    )
    .await;
}

/// A running sub-command.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
    lines: Lines<BufReader<ChildStdout>>,
}

/// Starts a sub-command with its state in `state`.
pub(crate) async fn start(state: &Path, args: &[&str]) -> Result<Running> {
    READY.get_or_init(prepare).await;
    let client = sources().join("client");
    let path = std::env::join_paths([&client, &made("foreign-stubs")])?;
    let log_path = state.with_extension("log");
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)?;
    let mut child = Command::new(python())
        .arg(client.join("foreign.py"))
        .arg("--state")
        .arg(state)
        .args(args)
        .env("PYTHONPATH", path)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("GRPC_VERBOSITY", "NONE")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()?;
    let out = child.stdout.take().context("no output")?;
    Ok(Running {
        child,
        log: log_path,
        lines: BufReader::new(out).lines(),
    })
}

impl Running {
    /// The next line that it prints, as JSON.
    pub(crate) async fn line(&mut self) -> Result<Value> {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.with_context(|| {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            format!("the foreign agency hangs:\n{log}")
        })??;
        Ok(serde_json::from_str(&line.context("it has ended")?)?)
    }

    /// Its result.
    pub(crate) async fn result(mut self) -> Result<Value> {
        let last = self.line().await?;
        let status = timeout(PATIENCE, self.child.wait()).await??;
        if last["ok"] != true {
            bail!("the foreign agency: {}", last["error"]);
        }
        ensure!(status.success(), "{status}");
        Ok(last["result"].clone())
    }
}

/// Runs a sub-command to its end.
pub(crate) async fn foreign(state: &Path, args: &[&str]) -> Result<Value> {
    let name = args.first().copied().unwrap_or_default();
    let result = start(state, args).await?.result().await;
    result.with_context(|| {
        let log = std::fs::read_to_string(state.with_extension("log")).unwrap_or_default();
        format!("`{name}`:\n{log}")
    })
}
