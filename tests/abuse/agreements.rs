//! An agreement through its life, with real processes: signed as a document, suspended, lifted,
//! followed by a next version, at its end. All people are invented.

use crate::{
    offices::{CLINIC, HOUSE, OFFICES, Offices, PATIENCE},
    scene::EXE,
};
use anyhow::{Context as _, Result};
use passerelle_model::{pdp::Effect, request::Status};
use passerelle_proto::views::{AgreementView, RequestView};
use passerelle_tests::{
    cli::Ran, false_clock::FalseClock, federation::Federation, machine::given, office::within,
    raw_agency::now,
};

const DAY_S: u64 = 86_400;
const BASIS: &str = "FOIPReg-17.1";

fn in_days(days: u64) -> Result<String> {
    // An hour less: how many whole days are left does not hang on the second.
    Ok(now().plus_s(days * DAY_S - 3_600).to_rfc3339())
}

/// The template, between house and clinic, for so many days.
fn draft(supersedes: Option<&str>, days: u64, text: &str) -> Result<String> {
    let template = passerelle_agent::isa::TEMPLATE;
    let (head, _) = template.split_once("[[lines]]").context("no lines")?;
    let (_, tail) = template.split_once("[texts]").context("no texts")?;
    let earlier = supersedes.map_or_else(String::new, |id| format!("supersedes = \"{id}\"\n"));
    let ends = in_days(days)?;
    let line = format!(
        "[[lines]]\nfrom = \"{CLINIC}\"\nto = \"{HOUSE}\"\ncategory = \"in_service\"\n\
         level = \"known\"\nretention_days = 30\n\n"
    );
    Ok(format!("{head}{line}[texts]{tail}")
        .replace(
            "# supersedes = \"isa-00112233445566778899aabbccddeeff\"\n",
            &earlier,
        )
        .replace("\"2029-06-30\"", &format!("\"{ends}\""))
        .replace("\"2029-12-31T00:00:00Z\"", &format!("\"{ends}\""))
        .replace("\"2026-01-01\"", "\"2024-01-01\"")
        .replace("\"police-nord\"", &format!("\"{HOUSE}\""))
        .replace("\"sante-centre\"", &format!("\"{CLINIC}\""))
        .replace("FIPPA-42(1)h", BASIS)
        .replace("low residual risk", text))
}

struct Life {
    offices: Offices,
    clock: FalseClock,
}

impl Life {
    async fn begin() -> Result<Option<Self>> {
        let mut federation = Federation::prepare(EXE)?;
        let clock = FalseClock::at(&federation.dir().join("all.clock"));
        let Some(clock) = given("a clock that can be set", clock)? else {
            return Ok(None);
        };
        for node in OFFICES.into_iter().chain(["broker"]) {
            federation.surround(node, clock.around());
        }
        let offices = Offices::open_in(federation).await?;
        Ok(Some(Self { offices, clock }))
    }

    async fn agreement(&self, agency: &str, verb: &str, args: &[&str]) -> Result<Ran> {
        let verb = format!("agreement {verb}");
        self.offices.federation.agent_cli(agency, &verb, args).await
    }

    async fn view(&self, agency: &str, id: &str) -> Result<Option<AgreementView>> {
        let shown = self.agreement(agency, "show", &[id]).await?;
        if shown.code != 0 {
            return Ok(None);
        }
        let views: Vec<AgreementView> = serde_json::from_value(shown.json)?;
        Ok(views.into_iter().next())
    }

    /// Waits until both see it in this state.
    async fn until(&self, id: &str, status: &str) -> Result<()> {
        for agency in [HOUSE, CLINIC] {
            within(PATIENCE, "an agreement to stand so at both", || async {
                let view = self.view(agency, id).await?;
                Ok(view.filter(|v| v.status == status).map(drop))
            })
            .await?;
        }
        Ok(())
    }

    /// The house proposes, the clinic signs the file that it was sent.
    async fn agree(&self, name: &str, text: &str) -> Result<String> {
        let file = self.offices.federation.file(name, text)?;
        let checked = self
            .offices
            .federation
            .cli(&["agent", "agreement", "check", &file])
            .await?;
        assert_eq!(checked.code, 0, "{checked:?}");
        let proposed = self.agreement(HOUSE, "propose", &[&file]).await?;
        let id = proposed.done()?.text("id")?;
        self.until(&id, "proposed").await?;
        self.agreement(CLINIC, "sign", &[&id, &file])
            .await?
            .done()?;
        self.until(&id, "in_force").await?;
        Ok(id)
    }

    async fn ask(&self, more: &[&str]) -> Result<RequestView> {
        let args = [
            ["--person", &self.offices.person],
            ["--holder", CLINIC],
            ["--item", "in_service:known"],
            ["--purpose", "deliver"],
            ["--basis", BASIS],
            ["--worker", "ana"],
        ];
        let args = [&args.concat()[..], more].concat();
        Ok(self.offices.federation.ask(HOUSE, &args).await?.1)
    }

