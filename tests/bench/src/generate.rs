//! Large logs, made without a network by the production code: signed statements, `decide`, and
//! the broker's own ledger, batch by batch.
//!
//! The agencies that speak here have no agents. They are shut out again at the end, or do not
//! witness: whoever serves the log later must be able to reach a quorum.

use anyhow::{Context as _, Result, bail, ensure};
use passerelle_agent::{
    clock::{Clock as _, SystemClock},
    seal::{self, ReplyKey, SealingKeys},
};
use passerelle_audit::{dsse, keys::SigningKey};
use passerelle_broker::ledger::Ledger;
use passerelle_model::{
    bytes::{Bytes, Digest, Handle, Nonce},
    canonical,
    commitment::{Field, Opening},
    decide::{Command, Reply},
    ids::{AgencyId, AgreementId, ConsentId, FederationId, RequestId},
    pdp::Matter,
    pip::{self, Collected},
    state,
    statement::{
        AgencyKeys, AgreementLine, AgreementParty, AgreementSignature, AgreementTerms, Body,
        ConsentTerms, Edition, Envelope, Item, PAYLOAD_CONTEXT, PAYLOAD_TYPE, Request, Statement,
        VERSION, Verified,
    },
    vocabulary::{
        Capacity, Category, ConsentGiver, ConsentMethod, Language, LegalBasis, Level, Purpose,
        Sector, WorkerRole,
    },
};
use passerelle_policies::CedarPdp;
use std::{collections::BTreeMap, path::Path};

/// Commands in one batch: what the sequencer takes at most.
const BATCH: usize = 256;

/// An agency without an agent.
pub(crate) struct Member {
    agency: AgencyId,
    key: SigningKey,
    sealing: SealingKeys,
}

/// The ledger of a broker that does not run, and those who speak in it.
pub(crate) struct Maker {
    ledger: Ledger,
    pdp: CedarPdp,
    federation: FederationId,
    jobs: Vec<Command>,
    drawn: u64,
}

fn seed(kind: &str, number: u64) -> [u8; 32] {
    Digest::of(format!("{kind} {number}").as_bytes()).0
}

fn opening(field: Field, data: &[u8], random: [u8; 32]) -> Opening {
    Opening {
        field,
        random: Nonce(random),
        data: Bytes(data.to_vec()),
    }
}

impl Maker {
    /// Opens the ledger in the broker's directory `dir`.
    pub(crate) fn open(dir: &Path, federation: &FederationId) -> Result<Self> {
        let mut made = Self {
            ledger: Ledger::open(dir)?,
            pdp: CedarPdp::load_embedded()?,
            federation: federation.clone(),
            jobs: Vec::new(),
            drawn: 0,
        };
        made.push(Command::ActivateBundle)?;
        made.flush()?;
        Ok(made)
    }

    /// Entries so far.
    pub(crate) fn entries(&self) -> u64 {
        self.ledger.next_index()
    }

    fn random(&mut self) -> [u8; 32] {
        self.drawn += 1;
        seed("random", self.drawn ^ self.ledger.next_index() << 32)
    }

    fn id(&mut self) -> Result<[u8; 16]> {
        let random = self.random();
        let (id, _) = random.split_first_chunk().context("16 of 32")?;
        Ok(*id)
    }

    fn push(&mut self, command: Command) -> Result<()> {
        self.jobs.push(command);
        if self.jobs.len() < BATCH {
            return Ok(());
        }
        self.flush()
    }

