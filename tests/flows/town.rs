//! The federation of an exercise: its agencies with workers, people and files, each a process of
//! its own, all by one clock that the exercise sets.

use crate::script::{self, Script};
use anyhow::{Context as _, Result};
use passerelle_proto::views::ImportReport;
use passerelle_tests::{
    false_clock::FalseClock, federation::Federation, machine::given, office::within,
    raw_agency::now,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::Duration,
};

pub(crate) const EXE: &str = env!("CARGO_BIN_EXE_passerelle");
/// Who reads the log. No exercise has it in its cast: it stands for every reader.
pub(crate) const OVERSIGHT: &str = "oversight";
/// Everybody gets this much time; reached only by a test that fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Town {
    pub(crate) federation: Federation,
    pub(crate) script: Script,
    clock: FalseClock,
    ahead_s: i64,
    /// Person files by agency and name.
    people: BTreeMap<(String, String), String>,
}

fn now_s() -> i64 {
    i64::try_from(now().0 / 1_000).unwrap_or(i64::MAX)
}

impl Town {
    /// Founds it, on the morning of day 1. `None` where the machine has no clock that can be set.
    pub(crate) async fn open(text: &str) -> Result<Option<Self>> {
        let script = script::read(text)?;
        let mut federation = Federation::prepare(EXE)?;
        let clock = FalseClock::at(&federation.dir().join("town.clock"));
        let Some(clock) = given("a clock that can be set", clock)? else {
            return Ok(None);
        };
        let nodes = script.agencies.keys().map(String::as_str);
        for node in nodes.chain([OVERSIGHT, "broker"]) {
            federation.surround(node, clock.around());
        }
        let ahead_s = script::BEGIN_S - now_s();
        clock.set(ahead_s)?;
        let mut town = Self {
            federation,
            script,
            clock,
            ahead_s,
            people: BTreeMap::new(),
        };
        town.found().await?;
        town.write_people()?;
        for agency in town.holders() {
            town.import(&agency).await.with_context(|| agency.clone())?;
        }
        Ok(Some(town))
    }

    /// Time passes, never backwards: if it took longer here than there, it is later.
    pub(crate) fn pass_until(&mut self, moment: i64) -> Result<()> {
        self.ahead_s = self.ahead_s.max(moment - now_s());
        self.clock.set(self.ahead_s)
    }

    /// Every agency, and who reads the log.
    pub(crate) fn agencies(&self) -> Vec<&str> {
        let agencies = self.script.agencies.keys().map(String::as_str);
        agencies.chain([OVERSIGHT]).collect()
    }

    /// As an agency writes the name.
    pub(crate) fn person(&self, agency: &str, name: &str) -> Result<&str> {
        let file = self.people.get(&(agency.to_owned(), name.to_owned()));
        file.map(String::as_str)
            .with_context(|| format!("nobody is `{name}`"))
    }

    pub(crate) fn agency_of(&self, worker: &str) -> Result<String> {
        let worker = self.script.workers.get(worker);
        Ok(worker.context("an unknown worker")?.agency.clone())
    }

    async fn found(&mut self) -> Result<()> {
        self.federation.init_broker().await?.done()?;
        self.federation.serve_broker().await?;
        let cast: Vec<(String, String)> = self
            .script
            .agencies
            .iter()
            .map(|(name, agency)| (name.clone(), agency.sector.clone()))
            .chain([(OVERSIGHT.to_owned(), "oversight".to_owned())])
            .collect();
        for (agency, sector) in &cast {
            self.enrol(agency, sector).await?;
            self.federation.serve_agent(agency).await?;
        }
        self.federation.all_know_each_other(&self.agencies()).await
    }

    async fn enrol(&self, agency: &str, sector: &str) -> Result<()> {
        let token = self.federation.invite(agency, sector).await?;
        let broker = self.federation.address().to_string();
        let here = || {
            self.script
                .workers
                .iter()
                .filter(|(_, w)| w.agency == agency)
        };
        let workers: Vec<String> = match here().next() {
            Some(_) => here().map(|(id, w)| format!("{id}:{}", w.role)).collect(),
            None => vec!["somebody:supervisor".to_owned()],
        };
        let mut args = vec!["--broker", &broker, "--token", &token];
        for worker in &workers {
            args.extend(["--worker", worker]);
        }
        self.federation
            .agent_cli(agency, "enrol", &args)
            .await?
            .done()?;
        let untrained: BTreeSet<&str> = here()
            .filter(|(_, w)| !w.trained)
            .map(|(id, _)| id.as_str())
            .collect();
        self.settle(agency, &untrained)
    }

    /// As an administrator does it, in `agent.toml`: who is not trained, how many people live there.
    fn settle(&self, agency: &str, ids: &BTreeSet<&str>) -> Result<()> {
        let path = self.federation.agent_dir(agency).join("agent.toml");
        let mut settings: toml::Table = toml::from_str(&std::fs::read_to_string(&path)?)?;
        let entry = self.script.agencies.get(agency);
        if let Some(population) = entry.and_then(|a| a.population) {
            settings.insert("population".to_owned(), population.into());
        }
        let workers = settings
            .get_mut("workers")
            .and_then(toml::Value::as_array_mut);
        for worker in workers.context("no workers")? {
            let worker = worker.as_table_mut().context("not a worker")?;
            let id = worker
                .get("id")
                .and_then(toml::Value::as_str)
                .unwrap_or_default();
            if ids.contains(id) {
                worker.insert("trained".to_owned(), false.into());
            }
        }
        Ok(std::fs::write(&path, toml::to_string(&settings)?)?)
    }

