//! How the small world begins: a federation, two members, one consent, and the rule that goes by
//! it.
//!
//! In scope: the log before the story. Out of scope: what happens in it (module `broker`).

use crate::{
    broker::{Log, run},
    said::{Who, consent, federation, instant},
};
use passerelle_model::{
    bytes::{Digest, PublicKey},
    decide::{Command, Reply},
    entry::BrokerKeys,
    panel::Panel,
    pdp::{Effect, Matter, PolicyDecisionPoint, Reason, Ruling},
    statement::AgencyKeys,
    store::Memory,
    vocabulary::Sector,
};

/// Permits what the unwithdrawn consent covers. The real rules are tested in `policies`; here it
/// matters only when they are asked.
pub(crate) struct ConsentOnly;

impl PolicyDecisionPoint for ConsentOnly {
    fn rule(&self, matter: &Matter) -> Ruling {
        let (requester, category) = (&matter.requester.agency, matter.item.category);
        let covering = matter.consents.iter().find(|c| {
            matter.at < c.terms.expires_at
                && c.terms.categories.contains(&category)
                && c.terms.recipients.contains(requester)
                && !c.is_withdrawn_for(requester, category)
        });
        let Some(consent) = covering else {
            return Ruling::deny("no_rule_permits");
        };
        Ruling {
            effect: Effect::Permit,
            reasons: vec![Reason {
                rule: "consent-covers".into(),
                source: String::new(),
                text: "consent-covers".into(),
            }],
            obligations: Vec::new(),
            consent: Some(consent.terms.consent.clone()),
            agreement: None,
        }
    }

    fn bundle(&self) -> Digest {
        Digest([7; 32])
    }
}

/// A log of one's own, for `Broker::run_alone`.
pub fn first_log() -> Log {
    let mut store = Memory::default();
    let mut records = Vec::new();
    let keys = BrokerKeys {
        checkpoint: "test+00000000+AA==".into(),
        permit: PublicKey([1; 32]),
        oprf: PublicKey([2; 32]),
    };
    let mut commands = vec![Command::Found {
        federation: federation(),
        keys,
        panel: Panel::default(),
    }];
    for (n, who) in Who::ALL.into_iter().enumerate() {
        commands.extend(enrolment(n as u8, who));
    }
    commands.push(Command::Say(Box::new(consent())));
    for command in commands {
        let next_index = records.len() as u64;
        let (new, reply, writes) = run(&store, &command, instant(0), next_index);
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
        store.commit(writes);
        records.extend(new);
    }
    Log {
        events: Vec::new(),
        permits: Vec::new(),
        mail: Default::default(),
        status: None,
        faults: Vec::new(),
        base: records.len() as u64,
        records: Vec::new(),
        store,
    }
}

fn enrolment(n: u8, who: Who) -> [Command; 2] {
    let (token, key) = (Digest([n + 100; 32]), PublicKey([n; 32]));
    let sector = [Sector::Community, Sector::Health][usize::from(n)];
    let invite = Command::Invite {
        agency: who.agency(),
        sector,
        token,
        expires_at: instant(1),
    };
    let keys = AgencyKeys {
        sector,
        signing: key,
        sealing: key,
        witness: key,
    };
    let enrol = Command::Enrol {
        agency: who.agency(),
        token,
        keys,
        certificate: format!("{n:02x}"),
    };
    [invite, enrol]
}
