//! `passerelle witness`: a witness outside the federation, without facts and without membership.

use super::{
    Global, Tether, backend,
    failure::{Exit, Failure},
    output::{self, table},
};
use clap::{Args, Subcommand};
use passerelle_agent::{
    clock::SystemClock,
    outside::{
        OutsideError,
        home::{self, Status, Witness},
        http,
    },
};
use passerelle_audit::note::{SignatureType, VerifierKey};
use passerelle_model::error::ErrorCode;
use std::{net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::net::TcpListener;

const INIT_EXAMPLES: &str = "\
Examples:
  passerelle witness init --dir /srv/witness --name witness.example/w1 --log 'KEY'

The log's key is what `passerelle-audit keys` prints: compare it by telephone or on paper first.
The witness's key, which this prints, goes into the broker's `broker.toml` and into the policy
files of those who trust it.";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  passerelle witness init --dir /srv/witness --name witness.example/w1 --log 'KEY'
  passerelle witness serve --dir /srv/witness --listen 0.0.0.0:8080
  passerelle witness key --dir /srv/witness")]
pub(crate) struct WitnessArgs {
    #[command(subcommand)]
    verb: Verb,
}

impl WitnessArgs {
    /// Whether the command runs until it is told to stop.
    pub(super) const fn is_service(&self) -> bool {
        matches!(self.verb, Verb::Serve { .. })
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a witness with a key of its own, that follows these logs
    #[command(after_help = INIT_EXAMPLES)]
    Init {
        #[command(flatten)]
        place: Place,
        /// Name under which it cosigns, without blanks and `+`
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Key of a log, `name+id+key`; may be repeated
        #[arg(long = "log", value_name = "KEY", required = true, value_parser = log_key)]
        logs: Vec<VerifierKey>,
    },
    /// Follow one more log; the witness must not be running
    #[command(after_help = "\
Examples:
  passerelle witness follow --dir /srv/witness --log 'KEY'")]
    Follow {
        #[command(flatten)]
        place: Place,
        /// Key of the log, `name+id+key`
        #[arg(long, value_name = "KEY", value_parser = log_key)]
        log: VerifierKey,
    },
    /// Serve `POST /add-checkpoint` over HTTP until SIGINT or SIGTERM
    #[command(after_help = "\
Examples:
  passerelle witness serve --dir /srv/witness --listen 0.0.0.0:8080")]
    Serve {
        #[command(flatten)]
        place: Place,
        /// Address and port for the logs
        #[arg(long, value_name = "ADDR")]
        listen: SocketAddr,
        #[command(flatten)]
        tether: Tether,
    },
    /// Print the witness's key, for those who trust it
    #[command(after_help = "\
Examples:
  passerelle witness key --dir /srv/witness")]
    Key {
        #[command(flatten)]
        place: Place,
    },
    /// Show which logs it follows, how far, and proofs of rewritten ones
    #[command(after_help = "\
Examples:
  passerelle witness status --dir /srv/witness
  passerelle witness status --dir /srv/witness --json")]
    Status {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// Directory of the witness
    #[arg(long, value_name = "D")]
    dir: PathBuf,
}

fn log_key(text: &str) -> Result<VerifierKey, String> {
    let key: VerifierKey = text.parse().map_err(|error| format!("{error}"))?;
    match key.kind() {
        SignatureType::Ed25519 => Ok(key),
        _ => Err("this is the key of a witness, not of a log".to_owned()),
    }
}

/// Runs the command.
pub(super) async fn run(global: Global, args: WitnessArgs) -> Result<Exit, Failure> {
    match args.verb {
        Verb::Init { place, name, logs } => {
            let key = home::init(&place.dir, &name, &logs).map_err(failure)?;
            let done = serde_json::json!({ "key": key.to_string(), "dir": place.dir });
            output::print(global, &done, |_| {
                format!(
                    "{key}\n\nnext: passerelle witness serve --dir {} --listen ADDR",
                    place.dir.display()
                )
            })?;
        }
        Verb::Follow { place, log } => {
            home::follow(&place.dir, &log).map_err(failure)?;
            let done = serde_json::json!({ "log": log.to_string() });
            output::print(global, &done, |_| {
                format!("`{}` is followed from the next start on", log.name())
            })?;
        }
        Verb::Serve {
            place,
            listen,
            tether,
        } => {
            tether.tie()?;
            serve(place, listen).await?;
        }
        Verb::Key { place } => {
            let key = home::key(&place.dir).map_err(failure)?.to_string();
            let done = serde_json::json!({ "key": key });
            output::print(global, &done, |_| key.clone())?;
        }
        Verb::Status { place } => {
            let status = home::status(&place.dir).map_err(failure)?;
            output::print(global, &status, status_text)?;
        }
    }
    Ok(Exit::Done)
}

async fn serve(place: Place, listen: SocketAddr) -> Result<(), Failure> {
    let shutdown = backend::shutdown()?;
    let witness = Witness::open(&place.dir).map_err(failure)?;
    let cannot = |error| Failure::failed(format!("cannot listen on `{listen}`: {error}"));
    let listener = TcpListener::bind(listen).await.map_err(cannot)?;
    let address = listener.local_addr()?;
    let name = witness.cosigner().verifier_key().name().to_owned();
    let logs = witness.logs();
    tracing::info!(%address, name, logs, "witness listens");
    http::serve(witness, Arc::new(SystemClock), listener, shutdown)
        .await
        .map_err(failure)
}

fn status_text(status: &Status) -> String {
    let rows: Vec<[String; 2]> = status
        .logs
        .iter()
        .map(|log| [log.size.to_string(), log.log.clone()])
        .collect();
    let logs = table(["cosigned", "log"], &rows, "no logs");
    let forks = match status.forks {
        0 => String::new(),
        count => format!(
            "\n{count} proofs that a log was rewritten are in `forks`: send them to everybody who \
             relies on it; `passerelle-audit fork FILE --log-key KEY` confirms them"
        ),
    };
    format!("key: {}\n{logs}{forks}", status.key)
}

fn failure(error: OutsideError) -> Failure {
    match error {
        OutsideError::NotInitialised(_)
        | OutsideError::AlreadyInitialised(_)
        | OutsideError::Running(_) => Failure::told(ErrorCode::WrongState, &error),
        OutsideError::Unusable(message) => Failure::usage(message),
        other => Failure::failed(other.to_string()),
    }
}
