//! Refuses text that is nested too deeply before Cedar reads it.
//!
//! In scope: brackets within brackets, prefix operators in a row, conditions and operators of one
//! statement, all counted without recursion. Out of scope: whether the text is Cedar at all.
//!
//! Cedar's parser keeps no count. It, the validator and the drop of what was parsed go one frame
//! deeper with each level, so a policy file of a few kilobytes would end the whole process, and a
//! proposed bundle is read by every agency before anybody has looked at it.

use crate::named_types;
use std::{iter::Peekable, str::Bytes};

/// Brackets within brackets. The shipped rules have 12.
const MAX_DEPTH: usize = 64;

/// Prefix operators in a row.
const MAX_PREFIXES: usize = 64;

/// Conditions (`if`) in a statement: each may stand in the other's last branch.
const MAX_CONDITIONS: usize = 64;

/// Characters of operators in a statement, and brackets opened: `a && a && a` is a tree as deep as
/// it is long. The shipped rules have fewer than 200.
const MAX_OPERATORS: usize = 1_024;

/// Names for types (`type A = B;`) in a schema: each may stand for the next, and whoever follows
/// them goes one frame deeper each. The shipped schema has 1.
const MAX_NAMED_TYPES: usize = 64;

/// Which of Cedar's languages a text is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Policies,
    /// Types nest in `<` and `>`, which compare in policies.
    Schema,
}

/// What is too deep in `text`, with the byte at which it becomes so.
pub(crate) fn too_deep(text: &str, language: Language) -> Option<(usize, String)> {
    let mut scan = Scan::new(language);
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        let next = bytes.peek().map(|(_, next)| *next);
        match byte {
            b'"' => skip_string(&mut bytes),
            b'/' if next == Some(b'/') => {
                while bytes
                    .next_if(|(_, b)| !matches!(b, b'\n' | b'\r'))
                    .is_some()
                {}
                continue;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => {
                let mut end = at.saturating_add(1);
                while bytes.next_if(|(_, b)| is_of_word(*b)).is_some() {
                    end = end.saturating_add(1);
                }
                let (word, rest) = (text.get(at..end), text.get(end..));
                let is_condition = word == Some("if");
                scan.conditions = scan.conditions.saturating_add(usize::from(is_condition));
                let names = word == Some("type") && !is_attribute(rest.unwrap_or_default());
                scan.named_types = scan.named_types.saturating_add(usize::from(names));
            }
            _ => scan.mark(byte),
        }
        if !byte.is_ascii_whitespace() && !matches!(byte, b'!' | b'-') {
            scan.prefixes = 0;
        }
        if let Some(reason) = scan.refusal() {
            return Some((at, reason));
        }
    }
    match language {
        Language::Policies => None,
        Language::Schema => named_types::too_large(text),
    }
}

/// Whether what stands before `rest` is the name of an attribute, optional or not.
pub(crate) fn is_attribute(rest: &str) -> bool {
    rest.trim_start().starts_with([':', '?'])
}

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Skips what a string holds. As in Cedar, a backslash takes any character along.
fn skip_string(bytes: &mut Peekable<std::iter::Enumerate<Bytes<'_>>>) {
    while let Some((_, byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return,
            _ => {}
        }
    }
}

struct Scan {
    language: Language,
    /// What closes each bracket that is open.
    open: Vec<u8>,
    prefixes: usize,
    conditions: usize,
    operators: usize,
    named_types: usize,
}

impl Scan {
    const fn new(language: Language) -> Self {
        Self {
            language,
            open: Vec::new(),
            prefixes: 0,
            conditions: 0,
            operators: 0,
            named_types: 0,
        }
    }

    fn mark(&mut self, byte: u8) {
        let closes_with = match byte {
            b'(' => Some(b')'),
            b'[' => Some(b']'),
            b'{' => Some(b'}'),
            b'<' if self.language == Language::Schema => Some(b'>'),
            _ => None,
        };
        match (byte, closes_with) {
            (_, Some(closing)) => {
                self.open.push(closing);
                self.operators = self.operators.saturating_add(1);
            }
            (b';', _) => {
                self.conditions = 0;
                self.operators = 0;
            }
            (b'!' | b'-', _) => {
                self.prefixes = self.prefixes.saturating_add(1);
                self.operators = self.operators.saturating_add(1);
            }
            (b'&' | b'|' | b'+' | b'*' | b'.' | b'<' | b'>' | b'=', _) => {
                self.operators = self.operators.saturating_add(1);
            }
            _ => {}
        }
        // One that closes nothing takes nothing back, or it would hide those that are open.
        if self.open.last() == Some(&byte) {
            self.open.pop();
        }
    }

