use super::{
    OutsideError,
    home::{self, Witness, forks_dir},
    http,
};
use crate::clock::ManualClock;
use passerelle_audit::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    cosignature,
    fork::ForkProof,
    keys::SigningKey,
    merkle::{Tree, leaf_hash},
    note::{Signer, VerifierKey, parse_signature_lines},
    witness::{AddCheckpoint, MAX_REQUEST_BYTES},
};
use passerelle_model::time::Timestamp;
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::Instant,
};

const ORIGIN: &str = "passerelle/essai";
const NAME: &str = "witness.example/w1";
const TIME_S: u64 = 1_800_000_000;

fn log() -> Signer {
    Signer::new(ORIGIN, SigningKey::from_seed(&[1; 32])).unwrap()
}

/// A log of so many entries; from `before` on they are another history's.
fn tree(history: u8, before: u64, size: u64) -> Tree {
    let mut tree = Tree::new();
    for n in 0..size {
        let of = if n < before { 0 } else { history };
        tree.push(leaf_hash(format!("{of}:{n}").as_bytes()));
    }
    tree
}

fn signed(tree: &Tree, size: u64) -> SignedCheckpoint {
    let root = tree.root_at(size).unwrap();
    let checkpoint = Checkpoint::new(ORIGIN, size, root).unwrap();
    checkpoint.sign(&log()).unwrap()
}

/// The body of a request.
fn body(tree: &Tree, old: u64, size: u64) -> String {
    let proof = match old == 0 || old >= size {
        true => Vec::new(),
        false => tree.consistency_proof(old, size).unwrap(),
    };
    let request = AddCheckpoint {
        old_size: old,
        proof,
        checkpoint: signed(tree, size).note().clone(),
    };
    request.to_string()
}

struct Served {
    address: SocketAddr,
    key: VerifierKey,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), OutsideError>>,
}

impl Served {
    async fn open(dir: &Path) -> Self {
        Self::at(dir, TIME_S).await
    }

    async fn at(dir: &Path, time_s: u64) -> Self {
        let witness = Witness::open(dir).unwrap();
        let key = witness.cosigner().verifier_key().clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp(time_s * 1_000)));
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(http::serve(witness, clock, listener, shutdown));
        Self {
            address,
            key,
            stop: Some(stop),
            task,
        }
    }

    async fn post(&self, body: &str) -> Reply {
        self.send("POST /add-checkpoint", body).await
    }

    async fn send(&self, line: &str, body: &str) -> Reply {
        let mut tcp = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: w\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        tcp.write_all(head.as_bytes()).await.unwrap();
        // One that is refused early may not be read to its end.
        let _ = tcp.write_all(body.as_bytes()).await;
        Reply::read(&mut tcp).await
    }

    async fn close(mut self) -> Result<(), OutsideError> {
        drop(self.stop.take());
        self.task.await.unwrap()
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Reply {
    status: u16,
    kind: String,
    body: String,
}

impl Reply {
    async fn read(tcp: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A reset after the reply is as good as an end.
        let _ = tcp.read_to_end(&mut bytes).await;
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).map_or(0, |s| s.parse().unwrap());
        let mut lines = head.lines();
        let kind = lines.find_map(|l| l.strip_prefix("content-type: "));
        Self {
            status,
            kind: kind.unwrap_or_default().to_owned(),
            body: body.to_owned(),
        }
    }

    fn is_size(&self, size: u64) -> bool {
        self.status == 409 && self.kind == "text/x.tlog.size" && self.body == format!("{size}\n")
    }
}

fn made() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("w");
    home::init(&home, NAME, &[log().verifier_key().clone()]).unwrap();
    (dir, home)
}

fn state_file(home: &Path) -> PathBuf {
    let files = fs::read_dir(home.join("state")).unwrap();
    let mut files = files.map(|f| f.unwrap().path());
    files
        .find(|f| f.extension().is_some_and(|e| e == "state"))
        .unwrap()
}

