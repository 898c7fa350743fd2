//! What most tests begin with: a community house that asks, a clinic that holds, a school that
//! should learn nothing.

use anyhow::Result;
use passerelle_model::{
    bytes::{Digest, Handle},
    entry::EntryBody,
    error::ErrorCode,
    ids::{ConsentId, RequestId},
    permit::Permit,
    statement::{Body, Envelope},
    vocabulary::Category,
};
use passerelle_proto::v1;
use passerelle_tests::{
    federation::Federation,
    raw_agency::{RawAgency, Received},
    raw_session::{Said, Session},
    statements::{Asked, somebody},
};

/// The program under test.
pub(crate) const EXE: &str = env!("CARGO_BIN_EXE_passerelle");

/// What the clinic is asked about.
pub(crate) const CATEGORY: Category = Category::InService;

/// An agency with its stream.
pub(crate) struct Seat {
    pub(crate) agency: RawAgency,
    pub(crate) session: Session,
}

impl Seat {
    pub(crate) async fn take(federation: &Federation, name: &str, sector: &str) -> Result<Self> {
        let agency = federation.raw(name, sector).await?;
        let session = agency.attach().await?;
        Ok(Self { agency, session })
    }

    /// Signs and sends what is in the draft.
    pub(crate) async fn say(&self, draft: &passerelle_tests::statements::Draft) -> Result<Said> {
        self.session.submit(self.agency.sign(draft)).await
    }

    /// Sends what must be refused, and checks the refusal's entry.
    pub(crate) async fn is_refused(
        &self,
        what: &str,
        submit: v1::Submit,
        code: ErrorCode,
    ) -> Result<()> {
        let payload = submit.envelope.clone().unwrap().payload;
        let said = self.session.submit(submit).await?;
        let Said::Refused(got, Some(index)) = said else {
            panic!("{what}: expected `{code}` with its entry, got {said:?}");
        };
        assert_eq!(got, code, "{what}");
        let notice = self.agency.notice_of(index).await?;
        let EntryBody::Refused {
            agency,
            code: logged,
            statement,
        } = &notice.entry.body
        else {
            panic!("{what}: {:?}", notice.entry.body);
        };
        assert_eq!(*agency, self.agency.agency, "{what}");
        assert_eq!(*logged, code, "{what}");
        assert_eq!(*statement, Digest::of(&payload), "{what}");
        Ok(())
    }
}

pub(crate) struct Scene {
    pub(crate) federation: Federation,
    pub(crate) house: Seat,
    pub(crate) clinic: Seat,
    pub(crate) school: Seat,
}

impl Scene {
    pub(crate) async fn open() -> Result<Self> {
        Self::on(Federation::start(EXE).await?).await
    }

    pub(crate) async fn on(federation: Federation) -> Result<Self> {
        let (house, clinic, school) = tokio::try_join!(
            Seat::take(&federation, "house", "community"),
            Seat::take(&federation, "clinic", "health"),
            Seat::take(&federation, "school", "education"),
        )?;
        Ok(Self {
            federation,
            house,
            clinic,
            school,
        })
    }

    /// A person who consents that the clinic tells the house; recorded by the clinic.
    pub(crate) async fn consenting(&self) -> Result<(Handle, ConsentId)> {
        let subject = somebody();
        let (house, clinic) = (&self.house.agency.agency, &self.clinic.agency.agency);
        let terms = self
            .clinic
            .agency
            .consent(&subject, &[CATEGORY], &[house], &[clinic]);
        self.clinic.say(&terms.1).await?.index();
        Ok((subject, terms.0))
    }

    /// What the house asks the clinic of `subject`.
    pub(crate) fn question(&self, subject: &Handle) -> Asked {
        self.house
            .agency
            .request(&self.clinic.agency, subject, CATEGORY)
    }

    /// The permit that the clinic gets for a request.
    pub(crate) async fn permit(&self, request: &RequestId) -> Result<Permit> {
        let offer = self.clinic.agency.notice("a permit", |n| {
            matches!(&n.entry.body, EntryBody::Offered { permit } if permit.request == *request)
        });
        match offer.await?.entry.body {
            EntryBody::Offered { permit } => Ok(*permit),
            other => panic!("{other:?}"),
        }
    }

    /// Asks about a person who consents, and gets the permit.
    pub(crate) async fn permitted(&self) -> Result<(Asked, ConsentId, Permit)> {
        let (subject, consent) = self.consenting().await?;
        let asked = self.question(&subject);
        self.house.say(&asked.draft).await?.index();
        let permit = self.permit(&asked.request).await?;
        Ok((asked, consent, permit))
    }

    /// Sequences something that concerns all three and waits until each has its notice: all that
    /// came before has then been delivered too.
    pub(crate) async fn fence(&self) -> Result<()> {
        let subject = somebody();
        let (house, school) = (&self.house.agency.agency, &self.school.agency.agency);
        let clinic = &self.clinic.agency;
        let recipients = [house, school];
        let (_, terms) = clinic.consent(&subject, &[CATEGORY], &recipients, &[&clinic.agency]);
        let index = self.clinic.say(&terms).await?.index();
        for seat in [&self.house, &self.clinic, &self.school] {
            seat.agency.notice_of(index).await?;
            seat.agency.require_honest_broker()?;
        }
        Ok(())
    }

    /// Shows that up to now nobody has received an answer, and the school nothing of requests.
    pub(crate) async fn nothing_crossed(&self) -> Result<()> {
        self.fence().await?;
        for seat in [&self.house, &self.school] {
            for notice in seat.agency.notices() {
                assert!(!is_answer(&notice), "{notice:?}");
                assert!(notice.payloads.is_empty(), "{notice:?}");
                assert!(notice.related.is_none(), "{notice:?}");
            }
        }
        Ok(())
    }
}

/// What an agency said in this entry, if it is one.
pub(crate) fn said(notice: &Received) -> Option<Body> {
    let EntryBody::Said { envelope, .. } = &notice.entry.body else {
        return None;
    };
    Some(statement_of(envelope))
}

pub(crate) fn statement_of(envelope: &Envelope) -> Body {
    envelope.unverified_statement().unwrap().body
}

pub(crate) fn is_answer(notice: &Received) -> bool {
    matches!(said(notice), Some(Body::Answer(_)))
}
