//! Many connections, and many streams on them, that do nothing.

use crate::{
    ground::{Ground, Tls},
    http2::{Raw, SETTINGS, frame, open_call},
};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use tokio::time::sleep;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_idle_connections_leave_room_for_a_member() -> Result<()> {
    let mut ground = Ground::open().await?;
    ground
        .under("2,000 idle connections", async |ground| {
            let mut held = Vec::new();
            for n in 0..2_000 {
                // In the kernel's queue they cost the broker nothing; who comes later waits.
                match tokio::time::timeout(Duration::from_secs(2), ground.tcp()).await {
                    Ok(tcp) => held.push(tcp?),
                    Err(_) => {
                        println!("  the queue is full after {n}");
                        break;
                    }
                }
            }
            // And more of them come while a member tries.
            let began = Instant::now();
            let back = async {
                while let Err(error) = ground.comes_back().await {
                    println!("  not yet: {error:#}");
                    sleep(Duration::from_millis(500)).await;
                }
            };
            let came = tokio::select! {
                came = tokio::time::timeout(Duration::from_secs(30), back) => came,
                () = keep_coming(ground) => unreachable!("it never ends"),
            };
            ensure!(came.is_ok(), "a member is kept out for half a minute");
            println!("  a member came in after {:.1?}", began.elapsed());
            drop(held);
            Ok(())
        })
        .await
}

/// A hundred new connections a second, without end.
async fn keep_coming(ground: &Ground) {
    let mut held = Vec::new();
    loop {
        let moment = Duration::from_millis(100);
        if let Ok(Ok(tcp)) = tokio::time::timeout(moment, ground.tcp()).await {
            held.push(tcp);
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// How many of these are still open after a moment.
async fn open_among(held: Vec<Raw<Tls>>) -> Vec<Raw<Tls>> {
    let mut open = Vec::new();
    for mut raw in held {
        if raw.ended(Duration::from_millis(20)).await.is_err() {
            open.push(raw);
        }
    }
    open
}

#[tokio::test(flavor = "multi_thread")]
async fn one_certificate_and_none_have_few_places() -> Result<()> {
    let mut ground = Ground::open().await?;
    for (with_certificate, most) in [(true, 32), (false, 64)] {
        let what = format!("100 TLS connections, certificate: {with_certificate}");
        ground
            .under(&what, async |ground| {
                let mut held = Vec::new();
                for _ in 0..100 {
                    // A refused one may be seen as such only by its end.
                    if let Ok(raw) = ground.http2(with_certificate).await {
                        held.push(raw);
                    }
                }
                sleep(Duration::from_secs(1)).await;
                let open = open_among(held).await;
                ensure!(
                    !open.is_empty() && open.len() <= most,
                    "{} are open",
                    open.len()
                );
                drop(open);
                Ok(())
            })
            .await?;
    }
    ground.comes_back().await
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_streams_have_few_places_and_cost_little() -> Result<()> {
    let mut ground = Ground::open().await?;
    for (with_certificate, path) in [
        (true, "/passerelle.v1.Exchange/Attach"),
        (true, "/passerelle.v1.LogRead/Entries"),
        (false, "/passerelle.v1.Enrolment/Enrol"),
    ] {
        let what = format!("half-open streams of {path}");
        ground
            .under(&what, async |ground| {
                let mut held = Vec::new();
                for _ in 0..24 {
                    let mut raw = ground.http2(with_certificate).await?;
                    for n in 0..32 {
                        raw.write(&open_call(2 * n + 1, path)).await;
                    }
                    held.push(raw);
                }
                // One too many is refused, or waits; the connection answers a ping.
                let raw = &mut held[0];
                raw.write(&open_call(65, path)).await;
                raw.write(&frame(SETTINGS, 0, 0, &[])).await;
                ensure!(
                    tokio::time::timeout(SOON, raw.next()).await?.is_some(),
                    "the connection is gone"
                );
                sleep(Duration::from_secs(2)).await;
                for raw in held {
                    raw.close().await;
                }
                Ok(())
            })
            .await?;
    }
    ground.comes_back().await
}
