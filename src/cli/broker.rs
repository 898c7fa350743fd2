//! `passerelle broker`: found a federation, serve it, invite and revoke agencies.

use super::{
    Global, Tether, backend,
    failure::{Exit, Failure},
    output::{self, fields, table},
    policy,
};
use clap::{Args, Subcommand};
use passerelle_broker::succession::{Newest, Succeeded};
use passerelle_model::{
    bytes::Digest,
    entry::TreeHead,
    ids::{AgencyId, FederationId},
    panel::Panel,
    time::Timestamp,
    vocabulary::Sector,
};
use passerelle_proto::views::{BrokerStatus, BundleProposal, OutsideWitness};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

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
    /// Go on from an older copy of the log, under a new origin that each agency has to accept
    #[command(after_help = "\
Examples:
  passerelle broker supersede --dir /srv/broker --members police-nord,sante-centre \\
    --newest 41322:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 \\
    --out new-origin.json
  passerelle broker supersede --dir /srv/broker --members police-nord,sante-centre \\
    --note checkpoint.txt --out new-origin.json

For a broker whose newest journal is lost for good. Restore the copy, do not start it, and run this.
Whoever is not named is shut out. `passerelle agent status` shows how many entries each agency has
cosigned, and their root: name the most. Then every agency accepts the file that this writes, with
`passerelle agent accept-origin`, and says again what was lost; until all have, nobody asks.")]
    Supersede {
        #[command(flatten)]
        place: Place,
        /// Who is a member from here on, separated by commas
        #[arg(long, value_name = "AGENCIES", value_delimiter = ',', required = true)]
        members: Vec<AgencyId>,
        #[command(flatten)]
        newest: NewestArgs,
        /// Where to write the announcement for the agencies
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Write the announcement of the present origin once more
    #[command(after_help = "\
Examples:
  passerelle broker announce --dir /srv/broker --out new-origin.json")]
    Announce {
        #[command(flatten)]
        place: Place,
        /// Where to write it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
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

/// What an agency is known to have cosigned last, of all agencies the most.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct NewestArgs {
    /// How many entries, and their root in hexadecimal
    #[arg(long, value_name = "SIZE:ROOT", value_parser = tree_head)]
    newest: Option<TreeHead>,
    /// The checkpoint itself, a signed note in a file
    #[arg(long, value_name = "FILE")]
    note: Option<PathBuf>,
}

impl NewestArgs {
    fn read(self) -> Result<Newest, Failure> {
        if let Some(head) = self.newest {
            return Ok(Newest::Head(head));
        }
        let note = self.note.unwrap_or_default();
        let text = std::fs::read_to_string(&note);
        text.map(Newest::Note).map_err(|e| Failure::file(&note, &e))
    }
}

fn tree_head(text: &str) -> Result<TreeHead, String> {
    let parsed = text.split_once(':').and_then(|(size, root)| {
        let (size, root) = (size.parse().ok()?, Digest::from_hex(root).ok()?);
        Some(TreeHead { size, root })
    });
    parsed.ok_or_else(|| "expected SIZE:ROOT, as `passerelle agent status` shows them".to_owned())
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
        Verb::Supersede {
            place,
            members,
            newest,
            out,
        } => {
            let newest = newest.read()?;
            let done = backend::broker_supersede(&place.dir, newest, members).await?;
            announced(global, &done, &out)?;
        }
        Verb::Announce { place, out } => {
            let done = backend::broker_announce(&place.dir).await?;
            announced(global, &done, &out)?;
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

/// Writes the announcement, and says what to do with it.
fn announced(global: Global, done: &Succeeded, out: &Path) -> Result<(), Failure> {
    std::fs::write(out, &done.announcement).map_err(|e| Failure::file(out, &e))?;
    let view = serde_json::json!({
        "origin": done.origin,
        "key": done.key,
        "index": done.index,
        "announcement": out,
    });
    output::print(global, &view, |_| {
        format!(
            "the log goes on under the origin `{}` (log entry {}); its key, to compare by telephone:\n\
             {}\nstart the broker, and have every agency stop its agent and type:\n  \
             passerelle agent accept-origin --dir D {}",
            done.origin,
            done.index,
            done.key,
            out.display()
        )
    })
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
        ("origin", origin_text(status)),
    ]);
    let members = table(
        ["agency", "sector", "member", "connected", "waiting"],
        &rows,
        "no members yet: passerelle broker invite --dir D AGENCY --sector S",
    );
    let proposals = proposals_text(&status.proposals);
    format!("{head}{proposals}\n{members}{}", outside_text(status))
}

fn origin_text(status: &BrokerStatus) -> String {
    let mut text = status.origin.clone();
    if !status.awaited.is_empty() {
        text.push_str("; nobody asks until these have accepted it: ");
        text.push_str(&status.awaited.join(", "));
    }
    if !status.unheard.is_empty() {
        text.push_str("; consents from before it are void, since these left without accepting: ");
        text.push_str(&status.unheard.join(", "));
    }
    text
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
