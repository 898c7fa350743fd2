//! One door, five owners, by the commands of `agent rights`, on a federation of real processes.

use crate::{
    script,
    town::{OVERSIGHT, PATIENCE, Town},
};
use anyhow::{Context as _, Result, ensure};
use passerelle_proto::views::{OwnerAnswer, RightsReply, RightsTask, RightsView};
use passerelle_tests::{cli::Ran, office::within};
use serde_json::Value;

const EXERCISE: &str = include_str!("../../docs/exercises/11-one-door-five-owners.yaml");
const DOOR: &str = "service-social";
const ANA: [&str; 2] = ["--worker", "privacy-ana"];
const POLICE: &str = "police-du-fleuve";
const CLINIC: &str = "clinique-du-parc";
const SCHOOL: &str = "ecole-des-rives";
const HOUSING: &str = "office-logement";
const HOUSE: &str = "maison-commune";
const OWNERS: [(&str, &str); 5] = [
    (POLICE, "privacy-kim"),
    (CLINIC, "privacy-leo"),
    (SCHOOL, "privacy-eve"),
    (HOUSING, "privacy-sol"),
    (HOUSE, "privacy-ugo"),
];

fn officer(agency: &str) -> &'static str {
    OWNERS.iter().find(|(owner, _)| *owner == agency).unwrap().1
}

struct Door {
    town: Town,
    rights: String,
}

impl Door {
    async fn at_the_door(&self, verb: &str, args: &[&str]) -> Result<Ran> {
        let args = [args, &ANA[..]].concat();
        let federation = &self.town.federation;
        federation
            .agent_cli(DOOR, &format!("rights {verb}"), &args)
            .await
    }

    async fn at(&self, owner: &str, command: &str, args: &[&str]) -> Result<Ran> {
        let args = [args, &["--worker", officer(owner)]].concat();
        self.town.federation.agent_cli(owner, command, &args).await
    }

    async fn shown(&self) -> Result<RightsView> {
        let ran = self.at_the_door("show", &[&self.rights]).await?.done()?;
        let views: Vec<RightsView> = serde_json::from_value(ran.json)?;
        views.into_iter().next().context("nothing is shown")
    }

    async fn reply(&self, more: &[&str]) -> Result<(RightsReply, Value)> {
        let args = [&[self.rights.as_str()], more].concat();
        let json = self.at_the_door("reply", &args).await?.done()?.json;
        Ok((serde_json::from_value(json.clone())?, json))
    }

    async fn tasks(&self, owner: &str) -> Result<Vec<RightsTask>> {
        let ran = self.at(owner, "rights tasks", &[]).await?;
        Ok(serde_json::from_value(ran.done()?.json)?)
    }

    /// The one that waits at an owner.
    async fn open_task(&self, owner: &str) -> Result<RightsTask> {
        within(PATIENCE, &format!("a task at `{owner}`"), || async {
            let tasks = self.tasks(owner).await?;
            Ok(tasks.into_iter().find(|task| task.status == "open"))
        })
        .await
    }

    async fn answered(&self, count: u64) -> Result<RightsView> {
        within(PATIENCE, &format!("{count} answers"), || async {
            let view = self.shown().await?;
            Ok((view.answered == count).then_some(view))
        })
        .await
    }

    async fn restart(&mut self, agency: &str) -> Result<()> {
        self.town.federation.restart_agent(agency).await
    }

    async fn alerts(&self, agency: &str) -> Result<Vec<(String, String)>> {
        let dir = self.town.federation.agent_dir(agency);
        let dir = dir.to_str().context("a path that is not text")?;
        let args = ["audit", "alerts", "--dir", dir];
        let ran = self.town.federation.cli(&args).await?;
        let text = |alert: &Value, name: &str| alert[name].as_str().unwrap_or_default().to_owned();
        let all = ran.json.as_array().context("no list of alerts")?.iter();
        Ok(all.map(|a| (text(a, "code"), text(a, "what"))).collect())
    }
}

