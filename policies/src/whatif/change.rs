//! One fact that may be otherwise.

use passerelle_model::{
    bytes::{Commitment, Digest, Handle},
    ids::{AgreementId, CaseId, ConsentId},
    pdp::{CaseFacts, Matter},
    records::{Agreement, Consent, Course},
    statement::{AgreementLine, AgreementParty, AgreementTerms, ConsentTerms, Edition, Item},
    vocabulary::{
        Capacity, CaseRole, Category, ConsentGiver, ConsentMethod, EmergencyKind, Language,
        LegalBasis, Level, Profile, Purpose, Stage, Threshold,
    },
};

const DAY_S: u64 = 86_400;

/// For how long a proposed agreement lets the recipient keep an answer, in days.
const RETENTION_DAYS: u16 = 90;

/// One fact that may be otherwise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The worker's training is current.
    Training,
    /// It is asked at this lower level.
    Level(Level),
    /// The person consents, at the holder, to exactly this, and the question rests on it or not.
    Consent,
    /// The question states consent as its basis.
    BasisConsent,
    /// An agreement in force between the two covers exactly this.
    Agreement,
    /// The question names the person.
    NamePerson,
    /// The question names nobody.
    NameNobody,
    /// It is asked outside the case.
    LeaveCase,
    /// It is asked in a case at this stage, in which both take part.
    Case(Stage),
    /// The case, about this person, is at this stage: both agencies in it, the threshold agreed.
    Stage(Stage),
    /// The case is the one about this person.
    CaseOfPerson,
    /// The plan of the case needs the category.
    Plan,
    /// There is an emergency of this kind, for which the stated basis is made.
    Emergency(EmergencyKind),
    /// The emergency claim is dropped: it is asked for this purpose instead.
    NoEmergency,
}

impl Change {
    /// The changes that make a difference to `matter` and may be proposed.
    pub(super) fn possible(matter: &Matter) -> Vec<Self> {
        let mut all = Vec::new();
        if !matter.trained {
            all.push(Self::Training);
        }
        let lower = Level::ALL.iter().rev().filter(|l| **l < matter.item.level);
        all.extend(lower.map(|level| Self::Level(*level)));
        all.push(if matter.identified {
            Self::NameNobody
        } else {
            Self::NamePerson
        });
        all.extend(Self::about_the_case(matter));
        match matter.emergency {
            None => all.extend(EmergencyKind::ALL.iter().map(|kind| Self::Emergency(*kind))),
            Some(_) => all.push(Self::NoEmergency),
        }
        let on_consent = matter.basis == LegalBasis::Consent;
        let may_ask = !is_withdrawn(matter);
        if may_ask && !on_consent {
            all.push(Self::BasisConsent);
        }
        // Papers last: they cover what is asked once everything else is as it would be.
        if may_ask {
            all.push(Self::Consent);
        }
        if !on_consent {
            all.push(Self::Agreement);
        }
        all
    }

    fn about_the_case(matter: &Matter) -> Vec<Self> {
        let anew = || {
            let stages = [
                Stage::DeIdentified,
                Stage::LimitedIdentifiers,
                Stage::Interveners,
            ];
            stages.map(Self::Case).to_vec()
        };
        let Some(case) = &matter.case else {
            return anew();
        };
        // A closed case stays closed, and who is out stays out: there may be a new one.
        let over = case.closed || case.threshold == Threshold::Rejected;
        let out = [case.requester_role, case.holder_role].contains(&CaseRole::Out);
        if over || out {
            return anew();
        }
        let mut all = Vec::new();
        if case.same_subject == Some(false) {
            all.extend([Self::LeaveCase, Self::CaseOfPerson]);
        }
        let later = Stage::ALL.iter().filter(|s| **s > case.stage);
        all.extend(later.map(|stage| Self::Stage(*stage)));
        if !case.plan.contains(&matter.item.category) {
            all.push(Self::Plan);
        }
        all
    }

    /// Makes the change.
    pub fn apply(&self, matter: &mut Matter) {
        match self {
            Self::Training => matter.trained = true,
            Self::Level(level) => matter.item.level = *level,
            Self::Consent => {
                let consent = consent(matter);
                matter.consents.push(consent);
                matter.reliance = None;
            }
            Self::BasisConsent => matter.basis = LegalBasis::Consent,
            Self::Agreement => {
                let agreement = agreement(matter);
                matter.agreements.push(agreement);
                matter.reliance = None;
            }
            Self::NamePerson => matter.identified = true,
            Self::NameNobody => matter.identified = false,
            Self::LeaveCase => matter.case = None,
            Self::Case(stage) => matter.case = Some(case_at(*stage, matter.item)),
            Self::Stage(stage) => {
                if let Some(case) = &mut matter.case {
                    advance(case, *stage);
                }
            }
            Self::CaseOfPerson => {
                if let Some(case) = &mut matter.case {
                    case.same_subject = Some(true);
                }
            }
            Self::Plan => {
                if let Some(case) = &mut matter.case {
                    case.plan.push(matter.item.category);
                }
            }
            Self::Emergency(kind) => {
                matter.emergency = Some(*kind);
                matter.purpose = Purpose::Emergency;
            }
            Self::NoEmergency => {
                matter.emergency = None;
                if matter.purpose == Purpose::Emergency {
                    matter.purpose = Purpose::Plan;
                }
            }
        }
    }

