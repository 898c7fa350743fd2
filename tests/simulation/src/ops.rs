//! What people, machines and misfortune do: operations, and the generator that draws them.
//!
//! An operation names agencies, people and things by number; the world takes the number modulo
//! what there is when it comes to it. So a story from which operations were removed still runs.

use crate::rng::Rng;
use passerelle_proto::v1;
use std::fmt;

/// How a machine goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// The process alone (kill -9).
    Kill,
    /// The power: what was not synced may be lost.
    PowerCut,
    /// The power, in the middle of one of the next operations of the disk.
    CutWithin(u32),
}

/// One of the machines: an agency's by number, or the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// The broker's.
    Broker,
    /// An agency's.
    Agency(usize),
}

/// What a broker that lies does to the next notice of an agency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Leaves out the cosignatures of all others.
    FewWitnesses,
    /// Changes the entry.
    OtherEntry,
    /// Sends the proof of another notice.
    OtherProof,
}

impl Lie {
    /// Makes a lie of `notice` for the witness `own`.
    pub(crate) fn tell(self, notice: &mut v1::Notice, own: &str, other_proof: &str) {
        match self {
            Self::FewWitnesses => {
                let log = "\u{2014} passerelle/nord ";
                let own = format!("\u{2014} {own} ");
                let keep = |line: &&str| {
                    !line.starts_with('\u{2014}') || line.starts_with(log) || line.starts_with(&own)
                };
                let lines: Vec<_> = notice.proof.split_inclusive('\n').filter(keep).collect();
                notice.proof = lines.concat();
            }
            Self::OtherEntry => {
                let digit = notice.entry.iter().rposition(u8::is_ascii_digit);
                if let Some(at) = digit {
                    let byte = &mut notice.entry[at];
                    *byte = if *byte == b'9' { b'0' } else { *byte + 1 };
                }
            }
            Self::OtherProof => notice.proof = other_proof.to_owned(),
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// By whom.
    pub requester: usize,
    /// Of whom.
    pub holder: usize,
    /// About whom.
    pub person: usize,
    /// Which categories, and up to which level.
    pub items: Vec<(usize, usize)>,
    /// On which ground.
    pub ground: Ground,
    /// In the newest case of the requester.
    pub in_case: bool,
    /// For how long.
    pub valid_s: u64,
}

/// On which ground a request is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Whatever consent there is.
    Consent,
    /// A consent by number.
    NamedConsent(usize),
    /// Whatever agreement there is.
    Agreement,
    /// An agreement by number.
    NamedAgreement(usize),
    /// An emergency.
    Emergency,
    /// None: a purpose alone.
    Nothing,
    /// A prohibited purpose.
    Prohibited,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are numbers of what their names say"
)]
pub enum Op {
    Import {
        agency: usize,
        person: usize,
        category: usize,
        weight: usize,
    },
    Enrol {
        agency: usize,
    },
    Rotate {
        agency: usize,
    },
    Revoke {
        agency: usize,
    },
    Agree {
        proposer: usize,
        other: usize,
        category: usize,
        level: usize,
        life_s: u64,
    },
    Sign {
        agency: usize,
    },
    Consent {
        by: usize,
        person: usize,
        to: usize,
        from: usize,
        categories: usize,
        life_s: u64,
    },
    Withdraw {
        by: usize,
        consent: usize,
        scope: usize,
    },
    Ask(Ask),
    Review {
        agency: usize,
        verdict: usize,
        worker: usize,
    },
    View {
        agency: usize,
    },
    Erase {
        agency: usize,
    },
    OpenCase {
        agency: usize,
    },
    AdvanceCase {
        agency: usize,
    },
    GoDown {
        machine: Machine,
        how: Down,
        for_ms: u64,
    },
    Copy {
        machine: Machine,
    },
    Restore {
        machine: Machine,
        for_ms: u64,
    },
    DiskFull {
        machine: Machine,
        after_writes: u64,
        for_ms: u64,
    },
    SyncFails {
        machine: Machine,
    },
    Rot {
        machine: Machine,
    },
    CutConnection {
        agency: usize,
    },
    Partition {
        agency: usize,
        for_ms: u64,
    },
    Slow {
        agency: usize,
        delay_ms: u64,
        for_ms: u64,
    },
    Skew {
        machine: Machine,
        ms: i64,
    },
    Lie {
        agency: usize,
        lie: Lie,
    },
    Pass,
}

/// An operation and how long after the one before it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// Milliseconds after the operation before.
    pub after_ms: u64,
    /// What.
    pub op: Op,
}

impl fmt::Display for Timed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {} ms: {:?}", self.after_ms, self.op)
    }
}

/// Categories that are asked and imported: one or two of each kind that the policies tell apart.
pub const CATEGORIES: usize = 7;
/// People in a story.
pub const PEOPLE: usize = 3;

