//! The agent's connector against servers that are the broker and servers that only look like it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    x509::{
        X509, X509Builder, X509Name, X509Req,
        extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName},
    },
};
use passerelle_agent::{
    csr::{TlsIdentity, new_key_and_csr},
    tls_client::{BrokerConnector, ConnectError, EnrolmentConnector, root_has_fingerprint},
};
use passerelle_model::{bytes::Digest, error::ErrorCode, ids::FederationId};
use rustls::{
    HandshakeKind, RootCertStore, ServerConfig, crypto::aws_lc_rs, server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, client::TlsStream};

const BROKER: &str = "passerelle-broker://nord";

fn nord() -> FederationId {
    "nord".parse().unwrap()
}

/// A certificate with its key.
struct Node {
    certificate: X509,
    key: PKey<Private>,
}

#[derive(Clone, Copy, PartialEq)]
enum Usage {
    Root,
    Server,
    Client,
}

/// What a certificate says; the default is an honest broker's.
#[derive(Clone)]
struct Claims {
    uris: Vec<&'static str>,
    usage: Usage,
    ends_in_s: i64,
}

impl Default for Claims {
    fn default() -> Self {
        Self {
            uris: vec![BROKER],
            usage: Usage::Server,
            ends_in_s: 3_600,
        }
    }
}

fn certificate(
    key: &PKey<openssl::pkey::Public>,
    claims: &Claims,
    issuer: Option<&Node>,
    own: &PKey<Private>,
) -> X509 {
    let now = i64::try_from(UnixTime::now().as_secs()).unwrap();
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, "test").unwrap();
    let name = name.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_slice(&[0x41; 16])
        .unwrap()
        .to_asn1_integer()
        .unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(key).unwrap();
    builder
        .set_not_before(&Asn1Time::from_unix(now - 7_200).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::from_unix(now + claims.ends_in_s).unwrap())
        .unwrap();
    let mut constraints = BasicConstraints::new();
    let mut usage = ExtendedKeyUsage::new();
    match claims.usage {
        Usage::Root => drop(constraints.critical().ca()),
        Usage::Server => drop(usage.server_auth()),
        Usage::Client => drop(usage.client_auth()),
    }
    builder
        .append_extension(constraints.build().unwrap())
        .unwrap();
    if claims.usage != Usage::Root {
        builder.append_extension(usage.build().unwrap()).unwrap();
    }
    let mut names = SubjectAlternativeName::new();
    names.dns("localhost").ip("127.0.0.1");
    for uri in &claims.uris {
        names.uri(uri);
    }
    let names = names.build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder
        .sign(
            issuer.map_or(own, |issuer| &issuer.key),
            MessageDigest::sha256(),
        )
        .unwrap();
    builder.build()
}

fn node(claims: &Claims, issuer: Option<&Node>) -> Node {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let public = PKey::public_key_from_der(&key.public_key_to_der().unwrap()).unwrap();
    let certificate = certificate(&public, claims, issuer, &key);
    Node { certificate, key }
}

fn root() -> Node {
    node(
        &Claims {
            uris: vec![],
            usage: Usage::Root,
            ..Claims::default()
        },
        None,
    )
}

impl Node {
    fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from(self.certificate.to_der().unwrap())
    }

    fn fingerprint(&self) -> Digest {
        Digest::of(&self.der())
    }

    fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }
}

/// Serves `leaf` with `chain` behind it; says `known` or `unknown`, by the client's certificate.
async fn serve(leaf: &Node, chain: &[&Node], clients: &Node, alpn: &[u8]) -> SocketAddr {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(clients.der()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .allow_unauthenticated()
        .build()
        .unwrap();
    let certificates = [leaf].iter().chain(chain).map(|node| node.der()).collect();
    let key = PrivateKeyDer::try_from(leaf.key.private_key_to_pkcs8().unwrap()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates, key)
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else {
                    return;
                };
                let known = tls.get_ref().1.peer_certificates().is_some();
                let text: &[u8] = if known { b"known" } else { b"unknown" };
                let _ = tls.write_all(text).await;
                let _ = tls.shutdown().await;
            });
        }
    });
    address
}

async fn said(mut tls: TlsStream<TcpStream>) -> String {
    let mut text = String::new();
    tls.read_to_string(&mut text).await.unwrap();
    text
}

