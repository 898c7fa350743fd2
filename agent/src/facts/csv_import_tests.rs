//! Malformed and unusual CSV files.

use super::{
    csv_import::{
        Import, ImportError, MAX_CELL_BYTES, MAX_COLUMNS, MAX_PROBLEMS, RowProblem, parse,
    },
    fact::{Fact, FactKind},
    mapping::Mapping,
};
use passerelle_model::vocabulary::Category;
use proptest::prelude::*;
use std::io::{self, Read};

const MAPPING: &str = r#"
source_id = "id"
date_formats = ["YYYY-MM-DD", "DD/MM/YYYY", "YYYY-MM"]

[person]
family_name = "last"
given_name = "first"
birth_date = "born"
sex = "sex"

[[fact]]
category = "diagnosis"
code = "dx"
text = "note"
since = "since"
contact = { constant = "Intake, 555-0100" }
specially_protected = { column = "protected", default = "no" }
sensitivity = { column = "sens", default = 2 }
kind = { column = "kind", default = "fact" }

[[fact]]
category = "in_service"
present = "active"
codes = ["open"]
code = { constant = "open" }
"#;

const HEADER: &str = "id,last,first,born,sex,dx,note,since,protected,sens,kind,active";

fn mapping() -> Mapping {
    Mapping::from_toml(MAPPING).unwrap()
}

fn import(file: impl AsRef<[u8]>) -> Import {
    parse(&mapping(), file.as_ref()).unwrap()
}

/// The header and these rows, each ended by LF.
fn rows(rows: &[&str]) -> Import {
    let lines: Vec<_> = [HEADER].iter().chain(rows).copied().collect();
    import(lines.join("\n") + "\n")
}

fn good(id: &str) -> String {
    format!("{id},Roy,Léa,1990-02-03,F,F32.1,a note,2025-08,no,1,fact,yes")
}

fn ids(import: &Import) -> Vec<&str> {
    import.rows.iter().map(|r| r.source_id.0.as_str()).collect()
}

fn problem(line: u64, column: Option<&str>, import: &Import) -> RowProblem {
    let found = import.problems.iter().find(|p| p.line == line);
    let found = found.unwrap_or_else(|| panic!("no problem at {line}: {:?}", import.problems));
    assert_eq!(found.column.as_deref(), column, "{found}");
    found.clone()
}

#[test]
fn a_good_file_gives_people_and_facts() {
    let import = rows(&[&good("1"), "2,Roy,Ève,04/02/1990,,,,,,,,no"]);
    assert_eq!(import.problems, []);
    assert_eq!(ids(&import), ["1", "2"]);
    let expected = Fact {
        code: Some("F32.1".into()),
        text: Some("a note".into()),
        since: Some("2025-08-01".parse().unwrap()),
        contact: Some("Intake, 555-0100".into()),
        sensitivity: 1.try_into().unwrap(),
        kind: FactKind::Fact,
        ..Fact::empty(Category::Diagnosis)
    };
    assert!(import.rows[0].facts[0] == expected);
    assert_eq!(import.rows[0].facts[1].code.as_deref(), Some("open"));
    assert_eq!(import.rows[1].facts, []);
    assert_eq!(import.rows[1].person.birth_date().to_string(), "1990-02-04");
}

#[test]
fn bad_rows_are_reported_and_good_rows_kept() {
    let import = rows(&[
        &good("1"),
        "2,Roy,Léa,1990-02-30,F,,,,,,,no",
        &good("3"),
        "4,Roy,,1990-02-03,Q,two words,,bad,maybe,7,guess,",
        &good("5"),
    ]);
    assert_eq!(ids(&import), ["1", "3", "5"]);
    problem(3, Some("born"), &import);
    let columns: Vec<_> = import
        .problems
        .iter()
        .filter(|p| p.line == 5)
        .filter_map(|p| p.column.as_deref())
        .collect();
    let expected = [
        "active",
        "dx",
        "first",
        "kind",
        "protected",
        "sens",
        "sex",
        "since",
    ];
    assert_eq!(columns, expected);
}

#[test]
fn cells_that_are_not_utf_8_are_named() {
    let mut file = format!("{HEADER}\n{}\n2,", good("1")).into_bytes();
    file.extend_from_slice(b"C\xf4t\xe9,Ida,1990-01-01,F,,,,,,,no\n");
    file.extend_from_slice(good("3").as_bytes());
    let import = import(file);
    assert_eq!(ids(&import), ["1", "3"]);
    assert_eq!(problem(3, Some("last"), &import).message, "not UTF-8 text");
}

