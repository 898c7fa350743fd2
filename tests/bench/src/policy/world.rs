//! A federation as the broker's projection holds it, and questions as a day brings them.
//!
//! In scope: rows of agencies, agreements and consents; requests about them. All people are
//! synthetic: a number each. Out of scope: how such rows come about.

use anyhow::{Context as _, Result};
use passerelle_journal::Projection;
use passerelle_model::{
    bytes::{Commitment, Digest, Handle, PublicKey},
    ids::{AgencyId, AgreementId, ConsentId, RequestId},
    records::{Agency, Agreement, Consent, RequestRow},
    request::Status,
    state::{self, SCHEMA_VERSION, key},
    statement::{
        AgencyKeys, AgreementLine, AgreementParty, AgreementTerms, ConsentTerms, Edition, Item,
    },
    store::{Memory, Overlay},
    time::Timestamp,
    vocabulary::{
        Capacity, Category, ConsentGiver, ConsentMethod, EmergencyKind, Language, LegalBasis,
        Level, Purpose, Sector, WorkerRole,
    },
};
use std::path::Path;

/// Now, for every decision.
pub(super) const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// A day in milliseconds.
const DAY: u64 = 86_400_000;
/// Consents in every world.
pub(super) const CONSENTS: u64 = 100_000;
/// People who gave them.
const PEOPLE: u64 = 40_000;
/// Rows in one commit.
const BATCH: u64 = 5_000;

/// Who takes part: a sector, its workers, and what such an agency knows.
const KINDS: [(Sector, WorkerRole, &[Category]); 6] = [
    (
        Sector::LawEnforcement,
        WorkerRole::Officer,
        &[
            Category::ContactDates,
            Category::SafetyFlag,
            Category::Charges,
        ],
    ),
    (
        Sector::Health,
        WorkerRole::Nurse,
        &[
            Category::InService,
            Category::CrisisRisk,
            Category::Diagnosis,
            Category::SudTreatment,
        ],
    ),
    (
        Sector::SocialServices,
        WorkerRole::SocialWorker,
        &[Category::OpenFile, Category::Placement],
    ),
    (
        Sector::Education,
        WorkerRole::Teacher,
        &[Category::Enrolled, Category::Attendance],
    ),
    (
        Sector::HousingIncome,
        WorkerRole::HousingWorker,
        &[Category::TenureRisk, Category::Shelter],
    ),
    (
        Sector::Community,
        WorkerRole::Mentor,
        &[Category::Engagement, Category::Concern],
    ),
];
const PURPOSES: [Purpose; 3] = [Purpose::Plan, Purpose::Deliver, Purpose::FollowUp];
/// The bases on which agreements rest here.
const BASES: [LegalBasis; 4] = [
    LegalBasis::Mfippa32h,
    LegalBasis::Gdpr6,
    LegalBasis::A21s591,
    LegalBasis::Rpl115,
];

/// Numbers without a pattern that matters, the same in every run.
pub(super) struct Draw(u64);

impl Draw {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        // xorshift64*, from Vigna, "An experimental exploration of Marsaglia's xorshift
        // generators, scrambled" (2016).
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit.max(1)
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> Result<T> {
        let place = self.below(values.len() as u64) as usize;
        values.get(place).copied().context("nothing to draw from")
    }
}

fn bytes16(kind: u64, number: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    let (high, low) = bytes.split_at_mut(8);
    high.copy_from_slice(&kind.to_be_bytes());
    low.copy_from_slice(&number.to_be_bytes());
    bytes
}

fn person(number: u64) -> Handle {
    Handle(Digest::of(&number.to_be_bytes()).0)
}

/// Agencies, agreements and consents in a projection, with what is needed to ask about them.
pub(super) struct World {
    pub(super) projection: Projection,
    agencies: Vec<(AgencyId, usize)>,
    agreements: Vec<AgreementTerms>,
    consents: Vec<(u64, ConsentTerms)>,
}