/// An identity as enrolment makes it: the key and request are the agent's own.
fn identity(root: &Node) -> TlsIdentity {
    let (key_pem, csr_pem) = new_key_and_csr(&"clinic".parse().unwrap()).unwrap();
    let request = X509Req::from_pem(csr_pem.as_bytes()).unwrap();
    let claims = Claims {
        uris: vec!["passerelle://nord/clinic"],
        usage: Usage::Client,
        ..Claims::default()
    };
    let issued = certificate(
        &request.public_key().unwrap(),
        &claims,
        Some(root),
        &root.key,
    );
    TlsIdentity::new(
        &String::from_utf8(issued.to_pem().unwrap()).unwrap(),
        &key_pem,
    )
}

fn connector(root: &Node) -> BrokerConnector {
    BrokerConnector::new(&nord(), &root.pem(), &identity(root)).unwrap()
}

async fn refusal(connector: &BrokerConnector, address: SocketAddr) -> ConnectError {
    let opened = connector.open("localhost", address.port()).await;
    opened.map(drop).expect_err("must be refused")
}

#[tokio::test]
async fn the_broker_is_accepted_under_any_address_and_sees_the_agency() {
    let root = root();
    let address = serve(
        &node(&Claims::default(), Some(&root)),
        &[&root],
        &root,
        b"h2",
    )
    .await;
    let connector = connector(&root);
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(
            said(connector.open(host, address.port()).await.unwrap()).await,
            "known"
        );
    }
}

#[tokio::test]
async fn sessions_are_resumed() {
    let root = root();
    let address = serve(
        &node(&Claims::default(), Some(&root)),
        &[&root],
        &root,
        b"h2",
    )
    .await;
    let connector = connector(&root);
    for kind in [
        HandshakeKind::Full,
        HandshakeKind::Resumed,
        HandshakeKind::Resumed,
    ] {
        let tls = connector
            .clone()
            .open("localhost", address.port())
            .await
            .unwrap();
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(kind));
        assert_eq!(said(tls).await, "known");
    }
}

#[tokio::test]
async fn whoever_is_not_the_broker_is_refused() {
    let root = root();
    let with = |uris: &[&'static str], usage| Claims {
        uris: uris.to_vec(),
        usage,
        ..Claims::default()
    };
    let cases = [
        // An agency that poses as the broker, with the certificate it has and those it wishes for.
        (
            with(&["passerelle://nord/clinic"], Usage::Client),
            ErrorCode::BadSignature,
        ),
        (
            with(&["passerelle://nord/clinic"], Usage::Server),
            ErrorCode::WrongAgency,
        ),
        (
            with(&["passerelle://nord/broker"], Usage::Server),
            ErrorCode::WrongAgency,
        ),
        (with(&[BROKER], Usage::Client), ErrorCode::BadSignature),
        (
            with(&["passerelle-broker://sud"], Usage::Server),
            ErrorCode::WrongFederation,
        ),
        (
            with(&["passerelle-broker://nord/"], Usage::Server),
            ErrorCode::WrongFederation,
        ),
        (
            with(&["passerelle-broker://nord-est"], Usage::Server),
            ErrorCode::WrongFederation,
        ),
        (
            with(&["PASSERELLE-BROKER://nord"], Usage::Server),
            ErrorCode::WrongAgency,
        ),
        (
            with(&[BROKER, "passerelle://nord/clinic"], Usage::Server),
            ErrorCode::WrongAgency,
        ),
        (
            with(&[BROKER, BROKER], Usage::Server),
            ErrorCode::WrongAgency,
        ),
        // A host name that fits is not enough.
        (with(&[], Usage::Server), ErrorCode::WrongAgency),
        (
            Claims {
                ends_in_s: -60,
                ..Claims::default()
            },
            ErrorCode::Stale,
        ),
    ];
    let enrolment = EnrolmentConnector::new(&nord(), root.fingerprint()).unwrap();
    for (claims, code) in cases {
        let address = serve(&node(&claims, Some(&root)), &[&root], &root, b"h2").await;
        for connector in [&connector(&root), &enrolment.connector] {
            let refused = refusal(connector, address).await;
            assert!(
                matches!(refused, ConnectError::Handshake(_)),
                "{:?}",
                claims.uris
            );
            assert_eq!(refused.code(), code, "{:?}: {refused}", claims.uris);
        }
    }
    assert!(enrolment.root_der().is_none(), "nobody was trusted");
}

