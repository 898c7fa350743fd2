//! Checkpoints of others against what this agency knows.

use super::{Compared, compare, http};
use crate::mirror::tests::stage::{Log, Stage};
use passerelle_audit::{checkpoint::open, fork::ForkProof};
use std::sync::Arc;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

const PEER: &str = "http://127.0.0.1:1";

fn weighed(stage: &Stage, log: &Log) -> Compared {
    compare(&stage.node, PEER, &log.note()).unwrap()
}

/// The sizes of the two checkpoints in the one proof that there is.
fn proven(stage: &Stage) -> (u64, u64) {
    let alerts = stage.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0].0, "forked");
    let proof = std::fs::read_to_string(alerts[0].1.as_ref().unwrap()).unwrap();
    let key = &stage.node.context.identity.anchors.log;
    let fork = ForkProof::parse(&proof).unwrap().check(key).unwrap();
    (fork.smaller().size(), fork.larger().size())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_mirror_every_size_that_it_has_is_compared() {
    for (other, sizes) in [(Log::new(5, 3, 1), (8, 8)), (Log::new(3, 2, 1), (6, 8))] {
        let stage = Stage::new().await;
        stage.shows(&Log::new(5, 0, 0));
        stage.step().await.unwrap();
        for size in [0, 1, 4, 5] {
            assert_eq!(weighed(&stage, &Log::new(size, 0, 0)), Compared::Agrees);
        }
        for longer in [Log::new(6, 0, 0), Log::new(6, 1, 1)] {
            assert_eq!(weighed(&stage, &longer), Compared::NotKnown);
        }
        assert!(stage.alerts().is_empty());
        for _ in 0..2 {
            assert_eq!(weighed(&stage, &other), Compared::Contradicts);
        }
        assert_eq!(proven(&stage), sizes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_mirror_what_the_witness_cosigned_is_compared() {
    let mut stage = Stage::new().await;
    stage.node.mirror = None;
    let log = Log::new(5, 0, 0);
    assert_eq!(weighed(&stage, &log), Compared::NotKnown);
    let key = stage.node.context.identity.anchors.log.clone();
    for size in [4, 5] {
        let signed = open(&Log::new(size, 0, 0).note(), &key).unwrap();
        stage.node.context.forks.accepted(&signed);
    }
    assert_eq!(weighed(&stage, &log), Compared::Agrees);
    assert_eq!(weighed(&stage, &Log::new(4, 0, 0)), Compared::Agrees);
    assert_eq!(weighed(&stage, &Log::new(3, 0, 0)), Compared::NotKnown);
    assert_eq!(weighed(&stage, &Log::new(4, 2, 1)), Compared::Contradicts);
    assert_eq!(proven(&stage), (7, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_did_not_sign_is_no_checkpoint() {
    let stage = Stage::new().await;
    stage.shows(&Log::new(5, 0, 0));
    stage.step().await.unwrap();
    let other = Log::new(5, 3, 1).note();
    for (what, note) in [
        ("nothing", String::new()),
        ("text", "hello\n".to_owned()),
        ("another size", other.replace("log.test\n8", "log.test\n7")),
        (
            "without signatures",
            other.split_inclusive("\n\n").next().unwrap().to_owned(),
        ),
        ("another log", other.replace("log.test", "log.other")),
    ] {
        assert!(compare(&stage.node, PEER, &note).is_err(), "{what}");
    }
    assert!(stage.alerts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_of_the_mirror_is_shown_and_fetched() {
    let stage = Stage::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = format!("http://{}", listener.local_addr().unwrap());
    let node = stage.node.clone();
    let server = tokio::spawn(async move { http::serve(&node, listener).await });
    assert_eq!(
        http::fetch(&peer).await,
        Err("it has no checkpoint now".to_owned())
    );
    let log = Log::new(5, 0, 0);
    stage.shows(&log);
    stage.step().await.unwrap();
    let note = http::fetch(&peer).await.unwrap();
    assert_eq!(compare(&stage.node, &peer, &note), Ok(Compared::Agrees));
    let key = &stage.node.context.identity.anchors.log;
    assert_eq!(open(&note, key).unwrap().checkpoint().size(), 8);
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_sends_without_end_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = format!("http://{}", listener.local_addr().unwrap());
    let ended = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&ended);
    let server = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut sent = tcp.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while sent.is_ok() {
            sent = tcp.write_all(&[b'x'; 65_536]).await;
        }
        told.notify_one();
    });
    assert_eq!(
        http::fetch(&peer).await,
        Err("its reply is too long".to_owned())
    );
    ended.notified().await;
    server.await.unwrap();
}
