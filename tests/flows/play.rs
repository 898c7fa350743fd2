//! The events of an exercise, one command after another.

use crate::{
    script::{self, Advance, Agreement, Answer, Ask, Consent, Event, Expected, OpenCase, Withdraw},
    town::{EXE, OVERSIGHT, PATIENCE, Town},
};
use anyhow::{Context as _, Result, ensure};
use passerelle_model::time::Timestamp;
use passerelle_proto::views::{CaseView, RequestView};
use passerelle_tests::{cli::Ran, export::Export, office::within};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// A question as it was asked.
pub(crate) struct Asked {
    pub(crate) request: String,
    pub(crate) requester: String,
    pub(crate) worker: String,
    /// Whether it names somebody.
    pub(crate) names_somebody: bool,
    /// In which case.
    pub(crate) case: Option<String>,
}

pub(crate) struct Play {
    pub(crate) town: Town,
    /// Ids by the names of the file: consents, agreements, cases.
    ids: BTreeMap<String, String>,
    /// Parties of each agreement, agencies of each case, the lead first.
    parties: BTreeMap<String, Vec<String>>,
    questions: BTreeMap<String, Asked>,
    away: BTreeSet<String>,
    /// Cases that ended without a concern.
    pub(crate) without_concern: BTreeSet<String>,
}

/// Plays a whole exercise; then anyone verifies the log.
pub(crate) async fn play(text: &str) -> Result<()> {
    let Some(town) = Town::open(text).await? else {
        return Ok(());
    };
    let mut play = Play {
        town,
        ids: BTreeMap::new(),
        parties: BTreeMap::new(),
        questions: BTreeMap::new(),
        away: BTreeSet::new(),
        without_concern: BTreeSet::new(),
    };
    for event in std::mem::take(&mut play.town.script.events) {
        let at = event.at.clone();
        play.event(event).await.with_context(|| at)?;
    }
    ensure!(!play.questions.is_empty(), "nothing was asked");
    for asked in play.questions.values() {
        play.is_looked_at_early(asked).await?;
    }
    let export = play.town.federation.export(OVERSIGHT).await?;
    export.verify()?;
    for (name, asked) in &play.questions {
        let decided = export.count(&asked.request, "decided");
        ensure!(decided > 0, "no decision on `{name}` in the log");
    }
    play.nobody_is_found_in_the_numbers(&export).await
}

fn texts<'a>(flag: &'a str, values: &'a [String]) -> Vec<&'a str> {
    values.iter().flat_map(|v| [flag, v.as_str()]).collect()
}

impl Play {
    /// A handful of people: a report about them says nothing.
    async fn nobody_is_found_in_the_numbers(&self, export: &Export) -> Result<()> {
        let file = export.path.to_str().context("a path that is not text")?;
        let args = [
            "report",
            file,
            "--rows",
            "holder",
            "--columns",
            "outcome",
            "--json",
        ];
        let said = self.town.federation.passerelle_audit(EXE, &args).await?;
        ensure!(said.status.success(), "{said:?}");
        let table: Value = serde_json::from_slice(&said.stdout)?;
        let numbers = table["numbers"].as_array().context("no numbers")?;
        let lines = numbers.iter().filter_map(Value::as_array);
        let all: Vec<_> = lines.flatten().chain([&table["total"]]).collect();
        ensure!(all.contains(&&Value::Null), "{table}");
        ensure!(all.iter().all(|n| n.is_null() || **n == 0), "{table}");
        Ok(())
    }

    pub(crate) fn asked(&self, question: &str) -> Result<&Asked> {
        let asked = self.questions.get(question);
        asked.with_context(|| format!("`{question}` was not asked"))
    }

    pub(crate) fn is_away(&self, agency: &str) -> bool {
        self.away.contains(agency)
    }

    pub(crate) fn id(&self, name: &str) -> Result<&str> {
        let id = self.ids.get(name);
        id.map(String::as_str)
            .with_context(|| format!("`{name}` is nothing yet"))
    }