#[tokio::test]
async fn another_root_is_refused() {
    let (root, other) = (root(), root());
    let address = serve(
        &node(&Claims::default(), Some(&other)),
        &[&other],
        &root,
        b"h2",
    )
    .await;
    assert_eq!(
        refusal(&connector(&root), address).await.code(),
        ErrorCode::BadSignature
    );
}

#[tokio::test]
async fn enrolment_trusts_the_root_of_the_invitation_and_keeps_it() {
    let root = root();
    let address = serve(
        &node(&Claims::default(), Some(&root)),
        &[&root],
        &root,
        b"h2",
    )
    .await;
    let enrolment = EnrolmentConnector::new(&nord(), root.fingerprint()).unwrap();
    let tls = enrolment
        .connector
        .open("localhost", address.port())
        .await
        .unwrap();
    assert_eq!(said(tls).await, "unknown", "it shows no certificate");
    assert_eq!(enrolment.root_der(), Some(root.der().as_ref()));
    assert!(root_has_fingerprint(&root.pem(), &root.fingerprint()));
    assert!(!root_has_fingerprint(&root.pem(), &Digest([0; 32])));
    assert!(!root_has_fingerprint(b"garbage", &root.fingerprint()));
}

#[tokio::test]
async fn enrolment_refuses_every_other_root() {
    let (root, other) = (root(), root());
    let enrolment = EnrolmentConnector::new(&nord(), root.fingerprint()).unwrap();
    let honest = node(&Claims::default(), Some(&root));
    let false_broker = node(&Claims::default(), Some(&other));
    let itself = node(&Claims::default(), None);
    let pinned_leaf = EnrolmentConnector::new(&nord(), itself.fingerprint()).unwrap();
    for (enrolment, leaf, chain) in [
        (&enrolment, &false_broker, vec![&other]),
        // The right root is public: showing it beside a leaf that it did not sign is easy.
        (&enrolment, &false_broker, vec![&root]),
        (&enrolment, &false_broker, vec![&other, &root]),
        (&enrolment, &itself, vec![&root]),
        (&enrolment, &honest, vec![]),
        (&enrolment, &honest, vec![&other, &other, &other, &root]),
        (&pinned_leaf, &itself, vec![]),
    ] {
        let address = serve(leaf, &chain, &root, b"h2").await;
        let refused = refusal(&enrolment.connector, address).await;
        assert!(matches!(refused, ConnectError::Handshake(_)), "{refused}");
        assert!(enrolment.root_der().is_none());
    }
}

#[tokio::test]
async fn only_http_2_is_spoken() {
    let root = root();
    let address = serve(
        &node(&Claims::default(), Some(&root)),
        &[&root],
        &root,
        b"http/1.1",
    )
    .await;
    refusal(&connector(&root), address).await;
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let connector = connector(&root());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(
        refusal(&connector, address).await.code(),
        ErrorCode::Unavailable
    );
    let odd = connector.open("not a host", 1).await.map(drop).unwrap_err();
    assert_eq!(odd.code(), ErrorCode::OutOfRange);
}

#[tokio::test]
async fn a_peer_that_hangs_up_in_the_handshake_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let connector = connector(&root());
    let refused = timeout(Duration::from_secs(5), refusal(&connector, address)).await;
    assert_eq!(refused.unwrap().code(), ErrorCode::Unavailable);
}

#[test]
fn an_identity_that_does_not_fit_is_refused_before_connecting() {
    let root = root();
    let (other_key, _) = new_key_and_csr(&"clinic".parse().unwrap()).unwrap();
    let mixed = TlsIdentity::new(&String::from_utf8(root.pem()).unwrap(), &other_key);
    let refused = BrokerConnector::new(&nord(), &root.pem(), &mixed).unwrap_err();
    assert!(matches!(refused, ConnectError::Config(_)));
    for bad in ["", "garbage"] {
        let none = TlsIdentity::new(bad, b"");
        assert!(BrokerConnector::new(&nord(), &root.pem(), &none).is_err());
        assert!(BrokerConnector::new(&nord(), bad.as_bytes(), &identity(&root)).is_err());
    }
}
