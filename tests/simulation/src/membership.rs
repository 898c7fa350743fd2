//! Agencies join and get new keys; their agents start and end.

use crate::{
    agency::{Agency, Running, digests},
    broker::{federation, plain},
    ops::Machine,
    promises::{self, Broken, Promise},
    world::{Happening, Step, World},
};
use passerelle_agent::{
    config::{Config, Worker},
    context::Context,
    erasure,
    home::Membership,
    store::Store,
};
use passerelle_model::{
    decide::{Command, Reply},
    panel::Panel,
    vocabulary::WorkerRole,
};
use passerelle_proto::invitation::Invitation;
use std::sync::Arc;

impl World {
    /// Invites and enrols an agency, or renews its keys; then its agent starts.
    ///
    /// # Errors
    /// A broken promise.
    pub fn enrol(&mut self, ix: usize) -> Step {
        if self.broker.up.is_none() {
            return Ok(());
        }
        self.stop_agent(ix, false);
        let agency = &mut self.agencies[ix];
        let renews = agency.is_enrolled();
        let home = if renews {
            agency.home.renewal()
        } else {
            agency.home.clone()
        };
        let keys = agency.make_keys(&home);
        let (id, sector) = (agency.id.clone(), agency.sector);
        let secret = agency.keys.bytes::<32>();
        let serial: String = agency
            .keys
            .bytes::<8>()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let token = Invitation::token_digest(&secret);
        let expires_at = self.clock(Machine::Broker).plus_s(3_600);
        let invite = Command::Invite {
            agency: id.clone(),
            sector,
            token,
            expires_at,
        };
        self.operator_runs(invite)?;
        let certificate = serial.clone();
        let enrol = Command::Enrol {
            agency: id.clone(),
            token,
            keys,
            certificate,
        };
        let reply = self.operator_runs(enrol)?;
        let Some(Reply::Done { index }) = reply else {
            self.tell(format!("{id} could not join"));
            if renews {
                self.agencies[ix]
                    .home
                    .drop_renewal()
                    .expect("the directory");
            }
            self.start_agent(ix)?;
            return Ok(());
        };
        self.close_session(ix);
        let keys = self.broker.keys();
        let membership = Membership {
            federation: federation(),
            agency: id.clone(),
            sector,
            panel: Panel::default(),
            checkpoint_key: keys.checkpoint,
            permit_key: keys.permit,
            oprf_key: keys.oprf,
            bundle: None,
            joined: index,
        };
        if !renews {
            let mut config = Config::new("localhost:1");
            for id in ["w-1", "w-2"] {
                let role = WorkerRole::Supervisor;
                config.workers.push(Worker {
                    id: id.to_owned(),
                    role,
                    trained: true,
                    name: None,
                });
            }
            home.write("agent.toml", config.to_toml().as_bytes())
                .expect("a file");
        }
        let json = serde_json::to_vec(&membership).expect("a membership");
        home.write("federation.json", &json).expect("a file");
        self.agencies[ix].certificate = serial;
        self.tell(format!(
            "{id} {} as of {index}",
            if renews { "has new keys" } else { "joins" }
        ));
        self.start_agent(ix)
    }

    /// Renews the keys of an agency whose enrolment reached the log but not the agency.
    ///
    /// # Errors
    /// A broken promise.
    pub fn renew_if_shut_out(&mut self, ix: usize) -> Step {
        let agency = &self.agencies[ix];
        if !agency.is_enrolled() || !self.ghost.reading.is_member(&agency.id) {
            return Ok(());
        }
        let Some(up) = &self.broker.up else {
            return Ok(());
        };
        let view = up.view().projection.clone();
        let member = passerelle_model::state::member(view.as_ref(), &agency.id);
        let member = member.expect("the projection");
        drop(view);
        if member.is_some_and(|m| m.certificate != agency.certificate) {
            return self.enrol(ix);
        }
        Ok(())
    }

    /// Starts an agent's process.
    ///
    /// # Errors
    /// A broken promise: it does not start although nothing ails it, or something is missing.
    pub fn start_agent(&mut self, ix: usize) -> Step {
        let agency = &mut self.agencies[ix];
        if !agency.is_enrolled() || agency.up.is_some() {
            return Ok(());
        }
        agency.starts += 1;
        agency.wake_at = None;
        let start = agency.starts;
        let (context, store) = match opened(agency) {
            Ok((context, store)) => (Arc::new(context), store),
            Err(why) => return self.agent_does_not_start(ix, &why),
        };
        let there = digests(store.reader().as_ref(), 0);
        promises::nothing_acknowledged_is_lost_by_agent(agency, &there)?;
        let (had, has) = (agency.acknowledged.len(), there.len());
        agency.acknowledged = there;
        agency.up = Some(Running {
            context,
            store,
            session: None,
        });
        let id = agency.id.clone();
        self.tell(format!("the agent of {id} starts"));
        self.resolve_doubt(ix, had, has)?;
        promises::no_key_is_lost(&self.ghost, &self.agencies[ix])?;
        let up = self.agencies[ix].up.as_ref().expect("it runs");
        for request in erasure::unfinished(up.store.view()).expect("the projection") {
            let now = self.clock(Machine::Agency(ix));
            self.agent_runs(ix, |context, view| {
                Ok((erasure::finish(context, view, &request, now)?, ()))
            })?;
        }
        let after = self.rng.range(1, 200);
        self.arrange(after, Happening::Connect(ix, start));
        Ok(())
    }

    fn agent_does_not_start(&mut self, ix: usize, why: &str) -> Step {
        let agency = &mut self.agencies[ix];
        agency.disk.after_failure();
        let id = agency.id.clone();
        if self.healed {
            return Err(Broken::new(
                Promise::NothingAcknowledgedIsLost,
                format!("the agent of {id} does not start: {why}"),
            ));
        }
        self.tell(format!("the agent of {id} does not start"));
        self.arrange(15_000, Happening::Start(Machine::Agency(ix)));
        Ok(())
    }

    /// The process ends without a word; with `power` what was not synced may be lost.
    pub fn stop_agent(&mut self, ix: usize, power: bool) {
        self.agencies[ix].starts += 1;
        let gone = self.agencies[ix].disk.freeze();
        self.agencies[ix].up = None;
        if power || gone {
            self.agencies[ix].disk.power_cut();
            if self.rng.percent(30) {
                let projection = self.agencies[ix].home.path("projection");
                let _ = std::fs::remove_dir_all(projection);
            }
        } else {
            self.agencies[ix].disk.thaw();
        }
        for id in self.net.of(ix) {
            self.cut(id);
        }
    }
}

/// Opens what an agent needs, as it does at its start, and why it can't.
fn opened(agency: &Agency) -> Result<(Context, Store), String> {
    let (home, disk) = (&agency.home, Arc::new(agency.disk.clone()));
    let context = Context::load_on(home, disk.as_ref()).map_err(|e| plain(&e))?;
    let vault = context.vault.clone();
    let store = Store::open_on(home.dir(), agency.id.clone(), vault, disk);
    let store = store.map_err(|e| plain(&e))?;
    let swept = context.vault.sweep(store.view());
    swept.map_err(|code| format!("the sweep of the vault: {code}"))?;
    Ok((context, store))
}
