//! The matter that `policy explain` asks about.

use crate::cli::{clock, codes, failure::Failure};
use clap::Args;
use passerelle_model::{
    bytes::{Commitment, Digest, Handle, PublicKey},
    ids::{AgencyId, AgreementId, CaseId, ConsentId},
    pdp::{CaseFacts, Matter},
    records::{Agency, Agreement, Consent, Course, Withdrawn},
    statement::{
        AgencyKeys, AgreementLine, AgreementParty, AgreementTerms, ConsentTerms, Edition, Item,
        WithdrawalScope,
    },
    time::Timestamp,
    vocabulary::{
        Capacity, CaseRole, ConsentGiver, ConsentMethod, EmergencyKind, Language, LegalBasis,
        Profile, Purpose, Sector, Stage, Threshold, WorkerRole,
    },
};

pub(super) const EXAMPLES: &str = "\
Examples:
  passerelle policy explain --requester police --holder health --item diagnosis:coded \\
    --purpose plan --basis GDPR-6
  passerelle policy explain --requester community --holder health \\
    --item appointment_status:coded --purpose deliver --basis consent --consent
  passerelle policy explain --requester police --holder health --item location:detail \\
    --purpose emergency --basis A2.1-59.1 --emergency threat_to_others --lang fr
  passerelle policy explain --requester education --holder law_enforcement \\
    --item safety_flag:known --purpose plan --basis GDPR-6 --agreement --stage 3

`--consent` and `--agreement` stand for one in force that covers exactly what is asked, the consent
for one that the holder recorded.
Exit code 1: it would be denied.";

const DAY_S: u64 = 86_400;

// Who asks whom what, and what there is. (A doc comment would become the help of the command.)
#[derive(Debug, Args)]
pub(super) struct WhatIf {
    /// What is asked, the level as a code or 0 to 4
    #[arg(long, value_name = "CATEGORY:LEVEL", value_parser = codes::item)]
    item: Item,
    #[command(flatten)]
    situation: Situation,
}

impl WhatIf {
    /// The matter as if the two agencies, the consent and the agreement existed.
    pub(super) fn matter(&self) -> Result<Matter, Failure> {
        self.situation.matter(self.item)
    }
}

// Who asks whom, what for, and what there is.
#[derive(Debug, Args)]
pub(super) struct Situation {
    /// Sector of the agency that asks
    #[arg(long, value_name = "SECTOR", value_parser = sector)]
    requester: Sector,
    /// Sector of the agency that is asked
    #[arg(long, value_name = "SECTOR", value_parser = sector)]
    holder: Sector,
    /// What for
    #[arg(long)]
    purpose: Purpose,
    /// On which basis in law
    #[arg(long)]
    basis: LegalBasis,
    /// There is a consent
    #[arg(long)]
    consent: bool,
    /// The consent has been withdrawn
    #[arg(long, requires = "consent")]
    withdrawn: bool,
    /// Another agency than the holder recorded the consent
    #[arg(long, requires = "consent")]
    recorded_elsewhere: bool,
    /// There is an agreement
    #[arg(long)]
    agreement: bool,
    /// The agreement has ended
    #[arg(long, requires = "agreement")]
    ended: bool,
    /// Emergency claimed: subject_in_danger, threat_to_others, medical
    #[arg(long, value_name = "REASON")]
    emergency: Option<EmergencyKind>,
    /// Stage of a case in which both take part, 1 to 4
    #[arg(long, value_parser = codes::stage)]
    stage: Option<Stage>,
    /// Threshold of the case: pending, agreed, rejected
    #[arg(long, default_value = "agreed", requires = "stage")]
    threshold: Threshold,
    /// Mechanism of the case
    #[arg(long, default_value = "situation_table", requires = "stage")]
    profile: Profile,
    /// Role of the worker who asks
    #[arg(long, default_value = "coordinator")]
    role: WorkerRole,
    /// The worker's training is not current
    #[arg(long)]
    untrained: bool,
    /// The request names nobody
    #[arg(long)]
    anonymous: bool,
}

/// A sector's code, or `police` for what everyone calls law enforcement.
fn sector(text: &str) -> Result<Sector, String> {
    match text {
        "police" => Ok(Sector::LawEnforcement),
        code => code.parse::<Sector>().map_err(|e| e.to_string()),
    }
}

impl Situation {
    /// Sector of the agency that is asked.
    pub(super) const fn holder(&self) -> Sector {
        self.holder
    }

