//! The mirror serves: to auditors and their tools what the broker would, also once it is gone; and
//! decisions are made again out of the mirror alone.

use crate::{
    PATIENCE,
    scene::{OVERSIGHT, POLICE, Scene},
};
use anyhow::{Context as _, Result};
use http::Request;
use http_body_util::BodyExt as _;
use passerelle_agent::{csr::TlsIdentity, tls_client::BrokerConnector};
use passerelle_audit::{
    checkpoint::{self, SignedCheckpoint},
    merkle::{Tree, leaf_hash},
    note::VerifierKey,
    tiles::{TileKind, decode_bundle, new_tiles, tile_content},
};
use passerelle_tests::{office::within, raw_agency::channel};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};
use tonic::{body::Body, transport::Channel};
use tower::ServiceExt as _;

type Files = BTreeMap<String, Vec<u8>>;

/// One request over plain HTTP/1.1: the status and the body.
fn request(mut to: impl Read + Write, path: &str) -> Result<(u16, Vec<u8>)> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: log\r\nConnection: close\r\n\r\n");
    to.write_all(head.as_bytes())?;
    let mut reply = Vec::new();
    to.read_to_end(&mut reply)?;
    let end = reply.windows(4).position(|w| w == b"\r\n\r\n");
    let end = end.context("no end of the head")?;
    let head = String::from_utf8(reply[..end].to_vec())?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, reply[end + 4..].to_vec()))
}

/// Where the mirror is shown.
struct Mirror {
    socket: PathBuf,
    public: SocketAddr,
}

impl Mirror {
    fn own(&self, path: &str) -> Result<(u16, Vec<u8>)> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        request(stream, path)
    }

    fn public(&self, path: &str) -> Result<(u16, Vec<u8>)> {
        let stream = TcpStream::connect(self.public)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        request(stream, path)
    }

    fn checkpoint(&self, log: &VerifierKey) -> Result<SignedCheckpoint> {
        let (status, note) = self.own("/checkpoint")?;
        anyhow::ensure!(status == 200, "{status}");
        Ok(checkpoint::open(&String::from_utf8(note)?, log)?)
    }

    /// Every file under the tree of so many entries.
    fn files(&self, size: u64) -> Result<Files> {
        let mut files = Files::new();
        for path in new_tiles(0, size) {
            let (status, body) = self.own(&format!("/{path}"))?;
            anyhow::ensure!(status == 200, "{path}: {status}");
            files.insert(path.to_string(), body);
        }
        Ok(files)
    }
}

impl Scene {
    /// Has the oversight body show its mirror to anybody, from now on.
    async fn show_the_mirror(&mut self) -> Result<Mirror> {
        let public = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let dir = self.federation.agent_dir(OVERSIGHT);
        let path = dir.join("agent.toml");
        let text = fs::read_to_string(&path)?;
        fs::write(&path, format!("checkpoint_listen = \"{public}\"\n{text}"))?;
        self.federation.restart_agent(OVERSIGHT).await?;
        Ok(Mirror {
            socket: dir.join("mirror.sock"),
            public,
        })
    }

    fn log_key(&self) -> Result<VerifierKey> {
        let path = self.federation.agent_dir(OVERSIGHT).join("federation.json");
        let membership: serde_json::Value = serde_json::from_slice(&fs::read(path)?)?;
        let key = membership["checkpoint_key"].as_str().context("no key")?;
        Ok(key.parse()?)
    }

    /// A connection to the broker as one of the agencies.
    async fn as_member(&self, agency: &str) -> Result<Channel> {
        let dir = self.federation.agent_dir(agency);
        let identity = TlsIdentity::load(&dir.join("tls/agent.pem"))?;
        let root = fs::read(dir.join("tls/ca.pem"))?;
        let connector = BrokerConnector::new(self.federation.name(), &root, &identity)?;
        Ok(channel(self.federation.address(), connector).await?)
    }
}

async fn of_broker(channel: &Channel, path: &str) -> Result<(u16, Vec<u8>)> {
    let request = Request::builder().uri(path).body(Body::empty())?;
    let response = channel.clone().oneshot(request).await?;
    let (head, body) = response.into_parts();
    let body = body.collect().await?.to_bytes().to_vec();
    Ok((head.status.as_u16(), body))
}

