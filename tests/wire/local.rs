//! An agent's local socket: open to its own people alone, and not to be brought down by a program
//! of theirs that has lost its mind.

use crate::{
    ground::Watch,
    http2::{Ended, PREFACE, Raw, call, data, frame, header, message_head},
    messages::{groups, message, nested},
};
use anyhow::{Context as _, Result};
use passerelle_proto::MAX_LOCAL_MESSAGE_BYTES;
use passerelle_tests::federation::Federation;
use std::time::Duration;
use tokio::net::UnixStream;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_survives_what_comes_on_its_own_socket() -> Result<()> {
    let mut federation = Federation::start(env!("CARGO_BIN_EXE_passerelle")).await?;
    federation
        .open_office("house", "community", &["ben:mentor"])
        .await?;
    let process = federation.agent("house").id();
    let socket = federation.agent_dir("house").join("agent.sock");
    let watch = Watch::over(process)?;
    let large = u32::try_from(MAX_LOCAL_MESSAGE_BYTES + 1)?;
    let messages: Vec<(&str, Vec<u8>)> = vec![
        ("a length of 4 GiB", message_head(0, u32::MAX)),
        ("one byte too long", message_head(0, large)),
        ("compressed", message_head(1, 5)),
        ("1,000 messages deep", message(&nested(1, 1_000))),
        ("1,000 groups deep", message(&groups(1_000, true))),
        (
            "200,000 groups without end",
            message(&groups(200_000, false)),
        ),
        (
            "100,000 messages deep, cut short",
            message(&[0x0a; 100_000]),
        ),
    ];
    for method in ["Ask", "RecordConsent", "ImportFacts", "OpenCase"] {
        let path = format!("/passerelle.v1.Node/{method}");
        for (name, bytes) in &messages {
            let mut raw = Raw::greet(UnixStream::connect(&socket).await?).await?;
            raw.write(&frame(1, 4, 1, &call(&path))).await;
            raw.write(&data(1, bytes)).await;
            raw.stream_end(1, SOON)
                .await
                .with_context(|| format!("{method}: {name}"))?;
            raw.close().await;
        }
    }
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        [PREFACE, &[0xff; 4_096]].concat(),
    ] {
        let mut raw = Raw::new(UnixStream::connect(&socket).await?);
        raw.write(&bytes).await;
        let ended = raw.ended(SOON).await?;
        assert_ne!(ended, Ended::Goaway(0));
    }
    let mut endless = Raw::greet(UnixStream::connect(&socket).await?).await?;
    endless
        .write(&frame(1, 0, 1, &call("/passerelle.v1.Node/Ask")))
        .await;
    let more = frame(9, 0, 1, &header("x", &"y".repeat(8_000)));
    while endless.write_within(&more, Duration::from_secs(1)).await {}
    endless.close().await;
    println!("{}", watch.end("an agent's socket").await?);
    federation.agent("house").require_alive()?;
    let log = federation.agent("house").log();
    assert!(!log.contains("panick"), "{log}");
    let status = federation.agent_status("house").await?;
    assert!(status.is_some_and(|s| s.connected), "it serves its people");
    Ok(())
}
