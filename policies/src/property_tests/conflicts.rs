//! The rule of conflict of consents (docs/CONSENT.md): a withdrawal defeats what was granted before
//! it, for what it names, and nothing else.

use super::*;

/// Whether it speaks of what the matter asks for.
fn covers(consent: &Consent, matter: &Matter) -> bool {
    let (recipient, holder) = (&matter.requester.agency, &matter.holder.agency);
    consent.is_between(recipient, holder, matter.item.category)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_withdrawal_for_another_recipient_or_category_changes_nothing(
        matter in matter(),
        category in select(Category::ALL),
        by_recipient in any::<bool>(),
    ) {
        prop_assume!(by_recipient || category != matter.item.category);
        let mut after = matter.clone();
        for consent in &mut after.consents {
            let scope = if by_recipient {
                WithdrawalScope::Recipient(agency("somebody-else"))
            } else {
                WithdrawalScope::Category(category)
            };
            withdraw(consent, scope, 100);
        }
        prop_assert_eq!(PDP.rule(&after), PDP.rule(&matter));
    }

    #[test]
    fn a_withdrawal_of_the_part_that_is_asked_for_defeats_as_one_of_the_whole_does(
        matter in matter(),
        by_recipient in any::<bool>(),
    ) {
        let scope = if by_recipient {
            WithdrawalScope::Recipient(matter.requester.agency.clone())
        } else {
            WithdrawalScope::Category(matter.item.category)
        };
        let mut part = matter.clone();
        let mut whole = matter.clone();
        for (part, whole) in part.consents.iter_mut().zip(&mut whole.consents) {
            withdraw(part, scope.clone(), 100);
            withdraw(whole, WithdrawalScope::All, 100);
        }
        prop_assert_eq!(PDP.rule(&part), PDP.rule(&whole));
    }

    #[test]
    fn a_grant_that_is_recorded_after_the_withdrawal_stands_and_one_before_does_not(
        matter in matter(),
    ) {
        let before = PDP.rule(&matter);
        let Some(id) = before.consent else {
            return Ok(());
        };
        let again = ConsentId::from_random([99; 16]);
        let ruled = |recorded: u64| {
            let mut after = matter.clone();
            for consent in &mut after.consents {
                withdraw(consent, WithdrawalScope::All, 100);
            }
            let granted = matter.consents.iter().find(|c| c.terms.consent == id);
            let mut granted = granted.unwrap().clone();
            granted.terms.consent = again.clone();
            granted.withdrawn.clear();
            granted.recorded = recorded;
            prop_assert!(covers(&granted, &matter));
            after.consents.push(granted);
            if let Some(Reliance::Consent(named)) = &mut after.reliance {
                *named = again.clone();
            }
            Ok(PDP.rule(&after))
        };
        for recorded in [99, 100] {
            prop_assert_eq!(ruled(recorded)?.consent, None, "the withdrawal came later, or with it");
        }
        let after = ruled(101)?;
        prop_assert_eq!(after.consent, Some(again.clone()));
        prop_assert_eq!(after.effect, before.effect);
    }
}
