//! The broker is blind: what was planted in names, facts and free texts at both ends is in nothing
//! that the broker stored, logged, holds in memory or exports, nor in anybody's log. The facts of an
//! agency stand in its own journal and projection sealed alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is wrong should end the test where it stands"
)]

mod errors;
mod memory;
mod offices;
mod story;

use anyhow::Result;
use offices::{AGENCIES, CLINIC, Offices, POLICE};
use passerelle_agent::seal::{OVERHEAD_BYTES, PADDED_SIZES};
use passerelle_journal::{Options, SegmentJournal};
use passerelle_model::{
    bytes::Handle,
    commitment::Field,
    entry::{Entry, EntryBody, Sidecar},
    statement::Body,
};
use passerelle_tests::search::{Found, Searcher};
use std::{collections::BTreeSet, ops::ControlFlow, path::PathBuf, time::Duration};

const EXE: &str = env!("CARGO_BIN_EXE_passerelle");

/// Everything that a component can log. The targets are named one by one, for a directive for a
/// target is stronger than one for all.
const TRACE: &str = "trace,h2=trace,hyper=trace,hyper_util=trace,tonic=trace,tower=trace,\
    rustls=trace,tokio_rustls=trace,tokio=trace,redb=trace,\
    passerelle=trace,passerelle_agent=trace,passerelle_broker=trace";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_planted_reaches_the_broker_or_a_log() -> Result<()> {
    let mut offices = Offices::open(EXE, TRACE).await?;
    story::tell(&mut offices).await?;
    errors::provoke(&mut offices).await?;
    let searcher = offices.planted.searcher();
    // While it still runs: what it received in the clear would be somewhere in here.
    let broker = offices.federation.broker().id();
    let held = memory::held(broker, &searcher)?;
    assert_eq!(held, Some(Vec::new()), "in the broker's memory");

    // Recovery reads and logs too.
    offices.federation.restart_broker().await?;
    offices.federation.restart_agent(CLINIC).await?;
    let patience = Duration::from_secs(60);
    offices.federation.settled(&AGENCIES, patience).await?;
    let export = offices.federation.export("oversight").await?;
    export.verify()?;
    story::happened(&export);

    let broker_log = offices.federation.broker().log();
    assert!(broker_log.contains("TRACE"), "the broker does not trace");
    offices.federation.broker().terminate().await?;
    let (found, searched) = searcher.files(&public_places(&offices, export.path.clone()))?;
    assert!(found.is_empty(), "{found:#?}");
    assert!(searched >= 15, "only {searched} files were searched");

    facts_are_sealed_at_home(&offices, &searcher)?;
    the_search_finds_what_is_there(&mut offices, &searcher)?;
    journal_is_sealed(&offices)
}

/// What the broker has, what anybody logged, and the export.
fn public_places(offices: &Offices, export: PathBuf) -> Vec<PathBuf> {
    let dir = offices.federation.dir();
    let mut places = vec![export, offices.federation.broker_dir()];
    places.extend(["broker.log", "broker.out"].map(|name| dir.join(name)));
    for agency in AGENCIES {
        places.push(dir.join(format!("agent-{agency}.log")));
        places.push(dir.join(format!("agent-{agency}.out")));
    }
    for place in &places {
        assert!(place.exists(), "`{}` is not there", place.display());
    }
    places
}

/// Without this the test above could be looking for the wrong thing, or in the wrong way.
fn the_search_finds_what_is_there(offices: &mut Offices, searcher: &Searcher) -> Result<()> {
    // Where it was imported from.
    let source = offices.federation.dir().join(format!("{CLINIC}.csv"));
    let (found, _) = searcher.files(&[source])?;
    let found: BTreeSet<_> = found.into_iter().map(|Found { what, .. }| what).collect();
    let kept = offices.planted.each().map(|(what, _)| what);
    let kept: Vec<_> = kept.filter(|what| what.starts_with("clinic: ")).collect();
    assert!(kept.len() >= 5, "{kept:?}");
    for what in kept {
        assert!(found.contains(what), "`{what}` is not found where it is");
    }
    let clinic = offices.federation.agent(CLINIC).id();
    let held = memory::held(clinic, searcher)?;
    assert!(
        held.is_none_or(|held| !held.is_empty()),
        "memory is not searched"
    );
    Ok(())
}

