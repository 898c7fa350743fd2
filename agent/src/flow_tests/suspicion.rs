//! Questions that look like curiosity, and reviews of emergencies, at two agents without a broker.

use super::*;
use crate::suspicion::{
    Action, Finding, Kind, override_review,
    question::{self, Candidate, Passage},
    record::{self, CaseRow, Fate},
    settings::{Settings, WorkerName},
    verdict::{self, Verdict as Word},
};
use passerelle_model::{
    ids::AuditCaseId, pdp::Obligation, store::Read as _, vocabulary::WorkerRole,
};

pub(super) fn worker(id: &str, role: WorkerRole, family: &str, given: &str) -> Worker {
    Worker {
        id: id.into(),
        role,
        trained: true,
        name: Some(WorkerName {
            family: family.into(),
            given: given.into(),
            born: None,
            other_family: Vec::new(),
        }),
    }
}

pub(super) fn someone(family: &str, given: &str) -> Person {
    Person::new(family, given, "1988-03-09".parse().unwrap(), None).unwrap()
}

/// The police with a clerk, two who may review, and these settings.
pub(super) fn office(edit: impl FnOnce(&mut Settings)) -> World {
    let mut world = world(fact());
    let config = &mut Arc::get_mut(&mut world.police.context).unwrap().config;
    config.workers = vec![
        worker("clerk", WorkerRole::Officer, "Tremblay", "Anne"),
        worker("chief", WorkerRole::Supervisor, "Roy", "Luc"),
        worker("privacy", WorkerRole::PrivacyOfficer, "Côté", "Ève"),
    ];
    edit(&mut config.suspicion);
    world
}

impl World {
    /// As the local interface does it.
    pub(super) fn tries(
        &self,
        id: &str,
        person: &Person,
        edit: impl FnOnce(&mut Question),
    ) -> Result<(RequestId, Passage), ErrorCode> {
        let agent = &self.police;
        let mut question = Question {
            subject: Some(KNOWN),
            items: vec![Item {
                category: Category::InService,
                level: Level::Known,
            }],
            justification: "she asked me to".into(),
            ..question(agent.context.config.worker(id).unwrap())
        };
        edit(&mut question);
        let view = agent.core.view();
        let found = question::look(&agent.context, view, &question, Some(person), NOW)?;
        let request = RequestId::from_random(crate::entropy::random()?);
        let trust = Trust::load(&agent.context.identity.anchors, view).unwrap();
        let stated = match found.action().is_some_and(Action::stops) {
            true => None,
            false => Some(requester::ask_as(
                &agent.context,
                &trust,
                &request,
                question.clone(),
                NOW,
            )?),
        };
        let candidate = Candidate {
            request: request.clone(),
            question,
            token: Some(agent.context.vault.index()?.token(person)),
            found,
            stated,
        };
        let passage = agent.write(NOW, move |context, view| {
            question::pass(context, view, candidate, NOW)
        })?;
        Ok((request, passage))
    }

    fn cases(&self) -> Vec<CaseRow> {
        record::all(self.police.core.view()).unwrap()
    }

    pub(super) fn one_case(&self) -> CaseRow {
        let mut cases = self.cases();
        assert_eq!(cases.len(), 1);
        cases.remove(0)
    }

    pub(super) fn decides(
        &self,
        by: &str,
        case: &AuditCaseId,
        finding: Finding,
    ) -> Result<bool, ErrorCode> {
        decides(&self.police, by, case, finding)
    }
}

pub(super) fn decides(
    agent: &Agent,
    by: &str,
    case: &AuditCaseId,
    finding: Finding,
) -> Result<bool, ErrorCode> {
    let verdict = Word {
        case: case.clone(),
        finding,
        by: agent.context.config.worker(by).unwrap().clone(),
        note: "looked at".into(),
        suspend: false,
    };
    agent.write(NOW, move |context, view| {
        let (events, statement) = verdict::decide(context, view, &verdict, NOW)?;
        Ok((events, statement.is_some()))
    })
}

