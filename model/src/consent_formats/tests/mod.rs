//! Both formats: what is written reads back, what is doctored is refused. All people and agencies
//! are synthetic.

mod iso27560;
mod refusals;
mod round_trip;

use super::*;
use proptest::{collection::vec, option, prelude::*, sample::subsequence};

fn federation() -> FederationId {
    "estrie".parse().unwrap()
}

/// A record with something in every field.
fn full() -> ConsentFile {
    ConsentFile {
        federation: federation(),
        record: Identity::Own(ConsentId::from_random([7; 16])),
        subject: Identity::Own(Handle([9; 32])),
        recorded_by: "maison-commune".parse().unwrap(),
        giver: ConsentGiver::Parent,
        capacity: Capacity::Substituted,
        categories: vec![Category::InService, Category::Attendance],
        purposes: vec![Purpose::Plan, Purpose::Deliver],
        recipients: vec![
            "maison-commune".parse().unwrap(),
            "ecole-du-lac".parse().unwrap(),
        ],
        disclosers: vec!["sante-centre".parse().unwrap()],
        method: ConsentMethod::Written,
        language: Language::French,
        interpreter: false,
        notice_version: 3,
        given_at: Timestamp(1_795_269_789_000),
        expires_at: Timestamp(1_795_269_789_000).plus_s(180 * 86_400),
        redisclosure: false,
        evidence: Some(Commitment([4; 32])),
    }
}

fn surroundings(file: &ConsentFile) -> Surroundings {
    let party = |agency: &AgencyId| Party {
        name: format!("Centre {agency}"),
        address: "1, rue de l’Exemple".to_owned(),
        contact: format!("vie-privee@{agency}.example"),
    };
    let named = file.agencies();
    Surroundings {
        jurisdictions: vec!["CA".to_owned(), "CA-QC".to_owned()],
        storage: vec!["CA-QC".to_owned()],
        party: named.into_iter().map(|a| (a.clone(), party(a))).collect(),
    }
}

fn written(file: &ConsentFile, standing: &Standing, format: Format) -> Value {
    match format {
        Format::Fhir => to_fhir(file, standing),
        Format::Iso27560 => to_iso27560(file, standing, &surroundings(file)).unwrap(),
    }
}

fn read_value(value: &Value) -> Result<Read, Refusal> {
    read(value.to_string().as_bytes(), None, &federation())
}

const FORMATS: [Format; 2] = [Format::Fhir, Format::Iso27560];

fn some<T: Clone + fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = Vec<T>> {
    subsequence(all, 1..=all.len()).prop_shuffle()
}

fn one<T: Copy + fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    proptest::sample::select(all)
}

fn agencies() -> impl Strategy<Value = Vec<AgencyId>> {
    vec("[a-z][a-z0-9-]{0,12}[a-z0-9]", 1..5).prop_map(|mut names| {
        names.sort();
        names.dedup();
        names.iter().map(|name| name.parse().unwrap()).collect()
    })
}

fn identity<T: Clone + fmt::Debug + 'static>(
    own: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Identity<T>> {
    let other = (
        "https://[a-z]{1,9}\\.example/[a-z0-9/]{0,9}",
        "[!-~]([ -~]{0,30}[!-~])?",
    );
    prop_oneof![
        3 => own.prop_map(Identity::Own),
        1 => other.prop_map(|(system, value)| Identity::Other { system, value }),
    ]
}

fn purposes() -> impl Strategy<Value = Vec<Purpose>> {
    some(Purpose::ALL).prop_filter_map("a prohibited purpose alone", |mut purposes| {
        purposes.retain(|purpose| !purpose.is_prohibited());
        (!purposes.is_empty()).then_some(purposes)
    })
}

prop_compose! {
    fn people()(
        record in identity(any::<[u8; 16]>().prop_map(ConsentId::from_random)),
        subject in identity(any::<[u8; 32]>().prop_map(Handle)),
        giver in one(ConsentGiver::ALL),
        capacity in one(Capacity::ALL),
        evidence in option::of(any::<[u8; 32]>().prop_map(Commitment)),
    ) -> (Identity<ConsentId>, Identity<Handle>, ConsentGiver, Capacity, Option<Commitment>) {
        (record, subject, giver, capacity, evidence)
    }
}

prop_compose! {
    pub(super) fn consent_file()(
        (record, subject, giver, capacity, evidence) in people(),
        recorded_by in agencies(),
        categories in some(Category::ALL),
        purposes in purposes(),
        (recipients, disclosers) in (agencies(), agencies()),
        method in one(ConsentMethod::ALL),
        language in one(Language::ALL),
        (interpreter, redisclosure, notice_version) in any::<(bool, bool, u32)>(),
        given_at in 0..253_000_000_000_000_u64,
        life in 1..=crate::decide::MAX_CONSENT_LIFE_S * 1_000,
    ) -> ConsentFile {
        ConsentFile {
            federation: federation(),
            record,
            subject,
            recorded_by: recorded_by[0].clone(),
            giver,
            capacity,
            categories,
            purposes,
            recipients,
            disclosers,
            method,
            language,
            interpreter,
            notice_version,
            given_at: Timestamp(given_at),
            expires_at: Timestamp(given_at + life),
            redisclosure,
            evidence,
        }
    }
}
