//! The import of facts: CSV files and the mapping files that say how to read them.

use crate::Input;
use passerelle_agent::facts::{
    csv_import::{Import, MAX_PROBLEMS, MAX_SOURCE_ID_BYTES, parse},
    mapping::{MAX_FACTS, MAX_MAPPING_BYTES, Mapping},
    reduce::reduce,
};
use passerelle_model::vocabulary::Level;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Mappings that use every feature: both delimiters, defaults, constants, code lists.
static MAPPINGS: LazyLock<Vec<Mapping>> = LazyLock::new(|| {
    [
        include_str!("../../../../src/demo/data/police.toml"),
        include_str!("../../../../src/demo/data/health.toml"),
        include_str!("../../../../src/demo/data/community.toml"),
        include_str!("../data/short.toml"),
    ]
    .map(|text| Mapping::from_toml(text).unwrap())
    .into()
});

/// A CSV file, read with one of a few mappings.
pub fn csv(data: &[u8]) {
    let mut input = Input::new(data);
    let mapping = &MAPPINGS[usize::from(input.byte()) % MAPPINGS.len()];
    import(mapping, input.rest());
}

/// A mapping file, and after a zero byte a CSV file to read with it.
pub fn mapping(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (text, file) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match Mapping::from_toml(text) {
        Ok(mapping) => {
            assert!(text.len() <= MAX_MAPPING_BYTES);
            assert!((1..=MAX_FACTS).contains(&mapping.facts.len()));
            assert!(b",;\t|".contains(&mapping.delimiter));
            import(&mapping, file);
        }
        Err(error) => {
            let lines = text.matches('\n').count() + 1;
            assert!((1..=lines).contains(&error.line), "{error}");
            assert!(error.column >= 1);
        }
    }
}

fn import(mapping: &Mapping, file: &[u8]) {
    let Ok(import) = parse(mapping, file) else {
        return;
    };
    check(mapping, &import);
    // The same rows, whatever ends the lines.
    if !file.contains(&b'"') && !file.contains(&b'\r') {
        let other: Vec<u8> = file
            .iter()
            .flat_map(|byte| match byte {
                b'\n' => b"\r\n".iter(),
                byte => std::slice::from_ref(byte).iter(),
            })
            .copied()
            .collect();
        let other = parse(mapping, other.as_slice()).unwrap();
        assert!(other.rows == import.rows, "CRLF reads as other rows");
        assert_eq!(other.problems.len(), import.problems.len());
    }
}

fn check(mapping: &Mapping, import: &Import) {
    assert!(import.problems.len() <= MAX_PROBLEMS);
    let ids: BTreeSet<_> = import.rows.iter().map(|row| &row.source_id).collect();
    assert_eq!(ids.len(), import.rows.len(), "an id twice");
    for row in &import.rows {
        assert!((1..=MAX_SOURCE_ID_BYTES).contains(&row.source_id.0.len()));
        assert!(row.facts.len() <= mapping.facts.len());
        let json = serde_json::to_string(row).unwrap();
        let again: passerelle_agent::facts::csv_import::ImportedPerson =
            serde_json::from_str(&json).unwrap();
        assert!(again == *row);
        for fact in &row.facts {
            for level in Level::ALL {
                let reduced = reduce(fact, *level);
                assert!(reduced.level <= *level);
                assert!(reduced.text.is_none() || *level == Level::Detail);
                assert!(reduced.code.is_none() || *level >= Level::Coded);
                assert!(!fact.restricted || reduced.code.is_none() && reduced.text.is_none());
            }
        }
    }
}
