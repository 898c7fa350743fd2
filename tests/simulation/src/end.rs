//! The end of a story: everything was mended, and the world ran on. And the lines that are told of
//! entries and transactions.

use crate::{
    promises::{self, Broken, Promise},
    world::{Step, World},
};
use passerelle_agent::{event::Event, state as agent_state};
use passerelle_model::{
    entry::{EntryBody, Record},
    ids::RequestId,
    pdp::ItemRuling,
    request::Status,
    state,
    statement::Body,
};

impl World {
    /// What must hold at the end.
    ///
    /// # Errors
    /// A broken promise.
    pub fn check_end(&mut self) -> Step {
        promises::the_brokers_disk_is_blind(self)?;
        promises::erased_keys_are_nowhere(self)?;
        promises::decisions_can_be_replayed_whole(self)?;
        if self.is_split() {
            // Witnesses saw two histories: that is proof of a fork, and for people to settle.
            return Ok(());
        }
        self.nothing_is_stuck()
    }

    /// Whether a witness cosigned something that is not the log that the operator kept.
    fn is_split(&self) -> bool {
        let log: Vec<_> = self.ghost.log.iter().map(|e| e.leaf).collect();
        self.ghost
            .witnessed
            .values()
            .any(|own| !log.starts_with(own))
    }

    /// Everything has come to an end or waits for a person.
    fn nothing_is_stuck(&self) -> Step {
        let stuck = |how: String| Err(Broken::new(Promise::NothingIsStuck, how));
        let Some(up) = &self.broker.up else {
            return stuck("the broker is down".to_owned());
        };
        for agency in &self.agencies {
            let is_member = self.ghost.reading.is_member(&agency.id);
            let Some(own) = agency.up.as_ref().filter(|_| is_member) else {
                if is_member && agency.is_enrolled() {
                    return stuck(format!("the agent of {} is down", agency.id));
                }
                continue;
            };
            let view = own.store.view();
            let meta = agent_state::meta(view).expect("the projection");
            if meta.outbox > 0 {
                return stuck(format!(
                    "{} has {} statements to send",
                    agency.id, meta.outbox
                ));
            }
            for row in agent_state::asks(view).expect("the projection") {
                let request = &row.request.request;
                let logged = self.ghost.reading.requests.contains_key(request);
                let waits = self.waits_for_a_person(request);
                // What an old copy took with it was given up by whoever put it there.
                let lost = !logged && self.was_restored;
                if row.status.is_open() && !waits && !lost {
                    let (name, status) = (self.story.of(request.as_str()), row.status);
                    return stuck(format!("{name} of {} is {status:?}", agency.id));
                }
            }
        }
        let view = up.view().projection.as_ref();
        for request in self.ghost.reading.requests.keys() {
            let row = state::request(view, request).expect("the projection");
            let status = row.expect("a request").status;
            if status.is_open() && !self.waits_for_a_person(request) {
                let name = self.story.of(request.as_str());
                return stuck(format!("{name} is {status:?} at the broker"));
            }
        }
        Ok(())
    }

    fn waits_for_a_person(&self, request: &RequestId) -> bool {
        self.agencies
            .iter()
            .filter_map(|a| a.up.as_ref())
            .any(|up| {
                let row = agent_state::hold(up.store.view(), request).expect("the projection");
                row.is_some_and(|r| r.status == Status::HolderReview)
            })
    }

    /// Tells of an entry.
    pub fn tell_entry(&mut self, index: u64, record: &Record) {
        let of = |id: &str| self.story.of(id);
        let line = match &record.entry.body {
            EntryBody::Said { agency, envelope } => {
                let body = envelope.unverified_statement().expect("a statement").body;
                let (what, id) = match &body {
                    Body::Request(r) => ("request", r.request.as_str()),
                    Body::Answer(a) => ("answer", a.request.as_str()),
                    Body::Receipt(r) => ("receipt", r.request.as_str()),
                    Body::Renewal(r) => ("renewal", r.request.as_str()),
                    Body::Consent(c) => ("consent", c.consent.as_str()),
                    Body::Withdrawal(w) => ("withdrawal", w.consent.as_str()),
                    Body::Agreement(a) => ("agreement", a.agreement.as_str()),
                    Body::AgreementSignature(a) => ("signature", a.agreement.as_str()),
                    Body::AgreementChange(a) => ("agreement change", a.agreement.as_str()),
                    Body::CaseOpening(c) => ("case", c.case.as_str()),
                    Body::CaseAdvance(c) => ("stage", c.case.as_str()),
                    Body::BundleEndorsement(_) => ("endorsement", ""),
                    Body::OverrideReview(r) => ("review", r.request.as_str()),
                    Body::Resumption(_) => ("resumption", ""),
                };
                format!("{agency} said {what} {}", of(id))
            }
            EntryBody::Decided { request, items, .. } => {
                let effect = |i: &ItemRuling| format!("{} {:?}", i.category, i.ruling.effect);
                let effects: Vec<_> = items.iter().map(effect).collect();
                format!("decided {}: {}", of(request.as_str()), effects.join(", "))
            }
            EntryBody::Offered { permit } => format!("offered {}", of(permit.request.as_str())),
            EntryBody::Stopped { request, .. } => format!("stopped {}", of(request.as_str())),
            EntryBody::Recalled { request, .. } => format!("recalled {}", of(request.as_str())),
            EntryBody::Expired { request } => format!("expired {}", of(request.as_str())),
            EntryBody::Refused { agency, code, .. } => format!("refused {agency}: {code}"),
            other => other.code().to_owned(),
        };
        self.tell(format!("  log {index}: {line}"));
    }

    /// Tells of a transaction.
    pub fn tell_events(&mut self, ix: usize, events: &[Event]) {
        for event in events {
            let (what, request) = match event {
                Event::ReviewAsked { request, .. } => ("asks a person on", request),
                Event::Answered {
                    request, outcome, ..
                } => {
                    let name = self.story.of(request.as_str());
                    let id = self.agencies[ix].id.clone();
                    self.tell(format!("  {id} answers {name}: {outcome}"));
                    continue;
                }
                Event::PermitRefused { request, .. } => ("refuses the permit of", request),
                Event::AnswerOpened { request, .. } => ("opens the answer to", request),
                Event::AnswerRefused { request, .. } => ("refuses the answer to", request),
                _ => continue,
            };
            let name = self.story.of(request.as_str());
            let id = self.agencies[ix].id.clone();
            self.tell(format!("  {id} {what} {name}"));
        }
    }
}
