//! The agency's own facts on its disk: sealed, and gone for good once a newer import replaced them,
//! in every copy.

use super::*;
use crate::{
    facts::sealed,
    forget::{self, Left},
    home::Home,
    import,
    state::{PersonRecord, PersonRow},
    testing::{FileOp, HookedDisk},
    vault::Vault,
};
use passerelle_journal::files::OsDisk;
use passerelle_model::store::Read as _;
use std::path::Path;

/// Synthetic, and nowhere else in what a test writes.
const PLANTED: &str = "planted-quillemette-says-no";
const NAME: &str = "Quillemette";

impl Agent {
    /// Both steps of an import but for the keys of what it replaces.
    fn imports_without_end(&self, import: &str, people: Vec<ImportedPerson>) -> Vec<String> {
        let named = import::named(&self.context.vault, &people).unwrap();
        let name = import.to_owned();
        let part = move |context: &Context, _: &dyn passerelle_model::store::Read| {
            Ok((vec![import::part(&context.vault, name, 0, &people)?], ()))
        };
        self.write(NOW, part).unwrap();
        let name = import.to_owned();
        let commit = move |_: &Context, view: &dyn passerelle_model::store::Read| {
            import::commit(view, name, 1, &named)
        };
        self.write(NOW, commit).unwrap()
    }

    pub(super) fn imports(&self, import: &str, people: Vec<ImportedPerson>) {
        let replaced = self.imports_without_end(import, people);
        self.context.vault.destroy_all(&replaced).unwrap();
    }

    fn row(&self, source: &str) -> PersonRow {
        known_in(&self.context.vault, self.core.view(), source).expect("nobody of this id")
    }

    fn opens(&self, source: &str) -> Option<ImportedPerson> {
        let (vault, view) = (&self.context.vault, self.core.view());
        sealed::open(vault, view, &self.row(source)).unwrap()
    }
}

/// By the name of the source's id, or by the id as earlier versions wrote it.
fn known_in(
    vault: &Vault,
    view: &dyn passerelle_model::store::Read,
    id: &str,
) -> Option<PersonRow> {
    let ids = vault.index().unwrap().sources(&SourceId(id.to_owned()));
    ids.iter()
        .find_map(|id| state::person(view, &id.0).unwrap())
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
fn a_journal_without_the_keys_says_nothing_of_who_was_imported() {
    const ID: &str = "file-4711-quillemette";
    let world = world(fact());
    let clinic = &world.clinic;
    let mut person = quillemette("x");
    person.source_id = SourceId(ID.to_owned());
    let digest = Digest::of(&person.person.match_token());
    clinic.imports("k", vec![person.clone()]);
    let index = clinic.context.vault.index().unwrap();
    assert!(known_in(&clinic.context.vault, clinic.core.view(), ID).is_some());
    // The search finds names that are there, and neither what they stand for nor its digests.
    let spellings = |digest: Digest| [digest.to_hex().into_bytes(), digest.0.to_vec()];
    let name = index.source(&person.source_id).0;
    assert!(is_in(clinic.dir.path(), name.as_bytes()));
    assert!(is_in(clinic.dir.path(), &index.token(&person.person).0));
    let plain = [ID.as_bytes().to_vec()];
    let digests = [digest, Digest::of(ID.as_bytes())].map(spellings);
    for text in plain.into_iter().chain(digests.into_iter().flatten()) {
        assert!(!is_in(clinic.dir.path(), &text), "{text:?}");
    }
}

/// Whether any file below `dir` holds these bytes.
fn is_in(dir: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => is_in(&path, bytes),
            false => {
                let file = std::fs::read(&path).unwrap();
                file.windows(bytes.len()).any(|w| w == bytes)
            }
        }
    })
}

