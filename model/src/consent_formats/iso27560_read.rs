//! Reads the consent record of ISO/IEC TS 27560 in the form in which it is written here: what the
//! record is made of, then all of it against what would be written (see [`super::same`]).
//!
//! JSON-LD lets one document be written in many ways; only this one is read. Another context could
//! give every word another meaning, and none is fetched.

use super::{
    ConsentFile, Identity, Party, Read, Refusal, Standing, Surroundings,
    at::{At, distinct},
    fhir_read::{commitment, lasts, purpose, version},
    iso27560::{self, LISTS},
    names::{
        CAPACITIES, CATEGORIES, GIVERS, METHODS, Names, Own, PURPOSES, code, identity, own_identity,
    },
    same::must_be,
};
use crate::{
    ids::{AgencyId, FederationId},
    vocabulary::{Category, ConsentGiver, Purpose, UnknownCode},
};
use serde_json::Value;
use std::str::FromStr;

pub(super) fn read(mut value: Value, federation: &FederationId) -> Result<Read, Refusal> {
    lists(&mut value);
    let root = At::root(&value);
    root.need("@type", "is missing")?.is(
        "dpv:ConsentRecord",
        "expected one `dpv:ConsentRecord` a file",
    )?;
    let surroundings = around(&root, federation)?;
    let file = consent(&root, federation)?;
    check(&file, &surroundings)?;
    canonical_times(&mut value, &file);
    let written = iso27560::record(&file, &Standing::default(), &surroundings);
    must_be("$", &value, &written)?;
    let not_kept = ["$.dpv:hasEntity", "$.dpv:hasJurisdiction", STORAGE];
    Ok(Read {
        file,
        surroundings: Some(surroundings),
        not_kept: not_kept.map(str::to_owned).into(),
    })
}

const STORAGE: &str = "$.dpv:hasProcess.dpv:hasStorageCondition";

/// One value and a list of one value are the same in JSON-LD.
fn lists(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                // In the context a name is defined, not used.
                if name == "@context" {
                    continue;
                }
                lists(value);
                if LISTS.contains(&name.as_str()) && !value.is_array() {
                    *value = Value::Array(vec![value.take()]);
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(lists),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn canonical_times(value: &mut Value, file: &ConsentFile) {
    let state = "/dpv:hasConsentStatus/0";
    for (pointer, at) in [
        (format!("{state}/dpv:isIndicatedAtTime"), file.given_at),
        (format!("{state}/{ENDS}"), file.expires_at),
    ] {
        if let Some(place) = value.pointer_mut(&pointer) {
            *place = Value::String(super::instant::text(at));
        }
    }
}

const ENDS: &str = "dpv:hasDuration/rdf:value/@value";

fn consent(root: &At<'_>, federation: &FederationId) -> Result<ConsentFile, Refusal> {
    let names = Names(federation);
    let state = given(root)?;
    let process = root.need("dpv:hasProcess", "what may be shared is missing")?;
    let subject = root.need("dpv:hasDataSubject", "a consent of nobody is none")?;
    let notice = root.need("dpv:hasNotice", "the notice that was given is missing")?;
    let field = |name| state.need(name, "is missing");
    let given_at = field("dpv:isIndicatedAtTime")?.moment()?;
    let ends = ends(&state)?;
    let expires_at = ends.moment()?;
    lasts(&ends, given_at, expires_at)?;
    let publisher = root.need("dct:publisher", "the agency that recorded it is missing")?;
    let redisclosure =
        process.need("psr:redisclosure", "whether it may be passed on is missing")?;
    let evidence = state.field("psr:evidence");
    Ok(ConsentFile {
        federation: federation.clone(),
        record: node_identity(root, &names.consents())?,
        subject: node_identity(&subject, &names.handles())?,
        recorded_by: agency(&publisher, &names)?,
        giver: giver(&field("dpv:isIndicatedBy")?)?,
        capacity: code_of(&field("psr:capacity")?, CAPACITIES)?,
        categories: categories(&process)?,
        purposes: purposes(&process)?,
        recipients: agencies(&process, "dpv:hasRecipient", &names)?,
        disclosers: agencies(&process, "dpv:hasDataController", &names)?,
        method: code_of(&field("dpv:hasIndicationMethod")?, METHODS)?,
        language: notice.need("dct:language", "is missing")?.code()?,
        interpreter: field("psr:interpreter")?.boolean()?,
        notice_version: version(&notice.need("@id", "is missing")?, &names.notices())?,
        given_at,
        expires_at,
        redisclosure: redisclosure.boolean()?,
        evidence: evidence.map(|value| commitment(&value)).transpose()?,
    })
}

/// The only state, which is that it was given.
fn given<'a>(root: &At<'a>) -> Result<At<'a>, Refusal> {
    let states = root.need("dpv:hasConsentStatus", "whether it was given is missing")?;
    let state = states.only(
        "expected one state, that it was given: what was withdrawn or is over can't be recorded",
    )?;
    let kind = state.need("@type", "is missing")?;
    let is_given = kind.value.as_array().is_some_and(|kinds| {
        kinds
            .iter()
            .any(|kind| kind.as_str() == Some("dpv:ConsentGiven"))
    });
    if !is_given {
        return Err(kind.refuse(format!(
            "expected `dpv:ConsentGiven` and `{}`: no other state can be recorded",
            iso27560::EXPLICIT
        )));
    }
    Ok(state)
}

