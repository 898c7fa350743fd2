//! Outside witnesses: who is no member, and cosigns what a quorum of the members has cosigned,
//! over HTTP (C2SP tlog-witness v1.0.0, section "add-checkpoint").
//!
//! In scope: asking each in a task of its own, the reply, what the operator sees of it. Out of
//! scope: the quorum, to which they do not belong. Unless the operator says that some must be met,
//! a checkpoint is published, and permits leave, before anybody here is asked: one that is slow,
//! dead or lies holds up nobody. If some must be met, any of them do: again only too few hold up.
//!
//! Nothing about where a witness stands is kept on the disk: the first request after a start says
//! `old 0`, and the witness answers 409 with its size. What crosses is signed and public, so plain
//! HTTP loses nothing; HTTPS is for a proxy.

use crate::{
    clock,
    error::BrokerError,
    services::Shared,
    witnesses::{Offer, Witnesses},
};
use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode, Uri, header, uri::Scheme},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use passerelle_audit::note::{SignatureType, VerifierKey, parse_signature_lines};
use passerelle_proto::views::OutsideWitness;
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// Most outside witnesses: with a full panel and the log's own there is room for them in a note.
pub const MAX_OUTSIDE: usize = 16;

/// How long connecting may take, and one exchange with a witness in all.
const CONNECT: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(10);

/// The least time between two checkpoints for one witness.
const PACE: Duration = Duration::from_millis(500);

/// The same if some must be met: permits wait for them.
const PACE_REQUIRED: Duration = Duration::from_millis(10);

/// The pause after a failure: at first, and at most. It doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause if some must be met: so much later do permits leave once one is back.
const LONGEST_PAUSE_REQUIRED: Duration = Duration::from_secs(4);

/// How often a witness may say that it stands elsewhere before it has to wait.
const TURNS: usize = 3;

/// Largest reply: some lines.
const MAX_REPLY_BYTES: usize = 16 * 1024;

/// How long an unused connection is kept: less than the witness keeps it.
const IDLE: Duration = Duration::from_secs(5);

/// One of them, in `broker.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutsideConfig {
    /// Where it is asked, without `/add-checkpoint`: its submission prefix.
    pub url: String,
    /// Its verifier key, `name+id+key`, of type 04.
    pub key: String,
}

/// Why there is no cosignature.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Trouble {
    #[error("it can't be reached: {0}")]
    Unreachable(String),
    #[error("it did not answer in time")]
    TooSlow,
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("its answer is malformed")]
    Malformed,
    #[error("its answer has no cosignature by its key that verifies")]
    NotCosigned,
    #[error(
        "it has cosigned {0} entries of this log, more than there are: this may be an old copy"
    )]
    SawMore(u64),
    #[error("it has cosigned another log of {0} entries: this one was rewritten since")]
    SawOther(u64),
    #[error("it says each time that it stands elsewhere")]
    Unsettled,
    #[error("the log went on meanwhile")]
    Overtaken,
}

/// An outside witness.
pub struct Outside {
    key: VerifierKey,
    url: String,
    target: Uri,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// What it has cosigned since the start, and when.
    cosigned: Option<(u64, u64)>,
    error: Option<String>,
}