/// What the agencies imported is sealed at home, too: of its facts nothing stands in their journals
/// and projections, and neither do their own numbers of the people.
fn facts_are_sealed_at_home(offices: &Offices, searcher: &Searcher) -> Result<()> {
    let clinic = ["contact", "place", "diagnosis", "note", "risk factor"];
    let police = ["flag", "note", "risk factor"];
    for (agency, whose, columns) in [
        (CLINIC, "clinic: ", &clinic[..]),
        (POLICE, "police: ", &police[..]),
    ] {
        let dir = offices.federation.agent_dir(agency);
        let places = ["journal", "projection"].map(|name| dir.join(name));
        let (found, _) = searcher.files(&places)?;
        let number = format!("{whose}file number of ");
        let is_of = |found: &&Found, what: &str| found.what.starts_with(what);
        let numbers: Vec<_> = found.iter().filter(|f| is_of(f, &number)).collect();
        assert!(numbers.is_empty(), "{numbers:#?}");
        for column in columns {
            let fact = format!("{whose}{column} of ");
            let facts: Vec<_> = found.iter().filter(|found| is_of(found, &fact)).collect();
            assert!(facts.is_empty(), "{facts:#?}");
        }
    }
    Ok(())
}

/// Every payload is sealed, of a fixed size; every opening is that of a handle.
fn journal_is_sealed(offices: &Offices) -> Result<()> {
    let sizes = PADDED_SIZES.map(|size| size + OVERHEAD_BYTES);
    let dir = offices.federation.broker_dir().join("journal");
    let journal = SegmentJournal::open(&dir, Options::default())?;
    let (mut payloads, mut handles, mut requests) = (0, 0, 0);
    let reader = passerelle_journal::Journal::reader(&journal);
    reader.scan(0, &mut |index, record| {
        let entry = Entry::from_bytes(&record.entry).expect("an entry");
        let sidecar = Sidecar::from_bytes(&record.sidecar).expect("a sidecar");
        for (name, sealed) in &sidecar.payloads {
            assert!(
                ["answer", "context"].contains(&name.as_str()),
                "{index}: {name}"
            );
            assert!(
                sizes.contains(&sealed.0.len()),
                "{index}: {}",
                sealed.0.len()
            );
            assert!(
                looks_random(&sealed.0),
                "{index}: `{name}` is not encrypted"
            );
            payloads += 1;
        }
        for opening in &sidecar.openings {
            assert_eq!(opening.field, Field::Subject, "{index}");
            assert!(Handle::from_slice(&opening.data.0).is_some(), "{index}");
            handles += 1;
        }
        requests += usize::from(is_request(&entry));
        ControlFlow::Continue(())
    })?;
    assert!(requests >= 10, "{requests}");
    assert!(
        payloads > requests && handles >= requests / 2,
        "{payloads}, {handles}"
    );
    Ok(())
}

fn is_request(entry: &Entry) -> bool {
    let EntryBody::Said { envelope, .. } = &entry.body else {
        return false;
    };
    let statement = envelope.unverified_statement().expect("a statement");
    matches!(statement.body, Body::Request(_))
}

/// Whether each byte value is about as frequent as any other: text, padding or base64 is not. For
/// 1 KiB the statistic is about 255 with a deviation of 23; JSON exceeds 10,000.
fn looks_random(bytes: &[u8]) -> bool {
    let mut counts = [0_f64; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1.0;
    }
    let expected = bytes.len() as f64 / 256.0;
    let chi: f64 = counts
        .iter()
        .map(|c| (c - expected).powi(2) / expected)
        .sum();
    chi < 600.0
}
