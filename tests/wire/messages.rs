//! Messages that are too large, too deep, compressed, cut off or never finished.

use crate::{
    ground::Ground,
    http2::{DATA, END_STREAM, RST_STREAM, Raw, data, frame, message_head, open_call},
};
use anyhow::{Context as _, Result};
use passerelle_model::error::ErrorCode;
use passerelle_proto::{MAX_MESSAGE_BYTES, PROTOCOL};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

const SOON: Duration = Duration::from_secs(10);
const ATTACH: &str = "/passerelle.v1.Exchange/Attach";
const ENROL: &str = "/passerelle.v1.Enrolment/Enrol";

/// A field of wire type 2 (bytes).
pub(crate) fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    varint(&mut out, content.len());
    out.extend(content);
    out
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 128 {
        out.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    out.push(u8::try_from(value).unwrap());
}

/// A message in a message, so deep.
pub(crate) fn nested(number: u8, depth: usize) -> Vec<u8> {
    (0..depth).fold(Vec::new(), |inner, _| field(number, &inner))
}

/// Groups of an unknown field in each other, opened and closed (or not).
pub(crate) fn groups(depth: usize, closed: bool) -> Vec<u8> {
    let mut out = vec![0x7b; depth];
    out.extend(vec![0x7c; if closed { depth } else { 0 }]);
    out
}

/// A message with its head.
pub(crate) fn message(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap();
    [&message_head(0, length), content].concat()
}

/// The first frame of a session.
fn hello() -> Vec<u8> {
    let protocol = u8::try_from(PROTOCOL).unwrap();
    message(&field(1, &[0x08, protocol]))
}

