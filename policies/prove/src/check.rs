//! The proofs over one library.
//!
//! In scope: which questions make up each check, and what their answers say. Out of scope: the
//! solver, the words of a request.

use crate::{
    ProveError,
    invariants::{Invariant, Invariants, Ledger, Words, action_of, carries, environments},
    judge,
    request::Concrete,
    sets::{self, speaks_of},
    smaller,
    solver::{Session, Set, Solver, Verdict},
    story::Story,
    world::PLAIN,
};
use cedar_policy::{Effect, Policy, PolicySet, RequestEnv, Schema};
use passerelle_policies::Library;
use serde::Serialize;
use std::{sync::Arc, time::Instant};

pub(crate) const NO_ERROR: &str = "no-rule-fails";
pub(crate) const NO_DEAD: &str = "no-dead-rule";
pub(crate) const CONFLICTS: &str = "conflicts-as-listed";

/// The checks that no file has to name.
pub const STRUCTURAL: [&str; 3] = [NO_ERROR, NO_DEAD, CONFLICTS];

/// One thing that was to be proved.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Its name.
    pub id: String,
    /// What it says.
    pub title: Words,
    /// Why it does not hold. Empty: it is proved.
    pub failing: Vec<Failing>,
}

impl Check {
    /// Whether it is proved.
    pub const fn holds(&self) -> bool {
        self.failing.is_empty()
    }
}

/// What stands against a check.
#[derive(Clone, Debug, Serialize)]
pub struct Failing {
    /// In a sentence.
    pub says: Told,
    /// The request that shows it, if there is one.
    pub story: Option<Story>,
}

/// What kind of failure it is, with its words.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// `refuted`, `undecided`, `says_nothing`, `dead`, `not_listed`, `no_longer`.
    pub kind: &'static str,
    /// In words.
    #[serde(flatten)]
    pub words: Words,
}

/// All that was proved, or not, of one library.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Digest of the bundle.
    pub bundle: String,
    /// The solver's version.
    pub solver: String,
    /// The checks, in order.
    pub checks: Vec<Check>,
    /// Questions that were asked.
    pub questions: usize,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The ledger as it would be true; only complete if all checks ran.
    #[serde(skip)]
    pub ledger: Ledger,
}

impl Report {
    /// Whether everything is proved.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(Check::holds)
    }
}

/// Proves what `invariants` demand of `library`, all or only those named.
///
/// # Errors
/// Nothing could be tried: no solver, an unknown name.
pub fn prove(
    library: &Library,
    invariants: &Invariants,
    solver: &Solver,
    only: &[String],
) -> Result<Report, ProveError> {
    let started = Instant::now();
    let known = |id: &String| {
        STRUCTURAL.contains(&id.as_str()) || invariants.all.iter().any(|i| i.id == *id)
    };
    if let Some(unknown) = only.iter().find(|id| !known(id)) {
        return Err(ProveError::Unknown(unknown.clone()));
    }
    let wanted = |id: &str| only.is_empty() || only.iter().any(|o| o == id);
    let plan = Plan::new(library)?;
    let mut jobs = Vec::new();
    for invariant in invariants.all.iter().filter(|i| wanted(&i.id)) {
        jobs.extend(plan.invariant(invariant)?);
    }
    if wanted(NO_ERROR) {
        jobs.extend(plan.errors());
    }
    if wanted(NO_DEAD) {
        jobs.extend(plan.dead()?);
    }
    if wanted(CONFLICTS) {
        jobs.extend(plan.conflicts()?);
    }
    let verdicts = solver.run(&jobs, |session, job| job.work(session, library))?;
    let answers: Vec<_> = jobs.iter().zip(verdicts).collect();
    let mut checks = Vec::new();
    for invariant in invariants.all.iter().filter(|i| wanted(&i.id)) {
        checks.push(judge::invariant(invariant, &answers));
    }
    let mut ledger = invariants.ledger.clone();
    if wanted(NO_ERROR) {
        checks.push(judge::errors(&answers));
    }
    if wanted(NO_DEAD) {
        checks.push(judge::dead(library, &mut ledger, &answers));
    }
    if wanted(CONFLICTS) {
        checks.push(judge::conflicts(&mut ledger, &answers));
    }
    Ok(Report {
        bundle: library.digest().to_hex(),
        solver: solver.version().to_owned(),
        checks,
        questions: jobs.len(),
        took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        ledger,
    })
}

