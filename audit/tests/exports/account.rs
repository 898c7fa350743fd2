//! The account of one person, and its page.

use crate::{
    file::{Row, check, export_rows},
    rows::{as_exported, story_rows},
    world::{agency, consent_id, request_id},
};
use passerelle_audit::disclosure::{
    Account, Aside, DisclosureError, Lang, Outcome, Query, Suspension, account, page, person_of,
};
use passerelle_model::{
    bytes::Handle,
    entry::{Entry, EntryBody},
};

fn person(n: u8) -> Query {
    Query {
        persons: [Handle([n; 32])].into(),
        ..Query::default()
    }
}

fn of(file: &[u8], query: &Query) -> (Account, Aside) {
    check(file).unwrap();
    let (account, aside, _) = account(file, query).unwrap();
    (account, aside)
}

fn outcomes(account: &Account) -> Vec<Outcome> {
    account.entries.iter().map(|row| row.outcome).collect()
}

#[test]
fn the_account_has_every_exchange_of_the_person_and_of_nobody_else() {
    let file = export_rows(&story_rows());
    let (one, aside) = of(&file, &person(1));
    assert_eq!(
        outcomes(&one),
        [Outcome::Answered, Outcome::Denied],
        "refusals included"
    );
    assert_eq!(aside, Aside::default());
    assert_eq!(one.not_attributable, 0);
    let (three, _) = of(&file, &person(3));
    assert_eq!(outcomes(&three), [Outcome::Stopped, Outcome::Expired]);
    let (nobody, _) = of(&file, &person(99));
    assert!(nobody.entries.is_empty());
}

#[test]
fn what_an_export_does_not_attribute_is_counted_and_can_be_named() {
    let mut rows = story_rows();
    as_exported(&mut rows);
    let file = export_rows(&rows);
    let (one, _) = of(&file, &person(1));
    assert_eq!(outcomes(&one), [Outcome::Answered]);
    // 2 was denied and so rests on nothing, 5 rests on an agreement.
    assert_eq!(one.not_attributable, 2);
    let mut query = person(1);
    query.requests = [request_id(2), request_id(200)].into();
    let (named, aside) = of(&file, &query);
    assert_eq!(outcomes(&named), [Outcome::Answered, Outcome::Denied]);
    assert_eq!(named.not_attributable + 1, one.not_attributable);
    assert_eq!(aside.not_found, [request_id(200)].into());
}

#[test]
fn an_export_without_openings_is_not_searched_by_person() {
    let mut rows = story_rows();
    for row in &mut rows {
        row.openings.clear();
    }
    let file = export_rows(&rows);
    let error = account(&file[..], &person(1)).unwrap_err();
    assert!(matches!(error, DisclosureError::NoPersons), "{error}");
    assert!(person_of(&file[..], &consent_id(1)).is_err());
    let query = Query {
        requests: [request_id(1)].into(),
        ..Query::default()
    };
    assert_eq!(outcomes(&of(&file, &query).0), [Outcome::Answered]);

    let file = export_rows(&story_rows());
    assert_eq!(
        person_of(&file[..], &consent_id(1)).unwrap(),
        Handle([1; 32])
    );
    assert!(person_of(&file[..], &consent_id(200)).is_err());
}

#[test]
fn a_suspension_leaves_no_trace_until_its_day_has_come() {
    let file = export_rows(&story_rows());
    let (full, _) = of(&file, &person(1));
    let (empty, _) = of(&file, &person(98));
    let mut query = person(1);
    query.suspensions = vec![Suspension {
        agency: agency(0),
        until: "2027-06-30".parse().unwrap(),
    }];
    let (suspended, aside) = of(&file, &query);
    assert_eq!(aside.left_out, 2);
    assert!(suspended.entries.is_empty());
    assert_eq!(suspended.not_attributable, full.not_attributable);
    // But for the pseudonym it is the account of somebody of whom there is nothing.
    let text = |account: &Account| serde_json::to_string(account).unwrap();
    let handle = |n: u8| Handle([n; 32]).to_hex();
    assert_eq!(
        text(&suspended).replace(&handle(1), &handle(98)),
        text(&empty)
    );
    for (today, left_out) in [("2027-06-29", 2), ("2027-06-30", 0), ("2027-07-01", 0)] {
        query.today = Some(today.parse().unwrap());
        let (account, aside) = of(&file, &query);
        assert_eq!(aside.left_out, left_out, "{today}");
        assert_eq!(account.entries.len() as u64, 2 - left_out, "{today}");
    }
    query.today = None;
    query.suspensions[0].agency = agency(2);
    assert_eq!(
        of(&file, &query).0,
        full,
        "another agency's suspension is none of theirs"
    );
}

