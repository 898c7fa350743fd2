//! What the steps of a request do.

use super::*;

pub(super) fn offered(
    view: &mut Overlay<'_>,
    index: u64,
    permit: &Permit,
) -> Result<(), StoreError> {
    let mut row = load(view, &permit.request)?;
    step(&mut row, Step::Offer)?;
    let digest = permit
        .digest()
        .map_err(|_| corrupt("permit does not encode"))?;
    row.permit = Some(PermitRef {
        index,
        digest,
        not_after: permit.not_after,
    });
    if row.review.is_none() {
        let due = permit.review_due();
        row.review = due.map(|due| ReviewRow {
            due,
            by: Vec::new(),
        });
    }
    post(view, index, [&row.requester, &row.holder]);
    save(view, &row)
}

pub(super) fn stopped(
    view: &mut Overlay<'_>,
    index: u64,
    request: &RequestId,
    cause: &StopCause,
) -> Result<(), StoreError> {
    if let StopCause::Withdrawn(consent) = cause {
        view.write(key::by_consent(consent.as_str(), request.as_str()), None);
    }
    end(view, index, request, Step::Stop)
}

pub(super) fn recalled(
    view: &mut Overlay<'_>,
    index: u64,
    request: &RequestId,
    consent: &ConsentId,
) -> Result<(), StoreError> {
    view.write(key::by_consent(consent.as_str(), request.as_str()), None);
    let row = load(view, request)?;
    post(view, index, [&row.requester, &row.holder]);
    Ok(())
}

pub(super) fn submitted(
    view: &mut Overlay<'_>,
    index: u64,
    agency: &AgencyId,
    digest: Digest,
    request: &Request,
    sidecar: &Sidecar,
) -> Result<(), StoreError> {
    let row = RequestRow {
        request: request.request.clone(),
        requester: agency.clone(),
        holder: request.holder.clone(),
        items: request.items.clone(),
        purpose: request.purpose,
        basis: request.basis,
        reliance: request.reliance.clone(),
        case: request.case.clone(),
        emergency: request.emergency,
        role: request.role,
        trained: request.trained,
        subject: request.subject.and_then(|c| subject(sidecar, &c)),
        reply_key: request.reply_key,
        not_after: request.not_after,
        statement: digest,
        submitted: index,
        status: Status::Submitted,
        decision: None,
        permit: None,
        answer: None,
        review: None,
    };
    post(view, index, [agency]);
    save(view, &row)
}

pub(super) fn decided(
    view: &mut Overlay<'_>,
    index: u64,
    at: Timestamp,
    request: &RequestId,
    items: &[ItemRuling],
    bundle: &Digest,
) -> Result<(), StoreError> {
    let mut row = load(view, request)?;
    rest_on_agreements(view, &row, false)?;
    let decision = Decision {
        index,
        at,
        items: items.to_vec(),
        bundle: *bundle,
    };
    if decision.effect() == Effect::Deny {
        step(&mut row, Step::Deny)?;
    } else {
        step(&mut row, Step::Permit)?;
        step(&mut row, Step::Queue)?;
    }
    row.decision = Some(decision);
    for consent in row.consents() {
        view.write(
            key::by_consent(consent.as_str(), request.as_str()),
            Some(Vec::new()),
        );
    }
    post(view, index, [&row.requester]);
    // A holder that has a permit must hear that it is worth nothing any more.
    if row.permit.is_some() && row.status == Status::Denied {
        post(view, index, [&row.holder]);
    }
    save(view, &row)
}

pub(super) fn answered(
    view: &mut Overlay<'_>,
    index: u64,
    answer: &Answer,
) -> Result<(), StoreError> {
    let mut row = load(view, &answer.request)?;
    step(&mut row, Step::Answer)?;
    row.answer = Some((index, answer.sealed));
    post(view, index, [&row.requester, &row.holder]);
    save(view, &row)
}

pub(super) fn received(
    view: &mut Overlay<'_>,
    index: u64,
    receipt: &Receipt,
) -> Result<(), StoreError> {
    let mut row = load(view, &receipt.request)?;
    let how = match receipt.kind {
        ReceiptKind::Delivered => Step::Deliver,
        ReceiptKind::Viewed => Step::View,
        ReceiptKind::Erased => Step::Erase,
    };
    step(&mut row, how)?;
    post(view, index, [&row.requester, &row.holder]);
    save(view, &row)
}

pub(super) fn reviewed(
    view: &mut Overlay<'_>,
    index: u64,
    agency: &AgencyId,
    review: &OverrideReview,
) -> Result<(), StoreError> {
    let mut row = load(view, &review.request)?;
    let reviews = row.review.as_mut().ok_or_else(|| corrupt("no review"))?;
    reviews.by.push(agency.clone());
    post(view, index, [&row.requester, &row.holder]);
    save(view, &row)
}

pub(super) fn end(
    view: &mut Overlay<'_>,
    index: u64,
    request: &RequestId,
    how: Step,
) -> Result<(), StoreError> {
    let mut row = load(view, request)?;
    step(&mut row, how)?;
    post(view, index, [&row.requester]);
    // A holder that never had a permit never hears of the request.
    if row.permit.is_some() {
        post(view, index, [&row.holder]);
    }
    save(view, &row)
}

fn step(row: &mut RequestRow, step: Step) -> Result<(), StoreError> {
    row.status = row
        .status
        .after(step)
        .map_err(|_| corrupt("step out of order"))?;
    Ok(())
}

/// Writes the row and keeps the indices of open requests in step with its status.
fn save(view: &mut Overlay<'_>, row: &RequestRow) -> Result<(), StoreError> {
    let id = row.request.as_str();
    let mark = row.status.is_open().then(Vec::new);
    view.write(key::open_by_holder(&row.holder, id), mark.clone());
    view.write(key::open_by_requester(&row.requester, id), mark.clone());
    view.write(key::due(row.not_after, id), mark);
    rest_on_agreements(view, row, row.status.is_open())?;
    state::put(view, key::request(id), row)
}

/// Files an open request under the agreements on which it rests, and takes one that is over, or is
/// decided anew, out again. With the last one goes the mark of what is left to do.
fn rest_on_agreements(
    view: &mut Overlay<'_>,
    row: &RequestRow,
    open: bool,
) -> Result<(), StoreError> {
    for agreement in row.agreements() {
        let (agreement, request) = (agreement.as_str(), row.request.as_str());
        let mark = open.then(Vec::new);
        view.write(key::by_agreement(agreement, request), mark);
        if !open {
            matters::halt(view, agreement)?;
        }
    }
    Ok(())
}

pub(super) fn load(view: &dyn Read, request: &RequestId) -> Result<RequestRow, StoreError> {
    state::request(view, request)?.ok_or_else(|| corrupt("unknown request"))
}