#[test]
fn ragged_rows_are_refused() {
    let import = rows(&["1,Roy,Léa", &good("2"), &(good("3") + ",extra"), &good("4")]);
    assert_eq!(ids(&import), ["2", "4"]);
    assert!(problem(2, None, &import).message.contains("3 cells"));
    assert!(problem(4, None, &import).message.contains("13 cells"));
}

#[test]
fn quoted_cells_may_hold_delimiters_quotes_and_lines() {
    let note = "\"first, then \"\"second\"\"\nthird\"";
    let import = rows(&[
        &format!("1,Roy,Léa,1990-02-03,F,,{note},,,,,no"),
        "2,Roy,Léa,bad,F,,,,,,,no",
    ]);
    let text = import.rows[0].facts[0].text.as_deref();
    assert_eq!(text, Some("first, then \"second\"\nthird"));
    problem(4, Some("born"), &import);
}

#[test]
fn a_quote_that_is_never_closed_refuses_all_that_it_swallows() {
    let import = rows(&[
        &good("1"),
        "2,Roy,Léa,1990-02-03,F,,\"open,,,,,no",
        &good("3"),
        &good("4"),
    ]);
    assert_eq!(ids(&import), ["1"]);
    assert!(problem(3, None, &import).message.contains("up to line 5"));
}

#[test]
fn a_quote_closed_in_another_row_does_not_join_two_people() {
    let import = rows(&[
        &good("1"),
        "2,Roy,Léa,1990-02-03,F,,\"open,,,,,no",
        "3,Roy,Ève,1990-02-03,F,,\"note\",,,,,no",
        &good("4"),
    ]);
    assert!(!ids(&import).contains(&"2") && !ids(&import).contains(&"3"));
    problem(3, None, &import);
}

#[test]
fn stray_quotes_are_refused() {
    for cell in ["a \"b\" c", "\"a\"b", "a\""] {
        let import = rows(&[
            &format!("1,Roy,Léa,1990-02-03,F,,{cell},,,,,no"),
            &good("2"),
        ]);
        assert_eq!(ids(&import), ["2"], "{cell}");
        problem(2, None, &import);
    }
}

#[test]
fn byte_order_mark_crlf_blank_lines_and_a_missing_last_newline_change_nothing() {
    let plain = rows(&[&good("1"), "2,Roy,Léa,bad,F,,,,,,,no", &good("3")]);
    let lines = [HEADER, &good("1"), "2,Roy,Léa,bad,F,,,,,,,no", &good("3")];
    for file in [
        lines.join("\r\n"),
        lines.join("\r\n") + "\r\n\r\n",
        format!("\u{feff}{}", lines.join("\n")),
        format!("\u{feff}{}\r\n", lines.join("\r\n")),
    ] {
        let import = import(file);
        assert_eq!(import.rows, plain.rows);
        assert_eq!(import.problems, plain.problems);
    }
    let spaced = import(lines.join("\n\n"));
    assert_eq!(spaced.rows, plain.rows);
    problem(5, Some("born"), &spaced);
    let spaced = import(lines.join("\r\n\r\n"));
    problem(5, Some("born"), &spaced);
}

#[test]
fn an_id_on_two_rows_refuses_both() {
    let import = rows(&[
        &good("1"),
        &good("2"),
        &good("1"),
        "2,Roy,,1990-02-03,F,,,,,,,no",
    ]);
    assert_eq!(ids(&import), Vec::<&str>::new());
    let lines: Vec<_> = import
        .problems
        .iter()
        .filter(|p| p.message.contains("several rows"))
        .map(|p| p.line)
        .collect();
    assert_eq!(lines, [2, 3, 4, 5]);
}

#[test]
fn an_empty_or_odd_id_is_refused() {
    let import = rows(&[&good(""), &good("  "), &good(&"x".repeat(129)), &good("4")]);
    assert_eq!(ids(&import), ["4"]);
    problem(2, Some("id"), &import);
    problem(4, Some("id"), &import);
}

