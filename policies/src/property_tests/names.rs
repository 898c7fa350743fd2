//! What agencies are called decides nothing, and which others a paper names nothing that is
//! remembered (decision 0014).

use super::*;
use passerelle_model::statement::AgreementParty;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The same, with every agency under another name.
fn renamed(matter: &Matter) -> Matter {
    let mut other = matter.clone();
    for name in [&mut other.requester.agency, &mut other.holder.agency] {
        *name = under_another_name(name);
    }
    other.consents.iter_mut().for_each(in_record);
    other.agreements.iter_mut().for_each(in_record);
    other
}

fn under_another_name(name: &AgencyId) -> AgencyId {
    agency(&format!("{name}-of-elsewhere"))
}

/// Renames agencies in a record, wherever they stand in it.
fn in_record<T: Serialize + DeserializeOwned>(record: &mut T) {
    let mut value = serde_json::to_value(&*record).unwrap();
    in_value(&mut value);
    *record = serde_json::from_value(value).unwrap();
}

fn in_value(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(in_value),
        Value::Array(values) => values.iter_mut().for_each(in_value),
        Value::String(text) => {
            if ["requester", "holder", "bystander", "first", "second"].contains(&text.as_str()) {
                text.push_str("-of-elsewhere");
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Puts other agencies into the lists of every paper, by two bits for each list.
fn with_others(matter: &mut Matter, places: u8) {
    let others = |shift: u8| {
        let named = [(1, "first"), (2, "second")].into_iter();
        let stands = move |(bit, _): &(u8, &str)| places >> shift & bit != 0;
        named.filter(stands).map(|(_, name)| agency(name))
    };
    for consent in &mut matter.consents {
        consent.terms.recipients.extend(others(0));
        consent.terms.disclosers.extend(others(2));
    }
    for agreement in &mut matter.agreements {
        let basis = matter.basis;
        let parties = others(4).map(|agency| AgreementParty { agency, basis });
        agreement.terms.parties.extend(parties);
        agreement.signed.extend(others(4));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn agencies_may_change_their_names(mut matter in matter(), places in any::<u8>()) {
        with_others(&mut matter, places);
        let other = renamed(&matter);
        prop_assert_ne!(&other.requester.agency, &matter.requester.agency);
        prop_assert_eq!(PDP.rule(&other), PDP.rule(&matter), "as remembered");
        prop_assert_eq!(FORGETFUL.rule(&other), PDP.rule(&matter), "as Cedar says");
    }

    #[test]
    fn whoever_else_a_paper_names_is_told_apart_where_it_matters(
        matter in matter(),
        places in any::<[u8; 4]>(),
    ) {
        for places in places {
            let mut matter = matter.clone();
            with_others(&mut matter, places);
            prop_assert_eq!(PDP.rule(&matter), FORGETFUL.rule(&matter));
        }
    }

    #[test]
    fn an_agency_that_asks_itself_is_not_taken_for_two(matter in matter()) {
        PDP.rule(&matter);
        let mut other = matter.clone();
        other.holder = other.requester.clone();
        prop_assert_eq!(PDP.rule(&other), FORGETFUL.rule(&other));
        other.requester.agency = matter.holder.agency.clone();
        other.holder.agency = matter.requester.agency.clone();
        prop_assert_eq!(PDP.rule(&other), FORGETFUL.rule(&other), "changed places");
    }
}
