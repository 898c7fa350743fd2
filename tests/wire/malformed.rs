//! Bytes that are no HTTP/2: each ends the connection they came on, at once.

use crate::{
    ground::Ground,
    http2::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Ended, GOAWAY, HEADERS, PING, PRIORITY,
        PUSH_PROMISE, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, call, claiming, frame, open_call,
    },
};
use anyhow::{Context as _, Result};
use std::time::Duration;

/// Long for "at once", short for a timeout of the broker.
const SOON: Duration = Duration::from_secs(8);

const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// A setting: identifier, value.
fn setting(id: u16, value: u32) -> Vec<u8> {
    [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// What comes instead of the preface, or in its middle.
fn first_bytes() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec()),
        (
            "another preface",
            b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n".to_vec(),
        ),
        ("zeros", vec![0; 64]),
        ("a frame instead of the preface", frame(PING, 0, 0, &[0; 8])),
    ]
}

/// What comes after a proper beginning, and is an error of the connection (RFC 9113, 6).
fn later_frames() -> Vec<(&'static str, Vec<u8>)> {
    let zero = |kind, payload: &[u8]| frame(kind, 0, 0, payload);
    let giant_window = 0x7fff_ffff_u32.to_be_bytes();
    vec![
        ("a frame of 16 MiB", claiming(0xff_ffff, DATA, 0, 1)),
        ("settings of five bytes", zero(SETTINGS, &[0; 5])),
        ("settings on a stream", frame(SETTINGS, 0, 1, &[])),
        (
            "an acknowledgement with content",
            frame(SETTINGS, ACK, 0, &setting(1, 0)),
        ),
        (
            "a window setting beyond the limit",
            zero(SETTINGS, &setting(4, 0x8000_0000)),
        ),
        (
            "a frame size setting of one byte",
            zero(SETTINGS, &setting(5, 1)),
        ),
        ("a push setting of two", zero(SETTINGS, &setting(2, 2))),
        ("a ping of seven bytes", zero(PING, &[0; 7])),
        ("a ping on a stream", frame(PING, 0, 1, &[0; 8])),
        ("data without a stream", zero(DATA, b"x")),
        (
            "data on a stream that was never opened",
            frame(DATA, 0, 7, b"x"),
        ),
        (
            "headers without a stream",
            frame(HEADERS, END_HEADERS, 0, &call(HEALTH)),
        ),
        (
            "headers on a stream of the server's",
            frame(HEADERS, END_HEADERS, 2, &call(HEALTH)),
        ),
        (
            "header bytes that are no header",
            frame(HEADERS, END_HEADERS, 1, &[0xff; 64]),
        ),
        (
            "an entry of the table that there is not",
            frame(HEADERS, END_HEADERS, 1, &[0xfe, 0x7f]),
        ),
        (
            "a header table of 2 GiB",
            frame(
                HEADERS,
                END_HEADERS,
                1,
                &[0x3f, 0xe1, 0xff, 0xff, 0xff, 0x07],
            ),
        ),
        (
            "continuation of nothing",
            frame(CONTINUATION, END_HEADERS, 1, &[]),
        ),
        (
            "a frame within a header block",
            [frame(HEADERS, 0, 1, &call(HEALTH)), zero(PING, &[0; 8])].concat(),
        ),
        (
            "a push from a client",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
        ),
        (
            "reset of a stream that was never opened",
            frame(RST_STREAM, 0, 9, &[0; 4]),
        ),
        (
            "a reset of three bytes",
            [open_call(1, HEALTH), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
        ),
        ("reset without a stream", zero(RST_STREAM, &[0; 4])),
        ("a window of three bytes", zero(WINDOW_UPDATE, &[0; 3])),
        (
            "a window that grows by nothing",
            zero(WINDOW_UPDATE, &[0; 4]),
        ),
        (
            "a window that overflows",
            [
                zero(WINDOW_UPDATE, &giant_window),
                zero(WINDOW_UPDATE, &giant_window),
            ]
            .concat(),
        ),
        ("a goodbye of three bytes", zero(GOAWAY, &[0; 3])),
        (
            "padding longer than the frame",
            [open_call(1, HEALTH), frame(DATA, 8, 1, &[200, 0])].concat(),
        ),
        (
            "a stream number that goes back",
            [open_call(5, HEALTH), open_call(3, HEALTH)].concat(),
        ),
        (
            "a stream that depends on itself, cut short",
            frame(PRIORITY, 0, 1, &[0; 4]),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_http2_end_their_connection_at_once() -> Result<()> {
    let mut ground = Ground::open().await?;
    for with_certificate in [true, false] {
        let what = format!("malformed bytes, certificate: {with_certificate}");
        ground
            .under(&what, async |ground| {
                for (name, bytes) in first_bytes() {
                    let mut raw = Raw::new(ground.tls(with_certificate).await?);
                    raw.write(&bytes).await;
                    raw.ended(SOON).await.context(name)?;
                }
                for (name, bytes) in later_frames() {
                    let mut raw = ground.http2(with_certificate).await?;
                    raw.write(&bytes).await;
                    let ended = raw.ended(SOON).await.context(name)?;
                    assert_ne!(ended, Ended::Goaway(0), "{name}");
                }
                Ok(())
            })
            .await?;
    }
    ground.comes_back().await
}

/// Requests that are wrong as HTTP, or as gRPC: their stream ends, the connection goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_none_ends_its_stream_and_no_other() -> Result<()> {
    use crate::http2::header;
    let mut ground = Ground::open().await?;
    let attach = "/passerelle.v1.Exchange/Attach";
    let calls: Vec<(&str, Vec<u8>)> = vec![
        ("no such method", call("/passerelle.v1.Exchange/Detach")),
        ("no such service", call("/passerelle.v2.Exchange/Attach")),
        ("the administration", call("/passerelle.v1.Admin/Invite")),
        ("an agent's own service", call("/passerelle.v1.Node/Ask")),
        ("a path out of the tree", call("/../../etc/passwd")),
        (
            "no path",
            [header(":method", "POST"), header(":scheme", "https")].concat(),
        ),
        (
            "an upper-case field",
            [call(attach), header("X-Field", "x")].concat(),
        ),
        (
            "a field of the connection",
            [call(attach), header("connection", "close")].concat(),
        ),
        (
            "a pseudo field after the others",
            [call(attach), header(":path", attach)].concat(),
        ),
        (
            "an unknown pseudo field",
            [call(attach), header(":color", "red")].concat(),
        ),
        (
            "a line end in a value",
            [call(attach), header("x", "a\r\nb: c")].concat(),
        ),
        (
            "a timeout that is none",
            [call(attach), header("grpc-timeout", "soon")].concat(),
        ),
        (
            "a giant content length",
            [
                call(attach),
                header("content-length", "99999999999999999999999"),
            ]
            .concat(),
        ),
        (
            "two content lengths",
            [
                call(attach),
                header("content-length", "1"),
                header("content-length", "2"),
            ]
            .concat(),
        ),
        (
            "a header list of 64 KiB",
            [call(attach), header("x", &"y".repeat(64 << 10))].concat(),
        ),
    ];
    ground
        .under("calls that are none", async |ground| {
            for with_certificate in [true, false] {
                for (name, fields) in &calls {
                    let mut raw = ground.http2(with_certificate).await?;
                    let parts: Vec<_> = fields.chunks(16 << 10).collect();
                    for (at, part) in parts.iter().enumerate() {
                        let kind = if at == 0 { HEADERS } else { CONTINUATION };
                        let last = if at + 1 == parts.len() {
                            END_HEADERS
                        } else {
                            0
                        };
                        let flags = last | if at == 0 { END_STREAM } else { 0 };
                        raw.write(&frame(kind, flags, 1, part)).await;
                    }
                    let ended = raw.stream_end(1, SOON).await;
                    if ended.is_err() {
                        // It may also take it as an attack, and hang up.
                        raw.ended(SOON).await.with_context(|| (*name).to_owned())?;
                        continue;
                    }
                    // The connection still serves who asks properly.
                    raw.write(&open_call(3, "/no.such.Service/Call")).await;
                    raw.write(&frame(DATA, 1, 3, &[])).await;
                    raw.stream_end(3, SOON)
                        .await
                        .with_context(|| format!("after `{name}`"))?;
                }
            }
            Ok(())
        })
        .await
}
