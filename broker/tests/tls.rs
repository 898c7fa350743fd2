//! The broker's port as an attacker and an honest agency find it: real sockets, real handshakes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, as tests do"
)]

mod support;

use passerelle_broker::{
    acceptor::{Limits, Peer},
    ca::CertificateAuthority,
};
use rustls::{AlertDescription, HandshakeKind};
use std::{
    io::ErrorKind,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use support::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const SOON: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_valid_certificate_names_its_agency() {
    let port = Port::open(Limits::default()).await;
    let agency = port.agency("police-nord");
    assert_eq!(port.greeting(&agency.config).await.unwrap(), "police-nord");
}

#[tokio::test]
async fn without_a_certificate_there_is_no_agency() {
    let port = Port::open(Limits::default()).await;
    assert_eq!(port.greeting(&port.anonymous()).await.unwrap(), "-");
}

#[tokio::test]
async fn a_certificate_of_another_root_is_refused_not_taken_for_none() {
    let port = Port::open(Limits::default()).await;
    let foreign = CertificateAuthority::create(&federation("nord"), now(), [7; 16]).unwrap();
    let agency = agency_of(&foreign, "police-nord", DAY_S, &port.authority);
    port.greeting(&agency.config).await.unwrap_err();
    assert!(port.connections.is_empty());
}

#[tokio::test]
async fn a_certificate_of_another_federation_is_refused() {
    // The same root, so that nothing but the name differs.
    let root = CertificateAuthority::create(&federation("sud"), now(), [7; 16]).unwrap();
    let port = Port::open_with(root, "nord", Limits::default()).await;
    let agency = port.agency("police-nord");
    port.greeting(&agency.config).await.unwrap_err();
    assert_eq!(port.greeting(&port.anonymous()).await.unwrap(), "-");
}

#[tokio::test]
async fn the_brokers_own_certificate_is_refused_at_a_client() {
    let port = Port::open(Limits::default()).await;
    let issued = port
        .authority
        .issue_server(&["localhost"], now(), DAY_S)
        .unwrap();
    let config = client_config(&port.authority, Some((&issued.chain_pem, &issued.key_pem)));
    port.greeting(&config).await.unwrap_err();
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_at_a_new_handshake() {
    let port = Port::open(Limits::default()).await;
    let (revoked, other) = (port.agency("police-nord"), port.agency("clinic"));
    assert_eq!(
        port.connections.revoke(&revoked.serial_hex.to_uppercase()),
        0
    );
    let refused = port.greeting(&revoked.config).await.unwrap_err();
    let reason = refused.get_ref().and_then(|e| e.downcast_ref());
    // The one reason that the agency is told, so that it knows to enrol again.
    let told = rustls::Error::AlertReceived(AlertDescription::CertificateRevoked);
    assert_eq!(reason, Some(&told));
    assert_eq!(port.greeting(&other.config).await.unwrap(), "clinic");
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_on_a_resumed_session() {
    let port = Port::open(Limits::default()).await;
    let agency = port.agency("police-nord");
    assert_eq!(port.greeting(&agency.config).await.unwrap(), "police-nord");

    let mut resumed = port.connect(&agency.config).await.unwrap();
    assert_eq!(
        resumed.get_ref().1.handshake_kind(),
        Some(HandshakeKind::Resumed)
    );
    assert_eq!(
        line(&mut resumed).await.unwrap(),
        "police-nord",
        "resumption keeps the identity"
    );
    drop(resumed);

    port.connections.revoke(&agency.serial_hex);
    let mut refused = port.connect(&agency.config).await.unwrap();
    let kind = refused.get_ref().1.handshake_kind();
    assert_eq!(
        kind,
        Some(HandshakeKind::Resumed),
        "else the verifier refused, not the acceptor"
    );
    line(&mut refused).await.unwrap_err();
}

#[tokio::test]
async fn an_expired_certificate_is_refused_on_a_resumed_session() {
    let port = Port::open(Limits::default()).await;
    let agency = port.agency("police-nord");
    port.greeting(&agency.config).await.unwrap();
    port.clock_ahead_s.store(DAY_S + 1, Ordering::SeqCst);
    let mut refused = port.connect(&agency.config).await.unwrap();
    assert_eq!(
        refused.get_ref().1.handshake_kind(),
        Some(HandshakeKind::Resumed)
    );
    line(&mut refused).await.unwrap_err();
}

#[tokio::test]
async fn revocation_cuts_live_connections_that_wait_to_read_or_to_write() {
    let mut port = Port::open(Limits::default()).await;
    let (revoked, other) = (port.agency("police-nord"), port.agency("clinic"));
    let mut reading = port.connect(&revoked.config).await.unwrap();
    let mut flooded = port.connect(&revoked.config).await.unwrap();
    let mut spared = port.connect(&other.config).await.unwrap();
    for stream in [&mut reading, &mut flooded, &mut spared] {
        line(stream).await.unwrap();
    }
    // The server then writes until nobody takes it any more, and waits.
    flooded.write_all(FLOOD).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(port.connections.len(), 3);

    let began = Instant::now();
    assert_eq!(port.connections.revoke(&revoked.serial_hex), 2);
    let end = timeout(SOON, reading.read(&mut [0; 16]))
        .await
        .expect("cut within a second");
    assert!(!matches!(end, Ok(n) if n > 0));
    while port.connections.len() > 1 {
        assert!(began.elapsed() < SOON, "both are closed and unregistered");
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        port.server_errors(2).await,
        [ErrorKind::ConnectionAborted; 2]
    );
    spared.write_all(b"still here\n").await.unwrap();
    assert_eq!(line(&mut spared).await.unwrap(), "still here");
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate() {
    let port = Port::open(Limits::default()).await;
    let agency = agency_of(&port.authority, "police-nord", 2, &port.authority);
    let mut stream = port.connect(&agency.config).await.unwrap();
    line(&mut stream).await.unwrap();
    let end = timeout(Duration::from_secs(4), stream.read(&mut [0; 1]))
        .await
        .expect("cut");
    assert!(!matches!(end, Ok(n) if n > 0));
}

#[tokio::test]
async fn garbage_and_slow_handshakes_hold_up_nobody() {
    let limits = Limits {
        handshakes: 8,
        handshake_timeout: Duration::from_millis(1_500),
        ..Limits::default()
    };
    let port = Port::open(limits).await;
    let mut slow = Vec::new();
    for _ in 0..5 {
        slow.push(TcpStream::connect(port.address).await.unwrap());
    }
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 64],
        &[0x16, 3, 1, 0xff, 0xff],
    ] {
        let mut tcp = TcpStream::connect(port.address).await.unwrap();
        tcp.write_all(garbage).await.unwrap();
        slow.push(tcp);
    }
    let agency = port.agency("police-nord");
    let greeting = timeout(SOON, port.greeting(&agency.config))
        .await
        .expect("not held up");
    assert_eq!(greeting.unwrap(), "police-nord");
    // Nor do they stay.
    for mut tcp in slow {
        let mut rest = Vec::new();
        let end = timeout(Duration::from_secs(3), tcp.read_to_end(&mut rest)).await;
        end.expect("closed after the timeout").ok();
    }
}

#[tokio::test]
async fn more_slow_handshakes_than_places_only_delay() {
    let limits = Limits {
        handshakes: 2,
        handshake_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let port = Port::open(limits).await;
    let mut slow = Vec::new();
    for _ in 0..6 {
        slow.push(TcpStream::connect(port.address).await.unwrap());
    }
    let agency = port.agency("police-nord");
    let late = timeout(Duration::from_secs(5), port.greeting(&agency.config)).await;
    assert_eq!(late.expect("let in at last").unwrap(), "police-nord");
    // A handshake gives its place back, however it ended.
    for _ in 0..4 {
        let next = timeout(SOON, port.greeting(&agency.config)).await;
        assert_eq!(next.expect("let in").unwrap(), "police-nord");
    }
}

#[tokio::test]
async fn those_without_a_certificate_cannot_take_the_places_of_agencies() {
    let limits = Limits {
        anonymous_connections: 2,
        ..Limits::default()
    };
    let port = Port::open(limits).await;
    let anonymous = port.anonymous();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = port.connect(&anonymous).await.unwrap();
        line(&mut stream).await.unwrap();
        held.push(stream);
    }
    port.greeting(&anonymous).await.unwrap_err();
    let agency = port.agency("police-nord");
    assert_eq!(port.greeting(&agency.config).await.unwrap(), "police-nord");
    // A place that is left is free again.
    drop(held.pop());
    port.greeting_within(&anonymous, SOON).await;
}

#[tokio::test]
async fn connections_are_capped_in_all_and_for_each_certificate() {
    let limits = Limits {
        agency_connections: 3,
        per_certificate: 2,
        ..Limits::default()
    };
    let port = Port::open(limits).await;
    let (greedy, modest, late) = (port.agency("aa"), port.agency("bb"), port.agency("cc"));
    let mut held = Vec::new();
    for config in [&greedy.config, &greedy.config] {
        let mut stream = port.connect(config).await.unwrap();
        line(&mut stream).await.unwrap();
        held.push(stream);
    }
    port.greeting(&greedy.config).await.unwrap_err();
    let mut stream = port.connect(&modest.config).await.unwrap();
    assert_eq!(line(&mut stream).await.unwrap(), "bb");
    port.greeting(&late.config).await.unwrap_err();
    drop(held);
    port.greeting_within(&late.config, SOON).await;
}

#[tokio::test]
async fn a_connection_without_a_certificate_ends_by_itself() {
    let limits = Limits {
        anonymous_lifetime: Duration::from_millis(200),
        ..Limits::default()
    };
    let port = Port::open(limits).await;
    let mut stream = port.connect(&port.anonymous()).await.unwrap();
    line(&mut stream).await.unwrap();
    let end = timeout(SOON, stream.read(&mut [0; 1])).await.expect("cut");
    assert!(!matches!(end, Ok(n) if n > 0));
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart() {
    let port = Port::open(Limits::default()).await;
    let before = port.connect(&port.anonymous()).await.unwrap();
    let issued = port
        .authority
        .issue_server(&["localhost"], now(), DAY_S)
        .unwrap();
    port.certificate.replace(b"", &issued.key_pem).unwrap_err();
    let other = port
        .authority
        .issue_server(&["localhost"], now(), DAY_S)
        .unwrap();
    let mixed = port
        .certificate
        .replace(issued.chain_pem.as_bytes(), &other.key_pem);
    mixed.unwrap_err();
    let still = port.connect(&port.anonymous()).await.unwrap();
    assert_eq!(
        leaf_of(&still),
        leaf_of(&before),
        "a refused replacement changes nothing"
    );
    port.certificate
        .replace(issued.chain_pem.as_bytes(), &issued.key_pem)
        .unwrap();
    let after = port.connect(&port.anonymous()).await.unwrap();
    assert_ne!(leaf_of(&after), leaf_of(&before));
}

#[tokio::test]
async fn the_port_closes_with_the_stream() {
    let port = Port::open(Limits::default()).await;
    let address = port.address;
    drop(port);
    let began = Instant::now();
    while TcpStream::connect(address).await.is_ok() {
        assert!(began.elapsed() < SOON);
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_service_sees_the_peer_and_a_live_call_ends_with_revocation() {
    let root = CertificateAuthority::create(&federation("nord"), now(), [9; 16]).unwrap();
    let (port, incoming) = Port::bare(root, "nord", Limits::default()).await;
    let (seen, mut peers) = tokio::sync::mpsc::unbounded_channel();
    let (_reporter, health) = tonic_health::server::health_reporter();
    let watched = tonic::service::interceptor::InterceptedService::new(
        health,
        move |request: tonic::Request<()>| {
            let _ = seen.send(request.extensions().get::<Peer>().cloned());
            Ok(request)
        },
    );
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(watched)
            .serve_with_incoming(incoming),
    );
    let agency = port.agency("police-nord");
    let connector = TestConnector {
        address: port.address,
        config: agency.config.clone(),
    };
    let channel = tonic::transport::Endpoint::from_static("https://localhost")
        .connect_with_connector(connector)
        .await
        .unwrap();
    let mut client = HealthClient::new(channel);
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let mut watch = client.watch(request).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    let peer = peers.recv().await.unwrap().unwrap();
    assert_eq!(peer.agency.unwrap().as_str(), "police-nord");
    assert_eq!(peer.serial.as_deref(), Some(agency.serial_hex.as_str()));

    assert_eq!(port.connections.revoke(&agency.serial_hex), 1);
    let end = timeout(SOON, watch.message())
        .await
        .expect("cut within a second");
    end.unwrap_err();
}
