//! What a decision rests on: the consents and agreements that it names must cover it, at the
//! decision, at the permit and again at the answer.
//!
//! In scope: what holds under any policy: a consent that is relied on is recorded, not withdrawn
//! for this recipient and category, not expired, and names recipient, discloser, category and
//! purpose; what is asked on consent rests on one; an agreement is signed by all, in force, not
//! suspended, ended or followed by a version that has begun, and has a line. Out of scope: whether the policy rules were applied rightly, which is for a replay with
//! the bundle.

use super::{
    fault::{Fault, FaultCode},
    ledger::{Allowed, Decision, Id, Ledger, Request, Since},
    report::Check,
};
use passerelle_model::vocabulary::LegalBasis;

impl Ledger {
    /// Checks every consent and agreement on which an allowed item rests, as of now.
    pub(super) fn check_ground(&mut self, row: &Request, decision: &Decision) -> Result<(), Fault> {
        let asked_on_consent = row
            .asked
            .as_ref()
            .is_some_and(|asked| asked.basis == LegalBasis::Consent);
        for allowed in &decision.allowed {
            if asked_on_consent && allowed.consent.is_none() {
                let message = "it is on the basis `consent`, and names none".to_owned();
                return Err(self.fault(FaultCode::Ground, message));
            }
            if let Some(consent) = allowed.consent {
                self.tally.checked(Check::Ground, 1);
                self.check_consent(row, allowed, consent)?;
            }
            if let Some(agreement) = allowed.agreement {
                self.tally.checked(Check::Ground, 1);
                self.check_agreement(row, allowed, agreement)?;
            }
        }
        Ok(())
    }

    fn check_consent(&mut self, row: &Request, allowed: &Allowed, key: Id) -> Result<(), Fault> {
        let category = allowed.item.category;
        let Some(consent) = self.consents.get(&key) else {
            let message = || format!("it rests on `consent-{key:032x}`, which is unknown");
            self.require(false, Since::Ever, FaultCode::UnknownConsent, message)?;
            return Ok(());
        };
        let mut withdrawn = consent.withdrawn.iter();
        if withdrawn.any(|scope| self.covers(scope, row, category)) {
            let message = format!("it rests on `consent-{key:032x}`, which had been withdrawn");
            return Err(self.fault(FaultCode::Withdrawn, message));
        }
        let covered = consent.given_at <= self.now
            && self.now < consent.expires_at
            && consent.categories.contains(&category)
            && row
                .requester
                .is_none_or(|agency| consent.recipients.contains(&agency))
            && row
                .holder
                .is_none_or(|agency| consent.disclosers.contains(&agency))
            && row
                .asked
                .as_ref()
                .is_none_or(|asked| consent.purposes.contains(&asked.purpose));
        if !covered {
            let message = format!("it rests on `consent-{key:032x}`, which does not cover it");
            return Err(self.fault(FaultCode::Ground, message));
        }
        Ok(())
    }

    fn check_agreement(&mut self, row: &Request, allowed: &Allowed, key: Id) -> Result<(), Fault> {
        let Some(agreement) = self.agreements.get(&key) else {
            let message = || format!("it rests on `isa-{key:032x}`, which is unknown");
            self.require(false, Since::Ever, FaultCode::UnknownAgreement, message)?;
            return Ok(());
        };
        let in_force = agreement.starts_at <= self.now && self.now < agreement.ends_at;
        let has_line = agreement.lines.iter().any(|line| {
            row.holder.is_none_or(|agency| line.from == agency)
                && row.requester.is_none_or(|agency| line.to == agency)
                && line.category == allowed.item.category
                && line.level.rank() >= allowed.item.level.rank()
        });
        let for_purpose = row
            .asked
            .as_ref()
            .is_none_or(|asked| agreement.purposes.contains(&asked.purpose));
        if !(in_force && has_line && for_purpose) {
            let message = format!("it rests on `isa-{key:032x}`, which does not cover it");
            return Err(self.fault(FaultCode::Ground, message));
        }
        let followed = agreement
            .successor
            .is_some_and(|(_, begins)| begins <= self.now);
        let halted = agreement.terminated || followed || !agreement.suspended.is_empty();
        let mut parties = agreement.parties.iter();
        let signed_by_all = parties.all(|party| agreement.signed.contains(party));
        let since = Since::Index(agreement.touched);
        // A suspension may have been lifted in an entry that is not readable here.
        let message =
            || format!("it rests on `isa-{key:032x}`, which was suspended, ended or superseded");
        self.require(!halted, since, FaultCode::Withdrawn, message)?;
        let message = || format!("it rests on `isa-{key:032x}`, which not all had signed");
        self.require(signed_by_all, since, FaultCode::Ground, message)?;
        Ok(())
    }
}
