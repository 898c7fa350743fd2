use super::{Document, TEMPLATE, print, read::read};
use passerelle_model::{
    ids::AgreementId,
    records::Agreement,
    vocabulary::{Language, LegalBasis},
};
use passerelle_policies::{Library, embedded_files};
use passerelle_proto::views::{AgreementStep, AgreementView};
use std::sync::LazyLock;

static LIBRARY: LazyLock<Library> = LazyLock::new(|| Library::load(&embedded_files()).unwrap());

fn document() -> Document {
    read(TEMPLATE, &LIBRARY).unwrap()
}

fn refused(from: &str, to: &str) -> Vec<String> {
    assert!(TEMPLATE.contains(from), "{from}");
    let problems = read(&TEMPLATE.replacen(from, to, 1), &LIBRARY).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

fn line_of(words: &str) -> usize {
    let before = &TEMPLATE[..TEMPLATE.find(words).unwrap()];
    before.matches('\n').count() + 1
}

#[test]
fn the_template_passes_its_own_check() {
    let document = document();
    assert_eq!((document.parties.len(), document.lines.len()), (2, 2));
}

#[test]
fn every_missing_part_is_named_with_its_line() {
    let party = line_of("[[parties]]");
    for (gone, said) in [
        (
            "function = { en = \"Policing and crime prevention\", fr = \"Maintien de l’ordre et prévention\" }\n",
            "`function` of `police-nord` is missing",
        ),
        (
            "basis = \"FIPPA-42(1)h\"\n",
            "`basis` of `police-nord` is missing",
        ),
    ] {
        let told = refused(gone, "");
        assert!(
            told.iter().any(|t| *t == format!("line {party}: {said}")),
            "{told:?}"
        );
    }
    for (from, to, said) in [
        (
            "[contacts.breach]",
            "[contacts.leak]",
            "unknown field `leak`",
        ),
        ("starts = \"2026-01-01\"\n", "", "`starts` is missing"),
        (
            ", fr = \"Une partie se retire en résiliant l’entente, avec effet immédiat.\"",
            "",
            "in French is missing",
        ),
        ("reach = \"+1 555 0100\"", "reach = \" \"", "is empty"),
    ] {
        let told = refused(from, to);
        assert!(told.iter().any(|t| t.contains(said)), "{said}: {told:?}");
    }
    let (before, _) = TEMPLATE.split_once("[contacts.breach]").unwrap();
    let problems = read(before, &LIBRARY).unwrap_err();
    assert!(
        problems[0].reason.contains("`contacts.breach` is missing"),
        "{problems:?}"
    );
}

#[test]
fn what_the_terms_may_not_say_is_refused_where_it_stands() {
    for (from, to, line, said) in [
        (
            "\"in_service\"",
            "\"in_servce\"",
            "category = \"in_service\"",
            "unknown category code",
        ),
        (
            "level = \"known\"",
            "level = \"detail\"",
            "level = \"known\"",
            "no purpose listed needs more",
        ),
        (
            "ends = \"2029-12-31T00:00:00Z\"",
            "ends = \"2025-12-31\"",
            "ends = ",
            "is not after",
        ),
        (
            "review = \"2029-06-30\"",
            "review = \"2030-06-30\"",
            "review = ",
            "no later than",
        ),
        ("\"deliver\"", "\"media\"", "purposes = [", "prohibited"),
        (
            "to = \"police-nord\"",
            "to = \"ecole-sud\"",
            "[[lines]]",
            "is no party",
        ),
        (
            "basis = \"FIPPA-42(1)h\"",
            "basis = \"consent\"",
            "[[parties]]",
            "nobody's consent",
        ),
        (
            "agency = \"sante-centre\"",
            "agency = \"police-nord\"",
            "agency = \"sante",
            "twice",
        ),
        (
            "frequency = \"ongoing\"",
            "frequency = \"always\"",
            "frequency = ",
            "one_off or ongoing",
        ),
    ] {
        let told = refused(from, to);
        let line = format!("line {}:", line_of(line));
        let found = told.iter().any(|t| t.contains(said));
        assert!(found, "{said}: {told:?}");
        let placed = told.iter().any(|t| t.starts_with(&line));
        assert!(placed || said == "twice", "{line} {told:?}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let text = TEMPLATE
        .replace("\"in_service\"", "\"x\"")
        .replace("frequency = \"ongoing\"", "frequency = \"x\"")
        .replace("reach = ", "# ");
    assert_eq!(read(&text, &LIBRARY).unwrap_err().len(), 4);
    assert!(read(&"#".repeat(super::MAX_FILE_BYTES + 1), &LIBRARY).is_err());
}

#[test]
fn the_digest_is_of_what_the_file_says_not_of_how_it_is_written() {
    let written = TEMPLATE
        .replace('\n', "\r\n")
        .replace("# Everything", "# All");
    let same = read(&written, &LIBRARY).unwrap();
    assert_eq!(same.digest().unwrap(), document().digest().unwrap());
    let other = read(&TEMPLATE.replace("low residual", "high residual"), &LIBRARY).unwrap();
    assert_ne!(other.digest().unwrap(), document().digest().unwrap());
    let bytes = document().to_bytes().unwrap();
    assert_eq!(Document::from_bytes(&bytes).unwrap(), document());
}

fn paper() -> print::Paper {
    let document = document();
    let terms = document
        .terms(AgreementId::from_random([5; 16]), 2)
        .unwrap();
    let row = Agreement::proposed(&"police-nord".parse().unwrap(), terms.clone(), 7).unwrap();
    let known = AgreementView {
        terms: row.terms,
        signed: Vec::new(),
        status: "suspended".to_owned(),
        days_left: None,
        suspended_by: vec!["sante-centre".to_owned()],
        successor: None,
        warnings: Vec::new(),
        history: vec![AgreementStep {
            index: 41,
            at: document.starts_at,
            agency: "sante-centre".to_owned(),
            what: "suspended".to_owned(),
            reason: Some("breach".to_owned()),
        }],
        document: None,
    };
    print::Paper {
        terms,
        document: Some(document),
        known: Some(known),
    }
}

#[test]
fn the_printed_text_holds_the_whole_agreement_in_each_language() {
    let paper = paper();
    let english = print::text(&paper, &LIBRARY, Language::English);
    for said in [
        "Downtown Health Centre (sante-centre)",
        "Freedom of Information and Protection of Privacy Act",
        "sante-centre → police-nord; whether in service; at most yes or cannot say; kept for 30 days",
        "State: suspended",
        "a breach, or the suspicion of one); 2026-01-01 00:00 UTC; entry 41",
        "Ends: 2029-12-31 00:00 UTC",
        "low residual risk",
        "vie-privee@sante-centre.example",
        "+1 555 0100",
        "Camille Exemple, Chief",
        &paper.terms.edition.document.unwrap().to_string(),
    ] {
        assert!(english.contains(said), "{said}\n{english}");
    }
    let french = print::text(&paper, &LIBRARY, Language::French);
    for said in [
        "État\u{a0}: suspendue",
        "Loi sur l'accès",
        "un manquement",
        "Soins de santé mentale",
    ] {
        assert!(french.contains(said), "{said}\n{french}");
    }
}

#[test]
fn what_a_text_says_is_no_markup_of_the_page() {
    let mut paper = paper();
    let evil = "<script>alert('x')</script>\"&".to_owned();
    if let Some(document) = &mut paper.document {
        document.title.en.clone_from(&evil);
        document.texts.onward.en.clone_from(&evil);
        document.contacts.rights.reach.clone_from(&evil);
        document.parties[0].signatory.name = evil;
    }
    let page = print::html(&paper, &LIBRARY, Language::English);
    assert!(!page.contains("<script") && !page.contains("alert('"));
    assert_eq!(
        page.matches("&lt;script&gt;").count(),
        5,
        "title twice, and three fields"
    );
}

#[test]
fn every_basis_that_a_pack_names_is_printed_with_its_law() {
    let mut paper = paper();
    for basis in LegalBasis::ALL.iter().filter(|b| !b.is_the_persons_own()) {
        let named = LIBRARY
            .packs()
            .values()
            .any(|p| p.bases.contains_key(basis));
        paper.terms.parties[0].basis = *basis;
        let text = print::text(&paper, &LIBRARY, Language::French);
        assert_eq!(
            text.contains(&format!(" ({})", basis.code())),
            named,
            "{basis}"
        );
    }
}
