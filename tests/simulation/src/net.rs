//! The simulated network: one connection between each agent and the broker at a time, frames in
//! order within it, no order between connections, delay, loss with the connection, partition.

use crate::rng::Rng;
use passerelle_proto::v1;
use std::collections::BTreeMap;

/// The number of a connection.
pub type ConnectionId = u64;

/// A frame on its way.
#[derive(Clone, Debug)]
pub enum Frame {
    /// To the broker.
    Up(Box<v1::AgentFrame>),
    /// To an agent.
    Down(Box<v1::BrokerFrame>),
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Whose.
    pub agency: usize,
    /// When the last frame to the broker arrives.
    up_until: u64,
    /// When the last frame to the agent arrives.
    down_until: u64,
    /// Frames that would arrive later are lost.
    pub cut_at: Option<u64>,
}

/// How the way to one agency is.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// No connection passes until then.
    pub closed_until: u64,
    /// Each frame takes so much longer.
    pub slow_ms: u64,
    /// Until then.
    pub slow_until: u64,
}

/// All ways.
pub struct Net {
    rng: Rng,
    ways: BTreeMap<usize, Way>,
    connections: BTreeMap<ConnectionId, Connection>,
    next: ConnectionId,
}

impl Net {
    /// Without faults.
    pub fn new(rng: Rng) -> Self {
        Self {
            rng,
            ways: BTreeMap::new(),
            connections: BTreeMap::new(),
            next: 0,
        }
    }

    /// The way to an agency.
    pub fn way(&mut self, agency: usize) -> &mut Way {
        self.ways.entry(agency).or_default()
    }

    /// Opens a connection, if the way is open.
    pub fn open(&mut self, agency: usize, now: u64) -> Option<ConnectionId> {
        if now < self.way(agency).closed_until {
            return None;
        }
        self.next += 1;
        let connection = Connection {
            agency,
            up_until: now,
            down_until: now,
            cut_at: None,
        };
        self.connections.insert(self.next, connection);
        Some(self.next)
    }

    /// The connection, as long as an end of it is open.
    pub fn connection(&self, id: ConnectionId) -> Option<&Connection> {
        self.connections.get(&id)
    }

    /// The open connections of an agency.
    pub fn of(&self, agency: usize) -> Vec<ConnectionId> {
        let all = self.connections.iter();
        all.filter(|(_, c)| c.agency == agency && c.cut_at.is_none())
            .map(|(id, _)| *id)
            .collect()
    }

    /// All open connections.
    pub fn all(&self) -> Vec<ConnectionId> {
        let all = self.connections.iter();
        all.filter(|(_, c)| c.cut_at.is_none())
            .map(|(id, _)| *id)
            .collect()
    }

    /// When a frame that is sent now arrives; `None` if it is lost.
    pub fn send(&mut self, id: ConnectionId, up: bool, now: u64) -> Option<u64> {
        let agency = self.connections.get(&id)?.agency;
        let way = self.way(agency).clone();
        let slow = if now < way.slow_until { way.slow_ms } else { 0 };
        let delay = self.rng.range(1, 12) + slow;
        let connection = self.connections.get_mut(&id)?;
        let last = if up {
            &mut connection.up_until
        } else {
            &mut connection.down_until
        };
        *last = (*last).max(now + delay);
        let arrives = *last;
        let lost = connection.cut_at.is_some_and(|cut| arrives > cut);
        (!lost).then_some(arrives)
    }

    /// Cuts a connection: of what is under way a leading part arrives. Returns when each end
    /// notices, the agent and the broker.
    pub fn cut(&mut self, id: ConnectionId, now: u64) -> Option<(u64, u64)> {
        let grace = self.rng.below(30);
        let notices = (
            now + self.rng.range(1, 2_000),
            now + self.rng.range(1, 20_000),
        );
        let connection = self.connections.get_mut(&id)?;
        if connection.cut_at.is_some() {
            return None;
        }
        connection.cut_at = Some(now + grace);
        Some(notices)
    }

    /// All that is under way is lost: the observer can't tell two logs apart in one moment.
    pub fn lose_all(&mut self, now: u64) {
        for connection in self.connections.values_mut() {
            connection.cut_at = Some(now.saturating_sub(1));
        }
    }

    /// Whether a frame that arrives now does arrive.
    pub fn arrives(&self, id: ConnectionId, now: u64) -> bool {
        let connection = self.connections.get(&id);
        connection.is_some_and(|c| c.cut_at.is_none_or(|cut| now <= cut))
    }
}
