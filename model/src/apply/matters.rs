//! What consents, agreements and cases do.

use super::*;

pub(super) fn consented(
    view: &mut Overlay<'_>,
    index: u64,
    agency: &AgencyId,
    terms: ConsentTerms,
    sidecar: &Sidecar,
) -> Result<(), StoreError> {
    // With the opening erased, the record can't be found by person any more: nothing rests on it.
    let Some(subject) = subject(sidecar, &terms.subject) else {
        return Ok(());
    };
    let mut row = Consent {
        recorded_by: agency.clone(),
        subject,
        withdrawn: Vec::new(),
        recorded: counts_from(view, agency, index)?,
        terms,
    };
    // Said again, since the log may have lost it. Whether somebody withdrew it in what was lost, and
    // whether that will be said again too, nobody can know: it counts as withdrawn, and so defeats
    // what it might have defeated. The person is asked anew.
    if state::awaited(view, agency)?.is_some() {
        row.withdrawn.push(Withdrawn {
            scope: WithdrawalScope::All,
            index,
        });
    }
    post(view, index, named_in(&row));
    let id = row.terms.consent.as_str();
    view.write(key::consent_by_subject(&subject, id), Some(Vec::new()));
    state::put(view, key::consent(id), &row)
}

pub(super) fn withdrawn(
    view: &mut Overlay<'_>,
    index: u64,
    withdrawal: &Withdrawal,
) -> Result<(), StoreError> {
    let id: &ConsentId = &withdrawal.consent;
    // The consent's opening may have been erased, and with it the row: then nothing rests on it.
    let Some(mut row) = state::consent(view, id)? else {
        return Ok(());
    };
    row.withdrawn.push(Withdrawn {
        scope: withdrawal.scope.clone(),
        index,
    });
    view.write(key::sweep(id.as_str()), Some(Vec::new()));
    post(view, index, named_in(&row));
    state::put(view, key::consent(id.as_str()), &row)
}

pub(super) fn carried_out(
    view: &mut Overlay<'_>,
    index: u64,
    consent: &ConsentId,
) -> Result<(), StoreError> {
    view.write(key::sweep(consent.as_str()), None);
    let row = state::consent(view, consent)?;
    post(view, index, row.iter().flat_map(named_in));
    Ok(())
}

/// From where on a paper counts as recorded. One that its agency says again, since it may have been
/// lost with a former origin of the log, counts as recorded before whatever others say again: in
/// which order they were said at first nobody knows any more, and a withdrawal must defeat it.
fn counts_from(view: &Overlay<'_>, agency: &AgencyId, index: u64) -> Result<u64, StoreError> {
    Ok(state::awaited(view, agency)?.unwrap_or(index))
}

fn named_in(row: &Consent) -> impl Iterator<Item = &AgencyId> {
    let terms = &row.terms;
    terms
        .recipients
        .iter()
        .chain(&terms.disclosers)
        .chain([&row.recorded_by])
}

pub(super) fn proposed(
    view: &mut Overlay<'_>,
    index: u64,
    agency: &AgencyId,
    terms: AgreementTerms,
) -> Result<(), StoreError> {
    let id = terms.agreement.as_str().to_owned();
    post(view, index, terms.parties.iter().map(|p| &p.agency));
    let row = Agreement::proposed(agency, terms, counts_from(view, agency, index)?);
    let row = row.map_err(|_| corrupt("terms do not encode"))?;
    state::put(view, key::agreement(&id), &row)
}

pub(super) fn signed(
    view: &mut Overlay<'_>,
    index: u64,
    agency: &AgencyId,
    signature: &AgreementSignature,
) -> Result<(), StoreError> {
    let mut row = state::agreement(view, &signature.agreement)?
        .ok_or_else(|| corrupt("unknown agreement"))?;
    row.signed.push(agency.clone());
    // Found by pair only once all have signed: a proposal is no candidate, however many there are.
    if row.is_signed_by_all() {
        for line in &row.terms.lines {
            let pair = key::agreement_by_pair(&line.from, &line.to, signature.agreement.as_str());
            view.write(pair, Some(Vec::new()));
        }
        if let Some(earlier) = &row.terms.edition.supersedes {
            let mut earlier = state::agreement(view, earlier)?
                .ok_or_else(|| corrupt("unknown earlier version"))?;
            earlier.follow(&row);
            let id = key::agreement(earlier.terms.agreement.as_str());
            state::put(view, id, &earlier)?;
        }
    }
    post(view, index, row.terms.parties.iter().map(|p| &p.agency));
    state::put(view, key::agreement(signature.agreement.as_str()), &row)
}

pub(super) fn changed(
    view: &mut Overlay<'_>,
    index: u64,
    at: Timestamp,
    agency: &AgencyId,
    change: &AgreementChange,
) -> Result<(), StoreError> {
    let id = &change.agreement;
    let mut row = state::agreement(view, id)?.ok_or_else(|| corrupt("unknown agreement"))?;
    row.change(agency, change.change);
    state::put(view, key::agreement(id.as_str()), &row)?;
    if matches!(change.change, Change::Terminate(_)) {
        unfollow(view, &row, at)?;
    }
    post(view, index, row.terms.parties.iter().map(|p| &p.agency));
    halt(view, id.as_str())
}

/// `ended` takes the place of no earlier version, if it had not begun. Further back than the one
/// before it stand those whose own next version was ended early too.
fn unfollow(view: &mut Overlay<'_>, ended: &Agreement, at: Timestamp) -> Result<(), StoreError> {
    let mut before = ended.terms.edition.supersedes.clone();
    while let Some(id) = before {
        let Some(mut earlier) = state::agreement(view, &id)? else {
            break;
        };
        let is_changed = earlier.unfollow(ended, at);
        if is_changed {
            state::put(view, key::agreement(id.as_str()), &earlier)?;
        }
        let is_passed_over = is_changed && earlier.course.terminated.is_some();
        before = earlier.terms.edition.supersedes.filter(|_| is_passed_over);
    }
    Ok(())
}

/// Marks an agreement that is suspended or ended for as long as open requests rest on it.
pub(super) fn halt(view: &mut Overlay<'_>, id: &str) -> Result<(), StoreError> {
    let row: Option<Agreement> = state::row(view, &key::agreement(id))?;
    let halted =
        row.is_some_and(|row| row.course.terminated.is_some() || !row.course.suspended.is_empty());
    let is_relied_on = halted && !view.scan(&key::by_agreement(id, ""), None, 1)?.is_empty();
    let marked = view.get(&key::halted(id))?.is_some();
    if is_relied_on != marked {
        view.write(key::halted(id), is_relied_on.then(Vec::new));
    }
    Ok(())
}

pub(super) fn opened(
    view: &mut Overlay<'_>,
    index: u64,
    agency: &AgencyId,
    opening: CaseOpening,
) -> Result<(), StoreError> {
    let row = Case::opened(agency, opening, counts_from(view, agency, index)?);
    post(view, index, row.agencies.keys());
    state::put(view, key::case(row.case.as_str()), &row)
}

pub(super) fn advanced(
    view: &mut Overlay<'_>,
    index: u64,
    advance: CaseAdvance,
    sidecar: &Sidecar,
) -> Result<(), StoreError> {
    let id = advance.case.clone();
    let mut row = state::case(view, &id)?.ok_or_else(|| corrupt("unknown case"))?;
    // Those who leave now are told; those who left before hear no more of it.
    post(view, index, row.present());
    let person = advance.subject.and_then(|c| subject(sidecar, &c));
    row.advance(advance, person);
    state::put(view, key::case(id.as_str()), &row)
}
