//! The codes that statements, policies and reasons are made of (DATA: sectors, categories,
//! purposes, legal bases, stages, levels). A code that is not listed here is refused, not guessed.

mod kinds;
pub mod labels;

pub use kinds::CategoryKind;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// A code that the named vocabulary does not have. The input is not repeated: it may be text
/// that was typed into the wrong field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {vocabulary} code; known are: {known}")]
pub struct UnknownCode {
    /// The vocabulary.
    pub vocabulary: &'static str,
    /// Its codes.
    pub known: String,
}

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident ($label:literal) {
        $($(#[$vmeta:meta])* $variant:ident = $code:literal,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant,)* }

        impl $name {
            /// Every code, in the order of the dictionary.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as it stands in statements and policies.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }
        }

        impl FromStr for $name {
            type Err = UnknownCode;
            fn from_str(text: &str) -> Result<Self, UnknownCode> {
                Self::ALL.iter().copied().find(|c| c.code() == text).ok_or_else(|| UnknownCode {
                    vocabulary: $label,
                    known: Self::ALL.iter().map(|c| c.code()).collect::<Vec<_>>().join(", "),
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.code())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.code())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

mod consents;

pub use consents::{Capacity, ConsentGiver, ConsentMethod, Language};

codes! {
    /// The sector of an agency.
    Sector ("sector") {
        /// Police.
        LawEnforcement = "law_enforcement",
        /// Hospitals, clinics, mental health.
        Health = "health",
        /// Child and family services, social services.
        SocialServices = "social_services",
        /// Schools.
        Education = "education",
        /// Housing and income support.
        HousingIncome = "housing_income",
        /// Probation, prisons.
        Corrections = "corrections",
        /// Community organisations.
        Community = "community",
        /// Oversight bodies: read the log, hold no facts, ask for none.
        Oversight = "oversight",
        /// The neutral coordinator.
        Coordination = "coordination",
    }

    /// What kind of fact a request item is about. The first three are what stage 2 of a table may
    /// carry; the others belong to a sector.
    Category ("category") {
        /// Gender. De-identified.
        Gender = "gender",
        /// Age band. De-identified.
        AgeBand = "age_band",
        /// Risk-factor codes. De-identified.
        RiskFactors = "risk_factors",
        /// Name, to find who is involved or needed (stage 3).
        Name = "name",
        /// Police: dates of contact.
        ContactDates = "contact_dates",
        /// Police: a flag that concerns someone's safety.
        SafetyFlag = "safety_flag",
        /// Police: types of calls.
        CallType = "call_type",
        /// Police: charges.
        Charges = "charges",
        /// Police: youth record.
        YouthRecord = "youth_record",
        /// Police: intelligence.
        Intelligence = "intelligence",
        /// Police: current location or address at which help is needed.
        Location = "location",
        /// Health: in service.
        InService = "in_service",
        /// Health: appointments kept or missed.
        AppointmentStatus = "appointment_status",
        /// Health: the clinician to call.
        ClinicianContact = "clinician_contact",
        /// Health: risk of crisis.
        CrisisRisk = "crisis_risk",
        /// Health: diagnosis.
        Diagnosis = "diagnosis",
        /// Health: medication.
        Medication = "medication",
        /// Health: treatment of a substance-use disorder.
        SudTreatment = "sud_treatment",
        /// Health: psychotherapy notes.
        PsychotherapyNotes = "psychotherapy_notes",
        /// Education: enrolled.
        Enrolled = "enrolled",
        /// Education: attendance.
        Attendance = "attendance",
        /// Education: behaviour.
        Behaviour = "behaviour",
        /// Education: education record.
        EducationRecord = "education_record",
        /// Social services: open file.
        OpenFile = "open_file",
        /// Social services: placement.
        Placement = "placement",
        /// Social services: protection report.
        ProtectionReport = "protection_report",
        /// Housing: tenure at risk.
        TenureRisk = "tenure_risk",
        /// Housing: shelter.
        Shelter = "shelter",
        /// Income: benefit status.
        BenefitStatus = "benefit_status",
        /// Corrections: under supervision.
        Supervision = "supervision",
        /// Corrections: conditions.
        Conditions = "conditions",
        /// Corrections: release date.
        ReleaseDate = "release_date",
        /// Community: engagement.
        Engagement = "engagement",
        /// Community: mentor.
        Mentor = "mentor",
        /// Community: concern.
        Concern = "concern",
        /// Community: family contact.
        FamilyContact = "family_contact",
    }

    /// Why a party suspends or ends an agreement.
    AgreementReason ("agreement reason") {
        /// Something was shared or kept against it, or may have been.
        Breach = "breach",
        /// Somebody is in danger through it.
        Safety = "safety",
        /// The law has changed, or its meaning.
        LawChanged = "law_changed",
        /// It is under review, or the review is overdue.
        Review = "review",
        /// The party no longer takes part.
        Leaving = "leaving",
        /// Another reason, told outside the log.
        Other = "other",
    }

    /// Whether an agreement may be relied on, signatures and dates aside.
    AgreementState ("agreement state") {
        /// It may.
        Active = "active",
        /// A party has suspended it.
        Suspended = "suspended",
        /// A later version has begun.
        Superseded = "superseded",
        /// A party has ended it.
        Terminated = "terminated",
    }

    /// What the facts are asked for. The last three are always prohibited; they are codes so that
    /// a request for them is a recorded denial and not a typing error.
    Purpose ("purpose") {
        /// Find out whether a situation belongs at the table.
        Screen = "screen",
        /// Agree whether the threshold is met.
        Threshold = "threshold",
        /// Find which agencies are involved or needed.
        IdentifyInvolved = "identify_involved",
        /// Plan the offer of help.
        Plan = "plan",
        /// Deliver it.
        Deliver = "deliver",
        /// Follow up.
        FollowUp = "follow_up",
        /// Avert harm now.
        Emergency = "emergency",
        /// Answer a person's own request.
        RightsRequest = "rights_request",
        /// Audit.
        Audit = "audit",
        /// Evaluate the programme.
        Evaluate = "evaluate",
        /// Exercise on synthetic data.
        Exercise = "exercise",
        /// Prohibited.
        CriminalInvestigation = "criminal_investigation",
        /// Prohibited.
        ImmigrationEnforcement = "immigration_enforcement",
        /// Prohibited.
        Media = "media",
    }

    /// The legal basis that a request states. Codes to cite; counsel must confirm their use.
    LegalBasis ("legal basis") {
        /// The person's consent.
        Consent = "consent",
        /// The person asks what is held on her or him; the law of each owner says how it answers.
        OwnRequest = "own_request",
        /// Ontario: municipal privacy act, compelling circumstances.
        Mfippa32h = "MFIPPA-32h",
        /// Ontario: provincial privacy act.
        Fippa42h = "FIPPA-42(1)h",
        /// Ontario: health, significant risk of serious bodily harm.
        Phipa40 = "PHIPA-40(1)",
        /// Ontario: child, youth and family services.
        Cyfsa292 = "CYFSA-292",
        /// Quebec: access act, emergency to life, health or safety of the person.
        A21s59p4 = "A2.1-59(4)",
        /// Quebec: access act, serious risk of death or serious injury.
        A21s591 = "A2.1-59.1",
        /// Quebec: private sector.
        P391s18p7 = "P39.1-18(7)",
        /// Quebec: private sector, serious risk.
        P391s181 = "P39.1-18.1",
        /// Quebec: health and social services information.
        R221s74 = "R22.1-74",
        /// Quebec: youth protection.
        P341s728 = "P34.1-72.8",
        /// Saskatchewan: common or integrated services.
        FoipReg171 = "FOIPReg-17.1",
        /// Canada: Privacy Act, public interest.
        Pa82m = "PA-8(2)m",
        /// Canada: PIPEDA, lawful authority.
        Pipeda73c1 = "PIPEDA-7(3)c.1",
        /// Canada: PIPEDA, emergency.
        Pipeda73e = "PIPEDA-7(3)e",
        /// Canada: youth criminal justice, access to records.
        Ycja119 = "YCJA-119",
        /// Canada: youth criminal justice, disclosure.
        Ycja125 = "YCJA-125",
        /// Canada: youth criminal justice, disclosure by order.
        Ycja127 = "YCJA-127",
        /// United States: HIPAA, serious and imminent threat.
        Hipaa164512j = "HIPAA-164.512j",
        /// United States: HIPAA, accounting of disclosures.
        Hipaa164528 = "HIPAA-164.528",
        /// United States: substance-use records, written consent.
        Cfr42s231 = "42CFR2.31",
        /// United States: substance-use records, notice of redisclosure limits.
        Cfr42s232 = "42CFR2.32",
        /// United States: substance-use records, medical emergency.
        Cfr42s251 = "42CFR2.51",
        /// United States: education records, emergency.
        Ferpa9936 = "FERPA-99.36",
        /// United States: education records, record of disclosures.
        Ferpa9932 = "FERPA-99.32",
        /// European Union: lawfulness.
        Gdpr6 = "GDPR-6",
        /// European Union: special categories.
        Gdpr9 = "GDPR-9",
        /// European Union: criminal convictions.
        Gdpr10 = "GDPR-10",
        /// European Union: joint controllers.
        Gdpr26 = "GDPR-26",
        /// European Union: police, sensitive data.
        Led10 = "LED-10",
        /// European Union: police, logging.
        Led25 = "LED-25",
        /// Denmark: administration of justice act.
        Rpl115 = "RPL-115",
        /// Netherlands: data processing by partnerships.
        Wgs = "WGS",
        /// Netherlands: data processing for Safety Houses.
        Bgs = "BGS",
        /// Belgium: professional secrecy, case consultation.
        Sw458ter = "SW-458ter",
        /// United Kingdom: counter-terrorism act, panels.
        Ctsa36 = "CTSA-36",
        /// United Kingdom: counter-terrorism act, cooperation.
        Ctsa38 = "CTSA-38",
        /// United Kingdom: multi-agency public protection.
        Cja2003s325 = "CJA2003-325",
        /// United Kingdom: data protection act, safeguarding.
        Dpa2018Sch1p18 = "DPA2018-Sch1-18",
    }

    /// How far an answer goes. A rule permits up to a level; the least that serves wins.
    Level ("answer level") {
        /// 0: yes, or cannot say.
        Known = "known",
        /// 1: whom to call.
        Contact = "contact",
        /// 2: in service, since which period.
        Involvement = "involvement",
        /// 3: a value from a code list, a band.
        Coded = "coded",
        /// 4: text, a document.
        Detail = "detail",
    }

    /// The four filters of a table.
    Stage ("stage") {
        /// 1: the home agency alone; nothing leaves.
        HomeAgency = "stage_1",
        /// 2: de-identified.
        DeIdentified = "stage_2",
        /// 3: limited identifiers.
        LimitedIdentifiers = "stage_3",
        /// 4: interveners only.
        Interveners = "stage_4",
    }

    /// Which mechanism a case follows: a profile of the same machine.
    Profile ("profile") {
        /// Canadian situation table with four filters.
        SituationTable = "situation_table",
        /// British Columbia's Shift: consent precedes any disclosure.
        ShiftBc = "shift_bc",
        /// United Kingdom: Channel panel.
        ChannelPanel = "channel_panel",
        /// Denmark: Info House.
        InfoHouse = "info_house",
        /// Netherlands: Safety House.
        SafetyHouse = "safety_house",
        /// Belgium: partner table.
        PartnerTable = "partner_table",
        /// Finland: Anchor team.
        AnchorTeam = "anchor_team",
    }

    /// Whether the table has agreed that the threshold is met.
    Threshold ("threshold") {
        /// Not voted yet.
        Pending = "pending",
        /// Met.
        Agreed = "agreed",
        /// Not met: the case closes.
        Rejected = "rejected",
    }

    /// What an agency is to a case.
    CaseRole ("case role") {
        /// At the table, stages 1 and 2.
        Table = "table",
        /// Involved or needed, stage 3 on.
        Needed = "needed",
        /// Named intervener, stage 4.
        Intervener = "intervener",
        /// Out: its access has ended.
        Out = "out",
    }

    /// How a case was closed.
    CaseOutcome ("case outcome") {
        /// Lowered: connected to services here.
        LoweredConnected = "lowered_connected",
        /// Lowered: connected to services elsewhere.
        LoweredConnectedElsewhere = "lowered_connected_elsewhere",
        /// Lowered: through personal supports.
        LoweredPersonalSupports = "lowered_personal_supports",
        /// Lowered: no further action needed.
        LoweredNoAction = "lowered_no_action",
        /// Still elevated: informed of services.
        ElevatedInformed = "elevated_informed",
        /// Still elevated: refused services.
        ElevatedRefused = "elevated_refused",
        /// Still elevated: systemic issue.
        ElevatedSystemic = "elevated_systemic",
        /// Rejected: already connected.
        RejectedAlreadyConnected = "rejected_already_connected",
        /// Rejected: threshold not met.
        RejectedBelowThreshold = "rejected_below_threshold",
        /// Rejected: a single agency suffices.
        RejectedSingleAgency = "rejected_single_agency",
        /// Rejected: the home agency's options are not exhausted.
        RejectedNotExhausted = "rejected_not_exhausted",
        /// Deceased.
        Deceased = "deceased",
        /// Relocated.
        Relocated = "relocated",
        /// Not located.
        NotLocated = "not_located",
        /// New information.
        NewInformation = "new_information",
    }

    /// What a worker does at the agency.
    WorkerRole ("worker role") {
        /// Police officer.
        Officer = "officer",
        /// Nurse.
        Nurse = "nurse",
        /// Physician or psychologist.
        Clinician = "clinician",
        /// Social worker.
        SocialWorker = "social_worker",
        /// Teacher or school staff.
        Teacher = "teacher",
        /// Community mentor.
        Mentor = "mentor",
        /// Probation officer.
        ProbationOfficer = "probation_officer",
        /// Housing or income worker.
        HousingWorker = "housing_worker",
        /// Coordinator of a table.
        Coordinator = "coordinator",
        /// Privacy officer or auditor.
        PrivacyOfficer = "privacy_officer",
        /// Supervisor: second approver, reviews.
        Supervisor = "supervisor",
    }

    /// What kind of emergency an override claims.
    EmergencyKind ("emergency") {
        /// Danger to the life, health or safety of the subject.
        SubjectInDanger = "subject_in_danger",
        /// Serious and imminent threat to somebody.
        ThreatToOthers = "threat_to_others",
        /// Medical emergency.
        Medical = "medical",
    }

    /// What came of a request at the holder. Public only as a commitment.
    Outcome ("outcome") {
        /// Facts were released.
        Released = "released",
        /// The holder declined.
        Declined = "declined",
        /// No record, or one that may not be spoken of.
        CannotSay = "cannot_say",
    }

    /// What the second person of an agency found of an emergency that was claimed.
    ReviewFinding ("review finding") {
        /// There was a reason.
        Justified = "justified",
        /// There was none.
        NotJustified = "not_justified",
        /// There was no need to know.
        NoAccessNeeded = "no_access_needed",
    }
}
