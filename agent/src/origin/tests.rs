//! What an agency accepts, and what it does then. People are synthetic.

use super::*;
use crate::testing::{Federation, NAMES, NOW, agency};
use passerelle_model::{
    entry::{Supersedes, TreeHead},
    ids::ConsentId,
    statement::{Receipt, ReceiptKind, Withdrawal, WithdrawalScope},
    store::Memory,
};

struct Agency {
    context: Context,
    rows: Memory,
    past: Past,
    _dir: tempfile::TempDir,
}

const INDEX: u64 = 10;

fn head(size: u64, root: u8) -> TreeHead {
    TreeHead {
        size,
        root: Digest([root; 32]),
    }
}

fn state_of(size: u64, root: u8) -> WitnessState {
    WitnessState {
        size,
        root: Digest([root; 32]),
    }
}

impl Agency {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut agency = Self {
            context: Federation::new().context("police", dir.path()),
            rows: Memory::default(),
            past: Past::default(),
            _dir: dir,
        };
        for state in [state_of(8, 8), state_of(12, 12)] {
            agency.happens(vec![Event::Witnessed(state)]);
        }
        agency
    }

    /// As its journal and its projection take it.
    fn happens(&mut self, events: Vec<Event>) {
        for event in &events {
            match event {
                Event::Witnessed(state) => self.past.witnessed.push(*state),
                Event::Stated(stated) if body(stated).unwrap().is_paper() => {
                    self.past.papers.push(Stated::clone(stated));
                }
                _ => {}
            }
        }
        let mut overlay = Overlay::new(&self.rows);
        let transaction = Transaction { at: NOW, events };
        crate::apply::apply(&mut overlay, &agency("police"), &transaction).unwrap();
        let writes = overlay.into_writes();
        self.rows.commit(writes);
    }

    fn says(&mut self, body: Body) -> Digest {
        let stated = self.context.say(NOW, body).unwrap().done();
        let digest = stated.envelope.digest();
        self.happens(vec![Event::Stated(Box::new(stated))]);
        digest
    }

    fn withdraws(&mut self, consent: u8) -> Digest {
        self.says(Body::Withdrawal(Withdrawal {
            consent: ConsentId::from_random([consent; 16]),
            scope: WithdrawalScope::All,
        }))
    }

    /// The log has taken the last statement, at this index.
    fn is_taken(&mut self, index: u64) {
        let seq = state::meta(&self.rows).unwrap().next_out - 1;
        self.happens(vec![Event::Settled {
            seq,
            code: None,
            index: Some(index),
        }]);
    }

    fn announced(&self) -> Announced {
        let former = self.context.identity.anchors.log.clone();
        let name = format!("{}/2", former.name());
        let key = VerifierKey::new(&name, former.kind(), *former.public_key()).unwrap();
        let mut members = NAMES.map(agency).to_vec();
        members.sort();
        Announced {
            supersedes: Supersedes {
                former: former.to_string(),
                key: key.to_string(),
                carried: head(INDEX, 10),
                newest: head(12, 12),
                note: None,
                members,
            },
            entry: Digest([1; 32]),
            former,
            key,
        }
    }

    fn checked(&self, change: impl FnOnce(&mut Announced)) -> Result<(), OriginError> {
        let mut announced = self.announced();
        change(&mut announced);
        check(&self.context, &self.rows, &announced, &self.past)
    }

    fn accepts(&mut self) {
        let announced = self.announced();
        let past = std::mem::take(&mut self.past);
        let event = event(&self.context, &self.rows, &announced, past).unwrap();
        self.happens(vec![Event::OriginAccepted(Box::new(event))]);
    }

    fn outbox(&self) -> Vec<Stated> {
        let rows = state::outbox(&self.rows, None, 100).unwrap();
        rows.into_iter().map(|(_, stated)| stated).collect()
    }
}

#[test]
fn an_announcement_that_does_not_cover_what_was_seen_is_refused() {
    let agency_here = Agency::new();
    assert!(agency_here.checked(|_| {}).is_ok());
    let refused = |change: &dyn Fn(&mut Announced)| agency_here.checked(change).unwrap_err();
    assert!(matches!(
        refused(&|a| a.supersedes.newest = head(11, 11)),
        OriginError::TooLow {
            named: 11,
            cosigned: 12
        }
    ));
    assert!(matches!(
        refused(&|a| a.supersedes.newest = head(12, 99)),
        OriginError::OtherRoot(12)
    ));
    assert!(matches!(
        refused(&|a| a.supersedes.carried = head(8, 99)),
        OriginError::OtherRoot(8)
    ));
    assert!(matches!(
        refused(&|a| a.supersedes.members.retain(|m| *m != agency("police"))),
        OriginError::NotAMember
    ));
    assert!(matches!(
        refused(&|a| {
            let kind = a.former.kind();
            a.former = VerifierKey::new("other", kind, *a.former.public_key()).unwrap();
        }),
        OriginError::OtherLog { .. }
    ));
}

