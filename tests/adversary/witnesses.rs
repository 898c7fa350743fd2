//! Witnesses that are away, refuse or lie.

use crate::scene::{CATEGORY, EXE, Seat};
use anyhow::Result;
use passerelle_model::{entry::EntryBody, error::ErrorCode};
use passerelle_proto::v1;
use passerelle_tests::{
    federation::Federation,
    raw_agency::{Witnessing, code_of},
    raw_session::Said,
    statements::somebody,
    wait,
};

/// Four members: three make a quorum.
struct Four {
    federation: Federation,
    seats: Vec<Seat>,
}

impl Four {
    async fn open() -> Result<Self> {
        let federation = Federation::start(EXE).await?;
        let mut seats = Vec::new();
        for (name, sector) in [
            ("house", "community"),
            ("clinic", "health"),
            ("school", "education"),
            ("shelter", "housing_income"),
        ] {
            seats.push(Seat::take(&federation, name, sector).await?);
        }
        let four = Self { federation, seats };
        let status = four.federation.broker_status().await?;
        assert_eq!((status.witnesses, status.quorum), (4, 3));
        Ok(four)
    }

    /// The house's statement that concerns all four; its index.
    async fn speak(&self) -> Result<u64> {
        let names: Vec<_> = self.seats.iter().map(|s| &s.agency.agency).collect();
        let house = &self.seats[0];
        let (_, terms) = house
            .agency
            .consent(&somebody(), &[CATEGORY], &names, &names);
        Ok(house.say(&terms).await?.index())
    }

