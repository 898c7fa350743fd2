//! `passerelle agent rights`: what a person asks about herself. At the door: open, show, again,
//! reply, erase. At an owner: tasks, refuse, restrict, lift (`approve` and `cannot-say` answer it
//! as any other request).

use super::{Place, Worker, done_text, evidence, rights_page};
use crate::cli::{
    Global, Lang, backend, codes,
    failure::{Exit, Failure},
    output, render,
};
use clap::{Args, Subcommand};
use passerelle_audit::{
    disclosure::{self, Account, Date, Query, Suspension},
    verify::{self, verify},
};
use passerelle_model::{
    bytes::Handle,
    error::ErrorCode,
    ids::{AgencyId, RequestId, RightsId},
    time::Timestamp,
};
use passerelle_policies::CedarPdp;
use passerelle_proto::{
    v1,
    views::{Done, RightsReply, RightsTask, RightsView},
};
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// At the door: ask every owner what it holds about the person who stands here
    #[command(after_help = "\
Examples:
  passerelle agent rights open --dir /srv/service-social --person person.toml \\
    --evidence form.pdf
  passerelle agent rights open --dir /srv/service-social --person person.toml \\
    --evidence form.pdf --holder police-nord --holder sante-centre --law ca-qc
  passerelle agent rights open --dir /srv/service-social --person person.toml \\
    --evidence form.pdf --kind correction --says 'I was never at that address'

Verify identity first. The file of --evidence never leaves this machine: its SHA-256 goes to the
owners, sealed, and into your paper file. One command makes one request to each owner; each is
decided by the rules and by a person at the owner.")]
    Open(Box<OpenArgs>),
    /// At the door: how far the owners are
    #[command(after_help = "\
Examples:
  passerelle agent rights show --dir /srv/service-social
  passerelle agent rights show --dir /srv/service-social rights-00112233445566778899aabbccddeeff

What an owner said is shown by `reply` alone.")]
    Show {
        #[command(flatten)]
        place: Place,
        /// The person's request; all if left out
        #[arg(value_name = "ID")]
        rights: Option<RightsId>,
        #[command(flatten)]
        worker: Worker,
    },
    /// At the door: ask all owners once more, for what is owed since
    #[command(after_help = "\
Examples:
  passerelle agent rights again --dir /srv/service-social \\
    rights-00112233445566778899aabbccddeeff

All of them are asked, whatever they said: whom one asks again would tell what came. Do it in a
rhythm that is the same for everybody, each month for instance.")]
    Again {
        #[command(flatten)]
        place: Place,
        /// The person's request
        #[arg(value_name = "ID")]
        rights: RightsId,
        #[command(flatten)]
        within: Within,
        #[command(flatten)]
        worker: Worker,
    },
    /// At the door: the one reply for the person, as text, JSON or a page to print
    #[command(after_help = "\
Examples:
  passerelle agent rights reply --dir /srv/service-social --page reply.html --lang fr \\
    rights-00112233445566778899aabbccddeeff
  passerelle agent rights reply --dir /srv/service-social --export log.export \\
    rights-00112233445566778899aabbccddeeff --json

With an export of the log (`passerelle audit export`, at best that of the oversight body) the reply
has the accounting of disclosures too. Hand it over in person; think who may read it at home.")]
    Reply(ReplyArgs),
    /// At the door: destroy what says whom a request was about
    #[command(after_help = "\
Examples:
  passerelle agent rights erase --dir /srv/service-social \\
    rights-00112233445566778899aabbccddeeff")]
    Erase {
        #[command(flatten)]
        place: Place,
        /// The person's request
        #[arg(value_name = "ID")]
        rights: RightsId,
        #[command(flatten)]
        worker: Worker,
    },
    /// At an owner: what people ask about themselves, and what is kept back or owed
    #[command(after_help = "\
Examples:
  passerelle agent rights tasks --dir /srv/police-nord

Answer with `agent approve`, with `agent cannot-say` if nothing is held, or with `refuse` or
`restrict` below. Look each time, also where nothing is held: the time must not tell.")]
    Tasks {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        worker: Worker,
    },
    /// At an owner: refuse, with a reason that the person is told
    #[command(after_help = "\
Examples:
  passerelle agent rights refuse --dir /srv/police-nord --reason third_party \\
    req-00112233445566778899aabbccddeeff

