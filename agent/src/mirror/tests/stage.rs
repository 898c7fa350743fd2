//! An agent whose broker shows what the test wants.

use crate::{
    clock::{Clock, ManualClock},
    core::{Core, Writer},
    inbound::take_in,
    link::{Evaluator, LinkOwner, link},
    mirror::{
        Mirror,
        follow::{Step, Trouble, round},
    },
    node::Node,
    testing::{Federation, NAMES, NOW, agency},
};
use passerelle_model::{
    entry::EntryBody,
    error::ErrorCode,
    ids::{FederationId, RequestId},
    vocabulary::Sector,
};
use passerelle_proto::{
    convert,
    v1::{
        self,
        log_read_server::{LogRead, LogReadServer},
    },
};
use std::sync::{Arc, Mutex};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{
    Request, Response, Status,
    transport::{Endpoint, Server},
};

/// The oversight body of these tests.
const ME: &str = "mentors";

pub(crate) fn federation_id() -> FederationId {
    "nord".parse().unwrap()
}

/// What the broker shows.
#[derive(Clone, Default)]
pub(crate) struct Shown {
    pub(crate) note: Option<String>,
    pub(crate) rows: Vec<v1::LogRow>,
}

struct Fake(Arc<Mutex<Shown>>);

#[tonic::async_trait]
impl LogRead for Fake {
    type BundleStream = ReceiverStream<Result<v1::BundleChunk, Status>>;
    type EntriesStream = ReceiverStream<Result<v1::LogRow, Status>>;

    async fn latest_checkpoint(
        &self,
        _: Request<v1::LatestCheckpointRequest>,
    ) -> Result<Response<v1::LatestCheckpointResponse>, Status> {
        let note = self.0.lock().unwrap().note.clone();
        let checkpoint = note.ok_or_else(|| convert::status(ErrorCode::NoQuorum))?;
        Ok(Response::new(v1::LatestCheckpointResponse { checkpoint }))
    }

    async fn bundle(
        &self,
        _: Request<v1::BundleRequest>,
    ) -> Result<Response<Self::BundleStream>, Status> {
        Err(convert::status(ErrorCode::UnknownBundle))
    }

    async fn entries(
        &self,
        request: Request<v1::EntriesRequest>,
    ) -> Result<Response<Self::EntriesStream>, Status> {
        let v1::EntriesRequest { from, until } = request.into_inner();
        let rows = self.0.lock().unwrap().rows.clone();
        let (sender, stream) = tokio::sync::mpsc::channel(rows.len() + 1);
        for row in rows
            .into_iter()
            .skip(from as usize)
            .take((until - from) as usize)
        {
            sender.send(Ok(row)).await.unwrap();
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// A log, and what is in it.
pub(crate) struct Log {
    pub(crate) federation: Federation,
    pub(crate) entries: Vec<Vec<u8>>,
}

impl Log {
    /// With the enrolments of all, and so many entries; those from `own` on are this log's alone.
    pub(crate) fn new(size: u8, own: u8, branch: u8) -> Self {
        let mut federation = Federation::new();
        let enrolments = federation.enrolments(&NAMES);
        let mut log = Self {
            entries: enrolments.into_iter().map(|n| n.entry).collect(),
            federation,
        };
        for n in 0..size {
            log.add(n, if n < own { 0 } else { branch });
        }
        log
    }

    pub(crate) fn add(&mut self, n: u8, branch: u8) {
        let mut random = [n; 16];
        random[0] = branch;
        let request = RequestId::from_random(random);
        let body = EntryBody::Expired { request };
        self.entries
            .push(self.federation.notice(NOW, body, &NAMES).entry);
    }

    pub(crate) fn note(&self) -> String {
        self.federation.checkpoint(&NAMES)
    }
}

pub(crate) struct Stage {
    pub(crate) node: Node,
    pub(crate) mirror: Arc<Mirror>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) link: LinkOwner,
    pub(crate) shown: Arc<Mutex<Shown>>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) _writer: Writer,
    pub(crate) server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shown = Arc::new(Mutex::new(Shown::default()));
        let service = LogReadServer::new(Fake(Arc::clone(&shown)));
        let server = Server::builder().add_service(service);
        let server = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let dir = tempfile::tempdir().unwrap();
        let mut federation = Federation::new();
        let mut context = federation.context(ME, dir.path());
        context.identity.membership.sector = Sector::Oversight;
        let log = context.identity.anchors.log.clone();
        let context = Arc::new(context);
        let (core, writer) = Core::start(dir.path(), agency(ME), context.vault.clone()).unwrap();
        for notice in federation.enrolments(&NAMES) {
            let context = Arc::clone(&context);
            let taken = core.write(NOW, move |view| {
                Ok((take_in(&context, view, notice, NOW)?, ()))
            });
            taken.await.unwrap();
        }
        let mirror = Arc::new(Mirror::open(dir.path(), &federation_id(), &log).unwrap());
        let (owner, link) = link();
        let clock = Arc::new(ManualClock::new(NOW));
        let (evaluator, _) = Evaluator::new(link.clone());
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let node = Node {
            context,
            core,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            link,
            evaluator,
            channel: channel.connect_lazy(),
            mirror: Some(Arc::clone(&mirror)),
        };
        Self {
            node,
            mirror,
            clock,
            link: owner,
            shown,
            dir,
            _writer: writer,
            server,
        }
    }

    /// The broker shows this log from now on.
    pub(crate) fn shows(&self, log: &Log) {
        let row = |(index, entry): (usize, &Vec<u8>)| v1::LogRow {
            index: index as u64,
            entry: entry.clone(),
            ..v1::LogRow::default()
        };
        let rows = log.entries.iter().enumerate().map(row).collect();
        let note = Some(log.note());
        *self.shown.lock().unwrap() = Shown { note, rows };
    }

    pub(crate) async fn rounds(&self, count: usize) {
        for _ in 0..count {
            // What is wrong is in the alerts.
            let _ = round(&self.node, &self.mirror).await;
        }
    }

    /// The alerts but the one that these entries, which begin without a founding, deserve.
    pub(crate) fn alerts(&self) -> Vec<(String, Option<String>)> {
        let alerts = self.node.context.alerts.all().into_iter();
        let others = alerts.filter(|alert| alert.code != "entry_invalid");
        others.map(|alert| (alert.code, alert.proof)).collect()
    }

    pub(crate) async fn step(&self) -> Result<Step, Trouble> {
        self.mirror.step(&self.node).await
    }

    /// The agent's mirror as after a crash.
    pub(crate) fn reopen(&mut self) {
        let empty = tempfile::tempdir().unwrap();
        let log = self.node.context.identity.anchors.log.clone();
        // Whoever holds the old one lets go of it, and of its lock.
        let other = Arc::new(Mirror::open(empty.path(), &federation_id(), &log).unwrap());
        self.node.mirror = None;
        self.mirror = other;
        self.mirror = Arc::new(Mirror::open(self.dir.path(), &federation_id(), &log).unwrap());
        self.node.mirror = Some(Arc::clone(&self.mirror));
    }

    pub(crate) fn stored(&self) -> Vec<Vec<u8>> {
        let mut stored = Vec::new();
        let each = &mut |entry| {
            stored.push(entry);
            Ok(())
        };
        self.mirror.read(0, u64::MAX, each).unwrap();
        stored
    }

    pub(crate) fn verified(&self) -> u64 {
        self.mirror.verified().map_or(0, |verified| verified.size())
    }
}
