//! Four offices with people, files and workers whose every name is planted.

use anyhow::{Context as _, Result};
use passerelle_proto::views::{AgreementView, ImportReport};
use passerelle_tests::{federation::Federation, office::within, search::Planted};
use std::{collections::BTreeMap, time::Duration};

pub(crate) const POLICE: &str = "police";
pub(crate) const CLINIC: &str = "clinic";
pub(crate) const HOUSE: &str = "house";
pub(crate) const AGENCIES: [&str; 4] = [POLICE, CLINIC, HOUSE, "oversight"];

/// Basis of the agreement.
pub(crate) const BASIS: &str = "FOIPReg-17.1";

/// The people, each known to the clinic; `stranger` to nobody.
pub(crate) const PEOPLE: [&str; 5] = ["consenting", "reviewed", "danger", "protected", "stranger"];

/// The federation, and what was planted in it.
pub(crate) struct Offices {
    pub(crate) federation: Federation,
    pub(crate) planted: Planted,
    /// Worker ids by agency.
    pub(crate) workers: BTreeMap<&'static str, String>,
    /// Person files.
    pub(crate) people: BTreeMap<&'static str, String>,
    /// Names by person: family, given.
    names: BTreeMap<&'static str, (String, String)>,
    pub(crate) agreement: String,
    /// What the clinic says of where the person in danger is.
    pub(crate) whereabouts: String,
    /// The second person of the police.
    pub(crate) reviewer: String,
}

impl Offices {
    pub(crate) async fn open(exe: &str, level: &str) -> Result<Self> {
        let mut federation = Federation::found(exe).await?;
        federation.log_at(level);
        federation.serve_broker().await?;
        let mut offices = Self {
            federation,
            planted: Planted::default(),
            workers: BTreeMap::new(),
            people: BTreeMap::new(),
            names: BTreeMap::new(),
            agreement: String::new(),
            whereabouts: String::new(),
            reviewer: String::new(),
        };
        offices.reviewer = offices.planted.plant("reviewer at the police");
        let reviewer = format!("{}:privacy_officer", offices.reviewer);
        for (agency, sector, role) in [
            (POLICE, "law_enforcement", "officer"),
            (CLINIC, "health", "nurse"),
            (HOUSE, "community", "mentor"),
            ("oversight", "oversight", "privacy_officer"),
        ] {
            let worker = offices.planted.plant(&format!("worker at the {agency}"));
            let typed = format!("{worker}:{role}");
            let both = [typed.as_str(), reviewer.as_str()];
            let workers = if agency == POLICE {
                &both[..]
            } else {
                &both[..1]
            };
            offices
                .federation
                .open_office(agency, sector, workers)
                .await?;
            offices.workers.insert(agency, worker);
        }
        // Of a large town, so that at stage 2 a code is nobody's name.
        offices.federation.configure_agent(CLINIC, |settings| {
            settings.insert("population".to_owned(), 5_000_000.into());
        })?;
        offices.federation.restart_agent(CLINIC).await?;
        offices.federation.all_know_each_other(&AGENCIES).await?;
        offices.write_people()?;
        offices.import_clinic().await?;
        offices.import_police().await?;
        offices.agree().await?;
        Ok(offices)
    }

    fn write_people(&mut self) -> Result<()> {
        for (day, person) in (10..).zip(PEOPLE) {
            let whose = if person == "stranger" { "" } else { "clinic: " };
            let family = self
                .planted
                .plant(&format!("{whose}family name of {person}"));
            let given = self
                .planted
                .plant(&format!("{whose}given name of {person}"));
            let file = self
                .federation
                .person(&family, &given, &format!("1988-03-{day}"))?;
            self.people.insert(person, file);
            self.names.insert(person, (family, given));
        }
        Ok(())
    }