    fn refusal(&self) -> Option<String> {
        let bounds = [
            (self.open.len(), MAX_DEPTH, "brackets within each other"),
            (self.prefixes, MAX_PREFIXES, "prefix operators in a row"),
            (self.conditions, MAX_CONDITIONS, "`if` in one statement"),
            (self.operators, MAX_OPERATORS, "operators in one statement"),
        ];
        let of_schema = [(self.named_types, MAX_NAMED_TYPES, "named types (`type`)")];
        let of_schema = of_schema
            .iter()
            .filter(|_| self.language == Language::Schema);
        let mut over = bounds.iter().chain(of_schema);
        let over = over.find(|(count, most, _)| count > most);
        over.map(|(_, most, what)| format!("more than {most} {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cedar::{Policies, parse_schema};

    fn rule(condition: &str) -> String {
        format!("@id(\"a-rule\")\nforbid (principal, action, resource)\nwhen {{ {condition} }};\n")
    }

    fn nested(open: &str, close: &str, levels: usize) -> String {
        format!("{}true{}", open.repeat(levels), close.repeat(levels))
    }

    /// What is wrong with the rule, read in a thread of the usual size.
    fn refusal(text: String) -> Option<String> {
        let read = std::thread::Builder::new().stack_size(2 << 20);
        let read = read.spawn(move || {
            let problems = Policies::default().add_file("x.cedar", &text);
            problems.first().map(ToString::to_string)
        });
        read.unwrap().join().unwrap()
    }

    #[test]
    fn a_policy_that_would_overflow_the_stack_is_refused_with_its_line() {
        let cases = [
            nested("(", ")", 40_000),
            nested("[", "]", 40_000),
            nested("{a: ", "}", 30_000),
            nested("!(", ")", 30_000),
            nested("if true then true else ", "", 10_000),
            "!".repeat(100_000) + "true",
            "- ".repeat(100_000) + "1 == 1",
            nested("true && ", "", 20_000),
            nested("true || ", "", 20_000),
            format!("context{} == 1", ".a".repeat(100_000)),
            format!("context{} == 1", "[\"a\"]".repeat(40_000)),
            format!("1{} == 1", "+1".repeat(100_000)),
        ];
        for case in cases {
            let start = case.chars().take(12).collect::<String>();
            let found = refusal(rule(&case)).unwrap_or_default();
            assert!(
                found.starts_with("`x.cedar` line 3: more than "),
                "{start}: {found}"
            );
        }
    }

    #[test]
    fn what_is_at_the_bounds_is_read_and_one_more_is_not() {
        // The brackets of `when` are one level.
        assert_eq!(refusal(rule(&nested("(", ")", MAX_DEPTH - 1))), None);
        assert!(refusal(rule(&nested("(", ")", MAX_DEPTH))).is_some());
        let chain = |terms| rule(&nested("true && ", "", terms));
        assert_eq!(refusal(chain(500)), None);
        assert!(refusal(chain(520)).is_some());
        let conditions = |count| rule(&nested("if true then true else ", "", count));
        assert_eq!(refusal(conditions(MAX_CONDITIONS)), None);
        assert!(refusal(conditions(MAX_CONDITIONS + 1)).is_some());
        // Many rules are not one deep one.
        let many = (0..64).map(|n| chain(50).replace("a-rule", &format!("rule-{n}")));
        assert_eq!(refusal(many.collect()), None);
    }

    #[test]
    fn strings_and_comments_neither_count_nor_hide_what_counts() {
        let of = |text: &str| too_deep(text, Language::Policies).is_some();
        let deep = "(".repeat(MAX_DEPTH + 1);
        assert!(!of(&format!("\"{deep}\"")));
        assert!(!of(&format!("\"\\\"{deep}\"")));
        assert!(!of(&format!("// {deep}\n")));
        let half = "(".repeat(MAX_DEPTH / 2 + 1);
        for hides in [
            "\")))))))))))))))))))))))))))))))))))))))))))))))))))))))))\"",
            "// ))))))))))))))))))))))))))))))))))))))))))))))))))))))))))\n",
            "// \"\r",
            "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
            "\"//\"",
            "\"\\\\\"",
        ] {
            assert!(of(&format!("{half}{hides}{half}")), "{hides}");
        }
    }

    #[test]
    fn a_schema_that_would_overflow_the_stack_is_refused() {
        let read = |of: String| {
            let text = format!("entity A = {{\n a: {of}\n}};");
            parse_schema("x.cedarschema", &text).map_err(|error| error.to_string())
        };
        assert!(read(format!("{}Long{}", "Set<".repeat(8), ">".repeat(8))).is_ok());
        for (open, close) in [("Set<", ">"), ("{a: ", "}")] {
            let deep = format!("{}Long{}", open.repeat(40_000), close.repeat(40_000));
            let error = read(deep).unwrap_err();
            assert!(error.contains("line 2: more than 64 brackets"), "{error}");
        }
    }

    #[test]
    fn a_chain_of_names_for_types_is_no_longer_than_the_bound() {
        let chain = |names: usize| {
            let links = (1..names).map(|n| format!("type T{n} = T{};\n", n - 1));
            let links: String = links.collect();
            let last = names - 1;
            let text = format!("type T0 = Long;\n{links}entity A = {{\n type: T{last}\n}};");
            let read = std::thread::Builder::new().stack_size(2 << 20);
            let read = read.spawn(move || {
                parse_schema("x.cedarschema", &text).map_err(|error| error.to_string())
            });
            read.unwrap().join().unwrap().map(drop)
        };
        assert_eq!(chain(MAX_NAMED_TYPES), Ok(()));
        for names in [MAX_NAMED_TYPES + 1, 100_000] {
            let error = chain(names).unwrap_err();
            assert!(
                error.contains("line 65: more than 64 named types"),
                "{error}"
            );
        }
        // In a policy it is a name as any other.
        let many = (0..100).map(|n| format!("context.type == {n} || "));
        let many = many.collect::<String>() + "true";
        assert!(refusal(rule(&many)).is_none_or(|reason| !reason.contains("named types")));
    }
}
