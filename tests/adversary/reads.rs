//! What a member may read of the log, and what it can check without reading.

use crate::scene::{Scene, Seat};
use anyhow::Result;
use passerelle_audit::{
    checkpoint,
    merkle::{Tree, leaf_hash},
};
use passerelle_model::{bytes::Digest, commitment::Field};
use passerelle_proto::{convert, v1};
use passerelle_tests::raw_agency::RawAgency;
use std::collections::BTreeSet;

async fn checkpoint_of(reader: &RawAgency) -> Result<(u64, Digest)> {
    let mut client = reader.log_reader().await?;
    let request = v1::LatestCheckpointRequest {};
    let note = client
        .latest_checkpoint(request)
        .await?
        .into_inner()
        .checkpoint;
    let signed = checkpoint::open(&note, &reader.log)?;
    Ok((signed.checkpoint().size(), signed.checkpoint().root()))
}

async fn rows(reader: &RawAgency, from: u64, until: u64) -> Result<Vec<v1::LogRow>> {
    let mut client = reader.log_reader().await?;
    let request = v1::EntriesRequest { from, until };
    let mut stream = client.entries(request).await?.into_inner();
    let mut rows = Vec::new();
    while let Some(row) = stream.message().await? {
        rows.push(row);
    }
    Ok(rows)
}

fn root(rows: &[v1::LogRow]) -> Digest {
    let mut tree = Tree::new();
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row.index, index as u64);
        tree.push(if row.leaf_hash.is_empty() {
            leaf_hash(&row.entry)
        } else {
            assert!(row.entry.is_empty(), "hash and entry of {index}");
            Digest::from_slice(&row.leaf_hash).unwrap()
        });
    }
    tree.root()
}

fn read(rows: &[v1::LogRow]) -> BTreeSet<u64> {
    let readable = rows.iter().filter(|r| !r.entry.is_empty());
    readable.map(|r| r.index).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_reads_its_own_entries_oversight_all_and_every_row_hashes_to_the_root()
-> Result<()> {
    let scene = Scene::open().await?;
    let oversight = Seat::take(&scene.federation, "oversight", "oversight").await?;
    let (subject, _) = scene.consenting().await?;
    let asked = scene.question(&subject);
    scene.house.say(&asked.draft).await?.index();
    let permit = scene.permit(&asked.request).await?;
    let answer = scene.clinic.agency.answer(&permit, b"{}");
    scene.clinic.say(&answer).await?.index();
    scene.fence().await?;

    let (size, published) = checkpoint_of(&oversight.agency).await?;
    assert!(size > 10, "{size}");
    let all = rows(&oversight.agency, 0, size).await?;
    assert_eq!(all.len() as u64, size);
    assert_eq!(read(&all).len() as u64, size, "oversight reads every entry");
    assert_eq!(root(&all), published);
    // Which entries are about one person, and nothing else that is committed to.
    let mut about = 0;
    for row in &all {
        for opening in convert::openings(row.openings.clone()).unwrap() {
            assert_eq!(opening.field, Field::Subject, "of {}", row.index);
            about += usize::from(opening.data.0 == subject.0);
        }
    }
    assert_eq!(about, 2, "the consent and the request");
    // What the operator did with the federation is for everybody.
    let of_the_federation: BTreeSet<u64> = (all.iter())
        .filter(|row| {
            let entry: serde_json::Value = serde_json::from_slice(&row.entry).unwrap();
            ["founded", "bundle_activated", "invited", "enrolled"]
                .contains(&entry["@type"].as_str().unwrap())
        })
        .map(|row| row.index)
        .collect();
    assert!(of_the_federation.len() >= 9, "{of_the_federation:?}");
    for seat in [&scene.house, &scene.clinic, &scene.school] {
        let rows = rows(&seat.agency, 0, size).await?;
        assert_eq!(root(&rows), published, "{}", seat.agency.agency);
        let own: BTreeSet<u64> = seat
            .agency
            .notices()
            .iter()
            .filter(|n| n.index < size)
            .map(|n| n.index)
            .chain(of_the_federation.iter().copied())
            .collect();
        assert_eq!(
            read(&rows),
            own,
            "{} reads what it was sent and what is for all",
            seat.agency.agency
        );
    }
    // The school can tell nothing of the request; the house can.
    let mentions = |rows: &[v1::LogRow]| {
        let id = asked.request.as_str();
        rows.iter()
            .any(|r| String::from_utf8_lossy(&r.entry).contains(id))
    };
    assert!(!mentions(&rows(&scene.school.agency, 0, size).await?));
    assert!(mentions(&rows(&scene.house.agency, 0, size).await?));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_outside_the_published_log_gives_no_row() -> Result<()> {
    let scene = Scene::open().await?;
    scene.fence().await?;
    let (size, _) = checkpoint_of(&scene.house.agency).await?;
    for (from, until) in [
        (size + 50, 0),
        (5, 5),
        (5, 2),
        (u64::MAX, 0),
        (u64::MAX, u64::MAX),
    ] {
        let rows = rows(&scene.house.agency, from, until).await?;
        assert!(rows.is_empty(), "{from}..{until}: {}", rows.len());
    }
    let (later, _) = checkpoint_of(&scene.house.agency).await?;
    let rows = rows(&scene.house.agency, 0, u64::MAX).await?;
    assert!(
        (size..=later).contains(&(rows.len() as u64)),
        "never beyond what is witnessed"
    );
    Ok(())
}
