//! Peers that take their time: before TLS, in its handshake, after it.

use crate::{
    ground::Ground,
    http2::{PREFACE, Raw, SETTINGS, frame, open_call},
};
use anyhow::Result;
use std::{sync::Arc, time::Duration};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::sleep};

/// The attack lasts so long.
const SPAN: Duration = Duration::from_secs(14);
const PAUSE: Duration = Duration::from_secs(1);
/// More than there are places for handshakes.
const SLOW: usize = 400;

/// What a TLS client says first.
fn client_hello() -> Result<Vec<u8>> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut client = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into()?)?;
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes)?;
    Ok(bytes)
}

/// Sends one byte a second of `bytes`, on each of many connections.
async fn trickle(ground: &Ground, bytes: &[u8]) -> Result<()> {
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..SLOW {
        held.push(ground.tcp().await?);
    }
    for byte in bytes.iter().take(SPAN.as_secs() as usize) {
        for tcp in &mut held {
            // It may be hung up on by now.
            let _ = tcp.write_all(&[*byte]).await;
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_byte_a_second_before_and_in_the_handshake_holds_up_nobody() -> Result<()> {
    let mut ground = Ground::open().await?;
    let hello = client_hello()?;
    // The last: all but the end of it at once, so that each waits deep in the handshake.
    for (what, bytes) in [
        ("slow and silent", vec![0x16; 1]),
        ("slow in the handshake", hello),
    ] {
        ground
            .under(what, async |ground| {
                let slow = trickle(ground, &bytes);
                // A member's new connection gets in meanwhile.
                let new = async {
                    sleep(Duration::from_secs(2)).await;
                    ground.comes_back().await
                };
                tokio::try_join!(slow, new)?;
                Ok(())
            })
            .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_byte_a_second_after_the_handshake_holds_up_nobody() -> Result<()> {
    let mut ground = Ground::open().await?;
    let hello = [
        PREFACE,
        &frame(SETTINGS, 0, 0, &[]),
        &open_call(1, "/passerelle.v1.Exchange/Attach"),
    ]
    .concat();
    for with_certificate in [true, false] {
        let what = format!("slow after the handshake, certificate: {with_certificate}");
        ground
            .under(&what, async |ground| {
                let mut held = Vec::new();
                for _ in 0..30 {
                    held.push(Raw::new(ground.tls(with_certificate).await?));
                }
                for byte in hello.iter().take(SPAN.as_secs() as usize / 2) {
                    for raw in &mut held {
                        raw.write(&[*byte]).await;
                    }
                    sleep(PAUSE).await;
                }
                for raw in held {
                    raw.close().await;
                }
                Ok(())
            })
            .await?;
    }
    ground.comes_back().await
}
