//! The candidates of a matter: which consents and agreements are tried, in which order.
//!
//! In scope: picking them, and the rule of conflict of consents. Out of scope: whether one carries a
//! permit, which is for the policies.
//!
//! # Candidates
//! Cedar has no quantifiers: code picks a candidate consent and agreement, policies verify them.
//! Sets of candidates are tried from the smallest: none, each consent, each agreement, each pair.
//! So whatever stands in the winning set is needed (without it the item was denied, or only to be
//! reviewed), and the ruling names it. A withdrawal finds every decision that needed the consent.
//! If the request names the consent or the agreement that it relies on, no other is tried.
//!
//! # Conflict of consents
//! Of all consents of the person, relied on or not, a withdrawal defeats every grant to the same
//! recipient, by the same discloser, of the same category that was recorded before the withdrawal,
//! by whichever record. A grant recorded after it stands. What counts is the place in the log, not
//! the date on the paper.

use crate::{
    entities::SliceError,
    shape::{AgreementShape, ConsentShape, Period},
};
use passerelle_model::{
    pdp::Matter,
    records::{Agreement, Consent},
    statement::{AgreementLine, Reliance},
    vocabulary::AgreementState,
};
use std::cmp::Reverse;

/// Most consents, and most agreements, that are tried. The most promising come first.
const MAX_CANDIDATES: usize = 8;

/// A candidate consent.
pub(crate) struct ConsentCandidate<'a> {
    pub(crate) consent: &'a Consent,
    pub(crate) shape: ConsentShape,
    pub(crate) period: Period,
}

/// A candidate agreement, with its line from holder to requester for the category.
pub(crate) struct AgreementCandidate<'a> {
    pub(crate) agreement: &'a Agreement,
    pub(crate) line: Option<&'a AgreementLine>,
    pub(crate) shape: AgreementShape,
    pub(crate) period: Period,
}

/// One set of candidates.
#[derive(Clone, Copy)]
pub(crate) struct Candidates<'a> {
    pub(crate) consent: Option<&'a ConsentCandidate<'a>>,
    pub(crate) agreement: Option<&'a AgreementCandidate<'a>>,
}

/// The sets of candidates, from the smallest.
pub(crate) fn candidate_sets<'a>(
    consents: &'a [ConsentCandidate<'a>],
    agreements: &'a [AgreementCandidate<'a>],
) -> Vec<Candidates<'a>> {
    let mut sets = vec![Candidates {
        consent: None,
        agreement: None,
    }];
    sets.extend(consents.iter().map(|c| Candidates {
        consent: Some(c),
        agreement: None,
    }));
    sets.extend(agreements.iter().map(|a| Candidates {
        consent: None,
        agreement: Some(a),
    }));
    for consent in consents {
        sets.extend(agreements.iter().map(|agreement| Candidates {
            consent: Some(consent),
            agreement: Some(agreement),
        }));
    }
    sets
}

/// The consents that name the requester, of these the one relied on if it is named; the usable
/// first, then the most recent. One that does not name the requester must not show in its reasons
/// either.
pub(crate) fn consents(matter: &Matter) -> Result<Vec<ConsentCandidate<'_>>, SliceError> {
    let mut candidates: Vec<_> = matter
        .consents
        .iter()
        .filter(|c| c.names(&matter.requester.agency))
        .filter(|c| match &matter.reliance {
            Some(Reliance::Consent(named)) => c.terms.consent == *named,
            Some(Reliance::Agreement(_)) | None => true,
        })
        .map(|consent| (is_withdrawn(consent, matter), consent))
        .collect();
    candidates.sort_by_key(|(withdrawn, consent)| {
        let expired = consent.terms.expires_at <= matter.at;
        let other = !covers(consent, matter);
        let key = Reverse(consent.recorded);
        (*withdrawn, expired, other, key, &consent.terms.consent)
    });
    candidates.truncate(MAX_CANDIDATES);
    let candidates = candidates.into_iter().map(|(withdrawn, consent)| {
        let terms = &consent.terms;
        Ok(ConsentCandidate {
            consent,
            shape: ConsentShape::of(consent, withdrawn, matter),
            period: Period::of(terms.given_at, terms.expires_at)?,
        })
    });
    candidates.collect()
}

