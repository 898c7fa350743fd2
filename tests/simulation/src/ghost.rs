//! What an observer who sees everything knows: the log, who is who, what was planted, what was
//! acknowledged and cosigned. The promises are checked against this, not against the product.

use passerelle_audit::merkle::leaf_hash;
use passerelle_model::{
    apply::apply,
    bytes::{Digest, Handle},
    entry::{Entry, EntryBody, Record},
    ids::{AgencyId, AgreementId, CaseId, ConsentId, RequestId},
    pdp::{Effect, ItemRuling},
    permit::Permit,
    statement::{
        AgreementTerms, Body, ConsentTerms, Item, Request, Statement, Withdrawal, WithdrawalScope,
    },
    store::{Memory, Overlay},
    vocabulary::{Category, Sector},
};
use std::collections::{BTreeMap, BTreeSet};

/// One entry of the log as it was made durable.
#[derive(Clone)]
pub struct Logged {
    /// The leaf.
    pub bytes: Vec<u8>,
    /// Its hash.
    pub leaf: Digest,
    /// Both halves.
    pub record: Record,
    /// Digest over both halves as stored.
    pub whole: Digest,
}

/// A request, followed through the log.
#[derive(Clone)]
pub struct Asked {
    /// Who asked.
    pub requester: AgencyId,
    /// What was signed.
    pub request: Request,
    /// About whom.
    pub subject: Option<Handle>,
    /// The latest decision: index and rulings.
    pub decided: Option<(u64, Vec<ItemRuling>)>,
    /// Where it was answered.
    pub answered: Option<u64>,
    /// Whether the requester said that it erased the answer.
    pub erased: bool,
    /// Consents for which it was recalled.
    pub recalled: BTreeSet<ConsentId>,
}

impl Asked {
    /// The categories whose answer rests on this consent.
    pub fn resting_on(&self, consent: &ConsentId) -> Vec<Category> {
        let (_, items) = self.decided.clone().unwrap_or_default();
        let rests = |i: &ItemRuling| {
            i.ruling.effect != Effect::Deny && i.ruling.consent.as_ref() == Some(consent)
        };
        items
            .iter()
            .filter(|i| rests(i))
            .map(|i| i.category)
            .collect()
    }
}

/// A consent, from its statement.
#[derive(Clone)]
pub struct Consented {
    /// The terms.
    pub terms: ConsentTerms,
    /// About whom.
    pub subject: Option<Handle>,
    /// What was withdrawn, with the index.
    pub withdrawn: Vec<(u64, WithdrawalScope)>,
}

impl Consented {
    /// Whether a withdrawal sequenced before `index` covers this.
    pub fn is_withdrawn(&self, recipient: &AgencyId, category: Category, index: u64) -> bool {
        self.withdrawn.iter().any(|(at, scope)| {
            *at < index
                && match scope {
                    WithdrawalScope::All => true,
                    WithdrawalScope::Recipient(agency) => agency == recipient,
                    WithdrawalScope::Category(one) => *one == category,
                }
        })
    }
}

/// An agreement, from its statements.
#[derive(Clone)]
pub struct Agreed {
    /// The terms.
    pub terms: AgreementTerms,
    /// Who signed.
    pub signed: BTreeSet<AgencyId>,
}

/// What a log says, by a reading that is much simpler than the product's.
#[derive(Clone, Default)]
pub struct Reading {
    /// Members, with whether they are in.
    pub members: BTreeMap<AgencyId, (Sector, bool)>,
    /// Requests.
    pub requests: BTreeMap<RequestId, Asked>,
    /// Consents.
    pub consents: BTreeMap<ConsentId, Consented>,
    /// Agreements.
    pub agreements: BTreeMap<AgreementId, Agreed>,
    /// Cases, with who was ever seated.
    pub cases: BTreeMap<CaseId, BTreeSet<AgencyId>>,
    /// How often each request's permit was asked for again.
    pub renewals: BTreeMap<RequestId, u32>,
    /// Permits by digest: request and index.
    pub permits: BTreeMap<Digest, (RequestId, u64)>,
}

