//! What befalls machines, disks, clocks and the network.

use crate::{
    agency::Copy,
    ops::{Down, Machine, Op},
    world::{Happening, Step, World},
};

impl World {
    pub(crate) fn befall(&mut self, op: &Op) -> Step {
        match op {
            Op::GoDown {
                machine,
                how,
                for_ms,
            } => self.go_down(*machine, *how, *for_ms),
            Op::Copy { machine } => {
                self.copy(*machine);
                Ok(())
            }
            Op::Restore { machine, for_ms } => self.restore(*machine, *for_ms),
            Op::DiskFull {
                machine,
                after_writes,
                for_ms,
            } => {
                let machine = self.machine(*machine);
                self.tell(format!("the disk of {} fills", self.name(machine)));
                self.disk(machine).set_space(Some(*after_writes));
                self.arrange(*for_ms, Happening::DiskHeals(machine));
                Ok(())
            }
            Op::SyncFails { machine } => {
                let machine = self.machine(*machine);
                self.tell(format!("a sync of {} will fail", self.name(machine)));
                self.disk(machine).fail_syncs(1);
                Ok(())
            }
            Op::Rot { machine } => self.rot(*machine),
            Op::CutConnection { agency } => {
                let ix = self.any(*agency);
                self.tell(format!("the connection of {} is cut", self.agencies[ix].id));
                for id in self.net.of(ix) {
                    self.cut(id);
                }
                Ok(())
            }
            Op::Partition { agency, for_ms } => {
                let ix = self.any(*agency);
                self.tell(format!(
                    "{} is cut off for {for_ms} ms",
                    self.agencies[ix].id
                ));
                self.net.way(ix).closed_until = self.now + for_ms;
                for id in self.net.of(ix) {
                    self.cut(id);
                }
                Ok(())
            }
            Op::Slow {
                agency,
                delay_ms,
                for_ms,
            } => {
                let ix = self.any(*agency);
                self.tell(format!("the way to {} is slow", self.agencies[ix].id));
                let until = self.now + for_ms;
                let way = self.net.way(ix);
                (way.slow_ms, way.slow_until) = (*delay_ms, until);
                Ok(())
            }
            Op::Skew { machine, ms } => {
                let machine = self.machine(*machine);
                self.tell(format!(
                    "the clock of {} is off by {ms} ms",
                    self.name(machine)
                ));
                match machine {
                    Machine::Broker => self.broker.skew_ms = *ms,
                    Machine::Agency(ix) => self.agencies[ix].skew_ms = *ms,
                }
                Ok(())
            }
            Op::Lie { agency, lie } => {
                let ix = self.any(*agency);
                self.lies.insert(ix, *lie);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn go_down(&mut self, machine: Machine, how: Down, for_ms: u64) -> Step {
        let machine = self.machine(machine);
        let name = self.name(machine);
        match how {
            Down::CutWithin(operations) => {
                self.disk(machine).cut_within(operations);
                self.arrange(for_ms.min(20_000), Happening::DownAnyway(machine));
            }
            Down::Kill | Down::PowerCut => {
                self.tell(format!("{name} goes down: {how:?}"));
                self.stop(machine, how == Down::PowerCut);
                self.arrange(for_ms, Happening::Start(machine));
            }
        }
        Ok(())
    }

    /// A machine that was to fail within its next operations, and had none.
    ///
    /// # Errors
    /// A broken promise.
    pub fn down_anyway(&mut self, machine: Machine) -> Step {
        if self.healed || !self.disk(machine).is_to_be_cut() {
            return Ok(());
        }
        let name = self.name(machine);
        self.tell(format!("{name} goes down: PowerCut"));
        self.stop(machine, true);
        self.arrange(500, Happening::Start(machine));
        Ok(())
    }

    fn runs(&self, machine: Machine) -> bool {
        match machine {
            Machine::Broker => self.broker.up.is_some(),
            Machine::Agency(ix) => self.agencies[ix].up.is_some(),
        }
    }

    pub(crate) fn stop(&mut self, machine: Machine, power: bool) {
        match machine {
            Machine::Broker => self.stop_broker(power),
            Machine::Agency(ix) => self.stop_agent(ix, power),
        }
    }

    pub(crate) fn copy(&mut self, machine: Machine) {
        let machine = self.machine(machine);
        self.tell(format!("the disk of {} is copied", self.name(machine)));
        // A copy of a disk is taken between two writes.
        let was_up = self.runs(machine);
        let snapshot = self.disk(machine).snapshot();
        match machine {
            // A copy of a copy that is not the log would be another log altogether.
            Machine::Broker if was_up && self.broker.newest.is_none() => {
                self.broker.copy = Some(snapshot);
            }
            Machine::Agency(ix) if was_up => {
                let acknowledged = self.agencies[ix].acknowledged.len();
                self.agencies[ix].copy = Some(Copy {
                    disk: snapshot,
                    acknowledged,
                    erased: self.ghost.erased.clone(),
                });
            }
            _ => {}
        }
    }

    pub(crate) fn restore(&mut self, machine: Machine, for_ms: u64) -> Step {
        match self.machine(machine) {
            Machine::Broker => self.restore_broker(for_ms),
            Machine::Agency(ix) => self.restore_agent(ix),
        }
    }

    pub(crate) fn restore_agent(&mut self, ix: usize) -> Step {
        // A restored witness has forgotten what it cosigned. The quorum bears one that lies, or
        // forgets: there is one in a story.
        if self.agencies.iter().any(|a| a.was_restored) {
            return Ok(());
        }
        let Some(copy) = self.agencies[ix].copy.take() else {
            return Ok(());
        };
        self.tell(format!(
            "{} is restored from an old copy",
            self.agencies[ix].id
        ));
        self.stop_agent(ix, false);
        let agency = &mut self.agencies[ix];
        agency.disk.heal();
        agency.disk.restore(&copy.disk);
        // What came after the copy was given up by whoever restored it.
        agency.acknowledged.truncate(copy.acknowledged);
        agency.in_doubt = None;
        // Among it erasures: their keys are in the copy, as are the answers.
        self.ghost
            .erased
            .retain(|one| one.0 != ix || copy.erased.contains(one));
        agency.was_restored = true;
        let _ = std::fs::remove_dir_all(agency.home.path("projection"));
        self.ghost.witnessed.remove(&ix);
        self.start_agent(ix)
    }

    pub(crate) fn restore_broker(&mut self, for_ms: u64) -> Step {
        if self.broker.newest.is_some() || self.broker.up.is_none() {
            return Ok(());
        }
        let Some(copy) = self.broker.copy.take() else {
            return Ok(());
        };
        self.tell("the broker is restored from an old copy");
        self.broker_commits()?;
        self.stop_broker(false);
        self.net.lose_all(self.now);
        self.broker.disk.heal();
        let newest = self.broker.disk.snapshot();
        self.broker.disk.restore(&copy);
        let _ = std::fs::remove_dir_all(self.broker.dir.join("projection"));
        let len = self.broker.entries_on_disk();
        let saved = self.ghost.clone();
        self.ghost.roll_back(usize::try_from(len).expect("small"));
        self.broker.newest = Some((newest, saved, len));
        self.was_restored = true;
        self.start_broker()?;
        self.arrange(for_ms, Happening::PutBack(Machine::Broker));
        Ok(())
    }

    /// The operator puts the newest copy back, if nothing was built on the old one.
    ///
    /// # Errors
    /// A broken promise.
    pub fn put_back(&mut self, machine: Machine) -> Step {
        if machine != Machine::Broker {
            return Ok(());
        }
        let Some((newest, saved, len)) = self.broker.newest.take() else {
            return Ok(());
        };
        if self.ghost.canon.len() as u64 > len && self.ghost.canon != saved.canon {
            // A quorum had not seen what was lost, and went on with the old copy: it is the log.
            self.tell("the old copy is the log from here on");
            return Ok(());
        }
        self.tell("the newest copy of the broker is put back");
        self.stop_broker(false);
        self.net.lose_all(self.now);
        self.broker.disk.heal();
        self.broker.disk.restore(&newest);
        let _ = std::fs::remove_dir_all(self.broker.dir.join("projection"));
        let now = std::mem::take(&mut self.ghost);
        self.ghost = now.with_log_of(saved);
        self.start_broker()
    }

    pub(crate) fn rot(&mut self, machine: Machine) -> Step {
        let machine = self.machine(machine);
        let name = self.name(machine);
        let runs = self.runs(machine);
        let disk = self.disk(machine);
        // After a power cut the mark of the journal may be old, and what rots above it is cut off
        // as torn: two faults at once, which the journal does not promise to tell apart.
        if self.broker.newest.is_some() || !runs || disk.is_cut() {
            return Ok(());
        }
        self.stop(machine, false);
        let rot = disk.rot();
        self.tell(format!("a bit of the disk of {name} flips"));
        // It starts only if nothing that it acknowledged is concerned; the check is in the start.
        self.start(machine)?;
        self.stop(machine, false);
        if let Some(rot) = &rot {
            disk.unrot(rot);
        }
        self.arrange(2_000, Happening::Start(machine));
        Ok(())
    }
}
