//! The order: commands in, decided in batches, each durable in one write before it is answered.
//!
//! In scope: what goes into a batch, the permit that follows a decision at once. Synchronous, time
//! and randomness come from the caller: [`crate::sequencer`] drives it from a thread, the
//! simulation by hand. Out of scope: queues, who waits for a reply.

use crate::{
    bundles::BundleStore,
    error::BrokerError,
    ledger::{Ledger, View},
};
use passerelle_model::{
    decide::{Command, Reply},
    entry::{EntryBody, Record},
    ids::{AgencyId, RequestId},
    pdp::{Effect, PolicyDecisionPoint},
    state,
    statement::Body,
    time::Timestamp,
};
use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

/// Records after which a batch takes no further command. One command leads to a few hundred at
/// most; the journal takes four times as many.
const MAX_BATCH_RECORDS: usize = 4_096;

/// Bytes of sealed payloads after which a batch takes no further command: half of what the
/// journal takes in one write.
const MAX_BATCH_PAYLOAD_BYTES: usize = 24 * 1024 * 1024;

/// Agencies whose agents are connected: a request for one of them gets its permit in the batch
/// that decides it.
#[derive(Clone, Default)]
pub struct Reachable(Arc<RwLock<HashSet<AgencyId>>>);

impl Reachable {
    /// Notes that `agency` can be reached, or no longer.
    pub fn set(&self, agency: &AgencyId, reachable: bool) {
        let mut set = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if reachable {
            set.insert(agency.clone());
        } else {
            set.remove(agency);
        }
    }

    /// Whether it can.
    pub fn contains(&self, agency: &AgencyId) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(agency)
    }
}

/// The one writer of the log.
pub struct Order {
    ledger: Ledger,
    pdp: Arc<dyn PolicyDecisionPoint>,
    reachable: Reachable,
    bundles: Option<Arc<BundleStore>>,
}

/// What one batch came to.
#[derive(Debug, Default)]
pub struct Sequenced {
    /// The replies to the leading commands that were taken, at least one if there was any.
    pub replies: Vec<Reply>,
    /// Whether the members changed.
    pub membership: bool,
}

/// Time and randomness of one batch.
pub trait Surroundings {
    /// The broker's clock.
    fn now(&self) -> Timestamp;

    /// Fresh randomness for one command.
    ///
    /// # Errors
    /// There is none: the batch is given up.
    fn seed(&mut self) -> Result<[u8; 32], BrokerError>;
}

impl Order {
    /// The order over `ledger`.
    pub fn new(ledger: Ledger, pdp: Arc<dyn PolicyDecisionPoint>, reachable: Reachable) -> Self {
        Self {
            ledger,
            pdp,
            reachable,
            bundles: None,
        }
    }

    /// With these bundles to go over to, once the agencies have endorsed one.
    #[must_use]
    pub fn with_bundles(self, bundles: Arc<BundleStore>) -> Self {
        Self {
            bundles: Some(bundles),
            ..self
        }
    }

    /// What may be read.
    pub fn view(&self) -> &View {
        self.ledger.view()
    }

    /// Entries that are durable and applied.
    pub fn size(&self) -> u64 {
        self.ledger.next_index()
    }

    /// Decides leading commands, in order, as many as one batch takes, and makes them durable.
    ///
    /// # Errors
    /// Nothing of the batch may be answered, and the value must not be used again: what is on disk
    /// is for the next start to see.
    pub fn batch<'a>(
        &mut self,
        commands: impl IntoIterator<Item = &'a Command>,
        surroundings: &mut dyn Surroundings,
    ) -> Result<Sequenced, BrokerError> {
        let pdp = self.pdp.clone();
        let mut batch = self.ledger.batch(pdp.as_ref());
        let mut replies = Vec::new();
        for command in commands {
            let now = surroundings.now();
            let (reply, records) = batch.run(command, now, surroundings.seed()?)?;
            if let Some(request) = permitted(records, &self.reachable) {
                let offer = Command::Offer { request };
                batch.run(&offer, now, surroundings.seed()?)?;
            }
            replies.push(reply);
            if batch.records() >= MAX_BATCH_RECORDS || batch.bytes() >= MAX_BATCH_PAYLOAD_BYTES {
                break;
            }
        }
        let finished = batch.finish();
        let membership = finished.records.iter().any(changes_membership);
        if !finished.records.is_empty() {
            self.ledger.commit(finished)?;
        }
        let membership = self.follow_the_agencies(surroundings)? || membership;
        Ok(Sequenced {
            replies,
            membership,
        })
    }

    /// Puts the bundle in force that enough agencies have endorsed, if there is one. Between two
    /// batches: within one, all is decided by the same rules.
    fn follow_the_agencies(
        &mut self,
        surroundings: &mut dyn Surroundings,
    ) -> Result<bool, BrokerError> {
        let Some(bundles) = &self.bundles else {
            return Ok(false);
        };
        let now = surroundings.now();
        let view = self.ledger.view().projection.clone();
        let Some(proposal) = state::endorsed(view.as_ref(), now)? else {
            return Ok(false);
        };
        let pdp = match bundles.pdp(&proposal.terms) {
            Ok(Some(pdp)) => pdp,
            // It was stored before it was proposed: somebody has removed or changed it.
            missing => {
                let bundle = proposal.terms.bundle;
                let error = missing.err().map(|e| e.to_string()).unwrap_or_default();
                tracing::error!(%bundle, error, "the agencies have endorsed rules whose file is \
                    not here: those before stay in force; put it back and start again");
                self.bundles = None;
                return Ok(false);
            }
        };
        let mut batch = self.ledger.batch(pdp.as_ref());
        let (reply, _) = batch.run(&Command::ActivateBundle, now, surroundings.seed()?)?;
        let finished = batch.finish();
        if !matches!(reply, Reply::Done { .. }) {
            return Ok(false);
        }
        self.ledger.commit(finished)?;
        let bundle = proposal.terms.bundle;
        tracing::info!(%bundle, "the agencies have put other rules in force");
        bundles.only(&proposal.terms)?;
        self.pdp = pdp;
        Ok(true)
    }
}

/// The request among these records that was just permitted, if its holder can be reached.
fn permitted(records: &[Record], reachable: &Reachable) -> Option<RequestId> {
    let [said, decided] = records else {
        return None;
    };
    let EntryBody::Said { envelope, .. } = &said.entry.body else {
        return None;
    };
    let EntryBody::Decided { request, items, .. } = &decided.entry.body else {
        return None;
    };
    if items.iter().all(|i| i.ruling.effect == Effect::Deny) {
        return None;
    }
    match envelope.unverified_statement().ok()?.body {
        Body::Request(asked) if reachable.contains(&asked.holder) => Some(request.clone()),
        _ => None,
    }
}

fn changes_membership(record: &Record) -> bool {
    record.entry.body.is_for_all()
}
