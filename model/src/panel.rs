//! Who witnesses for the whole federation.
//!
//! Every member's agent is a witness of its own: it acts only on checkpoints that it has cosigned
//! itself. The quorum that everybody asks for besides is counted among a panel: with hundreds of
//! members a checkpoint would otherwise carry hundreds of signatures, each verified by everybody,
//! and a night on which a third of the agencies is switched off would stop the federation
//! (decision 0012).
//!
//! In scope: the size of the panel, which the founding fixes, and who sits on it, which follows
//! from the log. Out of scope: the quorum of a panel (crate `passerelle-audit`).

use serde::{Deserialize, Serialize};

/// Most seats. A note carries at most 64 signatures: the log's, the panel's, the reader's own.
pub const MAX_PANEL: u16 = 32;
/// Seats unless the founder says otherwise: eleven of sixteen make a quorum.
pub const DEFAULT_PANEL: u16 = 16;

/// The number of seats, 1 to [`MAX_PANEL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Panel(u16);

/// A number of seats that can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a witness panel has 1 to {MAX_PANEL} seats, not `{0}`")]
pub struct PanelError(u64);

impl Default for Panel {
    fn default() -> Self {
        Self(DEFAULT_PANEL)
    }
}

impl TryFrom<u16> for Panel {
    type Error = PanelError;

    fn try_from(seats: u16) -> Result<Self, PanelError> {
        if (1..=MAX_PANEL).contains(&seats) {
            Ok(Self(seats))
        } else {
            Err(PanelError(seats.into()))
        }
    }
}

impl TryFrom<u32> for Panel {
    type Error = PanelError;

    fn try_from(seats: u32) -> Result<Self, PanelError> {
        u16::try_from(seats)
            .map_err(|_| PanelError(seats.into()))
            .and_then(Self::try_from)
    }
}

impl From<Panel> for u16 {
    fn from(panel: Panel) -> Self {
        panel.0
    }
}

impl std::fmt::Display for Panel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Panel {
    type Err = String;

    fn from_str(seats: &str) -> Result<Self, String> {
        let number: u16 = seats
            .parse()
            .map_err(|_| format!("`{seats}` is not a number of seats"))?;
        Self::try_from(number).map_err(|error| error.to_string())
    }
}

impl Panel {
    /// Those who sit on the panel: of the present members, each with the index of the entry since
    /// which it has been one without a break, the ones of longest standing. Whoever renews its
    /// keys keeps its seat.
    pub fn seats<T>(self, members: impl IntoIterator<Item = (u64, T)>) -> Vec<T> {
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort_by_key(|(since, _)| *since);
        members
            .into_iter()
            .take(self.0.into())
            .map(|(_, member)| member)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_standing_members_sit() {
        let panel = Panel::try_from(2_u16).unwrap();
        assert_eq!(panel.seats([(9, "c"), (1, "a"), (4, "b")]), ["a", "b"]);
        assert_eq!(panel.seats([(9, "c")]), ["c"]);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for seats in ["0", "33", "-1", "70000", "x", ""] {
            assert!(seats.parse::<Panel>().is_err(), "{seats}");
        }
        assert!(serde_json::from_str::<Panel>("0").is_err());
        assert_eq!("32".parse::<Panel>().map(u16::from), Ok(32));
    }
}