    async fn event(&mut self, event: Event) -> Result<()> {
        self.town.pass_until(script::moment(&event.at)?)?;
        let refused = event.refused.as_deref();
        if let Some(consent) = &event.consent {
            let ran = self.consent(consent).await?;
            if let Some(ran) = self.done(ran, refused)? {
                self.ids.insert(consent.id.clone(), ran.text("id")?);
            }
        }
        if let Some(withdraw) = &event.withdraw {
            let ran = self.withdraw(withdraw).await?;
            self.done(ran, refused)?;
        }
        if let Some(agreement) = &event.agreement {
            let at = script::moment(&event.at)?;
            let ran = self.propose(agreement, at).await?;
            if let Some(ran) = self.done(ran, refused)? {
                self.ids.insert(agreement.id.clone(), ran.text("id")?);
                let parties = agreement.parties.keys().cloned().collect();
                self.parties.insert(agreement.id.clone(), parties);
                self.sign_at_once(agreement).await?;
            }
        }
        if let Some(sign) = &event.sign {
            let ran = self.sign(&sign.agreement, &sign.by).await?;
            self.done(ran, refused)?;
        }
        if let Some(open) = &event.open_case {
            let ran = self.open_case(open).await?;
            if let Some(ran) = self.done(ran, refused)? {
                self.ids.insert(open.id.clone(), ran.text("id")?);
                self.case_is_known(&open.id, "stage_1").await?;
            }
        }
        if let Some(advance) = &event.advance {
            let ran = self.advance(advance).await?;
            if self.done(ran, refused)?.is_some() {
                self.case_is_known(&advance.case, &advance.stage).await?;
                let outcome = advance.outcome.as_deref().unwrap_or_default();
                if outcome.starts_with("rejected_") || outcome == "lowered_no_action" {
                    self.without_concern.insert(advance.case.clone());
                }
            }
        }
        if let Some(ask) = &event.ask {
            ensure!(
                refused.is_none(),
                "a question that is refused is not played"
            );
            self.ask(ask).await.with_context(|| ask.id.clone())?;
        }
        if let Some(answer) = &event.answer {
            let ran = self.answer(answer).await?;
            self.done(ran, refused)?;
        }
        if let Some(question) = &event.erase {
            let asked = self.asked(question)?;
            let federation = &self.town.federation;
            let args = [asked.request.as_str()];
            let ran = federation
                .agent_cli(&asked.requester, "erase", &args)
                .await?;
            self.done(ran, refused)?;
        }
        if let Some(agency) = event.away {
            self.town.federation.agent(&agency).terminate().await?;
            self.away.insert(agency);
        }
        if let Some(agency) = event.back {
            self.town.federation.serve_agent(&agency).await?;
            self.away.remove(&agency);
        }
        for (question, views) in &event.then {
            self.see(question, views).await?;
        }
        Ok(())
    }

    /// What a command did, or `None` if it was refused as it should be.
    fn done(&self, ran: Ran, refused: Option<&str>) -> Result<Option<Ran>> {
        match refused {
            None => ran.done().map(Some),
            Some(code) => {
                let said = ran.error_code();
                ensure!(ran.code != 0 && said.as_deref() == Some(code), "{ran:?}");
                Ok(None)
            }
        }
    }

    async fn consent(&self, consent: &Consent) -> Result<Ran> {
        let days = consent.lasts_days.unwrap_or(180).to_string();
        let mut args = vec!["--person", self.town.person(&consent.by, &consent.person)?];
        args.extend(texts("--category", &consent.categories));
        args.extend(texts("--purpose", &consent.purposes));
        args.extend(texts("--recipient", &consent.recipients));
        args.extend(texts("--discloser", &consent.disclosers));
        for (flag, value) in [
            ("--giver", &consent.giver),
            ("--capacity", &consent.capacity),
            ("--method", &consent.method),
        ] {
            args.extend(value.iter().flat_map(|value| [flag, value.as_str()]));
        }
        args.extend(["--language", "fr", "--days", &days]);
        let federation = &self.town.federation;
        federation
            .agent_cli(&consent.by, "consent record", &args)
            .await
    }

    async fn withdraw(&self, withdraw: &Withdraw) -> Result<Ran> {
        let mut args = vec![self.id(&withdraw.consent)?];
        for (flag, value) in [
            ("--recipient", &withdraw.recipient),
            ("--category", &withdraw.category),
        ] {
            args.extend(value.iter().flat_map(|value| [flag, value.as_str()]));
        }
        let federation = &self.town.federation;
        federation
            .agent_cli(&withdraw.at, "consent withdraw", &args)
            .await
    }

