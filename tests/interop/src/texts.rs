//! Changes to what travels as text: every byte, every line, every field, and the whole.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A change and what came of it.
pub(crate) type Changed = (String, Vec<u8>);

/// All changes to a text that give another text, each result once.
pub(crate) fn changes(text: &[u8]) -> Vec<Changed> {
    let mut all = Vec::new();
    bytes(text, &mut all);
    whole(text, &mut all);
    lines(text, &mut all);
    fields(text, &mut all);
    distinct(text, all)
}

/// Without those that change nothing, and those that come to the same as one before.
pub(crate) fn distinct(original: &[u8], all: Vec<Changed>) -> Vec<Changed> {
    let mut seen = std::collections::HashSet::from([original.to_vec()]);
    all.into_iter()
        .filter(|(_, changed)| seen.insert(changed.clone()))
        .collect()
}

fn bytes(text: &[u8], all: &mut Vec<Changed>) {
    for (at, byte) in text.iter().enumerate() {
        let (before, rest) = text.split_at(at);
        let after = rest.get(1..).unwrap_or_default();
        // A bit that leaves text text, another one for each byte.
        let flipped = byte ^ (1 << (at % 7));
        all.push((
            format!("bit flipped: byte {at}"),
            [before, &[flipped], after].concat(),
        ));
        all.push((format!("cut off: at byte {at}"), before.to_vec()));
        all.push((format!("byte left out: {at}"), [before, after].concat()));
        all.push((
            format!("byte twice: {at}"),
            [before, &[*byte], rest].concat(),
        ));
    }
}

fn whole(text: &[u8], all: &mut Vec<Changed>) {
    let string = String::from_utf8_lossy(text);
    let mut change = |name: &str, changed: Vec<u8>| all.push((format!("whole: {name}"), changed));
    change("CRLF", string.replace('\n', "\r\n").into_bytes());
    change("CR", string.replace('\n', "\r").into_bytes());
    change("byte order mark", ["\u{feff}".as_bytes(), text].concat());
    change("line before", [b"\n", text].concat());
    change("line after", [text, b"\n"].concat());
    change("NUL after", [text, b"\0"].concat());
    change("space after", [text, b" "].concat());
    change("twice", [text, text].concat());
    change("upper case", string.to_uppercase().into_bytes());
    change("lower case", string.to_lowercase().into_bytes());
    change("tabs for spaces", string.replace(' ', "\t").into_bytes());
    change("hyphen for dash", string.replace('—', "-").into_bytes());
    change("not UTF-8", [text, &[0xff]].concat());
}

fn lines(text: &[u8], all: &mut Vec<Changed>) {
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    for (at, line) in lines.iter().enumerate() {
        let before = lines.get(..at).unwrap_or_default().concat();
        let after = lines.get(at + 1..).unwrap_or_default().concat();
        let body = line.strip_suffix(b"\n").unwrap_or(line);
        let mut change = |name: &str, middle: &[&[u8]]| {
            let changed = [&before[..], &middle.concat(), &after].concat();
            all.push((format!("line {name}: {}", at + 1), changed));
        };
        change("left out", &[]);
        change("twice", &[line, line]);
        change("empty", &[b"\n"]);
        change("with CRLF", &[body, b"\r\n"]);
        change("with a space after", &[body, b" \n"]);
        change("with a space before", &[b" ", line]);
        change("with a tab after", &[body, b"\t\n"]);
        change("with an empty line after", &[line, b"\n"]);
        change("without its end", &[body]);
        change("with a word after", &[body, b" word\n"]);
        for (other, swapped) in lines.iter().enumerate().skip(at + 1) {
            let between = lines.get(at + 1..other).unwrap_or_default().concat();
            let rest = lines.get(other + 1..).unwrap_or_default().concat();
            let changed = [&before[..], swapped, &between, line, &rest].concat();
            all.push((
                format!("lines swapped: {} and {}", at + 1, other + 1),
                changed,
            ));
        }
    }
}

