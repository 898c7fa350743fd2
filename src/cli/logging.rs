//! Logging to standard error, so that standard output holds results alone.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, filter::Directive};

/// Starts logging as `PASSERELLE_LOG` and `PASSERELLE_LOG_FORMAT` say. By default a service logs
/// what it does, any other command only warnings.
pub(super) fn init(service: bool) {
    let level = if service {
        LevelFilter::INFO
    } else {
        LevelFilter::WARN
    };
    let filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .with_env_var("PASSERELLE_LOG")
        .from_env_lossy()
        // The projection's library writes keys and values into its traces: whatever level is
        // asked for, it stays silent.
        .add_directive(silent("sled"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let json = std::env::var("PASSERELLE_LOG_FORMAT").is_ok_and(|format| format == "json");
    // A second subscriber in one process can only be a test's: it keeps the first.
    let _first_stays = if json {
        builder.json().try_init()
    } else {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        builder.with_ansi(terminal).try_init()
    };
}

fn silent(target: &str) -> Directive {
    // A directive of a fixed, well-formed text; were it not, everything would be silent.
    format!("{target}=off").parse().unwrap_or_else(|_| LevelFilter::OFF.into())
}
