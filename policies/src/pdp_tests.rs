use super::*;
use crate::{cases::check, texts};
use passerelle_model::vocabulary::Language;

/// The shipped bundle with one file changed.
fn with(path: &str, change: impl Fn(&str) -> String) -> BTreeMap<String, String> {
    let mut files = embedded_files();
    let text = files.get(path).unwrap();
    let changed = change(text);
    assert_ne!(*text, changed, "the change changes nothing");
    files.insert(path.to_owned(), changed);
    files
}

fn refusal(files: &BTreeMap<String, String>) -> String {
    CedarPdp::load_dir(files)
        .err()
        .expect("a bad bundle was loaded")
        .to_string()
}

#[test]
fn every_case_of_the_shipped_bundle_comes_out_as_expected() {
    match check(&embedded_files()) {
        Ok(summary) => assert!(summary.cases > 100 && summary.permits >= 7, "{summary:?}"),
        Err(problems) => {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            panic!("{}", lines.join("\n"));
        }
    }
}

#[test]
fn every_file_of_the_library_is_in_the_bundle() {
    fn walk(dir: &std::path::Path, root: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                let path = path.strip_prefix(root).unwrap();
                found.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    let library = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("library");
    let mut found = Vec::new();
    walk(&library.join("core"), &library.join("core"), &mut found);
    walk(&library.join("packs"), &library, &mut found);
    found.sort();
    assert_eq!(found, embedded_files().into_keys().collect::<Vec<_>>());
}

#[test]
fn a_misspelt_code_attribute_or_action_is_refused_with_its_file() {
    for (path, from, to) in [
        ("policies/guards.cedar", "\"media\"", "\"medias\""),
        (
            "policies/stages.cedar",
            "Stage::\"stage_1\"",
            "Stage::\"stage1\"",
        ),
        (
            "policies/stages.cedar",
            "context.case.closed",
            "context.case.close",
        ),
        (
            "policies/emergency.cedar",
            "Action::\"override\"",
            "Action::\"overide\"",
        ),
        (
            "policies/consents.cedar",
            "context has consent && context.at",
            "context.at",
        ),
        ("policies/health.cedar", "CategoryKind::", "CategoryKnd::"),
    ] {
        let error = refusal(&with(path, |t| t.replacen(from, to, 1)));
        assert!(error.contains(path), "{error}");
    }
}

#[test]
fn annotations_that_are_missing_misspelt_or_taken_are_refused() {
    for (path, from, to, why) in [
        (
            "policies/guards.cedar",
            "@id(\"own-records\")\n",
            "",
            "no `@id`",
        ),
        (
            "policies/guards.cedar",
            "@id(\"own-records\")",
            "@id(\"consent-covers\")",
            "twice",
        ),
        (
            "policies/guards.cedar",
            "@id(\"own-records\")",
            "@id(\"policy_error\")",
            "hyphens",
        ),
        (
            "policies/guards.cedar",
            "@why(\"own-records\")",
            "@why(\"unsaid\")",
            "no text `unsaid`",
        ),
        (
            "policies/guards.cedar",
            "@remedy(\"remedy-none\")\n",
            "",
            "@remedy",
        ),
        ("policies/guards.cedar", "@source", "@sauce", "@sauce"),
    ] {
        let error = refusal(&with(path, |t| t.replacen(from, to, 1)));
        assert!(
            error.contains(why) && error.contains(path),
            "{why}: {error}"
        );
    }
}

#[test]
fn a_permit_in_doubt_about_its_basis_or_obligations_is_refused() {
    for (path, from, to, why) in [
        (
            "policies/consents.cedar",
            "@rests_on(\"consent\")\n",
            "",
            "@rests_on",
        ),
        (
            "policies/consents.cedar",
            "rests_on(\"consent\")",
            "rests_on(\"will\")",
            "will",
        ),
        (
            "policies/consents.cedar",
            "retain_days:90",
            "retain_days:many",
            "whole number",
        ),
        (
            "policies/consents.cedar",
            "no_redisclosure",
            "no_redisclosur",
            "unknown obligation",
        ),
        (
            "policies/consents.cedar",
            "notice:notice-42cfr2-32",
            "notice:none",
            "no text `none`",
        ),
        (
            "policies/emergency.cedar",
            "\"alert,",
            "\"alert,alert,",
            "twice",
        ),
    ] {
        let error = refusal(&with(path, |t| t.replacen(from, to, 1)));
        assert!(
            error.contains(why) && error.contains(path),
            "{why}: {error}"
        );
    }
}

#[test]
fn a_permit_that_names_no_action_and_a_template_are_refused() {
    let tail = "@why(\"rule\") @source(\"\") @rests_on(\"none\") @id(\"open\") permit";
    for (policy, why) in [
        ("(principal, action, resource);", "does not name one action"),
        (
            "(principal, action in [Action::\"release\", Action::\"override\"], resource);",
            "does not name one action",
        ),
        (
            "(principal == ?principal, action == Action::\"release\", resource);",
            "templates",
        ),
    ] {
        let error = refusal(&with("policies/guards.cedar", |t| {
            format!("{t}{tail} {policy}")
        }));
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_policy_that_can_never_apply_is_refused_for_its_warning() {
    let dead = "@id(\"dead\") @why(\"rule\") @source(\"\") @remedy(\"remedy-none\")
                forbid (principal, action, resource) when { false };";
    let error = refusal(&with("policies/guards.cedar", |t| format!("{t}{dead}")));
    assert!(error.contains("policies/guards.cedar"), "{error}");
}

#[test]
fn a_text_in_one_language_only_and_an_unread_file_are_refused() {
    let files = with("texts.toml", |t| {
        t.lines()
            .filter(|l| *l != "fr = \"Refusé.\"")
            .collect::<Vec<_>>()
            .join("\n")
    });
    assert!(refusal(&files).contains("`texts.toml`"));
    let blank = with("texts.toml", |t| {
        t.replace("fr = \"Refusé.\"", "fr = \" \"")
    });
    assert!(refusal(&blank).contains("effect-deny"));
    let mut files = embedded_files();
    files.insert("policies/more.cedr".to_owned(), String::new());
    assert!(refusal(&files).contains("more.cedr"));
    for path in ["schema.cedarschema", "reference.toml", "texts.toml"] {
        let mut files = embedded_files();
        files.remove(path);
        assert!(refusal(&files).contains("missing"));
    }
}

#[test]
fn a_schema_that_lacks_a_code_is_refused() {
    let error = refusal(&with("schema.cedarschema", |t| {
        t.replace("\"family_contact\"", "\"family_contacts\"")
    }));
    assert!(error.contains("family_contact"), "{error}");
}

#[test]
fn every_file_counts_in_the_digest() {
    let digest = |files| CedarPdp::load_dir(&files).unwrap().bundle();
    let shipped = digest(embedded_files());
    assert_eq!(shipped, CedarPdp::load_embedded().unwrap().bundle());
    for path in [
        "tests/guards.toml",
        "policies/health.cedar",
        "reference.toml",
    ] {
        let changed = with(path, |t| match path.ends_with(".cedar") {
            true => format!("{t}// a comment\n"),
            false => format!("{t}# a comment\n"),
        });
        assert_ne!(digest(changed), shipped);
    }
}

#[test]
fn check_finds_a_wrong_expectation_and_an_untested_rule() {
    let wrong = with("tests/stages.toml", |t| {
        t.replacen("\"deny\"", "\"permit\"", 1)
    });
    let problems = check(&wrong).unwrap_err();
    assert!(
        problems.iter().all(|p| p.file == "tests/stages.toml"),
        "{problems:?}"
    );
    let untested = with("tests/consents.toml", |t| {
        t.replace("expires_in_s = 0", "withdrawn = [\"all\"]")
            .replace("[\"consent-expired\"]", "[\"consent-withdrawn\"]")
    });
    let problems = check(&untested).unwrap_err();
    assert!(
        problems[0].reason.contains("consent-expired"),
        "{problems:?}"
    );
    let misspelt = with("tests/guards.toml", |t| t.replacen("trained", "traned", 1));
    assert!(check(&misspelt).is_err());
}

/// The seeded-bad library: each guard that matters most, removed alone, is missed by its case.
#[test]
fn a_lost_guard_is_noticed() {
    for (path, id) in [
        ("policies/guards.cedar", "purpose-prohibited"),
        ("policies/guards.cedar", "case-other-person"),
        ("policies/guards.cedar", "level-exceeds-need"),
        ("policies/stages.cedar", "stage-1-home-agency"),
        ("policies/stages.cedar", "stage-4-plan-only"),
        ("policies/agreements.cedar", "agreement-not-in-force"),
        ("policies/agreements.cedar", "agreement-not-begun"),
        ("policies/agreements.cedar", "agreement-suspended"),
        ("policies/agreements.cedar", "agreement-superseded"),
        ("policies/agreements.cedar", "agreement-terminated"),
        ("policies/consents.cedar", "consent-withdrawn"),
        ("policies/health.cedar", "health-to-police"),
        ("policies/emergency.cedar", "emergency-scope"),
        ("policies/emergency.cedar", "emergency-needs-person"),
        ("policies/health.cedar", "specially-protected-emergency"),
        ("policies/guards.cedar", "case-required"),
        ("policies/consents.cedar", "consent-needed"),
        ("policies/consents.cedar", "consent-recorded-elsewhere"),
        ("policies/consents.cedar", "consent-giver-without-standing"),
    ] {
        let files = with(path, |t| {
            let start = t.find(&format!("@id(\"{id}\")")).unwrap();
            let end = start + t[start..].find("};\n").unwrap() + 3;
            format!("{}{}", &t[..start], &t[end..])
        });
        assert!(
            check(&files).is_err(),
            "nothing noticed that `{id}` is gone"
        );
    }
}

#[test]
fn an_error_in_any_policy_denies_what_the_others_permit() {
    let overflow = "@id(\"overflows\") @why(\"rule\") @source(\"\") @remedy(\"remedy-none\")
        forbid (principal, action, resource)
        when { resource.level + 9223372036854775807 > 9223372036854775807 };";
    let files = with("policies/guards.cedar", |t| format!("{t}{overflow}"));
    let pdp = CedarPdp::load_dir(&files).unwrap();
    let text = "requester = \"social_services\"\nlevel = \"contact\"\nagreements = [{}]";
    let matter = toml::from_str::<crate::cases::Input>(text)
        .unwrap()
        .matter()
        .unwrap();
    let shipped = CedarPdp::load_embedded().unwrap();
    assert_eq!(shipped.rule(&matter).effect, Effect::Permit);
    assert!(pdp.try_rule(&matter).is_err());
    let ruling = pdp.rule(&matter);
    assert_eq!(ruling.effect, Effect::Deny);
    assert_eq!(ruling.reasons[0].rule, POLICY_ERROR);
}

#[test]
fn a_time_beyond_what_policies_compare_denies() {
    let text = "requester = \"social_services\"\nagreements = [{}]";
    let input = toml::from_str::<crate::cases::Input>(text).unwrap();
    let mut matter = input.matter().unwrap();
    matter.agreements[0].terms.ends_at.0 = u64::MAX;
    let pdp = CedarPdp::load_embedded().unwrap();
    assert_eq!(pdp.rule(&matter).reasons[0].rule, POLICY_ERROR);
}

#[test]
fn a_permit_that_rests_on_a_consent_which_is_not_there_is_an_error() {
    let lax = "@id(\"lax\") @why(\"rule\") @source(\"\") @rests_on(\"consent\")
        permit (principal, action == Action::\"release\", resource);";
    let files = with("policies/consents.cedar", |t| format!("{t}{lax}"));
    let pdp = CedarPdp::load_dir(&files).unwrap();
    let matter = crate::cases::Input::default().matter().unwrap();
    assert_eq!(pdp.rule(&matter).effect, Effect::Deny);
}

#[test]
fn a_ruling_is_explained_in_both_languages() {
    let pdp = CedarPdp::load_embedded().unwrap();
    let text = "category = \"diagnosis\"\nlevel = \"coded\"";
    let input = toml::from_str::<crate::cases::Input>(text).unwrap();
    let ruling = pdp.rule(&input.matter().unwrap());
    let english = texts::explain(&ruling, Language::English);
    assert_eq!(english[0], "Denied.");
    assert!(
        english[1].ends_with("[rule: health-to-police; source: GDPR-9]"),
        "{english:?}"
    );
    assert!(
        english[2].starts_with("Obtain the person's consent"),
        "{english:?}"
    );
    let french = texts::explain(&ruling, Language::French);
    assert_eq!(french[0], "Refusé.");
    assert_eq!(french.len(), english.len());
    assert!(texts::text("no_rule_permits", Language::French).is_some());
    assert!(texts::text("unsaid", Language::French).is_none());
}

#[test]
fn a_permit_is_explained_with_its_obligations() {
    let pdp = CedarPdp::load_embedded().unwrap();
    let text = "category = \"location\"\npurpose = \"emergency\"\nbasis = \"R22.1-74\"\n\
                emergency = \"medical\"";
    let input = toml::from_str::<crate::cases::Input>(text).unwrap();
    let words = texts::explain(&pdp.rule(&input.matter().unwrap()), Language::English);
    assert!(
        words.iter().any(|w| w.contains("within 48 hours")),
        "{words:?}"
    );
    assert!(words.iter().any(|w| w.contains("30 days")), "{words:?}");
}

#[test]
fn more_candidates_than_are_tried_do_not_hide_the_good_one() {
    let text = "requester = \"community\"\nbasis = \"consent\"\nconsents = [{}]";
    let input = toml::from_str::<crate::cases::Input>(text).unwrap();
    let mut matter = input.matter().unwrap();
    let good = matter.consents[0].clone();
    matter.consents = (0..40)
        .map(|n| {
            let mut expired = good.clone();
            expired.terms.consent = passerelle_model::ids::ConsentId::from_random([n + 100; 16]);
            expired.terms.expires_at = matter.at;
            expired.recorded = 1_000;
            expired
        })
        .chain([good.clone()])
        .collect();
    let ruling = CedarPdp::load_embedded().unwrap().rule(&matter);
    assert_eq!(ruling.consent, Some(good.terms.consent));
}

#[test]
fn every_built_in_denial_is_explained_in_both_languages() {
    for (rule, _) in crate::library::BUILT_IN {
        let ruling = Ruling::deny(rule);
        for language in [Language::English, Language::French] {
            let words = texts::explain(&ruling, language);
            assert_eq!(words.len(), 3, "{words:?}");
            assert!(!words[1].starts_with(rule), "{words:?}");
        }
    }
}