/// The fields: what stands between spaces, line ends and, in keys, plus signs.
fn fields(text: &[u8], all: &mut Vec<Changed>) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let mut start = 0;
    // The base64 after the second plus sign may have plus signs of its own.
    let key = !text.contains('\n') && text.matches('+').count() >= 2;
    let ends: Vec<usize> = match key {
        true => text
            .match_indices('+')
            .map(|(at, _)| at)
            .take(2)
            .chain([text.len()])
            .collect(),
        false => {
            let ends = text.match_indices([' ', '\n']).map(|(at, _)| at);
            ends.chain([text.len()]).collect()
        }
    };
    for end in ends {
        let field = text.get(start..end).unwrap_or_default();
        let (before, after) = (text.get(..start), text.get(end..));
        for (name, other) in spellings(field) {
            let changed = [
                before.unwrap_or_default(),
                &other,
                after.unwrap_or_default(),
            ]
            .concat();
            all.push((
                format!("field {name}: at byte {start}"),
                changed.into_bytes(),
            ));
        }
        start = end + 1;
    }
}

/// Other spellings of a field's value, and neighbouring values.
fn spellings(field: &str) -> Vec<(&'static str, String)> {
    let mut other = Vec::new();
    if !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit()) {
        other.extend(decimals(field));
    }
    if let Ok(bytes) = STANDARD.decode(field)
        && bytes.len() >= 4
    {
        other.extend(encodings(field, &bytes));
    }
    if field.len() == 8 && field.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        other.push(("in upper case", field.to_uppercase()));
        other.push(("with zeros", "00000000".to_owned()));
        other.push(("longer", format!("0{field}")));
    }
    other
}

fn decimals(field: &str) -> Vec<(&'static str, String)> {
    let number: u128 = field.parse().unwrap_or(0);
    vec![
        ("with a leading zero", format!("0{field}")),
        ("with zeros to 20 digits", format!("{number:020}")),
        ("with a plus sign", format!("+{field}")),
        ("with a minus sign", format!("-{field}")),
        ("with a point", format!("{field}.0")),
        ("with an underscore", format!("{field}_0")),
        ("in hexadecimal", format!("0x{number:x}")),
        ("with an exponent", format!("{field}e0")),
        ("with other digits", field.chars().map(arabic).collect()),
        ("plus one", (number + 1).to_string()),
        ("minus one", number.wrapping_sub(1).to_string()),
        ("ten times", format!("{field}0")),
        ("of 63 bits", (1_u128 << 63).to_string()),
        ("of 64 bits", u64::MAX.to_string()),
        ("beyond 64 bits", (1_u128 << 64).to_string()),
        (
            "beyond 64 bits, the same below",
            ((1_u128 << 64) + number).to_string(),
        ),
    ]
}

fn arabic(digit: char) -> char {
    let value = digit.to_digit(10).unwrap_or(0);
    char::from_u32(0x660 + value).unwrap_or(digit)
}

fn encodings(field: &str, bytes: &[u8]) -> Vec<(&'static str, String)> {
    let bare = field.trim_end_matches('=');
    let (head, tail) = field.split_at(field.len() / 2);
    let url = field.replace('+', "-").replace('/', "_");
    let mut all = vec![
        ("without padding", bare.to_owned()),
        ("with padding after", format!("{field}=")),
        ("with more padding", format!("{field}====")),
        ("in the alphabet of URLs", url),
        (
            "in hexadecimal",
            bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        ),
        ("with a line break", format!("{head}\n{tail}")),
        ("with CR in it", format!("{head}\r{tail}")),
        ("with CRLF in it", format!("{head}\r\n{tail}")),
        ("with a space in it", format!("{head} {tail}")),
        ("empty", String::new()),
        ("a byte longer", STANDARD.encode([bytes, &[0]].concat())),
        (
            "a byte longer before",
            STANDARD.encode([&[0], bytes].concat()),
        ),
        (
            "a byte shorter",
            STANDARD.encode(bytes.split_last().map_or(bytes, |(_, head)| head)),
        ),
        (
            "a byte shorter before",
            STANDARD.encode(bytes.get(1..).unwrap_or_default()),
        ),
        ("of zeros", STANDARD.encode(vec![0; bytes.len()])),
        ("of ones", STANDARD.encode(vec![255; bytes.len()])),
        (
            "in reverse",
            STANDARD.encode(bytes.iter().rev().copied().collect::<Vec<_>>()),
        ),
    ];
    // The bits of the last character that no byte takes.
    if bare.len() < field.len()
        && let Some(last) = bare.chars().next_back()
    {
        const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let place = ALPHABET.find(last).unwrap_or(0);
        let stem = bare.strip_suffix(last).unwrap_or(bare);
        let padding = field.get(bare.len()..).unwrap_or_default();
        let stray = ALPHABET.get(place + 1..place + 2).unwrap_or("/");
        all.push(("with stray bits", format!("{stem}{stray}{padding}")));
    }
    all
}