#[test]
fn that_something_may_be_left_out_is_said_if_the_law_lets_it_whether_or_not_it_is() {
    let file = export_rows(&story_rows());
    let said = |query: &Query, lang| {
        let page = page::html(&of(&file, query).0, lang);
        page.contains("left out for a time") || page.contains("omises pour un temps")
    };
    for lang in [Lang::English, Lang::French] {
        let mut query = person(1);
        assert!(!said(&query, lang));
        query.say_left_out = true;
        assert!(
            said(&query, lang),
            "nothing was left out, and it is said all the same"
        );
        query.suspensions = vec![Suspension {
            agency: agency(0),
            until: "2099-01-01".parse().unwrap(),
        }];
        assert!(said(&query, lang));
        query.say_left_out = false;
        assert!(
            !said(&query, lang),
            "where the law forbids to say it, it is not said"
        );
    }
}

#[test]
fn where_the_recipient_is_not_readable_a_suspension_leaves_the_row_out() {
    let mut rows = story_rows();
    for row in &mut rows {
        let entry = Entry::from_bytes(&row.entry).unwrap();
        let says_who = matches!(
            entry.body,
            EntryBody::Said { .. } | EntryBody::Offered { .. }
        );
        row.hidden = says_who;
    }
    let query = |agency_n: u8| Query {
        requests: [request_id(2)].into(),
        suspensions: vec![Suspension {
            agency: agency(agency_n),
            until: "2099-01-01".parse().unwrap(),
        }],
        ..Query::default()
    };
    let file = export_rows(&rows);
    let (account, aside, _) = account(&file[..], &query(0)).unwrap();
    assert_eq!((account.entries.len(), aside.left_out), (0, 1));
}

/// A broker that writes markup and formulas where a rule's name stands.
pub(crate) fn hostile(rule: &str) -> Vec<Row> {
    let mut rows = story_rows();
    for row in &mut rows {
        let mut entry = Entry::from_bytes(&row.entry).unwrap();
        if let EntryBody::Decided { items, .. } = &mut entry.body {
            for reason in items.iter_mut().flat_map(|item| &mut item.ruling.reasons) {
                rule.clone_into(&mut reason.rule);
            }
            row.entry = entry.to_bytes().unwrap();
        }
    }
    rows
}

#[test]
fn the_page_says_all_in_both_languages_and_is_no_way_in() {
    let rule = "<script>alert(1)</script>\" onload='x' &amp;\u{1}";
    // Permits name their decision by index, so the log still verifies.
    let file = export_rows(&hostile(rule));
    let mut query = person(1);
    query.requests = [request_id(3), request_id(5)].into();
    for (lang, tag, words) in [
        (
            Lang::English,
            "lang=\"en\"",
            [
                "Accounting of disclosures",
                "whether in service",
                "Refused by the rules",
            ],
        ),
        (
            Lang::French,
            "lang=\"fr\"",
            [
                "Relevé des communications",
                "suivi en cours ou non",
                "Refusé par les règles",
            ],
        ),
    ] {
        let page = page::html(&of(&file, &query).0, lang);
        assert!(page.contains(tag));
        for word in words {
            assert!(page.contains(word), "{word}");
        }
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39;"));
        assert!(page.contains("&amp;amp;\u{fffd}"));
        for agency in [agency(0), agency(1)] {
            assert!(page.contains(agency.as_str()));
        }
        assert!(!page.contains("://"), "nothing from elsewhere: {page}");
        let handle = Handle([1; 32]).to_hex();
        assert!(
            !page.contains(&handle),
            "a printed page has only the pseudonym's beginning"
        );
    }
}
