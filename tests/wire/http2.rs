//! HTTP/2 (RFC 9113) by hand: frames as bytes, whether or not they make sense.

use anyhow::{Result, bail, ensure};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

/// RFC 9113, 3.4.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// RFC 9113, 6.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
/// Of SETTINGS and PING.
pub(crate) const ACK: u8 = 1;

/// One frame; the length is that of the payload.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&claiming(length, kind, flags, stream), payload].concat()
}

/// The head of a frame that claims a length.
pub(crate) fn claiming(length: u32, kind: u8, flags: u8, stream: u32) -> Vec<u8> {
    let mut head = length.to_be_bytes()[1..].to_vec();
    head.extend([kind, flags]);
    head.extend(stream.to_be_bytes());
    head
}

/// A literal header field without indexing, never compressed (RFC 7541, 6.2.2).
pub(crate) fn header(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        integer(&mut out, 0, 7, text.len());
        out.extend(text.as_bytes());
    }
    out
}

/// An integer with a prefix of so many bits (RFC 7541, 5.1).
pub(crate) fn integer(out: &mut Vec<u8>, pattern: u8, bits: u8, value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        out.push(pattern | u8::try_from(value).unwrap());
        return;
    }
    out.push(pattern | u8::try_from(most).unwrap());
    let mut rest = value - most;
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
}

/// The header fields of a gRPC call.
pub(crate) fn call(path: &str) -> Vec<u8> {
    [
        header(":method", "POST"),
        header(":scheme", "https"),
        header(":authority", "localhost"),
        header(":path", path),
        header("content-type", "application/grpc"),
        header("te", "trailers"),
    ]
    .concat()
}

/// Opens a call on `stream`.
pub(crate) fn open_call(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &call(path))
}

/// A gRPC message head: compressed flag, length.
pub(crate) fn message_head(flag: u8, length: u32) -> Vec<u8> {
    [&[flag][..], &length.to_be_bytes()].concat()
}

/// A gRPC message in DATA frames of at most 16 KiB.
pub(crate) fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    let frames = bytes.chunks(16 << 10);
    frames
        .flat_map(|part| frame(DATA, 0, stream, part))
        .collect()
}

/// How long the other side may take to say its settings.
const GREETING: Duration = Duration::from_secs(20);

/// How the other side ended a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With GOAWAY, and this error code.
    Goaway(u32),
    /// Without a word.
    Closed,
}

/// A connection with whatever is read from it.
pub(crate) struct Raw<S> {
    stream: S,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Raw<S> {
    pub(crate) fn new(stream: S) -> Self {
        let read = Vec::new();
        Self { stream, read }
    }

    /// A connection on which both have said what they say first. The other side's windows, of
    /// streams and of the connection, are as large as they will be from here on.
    pub(crate) async fn greet(stream: S) -> Result<Self> {
        let mut raw = Self::new(stream);
        let first = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        raw.stream.write_all(&first).await?;
        raw.stream.flush().await?;
        for wanted in [SETTINGS, WINDOW_UPDATE] {
            let greeting = async {
                while let Some((kind, flags, ..)) = raw.next().await {
                    if (kind, flags) == (wanted, 0) {
                        return true;
                    }
                }
                false
            };
            ensure!(timeout(GREETING, greeting).await?, "hung up on");
        }
        raw.stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?;
        raw.stream.flush().await?;
        Ok(raw)
    }

    /// Writes; false once the other side does not take it any more, or not within `patience`.
    pub(crate) async fn write_within(&mut self, bytes: &[u8], patience: Duration) -> bool {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        matches!(timeout(patience, written).await, Ok(Ok(())))
    }

    /// As [`Self::write_within`], with much patience.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.write_within(bytes, Duration::from_secs(20)).await
    }

    async fn fill(&mut self) -> bool {
        let mut bytes = [0; 16 << 10];
        match self.stream.read(&mut bytes).await {
            Ok(n) if n > 0 => {
                self.read.extend(&bytes[..n]);
                true
            }
            // An error is an end too: nobody says goodbye to who talks nonsense.
            _ => false,
        }
    }

    /// The next frame: kind, flags, stream, payload. `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        loop {
            if self.read.len() >= 9 {
                let length = u32::from_be_bytes([0, self.read[0], self.read[1], self.read[2]]);
                let end = 9 + usize::try_from(length).unwrap();
                if self.read.len() >= end {
                    let head: Vec<u8> = self.read.drain(..end).collect();
                    let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
                    return Some((head[3], head[4], stream, head[9..].to_vec()));
                }
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads until the other side ends the connection; an error after `patience`.
    pub(crate) async fn ended(&mut self, patience: Duration) -> Result<Ended> {
        let end = async {
            let mut said = Ended::Closed;
            while let Some((kind, _, _, payload)) = self.next().await {
                if kind == GOAWAY && payload.len() >= 8 {
                    said = Ended::Goaway(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
                }
            }
            said
        };
        Ok(timeout(patience, end).await?)
    }

    /// Reads until `stream` has ended, and gives the header blocks and data that it sent.
    pub(crate) async fn stream_end(&mut self, stream: u32, patience: Duration) -> Result<Vec<u8>> {
        let deadline = Instant::now() + patience;
        let (mut bytes, mut goodbye) = (Vec::new(), None);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some((kind, flags, on, payload)) = timeout(left, self.next()).await? else {
                bail!("the connection ended first: {goodbye:?}");
            };
            if kind == GOAWAY {
                goodbye = Some(String::from_utf8_lossy(&payload).into_owned());
            }
            if on != stream {
                continue;
            }
            bytes.extend(payload);
            let last = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
            if last || kind == RST_STREAM {
                return Ok(bytes);
            }
        }
    }

    /// Reads what has come, for a moment, and forgets it: so that neither side's buffers fill.
    pub(crate) async fn skim(&mut self) {
        let moment = Duration::from_millis(1);
        while matches!(timeout(moment, self.fill()).await, Ok(true)) {
            self.read.clear();
        }
    }

    /// Closes it.
    pub(crate) async fn close(mut self) {
        let _ = timeout(Duration::from_secs(1), self.stream.shutdown()).await;
    }
}
