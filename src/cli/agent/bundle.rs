//! `passerelle agent bundle`: the rules in force, what a proposal changes, endorsing it.

use super::{Place, Worker, done_text};
use crate::cli::{
    Global, backend, broker,
    failure::{Exit, Failure},
    output::{self, fields},
    policy,
};
use clap::Subcommand;
use passerelle_model::bytes::Digest;
use passerelle_policies::bundle::Changes;
use passerelle_proto::{
    v1,
    views::{BundleView, Done, RulesStatus},
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show the rules in force and what is proposed, or what one bundle changes
    #[command(after_help = "\
Examples:
  passerelle agent bundle show --dir /srv/police-nord
  passerelle agent bundle show --dir /srv/police-nord \\
    2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 --json")]
    Show {
        #[command(flatten)]
        place: Place,
        /// Digest of a bundle in force or proposed
        #[arg(value_name = "DIGEST", value_parser = policy::bundle_digest)]
        bundle: Option<Digest>,
    },
    /// Endorse a bundle for this agency; once more than half of the agencies have, it is in force
    #[command(after_help = "\
Examples:
  passerelle agent bundle endorse --dir /srv/police-nord \\
    2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881

Look at it first: `passerelle agent bundle show` says the digest of each proposal, which stands for
its rules, what they replace, and from when until when. An endorsement is of that and nothing else;
it is signed and stands in the log. With `endorse_two_people` in agent.toml it leaves once two
workers have given it.")]
    Endorse {
        #[command(flatten)]
        place: Place,
        /// Digest of the proposal
        #[arg(value_name = "PROPOSAL", value_parser = policy::bundle_digest)]
        proposal: Digest,
        #[command(flatten)]
        worker: Worker,
    },
}

pub(super) async fn run(global: Global, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Show { place, bundle } => {
            let mut node = backend::connect(&place.dir).await?;
            let request = v1::ShowBundleRequest {
                bundle: bundle.map_or_else(String::new, |digest| digest.to_hex()),
            };
            let reply = node.show_bundle(request).await;
            if bundle.is_none() {
                let status: RulesStatus = backend::document(reply)?;
                output::print(global, &status, status_text)?;
            } else {
                let view: BundleView = backend::document(reply)?;
                output::print(global, &view, view_text)?;
            }
            Ok(Exit::Done)
        }
        Verb::Endorse {
            place,
            proposal,
            worker,
        } => {
            let mut node = backend::connect(&place.dir).await?;
            let request = v1::BundleRef {
                proposal: proposal.to_hex(),
                worker: worker.name(&place.dir),
            };
            let done: Done = backend::document(node.endorse_bundle(request).await)?;
            done_text(global, &done, "endorsed")
        }
    }
}

/// The rules in force, in a line.
pub(crate) fn in_force_text(status: &RulesStatus) -> String {
    let Some(terms) = &status.in_force else {
        return "not known yet".to_owned();
    };
    let stopped = match (status.stopped.as_deref(), &status.not_endorsed) {
        (_, Some(claimed)) => format!(
            "; THE BROKER WORKS BY {claimed}, which the agencies have not endorsed: nothing is \
             asked or answered"
        ),
        (Some(code), None) => format!("; nothing is asked or answered ({code})"),
        (None, None) => String::new(),
    };
    format!("{} (revision {}){stopped}", terms.bundle, terms.revision)
}

fn status_text(status: &RulesStatus) -> String {
    let head = fields(&[
        ("in force", in_force_text(status)),
        (
            "held here",
            if status.held { "yes" } else { "no" }.to_owned(),
        ),
    ]);
    format!("{head}{}", broker::proposals_text(&status.proposals))
}

fn view_text(view: &BundleView) -> String {
    let terms = &view.terms;
    let head = fields(&[
        ("bundle", terms.bundle.to_hex()),
        (
            "proposal",
            view.proposal.map_or_else(String::new, |p| p.to_hex()),
        ),
        ("revision", terms.revision.to_string()),
        ("replaces", policy::bundle_replaces(terms.previous)),
        (
            "in force",
            match view.in_force {
                true => "now".to_owned(),
                false => policy::bundle_period(terms.not_before, terms.expires_at),
            },
        ),
        ("Cedar language", view.cedar_language.clone()),
        ("rules", view.rules.to_string()),
        ("legal packs in use", view.packs.join(", ")),
    ]);
    if view.in_force {
        return head;
    }
    let changes = Changes {
        added: view.added.clone(),
        removed: view.removed.clone(),
        changed: view.changed.clone(),
        files: view.files.clone(),
    };
    format!(
        "{head}\nAgainst the rules in force:\n{}",
        policy::bundle_changes(&changes)
    )
}
