//! A projection that can't be opened is rebuilt from the journal, and only a log line tells.

use crate::{
    EXE,
    ground::{AGENCIES, CLINIC, Ground, HOUSE, POLICE},
    load::question,
};
use anyhow::Result;
use passerelle_proto::views::{RequestLine, RequestView};
use passerelle_tests::{office::document, raw_agency::random, search::files_below};
use std::{path::Path, time::Duration};

const REBUILT: &str = "will be rebuilt from the journal";

/// Fills every file with noise. The lock stays a lock.
fn spoil(dir: &Path) -> Result<usize> {
    let files = files_below(&dir.join("projection"))?;
    let mut spoilt = 0;
    for file in files {
        let length = usize::try_from(file.metadata()?.len())?;
        if length > 0 {
            let noise: [u8; 251] = random();
            let bytes: Vec<u8> = noise.iter().copied().cycle().take(length).collect();
            std::fs::write(&file, bytes)?;
            spoilt += 1;
        }
    }
    Ok(spoilt)
}

/// What a list looks like, in an order of its own.
async fn listed(ground: &Ground, agency: &str, list: &str) -> Result<Vec<RequestLine>> {
    let mut lines = ground.federation.lines(agency, list).await?;
    lines.sort_by(|a, b| a.request.cmp(&b.request));
    Ok(lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spoilt_projection_is_rebuilt_and_only_the_log_tells() -> Result<()> {
    let mut ground = Ground::lay(EXE).await?;
    let mut node = ground.federation.node(HOUSE).await?;
    for number in 0..3 {
        document::<RequestView>(node.ask(question(HOUSE, number)).await)?;
    }
    let patience = Duration::from_secs(60);
    for line in ground.federation.lines(HOUSE, "requests").await? {
        let over = |line: &RequestLine| crate::ground::is_over(line.status);
        ground
            .federation
            .line_until(HOUSE, "requests", &line.request, over)
            .await?;
    }
    ground.federation.settled(&AGENCIES, patience).await?;
    let lists = [(HOUSE, "requests"), (POLICE, "requests"), (CLINIC, "inbox")];
    let mut before = Vec::new();
    for (agency, list) in lists {
        before.push(listed(&ground, agency, list).await?);
    }
    assert!(before.iter().all(|lines| lines.len() >= 3), "{before:?}");
    let broker = ground.federation.broker_status().await?;
    let export = ground.federation.export("oversight").await?;

    ground.federation.broker().kill9()?;
    assert!(spoil(&ground.federation.broker_dir())? >= 1);
    for agency in AGENCIES {
        ground.federation.agent(agency).kill9()?;
        assert!(spoil(&ground.federation.agent_dir(agency))? >= 1);
    }
    ground.federation.serve_broker().await?;
    for agency in AGENCIES {
        ground.federation.serve_agent(agency).await?;
    }
    ground.federation.settled(&AGENCIES, patience).await?;

    for ((agency, list), before) in lists.into_iter().zip(before) {
        assert_eq!(
            listed(&ground, agency, list).await?,
            before,
            "{agency}, {list}"
        );
    }
    let again = ground.federation.broker_status().await?;
    assert_eq!(again.members.len(), broker.members.len());
    assert!(again.log_size >= broker.log_size, "{again:?}");
    let mut logs = vec![ground.federation.broker().log()];
    for agency in AGENCIES {
        logs.push(ground.federation.agent(agency).log());
    }
    for log in logs {
        assert_eq!(log.matches(REBUILT).count(), 1, "{log}");
    }
    // Consents, keys and handles are there too: the next question is answered.
    let mut node = ground.federation.node(HOUSE).await?;
    let view: RequestView = document(node.ask(question(HOUSE, 4)).await)?;
    let over = |line: &RequestLine| crate::ground::is_over(line.status);
    let line = ground
        .federation
        .line_until(HOUSE, "requests", &view.line.request, over)
        .await?;
    assert_eq!(line.status, passerelle_model::request::Status::Delivered);
    ground.federation.settled(&AGENCIES, patience).await?;
    let later = ground.federation.export("oversight").await?;
    assert_eq!(later.entries[..export.entries.len()], export.entries[..]);
    later.verify()?;
    Ok(())
}
