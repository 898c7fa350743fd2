//! Making a request plainer while it still shows the same.
//!
//! In scope: which changes are tried, in which order. Out of scope: what must stay true, which the
//! caller says and Cedar decides.
//!
//! A solver's request is full of accidents. What can be left out or made usual without losing the
//! point is: what remains is the point.

use crate::request::{Concrete, Root, entity};
use serde_json::{Value, json};

/// Times of one order that everything valid has: given before now, ending after.
const BEFORE: i64 = 1_000;
const NOW: i64 = 2_000;
const AFTER: i64 = 3_000;

/// Rounds at most; each makes the request plainer or is the last.
const ROUNDS: usize = 3;

enum Edit {
    /// Leave an optional fact out.
    Drop(&'static str),
    /// Put these values in.
    Put(Vec<(Root, Vec<&'static str>, Value)>),
}

impl Edit {
    fn apply(self, request: &mut Concrete) {
        match self {
            Self::Drop(name) => request.drop_from_context(name),
            Self::Put(values) => {
                for (root, path, value) in values {
                    request.put(root, &path, value);
                }
            }
        }
    }
}

/// The plainest request found for which `still` holds. `follow` writes again what follows from the
/// rest.
pub(crate) fn plainest(
    mut request: Concrete,
    follow: &dyn Fn(&mut Concrete),
    still: &dyn Fn(&Concrete) -> bool,
) -> Concrete {
    for _ in 0..ROUNDS {
        let before = request.clone();
        for edits in [drops, usual, lists, levels] {
            for edit in edits(&request) {
                let mut tried = request.clone();
                edit.apply(&mut tried);
                follow(&mut tried);
                if tried == request {
                    continue;
                }
                if still(&tried) {
                    request = tried;
                    continue;
                }
                // A paper that names just what was asked before must name what is asked now.
                for edit in named(&tried) {
                    edit.apply(&mut tried);
                }
                if still(&tried) {
                    request = tried;
                }
            }
        }
        if request == before {
            break;
        }
    }
    request
}

fn drops(_: &Concrete) -> Vec<Edit> {
    let optional = ["consent", "agreement", "emergency", "case"];
    optional.map(Edit::Drop).into()
}

fn put(root: Root, path: &[&'static str], value: Value) -> Edit {
    Edit::Put(vec![(root, path.to_vec(), value)])
}

/// What is usual: trained, active, named, in force.
fn usual(request: &Concrete) -> Vec<Edit> {
    use Root::{Context, Principal, Resource};
    let mut edits = vec![
        put(Principal, &["trained"], json!(true)),
        put(Principal, &["agency", "active"], json!(true)),
        put(Resource, &["holder", "active"], json!(true)),
        put(Context, &["identified"], json!(true)),
        put(Context, &["case", "closed"], json!(false)),
        put(Context, &["case", "subject_known"], json!(true)),
        put(Context, &["case", "same_subject"], json!(true)),
        put(Context, &["consent", "withdrawn"], json!(false)),
        put(Context, &["consent", "redisclosure"], json!(false)),
        put(Context, &["consent", "recorded_by_holder"], json!(true)),
        put(Context, &["agreement", "signed_by_all"], json!(true)),
        put(
            Context,
            &["agreement", "state"],
            entity("AgreementState", "active"),
        ),
        Edit::Put(vec![
            (
                Context,
                vec!["consent", "giver"],
                entity("ConsentGiver", "self"),
            ),
            (
                Context,
                vec!["consent", "capacity"],
                entity("Capacity", "capable"),
            ),
        ]),
        Edit::Put(times(true, true)),
        Edit::Put(times(true, false)),
        Edit::Put(times(false, true)),
    ];
    let codes: [(Root, &[&'static str], &str, &str); 8] = [
        (Context, &["purpose"], "Purpose", "plan"),
        (
            Resource,
            &["category", "code"],
            "CategoryCode",
            "attendance",
        ),
        (
            Resource,
            &["category", "code"],
            "CategoryCode",
            "in_service",
        ),
        (Context, &["basis", "code"], "BasisCode", "GDPR-6"),
        (Context, &["case", "profile"], "Profile", "situation_table"),
        (Context, &["case", "threshold"], "Threshold", "agreed"),
        (
            Principal,
            &["agency", "sector"],
            "Sector",
            "law_enforcement",
        ),
        (Resource, &["holder", "sector"], "Sector", "health"),
    ];
    edits.extend(codes.map(|(root, path, kind, code)| put(root, path, entity(kind, code))));
    for role in ["requester_role", "holder_role"] {
        for code in ["needed", "intervener"] {
            edits.push(put(Context, &["case", role], entity("CaseRole", code)));
        }
    }
    let sector = request.code(Principal, &["agency", "sector"]);
    let role = match sector.as_deref() {
        Some("law_enforcement") => "officer",
        Some("health") => "nurse",
        Some("social_services") => "social_worker",
        Some("education") => "teacher",
        Some("housing_income") => "housing_worker",
        Some("corrections") => "probation_officer",
        Some("community") => "mentor",
        Some("oversight") => "privacy_officer",
        _ => "coordinator",
    };
    edits.push(put(Principal, &["role"], entity("WorkerRole", role)));
    edits
}

fn times(consent: bool, agreement: bool) -> Vec<(Root, Vec<&'static str>, Value)> {
    let mut values = vec![(Root::Context, vec!["at"], json!(NOW))];
    let mut period = |name: &'static str, from: &'static str, until: &'static str| {
        values.push((Root::Context, vec![name, from], json!(BEFORE)));
        values.push((Root::Context, vec![name, until], json!(AFTER)));
    };
    if consent {
        period("consent", "given_at", "expires_at");
    }
    if agreement {
        period("agreement", "starts_at", "ends_at");
    }
    values
}

/// Lists name just what is asked, or nothing.
fn lists(request: &Concrete) -> Vec<Edit> {
    let mut edits = named(request);
    edits.extend(LISTS.map(|path| put(Root::Context, &path, json!([]))));
    edits
}

const LISTS: [[&str; 2]; 8] = [
    ["consent", "categories"],
    ["consent", "purposes"],
    ["consent", "recipients"],
    ["consent", "disclosers"],
    ["agreement", "parties"],
    ["agreement", "purposes"],
    ["agreement", "bases"],
    ["case", "plan"],
];

/// In the order of [`LISTS`].
fn named(request: &Concrete) -> Vec<Edit> {
    use Root::{Context, Principal, Resource};
    let one = |value: Option<&Value>| Value::Array(value.cloned().into_iter().collect());
    let category = request.at(Resource, &["category", "code"]);
    let purpose = request.at(Context, &["purpose"]);
    let basis = request.at(Context, &["basis"]);
    let (asks, holds) = (request.agency(Principal), request.agency(Resource));
    let mut both: Vec<Value> = asks.iter().chain(&holds).cloned().collect();
    both.dedup();
    let wanted = [
        one(category),
        one(purpose),
        one(asks.as_ref()),
        one(holds.as_ref()),
        Value::Array(both),
        one(purpose),
        one(basis),
        one(category),
    ];
    let edits = LISTS.into_iter().zip(wanted);
    edits
        .map(|(path, value)| put(Context, &path, value))
        .collect()
}

/// The least that is asked and agreed.
fn levels(_: &Concrete) -> Vec<Edit> {
    let mut edits = Vec::new();
    for level in (0..4).rev() {
        let level = json!(level);
        edits.push(put(Root::Resource, &["level"], level.clone()));
        edits.push(put(Root::Context, &["agreement", "line", "level"], level));
    }
    edits
}
