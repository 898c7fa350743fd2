//! Files that are wrong in places, or as a whole.

use crate::offices::{CLINIC, MAPPING, open};
use anyhow::{Context as _, Result};
use passerelle_proto::views::{AgentStatus, ImportReport};
use passerelle_tests::{cli::Ran, federation::Federation};

const HEAD: &str = "no,last,first,born,state\n";

fn report(ran: &Ran) -> ImportReport {
    serde_json::from_value(ran.json.clone()).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

async fn status(federation: &Federation) -> Result<AgentStatus> {
    federation.agent_status(CLINIC).await?.context("no status")
}

/// Three good rows, five bad ones.
fn csv() -> String {
    let rows = [
        "1,Dubruit,Maude,1991-02-03,active",
        "2,Lelac,Ann,1992-13-04,active",
        "3,Duquai,Paul,1993-04-05,asleep",
        "4,Dupont,Lise,1994-05-06,paused",
        ",Sansfiche,Rose,1995-06-07,active",
        "6,Lasource,,1996-07-08,active",
        "7,Tropcourt",
        "8,Lepuits,Zoé,1998-09-10,active",
    ];
    format!("{HEAD}{}\n", rows.join("\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_rows_are_named_good_rows_are_kept_and_again_changes_nothing() -> Result<()> {
    let mut federation = open().await?;
    let csv = csv();
    let ran = federation.import(CLINIC, MAPPING, &csv).await?;
    assert_eq!(ran.code, 1, "{ran:?}");
    let first = report(&ran);
    assert_eq!(
        (first.people, first.added, first.facts),
        (3, 3, 3),
        "{first:?}"
    );
    let named: Vec<_> = first
        .problems
        .iter()
        .map(|p| (p.line, p.column.as_deref()))
        .collect();
    let expected = [
        (3, Some("born")),
        (4, Some("state")),
        (6, Some("no")),
        (7, Some("first")),
        (8, None),
    ];
    assert_eq!(named, expected, "{:?}", first.problems);
    for cell in ["1992-13-04", "asleep", "Sansfiche", "Lasource", "Tropcourt"] {
        assert!(
            !ran.stdout.contains(cell) && !ran.stderr.contains(cell),
            "{cell}: {ran:?}"
        );
    }
    let now = status(&federation).await?;
    assert_eq!((now.people, now.facts), (3, 3));

    let again = report(&federation.import(CLINIC, MAPPING, &csv).await?);
    assert_eq!(
        (again.added, again.updated, again.unchanged),
        (0, 0, 3),
        "{again:?}"
    );
    let repaired = csv
        .replace("1992-13-04", "1992-12-04")
        .replace(",paused", ",active");
    let third = report(&federation.import(CLINIC, MAPPING, &repaired).await?);
    assert_eq!(
        (third.added, third.updated, third.unchanged),
        (1, 1, 2),
        "{third:?}"
    );
    assert_eq!(status(&federation).await?.people, 4);

    // It is in the journal, not only in memory.
    federation.restart_agent(CLINIC).await?;
    let after = status(&federation).await?;
    assert_eq!((after.people, after.facts), (4, 4));
    let last = report(&federation.import(CLINIC, MAPPING, &repaired).await?);
    assert_eq!(
        (last.added, last.updated, last.unchanged),
        (0, 0, 4),
        "{last:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_wrong_as_a_whole_changes_nothing() -> Result<()> {
    let federation = open().await?;
    let row = "1,Dubruit,Maude,1991-02-03,active\n";
    let good = format!("{HEAD}{row}");
    for (mapping, csv) in [
        (MAPPING.replace("\"state\"", "\"mood\""), good.clone()),
        (MAPPING.replace("source_id", "source_ids"), good.clone()),
        (MAPPING.replace("in_service", "horoscope"), good.clone()),
        (MAPPING.to_owned(), String::new()),
        (
            MAPPING.to_owned(),
            format!("no,last,first,born,state,no\n{row}"),
        ),
        (String::new(), good.clone()),
    ] {
        let ran = federation.import(CLINIC, &mapping, &csv).await?;
        assert_eq!(ran.code, 1, "{mapping}\n{csv}\n{ran:?}");
        assert!(ran.error_code().is_some(), "{ran:?}");
        assert_eq!(status(&federation).await?.people, 0, "{mapping}\n{csv}");
    }
    let mapping = federation.file("mapping.toml", MAPPING)?;
    let csv = federation.file("people.csv", &good)?;
    let args = ["--mapping", &mapping, &csv, "--dry-run"];
    let dry = federation
        .agent_cli(CLINIC, "import", &args)
        .await?
        .done()?;
    assert_eq!((report(&dry).added, report(&dry).dry_run), (1, true));
    assert_eq!(status(&federation).await?.people, 0);
    let missing = ["--mapping", &mapping, "/no/such.csv"];
    let ran = federation.agent_cli(CLINIC, "import", &missing).await?;
    assert_eq!((ran.code, ran.error_code()), (3, Some("io".to_owned())));
    federation.import(CLINIC, MAPPING, &good).await?.done()?;
    assert_eq!(status(&federation).await?.people, 1);
    Ok(())
}

/// Keys in the clinic's vault beside that of names: one for each person that it holds, since it
/// asked nobody anything.
fn keys(federation: &Federation) -> Result<usize> {
    let bytes = std::fs::read(federation.agent_dir(CLINIC).join("vault.keys"))?;
    let slots = bytes.get(64..).unwrap_or_default().chunks(64);
    let used = slots.filter(|slot| slot.iter().any(|b| *b != 0)).count();
    used.checked_sub(1).context("no key of names")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_forgotten_stays_so_until_somebody_brings_the_person_back() -> Result<()> {
    let mut federation = open().await?;
    let csv = format!("{HEAD}7,Dubruit,Maude,1991-02-03,active\n8,Lepuits,Zoé,1998-09-10,active\n");
    federation.import(CLINIC, MAPPING, &csv).await?.done()?;
    assert_eq!(keys(&federation)?, 2);
    let wrong = federation.agent_cli(CLINIC, "forget", &["Dubruit"]).await?;
    assert_eq!(wrong.error_code().as_deref(), Some("out_of_range"));
    assert!(!wrong.stderr.contains("Dubruit"), "{wrong:?}");
    let done = federation.agent_cli(CLINIC, "forget", &["7"]).await?;
    assert_eq!(done.done()?.text("status")?, "done");
    assert_eq!(
        (status(&federation).await?.people, keys(&federation)?),
        (1, 1)
    );
    federation.agent(CLINIC).kill9()?;
    federation.serve_agent(CLINIC).await?;
    assert_eq!(
        (status(&federation).await?.people, keys(&federation)?),
        (1, 1)
    );
    // The source still has the person: every night's import leaves the row out, and says so.
    let nightly = federation.import(CLINIC, MAPPING, &csv).await?.done()?;
    let nightly = report(&nightly);
    assert_eq!(
        (nightly.forgotten, nightly.people, nightly.added),
        (1, 1, 0),
        "{nightly:?}"
    );
    assert_eq!(status(&federation).await?.people, 1);
    let mapping = federation.file("back.toml", MAPPING)?;
    let file = federation.file("back.csv", &csv)?;
    let args = ["--mapping", &mapping, &file, "--bring-back"];
    let back = report(
        &federation
            .agent_cli(CLINIC, "import", &args)
            .await?
            .done()?,
    );
    assert_eq!(
        (back.forgotten, back.brought_back, back.added),
        (0, 1, 1),
        "{back:?}"
    );
    assert_eq!(
        (status(&federation).await?.people, keys(&federation)?),
        (2, 2)
    );
    let again = report(&federation.import(CLINIC, MAPPING, &csv).await?);
    assert_eq!((again.forgotten, again.unchanged), (0, 2), "{again:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_time_a_person_is_known_or_forgotten_and_never_half() -> Result<()> {
    let mut federation = open().await?;
    let rows = (0..8).map(|n| format!("{n},Dubruit,Maude{n},1991-02-03,active\n"));
    let csv = format!("{HEAD}{}", rows.collect::<String>());
    federation.import(CLINIC, MAPPING, &csv).await?.done()?;
    for round in 0..8_u64 {
        let id = round.to_string();
        let args = [id.as_str()];
        let forgets = federation.agent_cli(CLINIC, "forget", &args);
        let patience = std::time::Duration::from_millis(20 * round);
        let ended = tokio::time::timeout(patience, forgets).await;
        federation.agent(CLINIC).kill9()?;
        federation.serve_agent(CLINIC).await?;
        let people = usize::try_from(status(&federation).await?.people)?;
        assert_eq!(people, keys(&federation)?, "a key for each who is known");
        let said = matches!(ended, Ok(Ok(ran)) if ran.code == 0);
        let again = federation.agent_cli(CLINIC, "forget", &args).await?;
        let was_known = again.code == 0;
        assert!(
            !(said && was_known),
            "{round}: said to be forgotten, and known"
        );
        assert_eq!(usize::from(was_known), people + usize::try_from(round)? - 7);
    }
    assert_eq!(
        (status(&federation).await?.people, keys(&federation)?),
        (0, 0)
    );
    Ok(())
}
