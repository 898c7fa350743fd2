//! A log that goes on under a new origin, since its newest copy is lost for good. Every command is
//! that of `docs/OPERATIONS.md`, section "A new origin after a loss".

use crate::scene::{
    AGENCIES, CLINIC, EXE, HOUSE, LOOKED_AT, OVERSIGHT, PATIENCE, POLICE, Scene, terms,
};
use anyhow::{Context as _, Result};
use passerelle_model::request::Status;
use passerelle_proto::views::{AgentStatus, Done};
use passerelle_tests::{
    machine::run,
    office::{document, within},
};
use std::path::{Path, PathBuf};

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not text")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    run(&["cp", "-a", text(from)?, text(to)?]).map(drop)
}

impl Scene {
    async fn status(&self, agency: &str) -> Result<AgentStatus> {
        let status = self.federation.agent_status(agency).await?;
        status.context("no status")
    }

    /// The most that an agency's witness has cosigned, as its status shows it to people.
    async fn most_cosigned(&self) -> Result<(u64, String)> {
        let mut most = (0, String::new());
        for agency in AGENCIES {
            let status = self.status(agency).await?;
            most = most.max((status.witness_size, status.witness_root));
        }
        Ok(most)
    }

    async fn withdraw(&self, agency: &str, consent: &str) -> Result<()> {
        let args = [consent];
        let withdrawn = self.federation.agent_cli(agency, "consent withdraw", &args);
        withdrawn.await?.done().map(drop)
    }

    /// The copy takes the place of the broker's directory, which is lost.
    fn restore(&self, old: &Path) -> Result<()> {
        let home = self.federation.broker_dir();
        std::fs::remove_dir_all(&home)?;
        copy(old, &home)
    }

    /// Stops the agent, has it accept the announcement, serves it again.
    async fn accepts(&mut self, agency: &str, file: &str) -> Result<()> {
        self.federation.agent(agency).terminate().await?;
        let args = [file];
        let accepted = self.federation.agent_cli(agency, "accept-origin", &args);
        accepted.await?.done()?;
        self.federation.serve_agent(agency).await
    }

    async fn is_denied(&self, person: usize) -> Result<()> {
        let request = self.ask(person).await?;
        let is_over = |line: &passerelle_proto::views::RequestLine| {
            !line.status.is_open() || line.status == Status::Delivered
        };
        let line = self.line_until(&request, is_over).await?;
        anyhow::ensure!(line.status == Status::Denied, "{line:?}");
        Ok(())
    }

    async fn exported(&self, name: &str) -> Result<PathBuf> {
        let export = self.federation.export(OVERSIGHT).await?;
        let path = self.federation.dir().join(name);
        std::fs::copy(&export.path, &path)?;
        Ok(path)
    }

    async fn audited(&self, args: &[&str]) -> Result<(Option<i32>, String)> {
        let output = self.federation.passerelle_audit(EXE, args).await?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8(said)?))
    }

    /// The newest announcement of the broker.
    async fn supersede(
        &self,
        members: &[&str],
        newest: &(u64, String),
        out: &str,
    ) -> Result<String> {
        let (size, root) = newest;
        let newest = format!("{size}:{root}");
        let path = self.federation.dir().join(out);
        let members = members.join(",");
        let args = [
            "--members",
            &members,
            "--newest",
            &newest,
            "--out",
            text(&path)?,
        ];
        let ran = self.federation.broker_cli("supersede", &args).await?;
        ran.done()?;
        Ok(text(&path)?.to_owned())
    }
}

/// What the lost entries held, and what stood before them.
struct Lost {
    /// The copy that is left.
    old: PathBuf,
    /// What was cosigned when it was made.
    before: (u64, String),
    /// The most that anybody has cosigned since.
    newest: (u64, String),
    /// An export from before the loss.
    former: PathBuf,
}

/// A copy is made; then consents are given and withdrawn, people are asked about; then the disk is
/// lost.
async fn lose(scene: &mut Scene) -> Result<Lost> {
    let looked_at = scene.consent(CLINIC, LOOKED_AT, 300).await?;
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    let home = scene.federation.broker_dir();
    let old = scene.federation.dir().join("old");
    scene.federation.broker().terminate().await?;
    copy(&home, &old)?;
    scene.federation.serve_broker().await?;
    for agency in AGENCIES {
        scene.connected(agency, true).await?;
    }
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    let before = scene.most_cosigned().await?;
    // One from before the copy, withdrawn at another agency than the one that recorded it.
    scene.withdraw(HOUSE, &looked_at).await?;
    // And one that the copy has never heard of: its withdrawal defeats the one from before too.
    let mut node = scene.federation.node(CLINIC).await?;
    let done: Done = document(node.record_consent(terms(3, 300)).await)?;
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    scene.withdraw(HOUSE, &done.id).await?;
    scene.is_denied(3).await?;
    scene.exchange(0).await?;
    scene.federation.settled(&AGENCIES, PATIENCE).await?;
    let former = scene.exported("former.jsonl").await?;
    let newest = scene.most_cosigned().await?;
    assert!(newest.0 > before.0);
    scene.federation.broker().kill9()?;
    Ok(Lost {
        old,
        before,
        newest,
        former,
    })
}

