//! A search against a filter that looks at the whole log for each entry, and knows no state.

mod log;
mod naive;

use super::{Bound, Found, Limits, MAX_FOUND, Page, Query, Search, SearchError, in_export, table};
use crate::export::{ExportHeader, ExportRow, write_header, write_row};
use crate::merkle::{Tree, leaf_hash};
use log::{
    Row, START, agency, basis, case_id, category, consent_id, effect, handle, opening, purpose,
    request_id, row, rule,
};
use naive::Naive;
use passerelle_model::{
    bytes::Nonce,
    commitment::{Field, Opening},
};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn search(rows: &[Row], query: &Query, limits: Limits) -> Result<Page, SearchError> {
    let mut search = Search::new(query.clone(), limits);
    for row in rows {
        match row.hidden {
            true => search.hidden(),
            false => search.entry(&row.entry.to_bytes().unwrap(), &row.openings)?,
        }
    }
    search.finish()
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let one = (any::<u8>(), any::<[u8; 5]>(), 0..4_u8, 0..8_u8, 0..20_u64);
    let one = one.prop_map(|(kind, n, open, hidden, at)| row(kind, n, open > 0, hidden == 0, at));
    prop::collection::vec(one, 1..40)
}

fn maybe<T: Ord + Clone + std::fmt::Debug + 'static>(
    value: fn(u8) -> T,
) -> impl Strategy<Value = BTreeSet<T>> {
    // Most criteria are absent in most queries, else nothing would ever match.
    let some = prop::collection::vec(any::<u8>(), 1..3);
    prop::option::weighted(0.15, some)
        .prop_map(move |n| n.into_iter().flatten().map(value).collect())
}

