//! Reads FHIR R4 (4.0.1) Consent: what the record is made of here, then all of it against what
//! would be written (see [`super::same`]).

use super::{
    ConsentFile, Identity, Read, Refusal, Standing,
    at::{At, below, distinct},
    fhir::{self, ACT_CODE, ACTION, CUSTODIAN, PARTICIPATION, RECIPIENT, SCOPE},
    names::{CATEGORIES, GIVERS, Names, Own, PURPOSES, identity, term},
    same::must_be,
};
use crate::{
    bytes::Commitment,
    decide::MAX_CONSENT_LIFE_S,
    ids::{AgencyId, FederationId},
    time::Timestamp,
    vocabulary::{Category, ConsentGiver, Purpose, UnknownCode},
};
use serde_json::Value;
use std::str::FromStr;

pub(super) fn read(mut value: Value, federation: &FederationId) -> Result<Read, Refusal> {
    let mut not_kept = Vec::new();
    set_aside(&mut value, &mut not_kept);
    let root = At::root(&value);
    let file = consent(&root, federation)?;
    if let (Identity::Other { .. }, Some(object)) = (&file.record, value.as_object_mut())
        && object.remove("id").is_some()
    {
        not_kept.push("$.id".to_owned());
    }
    canonical_times(&mut value, &file);
    must_be("$", &value, &fhir::resource(&file, &Standing::default()))?;
    Ok(Read {
        file,
        surroundings: None,
        not_kept,
    })
}

/// Takes out what says nothing of the consent: what a server notes of its own copy, and what a
/// code or a reference is called.
fn set_aside(value: &mut Value, not_kept: &mut Vec<String>) {
    if let Some(meta) = value.get_mut("meta").and_then(Value::as_object_mut) {
        for name in ["versionId", "lastUpdated", "source"] {
            if meta.remove(name).is_some() {
                not_kept.push(format!("$.meta.{name}"));
            }
        }
        if meta.is_empty() && !not_kept.is_empty() {
            value.as_object_mut().map(|object| object.remove("meta"));
        }
    }
    displays("$", value, not_kept);
}

fn displays(path: &str, value: &mut Value, not_kept: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            let is_named = ["code", "identifier"]
                .iter()
                .any(|f| object.contains_key(*f));
            if is_named && object.get("display").is_some_and(Value::is_string) {
                object.remove("display");
                not_kept.push(below(path, "display"));
            }
            for (name, value) in object {
                displays(&below(path, name), value, not_kept);
            }
        }
        Value::Array(list) => {
            for (n, value) in list.iter_mut().enumerate() {
                displays(&format!("{path}[{n}]"), value, not_kept);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// One moment may be written in more than one way; it has been read.
fn canonical_times(value: &mut Value, file: &ConsentFile) {
    let given = Value::String(super::instant::text(file.given_at));
    let ends = Value::String(super::instant::text(file.expires_at));
    for (pointer, text) in [
        ("/dateTime", given.clone()),
        ("/provision/period/start", given),
        ("/provision/period/end", ends),
    ] {
        if let Some(place) = value.pointer_mut(pointer) {
            *place = text;
        }
    }
}

fn consent(root: &At<'_>, federation: &FederationId) -> Result<ConsentFile, Refusal> {
    let names = Names(federation);
    let kind = root.need("resourceType", "is missing")?;
    kind.is("Consent", "expected one `Consent` resource a file")?;
    for unread in ["contained", "modifierExtension", "text", "verification"] {
        if let Some(field) = root.field(unread) {
            return Err(field.refuse("may qualify the consent, and no consent here can hold it"));
        }
    }
    live(root)?;
    let record = root.need("identifier", "a record needs an identifier")?;
    let record = record.only("expected one identifier")?;
    let patient = root.need("patient", "a consent of nobody in particular is none")?;
    let recorded_by = root.need("organization", "the agency that recorded it is missing")?;
    let recorded_by = recorded_by.only("expected one agency, which recorded it")?;
    let provision = root.need("provision", "without a provision it permits nothing")?;
    permits(&provision)?;
    let (recipients, disclosers) = parties(&provision, &names)?;
    let (given_at, expires_at) = period(root, &provision)?;
    Ok(ConsentFile {
        federation: federation.clone(),
        record: identified(&record, &names.consents())?,
        subject: subject(&patient, &names)?,
        recorded_by: agency(&recorded_by, &names)?,
        giver: giver(root)?,
        capacity: coded(root, "capacity")?,
        categories: categories(&provision)?,
        purposes: purposes(&provision)?,
        recipients,
        disclosers,
        method: coded(root, "method")?,
        language: extension(root, "language", "valueCode")?.code()?,
        interpreter: extension(root, "interpreter", "valueBoolean")?.boolean()?,
        notice_version: notice(root, &names)?,
        given_at,
        expires_at,
        redisclosure: extension(root, "redisclosure", "valueBoolean")?.boolean()?,
        evidence: evidence(root)?,
    })
}

/// Given, to share, and nothing taken back.
fn live(root: &At<'_>) -> Result<(), Refusal> {
    let status = root.need("status", "is missing")?;
    status.is(
        "active",
        "only an `active` consent can be recorded: one that is proposed, rejected, withdrawn or \
         entered in error is none",
    )?;
    let scope = root.need("scope", "is missing")?;
    coding(&scope, SCOPE, "expected the scope `patient-privacy`")?.is(
        "patient-privacy",
        "expected `patient-privacy`: a consent to treatment, research or care is another record",
    )?;
    let category = root.need("category", "is missing")?;
    let category = category.only("expected one category")?;
    coding(&category, ACT_CODE, "expected the category `IDSCL`")?.is(
        "IDSCL",
        "expected `IDSCL`, disclosure: a consent to a service is another record",
    )?;
    if let Some(state) = find_extension(root, "state") {
        return Err(state.refuse("it was withdrawn or has ended"));
    }
    Ok(())
}

/// The code of the only coding, which must be of this system.
fn coding<'a>(concept: &At<'a>, system: &str, reason: &str) -> Result<At<'a>, Refusal> {
    let codings = concept.need("coding", reason)?;
    of_system(&codings.only(reason)?, system, reason)
}

