//! What is no plain case: properties over all sectors, an agency's own file, errors. Plain cases
//! are data, in `library/local/tests`.

use super::*;
use passerelle_model::{bytes::PublicKey, statement::AgencyKeys, vocabulary::Sector};

const ORDINARY: RecordFacts = RecordFacts {
    specially_protected: false,
    youth_record: false,
    third_party_at_risk: false,
    restricted: false,
    sensitivity: 0,
};

fn agency(sector: Sector) -> Agency {
    let key = PublicKey([0; 32]);
    Agency {
        agency: "requester".parse().unwrap(),
        keys: AgencyKeys {
            sector,
            signing: key,
            sealing: key,
            witness: key,
        },
        certificate: "00".to_owned(),
        active: true,
        joined: 0,
        since: 0,
    }
}

fn matter(requester: &Agency) -> LocalMatter<'_> {
    LocalMatter {
        requester,
        purpose: Purpose::Plan,
        emergency: false,
        on_consent: false,
        review_approved: false,
        category: Category::InService,
        level: Level::Known,
        record: Some(ORDINARY),
    }
}

fn verdict(matter: &LocalMatter<'_>) -> Verdict {
    let ruling = LocalPdp::load_default().unwrap().rule(matter);
    assert!(!ruling.rules.is_empty());
    ruling.verdict
}

#[test]
fn no_record_and_a_specially_protected_one_look_the_same() {
    let police = agency(Sector::LawEnforcement);
    for review_approved in [false, true] {
        for emergency in [false, true] {
            for record in [
                None,
                Some(RecordFacts {
                    specially_protected: true,
                    ..ORDINARY
                }),
            ] {
                let matter = LocalMatter {
                    record,
                    review_approved,
                    emergency,
                    ..matter(&police)
                };
                assert_eq!(verdict(&matter), Verdict::CannotSay);
            }
        }
    }
}

#[test]
fn a_youth_record_is_for_care_and_school() {
    let record = Some(RecordFacts {
        youth_record: true,
        ..ORDINARY
    });
    for sector in Sector::ALL {
        let requester = agency(*sector);
        let care = [Sector::Health, Sector::SocialServices, Sector::Education];
        let expected = if care.contains(sector) {
            Verdict::Release
        } else {
            Verdict::CannotSay
        };
        let by_record = LocalMatter {
            record,
            ..matter(&requester)
        };
        assert_eq!(verdict(&by_record), expected, "{sector}");
        let by_category = LocalMatter {
            category: Category::YouthRecord,
            ..matter(&requester)
        };
        assert_eq!(verdict(&by_category), expected, "{sector}");
    }
}

#[test]
fn an_agency_narrows_by_its_own_file() {
    let police = agency(Sector::LawEnforcement);
    let own = r#"
        @id("no-police-at-our-door") @outcome("decline")
        forbid (principal, action, resource)
        when { principal.sector == Sector::"law_enforcement" };
        @id("we-look-at-tenure-first")
        forbid (principal, action == Action::"answer", resource)
        when { resource.category == CategoryCode::"tenure_risk" };
    "#;
    let pdp = LocalPdp::load(Some(own)).unwrap();
    let ruling = pdp.rule(&matter(&police));
    assert_eq!(ruling.verdict, Verdict::Decline);
    assert_eq!(ruling.rules, ["no-police-at-our-door"]);
    let shelter = agency(Sector::Community);
    let tenure = LocalMatter {
        category: Category::TenureRisk,
        ..matter(&shelter)
    };
    assert_eq!(pdp.rule(&tenure).verdict, Verdict::Review);
    assert_ne!(pdp.digest(), LocalPdp::load_default().unwrap().digest());
}

#[test]
fn an_agencys_file_that_could_widen_or_is_in_doubt_is_refused() {
    for (bad, why) in [
        (
            r#"@id("open") permit (principal, action == Action::"answer", resource);"#,
            "only forbid",
        ),
        (
            r#"@id("local-answer") forbid (principal, action, resource);"#,
            "used twice",
        ),
        ("forbid (principal, action, resource);", "no `@id`"),
        (
            r#"@id("x1") @outcome("declined") forbid (principal, action, resource);"#,
            "unknown outcome",
        ),
        (
            r#"@id("x1") @outcom("decline") forbid (principal, action, resource);"#,
            "unknown annotation",
        ),
        (
            r#"@id("x1") forbid (principal == ?principal, action, resource);"#,
            "templates",
        ),
        (
            r#"@id("x1") forbid (principal, action, resource) when { resource.levl > 1 };"#,
            "levl",
        ),
        (
            r#"@id("x1") forbid (principal, action, resource)
               when { principal.sector == Sector::"polise" };"#,
            "polise",
        ),
        ("this is not cedar", "agency.cedar"),
    ] {
        let error = LocalPdp::load(Some(bad)).err().expect(bad).to_string();
        assert!(error.contains(why), "{error}");
        assert!(error.contains("agency.cedar"), "{error}");
    }
}

#[test]
fn an_error_in_a_rule_says_nothing() {
    // Strict validation does not see overflow: the rule is dropped at run time, and the answer with
    // it.
    let own = r#"
        @id("overflows") forbid (principal, action, resource)
        when { resource.sensitivity + 9223372036854775807 > 9223372036854775807 };
    "#;
    let pdp = LocalPdp::load(Some(own)).unwrap();
    let police = agency(Sector::LawEnforcement);
    let record = Some(RecordFacts {
        sensitivity: 1,
        ..ORDINARY
    });
    let matter = LocalMatter {
        record,
        review_approved: true,
        ..matter(&police)
    };
    let ruling = pdp.rule(&matter);
    assert_eq!(ruling.verdict, Verdict::CannotSay);
    assert_eq!(ruling.rules, [LOCAL_ERROR]);
}

#[test]
fn a_local_schema_that_lacks_a_code_is_refused() {
    let names = Names::new().unwrap();
    let whole = parse_schema(SCHEMA.0, SCHEMA.1).unwrap();
    assert_eq!(check_vocabulary(&whole, &names), Ok(()));
    for (code, misspelt) in [
        ("\"family_contact\"", "\"family_contacts\""),
        ("\"coordination\"", "\"coordinations\""),
        ("\"media\"", "\"medias\""),
        (
            "\"housing_income\", \"corrections\", \"community\"\n];\nentity Purpose",
            "\"corrections\", \"community\"\n];\nentity Purpose",
        ),
    ] {
        let text = SCHEMA.1.replacen(code, misspelt, 1);
        assert_ne!(text, SCHEMA.1, "the change changes nothing");
        let schema = parse_schema(SCHEMA.0, &text).unwrap();
        assert!(check_vocabulary(&schema, &names).is_err(), "{code}");
    }
}
