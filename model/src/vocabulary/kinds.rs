//! What the codes mean to policies: ranks, numbers, kinds, prohibitions.

use super::{Category, LegalBasis, Level, Purpose, Stage, WorkerRole};

impl Purpose {
    /// Whether the purpose is prohibited in every federation.
    pub const fn is_prohibited(self) -> bool {
        matches!(
            self,
            Self::CriminalInvestigation | Self::ImmigrationEnforcement | Self::Media
        )
    }
}

impl LegalBasis {
    /// Whether the person's own word is the basis, not a law: no pack claims it, and no agreement
    /// between agencies rests on it.
    pub const fn is_the_persons_own(self) -> bool {
        matches!(self, Self::Consent | Self::OwnRequest)
    }
}

impl WorkerRole {
    /// Whether who does this reviews what others did (DATA, rule 25).
    pub const fn is_reviewer(self) -> bool {
        matches!(self, Self::PrivacyOfficer | Self::Supervisor)
    }
}

impl Level {
    /// 0 to 4.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Known => 0,
            Self::Contact => 1,
            Self::Involvement => 2,
            Self::Coded => 3,
            Self::Detail => 4,
        }
    }
}

impl Stage {
    /// 1 to 4.
    pub const fn number(self) -> u8 {
        match self {
            Self::HomeAgency => 1,
            Self::DeIdentified => 2,
            Self::LimitedIdentifiers => 3,
            Self::Interveners => 4,
        }
    }
}

/// What a category is, as policies test it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CategoryKind {
    /// Gender, age band, risk-factor codes.
    DeIdentified,
    /// Name and location.
    Identifier,
    /// Law-enforcement facts.
    Police,
    /// Health facts.
    Health,
    /// Health facts with a protection of their own (substance use, psychotherapy notes).
    SpeciallyProtectedHealth,
    /// Education facts.
    Education,
    /// Social-services facts.
    Social,
    /// Housing and income facts.
    HousingIncome,
    /// Corrections facts.
    Corrections,
    /// Community facts.
    Community,
}

impl CategoryKind {
    /// The code of the kind in policies.
    pub const fn code(self) -> &'static str {
        match self {
            Self::DeIdentified => "de_identified",
            Self::Identifier => "identifier",
            Self::Police => "police",
            Self::Health => "health",
            Self::SpeciallyProtectedHealth => "specially_protected_health",
            Self::Education => "education",
            Self::Social => "social",
            Self::HousingIncome => "housing_income",
            Self::Corrections => "corrections",
            Self::Community => "community",
        }
    }
}

impl Category {
    /// The kind, one for each category.
    pub const fn kind(self) -> CategoryKind {
        use CategoryKind as Kind;
        match self {
            Self::Gender | Self::AgeBand | Self::RiskFactors => Kind::DeIdentified,
            Self::Name | Self::Location => Kind::Identifier,
            Self::ContactDates
            | Self::SafetyFlag
            | Self::CallType
            | Self::Charges
            | Self::YouthRecord
            | Self::Intelligence => Kind::Police,
            Self::InService
            | Self::AppointmentStatus
            | Self::ClinicianContact
            | Self::CrisisRisk
            | Self::Diagnosis
            | Self::Medication => Kind::Health,
            Self::SudTreatment | Self::PsychotherapyNotes => Kind::SpeciallyProtectedHealth,
            Self::Enrolled | Self::Attendance | Self::Behaviour | Self::EducationRecord => {
                Kind::Education
            }
            Self::OpenFile | Self::Placement | Self::ProtectionReport => Kind::Social,
            Self::TenureRisk | Self::Shelter | Self::BenefitStatus => Kind::HousingIncome,
            Self::Supervision | Self::Conditions | Self::ReleaseDate => Kind::Corrections,
            Self::Engagement | Self::Mentor | Self::Concern | Self::FamilyContact => {
                Kind::Community
            }
        }
    }
}