fn of_system<'a>(coding: &At<'a>, system: &str, reason: &str) -> Result<At<'a>, Refusal> {
    let given = coding.need("system", "a code without a system means nothing")?;
    given.is(system, &format!("{reason}, of the system `{system}`"))?;
    coding.need("code", reason)
}

fn identified<T: Own>(at: &At<'_>, own: &str) -> Result<Identity<T>, Refusal> {
    let system = at.need("system", "an identifier without a system is nobody's")?;
    let value = at.need("value", "is missing")?;
    identity(&system, &value, own)
}

fn subject(patient: &At<'_>, names: &Names<'_>) -> Result<Identity<crate::bytes::Handle>, Refusal> {
    let identifier = patient.need(
        "identifier",
        "the person must be told by an identifier; a reference into a server can't be followed",
    )?;
    identified(&identifier, &names.handles())
}

fn agency(reference: &At<'_>, names: &Names<'_>) -> Result<AgencyId, Refusal> {
    let identifier = reference.need(
        "identifier",
        "names nobody: an agency must be told by its identifier in this federation",
    )?;
    let system = identifier.need("system", "is missing")?;
    let expected = names.agencies();
    system.is(
        &expected,
        &format!("expected `{expected}`: only agencies of this federation are known"),
    )?;
    identifier.need("value", "is missing")?.parsed()
}

const EVERYONE: &str = "names nobody, which FHIR reads as everyone: a consent here names each \
                        agency";

/// Recipients and disclosers.
fn parties(
    provision: &At<'_>,
    names: &Names<'_>,
) -> Result<(Vec<AgencyId>, Vec<AgencyId>), Refusal> {
    let actors = provision.need("actor", EVERYONE)?;
    let (mut recipients, mut disclosers) = (Vec::new(), Vec::new());
    for actor in actors.items(EVERYONE)? {
        let role = actor.need("role", "an actor without a role may do anything")?;
        let reason = "expected `IRCP`, who may receive, or `CST`, who may disclose";
        let role = coding(&role, PARTICIPATION, reason)?;
        let reference = actor.need("reference", EVERYONE)?;
        let agency = agency(&reference, names)?;
        match role.text()? {
            RECIPIENT => recipients.push((reference, agency)),
            CUSTODIAN => disclosers.push((reference, agency)),
            _ => return Err(role.refuse(reason)),
        }
    }
    distinct(&recipients)?;
    distinct(&disclosers)?;
    let agencies = |list: Vec<(At<'_>, AgencyId)>, what: &str| {
        if list.is_empty() {
            return Err(actors.refuse(format!("names nobody who may {what}")));
        }
        Ok(list.into_iter().map(|(_, agency)| agency).collect())
    };
    Ok((
        agencies(recipients, "receive")?,
        agencies(disclosers, "disclose")?,
    ))
}

fn period(root: &At<'_>, provision: &At<'_>) -> Result<(Timestamp, Timestamp), Refusal> {
    let given = root.need("dateTime", "when it was given is missing")?;
    let endless = "without a period it never ends";
    let period = provision.need("period", endless)?;
    let start = period.need("start", "when it begins is missing")?;
    let end = period.need("end", "without an end it never ends")?;
    let (given_at, expires_at) = (given.moment()?, end.moment()?);
    if start.moment()? != given_at {
        return Err(start.refuse("a consent here begins when it was given (`dateTime`)"));
    }
    lasts(&end, given_at, expires_at)?;
    Ok((given_at, expires_at))
}

/// Between something and five years.
pub(super) fn lasts(end: &At<'_>, given: Timestamp, ends: Timestamp) -> Result<(), Refusal> {
    if ends <= given {
        return Err(end.refuse("it would end before it begins"));
    }
    if ends > given.plus_s(MAX_CONSENT_LIFE_S) {
        return Err(end.refuse("a consent lasts five years at most"));
    }
    Ok(())
}