    /// Asks, and gets an answer that rests on this agreement.
    async fn is_answered_on(&self, id: &str, more: &[&str]) -> Result<()> {
        let asked = self.ask(more).await?;
        let ruling = &asked.decision[0].item.ruling;
        assert_eq!(ruling.effect, Effect::Permit, "{ruling:?}");
        assert_eq!(ruling.agreement.as_ref().map(|a| a.as_str()), Some(id));
        let request = asked.line.request;
        self.offices.until(&request, Status::Delivered).await?;
        Ok(())
    }

    /// Asks, and is denied by this rule.
    async fn is_denied_by(&self, rule: &str, more: &[&str]) -> Result<()> {
        let asked = self.ask(more).await?;
        let ruling = &asked.decision[0].item.ruling;
        assert_eq!(ruling.effect, Effect::Deny);
        let rules: Vec<_> = ruling.reasons.iter().map(|r| r.rule.as_str()).collect();
        assert_eq!(rules, [rule]);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agreement_is_signed_suspended_lifted_followed_and_over() -> Result<()> {
    let Some(life) = Life::begin().await? else {
        return Ok(());
    };
    let text = draft(None, 400, "low residual risk")?;
    let first = life.agree("first.toml", &text).await?;
    life.is_answered_on(&first, &[]).await?;
    let refused = life.agreement(HOUSE, "lift", &[&first]).await?;
    assert_eq!(
        (refused.code, refused.error_code().as_deref()),
        (1, Some("wrong_state"))
    );

    life.agreement(CLINIC, "suspend", &[&first, "--reason", "breach"])
        .await?
        .done()?;
    life.until(&first, "suspended").await?;
    life.is_denied_by("agreement-suspended", &[]).await?;
    life.agreement(CLINIC, "lift", &[&first]).await?.done()?;
    life.until(&first, "in_force").await?;
    life.is_answered_on(&first, &[]).await?;

    let next = draft(Some(&first), 20, "low residual risk, again")?;
    let second = life.agree("second.toml", &next).await?;
    life.until(&first, "superseded").await?;
    life.is_answered_on(&second, &[]).await?;
    life.is_denied_by("agreement-superseded", &["--agreement", &first])
        .await?;
    let again = life
        .offices
        .federation
        .file("again.toml", draft(Some(&first), 30, "new")?)?;
    let again = life.agreement(HOUSE, "propose", &[&again]).await?;
    assert_eq!(
        (again.code, again.error_code().as_deref()),
        (1, Some("wrong_state"))
    );
    is_told(&life, &second).await?;

    life.clock.set(i64::try_from(21 * DAY_S)?)?;
    life.until(&second, "ended").await?;
    life.is_denied_by("agreement-not-in-force", &[]).await
}

/// What people read of it: the list with its history and what ends soon, and the text.
async fn is_told(life: &Life, id: &str) -> Result<()> {
    let federation = &life.offices.federation;
    let dir = federation.agent_dir(HOUSE);
    let dir = dir.to_string_lossy();
    let list = ["agent", "agreement", "list", "--history", "--dir", &dir];
    let list = plain(federation, &list)?;
    for told in [
        "version 2",
        "in force",
        "ends in 19 days",
        "dans 19 jours",
        "suspended by clinic (breach)",
        "superseded",
    ] {
        assert!(list.contains(told), "{told}: {list}");
    }
    let status = federation.agent_status(HOUSE).await?.context("no status")?;
    assert_eq!(status.agreement_warnings.len(), 1);
    let print = [
        "agent",
        "agreement",
        "print",
        id,
        "--language",
        "fr",
        "--dir",
        &dir,
    ];
    let text = plain(federation, &print)?;
    for told in [
        "en vigueur",
        "Soins de santé mentale",
        "a signé",
        "(fictive)",
        BASIS,
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    Ok(())
}

/// What a command prints for people.
fn plain(federation: &Federation, args: &[&str]) -> Result<String> {
    let ran = std::process::Command::new(federation.exe())
        .args(args)
        .output()?;
    anyhow::ensure!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    Ok(String::from_utf8(ran.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_signs_another_text_than_the_one_proposed() -> Result<()> {
    let Some(life) = Life::begin().await? else {
        return Ok(());
    };
    let file = |name: &str, text: &str| life.offices.federation.file(name, text);
    let proposed = file("a.toml", &draft(None, 400, "low residual risk")?)?;
    let other = file("b.toml", &draft(None, 400, "no risk at all")?)?;
    let id = life
        .agreement(HOUSE, "propose", &[&proposed])
        .await?
        .done()?
        .text("id")?;
    life.until(&id, "proposed").await?;
    for args in [vec![id.as_str()], vec![id.as_str(), other.as_str()]] {
        let ran = life.agreement(CLINIC, "sign", &args).await?;
        assert_eq!(
            (ran.code, ran.error_code().as_deref()),
            (1, Some("payload_mismatch"))
        );
    }
    let asked = life.ask(&[]).await?;
    assert_eq!(asked.decision[0].item.ruling.effect, Effect::Deny);
    life.agreement(CLINIC, "terminate", &[&id, "--reason", "other"])
        .await?
        .done()?;
    life.until(&id, "terminated").await?;
    let ran = life.agreement(CLINIC, "sign", &[&id, &proposed]).await?;
    assert_eq!(ran.error_code().as_deref(), Some("wrong_state"), "{ran:?}");
    Ok(())
}

/// The house's draft, with three people of whom two sign for the clinic; their keys' files.
async fn with_people(life: &Life) -> Result<(String, Vec<String>)> {
    let federation = &life.offices.federation;
    let (mut people, mut files) = (String::new(), Vec::new());
    for office in ["chief", "privacy", "counsel"] {
        let file = federation.dir().join(format!("{office}.pem"));
        let file = file.to_string_lossy().into_owned();
        let made = ["agent", "agreement", "keygen", "--out", &file];
        let made = federation.cli(&made).await?.done()?;
        let key = made.text("key")?;
        let words = format!("{{ en = \"{office}\", fr = \"{office} (fr)\" }}");
        people.push_str(&format!("{{ office = {words}, key = \"{key}\" }}, "));
        files.push(file);
    }
    let text = draft(None, 400, "low residual risk")?;
    let at = text
        .find("signatory = { name = \"Dominique")
        .context("no signatory")?;
    let (head, tail) = text.split_at(at);
    let text = format!("{head}signatures_needed = 2\nsignatories = [{people}]\n{tail}");
    Ok((federation.file("people.toml", text)?, files))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agreement_counts_once_two_of_three_people_have_signed_for_the_clinic() -> Result<()> {
    let Some(life) = Life::begin().await? else {
        return Ok(());
    };
    let federation = &life.offices.federation;
    let (text, keys) = with_people(&life).await?;
    let checked = federation
        .cli(&["agent", "agreement", "check", &text])
        .await?;
    assert_eq!(checked.code, 0, "{checked:?}");
    let id = life
        .agreement(HOUSE, "propose", &[&text])
        .await?
        .done()?
        .text("id")?;
    life.until(&id, "proposed").await?;
    let path = |name: &str| federation.dir().join(name).to_string_lossy().into_owned();
    let terms = path("terms.json");
    life.agreement(CLINIC, "terms", &[&id, "--out", &terms])
        .await?
        .done()?;
    let mut signed = Vec::new();
    for (n, key) in keys.iter().enumerate() {
        let out = path(&format!("signed-{n}.json"));
        let args = [
            "agent",
            "agreement",
            "endorse",
            &terms,
            &text,
            "--key",
            key,
            "--out",
            &out,
        ];
        federation.cli(&args).await?.done()?;
        signed.push(out);
    }
    // Nobody endorses terms that another text says, nor with a key that they do not name.
    let other = federation.file("other.toml", draft(None, 400, "no risk at all")?)?;
    let stranger = path("stranger.pem");
    federation
        .cli(&["agent", "agreement", "keygen", "--out", &stranger])
        .await?
        .done()?;
    let out = path("none.json");
    for (text, key, code) in [
        (&other, &keys[0], "payload_mismatch"),
        (&text, &stranger, "not_a_party"),
    ] {
        let args = [
            "agent",
            "agreement",
            "endorse",
            &terms,
            text,
            "--key",
            key,
            "--out",
            &out,
        ];
        let ran = federation.cli(&args).await?;
        assert_eq!(
            (ran.code, ran.error_code().as_deref()),
            (1, Some(code)),
            "{ran:?}"
        );
    }
    let sign = |with: Vec<&str>| {
        let mut args = vec![id.clone(), text.clone()];
        for file in with {
            args.extend(["--endorsement".to_owned(), file.to_owned()]);
        }
        let life = &life;
        async move {
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            life.agreement(CLINIC, "sign", &args).await
        }
    };
    for (with, code) in [
        (vec![], "signatories_missing"),
        (vec![signed[0].as_str()], "signatories_missing"),
        (vec![signed[0].as_str(), &signed[0]], "duplicate"),
    ] {
        let ran = sign(with).await?;
        assert_eq!(
            (ran.code, ran.error_code().as_deref()),
            (1, Some(code)),
            "{ran:?}"
        );
    }
    life.is_denied_by("agreement-not-signed", &["--agreement", &id])
        .await?;
    sign(vec![signed[2].as_str(), &signed[0]]).await?.done()?;
    life.until(&id, "in_force").await?;
    life.is_answered_on(&id, &[]).await?;
    let dir = federation.agent_dir(HOUSE);
    let dir = dir.to_string_lossy();
    let print = [
        "agent",
        "agreement",
        "print",
        &id,
        "--language",
        "fr",
        "--dir",
        &dir,
    ];
    let printed = plain(federation, &print)?;
    assert!(
        printed.contains("Doivent signer") && printed.contains("2 sur 3"),
        "{printed}"
    );
    Ok(())
}