    /// The matter about `item`, as if the two agencies, the consent and the agreement existed.
    pub(super) fn matter(&self, item: Item) -> Result<Matter, Failure> {
        let now = clock::now();
        let name = |text: &str| {
            text.parse::<AgencyId>()
                .map_err(|e| Failure::failed(e.to_string()))
        };
        let (requester, holder) = (name("requester")?, name("holder")?);
        let consents = self
            .consent
            .then(|| self.consent_of(&requester, &holder, item, now));
        let agreements = self
            .agreement
            .then(|| self.agreement_of(&requester, &holder, item, now));
        Ok(Matter {
            at: now,
            requester: agency(requester, self.requester),
            holder: agency(holder, self.holder),
            role: self.role,
            trained: !self.untrained,
            item,
            purpose: self.purpose,
            basis: self.basis,
            case: self.stage.map(|stage| self.case_at(stage, item)),
            emergency: self.emergency,
            identified: !self.anonymous,
            reliance: None,
            consents: consents.into_iter().collect(),
            agreements: agreements.into_iter().collect(),
        })
    }

    fn case_at(&self, stage: Stage, item: Item) -> CaseFacts {
        let (role, same_subject) = match stage {
            Stage::HomeAgency | Stage::DeIdentified => (CaseRole::Table, None),
            Stage::LimitedIdentifiers => (CaseRole::Needed, Some(!self.anonymous)),
            Stage::Interveners => (CaseRole::Intervener, Some(!self.anonymous)),
        };
        CaseFacts {
            case: CaseId::from_random([0; 16]),
            profile: self.profile,
            stage,
            threshold: self.threshold,
            closed: false,
            requester_role: role,
            holder_role: role,
            plan: vec![item.category],
            same_subject,
        }
    }

    fn consent_of(
        &self,
        requester: &AgencyId,
        holder: &AgencyId,
        item: Item,
        now: Timestamp,
    ) -> Consent {
        Consent {
            terms: ConsentTerms {
                consent: ConsentId::from_random([0; 16]),
                subject: Commitment([0; 32]),
                giver: ConsentGiver::Subject,
                capacity: Capacity::Capable,
                categories: vec![item.category],
                purposes: vec![self.purpose],
                recipients: vec![requester.clone()],
                disclosers: vec![holder.clone()],
                method: ConsentMethod::Written,
                language: Language::French,
                interpreter: false,
                notice_version: 1,
                given_at: now.minus_s(DAY_S),
                expires_at: now.plus_s(DAY_S),
                redisclosure: false,
                evidence: None,
            },
            recorded_by: if self.recorded_elsewhere {
                requester.clone()
            } else {
                holder.clone()
            },
            subject: Handle([0; 32]),
            withdrawn: self
                .withdrawn
                .then_some(Withdrawn {
                    scope: WithdrawalScope::All,
                    index: 1,
                })
                .into_iter()
                .collect(),
            recorded: 0,
        }
    }

    fn agreement_of(
        &self,
        requester: &AgencyId,
        holder: &AgencyId,
        item: Item,
        now: Timestamp,
    ) -> Agreement {
        let parties = [requester, holder];
        Agreement {
            terms: AgreementTerms {
                signatories: Vec::new(),
                agreement: AgreementId::from_random([0; 16]),
                edition: Edition::default(),
                parties: parties
                    .map(|agency| AgreementParty {
                        agency: agency.clone(),
                        basis: self.basis,
                    })
                    .to_vec(),
                purposes: vec![self.purpose],
                lines: vec![AgreementLine {
                    from: holder.clone(),
                    to: requester.clone(),
                    category: item.category,
                    level: item.level,
                    retention_days: 90,
                }],
                starts_at: now.minus_s(2 * DAY_S),
                review_at: now,
                ends_at: if self.ended { now } else { now.plus_s(DAY_S) },
            },
            digest: Digest([0; 32]),
            signed: parties.map(Clone::clone).to_vec(),
            proposed: 0,
            course: Course::default(),
        }
    }
}

fn agency(agency: AgencyId, sector: Sector) -> Agency {
    let key = PublicKey([0; 32]);
    Agency {
        agency,
        keys: AgencyKeys {
            sector,
            signing: key,
            sealing: key,
            witness: key,
        },
        certificate: String::new(),
        active: true,
        joined: 0,
        since: 0,
    }
}
