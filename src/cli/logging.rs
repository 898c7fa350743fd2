//! Logging to standard error, so that standard output holds results alone.

use tracing::{Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter,
    filter::filter_fn,
    fmt,
    layer::{Layer as _, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

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
        .from_env_lossy();
    let layer = fmt::layer().with_writer(std::io::stderr);
    let json = std::env::var("PASSERELLE_LOG_FORMAT").is_ok_and(|format| format == "json");
    let layer = if json {
        layer.json().boxed()
    } else {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        layer.with_ansi(terminal).boxed()
    };
    let subscriber = tracing_subscriber::registry()
        .with(layer)
        .with(filter)
        .with(filter_fn(may_be_logged));
    // A second subscriber in one process can only be a test's: it keeps the first.
    let _first_stays = subscriber.try_init();
}

/// The projection's library sees keys and values. Whatever is asked for, also by a directive for
/// one of its modules, it stays silent.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    target != "redb" && !target.starts_with("redb::")
}
