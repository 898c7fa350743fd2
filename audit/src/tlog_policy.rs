//! C2SP tlog-policy: a file that says which logs are known, and whose cosignatures make a
//! checkpoint good enough.
//!
//! In scope: strict parse with line numbers, write, and whether a checkpoint meets it. Out of
//! scope: files, URLs (kept and never followed), the quorum among the members of a federation (see
//! [`crate::witness::quorum`]), which this can only add to.
//!
//! Names are octets, as the specification wants it: no spelling of a letter equals another.

use crate::checkpoint::{SignedCheckpoint, open_note};
use crate::cosignature::{CosignatureError, Cosigned, cosigned_by};
use crate::note::{Note, NoteError, SignatureType, VerifierKey};
use crate::text;
use std::{collections::BTreeMap, fmt};

#[cfg(test)]
mod tests;

/// Largest file in bytes.
pub const MAX_POLICY_BYTES: usize = 256 * 1024;
/// Most logs, most witnesses and most groups, of each. The specification asks for 32.
pub const MAX_PARTIES: usize = 64;

/// The name that stands for "no cosignature is needed".
const NONE: &[u8] = b"none";

/// Why a text is not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PolicyError {
    /// The line, from 1; one more than there are for what is missing altogether.
    pub line: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// More than [`MAX_POLICY_BYTES`].
    #[error("the policy is too long")]
    TooLong,
    /// More than [`MAX_PARTIES`] of one kind.
    #[error("there are too many of this kind")]
    TooMany,
    /// The last line may be cut.
    #[error("the line does not end in a newline; is the end of the file missing?")]
    Unended,
    /// Only tab, newline, and octets from space on, without DEL.
    #[error("the octet `{0:02x}` is not allowed")]
    Octet(u8),
    /// It begins with none of the four words.
    #[error("`{0}` begins no line of a policy: `log`, `witness`, `group` or `quorum` does")]
    Unknown(String),
    /// Too few or too many items.
    #[error("expected `{0}`")]
    Form(&'static str),
    /// The key can't be read.
    #[error("the key is not usable: {0}")]
    Key(NoteError),
    /// A log's key for a witness, or the other way round.
    #[error("the key is of the wrong kind: logs and witnesses have different ones")]
    KeyKind,
    /// The same public key, whatever its name.
    #[error("the key is there already, in line {0}")]
    DuplicateKey(usize),
    /// `none` can't be defined.
    #[error("`none` can't be a name")]
    Reserved,
    /// Witnesses and groups share their names.
    #[error("the name `{0}` is defined already, in line {1}")]
    DuplicateName(String, usize),
    /// A name counts only below the line that defines it, so that groups can't be circular.
    #[error("the name `{0}` is not defined above")]
    Undefined(String),
    /// A witness would count twice.
    #[error("`{0}` is a member already, in line {1}; each name can be in one group, once")]
    MemberTwice(String, usize),
    /// Not `any`, not `all`, not a number from 1 to the number of members.
    #[error("`{found}` is neither `any`, nor `all`, nor a number from 1 to {most}")]
    Threshold {
        /// What stands there.
        found: String,
        /// How many members there are.
        most: usize,
    },
    /// There must be one.
    #[error("the quorum is defined already, in line {0}")]
    SecondQuorum(usize),
    /// There must be one.
    #[error("there is no quorum line")]
    NoQuorum,
}

/// A log or a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    name: Vec<u8>,
    key: VerifierKey,
    url: Option<Vec<u8>>,
}

impl Party {
    /// The name within the policy; of a log, that of its key.
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }

    /// The key.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }
}

/// Position of a witness or of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: Vec<u8>,
    needed: usize,
    /// Each defined above: a group's position is after those of its members.
    members: Vec<Member>,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogPolicy {
    logs: Vec<Party>,
    witnesses: Vec<Party>,
    groups: Vec<Group>,
    /// Absent: no cosignature is needed.
    quorum: Option<Member>,
}

/// What a checkpoint comes to under a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Whether the quorum has cosigned.
    pub met: bool,
    /// The witnesses of the policy that have cosigned, in its order.
    pub cosigned: Vec<Cosigned>,
}