    async fn import_clinic(&mut self) -> Result<()> {
        let mut column = |what: &str| self.planted.plant(&format!("column of the {what}"));
        let [id, family, given, born, contact, place] =
            ["id", "family", "given", "birth", "contact", "place"].map(&mut column);
        let mapping = format!(
            "source_id = \"{id}\"\ndate_formats = [\"YYYY-MM-DD\"]\n\
             [person]\nfamily_name = \"{family}\"\ngiven_name = \"{given}\"\n\
             birth_date = \"{born}\"\n\
             [[fact]]\ncategory = \"in_service\"\ncode = {{ constant = \"active\" }}\n\
             contact = \"{contact}\"\nspecially_protected = \"protected\"\n\
             sensitivity = {{ constant = 1 }}\n\
             [[fact]]\ncategory = \"clinician_contact\"\ncontact = \"{contact}\"\n\
             sensitivity = {{ constant = 1 }}\n\
             [[fact]]\ncategory = \"location\"\ntext = \"{place}\"\n\
             sensitivity = {{ constant = 2 }}\n\
             [[fact]]\ncategory = \"diagnosis\"\ncode = \"code\"\ntext = \"note\"\n\
             sensitivity = {{ constant = 3 }}\n\
             [[fact]]\ncategory = \"risk_factors\"\ncode = \"factor\"\n\
             sensitivity = {{ constant = 0 }}\n"
        );
        let mut csv =
            format!("{id},{family},{given},{born},protected,{contact},{place},code,note,factor\n");
        for (day, person) in (10..).zip(PEOPLE).filter(|(_, p)| *p != "stranger") {
            let mut plant = |what: &str| self.planted.plant(&format!("clinic: {what} of {person}"));
            let cells = ["contact", "place", "diagnosis", "note", "risk factor"].map(&mut plant);
            let number = plant("file number");
            if person == "danger" {
                self.whereabouts.clone_from(&cells[1]);
            }
            let (family, given) = &self.names[person];
            let protected = if person == "protected" { "yes" } else { "no" };
            let cells = cells.join(",");
            csv += &format!("{number},{family},{given},1988-03-{day},{protected},{cells}\n");
        }
        self.imported(CLINIC, &mapping, &csv).await
    }

    async fn import_police(&mut self) -> Result<()> {
        let mapping = "source_id = \"no\"\ndate_formats = [\"YYYY-MM-DD\"]\n\
             [person]\nfamily_name = \"last\"\ngiven_name = \"first\"\nbirth_date = \"born\"\n\
             [[fact]]\ncategory = \"safety_flag\"\ncode = \"flag\"\ntext = \"note\"\n\
             sensitivity = { constant = 3 }\n\
             [[fact]]\ncategory = \"risk_factors\"\ncode = \"factor\"\n\
             sensitivity = { constant = 0 }\n";
        let mut csv = "no,last,first,born,flag,note,factor\n".to_owned();
        for (day, person) in (10..).zip(PEOPLE).take(2) {
            let mut plant = |what: &str| self.planted.plant(&format!("police: {what} of {person}"));
            let number = plant("file number");
            let cells = ["flag", "note", "risk factor"].map(&mut plant).join(",");
            let (family, given) = &self.names[person];
            // As an old system writes it.
            let (family, given) = (family.to_uppercase(), given.to_uppercase());
            csv += &format!("{number},{family},{given},1988-03-{day},{cells}\n");
        }
        self.imported(POLICE, mapping, &csv).await
    }

    async fn imported(&self, agency: &str, mapping: &str, csv: &str) -> Result<()> {
        let ran = self.federation.import(agency, mapping, csv).await?.done()?;
        let report: ImportReport = serde_json::from_value(ran.json)?;
        anyhow::ensure!(
            report.people >= 2 && report.problems.is_empty(),
            "{report:?}"
        );
        within(
            Duration::from_secs(60),
            "every person to have a handle",
            || async {
                let status = self
                    .federation
                    .agent_status(agency)
                    .await?
                    .context("no status")?;
                Ok((status.without_handle == 0).then_some(()))
            },
        )
        .await
    }

    /// An agreement between police and clinic: somebody at the clinic looks first.
    async fn agree(&mut self) -> Result<()> {
        let draft = format!(
            "purposes = [\"plan\", \"deliver\", \"identify_involved\"]\n\
             starts = \"2024-01-01\"\nreview = \"2090-01-01\"\nends = \"2090-02-01\"\n\
             parties = [{{ agency = \"{POLICE}\", basis = \"{BASIS}\" }}, \
             {{ agency = \"{CLINIC}\", basis = \"{BASIS}\" }}]\n\
             [[lines]]\nfrom = \"{CLINIC}\"\nto = \"{POLICE}\"\ncategory = \"in_service\"\n\
             level = \"known\"\nretention_days = 30\n\
             [[lines]]\nfrom = \"{CLINIC}\"\nto = \"{POLICE}\"\ncategory = \"diagnosis\"\n\
             level = \"coded\"\nretention_days = 30\n"
        );
        let draft = self.federation.file("draft.toml", draft)?;
        let proposed = self
            .federation
            .agent_cli(POLICE, "agreement propose", &[&draft])
            .await?;
        let id = proposed.done()?.text("id")?;
        within(
            Duration::from_secs(60),
            "the proposal to arrive",
            || async {
                let shown = self
                    .federation
                    .agent_cli(CLINIC, "agreement show", &[&id])
                    .await?;
                let views: Vec<AgreementView> = serde_json::from_value(shown.done()?.json)?;
                Ok(views.first().map(drop))
            },
        )
        .await?;
        self.federation
            .agent_cli(CLINIC, "agreement sign", &[&id])
            .await?
            .done()?;
        self.agreement = id;
        Ok(())
    }
}
