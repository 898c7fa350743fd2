//! `passerelle audit`: read the signed log through an agent, search it, export it, and decide again
//! what an export says was decided.

mod alerts;
mod replay;
mod search;

use super::{
    Global, backend,
    failure::{Exit, Failure},
    output, render,
};
use clap::{Args, Subcommand};
use passerelle_model::error::ErrorCode;
use passerelle_proto::{v1, views::AuditPage};
use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  passerelle audit tail --dir /srv/oversight
  passerelle audit show --dir /srv/oversight 42
  passerelle audit search --dir /srv/oversight --decision deny --from 2026-11-01
  passerelle audit export --dir /srv/oversight --out log.export
  passerelle-audit verify log.export
  passerelle audit replay log.export
  passerelle audit replay --dir /srv/oversight --mirror")]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the last entries
    #[command(after_help = "\
Examples:
  passerelle audit tail --dir /srv/oversight
  passerelle audit tail --dir /srv/oversight --last 100 --json
  passerelle audit tail --dir /srv/oversight --follow

Entries that name other agencies show as `sealed`; an oversight body reads all.")]
    Tail {
        #[command(flatten)]
        place: Place,
        /// How many
        #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
        last: u32,
        /// Stay, and show new entries as they come
        #[arg(long, short)]
        follow: bool,
    },
    /// Show one entry whole
    #[command(after_help = "\
Examples:
  passerelle audit show --dir /srv/oversight 42")]
    Show {
        #[command(flatten)]
        place: Place,
        /// Index of the entry
        index: u64,
    },
    /// Search the log: by period, agency, purpose, decision, rule, person and more
    #[command(after_help = search::EXAMPLES)]
    Search(Box<search::SearchCommand>),
    /// Show what the agent found not in order in the log; exit code 1 if any is not acknowledged
    #[command(after_help = alerts::EXAMPLES)]
    Alerts(alerts::AlertsCommand),
    /// Write the log with its proofs to one file that anyone can verify offline
    #[command(after_help = "\
Examples:
  passerelle audit export --dir /srv/oversight --out log.export
  passerelle-audit verify log.export
  passerelle audit export --dir /srv/oversight --mirror --openings --out log.export
  passerelle-audit tiles log.export --out /srv/log

With openings (an oversight body's, from the broker always) the file says which entries are about
one person: keep it as personal data.")]
    Export {
        #[command(flatten)]
        place: Place,
        /// Of the mirror too, with what opens whom entries are about: for replays and accounts
        #[arg(long)]
        openings: bool,
        /// The file to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Decide again what an exported log says was decided, by the same rules or by others
    #[command(after_help = replay::EXAMPLES)]
    Replay(replay::ReplayArgs),
}

#[derive(Debug, Args)]
struct Place {
    /// Directory of the agent
    #[arg(long, value_name = "D")]
    dir: PathBuf,
    /// Read the agency's own mirror (oversight), and not the broker; without, the mirror is read
    /// only while the broker can't be
    #[arg(long)]
    mirror: bool,
}

/// How often `tail --follow` asks for new entries.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the command.
pub(super) async fn run(global: Global, args: AuditArgs) -> Result<Exit, Failure> {
    match args.verb {
        Verb::Tail {
            place,
            last,
            follow,
        } => tail(global, &place, last, follow).await?,
        Verb::Show { place, index } => {
            let page = entries(&place, index, index.saturating_add(1), 0).await?;
            let line = page.entries.first().ok_or_else(|| {
                Failure::coded(
                    ErrorCode::OutOfRange,
                    Some(format!("the log has {} entries", page.size)),
                )
            })?;
            output::print(global, line, render::audit_entry)?;
        }
        Verb::Search(command) => search::run(global, *command).await?,
        Verb::Export {
            place,
            openings,
            out,
        } => {
            let size_bytes = export(&place, openings, &out).await?;
            let done = serde_json::json!({ "out": out, "size_bytes": size_bytes });
            output::print(global, &done, |_| {
                format!(
                    "{size_bytes} bytes; check with: passerelle-audit verify {}",
                    out.display()
                )
            })?;
        }
        Verb::Alerts(command) => return alerts::run(global, command).await,
        Verb::Replay(args) => return replay::run_any(global, &args).await,
    }
    Ok(Exit::Done)
}

async fn entries(place: &Place, from: u64, until: u64, last: u32) -> Result<AuditPage, Failure> {
    let mut node = backend::connect(&place.dir).await?;
    let request = v1::AuditEntriesRequest {
        from,
        until,
        last,
        mirror: place.mirror,
    };
    backend::document(node.audit_entries(request).await)
}

async fn tail(global: Global, place: &Place, last: u32, follow: bool) -> Result<(), Failure> {
    let mut page = entries(place, 0, 0, last).await?;
    output::print(global, &page, render::audit_page)?;
    let mut next = page.entries.last().map_or(0, |line| line.index + 1);
    if !follow {
        return Ok(());
    }
    loop {
        tokio::select! {
            _interrupted = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
        }
        page = entries(place, next, 0, 0).await?;
        // A page starts at `from` or is empty; anything else was shown before.
        page.entries.retain(|line| line.index >= next);
        for line in &page.entries {
            output::print(global, line, render::audit_line)?;
            next = line.index + 1;
        }
    }
}

/// Writes the export beside `out` and renames it, so that `out` is whole or absent.
async fn export(place: &Place, openings: bool, out: &Path) -> Result<u64, Failure> {
    let folder = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file =
        tempfile::NamedTempFile::new_in(folder).map_err(|e| Failure::file(folder, &e))?;
    let size_bytes = fetch(place, openings, file.as_file_mut(), out).await?;
    file.as_file()
        .sync_all()
        .and_then(|()| file.persist(out).map(drop).map_err(|e| e.error))
        .map_err(|e| Failure::file(out, &e))?;
    Ok(size_bytes)
}

/// Writes the export to `file`, which an error calls `name`; how many bytes.
async fn fetch(
    place: &Place,
    openings: bool,
    file: &mut File,
    name: &Path,
) -> Result<u64, Failure> {
    let mut node = backend::connect(&place.dir).await?;
    let request = v1::AuditExportRequest {
        mirror: place.mirror,
        openings,
    };
    let mut chunks = node.audit_export(request).await?.into_inner();
    let mut size_bytes = 0_u64;
    while let Some(chunk) = chunks.message().await? {
        file.write_all(&chunk.data)
            .map_err(|e| Failure::file(name, &e))?;
        size_bytes = size_bytes.saturating_add(chunk.data.len() as u64);
    }
    Ok(size_bytes)
}
