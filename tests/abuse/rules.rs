//! Who decides by which rules: the agencies together, and nobody else.

use crate::offices::{CLINIC, HOUSE, OFFICES, OVERSIGHT, Offices, PATIENCE};
use anyhow::{Context as _, Result};
use passerelle_journal::{Journal as _, JournalRecord, Options, SegmentJournal};
use passerelle_model::{
    bundle::BundleTerms,
    bytes::{Digest, Nonce},
    entry::{Entry, EntryBody},
    request::Status,
    statement::VERSION,
    time::Timestamp,
};
use passerelle_policies::Bundle;
use passerelle_proto::views::RulesStatus;
use passerelle_tests::office::within;
use std::collections::BTreeSet;

impl Offices {
    /// Builds a bundle of the shipped rules with one legal pack, in place of those in force.
    async fn build(&self, revision: &str) -> Result<(String, String)> {
        let now = self.federation.broker_status().await?.bundle;
        let out = self
            .federation
            .dir()
            .join(format!("next-{revision}.bundle"));
        let out = out.to_str().context("a path that is not text")?.to_owned();
        let args = [
            ["policy", "bundle"],
            ["build", "--packs"],
            ["ca-qc", "--revision"],
            [revision, "--previous"],
            [&now, "--out"],
        ];
        let line = [&args.concat()[..], &[&out]].concat();
        let built = self.federation.cli(&line).await?.done()?;
        Ok((built.text("bundle")?, out))
    }

    async fn endorse(&self, office: &str, bundle: &str) -> Result<()> {
        // Each agent fetches what is proposed, and can endorse nothing before it holds it.
        within(PATIENCE, "an agent to endorse", || async {
            let proposal = self.proposal(office, bundle).await?;
            let args = [proposal.as_str()];
            let ran = self.federation.agent_cli(office, "bundle endorse", &args);
            Ok((ran.await?.code == 0).then_some(()))
        })
        .await
    }

    /// The digest of what is proposed with these rules.
    async fn proposal(&self, office: &str, bundle: &str) -> Result<String> {
        let args = [bundle];
        let shown = self.federation.agent_cli(office, "bundle show", &args);
        shown.await?.done()?.text("proposal")
    }

    /// What an agent says of its rules, once it is `wanted`.
    async fn rules(
        &self,
        office: &str,
        wanted: impl Fn(&RulesStatus) -> bool,
    ) -> Result<RulesStatus> {
        within(PATIENCE, "an agent's rules", || async {
            let status = self.federation.agent_status(office).await?;
            Ok(status.and_then(|s| s.rules).filter(&wanted))
        })
        .await
    }
}

