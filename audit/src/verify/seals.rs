//! Daily seals: whom each entry reached, counted again from the entries alone.
//!
//! The rule of whom an entry reaches is that of the model's `apply`, said once more here from what
//! the ledger knows, so that a broker that counts otherwise than it must is found out.

use super::{
    fault::{Fault, FaultCode},
    ledger::{Agency, Id, Ledger, Request, Since, id},
    report::Check,
    row::{Readable, Said},
};
use passerelle_model::{
    bytes::Commitment,
    entry::EntryBody,
    ids::{AgencyId, RequestId},
    request::Status,
    seal::{Counts, MAX_SEALED},
    statement::{Body, CaseAdvance},
    vocabulary::Stage,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most entries that are remembered for a seal to come: four times what one may cover. A log that
/// is older than seals has more of them before its first.
const MAX_REMEMBERED: usize = 4 * 65_536;

/// Whom the entries reached that no seal covers yet.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// The first index that no seal covers.
    from: u64,
    rows: VecDeque<(u64, Box<[Agency]>)>,
    /// The first index that is remembered still.
    remembered_from: u64,
    /// The seal of which more parts may follow.
    part: Option<Part>,
    /// Whether there was a seal before.
    begun: bool,
}

/// A seal whose parts follow one another.
#[derive(Debug)]
struct Part {
    range: (u64, u64),
    /// The members when it began.
    members: BTreeSet<Agency>,
    /// Those who have been told a count.
    named: BTreeSet<Agency>,
}

impl Reached {
    fn add(&mut self, index: u64, whom: Vec<Agency>) {
        if whom.is_empty() {
            return;
        }
        self.rows.push_back((index, whom.into_boxed_slice()));
        if self.rows.len() > MAX_REMEMBERED
            && let Some((index, _)) = self.rows.pop_front()
        {
            self.remembered_from = index.saturating_add(1);
        }
    }
}

impl Ledger {
    /// Notes whom the present entry reaches; to be called once it has been taken in.
    pub(super) fn note_reached(&mut self, readable: &Readable) {
        let whom = match &readable.entry.body {
            EntryBody::Founded { .. }
            | EntryBody::BundleActivated { .. }
            | EntryBody::BundleProposed { .. }
            | EntryBody::Invited { .. }
            | EntryBody::Enrolled { .. }
            | EntryBody::Revoked { .. }
            | EntryBody::Supersedes(_) => Vec::new(),
            EntryBody::Said { .. } => readable
                .said
                .as_ref()
                .map_or_else(Vec::new, |said| self.reached_by_said(said)),
            EntryBody::Refused { agency, .. } | EntryBody::HandlesEvaluated { agency, .. } => {
                vec![self.agency(agency)]
            }
            EntryBody::Decided { request, .. } => self.parties(request, |row| {
                row.had_permit && row.status == Status::Denied
            }),
            EntryBody::Offered { permit } => self.parties(&permit.request, |_| true),
            EntryBody::Recalled { request, .. } => self.parties(request, |_| true),
            EntryBody::Stopped { request, .. } | EntryBody::Expired { request } => {
                self.parties(request, |row| row.had_permit)
            }
            EntryBody::WithdrawalCarriedOut { consent } => self.named_in(id(consent.as_str())),
            EntryBody::Sealed { counts, .. } => counts.keys().map(|a| self.agency(a)).collect(),
        };
        self.reached.add(self.index, whom);
    }

    fn reached_by_said(&mut self, said: &Said) -> Vec<Agency> {
        let agency = self.agency(&said.statement.agency);
        match &said.statement.body {
            Body::Request(_) | Body::Renewal(_) | Body::Resumption(_) => vec![agency],
            Body::Answer(answer) => self.parties(&answer.request, |_| true),
            Body::Receipt(receipt) => self.parties(&receipt.request, |_| true),
            Body::OverrideReview(review) => self.parties(&review.request, |_| true),
            Body::Consent(terms) => self.named_in(id(terms.consent.as_str())),
            Body::Withdrawal(withdrawal) => self.named_in(id(withdrawal.consent.as_str())),
            Body::Agreement(terms) => self.parties_of(id(terms.agreement.as_str())),
            Body::AgreementSignature(signature) => {
                self.parties_of(id(signature.agreement.as_str()))
            }
            Body::AgreementChange(change) => self.parties_of(id(change.agreement.as_str())),
            Body::CaseOpening(opening) => self.present(id(opening.case.as_str())),
            Body::CaseAdvance(advance) => self.leaves(advance),
            // As a membership entry: it reaches everybody, and is not counted.
            Body::BundleEndorsement(_) => Vec::new(),
        }
    }

    /// The requester, and the holder if it hears of it.
    fn parties(&self, request: &RequestId, holder_hears: impl Fn(&Request) -> bool) -> Vec<Agency> {
        let Some(row) = self.requests.get(&id(request.as_str())) else {
            return Vec::new();
        };
        let holder = row.holder.filter(|_| holder_hears(row));
        row.requester.into_iter().chain(holder).collect()
    }

    fn named_in(&self, consent: Id) -> Vec<Agency> {
        let Some(consent) = self.consents.get(&consent) else {
            return Vec::new();
        };
        let lists = consent.recipients.iter().chain(&consent.disclosers);
        let named: BTreeSet<_> = lists.chain([&consent.recorded_by]).copied().collect();
        named.into_iter().collect()
    }