#[test]
fn a_question_about_oneself_is_refused_and_recorded() {
    let world = office(|_| ());
    let (request, passage) = world
        .tries("clerk", &someone("TREMBLAY", "anne"), |_| ())
        .unwrap();
    let row = world.one_case();
    assert!(matches!(passage, Passage::Refused(case, _) if case == row.case));
    assert!(world.police.outbox().is_empty(), "nothing leaves");
    assert!(world.police.context.vault.key(&request).unwrap().is_none());
    assert_eq!(row.fate, Fate::Refused);
    assert!(row.kinds.contains(&(Kind::OwnRecord, Action::Block)));
    assert_eq!(row.worker.as_deref(), Some("clerk"));
    // Refused for good: a verdict does not send it.
    assert_eq!(
        world.decides("chief", &row.case, Finding::Justified),
        Ok(false)
    );
    assert!(world.police.outbox().is_empty());
}

#[test]
fn a_question_about_a_namesake_waits_for_a_second_person() {
    let world = office(|_| ());
    let (request, passage) = world
        .tries("clerk", &someone("Roy-Tremblay", "Zoé"), |_| ())
        .unwrap();
    let row = world.one_case();
    assert!(matches!(passage, Passage::Held(case, _) if case == row.case));
    assert!(world.police.outbox().is_empty());
    // The journal's rows say nothing of the person or the question in the clear.
    let rows = world.police.core.view().scan(b"", None, 10_000).unwrap();
    let shows = |text: &[u8]| {
        rows.iter()
            .any(|(_, row)| row.windows(text.len()).any(|w| w == text))
    };
    assert!(!shows(b"she asked me to") && !shows(b"Roy-Tremblay"));
    let refused = world.decides("clerk", &row.case, Finding::Justified);
    assert_eq!(refused, Err(ErrorCode::NotIndependent));
    assert_eq!(
        world.decides("privacy", &row.case, Finding::Justified),
        Ok(true)
    );
    let Body::Request(said) = world.police.said() else {
        panic!("not a request");
    };
    assert_eq!(said.request, request);
    assert_eq!(said.role, WorkerRole::Officer);
    let again = world.decides("chief", &row.case, Finding::Justified);
    assert_eq!(again, Err(ErrorCode::WrongState), "it leaves once");
    assert_eq!(world.one_case().fate, Fate::Released);
    let opened = verdict::open(
        &world.police.context,
        world.police.core.view(),
        &world.one_case(),
    );
    assert_eq!(opened.unwrap().person, Some(KNOWN), "by its own secrets");
}

#[test]
fn a_held_question_that_is_not_justified_or_is_over_never_leaves() {
    let world = office(|_| ());
    let zoe = someone("Tremblay", "Zoé");
    world.tries("clerk", &zoe, |_| ()).unwrap();
    let row = world.one_case();
    assert_eq!(
        world.decides("chief", &row.case, Finding::NotJustified),
        Ok(false)
    );
    assert_eq!(world.one_case().fate, Fate::Dropped);
    let world = office(|_| ());
    world
        .tries("clerk", &zoe, |question| question.not_after = NOW)
        .unwrap();
    let row = world.one_case();
    let late = world.decides("chief", &row.case, Finding::Justified);
    assert_eq!(late, Err(ErrorCode::Stale));
    assert_eq!(
        world.decides("chief", &row.case, Finding::NoAccessNeeded),
        Ok(false)
    );
    assert!(world.police.outbox().is_empty());
}

#[test]
fn nobody_decides_about_a_question_about_oneself() {
    let world = office(|_| ());
    world
        .tries("clerk", &someone("Roy", "Luc"), |_| ())
        .unwrap();
    let row = world.one_case();
    assert!(row.kinds.contains(&(Kind::CoWorker, Action::Hold)));
    let chief = world.decides("chief", &row.case, Finding::Justified);
    assert_eq!(
        chief,
        Err(ErrorCode::NotIndependent),
        "the chief is the person"
    );
    assert_eq!(
        world.decides("privacy", &row.case, Finding::Justified),
        Ok(true)
    );
    // A reviewer who asks is no reviewer of that.
    let world = office(|_| ());
    world
        .tries("chief", &someone("Roy", "Zoé"), |_| ())
        .unwrap();
    let case = world.one_case().case;
    let own = world.decides("chief", &case, Finding::Justified);
    assert_eq!(own, Err(ErrorCode::NotIndependent));
}