    fn write_people(&mut self) -> Result<()> {
        for (place, (name, person)) in self.script.people.iter().enumerate() {
            let born = self.born(place, name)?;
            for agency in self.script.agencies.keys() {
                let (given, family) = written(person, agency)?;
                let file = self.federation.person(family, given, &born)?;
                self.people.insert((agency.clone(), name.clone()), file);
            }
        }
        Ok(())
    }

    /// The code that is on record of somebody in `category`, wherever.
    fn known(&self, person: &str, category: &str) -> Option<&str> {
        let facts = self.script.facts.iter();
        let mut facts = facts.filter(|f| f.person == person && f.category == category);
        facts.find_map(|fact| fact.code.as_deref())
    }

    /// The birth date of the person in this place, of the age on record if there is one.
    fn born(&self, place: usize, name: &str) -> Result<String> {
        let year = match self.known(name, "age_band") {
            None | Some("25-44") => 1990,
            Some("0-11") => 2018,
            Some("12-14") => 2012,
            Some("15-17") => 2009,
            Some("18-24") => 2004,
            Some("45-64") => 1970,
            Some("65+") => 1950,
            Some(other) => anyhow::bail!("`{other}` is no band of age"),
        };
        Ok(format!("{year}-02-{:02}", place + 1))
    }

    /// The source's id of somebody's record, at whichever agency.
    pub(crate) fn record_of(&self, person: &str) -> Result<String> {
        let place = self.script.people.keys().position(|name| name == person);
        Ok(place.context("nobody")?.to_string())
    }

    /// Waits until an agency's own people can be found by other spellings too.
    pub(crate) async fn is_indexed(&self, agency: &str) -> Result<()> {
        let what = format!("the people of `{agency}` to be found by other spellings");
        within(PATIENCE, &what, || async {
            let status = self.federation.agent_status(agency).await?;
            Ok((status.context("no status")?.without_near == 0).then_some(()))
        })
        .await
    }

    /// Somebody who works at an agency.
    pub(crate) fn somebody_of(&self, agency: &str) -> Result<String> {
        let mut workers = self.script.workers.iter();
        let found = workers.find(|(_, w)| w.agency == agency);
        Ok(found.map_or("somebody", |(id, _)| id).to_owned())
    }

    fn holders(&self) -> Vec<String> {
        let holders = self.script.facts.iter().map(|fact| fact.holder.clone());
        holders.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Brings an agency's facts in: one column for each fact, filled for its person alone.
    async fn import(&self, agency: &str) -> Result<()> {
        let facts = self.script.facts.iter().filter(|f| f.holder == agency);
        let all: Vec<_> = facts.collect();
        // Age and gender are no facts of a file's: a node knows them from the person.
        let facts = all.iter().copied().filter(|f| !is_of_the_person(f));
        let facts: Vec<_> = facts.enumerate().collect();
        let mut mapping = "source_id = \"no\"\ndate_formats = [\"YYYY-MM-DD\"]\n\
             [person]\nfamily_name = \"family\"\ngiven_name = \"given\"\nbirth_date = \"born\"\nsex = \"sex\"\n"
            .to_owned();
        let mut csv = "no,family,given,born,sex".to_owned();
        for (place, fact) in &facts {
            let record = fact.record;
            let yes = |is: bool| if is { "yes" } else { "no" };
            write!(
                mapping,
                "[[fact]]\ncategory = \"{}\"\npresent = \"has{place}\"\ntext = \"words{place}\"\n\
                 code = \"code{place}\"\ncontact = {{ constant = \"Front desk, 555-0140\" }}\n\
                 specially_protected = {{ constant = \"{}\" }}\n\
                 youth_record = {{ constant = \"{}\" }}\n\
                 third_party_at_risk = {{ constant = \"{}\" }}\n\
                 restricted = {{ constant = \"{}\" }}\nsensitivity = {{ constant = {} }}\n",
                fact.category,
                yes(record.specially_protected),
                yes(record.youth_record),
                yes(record.third_party_at_risk),
                yes(record.restricted),
                record.sensitivity
            )?;
            write!(csv, ",has{place},code{place},words{place}")?;
        }
        csv.push('\n');
        for (number, (name, person)) in self.script.people.iter().enumerate() {
            if !all.iter().any(|fact| fact.person == *name) {
                continue;
            }
            let (given, family) = written(person, agency)?;
            let (born, sex) = (self.born(number, name)?, self.known(name, "gender"));
            let sex = sex.unwrap_or_default();
            write!(csv, "{number},{family},{given},{born},{sex}")?;
            for (place, fact) in &facts {
                let code = fact.code.clone().unwrap_or(format!("code-{place}"));
                match fact.person == *name {
                    true => write!(csv, ",yes,{code},words of {place}")?,
                    false => csv.push_str(",no,,"),
                }
            }
            csv.push('\n');
        }
        let ran = self
            .federation
            .import(agency, &mapping, &csv)
            .await?
            .done()?;
        let report: ImportReport = serde_json::from_value(ran.json)?;
        anyhow::ensure!(report.problems.is_empty() && report.facts > 0, "{report:?}");
        within(PATIENCE, "every person to have a handle", || async {
            let status = self.federation.agent_status(agency).await?;
            Ok((status.context("no status")?.without_handle == 0).then_some(()))
        })
        .await
    }
}

/// Given and family name, as an agency writes them.
fn written<'a>(person: &'a script::Person, agency: &str) -> Result<(&'a str, &'a str)> {
    let name = person.spelled.get(agency).unwrap_or(&person.name);
    name.split_once(' ').context("one name only")
}

fn is_of_the_person(fact: &script::Fact) -> bool {
    matches!(fact.category.as_str(), "age_band" | "gender")
}
