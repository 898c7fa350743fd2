//! What one could get, asked of nobody: what a preview says is what the broker then decides, and
//! neither the broker nor a holder hears of it. All people are invented.

use crate::{
    offices::{CLINIC, HOUSE, Offices, PATIENCE},
    scene::EXE,
};
use anyhow::{Context as _, Result};
use passerelle_model::pdp::{Effect, ItemRuling};
use passerelle_proto::views::{AgreementView, ConsentView, PreviewView};
use passerelle_tests::{cli::Ran, federation::Federation, office::within};

const WORKER: &str = "ana";

async fn previews(offices: &Offices, args: &[&str]) -> Result<(Ran, PreviewView)> {
    let args = [args, &["--worker", WORKER]].concat();
    let ran = offices
        .federation
        .agent_cli(HOUSE, "preview", &args)
        .await?;
    let view = serde_json::from_value(ran.json.clone())
        .with_context(|| format!("not shown: {}", ran.stderr))?;
    Ok((ran, view))
}

fn rulings(view: &PreviewView) -> Vec<ItemRuling> {
    let items = view.holders.iter().flat_map(|h| &h.items);
    items.map(|item| item.item.item.clone()).collect()
}

/// The draft of an agreement between house and clinic that is in force at once.
const AGREEMENT: &str = "purposes = [\"plan\", \"deliver\"]\nends = \"2090-01-01\"\n\
     [[parties]]\nagency = \"house\"\nbasis = \"FOIPReg-17.1\"\n\
     [[parties]]\nagency = \"clinic\"\nbasis = \"FOIPReg-17.1\"\n\
     [[lines]]\nfrom = \"clinic\"\nto = \"house\"\ncategory = \"appointment_status\"\n\
     level = \"involvement\"\nretention_days = 30\n";

async fn agrees(offices: &Offices) -> Result<()> {
    let federation = &offices.federation;
    let draft = federation.file("agreement.toml", AGREEMENT)?;
    let proposed = federation
        .agent_cli(HOUSE, "agreement propose", &[&draft])
        .await?;
    let id = proposed.done()?.text("id")?;
    within(PATIENCE, "the clinic to sign", || async {
        let ran = federation
            .agent_cli(CLINIC, "agreement sign", &[&id])
            .await?;
        Ok((ran.code == 0).then_some(()))
    })
    .await?;
    within(PATIENCE, "it to be in force at the house", || async {
        let shown = federation
            .agent_cli(HOUSE, "agreement show", &[&id])
            .await?;
        let views: Vec<AgreementView> = serde_json::from_value(shown.json)?;
        Ok(views.first().filter(|v| v.status == "in_force").map(drop))
    })
    .await
}

/// What is tried: items, purpose, basis, and more.
const QUESTIONS: [(&[&str], &str, &str, &[&str]); 8] = [
    (&["in_service:known"], "deliver", "consent", &[]),
    (
        &["in_service:detail", "diagnosis:coded"],
        "deliver",
        "consent",
        &[],
    ),
    (
        &["in_service:known", "appointment_status:known"],
        "plan",
        "FOIPReg-17.1",
        &[],
    ),
    (
        &["appointment_status:involvement"],
        "deliver",
        "FOIPReg-17.1",
        &[],
    ),
    (
        &["appointment_status:coded"],
        "deliver",
        "FOIPReg-17.1",
        &[],
    ),
    (&["clinician_contact:contact"], "follow_up", "GDPR-6", &[]),
    (
        &["location:coded", "crisis_risk:coded"],
        "emergency",
        "A2.1-59.1",
        &["--emergency", "threat_to_others"],
    ),
    (&["in_service:involvement"], "media", "consent", &[]),
];