/// An agent that has not accepted says so, and does nothing; one does not accept what says less
/// than it has cosigned.
async fn refusals(scene: &mut Scene, lost: &Lost) -> Result<()> {
    // A lie about what was cosigned: what was lost would be nothing.
    scene.restore(&lost.old)?;
    let lie = scene.supersede(&AGENCIES, &lost.before, "lie.json").await?;
    scene.federation.agent(POLICE).terminate().await?;
    let args = [lie.as_str()];
    let ran = scene.federation.agent_cli(POLICE, "accept-origin", &args);
    let ran = ran.await?;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("has cosigned"), "{ran:?}");
    scene.federation.spawn_agent(POLICE)?;
    // And one that not even the copy agrees with.
    scene.restore(&lost.old)?;
    let short = format!("{}:{}", lost.before.0 - 1, lost.before.1);
    let args = [
        "--members",
        POLICE,
        "--newest",
        &short,
        "--out",
        "/dev/null",
    ];
    let ran = scene.federation.broker_cli("supersede", &args).await?;
    assert_eq!(ran.code, 1, "{ran:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_log_goes_on_under_a_new_origin_and_nothing_withdrawn_comes_back() -> Result<()> {
    let mut scene = Scene::open().await?;
    let lost = lose(&mut scene).await?;
    scene.restore(&lost.old)?;
    scene.federation.serve_broker().await?;
    within(PATIENCE, "the old copy to be known as one", || async {
        let status = scene.federation.broker_status().await?;
        Ok(status.old_copy.is_some().then_some(()))
    })
    .await?;
    let status = scene.federation.broker_status().await?;
    assert_eq!(status.published_size, 0, "it signs nothing");
    scene.federation.broker().kill9()?;

    refusals(&mut scene, &lost).await?;
    scene.restore(&lost.old)?;
    let file = scene
        .supersede(&AGENCIES, &lost.newest, "new-origin.json")
        .await?;
    let again = scene.federation.dir().join("again.json");
    let args = ["--out", text(&again)?];
    let announced = scene.federation.broker_cli("announce", &args).await?;
    announced.done()?;
    assert_eq!(std::fs::read(&again)?, std::fs::read(&file)?);
    scene.federation.serve_broker().await?;

    // Nobody has accepted: nothing is asked or answered, and each says why.
    for agency in AGENCIES {
        within(PATIENCE, "an agent to know why it is shut out", || async {
            let status = scene.status(agency).await?;
            let why = status.last_error.as_deref() == Some("origin_not_accepted");
            Ok((why && !status.connected).then_some(()))
        })
        .await?;
    }
    let waiting = scene.ask(0).await?;
    for agency in [POLICE, CLINIC, OVERSIGHT] {
        scene.accepts(agency, &file).await?;
    }
    let recovering = within(PATIENCE, "three to go on", || async {
        let status = scene.federation.broker_status().await?;
        Ok((status.awaited == [HOUSE]).then_some(status))
    })
    .await?;
    assert!(recovering.origin.ends_with("/2"), "{recovering:?}");
    assert!(scene.view(&waiting).await?.answer.is_none());
    scene.accepts(HOUSE, &file).await?;

    // What waited is asked under the new origin, and what was withdrawn is withdrawn.
    scene.delivered(&waiting).await?;
    scene.exchange(1).await?;
    scene.is_denied(LOOKED_AT).await?;
    scene.is_denied(3).await?;
    let status = scene.status(HOUSE).await?;
    assert!(
        !status.resuming && status.origin.ends_with("/2"),
        "{status:?}"
    );
    scene.all_is_well().await?;
    proofs_hold(&scene, &lost).await
}

/// The new log follows from the former one, whose proofs still verify by its own key.
async fn proofs_hold(scene: &Scene, lost: &Lost) -> Result<()> {
    let now = scene.exported("now.jsonl").await?;
    let former = text(&lost.former)?;
    let (code, said) = scene
        .audited(&["verify", text(&now)?, "--former", former])
        .await?;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("goes on under a new origin"), "{said}");
    let (code, said) = scene.audited(&["verify", former]).await?;
    assert_eq!(code, Some(0), "{said}");
    // The new log is no former one, and the former log goes on from nothing.
    let (code, _) = scene
        .audited(&["verify", former, "--former", former])
        .await?;
    assert_eq!(code, Some(1));
    let (code, _) = scene
        .audited(&["verify", text(&now)?, "--former", text(&now)?])
        .await?;
    assert_eq!(code, Some(1));
    Ok(())
}

/// Who is left out may have withdrawn what nobody else knows of: people are asked anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_agency_nothing_given_before_the_loss_counts_any_more() -> Result<()> {
    let mut scene = Scene::open().await?;
    let lost = lose(&mut scene).await?;
    scene.restore(&lost.old)?;
    let stay = [CLINIC, HOUSE, OVERSIGHT];
    let file = scene.supersede(&stay, &lost.newest, "without.json").await?;
    scene.federation.serve_broker().await?;
    for agency in stay {
        scene.accepts(agency, &file).await?;
    }
    // Who is left out can't go on by the same file.
    scene.federation.agent(POLICE).terminate().await?;
    let args = [file.as_str()];
    let ran = scene.federation.agent_cli(POLICE, "accept-origin", &args);
    let ran = ran.await?;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("invitation"), "{ran:?}");
    within(PATIENCE, "all who stay to go on", || async {
        let status = scene.federation.broker_status().await?;
        assert_eq!(status.unheard, [POLICE]);
        Ok(status.awaited.is_empty().then_some(()))
    })
    .await?;
    scene.is_denied(1).await?;
    scene.consent(CLINIC, 1, 300).await?;
    scene.exchange(1).await?;
    scene.federation.settled(&stay, PATIENCE).await?;
    let report = scene.federation.export(OVERSIGHT).await?.verify()?;
    assert!(report.is_complete(), "{report:?}");
    Ok(())
}
