//! What is looked for, as it is typed: the same for a running agent and for a file.

use super::{Bound, Kind, Limits, MAX_FOUND, Query, effect};
use clap::Args;
use passerelle_model::{
    ids::{AgencyId, AgreementId, CaseId, ConsentId, RequestId},
    pdp::Effect,
    vocabulary::{Category, LegalBasis, Purpose},
};

/// The arguments of a search. Each may be repeated: of several values an entry must have one.
#[derive(Args, Clone, Debug)]
pub struct SearchArgs {
    /// Sequenced on this day or later, or at this instant (UTC)
    #[arg(long, value_name = "DAY|TIME")]
    from: Option<Bound>,
    /// Sequenced on this day or earlier, or before this instant (UTC)
    #[arg(long, value_name = "DAY|TIME")]
    until: Option<Bound>,
    /// An agency that has a part in it
    #[arg(long, value_name = "AGENCY")]
    agency: Vec<AgencyId>,
    /// The agency that asked
    #[arg(long, value_name = "AGENCY")]
    requester: Vec<AgencyId>,
    /// The agency that was asked
    #[arg(long, value_name = "AGENCY")]
    holder: Vec<AgencyId>,
    /// What for
    #[arg(long, value_name = "CODE")]
    purpose: Vec<Purpose>,
    /// The basis in law that was stated
    #[arg(long, value_name = "CODE")]
    basis: Vec<LegalBasis>,
    /// What about
    #[arg(long, value_name = "CODE")]
    category: Vec<Category>,
    /// How it was decided: permit, review, deny
    #[arg(long, value_name = "CODE", value_parser = effect)]
    decision: Vec<Effect>,
    /// A rule that decided
    #[arg(long, value_name = "ID")]
    rule: Vec<String>,
    /// The worker who asked, where the reader may know
    #[arg(long, value_name = "ID")]
    worker: Vec<String>,
    /// A case
    #[arg(long, value_name = "ID")]
    case: Vec<CaseId>,
    /// A request: all entries about it
    #[arg(long, value_name = "ID")]
    request: Vec<RequestId>,
    /// A consent: what records it, withdraws it or rests on it
    #[arg(long, value_name = "ID")]
    consent: Vec<ConsentId>,
    /// An agreement: what proposes it, signs it or rests on it
    #[arg(long, value_name = "ID")]
    agreement: Vec<AgreementId>,
    /// The type of the entry, or of the statement in it
    #[arg(long = "type", value_name = "CODE")]
    kind: Vec<Kind>,
    /// Only what comes after this index: for the next page
    #[arg(long, value_name = "INDEX")]
    after: Option<u64>,
    /// Show at most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = limit)]
    limit: usize,
    /// Print only how many there are
    #[arg(long)]
    pub count: bool,
}

fn limit(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (1..=MAX_FOUND).contains(n));
    number.ok_or_else(|| format!("expected a number from 1 to {MAX_FOUND}"))
}

impl SearchArgs {
    /// What is looked for, but for the person.
    pub fn query(&self) -> Query {
        let Self {
            from,
            until,
            agency,
            requester,
            holder,
            purpose,
            basis,
            category,
            decision,
            rule,
            worker,
            case,
            request,
            consent,
            agreement,
            kind,
            after: _,
            limit: _,
            count: _,
        } = self.clone();
        Query {
            from: from.map(Bound::from),
            until: until.map(Bound::until),
            agencies: agency.into_iter().collect(),
            requesters: requester.into_iter().collect(),
            holders: holder.into_iter().collect(),
            purposes: purpose.into_iter().collect(),
            bases: basis.into_iter().collect(),
            categories: category.into_iter().collect(),
            decisions: decision.into_iter().collect(),
            rules: rule.into_iter().collect(),
            workers: worker.into_iter().collect(),
            cases: case.into_iter().collect(),
            requests: request.into_iter().collect(),
            consents: consent.into_iter().collect(),
            agreements: agreement.into_iter().collect(),
            kinds: kind.into_iter().collect(),
            persons: std::collections::BTreeSet::new(),
        }
    }

    /// How much of what is found is shown.
    pub const fn limits(&self) -> Limits {
        Limits {
            after: self.after,
            most: self.limit,
        }
    }
}
