//! Founds the little federation with the commands that a user would type.

use super::{
    cast::{AGENCIES, Agency, COMMUNITY, HEALTH, PEOPLE, POLICE},
    report::Report,
    world::{BROKER, World, holders},
};
use crate::cli::clock;
use anyhow::{Context as _, bail};
use passerelle_model::time::Timestamp;
use passerelle_proto::views::{AgreementView, Done, ImportReport};
use serde::Serialize;
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// The federation's name.
const FEDERATION: &str = "riverains";

/// The basis on which the agreements of the demonstration rest.
pub(super) const AGREEMENT_BASIS: &str = "FOIPReg-17.1";

/// The consent that the first step rests on, and others need.
pub(super) struct Ground {
    /// Agreement among the three.
    pub(super) agreement: String,
}

/// From nothing to a federation with facts, agreement and consents.
pub(super) async fn found(world: &mut World, report: &Report) -> anyhow::Result<Ground> {
    report.line("Setting up, with the commands in commands.log:");
    write_files(world.root())?;
    let broker_dir = world.dir(BROKER);
    let args = [
        "broker",
        "init",
        "--dir",
        &broker_dir,
        "--federation",
        FEDERATION,
    ];
    let _founded: serde_json::Value = world.shell.done(&args).await?;
    world.start_broker().await?;
    report.progress(&format!("broker of the federation `{FEDERATION}` serves"));
    for agency in AGENCIES {
        enrol(world, agency).await?;
        world.start_agent(agency.name).await?;
        report.progress(&format!("{} (`{}`) has joined", agency.label, agency.name));
    }
    for agency in AGENCIES {
        let others = AGENCIES.len() - 1;
        world
            .until(agency.name, "does not know all members", |status| {
                status.members.len() >= others
            })
            .await?;
    }
    for agency in holders() {
        let imported = import(world, agency.name).await?;
        report.progress(&format!(
            "{} has imported {} people with {} facts",
            agency.label, imported.people, imported.facts
        ));
    }
    for agency in holders() {
        world
            .until(agency.name, "has people without a handle", |status| {
                status.without_handle == 0
            })
            .await?;
    }
    report.progress("every person has a handle that the broker cannot read");
    let draft = main_agreement(clock::now());
    let parties = [POLICE, HEALTH, COMMUNITY];
    let agreement = agree(world, "agreement", &draft, &parties).await?;
    report.progress("an agreement is in force, signed by all three");
    Ok(Ground { agreement })
}

fn write_files(root: &Path) -> anyhow::Result<()> {
    for folder in ["people", "data"] {
        std::fs::create_dir_all(root.join(folder))?;
    }
    for (name, text) in PEOPLE {
        std::fs::write(root.join(format!("people/{name}.toml")), text)?;
    }
    for files in holders().filter_map(|agency| agency.files.as_ref()) {
        let path = |extension: &str| root.join(format!("data/{}.{extension}", files.name));
        std::fs::write(path("csv"), files.csv)?;
        std::fs::write(path("toml"), files.mapping)?;
    }
    Ok(())
}

async fn enrol(world: &World, agency: &Agency) -> anyhow::Result<()> {
    let (name, sector) = (agency.name, agency.sector);
    let (broker_dir, dir) = (world.dir(BROKER), world.dir(name));
    let args = [
        "broker",
        "invite",
        "--dir",
        &broker_dir,
        name,
        "--sector",
        sector,
    ];
    let invited: serde_json::Value = world.shell.done(&args).await?;
    let token = invited
        .get("token")
        .and_then(serde_json::Value::as_str)
        .context("the invitation has no token")?;
    let listen = world.listen().to_string();
    let workers: Vec<_> = agency
        .workers
        .iter()
        .map(|(id, role)| format!("{id}:{role}"))
        .collect();
    let mut args = vec!["agent", "enrol", "--dir", &dir, "--broker", &listen];
    args.extend(["--token", token]);
    for worker in &workers {
        args.extend(["--worker", worker]);
    }
    let _enrolled: serde_json::Value = world.shell.done(&args).await?;
    Ok(())
}

async fn import(world: &World, agency: &str) -> anyhow::Result<ImportReport> {
    let files = super::cast::agency(agency)
        .and_then(|a| a.files.as_ref())
        .with_context(|| format!("`{agency}` has no files"))?;
    let dir = world.dir(agency);
    let data = world.root().join("data");
    let csv = data
        .join(format!("{}.csv", files.name))
        .display()
        .to_string();
    let mapping = data
        .join(format!("{}.toml", files.name))
        .display()
        .to_string();
    let args = [
        "agent",
        "import",
        "--dir",
        &dir,
        "--mapping",
        &mapping,
        &csv,
    ];
    world.shell.done(&args).await
}

/// An agreement as an agency drafts it.
#[derive(Serialize)]
pub(super) struct Draft {
    purposes: Vec<&'static str>,
    starts: String,
    review: String,
    ends: String,
    parties: Vec<DraftParty>,
    lines: Vec<DraftLine>,
}

