use super::*;
use crate::{CedarPdp, cases::check, embedded_files};
use passerelle_model::{
    bytes::Digest,
    pdp::{Effect, Matter, Obligation, PolicyDecisionPoint as _},
};

type Files = BTreeMap<String, String>;

/// The shipped bundle with one file changed.
fn with(path: &str, from: &str, to: &str) -> Files {
    let mut files = embedded_files();
    let changed = files[path].replacen(from, to, 1);
    assert_ne!(files[path], changed, "the change changes nothing");
    files.insert(path.to_owned(), changed);
    files
}

fn refusal(files: &Files) -> String {
    let error = CedarPdp::load_dir(files).err();
    error.expect("a bad pack was loaded").to_string()
}

fn matter(text: &str) -> Matter {
    let input = toml::from_str::<crate::cases::Input>(text).unwrap();
    input.matter().unwrap()
}

#[test]
fn every_basis_in_law_is_of_one_pack_and_what_a_person_says_of_none() {
    let packs = Packs::read(&embedded_files());
    assert_eq!(packs.problems, []);
    for basis in LegalBasis::ALL {
        let of = packs.by_id.values().filter(|p| p.bases.contains_key(basis));
        let expected = usize::from(!basis.is_the_persons_own());
        assert_eq!(of.count(), expected, "{basis}");
    }
    assert_eq!(packs.by_id.len(), 11);
}

#[test]
fn a_bad_pack_is_refused_with_file_line_and_reason() {
    for (path, from, to, why) in [
        (
            "packs/ca-qc/texts.toml",
            "fr = \"Pour écarter",
            "de = \"Um zu",
            "unknown field `de`",
        ),
        (
            "packs/ca-qc/texts.toml",
            "[task-qc-register]",
            "[remedy-lower-level]",
            "text `remedy-lower-level` is there already",
        ),
        (
            "packs/ca-qc/pack.toml",
            "\"A2.1-59.1\"",
            "\"A2.1-59.9\"",
            "unknown legal basis code",
        ),
        (
            "packs/ca-qc/pack.toml",
            "kinds = [\"subject_in_danger\", \"medical\"]",
            "kinds = []",
            "lists no kind of emergency",
        ),
        (
            "packs/ca-qc/pack.toml",
            "fr = \"Québec\"",
            "fr = \"\"",
            "`title` in `fr` is empty",
        ),
        (
            "packs/ca-qc/pack.toml",
            "id = \"ca-qc\"",
            "id = \"qc\"",
            "not the name of its folder",
        ),
        (
            "packs/ca-qc/pack.toml",
            "bases = [\"A2.1-59(4)\"",
            "bases = [\"MFIPPA-32h\"",
            "names no basis or mechanism of the pack",
        ),
        (
            "packs/ca-qc/pack.toml",
            "task:task-qc-register",
            "tusk:task-qc-register",
            "unknown obligation",
        ),
        (
            "packs/ca-qc/policies/emergency.cedar",
            "Sector::\"community\"",
            "Sector::\"comunity\"",
            "comunity",
        ),
        (
            "packs/ca-qc/policies/emergency.cedar",
            "@id(\"qc-necessary-facts\")",
            "@id(\"us-able-to-lessen\")",
            "used twice",
        ),
        (
            "packs/ca-qc/policies/emergency.cedar",
            "resource.level > 0",
            "resource.level > ",
            "unexpected",
        ),
        (
            "packs/ca-qc/policies/emergency.cedar",
            "@legal_basis(\"A2.1-59.1,",
            "@legal_basis(\"A2.1-59.9,",
            "unknown basis `A2.1-59.9`",
        ),
        (
            "packs/ca-qc/tests/emergency.toml",
            "side = \"permit\"",
            "side = \"maybe\"",
            "maybe",
        ),
    ] {
        let error = refusal(&with(path, from, to));
        assert!(
            error.contains(why) && error.contains(&format!("`{path}` line ")),
            "{why}: {error}"
        );
    }
}

#[test]
fn the_line_of_a_problem_is_the_one_that_is_wrong() {
    let path = "packs/ca-qc/policies/emergency.cedar";
    let line = |files: &Files, words: &str| line_of(&files[path], words).unwrap();
    let misspelt = with(path, "Sector::\"community\"", "Sector::\"comunity\"");
    let error = refusal(&misspelt);
    let expected = format!("`{path}` line {}", line(&misspelt, "comunity"));
    assert!(error.contains(&expected), "{expected}: {error}");
    let unparsed = with(path, "resource.level > 0", "resource.levels >> 0");
    let error = refusal(&unparsed);
    let expected = format!("`{path}` line {}", line(&unparsed, "levels >>"));
    assert!(error.contains(&expected), "{expected}: {error}");
}