impl World {
    /// Makes the world of so many agreements in `dir`, which must be empty.
    pub(super) fn make(dir: &Path, agreements: u64) -> Result<Self> {
        let projection = Projection::open(dir, SCHEMA_VERSION, u64::MAX)?;
        let mut made = Self {
            projection,
            agencies: Vec::new(),
            agreements: Vec::new(),
            consents: Vec::new(),
        };
        let mut draw = Draw::new(7);
        let rows = Memory::default();
        let mut overlay = Overlay::new(&rows);
        for number in 0..(agreements / 4).max(6) {
            made.agency(&mut overlay, number)?;
        }
        for number in 0..agreements {
            made.agreement(&mut overlay, &mut draw, number)?;
        }
        made.projection.commit(overlay.into_writes(), 1)?;
        for batch in 0..CONSENTS / BATCH {
            let mut overlay = Overlay::new(&rows);
            for number in batch * BATCH..(batch + 1) * BATCH {
                made.consent(&mut overlay, &mut draw, number)?;
            }
            made.projection.commit(overlay.into_writes(), batch + 2)?;
        }
        made.projection.flush()?;
        Ok(made)
    }

    fn agency(&mut self, overlay: &mut Overlay<'_>, number: u64) -> Result<()> {
        let kind = number as usize % KINDS.len();
        let (sector, ..) = KINDS.get(kind).context("a kind")?;
        let agency: AgencyId = format!("agency-{number}").parse()?;
        let key = PublicKey([1; 32]);
        let row = Agency {
            agency: agency.clone(),
            keys: AgencyKeys {
                sector: *sector,
                signing: key,
                sealing: key,
                witness: key,
            },
            certificate: "00".to_owned(),
            active: true,
            joined: number,
            since: number,
        };
        state::put(overlay, key::agency(agency.as_str()), &row)?;
        self.agencies.push((agency, kind));
        Ok(())
    }

    /// Two agencies of different kinds.
    fn two(&self, draw: &mut Draw) -> Result<(usize, usize)> {
        let count = self.agencies.len() as u64;
        let first = draw.below(count) as usize;
        let second = (first + 1 + draw.below(count.min(5) - 1) as usize) % self.agencies.len();
        anyhow::ensure!(first != second, "an agency and itself");
        Ok((first, second))
    }

    fn party(&self, place: usize) -> Result<(&AgencyId, WorkerRole, &'static [Category])> {
        let (agency, kind) = self.agencies.get(place).context("an agency")?;
        let (_, role, knows) = KINDS.get(*kind).context("a kind")?;
        Ok((agency, *role, knows))
    }

    fn agreement(&mut self, overlay: &mut Overlay<'_>, draw: &mut Draw, number: u64) -> Result<()> {
        let (a, b) = self.two(draw)?;
        let basis = draw.of(&BASES)?;
        let mut lines = Vec::new();
        for (from, to) in [(a, b), (b, a)] {
            let (from, _, knows) = self.party(from)?;
            let (to, ..) = self.party(to)?;
            for category in knows {
                lines.push(AgreementLine {
                    from: from.clone(),
                    to: to.clone(),
                    category: *category,
                    level: Level::Involvement,
                    retention_days: 90,
                });
            }
        }
        let parties: Vec<AgencyId> = [a, b]
            .iter()
            .map(|p| Ok(self.party(*p)?.0.clone()))
            .collect::<Result<_>>()?;
        let terms = AgreementTerms {
            signatories: Vec::new(),
            agreement: AgreementId::from_random(bytes16(1, number)),
            edition: Edition::default(),
            parties: parties
                .iter()
                .map(|agency| AgreementParty {
                    agency: agency.clone(),
                    basis,
                })
                .collect(),
            purposes: PURPOSES.to_vec(),
            lines,
            starts_at: Timestamp(NOW.0 - 100 * DAY),
            review_at: Timestamp(NOW.0 + 100 * DAY),
            // One in ten is over.
            ends_at: if number % 10 == 9 {
                Timestamp(NOW.0 - DAY)
            } else {
                Timestamp(NOW.0 + 200 * DAY)
            },
        };
        let (first, rest) = parties.split_first().context("a party")?;
        let mut row = Agreement::proposed(first, terms.clone(), number)?;
        row.signed.extend(rest.iter().cloned());
        let id = terms.agreement.as_str();
        state::put(overlay, key::agreement(id), &row)?;
        for line in &terms.lines {
            state::put(
                overlay,
                key::agreement_by_pair(&line.from, &line.to, id),
                &Vec::<u8>::new(),
            )?;
        }
        self.agreements.push(terms);
        Ok(())
    }

