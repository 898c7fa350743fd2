//! A broker that decides against policy, withholds, reorders, repeats, changes, and shows two
//! histories. It has all its keys; the agents are real.

use crate::{
    corrupt::{Corrupt, Lawless, Tamper, after, entry_of, honest, lawful},
    offices::{CLINIC, HOUSE, Offices, PATIENCE, answers, said},
};
use anyhow::{Context as _, Result};
use passerelle_model::{entry::EntryBody, request::Status, statement::Body};
use passerelle_proto::{v1::broker_frame::Frame, views::RequestLine};
use passerelle_tests::office::within;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

fn is_answer(entry: &EntryBody) -> bool {
    let EntryBody::Said { envelope, .. } = entry else {
        return false;
    };
    let statement = envelope.unverified_statement();
    statement.is_ok_and(|s| matches!(s.body, Body::Answer(_)))
}

fn is_withdrawal(entry: &EntryBody) -> bool {
    let EntryBody::Said { envelope, .. } = entry else {
        return matches!(entry, EntryBody::WithdrawalCarriedOut { .. });
    };
    let statement = envelope.unverified_statement();
    statement.is_ok_and(|s| matches!(s.body, Body::Withdrawal(_)))
}

fn is_offer(entry: &EntryBody) -> bool {
    matches!(entry, EntryBody::Offered { .. })
}