#[test]
fn a_permit_of_a_pack_without_a_basis_of_that_pack_is_refused() {
    let path = "packs/us/policies/consent.cedar";
    for (to, why) in [
        ("", "names bases of that pack"),
        ("@legal_basis(\"MFIPPA-32h\")\n", "not a basis of the pack"),
        ("@legal_basis(\"consent\")\n", "not a basis of the pack"),
    ] {
        let files = embedded_files();
        let text = &files[path];
        let start = text.find("@id(\"us-written-consent-review\")").unwrap();
        let (head, tail) = text.split_at(start);
        let tail = tail.replacen("@legal_basis(\"42CFR2.31\")\n", to, 1);
        let mut files = files.clone();
        files.insert(path.to_owned(), format!("{head}{tail}"));
        let error = refusal(&files);
        assert!(
            error.contains(why) && error.contains(path),
            "{why}: {error}"
        );
    }
}

#[test]
fn a_permit_of_a_pack_opens_nothing_on_a_basis_that_it_does_not_name() {
    let path = "packs/us/policies/consent.cedar";
    let lax = "@id(\"us-lax\") @why(\"us-written-consent-review\") @source(\"42CFR2.31\")
        @legal_basis(\"42CFR2.31\") @rests_on(\"none\")
        permit (principal, action == Action::\"release\", resource)
        when { resource.category.code == CategoryCode::\"engagement\" };\n";
    let mut files = with(path, "@id(\"us-consent", &format!("{lax}@id(\"us-consent"));
    let test = "[[case]]\nname = \"x\"\nexpect = { decision = \"permit\", rules = [\"us-lax\"] }\n";
    let tests = "packs/us/tests/lax.toml";
    files.insert(tests.to_owned(), test.to_owned());
    let pdp = CedarPdp::load_dir(&files).unwrap();
    let text = "requester = \"health\"\nholder = \"community\"\ncategory = \"engagement\"\n";
    let named = matter(&format!("{text}basis = \"42CFR2.31\""));
    assert_eq!(pdp.rule(&named).effect, Effect::Permit);
    let other = matter(&format!("{text}basis = \"MFIPPA-32h\""));
    let ruling = pdp.rule(&other);
    assert_eq!(ruling.effect, Effect::Deny);
    assert_eq!(ruling.reasons[0].rule, "policy_error");
}

#[test]
fn a_rule_or_duty_without_a_test_of_its_pack_is_refused() {
    for (gone, why) in [
        ("packs/ca-qc/tests/emergency.toml", "qc-necessary-facts"),
        ("packs/ca-on/tests/notice.toml", "duty `on-written-notice`"),
        // Cases of the core expect this one too; the pack needs its own.
        ("packs/ca-bc/tests/shift.toml", "shift-consent-first"),
    ] {
        let mut files = embedded_files();
        files.remove(gone).unwrap();
        let error = refusal(&files);
        assert!(error.contains(why) && error.contains(" line "), "{error}");
        assert!(error.contains("no test case of the pack"), "{error}");
    }
}

#[test]
fn a_bundle_without_the_pack_of_a_mechanism_or_with_one_twice_is_refused() {
    let without = |pack: &str| {
        let mut files = embedded_files();
        files.retain(|path, _| pack_of(path) != Some(pack));
        refusal(&files)
    };
    assert!(without("ca-bc").contains("no pack speaks for the mechanism `shift_bc`"));
    let twice = with(
        "packs/nl/pack.toml",
        "profiles = [\"safety_house\"]",
        "profiles = [\"safety_house\", \"info_house\"]",
    );
    assert!(refusal(&twice).contains("`info_house` is of pack `dk` already"));
    let twice = with("packs/nl/pack.toml", "code = \"BGS\"", "code = \"RPL-115\"");
    assert!(refusal(&twice).contains("`RPL-115` is of pack `dk` already"));
    for (file, why) in [
        (
            "packs/nl/policies/more.cedr",
            "not a file that a bundle has",
        ),
        ("packs/nl/reference.toml", "not a file that a bundle has"),
        ("packs/de/texts.toml", "missing from the bundle"),
    ] {
        let mut files = embedded_files();
        files.insert(file.to_owned(), String::new());
        assert!(refusal(&files).contains(why), "{file}");
    }
}

#[test]
fn every_file_of_a_pack_counts_in_the_digest() {
    let digest = |files: &Files| CedarPdp::load_dir(files).unwrap().bundle();
    let shipped = digest(&embedded_files());
    for path in [
        "packs/be/pack.toml",
        "packs/be/texts.toml",
        "packs/be/tests/consultation.toml",
    ] {
        let mut files = embedded_files();
        let changed = format!("{}# a comment\n", files[path]);
        files.insert(path.to_owned(), changed);
        assert_ne!(digest(&files), shipped);
    }
}

fn using(packs: &[&str]) -> CedarPdp {
    let ids = packs.iter().map(|id| (*id).to_owned()).collect();
    let mut files = embedded_files();
    files.insert(SELECTION.to_owned(), selection(&ids));
    CedarPdp::load_dir(&files).unwrap()
}

#[test]
fn a_pack_that_is_not_used_opens_nothing_and_closes_what_it_closes() {
    let (all, used) = (CedarPdp::load_embedded().unwrap(), using(&["ca-qc"]));
    let contact = matter(
        "requester = \"education\"\nholder = \"law_enforcement\"\ncategory = \"youth_record\"\n\
         level = \"contact\"\nbasis = \"YCJA-125\"",
    );
    assert_eq!(all.rule(&contact).effect, Effect::Review);
    assert_eq!(used.rule(&contact).effect, Effect::Deny);
    let emergency = |basis: &str| {
        matter(&format!(
            "requester = \"health\"\nholder = \"law_enforcement\"\ncategory = \"safety_flag\"\n\
             purpose = \"emergency\"\nemergency = \"subject_in_danger\"\nbasis = \"{basis}\""
        ))
    };
    assert_eq!(used.rule(&emergency("A2.1-59.1")).effect, Effect::Permit);
    assert_eq!(all.rule(&emergency("MFIPPA-32h")).effect, Effect::Permit);
    let denied = used.rule(&emergency("MFIPPA-32h"));
    assert_eq!(denied.reasons[0].rule, "emergency-basis-unfit");
    // The guard of a pack that is not used.
    let shift = matter(
        "requester = \"social_services\"\nagreements = [{}]\ncase = { profile = \"shift_bc\" }",
    );
    assert_eq!(used.rule(&shift).reasons[0].rule, "shift-consent-first");
    assert_eq!(all.rule(&shift), used.rule(&shift));
}

#[test]
fn which_packs_are_used_is_in_the_digest_and_the_same_packs_are_the_same_digest() {
    let digests: BTreeSet<Digest> = [
        CedarPdp::load_embedded().unwrap().bundle(),
        using(&[]).bundle(),
        using(&["ca-qc"]).bundle(),
        using(&["ca-qc", "us"]).bundle(),
    ]
    .into();
    assert_eq!(digests.len(), 4);
    let (one, other) = (using(&["us", "ca-qc"]), using(&["ca-qc", "us", "us"]));
    assert_eq!(one.bundle(), other.bundle());
}

#[test]
fn a_selection_that_names_an_unknown_pack_is_refused_and_cases_run_whatever_it_selects() {
    let mut files = embedded_files();
    files.insert(
        SELECTION.to_owned(),
        "active = [\n  \"ca-qb\",\n]\n".to_owned(),
    );
    let error = refusal(&files);
    assert!(error.contains("`packs.toml` line 2"), "{error}");
    assert!(
        error.contains("unknown pack `ca-qb`; known are: be, ca-bc"),
        "{error}"
    );
    files.insert(SELECTION.to_owned(), "active = [\"be\"]\n".to_owned());
    assert!(check(&files).is_ok());
}

#[test]
fn a_duty_binds_what_all_its_lists_speak_of() {
    let pdp = CedarPdp::load_embedded().unwrap();
    let duties = pdp.library().duties();
    let youth = duties
        .iter()
        .find(|d| d.id == "youth-record-apart")
        .unwrap();
    let text = "holder = \"law_enforcement\"\nrequester = \"education\"\n";
    let about = |more: &str| matter(&format!("{text}{more}"));
    assert!(youth.binds(&about("basis = \"YCJA-125\"\ncategory = \"youth_record\"")));
    assert!(!youth.binds(&about("basis = \"YCJA-125\"\ncategory = \"charges\"")));
    assert!(!youth.binds(&about("basis = \"GDPR-10\"\ncategory = \"youth_record\"")));
    // And never what is denied.
    let denied = about("basis = \"YCJA-119\"\ncategory = \"youth_record\"");
    assert_eq!(pdp.rule(&denied).obligations, Vec::<Obligation>::new());
}

/// A guard of the core that is lost opens nothing: each permit says it again.
#[test]
fn every_permit_that_rests_on_an_agreement_demands_that_it_is_active() {
    let files = embedded_files();
    let policies = files.iter().filter(|(path, _)| path.ends_with(".cedar"));
    let mut found = 0;
    for (path, text) in policies {
        for rule in text
            .split("@id(")
            .filter(|r| r.contains("@rests_on(\"agreement\")"))
        {
            found += 1;
            let active = "context.agreement.state == AgreementState::\"active\" &&";
            assert!(
                rule.contains(active),
                "{path}: {}",
                rule.lines().next().unwrap()
            );
        }
    }
    assert!(found >= 4, "{found}");
    let forum = |state: &str| {
        matter(&format!(
            "requester = \"social_services\"\nholder = \"education\"\ncategory = \"attendance\"\n\
             level = \"coded\"\nbasis = \"RPL-115\"\nagreements = [{{ state = \"{state}\" }}]\n\
             case = {{ profile = \"info_house\" }}"
        ))
    };
    for state in ["suspended", "superseded", "terminated"] {
        let guard = format!("context.agreement.state == AgreementState::\"{state}\"");
        let lost = format!("{guard} &&\n  context.purpose == Purpose::\"evaluate\"");
        let files = with("policies/agreements.cedar", &guard, &lost);
        let pdp = CedarPdp::load_dir(&files).unwrap();
        assert_eq!(pdp.rule(&forum("active")).effect, Effect::Review);
        assert_eq!(pdp.rule(&forum(state)).effect, Effect::Deny, "{state}");
    }
}