    /// Whether the two say different things of one fact, so that both together mean nothing.
    pub(super) const fn excludes(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::Level(_), Self::Level(_))
                | (Self::Emergency(_), Self::Emergency(_))
                | (Self::Case(_) | Self::LeaveCase, Self::Case(_) | Self::LeaveCase)
                | (Self::Stage(_), Self::Stage(_))
                | (Self::LeaveCase, Self::Stage(_) | Self::CaseOfPerson | Self::Plan)
                | (Self::Stage(_) | Self::CaseOfPerson | Self::Plan, Self::LeaveCase)
                // On consent no agreement carries anything.
                | (Self::BasisConsent, Self::Agreement)
                | (Self::Agreement, Self::BasisConsent)
                // An emergency rests on its statute, or it is none.
                | (Self::Emergency(_), Self::BasisConsent | Self::Consent | Self::Agreement)
                | (Self::BasisConsent | Self::Consent | Self::Agreement, Self::Emergency(_))
        )
    }

    /// Whether this asks for no more than `other` does, where both say the same kind of thing.
    pub(super) fn asks_no_more_than(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Level(one), Self::Level(other)) => one >= other,
            (Self::Stage(one), Self::Stage(other)) | (Self::Case(one), Self::Case(other)) => {
                one <= other
            }
            (one, other) => one == other,
        }
    }
}

/// Whether the person has withdrawn anything that would cover this. Then no consent is proposed.
fn is_withdrawn(matter: &Matter) -> bool {
    let (recipient, category) = (&matter.requester.agency, matter.item.category);
    matter
        .consents
        .iter()
        .any(|c| c.is_withdrawn_for(recipient, category))
}

/// Identifiers that no node makes, for what is not there yet.
const PROPOSED: [u8; 16] = [0xff; 16];

/// A consent of the person to exactly what is asked, recorded by the holder after everything else.
fn consent(matter: &Matter) -> Consent {
    let recorded = matter
        .consents
        .iter()
        .map(|c| c.recorded)
        .max()
        .unwrap_or(0);
    Consent {
        terms: ConsentTerms {
            consent: ConsentId::from_random(PROPOSED),
            subject: Commitment([0; 32]),
            giver: ConsentGiver::Subject,
            capacity: Capacity::Capable,
            categories: vec![matter.item.category],
            purposes: vec![matter.purpose],
            recipients: vec![matter.requester.agency.clone()],
            disclosers: vec![matter.holder.agency.clone()],
            method: ConsentMethod::Written,
            language: Language::French,
            interpreter: false,
            notice_version: 1,
            given_at: matter.at,
            expires_at: matter.at.plus_s(DAY_S),
            redisclosure: false,
            evidence: None,
        },
        recorded_by: matter.holder.agency.clone(),
        subject: Handle([0; 32]),
        withdrawn: Vec::new(),
        recorded: recorded.saturating_add(1),
    }
}

/// An agreement in force with one line, exactly what is asked, on the basis that is stated.
fn agreement(matter: &Matter) -> Agreement {
    let parties = [&matter.requester.agency, &matter.holder.agency];
    let proposed = matter
        .agreements
        .iter()
        .map(|a| a.proposed)
        .max()
        .unwrap_or(0);
    Agreement {
        terms: AgreementTerms {
            signatories: Vec::new(),
            agreement: AgreementId::from_random(PROPOSED),
            edition: Edition::default(),
            parties: parties
                .map(|agency| AgreementParty {
                    agency: agency.clone(),
                    basis: matter.basis,
                })
                .to_vec(),
            purposes: vec![matter.purpose],
            lines: vec![AgreementLine {
                from: matter.holder.agency.clone(),
                to: matter.requester.agency.clone(),
                category: matter.item.category,
                level: matter.item.level,
                retention_days: RETENTION_DAYS,
            }],
            starts_at: matter.at,
            review_at: matter.at.plus_s(DAY_S),
            ends_at: matter.at.plus_s(DAY_S),
        },
        digest: Digest([0; 32]),
        signed: parties.map(Clone::clone).to_vec(),
        proposed: proposed.saturating_add(1),
        course: Course::default(),
    }
}

/// A case of a situation table at `stage`, about the person, with both agencies in it.
fn case_at(stage: Stage, item: Item) -> CaseFacts {
    let mut case = CaseFacts {
        case: CaseId::from_random(PROPOSED),
        profile: Profile::SituationTable,
        stage: Stage::HomeAgency,
        threshold: Threshold::Pending,
        closed: false,
        requester_role: CaseRole::Table,
        holder_role: CaseRole::Table,
        plan: planned(stage, item.category),
        same_subject: None,
    };
    advance(&mut case, stage);
    case
}

/// What the plan of a case lists, which has one at stage 4 only.
fn planned(stage: Stage, category: Category) -> Vec<Category> {
    match stage {
        Stage::Interveners => vec![category],
        Stage::HomeAgency | Stage::DeIdentified | Stage::LimitedIdentifiers => Vec::new(),
    }
}

/// The case at a later stage, as the state machine lets it get there: from stage 3 on the threshold
/// is agreed, the person is named, and both agencies have been kept in it.
const fn advance(case: &mut CaseFacts, stage: Stage) {
    case.stage = stage;
    let role = match stage {
        Stage::HomeAgency | Stage::DeIdentified => return,
        Stage::LimitedIdentifiers => CaseRole::Needed,
        Stage::Interveners => CaseRole::Intervener,
    };
    case.threshold = Threshold::Agreed;
    case.requester_role = role;
    case.holder_role = role;
    if case.same_subject.is_none() {
        case.same_subject = Some(true);
    }
}
