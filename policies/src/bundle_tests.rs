use super::*;

fn shipped() -> Bundle {
    Bundle::shipped(None).unwrap()
}

/// The shipped bundle's form, changed, as a file.
fn forged(change: impl FnOnce(&mut Form)) -> Vec<u8> {
    let mut form: Form = serde_json::from_slice(&shipped().to_bytes().unwrap()).unwrap();
    change(&mut form);
    canonical::to_vec(&form).unwrap()
}

fn refusal(bytes: &[u8]) -> String {
    Bundle::from_bytes(bytes).unwrap_err().to_string()
}

#[test]
fn a_bundle_file_brings_back_the_same_rules_and_the_same_digest() {
    let bundle = shipped();
    let bytes = bundle.to_bytes().unwrap();
    assert!(bytes.len() < MAX_BUNDLE_BYTES / 2, "{}", bytes.len());
    let read = Bundle::from_bytes(&bytes).unwrap();
    assert_eq!(read, bundle);
    assert_eq!(read.terms(), &BundleTerms::founding(read.digest()));
    let embedded = CedarPdp::load_embedded().unwrap();
    assert_eq!(read.digest(), embedded.library().digest());
    let pdp = read.load().unwrap();
    assert_eq!(pdp.library().digest(), read.digest());
    assert_eq!(pdp.library().rules(), embedded.library().rules());
}

#[test]
fn the_choice_of_packs_and_the_place_are_in_the_file_and_only_the_choice_in_the_digest() {
    let packs = BTreeSet::from(["ca-qc".to_owned()]);
    let some = Bundle::shipped(Some(&packs)).unwrap();
    let by_packs = CedarPdp::load_with_packs(&packs).unwrap();
    assert_eq!(some.digest(), by_packs.library().digest());
    assert_ne!(some.digest(), shipped().digest());
    let later = BundleTerms {
        revision: 3,
        ..shipped().terms().clone()
    };
    let later = Bundle::new(embedded_files(), later).unwrap();
    assert_eq!(later.digest(), shipped().digest());
    assert_ne!(later.to_bytes().unwrap(), shipped().to_bytes().unwrap());
    assert_ne!(
        later.terms().digest().unwrap(),
        shipped().terms().digest().unwrap()
    );
}

#[test]
fn a_changed_a_missing_and_an_unnamed_file_are_each_refused_by_name() {
    let path = "policies/guards.cedar";
    let changed = refusal(&forged(|form| {
        form.files.get_mut(path).unwrap().push('\n');
    }));
    assert!(
        changed.contains("`policies/guards.cedar`: changed"),
        "{changed}"
    );
    let missing = refusal(&forged(|form| drop(form.files.remove(path))));
    assert!(
        missing.contains("`policies/guards.cedar`: missing"),
        "{missing}"
    );
    let unnamed = refusal(&forged(|form| {
        form.manifest.files.remove(path);
    }));
    assert!(
        unnamed.contains("`policies/guards.cedar`: not in the manifest"),
        "{unnamed}"
    );
    let unknown = refusal(&forged(|form| {
        let text = "permit (principal, action, resource);";
        form.files.insert("extra.cedar".to_owned(), text.to_owned());
        let hash = Digest::of(text.as_bytes());
        form.manifest.files.insert("extra.cedar".to_owned(), hash);
    }));
    assert!(
        unknown.contains("`extra.cedar`: not a file that a bundle has"),
        "{unknown}"
    );
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let huge = vec![b' '; MAX_BUNDLE_BYTES + 1];
    assert!(refusal(&huge).contains("larger than"), "{}", refusal(&huge));
    let long = refusal(&forged(|form| {
        let text = "#".repeat(MAX_FILE_BYTES + 1);
        form.manifest
            .files
            .insert("texts.toml".to_owned(), Digest::of(text.as_bytes()));
        form.files.insert("texts.toml".to_owned(), text);
    }));
    assert!(long.contains("`texts.toml`: larger than"), "{long}");
    let many = refusal(&forged(|form| {
        for n in 0..=MAX_FILES {
            let path = format!("tests/n{n}.toml");
            form.manifest.files.insert(path.clone(), Digest::of(b""));
            form.files.insert(path, String::new());
        }
    }));
    assert!(many.contains("more than 1024 files"), "{many}");
}

