//! One exchange: request, decision, permit, answer, receipt, and how it can end early.
//!
//! The states and steps are those of the model ([`Status::after`]); the checks are those that the
//! broker must make, made again from the log alone.

use super::{
    fault::{Fault, FaultCode},
    ledger::{Allowed, Asked, Decision, Due, Id, Ledger, Permit, Request, Since, id},
    report::Check,
};
use passerelle_model::{
    bytes::Digest,
    decide::{MAX_REQUEST_LIFE_S, PERMIT_LIFE_S},
    entry::StopCause,
    pdp::{Effect, ItemRuling, Obligation},
    permit,
    request::{Status, Step},
    statement::{self, Answer, Item, MAX_ITEMS, Receipt, ReceiptKind, Renewal},
};

impl Ledger {
    pub(super) fn requested(
        &mut self,
        agency: u32,
        digest: Digest,
        asked: &statement::Request,
    ) -> Result<(), Fault> {
        let holder = self.agency(&asked.holder);
        self.require_active(holder)?;
        let sound = holder != agency
            && (1..=MAX_ITEMS).contains(&asked.items.len())
            && self.now < asked.not_after
            && asked.not_after <= self.now.plus_s(MAX_REQUEST_LIFE_S);
        if !sound {
            let message = "the request is of oneself, for nothing, or without a proper end";
            return Err(self.fault(FaultCode::Range, message));
        }
        let case = asked.case.as_ref().map(|case| id(case.as_str()));
        if let Some(known) = case.map(|case| self.cases.contains_key(&case)) {
            let message = || "the request names a case that is unknown".to_owned();
            self.require(known, Since::Ever, FaultCode::UnknownCase, message)?;
        }
        let mut row = Request::new(Status::Submitted, self.index);
        row.requester = Some(agency);
        row.holder = Some(holder);
        row.asked = Some(Box::new(Asked {
            statement: digest,
            items: asked.items.clone(),
            purpose: asked.purpose,
            basis: asked.basis,
            case,
            reply_key: asked.reply_key,
            not_after: asked.not_after,
        }));
        if self
            .requests
            .insert(id(asked.request.as_str()), row)
            .is_some()
        {
            let message = format!("`{}` was used before", asked.request);
            return Err(self.fault(FaultCode::Duplicate, message));
        }
        Ok(())
    }

    /// The request, out of the map while it is worked on; a partial one if the entries that made
    /// it may be unreadable.
    fn open(&mut self, request: Id) -> Result<Request, Fault> {
        if let Some(row) = self.requests.remove(&request) {
            return Ok(row);
        }
        let message = || format!("`req-{request:032x}` is unknown");
        self.require(false, Since::Ever, FaultCode::UnknownRequest, message)?;
        Ok(Request::new(Status::Submitted, 0))
    }

    /// Moves the request by `step`, and puts it back.
    fn close(&mut self, request: Id, mut row: Request, step: Step) -> Result<(), Fault> {
        row.status = match row.status.after(step) {
            Ok(status) => status,
            Err(_) => {
                let from = row.status.code();
                let code = match (step, row.status) {
                    (Step::Answer, Status::Stopped | Status::Expired) => FaultCode::AfterEnd,
                    (Step::Answer, _) => FaultCode::NoPermit,
                    _ => FaultCode::WrongState,
                };
                let message =
                    || format!("`req-{request:032x}` is `{from}`, which allows no such step");
                self.require(false, Since::Index(row.touched), code, message)?;
                target(step, row.status)
            }
        };
        row.touched = self.index;
        if !row.status.is_open() {
            row.asked = None;
            row.decision = None;
            row.permit = None;
        }
        self.requests.insert(request, row);
        Ok(())
    }

