//! Why something changed may be accepted. Each reason has a proof of its own here, by other code
//! than that of the judges: whatever is accepted without one fails the run.

use crate::{
    case::{Base, Kind, Side, Trial, Verdict},
    files,
};
use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use passerelle_audit::tiles::new_tiles;

/// The reason for which `judge` may accept the changed case with this verdict, if there is one.
pub(crate) fn reason(
    judge: Side,
    base: &Base,
    trial: &Trial,
    verdict: &Verdict,
    meaning: &str,
) -> Option<&'static str> {
    let same = verdict.meaning == meaning;
    if same && same_lines(base, trial) {
        return Some(
            "signature lines in another order, twice, or beside some by unknown keys: the format \
             has it so",
        );
    }
    if same && same_path(base, trial) {
        return Some(
            "a proof beside a bare root fits each size in which its path looks the same: size and \
             root come together out of a signed checkpoint",
        );
    }
    match judge {
        Side::Ours => None,
        Side::Theirs => loose(base, trial, verdict, meaning),
    }
}

/// What Go's libraries leave open, and Passerelle refuses.
fn loose(base: &Base, trial: &Trial, verdict: &Verdict, meaning: &str) -> Option<&'static str> {
    let class = trial.class();
    if verdict.meaning == meaning {
        if loosened(base, trial) {
            return Some(
                "the same value in another spelling, which Go reads as well: base64 with stray \
                 bits or line ends in it, numbers with leading zeros, CRLF around a proof's lines",
            );
        }
        if same_key(base, trial) {
            return Some(
                "Go does not compare the id and the type in a witness's key with the key itself",
            );
        }
        if class == "cosignature and a broken one after" {
            return Some("Go looks only at the first line by a key");
        }
        if is_longer(base, trial) {
            return Some(
                "fsck reads no more of a file than it needs, and a full one for a partial one",
            );
        }
        return None;
    }
    let extended = verdict.meaning.strip_prefix(meaning);
    if extended.is_some_and(|more| more.starts_with("|extension ")) && class.starts_with("signed ")
    {
        return Some("extension lines, signed: the format has them, Passerelle refuses them");
    }
    if class.starts_with("signed ") && Some(&verdict.meaning) == misspelt(trial).as_ref() {
        return Some(
            "another size or root, misspelt and signed: Go reads it, and only files disprove it",
        );
    }
    let time = [
        "cosignature at time zero",
        "cosignature beyond 63 bits of time",
    ];
    (trial.case.kind == Kind::Cosigned && time.contains(&class))
        .then_some("Go does not know the limits of a cosignature's time")
}

/// Whether each file of the changed log begins as it should: in its place, or in that of the full
/// one, which may stand for it.
fn is_longer(base: &Base, trial: &Trial) -> bool {
    let (Ok(from), Ok(to)) = (files::overlay(&base.case), files::overlay(&trial.case)) else {
        return false;
    };
    let note = base.case.text("note").ok();
    let size = note.and_then(|note| note.lines().nth(1)?.parse().ok());
    trial.case.kind == Kind::Tiles
        && base.case.part("note") == trial.case.part("note")
        && new_tiles(0, size.unwrap_or(0)).iter().all(|path| {
            let path = path.to_string();
            let full = path.split(".p/").next().unwrap_or_default();
            let honest = files::read(&base.case, &from, &path);
            let found = files::read(&trial.case, &to, &path);
            let found = found.or_else(|_| files::read(&trial.case, &to, full));
            honest.is_ok_and(|honest| found.is_ok_and(|found| found.starts_with(&honest)))
        })
}

/// What a checkpoint means to a reader as loose as Go's.
fn misspelt(trial: &Trial) -> Option<String> {
    let text = trial
        .case
        .text("note")
        .ok()
        .filter(|_| trial.case.kind == Kind::Checkpoint)?;
    let text = loose_text(Kind::Checkpoint, text);
    let (head, _) = text.rsplit_once("\n\n")?;
    let [origin, size, root] = head.split('\n').collect::<Vec<_>>()[..] else {
        return None;
    };
    let root = lenient()
        .decode(root)
        .ok()
        .filter(|root| root.len() == 32)?;
    Some(format!("{origin}|{size}|{}|", hex(&root)))
}

/// Whether the notes have the same text and the same lines by keys that are known.
fn same_lines(base: &Base, trial: &Trial) -> bool {
    let Some(part) = trial.case.kind.text_part().filter(|part| *part != "key") else {
        return false;
    };
    let (before, after) = (base.case.text(part), trial.case.text(part));
    let (Ok(before), Ok(after)) = (before, after) else {
        return false;
    };
    let known = |text: &str| -> Option<(String, Vec<String>)> {
        let (head, lines) = text.rsplit_once("\n\n")?;
        let mut known: Vec<_> = lines
            .split('\n')
            .filter(|l| is_known(base, l))
            .map(str::to_owned)
            .collect();
        known.sort();
        known.dedup();
        Some((head.to_owned(), known))
    };
    let others = trial
        .case
        .parts
        .iter()
        .all(|(name, content)| *name == part || base.case.parts.get(name) == Some(content));
    others && known(before).is_some() && known(before) == known(after)
}

