//! Nonsense that the right keys have signed: what only the reader of a format can refuse.

use crate::{
    case::{Base, Case, Kind},
    texts::{Changed, distinct},
};
use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer as _, SigningKey};
use passerelle_audit::note::{SignatureType, VerifierKey};
use passerelle_model::bytes::PublicKey;

/// All of it for a checkpoint, with cosignatures or without.
pub(crate) fn changes(base: &Base) -> Result<Vec<Changed>> {
    let note = base.case.text("note").unwrap_or_default();
    let all = match base.case.kind {
        Kind::Checkpoint => heads(base, note)?,
        Kind::Cosigned if !base.keys.witnesses.is_empty() => cosignatures(base, note)?,
        _ => Vec::new(),
    };
    Ok(distinct(note.as_bytes(), all))
}

/// A signature line over `text`.
fn line(name: &str, id: [u8; 4], signature: &[u8]) -> String {
    format!(
        "— {name} {}\n",
        STANDARD.encode([&id[..], signature].concat())
    )
}

fn id(name: &str, kind: SignatureType, key: &SigningKey) -> Result<[u8; 4]> {
    let public = PublicKey(key.verifying_key().to_bytes());
    Ok(VerifierKey::new(name, kind, public)?.id())
}

/// A note of this text, signed by the log.
pub(crate) fn note(base: &Base, text: &str) -> Result<String> {
    let key = &base.keys.log;
    let name: VerifierKey = base.case.text("log_key").unwrap_or_default().parse()?;
    let id = id(name.name(), SignatureType::Ed25519, key)?;
    let signature = key.sign(text.as_bytes()).to_bytes();
    Ok(format!("{text}\n{}", line(name.name(), id, &signature)))
}

/// Checkpoints that say something else, or the same in other ways.
fn heads(base: &Base, original: &str) -> Result<Vec<Changed>> {
    let (text, _) = original.rsplit_once("\n\n").context("not a note")?;
    let text = format!("{text}\n");
    let [origin, size, root] = text
        .lines()
        .collect::<Vec<_>>()
        .try_into()
        .ok()
        .context("lines")?;
    // A field is changed as a text of its own, and so is the whole.
    let mut texts: Vec<(String, String)> = Vec::new();
    for (change, changed) in crate::texts::changes(text.as_bytes()) {
        let Ok(changed) = String::from_utf8(changed) else {
            continue;
        };
        // Another size or root well spelt is no nonsense: it is refused where there are tiles.
        if !is_head(&changed) && changed.ends_with('\n') {
            texts.push((change, changed));
        }
    }
    for (change, changed) in [
        ("extension line", format!("{text}extension\n")),
        ("extension lines", format!("{text}one\ntwo\n")),
        (
            "old header",
            format!("go.sum database tree\n{size}\n{root}\n"),
        ),
        ("another origin", format!("{origin}x\n{size}\n{root}\n")),
        (
            "origin with a control character",
            format!("{origin}\u{7f}\n{size}\n{root}\n"),
        ),
        (
            "origin with a space",
            format!("{origin} x\n{size}\n{root}\n"),
        ),
        ("no origin", format!("\n{size}\n{root}\n")),
        (
            "fields in another order",
            format!("{size}\n{origin}\n{root}\n"),
        ),
        ("two roots", format!("{origin}\n{size}\n{root} {root}\n")),
    ] {
        texts.push((change.to_owned(), changed));
    }
    let signed = texts
        .into_iter()
        .map(|(change, text)| Ok((format!("signed {change}"), note(base, &text)?.into_bytes())));
    signed.collect()
}

/// Whether this is a checkpoint of three lines in its one spelling, by a judge other than the
/// product: parsed loosely, written again, compared.
fn is_head(text: &str) -> bool {
    let lines: Vec<&str> = text.split('\n').collect();
    let [origin, size, root, ""] = lines[..] else {
        return false;
    };
    let named = !origin.is_empty() && !origin.contains(|c: char| c.is_whitespace() || c == '+');
    let sized = size
        .parse::<i64>()
        .is_ok_and(|n| n >= 0 && n.to_string() == size);
    let hash = STANDARD.decode(root);
    named && sized && hash.is_ok_and(|hash| hash.len() == 32 && STANDARD.encode(hash) == root)
}

