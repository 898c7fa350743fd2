//! The solver: finding it, asking it within a limit of time, two processes at a time.
//!
//! In scope: one implication or one absence of errors, decided or not. Out of scope: what is asked.
//!
//! Nothing here passes for want of an answer: no solver is an error, `unknown`, a limit of time and
//! a solver that dies are [`Verdict::Undecided`].

use crate::{ProveError, sets, world};
use cedar_policy::{Policy, PolicySet, RequestEnv, Schema};
use cedar_policy_symcc::{
    CedarSymCompiler, CompiledPolicy, CompiledPolicySet, Env, solver::LocalSolver,
};
use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsString,
    future::Future,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{process::Command, runtime::Runtime};

/// Solver processes at a time.
const PROCESSES: usize = 2;

/// Questions to one process. A start takes 10 ms; but cvc5 1.0 does not forget all of a question
/// when it is reset, and takes three times as long after some dozens.
const QUESTIONS: u32 = 8;

/// Why no proof could be tried.
#[derive(Debug, thiserror::Error)]
pub enum SolverError {
    /// There is no solver.
    #[error("the solver `{0}` is not installed")]
    Missing(String),
    /// What is there is no cvc5.
    #[error("`{0}` is not the solver cvc5")]
    Foreign(String),
    /// It can't be started, or a thread that asks it died.
    #[error("the solver can't be used: {0}")]
    Broken(String),
}

/// What was found out.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It holds of every request.
    Holds,
    /// It does not, as this request shows if it could be read from the solver's answer.
    Refuted(Option<Box<Env>>),
    /// Not known: it counts as not holding.
    Undecided(String),
}

/// One policy of a set.
struct Member {
    policy: Policy,
    /// The attributes that it reads.
    reads: BTreeSet<String>,
    /// What it pins down if it is of the world.
    pins: Option<Vec<String>>,
}

/// A set of policies, compiled when it is asked about.
pub(crate) struct Set {
    pub(crate) policies: PolicySet,
    members: Vec<Member>,
    /// By action, and by the names of the world's policies that matter.
    compiled: Mutex<HashMap<(String, String), Arc<CompiledPolicySet>>>,
}

impl Set {
    pub(crate) fn new(policies: PolicySet) -> Result<Arc<Self>, ProveError> {
        let member = |policy: &Policy| {
            Ok(Member {
                policy: policy.clone(),
                reads: sets::reads(policy)?,
                pins: world::pins(policy.id().as_ref()),
            })
        };
        let members: Result<_, ProveError> = policies.policies().map(member).collect();
        Ok(Arc::new(Self {
            members: members?,
            policies,
            compiled: Mutex::default(),
        }))
    }

    /// What its policies read about a request of this kind, the world's left out.
    fn reads(&self, env: &RequestEnv) -> BTreeSet<&str> {
        let own = self.members.iter().filter(|m| m.pins.is_none());
        own.filter(|m| sets::speaks_of(&m.policy, env.action()))
            .flat_map(|m| m.reads.iter().map(String::as_str))
            .collect()
    }

    /// The set in as much of the world as matters to `read`.
    fn compiled(
        &self,
        env: &RequestEnv,
        schema: &Schema,
        read: &BTreeSet<&str>,
    ) -> Result<Arc<CompiledPolicySet>, String> {
        let matters = |member: &&Member| match &member.pins {
            None => true,
            Some(pins) => pins.is_empty() || pins.iter().any(|p| read.contains(p.as_str())),
        };
        let chosen: Vec<_> = self.members.iter().filter(matters).collect();
        let world = chosen.iter().filter(|m| m.pins.is_some());
        let mut world: Vec<_> = world.map(|m| m.policy.id().to_string()).collect();
        world.sort();
        let key = (env.action().to_string(), world.join(";"));
        let mut all = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = all.get(&key) {
            return Ok(Arc::clone(compiled));
        }
        let set = PolicySet::from_policies(chosen.iter().map(|m| m.policy.clone()))
            .map_err(|e| e.to_string())?;
        let compiled = CompiledPolicySet::compile(&set, env, schema).map_err(|e| e.to_string())?;
        let compiled = Arc::new(compiled);
        all.insert(key, Arc::clone(&compiled));
        Ok(compiled)
    }
}

/// The solver cvc5 of this machine.
#[derive(Clone, Debug)]
pub struct Solver {
    program: OsString,
    version: String,
    limit: Duration,
}

impl Solver {
    /// Finds the solver: the environment's `CVC5`, else `cvc5` on the path. `limit` is for one
    /// question.
    ///
    /// # Errors
    /// There is none, or it is something else.
    pub fn find(limit: Duration) -> Result<Self, SolverError> {
        let program = std::env::var_os("CVC5").filter(|p| !p.is_empty());
        Self::at(program.unwrap_or_else(|| "cvc5".into()), limit)
    }