    pub(super) fn decided(
        &mut self,
        request: Id,
        items: &[ItemRuling],
        bundle: Digest,
    ) -> Result<(), Fault> {
        self.tally.checked(Check::DecisionAgainstRequest, 1);
        if let Some((in_force, since)) = self.bundle {
            let message = || format!("bundle `{bundle}` is not the one in force");
            let same = in_force == bundle;
            self.require(same, Since::Index(since), FaultCode::Bundle, message)?;
        }
        let mut row = self.open(request)?;
        if items.iter().any(|item| item.ruling.reasons.is_empty()) {
            return Err(self.fault(FaultCode::Decision, "a ruling without a reason"));
        }
        let fits = row.asked.as_ref().is_none_or(|asked| {
            let same = |(asked, ruled): (&Item, &ItemRuling)| {
                asked.category == ruled.category && ruled.level.rank() <= asked.level.rank()
            };
            asked.items.len() == items.len() && asked.items.iter().zip(items).all(same)
        });
        if !fits {
            return Err(self.fault(FaultCode::Decision, "other items were decided than asked"));
        }
        let decision = decision(self.index, bundle, items);
        self.check_ground(&row, &decision)?;
        row.rests_on = rests_on(&decision);
        for (_, consent) in &row.rests_on {
            if let Some(consent) = self.consents.get_mut(consent)
                && consent.requests.last() != Some(&request)
            {
                consent.requests.push(request);
            }
        }
        let denied = decision.allowed.is_empty();
        row.decision = Some(Box::new(decision));
        if denied {
            return self.close(request, row, Step::Deny);
        }
        self.close(request, row, Step::Permit)?;
        let row = self.open(request)?;
        self.close(request, row, Step::Queue)
    }

    pub(super) fn offered(&mut self, permit: &permit::Permit) -> Result<(), Fault> {
        self.tally.checked(Check::PermitAgainstDecision, 1);
        let request = id(permit.request.as_str());
        let mut row = self.open(request)?;
        let (requester, holder) = (self.agency(&permit.requester), self.agency(&permit.holder));
        self.require_active(requester)?;
        self.require_active(holder)?;
        let same_parties = row.requester.is_none_or(|known| known == requester)
            && row.holder.is_none_or(|known| known == holder);
        let fits = row.asked.as_ref().is_none_or(|asked| is_for(permit, asked));
        if !same_parties || !fits {
            let message = "the permit does not say what the request's statement says";
            return Err(self.fault(FaultCode::Permit, message));
        }
        (row.requester, row.holder) = (Some(requester), Some(holder));
        let in_time = permit.issued_at == self.now
            && self.now < permit.not_after
            && permit.not_after <= self.now.plus_s(PERMIT_LIFE_S);
        if !in_time {
            let message = "the permit is back-dated or lives too long";
            return Err(self.fault(FaultCode::Permit, message));
        }
        if let Some(decision) = &row.decision {
            let (latest, named) = (decision.index, permit.decision);
            let message =
                || format!("the permit names the decision at {named}, the latest is at {latest}");
            let since = Since::Index(latest);
            if self.require(named == latest, since, FaultCode::Permit, message)? {
                if let Err(message) = is_allowed(permit, decision) {
                    return Err(self.fault(FaultCode::Permit, message));
                }
                self.check_ground(&row, decision)?;
            } else {
                row.decision = None;
            }
        }
        let digest = permit
            .digest()
            .map_err(|error| self.fault(FaultCode::Permit, error.to_string()))?;
        row.had_permit = true;
        if let Some(due) = permit.review_due() {
            self.wants_review(request, due, [requester, holder]);
        }
        row.permit = Some(Box::new(Permit {
            index: self.index,
            digest,
            decision: permit.decision,
            not_after: permit.not_after,
        }));
        self.close(request, row, Step::Offer)
    }

    pub(super) fn answered(&mut self, agency: u32, answer: &Answer) -> Result<(), Fault> {
        self.tally.checked(Check::AnswerAgainstPermit, 1);
        let request = id(answer.request.as_str());
        let mut row = self.open(request)?;
        if row.holder.is_some_and(|holder| holder != agency) {
            let message = "answered by an agency that does not hold what was asked";
            return Err(self.fault(FaultCode::NotAParty, message));
        }
        row.holder = Some(agency);
        if let Some(requester) = row.requester {
            self.require_active(requester)?;
        }
        // The order of these matters for what is said first: that the request had ended is told
        // before that its permit is another.
        if row.status.after(Step::Answer).is_ok() {
            self.check_permit(&row, answer)?;
        }
        row.sealed = Some(answer.sealed);
        self.close(request, row, Step::Answer)
    }