#[test]
fn one_content_has_one_encoding() {
    let bytes = shipped().to_bytes().unwrap();
    let mut spaced = bytes.clone();
    spaced.push(b'\n');
    assert!(
        refusal(&spaced).contains("canonical"),
        "{}",
        refusal(&spaced)
    );
    let text = String::from_utf8(bytes).unwrap();
    let doubled = text.replacen("\"files\":{", "\"files\":{\"a\":\"b\",\"a\":\"b\",", 1);
    assert!(Bundle::from_bytes(doubled.as_bytes()).is_err());
    let cut = text.get(..text.len() / 2).unwrap();
    assert!(refusal(cut.as_bytes()).contains("not a bundle file: line 1"));
}

#[test]
fn another_form_version_or_language_is_refused_and_an_older_language_of_ours_is_read() {
    let other = refusal(&forged(|form| form.version = 2));
    assert!(other.contains("not version 1"), "{other}");
    let language = |text: &str| {
        let text = text.to_owned();
        forged(move |form| form.manifest.cedar_language = text)
    };
    let ours = version_of_ours();
    for other in [
        "999.0.0".to_owned(),
        format!("{}.999.0", ours.0),
        "x".to_owned(),
    ] {
        let reason = refusal(&language(&other));
        assert!(reason.contains("`manifest`: "), "{reason}");
    }
    let older = Bundle::from_bytes(&language(&format!("{}.0.0", ours.0))).unwrap();
    assert_ne!(older.digest(), shipped().digest());
    assert_eq!(older.load().unwrap().library().digest(), older.digest());
}

fn version_of_ours() -> (u32, u32, u32) {
    version(&cedar_policy::get_lang_version().to_string()).unwrap()
}

#[test]
fn a_bundle_that_ends_before_it_begins_is_refused() {
    let place = BundleTerms {
        not_before: Timestamp(5),
        expires_at: Some(Timestamp(5)),
        ..shipped().terms().clone()
    };
    let refused = Bundle::new(embedded_files(), place)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("ends before it begins"), "{refused}");
}

#[test]
fn what_changes_between_two_bundles_is_told_by_rule_and_by_file() {
    let old = shipped();
    let mut files = embedded_files();
    let guards = files.get_mut("policies/guards.cedar").unwrap();
    // A comment is no change of a rule, and moves the lines of all.
    guards.insert_str(0, "// As before.\n");
    let texts = files.get_mut("texts.toml").unwrap();
    texts.push_str("# nothing\n");
    let new = Bundle::founding(files).unwrap();
    let (of_old, of_new) = (old.load().unwrap(), new.load().unwrap());
    let same = changes((&old, of_old.library()), (&new, of_new.library()));
    assert!(same.added.is_empty() && same.removed.is_empty() && same.changed.is_empty());
    assert_eq!(
        same.files,
        BTreeSet::from(["policies/guards.cedar", "texts.toml"].map(str::to_owned))
    );

    let mut files = embedded_files();
    let guards = files.get_mut("policies/guards.cedar").unwrap();
    *guards = guards.replace("@id(\"purpose-prohibited\")", "@id(\"purpose-forbidden\")");
    let new = Bundle::founding(files).unwrap();
    let of_new = new.load().unwrap();
    let other = changes((&old, of_old.library()), (&new, of_new.library()));
    let one = |id: &str| BTreeMap::from([(id.to_owned(), "forbid".to_owned())]);
    assert_eq!(
        (other.added, other.removed),
        (one("purpose-forbidden"), one("purpose-prohibited"))
    );
}

#[test]
fn the_permits_of_packs_that_are_no_longer_used_go_and_their_guards_stay() {
    let old = shipped();
    let packs = BTreeSet::from(["ca-qc".to_owned()]);
    let new = Bundle::shipped(Some(&packs)).unwrap();
    let (of_old, of_new) = (old.load().unwrap(), new.load().unwrap());
    let there = changes((&old, of_old.library()), (&new, of_new.library()));
    assert!(
        there.added.is_empty() && there.changed.is_empty(),
        "{there:?}"
    );
    assert!(there.removed.contains_key("dk-forum-review"), "{there:?}");
    assert!(
        there.removed.values().all(|kind| kind == "permit"),
        "{there:?}"
    );
    let back = changes((&new, of_new.library()), (&old, of_old.library()));
    assert_eq!((&back.added, &back.removed), (&there.removed, &there.added));
}