#[derive(Serialize)]
struct DraftParty {
    agency: &'static str,
    basis: &'static str,
}

#[derive(Serialize)]
struct DraftLine {
    from: &'static str,
    to: &'static str,
    category: &'static str,
    level: &'static str,
    retention_days: u16,
}

const DAY_S: u64 = 86_400;

fn line(
    from: &'static str,
    to: &'static str,
    category: &'static str,
    level: &'static str,
) -> DraftLine {
    DraftLine {
        from,
        to,
        category,
        level,
        retention_days: 60,
    }
}

fn parties(names: &[&'static str]) -> Vec<DraftParty> {
    let party = |agency: &&'static str| DraftParty {
        agency,
        basis: AGREEMENT_BASIS,
    };
    names.iter().map(party).collect()
}

/// What the three agreed on, for a year.
fn main_agreement(now: Timestamp) -> Draft {
    Draft {
        purposes: vec!["plan", "deliver", "follow_up"],
        starts: now.minus_s(60).to_rfc3339(),
        review: now.plus_s(180 * DAY_S).to_rfc3339(),
        ends: now.plus_s(365 * DAY_S).to_rfc3339(),
        parties: parties(&[POLICE, HEALTH, COMMUNITY]),
        lines: vec![
            line(HEALTH, POLICE, "in_service", "known"),
            line(HEALTH, POLICE, "diagnosis", "coded"),
            line(HEALTH, COMMUNITY, "clinician_contact", "contact"),
            line(POLICE, HEALTH, "safety_flag", "coded"),
            line(POLICE, COMMUNITY, "call_type", "known"),
            line(COMMUNITY, HEALTH, "mentor", "contact"),
        ],
    }
}

/// An agreement between police and community house that ends soon.
pub(super) fn short_agreement(now: Timestamp, ends_at: Timestamp) -> Draft {
    Draft {
        purposes: vec!["deliver"],
        starts: now.minus_s(60).to_rfc3339(),
        review: ends_at.to_rfc3339(),
        ends: ends_at.to_rfc3339(),
        parties: parties(&[POLICE, COMMUNITY]),
        lines: vec![line(COMMUNITY, POLICE, "engagement", "coded")],
    }
}

/// Proposed by the first party, signed by the others; its id once all have signed.
pub(super) async fn agree(
    world: &World,
    file: &str,
    draft: &Draft,
    parties: &[&str],
) -> anyhow::Result<String> {
    let path = world.root().join(format!("{file}.toml"));
    std::fs::write(&path, toml::to_string(draft)?)?;
    let path = path.display().to_string();
    let (first, others) = parties.split_first().context("no parties")?;
    let dir = world.dir(first);
    let args = ["agent", "agreement", "propose", "--dir", &dir, &path];
    let proposed: Done = world.shell.done(&args).await?;
    for other in others {
        let dir = world.dir(other);
        until_seen(world, &dir, &proposed.id).await?;
        let args = ["agent", "agreement", "sign", "--dir", &dir, &proposed.id];
        let _signed: Done = world.shell.done(&args).await?;
    }
    Ok(proposed.id)
}

/// A proposal reaches the other parties' agents a moment after the proposer's.
async fn until_seen(world: &World, dir: &str, agreement: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let args = ["agent", "agreement", "show", "--dir", dir, agreement];
    loop {
        let ran = world.shell.run(&args).await?;
        if ran.exit == 0
            && ran
                .json::<Vec<AgreementView>>()
                .is_ok_and(|v| !v.is_empty())
        {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("the proposal has not arrived in `{dir}`: {}", ran.error());
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

/// What a consent covers.
pub(super) struct Consent<'a> {
    /// Who records it. Only what the holder of the facts recorded opens them at once.
    pub(super) at: &'a str,
    /// Name of a person file.
    pub(super) person: &'a str,
    /// Category codes.
    pub(super) categories: &'a [&'a str],
    /// Who may receive.
    pub(super) recipients: &'a [&'a str],
    /// Who may disclose.
    pub(super) disclosers: &'a [&'a str],
}

/// Records a consent; its id.
pub(super) async fn consent(world: &World, consent: &Consent<'_>) -> anyhow::Result<String> {
    let (dir, person) = (world.dir(consent.at), world.person(consent.person));
    let mut args = vec![
        "agent", "consent", "record", "--dir", &dir, "--person", &person,
    ];
    args.extend([
        "--purpose",
        "plan",
        "--purpose",
        "deliver",
        "--language",
        "fr",
    ]);
    let lists = [
        ("--category", consent.categories),
        ("--recipient", consent.recipients),
        ("--discloser", consent.disclosers),
    ];
    for (name, values) in lists {
        for value in values {
            args.extend([name, value]);
        }
    }
    let recorded: Done = world.shell.done(&args).await?;
    Ok(recorded.id)
}