/// Why the clinic declines a request, once it does. Nothing that it holds has crossed.
async fn is_declined_by_the_clinic(offices: &Offices, request: &str) -> Result<String> {
    let declined = |line: &RequestLine| line.status == Status::Declined;
    let federation = &offices.federation;
    federation
        .line_until(CLINIC, "inbox", request, declined)
        .await?;
    offices.until(request, Status::Delivered).await?;
    let shown = federation.show(HOUSE, request, "ana").await?;
    let answer = shown.answer.context("the house is not told")?;
    assert_eq!(answer.outcome, "declined", "{answer:?}");
    assert!(answer.items.is_empty(), "{answer:?}");
    let log = std::fs::read_to_string(federation.dir().join("agent-clinic.log"))?;
    let line = log
        .lines()
        .rfind(|l| l.contains("no standing consent") && l.contains(request));
    Ok(line.context("the clinic says nothing")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_that_no_rule_gives_releases_nothing_and_is_named_by_whoever_verifies_the_log()
-> Result<()> {
    let mut offices = Offices::open().await?;
    let denied = offices.ask(&offices.person, "ana").await?;
    offices.until(&denied.line.request, Status::Denied).await?;
    let sound = offices.log_with(|_| true).await?;
    sound.verify()?;
    let broker = lawless(&mut offices).await?;
    let asked = offices.ask(&offices.person, "ana").await?;
    let id = asked.line.request.as_str();
    let permitted = |entry: &EntryBody| match entry {
        EntryBody::Offered { permit } => permit.request.as_str() == id,
        _ => false,
    };
    let log = offices
        .log_with(|log| log.entries.iter().any(|e| permitted(&e.body)))
        .await?;
    let why = is_declined_by_the_clinic(&offices, id).await?;
    assert!(why.contains("unknown_consent"), "{why}");
    let fault = log.verify().err().context("the log passes for sound")?;
    let text = fault.to_string();
    assert!(text.contains("names none"), "{text}");
    // The entry that is at fault is the decision, and it stays in the witnessed log for good.
    let decided = log.entries.iter().position(
        |e| matches!(&e.body, EntryBody::Decided { request, .. } if request.as_str() == id),
    );
    let index = decided.context("no decision")?;
    assert!(text.contains(&index.to_string()), "{index}: {text}");
    drop(broker);
    Ok(())
}

/// A broker that permits whatever is asked takes the place of the honest one.
async fn lawless(offices: &mut Offices) -> Result<Corrupt> {
    let decides = Lawless::claiming_the_law();
    let broker = Corrupt::in_place_of(&mut offices.federation, decides, honest()).await?;
    offices.connected().await?;
    Ok(broker)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_on_a_consent_of_somebody_else_or_withdrawn_releases_nothing() -> Result<()> {
    let mut offices = Offices::open().await?;
    let federation = &offices.federation;
    let of_another = federation.consent(CLINIC, &offices.stranger, "in_service", HOUSE, CLINIC);
    of_another.await?.done()?;
    let broker = lawless(&mut offices).await?;
    let asked = offices.ask(&offices.person, "ana").await?;
    let why = is_declined_by_the_clinic(&offices, &asked.line.request).await?;
    assert!(why.contains("unknown_consent"), "{why}");
    let consent = offices.consent().await?;
    let args = [consent.as_str()];
    let withdrawn = offices
        .federation
        .agent_cli(HOUSE, "consent withdraw", &args);
    withdrawn.await?.done()?;
    offices.connected().await?;
    let asked = offices.ask(&offices.person, "ana").await?;
    let why = is_declined_by_the_clinic(&offices, &asked.line.request).await?;
    assert!(why.contains("permit_withdrawn"), "{why}");
    drop(broker);
    Ok(())
}

/// The clinic is told of the consent by the house only: a lawless permit that asks for no review
/// waits for a person all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_permit_on_a_consent_recorded_elsewhere_waits_for_a_person_whatever_it_says() -> Result<()>
{
    let mut offices = Offices::open().await?;
    let federation = &offices.federation;
    let elsewhere = federation.consent(HOUSE, &offices.person, "in_service", HOUSE, CLINIC);
    elsewhere.await?.done()?;
    let broker = lawless(&mut offices).await?;
    let asked = offices.ask(&offices.person, "ana").await?;
    let waits = |line: &RequestLine| line.status == Status::HolderReview;
    let federation = &offices.federation;
    federation
        .line_until(CLINIC, "inbox", &asked.line.request, waits)
        .await?;
    assert_eq!(answers(&offices.log_with(|_| true).await?), 0);
    drop(broker);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_was_kept_back_is_counted_and_shown() -> Result<()> {
    let mut offices = Offices::open().await?;
    offices.consent().await?;
    let reorder = after(HOUSE, is_offer, is_answer);
    let broker = Corrupt::in_place_of(&mut offices.federation, lawful(), reorder).await?;
    offices.connected().await?;
    let asked = offices.ask(&offices.person, "ana").await?;
    offices.until(&asked.line.request, Status::Stopped).await?;
    within(PATIENCE, "the late offer to be shown", || async {
        let status = offices.federation.agent_status(HOUSE).await?;
        let status = status.context("no status")?;
        Ok((status.late_notices == 1).then_some(()))
    })
    .await?;
    drop(broker);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_that_is_kept_from_the_holder_releases_nothing_and_stands_in_the_log()
-> Result<()> {
    let mut offices = Offices::open().await?;
    let consent = offices.consent().await?;
    let keep: Tamper = Arc::new(|to, frame| {
        let kept = entry_of(&frame).is_some_and(|entry| is_withdrawal(&entry));
        if to.as_str() == CLINIC && kept {
            return Vec::new();
        }
        vec![frame]
    });
    let broker = Corrupt::in_place_of(&mut offices.federation, lawful(), keep).await?;
    offices.connected().await?;
    let args = [consent.as_str()];
    let withdrawn = offices
        .federation
        .agent_cli(HOUSE, "consent withdraw", &args);
    withdrawn.await?.done()?;
    let log = offices
        .log_with(|log| {
            said(log)
                .iter()
                .any(|(_, b)| matches!(b, Body::Withdrawal(_)))
        })
        .await?;
    log.verify()?;
    let asked = offices.ask(&offices.person, "ana").await?;
    offices.until(&asked.line.request, Status::Denied).await?;
    assert_eq!(answers(&offices.log_with(|_| true).await?), 0);
    // The clinic does not know, and its status says from when its news is.
    let clinic = offices
        .federation
        .agent_cli(CLINIC, "consent show", &[])
        .await?
        .done()?;
    assert!(clinic.stdout.contains(&consent), "{}", clinic.stdout);
    let federation = &offices.federation;
    let heard = |office| async move {
        let status = federation.agent_status(office).await?;
        anyhow::Ok(status.context("no status")?.heard_at)
    };
    let (house, clinic) = (heard(HOUSE).await?, heard(CLINIC).await?);
    assert!(clinic.is_some() && clinic < house, "{clinic:?} {house:?}");
    drop(broker);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_before_its_permit_is_not_taken() -> Result<()> {
    let mut offices = Offices::open().await?;
    offices.consent().await?;
    let reorder = after(HOUSE, is_offer, is_answer);
    let broker = Corrupt::in_place_of(&mut offices.federation, lawful(), reorder).await?;
    offices.connected().await?;
    let asked = offices.ask(&offices.person, "ana").await?;
    let id = asked.line.request.as_str();
    let line = offices.until(id, Status::Stopped).await?;
    assert_eq!(line.request, id);
    let shown = offices.federation.show(HOUSE, id, "ana").await?;
    assert!(shown.answer.is_none(), "{shown:?}");
    // The log has the answer in its place: who compares sees that the broker held the permit back.
    offices.log_with(|log| answers(log) == 1).await?.verify()?;
    drop(broker);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_that_is_sent_again_and_again_gets_one_answer() -> Result<()> {
    let mut offices = Offices::open().await?;
    offices.consent().await?;
    let repeat: Tamper = Arc::new(|to, frame| {
        let again = to.as_str() == CLINIC && entry_of(&frame).is_some();
        vec![frame; if again { 3 } else { 1 }]
    });
    let broker = Corrupt::in_place_of(&mut offices.federation, lawful(), repeat).await?;
    offices.connected().await?;
    for expected in 1..=2 {
        let asked = offices.ask(&offices.person, "ana").await?;
        offices
            .until(&asked.line.request, Status::Delivered)
            .await?;
        let log = offices.log_with(|log| answers(log) >= expected).await?;
        assert_eq!(answers(&log), expected);
        let refused =
            |e: &passerelle_model::entry::Entry| matches!(e.body, EntryBody::Refused { .. });
        assert!(
            !log.entries.iter().any(refused),
            "an answer was tried twice"
        );
    }
    drop(broker);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permit_whose_reply_key_was_changed_is_not_taken_and_the_agent_hangs_up() -> Result<()> {
    let mut offices = Offices::open().await?;
    offices.consent().await?;
    let swap: Tamper = Arc::new(|to, mut frame| {
        let is_offer = entry_of(&frame).is_some_and(|entry| is_offer(&entry));
        if let (true, CLINIC, Some(Frame::Notice(notice))) =
            (is_offer, to.as_str(), &mut frame.frame)
        {
            let mut entry: serde_json::Value = serde_json::from_slice(&notice.entry).unwrap();
            let key = entry.pointer_mut("/body/offered/permit/reply_key");
            *key.unwrap() =
                serde_json::to_value(passerelle_model::bytes::PublicKey([9; 32])).unwrap();
            notice.entry = serde_json::to_vec(&entry).unwrap();
        }
        vec![frame]
    });
    let broker = Corrupt::in_place_of(&mut offices.federation, lawful(), swap).await?;
    offices.connected().await?;
    let asked = offices.ask(&offices.person, "ana").await?;
    within(PATIENCE, "the clinic to hang up", || async {
        let status = offices
            .federation
            .agent_status(CLINIC)
            .await?
            .context("no status")?;
        let why = status.last_error.as_deref();
        Ok(why.is_some_and(|why| why == "proof_invalid").then_some(()))
    })
    .await?;
    let line = offices.federation.lines(HOUSE, "requests").await?;
    let line = line.iter().find(|l| l.request == asked.line.request);
    assert_ne!(line.context("no line")?.status, Status::Delivered);
    assert_eq!(answers(&offices.log_with(|_| true).await?), 0);
    drop(broker);
    Ok(())
}

fn copy_dir(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The clinic is shown one continuation of the log, the others another. The quorum is missing in
/// both, so nothing is believed in either; and when they meet again the witnesses refuse.
#[tokio::test(flavor = "multi_thread")]
async fn two_histories_for_two_agencies_end_in_silence_and_are_refused_later() -> Result<()> {
    let mut offices = Offices::open().await?;
    offices.consent().await?;
    offices.connected().await?;
    offices.federation.broker().kill9()?;
    let (dir, address) = (
        offices.federation.broker_dir(),
        offices.federation.address(),
    );
    let copy = offices.federation.dir().join("fork");
    copy_dir(&dir, &copy)?;
    // First history: when all have what is common, only the clinic goes on to hear anything.
    let alone = Arc::new(AtomicBool::new(false));
    let is_alone = alone.clone();
    let only_the_clinic: Tamper = Arc::new(move |to, frame| {
        let passes = to.as_str() == CLINIC || !is_alone.load(Ordering::SeqCst);
        if passes { vec![frame] } else { Vec::new() }
    });
    let first = Corrupt::serve(&dir, address, lawful(), only_the_clinic).await?;
    offices.connected().await?;
    let federation = &offices.federation;
    let size = || async {
        let status = federation.agent_status(CLINIC).await?;
        anyhow::Ok(status.context("no status")?.witness_size)
    };
    let common = size().await?;
    alone.store(true, Ordering::SeqCst);
    let recorded = federation.consent(CLINIC, &offices.stranger, "in_service", HOUSE, CLINIC);
    let _ = recorded.await?;
    within(
        PATIENCE,
        "the clinic to cosign the first history",
        || async { Ok((size().await? > common).then_some(())) },
    )
    .await?;
    first.end().await?;
    // Second history, from the copy: something else stands in the same place.
    let second = Corrupt::serve(&copy, address, lawful(), honest()).await?;
    // The clinic too: an offer for it is what makes this history longer than the other.
    for office in [HOUSE, CLINIC] {
        within(PATIENCE, "an agent to be back", || async {
            let status = federation.agent_status(office).await?;
            Ok(status.filter(|s| s.connected).map(drop))
        })
        .await?;
    }
    let asked = offices.ask(&offices.person, "ana").await?;
    let id = asked.line.request.clone();
    within(PATIENCE, "the clinic's witness to object", || async {
        let log = std::fs::read_to_string(federation.dir().join("agent-clinic.log"))?;
        let refused = log.contains("rewritten") || log.contains("cosignature refused");
        Ok((refused || second.was_rolled_back()).then_some(()))
    })
    .await?;
    // All the time that it takes to be sure.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let lines = federation.lines(HOUSE, "requests").await?;
    let line = lines.iter().find(|l| l.request == id).context("no line")?;
    let status = line.status;
    assert_eq!(
        status,
        Status::Submitted,
        "decided in a history that is none"
    );
    assert!(federation.lines(CLINIC, "inbox").await?.is_empty());
    drop(second);
    Ok(())
}