impl Reading {
    /// Takes in one entry.
    pub fn read(&mut self, index: u64, record: &Record) {
        let Entry { body, .. } = &record.entry;
        match body {
            EntryBody::Enrolled { agency, keys, .. } => {
                self.members.insert(agency.clone(), (keys.sector, true));
            }
            EntryBody::Revoked { agency } => {
                if let Some(member) = self.members.get_mut(agency) {
                    member.1 = false;
                }
            }
            EntryBody::Said { agency, envelope } => {
                let statement = envelope
                    .unverified_statement()
                    .expect("a sequenced statement");
                self.said(index, agency, statement, record);
            }
            EntryBody::Decided { request, items, .. } => {
                if let Some(asked) = self.requests.get_mut(request) {
                    asked.decided = Some((index, items.clone()));
                }
            }
            EntryBody::Offered { permit } => {
                let digest = permit.digest().expect("a permit");
                self.permits.insert(digest, (permit.request.clone(), index));
            }
            EntryBody::Recalled { request, consent } => {
                if let Some(asked) = self.requests.get_mut(request) {
                    asked.recalled.insert(consent.clone());
                }
            }
            _ => {}
        }
    }

    fn said(&mut self, index: u64, agency: &AgencyId, statement: Statement, record: &Record) {
        let opened = record.sidecar.openings.first();
        let subject = opened.and_then(|o| Handle::from_slice(&o.data.0));
        match statement.body {
            Body::Request(request) => {
                let asked = Asked {
                    requester: agency.clone(),
                    subject,
                    decided: None,
                    answered: None,
                    erased: false,
                    recalled: BTreeSet::new(),
                    request: (*request).clone(),
                };
                self.requests.insert(request.request.clone(), asked);
            }
            Body::Answer(answer) => {
                if let Some(asked) = self.requests.get_mut(&answer.request) {
                    asked.answered = Some(index);
                }
            }
            Body::Receipt(receipt) => {
                use passerelle_model::statement::ReceiptKind;
                if let Some(asked) = self.requests.get_mut(&receipt.request) {
                    asked.erased |= receipt.kind == ReceiptKind::Erased;
                }
            }
            Body::Consent(terms) => {
                let id = terms.consent.clone();
                let consented = Consented {
                    terms: *terms,
                    subject,
                    withdrawn: Vec::new(),
                };
                self.consents.insert(id, consented);
            }
            Body::Withdrawal(Withdrawal { consent, scope }) => {
                if let Some(consented) = self.consents.get_mut(&consent) {
                    consented.withdrawn.push((index, scope));
                }
            }
            Body::Agreement(terms) => {
                let agreed = Agreed {
                    signed: [agency.clone()].into(),
                    terms: *terms,
                };
                self.agreements
                    .insert(agreed.terms.agreement.clone(), agreed);
            }
            Body::AgreementSignature(signature) => {
                if let Some(agreed) = self.agreements.get_mut(&signature.agreement) {
                    agreed.signed.insert(agency.clone());
                }
            }
            Body::CaseOpening(opening) => {
                let seated = opening.agencies.into_iter().chain([agency.clone()]);
                self.cases.insert(opening.case, seated.collect());
            }
            Body::Renewal(renewal) => {
                *self.renewals.entry(renewal.request).or_default() += 1;
            }
            // No operation changes an agreement: that is tested with the state machine.
            Body::CaseAdvance(_)
            | Body::AgreementChange(_)
            | Body::BundleEndorsement(_)
            | Body::OverrideReview(_)
            | Body::Resumption(_) => {}
        }
    }

    /// Whether `agency` is a member.
    pub fn is_member(&self, agency: &AgencyId) -> bool {
        self.members.get(agency).is_some_and(|(_, active)| *active)
    }

    /// The sector of `agency`.
    pub fn sector(&self, agency: &AgencyId) -> Option<Sector> {
        self.members.get(agency).map(|(sector, _)| *sector)
    }
}

/// A fact that was planted at an agency. Its contents are words that nobody else uses.
#[derive(Clone)]
pub struct Planted {
    /// Where.
    pub agency: usize,
    /// About whom.
    pub person: usize,
    /// What about.
    pub category: Category,
    /// Its words: contact, code, text.
    pub words: Vec<String>,
    /// From a programme whose name is protected.
    pub specially_protected: bool,
    /// A youth record.
    pub youth_record: bool,
    /// Somebody else could come to harm.
    pub third_party_at_risk: bool,
    /// Content never leaves.
    pub restricted: bool,
    /// 0 to 3.
    pub sensitivity: u8,
}

