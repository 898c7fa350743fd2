//! Which rules are in force: proposed to all, endorsed by more than half of the members, and only
//! then activated.
//!
//! In scope: the count at each activation. Every member may read these entries, so no entry that
//! an export leaves out explains a count that is short. Out of scope: what the rules say.

use super::{
    fault::{Fault, FaultCode},
    ledger::Ledger,
    report::Check,
};
use passerelle_model::{
    bundle::{BundleTerms, Proposal, needed},
    bytes::Digest,
    ids::AgencyId,
    statement::BundleEndorsement,
};
use std::collections::BTreeMap;

/// The rules in force, and those that wait for endorsements.
#[derive(Debug, Default)]
pub(super) struct Bundles {
    in_force: Option<BundleTerms>,
    proposals: BTreeMap<Digest, Proposal>,
}

impl Bundles {
    /// The federation begins with these.
    pub(super) fn begin(&mut self, bundle: Digest) {
        self.in_force = Some(BundleTerms::founding(bundle));
    }

    /// What an agency that is shut out or has other keys has endorsed counts no more: it has to
    /// endorse again, once it is back or under its present keys.
    pub(super) fn forget(&mut self, agency: &AgencyId) {
        for proposal in self.proposals.values_mut() {
            proposal.endorsed.remove(agency);
        }
    }
}

impl Ledger {
    pub(super) fn bundle_proposed(&mut self, terms: &BundleTerms) -> Result<(), Fault> {
        let now = self.now;
        self.bundles.proposals.retain(|_, p| !p.is_stale(now));
        let malformed = |_| self.fault(FaultCode::Range, "the terms have no canonical form");
        let proposal = Proposal::new(terms.clone(), now, self.index).map_err(malformed)?;
        let proposals = &mut self.bundles.proposals;
        if proposals.insert(terms.bundle, proposal).is_some() {
            let message = "the same rules were proposed before, and wait";
            return Err(self.fault(FaultCode::Duplicate, message));
        }
        Ok(())
    }

    pub(super) fn bundle_endorsed(
        &mut self,
        agency: u32,
        endorsement: &BundleEndorsement,
    ) -> Result<(), Fault> {
        let name = self.member(agency).map(|member| member.name.clone());
        let proposal = self.bundles.proposals.get_mut(&endorsement.bundle);
        let (Some(name), Some(proposal)) = (name, proposal) else {
            let message = "it endorses rules that nobody had proposed";
            return Err(self.fault(FaultCode::WrongState, message));
        };
        if proposal.digest != endorsement.terms {
            let message = "it endorses other terms than those proposed";
            return Err(self.fault(FaultCode::Terms, message));
        }
        proposal.endorsed.insert(name);
        Ok(())
    }

    pub(super) fn bundle_activated(&mut self, bundle: Digest) -> Result<(), Fault> {
        self.bundle = Some((bundle, self.index));
        let proposal = self.bundles.proposals.remove(&bundle);
        // All of them replace what is no longer in force.
        self.bundles.proposals.clear();
        if self.members.iter().all(|member| member.keys.is_none()) {
            // Nobody has joined yet: whoever does will know by which rules.
            self.bundles.begin(bundle);
            return Ok(());
        }
        self.tally.checked(Check::Activation, 1);
        let active = self.members.iter().filter(|member| member.active);
        let members: Vec<AgencyId> = active.map(|member| member.name.clone()).collect();
        let before = self.bundles.in_force.take();
        let Some((proposal, before)) = proposal.zip(before) else {
            let message = format!("the rules `{bundle}` were not proposed to anybody");
            return Err(self.fault(FaultCode::Activation, message));
        };
        let checked = proposal.check(&before, &members, self.now);
        let count = proposal.count(&members);
        self.bundles.in_force = Some(proposal.terms);
        checked.map_err(|code| {
            let message = format!(
                "the rules `{bundle}` were endorsed by {count} of {} members, {} are needed \
                 (`{code}`)",
                members.len(),
                needed(members.len())
            );
            self.fault(FaultCode::Activation, message)
        })
    }
}