#[test]
fn huge_cells_are_refused() {
    let huge = "x".repeat(MAX_CELL_BYTES + 1);
    let import = rows(&[
        &format!("1,Roy,Léa,1990-02-03,F,,{huge},,,,,no"),
        &good("2"),
        &format!("3,{huge},Léa,1990-02-03,F,,,,,,,no"),
    ]);
    assert_eq!(ids(&import), ["2"]);
    problem(2, Some("note"), &import);
    problem(4, Some("last"), &import);
}

#[test]
fn control_characters_are_refused() {
    let import = rows(&["1,Ro\u{0}y,Léa,1990-02-03,F,,,,,,,no", &good("2")]);
    assert_eq!(ids(&import), ["2"]);
    problem(2, Some("last"), &import);
}

#[test]
fn files_without_a_usable_header_are_refused() {
    let parse = |file: &[u8]| parse(&mapping(), file).unwrap_err();
    assert!(matches!(parse(b""), ImportError::Header { line: 1 }));
    assert!(matches!(parse(b"\n\n"), ImportError::Header { .. }));
    assert!(matches!(parse(b"id,l\xe9\n"), ImportError::Header { .. }));
    assert!(matches!(parse(b"\"id,last\n"), ImportError::Header { .. }));
    let wide = "x,".repeat(MAX_COLUMNS + 1);
    assert!(matches!(parse(wide.as_bytes()), ImportError::Header { .. }));
    for utf16 in [&b"\xff\xfei\0d\0"[..], b"\xfe\xff\0i\0d"] {
        assert!(matches!(parse(utf16), ImportError::Encoding));
    }
    let missing = HEADER.replace("protected", "protégé");
    let ImportError::Column { column, times } = parse(missing.as_bytes()) else {
        panic!("a missing column is not reported");
    };
    assert_eq!((column.as_str(), times), ("protected", 0));
    let twice = format!("{HEADER},last\n");
    let error = parse(twice.as_bytes());
    assert!(
        matches!(error, ImportError::Column { times: 2, .. }),
        "{error}"
    );
}

#[test]
fn the_wrong_delimiter_is_a_missing_column() {
    let file = HEADER.replace(',', ";");
    let error = parse(&mapping(), file.as_bytes()).unwrap_err();
    assert!(matches!(error, ImportError::Column { times: 0, .. }));
}

