//! What an import, and the handles that are found after it, do to the projection.
//!
//! In scope: the rows of people. Out of scope: journaling an import ([`crate::import`]), what is
//! sealed in it ([`crate::facts::sealed`]). Without checks that could differ at a replay: a person is
//! never opened here, for the key may be gone by then.

use crate::{
    apply::edit_meta,
    facts::{
        csv_import::{ImportedPerson, SourceId},
        sealed::{SealedPart, SealedPerson},
    },
    forget, near_index,
    state::{self, PersonRecord, PersonRow, Weight, key},
    vault,
};
use passerelle_model::{
    bytes::{Digest, Handle},
    store::{Overlay, Read as _, StoreError},
    vocabulary::Category,
};
use serde::{Deserialize, Serialize};

/// A part of an import that waits for the event which commits it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Staged {
    /// As versions that did not seal wrote it.
    Plain(Vec<ImportedPerson>),
    /// Each person sealed.
    Sealed(SealedPart),
}

pub(crate) fn handle_found(
    view: &mut Overlay<'_>,
    token: &Digest,
    handle: &Handle,
) -> Result<(), StoreError> {
    state::put(view, key::of(key::TOKEN, &token.0), handle)?;
    let prefix = key::by_token(token, "");
    for (key, _) in view.scan(&prefix, None, state::MAX_ROWS)? {
        let source = key.get(prefix.len()..).unwrap_or_default();
        let person_key = key::of(key::PERSON, source);
        let Some(mut row) = state::load::<PersonRow>(view, &person_key)? else {
            continue;
        };
        if row.handle.is_none() {
            view.write(key::of(key::NO_HANDLE, source), None);
            edit_meta(view, |m| {
                m.without_handle = m.without_handle.saturating_sub(1)
            })?;
        }
        row.handle = Some(*handle);
        view.write(key::by_handle(handle, &row.source_id.0), Some(Vec::new()));
        state::put(view, person_key, &row)?;
    }
    Ok(())
}

pub(crate) fn import_committed(
    view: &mut Overlay<'_>,
    import: &str,
    parts: u32,
) -> Result<(), StoreError> {
    for part in 0..parts {
        let staged = key::staged(import, part);
        let people: Staged = state::load(view, &staged)?
            .ok_or_else(|| StoreError("a part of an import is missing".to_owned()))?;
        view.write(staged, None);
        match people {
            Staged::Plain(people) => people.into_iter().try_for_each(|p| put_plain(view, p))?,
            Staged::Sealed(SealedPart {
                people,
                weights,
                marks,
                check,
            }) => {
                take_names(view, check)?;
                for mark in marks {
                    view.write(key::of(key::MARK, &mark.0), Some(Vec::new()));
                }
                people.into_iter().try_for_each(|p| put_sealed(view, p))?;
                for (category, weight) in weights {
                    note_weight(view, category, weight)?;
                }
            }
        }
    }
    Ok(())
}

/// Names by another key than before: nobody is found by those of before, and a record that is
/// imported anew would stand beside the old one, which no import could replace. All of those go.
fn take_names(view: &mut Overlay<'_>, check: Option<Digest>) -> Result<(), StoreError> {
    let Some(check) = check else { return Ok(()) };
    let before: Option<Digest> = state::load(view, key::NAMED_BY)?;
    if before == Some(check) {
        return Ok(());
    }
    state::put(view, key::NAMED_BY.to_vec(), &check)?;
    if before.is_none() {
        return Ok(());
    }
    loop {
        let rows = view.scan(key::PERSON.as_bytes(), None, state::MAX_ROWS)?;
        if rows.is_empty() {
            return Ok(());
        }
        for (person_key, _) in rows {
            if let Some(row) = state::load::<PersonRow>(view, &person_key)? {
                take_away(view, &row)?;
                edit_meta(view, |m| m.people = m.people.saturating_sub(1))?;
            }
            view.write(person_key, None);
        }
    }
}

fn put_plain(view: &mut Overlay<'_>, person: ImportedPerson) -> Result<(), StoreError> {
    for fact in &person.facts {
        note_weight(view, fact.category, Weight::of(fact))?;
    }
    let row = PersonRow {
        source_id: person.source_id.clone(),
        facts: person.facts.len() as u64,
        token: Digest::of(&person.person.match_token()),
        handle: None,
        record: PersonRecord::Plain(Box::new(person)),
    };
    put_person(view, row)
}