fn are_in_force(rules: &RulesStatus, bundle: &str) -> bool {
    let in_force = rules.in_force.as_ref().map(|terms| terms.bundle.to_hex());
    in_force.as_deref() == Some(bundle) && rules.held && rules.stopped.is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_change_once_more_than_half_of_the_agencies_have_endorsed_them() -> Result<()> {
    let mut offices = Offices::open().await?;
    let before = offices.federation.broker_status().await?.bundle;
    let (next, file) = offices.build("1").await?;
    let args = ["propose", "--dir"];
    let dir = offices.federation.broker_dir();
    let dir = dir.to_str().context("a path that is not text")?;
    let line = [&["broker", "bundle"], &args[..], &[dir, &file]].concat();
    offices.federation.cli(&line).await?.done()?;
    // An endorsement of one of three puts nothing in force.
    offices.endorse(HOUSE, &next).await?;
    let proposal = offices.proposal(HOUSE, &next).await?;
    let again = offices
        .federation
        .agent_cli(HOUSE, "bundle endorse", &[&proposal])
        .await?;
    assert_eq!(
        again.error_code().as_deref(),
        Some("duplicate"),
        "{again:?}"
    );
    // Rules alone are not endorsed: other terms could be proposed under them.
    let rules = offices
        .federation
        .agent_cli(CLINIC, "bundle endorse", &[&next])
        .await?;
    assert_eq!(rules.error_code().as_deref(), Some("unknown_bundle"));
    assert!(rules.stderr.contains(&proposal), "{rules:?}");
    let shown = offices
        .federation
        .agent_cli(CLINIC, "bundle show", &[&next])
        .await?
        .done()?;
    assert_eq!(shown.json["packs"], serde_json::json!(["ca-qc"]));
    assert_eq!(shown.json["in_force"], false);
    let status = offices.federation.broker_status().await?;
    assert_eq!(status.bundle, before, "the running bundle stays");
    assert_eq!(
        (status.proposals[0].endorsed, status.proposals[0].needed),
        (1, 2)
    );
    offices.endorse(CLINIC, &next).await?;
    for office in OFFICES {
        let changed = |rules: &RulesStatus| are_in_force(rules, &next);
        offices.rules(office, changed).await?;
    }
    // What is asked from then on is decided by them, also after both have started again.
    offices.federation.restart_broker().await?;
    offices.federation.restart_agent(CLINIC).await?;
    offices.connected().await?;
    assert_eq!(offices.federation.broker_status().await?.bundle, next);
    offices.consent().await?;
    let asked = offices.ask(&offices.person, "ana").await?;
    offices
        .until(&asked.line.request, Status::Delivered)
        .await?;
    let log = offices.log_with(|_| true).await?;
    log.verify()?;
    let decided = log.entries.iter().rev().find_map(|e| match &e.body {
        EntryBody::Decided { bundle, .. } => Some(bundle.to_hex()),
        _ => None,
    });
    assert_eq!(decided, Some(next));
    Ok(())
}

/// Writes an activation into the log of a broker that does not run, with the file, as an operator
/// who owns the machine can.
fn puts_in_force(offices: &Offices, bundle: &Bundle) -> Result<()> {
    let dir = offices.federation.broker_dir();
    passerelle_broker::bundles::BundleStore::new(&dir).keep(bundle)?;
    let mut journal = SegmentJournal::open(&dir.join("journal"), Options::default())?;
    let mut newest = None;
    let last = journal.len() - 1;
    journal.reader().scan(last, &mut |_, record| {
        newest = Some(record.entry);
        std::ops::ControlFlow::Continue(())
    })?;
    let at = Entry::from_bytes(&newest.context("an empty log")?)?.at;
    let body = EntryBody::BundleActivated {
        bundle: bundle.digest(),
    };
    let entry = Entry {
        kind: body.code().to_owned(),
        version: VERSION,
        at: Timestamp(at.0 + 1),
        body,
        nonce: Nonce([77; 32]),
    };
    let record = JournalRecord {
        entry: entry.to_bytes()?,
        sidecar: Vec::new(),
    };
    journal.append(&[record])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_were_endorsed_by_one_too_few_are_found_out_and_nobody_works_by_them()
-> Result<()> {
    let mut offices = Offices::open().await?;
    offices.consent().await?;
    let before = offices.federation.broker_status().await?.bundle;
    let (next, file) = offices.build("1").await?;
    let dir = offices.federation.broker_dir();
    let dir = dir.to_str().context("a path that is not text")?.to_owned();
    let line = ["broker", "bundle", "propose", "--dir", &dir, &file];
    offices.federation.cli(&line).await?.done()?;
    offices.endorse(HOUSE, &next).await?;
    let bundle = Bundle::from_bytes(&std::fs::read(&file)?)?;
    assert_eq!(bundle.digest().to_hex(), next);
    offices.federation.broker().kill9()?;
    puts_in_force(&offices, &bundle)?;
    // The program itself goes on by what its log says: it is the operator's.
    offices.federation.serve_broker().await?;
    assert_eq!(offices.federation.broker_status().await?.bundle, next);
    for office in OFFICES {
        let found_out = |rules: &RulesStatus| {
            let claimed = rules.not_endorsed.map(|digest| digest.to_hex());
            claimed.as_deref() == Some(next.as_str())
        };
        let rules = offices.rules(office, found_out).await?;
        assert_eq!(rules.stopped.as_deref(), Some("bundle_not_endorsed"));
        let in_force = rules.in_force.context("nothing in force")?;
        assert_eq!(in_force.bundle.to_hex(), before, "the agencies' rules stay");
    }
    let args = ["--person", &offices.person, "--holder", CLINIC];
    let args = [
        &args[..],
        &["--item", "in_service:known", "--purpose", "deliver"],
        &["--basis", "consent", "--worker", "ana"],
    ];
    let asked = offices
        .federation
        .agent_cli(HOUSE, "request", &args.concat())
        .await?;
    let refused = asked.error_code();
    assert_eq!(refused.as_deref(), Some("bundle_not_endorsed"), "{asked:?}");
    let activated = |log: &passerelle_tests::export::Export| {
        let is_it = |e: &Entry| matches!(&e.body, EntryBody::BundleActivated { .. });
        log.entries.iter().any(is_it)
    };
    let log = offices.log_with(activated).await?;
    let fault = log.verify().err().context("the log passes for sound")?;
    let text = fault.to_string();
    assert!(text.contains("endorsed by 1 of 3 members"), "{text}");
    assert!(!OVERSIGHT.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_another_program_goes_on_by_the_rules_in_force_or_does_not_start() -> Result<()>
{
    let mut offices = Offices::open().await?;
    let before = offices.federation.broker_status().await?.bundle;
    // As if the program brought other rules: those of one pack.
    offices.federation.configure(|config| {
        let packs = toml::Value::Array(vec!["ca-qc".into()]);
        config.insert("packs".to_owned(), packs);
    })?;
    offices.federation.restart_broker().await?;
    assert_eq!(offices.federation.broker_status().await?.bundle, before);
    offices.federation.broker().kill9()?;
    let bundles = offices.federation.broker_dir().join("bundles");
    std::fs::remove_dir_all(&bundles)?;
    let mut broker = offices.federation.start_broker()?;
    let code = within(PATIENCE, "the broker to refuse", || {
        let alive = broker.require_alive();
        async move { Ok(alive.err().map(|error| error.to_string())) }
    })
    .await?;
    let log = std::fs::read_to_string(offices.federation.dir().join("broker.log"))?;
    assert!(
        log.contains(&before) && log.contains("bundles"),
        "{code}: {log}"
    );
    // An agency's copy, or any other, put in its place mends it.
    let packs: Option<&BTreeSet<String>> = None;
    let shipped = Bundle::shipped(packs)?;
    let terms = BundleTerms::founding(Digest::from_hex(&before)?);
    assert_eq!(shipped.terms(), &terms);
    let store = passerelle_broker::bundles::BundleStore::new(&offices.federation.broker_dir());
    store.keep(&shipped)?;
    offices.federation.serve_broker().await?;
    assert_eq!(offices.federation.broker_status().await?.bundle, before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_that_wants_two_people_to_endorse_says_nothing_for_one() -> Result<()> {
    let mut offices = Offices::open().await?;
    let path = offices.federation.agent_dir(CLINIC).join("agent.toml");
    let settings = std::fs::read_to_string(&path)?;
    let is_set = settings.replace("endorse_two_people = false", "endorse_two_people = true");
    assert_ne!(settings, is_set);
    std::fs::write(&path, is_set)?;
    offices.federation.restart_agent(CLINIC).await?;
    let (next, file) = offices.build("1").await?;
    let dir = offices.federation.broker_dir();
    let dir = dir.to_str().context("a path that is not text")?;
    let line = ["broker", "bundle", "propose", "--dir", dir, &file];
    offices.federation.cli(&line).await?.done()?;
    let held = |rules: &RulesStatus| rules.proposals.iter().any(|p| p.held == Some(true));
    offices.rules(CLINIC, held).await?;
    let proposal = offices.proposal(CLINIC, &next).await?;
    let endorses = |worker: &'static str| {
        let (offices, proposal) = (&offices, proposal.as_str());
        async move {
            let args = [proposal, "--worker", worker];
            let ran = offices
                .federation
                .agent_cli(CLINIC, "bundle endorse", &args);
            ran.await
        }
    };
    let first = endorses("cam").await?.done()?;
    assert_eq!(first.text("status")?, "awaits_second");
    let again = endorses("cam").await?;
    assert_eq!(again.error_code().as_deref(), Some("not_independent"));
    let status = offices.federation.broker_status().await?;
    assert_eq!(status.proposals[0].endorsed, 0, "nothing has left");
    let second = endorses("dan").await?.done()?;
    assert_eq!(second.text("status")?, "done");
    let status = offices.federation.broker_status().await?;
    assert_eq!(status.proposals[0].endorsed, 1);
    Ok(())
}
