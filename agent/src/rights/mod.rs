//! What a person asks about herself: at the door that she went to, and at each owner (rules 13 and
//! 24).
//!
//! Between the two it is an ordinary exchange with the purpose `rights_request`: decided by the
//! rules, which let nothing pass without a person at the owner, logged, sealed, with a deadline.
//!
//! In scope: what is asked of which sector and in which words; reasons; [`record`]: what is
//! journaled of it, restrictions in time; `watch`: deadlines. Out of scope: the exchange itself
//! ([`crate::requester`], [`crate::holder`]).
//!
//! The adversary is whoever asks in the person's name: another counter, stolen papers, somebody who
//! waits outside. So the door learns one thing only from an owner that keeps something back: what
//! it learns from one that holds nothing.

pub mod record;
pub(crate) mod watch;

use passerelle_model::{
    bytes::Digest,
    ids::RightsId,
    statement::{Item, MAX_ITEMS},
    time::Timestamp,
    vocabulary::{Category, CategoryKind, Level, Sector},
};
use serde::{Deserialize, Serialize};

/// Longest text of a person, in bytes: with what stands around it the sealed context holds it.
pub const MAX_SAYS_BYTES: usize = 2_000;

macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$vmeta:meta])* $variant:ident = $code:literal, $en:literal, $fr:literal;)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vmeta])* #[serde(rename = $code)] $variant,)*
        }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// In English.
            pub const fn en(self) -> &'static str {
                match self { $(Self::$variant => $en,)* }
            }

            /// In French.
            pub const fn fr(self) -> &'static str {
                match self { $(Self::$variant => $fr,)* }
            }

            /// The one with this code.
            pub fn parse(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.code() == code)
            }
        }
    };
}

reasons! {
    /// What a person wants of every owner.
    Kind {
        /// What is held, and to whom it was disclosed.
        Access = "access",
            "what is held about me, and to whom it was disclosed",
            "ce qui est détenu à mon sujet, et à qui cela a été communiqué";
        /// That something be put right.
        Correction = "correction",
            "a correction of what is held about me",
            "la rectification de ce qui est détenu à mon sujet";
        /// That something be done no more.
        Objection = "objection",
            "an objection to the use of what is held about me",
            "une opposition à l’utilisation de ce qui est détenu à mon sujet";
        /// That what rests on consent ends everywhere.
        Withdrawal = "withdrawal",
            "the withdrawal of my consents, wherever something rests on them",
            "le retrait de mes consentements, partout où quelque chose repose sur eux";
    }
}

reasons! {
    /// Why an owner refuses. The person is told. A reason that would tell that there is a record
    /// of a kind is not among them: what it protects is restricted (see [`Restriction`]).
    Refusal {
        /// To answer would tell of somebody else.
        ThirdParty = "third_party",
            "An answer through another agency could tell about somebody else. Contact the owner.",
            "Une réponse par un autre organisme pourrait renseigner sur quelqu’un d’autre. \
             Adressez-vous au détenteur.";
        /// Another way is laid down by law.
        OwnProcedure = "own_procedure",
            "The law lays down another way to ask this owner. Contact it.",
            "La loi prévoit une autre façon de s’adresser à ce détenteur. Adressez-vous à lui.";
        /// Who asks is not known well enough.
        IdentityInDoubt = "identity_in_doubt",
            "The owner wants to verify identity itself. Contact it.",
            "Le détenteur veut vérifier lui-même l’identité. Adressez-vous à lui.";
    }
}

reasons! {
    /// Why an owner keeps an answer back for a time. Nobody else is told that it does.
    Restriction {
        /// An investigation would be revealed.
        Investigation = "investigation",
            "an investigation would be revealed", "une enquête serait révélée";
        /// Law enforcement has suspended the accounting (45 CFR 164.528(a)(2)).
        Suspension = "law_enforcement_suspension",
            "law enforcement has suspended it for a time",
            "les forces de l’ordre l’ont suspendu pour un temps";
        /// Somebody could come to harm.
        Safety = "safety",
            "somebody could come to harm", "quelqu’un pourrait subir un préjudice";
        /// A court has ordered it.
        Court = "court_order", "a court has ordered it", "un tribunal l’a ordonné";
    }
}