fn is_known(base: &Base, line: &str) -> bool {
    let keys = [base.case.text("log_key"), base.case.text("witness_keys")];
    let mut keys = keys.iter().flatten().flat_map(|keys| keys.lines());
    let Some((name, signature)) = line.strip_prefix("— ").and_then(|l| l.split_once(' ')) else {
        // Not even a line: never left aside.
        return true;
    };
    let id = lenient().decode(signature).ok();
    let id = id.and_then(|bytes| bytes.get(..4).map(hex));
    keys.any(|key| {
        let mut fields = key.splitn(3, '+');
        fields.next() == Some(name) && fields.next() == id.as_deref()
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether only a size has changed, and the proof's path is the same in both.
fn same_path(base: &Base, trial: &Trial) -> bool {
    let numbers = match trial.case.kind {
        Kind::Inclusion => ["index", "size"],
        Kind::Consistency => ["old_size", "new_size"],
        _ => return false,
    };
    let others = trial.case.parts.iter().all(|(name, content)| {
        numbers.contains(name) || base.case.parts.get(name) == Some(content)
    });
    let path = |case: &crate::case::Case| {
        let [first, second] = numbers.map(|part| case.number(part));
        let (first, second) = (first.ok()?, second.ok()?);
        match case.kind {
            Kind::Inclusion => inclusion_path(first, second),
            _ => consistency_path(first, second),
        }
    };
    let before = path(&base.case);
    others && before.is_some() && before == path(&trial.case)
}

/// The sides of the siblings from the root to the leaf (RFC 6962, section 2.1.1).
fn inclusion_path(mut index: u64, mut size: u64) -> Option<Vec<bool>> {
    let mut sides = Vec::new();
    if index >= size {
        return None;
    }
    while size > 1 {
        let left = below(size);
        let is_left = index < left;
        if is_left {
            size = left;
        } else {
            (index, size) = (index - left, size - left);
        }
        sides.push(is_left);
    }
    Some(sides)
}

/// The sides of the siblings, and whether the old root is part of the proof (RFC 6962, section
/// 2.1.2).
fn consistency_path(mut old: u64, mut new: u64) -> Option<Vec<bool>> {
    let (mut sides, mut whole) = (Vec::new(), true);
    if old == 0 || old >= new {
        return None;
    }
    while old != new {
        let left = below(new);
        let is_left = old <= left;
        if is_left {
            new = left;
        } else {
            (old, new, whole) = (old - left, new - left, false);
        }
        sides.push(is_left);
    }
    sides.push(whole);
    Some(sides)
}

/// The largest power of two below `size`, which is two or more.
fn below(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

fn lenient() -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&STANDARD, config)
}

/// Whether both texts are one to a reader as loose as Go's.
fn loosened(base: &Base, trial: &Trial) -> bool {
    let kind = trial.case.kind;
    let Some(part) = kind.text_part() else {
        return false;
    };
    let (Ok(before), Ok(after)) = (base.case.text(part), trial.case.text(part)) else {
        return false;
    };
    if before == after {
        return false;
    }
    let is_signed = trial.class().starts_with("signed ");
    let loose = |text: &str| {
        // What was signed anew has another signature.
        let head = text.rsplit_once("\n\n").map_or(text, |(head, _)| head);
        loose_text(kind, if is_signed { head } else { text })
    };
    loose(before) == loose(after)
}

fn loose_text(kind: Kind, text: &str) -> String {
    let mut text = text.to_owned();
    if matches!(kind, Kind::Proof | Kind::LogKey | Kind::WitnessKey) {
        text.retain(|c| c != '\r');
    }
    match kind {
        Kind::Proof => text = format!("{}\n", text.strip_suffix('\n').unwrap_or(&text)),
        Kind::LogKey | Kind::WitnessKey => {
            text.retain(|c| c != '\n');
            let fields: Vec<_> = text.splitn(3, '+').map(str::to_owned).collect();
            if let [name, id, key] = &fields[..] {
                return format!("{name}+{}+{}", id.to_lowercase(), loose_field(key));
            }
        }
        _ => {}
    }
    let lines = text.split('\n').map(|line| {
        let fields: Vec<_> = line.split(' ').map(loose_field).collect();
        fields.join(" ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn loose_field(field: &str) -> String {
    if !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit()) {
        let digits = field.trim_start_matches('0');
        return if digits.is_empty() { "0" } else { digits }.to_owned();
    }
    match lenient().decode(field) {
        Ok(bytes) if bytes.len() > 4 => lenient().encode(bytes),
        _ => field.to_owned(),
    }
}

/// Whether two witness keys have the same name and the same key, whatever id and type they say.
fn same_key(base: &Base, trial: &Trial) -> bool {
    let key = |case: &crate::case::Case| {
        let text = case.text("key").ok()?;
        let text = loose_text(Kind::WitnessKey, text);
        let mut fields = text.splitn(3, '+').map(str::to_owned);
        let (name, _id, key) = (fields.next()?, fields.next()?, fields.next()?);
        let key = lenient().decode(key).ok()?;
        let (kind, key) = key.split_first()?;
        [1, 4].contains(kind).then(|| (name, key.to_vec()))
    };
    trial.case.kind == Kind::WitnessKey
        && key(&base.case).is_some_and(|k| key(&trial.case) == Some(k))
}
