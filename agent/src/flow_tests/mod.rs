//! Two agents without a broker: the test plays the broker's part.

mod consents;
mod deletions;
mod exchange;
mod held_back;
mod hostile;
mod imports;
mod late;
mod names;
mod near;
mod origin;
mod override_reviews;
mod postponed;
mod preview;
mod retention;
mod rules;
mod seals;
mod small_town;
mod suspicion;
mod upkeep;

use crate::{
    asked_by,
    config::Worker,
    context::Context,
    core::{Core, Writer},
    erasure,
    event::{Event, Stated, Verdict},
    facts::{
        csv_import::{ImportedPerson, SourceId},
        fact::{Fact, Sensitivity},
    },
    holder,
    inbound::{after_reply, hold_back, take_in},
    person::Person,
    requester::{self, Question},
    review, seal, state,
    testing::{Federation, NAMES, NOW, agency, kinds, permit_for, question},
    trust::Trust,
};
use passerelle_model::{
    bytes::{Digest, Handle},
    entry::EntryBody,
    error::ErrorCode,
    ids::RequestId,
    permit::Permit,
    request::Status,
    statement::{Body, Item, ReceiptKind},
    time::Timestamp,
    vocabulary::{Category, LegalBasis, Level, Outcome, Purpose},
};
use passerelle_proto::v1;
use std::sync::Arc;

const KNOWN: Handle = Handle([9; 32]);
const UNKNOWN: Handle = Handle([8; 32]);

struct Agent {
    context: Arc<Context>,
    core: Core,
    writer: Writer,
    dir: tempfile::TempDir,
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

impl Agent {
    fn new(federation: &mut Federation, name: &str, enrolments: &[v1::Notice]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let context = Arc::new(federation.context(name, dir.path()));
        let (core, writer) = Core::start(dir.path(), agency(name), context.vault.clone()).unwrap();
        let agent = Self {
            context,
            core,
            writer,
            dir,
        };
        for notice in enrolments {
            agent.hears(NOW, notice.clone()).unwrap();
        }
        agent
    }

    fn write<T: Send + 'static>(
        &self,
        at: Timestamp,
        work: impl FnOnce(&Context, &dyn passerelle_model::store::Read) -> crate::core::Outcome<T>
        + Send
        + 'static,
    ) -> Result<T, ErrorCode> {
        let context = Arc::clone(&self.context);
        run(self.core.write(at, move |view| work(&context, view)))
    }