    async fn propose(&self, agreement: &Agreement, at: i64) -> Result<Ran> {
        let starts = match &agreement.starts {
            Some(starts) => script::moment(starts)?,
            None => at,
        };
        let ends = script::moment(&agreement.ends)?;
        let day = |s: i64| -> Result<String> {
            Ok(Timestamp(u64::try_from(s)?.saturating_mul(1_000)).to_rfc3339())
        };
        let mut draft = format!(
            "purposes = {:?}\nstarts = \"{}\"\nreview = \"{}\"\nends = \"{}\"\n",
            agreement.purposes,
            day(starts)?,
            day(starts.midpoint(ends))?,
            day(ends)?
        );
        for (agency, basis) in &agreement.parties {
            write!(
                draft,
                "[[parties]]\nagency = \"{agency}\"\nbasis = \"{basis}\"\n"
            )?;
        }
        for line in &agreement.lines {
            write!(
                draft,
                "[[lines]]\nfrom = \"{}\"\nto = \"{}\"\ncategory = \"{}\"\nlevel = \"{}\"\n\
                 retention_days = {}\n",
                line.from,
                line.to,
                line.category,
                line.level,
                line.retention_days.unwrap_or(90)
            )?;
        }
        let federation = &self.town.federation;
        let draft = federation.file(&format!("{}.toml", agreement.id), draft)?;
        federation
            .agent_cli(&agreement.by, "agreement propose", &[&draft])
            .await
    }

    async fn sign_at_once(&self, agreement: &Agreement) -> Result<()> {
        let others = agreement.parties.keys().filter(|p| **p != agreement.by);
        for party in others.filter(|_| !agreement.unsigned) {
            self.sign(&agreement.id, party).await?.done()?;
        }
        Ok(())
    }

    async fn sign(&self, agreement: &str, by: &str) -> Result<Ran> {
        let (federation, id) = (&self.town.federation, self.id(agreement)?);
        let what = format!("`{by}` to hear of the agreement `{agreement}`");
        within(PATIENCE, &what, || async {
            federation
                .agent_cli(by, "agreement show", &[id])
                .await?
                .done()
                .map(Some)
        })
        .await?;
        federation.agent_cli(by, "agreement sign", &[id]).await
    }

    async fn open_case(&mut self, open: &OpenCase) -> Result<Ran> {
        let others: Vec<String> = open
            .agencies
            .iter()
            .filter(|a| **a != open.by)
            .cloned()
            .collect();
        let mut args = texts("--agency", &others);
        if let Some(profile) = &open.profile {
            args.extend(["--profile", profile]);
        }
        if let Some(person) = &open.person {
            args.extend(["--person", self.town.person(&open.by, person)?]);
        }
        let ran = self
            .town
            .federation
            .agent_cli(&open.by, "case open", &args)
            .await?;
        let all = [std::slice::from_ref(&open.by), others.as_slice()].concat();
        self.parties.insert(open.id.clone(), all);
        Ok(ran)
    }

    async fn advance(&self, advance: &Advance) -> Result<Ran> {
        let stage = advance.stage.trim_start_matches("stage_");
        let threshold = advance.threshold.as_deref().unwrap_or("pending");
        let mut args = vec![
            self.id(&advance.case)?,
            "--stage",
            stage,
            "--threshold",
            threshold,
        ];
        args.extend(texts("--agency", &advance.agencies));
        args.extend(texts("--plan", &advance.plan));
        if let Some(outcome) = &advance.outcome {
            args.extend(["--outcome", outcome]);
        }
        let lead = self.parties.get(&advance.case).and_then(|all| all.first());
        let lead = lead.context("an unknown case")?;
        self.town
            .federation
            .agent_cli(lead, "case advance", &args)
            .await
    }

    /// Waits until everybody at the table has heard where the case stands.
    async fn case_is_known(&self, case: &str, stage: &str) -> Result<()> {
        let (federation, id) = (&self.town.federation, self.id(case)?);
        for agency in self.parties.get(case).into_iter().flatten() {
            let what = format!("`{agency}` to hear of the case `{case}`");
            within(PATIENCE, &what, || async {
                let shown = federation
                    .agent_cli(agency, "case show", &[id])
                    .await?
                    .done()?;
                let views: Vec<CaseView> = serde_json::from_value(shown.json)?;
                let view = views.first().context("no case")?;
                ensure!(view.stage == stage || view.outcome.is_some(), "{view:?}");
                Ok(Some(()))
            })
            .await?;
        }
        Ok(())
    }