/// Whether the consent speaks of this recipient, discloser, category and purpose.
fn covers(consent: &Consent, matter: &Matter) -> bool {
    covers_parties(consent, matter) && consent.terms.purposes.contains(&matter.purpose)
}

fn covers_parties(consent: &Consent, matter: &Matter) -> bool {
    let (recipient, discloser) = (&matter.requester.agency, &matter.holder.agency);
    consent.is_between(recipient, discloser, matter.item.category)
}

/// The conflict rule (see above), over all consents of the person. Its own withdrawal defeats a
/// consent in any case.
fn is_withdrawn(consent: &Consent, matter: &Matter) -> bool {
    let (recipient, category) = (&matter.requester.agency, matter.item.category);
    matter.consents.iter().any(|other| {
        let Some(withdrawn) = other.withdrawn_since(recipient, category) else {
            return false;
        };
        let same = other.terms.consent == consent.terms.consent;
        same || withdrawn >= consent.recorded && covers_parties(other, matter)
    })
}

/// The agreements of which the requester is a party, of these the one relied on if it is named,
/// none if it is a consent; those in force with a line first.
pub(crate) fn agreements(matter: &Matter) -> Result<Vec<AgreementCandidate<'_>>, SliceError> {
    let mut candidates: Vec<_> = matter
        .agreements
        .iter()
        .filter(|a| a.has_party(&matter.requester.agency))
        .filter(|a| !makes_way(a, matter))
        .filter(|a| match &matter.reliance {
            Some(Reliance::Agreement(named)) => a.terms.agreement == *named,
            Some(Reliance::Consent(_)) => false,
            None => true,
        })
        .map(|agreement| (line(agreement, matter), agreement))
        .collect();
    candidates.sort_by_key(|(line, agreement)| {
        let out_of_force = !agreement.is_in_force(matter.at);
        let key = Reverse(agreement.proposed);
        (
            line.is_none(),
            out_of_force,
            key,
            &agreement.terms.agreement,
        )
    });
    candidates.truncate(MAX_CANDIDATES);
    let candidates = candidates.into_iter().map(|(line, agreement)| {
        let terms = &agreement.terms;
        Ok(AgreementCandidate {
            agreement,
            line,
            shape: AgreementShape::of(agreement, line, matter),
            period: Period::of(terms.starts_at, terms.ends_at)?,
        })
    });
    candidates.collect()
}

/// Whether a next version that has begun is looked at in its stead; that one gives the reasons. One
/// that is relied on by name stays, to be denied by its own.
fn makes_way(agreement: &Agreement, matter: &Matter) -> bool {
    let next = agreement.course.successor.as_ref();
    !on_agreement(matter)
        && agreement.state(matter.at) == AgreementState::Superseded
        && next.is_some_and(|next| {
            let mut all = matter.agreements.iter();
            all.any(|other| other.terms.agreement == next.agreement)
        })
}

/// The line from holder to requester for the category: the widest, of equals the briefest kept.
fn line<'a>(agreement: &'a Agreement, matter: &Matter) -> Option<&'a AgreementLine> {
    agreement
        .terms
        .lines
        .iter()
        .filter(|l| {
            l.from == matter.holder.agency
                && l.to == matter.requester.agency
                && l.category == matter.item.category
        })
        .max_by_key(|l| (l.level, Reverse(l.retention_days)))
}

/// Whether the request names an agreement to rely on.
pub(crate) fn on_agreement(matter: &Matter) -> bool {
    matches!(matter.reliance, Some(Reliance::Agreement(_)))
}