    fn check_permit(&mut self, row: &Request, answer: &Answer) -> Result<(), Fault> {
        let Some(permit) = &row.permit else {
            return Ok(());
        };
        let since = Since::Index(permit.index);
        let message = || "the answer names another permit than the one in force".to_owned();
        let same = permit.digest == answer.permit;
        if !self.require(same, since, FaultCode::NoPermit, message)? {
            return Ok(());
        }
        if self.now >= permit.not_after {
            let message = format!("the permit ended at {}", permit.not_after.to_rfc3339());
            return Err(self.fault(FaultCode::PermitExpired, message));
        }
        match &row.decision {
            Some(decision) if decision.index == permit.decision => self.check_ground(row, decision),
            _ => Ok(()),
        }
    }

    pub(super) fn received(&mut self, agency: u32, receipt: &Receipt) -> Result<(), Fault> {
        self.tally.checked(Check::ReceiptAgainstAnswer, 1);
        let request = id(receipt.request.as_str());
        let row = self.open(request)?;
        if row.requester.is_some_and(|requester| requester != agency) {
            let message = "a receipt by an agency that did not ask";
            return Err(self.fault(FaultCode::NotAParty, message));
        }
        if row.sealed.is_some_and(|sealed| sealed != receipt.sealed) {
            let message = "the receipt names another answer than the one in the log";
            return Err(self.fault(FaultCode::Receipt, message));
        }
        let step = match receipt.kind {
            ReceiptKind::Delivered => Step::Deliver,
            ReceiptKind::Viewed => Step::View,
            ReceiptKind::Erased => Step::Erase,
        };
        self.close(request, row, step)
    }

    pub(super) fn renewed(&mut self, agency: u32, renewal: &Renewal) -> Result<(), Fault> {
        let Some(row) = self.requests.get(&id(renewal.request.as_str())) else {
            let message = || format!("`{}` is unknown", renewal.request);
            self.require(false, Since::Ever, FaultCode::UnknownRequest, message)?;
            return Ok(());
        };
        if row.holder.is_some_and(|holder| holder != agency) {
            let message = "a renewal by an agency that does not hold what was asked";
            return Err(self.fault(FaultCode::NotAParty, message));
        }
        let offered = row.status == Status::Offered
            && row
                .permit
                .as_ref()
                .is_some_and(|p| p.digest == renewal.permit);
        let since = Since::Index(row.touched);
        let message = || "a renewal of a permit that is not the one in force".to_owned();
        self.require(offered, since, FaultCode::NoPermit, message)?;
        Ok(())
    }

    pub(super) fn stopped(&mut self, request: Id, cause: &StopCause) -> Result<(), Fault> {
        let row = self.open(request)?;
        match cause {
            StopCause::DecidedAgain => {}
            StopCause::Superseded => {
                let superseded = !self.origin.entries.is_empty();
                let message = || "stopped because of a new origin that there is not".to_owned();
                self.require(superseded, Since::Ever, FaultCode::WrongState, message)?;
            }
            StopCause::Withdrawn(consent) => {
                let relied = self.consents.get(&id(consent.as_str()));
                let withdrawn = relied.is_some_and(|consent| !consent.withdrawn.is_empty());
                let message = || format!("stopped because of `{consent}`, which stands");
                self.require(withdrawn, Since::Ever, FaultCode::WrongState, message)?;
            }
            StopCause::Revoked(agency) => {
                let agency = self.agency(agency);
                let active = self.member(agency).is_none_or(|member| member.active);
                let message = || "stopped because of a revocation that was not made".to_owned();
                self.require(!active, Since::Ever, FaultCode::WrongState, message)?;
            }
        }
        self.due.remove(&request);
        self.close(request, row, Step::Stop)
    }

    pub(super) fn expired(&mut self, request: Id) -> Result<(), Fault> {
        let row = self.open(request)?;
        if row
            .asked
            .as_ref()
            .is_some_and(|asked| self.now < asked.not_after)
        {
            return Err(self.fault(FaultCode::WrongState, "expired before its time"));
        }
        self.close(request, row, Step::Expire)
    }