/// Messages that can't be, each with the code that ends the stream.
fn wrong_messages() -> Vec<(&'static str, Vec<u8>, ErrorCode)> {
    use ErrorCode::{Malformed, TooLarge};
    let large = u32::try_from(MAX_MESSAGE_BYTES + 1).unwrap();
    vec![
        ("a length of 100 MiB", message_head(0, 100 << 20), TooLarge),
        ("a length of 4 GiB", message_head(0, u32::MAX), TooLarge),
        ("one byte too long", message_head(0, large), TooLarge),
        ("compressed", message_head(1, 10), Malformed),
        ("a flag that there is not", message_head(9, 10), Malformed),
        ("1,000 messages deep", message(&nested(2, 1_000)), Malformed),
        (
            "1,000 groups deep",
            message(&groups(1_000, true)),
            Malformed,
        ),
        (
            "200,000 groups that never end",
            message(&groups(200_000, false)),
            Malformed,
        ),
        (
            "100,000 messages deep, cut short",
            message(&[0x12; 100_000]),
            Malformed,
        ),
        (
            "a field that is longer than its message",
            message(&[0x12, 0x7f, 1]),
            Malformed,
        ),
        (
            "a length beyond all",
            message(&[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            Malformed,
        ),
        (
            "a number that never ends",
            message(&[0x08; 1].repeat(20)),
            Malformed,
        ),
        ("field zero", message(&[0x02, 0]), Malformed),
        ("a wire type that there is not", message(&[0x0f]), Malformed),
        (
            "a text that is not UTF-8",
            message(&field(4, &field(2, &[0xff, 0xfe]))),
            Malformed,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_ends_its_stream_with_its_code() -> Result<()> {
    let mut ground = Ground::open().await?;
    ground
        .under("wrong messages", async |ground| {
            for (name, bytes, code) in wrong_messages() {
                for greeting in [Vec::new(), hello()] {
                    let is_first = greeting.is_empty();
                    let mut raw = ground.http2(true).await?;
                    raw.write(&open_call(1, ATTACH)).await;
                    raw.write(&data(1, &greeting)).await;
                    raw.write(&data(1, &bytes)).await;
                    let answer = raw.stream_end(1, SOON).await;
                    let answer = answer.with_context(|| format!("{name}, first: {is_first}"))?;
                    let said = has_code(&answer, code);
                    assert!(said, "{name}, first: {is_first}: no `{code}` in {answer:?}");
                    raw.close().await;
                }
            }
            Ok(())
        })
        .await?;
    ground.comes_back().await
}

/// Whether a header block has the code, plain or in the Huffman code of HPACK.
fn has_code(block: &[u8], code: ErrorCode) -> bool {
    let contains = |text: &[u8]| block.windows(text.len()).any(|w| w == text);
    contains(code.code().as_bytes()) || contains(&huffman(code.code()))
}

/// RFC 7541, appendix B: the letters of the codes that are looked for.
fn huffman(text: &str) -> Vec<u8> {
    let code = |letter| match letter {
        'a' => "00011",
        'd' => "100100",
        'e' => "00101",
        'f' => "100101",
        'g' => "100110",
        'l' => "101000",
        'm' => "101001",
        'o' => "00111",
        'r' => "101100",
        't' => "01001",
        '_' => "100010",
        other => panic!("`{other}` is not in the table"),
    };
    let mut bits: String = text.chars().map(code).collect();
    while !bits.len().is_multiple_of(8) {
        bits.push('1');
    }
    let bytes = bits.as_bytes().chunks(8);
    bytes
        .map(|b| u8::from_str_radix(std::str::from_utf8(b).unwrap(), 2).unwrap())
        .collect()
}

/// Begins as many messages as there may be streams, and ends none.
async fn unfinished<S: AsyncRead + AsyncWrite + Unpin>(
    raw: &mut Raw<S>,
    path: &str,
    claimed: u32,
    sent: usize,
) {
    let moment = Duration::from_secs(2);
    for stream in (1..64).step_by(2) {
        raw.write_within(&open_call(stream, path), moment).await;
        raw.write_within(&data(stream, &message_head(0, claimed)), moment)
            .await;
    }
    // A little for each in turn: what one stream may send is not held back by another.
    for _ in 0..sent.div_ceil(16 << 10) {
        for stream in (1..64).step_by(2) {
            let part = frame(DATA, 0, stream, &[0x42; 16 << 10]);
            if !raw.write_within(&part, moment).await {
                return;
            }
            raw.skim().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_never_end_are_held_within_a_bound() -> Result<()> {
    let mut ground = Ground::open().await?;
    for (what, with_certificate, path, claimed, sent) in [
        ("enrolments without end", false, ENROL, 60_000, 60_000),
        (
            "health checks without end",
            false,
            "/grpc.health.v1.Health/Check",
            4_000_000,
            1_000_000,
        ),
        (
            "reads of the log without end",
            true,
            "/passerelle.v1.LogRead/Entries",
            60_000,
            60_000,
        ),
        ("sessions without end", true, ATTACH, 500_000, 500_000),
        (
            "reflection without end",
            true,
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            4_000_000,
            1_000_000,
        ),
    ] {
        ground
            .under(what, async |ground| {
                let mut held = Vec::new();
                for _ in 0..24 {
                    held.push(ground.http2(with_certificate).await?);
                }
                let mut tasks = tokio::task::JoinSet::new();
                for mut raw in held {
                    tasks.spawn(async move {
                        unfinished(&mut raw, path, claimed, sent).await;
                        raw
                    });
                }
                let mut held = Vec::new();
                while let Some(raw) = tasks.join_next().await {
                    held.push(raw?);
                }
                tokio::time::sleep(Duration::from_secs(2)).await;
                for raw in held {
                    raw.close().await;
                }
                Ok(())
            })
            .await?;
    }
    ground.comes_back().await
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_connections_that_break_off_leave_nothing_behind() -> Result<()> {
    let mut ground = Ground::open().await?;
    ground
        .under("broken off", async |ground| {
            for round in 0..60 {
                let mut raw = ground.http2(true).await?;
                raw.write(&open_call(1, ATTACH)).await;
                raw.write(&data(1, &hello())).await;
                let cut = message(&vec![0x12; 20_000]);
                match round % 4 {
                    // Reset in the middle of a message; in the middle of a frame; the end of the
                    // stream in the middle of a message; the connection in the middle of a frame.
                    0 => {
                        raw.write(&data(1, &cut[..9_000])).await;
                        raw.write(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await;
                    }
                    1 => {
                        let whole = frame(DATA, 0, 1, &cut[..9_000]);
                        raw.write(&whole[..5_000]).await;
                        raw.write(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).await;
                    }
                    2 => {
                        raw.write(&frame(DATA, END_STREAM, 1, &cut[..9_000])).await;
                    }
                    _ => {
                        let whole = frame(DATA, 0, 1, &cut[..9_000]);
                        raw.write(&whole[..5_000]).await;
                    }
                }
                if round % 8 < 4 {
                    raw.close().await;
                }
            }
            Ok(())
        })
        .await?;
    ground.comes_back().await
}