#[test]
fn a_stranger_raises_an_alert_and_a_person_in_the_care_of_the_agency_none() {
    let world = office(|_| ());
    let zoe = someone("Gagnon", "Zoé");
    let (request, passage) = world.tries("clerk", &zoe, |_| ()).unwrap();
    assert_eq!(passage, Passage::Sent);
    let row = world.one_case();
    assert_eq!(row.kinds, [(Kind::NoService, Action::Alert)]);
    assert_eq!((row.fate, &row.request), (Fate::Sent, &request));
    assert_eq!(row.review_by, Some(NOW.plus_s(72 * 3_600)));
    let opened = verdict::open(&world.police.context, world.police.core.view(), &row);
    assert_eq!(opened.unwrap().person, Some(KNOWN));
    // A case opened here about the person.
    let token = world.police.context.vault.index().unwrap().token(&zoe);
    world.police.happens(vec![
        Event::HandlesFound(vec![(token, KNOWN)]),
        Event::Labelled {
            id: "case-1".into(),
            handle: KNOWN,
            label: "Z. G.".into(),
        },
    ]);
    world.tries("clerk", &zoe, |_| ()).unwrap();
    // A made-up case is none.
    let case = passerelle_model::ids::CaseId::from_random([5; 16]);
    world
        .tries("clerk", &someone("Gagnon", "Maude"), |q| {
            q.case = Some(case)
        })
        .unwrap();
    assert_eq!(world.cases().len(), 2);
}

#[test]
fn questions_above_the_volume_are_counted_by_the_writer_and_stopped() {
    let world = office(|settings| {
        settings.volume = Action::Block;
        settings.no_service = Action::Note;
        settings.questions_per_hour = 2;
    });
    let zoe = someone("Gagnon", "Zoé");
    for expected in [true, true, false] {
        let (request, passage) = world.tries("clerk", &zoe, |_| ()).unwrap();
        assert_eq!(passage == Passage::Sent, expected);
        let key = world.police.context.vault.key(&request).unwrap();
        assert_eq!(key.is_some(), expected, "no key of what never left");
    }
    assert_eq!(world.police.outbox().len(), 2);
    // Another worker has a volume of his own.
    let (_, passage) = world.tries("chief", &zoe, |_| ()).unwrap();
    assert_eq!(passage, Passage::Sent);
    let noted = world.cases().into_iter().filter(|row| !row.is_open());
    assert_eq!(noted.count(), 3, "what is only noted waits for nobody");
}

#[test]
fn a_suspended_worker_asks_nothing_until_a_second_person_lifts_it() {
    let world = office(|_| ());
    let zoe = someone("Gagnon", "Zoé");
    let suspends = |worker: &'static str, by: &'static str, lift| {
        world.police.write(NOW, move |context, view| {
            let by = context.config.worker(by).unwrap();
            verdict::suspend(context, view, worker, by, lift)
        })
    };
    assert_eq!(
        suspends("chief", "chief", false),
        Err(ErrorCode::NotIndependent)
    );
    assert_eq!(
        suspends("chief", "clerk", false),
        Err(ErrorCode::NotIndependent)
    );
    assert_eq!(
        suspends("nobody", "chief", false),
        Err(ErrorCode::OutOfRange)
    );
    assert_eq!(suspends("clerk", "chief", false), Ok(()));
    let refused = world.tries("clerk", &zoe, |_| ());
    assert_eq!(refused.err(), Some(ErrorCode::Suspended));
    assert!(world.police.outbox().is_empty());
    assert_eq!(
        record::suspended(world.police.core.view()).unwrap(),
        ["clerk"]
    );
    assert_eq!(suspends("clerk", "privacy", true), Ok(()));
    assert_eq!(world.tries("clerk", &zoe, |_| ()).unwrap().1, Passage::Sent);
}

#[test]
fn a_crash_between_raising_and_reply_loses_neither_case_nor_question() {
    let world = office(|_| ());
    let (request, _) = world
        .tries("clerk", &someone("Tremblay", "Zoé"), |_| ())
        .unwrap();
    let before = world.one_case();
    let Agent {
        context,
        core,
        writer,
        dir,
    } = world.police;
    drop(core);
    writer.join();
    // The projection is lost, too.
    std::fs::remove_dir_all(dir.path().join("projection")).unwrap();
    let (core, writer) = Core::start(dir.path(), agency("police"), context.vault.clone()).unwrap();
    context.vault.sweep(core.view()).unwrap();
    let police = Agent {
        context,
        core,
        writer,
        dir,
    };
    let world = World { police, ..world };
    assert_eq!(world.one_case(), before);
    assert_eq!(
        world.decides("chief", &before.case, Finding::Justified),
        Ok(true)
    );
    let Body::Request(said) = world.police.said() else {
        panic!("not a request");
    };
    assert_eq!(said.request, request);
}

