//! Exit codes: 0 done, 1 refused or denied, 2 usage, 3 failure.

use crate::offices::{AGENCIES, CLINIC, HOUSE, OVERSIGHT, WORKER, open};
use anyhow::Result;
use passerelle_model::request::Status;
use passerelle_tests::{cli::Ran, federation::Federation};
use std::time::Duration;

/// One line of JSON with this code on standard error, nothing on standard output.
#[track_caller]
fn ends(ran: &Ran, exit: i32, code: &str) {
    assert_eq!(
        (ran.code, ran.error_code().as_deref()),
        (exit, Some(code)),
        "{ran:?}"
    );
    assert_eq!(ran.stdout, "", "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
}

const TERMS: [&str; 6] = [
    "--purpose",
    "deliver",
    "--basis",
    "consent",
    "--worker",
    WORKER,
];

/// Verb and arguments of an `agent` command, and how it is refused.
type Refused<'a> = (&'a str, &'a [&'a str], &'a str);

async fn are_refused(federation: &Federation, commands: &[Refused<'_>]) -> Result<()> {
    for (verb, args, code) in commands {
        ends(&federation.agent_cli(HOUSE, verb, args).await?, 1, code);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_exit_code_1_and_their_error_code() -> Result<()> {
    let mut federation = open().await?;
    requests(&federation).await?;
    unknown_things(&federation).await?;
    memberships(&federation).await?;
    // The federation is as it was.
    federation.revoke("late").await?;
    federation
        .settled(&AGENCIES, Duration::from_secs(60))
        .await?;
    federation.export(OVERSIGHT).await?.verify()?;
    federation.broker().require_alive()
}

async fn requests(federation: &Federation) -> Result<()> {
    let person = federation.person("Dubruit", "Maude", "1991-02-03")?;
    let about = ["--person", person.as_str(), "--item", "in_service:known"];
    let args = |holder: &'static str| [&about[..], &TERMS, &["--holder", holder]].concat();
    // A denial is a result: it is printed, and there is no error.
    let (ran, view) = federation.ask(HOUSE, &args(CLINIC)).await?;
    assert_eq!((ran.code, view.line.status), (1, Status::Denied), "{ran:?}");
    assert_eq!((ran.error_code(), ran.stderr.as_str()), (None, ""));
    assert!(
        view.decision_index.is_some() && view.answer.is_none(),
        "{view:?}"
    );
    let commands: &[Refused<'_>] = &[
        ("request", &args("nobody"), "unknown_agency"),
        ("request", &args(HOUSE), "out_of_range"),
    ];
    are_refused(federation, commands).await
}

async fn unknown_things(federation: &Federation) -> Result<()> {
    let id = |kind: &str| format!("{kind}-00112233445566778899aabbccddeeff");
    let (request, consent) = (id("req"), id("consent"));
    let (agreement, case) = (id("isa"), id("case"));
    let draft = federation.file("draft.toml", "purposes = 1")?;
    let by_worker = [request.as_str(), "--worker", WORKER];
    let stage = [case.as_str(), "--stage", "2", "--threshold", "pending"];
    let commands: &[Refused<'_>] = &[
        ("show", &by_worker, "unknown_request"),
        ("approve", &by_worker, "unknown_request"),
        ("erase", &[&request], "unknown_request"),
        ("consent withdraw", &[&consent], "unknown_consent"),
        ("agreement sign", &[&agreement], "unknown_agreement"),
        ("agreement propose", &[&draft], "malformed"),
        ("case advance", &stage, "unknown_case"),
        ("show", &[&request, "--worker", "nobody"], "out_of_range"),
    ];
    are_refused(federation, commands).await?;
    ends(
        &audit(federation, &["show", "99999"]).await?,
        1,
        "out_of_range",
    );
    Ok(())
}

async fn memberships(federation: &Federation) -> Result<()> {
    let broker = federation.address().to_string();
    let token = federation.invite("late", "community").await?;
    let enrol = ["--broker", &broker, "--token", &token];
    federation
        .agent_cli("late", "enrol", &enrol)
        .await?
        .done()?;
    for (agency, code) in [("later", "invite_invalid"), ("late", "wrong_state")] {
        ends(
            &federation.agent_cli(agency, "enrol", &enrol).await?,
            1,
            code,
        );
    }
    let again = ["--federation", "again"];
    ends(
        &federation.broker_cli("init", &again).await?,
        1,
        "wrong_state",
    );
    ends(
        &federation.broker_cli("revoke", &["nobody"]).await?,
        1,
        "unknown_agency",
    );
    ends(
        &federation.agent_cli("nowhere", "status", &[]).await?,
        1,
        "wrong_state",
    );
    Ok(())
}

async fn audit(federation: &Federation, args: &[&str]) -> Result<Ran> {
    let dir = federation.agent_dir(OVERSIGHT);
    let place = ["--dir", dir.to_str().unwrap()];
    let (verb, rest) = args.split_first().unwrap();
    federation
        .cli(&[&["audit", verb], &place[..], rest].concat())
        .await
}

const GOOD: [&str; 4] = ["--holder", CLINIC, "--item", "in_service:known"];

/// Arguments of a request in which one word is another.
fn spoilt<'a>(good: &[&'a str], from: &str, to: &'a str) -> Vec<&'a str> {
    assert!(good.contains(&from), "{from}");
    good.iter()
        .map(|arg| if *arg == from { to } else { *arg })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_usage_is_exit_code_2() -> Result<()> {
    let federation = open().await?;
    let person = federation.person("Dubruit", "Maude", "1991-02-03")?;
    let good = [&GOOD[..], &["--person", person.as_str()], &TERMS].concat();
    for (from, to) in [
        ("in_service:known", "in_service"),
        ("in_service:known", "horoscope:known"),
        ("in_service:known", "in_service:9"),
        ("deliver", "curiosity"),
        ("consent", "because"),
        (CLINIC, "The Clinic"),
        ("--person", "--people"),
    ] {
        let bad = spoilt(&good, from, to);
        ends(
            &federation.agent_cli(HOUSE, "request", &bad).await?,
            2,
            "usage",
        );
    }
    ends(
        &federation.cli(&["agent", "show", "--dir", "d"]).await?,
        2,
        "usage",
    );
    let garbled = federation.file("garbled.toml", "family_name = Secretname\n")?;
    let bad = spoilt(&good, &person, &garbled);
    let ran = federation.agent_cli(HOUSE, "request", &bad).await?;
    ends(&ran, 2, "usage");
    assert!(!ran.stderr.contains("Secretname"), "{ran:?}");
    assert!(federation.lines(HOUSE, "requests").await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_is_nobodys_choice_is_exit_code_3() -> Result<()> {
    let mut federation = open().await?;
    let person = federation.person("Dubruit", "Maude", "1991-02-03")?;
    let good = [&GOOD[..], &["--person", person.as_str()], &TERMS].concat();
    let bad = spoilt(&good, &person, "/no/such");
    ends(
        &federation.agent_cli(HOUSE, "request", &bad).await?,
        3,
        "io",
    );
    ends(
        &audit(&federation, &["export", "--out", "/no/such/file"]).await?,
        3,
        "io",
    );
    federation.broker().kill9()?;
    ends(
        &federation.agent_cli(HOUSE, "request", &good).await?,
        3,
        "unavailable",
    );
    ends(&audit(&federation, &["tail"]).await?, 3, "unavailable");
    federation.agent(HOUSE).kill9()?;
    ends(
        &federation.agent_cli(HOUSE, "requests", &[]).await?,
        3,
        "unavailable",
    );
    // Without `--json` the same in words, with the code, in one line.
    let dir = federation.agent_dir(HOUSE);
    let output = tokio::process::Command::new(crate::offices::EXE)
        .args(["agent", "requests", "--dir", dir.to_str().unwrap()])
        .output()
        .await?;
    let text = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.starts_with("error[unavailable]: "), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    Ok(())
}