/// Draws a story of `count` operations.
pub fn generate(seed: u64, count: usize) -> Vec<Timed> {
    let mut rng = Rng::new(seed, "operations");
    let rng = &mut rng;
    let mut ops = Vec::new();
    // Somebody knows somebody, and something was agreed, or nothing would ever be permitted.
    for n in 0..9 {
        let (category, weight) = (number(rng), number(rng));
        // Numbers that no stranger gets.
        let op = Op::Import {
            agency: 1 + n % 3,
            person: n / 3,
            category,
            weight,
        };
        ops.push(Timed {
            after_ms: rng.range(10, 200),
            op,
        });
    }
    for op in [agree(rng), consent(rng), consent(rng), consent(rng)] {
        ops.push(Timed {
            after_ms: rng.range(500, 3_000),
            op,
        });
    }
    while ops.len() < count {
        let after_ms = match rng.below(20) {
            0..12 => rng.range(1, 800),
            12..18 => rng.range(800, 8_000),
            18 => rng.range(8_000, 60_000),
            _ => rng.range(60_000, 400_000),
        };
        let op = draw(rng);
        // People change their minds just when it matters.
        let regretted = match &op {
            Op::Ask(Ask {
                ground: Ground::NamedConsent(consent),
                ..
            }) => Some(*consent),
            _ => None,
        };
        ops.push(Timed { after_ms, op });
        if let Some(consent) = regretted.filter(|_| rng.percent(30)) {
            let (by, scope) = (number(rng), number(rng));
            let op = Op::Withdraw { by, consent, scope };
            ops.push(Timed {
                after_ms: rng.range(1, 400),
                op,
            });
        }
    }
    ops
}

fn number(rng: &mut Rng) -> usize {
    usize::try_from(rng.below(1_000)).unwrap()
}

fn machine(rng: &mut Rng) -> Machine {
    if rng.percent(50) {
        Machine::Broker
    } else {
        Machine::Agency(number(rng))
    }
}

fn import(rng: &mut Rng) -> Op {
    Op::Import {
        agency: number(rng),
        person: number(rng),
        category: number(rng),
        weight: number(rng),
    }
}

fn agree(rng: &mut Rng) -> Op {
    Op::Agree {
        proposer: number(rng),
        other: number(rng),
        category: number(rng),
        level: number(rng),
        life_s: *rng.pick(&[20, 120, 600, 86_400]),
    }
}

fn consent(rng: &mut Rng) -> Op {
    let from = number(rng);
    Op::Consent {
        // Mostly recorded by who holds the record: others' consents are looked at by a person.
        by: if rng.percent(80) { from } else { number(rng) },
        person: number(rng),
        to: number(rng),
        from,
        categories: number(rng),
        life_s: *rng.pick(&[15, 90, 600, 86_400, 86_400]),
    }
}

fn ask(rng: &mut Rng) -> Op {
    let items = (0..rng.range(1, 3))
        .map(|_| (number(rng), number(rng)))
        .collect();
    Op::Ask(Ask {
        requester: number(rng),
        holder: number(rng),
        person: number(rng),
        items,
        ground: match rng.below(20) {
            0..9 => Ground::Consent,
            9..12 => Ground::NamedConsent(number(rng)),
            12..14 => Ground::Agreement,
            14 => Ground::NamedAgreement(number(rng)),
            15..18 => Ground::Emergency,
            18 => Ground::Nothing,
            _ => Ground::Prohibited,
        },
        in_case: rng.percent(15),
        valid_s: *rng.pick(&[30, 120, 600, 3_600, 259_200]),
    })
}

fn down(rng: &mut Rng) -> Down {
    match rng.below(4) {
        0 => Down::Kill,
        1 => Down::PowerCut,
        _ => Down::CutWithin(u32::try_from(rng.range(1, 12)).unwrap()),
    }
}

fn draw(rng: &mut Rng) -> Op {
    match rng.below(100) {
        0..36 => ask(rng),
        36..43 => consent(rng),
        43..46 => Op::Withdraw {
            by: number(rng),
            consent: number(rng),
            scope: number(rng),
        },
        46..49 => agree(rng),
        49..50 => Op::Sign {
            agency: number(rng),
        },
        50..53 => import(rng),
        53..60 => {
            let (agency, verdict, worker) = (number(rng), number(rng), number(rng));
            Op::Review {
                agency,
                verdict,
                worker,
            }
        }
        60..63 => Op::View {
            agency: number(rng),
        },
        63..67 => Op::Erase {
            agency: number(rng),
        },
        67..69 => Op::OpenCase {
            agency: number(rng),
        },
        69..73 => Op::AdvanceCase {
            agency: number(rng),
        },
        73..100 => misfortune(rng),
        _ => Op::Pass,
    }
}

fn misfortune(rng: &mut Rng) -> Op {
    let machine = machine(rng);
    let agency = number(rng);
    let for_ms = *rng.pick(&[50, 2_000, 40_000, 200_000]);
    match rng.below(30) {
        0..8 => Op::GoDown {
            machine,
            how: down(rng),
            for_ms,
        },
        8..11 => Op::Copy { machine },
        11..14 => Op::Restore { machine, for_ms },
        14..16 => Op::DiskFull {
            machine,
            after_writes: rng.below(6),
            for_ms,
        },
        16 => Op::SyncFails { machine },
        17 => Op::Rot { machine },
        18..20 => Op::CutConnection { agency },
        20..22 => Op::Partition { agency, for_ms },
        22 => Op::Slow {
            agency,
            delay_ms: rng.range(200, 9_000),
            for_ms,
        },
        23 => {
            let ms = i64::try_from(rng.below(400_000)).unwrap() - 200_000;
            Op::Skew { machine, ms }
        }
        24..27 => {
            let lie = *rng.pick(&[Lie::FewWitnesses, Lie::OtherEntry, Lie::OtherProof]);
            Op::Lie { agency, lie }
        }
        27 => Op::Enrol { agency },
        28 => Op::Rotate { agency },
        _ => Op::Revoke { agency },
    }
}