async fn agrees_with_the_broker(offices: &Offices, what: &str) -> Result<Vec<Effect>> {
    let mut effects = Vec::new();
    for (items, purpose, basis, more) in QUESTIONS {
        let mut args = vec!["--person", &offices.person, "--holder", CLINIC];
        args.extend(["--purpose", purpose, "--basis", basis]);
        args.extend(more);
        for item in items {
            args.extend(["--item", item]);
        }
        let (_, seen) = previews(offices, &args).await?;
        args.extend(["--worker", WORKER]);
        let asked = offices.federation.ask(HOUSE, &args).await?.1;
        let decided: Vec<_> = asked.decision.iter().map(|i| i.item.clone()).collect();
        assert_eq!(
            rulings(&seen),
            decided,
            "{what}: {items:?} for {purpose} on {basis}"
        );
        effects.extend(decided.iter().map(|i| i.ruling.effect));
    }
    Ok(effects)
}

/// Waits until the house knows that a consent stands so.
async fn stands_so(offices: &Offices, consent: &str, status: &str) -> Result<()> {
    within(PATIENCE, "the house to know of a consent", || async {
        let consent = [consent];
        let shown = offices
            .federation
            .agent_cli(HOUSE, "consent show", &consent);
        let views: Vec<ConsentView> = serde_json::from_value(shown.await?.json)?;
        Ok(views.first().filter(|v| v.status == status).map(drop))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_what_the_broker_then_decides_and_nobody_hears_of_it() -> Result<()> {
    let offices = Offices::open().await?;
    let offices = &offices;
    offices.connected().await?;
    // Before the first question the house has no handle, and asks for none.
    let before = offices.federation.broker_status().await?;
    let person = ["--person", offices.person.as_str()];
    let (ran, view) = previews(offices, &person).await?;
    assert_eq!(ran.code, 1, "nothing is permitted yet: {ran:?}");
    let limits: Vec<_> = view.limits.iter().map(|l| l.code.as_str()).collect();
    for limit in [
        "nobody_asked",
        "handle_unknown",
        "purpose_supposed",
        "basis_supposed",
    ] {
        assert!(limits.contains(&limit), "{limits:?}");
    }
    let holders: Vec<_> = view.holders.iter().map(|h| h.holder.as_str()).collect();
    assert_eq!(holders, [CLINIC, "oversight"]);
    let missing = view.holders[0].items.iter().flat_map(|i| &i.missing);
    assert!(missing.clone().any(|m| m.en.contains("consents to")));
    offices.connected().await?;
    let after = offices.federation.broker_status().await?;
    assert_eq!(after.log_size, before.log_size, "no handle, no question");
    assert!(offices.federation.lines(CLINIC, "inbox").await?.is_empty());

    let nothing = agrees_with_the_broker(offices, "with nothing to rest on").await?;
    assert!(nothing.contains(&Effect::Deny));
    let consent = offices.consent().await?;
    agrees(offices).await?;
    stands_so(offices, &consent, "active").await?;
    let papers = agrees_with_the_broker(offices, "with consent and agreement").await?;
    assert!(papers.contains(&Effect::Permit) && papers.contains(&Effect::Deny));
    assert_ne!(nothing, papers, "the papers make a difference");
    let withdrawn = [consent.as_str()];
    let withdraws = offices
        .federation
        .agent_cli(CLINIC, "consent withdraw", &withdrawn);
    withdraws.await?.done()?;
    stands_so(offices, &consent, "withdrawn").await?;
    agrees_with_the_broker(offices, "after the withdrawal").await?;
    is_told(&offices.federation, &offices.person).await
}

/// What people read, in both languages.
async fn is_told(federation: &Federation, person: &str) -> Result<()> {
    let dir = federation.agent_dir(HOUSE);
    let dir = dir.to_string_lossy();
    for (lang, told) in [
        (
            "en",
            [
                "From clinic (health care):",
                "DENIED",
                "Bear in mind:",
                "rule: ",
            ],
        ),
        (
            "fr",
            ["Auprès de clinic (santé)", "REFUSÉ", "À savoir", "règle"],
        ),
    ] {
        let args = ["agent", "preview", "--dir", &dir, "--person", person];
        let args = [&args[..], &["--worker", WORKER, "--lang", lang]].concat();
        let ran = std::process::Command::new(EXE).args(&args).output()?;
        let text = String::from_utf8(ran.stdout)?;
        for words in told {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
    Ok(())
}