/// Finds private words. Made when it is first needed: many are planted at a time.
type Search = std::cell::OnceCell<aho_corasick::AhoCorasick>;

/// Everything that the observer knows.
#[derive(Clone, Default)]
pub struct Ghost {
    /// The broker's log as acknowledged.
    pub log: Vec<Logged>,
    /// What it says.
    pub reading: Reading,
    /// A second projection, made from the log alone.
    pub replica: Memory,
    /// Roots by size, of the present log.
    pub roots: BTreeMap<u64, Digest>,
    /// Leaves of the longest log that a quorum has cosigned.
    pub canon: Vec<Digest>,
    /// Leaves of what each witness cosigned last.
    pub witnessed: BTreeMap<usize, Vec<Digest>>,
    /// Who cosigned which size with which root.
    pub cosigned: BTreeMap<(u64, Digest), BTreeSet<AgencyId>>,
    /// Statements that the broker said it has, with the index.
    pub acknowledged: BTreeMap<Digest, u64>,
    /// Facts.
    pub facts: Vec<Planted>,
    /// Private words that the broker must never see.
    pub words: Vec<String>,
    search: Search,
    /// Secrets of requests: the reply key, by request.
    pub reply_keys: BTreeMap<RequestId, Vec<u8>>,
    /// The keys under which the secrets of requests are sealed.
    pub vault_keys: BTreeMap<RequestId, Vec<u8>>,
    /// Requests that somebody set out to erase.
    pub erasing: BTreeSet<RequestId>,
    /// Requests whose key was destroyed, with where.
    pub erased: Vec<(usize, RequestId)>,
    /// Permits that an agency may go by: proven to it with a quorum. They stay when an old copy of
    /// the log is put in place: the agency has their proofs.
    pub proven: BTreeMap<(usize, Digest), Permit>,
    /// Requests that a person at the holder approved.
    pub approved: BTreeSet<RequestId>,
    /// Items of the newest permit of a request.
    pub permitted: BTreeMap<RequestId, Vec<Item>>,
}

impl Ghost {
    /// Adds an entry.
    pub fn add(&mut self, bytes: Vec<u8>, whole: Digest, record: Record) {
        let logged = Logged {
            leaf: leaf_hash(&bytes),
            bytes,
            record,
            whole,
        };
        self.log.push(logged);
    }

    /// Forgets what came after the first `len` entries: an old copy was put in their place.
    pub fn roll_back(&mut self, len: usize) {
        self.log.truncate(len);
        self.acknowledged.retain(|_, index| *index < len as u64);
        self.roots.clear();
        self.reading = Reading::default();
        self.replica = Memory::default();
        for (index, logged) in (0..).zip(&self.log) {
            self.reading.read(index, &logged.record);
            let mut overlay = Overlay::new(&self.replica);
            apply(&mut overlay, index, &logged.record).expect("an entry");
            let writes = overlay.into_writes();
            self.replica.commit(writes);
        }
    }

    /// The same knowledge with the log of `other`: the one that is put back in its place.
    #[must_use]
    pub fn with_log_of(self, other: Self) -> Self {
        Self {
            log: other.log,
            reading: other.reading,
            replica: other.replica,
            canon: other.canon,
            acknowledged: other.acknowledged,
            roots: other.roots,
            ..self
        }
    }

    /// Plants words: from here on they are looked for.
    pub fn plant(&mut self, words: impl IntoIterator<Item = String>) {
        self.words.extend(words);
        self.search = Search::default();
    }

    /// Where the first private word stands.
    pub fn find(&self, bytes: &[u8]) -> Option<usize> {
        let words = self.words.iter().map(|w| w.as_bytes());
        let search = self.search.get_or_init(|| crate::promises::searcher(words));
        search.find(bytes).map(|found| found.start())
    }

    /// The root over the first `size` entries.
    pub fn root(&mut self, size: u64) -> Option<Digest> {
        if let Some(root) = self.roots.get(&size) {
            return Some(*root);
        }
        let root = crate::promises::naive_root(&self.leaves(size)?);
        self.roots.insert(size, root);
        Some(root)
    }

    /// The leaves of the log.
    pub fn leaves(&self, size: u64) -> Option<Vec<Digest>> {
        let size = usize::try_from(size).ok()?;
        let entries = self.log.get(..size)?;
        Some(entries.iter().map(|e| e.leaf).collect())
    }
}