#[tokio::test]
async fn a_good_checkpoint_gets_a_cosignature_that_verifies() {
    let (_dir, home) = made();
    let served = Served::open(&home).await;
    let tree = tree(0, 0, 11);
    for (old, size) in [(0, 7), (7, 7), (7, 11), (11, 11)] {
        let reply = served.post(&body(&tree, old, size)).await;
        assert_eq!(reply.status, 200, "{old} to {size}: {reply:?}");
        assert!(reply.kind.starts_with("text/plain"), "{reply:?}");
        let mut lines = parse_signature_lines(&reply.body).unwrap();
        assert_eq!(lines.len(), 1);
        let mut signed = signed(&tree, size);
        cosignature::add(&mut signed, &served.key, lines.pop().unwrap()).unwrap();
        assert_eq!(cosignature::verify(&signed, &served.key), Ok(TIME_S));
    }
    served.close().await.unwrap();
    assert_eq!(home::status(&home).unwrap().logs[0].size, 11);
}

#[tokio::test]
async fn every_refusal_has_the_status_of_the_specification() {
    let (_dir, home) = made();
    let served = Served::open(&home).await;
    let (one, other) = (tree(0, 0, 11), tree(9, 5, 11));
    assert_eq!(served.post(&body(&one, 0, 7)).await.status, 200);
    let good = body(&one, 7, 11);
    let thief = Signer::new(ORIGIN, SigningKey::from_seed(&[2; 32])).unwrap();
    let stolen = Checkpoint::new(ORIGIN, 11, one.root()).unwrap();
    let stolen = stolen.sign(&thief).unwrap().note().to_string();
    let (head, _) = good.split_once("\n\n").unwrap();
    for (what, body, status) in [
        ("no request", String::new(), 400),
        ("another first line", good.replacen("old ", "Old ", 1), 400),
        ("a leading zero", good.replacen("old 7", "old 07", 1), 400),
        ("an old size above", body(&one, 12, 11), 400),
        ("no empty line", good.replacen("\n\n", "\n", 1), 400),
        ("a cut note", good[..good.len() - 1].to_owned(), 400),
        (
            "an unknown origin",
            good.replace(ORIGIN, "passerelle/other"),
            404,
        ),
        ("another key", format!("{head}\n\n{stolen}"), 403),
        (
            "a changed checkpoint",
            good.replacen("\n11\n", "\n12\n", 1),
            403,
        ),
        (
            "no proof",
            format!("old 7\n\n{}", good.split_once("\n\n").unwrap().1),
            422,
        ),
        ("another history", body(&other, 7, 11), 422),
        (
            "a longer proof",
            good.replacen("old 7\n", &format!("old 7\n{}\n", "A".repeat(43) + "="), 1),
            422,
        ),
    ] {
        let reply = served.post(&body).await;
        assert_eq!(reply.status, status, "{what}: {reply:?}");
        assert!(!reply.body.contains('—'), "{what}: {reply:?}");
    }
    for (old, size) in [(0, 11), (6, 11), (5, 7), (11, 11)] {
        let reply = served.post(&body(&one, old, size)).await;
        assert!(reply.is_size(7), "{old} to {size}: {reply:?}");
    }
    // Two roots of one size: 409 in version 1.0.0.
    let reply = served.post(&body(&other, 7, 7)).await;
    assert!(reply.is_size(7), "{reply:?}");
    // Nothing of this has moved it.
    assert_eq!(served.post(&good).await.status, 200);
    let reply = served.post(&body(&one, 7, 11)).await;
    assert!(reply.is_size(11), "{reply:?}");
    assert_eq!(served.send("GET /add-checkpoint", "").await.status, 405);
    assert_eq!(served.send("POST /", &good).await.status, 404);
    assert_eq!(
        served.send("POST /add-checkpoint/", &good).await.status,
        404
    );
    served.close().await.unwrap();
}

