//! One matter before Cedar.
//!
//! In scope: asking Cedar, or the memory of what it said. Out of scope: what is asked, and what
//! follows.

use crate::{
    candidates::Candidates,
    cedar::uid,
    entities::{Base, Slice, SliceError, Slicer},
    library::Library,
    memory::Memory,
    outline::{MatterOutline, Outline},
    pdp::EvaluationError,
    shape::{MatterShape, Times, millis},
};
use cedar_policy::{Authorizer, Decision, Request};
use passerelle_model::pdp::Matter;
use std::{cell::OnceCell, collections::BTreeSet, sync::Arc};

/// What Cedar says of one action with one set of candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Allowed(Rules),
    Denied(Rules),
}

/// The ids of the policies that an answer rests on.
pub(crate) type Rules = Arc<BTreeSet<String>>;

/// Who is asked: Cedar, or another engine in its place ([`crate::beside`]).
pub(crate) trait Oracle {
    /// What it says of this action with these candidates.
    fn ask(&self, action: &'static str, set: Candidates<'_>) -> Result<Answer, EvaluationError>;
}

/// Cedar over one library, with what it said before.
pub(crate) struct Evaluator {
    library: Library,
    authorizer: Authorizer,
    memory: Memory,
}

impl Evaluator {
    pub(crate) fn new(library: Library) -> Self {
        Self {
            memory: Memory::of(&library.policies),
            library,
            authorizer: Authorizer::new(),
        }
    }

    pub(crate) fn forgetful(library: Library) -> Self {
        Self {
            memory: Memory::none(),
            ..Self::new(library)
        }
    }

    pub(crate) const fn library(&self) -> &Library {
        &self.library
    }

    pub(crate) fn begin(&self, matter: &Matter) -> Result<Evaluation<'_>, EvaluationError> {
        let shape = MatterShape::of(matter);
        Ok(Evaluation {
            evaluator: self,
            outline: MatterOutline::of(&shape).filter(|_| self.memory.is_on()),
            matter: shape,
            at: millis(matter.at)?,
            base: OnceCell::new(),
        })
    }
}

/// One matter before Cedar.
pub(crate) struct Evaluation<'a> {
    evaluator: &'a Evaluator,
    matter: MatterShape,
    /// If answers about it are remembered.
    outline: Option<MatterOutline>,
    at: i64,
    /// Built when something is asked that is not remembered.
    base: OnceCell<Base>,
}

impl Oracle for Evaluation<'_> {
    /// What Cedar says now, or said when it was asked the same.
    fn ask(&self, action: &'static str, set: Candidates<'_>) -> Result<Answer, EvaluationError> {
        let times = Times {
            at: self.at,
            consent: set.consent.map(|c| c.period),
            agreement: set.agreement.map(|a| a.period),
        };
        let question = self
            .outline
            .and_then(|outline| Outline::of(action, &self.matter, outline, set, &times));
        let memory = &self.evaluator.memory;
        if let Some(answer) = question.as_ref().and_then(|asked| memory.recall(asked)) {
            return Ok(answer);
        }
        let answer = self.evaluate(action, &self.slice(set)?)?;
        if let Some(question) = question {
            memory.note(question, &answer);
        }
        Ok(answer)
    }
}

impl Evaluation<'_> {
    fn slice(&self, set: Candidates<'_>) -> Result<Slice, SliceError> {
        let library = &self.evaluator.library;
        let slicer = Slicer {
            names: &library.names,
            reference: &library.reference,
            schema: &library.schema,
            matter: &self.matter,
            at: self.at,
        };
        let base = match self.base.get() {
            Some(base) => base,
            None => {
                let base = slicer.base()?;
                self.base.get_or_init(|| base)
            }
        };
        slicer.slice(
            base,
            set.consent.map(|c| (&c.shape, c.period)),
            set.agreement.map(|a| (&a.shape, a.period)),
        )
    }

    /// Asks Cedar. Allowed means that it said so and that nothing at all went wrong.
    fn evaluate(&self, action: &str, slice: &Slice) -> Result<Answer, EvaluationError> {
        let library = &self.evaluator.library;
        let request = Request::new(
            slice.principal.clone(),
            uid(&library.names.action, action),
            slice.resource.clone(),
            slice.context.clone(),
            Some(&library.schema),
        )
        .map_err(|e| EvaluationError(e.to_string()))?;
        let authorizer = &self.evaluator.authorizer;
        let response = authorizer.is_authorized(&request, &library.policies, &slice.entities);
        let diagnostics = response.diagnostics();
        if let Some(error) = diagnostics.errors().next() {
            return Err(EvaluationError(error.to_string()));
        }
        let rules = Arc::new(diagnostics.reason().map(ToString::to_string).collect());
        Ok(match response.decision() {
            Decision::Allow => Answer::Allowed(rules),
            Decision::Deny => Answer::Denied(rules),
        })
    }
}
