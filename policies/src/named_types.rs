//! Refuses a schema that grows beyond measure once each name of a type is replaced by what it
//! stands for.
//!
//! In scope: words of a schema, counted as if every named type were written out where it is used.
//! Out of scope: whether the text is a schema at all, and how deep one type is
//! ([`crate::nesting`], which also bounds how many names there are, and so the recursion here).
//!
//! Cedar writes them out. With `type B = { a: A, b: A }` each name doubles the one before, so
//! thirty lines keep a machine busy for a minute and forty for a day: a proposed bundle is read by
//! every agency before anybody has looked at it.

use std::collections::HashMap;

/// Words of a schema with its named types written out. The shipped one has fewer than 2,000.
const MAX_WORDS: u64 = 50_000;

/// What is too large in `text`, with the byte at which it becomes so.
pub(crate) fn too_large(text: &str) -> Option<(usize, String)> {
    let words = words(text);
    let bodies = bodies(text, &words);
    let mut sizes = HashMap::new();
    let mut total: u64 = 0;
    for (at, word) in words {
        total = total.saturating_add(size(word, &bodies, &mut sizes));
        if total > MAX_WORDS {
            let reason = format!("more than {MAX_WORDS} words, with its named types written out");
            return Some((at, reason));
        }
    }
    None
}

/// The words of a schema with their places: neither those of strings nor of comments.
fn words(text: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                while let Some((_, byte)) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'/' if bytes.peek().is_some_and(|(_, next)| *next == b'/') => {
                let in_line = |(_, b): &(usize, u8)| !matches!(b, b'\n' | b'\r');
                while bytes.next_if(in_line).is_some() {}
            }
            _ if is_of_word(byte) => {
                let mut end = at.saturating_add(1);
                while bytes.next_if(|(_, b)| is_of_word(*b)).is_some() {
                    end = end.saturating_add(1);
                }
                words.extend(text.get(at..end).map(|word| (at, word)));
            }
            _ => {}
        }
    }
    words
}

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The words that each name stands for; of one name in two namespaces those of both.
fn bodies<'t>(text: &'t str, words: &[(usize, &'t str)]) -> HashMap<&'t str, Vec<&'t str>> {
    let mut bodies: HashMap<_, Vec<_>> = HashMap::new();
    let mut name = None;
    let mut before = 0;
    let mut was_type = false;
    for (at, word) in words {
        // A record has commas, so what a name stands for ends with its statement.
        if text
            .get(before..*at)
            .is_some_and(|between| between.contains(';'))
        {
            name = None;
        }
        before = at.saturating_add(word.len());
        if was_type {
            name = Some(*word);
            bodies.entry(*word).or_default();
        } else if let Some(name) = name {
            bodies.entry(name).or_default().push(*word);
        }
        let is_attribute = || text.get(before..).is_some_and(crate::nesting::is_attribute);
        was_type = *word == "type" && name.is_none() && !is_attribute();
    }
    bodies
}

/// How many words one stands for. A name that stands for itself is for Cedar to refuse.
fn size<'t>(
    word: &'t str,
    bodies: &HashMap<&'t str, Vec<&'t str>>,
    sizes: &mut HashMap<&'t str, u64>,
) -> u64 {
    let Some(body) = bodies.get(word) else {
        return 1;
    };
    if let Some(known) = sizes.get(word) {
        return *known;
    }
    sizes.insert(word, 1);
    let of_body = body.iter().fold(1_u64, |sum, word| {
        sum.saturating_add(size(word, bodies, sizes))
    });
    sizes.insert(word, of_body);
    of_body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cedar::parse_schema;

    /// Each name twice the one before.
    fn doubling(names: usize) -> String {
        let links = (1..names).map(|n| {
            let before = n - 1;
            format!("type T{n} = {{ a: T{before}, b: T{before} }};\n")
        });
        let links: String = links.collect();
        let last = names - 1;
        format!("type T0 = {{ a: Long }};\n{links}entity A = {{\n x: T{last}\n}};")
    }

    #[test]
    fn names_that_double_each_other_are_refused_before_they_are_written_out() {
        let read = |text: &str| parse_schema("x.cedarschema", text).map(drop);
        assert!(read(&doubling(10)).is_ok());
        for names in [20, 60] {
            let error = read(&doubling(names)).unwrap_err().to_string();
            assert!(error.contains("more than 50000 words"), "{error}");
        }
        // Few names, each with many of the one before.
        let many = |of: &str| {
            let fields = (0..100).map(|n| format!("f{n}: {of}, "));
            fields.collect::<String>()
        };
        let wide = format!(
            "type A = {{ {} }};\ntype B = {{ {} }};\ntype C = {{ {} }};\nentity D = {{ x: C }};",
            many("Long"),
            many("A"),
            many("B"),
        );
        assert!(read(&wide).unwrap_err().to_string().contains("line 3: "));
    }

    #[test]
    fn what_a_name_stands_for_is_counted_wherever_it_is_used_and_nowhere_else() {
        let size_of = |text: &str, name: &str| {
            let words = words(text);
            let bodies = bodies(text, &words);
            let name = words.iter().find(|(_, word)| *word == name).unwrap().1;
            size(name, &bodies, &mut HashMap::new())
        };
        let text = "type A = { a: Long, type: Long };\n// type B = A\nentity E = { x: A };\n\
             namespace N { type C = Set<A>; }\ntype L = L;\ntype \"A\" = A;";
        assert_eq!(size_of(text, "A"), 5);
        assert_eq!(size_of(text, "E"), 1);
        assert_eq!(size_of(text, "C"), 7);
        assert_eq!(size_of(text, "L"), 2);
    }

    #[test]
    fn the_shipped_schema_is_far_below_the_bound() {
        let files = crate::embedded_files();
        let schema = &files[crate::SCHEMA_FILE];
        assert!(too_large(schema).is_none());
        assert!(words(schema).len() < 2_000);
    }
}
