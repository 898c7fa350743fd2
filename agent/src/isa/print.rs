//! The readable text of an agreement, in English or French, as text or HTML.
//!
//! In scope: the whole document or the bare terms, signatures with their places in the log, and
//! where it stands. Out of scope: reading drafts ([`super::read`]).

use super::{Document, Frequency, Party};
use passerelle_model::{
    html::escaped,
    ids::AgencyId,
    statement::AgreementTerms,
    time::Timestamp,
    vocabulary::{AgreementReason, Language, LegalBasis, labels},
};
use passerelle_policies::Library;
use passerelle_proto::views::{AgreementStep, AgreementView};
use std::fmt::Write as _;

/// What is printed.
pub struct Paper {
    /// The terms; of a draft those that would be proposed.
    pub terms: AgreementTerms,
    /// The whole text, if it is known here.
    pub document: Option<Document>,
    /// What came of it; none for a draft.
    pub known: Option<AgreementView>,
}

enum Block {
    Pair(String, String),
    Table(Vec<String>, Vec<Vec<String>>),
}

struct Section {
    heading: String,
    blocks: Vec<Block>,
}

struct Printer<'a> {
    paper: &'a Paper,
    library: &'a Library,
    language: Language,
}

/// The text, for a terminal or a letter.
pub fn text(paper: &Paper, library: &Library, language: Language) -> String {
    let printer = Printer {
        paper,
        library,
        language,
    };
    let title = printer.title();
    let rule = "=".repeat(title.chars().count());
    let mut out = format!("{title}\n{rule}\n");
    for section in printer.sections() {
        let _ = writeln!(out, "\n{}", section.heading);
        for block in section.blocks {
            match block {
                Block::Pair(label, value) => {
                    let _ = writeln!(out, "  {label}{}{value}", printer.colon());
                }
                Block::Table(_, rows) => {
                    for row in rows {
                        let _ = writeln!(out, "  - {}", row.join("; "));
                    }
                }
            }
        }
    }
    out
}

