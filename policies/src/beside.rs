//! Another policy engine in Cedar's place: the same matters, the same candidates, the same order
//! of questions, so that two engines can be compared by what they say and by what they cost.
//!
//! In scope: each question as a document, and the ruling from the engine's answers. Out of scope:
//! the engine, the form of its policies, any use in a decision that counts.

use crate::{
    CedarPdp,
    candidates::Candidates,
    evaluation::{Answer, Oracle},
    library::Library,
    pdp::EvaluationError,
    shape::{AgreementShape, CaseShape, ConsentShape, MatterShape, Party, Period, millis},
};
use passerelle_model::{
    ids::AgencyId,
    pdp::{Matter, Ruling},
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, sync::Arc};

/// The ids of the policies that are satisfied by one question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Satisfied {
    /// Of those that permit.
    pub permits: BTreeSet<String>,
    /// Of those that forbid.
    pub forbids: BTreeSet<String>,
}

/// An engine that knows the library's policies.
pub trait Engine {
    /// Which policies are satisfied by `question`: `action`, `principal`, `resource` and `context`
    /// of the library's schema, with entities in place of references to them. An agency, category
    /// or basis has its name as `id`; in a set there is only the name.
    ///
    /// # Errors
    /// The engine's own, as text.
    fn satisfied(&self, question: Value) -> Result<Satisfied, String>;
}

impl CedarPdp {
    /// The ruling of `matter` by what `engine` says in Cedar's place.
    ///
    /// # Errors
    /// The engine failed, or a time can't be compared.
    pub fn rule_beside(
        &self,
        matter: &Matter,
        engine: &dyn Engine,
    ) -> Result<Ruling, EvaluationError> {
        let other = Other {
            engine,
            library: self.library(),
            matter: MatterShape::of(matter),
            at: millis(matter.at)?,
        };
        self.rule_by(matter, &other)
    }
}

struct Other<'a> {
    engine: &'a dyn Engine,
    library: &'a Library,
    matter: MatterShape,
    at: i64,
}

impl Oracle for Other<'_> {
    fn ask(&self, action: &'static str, set: Candidates<'_>) -> Result<Answer, EvaluationError> {
        let question = self.question(action, set)?;
        let said = self.engine.satisfied(question).map_err(EvaluationError)?;
        Ok(if said.forbids.is_empty() && !said.permits.is_empty() {
            Answer::Allowed(Arc::new(said.permits))
        } else {
            Answer::Denied(Arc::new(said.forbids))
        })
    }
}

impl Other<'_> {
    fn question(&self, action: &str, set: Candidates<'_>) -> Result<Value, EvaluationError> {
        let matter = &self.matter;
        let mut context = Map::new();
        context.insert("at".into(), self.at.into());
        context.insert("purpose".into(), matter.purpose.code().into());
        context.insert("basis".into(), self.basis());
        context.insert("identified".into(), matter.identified.into());
        if let Some(kind) = matter.emergency {
            context.insert("emergency".into(), kind.code().into());
        }
        if let Some(of) = &matter.case {
            context.insert("case".into(), case(of));
        }
        if let Some(of) = set.consent {
            context.insert("consent".into(), consent(&of.shape, of.period));
        }
        if let Some(of) = set.agreement {
            context.insert("agreement".into(), agreement(&of.shape, of.period));
        }
        Ok(json!({
            "action": action,
            "principal": {
                "agency": agency(&matter.requester),
                "role": matter.role.code(),
                "trained": matter.trained,
            },
            "resource": self.item()?,
            "context": context,
        }))
    }

    fn item(&self) -> Result<Value, EvaluationError> {
        let (item, purpose) = (self.matter.item, self.matter.purpose);
        let most = self.library.reference.max_level(purpose, item.category);
        let most = most.ok_or_else(|| EvaluationError("no highest level".to_owned()))?;
        let code = item.category.code();
        Ok(json!({
            "category": { "id": code, "code": code, "kind": item.category.kind().code() },
            "holder": agency(&self.matter.holder),
            "level": item.level.rank(),
            "max_level": most.rank(),
        }))
    }

    fn basis(&self) -> Value {
        let basis = self.matter.basis;
        let good_for = self.library.emergency_reach(basis);
        json!({
            "id": basis.code(),
            "code": basis.code(),
            "emergencies": good_for.kinds.iter().map(|k| k.code()).collect::<Vec<_>>(),
            "holders": good_for.holders.iter().map(|s| s.code()).collect::<Vec<_>>(),
            "recipients": good_for.recipients.iter().map(|s| s.code()).collect::<Vec<_>>(),
        })
    }
}

fn agency(of: &Party) -> Value {
    json!({ "id": of.agency.as_str(), "sector": of.sector.code(), "active": of.active })
}

fn names(of: &[AgencyId]) -> Vec<&str> {
    of.iter().map(AgencyId::as_str).collect()
}

fn case(of: &CaseShape) -> Value {
    json!({
        "profile": of.profile.code(),
        "stage": of.stage.code(),
        "threshold": of.threshold.code(),
        "closed": of.closed,
        "requester_role": of.requester_role.code(),
        "holder_role": of.holder_role.code(),
        "plan": of.plan.iter().map(|c| c.code()).collect::<Vec<_>>(),
        "subject_known": of.same_subject.is_some(),
        "same_subject": of.same_subject == Some(true),
    })
}

fn consent(of: &ConsentShape, period: Period) -> Value {
    json!({
        "giver": of.giver.code(),
        "capacity": of.capacity.code(),
        "method": of.method.code(),
        "categories": of.categories.iter().map(|c| c.code()).collect::<Vec<_>>(),
        "purposes": of.purposes.iter().map(|p| p.code()).collect::<Vec<_>>(),
        "recipients": names(&of.recipients),
        "disclosers": names(&of.disclosers),
        "given_at": period.from,
        "expires_at": period.until,
        "withdrawn": of.withdrawn,
        "redisclosure": of.redisclosure,
        "recorded_by_holder": of.recorded_by_holder,
    })
}

fn agreement(of: &AgreementShape, period: Period) -> Value {
    let mut agreement = json!({
        "parties": names(&of.parties),
        "signed_by_all": of.signed_by_all,
        "state": of.state.code(),
        "purposes": of.purposes.iter().map(|p| p.code()).collect::<Vec<_>>(),
        "bases": of.bases.iter().map(|b| b.code()).collect::<Vec<_>>(),
        "starts_at": period.from,
        "ends_at": period.until,
    });
    if let (Some(line), Some(fields)) = (&of.line, agreement.as_object_mut()) {
        let line = json!({
            "from": line.from.as_str(),
            "to": line.to.as_str(),
            "category": line.category.code(),
            "level": line.level.rank(),
        });
        fields.insert("line".to_owned(), line);
    }
    agreement
}