/// Opens the request as Ana does, after what must be refused was.
async fn opened(town: Town) -> Result<Door> {
    let form = town.federation.file("form.pdf", b"signed on paper")?;
    let person = town.person(DOOR, "rina")?.to_owned();
    let args = ["--person", &person, "--evidence", &form];
    let by_mai = [&args[..], &["--worker", "worker-mai"]].concat();
    let federation = &town.federation;
    let ran = federation.agent_cli(DOOR, "rights open", &by_mai).await?;
    ensure!(
        ran.error_code().as_deref() == Some("not_a_party"),
        "{ran:?}"
    );
    let to_itself = [&args[..], &["--holder", DOOR], &ANA].concat();
    let ran = federation
        .agent_cli(DOOR, "rights open", &to_itself)
        .await?;
    ensure!(
        ran.error_code().as_deref() == Some("out_of_range"),
        "{ran:?}"
    );
    let by_law = [&args[..], &["--law", "ca-qc"], &ANA].concat();
    let ran = federation
        .agent_cli(DOOR, "rights open", &by_law)
        .await?
        .done()?;
    let view: RightsView = serde_json::from_value(ran.json)?;
    ensure!(view.owners.len() == 5 && view.answered == 0, "{view:?}");
    let days = view.due.0.saturating_sub(view.at.0) / 86_400_000;
    ensure!(
        (19..=20).contains(&days),
        "Quebec's twenty days, not {days}"
    );
    let rights = view.rights;
    Ok(Door { town, rights })
}

/// What of an answer could tell an owner that restricts from one that holds nothing.
fn without_name(answer: &OwnerAnswer) -> OwnerAnswer {
    OwnerAnswer {
        agency: String::new(),
        sector: String::new(),
        at: None,
        ask_the_owner: Vec::new(),
        ..answer.clone()
    }
}

fn of<'a>(reply: &'a RightsReply, owner: &str) -> &'a OwnerAnswer {
    reply.answers.iter().find(|a| a.agency == owner).unwrap()
}

/// Day 2 to 10: each owner by its own decision.
async fn everybody_answers(door: &Door) -> Result<()> {
    for (owner, _) in OWNERS {
        let task = door.open_task(owner).await?;
        let says = task.says.context("nothing is said")?;
        ensure!(
            says.contains(&door.rights) && says.contains("SHA-256"),
            "{says}"
        );
    }
    for (owner, verb) in [
        (SCHOOL, "approve"),
        (CLINIC, "approve"),
        (HOUSE, "cannot-say"),
    ] {
        let task = door.open_task(owner).await?.request;
        door.at(owner, verb, &[&task]).await?.done()?;
    }
    let task = door.open_task(HOUSING).await?.request;
    let telling = ["--reason", "investigation", &task];
    let ran = door.at(HOUSING, "rights refuse", &telling).await?;
    ensure!(
        ran.code != 0 && ran.stderr.contains("restrict it instead"),
        "{ran:?}"
    );
    let own = ["--reason", "own_procedure", &task];
    door.at(HOUSING, "rights refuse", &own).await?.done()?;
    door.answered(4).await?;
    let task = door.open_task(POLICE).await?.request;
    let past = ["--reason", "investigation", "--until", "2000-01-01", &task];
    let ran = door.at(POLICE, "rights restrict", &past).await?;
    ensure!(
        ran.error_code().as_deref() == Some("out_of_range"),
        "{ran:?}"
    );
    Ok(())
}

/// Until day 3. At the door it looks like what the house says, which holds nothing.
async fn the_police_keep_it_back(door: &Door) -> Result<()> {
    let task = door.open_task(POLICE).await?.request;
    let until = script::moment("day 3 00:00")?;
    let until = passerelle_model::time::Timestamp(u64::try_from(until)? * 1_000).to_rfc3339();
    let until = until.split_once('T').context("no day")?.0.to_owned();
    let restrict = ["--reason", "investigation", "--until", &until, &task];
    door.at(POLICE, "rights restrict", &restrict)
        .await?
        .done()?;
    let view = door.answered(5).await?;
    let states: Vec<_> = view.owners.iter().map(|o| o.status.as_str()).collect();
    assert_eq!(states, ["answered"; 5]);
    let (reply, json) = door.reply(&[]).await?;
    assert_eq!(of(&reply, SCHOOL).said, "told");
    let told = of(&reply, CLINIC);
    let categories: Vec<_> = told.items.iter().map(|i| i.category.as_str()).collect();
    assert_eq!(categories, ["in_service"], "what endangers somebody stays");
    assert!(
        !json.to_string().contains("Front desk"),
        "nobody's desk is told"
    );
    let refused = of(&reply, HOUSING);
    assert_eq!(
        refused.refusal.as_ref().map(|r| r.code.as_str()),
        Some("own_procedure")
    );
    assert_eq!(of(&reply, POLICE).said, "nothing_to_report");
    let (police, house) = (of(&reply, POLICE), of(&reply, HOUSE));
    assert_eq!(without_name(police), without_name(house));
    assert!(!json.to_string().contains("investigation"), "{json}");
    Ok(())
}

/// Asked once more before the end, a colleague can't tell what is kept back.
async fn nobody_tells_by_mistake(door: &Door) -> Result<()> {
    door.at_the_door("again", &[&door.rights]).await?.done()?;
    let task = door.open_task(POLICE).await?.request;
    let ran = door.at(POLICE, "approve", &[&task]).await?;
    ensure!(
        ran.code != 0 && ran.stderr.contains("restriction"),
        "{ran:?}"
    );
    door.at(POLICE, "cannot-say", &[&task]).await?.done()?;
    Ok(())
}