/// What one question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// Whether the invariant holds.
    Held(String),
    /// Whether anything could break it.
    Breakable(String),
    /// Whether the rule can fail.
    Fails(String),
    /// Whether the rule can fire.
    Fires(String),
    /// Whether the second overrules the first.
    Overrules(String, String),
}

enum Ask {
    Implies(Arc<Set>, Arc<Set>),
    NeverErrors(Box<Policy>),
}

pub(crate) struct Job {
    pub(crate) about: About,
    pub(crate) env: RequestEnv,
    ask: Ask,
}

/// What came of a job.
pub(crate) enum Found {
    Holds,
    Refuted(Option<Box<Story>>),
    Undecided(String),
}

impl Job {
    fn work(&self, session: &mut Session<'_>, library: &Library) -> Found {
        let schema = library.schema();
        let (premise, conclusion) = match &self.ask {
            Ask::NeverErrors(policy) => {
                return match session.never_errors(schema, &self.env, policy) {
                    Verdict::Holds => Found::Holds,
                    Verdict::Refuted(_) => Found::Refuted(None),
                    Verdict::Undecided(reason) => Found::Undecided(reason),
                };
            }
            Ask::Implies(premise, conclusion) => (premise, conclusion),
        };
        let show = matches!(self.about, About::Held(_));
        match session.implies(schema, &self.env, (premise, conclusion), show) {
            Verdict::Holds => Found::Holds,
            Verdict::Undecided(reason) => Found::Undecided(reason),
            Verdict::Refuted(env) => {
                let story = env.and_then(|env| {
                    let request = Concrete::of(&env)?;
                    let sets = (&premise.policies, &conclusion.policies);
                    let follow = |request: &mut Concrete| request.follow(library, PLAIN);
                    plain_story(request, schema, sets, &follow)
                });
                Found::Refuted(story.map(Box::new))
            }
        }
    }
}

/// The plainest request that the first set allows and the second does not, in words. `None` if
/// Cedar itself does not say so of the solver's request: then there is nothing to show.
pub(crate) fn plain_story(
    mut request: Concrete,
    schema: &Schema,
    (premise, conclusion): (&PolicySet, &PolicySet),
    follow: &dyn Fn(&mut Concrete),
) -> Option<Story> {
    let still = |request: &Concrete| {
        matches!(request.ask(schema, premise), Ok(Some(_)))
            && matches!(request.ask(schema, conclusion), Ok(None))
    };
    // What no policy of the question reads, the solver was free to choose.
    follow(&mut request);
    if !still(&request) {
        return None;
    }
    let request = smaller::plainest(request, follow, &still);
    let rules = request.ask(schema, premise).ok()??;
    Some(Story::new(request, rules))
}

/// The sets of which one library's questions are made.
struct Plan<'a> {
    library: &'a Library,
    envs: Vec<RequestEnv>,
    world: Vec<Policy>,
    everything: Policy,
    /// The library in the world.
    live: Arc<Set>,
    /// Anything that can be.
    any: Arc<Set>,
    nothing: Arc<Set>,
}

impl<'a> Plan<'a> {
    fn new(library: &'a Library) -> Result<Self, ProveError> {
        let world = sets::world(&[(library, PLAIN)], library.schema())?;
        let everything = sets::permit_all()?;
        let live = sets::of(library.policies().policies().chain(&world))?;
        Ok(Self {
            live: Set::new(live)?,
            any: Set::new(sets::of([&everything].into_iter().chain(&world))?)?,
            nothing: Set::new(PolicySet::new())?,
            envs: environments(library),
            library,
            world,
            everything,
        })
    }

