//! Reading the draft of an agreement: all that is wrong with it, by line.

use super::{
    Contact, Contacts, Document, Frequency, MAX_FILE_BYTES, Party, Signatory, Signer, Signers,
    Text, Texts, raw,
};
use crate::api::input::parse_time;
use passerelle_model::{
    bytes::PublicKey,
    ids::{AgencyId, AgreementId},
    statement::{AgreementLine, MAX_ALL_SIGNATORIES, MAX_SIGNATORIES, can_sign},
    time::Timestamp,
    vocabulary::{Category, Level, Purpose},
};
use passerelle_policies::Library;
use std::{collections::BTreeSet, fmt, str::FromStr};
use toml::Spanned;

/// Most characters of one text.
const MAX_TEXT_CHARS: usize = 4_000;

/// Most parties, and most lines: what fits the log.
const MAX_PARTIES: usize = 50;
const MAX_LINES: usize = 250;

/// What is wrong with a draft.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// In which line, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// Whether the file is a whole agreement, and not the terms alone.
pub fn is_whole(text: &str) -> bool {
    let table: Result<toml::Table, _> = toml::from_str(text);
    let parts = ["title", "frequency", "texts", "contacts"];
    table.is_ok_and(|table| parts.iter().any(|part| table.contains_key(*part)))
}

/// Reads a whole agreement. `library` says how far each purpose goes.
///
/// # Errors
/// Everything that is wrong with it, in the order of the lines.
pub fn read(text: &str, library: &Library) -> Result<Document, Vec<Problem>> {
    let mut reader = Reader {
        text,
        problems: Vec::new(),
        keys: BTreeSet::new(),
    };
    if text.len() > MAX_FILE_BYTES {
        reader.wrong(0, format!("the file is larger than {MAX_FILE_BYTES} bytes"));
        return Err(reader.problems);
    }
    let document = match toml::from_str::<raw::Draft>(text) {
        Ok(draft) => reader.draft(draft, library),
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            let reason = error.message().lines().collect::<Vec<_>>().join(", ");
            reader.wrong(offset, reason);
            None
        }
    };
    let mut problems = reader.problems;
    problems.sort();
    match document {
        Some(document) if problems.is_empty() => Ok(document),
        _ => Err(problems),
    }
}

struct Reader<'a> {
    text: &'a str,
    problems: Vec<Problem>,
    /// The keys of those who sign, each once.
    keys: BTreeSet<PublicKey>,
}