#[test]
fn a_member_that_was_shut_out_does_not_come_back() {
    let mut here = Agency::new();
    let row = |active| state::MemberRow {
        keys: Federation::new().public_keys("clinic"),
        former: Vec::new(),
        certificate: String::new(),
        active,
        since: 1,
    };
    for active in [true, false] {
        let mut overlay = Overlay::new(&here.rows);
        let key = key::of(key::MEMBER, b"clinic");
        state::put(&mut overlay, key, &row(active)).unwrap();
        let writes = overlay.into_writes();
        here.rows.commit(writes);
        let checked = here.checked(|_| {});
        match active {
            true => assert!(checked.is_ok()),
            false => assert!(matches!(checked, Err(OriginError::Returns(_)))),
        }
    }
}

#[test]
fn what_may_be_lost_is_said_again_before_what_had_not_left_and_that_it_is_all() {
    let mut here = Agency::new();
    here.withdraws(1);
    here.is_taken(7);
    let lost = [here.withdraws(2), here.withdraws(3)];
    here.happens(vec![Event::Settled {
        seq: 1,
        code: None,
        index: Some(9),
    }]);
    here.is_taken(11);
    here.says(Body::Receipt(Receipt {
        request: passerelle_model::ids::RequestId::from_random([5; 16]),
        kind: ReceiptKind::Viewed,
        sealed: Digest([0; 32]),
    }));
    here.is_taken(11);
    let waiting = here.withdraws(4);
    let before = state::meta(&here.rows).unwrap().next_out;
    here.accepts();
    let outbox = here.outbox();
    let digests: Vec<_> = outbox.iter().map(|s| s.envelope.digest()).collect();
    assert_eq!(digests[..3], [lost[0], lost[1], waiting]);
    let Some(Body::Resumption(said)) = body(&outbox[3]) else {
        panic!("no resumption");
    };
    assert_eq!(
        (outbox.len(), said.supersedes, said.complete),
        (4, INDEX, true)
    );
    assert_eq!(said.withdrawals, [lost[0], lost[1], waiting]);
    let meta = state::meta(&here.rows).unwrap();
    assert_eq!((meta.outbox, meta.next_out), (4, before + 4));
    assert_eq!(meta.witness, state_of(8, 8), "within what was carried");
    assert_eq!((meta.next_member, meta.resuming), (0, true));
    assert_eq!(meta.origin_since, INDEX);
    let follows = followed(&here.context, &here.rows).unwrap();
    assert!(follows.name().ends_with("/2"));
    assert_eq!(expected(&here.rows, INDEX).unwrap(), Some(Digest([1; 32])));
}

#[test]
fn who_has_joined_again_since_says_its_withdrawals_again_and_is_not_awaited() {
    let mut here = Agency::new();
    let withdrawn = here.withdraws(2);
    here.is_taken(11);
    let announced = here.announced();
    here.context.identity.anchors.log = announced.key.clone();
    let without_us = |a: &mut Announced| a.supersedes.members.retain(|m| *m != agency("police"));
    let mut announced = announced;
    without_us(&mut announced);
    assert!(check(&here.context, &here.rows, &announced, &here.past).is_ok());
    let past = std::mem::take(&mut here.past);
    let event = event(&here.context, &here.rows, &announced, past).unwrap();
    assert!(event.resumptions.is_empty());
    let again: Vec<_> = event.again.iter().map(|s| s.envelope.digest()).collect();
    assert_eq!(again, [withdrawn]);
}

#[test]
fn more_withdrawals_than_one_resumption_names_are_named_in_several() {
    let here = Agency::new();
    let digests: Vec<_> = (0..MAX_RESUMED + 1)
        .map(|n| Digest::of(&n.to_be_bytes()))
        .collect();
    let said = resumptions(&here.context, INDEX, &digests).unwrap();
    let parts = said.iter().map(|stated| match body(stated) {
        Some(Body::Resumption(part)) => (part.withdrawals.len(), part.complete),
        _ => panic!("no resumption"),
    });
    assert_eq!(parts.collect::<Vec<_>>(), [(MAX_RESUMED, false), (1, true)]);
}

#[test]
fn a_mirror_of_the_former_log_is_put_aside_and_one_of_the_new_log_stays() {
    let here = Agency::new();
    let key = here.announced().key;
    let dir = here._dir.path();
    for number in 1..3 {
        std::fs::create_dir(dir.join(mirror::DIRECTORY)).unwrap();
        put_mirror_aside(dir, &key).unwrap();
        assert!(dir.join(format!("mirror.{number}")).exists());
    }
    put_mirror_aside(dir, &key).unwrap();
    assert!(!dir.join("mirror.3").exists());
}
