//! Witnesses of Passerelle behind HTTP on loopback, for Tessera to ask: the product's rule and
//! signature (tlog-witness), with just enough of HTTP around them.

use anyhow::{Context as _, Result, ensure};
use passerelle_audit::{
    cosignature::Cosigner,
    keys::SigningKey,
    note::VerifierKey,
    witness::{AddCheckpoint, MAX_REQUEST_BYTES, WitnessError, WitnessState},
};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// When they say they have cosigned: later than any clock of a machine that runs this.
const TIME_S: u64 = 4_000_000_000;

/// A request that was answered with a cosignature.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// Its body.
    pub(crate) body: String,
    /// What the witness had seen before.
    pub(crate) before: WitnessState,
}

/// Some witnesses, each on a port of its own, until the process ends.
pub(crate) struct Witnesses {
    /// Their keys.
    pub(crate) keys: Vec<VerifierKey>,
    /// Where they are asked, without `/add-checkpoint`.
    pub(crate) urls: Vec<String>,
    served: Vec<Arc<Mutex<Served>>>,
}

struct Served {
    cosigner: Cosigner,
    log: VerifierKey,
    state: WitnessState,
    answered: Vec<Answered>,
    conflicts: usize,
}

impl Witnesses {
    /// Serves witnesses of this log with these names and seeds.
    pub(crate) fn serve(log: &VerifierKey, signers: &[(String, [u8; 32])]) -> Result<Self> {
        let mut made = Self {
            keys: Vec::new(),
            urls: Vec::new(),
            served: Vec::new(),
        };
        for (name, seed) in signers {
            let cosigner = Cosigner::new(name, SigningKey::from_seed(seed))?;
            let listener = TcpListener::bind("127.0.0.1:0")?;
            made.keys.push(cosigner.verifier_key().clone());
            made.urls
                .push(format!("http://{}/", listener.local_addr()?));
            let served = Arc::new(Mutex::new(Served {
                cosigner,
                log: log.clone(),
                state: WitnessState::default(),
                answered: Vec::new(),
                conflicts: 0,
            }));
            made.served.push(served.clone());
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    // Whoever asked sees that there is no answer.
                    let _ = answer(stream, &served);
                }
            });
        }
        Ok(made)
    }

    /// What the first of them has answered, and how often all have answered with a conflict.
    pub(crate) fn answered(&self) -> Result<(Vec<Answered>, usize)> {
        let mut conflicts = 0;
        let mut first = None;
        for served in &self.served {
            let served = served.lock().ok().context("a witness has panicked")?;
            conflicts += served.conflicts;
            first.get_or_insert_with(|| served.answered.clone());
        }
        Ok((first.unwrap_or_default(), conflicts))
    }
}

fn answer(stream: TcpStream, served: &Mutex<Served>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream).take(MAX_REQUEST_BYTES as u64 + 8192);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let is_asked = line.starts_with("POST /add-checkpoint HTTP/1.1");
    let mut length = 0;
    loop {
        line.clear();
        ensure!(reader.read_line(&mut line)? > 0, "no end of the head");
        match line.trim_end().to_ascii_lowercase().split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; usize::min(length, MAX_REQUEST_BYTES)];
    reader.read_exact(&mut body)?;
    let mut served = served.lock().ok().context("a witness has panicked")?;
    let (status, kind, text) = match is_asked {
        true => served.consider(&String::from_utf8(body)?)?,
        false => (404, "text/plain", String::new()),
    };
    let length = text.len();
    let mut stream = reader.into_inner().into_inner();
    write!(
        stream,
        "HTTP/1.1 {status} Answer\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{text}"
    )?;
    Ok(stream.flush()?)
}

impl Served {
    fn consider(&mut self, body: &str) -> Result<(u16, &'static str, String)> {
        let plain = "text/plain; charset=utf-8";
        let refused = |error: &WitnessError| (error.http_status(), plain, format!("{error}\n"));
        let request: AddCheckpoint = match body.parse() {
            Ok(request) => request,
            Err(error) => return Ok(refused(&error)),
        };
        match request.consider(&self.state, &self.log) {
            Err(WitnessError::Conflict { size }) => {
                self.conflicts += 1;
                Ok((409, "text/x.tlog.size", format!("{size}\n")))
            }
            Err(error) => Ok(refused(&error)),
            Ok(accepted) => {
                let line = self.cosigner.cosign(&accepted, TIME_S)?;
                let before = std::mem::replace(&mut self.state, accepted.state());
                let body = body.to_owned();
                self.answered.push(Answered { body, before });
                Ok((200, plain, line.to_string()))
            }
        }
    }
}
