//! `passerelle audit alerts`: what an agent found not in order in the log.

use crate::cli::{
    Global, backend,
    failure::{Exit, Failure},
    output,
};
use clap::Args;
use passerelle_proto::{v1, views::AlertView};
use std::{fmt::Write as _, path::PathBuf};

pub(super) const EXAMPLES: &str = "\
Examples:
  passerelle audit alerts --dir /srv/oversight
  passerelle audit alerts --dir /srv/oversight --acknowledge 3
  passerelle audit alerts --dir /srv/oversight --json

An alert stays until somebody acknowledges it, and is kept after that.
Exit code 1: there is one that nobody has acknowledged.";

#[derive(Debug, Args)]
pub(super) struct AlertsCommand {
    /// Directory of the agent
    #[arg(long, value_name = "D")]
    dir: PathBuf,
    /// Note that somebody has looked at this one; may be repeated
    #[arg(long, value_name = "N")]
    acknowledge: Vec<u64>,
}

/// Runs the command.
pub(super) async fn run(global: Global, command: AlertsCommand) -> Result<Exit, Failure> {
    let AlertsCommand { dir, acknowledge } = command;
    let mut node = backend::connect(&dir).await?;
    let request = v1::AuditAlertsRequest { acknowledge };
    let alerts: Vec<AlertView> = backend::document(node.audit_alerts(request).await)?;
    output::print(global, &alerts, |alerts| text(alerts))?;
    Ok(match alerts.iter().any(|a| a.acknowledged_at.is_none()) {
        true => Exit::Refused,
        false => Exit::Done,
    })
}

fn text(alerts: &[AlertView]) -> String {
    if alerts.is_empty() {
        return "no alerts".to_owned();
    }
    let mut out = String::new();
    for alert in alerts {
        let done = alert.acknowledged_at.map_or_else(
            || "to look at".to_owned(),
            |at| format!("acknowledged {}", at.to_rfc3339()),
        );
        let (id, at, code) = (alert.id, alert.at.to_rfc3339(), &alert.code);
        // Writing to a string can't fail.
        let _infallible = writeln!(out, "{id}  {at}  {code}  ({done})");
        let _infallible = writeln!(out, "   {}", alert.what);
        if let Some(proof) = &alert.proof {
            let _infallible = writeln!(out, "   proof: {proof}");
        }
        let _infallible = writeln!(out, "   to do: {}", alert.what_to_do);
    }
    out
}