    /// The solver at this path.
    ///
    /// # Errors
    /// As [`Solver::find`].
    pub fn at(program: impl Into<OsString>, limit: Duration) -> Result<Self, SolverError> {
        let program = program.into();
        let name = program.to_string_lossy().into_owned();
        let told = std::process::Command::new(&program)
            .arg("--version")
            .stdin(Stdio::null())
            .output();
        let told = told.map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => SolverError::Missing(name.clone()),
            _ => SolverError::Broken(format!("`{name}`: {e}")),
        })?;
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        let version = text.split_once("cvc5 version ").map(|(_, rest)| rest);
        let version = version.and_then(|rest| rest.split_whitespace().next());
        let version = version.ok_or(SolverError::Foreign(name))?.to_owned();
        Ok(Self {
            program,
            version,
            limit,
        })
    }

    /// Its version, as it says.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Works through `jobs`, with as many processes as are allowed. The results are in the order
    /// of the jobs.
    pub(crate) fn run<J: Sync, R: Send>(
        &self,
        jobs: &[J],
        work: impl Fn(&mut Session<'_>, &J) -> R + Sync,
    ) -> Result<Vec<R>, SolverError> {
        let next = AtomicUsize::new(0);
        let worker = || -> Result<Vec<(usize, R)>, SolverError> {
            let mut session = Session::new(self)?;
            let mut done = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(job) = jobs.get(place) else {
                    return Ok(done);
                };
                done.push((place, work(&mut session, job)));
            }
        };
        // Threads of their own: the caller may be inside a runtime.
        let mut all = Vec::with_capacity(jobs.len());
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..PROCESSES).map(|_| scope.spawn(worker)).collect();
            for thread in threads {
                let done = thread
                    .join()
                    .map_err(|_| SolverError::Broken("a thread died".to_owned()))?;
                all.extend(done?);
            }
            Ok::<(), SolverError>(())
        })?;
        all.sort_by_key(|(place, _)| *place);
        if all.len() != jobs.len() {
            return Err(SolverError::Broken("an answer is missing".to_owned()));
        }
        Ok(all.into_iter().map(|(_, result)| result).collect())
    }
}

/// One solver process, started anew when it fails.
pub(crate) struct Session<'a> {
    solver: &'a Solver,
    runtime: Runtime,
    process: Option<CedarSymCompiler<LocalSolver>>,
    /// Questions that this process was asked.
    asked: u32,
}

impl<'a> Session<'a> {
    fn new(solver: &'a Solver) -> Result<Self, SolverError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| SolverError::Broken(e.to_string()))?;
        Ok(Self {
            solver,
            runtime,
            process: None,
            asked: 0,
        })
    }

    /// Whether everything that `premise` allows, `conclusion` allows too; with a request that shows
    /// the contrary if `show`.
    pub(crate) fn implies(
        &mut self,
        schema: &Schema,
        env: &RequestEnv,
        (premise, conclusion): (&Set, &Set),
        show: bool,
    ) -> Verdict {
        let mut read = premise.reads(env);
        read.extend(conclusion.reads(env));
        let compiled = premise
            .compiled(env, schema, &read)
            .and_then(|a| Ok((a, conclusion.compiled(env, schema, &read)?)));
        let (a, b) = match compiled {
            Ok(sets) => sets,
            Err(reason) => return Verdict::Undecided(reason),
        };
        match self.ask(async |process| process.check_implies_opt(&a, &b).await) {
            Ok(true) => return Verdict::Holds,
            Ok(false) if !show => return Verdict::Refuted(None),
            Ok(false) => {}
            Err(reason) => return Verdict::Undecided(reason),
        }
        let shown = self.ask(async |process| {
            let process = process.check_implies_with_counterexample_opt(&a, &b);
            process.await
        });
        Verdict::Refuted(shown.ok().flatten().map(Box::new))
    }

    /// Whether `policy` can be evaluated on every request.
    pub(crate) fn never_errors(
        &mut self,
        schema: &Schema,
        env: &RequestEnv,
        policy: &Policy,
    ) -> Verdict {
        let compiled = match CompiledPolicy::compile(policy, env, schema) {
            Ok(compiled) => compiled,
            Err(error) => return Verdict::Undecided(error.to_string()),
        };
        match self.ask(async |process| process.check_never_errors_opt(&compiled).await) {
            Ok(true) => Verdict::Holds,
            Ok(false) => Verdict::Refuted(None),
            Err(reason) => Verdict::Undecided(reason),
        }
    }

    fn ask<T>(
        &mut self,
        question: impl AsyncFnOnce(
            &mut CedarSymCompiler<LocalSolver>,
        ) -> Result<T, cedar_policy_symcc::err::Error>,
    ) -> Result<T, String> {
        let limit = self.solver.limit;
        let mut process = match self.process.take().filter(|_| self.asked < QUESTIONS) {
            Some(process) => process,
            None => {
                self.asked = 0;
                self.start()?
            }
        };
        self.asked += 1;
        // The solver's own limit comes first; this one is for a solver that does not keep it.
        let outer = limit.saturating_mul(2) + Duration::from_secs(1);
        let answer = self
            .runtime
            .block_on(within(outer, question(&mut process)))
            .ok_or_else(|| format!("no answer within {} s", outer.as_secs()))?;
        match answer {
            Ok(answer) => {
                self.process = Some(process);
                Ok(answer)
            }
            // The process is dropped, and so killed: what it still says would answer the next.
            Err(cedar_policy_symcc::err::Error::SolverUnknown) => Err(format!(
                "the solver does not know within {} s",
                limit.as_secs_f64()
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    fn start(&self) -> Result<CedarSymCompiler<LocalSolver>, String> {
        let _inside = self.runtime.enter();
        let mut command = Command::new(&self.solver.program);
        command
            .args(["--lang", "smt"])
            .arg(format!("--tlimit-per={}", self.solver.limit.as_millis()))
            .kill_on_drop(true);
        let solver = LocalSolver::from_command(&mut command).map_err(|e| e.to_string())?;
        CedarSymCompiler::new(solver).map_err(|e| e.to_string())
    }
}

async fn within<T>(limit: Duration, answer: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, answer).await.ok()
}
