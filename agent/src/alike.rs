//! At stage 2 of a table: the codes of somebody, told as finely as enough people share them.
//!
//! In scope: counting this agency's own people, the reduced facts told less finely, the warning for
//! whoever releases them. Out of scope: the steps, and how many are enough
//! ([`passerelle_policies::alike`]).
//!
//! What is told never depends on what was asked, but on all that is on record: somebody who asks for
//! the age today and for the gender tomorrow has no more than who asks for both.

use crate::{
    context::Context,
    date::Date,
    facts::{
        csv_import::ImportedPerson,
        reduce::{ReducedFact, derived_facts},
        sealed::{self, PersonRow},
    },
    holder::storage,
    state::{self, key},
};
use passerelle_model::{
    error::ErrorCode,
    ids::CaseId,
    store::Read,
    time::Timestamp,
    vocabulary::{Category, Language},
};
use passerelle_policies::alike::{Crowd, Details, Generalised, Step, told_instead};
use passerelle_proto::views::FewAlike;
use std::collections::{BTreeMap, BTreeSet};

/// The id under which the agency's journal says that something was told less finely.
pub(crate) const RULE: &str = "few_alike";

/// Most people that are looked at for one answer. Who is not looked at shares nothing: less is told.
const MAX_LOOKED_AT: usize = 10_000;
/// How many are read at once.
const PAGE: usize = 256;

/// What is on record of one person: in several records, if the source has her or him twice.
fn details(records: &[ImportedPerson], today: Option<Date>) -> Details {
    let mut details = Details::default();
    for record in records {
        let derived = today.map(|at| derived_facts(&record.person, at));
        for fact in record.facts.iter().chain(derived.iter().flatten()) {
            if let Some(code) = &fact.code {
                details.add(fact.category, code);
            }
        }
    }
    details
}

/// At most [`PAGE`] people after the source's id `after`, in order.
fn people_after(view: &dyn Read, after: Option<&str>) -> Result<Vec<PersonRow>, ErrorCode> {
    let after = after.map(|source| key::of(key::PERSON, source.as_bytes()));
    let rows = view.scan(key::PERSON.as_bytes(), after.as_deref(), PAGE);
    let mut people = Vec::new();
    for (key, _) in rows.map_err(storage)? {
        people.extend(state::load(view, &key).map_err(storage)?);
    }
    Ok(people)
}

/// How finely the codes of the person with these records may be told.
///
/// # Errors
/// The storage.
pub(crate) fn step(
    context: &Context,
    view: &dyn Read,
    records: &[ImportedPerson],
    now: Timestamp,
) -> Result<Step, ErrorCode> {
    let (today, town) = (Date::of(now), context.config.town());
    let mut crowd = Crowd::around(&details(records, today));
    // Two records of one person are one person.
    let mut met = BTreeSet::new();
    let mut after: Option<String> = None;
    let mut looked_at: usize = 0;
    while !crowd.is_settled(&town) && looked_at < MAX_LOOKED_AT {
        let mut page = people_after(view, after.as_deref())?;
        let Some(last) = page.last() else { break };
        after = Some(last.source_id.0.clone());
        looked_at = looked_at.saturating_add(page.len());
        page.retain(|row| met.insert(row.token));
        for person in sealed::open_all(&context.vault, view, &page)? {
            crowd.meet(&details(&[person], today));
        }
    }
    Ok(crowd.step(&town))
}

/// The reduced facts of one category as `step` tells them, and whether that is less than they say.
///
/// Since when somebody is involved goes too: it narrows, and nobody counts who else is since then.
pub(crate) fn tell(reduced: Vec<ReducedFact>, step: Step) -> (Vec<ReducedFact>, bool) {
    if step == Step::Nothing {
        let is_changed = !reduced.is_empty();
        return (Vec::new(), is_changed);
    }
    let mut is_changed = false;
    let mut told = Vec::with_capacity(reduced.len());
    for mut fact in reduced {
        (fact.since, fact.text, fact.date) = (None, None, None);
        if let Some(code) = fact.code.take() {
            (fact.code, fact.generalised) = step.tell(fact.category, &code);
            is_changed |= fact.generalised.is_some();
        }
        told.push(fact);
    }
    told.sort();
    told.dedup();
    (told, is_changed)
}

/// The warning for whoever here releases, or is about to release, what is on record of the person
/// whom this agency brought to a table; none if enough people share it, or it brought nobody.
///
/// # Errors
/// The storage.
pub(crate) fn warning(
    context: &Context,
    view: &dyn Read,
    case: &CaseId,
    now: Timestamp,
) -> Result<Option<FewAlike>, ErrorCode> {
    let Some(label) = state::label(view, case.as_str()).map_err(storage)? else {
        return Ok(None);
    };
    let rows = state::people_by_handle(view, &label.handle).map_err(storage)?;
    let records = sealed::open_all(&context.vault, view, &rows)?;
    let details = details(&records, Date::of(now));
    if details.categories().is_empty() {
        return Ok(None);
    }
    let step = step(context, view, &records, now)?;
    if step == Step::AsRecorded {
        return Ok(None);
    }
    let told: BTreeMap<_, _> = details
        .categories()
        .into_iter()
        .filter_map(|category| Some((category, details.generalised(step, category)?)))
        .collect();
    let town = context.config.town();
    let anything = step != Step::Nothing;
    Ok(Some(FewAlike {
        least: town.least,
        population: town.population,
        explained_en: explained(town.least, &told, anything, Language::English),
        explained_fr: explained(town.least, &told, anything, Language::French),
        told: told
            .iter()
            .map(|(category, how)| (category.code().to_owned(), how.code().to_owned()))
            .collect(),
        anything,
    }))
}

fn explained(
    least: u64,
    told: &BTreeMap<Category, Generalised>,
    anything: bool,
    language: Language,
) -> String {
    let french = language == Language::French;
    if !anything {
        return match french {
            false => format!(
                "Fewer than {least} people share what is on record, even in general terms: it can't \
                 be said without saying who it is, so nothing is."
            ),
            true => format!(
                "Moins de {least} personnes ont en commun ce qui est au dossier, même en termes \
                 généraux : on ne peut pas le dire sans dire de qui il s’agit, donc rien n’est dit."
            ),
        };
    }
    let all = told_instead(told, language);
    match french {
        false => format!(
            "Fewer than {least} people share what is on record: it could say who it is. \
             Told instead: {all}."
        ),
        true => format!(
            "Moins de {least} personnes ont en commun ce qui est au dossier : on pourrait deviner \
             de qui il s’agit. Dit à la place : {all}."
        ),
    }
}