Reasons: third_party, own_procedure, identity_in_doubt. A refusal tells that somebody looked and
said no. Where that would tell too much, use `restrict` or `agent cannot-say`.")]
    Refuse {
        #[command(flatten)]
        place: Place,
        /// The request
        #[arg(value_name = "ID")]
        request: RequestId,
        /// Why, as a code
        #[arg(long, value_name = "CODE")]
        reason: String,
        #[command(flatten)]
        worker: Worker,
    },
    /// At an owner: keep the answer back until a day. To the door it looks like nothing held
    #[command(after_help = "\
Examples:
  passerelle agent rights restrict --dir /srv/police-nord --reason investigation \\
    --until 2027-03-31 req-00112233445566778899aabbccddeeff

Reasons, which stay here: investigation, law_enforcement_suspension, safety, court_order. Until then
nothing about the person passes through any door; from then on it is owed, and an alert says so.")]
    Restrict {
        #[command(flatten)]
        place: Place,
        /// The request
        #[arg(value_name = "ID")]
        request: RequestId,
        /// Why, as a code
        #[arg(long, value_name = "CODE")]
        reason: String,
        /// The day on which it ends, in UTC
        #[arg(long, value_name = "YYYY-MM-DD")]
        until: Date,
        #[command(flatten)]
        worker: Worker,
    },
    /// At an owner: end a restriction
    #[command(after_help = "\
Examples:
  passerelle agent rights lift --dir /srv/police-nord req-00112233445566778899aabbccddeeff")]
    Lift {
        #[command(flatten)]
        place: Place,
        /// A request about the person
        #[arg(value_name = "ID")]
        request: RequestId,
        #[command(flatten)]
        worker: Worker,
    },
}

#[derive(Debug, Args)]
pub(super) struct Within {
    /// Days that the owners have (default: `days` of the section `rights` in agent.toml, 30)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=30))]
    days: Option<u32>,
    /// Legal pack that says in how many days an owner answers; of several the shortest
    #[arg(long = "law", value_name = "PACK", conflicts_with = "days")]
    laws: Vec<String>,
}

impl Within {
    /// 0: as the agent's configuration says.
    fn days(&self) -> Result<u32, Failure> {
        if self.laws.is_empty() {
            return Ok(self.days.unwrap_or_default());
        }
        let pdp = CedarPdp::load_embedded().map_err(|e| Failure::failed(e.to_string()))?;
        let packs = pdp.library().packs();
        let mut shortest = u32::MAX;
        for law in &self.laws {
            let access = packs.get(law).and_then(|pack| pack.access.as_ref());
            let Some(access) = access else {
                let known = packs.values().filter(|pack| pack.access.is_some());
                let known: Vec<_> = known.map(|pack| pack.id.as_str()).collect();
                return Err(Failure::usage(format!(
                    "no pack `{law}` says in how many days an owner answers; known are: {}",
                    known.join(", ")
                )));
            };
            shortest = shortest.min(u32::from(access.days));
        }
        Ok(shortest)
    }
}

#[derive(Debug, Args)]
pub(super) struct OpenArgs {
    #[command(flatten)]
    place: Place,
    /// TOML file with family_name, given_name, birth_date
    #[arg(long, value_name = "FILE")]
    person: PathBuf,
    /// What identity was verified on, and the signed form: any file; only its SHA-256 is kept
    #[arg(long, value_name = "FILE")]
    evidence: PathBuf,
    /// What is wanted: access, correction, objection, withdrawal
    #[arg(long, default_value = "access")]
    kind: String,
    /// Owner to ask; repeat for more [default: every other member that holds records]
    #[arg(long = "holder", value_name = "AGENCY")]
    holders: Vec<AgencyId>,
    /// What the person says, for the owners; `-` reads it from standard input
    #[arg(long, value_name = "TEXT", default_value = "")]
    says: String,
    #[command(flatten)]
    within: Within,
    #[command(flatten)]
    worker: Worker,
}

#[derive(Debug, Args)]
pub(super) struct ReplyArgs {
    #[command(flatten)]
    place: Place,
    /// The person's request
    #[arg(value_name = "ID")]
    rights: RightsId,
    /// Write the page to print to this file
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// An export of the log, for the accounting of disclosures
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Leave out, before that day, what this agency received or asked for; repeat for more
    #[arg(long, value_name = "AGENCY=YYYY-MM-DD", value_parser = suspension, requires = "export")]
    suspend: Vec<(AgencyId, Date)>,
    #[command(flatten)]
    worker: Worker,
}