    /// Makes what waits durable. A refusal is an error: it would be a log of refusals.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let jobs = std::mem::take(&mut self.jobs);
        let mut batch = self.ledger.batch(&self.pdp);
        for (number, command) in jobs.iter().enumerate() {
            let random = seed("entry", number as u64 ^ self.ledger.next_index() << 16);
            let (reply, _) = batch.run(command, SystemClock.now(), random)?;
            if let Reply::Refused { code, .. } = reply {
                bail!("a generated command was refused: {code}");
            }
        }
        let finished = batch.finish();
        if !finished.records.is_empty() {
            self.ledger.commit(finished)?;
        }
        Ok(())
    }

    /// An agency joins.
    pub(crate) fn member(&mut self, name: &str, sector: Sector) -> Result<Member> {
        let agency: AgencyId = name.parse()?;
        let token = Digest(self.random());
        let key = SigningKey::from_seed(&self.random());
        let sealing = SealingKeys::generate()?;
        let witness = SigningKey::from_seed(&self.random()).public_key();
        self.push(Command::Invite {
            agency: agency.clone(),
            sector,
            token,
            expires_at: SystemClock.now().plus_s(3_600),
        })?;
        self.push(Command::Enrol {
            agency: agency.clone(),
            token,
            keys: AgencyKeys {
                sector,
                signing: key.public_key(),
                sealing: sealing.public(),
                witness,
            },
            certificate: format!("{:032x}", self.drawn),
        })?;
        Ok(Member {
            agency,
            key,
            sealing,
        })
    }

    /// An agency is shut out.
    pub(crate) fn revoke(&mut self, member: &Member) -> Result<()> {
        let agency = member.agency.clone();
        self.push(Command::Revoke { agency })
    }

    fn say(
        &mut self,
        member: &Member,
        body: Body,
        openings: Vec<Opening>,
        payloads: BTreeMap<String, Bytes>,
    ) -> Result<()> {
        let statement = Statement {
            version: VERSION,
            federation: self.federation.clone(),
            agency: member.agency.clone(),
            at: SystemClock.now(),
            body,
        };
        let payload = canonical::to_vec(&statement)?;
        let envelope = Envelope {
            signature: dsse::sign(&member.key, PAYLOAD_TYPE, &payload),
            payload: Bytes(payload),
        };
        // Signed on the line above; the broker's check of it is measured elsewhere.
        let said: Result<Verified, _> = envelope.verify(
            &self.federation,
            &member.agency,
            |_, _| true,
            openings,
            payloads,
        );
        let said = said.map_err(|code| anyhow::anyhow!("not a statement: {code}"))?;
        let said = said.with_key(member.key.public_key());
        self.push(Command::Say(Box::new(said)))
    }

    /// A consent of a person of her own that `to` may hear `from`.
    pub(crate) fn consent(&mut self, from: &Member, to: &Member) -> Result<Handle> {
        let subject = Handle(self.random());
        let opening = opening(Field::Subject, &subject.0, self.random());
        let given_at = SystemClock.now().minus_s(1);
        let body = Body::Consent(Box::new(ConsentTerms {
            consent: ConsentId::from_random(self.id()?),
            subject: opening.commitment(),
            giver: ConsentGiver::Subject,
            capacity: Capacity::Capable,
            categories: vec![Category::InService],
            purposes: vec![Purpose::Deliver],
            recipients: vec![to.agency.clone()],
            disclosers: vec![from.agency.clone()],
            method: ConsentMethod::Written,
            language: Language::French,
            interpreter: false,
            notice_version: 1,
            given_at,
            expires_at: given_at.plus_s(365 * 86_400),
            redisclosure: false,
            evidence: None,
        }));
        self.say(from, body, vec![opening], BTreeMap::new())?;
        Ok(subject)
    }

    /// An agreement by which `from` tells `to`, signed by both.
    pub(crate) fn agreement(&mut self, from: &Member, to: &Member) -> Result<()> {
        let starts_at = SystemClock.now().minus_s(60);
        let parties = [from, to].map(|m| AgreementParty {
            agency: m.agency.clone(),
            basis: LegalBasis::Gdpr6,
        });
        let terms = AgreementTerms {
            signatories: Vec::new(),
            agreement: AgreementId::from_random(self.id()?),
            edition: Edition::default(),
            parties: parties.to_vec(),
            purposes: vec![Purpose::Deliver],
            lines: vec![AgreementLine {
                from: from.agency.clone(),
                to: to.agency.clone(),
                category: Category::InService,
                level: Level::Known,
                retention_days: 90,
            }],
            starts_at,
            review_at: starts_at.plus_s(180 * 86_400),
            ends_at: starts_at.plus_s(365 * 86_400),
        };
        let agreement = terms.agreement.clone();
        let digest = canonical::digest(&terms)?;
        self.say(
            from,
            Body::Agreement(Box::new(terms)),
            Vec::new(),
            BTreeMap::new(),
        )?;
        let body = Body::AgreementSignature(AgreementSignature {
            endorsements: Vec::new(),
            agreement,
            terms: digest,
        });
        self.say(to, body, Vec::new(), BTreeMap::new())
    }

    /// A question of `from` to `to` about this person; its id.
    fn request(&mut self, from: &Member, to: &Member, subject: &Handle) -> Result<RequestId> {
        let request = RequestId::from_random(self.id()?);
        let subject = opening(Field::Subject, &subject.0, self.random());
        let worker = opening(Field::Worker, b"worker-1", self.random());
        let reason = opening(Field::Justification, b"Follow-up.", self.random());
        let id = request.as_str().as_bytes();
        let context = seal::seal(&to.sealing.public(), id, b"", b"{}", seal::CONTEXT)?;
        let body = Body::Request(Box::new(Request {
            request: request.clone(),
            holder: to.agency.clone(),
            items: vec![Item {
                category: Category::InService,
                level: Level::Known,
            }],
            purpose: Purpose::Deliver,
            basis: LegalBasis::Consent,
            reliance: None,
            case: None,
            emergency: None,
            subject: Some(subject.commitment()),
            worker: worker.commitment(),
            role: WorkerRole::Mentor,
            trained: true,
            justification: reason.commitment(),
            context: Digest::of(&context),
            reply_key: ReplyKey::generate()?.public(),
            not_after: SystemClock.now().plus_s(3_600),
        }));
        let payloads = BTreeMap::from([(PAYLOAD_CONTEXT.to_owned(), Bytes(context))]);
        self.say(from, body, vec![subject], payloads)?;
        Ok(request)
    }

    /// A question that is decided, as it stands in the log, and what it was decided on.
    pub(crate) fn example(&mut self) -> Result<(Vec<u8>, Matter)> {
        let clinic = self.member("clinic", Sector::Health)?;
        let house = self.member("house", Sector::Community)?;
        let subject = self.consent(&clinic, &house)?;
        self.flush()?;
        let index = self.entries();
        let request = self.request(&house, &clinic, &subject)?;
        self.flush()?;
        let view = self.ledger.view();
        let raw = view.journal.read(index)?.context("no entry")?;
        let row = state::request(view.projection.as_ref(), &request)?.context("no row")?;
        let item = *row.items.first().context("no item")?;
        let now = SystemClock.now();
        match pip::collect(view.projection.as_ref(), &row, item, now)? {
            Collected::Matter(matter) => Ok((raw.entry, *matter)),
            Collected::Doubt(what) => bail!("the example is in doubt: {what}"),
        }
    }

    /// Fills the log with consents between two agencies of its own until it has `entries`, then
    /// shuts the two out.
    pub(crate) fn consents(&mut self, entries: u64) -> Result<()> {
        let from = self.member("archive-1", Sector::Health)?;
        let to = self.member("archive-2", Sector::Community)?;
        self.flush()?;
        ensure!(
            entries > self.entries() + 2,
            "the log has more entries already"
        );
        let wanted = entries - self.entries() - 2;
        for done in 0..wanted {
            self.consent(&from, &to)?;
            if done > 0 && done % 100_000 == 0 {
                eprintln!("growth: {done} of {wanted} consents made");
            }
        }
        self.revoke(&from)?;
        self.revoke(&to)?;
        self.flush()
    }

    /// `count` agencies in a ring, each with an agreement with the next.
    pub(crate) fn ring(&mut self, count: u64) -> Result<()> {
        let mut members = Vec::new();
        for number in 0..count {
            members.push(self.member(&format!("agency-{number}"), Sector::Community)?);
        }
        self.flush()?;
        for pair in members.windows(2) {
            let [from, to] = pair else { continue };
            self.agreement(from, to)?;
        }
        self.flush()
    }
}