    fn parties_of(&self, agreement: Id) -> Vec<Agency> {
        let row = self.agreements.get(&agreement);
        let parties: BTreeSet<_> = row.iter().flat_map(|row| row.parties.clone()).collect();
        parties.into_iter().collect()
    }

    fn present(&self, case: Id) -> Vec<Agency> {
        let row = self.cases.get(&case);
        row.map_or_else(Vec::new, |row| row.present.iter().copied().collect())
    }

    /// Those who were present hear of the step, also of the one that sends them away.
    fn leaves(&mut self, advance: &CaseAdvance) -> Vec<Agency> {
        let case = id(advance.case.as_str());
        let whom = self.present(case);
        let kept: BTreeSet<_> = advance.agencies.iter().map(|a| self.agency(a)).collect();
        if let Some(row) = self.cases.get_mut(&case)
            && matches!(
                advance.stage,
                Stage::LimitedIdentifiers | Stage::Interveners
            )
        {
            let lead = row.lead;
            row.present.retain(|a| *a == lead || kept.contains(a));
        }
        whom
    }

    /// Compares a seal, or a part of one, with what was counted here.
    pub(super) fn sealed(
        &mut self,
        range: (u64, u64),
        counts: &BTreeMap<AgencyId, Commitment>,
        opened: &BTreeMap<AgencyId, Counts>,
    ) -> Result<(), Fault> {
        let (from, until) = range;
        self.tally.checked(Check::Seal, opened.len() as u64);
        // What is not opened is not counted again, and must not pass for counted.
        for _ in opened.len()..counts.len() {
            self.tally.excused(FaultCode::Seal);
        }
        let again = self.reached.part.as_ref().is_some_and(|p| p.range == range);
        if !again {
            self.end_seal()?;
            let in_range = from <= until && until <= self.index && until - from <= MAX_SEALED;
            let whole = from == self.reached.from && in_range;
            let message = || format!("it covers {from} to {until}, which leaves something out");
            self.require(whole, Since::Ever, FaultCode::Seal, message)?;
            self.begin_seal(range);
        }
        for agency in counts.keys() {
            let agency = self.agency(agency);
            let part = self.reached.part.as_mut();
            if part.is_some_and(|part| !part.named.insert(agency)) {
                return Err(self.fault(FaultCode::Seal, "it tells one agency two numbers"));
            }
        }
        if from >= self.reached.remembered_from {
            self.compare(from, until, opened)?;
        } else if self.reached.begun {
            let message = "more entries than one seal may cover had none";
            return Err(self.fault(FaultCode::Seal, message));
        } else {
            let message = "the first seal covers more than is counted again here".to_owned();
            self.tally.warn(self.index, message);
        }
        self.reached.from = until;
        Ok(())
    }

    fn begin_seal(&mut self, range: (u64, u64)) {
        let members = (0..).zip(&self.members).filter(|(_, m)| m.active);
        self.reached.part = Some(Part {
            range,
            members: members.map(|(agency, _)| agency).collect(),
            named: BTreeSet::new(),
        });
    }

    /// The seal before has all its parts: every member must have been told its count.
    pub(super) fn end_seal(&mut self) -> Result<(), Fault> {
        let Some(part) = self.reached.part.take() else {
            return Ok(());
        };
        self.reached.begun = true;
        let told = part.members.is_subset(&part.named);
        let message = || "the seal before it does not tell every member its count".to_owned();
        self.require(told, Since::Ever, FaultCode::Seal, message)?;
        Ok(())
    }

    fn compare(
        &mut self,
        from: u64,
        until: u64,
        opened: &BTreeMap<AgencyId, Counts>,
    ) -> Result<(), Fault> {
        let counted = self.counted(from, until);
        for (agency, sealed) in opened {
            let nothing = Counts::default();
            let counted = counted.get(agency).unwrap_or(&nothing);
            let message = || {
                format!(
                    "it says {} of `{agency}` for the entries from {from} to {until}, where {} \
                     are in the log",
                    sealed.entries, counted.entries
                )
            };
            let since = Since::Index(from.saturating_sub(1));
            self.require(sealed == counted, since, FaultCode::Seal, message)?;
        }
        // What a later part of the same seal is compared with stays until the next range.
        while let Some((index, _)) = self.reached.rows.front()
            && *index < from
        {
            self.reached.rows.pop_front();
        }
        Ok(())
    }

    fn counted(&self, from: u64, until: u64) -> BTreeMap<AgencyId, Counts> {
        let mut counted: BTreeMap<AgencyId, Counts> = BTreeMap::new();
        let name = |agency: &Agency| {
            let member = self.member(*agency)?;
            member.active.then(|| member.name.clone())
        };
        let in_range = |(index, _): &&(u64, Box<[Agency]>)| (from..until).contains(index);
        for (_, whom) in self.reached.rows.iter().filter(in_range) {
            let names: BTreeSet<AgencyId> = whom.iter().filter_map(name).collect();
            for agency in &names {
                let counts = counted.entry(agency.clone()).or_default();
                counts.add(agency, &names);
            }
        }
        counted
    }
}