    fn consent(&mut self, overlay: &mut Overlay<'_>, draw: &mut Draw, number: u64) -> Result<()> {
        let who = number % PEOPLE;
        let (recipient, discloser) = self.two(draw)?;
        let (recorded_by, _, knows) = self.party(discloser)?;
        let (recipient, ..) = self.party(recipient)?;
        let terms = ConsentTerms {
            consent: ConsentId::from_random(bytes16(2, number)),
            subject: Commitment(person(who).0),
            giver: ConsentGiver::Subject,
            capacity: Capacity::Capable,
            categories: knows.to_vec(),
            purposes: PURPOSES.to_vec(),
            recipients: vec![recipient.clone()],
            disclosers: vec![recorded_by.clone()],
            method: ConsentMethod::Written,
            language: Language::French,
            interpreter: false,
            notice_version: 1,
            given_at: Timestamp(NOW.0 - 10 * DAY),
            // One in twenty has ended.
            expires_at: if number % 20 == 19 {
                Timestamp(NOW.0 - DAY)
            } else {
                Timestamp(NOW.0 + 90 * DAY)
            },
            redisclosure: false,
            evidence: None,
        };
        let row = Consent {
            terms: terms.clone(),
            recorded_by: recorded_by.clone(),
            subject: person(who),
            withdrawn: Vec::new(),
            recorded: 10_000 + number,
        };
        let id = terms.consent.as_str();
        state::put(overlay, key::consent(id), &row)?;
        state::put(
            overlay,
            key::consent_by_subject(&person(who), id),
            &Vec::<u8>::new(),
        )?;
        self.consents.push((who, terms));
        Ok(())
    }

    /// A question: half on a consent that was given, a quarter on an agreement, a tenth in an
    /// emergency, the rest without anything that would carry it.
    pub(super) fn question(&self, draw: &mut Draw, number: u64) -> Result<RequestRow> {
        let (requester, holder) = self.two(draw)?;
        let ask = |requester, holder, category, basis, who| {
            self.row(number, requester, holder, category, basis, who)
        };
        let (_, _, knows) = self.party(holder)?;
        let category = draw.of(knows)?;
        let who = draw.below(PEOPLE);
        let mut row = match number % 20 {
            0..10 => {
                let place = draw.below(self.consents.len() as u64) as usize;
                let (who, terms) = self.consents.get(place).context("a consent")?;
                let requester = self.place(terms.recipients.first())?;
                let holder = self.place(terms.disclosers.first())?;
                let category = draw.of(&terms.categories)?;
                ask(requester, holder, category, LegalBasis::Consent, *who)?
            }
            10..15 => {
                let place = draw.below(self.agreements.len() as u64) as usize;
                let terms = self.agreements.get(place).context("an agreement")?;
                let line = draw.below(terms.lines.len() as u64) as usize;
                let line = terms.lines.get(line).context("a line")?;
                let basis = terms.parties.first().context("a party")?.basis;
                let (requester, holder) =
                    (self.place(Some(&line.to))?, self.place(Some(&line.from))?);
                ask(requester, holder, line.category, basis, who)?
            }
            15..17 => {
                let mut row = ask(requester, holder, category, LegalBasis::A21s59p4, who)?;
                row.emergency = Some(EmergencyKind::SubjectInDanger);
                row.purpose = Purpose::Emergency;
                row
            }
            _ => ask(requester, holder, category, LegalBasis::Consent, who)?,
        };
        if number.is_multiple_of(7) {
            row.trained = false;
        }
        Ok(row)
    }

    fn place(&self, agency: Option<&AgencyId>) -> Result<usize> {
        let agency = agency.context("an agency")?;
        let number = agency.as_str().rsplit('-').next().context("a number")?;
        Ok(number.parse()?)
    }

    fn row(
        &self,
        number: u64,
        requester: usize,
        holder: usize,
        category: Category,
        basis: LegalBasis,
        who: u64,
    ) -> Result<RequestRow> {
        let (requester, role, _) = self.party(requester)?;
        let (holder, ..) = self.party(holder)?;
        let purpose = PURPOSES.get(number as usize % 3).context("a purpose")?;
        Ok(RequestRow {
            request: RequestId::from_random(bytes16(3, number)),
            requester: requester.clone(),
            holder: holder.clone(),
            items: vec![Item {
                category,
                level: if number.is_multiple_of(4) {
                    Level::Involvement
                } else {
                    Level::Known
                },
            }],
            purpose: *purpose,
            basis,
            reliance: None,
            case: None,
            emergency: None,
            role,
            trained: true,
            subject: Some(person(who)),
            reply_key: PublicKey([1; 32]),
            not_after: Timestamp(NOW.0 + DAY),
            statement: Digest::of(&number.to_be_bytes()),
            submitted: 1_000_000 + number,
            status: Status::Submitted,
            decision: None,
            permit: None,
            review: None,
            answer: None,
        })
    }
}
