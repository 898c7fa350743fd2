//! What the code around Cedar guarantees of every request, as policies.
//!
//! In scope: which kind a category has, which levels there are, what the reference data says.
//! Out of scope: everything that is recorded of agencies, consents, agreements and cases: a proof
//! holds whatever they say.
//!
//! Without them a solver finds requests that can't be: a diagnosis of the kind `police`, a basis
//! that serves every emergency. They only forbid, so that what is proved with it is proved of
//! the requests that [`passerelle_policies::CedarPdp`] can build, and of no fewer.

use passerelle_model::vocabulary::{Category, CategoryKind, LegalBasis, Level, Purpose};
use passerelle_policies::{EmergencyReach, Library};
use std::{collections::BTreeMap, fmt::Write as _};

/// How the names of the policies begin. After it stand the attributes that each pins down.
const WORLD: &str = "passerelle-world ";

/// The attributes that say what the reference data says, with a prefix if there are two of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prefix(pub(crate) &'static str);

/// The attributes of one library alone.
pub(crate) const PLAIN: Prefix = Prefix("");

/// The policies, name and text, that forbid whatever can't be under all of these libraries.
pub(crate) fn policies(libraries: &[(&Library, Prefix)]) -> Vec<(String, String)> {
    let always = [levels(), times(), subjects()].join(" &&\n  ");
    let mut all = vec![part("", &always), part("kind", &kinds())];
    for (library, prefix) in libraries {
        let Prefix(p) = prefix;
        let level = format!("{p}max_level");
        all.push(part(&level, &highest_levels(library, *prefix)));
        let reach = format!("{p}emergencies,{p}holders,{p}recipients");
        all.push(part(&reach, &bases(library, *prefix)));
    }
    all
}

fn part(pins: &str, holds: &str) -> (String, String) {
    let text = format!("forbid (principal, action, resource)\nunless {{\n  {holds}\n}};\n");
    (format!("{WORLD}{pins}"), text)
}

/// The attributes that a policy of the world pins down; `None` if it is another policy.
///
/// Each is a function of what it does not pin. A question that reads none of them has the same
/// answer without the policy, and sooner.
pub(crate) fn pins(id: &str) -> Option<Vec<String>> {
    let names = id.strip_prefix(WORLD)?.split(',').filter(|n| !n.is_empty());
    Some(names.map(str::to_owned).collect())
}

fn list<'a>(entity_type: &str, codes: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = codes
        .into_iter()
        .map(|code| format!("{entity_type}::\"{code}\""))
        .collect();
    format!("[{}]", names.join(", "))
}

fn one_of(cases: Vec<String>) -> String {
    format!("({})", cases.join(" ||\n   "))
}

fn kinds() -> String {
    let mut codes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for category in Category::ALL {
        let kind = CategoryKind::code(category.kind());
        codes.entry(kind).or_default().push(category.code());
    }
    one_of(
        codes
            .into_iter()
            .map(|(kind, codes)| {
                let codes = list("CategoryCode", codes);
                format!(
                    "(resource.category.kind == CategoryKind::\"{kind}\" && \
                     {codes}.contains(resource.category.code))"
                )
            })
            .collect(),
    )
}

fn levels() -> String {
    let line = "context.agreement.line.level >= 0 && context.agreement.line.level <= 4";
    let line = format!("(if context.agreement has line then {line} else true)");
    let agreed = if_there("agreement", &line);
    format!("resource.level >= 0 && resource.level <= 4 && {agreed}")
}

fn times() -> String {
    let consent = "context.consent.given_at >= 0 && context.consent.expires_at >= 0";
    let agreement = "context.agreement.starts_at >= 0 && context.agreement.ends_at >= 0";
    format!(
        "context.at >= 0 && {} && {}",
        if_there("consent", consent),
        if_there("agreement", agreement)
    )
}

fn subjects() -> String {
    if_there(
        "case",
        "context.case.subject_known || !context.case.same_subject",
    )
}

/// Of an optional fact, if it is there. Not `!(context has …) || …`, after which Cedar's validator
/// does not know that it is there.
fn if_there(name: &str, holds: &str) -> String {
    format!("(if context has {name} then ({holds}) else true)")
}

fn highest_levels(library: &Library, Prefix(prefix): Prefix) -> String {
    let mut tables: BTreeMap<BTreeMap<Level, Vec<&str>>, Vec<&str>> = BTreeMap::new();
    for purpose in Purpose::ALL {
        let mut table: BTreeMap<Level, Vec<&str>> = BTreeMap::new();
        for category in Category::ALL {
            let level = library.highest_level(*purpose, *category);
            table.entry(level).or_default().push(category.code());
        }
        tables.entry(table).or_default().push(purpose.code());
    }
    let case = |(table, purposes): (BTreeMap<Level, Vec<&str>>, Vec<&str>)| {
        let rows = table.into_iter().map(|(level, codes)| {
            let codes = list("CategoryCode", codes);
            let rank = level.rank();
            format!(
                "(resource.{prefix}max_level == {rank} && \
                 {codes}.contains(resource.category.code))"
            )
        });
        let purposes = list("Purpose", purposes);
        format!(
            "({purposes}.contains(context.purpose) &&\n    {})",
            one_of(rows.collect())
        )
    };
    one_of(tables.into_iter().map(case).collect())
}

fn bases(library: &Library, Prefix(prefix): Prefix) -> String {
    let mut reaches: Vec<(EmergencyReach, Vec<&str>)> = Vec::new();
    for basis in LegalBasis::ALL {
        let reach = library.emergency_reach(*basis);
        match reaches.iter_mut().find(|(known, _)| *known == reach) {
            Some((_, codes)) => codes.push(basis.code()),
            None => reaches.push((reach, vec![basis.code()])),
        }
    }
    let set = |name: &str, entity_type: &str, codes: Vec<&str>| {
        if codes.is_empty() {
            format!("context.basis.{prefix}{name}.isEmpty()")
        } else {
            let codes = list(entity_type, codes);
            format!("context.basis.{prefix}{name} == {codes}")
        }
    };
    let case = |(reach, codes): &(EmergencyReach, Vec<&str>)| {
        let kinds = reach.kinds.iter().map(|k| k.code()).collect();
        let holders = reach.holders.iter().map(|s| s.code()).collect();
        let recipients = reach.recipients.iter().map(|s| s.code()).collect();
        let mut text = String::new();
        // Writing to a string can't fail.
        let _infallible = write!(
            text,
            "({}.contains(context.basis.code) && {} && {} && {})",
            list("BasisCode", codes.iter().copied()),
            set("emergencies", "EmergencyKind", kinds),
            set("holders", "Sector", holders),
            set("recipients", "Sector", recipients),
        );
        text
    };
    one_of(reaches.iter().map(case).collect())
}