    pub(super) fn recalled(&mut self, request: Id, consent: Id) -> Result<(), Fault> {
        if self.due.get(&request) == Some(&Due::Recall) {
            self.due.remove(&request);
        }
        let withdrawn = self
            .consents
            .get(&consent)
            .is_some_and(|c| !c.withdrawn.is_empty());
        let message = || format!("recalled because of `consent-{consent:032x}`, which stands");
        self.require(withdrawn, Since::Ever, FaultCode::WrongState, message)?;
        let status = self
            .requests
            .get(&request)
            .map(|row| (row.status, row.touched));
        let (crossed, since) = match status {
            Some((Status::Answered | Status::Delivered | Status::Viewed, _)) => {
                (true, Since::Never)
            }
            Some((_, touched)) => (false, Since::Index(touched)),
            None => (false, Since::Ever),
        };
        let message = || "a recall of what never crossed".to_owned();
        self.require(crossed, since, FaultCode::WrongState, message)?;
        Ok(())
    }
}

/// Where a step leads that an unreadable entry must have prepared.
const fn target(step: Step, from: Status) -> Status {
    match step {
        Step::Permit => Status::Decided,
        Step::Deny => Status::Denied,
        Step::Queue => Status::Queued,
        Step::Offer => Status::Offered,
        Step::Answer => Status::Answered,
        Step::Expire => Status::Expired,
        Step::Stop => Status::Stopped,
        Step::Deliver => Status::Delivered,
        Step::View => Status::Viewed,
        Step::Erase => Status::Erased,
        // Steps inside the holder are in no log.
        Step::AskReviewer | Step::Release | Step::Decline | Step::CannotSay => from,
    }
}

fn decision(index: u64, bundle: Digest, items: &[ItemRuling]) -> Decision {
    let allowed = || {
        items
            .iter()
            .filter(|item| item.ruling.effect != Effect::Deny)
    };
    Decision {
        index,
        bundle,
        allowed: allowed()
            .map(|item| Allowed {
                item: Item {
                    category: item.category,
                    level: item.level,
                },
                review: item.ruling.effect == Effect::Review,
                consent: item.ruling.consent.as_ref().map(|c| id(c.as_str())),
                agreement: item.ruling.agreement.as_ref().map(|a| id(a.as_str())),
            })
            .collect(),
        obligations: allowed()
            .flat_map(|item| item.ruling.obligations.iter().cloned())
            .collect(),
    }
}

fn rests_on(decision: &Decision) -> Box<[(passerelle_model::vocabulary::Category, Id)]> {
    let relied = |allowed: &Allowed| Some((allowed.item.category, allowed.consent?));
    decision.allowed.iter().filter_map(relied).collect()
}

/// Whether the permit is for what was asked, for the same parties and reply key.
fn is_for(permit: &permit::Permit, asked: &Asked) -> bool {
    let case = permit.case.as_ref().map(|case| id(case.as_str()));
    permit.statement == asked.statement
        && permit.reply_key == asked.reply_key
        && permit.purpose == asked.purpose
        && permit.basis == asked.basis
        && case == asked.case
        && permit.not_after <= asked.not_after
}

/// Whether the permit allows no more than the decision, on terms no laxer.
fn is_allowed(permit: &permit::Permit, decision: &Decision) -> Result<(), &'static str> {
    let allows = |item: &Item| decision.allowed.iter().any(|allowed| allowed.item == *item);
    if permit.items.is_empty() || !permit.items.iter().all(allows) {
        return Err("the permit allows an item that was not decided so");
    }
    if permit.bundle != decision.bundle {
        return Err("the permit names another bundle than its decision");
    }
    if !permit.review && decision.allowed.iter().any(|allowed| allowed.review) {
        return Err("the permit drops the review that was decided");
    }
    let kept = |obligation: &Obligation| match obligation {
        // Of several periods the shortest counts.
        Obligation::RetainDays(days) => permit
            .obligations
            .iter()
            .any(|kept| matches!(kept, Obligation::RetainDays(kept) if kept <= days)),
        other => permit.obligations.contains(other),
    };
    if !decision.obligations.iter().all(kept) {
        return Err("the permit drops an obligation that was decided");
    }
    Ok(())
}