fn put_sealed(view: &mut Overlay<'_>, person: SealedPerson) -> Result<(), StoreError> {
    let SealedPerson {
        source_id,
        token,
        facts,
        name,
        sealed,
    } = person;
    view.write(vault::kept_key(&name), Some(sealed.0));
    let row = PersonRow {
        source_id,
        facts,
        token,
        handle: None,
        record: PersonRecord::Sealed(name),
    };
    put_person(view, row)
}

fn put_person(view: &mut Overlay<'_>, mut row: PersonRow) -> Result<(), StoreError> {
    let SourceId(source) = row.source_id.clone();
    if let Some(old) = state::person(view, &source)? {
        // The row replaces the old one whole: also under another name, after a correction.
        take_away(view, &old)?;
        if old.token != row.token {
            near_index::went(view, &old.token)?;
        }
    } else {
        edit_meta(view, |m| m.people = m.people.saturating_add(1))?;
    }
    // Imported anew, on purpose: see the import.
    view.write(forget::mark(&source), None);
    row.handle = state::handle_of(view, &row.token)?;
    view.write(key::by_token(&row.token, &source), Some(Vec::new()));
    near_index::came(view, &row.token)?;
    match &row.handle {
        Some(handle) => view.write(key::by_handle(handle, &source), Some(Vec::new())),
        None => view.write(key::of(key::NO_HANDLE, source.as_bytes()), Some(Vec::new())),
    }
    edit_meta(view, |m| {
        m.facts = m.facts.saturating_add(row.facts);
        m.without_handle = m
            .without_handle
            .saturating_add(u64::from(row.handle.is_none()));
    })?;
    state::put(view, key::of(key::PERSON, source.as_bytes()), &row)
}

/// All rows of a person but the one itself. What was sealed opens no more from here on; its key is
/// to be destroyed.
fn take_away(view: &mut Overlay<'_>, old: &PersonRow) -> Result<(), StoreError> {
    let SourceId(source) = &old.source_id;
    view.write(key::by_token(&old.token, source), None);
    match old.handle {
        Some(handle) => view.write(key::by_handle(&handle, source), None),
        None => {
            view.write(key::of(key::NO_HANDLE, source.as_bytes()), None);
            edit_meta(view, |m| {
                m.without_handle = m.without_handle.saturating_sub(1)
            })?;
        }
    }
    if let PersonRecord::Sealed(name) = &old.record {
        view.write(vault::kept_key(name), None);
        view.write(forget::doomed(name), Some(Vec::new()));
    }
    edit_meta(view, |m| m.facts = m.facts.saturating_sub(old.facts))
}

/// Carries out [`crate::event::Event::PersonForgotten`].
pub(crate) fn forgotten(
    view: &mut Overlay<'_>,
    source: &SourceId,
    mark: Option<&SourceId>,
) -> Result<(), StoreError> {
    let Some(old) = state::person(view, &source.0)? else {
        return Ok(());
    };
    take_away(view, &old)?;
    near_index::went(view, &old.token)?;
    view.write(key::of(key::PERSON, source.0.as_bytes()), None);
    if let Some(SourceId(name)) = mark {
        view.write(forget::mark(name), Some(Vec::new()));
    }
    edit_meta(view, |m| m.people = m.people.saturating_sub(1))?;
    let others = view.scan(&key::by_token(&old.token, ""), None, 1)?;
    if others.is_empty() {
        // Nobody of this name and birth date is left: that somebody was is nobody's to find.
        view.write(key::of(key::TOKEN, &old.token.0), None);
    }
    Ok(())
}

/// Only ever grows: a category in which one record needed a person's look keeps getting it.
fn note_weight(
    view: &mut Overlay<'_>,
    category: Category,
    weight: Weight,
) -> Result<(), StoreError> {
    let mut seen = state::wary(view, category)?;
    if !seen.insert(weight) {
        return Ok(());
    }
    let key = key::of(key::WARY, category.code().as_bytes());
    state::put(view, key, &seen)
}
