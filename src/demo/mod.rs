//! `passerelle demo`: a federation of real processes on this machine, and a story told in steps.
//!
//! In scope: starting and stopping the processes, typing the commands, checking what comes out.
//! Out of scope: any shortcut: nothing here reaches past the command line into a node.

mod cast;
mod report;
mod service;
mod setup;
mod shell;
mod story;
mod world;

use crate::cli::{
    Global, backend,
    failure::{Exit, Failure},
    output,
};
use anyhow::{Context as _, bail};
use clap::Args;
use report::Report;
use std::path::{Path, PathBuf};
use world::World;

pub(crate) use service::end_with_parent;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  passerelle demo
  passerelle demo --dir /tmp/passerelle-demo
  passerelle demo --once --json

Broker, police service, health centre, community house and oversight body run as separate
processes on loopback. Logs, data and every command that was typed stay in the directory.
All people are invented.")]
pub(crate) struct DemoArgs {
    /// An empty or absent directory [default: a new one for temporary files]
    #[arg(long, value_name = "D")]
    dir: Option<PathBuf>,
    /// End after the story: exit code 0 only if every step came out as told
    #[arg(long)]
    once: bool,
}

/// Runs the demonstration. Whatever happens, no process of it stays behind.
pub(crate) async fn run(global: Global, args: DemoArgs) -> Result<Exit, Failure> {
    let interrupted = backend::shutdown()?;
    tokio::pin!(interrupted);
    let root = directory(args.dir.as_deref())?;
    let mut report = Report::new(global.json, global.lang());
    report.line("Passerelle: a demonstration with invented people.");
    report.line(&format!("Directory: {}", root.display()));
    let mut world = World::new(&root)?;
    let told = tokio::select! {
        told = tell(&mut world, &mut report) => told,
        () = &mut interrupted => Err(anyhow::anyhow!("interrupted")),
    };
    let all_told = told.is_ok() && report.is_ok();
    if all_told {
        report.line("\nEvery step came out as told.");
    } else if told.is_ok() {
        report.line(&format!(
            "\n{} steps did not come out as told.",
            report.failed()
        ));
    }
    if global.json {
        output::print(global, &report.outcomes(), |_| String::new())?;
    }
    if told.is_ok() && !args.once {
        invite_to_try(&world, &report);
        interrupted.await;
        report.line("Stopping.");
    }
    world.stop_all().await;
    told?;
    Ok(if all_told { Exit::Done } else { Exit::Refused })
}

async fn tell(world: &mut World, report: &mut Report) -> anyhow::Result<()> {
    let ground = setup::found(world, report).await?;
    story::tell(world, report, &ground).await;
    Ok(())
}

/// The directory, absolute. Private, for it holds keys.
fn directory(dir: Option<&Path>) -> anyhow::Result<PathBuf> {
    let Some(dir) = dir else {
        let made = tempfile::Builder::new()
            .prefix("passerelle-demo-")
            .tempdir()?;
        return Ok(made.keep());
    };
    std::fs::create_dir_all(dir).with_context(|| format!("`{}`", dir.display()))?;
    if std::fs::read_dir(dir)?.next().is_some() {
        bail!("`{}` is not empty; name another directory", dir.display());
    }
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    Ok(std::path::absolute(dir)?)
}

/// Says what runs and what to type.
fn invite_to_try(world: &World, report: &Report) {
    report.line("\nThe processes stay up until Ctrl-C:");
    for (name, pid) in world.running() {
        report.line(&format!(
            "  {name:<16} process {pid}, log {}.log",
            world.dir(name)
        ));
    }
    let exe = world.shell.exe().display();
    let root = world.root().display();
    report.line("\nTry, in another terminal:");
    for command in [
        format!("broker status --dir {root}/broker"),
        format!("agent status --dir {root}/police-nord"),
        format!("agent requests --dir {root}/maison-commune"),
        format!(
            "agent request --dir {root}/maison-commune --person {root}/people/offline.toml \
             --holder sante-centre --item in_service:known --purpose deliver --basis consent \
             --worker mentor-5 --wait 10"
        ),
        format!(
            "agent request --dir {root}/police-nord --person {root}/people/ordinary.toml \
             --holder sante-centre --item medication:coded --purpose plan --basis GDPR-6 \
             --worker officer-12 --lang fr"
        ),
        format!("audit tail --dir {root}/oversight"),
        "policy explain --requester police --holder health --item diagnosis:coded \
         --purpose plan --basis GDPR-6"
            .to_owned(),
    ] {
        report.line(&format!("  {exe} {command}"));
    }
    report.line("");
}