    fn rules(&self, effect: Effect) -> impl Iterator<Item = &Policy> {
        let all = self.library.policies().policies();
        all.filter(move |policy| policy.effect() == effect)
    }

    fn invariant(&self, invariant: &Invariant) -> Result<Vec<Job>, ProveError> {
        let ceiling = Set::new(sets::of(&invariant.ceiling)?)?;
        let allowed = if invariant.only_with.is_empty() {
            Arc::clone(&ceiling)
        } else {
            let carrying = self.rules(Effect::Permit).filter(|policy| {
                let rule = self.library.rules().get(&policy.id().to_string());
                rule.is_some_and(|rule| carries(rule, &invariant.only_with))
            });
            Set::new(sets::of(invariant.ceiling.iter().chain(carrying))?)?
        };
        let envs = self.envs.iter();
        let envs = envs.filter(|env| invariant.actions.contains(action_of(env)));
        Ok(envs
            .flat_map(|env| {
                let job = |about, premise: &Arc<Set>, conclusion: &Arc<Set>| Job {
                    about,
                    env: env.clone(),
                    ask: Ask::Implies(Arc::clone(premise), Arc::clone(conclusion)),
                };
                [
                    job(About::Held(invariant.id.clone()), &self.live, &allowed),
                    job(About::Breakable(invariant.id.clone()), &self.any, &ceiling),
                ]
            })
            .collect())
    }

    fn errors(&self) -> Vec<Job> {
        let all = self.library.policies().policies();
        all.flat_map(|policy| {
            self.envs.iter().map(|env| Job {
                about: About::Fails(policy.id().to_string()),
                env: env.clone(),
                ask: Ask::NeverErrors(Box::new(policy.clone())),
            })
        })
        .collect()
    }

    fn dead(&self) -> Result<Vec<Job>, ProveError> {
        let mut jobs = Vec::new();
        for policy in self.library.policies().policies() {
            let premise = match policy.effect() {
                // A permit that some forbid always overrules never fires.
                Effect::Permit => {
                    let forbids = self.rules(Effect::Forbid);
                    sets::of(forbids.chain([policy]).chain(&self.world))?
                }
                Effect::Forbid => {
                    sets::of([&sets::as_permit(policy)?].into_iter().chain(&self.world))?
                }
            };
            let premise = Set::new(premise)?;
            let envs = self
                .envs
                .iter()
                .filter(|env| speaks_of(policy, env.action()));
            jobs.extend(envs.map(|env| Job {
                about: About::Fires(policy.id().to_string()),
                env: env.clone(),
                ask: Ask::Implies(Arc::clone(&premise), Arc::clone(&self.nothing)),
            }));
        }
        Ok(jobs)
    }

    fn conflicts(&self) -> Result<Vec<Job>, ProveError> {
        let mut forbids = Vec::new();
        for forbid in self.rules(Effect::Forbid) {
            let rest = Set::new(sets::of([&self.everything, forbid])?)?;
            forbids.push((forbid.id().to_string(), rest));
        }
        let mut jobs = Vec::new();
        for permit in self.rules(Effect::Permit) {
            let premise = sets::of([permit].into_iter().chain(&self.world))?;
            let premise = Set::new(premise)?;
            let envs = self
                .envs
                .iter()
                .filter(|env| speaks_of(permit, env.action()));
            for (env, (forbid, rest)) in envs.flat_map(|e| forbids.iter().map(move |f| (e, f))) {
                jobs.push(Job {
                    about: About::Overrules(permit.id().to_string(), forbid.clone()),
                    env: env.clone(),
                    ask: Ask::Implies(Arc::clone(&premise), Arc::clone(rest)),
                });
            }
        }
        Ok(jobs)
    }
}