    fn has_notice(&self, seat: usize, index: u64) -> bool {
        self.seats[seat]
            .agency
            .notices()
            .iter()
            .any(|n| n.index == index)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_of_four_publish_whatever_the_fourth_does() -> Result<()> {
    let mut four = Four::open().await?;
    let bad = four.seats[3].agency.clone();
    for how in [
        Witnessing::Silent,
        Witnessing::BadSignature,
        Witnessing::OtherRoot,
        Witnessing::OtherName,
        Witnessing::Refuse(422, 0),
        Witnessing::Refuse(409, 1),
        Witnessing::Refuse(409, u64::MAX),
        Witnessing::Refuse(999, 0),
    ] {
        let index = four.speak().await?;
        bad.notice_of(index).await?;
        bad.witness_like(how);
        // And on it goes: a second one, after the bad cosignature was seen.
        for _ in 0..2 {
            let index = four.speak().await?;
            for seat in &four.seats[..3] {
                seat.agency.notice_of(index).await?;
                seat.agency.require_honest_broker()?;
            }
            let early = four.has_notice(3, index);
            assert!(!early, "{how:?}: delivered without its own cosignature");
        }
        // Who was silent owes an answer on that stream; on a new one it gets what it missed.
        bad.witness_like(Witnessing::Honest);
        four.seats[3].session = bad.attach().await?;
        let index = four.speak().await?;
        bad.notice_of(index).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_two_of_four_nothing_is_delivered_and_the_third_sets_it_free() -> Result<()> {
    let four = Four::open().await?;
    let [house, clinic, school, shelter] = &four.seats[..] else {
        panic!("four");
    };
    let before = four.speak().await?;
    for seat in &four.seats {
        seat.agency.notice_of(before).await?;
    }
    let subject = somebody();
    let (_, terms) = clinic.agency.consent(
        &subject,
        &[CATEGORY],
        &[&house.agency.agency],
        &[&clinic.agency.agency],
    );
    let consented = clinic.say(&terms).await?.index();
    house.agency.notice_of(consented).await?;
    for seat in [school, shelter] {
        seat.agency.witness_like(Witnessing::Refuse(422, 0));
    }
    let published = four.federation.broker_status().await?.published_size;
    // Sequenced and durable, which the reply says; but the permit must not leave.
    let asked = house.agency.request(&clinic.agency, &subject, CATEGORY);
    let index = house.say(&asked.draft).await?.index();
    wait::until(
        "the two honest ones to cosign a checkpoint that covers the request",
        || async {
            let status = four.federation.broker_status().await?;
            Ok((status.log_size > index).then_some(()))
        },
    )
    .await?;
    wait::never(
        "a notice without a quorum",
        std::time::Duration::from_millis(500),
        || (0..4).any(|seat| four.has_notice(seat, index)),
    )
    .await?;
    let status = four.federation.broker_status().await?;
    assert!(status.published_size <= index, "published without a quorum");
    assert!(
        status.published_size >= published,
        "what was published stays"
    );
    // The reader of the log is not shown it either.
    let mut reader = house.agency.log_reader().await?;
    let mut rows = reader
        .entries(v1::EntriesRequest {
            from: index,
            until: 0,
        })
        .await?
        .into_inner();
    assert!(rows.message().await?.is_none());

    school.agency.witness_like(Witnessing::Honest);
    let session = school.agency.attach().await?;
    let offer = clinic.agency.notice("the permit", |n| {
        matches!(&n.entry.body, EntryBody::Offered { permit } if permit.request == asked.request)
    });
    let offer = offer.await?;
    assert!(offer.proven_at > index);
    house.agency.notice_of(index).await?;
    drop(session);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_quorum_the_log_says_no_quorum() -> Result<()> {
    let federation = Federation::start(EXE).await?;
    let house = federation.raw("house", "community").await?;
    let mut reader = house.log_reader().await?;
    let no_quorum = Some(ErrorCode::NoQuorum);
    let refused = reader
        .latest_checkpoint(v1::LatestCheckpointRequest {})
        .await;
    assert_eq!(code_of(&refused.err().unwrap()), no_quorum);
    let refused = reader.entries(v1::EntriesRequest::default()).await;
    assert_eq!(code_of(&refused.err().unwrap()), no_quorum);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_a_request_at_an_agent_stays_submitted_until_there_is_one() -> Result<()> {
    let mut federation = Federation::start(EXE).await?;
    let clinic = Seat::take(&federation, "clinic", "health").await?;
    let school = Seat::take(&federation, "school", "education").await?;
    let shelter = Seat::take(&federation, "shelter", "housing_income").await?;
    federation
        .open_office("house", "community", &["ana:mentor"])
        .await?;
    let seats = [&clinic, &school, &shelter];
    wait::until("the house's enrolment to be published", || async {
        let status = federation.broker_status().await?;
        Ok((status.witnesses == 4 && status.published_size == status.log_size).then_some(()))
    })
    .await?;
    for seat in [&school, &shelter] {
        seat.agency.witness_like(Witnessing::Refuse(422, 0));
    }
    let person = federation.person("Tremblay", "Zoé", "1990-02-03")?;
    let args = [
        ["--person", &person],
        ["--holder", "clinic"],
        ["--item", "in_service:known"],
        ["--purpose", "plan"],
        ["--basis", "consent"],
        ["--worker", "ana"],
        ["--wait", "2"],
    ];
    let ran = federation
        .agent_cli("house", "request", &args.concat())
        .await?;
    assert_eq!(
        ran.json["status"], "submitted",
        "{} {}",
        ran.stdout, ran.stderr
    );
    assert_eq!(
        ran.json["decision"],
        serde_json::json!([]),
        "{}",
        ran.stdout
    );
    let id = ran.text("request")?;
    let status = federation.broker_status().await?;
    assert!(
        status.published_size < status.log_size,
        "the operator sees it: {status:?}"
    );
    assert!(clinic.agency.notices().iter().all(|n| n.related.is_none()));

    school.agency.witness_like(Witnessing::Honest);
    let session = school.agency.attach().await?;
    wait::until("the decision to arrive", || async {
        let ran = federation
            .agent_cli("house", "show", &[&id, "--worker", "ana"])
            .await?;
        // Nobody consented.
        Ok((ran.json["status"] == "denied").then_some(()))
    })
    .await?;
    for seat in seats {
        seat.agency.require_honest_broker()?;
    }
    drop(session);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn witnesses_that_saw_a_longer_log_stop_the_signing_and_one_liar_does_not() -> Result<()> {
    let mut four = Four::open().await?;
    let index = four.speak().await?;
    for seat in &four.seats {
        seat.agency.notice_of(index).await?;
    }
    // The operator puts an old copy of the directory back.
    four.federation.broker().kill9()?;
    let dir = four.federation.broker_dir();
    let copy = four.federation.dir().join("old");
    copy_dir(&dir, &copy)?;
    four.federation.serve_broker().await?;
    for seat in &mut four.seats {
        seat.session = seat.agency.attach().await?;
    }
    let lost = four.speak().await?;
    for seat in &four.seats {
        seat.agency.notice_of(lost).await?;
    }
    four.federation.broker().kill9()?;
    std::fs::remove_dir_all(&dir)?;
    std::fs::rename(&copy, &dir)?;
    four.federation.serve_broker().await?;
    for seat in &mut four.seats {
        seat.session = seat.agency.attach().await?;
    }
    // What an old copy took in would be lost once the newer one is back: it takes in nothing.
    let house = &four.seats[0];
    let (_, terms) = house.agency.consent(
        &somebody(),
        &[CATEGORY],
        &[&house.agency.agency],
        &[&house.agency.agency],
    );
    match house.say(&terms).await? {
        Said::Refused(ErrorCode::NoQuorum, None) => {}
        other => panic!("must wait: {other:?}"),
    }
    let notices: Vec<_> = four
        .seats
        .iter()
        .map(|s| s.agency.notices().len())
        .collect();
    wait::never(
        "a notice of a forked log",
        std::time::Duration::from_millis(700),
        || {
            four.seats
                .iter()
                .zip(&notices)
                .any(|(s, n)| s.agency.notices().len() > *n)
        },
    )
    .await?;
    let log = four.federation.broker().own_log();
    assert!(log.contains("longer log"), "the operator is told: {log}");
    Ok(())
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
