//! Workers who ask and record without pause, and note what they were told.

use crate::ground::{CLINIC, FICKLE, Ground, HOUSE, PEOPLE, POLICE, WORKER, consent, person};
use anyhow::Result;
use passerelle_proto::{
    v1,
    views::{Done, RequestView},
};
use passerelle_tests::office::{document, node_in};
use std::{path::Path, time::Duration};
use tokio::{sync::watch, task::JoinHandle};

/// A request that the agent accepted.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Who asked.
    pub(crate) agency: &'static str,
    /// Its id.
    pub(crate) request: String,
    /// Entries that the agent said are there, with what they are.
    pub(crate) entries: Vec<(u64, String)>,
}

/// What was acknowledged.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) asked: Vec<Asked>,
    /// Consents and withdrawals by id, with the entry if it was named.
    pub(crate) consents: Vec<(String, Option<u64>)>,
}

/// Workers at their desks.
pub(crate) struct Load {
    workers: Vec<JoinHandle<Said>>,
    stop: watch::Sender<bool>,
}

/// What this agency asks about this person: the house is answered, the police are denied.
pub(crate) fn question(agency: &str, number: usize) -> v1::AskRequest {
    let (category, purpose, basis) = match agency {
        HOUSE => ("in_service", "deliver", "consent"),
        _ => ("diagnosis", "plan", "GDPR-6"),
    };
    v1::AskRequest {
        person: Some(person(number)),
        holder: CLINIC.to_owned(),
        items: vec![v1::AskItem {
            category: category.to_owned(),
            level: "known".to_owned(),
        }],
        purpose: purpose.to_owned(),
        basis: basis.to_owned(),
        worker: WORKER.to_owned(),
        ..v1::AskRequest::default()
    }
}

impl Load {
    pub(crate) fn begin(ground: &Ground) -> Self {
        let (stop, stopped) = watch::channel(false);
        let dirs = ground.dirs();
        let desk = |agency: &'static str, number: usize| {
            let (dir, stopped) = (dirs[agency].clone(), stopped.clone());
            tokio::spawn(async move {
                let mut said = Said::default();
                while !*stopped.borrow() {
                    // What fails was not acknowledged: the agent is down, or no longer was there
                    // when its answer was due.
                    let _ = work(agency, number, &dir, &mut said).await;
                    tokio::time::sleep(Duration::from_millis(60)).await;
                }
                said
            })
        };
        let workers = vec![
            desk(HOUSE, 0),
            desk(HOUSE, 1),
            desk(HOUSE, 2),
            desk(POLICE, 0),
            desk(CLINIC, 0),
        ];
        Self { workers, stop }
    }

    pub(crate) async fn end(self) -> Result<Said> {
        self.stop.send_replace(true);
        let mut all = Said::default();
        for worker in self.workers {
            let Said { asked, consents } = worker.await?;
            all.asked.extend(asked);
            all.consents.extend(consents);
        }
        Ok(all)
    }
}

/// One thing after another until the connection breaks; some of it twice over.
async fn work(agency: &'static str, number: usize, dir: &Path, said: &mut Said) -> Result<()> {
    let mut node = node_in(dir.to_owned()).await?;
    for round in 0..50 {
        let about = match round % 10 {
            9 => PEOPLE + number % FICKLE,
            _ => (number + round) % PEOPLE,
        };
        match agency {
            // Consents of people about whom the house asks only now and then.
            CLINIC => {
                let about = PEOPLE + round % FICKLE;
                let done: Done = document(node.record_consent(consent(person(about))).await)?;
                said.consents.push((done.id.clone(), done.index));
                let request = v1::WithdrawConsentRequest {
                    consent: done.id,
                    ..v1::WithdrawConsentRequest::default()
                };
                let done: Done = document(node.withdraw_consent(request).await)?;
                said.consents.push((done.id, done.index));
            }
            _ => {
                let view: RequestView = document(node.ask(question(agency, about)).await)?;
                let steps = view.trail.into_iter();
                said.asked.push(Asked {
                    agency,
                    request: view.line.request,
                    entries: steps.map(|step| (step.index, step.what)).collect(),
                });
            }
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    Ok(())
}