#[test]
fn an_erased_case_says_nothing_of_a_person_also_after_a_crash() {
    let world = office(|_| ());
    world
        .tries("clerk", &someone("Tremblay", "Zoé"), |_| ())
        .unwrap();
    let row = world.one_case();
    let erases = |case: &AuditCaseId| {
        let case = case.clone();
        world.police.write(NOW, move |context, view| {
            let by = context.config.worker("chief").unwrap();
            verdict::erase(context, view, &case, by)
        })
    };
    assert_eq!(erases(&row.case), Err(ErrorCode::WrongState), "it waits");
    world
        .decides("privacy", &row.case, Finding::NotJustified)
        .unwrap();
    let opens = || verdict::open(&world.police.context, world.police.core.view(), &row).unwrap();
    assert_eq!(opens().note.as_deref(), Some("looked at"));
    assert_eq!(opens().person, Some(KNOWN));
    // A crash comes before the keys are destroyed: the next start finishes it.
    let names = erases(&row.case).unwrap();
    assert_eq!(names.len(), 2);
    world
        .police
        .context
        .vault
        .sweep(world.police.core.view())
        .unwrap();
    assert!(opens().note.is_none() && opens().person.is_none());
    let keys = std::fs::read(world.police.dir.path().join(crate::vault::FILE)).unwrap();
    let slots = keys[64..].chunks(64);
    let left = slots.filter(|slot| slot.iter().any(|byte| *byte != 0));
    assert_eq!(left.count(), 1, "no key is left but that of names");
    let after = world.one_case();
    assert!(
        after.is_erased && after.decided.is_some(),
        "that there was one stays"
    );
    // Done again, it is not taken on trust that the disk did what was asked of it.
    assert_eq!(erases(&row.case).unwrap().len(), 3);
}

/// An emergency that the police claimed, whose permit wants a review, approved at the clinic.
pub(super) fn emergency() -> (World, RequestId) {
    let mut world = office(|_| ());
    let config = &mut Arc::get_mut(&mut world.clinic.context).unwrap().config;
    config.workers = vec![
        worker("nurse", WorkerRole::Nurse, "Roy", "Ana"),
        worker("head", WorkerRole::Supervisor, "Roy", "Bea"),
        worker("second", WorkerRole::Supervisor, "Roy", "Cam"),
    ];
    let (request, passage) = world
        .tries("chief", &someone("Gagnon", "Zoé"), |_| ())
        .unwrap();
    assert_eq!(passage, Passage::Sent);
    let (_, stated) = world.police.outbox().pop().unwrap();
    world.police.settles();
    let mut permit = permit_for("police", &stated.envelope, NOW);
    permit.review = true;
    permit.obligations = vec![Obligation::ReviewWithinHours(48), Obligation::Alert];
    let offer = world.offer(&stated, &permit);
    let events = world.clinic.hears(NOW, offer.clone()).unwrap();
    assert_eq!(events, ["noticed", "review_asked", "audit_case_raised"]);
    assert_eq!(world.clinic.hears(NOW, offer).unwrap(), [""; 0], "once");
    world
        .clinic
        .reviews(&request, Verdict::Approve, "head", NOW)
        .unwrap();
    (world, request)
}

#[test]
fn an_override_is_reviewed_at_both_agencies_by_people_without_a_part_in_it() {
    let (world, request) = emergency();
    let case = override_review::case_of(&request);
    for agent in [&world.police, &world.clinic] {
        let row = record::case(agent.core.view(), &case).unwrap();
        assert_eq!(row.kinds, [(Kind::EmergencyOverride, Action::Alert)]);
        assert_eq!(row.review_by, Some(NOW.plus_s(48 * 3_600)));
    }
    let independent = Err(ErrorCode::NotIndependent);
    let word = Finding::Justified;
    assert_eq!(
        decides(&world.police, "chief", &case, word),
        independent,
        "who asked"
    );
    assert_eq!(
        decides(&world.police, "clerk", &case, word),
        independent,
        "no reviewer"
    );
    assert_eq!(decides(&world.police, "privacy", &case, word), Ok(false));
    assert_eq!(
        decides(&world.clinic, "head", &case, word),
        independent,
        "who approved"
    );
    assert_eq!(decides(&world.clinic, "nurse", &case, word), independent);
    assert_eq!(decides(&world.clinic, "second", &case, word), Ok(false));
}
