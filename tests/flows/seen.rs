//! What a party sees of a question, in the words of exercises, read off its own node.

use crate::{
    play::{Asked, Play},
    script::{Answer, Expected, Views},
    town::{OVERSIGHT, PATIENCE},
};
use anyhow::{Context as _, Result, ensure};
use passerelle_model::request::Status;
use passerelle_proto::views::{CaseView, DeletionView, RequestLine, RequestView};
use passerelle_tests::office::within;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What nobody may see is looked for once more after so long.
const STILL: Duration = Duration::from_millis(1_500);

/// Words for what has not happened yet, or is not to be seen at all.
const NOT_YET: [&str; 2] = ["nothing", "waits"];

impl Play {
    /// Waits until each party sees what it should, then makes sure that nobody sees more.
    pub(crate) async fn see(&self, question: &str, views: &Views) -> Result<()> {
        let what = self.asked(question)?;
        let named = |not_yet| {
            let views = views.iter();
            views.filter(move |(_, view)| NOT_YET.contains(&view.as_str()) == not_yet)
        };
        for (party, expected) in named(false) {
            let text = format!("`{party}` to see `{question}` as `{expected}`");
            within(PATIENCE, &text, || async {
                let seen = self.view(what, party, expected).await?;
                anyhow::ensure!(seen == *expected, "it sees `{seen}`");
                Ok(Some(()))
            })
            .await?;
        }
        if named(true).next().is_some() {
            tokio::time::sleep(STILL).await;
        }
        for (party, expected) in named(true) {
            if self.is_away(party) {
                continue;
            }
            let seen = self.view(what, party, expected).await?;
            anyhow::ensure!(
                seen == *expected,
                "`{party}` sees `{question}` as `{seen}`, not `{expected}`"
            );
        }
        Ok(())
    }