/// The categories that an agency of a sector holds as a record of its own.
fn kinds(sector: Sector) -> &'static [CategoryKind] {
    match sector {
        Sector::LawEnforcement => &[CategoryKind::Police],
        Sector::Health => &[CategoryKind::Health, CategoryKind::SpeciallyProtectedHealth],
        Sector::SocialServices => &[CategoryKind::Social],
        Sector::Education => &[CategoryKind::Education],
        Sector::HousingIncome => &[CategoryKind::HousingIncome],
        Sector::Corrections => &[CategoryKind::Corrections],
        Sector::Community => &[CategoryKind::Community],
        Sector::Oversight | Sector::Coordination => &[],
    }
}

/// What is asked of an owner of this sector: the same of each of them, so that the question tells
/// nothing. What the rules deny is denied for everybody. Empty for who holds no records.
pub fn items(sector: Sector, kind: Kind) -> Vec<Item> {
    let level = match kind {
        Kind::Access => Level::Coded,
        // Nothing is to be told but whom to talk to.
        Kind::Correction | Kind::Objection | Kind::Withdrawal => Level::Contact,
    };
    let kinds = kinds(sector);
    let held = Category::ALL.iter().filter(|c| kinds.contains(&c.kind()));
    let items = held.map(|category| Item {
        category: *category,
        level,
    });
    items.take(MAX_ITEMS).collect()
}

/// What the door writes to an owner, in both languages: nobody knows which one reads it.
pub fn words(
    group: &RightsId,
    kind: Kind,
    evidence: &Digest,
    due: Timestamp,
    says: &str,
) -> String {
    let (due, evidence) = (due.to_rfc3339(), evidence.to_hex());
    let (en, fr) = (kind.en(), kind.fr());
    let said = match says {
        "" => String::new(),
        says => format!("\n« {says} »"),
    };
    format!(
        "{group}\nThe person concerned asks, at our door: {en}. Identity was verified on paper, \
         SHA-256 {evidence}. To be answered by {due}.\nLa personne concernée demande, à notre \
         guichet : {fr}. L’identité a été vérifiée sur papier, SHA-256 {evidence}. Réponse \
         attendue d’ici le {due}.{said}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use passerelle_policies::CedarPdp;

    #[test]
    fn every_sector_that_holds_records_is_asked_for_all_of_its_own_and_nothing_else() {
        for sector in Sector::ALL {
            let asked = items(*sector, Kind::Access);
            let holds_none = matches!(sector, Sector::Oversight | Sector::Coordination);
            assert_eq!(asked.is_empty(), holds_none, "{sector}");
            let all = Category::ALL.iter();
            let own = all.filter(|c| kinds(*sector).contains(&c.kind()));
            assert_eq!(asked.len(), own.count(), "none is cut off for {sector}");
            let contact = items(*sector, Kind::Correction);
            assert!(contact.iter().all(|item| item.level == Level::Contact));
        }
    }

    #[test]
    fn no_reason_that_the_person_is_told_tells_of_an_investigation() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::parse(refusal.code()), Some(*refusal));
            assert_eq!(Restriction::parse(refusal.code()), None, "{refusal:?}");
            let told = format!("{} {}", refusal.en(), refusal.fr()).to_lowercase();
            assert!(!told.contains("investigat") && !told.contains("enquête"));
        }
    }

    #[test]
    fn what_is_written_to_an_owner_fits_and_says_the_evidence_in_both_languages() {
        let group = RightsId::from_random([7; 16]);
        let evidence = Digest::of(b"form");
        let says = "é".repeat(MAX_SAYS_BYTES / 2);
        let text = words(&group, Kind::Correction, &evidence, Timestamp(0), &says);
        assert!(text.len() <= 3_000, "{}", text.len());
        assert_eq!(text.matches(&evidence.to_hex()).count(), 2);
        assert!(text.contains("correction") && text.contains("rectification"));
    }

    #[test]
    fn the_rules_deny_the_same_of_everybody() {
        // What is never asked through a door is a matter of the category, not of the person.
        let pdp = CedarPdp::load_embedded().unwrap();
        assert!(
            pdp.library()
                .rules()
                .contains_key("rights-not-where-or-who")
        );
    }
}
