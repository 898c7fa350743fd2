//! One request between two agencies, in every order.
//!
//! **The world.** An asker and a holder, both witnesses (a quorum of two is both); a broker; one
//! consent, recorded; one request for one item; the person may withdraw, at the asker, at any
//! point. The clock has four steps; a permit lives for one and a half, the request for three.
//!
//! **Production code here:** the broker's `decide` and `apply`, the mailboxes, the quorum.
//! **By hand:** the agents, after `agent/src/{holder,requester,review,inbound}.rs`. What an agent
//! does on a notice or a reply is one transaction there, so a crash before it means that the
//! message comes again, a crash after it that all of it happened: an agent that is down is one
//! that takes no step. What it has said is durable before it is sent.
//!
//! **The network.** Whatever was ever said may arrive at any time, any number of times, or never:
//! losses, repetitions and reorderings of statements are all there. A reply may be lost. Notices
//! come in the order of the mailbox from the agent's cursor (a stream), at any time, or never; one
//! that comes again is below the cursor and ignored. A broker that jumps ahead may send a permit
//! before its entry is covered, or whose entry a crash then loses.
//!
//! **Left out:** what the policy says beyond the consent, review by a person (its effect here is
//! that an answer may come as late as it likes, which is there), clocks that differ, more than one
//! request, revocation, keys. Those are the business of `model/src/decide/tests`, the simulation
//! and the end-to-end tests.

use crate::{
    broker::{Broker, Cmd, Event, FIRST, Flaw, Log, LogId},
    properties,
    said::{DEADLINE, Stmt, Who},
};
use passerelle_audit::witness::quorum;
use passerelle_model::{error::ErrorCode, request::Status};
use stateright::{Model, Property};
use std::sync::Arc;

/// A holder that is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum HolderFlaw {
    /// None.
    #[default]
    None,
    /// It answers under a permit whose entry is not in a log that a quorum cosigned.
    TrustsTheBroker,
    /// It goes by the quorum's word without having cosigned itself.
    SkipsOwnWitness,
}

/// The model.
#[derive(Debug)]
pub struct Exchange {
    /// The broker.
    pub broker: Broker,
    /// What is wrong with the holder.
    pub holder: HolderFlaw,
    /// How far the clock goes: to the step at which the request runs out of time.
    pub deadline: u8,
}

impl Exchange {
    /// With these flaws, if any.
    pub fn new(broker: Flaw, holder: HolderFlaw) -> Self {
        Self::until(DEADLINE, broker, holder)
    }

    /// The same in a world with another number of steps of the clock.
    pub fn until(deadline: u8, broker: Flaw, holder: HolderFlaw) -> Self {
        Self {
            broker: Broker::new(broker, deadline),
            holder,
            deadline,
        }
    }

    /// The log of a state.
    pub fn log(&self, state: &State) -> Arc<Log> {
        self.broker.log(state.log)
    }
}

/// What the asker knows of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// Not over.
    Open,
    /// The broker would not take it.
    Refused,
    /// Denied.
    Denied,
    /// Stopped.
    Stopped,
    /// Out of time.
    Expired,
    /// The answer is here.
    Delivered,
    /// The answer was here.
    Erased,
}

/// The asker's durable state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Asker {
    /// Places in the mailbox that were taken in.
    pub cursor: u8,
    /// Where the request stands.
    pub asked: Asked,
    /// Whether it has passed a withdrawal on.
    pub withdrew: bool,
    /// Whether the broker has taken the withdrawal.
    pub withdrawal_settled: bool,
}

/// The holder's durable state. Sets of permits are bit masks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// Places in the mailbox that were taken in.
    pub cursor: u8,
    /// The latest permit that may be used.
    pub permit: Option<u8>,
    /// The permit under which an answer is out, unsettled.
    pub given: Option<u8>,
    /// Whether an answer was accepted.
    pub accepted: bool,
    /// Whether the request is over here.
    pub over: bool,
    /// Under which permits it has answered.
    pub answers: u8,
    /// Which permits it has asked to have renewed.
    pub renewals: u8,
    /// Whether it has answered under a permit that is in no log.
    pub answered_nothing: bool,
    /// Under which permits it answered without knowing that they are covered.
    pub blind_answers: u8,
}

/// A state of the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The step of the clock.
    pub step: u8,
    /// The broker's log.
    pub log: LogId,
    /// What each agency's witness has cosigned, in entries.
    pub heads: [u8; 2],
    /// The asker.
    pub asker: Asker,
    /// The holder.
    pub holder: Holder,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The clock goes on.
    Wait,
    /// A command is carried out; its reply, if it is a statement, arrives or not.
    Run(Cmd, bool),
    /// The broker crashes with so many entries of the command on disk.
    Crash(Cmd, u8),
    /// A witness cosigns the log as it is.
    Cosign(Who),
    /// The next notice arrives.
    Notice(Who),
    /// The broker sends a permit before its entry is covered.
    Early(u8),
    /// The broker sends a permit and crashes before its entry is on disk.
    Phantom,
    /// The holder answers.
    Answer,
    /// The holder asks for another permit.
    Renew,
    /// The person withdraws.
    Withdraw,
}