impl TlogPolicy {
    /// Parses a file.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(file: &[u8]) -> Result<Self, PolicyError> {
        Reader::default().read(file)
    }

    /// The logs. None: the log is known from elsewhere.
    pub fn logs(&self) -> &[Party] {
        &self.logs
    }

    /// The witnesses.
    pub fn witnesses(&self) -> &[Party] {
        &self.witnesses
    }

    /// The name of the quorum, `none` if no cosignature is needed.
    pub fn quorum(&self) -> String {
        String::from_utf8_lossy(self.name_of(self.quorum)).into_owned()
    }

    /// Who has cosigned a checkpoint whose log is known, and whether that is enough.
    ///
    /// # Errors
    /// A line in the name of one of the witnesses does not verify.
    pub fn judge(&self, signed: &SignedCheckpoint) -> Result<Judgement, CosignatureError> {
        let keys: Vec<_> = self.witnesses.iter().map(|w| w.key.clone()).collect();
        let cosigned = cosigned_by(signed, &keys)?;
        let has = |party: &Party| cosigned.iter().any(|c| *c.witness() == party.key);
        let witnesses: Vec<bool> = self.witnesses.iter().map(has).collect();
        Ok(Judgement {
            met: self.is_quorum(&witnesses),
            cosigned,
        })
    }

    /// Whether this note is a checkpoint signed by one of the logs, and cosigned as the quorum
    /// wants it. A policy without logs is met by none: use [`TlogPolicy::judge`].
    pub fn is_met(&self, note: &Note) -> bool {
        let opened = |log: &Party| open_note(note.clone(), &log.key).ok();
        let judged = self.logs.iter().find_map(opened).map(|s| self.judge(&s));
        judged.is_some_and(|judged| judged.is_ok_and(|j| j.met))
    }

    /// Whether these witnesses, by position, are a quorum.
    fn is_quorum(&self, witnesses: &[bool]) -> bool {
        let Some(quorum) = self.quorum else {
            return true;
        };
        let mut groups: Vec<bool> = Vec::with_capacity(self.groups.len());
        for group in &self.groups {
            let has = |member: &&Member| has(**member, witnesses, &groups);
            let found = group.members.iter().filter(has).count();
            groups.push(found >= group.needed);
        }
        has(quorum, witnesses, &groups)
    }

    fn name_of(&self, member: Option<Member>) -> &[u8] {
        let name = match member {
            None => None,
            Some(Member::Witness(at)) => self.witnesses.get(at).map(|w| &w.name),
            Some(Member::Group(at)) => self.groups.get(at).map(|g| &g.name),
        };
        name.map_or(NONE, Vec::as_slice)
    }

    /// The policy in a spelling of its own: no comments, thresholds as numbers, the quorum last.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut line = |items: &[&[u8]]| {
            out.extend(items.join(&b' '));
            out.push(b'\n');
        };
        for log in &self.logs {
            let key = log.key.to_string();
            let head: [&[u8]; 2] = [b"log", key.as_bytes()];
            line(&[&head[..], log.url.as_deref().as_slice()].concat());
        }
        for witness in &self.witnesses {
            let key = witness.key.to_string();
            let head: [&[u8]; 3] = [b"witness", &witness.name, key.as_bytes()];
            line(&[&head[..], witness.url.as_deref().as_slice()].concat());
        }
        for group in &self.groups {
            let needed = group.needed.to_string();
            let head: [&[u8]; 3] = [b"group", &group.name, needed.as_bytes()];
            let members = group.members.iter().map(|m| self.name_of(Some(*m)));
            line(&head.into_iter().chain(members).collect::<Vec<_>>());
        }
        line(&[b"quorum", self.name_of(self.quorum)]);
        out
    }
}

/// A member that is not there has not cosigned.
fn has(member: Member, witnesses: &[bool], groups: &[bool]) -> bool {
    match member {
        Member::Witness(at) => witnesses.get(at).is_some_and(|w| *w),
        Member::Group(at) => groups.get(at).is_some_and(|g| *g),
    }
}

/// The same, for people.
impl fmt::Display for TlogPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

/// A policy in the making. Line numbers are those of definitions.
#[derive(Default)]
struct Reader<'a> {
    logs: Vec<Party>,
    witnesses: Vec<Party>,
    groups: Vec<Group>,
    quorum: Option<(usize, Option<Member>)>,
    names: BTreeMap<&'a [u8], (usize, Member)>,
    log_keys: BTreeMap<[u8; 32], usize>,
    witness_keys: BTreeMap<[u8; 32], usize>,
    members: BTreeMap<&'a [u8], usize>,
}

impl<'a> Reader<'a> {
    fn read(mut self, file: &'a [u8]) -> Result<TlogPolicy, PolicyError> {
        let at = |line, problem| PolicyError { line, problem };
        if file.len() > MAX_POLICY_BYTES {
            return Err(at(1, Problem::TooLong));
        }
        let mut lines = 0;
        for line in file.split_inclusive(|b| *b == b'\n') {
            lines += 1;
            self.line(lines, line)
                .map_err(|problem| at(lines, problem))?;
        }
        let missing = || at(lines + 1, Problem::NoQuorum);
        Ok(TlogPolicy {
            quorum: self.quorum.ok_or_else(missing)?.1,
            logs: self.logs,
            witnesses: self.witnesses,
            groups: self.groups,
        })
    }