/// The page. It loads nothing and holds no script.
pub fn html(paper: &Paper, library: &Library, language: Language) -> String {
    let printer = Printer {
        paper,
        library,
        language,
    };
    let title = escaped(&printer.title());
    let code = printer.say("en", "fr");
    let mut out = format!(
        "<!doctype html>\n<html lang=\"{code}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>body{{font-family:sans-serif;max-width:50em;margin:2em auto;padding:0 1em}}\
         table{{border-collapse:collapse}}th,td{{border:1px solid;padding:.3em;text-align:left}}\
         </style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    for section in printer.sections() {
        let _ = writeln!(out, "<h2>{}</h2>", escaped(&section.heading));
        for block in section.blocks {
            match block {
                Block::Pair(label, value) => {
                    let (label, value) = (escaped(&label), escaped(&value));
                    let colon = printer.colon();
                    let _ = writeln!(out, "<p><strong>{label}</strong>{colon}{value}</p>");
                }
                Block::Table(heads, rows) => {
                    out.push_str("<table>\n");
                    cells(&mut out, "th", &heads);
                    rows.iter().for_each(|row| cells(&mut out, "td", row));
                    out.push_str("</table>\n");
                }
            }
        }
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn cells(out: &mut String, tag: &str, texts: &[String]) {
    out.push_str("<tr>");
    for text in texts {
        let _ = write!(out, "<{tag}>{}</{tag}>", escaped(text));
    }
    out.push_str("</tr>\n");
}

/// `2029-12-31 00:00 UTC`.
fn date(at: Timestamp) -> String {
    let text = at.to_rfc3339();
    let day = text.get(..10).unwrap_or_default();
    let minute = text.get(11..16).unwrap_or_default();
    format!("{day} {minute} UTC")
}

impl Printer<'_> {
    fn say<'t>(&self, english: &'t str, french: &'t str) -> &'t str {
        match self.language {
            Language::French => french,
            _ => english,
        }
    }

    fn colon(&self) -> &'static str {
        match self.language {
            Language::French => "\u{a0}: ",
            _ => ": ",
        }
    }

    fn pair(&self, english: &str, french: &str, value: impl Into<String>) -> Block {
        Block::Pair(self.say(english, french).to_owned(), value.into())
    }

    fn section(&self, english: &str, french: &str, blocks: Vec<Block>) -> Section {
        Section {
            heading: self.say(english, french).to_owned(),
            blocks,
        }
    }

    fn title(&self) -> String {
        match &self.paper.document {
            Some(document) => document.title.says(self.language).to_owned(),
            None => self
                .say(
                    "Information sharing agreement",
                    "Entente de communication de renseignements",
                )
                .to_owned(),
        }
    }

    fn sections(&self) -> Vec<Section> {
        let mut all = vec![
            self.standing(),
            self.parties(),
            self.purposes(),
            self.lines(),
        ];
        all.extend(self.words());
        all.extend(self.signatures());
        all
    }

    fn standing(&self) -> Section {
        let terms = &self.paper.terms;
        let known = self.paper.known.as_ref();
        let mut blocks = Vec::new();
        if known.is_some() {
            blocks.push(self.pair("Agreement", "Entente", terms.agreement.as_str()));
        }
        let state = self.state(known.map(|view| view.status.as_str()));
        blocks.push(self.pair("State", "État", state));
        // The number of a draft that follows another is given when it is proposed.
        if known.is_some() || terms.edition.supersedes.is_none() {
            let version = terms.edition.version.to_string();
            blocks.push(self.pair("Version", "Version", version));
        }
        if let Some(earlier) = &terms.edition.supersedes {
            blocks.push(self.pair("Follows", "Fait suite à", earlier.as_str()));
        }
        if let Some(next) = known.and_then(|view| view.successor.as_ref()) {
            blocks.push(self.pair("Followed by", "Suivie de", next));
        }
        for warning in known.iter().flat_map(|view| &view.warnings) {
            let told = self.say(&warning.en, &warning.fr).to_owned();
            blocks.push(self.pair("Warning", "Avertissement", told));
        }
        blocks.push(self.pair(
            "In force from",
            "En vigueur à compter du",
            date(terms.starts_at),
        ));
        blocks.push(self.pair("Due for review", "À réexaminer le", date(terms.review_at)));
        blocks.push(self.pair("Ends", "Prend fin le", date(terms.ends_at)));
        if let Some(document) = &self.paper.document {
            let frequency = match document.frequency {
                Frequency::OneOff => self.say("once", "une seule fois"),
                Frequency::Ongoing => {
                    self.say("as needed until the end", "au besoin jusqu’à la fin")
                }
            };
            blocks.push(self.pair("Sharing", "Communication", frequency));
        }
        if let Some(digest) = terms.edition.document {
            let what = "Digest of this text (SHA-256)";
            blocks.push(self.pair(what, "Empreinte de ce texte (SHA-256)", digest.to_string()));
        }
        if self.paper.document.is_none() && terms.edition.document.is_some() {
            let (en, fr) = (
                "the text is not kept on this node; these are the terms that decide",
                "le texte n’est pas conservé sur ce nœud; voici les conditions qui décident",
            );
            blocks.push(self.pair("Text", "Texte", self.say(en, fr)));
        }
        self.section("Where it stands", "Où elle en est", blocks)
    }

    fn state(&self, status: Option<&str>) -> &'static str {
        let french = self.language == Language::French;
        let (en, fr) = match status {
            None => ("draft, not proposed", "projet, non proposé"),
            Some("proposed") => (
                "proposed, not signed by all",
                "proposée, non signée par toutes",
            ),
            Some("not_begun") => (
                "signed by all, not begun",
                "signée par toutes, non commencée",
            ),
            Some("in_force") => ("in force", "en vigueur"),
            Some("suspended") => ("suspended", "suspendue"),
            Some("superseded") => (
                "superseded by a later version",
                "remplacée par une version ultérieure",
            ),
            Some("terminated") => ("terminated", "résiliée"),
            Some(_) => ("ended", "échue"),
        };
        if french { fr } else { en }
    }

    fn parties(&self) -> Section {
        let mut blocks = Vec::new();
        for party in &self.paper.terms.parties {
            let mut whole = self.paper.document.iter().flat_map(|d| &d.parties);
            let whole = whole.rfind(|p| p.agency == party.agency);
            let named = match whole {
                None => party.agency.to_string(),
                Some(p) => format!("{} ({})", p.name.says(self.language), p.agency),
            };
            blocks.push(self.pair("Party", "Partie", named));
            if let Some(party) = whole {
                let function = party.function.says(self.language);
                blocks.push(self.pair("Function", "Fonction", function));
                let office = party.signatory.office.says(self.language);
                let signs = format!("{}, {office}", party.signatory.name);
                blocks.push(self.pair("Signs", "Signataire", signs));
            }
            blocks.extend(self.signers(&party.agency, whole));
            blocks.push(self.pair(
                "Legal basis",
                "Fondement juridique",
                self.basis(party.basis),
            ));
        }
        self.section("Parties", "Parties", blocks)
    }

    /// Who signs for a party with a key, and how many of them must.
    fn signers(&self, agency: &AgencyId, whole: Option<&Party>) -> Option<Block> {
        let of = self.paper.terms.signatories_of(agency)?;
        let people = whole.and_then(|party| party.signers.as_ref());
        let who = of.keys.iter().enumerate().map(|(n, key)| {
            let person = people.and_then(|signers| signers.people.get(n));
            let office = person.map(|person| person.office.says(self.language));
            match office {
                Some(office) => format!("{office} ({key})"),
                None => key.to_hex(),
            }
        });
        let who = who.collect::<Vec<_>>().join(", ");
        let (needed, count) = (of.needed, of.keys.len());
        let (en, fr) = (
            format!("{needed} of {count}: {who}"),
            format!("{needed} sur {count}\u{a0}: {who}"),
        );
        Some(self.pair("Must sign", "Doivent signer", self.say(&en, &fr)))
    }

    /// The code with the name of the law, as the legal packs give it.
    fn basis(&self, basis: LegalBasis) -> String {
        let mut packs = self.library.packs().values();
        match packs.find_map(|pack| pack.bases.get(&basis)) {
            None => basis.code().to_owned(),
            Some(law) => format!("{} ({})", self.say(&law.en, &law.fr), basis.code()),
        }
    }

    fn purposes(&self) -> Section {
        let mut blocks = Vec::new();
        if let Some(document) = &self.paper.document {
            let purpose = document.texts.purpose.says(self.language);
            blocks.push(self.pair("Purpose", "Objet", purpose));
        }
        let purposes = &self.paper.terms.purposes;
        let rows = purposes
            .iter()
            .map(|p| vec![labels::purpose(*p, self.language).to_owned()]);
        let heads = vec![self.say("Purpose", "Finalité").to_owned()];
        blocks.push(Block::Table(heads, rows.collect()));
        self.section("What for", "À quelles fins", blocks)
    }

    fn lines(&self) -> Section {
        let language = self.language;
        let rows = self.paper.terms.lines.iter().map(|line| {
            let days = line.retention_days;
            vec![
                format!("{} → {}", line.from, line.to),
                labels::category(line.category, language).to_owned(),
                match language {
                    Language::French => format!("au plus {}", labels::level(line.level, language)),
                    _ => format!("at most {}", labels::level(line.level, language)),
                },
                match (language, days) {
                    (Language::French, 0 | 1) => format!("conservation\u{a0}: {days} jour"),
                    (Language::French, _) => format!("conservation\u{a0}: {days} jours"),
                    (_, 1) => "kept for 1 day".to_owned(),
                    _ => format!("kept for {days} days"),
                },
            ]
        });
        let heads = [
            ("From and to", "De qui à qui"),
            ("What", "Quoi"),
            ("Level", "Niveau"),
            ("Retention", "Conservation"),
        ];
        let heads = heads.map(|(en, fr)| self.say(en, fr).to_owned());
        let table = Block::Table(heads.to_vec(), rows.collect());
        self.section(
            "Who may tell whom what",
            "Qui peut communiquer quoi à qui",
            vec![table],
        )
    }

    fn words(&self) -> Vec<Section> {
        let Some(document) = &self.paper.document else {
            return Vec::new();
        };
        let (texts, contacts) = (&document.texts, &document.contacts);
        let told = |en, fr, text: &super::Text| self.pair(en, fr, text.says(self.language));
        let contact = |en, fr, contact: &super::Contact| {
            let office = contact.office.says(self.language);
            self.pair(en, fr, format!("{office}, {}", contact.reach))
        };
        let rules = vec![
            told("Passing on", "Communication à d’autres", &texts.onward),
            told("Security", "Sécurité", &texts.security),
            told("Destruction", "Destruction", &texts.retention),
            told(
                "Assessment of the impact on privacy",
                "Évaluation des facteurs relatifs à la vie privée",
                &texts.assessment,
            ),
            told("Leaving", "Retrait d’une partie", &texts.withdrawal),
        ];
        let doors = vec![
            contact(
                "Rights of the person",
                "Droits de la personne",
                &contacts.rights,
            ),
            contact("Breaches", "Incidents", &contacts.breach),
        ];
        vec![
            self.section("Rules", "Règles", rules),
            self.section("Contacts", "Personnes-ressources", doors),
        ]
    }

    fn signatures(&self) -> Option<Section> {
        let known = self.paper.known.as_ref()?;
        let rows = known.history.iter().map(|step| self.step(step)).collect();
        let heads = [
            ("Who", "Qui"),
            ("What", "Quoi"),
            ("When", "Quand"),
            ("Entry of the log", "Inscription au registre"),
        ];
        let heads = heads.map(|(en, fr)| self.say(en, fr).to_owned());
        let table = Block::Table(heads.to_vec(), rows);
        Some(self.section(
            "Signatures and changes",
            "Signatures et changements",
            vec![table],
        ))
    }

    /// Whether people sign for this party.
    fn has_signers(&self, agency: &str) -> bool {
        let mut signatories = self.paper.terms.signatories.iter();
        signatories.any(|s| s.agency.as_str() == agency)
    }

    fn step(&self, step: &AgreementStep) -> Vec<String> {
        let (en, fr) = match step.what.as_str() {
            "proposed" if self.has_signers(&step.agency) => ("proposed", "a proposé"),
            "proposed" => ("proposed and signed", "a proposé et signé"),
            "signed" => ("signed", "a signé"),
            "suspended" => ("suspended", "a suspendu"),
            "lifted" => ("lifted its suspension", "a levé sa suspension"),
            _ => ("terminated", "a résilié"),
        };
        let reason = step
            .reason
            .as_ref()
            .and_then(|r| r.parse::<AgreementReason>().ok());
        let reason = reason.map(|r| labels::agreement_reason(r, self.language));
        let what = match reason {
            None => self.say(en, fr).to_owned(),
            Some(why) => format!("{} ({why})", self.say(en, fr)),
        };
        let entry = match self.language {
            Language::French => format!("inscription {}", step.index),
            _ => format!("entry {}", step.index),
        };
        vec![step.agency.clone(), what, date(step.at), entry]
    }
}