/// Cosignatures that are none.
fn cosignatures(base: &Base, original: &str) -> Result<Vec<Changed>> {
    let (text, lines) = original.rsplit_once("\n\n").context("not a note")?;
    let text = format!("{text}\n");
    let keys = base.case.text("witness_keys").unwrap_or_default();
    let keys: Vec<VerifierKey> = keys.lines().map(str::parse).collect::<Result<_, _>>()?;
    let lines: Vec<String> = lines.lines().map(|line| format!("{line}\n")).collect();
    let mut all = Vec::new();
    for (at, (key, secret)) in keys.iter().zip(&base.keys.witnesses).enumerate() {
        let mark = format!("— {} ", key.name());
        let own = lines
            .iter()
            .position(|line| line.starts_with(&mark))
            .context("no line")?;
        let valid = lines.get(own).context("no line")?;
        let (before, after) = lines.split_at(own);
        let after = after.get(1..).unwrap_or_default().concat();
        let mut put = |name: &str, put: &str| {
            let changed = format!("{text}\n{}{put}{after}", before.concat());
            all.push((
                format!("cosignature {name}: of witness {at}"),
                changed.into_bytes(),
            ));
        };
        for (name, other) in forged(key, secret, &text, &base.keys)? {
            put(name, &other);
        }
        let broken = line(key.name(), key.id(), &[7; 72]);
        put("and a broken one before", &format!("{broken}{valid}"));
        put("and a broken one after", &format!("{valid}{broken}"));
        let stranger = line("stranger.example", [1, 2, 3, 4], &[7; 72]);
        put("and one by a stranger", &format!("{valid}{stranger}"));
        let alike = line(key.name(), [1, 2, 3, 4], &[7; 72]);
        put(
            "and one by a stranger of the same name",
            &format!("{valid}{alike}"),
        );
        put(
            "and an empty one",
            &format!("{valid}{}", line(key.name(), [1, 2, 3, 4], &[])),
        );
        put(
            "and 200 by strangers",
            &format!("{valid}{}", many_strangers()),
        );
    }
    Ok(all)
}

fn many_strangers() -> String {
    (0..200_u8)
        .map(|n| line("stranger.example", [n, 2, 3, 4], &[7; 72]))
        .collect()
}

/// Lines in the name of a witness that its cosignature does not stand behind.
fn forged(
    key: &VerifierKey,
    secret: &SigningKey,
    text: &str,
    keys: &crate::case::Keys,
) -> Result<Vec<(&'static str, String)>> {
    let time = 1_900_000_000_u64;
    let message = |time: u64, text: &str| format!("cosignature/v1\ntime {time}\n{text}");
    let timed = |time: u64, message: &str, by: &SigningKey| {
        let signature = by.sign(message.as_bytes()).to_bytes();
        line(
            key.name(),
            key.id(),
            &[&time.to_be_bytes()[..], &signature].concat(),
        )
    };
    let plain = secret.sign(text.as_bytes()).to_bytes();
    let other = id(key.name(), SignatureType::Ed25519, secret)?;
    let good = message(time, text);
    let good_signature = secret.sign(good.as_bytes()).to_bytes();
    let little = [&time.to_le_bytes()[..], &good_signature].concat();
    let stretched = [&time.to_be_bytes()[..], &good_signature, &[0]].concat();
    let shortened = stretched.get(..71).unwrap_or_default().to_vec();
    let late = (i64::MAX as u64) + 1;
    let smaller = text.replacen('\n', "\n1", 1);
    Ok(vec![
        ("at time zero", timed(0, &message(0, text), secret)),
        (
            "beyond 63 bits of time",
            timed(late, &message(late, text), secret),
        ),
        ("at another time", timed(time + 1, &good, secret)),
        ("without the header", timed(time, text, secret)),
        (
            "of version 2",
            timed(time, &good.replace("v1", "v2"), secret),
        ),
        (
            "without the time",
            timed(
                time,
                &good.replacen(&format!("time {time}\n"), "", 1),
                secret,
            ),
        ),
        (
            "with leading zeros of time",
            timed(time, &good.replacen("time ", "time 0", 1), secret),
        ),
        (
            "of another size",
            timed(time, &message(time, &smaller), secret),
        ),
        (
            "of a text without its end",
            timed(time, good.trim_end(), secret),
        ),
        ("by the log", timed(time, &good, &keys.log)),
        ("by the log, of the note", timed(time, text, &keys.log)),
        (
            "that is a plain signature",
            line(key.name(), key.id(), &plain),
        ),
        (
            "that is a plain signature of type 01",
            line(key.name(), other, &plain),
        ),
        (
            "with the id of type 01",
            line(key.name(), other, &stretched[..72]),
        ),
        (
            "with time in little endian",
            line(key.name(), key.id(), &little),
        ),
        ("longer", line(key.name(), key.id(), &stretched)),
        ("shorter", line(key.name(), key.id(), &shortened)),
    ])
}

/// Checkpoints well signed by the log that its files do not bear out.
pub(crate) fn lies(base: &Base) -> Result<Vec<(String, Case)>> {
    let original = base.case.text("note").unwrap_or_default();
    let lines: Vec<&str> = original.lines().take(3).collect();
    let [origin, size, root] = lines[..] else {
        anyhow::bail!("not a checkpoint");
    };
    let number: u64 = size.parse()?;
    let hash = STANDARD.decode(root)?;
    let mut texts = Vec::new();
    for at in 0..hash.len() {
        let mut hash = hash.clone();
        if let Some(byte) = hash.get_mut(at) {
            *byte ^= 1 << (at % 8);
        }
        let text = format!("{origin}\n{size}\n{}\n", STANDARD.encode(hash));
        texts.push((format!("lie of the root: byte {at}"), text));
    }
    // Much larger ones are left out: fsck does not end when more bundles are missing than it has
    // workers.
    for other in [
        0,
        1,
        number - 1,
        number + 1,
        number * 2,
        number + 256,
        number + 2048,
    ] {
        if other != number {
            let text = format!("{origin}\n{other}\n{root}\n");
            texts.push((format!("lie of the size: {other}"), text));
        }
    }
    let signed = texts
        .into_iter()
        .map(|(change, text)| Ok((change, base.case.with("note", note(base, &text)?))));
    signed.collect()
}