    async fn ask(&mut self, ask: &Ask) -> Result<()> {
        let requester = self.town.agency_of(&ask.by)?;
        let items: Vec<String> = ask
            .items
            .iter()
            .map(|item| format!("{}:{}", item.category, item.level))
            .collect();
        let mut args = vec!["--holder", &ask.to, "--purpose", &ask.purpose];
        args.extend(["--basis", &ask.basis, "--worker", &ask.by]);
        args.extend(["--justification", "as the exercise tells"]);
        args.extend(texts("--item", &items));
        if let Some(person) = &ask.about {
            args.extend(["--person", self.town.person(&requester, person)?]);
        }
        if ask.near {
            self.town.is_indexed(&ask.to).await?;
            args.push("--near");
        }
        let valid_s = ask.lasts_hours.map(|hours| (hours * 3_600).to_string());
        if let Some(valid_s) = &valid_s {
            args.extend(["--valid", valid_s]);
        }
        if let Some(kind) = &ask.emergency {
            args.extend(["--emergency", kind]);
        }
        for (flag, name) in [
            ("--case", &ask.case),
            ("--consent", &ask.consent),
            ("--agreement", &ask.agreement),
        ] {
            if let Some(name) = name {
                args.extend([flag, self.id(name)?]);
            }
        }
        let (_, view) = self.town.federation.ask(&requester, &args).await?;
        for (category, expected) in &ask.expect {
            decided(&view, category, expected)?;
        }
        let asked = Asked {
            request: view.line.request,
            requester,
            worker: ask.by.clone(),
            names_somebody: ask.about.is_some(),
            case: ask.case.clone(),
        };
        self.questions.insert(ask.id.clone(), asked);
        self.see(&ask.id, &ask.sees).await?;
        self.is_told(&ask.id, &ask.to, &ask.expect).await
    }

    async fn answer(&self, answer: &Answer) -> Result<Ran> {
        let holder = self.town.agency_of(&answer.by)?;
        let request = &self.asked(&answer.question)?.request;
        let verb = answer.verdict.replace('_', "-");
        let mut args = vec![request.as_str(), "--worker", &answer.by];
        let record = match &answer.record {
            Some(person) => Some(self.is_shown_near(answer, &holder, person).await?),
            None => None,
        };
        args.extend(record.iter().flat_map(|record| ["--record", record]));
        self.town.federation.agent_cli(&holder, &verb, &args).await
    }
}

/// Checks the decision on one category.
fn decided(view: &RequestView, category: &str, expected: &Expected) -> Result<()> {
    let mut items = view.decision.iter().map(|item| &item.item);
    let item = items.find(|item| item.category.code() == category);
    let ruling = &item
        .with_context(|| format!("`{category}` was not decided"))?
        .ruling;
    let effect: Value = serde_json::to_value(ruling.effect)?;
    ensure!(
        effect == expected.decision.as_str(),
        "`{category}`: {ruling:?}"
    );
    if let Some(rules) = &expected.rules {
        let by: BTreeSet<&str> = ruling.reasons.iter().map(|r| r.rule.as_str()).collect();
        let wanted: BTreeSet<&str> = rules.iter().map(String::as_str).collect();
        ensure!(by == wanted, "`{category}` by {by:?}, not {wanted:?}");
    }
    if let Some(obligations) = &expected.obligations {
        let wanted: BTreeSet<String> = obligations.split(',').map(str::to_owned).collect();
        let bound = ruling.obligations.iter().map(in_words);
        let bound = bound.collect::<Result<BTreeSet<_>>>()?;
        ensure!(
            bound == wanted,
            "`{category}` obliges to {bound:?}, not {wanted:?}"
        );
    }
    Ok(())
}

/// An obligation as the annotation of a rule says it.
fn in_words(obligation: &passerelle_model::pdp::Obligation) -> Result<String> {
    Ok(match serde_json::to_value(obligation)? {
        Value::String(name) => name,
        Value::Object(named) => {
            let (name, value) = named.iter().next().context("an empty obligation")?;
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            format!("{name}:{value}")
        }
        other => anyhow::bail!("an obligation {other}"),
    })
}