impl Reader<'_> {
    fn wrong(&mut self, offset: usize, reason: impl Into<String>) {
        let before = self.text.bytes().take(offset);
        self.problems.push(Problem {
            line: before.filter(|b| *b == b'\n').count().saturating_add(1),
            reason: reason.into(),
        });
    }

    /// What is there, or the problem that it is not, in the part that begins at `offset`.
    fn need<T>(&mut self, value: Option<T>, what: &str, offset: usize) -> Option<T> {
        if value.is_none() {
            self.wrong(offset, format!("{what} is missing"));
        }
        value
    }

    fn words(&mut self, value: Spanned<String>, what: &str) -> Option<String> {
        let offset = value.span().start;
        let text = value.into_inner();
        if text.trim().is_empty() {
            self.wrong(offset, format!("{what} is empty"));
            return None;
        }
        if text.chars().count() > MAX_TEXT_CHARS {
            self.wrong(
                offset,
                format!("{what} is longer than {MAX_TEXT_CHARS} characters"),
            );
            return None;
        }
        Some(text)
    }

    fn text(&mut self, value: Option<Spanned<raw::Text>>, what: &str, at: usize) -> Option<Text> {
        let value = self.need(value, what, at)?;
        let offset = value.span().start;
        let raw::Text { en, fr } = value.into_inner();
        let (english, french) = (format!("{what} in English"), format!("{what} in French"));
        let en = self.need(en, &english, offset);
        let fr = self.need(fr, &french, offset);
        let en = en.and_then(|text| self.words(text, &english));
        let fr = fr.and_then(|text| self.words(text, &french));
        Some(Text { en: en?, fr: fr? })
    }

    fn parsed<T>(&mut self, value: Option<Spanned<String>>, what: &str, at: usize) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let value = self.need(value, what, at)?;
        match value.get_ref().parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.wrong(value.span().start, format!("{what}: {error}"));
                None
            }
        }
    }

    fn time(&mut self, value: Option<Spanned<String>>, what: &str) -> Option<(Timestamp, usize)> {
        let value = self.need(value, what, 0)?;
        let offset = value.span().start;
        let time = parse_time(value.get_ref());
        if time.is_none() {
            let reason = format!("{what}: expected YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ");
            self.wrong(offset, reason);
        }
        Some((time?, offset))
    }

    fn draft(&mut self, draft: raw::Draft, library: &Library) -> Option<Document> {
        let title = self.text(draft.title, "`title`", 0);
        let supersedes = match draft.supersedes {
            None => Some(None),
            some => self
                .parsed::<AgreementId>(some, "`supersedes`", 0)
                .map(Some),
        };
        let frequency = self.frequency(draft.frequency);
        let times = self.times(draft.starts, draft.review, draft.ends);
        let purposes = self.purposes(draft.purposes);
        let parties = self.parties(draft.parties);
        let names: BTreeSet<_> = parties.iter().flatten().map(|p| p.agency.clone()).collect();
        let lines = self.lines(draft.lines, &names, purposes.as_deref(), library);
        let texts = self.need(draft.texts, "`[texts]`", 0);
        let texts = texts.and_then(|texts| self.texts(texts));
        let contacts = self.need(draft.contacts, "`[contacts]`", 0);
        let contacts = contacts.and_then(|contacts| self.contacts(contacts));
        let (starts_at, review_at, ends_at) = times?;
        Some(Document {
            title: title?,
            supersedes: supersedes?,
            frequency: frequency?,
            starts_at,
            review_at,
            ends_at,
            purposes: purposes?,
            parties: parties?,
            lines: lines?,
            texts: texts?,
            contacts: contacts?,
        })
    }

    fn frequency(&mut self, value: Option<Spanned<String>>) -> Option<Frequency> {
        let value = self.need(value, "`frequency`", 0)?;
        match value.get_ref().as_str() {
            "one_off" => Some(Frequency::OneOff),
            "ongoing" => Some(Frequency::Ongoing),
            _ => {
                let offset = value.span().start;
                self.wrong(offset, "`frequency`: expected one_off or ongoing");
                None
            }
        }
    }

    fn times(
        &mut self,
        starts: Option<Spanned<String>>,
        review: Option<Spanned<String>>,
        ends: Option<Spanned<String>>,
    ) -> Option<(Timestamp, Timestamp, Timestamp)> {
        let starts = self.time(starts, "`starts`");
        let review = self.time(review, "`review`");
        let ends = self.time(ends, "`ends`");
        let ((starts, _), (review, review_line), (ends, ends_line)) = (starts?, review?, ends?);
        if ends <= starts {
            self.wrong(ends_line, "`ends` is not after `starts`");
        } else if review <= starts || ends < review {
            let reason = "`review` is not after `starts` and no later than `ends`";
            self.wrong(review_line, reason);
        }
        Some((starts, review, ends))
    }

    fn purposes(&mut self, list: Option<Vec<Spanned<String>>>) -> Option<Vec<Purpose>> {
        let list = self.need(list, "`purposes`", 0)?;
        if list.is_empty() {
            self.wrong(0, "`purposes` is empty");
        }
        let mut purposes = Vec::new();
        for value in list {
            let offset = value.span().start;
            let Some(purpose) = self.parsed::<Purpose>(Some(value), "`purposes`", 0) else {
                continue;
            };
            if purpose.is_prohibited() {
                self.wrong(offset, format!("`{purpose}` is prohibited everywhere"));
            }
            purposes.push(purpose);
        }
        Some(purposes)
    }

    fn parties(&mut self, list: Vec<Spanned<raw::Party>>) -> Option<Vec<Party>> {
        if !(2..=MAX_PARTIES).contains(&list.len()) {
            self.wrong(0, format!("expected 2 to {MAX_PARTIES} `[[parties]]`"));
        }
        let mut parties: Vec<Party> = Vec::new();
        for value in list {
            let offset = value.span().start;
            let Some(party) = self.party(value.into_inner(), offset) else {
                continue;
            };
            if parties.iter().any(|p| p.agency == party.agency) {
                self.wrong(offset, format!("`{}` is a party twice", party.agency));
            }
            if party.basis.is_the_persons_own() {
                let reason = "`basis`: an agreement is nobody's consent or request; name a basis \
                              in law";
                self.wrong(offset, reason);
            }
            parties.push(party);
        }
        if self.keys.len() > MAX_ALL_SIGNATORIES {
            let reason = format!("`signatories`: at most {MAX_ALL_SIGNATORIES} of all parties");
            self.wrong(0, reason);
        }
        Some(parties)
    }

    fn party(&mut self, party: raw::Party, at: usize) -> Option<Party> {
        let agency = self.parsed::<AgencyId>(party.agency, "`agency` of a party", at);
        let of = |what: &str| match &agency {
            Some(agency) => format!("`{what}` of `{agency}`"),
            None => format!("`{what}` of a party"),
        };
        let name = self.text(party.name, &of("name"), at);
        let function = self.text(party.function, &of("function"), at);
        let basis = self.parsed(party.basis, &of("basis"), at);
        let signatory = self.need(party.signatory, &of("signatory"), at);
        let signatory = signatory.and_then(|value| {
            let at = value.span().start;
            let raw::Signatory { name, office } = value.into_inner();
            let what = of("signatory.name");
            let name = self.need(name, &what, at);
            let name = name.and_then(|name| self.words(name, &what));
            let office = self.text(office, &of("signatory.office"), at);
            Some(Signatory {
                name: name?,
                office: office?,
            })
        });
        let signers = self.signers(party.signatures_needed, party.signatories, &of, at);
        Some(Party {
            signers: signers?,
            name: name?,
            function: function?,
            basis: basis?,
            signatory: signatory?,
            agency: agency?,
        })
    }

    /// The people who sign with keys, if there are any; whether the keys are all different is for
    /// the whole draft.
    fn signers(
        &mut self,
        needed: Option<Spanned<u16>>,
        people: Vec<Spanned<raw::Signer>>,
        of: &dyn Fn(&str) -> String,
        at: usize,
    ) -> Option<Option<Signers>> {
        if needed.is_none() && people.is_empty() {
            return Some(None);
        }
        let needed = self.need(needed, &of("signatures_needed"), at)?;
        let count = people.len();
        if !(1..=count.min(MAX_SIGNATORIES)).contains(&usize::from(*needed.get_ref())) {
            let what = of("signatures_needed");
            let reason = format!("{what}: {count} people sign; 1 to {MAX_SIGNATORIES} can");
            self.wrong(needed.span().start, reason);
        } else if count > MAX_SIGNATORIES {
            let reason = format!("{}: at most {MAX_SIGNATORIES}", of("signatories"));
            self.wrong(at, reason);
        }
        let mut signers = Vec::new();
        for person in people {
            let at = person.span().start;
            let raw::Signer { office, key } = person.into_inner();
            let office = self.text(office, &of("signatories.office"), at);
            let what = of("signatories.key");
            let key = self.need(key, &what, at).and_then(|key| {
                let parsed = PublicKey::from_hex(key.get_ref()).ok();
                let parsed = parsed.filter(can_sign);
                if parsed.is_none() {
                    let reason = format!("{what}: not a key from `agreement keygen`");
                    self.wrong(key.span().start, reason);
                }
                parsed
            });
            let (Some(office), Some(key)) = (office, key) else {
                continue;
            };
            if !self.keys.insert(key) {
                self.wrong(at, format!("{what}: it signs already"));
            }
            signers.push(Signer { office, key });
        }
        Some(Some(Signers {
            needed: needed.into_inner(),
            people: signers,
        }))
    }

    fn lines(
        &mut self,
        list: Vec<Spanned<raw::Line>>,
        parties: &BTreeSet<AgencyId>,
        purposes: Option<&[Purpose]>,
        library: &Library,
    ) -> Option<Vec<AgreementLine>> {
        if !(1..=MAX_LINES).contains(&list.len()) {
            self.wrong(0, format!("expected 1 to {MAX_LINES} `[[lines]]`"));
        }
        let mut lines = Vec::new();
        for value in list {
            let at = value.span().start;
            let raw = value.into_inner();
            let level_at = raw.level.as_ref().map_or(at, |level| level.span().start);
            let from = self.parsed::<AgencyId>(raw.from, "`from`", at);
            let to = self.parsed::<AgencyId>(raw.to, "`to`", at);
            let category = self.parsed::<Category>(raw.category, "`category`", at);
            let level = self.parsed::<Level>(raw.level, "`level`", at);
            let days = self.need(raw.retention_days, "`retention_days`", at);
            let (Some(from), Some(to), Some(category), Some(level), Some(days)) =
                (from, to, category, level, days)
            else {
                continue;
            };
            for end in [&from, &to] {
                if !parties.contains(end) {
                    self.wrong(at, format!("`{end}` is no party"));
                }
            }
            if from == to {
                self.wrong(at, format!("`{from}` shares with itself"));
            }
            let most = purposes.iter().copied().flatten();
            let most = most.filter_map(|p| library.max_level(*p, category)).max();
            if let Some(most) = most.filter(|most| *most < level) {
                let reason = format!("`{category}`: no purpose listed needs more than `{most}`");
                self.wrong(level_at, reason);
            }
            lines.push(AgreementLine {
                from,
                to,
                category,
                level,
                retention_days: days.into_inner(),
            });
        }
        Some(lines)
    }

    fn texts(&mut self, texts: Spanned<raw::Texts>) -> Option<Texts> {
        let at = texts.span().start;
        let texts = texts.into_inner();
        let purpose = self.text(texts.purpose, "`texts.purpose`", at);
        let onward = self.text(texts.onward, "`texts.onward`", at);
        let security = self.text(texts.security, "`texts.security`", at);
        let retention = self.text(texts.retention, "`texts.retention`", at);
        let assessment = self.text(texts.assessment, "`texts.assessment`", at);
        let withdrawal = self.text(texts.withdrawal, "`texts.withdrawal`", at);
        Some(Texts {
            purpose: purpose?,
            onward: onward?,
            security: security?,
            retention: retention?,
            assessment: assessment?,
            withdrawal: withdrawal?,
        })
    }

    fn contacts(&mut self, contacts: Spanned<raw::Contacts>) -> Option<Contacts> {
        let at = contacts.span().start;
        let raw::Contacts { rights, breach } = contacts.into_inner();
        let rights = self.contact(rights, "`contacts.rights`", at);
        let breach = self.contact(breach, "`contacts.breach`", at);
        Some(Contacts {
            rights: rights?,
            breach: breach?,
        })
    }

    fn contact(
        &mut self,
        contact: Option<Spanned<raw::Contact>>,
        what: &str,
        at: usize,
    ) -> Option<Contact> {
        let contact = self.need(contact, what, at)?;
        let at = contact.span().start;
        let raw::Contact { office, reach } = contact.into_inner();
        let office = self.text(office, &format!("`office` of {what}"), at);
        let reach_of = format!("`reach` of {what}");
        let reach = self.need(reach, &reach_of, at);
        let reach = reach.and_then(|reach| self.words(reach, &reach_of));
        Some(Contact {
            office: office?,
            reach: reach?,
        })
    }
}