fn suspension(text: &str) -> Result<(AgencyId, Date), String> {
    let (agency, until) = text.split_once('=').ok_or("expected AGENCY=YYYY-MM-DD")?;
    let agency = agency.parse().map_err(|e| format!("{e}"))?;
    let until: Date = until.parse().map_err(|e| format!("{e}"))?;
    Ok((agency, until))
}

/// The reply with the account, if an export was given.
#[derive(Serialize)]
pub(super) struct Compiled {
    #[serde(flatten)]
    pub(super) reply: RightsReply,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) account: Option<Account>,
}

pub(super) async fn run(global: Global, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Open(args) => open(global, *args).await,
        Verb::Show {
            place,
            rights,
            worker,
        } => show(global, &place, rights, &worker).await,
        Verb::Again {
            place,
            rights,
            within,
            worker,
        } => {
            let request = v1::AskAgainRequest {
                rights: rights.to_string(),
                days: within.days()?,
                worker: worker.name(&place.dir),
            };
            let mut node = backend::rights(&place.dir).await?;
            one(global, backend::document(node.ask_again(request).await)?)
        }
        Verb::Reply(args) => reply(global, args).await,
        Verb::Erase {
            place,
            rights,
            worker,
        } => {
            let request = v1::EraseRightsRequest {
                rights: rights.to_string(),
                worker: worker.name(&place.dir),
            };
            let mut node = backend::rights(&place.dir).await?;
            let done: Done = backend::document(node.erase_rights(request).await)?;
            done_text(global, &done, "whom it was about is destroyed")
        }
        verb @ (Verb::Tasks { .. }
        | Verb::Refuse { .. }
        | Verb::Restrict { .. }
        | Verb::Lift { .. }) => at_an_owner(global, verb).await,
    }
}

async fn at_an_owner(global: Global, verb: Verb) -> Result<Exit, Failure> {
    match verb {
        Verb::Refuse {
            place,
            request,
            reason,
            worker,
        } => {
            let request = v1::RefuseAccessRequest {
                request: request.to_string(),
                reason,
                worker: worker.name(&place.dir),
            };
            let mut node = backend::rights(&place.dir).await?;
            let done: Done = backend::document(node.refuse_access(request).await)?;
            done_text(global, &done, "refused")
        }
        Verb::Restrict {
            place,
            request,
            reason,
            until,
            worker,
        } => {
            let request = v1::RestrictAccessRequest {
                request: request.to_string(),
                reason,
                until_ms: midnight(until)?.0,
                worker: worker.name(&place.dir),
            };
            let mut node = backend::rights(&place.dir).await?;
            let done: Done = backend::document(node.restrict_access(request).await)?;
            done_text(global, &done, "kept back")
        }
        Verb::Lift {
            place,
            request,
            worker,
        } => {
            let request = v1::LiftRestrictionRequest {
                request: request.to_string(),
                worker: worker.name(&place.dir),
            };
            let mut node = backend::rights(&place.dir).await?;
            let done: Done = backend::document(node.lift_restriction(request).await)?;
            done_text(global, &done, "no restriction stands")
        }
        Verb::Tasks { place, worker } => tasks(global, &place, &worker).await,
        Verb::Open(_)
        | Verb::Show { .. }
        | Verb::Again { .. }
        | Verb::Reply(_)
        | Verb::Erase { .. } => Err(Failure::usage("this is done at the door")),
    }
}

async fn tasks(global: Global, place: &Place, worker: &Worker) -> Result<Exit, Failure> {
    let request = v1::ListTasksRequest {
        worker: worker.name(&place.dir),
    };
    let mut node = backend::rights(&place.dir).await?;
    let tasks: Vec<RightsTask> = backend::document(node.list_tasks(request).await)?;
    output::print(global, &tasks, |tasks| {
        render::rights_tasks(tasks, global.lang())
    })?;
    Ok(Exit::Done)
}

