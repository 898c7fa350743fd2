//! The session against brokers that fail.

use crate::{
    clock::ManualClock,
    core::{Core, Writer},
    event::Event,
    facts::csv_import::{ImportedPerson, SourceId},
    inbound::take_in,
    link::{Evaluation, Evaluator, LinkOwner, link},
    node::Node,
    person::Person,
    requester::{self, Question},
    session, state,
    testing::{Federation, NOW, agency, damage_key, question},
};
use passerelle_model::{bytes::Digest, error::ErrorCode};
use passerelle_proto::{
    PROTOCOL, convert,
    v1::{
        self,
        exchange_server::{Exchange, ExchangeServer},
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Endpoint, Server},
};

struct World {
    node: Node,
    owner: LinkOwner,
    evaluations: mpsc::Receiver<Evaluation>,
    _writer: Writer,
    _dir: tempfile::TempDir,
}

fn world(address: &str) -> World {
    let dir = tempfile::tempdir().unwrap();
    let federation = Federation::new();
    let context = Arc::new(federation.context("clinic", dir.path()));
    let (core, writer) = Core::start(dir.path(), agency("clinic"), context.vault.clone()).unwrap();
    let (owner, link) = link();
    let (evaluator, evaluations) = Evaluator::new(link.clone());
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap();
    World {
        node: Node {
            context,
            core,
            clock: Arc::new(ManualClock::new(NOW)),
            link,
            evaluator,
            channel: channel.connect_lazy(),
            mirror: None,
        },
        owner,
        evaluations,
        _writer: writer,
        _dir: dir,
    }
}

/// Refuses every stream, as a broker whose disk is full.
struct Broken(Arc<AtomicUsize>);

#[tonic::async_trait]
impl Exchange for Broken {
    type AttachStream = ReceiverStream<Result<v1::BrokerFrame, Status>>;

    async fn attach(
        &self,
        _: Request<Streaming<v1::AgentFrame>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(convert::status(ErrorCode::Storage))
    }
}

#[tokio::test]
async fn a_broker_whose_disk_fails_does_not_end_the_session() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let attempts = Arc::new(AtomicUsize::new(0));
    let service = ExchangeServer::new(Broken(Arc::clone(&attempts)));
    let server = Server::builder().add_service(service);
    let server = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let world = world(&address);
    let link = world.node.link.clone();
    let (stop, stopped) = watch::channel(false);
    let session = session::run(world.node, world.owner, world.evaluations, stopped);
    let session = tokio::spawn(session);
    let tried_again = async {
        while attempts.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), tried_again).await.unwrap();
    assert!(!session.is_finished());
    assert_eq!(link.state().last_error, Some(ErrorCode::Unavailable));
    stop.send_replace(true);
    timeout(Duration::from_secs(20), session)
        .await
        .unwrap()
        .unwrap();
    server.abort();
}

#[tokio::test]
async fn handles_that_are_missing_are_asked_for_until_they_come() {
    let World {
        node,
        owner,
        mut evaluations,
        ..
    } = world("127.0.0.1:1");
    owner.up();
    let completing = tokio::spawn(session::complete_handles(node.clone()));
    // Imported after the stream came up, and the import's own attempt failed.
    let people = vec![ImportedPerson {
        source_id: SourceId("c-1".into()),
        person: Person::new("Roy", "Noé", "2001-01-01".parse().unwrap(), None).unwrap(),
        facts: Vec::new(),
        digest: Digest([1; 32]),
    }];
    let import = "i".to_owned();
    let events = vec![
        Event::ImportChunk {
            import: import.clone(),
            part: 0,
            people,
        },
        Event::ImportCommitted { import, parts: 1 },
    ];
    let written = node.core.write(NOW, move |_| Ok((events, ()))).await;
    written.unwrap();
    for _ in 0..2 {
        let asked = timeout(Duration::from_secs(20), evaluations.recv()).await;
        let asked = asked.unwrap().unwrap();
        assert_eq!(asked.blinded.len(), 1);
        let _ = asked.reply.send(Err(ErrorCode::Unavailable));
    }
    completing.abort();
}

/// Takes every stream, and says nothing more.
struct Welcoming(mpsc::Sender<mpsc::Sender<Result<v1::BrokerFrame, Status>>>);

#[tonic::async_trait]
impl Exchange for Welcoming {
    type AttachStream = ReceiverStream<Result<v1::BrokerFrame, Status>>;

    async fn attach(
        &self,
        _: Request<Streaming<v1::AgentFrame>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (frames, stream) = mpsc::channel(8);
        let welcome = v1::broker_frame::Frame::Welcome(v1::Welcome {
            protocol: PROTOCOL,
            ..v1::Welcome::default()
        });
        let frame = Some(welcome);
        let _ = frames.send(Ok(v1::BrokerFrame { frame })).await;
        // Kept, so that the stream stays open.
        let _ = self.0.send(frames).await;
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[tokio::test]
async fn a_request_whose_secrets_are_damaged_is_given_up_and_holds_up_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (streams, mut attached) = mpsc::channel(8);
    let server = Server::builder().add_service(ExchangeServer::new(Welcoming(streams)));
    let server = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let World {
        node,
        owner,
        evaluations,
        _dir: dir,
        ..
    } = world(&address);
    let question = Question {
        holder: agency("police"),
        ..question(&node.context.config.workers[0])
    };
    let trust = Federation::new().trust("clinic");
    let (request, stated) = requester::ask(&node.context, &trust, question, NOW).unwrap();
    damage_key(&node.context, dir.path(), &request);
    // Without rules nothing would be sent at all.
    let (beginning, context) = (Federation::new().founding(), Arc::clone(&node.context));
    let heard = node.core.write(NOW, move |view| {
        Ok((take_in(&context, view, beginning, NOW)?, ()))
    });
    heard.await.unwrap();
    let events = vec![Event::Stated(Box::new(stated))];
    let written = node.core.write(NOW, move |_| Ok((events, ()))).await;
    written.unwrap();
    let (_stop, stopped) = watch::channel(false);
    let session = tokio::spawn(session::run(node.clone(), owner, evaluations, stopped));
    let _stream = timeout(Duration::from_secs(20), attached.recv()).await;
    let row = state::key::of(state::key::ASK, request.as_str().as_bytes());
    let found = node.wait_for(Duration::from_secs(20), row, |node| {
        let row = state::ask(node.core.view(), &request).unwrap().unwrap();
        Ok((row.status == passerelle_model::request::Status::Stopped).then_some(row.stopped))
    });
    assert_eq!(found.await.unwrap(), Some(Some("storage".to_owned())));
    assert!(node.link.is_up(), "the stream goes on");
    session.abort();
    server.abort();
}