    /// Takes in a notice, and says which events came of it.
    fn hears(&self, at: Timestamp, notice: v1::Notice) -> Result<Vec<&'static str>, ErrorCode> {
        self.write(at, move |context, view| {
            let events = take_in(context, view, notice, at)?;
            let kinds = kinds(&events);
            Ok((events, kinds))
        })
    }

    fn happens(&self, events: Vec<Event>) {
        self.write(NOW, move |_, _| Ok((events, ()))).unwrap();
    }

    fn outbox(&self) -> Vec<(u64, Stated)> {
        state::outbox(self.core.view(), None, 100).unwrap()
    }

    fn said(&self) -> Body {
        let (_, last) = self.outbox().pop().expect("nothing was said");
        last.envelope.unverified_statement().unwrap().body
    }

    /// The broker accepts everything.
    fn settles(&self) {
        for (seq, _) in self.outbox() {
            self.happens(vec![Event::Settled {
                seq,
                code: None,
                index: Some(1_000 + seq),
            }]);
        }
    }

    /// The broker refuses the last statement.
    fn is_refused(&self, code: ErrorCode, at: Timestamp) -> Vec<&'static str> {
        let (seq, _) = self.outbox().pop().unwrap();
        self.write(at, move |context, view| {
            let code = Some(code);
            let mut events = vec![Event::Settled {
                seq,
                code,
                index: None,
            }];
            events.extend(after_reply(context, view, seq, code, at)?);
            let kinds = kinds(&events);
            Ok((events, kinds))
        })
        .unwrap()
    }

    fn reviews(
        &self,
        request: &RequestId,
        verdict: Verdict,
        worker: &'static str,
        at: Timestamp,
    ) -> Result<Vec<&'static str>, ErrorCode> {
        self.reviews_record(request, verdict, worker, None, at)
    }

    /// The same, about an own record that is near what was asked for.
    fn reviews_record(
        &self,
        request: &RequestId,
        verdict: Verdict,
        worker: &'static str,
        record: Option<&'static str>,
        at: Timestamp,
    ) -> Result<Vec<&'static str>, ErrorCode> {
        let request = request.clone();
        self.write(at, move |context, view| {
            let trust = Trust::load(&context.identity.anchors, view).unwrap();
            let word = review::Word {
                record: record.map(str::to_owned),
                ..review::Word::new(verdict, worker)
            };
            let events = review::review(context, view, &trust, &request, word, at)?;
            let kinds = kinds(&events);
            Ok((events, kinds))
        })
    }

    /// In its two steps, until one is refused.
    fn erases(&self, request: &RequestId) -> Result<Vec<&'static str>, ErrorCode> {
        let mut all = Vec::new();
        for step in [0, 1] {
            let request = request.clone();
            all.extend(self.write(NOW, move |context, view| {
                let events = match step {
                    0 => erasure::begin(view, &request)?,
                    _ => erasure::finish(context, view, &request, NOW)?,
                };
                let kinds = kinds(&events);
                Ok((events, kinds))
            })?);
        }
        Ok(all)
    }

    /// What leaves on a new stream a minute later: the kinds of statements, and of what is journaled
    /// of answers that don't.
    fn sends(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let mut exchange = crate::exchange::Exchange::new(&self.meta());
        let now = crate::exchange::Moment {
            wall: NOW.plus_s(60),
            steady: std::time::Duration::ZERO,
        };
        let out = exchange.outgoing(self.core.view(), &self.context, now, 64);
        let out = out.unwrap();
        let said = out.frames.iter().map(|frame| match frame {
            v1::agent_frame::Frame::Submit(submit) => {
                let envelope = submit.envelope.clone().unwrap();
                let envelope = passerelle_model::statement::Envelope::try_from(envelope).unwrap();
                match envelope.unverified_statement().unwrap().body {
                    Body::Answer(_) => "answer",
                    Body::Withdrawal(_) => "withdrawal",
                    _ => "another",
                }
            }
            _ => panic!("not a statement"),
        });
        let said = said.collect();
        assert!(out.lost.is_empty());
        let mut journaled = Vec::new();
        for seq in out.fallen {
            let held = self.write(now.wall, move |context, view| {
                let events = hold_back(context, view, seq, now.wall)?;
                let kinds = kinds(&events);
                Ok((events, kinds))
            });
            journaled.extend(held.unwrap());
        }
        (said, journaled)
    }

    fn holds(&self, request: &RequestId) -> state::HoldRow {
        state::hold(self.core.view(), request).unwrap().unwrap()
    }

    fn asks(&self, request: &RequestId) -> state::AskRow {
        state::ask(self.core.view(), request).unwrap().unwrap()
    }

    fn meta(&self) -> state::Meta {
        state::meta(self.core.view()).unwrap()
    }
}

fn person() -> Person {
    Person::new("Tremblay", "Zoé", "2009-05-02".parse().unwrap(), None).unwrap()
}

fn imported(source: &str, person: Person, fact: Fact) -> ImportedPerson {
    ImportedPerson {
        source_id: SourceId(source.into()),
        person,
        facts: vec![fact],
        digest: Digest([1; 32]),
    }
}

fn import(fact: Fact) -> Vec<Event> {
    let people = vec![imported("c-1", person(), fact)];
    let import = "i".to_owned();
    let token = Digest::of(&person().match_token());
    vec![
        Event::ImportChunk {
            import: import.clone(),
            part: 0,
            people,
        },
        Event::ImportCommitted { import, parts: 1 },
        Event::HandlesFound(vec![(token, KNOWN)]),
    ]
}

fn fact() -> Fact {
    Fact {
        contact: Some("nurse on duty".into()),
        since: Some("2025-08-14".parse().unwrap()),
        text: Some("kept".into()),
        sensitivity: Sensitivity::try_from(1).unwrap(),
        ..Fact::empty(Category::InService)
    }
}

