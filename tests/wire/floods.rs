//! Much of what is allowed once, and everything at once.

use crate::{
    ground::Ground,
    http2::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, Ended, HEADERS, PING, PRIORITY, RST_STREAM,
        SETTINGS, WINDOW_UPDATE, call, frame, header, integer, open_call,
    },
};
use anyhow::Result;
use std::time::{Duration, Instant};

/// How long a flood lasts, unless it is cut off before.
const FLOOD: Duration = Duration::from_secs(4);

const ATTACH: &str = "/passerelle.v1.Exchange/Attach";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// What one flood sends: something to begin with, then a batch again and again.
struct Flood {
    name: &'static str,
    first: Vec<u8>,
    batch: Box<dyn FnMut() -> Vec<u8> + Send>,
    /// Whether the broker must hang up. Where it need not, bounded memory is what counts.
    is_cut: bool,
    /// Whether the flooder reads what comes back.
    reads: bool,
}

impl Flood {
    fn of(name: &'static str, is_cut: bool, batch: Vec<u8>) -> Self {
        Self {
            name,
            first: Vec::new(),
            batch: Box::new(move || batch.clone()),
            is_cut,
            reads: false,
        }
    }
}

/// Streams that are opened and reset at once (CVE-2023-44487), on ever new numbers.
fn rapid_reset(path: &'static str) -> Box<dyn FnMut() -> Vec<u8> + Send> {
    let mut stream = 1;
    Box::new(move || {
        let mut out = Vec::new();
        for _ in 0..100 {
            out.extend(open_call(stream, path));
            out.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            stream += 2;
        }
        out
    })
}

/// A field of 3,000 bytes goes into the table, then is named again and again (RFC 7541, 7.3).
fn header_bomb(fields: usize) -> Box<dyn FnMut() -> Vec<u8> + Send> {
    let mut stream = 1;
    Box::new(move || {
        let mut block = call(HEALTH);
        // Literal with indexing, new name.
        block.push(0x40);
        for text in ["x".to_owned(), "y".repeat(3_000)] {
            integer(&mut block, 0, 7, text.len());
            block.extend(text.as_bytes());
        }
        // 62: the newest entry of the table.
        block.extend(vec![0x80 | 62; fields]);
        let bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
        stream += 2;
        bytes
    })
}

fn repeated(count: usize, frame: &[u8]) -> Vec<u8> {
    frame.repeat(count)
}

fn floods() -> Vec<Flood> {
    let padding = header("x", &"y".repeat(8_000));
    let reset = |path| Flood {
        batch: rapid_reset(path),
        ..Flood::of("", true, Vec::new())
    };
    vec![
        Flood {
            first: frame(HEADERS, 0, 1, &call(HEALTH)),
            ..Flood::of(
                "continuation without end",
                true,
                repeated(20, &frame(CONTINUATION, 0, 1, &padding)),
            )
        },
        Flood {
            first: frame(HEADERS, 0, 1, &call(HEALTH)),
            ..Flood::of(
                "empty continuations without end",
                true,
                repeated(500, &frame(CONTINUATION, 0, 1, &[])),
            )
        },
        Flood {
            name: "rapid reset of attachments",
            ..reset(ATTACH)
        },
        Flood {
            name: "rapid reset of health checks",
            ..reset(HEALTH)
        },
        Flood {
            name: "rapid reset, read",
            reads: true,
            ..reset(HEALTH)
        },
        Flood::of(
            "settings",
            false,
            repeated(500, &frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])),
        ),
        Flood::of("pings", false, repeated(500, &frame(PING, 0, 0, &[7; 8]))),
        Flood {
            first: open_call(1, ATTACH),
            ..Flood::of("empty data", false, repeated(500, &frame(DATA, 0, 1, &[])))
        },
        Flood::of(
            "priorities",
            false,
            repeated(500, &frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 9])),
        ),
        Flood {
            first: open_call(1, ATTACH),
            ..Flood::of(
                "windows that grow",
                false,
                repeated(500, &frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
            )
        },
        Flood {
            batch: header_bomb(4_000),
            ..Flood::of("header bombs", false, Vec::new())
        },
        Flood {
            batch: header_bomb(12_000),
            reads: true,
            ..Flood::of("header bombs, read", false, Vec::new())
        },
    ]
}

async fn run(ground: &Ground, mut flood: Flood, with_certificate: bool) -> Result<()> {
    let mut raw = ground.http2(with_certificate).await?;
    raw.write(&flood.first).await;
    let end = Instant::now() + FLOOD;
    let (mut bytes, mut cut) = (0, false);
    while Instant::now() < end && !cut {
        let batch = (flood.batch)();
        bytes += batch.len();
        // One that does not read fills the broker's way back; then the broker stops reading too,
        // and that is as good an end.
        cut = !raw.write_within(&batch, Duration::from_secs(1)).await;
        if flood.reads {
            raw.skim().await;
        }
    }
    println!("  {}: {} KiB, cut off: {cut}", flood.name, bytes >> 10);
    if flood.is_cut {
        let ended = raw.ended(Duration::from_secs(10)).await?;
        assert_ne!(ended, Ended::Goaway(0), "{}", flood.name);
    }
    raw.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_frames_costs_the_flooder_its_connection_and_others_nothing() -> Result<()> {
    let mut ground = Ground::open().await?;
    for flood in floods() {
        let name = flood.name;
        ground
            .under(name, async |ground| run(ground, flood, true).await)
            .await?;
    }
    ground.comes_back().await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_floods_at_once_from_strangers_hold_up_nobody() -> Result<()> {
    let mut ground = Ground::open().await?;
    ground
        .under("all floods, without a certificate", async |ground| {
            let running = floods().into_iter().map(|flood| run(ground, flood, false));
            let mut running: Vec<_> = running.map(Box::pin).collect();
            // Polled together: all of them in this task.
            std::future::poll_fn(|cx| {
                let mut failed = None;
                running.retain_mut(|run| match run.as_mut().poll(cx) {
                    std::task::Poll::Ready(Err(error)) => {
                        failed = Some(error);
                        false
                    }
                    std::task::Poll::Ready(Ok(())) => false,
                    std::task::Poll::Pending => true,
                });
                match failed {
                    Some(error) => std::task::Poll::Ready(Err(error)),
                    None if running.is_empty() => std::task::Poll::Ready(Ok(())),
                    None => std::task::Poll::Pending,
                }
            })
            .await
        })
        .await?;
    ground.comes_back().await
}