fn ends<'a>(state: &At<'a>) -> Result<At<'a>, Refusal> {
    let endless = "without `dpv:UntilTimeDuration` it never ends";
    let duration = state.need("dpv:hasDuration", endless)?;
    duration
        .need("@type", endless)?
        .is("dpv:UntilTimeDuration", endless)?;
    duration.need("rdf:value", endless)?.need("@value", endless)
}

/// Who or what a node is about: its IRI and its identifier.
fn node_identity<T: Own>(node: &At<'_>, own: &str) -> Result<Identity<T>, Refusal> {
    let iri = node.need("@id", "is missing")?;
    let value = node.need("dct:identifier", "is missing")?;
    let text = iri.text()?;
    if text == code(own, value.text()?) {
        return own_identity(&value);
    }
    if text.starts_with(own) {
        return Err(iri.refuse("is not the IRI of this `dct:identifier`"));
    }
    identity(&iri, &value, own)
}

fn agency(iri: &At<'_>, names: &Names<'_>) -> Result<AgencyId, Refusal> {
    let system = names.agencies();
    let name = iri.text()?.strip_prefix(&system);
    let name = name.and_then(|rest| rest.strip_prefix(':')?.parse().ok());
    name.ok_or_else(|| {
        iri.refuse(format!(
            "expected `{system}:` and its name: only agencies of this federation are known"
        ))
    })
}

fn agencies(process: &At<'_>, field: &str, names: &Names<'_>) -> Result<Vec<AgencyId>, Refusal> {
    let nobody = "names nobody: a consent here names each agency";
    let mut list = Vec::new();
    for iri in process.need(field, nobody)?.items(nobody)? {
        let agency = agency(&iri, names)?;
        list.push((iri, agency));
    }
    distinct(&list)?;
    Ok(list.into_iter().map(|(_, agency)| agency).collect())
}

/// The code that an IRI of ours stands for.
fn code_of<T: FromStr<Err = UnknownCode>>(iri: &At<'_>, system: &str) -> Result<T, Refusal> {
    let code = iri.text()?.strip_prefix(system);
    let code = code.and_then(|rest| rest.strip_prefix(':'));
    let code = code.ok_or_else(|| iri.refuse(format!("expected `{system}:` and a code")))?;
    code.parse()
        .map_err(|error: UnknownCode| iri.refuse(error.to_string()))
}

fn giver(iri: &At<'_>) -> Result<ConsentGiver, Refusal> {
    let text = iri.text()?;
    let found = ConsentGiver::ALL.iter().copied();
    let mut found = found.filter(|known| iso27560::giver(*known) == text);
    found.next().ok_or_else(|| {
        iri.refuse(format!(
            "expected `dpv:DataSubject`, `dpv:ParentOfDataSubject` or `{}`",
            code(GIVERS, ConsentGiver::Substitute.code())
        ))
    })
}

fn categories(process: &At<'_>) -> Result<Vec<Category>, Refusal> {
    let all = "without categories it is for everything: a consent here names each";
    let mut list = Vec::new();
    for node in process.need("dpv:hasPersonalData", all)?.items(all)? {
        let category = code_of(&node.need("@id", "is missing")?, CATEGORIES)?;
        list.push((node, category));
    }
    distinct(&list)?;
    Ok(list.into_iter().map(|(_, category)| category).collect())
}