#[tokio::test]
async fn cosignatures_of_others_are_taken_and_not_kept() {
    let (_dir, home) = made();
    let served = Served::open(&home).await;
    let tree = tree(0, 0, 7);
    let other = made();
    let elsewhere = Served::open(&other.1).await;
    let plain = body(&tree, 0, 7);
    let line = elsewhere.post(&plain).await.body;
    let reply = served.post(&format!("{plain}{line}")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let kept = fs::read_to_string(state_file(&home)).unwrap();
    assert!(kept.contains(&signed(&tree, 7).note().to_string()));
    assert!(!kept.contains(&line));
}

#[tokio::test]
async fn a_fork_leaves_a_proof_also_after_a_restart() {
    let (_dir, home) = made();
    let served = Served::open(&home).await;
    let (one, other) = (tree(0, 0, 7), tree(9, 3, 11));
    assert_eq!(served.post(&body(&one, 0, 7)).await.status, 200);
    served.close().await.unwrap();
    let served = Served::open(&home).await;
    assert_eq!(served.post(&body(&other, 7, 11)).await.status, 422);
    assert_eq!(served.post(&body(&other, 7, 7)).await.status, 409);
    let key = log().verifier_key().clone();
    let files: Vec<_> = fs::read_dir(forks_dir(&home)).unwrap().collect();
    assert_eq!(files.len(), 2);
    for file in files {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let fork = ForkProof::parse(&text).unwrap().check(&key).unwrap();
        assert_eq!(fork.smaller().size(), 7);
    }
    assert_eq!(home::status(&home).unwrap().forks, 2);
    // And it keeps its word.
    let longer = tree(0, 0, 9);
    assert_eq!(served.post(&body(&longer, 7, 9)).await.status, 200);
}

#[tokio::test]
async fn of_two_requests_at_once_one_wins_and_none_rolls_back() {
    let (_dir, home) = made();
    let served = Arc::new(Served::open(&home).await);
    let tree = Arc::new(tree(0, 0, 40));
    for old in (0..30).step_by(10) {
        let mut tasks = tokio::task::JoinSet::new();
        for size in old + 1..=old + 10 {
            let (served, tree) = (served.clone(), tree.clone());
            tasks.spawn(async move { (size, served.post(&body(&tree, old, size)).await) });
        }
        let mut won = Vec::new();
        while let Some(outcome) = tasks.join_next().await {
            let (size, reply) = outcome.unwrap();
            match reply.status {
                200 => won.push(size),
                status => assert_eq!(status, 409, "{reply:?}"),
            }
        }
        // Each started from the same size: after the first the others stand elsewhere.
        assert_eq!(won.len(), 1, "{won:?}");
        let known = home::status(&home).unwrap().logs[0].size;
        assert_eq!(known, won[0]);
        let reply = served.post(&body(&tree, known, old + 10)).await;
        assert_eq!(reply.status, 200);
    }
}

#[tokio::test]
async fn a_state_that_is_torn_or_gone_stops_the_start() {
    let (_dir, home) = made();
    let served = Served::open(&home).await;
    let tree = tree(0, 0, 7);
    assert_eq!(served.post(&body(&tree, 0, 7)).await.status, 200);
    served.close().await.unwrap();
    let path = state_file(&home);
    let whole = fs::read(&path).unwrap();
    let is_in_doubt = |what: &str| {
        let opened = Witness::open(&home);
        let doubt = matches!(opened.map(drop), Err(OutsideError::Doubt { .. }));
        assert!(doubt, "{what}");
        assert!(home::status(&home).is_err(), "{what}");
    };
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        is_in_doubt(&format!("cut at {cut}"));
    }
    for at in 0..whole.len() {
        let mut spoilt = whole.clone();
        spoilt[at] ^= 4;
        fs::write(&path, &spoilt).unwrap();
        is_in_doubt(&format!("a bit at {at}"));
    }
    fs::write(&path, [&whole[..], b"\n"].concat()).unwrap();
    is_in_doubt("one more byte");
    fs::write(&path, vec![0; whole.len()]).unwrap();
    is_in_doubt("zeros");
    fs::remove_file(&path).unwrap();
    is_in_doubt("gone");
    // Nor is it made anew for a log that is followed already.
    assert!(home::follow(&home, log().verifier_key()).is_err());
    fs::write(&path, &whole).unwrap();
    let served = Served::open(&home).await;
    assert!(served.post(&body(&tree, 0, 7)).await.is_size(7));
    // A half that a crash left beside it is nobody's.
    fs::write(home.join("state/.writing-abc"), b"half").unwrap();
    served.close().await.unwrap();
    assert!(Witness::open(&home).is_ok());
}

