//! The agency's own facts on its disk: sealed, and gone for good once a newer import replaced them,
//! in every copy.

use super::*;
use crate::{
    facts::sealed,
    import,
    state::{PersonRecord, PersonRow},
};
use std::path::Path;

/// Synthetic, and nowhere else in what a test writes.
const PLANTED: &str = "planted-quillemette-says-no";
const NAME: &str = "Quillemette";

impl Agent {
    /// Both steps of an import but for the keys of what it replaces.
    fn imports_without_end(&self, import: &str, people: Vec<ImportedPerson>) -> Vec<String> {
        let sources: Vec<_> = people.iter().map(|p| p.source_id.clone()).collect();
        let name = import.to_owned();
        let part = move |context: &Context, _: &dyn passerelle_model::store::Read| {
            Ok((vec![import::part(&context.vault, name, 0, &people)?], ()))
        };
        self.write(NOW, part).unwrap();
        let name = import.to_owned();
        let commit = move |_: &Context, view: &dyn passerelle_model::store::Read| {
            import::commit(view, name, 1, &sources)
        };
        self.write(NOW, commit).unwrap()
    }

    pub(super) fn imports(&self, import: &str, people: Vec<ImportedPerson>) {
        let replaced = self.imports_without_end(import, people);
        self.context.vault.destroy_all(&replaced).unwrap();
    }

    fn row(&self, source: &str) -> PersonRow {
        let row = state::person(self.core.view(), source);
        row.unwrap().expect("nobody of this id")
    }

    fn opens(&self, source: &str) -> Option<ImportedPerson> {
        let (vault, view) = (&self.context.vault, self.core.view());
        sealed::open(vault, view, &self.row(source)).unwrap()
    }
}

fn quillemette(text: &str) -> ImportedPerson {
    let person = Person::new(NAME, "Odile", "1961-02-03".parse().unwrap(), None).unwrap();
    let fact = Fact {
        text: Some(text.to_owned()),
        ..fact()
    };
    imported("c-9", person, fact)
}

/// The files below `dir` that hold `text` somewhere, in any spelling of its letters.
fn holding(dir: &Path, text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, &text));
        } else {
            let bytes = std::fs::read(&path).unwrap().to_ascii_lowercase();
            if bytes.windows(text.len()).any(|w| w == text.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn neither_journal_nor_projection_shows_an_imported_person() {
    let world = world(fact());
    let clinic = &world.clinic;
    clinic.imports("k", vec![quillemette(PLANTED)]);
    let known = clinic.opens("c-9").unwrap();
    assert_eq!(known.facts[0].text.as_deref(), Some(PLANTED));
    assert_eq!(known.person.family_name(), NAME);
    assert!(matches!(clinic.row("c-9").record, PersonRecord::Sealed(_)));
    assert_eq!(holding(clinic.dir.path(), PLANTED), [""; 0]);
    assert_eq!(holding(clinic.dir.path(), NAME), [""; 0]);
    // The search finds what is there: an import that was not sealed.
    clinic.happens(import(Fact {
        text: Some(PLANTED.to_owned()),
        ..fact()
    }));
    assert!(!holding(clinic.dir.path(), PLANTED).is_empty());
}

#[test]
fn what_a_newer_import_replaced_opens_in_no_copy_with_the_keys_of_today() {
    let world = world(fact());
    let clinic = &world.clinic;
    clinic.imports("k", vec![quillemette(PLANTED)]);
    let backup = tempfile::tempdir().unwrap();
    for part in ["journal", "projection"] {
        copy(&clinic.dir.path().join(part), &backup.path().join(part));
    }
    let before = clinic.opens("c-9").unwrap();
    clinic.imports("l", vec![quillemette("withdrawn")]);
    let now = clinic.opens("c-9").unwrap();
    assert_eq!(now.facts[0].text.as_deref(), Some("withdrawn"));
    assert_eq!(now.person, before.person);
    // The copy from before, with the vault of today: the row is there, and nothing opens it.
    let vault = clinic.context.vault.clone();
    let (core, writer) = Core::start(backup.path(), agency("clinic"), vault.clone()).unwrap();
    let row = state::person(core.view(), "c-9").unwrap().unwrap();
    assert!(sealed::open(&vault, core.view(), &row).unwrap().is_none());
    drop(core);
    writer.join();
    // Everybody else goes on.
    assert!(clinic.opens("c-1").is_some());
}

#[test]
fn a_crash_between_an_import_and_its_end_leaves_no_key_of_what_was_replaced() {
    let world = world(fact());
    let clinic = &world.clinic;
    clinic.imports("k", vec![quillemette(PLANTED)]);
    let old = clinic.row("c-9");
    let replaced = clinic.imports_without_end("l", vec![quillemette("withdrawn")]);
    assert_eq!(replaced.len(), 1);
    // And one that never came to its end, with a key of its own.
    let lost = |context: &Context, _: &dyn passerelle_model::store::Read| {
        let people = [quillemette(PLANTED)];
        Ok((
            vec![import::part(&context.vault, "m".into(), 0, &people)?],
            (),
        ))
    };
    clinic.write(NOW, lost).unwrap();
    let (vault, view) = (&clinic.context.vault, clinic.core.view());
    vault.sweep(view).unwrap();
    assert!(sealed::open(vault, view, &old).unwrap().is_none());
    assert!(clinic.opens("c-9").is_some() && clinic.opens("c-1").is_some());
    let keys = std::fs::read(clinic.dir.path().join(crate::vault::FILE)).unwrap();
    let slots = keys[64..]
        .chunks(64)
        .filter(|slot| slot.iter().any(|b| *b != 0));
    assert_eq!(slots.count(), 2, "one for each person");
}

#[test]
fn a_record_whose_key_is_gone_counts_as_none_and_harms_no_other() {
    let world = world(fact());
    let clinic = &world.clinic;
    clinic.imports("k", vec![quillemette(PLANTED)]);
    let rows = [clinic.row("c-9"), clinic.row("c-1")];
    let mut lost = clinic.row("c-9");
    let PersonRecord::Sealed(name) = &clinic.row("c-1").record else {
        panic!("not sealed");
    };
    lost.record = PersonRecord::Sealed(format!("{name}x"));
    let (vault, view) = (&clinic.context.vault, clinic.core.view());
    assert_eq!(sealed::open_all(vault, view, &rows).unwrap().len(), 2);
    let rows = [lost, clinic.row("c-1")];
    assert_eq!(sealed::open_all(vault, view, &rows).unwrap().len(), 1);
}
