//! The codes of consents: who gave one, with which capacity, how, in which language.

use super::UnknownCode;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

codes! {
    /// Who gave a consent.
    ConsentGiver ("consent giver") {
        /// The person.
        Subject = "self",
        /// A parent or guardian.
        Parent = "parent",
        /// A substitute decision-maker.
        Substitute = "substitute",
    }

    /// The giver's capacity as the worker recorded it.
    Capacity ("capacity") {
        /// Capable.
        Capable = "capable",
        /// A minor who may consent alone.
        MatureMinor = "mature_minor",
        /// Not capable: a parent or substitute gave it.
        Substituted = "substituted",
    }

    /// How a consent was given.
    ConsentMethod ("consent method") {
        /// On paper.
        Written = "written",
        /// Aloud, before a witness.
        VerbalWitnessed = "verbal_witnessed",
        /// Electronically.
        Electronic = "electronic",
    }

    /// Language in which a consent was explained and given.
    Language ("language") {
        /// English.
        English = "en",
        /// French.
        French = "fr",
        /// Inuktitut.
        Inuktitut = "iu",
        /// Cree.
        Cree = "cr",
        /// Innu.
        Innu = "moe",
        /// Another, through an interpreter.
        Other = "other",
    }
}
