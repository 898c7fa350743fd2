//! Bundles of rules: what is in force and proposed, what a proposal changes, endorsing it.

use super::{Reply, document, input, refused, say};
use crate::{event::Event, holder::storage, node::Node, rules};
use passerelle_model::{
    bundle::{BundleTerms, Proposal, needed},
    bytes::Digest,
    error::ErrorCode,
    statement::{Body, BundleEndorsement},
};
use passerelle_policies::bundle::changes;
use passerelle_proto::{v1, views};
use tonic::Status;

/// The rules, as this agent knows them.
pub(super) fn status(node: &Node) -> Result<views::RulesStatus, ErrorCode> {
    let view = node.core.view();
    let rules = rules::rules(view).map_err(storage)?;
    let members = rules::endorsers(view).map_err(storage)?;
    let bundles = &node.context.bundles;
    let shown = |proposal: Proposal| views::BundleProposal {
        endorsed: proposal.count(&members) as u64,
        needed: needed(members.len()) as u64,
        endorsed_by: proposal.endorsed.iter().map(ToString::to_string).collect(),
        proposed_at: proposal.at,
        held: Some(bundles.holds(&proposal.terms)),
        proposal: Some(proposal.digest),
        terms: proposal.terms,
    };
    let proposals = rules::proposals(view).map_err(storage)?.into_iter();
    let usable = bundles.usable(&rules, node.clock.now());
    let in_force = rules.in_force.as_ref();
    Ok(views::RulesStatus {
        held: in_force.is_some_and(|terms| bundles.holds(terms)),
        not_endorsed: rules
            .claimed
            .filter(|claimed| in_force.is_some_and(|terms| terms.bundle != *claimed)),
        stopped: usable.err().map(|code| code.code().to_owned()),
        proposals: proposals.map(shown).collect(),
        in_force: rules.in_force,
    })
}

fn digest(text: &str) -> Result<Digest, Status> {
    Digest::from_hex(text).map_err(|e| super::refuse(ErrorCode::OutOfRange, e))
}

/// The terms of the bundle with this digest, in force or proposed, with those in force.
fn terms_of(node: &Node, bundle: &Digest) -> Result<(BundleTerms, BundleTerms), ErrorCode> {
    let view = node.core.view();
    let in_force = rules::rules(view).map_err(storage)?.in_force;
    let in_force = in_force.ok_or(ErrorCode::BundleNotHeld)?;
    if in_force.bundle == *bundle {
        return Ok((in_force.clone(), in_force));
    }
    let proposal = rules::proposal(view, bundle).map_err(storage)?;
    let proposal = proposal.ok_or(ErrorCode::UnknownBundle)?;
    Ok((proposal.terms, in_force))
}

pub(super) async fn show(node: &Node, request: v1::ShowBundleRequest) -> Reply {
    if request.bundle.is_empty() {
        return document(&status(node).map_err(refused)?);
    }
    let bundle = digest(&request.bundle)?;
    let (terms, in_force) = terms_of(node, &bundle).map_err(refused)?;
    let context = node.context.clone();
    // Loading validates every rule, which takes a while.
    let view = tokio::task::spawn_blocking(move || {
        let bundles = &context.bundles;
        let (new, old) = (bundles.read(&terms)?, bundles.read(&in_force)?);
        let load = |bundle: &passerelle_policies::Bundle| {
            bundle.load().map_err(|_| ErrorCode::BundleNotHeld)
        };
        let (of_new, of_old) = (load(&new)?, load(&old)?);
        let library = of_new.library();
        let differs = changes((&old, of_old.library()), (&new, library));
        let packs = library.packs().values().filter(|pack| pack.active);
        let is_in_force = terms.bundle == in_force.bundle;
        Ok(views::BundleView {
            proposal: terms.digest().ok().filter(|_| !is_in_force),
            in_force: is_in_force,
            cedar_language: new.language().to_owned(),
            rules: library.rules().len() as u64,
            packs: packs.map(|pack| pack.id.clone()).collect(),
            added: differs.added,
            removed: differs.removed,
            changed: differs.changed,
            files: differs.files,
            terms,
        })
    });
    let view = view.await.map_err(|_| refused(ErrorCode::Internal))?;
    document(&view.map_err(refused)?)
}

/// Whether a worker is the first of this agency to endorse a proposal, which is noted.
async fn is_first(node: &Node, worker: &str, proposal: Digest) -> Result<bool, Status> {
    let worker = input::worker(node, worker)?.id;
    let first = rules::first_to_endorse(node.core.view(), &proposal);
    match first.map_err(|e| refused(storage(e)))? {
        Some(first) if first != worker => return Ok(false),
        Some(_) => {
            return Err(super::refuse(
                ErrorCode::NotIndependent,
                "this worker has endorsed it already: another has to do the same \
                 (`endorse_two_people` in agent.toml)",
            ));
        }
        None => {}
    }
    let noted = vec![Event::EndorsementAsked { proposal, worker }];
    let journaled = node.core.write(node.clock.now(), move |_| Ok((noted, ())));
    journaled.await.map_err(refused)?;
    Ok(true)
}

pub(super) async fn endorse(node: &Node, request: v1::BundleRef) -> Reply {
    let wanted = digest(&request.proposal)?;
    let all = rules::proposals(node.core.view()).map_err(|e| refused(storage(e)))?;
    // The rules alone are not what is endorsed: under them the operator could propose other terms.
    if let Some(proposal) = all.iter().find(|p| p.terms.bundle == wanted) {
        let proposal = proposal.digest;
        return Err(super::refuse(
            ErrorCode::UnknownBundle,
            format!(
                "this names rules, not a proposal of them; look at `agent bundle show {wanted}`, \
                 and endorse the proposal by its own digest, {proposal}"
            ),
        ));
    }
    let proposal = all.into_iter().find(|p| p.digest == wanted);
    let proposal = proposal.ok_or_else(|| refused(ErrorCode::UnknownBundle))?;
    let bundle = proposal.terms.bundle;
    // Only what is held here, and passed every check, can be endorsed.
    if !node.context.bundles.holds(&proposal.terms) {
        return Err(refused(ErrorCode::BundleNotHeld));
    }
    if node.context.config.endorse_two_people && is_first(node, &request.worker, wanted).await? {
        return document(&views::Done {
            id: wanted.to_hex(),
            index: None,
            status: "awaits_second".to_owned(),
        });
    }
    let body = Body::BundleEndorsement(BundleEndorsement {
        bundle,
        terms: proposal.digest,
    });
    say(node, bundle.to_hex(), body, Vec::new(), Vec::new()).await
}