/// An alert, and what is owed crosses when all are asked again.
async fn the_end_comes(door: &mut Door) -> Result<()> {
    door.town.pass_until(script::moment("day 3 09:00")?)?;
    door.restart(POLICE).await?;
    within(PATIENCE, "the alert", || async {
        let alerts = door.alerts(POLICE).await?;
        Ok(alerts
            .iter()
            .any(|(code, _)| code == "restriction_over")
            .then_some(()))
    })
    .await?;
    let owed = door.tasks(POLICE).await?;
    assert!(
        owed.iter().any(|t| t.status == "restriction_over"),
        "{owed:?}"
    );
    door.at_the_door("again", &[&door.rights]).await?.done()?;
    for (owner, verb) in [(POLICE, "approve"), (HOUSE, "cannot-say")] {
        let task = within(PATIENCE, "the newest task", || async {
            let tasks = door.tasks(owner).await?;
            let view = door.shown().await?;
            let newest = view.owners.iter().find(|o| o.agency == owner);
            let newest = newest.map(|o| o.request.clone()).unwrap_or_default();
            let open = tasks
                .iter()
                .any(|t| t.request == newest && t.status == "open");
            Ok(open.then_some(newest))
        });
        let task = task.await?;
        door.at(owner, verb, &[&task]).await?.done()?;
    }
    door.answered(2).await?;
    Ok(())
}

/// With what was owed, what was told before, and the account, on a page.
async fn the_reply_is_whole(door: &Door) -> Result<()> {
    let page = door.town.federation.dir().join("reply.html");
    let page_text = page.to_str().context("a path that is not text")?;
    let export = door.town.federation.export(OVERSIGHT).await?;
    let file = export.path.to_str().context("a path that is not text")?;
    let more = ["--page", page_text, "--lang", "fr", "--export", file];
    let (reply, json) = door.reply(&more).await?;
    let police = of(&reply, POLICE);
    assert_eq!((police.said.as_str(), police.supplement), ("told", true));
    assert_eq!(of(&reply, HOUSE).said, "nothing_to_report");
    assert_eq!(of(&reply, SCHOOL).said, "told", "an earlier answer stays");
    assert!(
        json["account"]["entries"]
            .as_array()
            .is_some_and(|e| e.len() >= 15),
        "{json}"
    );
    let page = std::fs::read_to_string(page)?;
    assert!(page.contains("lang=\"fr-CA\"") && page.contains("Rina Gagnon-Exemple"));
    assert!(
        page.contains("Relevé") || page.contains("Demandes et réponses"),
        "{page}"
    );
    Ok(())
}

/// Here and there; and the door asks by itself.
async fn who_is_late_is_told_so(door: &mut Door) -> Result<()> {
    let settings = door.town.federation.agent_dir(DOOR).join("agent.toml");
    let text = std::fs::read_to_string(&settings)?;
    std::fs::write(&settings, text + "\n[rights]\ndays = 20\nagain_days = 30\n")?;
    door.town.pass_until(script::moment("day 60 09:00")?)?;
    for agency in [DOOR, SCHOOL] {
        door.restart(agency).await?;
        within(PATIENCE, "the alert", || async {
            let alerts = door.alerts(agency).await?;
            Ok(alerts
                .iter()
                .any(|(code, _)| code == "rights_overdue")
                .then_some(()))
        })
        .await?;
    }
    within(PATIENCE, "a round of its own", || async {
        let view = door.shown().await?;
        let all = view.owners.iter().all(|owner| owner.status == "waiting");
        Ok((view.rounds == 4 && all).then_some(()))
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restriction_in_time_looks_like_nothing_held_until_it_ends() -> Result<()> {
    let Some(town) = Town::open(EXERCISE).await? else {
        return Ok(());
    };
    let mut door = opened(town).await?;
    everybody_answers(&door).await?;
    the_police_keep_it_back(&door).await?;
    nobody_tells_by_mistake(&door).await?;
    the_end_comes(&mut door).await?;
    the_reply_is_whole(&door).await?;
    who_is_late_is_told_so(&mut door).await?;
    door.at_the_door("erase", &[&door.rights]).await?.done()?;
    let view = door.shown().await?;
    assert_eq!((view.person, view.handle), (None, None));
    let ran = door.at_the_door("again", &[&door.rights]).await?;
    assert_eq!(ran.error_code().as_deref(), Some("wrong_state"), "{ran:?}");
    Ok(())
}