#[test]
fn names_by_another_key_take_those_of_before_away() {
    let world = world(fact());
    let clinic = &world.clinic;
    clinic.imports("k", vec![quillemette(PLANTED)]);
    let (people, ..) = clinic.sees();
    // As after a start with a new file of keys: another key makes the names.
    let other = tempfile::tempdir().unwrap();
    let vault = Vault::open_on(&Home::new(other.path()), &OsDisk).unwrap();
    let part = import::part(&vault, "l".into(), 0, &[quillemette("anew")]).unwrap();
    let import = "l".to_owned();
    clinic.happens(vec![part, Event::ImportCommitted { import, parts: 1 }]);
    let view = clinic.core.view();
    let row = known_in(&vault, view, "c-9").unwrap();
    let opened = sealed::open(&vault, view, &row).unwrap().unwrap();
    assert_eq!(opened.facts[0].text.as_deref(), Some("anew"));
    assert!(known_in(&clinic.context.vault, view, "c-9").is_none());
    assert_eq!(state::meta(view).unwrap().people, 1, "of {people}");
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
    let row = known_in(&vault, core.view(), "c-9").unwrap();
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
    assert_eq!(slots.count(), 3, "one for each person, and that of names");
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

impl Agent {
    fn sees(&self) -> (u64, bool, usize) {
        let view = self.core.view();
        let meta = state::meta(view).unwrap();
        let known = known_in(&self.context.vault, view, "c-9").is_some();
        (meta.people, known, self.slots())
    }

    /// Keys in the file.
    fn slots(&self) -> usize {
        let keys = std::fs::read(self.dir.path().join(crate::vault::FILE)).unwrap();
        let slots = keys[64..].chunks(64);
        slots.filter(|slot| slot.iter().any(|b| *b != 0)).count()
    }

    fn forgets(&self, source: &str) -> Result<Left, ErrorCode> {
        let source = SourceId(source.to_owned());
        self.write(NOW, move |context, view| {
            forget::begin(&context.vault, view, &source)
        })
    }

    fn destroys_what_is_due(&self) -> Result<bool, ErrorCode> {
        self.write(NOW, |context, view| {
            forget::destroy_due(&context.vault, view)
        })
    }
}

#[test]
fn who_is_forgotten_opens_in_no_copy_and_no_row_is_left() {
    let world = world(fact());
    let clinic = &world.clinic;
    clinic.imports("k", vec![quillemette(PLANTED)]);
    let (people, known, slots) = clinic.sees();
    assert!(known);
    let backup = tempfile::tempdir().unwrap();
    for part in ["journal", "projection"] {
        copy(&clinic.dir.path().join(part), &backup.path().join(part));
    }
    assert_eq!(clinic.forgets("nobody"), Err(ErrorCode::OutOfRange));
    assert_eq!(clinic.forgets("c-9"), Ok(Left::Nothing));
    assert_eq!(clinic.forgets("c-9"), Err(ErrorCode::OutOfRange));
    // Gone for whoever asks from the first step on, and the key with the second.
    assert_eq!(clinic.sees(), (people - 1, false, slots));
    assert_eq!(clinic.destroys_what_is_due(), Ok(false));
    assert_eq!(clinic.sees(), (people - 1, false, slots - 1));
    let view = clinic.core.view();
    let index = clinic.context.vault.index().unwrap();
    let name = |id: &str| index.source(&SourceId(id.to_owned())).0;
    assert!(forget::was_forgotten(view, &name("c-9")).unwrap());
    assert!(!forget::was_forgotten(view, &name("c-1")).unwrap());
    let token = index.token(&quillemette("x").person);
    let left = view.scan(&state::key::by_token(&token, ""), None, 9);
    assert!(left.unwrap().is_empty());
    assert_eq!(state::handle_of(view, &token).unwrap(), None);
    // The copy from before, with the vault of today.
    let vault = clinic.context.vault.clone();
    let (core, writer) = Core::start(backup.path(), agency("clinic"), vault.clone()).unwrap();
    let row = known_in(&vault, core.view(), "c-9").unwrap();
    assert!(sealed::open(&vault, core.view(), &row).unwrap().is_none());
    drop(core);
    writer.join();
    assert!(clinic.opens("c-1").is_some(), "everybody else goes on");
    // Brought back on purpose, somebody is there as anybody else.
    clinic.imports("l", vec![quillemette(PLANTED)]);
    assert_eq!(clinic.sees(), (people, true, slots));
    assert!(clinic.opens("c-9").is_some());
    assert!(!forget::was_forgotten(clinic.core.view(), &name("c-9")).unwrap());
}

#[test]
fn a_crash_while_somebody_is_forgotten_leaves_nobody_half_known() {
    let world = world(fact());
    let clinic = &world.clinic;
    clinic.imports("k", vec![quillemette(PLANTED)]);
    let (people, _, slots) = clinic.sees();
    clinic.forgets("c-9").unwrap();
    // A start: what nothing keeps is swept, and what is due is done and said.
    clinic.context.vault.sweep(clinic.core.view()).unwrap();
    assert_eq!(clinic.sees(), (people - 1, false, slots - 1));
    assert_eq!(clinic.destroys_what_is_due(), Ok(false));
    let due = forget::destroy_due(&clinic.context.vault, clinic.core.view());
    assert!(due.unwrap().0.is_empty(), "said once");
}

#[test]
fn keys_of_replaced_people_go_with_the_next_step_if_the_import_was_cut_short() {
    let world = world(fact());
    let clinic = &world.clinic;
    clinic.imports("k", vec![quillemette(PLANTED)]);
    let (.., slots) = clinic.sees();
    // Whoever imported has gone before the end.
    clinic.imports_without_end("l", vec![quillemette("withdrawn")]);
    assert_eq!(clinic.slots(), slots + 1);
    assert_eq!(clinic.destroys_what_is_due(), Ok(false));
    assert_eq!(clinic.slots(), slots);
    assert_eq!(
        clinic.opens("c-9").unwrap().facts[0].text.as_deref(),
        Some("withdrawn")
    );
}

#[test]
fn a_full_disk_that_refuses_to_destroy_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let refuses = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let hook = Arc::clone(&refuses);
    let disk = HookedDisk::new(move |_, op| {
        let fails = op == FileOp::Write && hook.load(std::sync::atomic::Ordering::SeqCst);
        match fails {
            // Anything worse stops the agent, and its next start does it.
            true => Err(std::io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    });
    let vault = Vault::open_on(&Home::new(dir.path()), &disk).unwrap();
    let sealed = vault.keep_named("person/1", b"x").unwrap();
    let mut view = passerelle_model::store::Memory::default();
    view.commit([
        (forget::doomed("person/1"), Some(Vec::new())),
        (crate::vault::kept_key("person/1"), Some(sealed.0)),
    ]);
    refuses.store(true, std::sync::atomic::Ordering::SeqCst);
    let refused = forget::destroy_due(&vault, &view);
    assert_eq!(refused.err(), Some(ErrorCode::Storage));
    refuses.store(false, std::sync::atomic::Ordering::SeqCst);
    let (events, more) = forget::destroy_due(&vault, &view).unwrap();
    let said = matches!(&events[..], [Event::KeysDestroyed { names }] if names == &["person/1"]);
    assert!(said && !more);
    assert!(vault.open_named(&view, "person/1").unwrap().is_none());
}