fn purposes(process: &At<'_>) -> Result<Vec<Purpose>, Refusal> {
    let all = "without purposes it is for any: a consent here names each";
    let mut list = Vec::new();
    for node in process.need("dpv:hasPurpose", all)?.items(all)? {
        let iri = node.need("@id", "is missing")?;
        let code: Purpose = code_of(&iri, PURPOSES)?;
        let bare = Value::String(code.code().to_owned());
        let path = iri.path.clone();
        purpose(&At { value: &bare, path })?;
        list.push((node, code));
    }
    distinct(&list)?;
    Ok(list.into_iter().map(|(_, purpose)| purpose).collect())
}

fn around(root: &At<'_>, federation: &FederationId) -> Result<Surroundings, Refusal> {
    let missing = "is mandatory in ISO/IEC TS 27560";
    let places = |list: At<'_>| -> Result<Vec<String>, Refusal> {
        let mut codes = Vec::new();
        for place in list.items(missing)? {
            let code = place.text()?.strip_prefix("loc:").filter(|c| is_place(c));
            let code = code.ok_or_else(|| place.refuse(PLACE))?.to_owned();
            codes.push((place, code));
        }
        distinct(&codes)?;
        Ok(codes.into_iter().map(|(_, code)| code).collect())
    };
    let process = root.need("dpv:hasProcess", "what may be shared is missing")?;
    let conditions = process.need("dpv:hasStorageCondition", missing)?;
    let mut storage = Vec::new();
    for condition in conditions.items(missing)? {
        if let Some(locations) = condition.field("dpv:hasLocation") {
            storage.extend(places(locations)?);
        }
    }
    let mut surroundings = Surroundings {
        jurisdictions: places(root.need("dpv:hasJurisdiction", missing)?)?,
        storage,
        party: std::collections::BTreeMap::new(),
    };
    let names = Names(federation);
    for entity in root.need("dpv:hasEntity", missing)?.items(missing)? {
        let iri = entity.need("@id", missing)?;
        let text = |field, below| -> Result<String, Refusal> {
            let place: At<'_> = entity.need(field, missing)?;
            Ok(place.need(below, missing)?.text()?.to_owned())
        };
        let party = Party {
            name: entity.need("dpv:hasName", missing)?.text()?.to_owned(),
            address: text("schema:address", "schema:streetAddress")?,
            contact: text("schema:contactPoint", "schema:description")?,
        };
        if surroundings
            .party
            .insert(agency(&iri, &names)?, party)
            .is_some()
        {
            return Err(iri.refuse("is there twice"));
        }
    }
    Ok(surroundings)
}

const PLACE: &str = "expected the ISO 3166 code of a country or of a part of one, such as `CA` or \
                     `CA-QC`, or `EU`";

/// Of this form; `EU` is too.
fn is_place(code: &str) -> bool {
    let letters = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase());
    match code.split_once('-') {
        None => letters(code),
        Some((country, part)) => {
            let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
            letters(country) && (1..=3).contains(&part.len()) && part.bytes().all(plain)
        }
    }
}

/// Whether the record can be written with these surroundings.
pub(super) fn check(file: &ConsentFile, surroundings: &Surroundings) -> Result<(), Refusal> {
    for (field, places) in [
        ("jurisdictions", &surroundings.jurisdictions),
        ("storage", &surroundings.storage),
    ] {
        let path = format!("$.{field}");
        if places.is_empty() {
            return Err(Refusal::new(path, "is mandatory in ISO/IEC TS 27560"));
        }
        let is_twice = |(n, place)| places.iter().take(n).any(|before| before == place);
        if !places.iter().all(|code| is_place(code)) || places.iter().enumerate().any(is_twice) {
            return Err(Refusal::new(path, PLACE));
        }
    }
    for agency in file.agencies() {
        let path = format!("$.party.{agency}");
        let Some(party) = surroundings.party.get(agency) else {
            let reason = "name, address and contact of each agency that the consent names are \
                          mandatory in ISO/IEC TS 27560";
            return Err(Refusal::new(path, reason));
        };
        for text in [&party.name, &party.address, &party.contact] {
            let value = Value::String(text.clone());
            At {
                value: &value,
                path: path.clone(),
            }
            .text()?;
        }
    }
    Ok(())
}