    async fn view(&self, asked: &Asked, party: &str, expected: &str) -> Result<&'static str> {
        match party {
            OVERSIGHT => self.in_the_log(asked).await,
            "person" if !asked.names_somebody => Ok("nothing"),
            "person" => self.of_the_person(asked).await,
            agency if agency == asked.requester => self.of_the_requester(asked).await,
            agency => self.of_another(asked, agency, expected).await,
        }
    }

    async fn shown(&self, asked: &Asked) -> Result<RequestView> {
        let federation = &self.town.federation;
        federation
            .show(&asked.requester, &asked.request, &asked.worker)
            .await
    }

    /// Checks how finely the requester was told what names nobody, and that whoever works at the
    /// holder is warned of it.
    pub(crate) async fn is_told(
        &self,
        question: &str,
        holder: &str,
        expected: &BTreeMap<String, Expected>,
    ) -> Result<()> {
        let said = |(name, e): (&String, &Expected)| Some((name.clone(), e.said.clone()?));
        let expected: BTreeMap<_, _> = expected.iter().filter_map(said).collect();
        if expected.is_empty() {
            return Ok(());
        }
        let asked = self.asked(question)?;
        let view = self.shown(asked).await?;
        let answer = view.answer.context("no answer")?;
        for (category, wanted) in &expected {
            let item = answer.items.iter().find(|i| i.category == *category);
            let values = &item.with_context(|| category.clone())?.values;
            let told: BTreeSet<_> = values.iter().map(how_finely).collect();
            ensure!(told == BTreeSet::from([wanted.as_str()]), "{values:?}");
        }
        let anybody = self.town.somebody_of(holder)?;
        let federation = &self.town.federation;
        let shown = federation.show(holder, &asked.request, &anybody).await?;
        let less = expected.values().any(|said| said != "as_recorded");
        ensure!(
            shown.few_alike.is_some() == less,
            "{holder}: {:?}",
            shown.few_alike
        );
        Ok(())
    }

    /// What was received in a case that ended without a concern waits for an early look; it is kept
    /// with a reason here, and the holder sees that it is.
    pub(crate) async fn is_looked_at_early(&self, asked: &Asked) -> Result<()> {
        let case = asked.case.as_ref();
        let Some(case) = case.filter(|case| self.without_concern.contains(*case)) else {
            return Ok(());
        };
        let view = self.shown(asked).await?;
        let (at, request) = (&asked.requester, &asked.request);
        let waits = self.early_look(asked).await?;
        ensure!(waits.is_some() == view.answer.is_some(), "{waits:?}");
        let Some(review) = waits else {
            return Ok(());
        };
        ensure!(review.kept.is_none() && !review.overdue, "{review:?}");
        let federation = &self.town.federation;
        let args = [request, "--reason", "legal-duty", "--worker", &asked.worker];
        let kept = federation.agent_cli(at, "deletions keep", &args).await?;
        kept.done()?;
        let review = self.early_look(asked).await?.context("it is gone")?;
        ensure!(review.kept.as_deref() == Some("legal_duty"), "{review:?}");
        let shown = federation
            .agent_cli(&view.line.holder, "case show", &[self.id(case)?])
            .await?;
        let cases: Vec<CaseView> = serde_json::from_value(shown.done()?.json)?;
        let copies = cases.first().and_then(|case| case.copies.as_ref());
        let copies = copies.context("the holder sees no copy")?;
        ensure!(copies.kept_by.contains(at), "{copies:?}");
        Ok(())
    }

    async fn early_look(&self, asked: &Asked) -> Result<Option<DeletionView>> {
        let federation = &self.town.federation;
        let listed = federation
            .agent_cli(&asked.requester, "deletions list", &[])
            .await?;
        let reviews: Vec<DeletionView> = serde_json::from_value(listed.done()?.json)?;
        Ok(reviews.into_iter().find(|r| r.request == asked.request))
    }

    /// The record of `person` at the holder, which shows it beside the question as a near one.
    pub(crate) async fn is_shown_near(
        &self,
        answer: &Answer,
        holder: &str,
        person: &str,
    ) -> Result<String> {
        let record = self.town.record_of(person)?;
        let request = &self.asked(&answer.question)?.request;
        let shown = self
            .town
            .federation
            .show(holder, request, &answer.by)
            .await?;
        let near = shown.near.context("no other spellings")?;
        ensure!(near.iter().any(|n| n.record == record), "{near:?}");
        Ok(record)
    }

    async fn of_the_requester(&self, asked: &Asked) -> Result<&'static str> {
        let view = self.shown(asked).await?;
        Ok(match (&view.answer, view.line.status) {
            (_, Status::Erased) => "erased",
            (Some(answer), _) if answer.recalled => "recalled",
            (Some(answer), _) => match answer.outcome.as_str() {
                "released" => "facts",
                "declined" => "declined",
                "cannot_say" => "cannot_say",
                other => anyhow::bail!("an outcome `{other}`"),
            },
            (None, status) => outside(status),
        })
    }

    /// What the log tells about the person's data: that of the requester's status which is no
    /// content.
    async fn of_the_person(&self, asked: &Asked) -> Result<&'static str> {
        let view = self.shown(asked).await?;
        Ok(match &view.answer {
            Some(answer) if answer.recalled => "recalled",
            _ => outside(view.line.status),
        })
    }

    async fn of_another(
        &self,
        asked: &Asked,
        agency: &str,
        expected: &str,
    ) -> Result<&'static str> {
        let federation = &self.town.federation;
        let mut lines = federation.lines(agency, "inbox").await?;
        lines.extend(federation.lines(agency, "requests").await?);
        let line = lines.into_iter().find(|l| l.request == asked.request);
        Ok(match line {
            None => "nothing",
            Some(RequestLine {
                status: Status::HolderReview,
                ..
            }) => "reviews",
            Some(line) => match outside(line.status) {
                // A holder's list goes on saying that it answered. That this was recalled since is
                // told to whoever has the answer.
                "answered" if expected == "recalled" => "recalled",
                seen => seen,
            },
        })
    }

    /// Whether the log has the request and its decision.
    async fn in_the_log(&self, asked: &Asked) -> Result<&'static str> {
        let found = self
            .town
            .federation
            .cli(&[
                "audit",
                "search",
                "--dir",
                self.town
                    .federation
                    .agent_dir(OVERSIGHT)
                    .to_str()
                    .context("a path")?,
                "--request",
                &asked.request,
            ])
            .await?
            .done()?;
        let text = found.stdout;
        Ok(if text.contains("decided") {
            "entry"
        } else {
            "nothing"
        })
    }
}

fn how_finely(value: &serde_json::Value) -> &str {
    value["generalised"].as_str().unwrap_or("as_recorded")
}

/// Where it stands for whoever does not open the answer.
const fn outside(status: Status) -> &'static str {
    match status {
        Status::Denied => "denied",
        Status::Stopped => "stopped",
        Status::Expired => "expired",
        Status::Erased => "erased",
        Status::Submitted
        | Status::Decided
        | Status::Queued
        | Status::Offered
        | Status::HolderReview => "waits",
        Status::Released
        | Status::Declined
        | Status::CannotSay
        | Status::Answered
        | Status::Delivered
        | Status::Viewed => "answered",
    }
}