fn queries() -> impl Strategy<Value = Query> {
    let who = (maybe(agency), maybe(agency), maybe(agency), maybe(handle));
    let what = (
        maybe(purpose),
        maybe(basis),
        maybe(category),
        maybe(effect),
        maybe(rule),
    );
    let which = (maybe(request_id), maybe(consent_id), maybe(case_id));
    let worker = maybe(|n| format!("w{}", n % 2));
    let period = (prop::option::of(0..20_u64), prop::option::of(0..25_u64));
    (who, what, which, worker, period).prop_map(|(who, what, which, workers, period)| {
        let mut query = Query {
            workers,
            from: period.0.map(|s| START.plus_s(s / 4)),
            until: period.1.map(|s| START.plus_s(s + 5)),
            ..Query::default()
        };
        (
            query.agencies,
            query.requesters,
            query.holders,
            query.persons,
        ) = who;
        (
            query.purposes,
            query.bases,
            query.categories,
            query.decisions,
            query.rules,
        ) = what;
        (query.requests, query.consents, query.cases) = which;
        query
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_search_finds_what_a_filter_that_looks_at_everything_finds(
        rows in rows(), query in queries(),
    ) {
        let naive: Vec<u64> = (0..rows.len())
            .filter(|end| Naive(&rows[..=*end]).matches(&query))
            .map(|index| index as u64)
            .collect();
        match search(&rows, &query, Limits::default()) {
            Ok(page) => {
                let found: Vec<_> = page.entries.iter().map(|found| found.index).collect();
                prop_assert_eq!(&found, &naive);
                prop_assert_eq!(page.matched, naive.len() as u64);
                prop_assert_eq!(page.size, rows.len() as u64);
            }
            // A name that nobody has: then there is nothing to find either.
            Err(SearchError::Unknown { .. }) => {}
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
    }

    #[test]
    fn pages_one_after_the_other_are_the_whole(rows in rows(), most in 5..15_usize) {
        let query = Query::default();
        let whole = search(&rows, &query, Limits::default()).unwrap();
        let mut pages: Vec<Found> = Vec::new();
        loop {
            let after = pages.last().map(|last| last.index);
            let page = search(&rows, &query, Limits { after, most }).unwrap();
            prop_assert_eq!(page.matched, whole.matched);
            prop_assert!(page.entries.len() <= most);
            if page.entries.is_empty() {
                break;
            }
            pages.extend(page.entries);
        }
        prop_assert_eq!(pages, whole.entries);
    }
}

/// A request about person 1 by worker w0, decided, answered; and one about person 0.
fn story() -> Vec<Row> {
    vec![
        row(0, [0, 1, 0, 0, 0], true, false, 0),
        row(3, [0, 0, 0, 0, 0], true, false, 1),
        row(5, [0, 0, 0, 1, 0], true, false, 2),
        row(0, [1, 2, 1, 0, 0], true, false, 3),
    ]
}

fn indices(rows: &[Row], query: &Query) -> Vec<u64> {
    let page = search(rows, query, Limits::default()).unwrap();
    page.entries.iter().map(|found| found.index).collect()
}

#[test]
fn a_person_is_found_through_the_opening_and_not_without_it() {
    let mut rows = story();
    let query = Query {
        persons: BTreeSet::from([handle(1)]),
        ..Query::default()
    };
    assert_eq!(indices(&rows, &query), [0, 1, 2]);
    for row in &mut rows {
        row.openings.clear();
    }
    assert!(indices(&rows, &query).is_empty());
    // An opening that opens something else says nothing.
    rows[0].openings = vec![Opening {
        random: Nonce([8; 32]),
        ..opening(Field::Subject, &handle(1).0)
    }];
    assert!(indices(&rows, &query).is_empty());
}

#[test]
fn no_handle_is_in_what_is_given() {
    let page = search(&story(), &Query::default(), Limits::default()).unwrap();
    let json = serde_json::to_string(&page).unwrap();
    assert!(!json.contains(&handle(1).to_hex()), "{json}");
    let shown = table(&page, Limits::default());
    assert!(!shown.contains(&handle(1).to_hex()), "{shown}");
    assert_eq!(serde_json::from_str::<Page>(&json).unwrap().matched, 4);
    let query = Query {
        persons: BTreeSet::from([handle(1)]),
        ..Query::default()
    };
    assert!(
        !serde_json::to_string(&query)
            .unwrap()
            .contains(&handle(1).to_hex())
    );
}

#[test]
fn names_that_nobody_has_are_refused_with_those_that_there_are() {
    let refusal = |query: Query| search(&story(), &query, Limits::default()).unwrap_err();
    let error = refusal(Query {
        agencies: BTreeSet::from(["polise".parse().unwrap()]),
        ..Query::default()
    });
    let expected = "no entry that can be read has the agency `polise`; \
                    known are: clinic, house, police";
    assert_eq!(error.to_string(), expected);
    let error = refusal(Query {
        rules: BTreeSet::from(["consent-cover".to_owned()]),
        ..Query::default()
    });
    assert!(
        error.to_string().ends_with("known are: consent-covers"),
        "{error}"
    );
}

#[test]
fn what_is_left_out_and_not_readable_is_said() {
    let mut rows = story();
    rows[2].hidden = true;
    let limits = Limits {
        after: None,
        most: 2,
    };
    let page = search(&rows, &Query::default(), limits).unwrap();
    assert_eq!((page.matched, page.not_readable, page.size), (3, 1, 4));
    let shown = table(&page, limits);
    assert!(
        shown.contains("3 found in 4 entries; 1 more can't be read here"),
        "{shown}"
    );
    assert!(
        shown.contains("2 are shown; for those that follow add `--after 1`"),
        "{shown}"
    );
    let all = search(
        &rows,
        &Query::default(),
        Limits {
            most: usize::MAX,
            ..limits
        },
    )
    .unwrap();
    assert!(!table(&all, Limits::default()).contains("--after"));
    assert!(MAX_FOUND >= all.entries.len());
}

#[test]
fn a_period_of_one_day_is_that_day() {
    let rows = story();
    let day: Bound = START.to_rfc3339()[..10].parse().unwrap();
    let of = |from, until| Query {
        from,
        until,
        ..Query::default()
    };
    assert_eq!(
        indices(&rows, &of(Some(day.from()), Some(day.until()))).len(),
        4
    );
    assert!(indices(&rows, &of(Some(day.until()), None)).is_empty());
    assert!(indices(&rows, &of(None, Some(day.from()))).is_empty());
    assert_eq!(
        indices(&rows, &of(Some(START.plus_s(1)), Some(START.plus_s(3)))),
        [1, 2]
    );
}

#[test]
fn an_export_is_searched_as_what_is_in_it_and_its_root_is_given() {
    let mut rows = story();
    rows[3].hidden = true;
    let mut file = Vec::new();
    let key = "example.org/log+00000000+AAAA".to_owned();
    let header = ExportHeader::new("example.org/log\n".to_owned(), key, "nord".parse().unwrap());
    write_header(&mut file, &header).unwrap();
    let mut tree = Tree::new();
    for (index, row) in rows.iter().enumerate() {
        let entry = row.entry.to_bytes().unwrap();
        tree.push(leaf_hash(&entry));
        let index = index as u64;
        let openings = row.openings.clone();
        let row = match row.hidden {
            true => ExportRow::Hidden {
                index,
                leaf_hash: leaf_hash(&entry),
            },
            false => ExportRow::Entry {
                index,
                entry,
                openings,
            },
        };
        write_row(&mut file, &row).unwrap();
    }
    let query = Query {
        workers: BTreeSet::from(["w0".to_owned()]),
        ..Query::default()
    };
    let (page, root) = in_export(&file[..], query.clone(), Limits::default()).unwrap();
    assert_eq!(root, tree.root());
    assert_eq!(page, search(&rows, &query, Limits::default()).unwrap());
    assert_eq!(page.entries.len(), 3);
    let lines: Vec<&[u8]> = file.split_inclusive(|b| *b == b'\n').collect();
    let without_one = [lines[0], lines[2]].concat();
    let refused = in_export(&without_one[..], query, Limits::default());
    assert!(matches!(refused, Err(SearchError::Entry { index: 0, .. })));
}
