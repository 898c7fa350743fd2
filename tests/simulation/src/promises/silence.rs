//! Promise 9: "no record", "we decline" and "cannot say" look the same from outside.

use super::{Broken, Promise, ensure};
use crate::world::World;
use passerelle_agent::{event::Event, inbound};
use passerelle_model::{
    entry::{Entry, EntryBody},
    store::{Overlay, Read},
    time::Timestamp,
};
use passerelle_proto::v1;

/// What the broker, or somebody who watches the wire, sees of a transaction: statements with their
/// sizes and times, and whether there is one at all.
#[derive(Debug, PartialEq, Eq)]
struct Seen(Vec<(usize, u64, Vec<usize>)>);

fn seen(events: &[Event]) -> Seen {
    let stated = events.iter().filter_map(|event| match event {
        Event::Stated(stated) => Some((
            stated.envelope.payload.0.len(),
            stated.not_before.0,
            stated.payloads.values().map(|p| p.0.len()).collect(),
        )),
        _ => None,
    });
    Seen(stated.collect())
}

/// 9. What leaves on an offer is the same as if the agency had no record of the person.
///
/// # Errors
/// The broken promise.
pub fn no_record_looks_the_same(
    world: &World,
    ix: usize,
    notice: &v1::Notice,
    now: Timestamp,
) -> Result<(), Broken> {
    let Some(up) = &world.agencies[ix].up else {
        return Ok(());
    };
    let Ok(entry) = Entry::from_bytes(&notice.entry) else {
        return Ok(());
    };
    if !matches!(entry.body, EntryBody::Offered { .. }) {
        return Ok(());
    }
    let view = up.store.view();
    let Ok(with) = inbound::take_in(&up.context, view, notice.clone(), now) else {
        return Ok(());
    };
    let mut empty = Overlay::new(view);
    for (key, _) in view
        .scan(b"byhandle/", None, usize::MAX)
        .expect("the projection")
    {
        empty.write(key, None);
    }
    let without = inbound::take_in(&up.context, &empty, notice.clone(), now);
    let without = without.map(|events| seen(&events));
    ensure(
        without.as_ref().ok() == Some(&seen(&with)),
        Promise::SilenceLooksTheSame,
        || {
            let id = &world.agencies[ix].id;
            format!("{id}: {:?} with a record, {without:?} without", seen(&with))
        },
    )
}