async fn show(
    global: Global,
    place: &Place,
    rights: Option<RightsId>,
    worker: &Worker,
) -> Result<Exit, Failure> {
    let request = v1::ShowRightsRequest {
        rights: rights.map(|id| id.to_string()).unwrap_or_default(),
        worker: worker.name(&place.dir),
    };
    let mut node = backend::rights(&place.dir).await?;
    let views: Vec<RightsView> = backend::document(node.show_rights(request).await)?;
    output::print(global, &views, |views| render::rights(views))?;
    Ok(Exit::Done)
}

/// Prints how far one is.
fn one(global: Global, view: RightsView) -> Result<Exit, Failure> {
    output::print(global, &view, |view| {
        render::rights(std::slice::from_ref(view))
    })?;
    Ok(Exit::Done)
}

/// The first instant of a day, in UTC.
fn midnight(day: Date) -> Result<Timestamp, Failure> {
    passerelle_agent::api::input::time("until", &day.to_string())
        .map_err(|_| Failure::usage("`--until` is not a day"))
}

async fn open(global: Global, args: OpenArgs) -> Result<Exit, Failure> {
    let request = v1::OpenRightsRequest {
        person: Some(codes::person(&args.person)?),
        kind: args.kind,
        evidence: evidence::digest(&args.evidence)?.to_hex(),
        holders: args.holders.iter().map(ToString::to_string).collect(),
        days: args.within.days()?,
        says: match args.says.as_str() {
            "-" => std::io::read_to_string(std::io::stdin())?,
            _ => args.says,
        },
        worker: args.worker.name(&args.place.dir),
    };
    let mut node = backend::rights(&args.place.dir).await?;
    one(global, backend::document(node.open_rights(request).await)?)
}

async fn reply(global: Global, args: ReplyArgs) -> Result<Exit, Failure> {
    let request = v1::ReplyToPersonRequest {
        rights: args.rights.to_string(),
        worker: args.worker.name(&args.place.dir),
    };
    let mut node = backend::rights(&args.place.dir).await?;
    let reply: RightsReply = backend::document(node.reply_to_person(request).await)?;
    let account = match &args.export {
        Some(path) => Some(account(path, &reply, args.suspend)?),
        None => None,
    };
    let compiled = Compiled { reply, account };
    if let Some(path) = &args.page {
        let page = rights_page::html(&compiled, global.lang());
        rights_page::write(path, page.as_bytes()).map_err(|e| Failure::file(path, &e))?;
    }
    output::print(global, &compiled, |compiled| {
        let mut text = render::rights_reply(&compiled.reply, global.lang());
        if let Some(path) = &args.page {
            text.push_str(&match global.lang() {
                Lang::En => format!("\nto print: {}\n", path.display()),
                Lang::Fr => format!("\nà imprimer : {}\n", path.display()),
            });
        }
        text
    })?;
    Ok(Exit::Done)
}

/// The account, out of a verified export. It says that something may be left out by law whether or
/// not it is.
fn account(
    path: &Path,
    reply: &RightsReply,
    suspended: Vec<(AgencyId, Date)>,
) -> Result<Account, Failure> {
    let open = || File::open(path).map_err(|error| Failure::file(path, &error));
    let handle = reply.asked.handle.as_deref();
    let handle = handle.and_then(|hex| Handle::from_hex(hex).ok());
    let handle = handle.ok_or_else(|| {
        let words = "whom this was about is erased; open a new request with the person present";
        Failure::coded(ErrorCode::WrongState, Some(words.to_owned()))
    })?;
    let wrong = |what: String| Failure::coded(ErrorCode::ProofInvalid, Some(what));
    let report = verify(BufReader::new(open()?), &verify::Options::default())
        .map_err(|fault| wrong(format!("the export does not verify: {fault}")))?;
    let suspensions = suspended.into_iter();
    let query = Query {
        persons: BTreeSet::from([handle]),
        requests: BTreeSet::new(),
        suspensions: suspensions
            .map(|(agency, until)| Suspension { agency, until })
            .collect(),
        today: Date::of(reply.made_at).ok(),
        say_left_out: true,
    };
    let (account, _, walked) = disclosure::account(BufReader::new(open()?), &query)
        .map_err(|error| wrong(error.to_string()))?;
    if (report.size, report.root) != (walked.size, walked.root) {
        return Err(wrong("the file changed while it was read".to_owned()));
    }
    Ok(account)
}