/// The tree over the entries in these bundles; every tile of hashes is that tree's.
fn verified(files: &Files, size: u64) -> Result<Tree> {
    let mut tree = Tree::new();
    for path in new_tiles(0, size) {
        let content = files.get(&path.to_string()).context("a file is missing")?;
        match path.kind() {
            TileKind::Entries => {
                for entry in decode_bundle(content, path.width())? {
                    tree.push(leaf_hash(entry));
                }
            }
            TileKind::Hashes(_) => assert_eq!(*content, tile_content(&tree, &path)?, "{path}"),
        }
    }
    Ok(tree)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mirror_serves_the_brokers_bytes_and_goes_on_without_it() -> Result<()> {
    let mut scene = Scene::open().await?;
    let mirror = scene.show_the_mirror().await?;
    scene.exchange().await?;
    scene.mirrored().await?;
    let log = scene.log_key()?;
    let signed = mirror.checkpoint(&log)?;
    let size = signed.checkpoint().size();
    let files = mirror.files(size)?;
    let tree = verified(&files, size)?;
    assert_eq!(tree.root(), signed.checkpoint().root());
    // Byte by byte what the broker gives the same body.
    let broker = scene.as_member(OVERSIGHT).await?;
    for (path, bytes) in &files {
        let (status, theirs) = of_broker(&broker, &format!("/{path}")).await?;
        assert_eq!((status, &theirs), (200, bytes), "{path}");
    }
    // To others what the broker gives others: hashes to anybody, entries to nobody.
    let police = scene.as_member(POLICE).await?;
    for (path, bytes) in &files {
        let (status, body) = mirror.public(&format!("/{path}"))?;
        let theirs = of_broker(&police, &format!("/{path}")).await?;
        assert_eq!((status, &body), (theirs.0, &theirs.1), "{path}");
        match path.contains("entries") {
            true => assert_eq!((status, &body[..]), (403, &b"not_a_party\n"[..])),
            false => assert_eq!(&body, bytes),
        }
    }
    let socket = fs::metadata(&mirror.socket)?.permissions();
    assert_eq!(socket.mode() & 0o777, 0o600);
    nothing_is_served_that_is_not_there(&mirror, size)?;
    // The broker is gone, and its disk with it; the agent starts again without it.
    scene.federation.broker().kill9()?;
    fs::remove_dir_all(scene.federation.broker_dir().join("journal"))?;
    scene.disconnected(OVERSIGHT).await?;
    assert_eq!(mirror.files(size)?, files);
    scene.federation.agent(OVERSIGHT).kill9()?;
    scene.federation.spawn_agent(OVERSIGHT)?;
    within(PATIENCE, "the mirror to be served again", || async {
        Ok(mirror.checkpoint(&log).ok())
    })
    .await?;
    let after = mirror.checkpoint(&log)?;
    assert!(after.checkpoint().size() >= size);
    assert_eq!(mirror.files(size)?, files);
    let (status, note) = mirror.public("/checkpoint")?;
    assert_eq!(status, 200);
    checkpoint::open(&String::from_utf8(note)?, &log)?;
    Ok(())
}

fn nothing_is_served_that_is_not_there(mirror: &Mirror, size: u64) -> Result<()> {
    let beyond = format!("/tile/0/000.p/{}", size + 200);
    for path in [
        &beyond,
        "/tile/entries/999.p/1",
        "/tile/0/0",
        "/tile/0/../0/000.p/1",
        "/tile/",
        "/openings.key",
        "/other",
    ] {
        assert_eq!(mirror.own(path)?.0, 404, "{path}");
        // As at the broker, nobody learns of entries whether they are there.
        let public = if path.contains("entries") { 403 } else { 404 };
        assert_eq!(mirror.public(path)?.0, public, "{path}");
    }
    Ok(())
}

/// The shipped rules, but no consent lets anything go, not even one that the holder recorded.
fn stricter(dir: &Path) -> Result<String> {
    let dir = dir.join("stricter");
    for (path, text) in passerelle_policies::embedded_files() {
        let lax = "context has consent && !context.consent.recorded_by_holder";
        let path = dir.join(path);
        fs::create_dir_all(path.parent().context("no directory")?)?;
        fs::write(path, text.replace(lax, "context has consent"))?;
    }
    Ok(dir.to_str().context("not text")?.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_is_made_again_out_of_the_mirror_alone() -> Result<()> {
    let mut scene = Scene::open().await?;
    scene.exchange().await?;
    scene.mirrored().await?;
    let by_broker = scene.audit(OVERSIGHT, "replay", &[]).await?.done()?;
    assert!(by_broker.json["same"].as_u64() >= Some(1), "{by_broker:?}");
    let rules = stricter(scene.federation.dir())?;
    let other = ["--policy", &rules];
    let other_by_broker = scene.audit(OVERSIGHT, "replay", &other).await?.done()?;
    assert_eq!(other_by_broker.json["not_possible"], 0);
    assert!(other_by_broker.json["differs"].as_u64() >= Some(1));

    scene.federation.broker().kill9()?;
    scene.disconnected(OVERSIGHT).await?;
    let again = scene.audit(OVERSIGHT, "replay", &["--mirror"]).await?;
    assert_eq!(again.done()?.json, by_broker.json);
    let differs = [&["--mirror"][..], &other].concat();
    let differs = scene.audit(OVERSIGHT, "replay", &differs).await?.done()?;
    assert_eq!(differs.json, other_by_broker.json);
    // One of them, by its index.
    let index = differs.json["decisions"][0]["index"].to_string();
    let one = [&["--mirror", &index][..], &other].concat();
    let one = scene.audit(OVERSIGHT, "replay", &one).await?.done()?;
    assert_eq!(one.json["decisions"][0], differs.json["decisions"][0]);
    assert_eq!(one.json["same"], 0);
    // The same out of a file of the mirror's; one that opens nobody says that it can't be known.
    for (openings, code) in [(&["--openings"][..], 0), (&[], 1)] {
        let out = scene.federation.dir().join("mirror.export");
        let out = out.to_str().context("not text")?;
        let args = [&["--mirror", "--out", out][..], openings].concat();
        scene.audit(OVERSIGHT, "export", &args).await?.done()?;
        let ran = scene.federation.cli(&["audit", "replay", out]).await?;
        assert_eq!(ran.code, code, "{openings:?}");
        let same = ran.json["same"] == by_broker.json["same"];
        assert_eq!(same, code == 0, "{openings:?}");
    }
    // An agency without a mirror has nothing to make them out of.
    let refused = scene.audit(POLICE, "replay", &["--mirror"]).await?;
    assert_eq!(refused.error_code().as_deref(), Some("wrong_state"));
    Ok(())
}