impl Action {
    /// Whether it is a step of the exchange itself: not the clock, the person, or a mishap.
    pub fn is_progress(&self) -> bool {
        match self {
            Self::Run(_, replied) => *replied,
            Self::Cosign(_) | Self::Notice(_) | Self::Answer | Self::Renew => true,
            Self::Wait | Self::Crash(..) | Self::Early(_) | Self::Phantom | Self::Withdraw => false,
        }
    }
}

fn bit(set: u8, n: u8) -> bool {
    set & (1 << n) != 0
}

impl State {
    /// Whether so many witnesses have cosigned a log that holds the entry at `place` that it
    /// counts.
    pub fn is_covered(&self, place: u8) -> bool {
        let covering = self.heads.iter().filter(|head| **head > place).count();
        covering >= quorum(self.heads.len())
    }

    /// Everything that was ever said, that may arrive (again) now.
    fn sayings(&self) -> Vec<Stmt> {
        let mut sayings = vec![Stmt::Request];
        if self.asker.withdrew {
            sayings.push(Stmt::Withdrawal);
        }
        if matches!(self.asker.asked, Asked::Delivered | Asked::Erased) {
            sayings.push(Stmt::Delivered);
        }
        if self.asker.asked == Asked::Erased {
            sayings.push(Stmt::Erased);
        }
        for permit in 0..8 {
            if bit(self.holder.answers, permit) {
                sayings.push(Stmt::Answer { permit });
            }
            if bit(self.holder.renewals, permit) {
                sayings.push(Stmt::Renewal { permit });
            }
        }
        sayings
    }
}

impl Exchange {
    fn may_use(&self, state: &State, place: u8) -> bool {
        let own = state.heads[Who::Holder as usize] > place;
        match self.holder {
            HolderFlaw::None => own && state.is_covered(place),
            HolderFlaw::TrustsTheBroker => true,
            HolderFlaw::SkipsOwnWitness => state.heads[Who::Asker as usize] > place,
        }
    }

    fn replied(&self, state: &mut State, stmt: Stmt, refused: Option<ErrorCode>) {
        match (stmt, refused) {
            (Stmt::Request, Some(_)) if state.asker.asked == Asked::Open => {
                state.asker.asked = Asked::Refused;
            }
            (Stmt::Withdrawal, _) => state.asker.withdrawal_settled = true,
            (Stmt::Answer { permit }, _) if state.holder.given == Some(permit) => {
                let holder = &mut state.holder;
                holder.given = None;
                match refused {
                    None => holder.accepted = true,
                    Some(ErrorCode::PermitExpired | ErrorCode::PermitMismatch) => {}
                    Some(_) => holder.over = true,
                }
            }
            _ => {}
        }
    }

    fn notice(&self, state: &mut State, who: Who) -> Option<()> {
        let log = self.log(state);
        let cursor = match who {
            Who::Asker => state.asker.cursor,
            Who::Holder => state.holder.cursor,
        };
        let place = *log.mail[who as usize].get(usize::from(cursor))?;
        let own = state.heads[who as usize] > place;
        if !state.is_covered(place) || !own {
            return None;
        }
        let event = log.events[usize::from(place)];
        match who {
            Who::Asker => asker_hears(&mut state.asker, event),
            Who::Holder => {
                let number = |p: &u8| log.permits.iter().position(|q| q.place == *p);
                let number = number(&place).map(|n| n as u8);
                holder_hears(&mut state.holder, event, number);
            }
        }
        Some(())
    }

    /// The broker shows a permit ahead of its time. The holder takes it if it believes it.
    fn early(&self, state: &mut State, permit: u8) -> Option<()> {
        let place = self.log(state).permits[usize::from(permit)].place;
        let holder = &mut state.holder;
        let is_new = holder.permit.is_none_or(|p| p < permit);
        if holder.over || holder.accepted || !is_new {
            return None;
        }
        self.may_use(state, place).then_some(())?;
        state.holder.permit = Some(permit);
        Some(())
    }

    fn phantom(&self, state: &mut State) -> Option<()> {
        let log = self.log(state);
        let offers = log.status.is_some_and(Status::is_open) && log.permits.is_empty();
        if !offers || self.holder != HolderFlaw::TrustsTheBroker {
            // There is no entry, so there is no proof of it that any head would confirm.
            return None;
        }
        state.holder.answered_nothing = true;
        Some(())
    }