impl Outside {
    /// Those in a configuration.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(configs: &[OutsideConfig]) -> Result<Vec<Arc<Self>>, String> {
        if configs.len() > MAX_OUTSIDE {
            return Err(format!("more than {MAX_OUTSIDE} outside witnesses"));
        }
        let mut parsed: Vec<Arc<Self>> = Vec::with_capacity(configs.len());
        for config in configs {
            let outside = Self::new(config)?;
            let public = outside.key.public_key();
            if parsed.iter().any(|other| other.key.public_key() == public) {
                return Err(format!("the key `{}` is there twice", outside.key));
            }
            parsed.push(Arc::new(outside));
        }
        Ok(parsed)
    }

    /// All of them, if there are as many as are required.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn enough(all: Vec<Arc<Self>>, required: usize) -> Result<Vec<Arc<Self>>, String> {
        let known = all.len();
        if required > known {
            return Err(format!(
                "`outside_required` is {required}, and there are {known} `outside_witnesses`: no \
                 permit would ever leave"
            ));
        }
        Ok(all)
    }

    fn new(config: &OutsideConfig) -> Result<Self, String> {
        let OutsideConfig { url, key } = config;
        let parsed: VerifierKey = key.parse().map_err(|error| format!("`{key}`: {error}"))?;
        if parsed.kind() != SignatureType::CosignatureV1 {
            return Err(format!("`{key}` is not the key of a witness"));
        }
        let target = format!("{}/add-checkpoint", url.trim_end_matches('/'));
        let target: Uri = target
            .parse()
            .map_err(|error| format!("`{url}`: {error}"))?;
        let is_plain = target.scheme() == Some(&Scheme::HTTP) && target.query().is_none();
        if !is_plain || target.host().is_none_or(str::is_empty) {
            return Err(format!(
                "`{url}` is not of the form `http://HOST:PORT/PREFIX`; for HTTPS put a proxy on \
                 this side"
            ));
        }
        Ok(Self {
            key: parsed,
            url: url.clone(),
            target,
            seen: Mutex::default(),
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Each change is one assignment.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the operator sees of it.
    pub fn view(&self) -> OutsideWitness {
        let seen = self.seen();
        OutsideWitness {
            name: self.key.name().to_owned(),
            url: self.url.clone(),
            size: seen.cosigned.map_or(0, |(size, _)| size),
            cosigned_at_ms: seen.cosigned.map(|(_, at)| at),
            error: seen.error.clone(),
        }
    }
}

type HttpClient = Client<HttpConnector, Body>;

fn client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(1)
        .build(connector)
}

/// Asks one witness for each checkpoint that a quorum of the members has cosigned, until the broker
/// ends.
///
/// # Errors
/// None: what goes wrong is noted, and tried again.
pub(crate) async fn run(broker: Shared, outside: Arc<Outside>) -> Result<(), BrokerError> {
    let client = client();
    let mut changes = broker.witnesses.changes();
    let (mut at, mut done, mut pause) = (0, 0, FIRST_PAUSE);
    let (pace, longest) = match broker.witnesses.outside_required() {
        0 => (PACE, LONGEST_PAUSE),
        _ => (PACE_REQUIRED, LONGEST_PAUSE_REQUIRED),
    };
    loop {
        let published = broker.witnesses.for_outside();
        let rest = if published <= done {
            None
        } else {
            let asked = ask(&client, &outside, &broker.witnesses, published, &mut at);
            let outcome = tokio::select! {
                outcome = timeout(PATIENCE, asked) => outcome,
                // A witness that takes its time does not hold up the end.
                () = broker.shutdown.cancelled() => return Ok(()),
            };
            let outcome = outcome.unwrap_or(Err(Trouble::TooSlow));
            Some(match outcome {
                Err(Trouble::Overtaken) => pace,
                outcome if note(&outside, published, &outcome) => {
                    (done, pause) = (published, FIRST_PAUSE);
                    pace
                }
                _ => {
                    let now = pause;
                    pause = longest.min(2 * pause);
                    now
                }
            })
        };
        let wait = async {
            match rest {
                Some(rest) => sleep(rest).await,
                None => {
                    // An error is the end of the broker, which the other branch sees.
                    let _ = changes.changed().await;
                }
            }
        };
        tokio::select! {
            () = wait => {}
            () = broker.shutdown.cancelled() => return Ok(()),
        }
    }
}

/// Keeps the outcome for the operator. Whether it was a cosignature.
fn note(outside: &Outside, size: u64, outcome: &Result<(), Trouble>) -> bool {
    let name = outside.key.name();
    let mut seen = outside.seen();
    match outcome {
        Ok(()) => {
            if seen.error.take().is_some() {
                tracing::info!(name, size, "an outside witness cosigns again");
            }
            seen.cosigned = Some((size, clock::now().0));
            true
        }
        Err(trouble) => {
            let error = trouble.to_string();
            // Once for each new trouble, not for each try.
            if seen.error.as_ref() != Some(&error) {
                match trouble {
                    Trouble::SawMore(_) | Trouble::SawOther(_) => {
                        tracing::error!(name, size, %error, "an outside witness contradicts");
                    }
                    _ => tracing::warn!(name, size, %error, "an outside witness does not cosign"),
                }
            }
            seen.error = Some(error);
            false
        }
    }
}

/// Has it cosign the published checkpoint of this size; `at` is where it stands, as far as known.
async fn ask(
    client: &HttpClient,
    outside: &Outside,
    witnesses: &Witnesses,
    size: u64,
    at: &mut u64,
) -> Result<(), Trouble> {
    for _ in 0..TURNS {
        let offer = witnesses.offer_outside(*at, size);
        let offer = offer.ok_or(Trouble::Overtaken)?;
        let reply = post(client, outside, &offer).await?;
        let known = match reply.known_size(size, *at) {
            // Somebody else showed it a newer checkpoint of ours: nothing is wrong.
            Err(Trouble::SawMore(known)) if known <= witnesses.signed() => {
                return Err(Trouble::Overtaken);
            }
            known => known?,
        };
        match known {
            Some(known) => *at = known,
            None => {
                take(outside, witnesses, size, &reply.body)?;
                *at = size;
                return Ok(());
            }
        }
    }
    Err(Trouble::Unsettled)
}

struct Reply {
    status: StatusCode,
    body: Vec<u8>,
}

impl Reply {
    /// Where the witness says that it stands; `None` if it cosigned.
    fn known_size(&self, size: u64, at: u64) -> Result<Option<u64>, Trouble> {
        match self.status {
            StatusCode::OK => Ok(None),
            StatusCode::CONFLICT => {
                let known = self.size().ok_or(Trouble::Malformed)?;
                match known {
                    known if known > size => Err(Trouble::SawMore(known)),
                    // Two roots of one size, in version 1.0.0; later drafts say 422.
                    known if known == at => Err(Trouble::SawOther(known)),
                    known => Ok(Some(known)),
                }
            }
            StatusCode::UNPROCESSABLE_ENTITY => Err(Trouble::SawOther(at)),
            other => Err(Trouble::Status(other.as_u16())),
        }
    }

    /// A decimal number in its one spelling, and a newline.
    fn size(&self) -> Option<u64> {
        let text = str::from_utf8(&self.body).ok()?.strip_suffix('\n')?;
        let size: u64 = text.parse().ok()?;
        (size.to_string() == text).then_some(size)
    }
}

async fn post(client: &HttpClient, outside: &Outside, offer: &Offer) -> Result<Reply, Trouble> {
    let body = passerelle_audit::witness::AddCheckpoint {
        old_size: offer.old_size,
        proof: offer.proof.clone(),
        checkpoint: offer.checkpoint.parse().map_err(|_| Trouble::Overtaken)?,
    };
    let request = Request::post(outside.target.clone())
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(Body::from(body.to_string()))
        .map_err(|error| unreachable(&error))?;
    let response = client.request(request).await;
    let response = response.map_err(|error| unreachable(&error))?;
    let (head, body) = response.into_parts();
    let body = to_bytes(Body::new(body), MAX_REPLY_BYTES).await;
    Ok(Reply {
        status: head.status,
        body: body.map_err(|_| Trouble::Malformed)?.to_vec(),
    })
}

/// The outer error says only that there is an inner one.
fn unreachable(error: &dyn std::error::Error) -> Trouble {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    Trouble::Unreachable(inner.to_string())
}

/// Adds its cosignature to the checkpoint; lines of other keys are ignored.
fn take(outside: &Outside, witnesses: &Witnesses, size: u64, body: &[u8]) -> Result<(), Trouble> {
    let lines = str::from_utf8(body).map_err(|_| Trouble::Malformed)?;
    let lines = parse_signature_lines(lines).map_err(|_| Trouble::Malformed)?;
    let mut outcome = Err(Trouble::NotCosigned);
    for line in lines.into_iter().filter(|line| outside.key.claims(line)) {
        match witnesses.cosigned_outside(size, &outside.key, line) {
            Some(true) => return Ok(()),
            Some(false) => {}
            None => outcome = Err(Trouble::Overtaken),
        }
    }
    outcome
}

#[cfg(test)]
mod tests;
