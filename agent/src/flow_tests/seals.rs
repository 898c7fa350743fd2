//! Daily seals: what the broker says it sent, against what came.

use super::*;
use crate::seals::faults;
use passerelle_model::{
    bytes::{Bytes, Nonce},
    commitment::{Field, Opening},
    seal::Counts,
};
use passerelle_proto::v1;
use std::collections::BTreeMap;

impl World {
    fn member_notices(&mut self, count: u64) {
        for n in 0..count {
            self.clinic_hears(EntryBody::HandlesEvaluated {
                agency: agency("clinic"),
                count: u32::try_from(n).unwrap(),
            });
        }
    }

    fn size(&self) -> u64 {
        self.federation.size()
    }

    /// A seal of the entries from `from` on, that says `entries` for the clinic.
    fn seal(&mut self, from: u64, entries: u64, opened: bool) -> v1::Notice {
        let counts = Counts {
            entries,
            with: BTreeMap::new(),
        };
        let opening = Opening {
            field: Field::Counts,
            random: Nonce([3; 32]),
            data: Bytes(counts.to_bytes().unwrap()),
        };
        let until = self.size();
        let counts = BTreeMap::from([(agency("clinic"), opening.commitment())]);
        let body = EntryBody::Sealed {
            from,
            until,
            counts,
        };
        let mut notice = self.federation.notice(NOW, body, &NAMES);
        notice.openings = match opened {
            true => passerelle_proto::convert::openings_to_wire(vec![opening]),
            false => Vec::new(),
        };
        notice
    }

    fn faults(&self) -> Vec<(u64, u64, Option<u64>, u64)> {
        let faults = faults(self.clinic.core.view()).unwrap();
        let fields = faults.iter().map(|f| (f.from, f.until, f.sealed, f.heard));
        fields.collect()
    }
}

#[test]
fn a_seal_that_counts_what_was_heard_is_no_fault() {
    let mut world = world(fact());
    let from = world.size();
    world.member_notices(3);
    let seal = world.seal(from, 3, true);
    assert_eq!(world.clinic.hears(NOW, seal).unwrap(), ["noticed"]);
    assert_eq!(world.faults(), []);
    let until = world.clinic.meta().sealed.unwrap().0;
    assert_eq!(until, from + 3);
    // The next one counts the seal itself.
    let seal = world.seal(until, 1, true);
    world.clinic.hears(NOW, seal).unwrap();
    assert_eq!(world.faults(), []);
}

#[test]
fn a_notice_that_is_kept_back_shows_in_the_seal_until_it_comes() {
    let mut world = world(fact());
    let from = world.size();
    world.member_notices(2);
    let kept_back = world.federation.notice(
        NOW,
        EntryBody::HandlesEvaluated {
            agency: agency("clinic"),
            count: 9,
        },
        &NAMES,
    );
    let seal = world.seal(from, 3, true);
    world.clinic.hears(NOW, seal).unwrap();
    assert_eq!(world.faults(), [(from, from + 3, Some(3), 2)]);
    world.clinic.hears(NOW, kept_back).unwrap();
    assert_eq!(world.faults(), []);
}

#[test]
fn a_seal_that_tells_nothing_is_a_fault() {
    let mut world = world(fact());
    let from = world.size();
    world.member_notices(1);
    let seal = world.seal(from, 1, false);
    world.clinic.hears(NOW, seal).unwrap();
    assert_eq!(world.faults(), [(from, from + 1, None, 1)]);
}

#[test]
fn a_seal_that_leaves_entries_out_is_a_fault() {
    let mut world = world(fact());
    let from = world.size();
    world.member_notices(1);
    let seal = world.seal(from, 1, true);
    world.clinic.hears(NOW, seal).unwrap();
    world.member_notices(2);
    let begins_late = world.size();
    let seal = world.seal(begins_late, 0, true);
    world.clinic.hears(NOW, seal).unwrap();
    assert_eq!(world.faults(), [(from + 1, begins_late, None, 3)]);
}