    fn usable(&self, state: &State) -> Option<(u8, bool)> {
        let holder = &state.holder;
        let permit = holder.permit?;
        let is_free = holder.given.is_none() && !holder.accepted && !holder.over;
        let dead_from = self.log(state).permits[usize::from(permit)].dead_from;
        is_free.then_some((permit, state.step < dead_from))
    }

    fn answer(&self, state: &mut State) -> Option<()> {
        let (permit, true) = self.usable(state)? else {
            return None;
        };
        let place = self.log(state).permits[usize::from(permit)].place;
        let own = state.heads[Who::Holder as usize] > place;
        let is_blind = !own || !state.is_covered(place);
        let holder = &mut state.holder;
        holder.given = Some(permit);
        holder.answers |= 1 << permit;
        holder.blind_answers |= u8::from(is_blind) << permit;
        Some(())
    }

    fn renew(&self, state: &mut State) -> Option<()> {
        let (permit, false) = self.usable(state)? else {
            return None;
        };
        let is_new = !bit(state.holder.renewals, permit);
        state.holder.renewals |= 1 << permit;
        is_new.then_some(())
    }
}

fn asker_hears(asker: &mut Asker, event: Event) {
    asker.cursor += 1;
    match (event, asker.asked) {
        (Event::Said(Stmt::Answer { .. }), Asked::Open) => asker.asked = Asked::Delivered,
        (Event::Decided(_, false), Asked::Open) => asker.asked = Asked::Denied,
        (Event::Stopped(_), Asked::Open) => asker.asked = Asked::Stopped,
        (Event::Expired, Asked::Open) => asker.asked = Asked::Expired,
        (Event::Recalled, Asked::Delivered) => asker.asked = Asked::Erased,
        _ => {}
    }
}

fn holder_hears(holder: &mut Holder, event: Event, permit: Option<u8>) {
    holder.cursor += 1;
    match event {
        Event::Offered(_) if !holder.over && !holder.accepted => holder.permit = permit,
        Event::Decided(_, false) | Event::Stopped(_) | Event::Expired => holder.over = true,
        Event::Said(Stmt::Answer { .. }) => {
            holder.accepted = true;
            holder.given = None;
        }
        _ => {}
    }
}

impl Model for Exchange {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            step: 0,
            log: FIRST,
            heads: [0; 2],
            asker: Asker {
                cursor: 0,
                asked: Asked::Open,
                withdrew: false,
                withdrawal_settled: false,
            },
            holder: Holder {
                cursor: 0,
                permit: None,
                given: None,
                accepted: false,
                over: false,
                answers: 0,
                renewals: 0,
                answered_nothing: false,
                blind_answers: 0,
            },
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let mut commands: Vec<_> = state.sayings().into_iter().map(Cmd::Say).collect();
        commands.extend([Cmd::Offer, Cmd::Tick]);
        for command in commands {
            let outcome = self.broker.run(state.log, command, state.step);
            actions.push(Action::Run(command, true));
            if matches!(command, Cmd::Say(_)) {
                actions.push(Action::Run(command, false));
            }
            // All on disk and the reply lost is `Run(.., false)`; nothing on disk is no change.
            let kept = 1..outcome.logs.len().saturating_sub(1) as u8;
            actions.extend(kept.map(|kept| Action::Crash(command, kept)));
        }
        for who in Who::ALL {
            actions.extend([Action::Cosign(who), Action::Notice(who)]);
        }
        let permits = self.log(state).permits.len() as u8;
        actions.extend((0..permits).map(Action::Early));
        actions.extend([Action::Phantom, Action::Answer, Action::Renew]);
        if !state.asker.withdrew {
            actions.push(Action::Withdraw);
        }
        if state.step < self.deadline {
            actions.push(Action::Wait);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Wait => state.step += 1,
            Action::Run(command, replied) => {
                let outcome = self.broker.run(state.log, command, state.step);
                state.log = *outcome.logs.last()?;
                if let (Cmd::Say(stmt), true) = (command, replied) {
                    self.replied(&mut state, stmt, outcome.refused);
                }
            }
            Action::Crash(command, kept) => {
                let outcome = self.broker.run(state.log, command, state.step);
                state.log = *outcome.logs.get(usize::from(kept))?;
            }
            Action::Cosign(who) => {
                state.heads[who as usize] = self.log(&state).events.len() as u8;
            }
            Action::Notice(who) => self.notice(&mut state, who)?,
            Action::Early(permit) => self.early(&mut state, permit)?,
            Action::Phantom => self.phantom(&mut state)?,
            Action::Answer => self.answer(&mut state)?,
            Action::Renew => self.renew(&mut state)?,
            Action::Withdraw => state.asker.withdrew = true,
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::safety()
            .into_iter()
            .chain(properties::reached())
            .collect()
    }
}
