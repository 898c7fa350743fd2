//! The broker's end of the connections: what agents say there, and that they are gone.

use crate::{
    broker::{From, federation},
    net::ConnectionId,
    ops::Machine,
    world::{Step, World},
};
use passerelle_broker::seat::{Asked, Seat};
use passerelle_model::{decide::Command, state};
use passerelle_proto::v1::{self, agent_frame, broker_frame};

impl World {
    /// A frame arrives at the broker.
    ///
    /// # Errors
    /// A broken promise.
    pub fn broker_hears(&mut self, id: ConnectionId, frame: v1::AgentFrame) -> Step {
        let Some(ix) = self.net.connection(id).map(|c| c.agency) else {
            return Ok(());
        };
        let now = self.clock(Machine::Broker);
        let name = federation();
        let Some(up) = &mut self.broker.up else {
            return Ok(());
        };
        if let Some(agent_frame::Frame::Hello(hello)) = &frame.frame
            && up.seats.get(&ix).is_none_or(|(other, _)| *other != id)
        {
            return self.agent_attaches(ix, id, hello);
        }
        let Some((_, mut seat)) = up.seats.remove(&ix).filter(|(own, _)| *own == id) else {
            return Ok(());
        };
        let asked = seat.take(up.desk(&name), frame, now);
        up.seats.insert(ix, (id, seat));
        match asked {
            Ok(Asked::Sequence { call, command }) => {
                self.queue_command(*command, From::Call(id, call));
            }
            Ok(Asked::Reply(reply)) => self.broker_says(id, broker_frame::Frame::Reply(reply))?,
            Ok(Asked::Evaluate { evaluate, allowed }) => {
                self.evaluate(ix, id, &evaluate, allowed)?
            }
            Ok(Asked::Look) => self.pump_broker()?,
            Err(fault) => {
                self.tell(format!(
                    "the broker ends the session of {}: {fault:?}",
                    self.agencies[ix].id
                ));
                self.broker_loses(id);
                self.cut(id);
            }
        }
        Ok(())
    }

    pub(crate) fn evaluate(
        &mut self,
        ix: usize,
        id: ConnectionId,
        asked: &v1::Evaluate,
        allowed: bool,
    ) -> Step {
        let Some(up) = &self.broker.up else {
            return Ok(());
        };
        let mut frame = v1::Evaluated {
            call: asked.call,
            ..v1::Evaluated::default()
        };
        match up.oprf.evaluate_batch(&asked.blinded) {
            Ok(done) if allowed => {
                frame.elements = done.elements;
                frame.proof = done.proof;
                let agency = self.agencies[ix].id.clone();
                let count = u32::try_from(asked.blinded.len()).expect("few");
                let count = Command::CountEvaluations { agency, count };
                self.queue_command(count, From::Evaluated(id, Box::new(frame)));
                Ok(())
            }
            _ => {
                frame.code = passerelle_model::error::ErrorCode::RateLimited
                    .code()
                    .to_owned();
                self.broker_says(id, broker_frame::Frame::Evaluated(frame))
            }
        }
    }

    pub(crate) fn agent_attaches(
        &mut self,
        ix: usize,
        id: ConnectionId,
        hello: &v1::Hello,
    ) -> Step {
        let now = self.clock(Machine::Broker);
        let agency = self.agencies[ix].id.clone();
        let certificate = self.agencies[ix].certificate.clone();
        let name = federation();
        let Some(up) = &mut self.broker.up else {
            return Ok(());
        };
        let projection = up.view().projection.clone();
        let member = state::member(projection.as_ref(), &agency).expect("the projection");
        if member.is_none_or(|m| m.certificate != certificate) {
            self.cut(id);
            return Ok(());
        }
        let Ok((seat, welcome)) = Seat::begin(agency.clone(), up.desk(&name), hello, now) else {
            self.cut(id);
            return Ok(());
        };
        let older = up.seats.insert(ix, (id, seat));
        up.reachable.set(&agency, true);
        if let Some((older, _)) = older {
            self.cut(older);
        }
        self.broker_says(id, broker_frame::Frame::Welcome(welcome))?;
        self.queue_command(Command::Tick, From::Attached(ix));
        self.pump_broker()
    }

    /// The broker notices that a connection is gone.
    pub fn broker_loses(&mut self, id: ConnectionId) {
        let Some(ix) = self.net.connection(id).map(|c| c.agency) else {
            return;
        };
        let Some(up) = &mut self.broker.up else {
            return;
        };
        if up.seats.get(&ix).is_some_and(|(own, _)| *own == id) {
            up.seats.remove(&ix);
            up.reachable.set(&self.agencies[ix].id, false);
        }
    }

    /// Ends the session of an agency.
    pub fn close_session(&mut self, ix: usize) {
        let Some(up) = &mut self.broker.up else {
            return;
        };
        if let Some((id, _)) = up.seats.get(&ix) {
            let id = *id;
            self.broker_loses(id);
            self.cut(id);
        }
    }
}