    fn line(&mut self, number: usize, line: &'a [u8]) -> Result<(), Problem> {
        let line = line.strip_suffix(b"\n").ok_or(Problem::Unended)?;
        let allowed = |b: &u8| *b == b'\t' || (*b >= b' ' && *b != 0x7f);
        if let Some(octet) = line.iter().find(|b| !allowed(b)) {
            return Err(Problem::Octet(*octet));
        }
        let items = line.split(|b| *b == b' ' || *b == b'\t');
        let items: Vec<&[u8]> = items.filter(|item| !item.is_empty()).collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", rest @ ..] => self.log(number, rest),
            [b"witness", rest @ ..] => self.witness(number, rest),
            [b"group", rest @ ..] => self.group(number, rest),
            [b"quorum", rest @ ..] => self.quorum(number, rest),
            [first, ..] => Err(Problem::Unknown(lossy(first))),
        }
    }

    fn log(&mut self, number: usize, items: &[&'a [u8]]) -> Result<(), Problem> {
        let (key, url) = match items {
            [key] => (key, None),
            [key, url] => (key, Some(url.to_vec())),
            _ => return Err(Problem::Form("log KEY [URL]")),
        };
        let key = parse_key(key, SignatureType::Ed25519)?;
        once(&mut self.log_keys, &key, number)?;
        let name = key.name().as_bytes().to_vec();
        push(&mut self.logs, Party { name, key, url })
    }

    fn witness(&mut self, number: usize, items: &[&'a [u8]]) -> Result<(), Problem> {
        let (name, key, url) = match items {
            [name, key] => (name, key, None),
            [name, key, url] => (name, key, Some(url.to_vec())),
            _ => return Err(Problem::Form("witness NAME KEY [URL]")),
        };
        let key = parse_key(key, SignatureType::CosignatureV1)?;
        once(&mut self.witness_keys, &key, number)?;
        self.define(number, name, Member::Witness(self.witnesses.len()))?;
        let name = name.to_vec();
        push(&mut self.witnesses, Party { name, key, url })
    }

    fn group(&mut self, number: usize, items: &[&'a [u8]]) -> Result<(), Problem> {
        let [name, needed, names @ ..] = items else {
            return Err(Problem::Form("group NAME any|all|NUMBER MEMBER..."));
        };
        if names.is_empty() {
            return Err(Problem::Form("group NAME any|all|NUMBER MEMBER..."));
        }
        let needed = threshold(needed, names.len())?;
        let mut members = Vec::with_capacity(names.len());
        for member in names {
            // Before the group itself is defined: it can't be its own member.
            members.push(self.defined(member)?);
            if let Some(earlier) = self.members.insert(member, number) {
                return Err(Problem::MemberTwice(lossy(member), earlier));
            }
        }
        self.define(number, name, Member::Group(self.groups.len()))?;
        let group = Group {
            name: name.to_vec(),
            needed,
            members,
        };
        push(&mut self.groups, group)
    }

    fn quorum(&mut self, number: usize, items: &[&'a [u8]]) -> Result<(), Problem> {
        let [name] = items else {
            return Err(Problem::Form("quorum NAME"));
        };
        if let Some((earlier, _)) = self.quorum {
            return Err(Problem::SecondQuorum(earlier));
        }
        let quorum = match *name {
            NONE => None,
            name => Some(self.defined(name)?),
        };
        self.quorum = Some((number, quorum));
        Ok(())
    }

    fn define(&mut self, number: usize, name: &'a [u8], to: Member) -> Result<(), Problem> {
        if name == NONE {
            return Err(Problem::Reserved);
        }
        if let Some((earlier, _)) = self.names.get(name) {
            return Err(Problem::DuplicateName(lossy(name), *earlier));
        }
        self.names.insert(name, (number, to));
        Ok(())
    }

    fn defined(&self, name: &[u8]) -> Result<Member, Problem> {
        let found = self.names.get(name);
        found.map_or_else(|| Err(Problem::Undefined(lossy(name))), |(_, m)| Ok(*m))
    }
}

fn lossy(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

fn parse_key(octets: &[u8], kind: SignatureType) -> Result<VerifierKey, Problem> {
    let text = str::from_utf8(octets).map_err(|_| Problem::Key(NoteError::MalformedKey))?;
    let key: VerifierKey = text.parse().map_err(Problem::Key)?;
    (key.kind() == kind).then_some(key).ok_or(Problem::KeyKind)
}

/// Keys are the same if the public key is, whatever their names.
fn once(
    keys: &mut BTreeMap<[u8; 32], usize>,
    key: &VerifierKey,
    number: usize,
) -> Result<(), Problem> {
    match keys.insert(key.public_key().0, number) {
        None => Ok(()),
        Some(earlier) => Err(Problem::DuplicateKey(earlier)),
    }
}

fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Problem> {
    if list.len() >= MAX_PARTIES {
        return Err(Problem::TooMany);
    }
    list.push(item);
    Ok(())
}

fn threshold(item: &[u8], most: usize) -> Result<usize, Problem> {
    let number = || {
        let number = text::decimal(str::from_utf8(item).ok()?)?;
        usize::try_from(number).ok()
    };
    let needed = match item {
        b"any" => Some(1),
        b"all" => Some(most),
        _ => number(),
    };
    needed
        .filter(|needed| (1..=most).contains(needed))
        .ok_or_else(|| Problem::Threshold {
            found: lossy(item),
            most,
        })
}
