//! One file over plain HTTP: the newest checkpoint of this agency, and that of a peer.
//!
//! In scope: `GET /checkpoint`, served and fetched, with bounds on sizes, times and connections.
//! Out of scope: everything else of HTTP. A request for anything else gets 404, a reply in
//! anything but plain length or end of stream is refused.

use super::own;
use crate::node::Node;
use passerelle_audit::note::MAX_NOTE_BYTES;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

/// How long an exchange may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Longest head of a request or a reply, in bytes.
const MAX_HEAD_BYTES: usize = 8 * 1024;
/// Longest reply, in bytes.
const MAX_REPLY_BYTES: usize = MAX_HEAD_BYTES + MAX_NOTE_BYTES;
/// Connections served at once; others wait at the door.
const CONNECTIONS: usize = 32;
/// How long to wait after the system refused a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the checkpoint to anybody who reaches `listener`, for ever.
pub(crate) async fn serve(node: &Node, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((tcp, _)) = listener.accept().await.inspect_err(|error| {
            tracing::warn!(%error, "cannot accept a reader of the checkpoint now");
        }) else {
            sleep(PAUSE).await;
            continue;
        };
        let node = node.clone();
        tokio::spawn(async move {
            // How a stranger's connection ends is not for the log.
            let _ = timeout(DEADLINE, answer(&node, tcp)).await;
            drop(place);
        });
    }
}

async fn answer(node: &Node, mut tcp: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 1024];
        let count = tcp.read(&mut part).await?;
        head.extend_from_slice(part.get(..count).unwrap_or_default());
        if count == 0 || head.len() > MAX_HEAD_BYTES {
            return Ok(());
        }
    }
    let reply = reply(&head, || own(node).map(|signed| signed.note().to_string()));
    tcp.write_all(reply.as_bytes()).await?;
    tcp.shutdown().await
}

fn reply(head: &[u8], note: impl FnOnce() -> Option<String>) -> String {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let (status, body) = match line {
        b"GET /checkpoint HTTP/1.1" | b"GET /checkpoint HTTP/1.0" => match note() {
            Some(note) => ("200 OK", note),
            None => ("503 Service Unavailable", "no_quorum\n".to_owned()),
        },
        line if line.starts_with(b"GET ") => ("404 Not Found", "not_found\n".to_owned()),
        _ => ("405 Method Not Allowed", "malformed\n".to_owned()),
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: \
         {length}\r\ncache-control: no-cache\r\nconnection: close\r\n\r\n{body}"
    )
}

/// `HOST:PORT` of `http://HOST:PORT`, with or without a slash at the end.
pub(crate) fn authority(peer: &str) -> Option<&str> {
    let authority = peer.strip_prefix("http://")?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, port) = authority.rsplit_once(':')?;
    let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    (is_host && port.parse::<u16>().is_ok()).then_some(authority)
}

/// Fetches the checkpoint that a peer shows.
///
/// # Errors
/// Why not, in words.
pub(crate) async fn fetch(peer: &str) -> Result<String, String> {
    let authority = authority(peer).ok_or("not of the form `http://HOST:PORT`")?;
    let fetched = timeout(DEADLINE, exchange(authority)).await;
    let reply = fetched.map_err(|_| "it does not answer in time")?;
    body(&reply.map_err(|error| error.to_string())?)
}

async fn exchange(authority: &str) -> std::io::Result<Vec<u8>> {
    let mut tcp = TcpStream::connect(authority).await?;
    // By version 1.0 the reply comes in one piece, ended by the end of the stream.
    let request = format!("GET /checkpoint HTTP/1.0\r\nhost: {authority}\r\n\r\n");
    tcp.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    let most = MAX_REPLY_BYTES as u64 + 1;
    tcp.take(most).read_to_end(&mut reply).await?;
    Ok(reply)
}

fn body(reply: &[u8]) -> Result<String, String> {
    if reply.len() > MAX_REPLY_BYTES {
        return Err("its reply is too long".to_owned());
    }
    let text = str::from_utf8(reply).map_err(|_| "its reply is not text")?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("its reply is not HTTP")?;
    let status = head.split(' ').nth(1);
    match status {
        Some("200") if head.starts_with("HTTP/1.") => Ok(body.to_owned()),
        Some("503") => Err("it has no checkpoint now".to_owned()),
        _ => Err("its reply is not a checkpoint".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_named_by_host_and_port() {
        for (good, authority_of) in [
            ("http://10.0.0.5:7080", "10.0.0.5:7080"),
            ("http://oversight.example:80/", "oversight.example:80"),
            ("http://[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(authority(good), Some(authority_of));
        }
        for bad in [
            "",
            "10.0.0.5:7080",
            "https://10.0.0.5:7080",
            "http://10.0.0.5",
            "http://:80",
            "http://a/b:80",
            "http://a:80/checkpoint",
            "http://a:http",
            "http://a b:80",
            "http://a\r\n:80",
            "http://a:70000",
        ] {
            assert_eq!(authority(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_the_checkpoint_is_served() {
        let of = |head: &str| reply(head.as_bytes(), || Some("note\n".to_owned()));
        let got = of("GET /checkpoint HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!(body(got.as_bytes()), Ok("note\n".to_owned()));
        assert!(got.contains("content-length: 5\r\n"), "{got}");
        for (head, status) in [
            ("GET / HTTP/1.1\r\n", "404"),
            ("GET /checkpoint/ HTTP/1.1\r\n", "404"),
            ("GET /tile/entries/000 HTTP/1.1\r\n", "404"),
            ("POST /checkpoint HTTP/1.1\r\n", "405"),
            ("\r\n", "405"),
        ] {
            let got = of(head);
            assert!(
                got.starts_with(&format!("HTTP/1.1 {status} ")),
                "{head}: {got}"
            );
            assert!(body(got.as_bytes()).is_err());
        }
        let none = reply(b"GET /checkpoint HTTP/1.0\r\n", || None);
        assert_eq!(
            body(none.as_bytes()),
            Err("it has no checkpoint now".to_owned())
        );
    }

    #[test]
    fn nonsense_is_no_checkpoint() {
        let long = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_REPLY_BYTES));
        for bad in [
            "",
            "hello",
            "HTTP/1.1 200 OK",
            "SSH-2.0 200\r\n\r\nx",
            &long,
        ] {
            assert!(body(bad.as_bytes()).is_err());
        }
        assert!(body(b"HTTP/1.1 200 OK\r\n\r\n\xff").is_err());
    }
}