#[test]
fn a_file_that_breaks_off_gives_nothing() {
    struct Breaks;
    impl Read for Breaks {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    let file = format!("{HEADER}\n{}\n", good("1"));
    let result = parse(&mapping(), file.as_bytes().chain(Breaks));
    assert!(matches!(result, Err(ImportError::Read(_))));
}

#[test]
fn a_date_that_two_formats_read_differently_is_refused() {
    let both = MAPPING.replace("\"YYYY-MM\"", "\"MM/DD/YYYY\"");
    let mapping = Mapping::from_toml(&both).unwrap();
    let file = format!(
        "{HEADER}\n1,Roy,Léa,04/05/1990,F,,,,,,,no\n2,Roy,Léa,25/12/1990,F,,,,,,,no\n\
         3,Roy,Léa,05/05/1990,F,,,,,,,no\n"
    );
    let import = parse(&mapping, file.as_bytes()).unwrap();
    assert_eq!(ids(&import), ["2", "3"]);
    problem(2, Some("born"), &import);
}

#[test]
fn a_birth_date_needs_a_day() {
    let import = rows(&["1,Roy,Léa,1990-02,F,,,,,,,no"]);
    problem(2, Some("born"), &import);
}

#[test]
fn a_mapped_flag_left_empty_is_a_doubt_and_refused() {
    let strict = MAPPING.replace(
        "{ column = \"protected\", default = \"no\" }",
        "\"protected\"",
    );
    let mapping = Mapping::from_toml(&strict).unwrap();
    let file = format!(
        "{HEADER}\n1,Roy,Léa,1990-02-03,F,F32,,,,,,no\n\
         2,Roy,Léa,1990-02-03,F,F32,,,oui,,,no\n"
    );
    let import = parse(&mapping, file.as_bytes()).unwrap();
    assert_eq!(ids(&import), ["2"]);
    assert!(import.rows[0].facts[0].specially_protected);
    problem(2, Some("protected"), &import);
}

#[test]
fn a_source_cannot_lift_the_protection_of_a_category() {
    for (category, is_flagged) in [
        ("sud_treatment", (true, false)),
        ("youth_record", (false, true)),
        ("diagnosis", (false, false)),
    ] {
        let no =
            "specially_protected = { constant = \"no\" }\nyouth_record = { constant = \"no\" }";
        let extra = format!("{MAPPING}\n[[fact]]\ncategory = \"{category}\"\n{no}\n");
        let mapping = Mapping::from_toml(&extra).unwrap();
        let file = format!("{HEADER}\n{}", good("1"));
        let import = parse(&mapping, file.as_bytes()).unwrap();
        let fact = import.rows[0].facts.last().unwrap();
        assert_eq!(
            (fact.specially_protected, fact.youth_record),
            is_flagged,
            "{category}"
        );
    }
}

#[test]
fn the_row_digest_changes_with_the_content_and_only_with_it() {
    let digest = |row: &str| rows(&[row]).rows[0].digest;
    let base = digest(&good("1"));
    assert_eq!(base, digest(&good("\"1\"")));
    assert_eq!(base, digest(&good(" 1 ")));
    let columns = HEADER.split(',').rev().collect::<Vec<_>>().join(",");
    let reversed = good("1").split(',').rev().collect::<Vec<_>>().join(",");
    assert_eq!(
        import(format!("{columns}\n{reversed}")).rows[0].digest,
        base
    );
    for changed in [
        good("2"),
        good("1").replace("Léa", "Lea"),
        good("1").replace("F32.1", "F32.2"),
        good("1").replace(",no,1,", ",yes,1,"),
        good("1").replace(",yes", ",no"),
    ] {
        assert_ne!(digest(&changed), base, "{changed}");
    }
}

#[test]
fn problems_beyond_the_limit_are_counted() {
    let bad: String = (0..MAX_PROBLEMS + 5)
        .map(|i| format!("{i},Roy,Léa,x,F,,,,,,,no\n"))
        .collect();
    let import = import(format!("{HEADER}\n{bad}"));
    assert_eq!(import.problems.len(), MAX_PROBLEMS);
    assert_eq!(import.problems_left_off, 5);
}

#[test]
fn no_message_repeats_what_a_cell_holds() {
    let marker = "zqmarker";
    let row: Vec<_> = HEADER.split(',').map(|_| marker).collect();
    let import = rows(&[
        &row.join(","),
        &format!("{marker},\u{1}{marker},{marker},{marker}{}", ",x".repeat(8)),
        &format!("{marker},{marker}"),
        &format!("{marker},\"{marker}"),
    ]);
    assert!(import.problems.len() > 4);
    let shown = format!("{import:?}");
    assert!(!shown.contains(marker), "{shown}");
    let one = rows(&[&good("zq1").replace("a note", marker).replace("Roy", marker)]);
    let shown = format!("{one:?}");
    assert!(!shown.contains(marker) && !shown.contains("zq1"), "{shown}");
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(
        prop::sample::select(b",\"\n\r1aR\xc3\xa9-0 \x00".to_vec()), 0..400,
    )) {
        let mut file = HEADER.as_bytes().to_vec();
        file.push(b'\n');
        file.extend(&bytes);
        let import = parse(&mapping(), &file[..]).unwrap();
        let lines = u64::try_from(file.iter().filter(|b| **b == b'\n').count()).unwrap() + 1;
        for problem in &import.problems {
            prop_assert!((2..=lines).contains(&problem.line));
        }
    }

    #[test]
    fn a_line_reported_is_the_line_of_the_row(
        kinds in proptest::collection::vec(0_u8..5, 1..30), crlf in any::<bool>(),
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let mut file = format!("{HEADER}{end}");
        let mut line = 2;
        let mut bad = Vec::new();
        for (id, kind) in kinds.iter().enumerate() {
            let text = match kind {
                0 => good(&id.to_string()),
                1 => format!("{id},Roy,Léa,1990-02-03,F,,\"a{end}b{end}\",,,,,no"),
                2 => String::new(),
                3 => format!("{id},Roy,Léa,,F,,\"a{end}b\",,,,,no"),
                _ => format!("{id},ragged"),
            };
            if *kind > 2 {
                bad.push(line);
            }
            line += 1 + u64::try_from(text.matches('\n').count()).unwrap();
            file += &text;
            file += end;
        }
        let import = import(file);
        let lines: Vec<_> = import.problems.iter().map(|p| p.line).collect();
        prop_assert_eq!(lines, bad);
    }
}
