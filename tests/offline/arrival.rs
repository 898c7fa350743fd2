//! A holder that arrives at the very moment in which it is asked.

use anyhow::Result;
use passerelle_model::{
    entry::EntryBody,
    vocabulary::{Category, Sector},
};
use passerelle_tests::{federation::Federation, statements::somebody};
use std::time::Duration;

const EXE: &str = env!("CARGO_BIN_EXE_passerelle");

/// How often it is tried, at another distance between the two each time.
const TRIES: u64 = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_meets_an_arriving_holder_is_offered() -> Result<()> {
    let federation = Federation::start(EXE).await?;
    let house = federation.raw("house", "community").await?;
    let clinic = federation.raw("clinic", "health").await?;
    assert_eq!(clinic.sector, Sector::Health);
    let asking = house.attach().await?;
    let answering = clinic.attach().await?;
    let person = somebody();
    let category = Category::InService;
    let (_, consent) = clinic.consent(&person, &[category], &[&house.agency], &[&clinic.agency]);
    answering.submit(clinic.sign(&consent)).await?.index();
    drop(answering);
    for round in 0..TRIES {
        // Long enough for the broker to see that it has gone.
        tokio::time::sleep(Duration::from_millis(30)).await;
        let asked = house.request(&clinic, &person, category);
        let submit = house.sign(&asked.draft);
        let submitted = async {
            // An attachment takes some milliseconds from here to the broker.
            tokio::time::sleep(Duration::from_micros(round * 37 % 3_000)).await;
            asking.submit(submit).await
        };
        let (attached, submitted) = tokio::join!(clinic.attach(), submitted);
        submitted?.index();
        let what = format!("the permit of round {round}");
        clinic
            .notice(&what, |notice| match &notice.entry.body {
                EntryBody::Offered { permit } => permit.request == asked.request,
                _ => false,
            })
            .await?;
        drop(attached?);
    }
    house.require_honest_broker()?;
    clinic.require_honest_broker()
}
