//! The command line: what a person or a script types, and what it prints.
//!
//! In scope: arguments, output for people and as JSON, exit codes, logging set-up.
//! Out of scope: everything that a command does; that is in the broker, agent, policies and audit
//! crates, reached through [`backend`].

pub(crate) mod agent;
pub(crate) mod audit;
pub(crate) mod backend;
pub(crate) mod broker;
pub(crate) mod clock;
pub(crate) mod codes;
pub(crate) mod exercise;
pub(crate) mod failure;
mod logging;
pub(crate) mod output;
pub(crate) mod policy;
mod render;
#[cfg(test)]
mod tests;
pub(crate) mod witness;

pub(crate) use render::{decided_item as render_item, plain as plain_value, status_words};

use clap::{Args, Parser, Subcommand, ValueEnum};
use failure::{Exit, Failure};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  passerelle demo
  passerelle broker init --dir /srv/broker --federation estrie
  passerelle agent status --dir /srv/police-nord
  passerelle audit tail --dir /srv/oversight --json

Exit codes:
  0  done
  1  refused or denied
  2  usage
  3  failure

Environment:
  PASSERELLE_LOG         what to log to standard error, such as `info` or `passerelle_agent=debug`
  PASSERELLE_LOG_FORMAT  `json` for one JSON object a line";

/// Lets agencies answer each other's precise questions about one person without pooling files.
#[derive(Debug, Parser)]
#[command(name = "passerelle", version, about, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    role: Role,
}

/// Options of every command.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Global {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Language of explained decisions [default: from LC_ALL, LC_MESSAGES or LANG]
    #[arg(long, global = true, value_enum)]
    lang: Option<Lang>,
}

impl Global {
    /// The language of explanations: as asked for, else as the environment says, else English.
    pub(crate) fn lang(&self) -> Lang {
        self.lang.unwrap_or_else(|| {
            ["LC_ALL", "LC_MESSAGES", "LANG"]
                .into_iter()
                .filter_map(|name| std::env::var(name).ok())
                .find(|value| !value.is_empty())
                .map_or(Lang::En, |value| Lang::of_locale(&value))
        })
    }
}

/// Whether a service lives no longer than the process that started it.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Tether {
    /// Stop when the process that started this one ends
    #[arg(long, hide = true)]
    end_with_parent: bool,
}

impl Tether {
    fn tie(self) -> Result<(), Failure> {
        if self.end_with_parent {
            crate::demo::end_with_parent()?;
        }
        Ok(())
    }
}

/// A language in which decisions are explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lang {
    /// English
    En,
    /// French
    Fr,
}

impl Lang {
    fn of_locale(value: &str) -> Self {
        if value == "fr" || value.starts_with("fr_") || value.starts_with("fr.") {
            Self::Fr
        } else {
            Self::En
        }
    }

    /// As the texts of the rules take it.
    pub(crate) const fn language(self) -> passerelle_model::vocabulary::Language {
        match self {
            Self::En => passerelle_model::vocabulary::Language::English,
            Self::Fr => passerelle_model::vocabulary::Language::French,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Run and administer the broker
    Broker(broker::BrokerArgs),
    /// Run an agency's agent, ask, answer, record consent, work cases
    Agent(agent::AgentArgs),
    /// Read the signed log through an agent
    Audit(audit::AuditArgs),
    /// Run a witness outside the federation, for one log or several
    Witness(witness::WitnessArgs),
    /// Check, test and explain the embedded rules
    Policy(policy::PolicyArgs),
    /// Play tabletop exercises on invented people against the rules
    Exercise(exercise::ExerciseArgs),
    /// See it work: five processes, synthetic people, a story in steps
    Demo(crate::demo::DemoArgs),
}

impl Role {
    const fn is_service(&self) -> bool {
        match self {
            Self::Broker(args) => args.is_service(),
            Self::Agent(args) => args.is_service(),
            Self::Witness(args) => args.is_service(),
            Self::Audit(_) | Self::Policy(_) | Self::Exercise(_) | Self::Demo(_) => false,
        }
    }
}

/// Parses the command line, runs the command, reports a failure in one line.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    logging::init(cli.role.is_service());
    let global = cli.global;
    let outcome = runtime(cli.role.is_service())
        .map_err(Failure::from)
        .and_then(|runtime| {
            let outcome = runtime.block_on(dispatch(cli));
            // A task that hangs must not keep a finished command alive.
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
            outcome
        });
    let exit = outcome.unwrap_or_else(|failure| {
        failure.report(global.json);
        failure.exit
    });
    ExitCode::from(exit.code())
}

/// A service keeps half of the processors free for its writer and for what may block: on two, a
/// second thread for the streams would mostly wake up to find nothing left to do, which costs a
/// tenth of an exchange.
fn runtime(is_service: bool) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if is_service && std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let processors = std::thread::available_parallelism();
        let processors = processors.map_or(1, std::num::NonZero::get);
        builder.worker_threads(processors.div_ceil(2));
    }
    builder.enable_all().build()
}

/// Help and version as they are, a mistake too, unless a script reads: that gets its one line.
fn misused(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|arg| arg == "--json");
    if !(wants_json && error.use_stderr()) {
        error.exit();
    }
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let end = text.find("\n\nUsage:");
    let end = end.or_else(|| text.find("\n\nFor more information"));
    let said = end.and_then(|end| text.get(..end)).unwrap_or(text);
    let failure = Failure::usage(said);
    failure.report(true);
    ExitCode::from(failure.exit.code())
}

async fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let Cli { global, role } = cli;
    match role {
        Role::Broker(args) => broker::run(global, args).await,
        Role::Agent(args) => agent::run(global, args).await,
        Role::Witness(args) => witness::run(global, args).await,
        Role::Audit(args) => audit::run(global, args).await,
        Role::Policy(args) => policy::run(global, args),
        Role::Exercise(args) => exercise::run(global, &args),
        Role::Demo(args) => crate::demo::run(global, args).await,
    }
}
