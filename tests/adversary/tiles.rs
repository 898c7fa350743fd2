//! The log as files over HTTP: what tools get, and what nobody gets.

use crate::scene::{EXE, Scene, Seat};
use anyhow::{Context as _, Result};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use passerelle_audit::{
    checkpoint,
    cosignature::cosigned_by,
    merkle::{Tree, leaf_hash},
    note::VerifierKey,
    tiles::{TileKind, TilePath, decode_bundle, decode_tile, new_tiles, tile_content},
};
use passerelle_proto::invitation::Invitation;
use passerelle_tests::{
    federation::Federation,
    raw_agency::{RawAgency, anonymous},
};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};
use tonic::{body::Body, transport::Channel};
use tower::ServiceExt as _;

/// What came back: the status, the head, the body.
struct Got {
    status: StatusCode,
    cache: String,
    body: Vec<u8>,
}

async fn send(channel: Channel, method: Method, path: &str) -> Result<Got> {
    let request = Request::builder().method(method).uri(path);
    let response = channel.oneshot(request.body(Body::empty())?).await?;
    let (head, body) = response.into_parts();
    let cache = head.headers.get("cache-control");
    Ok(Got {
        status: head.status,
        cache: cache.map_or_else(String::new, |v| v.to_str().unwrap().to_owned()),
        body: body.collect().await?.to_bytes().to_vec(),
    })
}

async fn get(reader: &RawAgency, path: &str) -> Result<Got> {
    send(reader.channel().await?, Method::GET, path).await
}

/// A federation whose broker serves tiles to anybody, and where.
async fn open() -> Result<(Scene, SocketAddr)> {
    let mut federation = Federation::found(EXE).await?;
    federation.configure(|table| {
        table.insert("tiles".to_owned(), "127.0.0.1:0".into());
    })?;
    federation.serve_broker().await?;
    let log = federation.broker().own_log();
    let line = log.lines().find(|l| l.contains("served to anybody"));
    let (_, rest) = line.context(log.clone())?.split_once("127.0.0.1:").unwrap();
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let address = SocketAddr::from(([127, 0, 0, 1], port.parse()?));
    Ok((Scene::on(federation).await?, address))
}

/// One request over plain HTTP/1.1.
fn plain(address: SocketAddr, head: &str) -> Result<(u16, Vec<u8>)> {
    let mut tcp = TcpStream::connect(address)?;
    tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
    tcp.write_all(format!("{head} HTTP/1.1\r\nHost: log\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut reply = Vec::new();
    tcp.read_to_end(&mut reply)?;
    let end = reply.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.context("no end of the head")?;
    let head = String::from_utf8(reply[..end].to_vec())?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, reply[end + 4..].to_vec()))
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_and_bundles_lead_to_the_cosigned_checkpoint() -> Result<()> {
    let (scene, address) = open().await?;
    let oversight = Seat::take(&scene.federation, "oversight", "oversight").await?;
    scene.fence().await?;
    let got = get(&oversight.agency, "/checkpoint").await?;
    let note = String::from_utf8(got.body)?;
    let signed = checkpoint::open(&note, &oversight.agency.log)?;
    let size = signed.checkpoint().size();
    assert!(size > 8, "{size}");
    let seats = [&scene.house, &scene.clinic, &scene.school, &oversight];
    let witnesses: Vec<VerifierKey> = seats.iter().map(|s| s.agency.witness_key()).collect();
    assert!(cosigned_by(&signed, &witnesses)?.len() >= 3, "{note}");
    let mut tree = Tree::new();
    for path in new_tiles(0, size) {
        let got = get(&oversight.agency, &format!("/{path}")).await?;
        assert_eq!(got.status, StatusCode::OK, "{path}");
        assert_eq!(got.cache, "no-store", "{path} still grows");
        if path.kind() == TileKind::Entries {
            for entry in decode_bundle(&got.body, path.width())? {
                tree.push(leaf_hash(entry));
            }
            continue;
        }
        assert_eq!(got.body, tile_content(&tree, &path)?, "{path}");
        // Anybody gets the same, without a certificate.
        let (status, body) = plain(address, &format!("GET /{path}"))?;
        assert_eq!((status, body), (200, got.body), "{path}");
    }
    assert_eq!(tree.root(), signed.checkpoint().root());
    let (status, body) = plain(address, "GET /checkpoint")?;
    assert_eq!(status, 200);
    checkpoint::open(&String::from_utf8(body)?, &oversight.agency.log)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_for_oversight_alone_and_nothing_is_served_that_is_not_there() -> Result<()> {
    let (scene, address) = open().await?;
    scene.fence().await?;
    let hashes = get(&scene.school.agency, "/tile/0/000.p/3").await?;
    assert_eq!(hashes.status, StatusCode::OK);
    assert_eq!(decode_tile(&hashes.body, 3)?.len(), 3);
    let entries = get(&scene.school.agency, "/tile/entries/000.p/3").await?;
    assert_eq!(entries.status, StatusCode::FORBIDDEN);
    assert_eq!(entries.body, b"not_a_party\n");
    let (status, body) = plain(address, "GET /tile/entries/000.p/3")?;
    assert_eq!((status, body), (403, b"not_a_party\n".to_vec()));
    // Without a certificate there is nothing where the members are.
    let invitation = scene.federation.invite("late", "health").await?;
    let invitation = Invitation::from_text(&invitation).unwrap();
    let name = scene.federation.name();
    let stranger = anonymous(scene.federation.address(), name, &invitation).await?;
    for path in ["/checkpoint", "/tile/0/000.p/1", "/tile/entries/000.p/1"] {
        let got = send(stranger.clone(), Method::GET, path).await?;
        assert_eq!(got.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(got.body, b"revoked\n", "{path}");
    }
    for path in [
        "/tile/0/000",
        "/tile/0/999.p/1",
        "/tile/1/000.p/1",
        "/tile/0/000.p/0",
        "/tile/0/000.p/256",
        "/tile/0/0",
        "/tile/00/000.p/1",
        "/tile/0/../0/000.p/1",
        "/tile/0/%30%30%30.p/1",
        "/tile/-1/000.p/1",
        "/tile/63/x999/x999/x999/999",
        "/tile/",
        "/other",
    ] {
        let (status, body) = plain(address, &format!("GET {path}"))?;
        assert_eq!(status, 404, "{path}: {}", String::from_utf8_lossy(&body));
    }
    let (status, _) = plain(address, "POST /checkpoint")?;
    assert_eq!(status, 405);
    let largest = TilePath::new(TileKind::Hashes(0), u64::MAX, 1).unwrap();
    let got = get(&scene.school.agency, &format!("/{largest}")).await?;
    assert_eq!(got.status, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_do_nothing_give_way_to_one_that_reads() -> Result<()> {
    let (scene, address) = open().await?;
    scene.fence().await?;
    let mut idle = Vec::new();
    for number in 0..80 {
        let mut tcp = TcpStream::connect(address)?;
        // Half of them begin to speak.
        if number % 2 == 0 {
            tcp.write_all(b"GET /checkpoint HTTP/1.1\r\n")?;
        }
        idle.push(tcp);
    }
    let (status, _) = plain(address, "GET /checkpoint")?;
    assert_eq!(status, 200);
    scene.fence().await
}
