//! `passerelle broker`: found a federation, serve it, invite and revoke agencies.

use super::{
    Global, Tether, backend,
    failure::{Exit, Failure},
    output::{self, fields, table},
    policy,
};
use clap::{Args, Subcommand};
use passerelle_model::{
    ids::{AgencyId, FederationId},
    panel::Panel,
    time::Timestamp,
    vocabulary::Sector,
};
use passerelle_proto::views::{BrokerStatus, BundleProposal, OutsideWitness};
use std::{net::SocketAddr, path::PathBuf};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  passerelle broker init --dir /srv/broker --federation estrie
  passerelle broker serve --dir /srv/broker --listen 0.0.0.0:7443
  passerelle broker invite --dir /srv/broker police-nord --sector law_enforcement")]
pub(crate) struct BrokerArgs {
    #[command(subcommand)]
    verb: Verb,
}

impl BrokerArgs {
    /// Whether the command runs until it is told to stop.
    pub(super) const fn is_service(&self) -> bool {
        matches!(self.verb, Verb::Serve { .. })
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a new federation: keys, certificate authority, the first entries of the log
    #[command(after_help = "\
Examples:
  passerelle broker init --dir /srv/broker --federation estrie")]
    Init {
        #[command(flatten)]
        place: Place,
        /// Public name: 2 to 40 lower-case letters, digits and inner hyphens
        #[arg(long, value_name = "NAME")]
        federation: FederationId,
        /// How many members, those of longest standing, witness for all: 1 to 32, fixed for good
        #[arg(long, value_name = "SEATS", default_value_t)]
        witnesses: Panel,
    },
    /// Serve the federation until SIGINT or SIGTERM
    #[command(after_help = "\
Examples:
  passerelle broker serve --dir /srv/broker --listen 0.0.0.0:7443")]
    Serve {
        #[command(flatten)]
        place: Place,
        /// Address and port for the agents
        #[arg(long, value_name = "ADDR")]
        listen: SocketAddr,
        #[command(flatten)]
        tether: Tether,
    },
    /// Make a one-time invitation for an agency and print it
    #[command(after_help = "\
Examples:
  passerelle broker invite --dir /srv/broker police-nord --sector law_enforcement
  passerelle broker invite --dir /srv/broker sante-centre --sector health --valid 3600

The invitation is secret until it is used: hand it over on a channel that you trust.")]
    Invite {
        #[command(flatten)]
        place: Place,
        /// Public name of the agency
        agency: AgencyId,
        /// Its sector
        #[arg(long)]
        sector: Sector,
        /// Seconds until the invitation expires
        #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
        valid: u64,
    },
    /// Shut an agency out: its certificate, its live connections, its open requests
    #[command(after_help = "\
Examples:
  passerelle broker revoke --dir /srv/broker police-nord")]
    Revoke {
        #[command(flatten)]
        place: Place,
        /// Public name of the agency
        agency: AgencyId,
    },
    /// Change the rules: propose a bundle, which more than half of the agencies have to endorse
    #[command(after_help = "\
Examples:
  passerelle broker bundle propose --dir /srv/broker next.bundle

`passerelle policy bundle build` makes such a file, `passerelle broker status` shows who has
endorsed it. Once enough have, it is in force by itself.")]
    Bundle(BundleArgs),
    /// Show the log's size, the witnesses and the members
    #[command(after_help = "\
Examples:
  passerelle broker status --dir /srv/broker
  passerelle broker status --dir /srv/broker --json")]
    Status {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Args)]
struct BundleArgs {
    #[command(subcommand)]
    verb: BundleVerb,
}

#[derive(Debug, Subcommand)]
enum BundleVerb {
    /// Check a bundle file, keep it, and propose it to the agencies
    #[command(after_help = "\
Examples:
  passerelle broker bundle propose --dir /srv/broker next.bundle")]
    Propose {
        #[command(flatten)]
        place: Place,
        /// The bundle file
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Place {
    /// Directory of the broker
    #[arg(long, value_name = "D")]
    dir: PathBuf,
}

/// Runs the command.
pub(super) async fn run(global: Global, args: BrokerArgs) -> Result<Exit, Failure> {
    match args.verb {
        Verb::Init {
            place,
            federation,
            witnesses,
        } => {
            backend::broker_init(&place.dir, &federation, witnesses)?;
            let done = serde_json::json!({ "federation": federation, "dir": place.dir });
            output::print(global, &done, |_| {
                format!(
                    "federation `{federation}` is ready; next: passerelle broker serve --dir {} \
                     --listen ADDR",
                    place.dir.display()
                )
            })?;
        }
        Verb::Serve {
            place,
            listen,
            tether,
        } => {
            tether.tie()?;
            backend::broker_serve(&place.dir, listen).await?;
        }
        Verb::Invite {
            place,
            agency,
            sector,
            valid,
        } => {
            let invited = backend::broker_invite(&place.dir, &agency, sector, valid).await?;
            let done = serde_json::json!({
                "agency": agency,
                "sector": sector,
                "token": invited.token,
                "expires_at": invited.expires_at_ms,
                "index": invited.index,
            });
            let expires = Timestamp(invited.expires_at_ms).to_rfc3339();
            output::print(global, &done, |_| {
                format!(
                    "{}\n\nfor `{agency}` ({sector}), once, until {expires}; the agency types:\n  \
                     passerelle agent enrol --dir D --broker ADDR --token TOKEN",
                    invited.token
                )
            })?;
        }
        Verb::Revoke { place, agency } => {
            let (index, cut) = backend::broker_revoke(&place.dir, &agency).await?;
            let done = serde_json::json!({
                "agency": agency,
                "index": index,
                "connections_cut": cut,
            });
            output::print(global, &done, |_| {
                format!("`{agency}` is revoked (log entry {index}); live connections cut: {cut}")
            })?;
        }
        Verb::Bundle(BundleArgs {
            verb: BundleVerb::Propose { place, file },
        }) => {
            let bytes = policy::bundle_file(&file)?;
            let proposed = backend::broker_propose_bundle(&place.dir, bytes).await?;
            let done = serde_json::json!({
                "bundle": proposed.bundle,
                "index": proposed.index,
            });
            output::print(global, &done, |_| {
                format!(
                    "bundle {bundle} is proposed (log entry {}); each agency now types:\n  \
                     passerelle agent bundle show --dir D {bundle}\n  \
                     passerelle agent bundle endorse --dir D PROPOSAL  (its digest, as shown)",
                    proposed.index,
                    bundle = proposed.bundle,
                )
            })?;
        }
        Verb::Status { place } => {
            let (status, running) = backend::broker_status(&place.dir).await?;
            output::print(global, &status, |status| status_text(status, running))?;
        }
    }
    Ok(Exit::Done)
}

fn published_text(status: &BrokerStatus) -> String {
    let text = cosigned_text(status);
    let needed = status.outside_required;
    match &status.waits_for_outside {
        Some(wait) => format!(
            "{text}; {} entries wait for outside witnesses: {} of the {needed} that must cosign \
             have, and no permit leaves before",
            wait.size, wait.have
        ),
        None if needed > 0 => format!("{text}, and by at least {needed} outside witnesses"),
        None => text,
    }
}

fn cosigned_text(status: &BrokerStatus) -> String {
    match &status.old_copy {
        None => format!(
            "{} entries, cosigned by at least {} of {} witnesses",
            status.published_size, status.quorum, status.witnesses
        ),
        Some(seen) => format!(
            "nothing: `{}` has cosigned {} entries, so this is an old copy; put the newest journal \
             in its place",
            seen.agency, seen.size
        ),
    }
}

fn status_text(status: &BrokerStatus, running: bool) -> String {
    let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let rows: Vec<[String; 5]> = status
        .members
        .iter()
        .map(|member| {
            [
                member.agency.clone(),
                member.sector.clone(),
                yes_no(member.active),
                yes_no(member.connected),
                member.waiting.to_string(),
            ]
        })
        .collect();
    let head = fields(&[
        ("federation", status.federation.clone()),
        ("runs", yes_no(running)),
        ("version", status.version.clone()),
        ("log entries", status.log_size.to_string()),
        ("published", published_text(status)),
        ("policy bundle", bundle_text(status)),
    ]);
    let members = table(
        ["agency", "sector", "member", "connected", "waiting"],
        &rows,
        "no members yet: passerelle broker invite --dir D AGENCY --sector S",
    );
    let proposals = proposals_text(&status.proposals);
    format!("{head}{proposals}\n{members}{}", outside_text(status))
}

fn bundle_text(status: &BrokerStatus) -> String {
    let end = status.bundle_expires_at;
    let end = end.map_or_else(String::new, |at| format!(", until {}", at.to_rfc3339()));
    format!(
        "{} (revision {}{end})",
        status.bundle, status.bundle_revision
    )
}

/// Bundles that wait for the agencies; nothing if there are none.
pub(super) fn proposals_text(proposals: &[BundleProposal]) -> String {
    let line = |p: &BundleProposal| {
        format!(
            "proposed: {} (revision {}{}), endorsed by {} of {} needed: {}\n",
            p.terms.bundle,
            p.terms.revision,
            p.proposal
                .map_or_else(String::new, |digest| format!(", proposal {digest}")),
            p.endorsed,
            p.needed,
            match p.endorsed_by.as_slice() {
                [] => "nobody yet".to_owned(),
                some => some.join(", "),
            }
        )
    };
    proposals.iter().map(line).collect()
}

/// Nothing if there are none.
fn outside_text(status: &BrokerStatus) -> String {
    let row = |w: &OutsideWitness| {
        let at = w.cosigned_at_ms.map(|at| Timestamp(at).to_rfc3339());
        let error = w.error.clone();
        [
            w.name.clone(),
            w.size.to_string(),
            at.unwrap_or_else(|| "never since the start".to_owned()),
            error.unwrap_or_else(|| "none".to_owned()),
        ]
    };
    let rows: Vec<_> = status.outside_witnesses.iter().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let head = ["outside witness", "cosigned", "when", "trouble"];
    format!("\n{}", table(head, &rows, ""))
}