struct World {
    federation: Federation,
    police: Agent,
    clinic: Agent,
}

fn world(fact: Fact) -> World {
    world_with(fact, |_| ())
}

/// With other settings of the clinic.
fn world_with(fact: Fact, edit: impl FnOnce(&mut Context)) -> World {
    world_of(fact, edit, true)
}

/// With or without consents of both persons that the clinic recorded.
fn world_of(fact: Fact, edit: impl FnOnce(&mut Context), consents: bool) -> World {
    let mut federation = Federation::new();
    let mut enrolments = vec![federation.founding()];
    enrolments.extend(federation.enrolments(&NAMES));
    let police = Agent::new(&mut federation, "police", &enrolments);
    let mut clinic = Agent::new(&mut federation, "clinic", &enrolments);
    edit(Arc::get_mut(&mut clinic.context).unwrap());
    // By a version that did not seal, and once more by this one.
    clinic.happens(import(fact.clone()));
    clinic.imports("j", vec![imported("c-1", person(), fact)]);
    let mut world = World {
        federation,
        police,
        clinic,
    };
    if consents {
        for person in [KNOWN, UNKNOWN] {
            world.records("clinic", person, |_| ());
        }
    }
    world
}

impl World {
    /// The police ask; returns the statement and the permit that a broker would give.
    fn ask(&self, subject: Handle) -> (Stated, Permit) {
        self.ask_with(subject, |_| ())
    }

    fn ask_with(&self, subject: Handle, edit: impl FnOnce(&mut Question)) -> (Stated, Permit) {
        let worker = Worker {
            id: "w-1".into(),
            role: passerelle_model::vocabulary::WorkerRole::Officer,
            trained: true,
            name: None,
        };
        let mut question = Question {
            subject: Some(subject),
            items: vec![Item {
                category: Category::InService,
                level: Level::Involvement,
            }],
            justification: "he was found \"alone\" — très tard".into(),
            ..question(&worker)
        };
        edit(&mut question);
        let trust = Trust::load(
            &self.police.context.identity.anchors,
            self.police.core.view(),
        );
        let made = requester::ask(&self.police.context, &trust.unwrap(), question, NOW);
        let (_, stated) = made.unwrap();
        self.police
            .happens(vec![Event::Stated(Box::new(stated.clone()))]);
        self.police.settles();
        let permit = permit_for("police", &stated.envelope, NOW);
        (stated, permit)
    }

    fn offer(&mut self, stated: &Stated, permit: &Permit) -> v1::Notice {
        let secrets = self
            .police
            .context
            .vault
            .open(self.police.core.view(), &permit.request)
            .unwrap();
        let openings: Vec<_> = secrets
            .unwrap()
            .openings
            .into_iter()
            .filter(|o| o.field == passerelle_model::commitment::Field::Subject)
            .collect();
        let context = &stated.payloads["context"].0;
        let offer = self
            .federation
            .offer(permit, &stated.envelope, &openings, context);
        // The requester hears of it too, without what is for the holder.
        let heard = v1::Notice {
            permit_signature: Vec::new(),
            related: None,
            ..offer.clone()
        };
        self.police.hears(NOW, heard).unwrap();
        offer
    }

    /// Carries the clinic's last answer to the police.
    fn deliver(&mut self, spoil: impl FnOnce(&mut v1::Notice)) -> Vec<&'static str> {
        let (_, stated) = self.clinic.outbox().pop().unwrap();
        let mut notice = self.federation.said(NOW, "clinic", stated.envelope);
        let sealed = stated.payloads["answer"].0.clone();
        notice.payloads = [("answer".to_owned(), sealed)].into();
        spoil(&mut notice);
        self.clinic.settles();
        self.police.hears(NOW, notice).unwrap()
    }

    fn opened(&self, request: &RequestId) -> Result<holder::SealedAnswer, ErrorCode> {
        let row = self.police.asks(request);
        requester::opened_answer(&self.police.context, self.police.core.view(), &row)
    }
}