#[tokio::test]
async fn a_state_that_cannot_be_stored_is_not_cosigned_and_ends_the_service() {
    let (_dir, home) = made();
    let served = Served::open(&home).await;
    let tree = tree(0, 0, 7);
    assert_eq!(served.post(&body(&tree, 0, 5)).await.status, 200);
    let states = home.join("state");
    fs::rename(&states, home.join("elsewhere")).unwrap();
    let reply = served.post(&body(&tree, 5, 7)).await;
    assert!(reply.status == 500 || reply.status == 0, "{reply:?}");
    assert!(!reply.body.contains('—'), "{reply:?}");
    let ended = served.task.await.unwrap();
    assert!(matches!(ended, Err(OutsideError::Stopped)), "{ended:?}");
    fs::rename(home.join("elsewhere"), &states).unwrap();
    let served = Served::open(&home).await;
    assert!(served.post(&body(&tree, 0, 7)).await.is_size(5));
}

#[tokio::test]
async fn one_process_at_a_time_and_keys_for_the_owner_alone() {
    let (_dir, home) = made();
    let mode = |file: &str| fs::metadata(home.join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("key.pem"), mode("state")), (0o600, 0o700));
    let open = Witness::open(&home).unwrap();
    let again = Witness::open(&home).map(drop);
    assert!(matches!(again, Err(OutsideError::Running(_))));
    let other = Signer::new("passerelle/other", SigningKey::from_seed(&[3; 32])).unwrap();
    assert!(home::follow(&home, other.verifier_key()).is_err());
    drop(open);
    home::follow(&home, other.verifier_key()).unwrap();
    assert_eq!(Witness::open(&home).unwrap().logs(), 2);
    // The same origin under another key would share its state.
    let again = Signer::new(ORIGIN, SigningKey::from_seed(&[4; 32])).unwrap();
    assert!(home::follow(&home, again.verifier_key()).is_err());
    assert!(home::init(&home, NAME, &[log().verifier_key().clone()]).is_err());
    let key = home::key(&home).unwrap();
    assert!(key.to_string().starts_with(&format!("{NAME}+")));
    let elsewhere = home.join("v");
    for name in ["", "a b", "a+b"] {
        let made = home::init(&elsewhere, name, &[log().verifier_key().clone()]);
        assert!(matches!(made, Err(OutsideError::Unusable(_))), "{name}");
        assert!(!elsewhere.exists(), "{name}");
    }
}

#[tokio::test]
async fn with_a_broken_clock_nothing_is_signed() {
    let (_dir, home) = made();
    let served = Served::at(&home, 0).await;
    let reply = served.post(&body(&tree(0, 0, 7), 0, 7)).await;
    assert_eq!(reply.status, 500, "{reply:?}");
    assert!(!reply.body.contains('—'));
}

#[tokio::test]
async fn long_slow_and_silent_senders_hold_up_nobody() {
    let (_dir, home) = made();
    let served = Served::open(&home).await;
    let tree = tree(0, 0, 7);
    let reply = served.post(&"x".repeat(MAX_REQUEST_BYTES + 1)).await;
    assert!(reply.status == 413 || reply.status == 0, "{reply:?}");
    let good = body(&tree, 0, 7);
    // More than there are places for; half of them begin to speak.
    let mut idle = Vec::new();
    for number in 0..http::CONNECTIONS + 6 {
        let mut tcp = TcpStream::connect(served.address).await.unwrap();
        if number % 2 == 0 {
            let head = "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 500\r\n\r\nold";
            tcp.write_all(head.as_bytes()).await.unwrap();
        }
        idle.push(tcp);
    }
    let began = Instant::now();
    assert_eq!(served.post(&good).await.status, 200);
    assert!(began.elapsed() < 3 * http::GRACE + Duration::from_secs(2));
    // Who dawdles is told so.
    let mut slow = TcpStream::connect(served.address).await.unwrap();
    let head = "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 500\r\n\
                Connection: close\r\n\r\nold 7";
    slow.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(Reply::read(&mut slow).await.status, 408);
}