fn giver(root: &At<'_>) -> Result<ConsentGiver, Refusal> {
    let performer = root.need("performer", "who gave it is missing")?;
    let performer = performer.only("expected one performer, who gave it")?;
    let kind = performer.need("type", "expected `Patient` or `RelatedPerson`")?;
    match kind.text()? {
        // That it is the same person is seen when all is compared.
        "Patient" => Ok(ConsentGiver::Subject),
        "RelatedPerson" => {
            let giver = extension(&performer, "giver", "valueCoding")?;
            let code = of_system(&giver, GIVERS, "expected `parent` or `substitute`")?;
            match code.code()? {
                ConsentGiver::Subject => Err(code.refuse("a related person is not the person")),
                giver @ (ConsentGiver::Parent | ConsentGiver::Substitute) => Ok(giver),
            }
        }
        _ => Err(kind.refuse("expected `Patient` or `RelatedPerson`")),
    }
}

/// An extension of ours, if it is there.
fn find_extension<'a>(at: &At<'a>, name: &str) -> Option<At<'a>> {
    let list = at.field("extension")?;
    let url = term(name);
    let place = list
        .value
        .as_array()?
        .iter()
        .position(|e| e.get("url").and_then(Value::as_str) == Some(&url))?;
    Some(At {
        value: list.value.get(place)?,
        path: format!("{}[{place}]", list.path),
    })
}

fn extension<'a>(at: &At<'a>, name: &str, field: &str) -> Result<At<'a>, Refusal> {
    let found = find_extension(at, name).ok_or_else(|| {
        let reason = format!("the extension `{}` is missing", term(name));
        Refusal::new(below(&at.path, "extension"), reason)
    })?;
    found.need(field, "is missing")
}

fn coded<T: FromStr<Err = UnknownCode>>(root: &At<'_>, name: &str) -> Result<T, Refusal> {
    let coding = extension(root, name, "valueCoding")?;
    coding.need("code", "is missing")?.code()
}

fn evidence(root: &At<'_>) -> Result<Option<Commitment>, Refusal> {
    let Some(found) = find_extension(root, "evidence") else {
        return Ok(None);
    };
    let value = found.need("valueString", "is missing")?;
    commitment(&value).map(Some)
}

pub(super) fn commitment(value: &At<'_>) -> Result<Commitment, Refusal> {
    let parsed = Commitment::from_hex(value.text()?);
    parsed.map_err(|error| value.refuse(error.to_string()))
}

fn notice(root: &At<'_>, names: &Names<'_>) -> Result<u32, Refusal> {
    let policy = root.need("policy", "the version of the notice is missing")?;
    let policy = policy.only("expected one policy, the notice that was given")?;
    let uri = policy.need("uri", "the version of the notice is missing")?;
    version(&uri, &names.notices())
}

/// The number behind the name of the notice.
pub(super) fn version(uri: &At<'_>, notices: &str) -> Result<u32, Refusal> {
    let number = uri.text()?.strip_prefix(notices);
    let number = number.and_then(|rest| rest.strip_prefix(':')?.parse().ok());
    number.ok_or_else(|| uri.refuse(format!("expected `{notices}:` and a number")))
}

fn categories(provision: &At<'_>) -> Result<Vec<Category>, Refusal> {
    let all = "without `code` it is for everything: a consent here names each category";
    let mut list = Vec::new();
    for concept in provision.need("code", all)?.items(all)? {
        let code = coding(&concept, CATEGORIES, "expected a category")?;
        list.push((concept, code.code()?));
    }
    distinct(&list)?;
    Ok(list.into_iter().map(|(_, code)| code).collect())
}

fn purposes(provision: &At<'_>) -> Result<Vec<Purpose>, Refusal> {
    let all = "without `purpose` it is for any: a consent here names each purpose";
    let mut list = Vec::new();
    for coding in provision.need("purpose", all)?.items(all)? {
        let code = of_system(&coding, PURPOSES, "expected a purpose")?;
        list.push((coding, purpose(&code)?));
    }
    distinct(&list)?;
    Ok(list.into_iter().map(|(_, code)| code).collect())
}

/// A permission to disclose, without exceptions.
fn permits(provision: &At<'_>) -> Result<(), Refusal> {
    if let Some(nested) = provision.field("provision") {
        return Err(nested.refuse(
            "exceptions can't be held: leave out what is excepted, and record what remains",
        ));
    }
    let kind = provision.need("type", "expected `permit`")?;
    kind.is("permit", "expected `permit`: a refusal is no consent")?;
    let actions = provision.need("action", "expected the action `disclose`")?;
    let action = actions.only("expected the action `disclose` alone")?;
    coding(&action, ACTION, "expected the action `disclose`")?
        .is("disclose", "expected the action `disclose`")
}

/// A purpose that a consent may serve.
pub(super) fn purpose(code: &At<'_>) -> Result<Purpose, Refusal> {
    let purpose: Purpose = code.code()?;
    if purpose.is_prohibited() {
        return Err(code.refuse("the purpose is prohibited, with or without consent"));
    }
    Ok(purpose)
}
