//! What an agency gets of an entry that concerns it: the entry, the openings and payloads that
//! are for it, and the proof that the log holds it.

use crate::{error::BrokerError, ledger::View, witnesses::Cosigned};
use passerelle_audit::{dsse, keys::SigningKey, tlog_proof::TlogProof};
use passerelle_model::{
    canonical,
    commitment::{self, Field},
    entry::{EntryBody, Record, Sidecar},
    error::ErrorCode,
    ids::AgencyId,
    permit::{self, Permit},
    state,
    statement::{Body, PAYLOAD_ANSWER},
};
use passerelle_proto::{convert, v1};
use std::collections::BTreeMap;

/// Makes notices.
pub struct Notices {
    view: View,
    permit_key: SigningKey,
}

impl Notices {
    /// Notices from the ledger in `view`, with permits signed by `permit_key`.
    pub fn new(view: View, permit_key: SigningKey) -> Self {
        Self { view, permit_key }
    }

    /// The notice of the entry at `index` for `reader`, proven by `cosigned`, which must cover it.
    pub fn make(
        &self,
        reader: &AgencyId,
        index: u64,
        cosigned: &Cosigned,
        membership: bool,
    ) -> Result<v1::Notice, BrokerError> {
        let missing = BrokerError::Refused(ErrorCode::Internal);
        let durable = self.view.record(index)?.ok_or(missing)?;
        let record = &durable.record;
        let visible = visible_to(reader, record);
        let mut notice = v1::Notice {
            index,
            entry: durable.raw.entry.clone(),
            openings: convert::openings_to_wire(visible.openings),
            payloads: convert::payloads_to_wire(visible.payloads),
            proof: self.proof(index, cosigned)?,
            permit_signature: Vec::new(),
            related: None,
            membership,
        };
        if let EntryBody::Offered { permit } = &record.entry.body
            && permit.holder == *reader
        {
            notice.permit_signature = self.sign(permit)?;
            notice.related = Some(self.related(permit)?);
        }
        Ok(notice)
    }

    fn proof(&self, index: u64, cosigned: &Cosigned) -> Result<String, BrokerError> {
        let hashes = self.view.tree().inclusion_proof(index, cosigned.size);
        let hashes = hashes.map_err(|_| BrokerError::Refused(ErrorCode::Internal))?;
        let proof = TlogProof::new(index, hashes, cosigned.note.as_ref().clone());
        Ok(proof
            .map_err(|_| BrokerError::Refused(ErrorCode::Internal))?
            .to_string())
    }

    fn sign(&self, permit: &Permit) -> Result<Vec<u8>, BrokerError> {
        let bytes =
            canonical::to_vec(permit).map_err(|_| BrokerError::Refused(ErrorCode::Internal))?;
        Ok(dsse::sign(&self.permit_key, permit::PAYLOAD_TYPE, &bytes)
            .0
            .to_vec())
    }

    /// The requester's statement, whole: the holder checks its signature itself.
    fn related(&self, permit: &Permit) -> Result<v1::Related, BrokerError> {
        let missing = || BrokerError::Refused(ErrorCode::Internal);
        let row = state::request(self.view.projection.as_ref(), &permit.request)?;
        let index = row.ok_or_else(missing)?.submitted;
        let durable = self.view.record(index)?.ok_or_else(missing)?;
        let EntryBody::Said { envelope, .. } = &durable.record.entry.body else {
            return Err(missing());
        };
        let sidecar = durable.record.sidecar.clone();
        Ok(v1::Related {
            envelope: Some(envelope.clone().into()),
            openings: convert::openings_to_wire(sidecar.openings),
            payloads: convert::payloads_to_wire(sidecar.payloads),
        })
    }
}

/// The part of the private half that `reader` may have. Said once, here, for notices and for
/// reads of the log.
pub fn visible_to(reader: &AgencyId, record: &Record) -> Sidecar {
    // How many entries reached the reader, and nobody else.
    if let EntryBody::Sealed { counts, .. } = &record.entry.body {
        let own = counts.get(reader);
        let openings = &record.sidecar.openings;
        let own = own.and_then(|c| commitment::find(openings, Field::Counts, c));
        return Sidecar {
            openings: own.cloned().into_iter().collect(),
            payloads: BTreeMap::new(),
        };
    }
    let EntryBody::Said { agency, envelope } = &record.entry.body else {
        return Sidecar::default();
    };
    let Ok(statement) = envelope.unverified_statement() else {
        return Sidecar::default();
    };
    let mut visible = Sidecar::default();
    match statement.body {
        // The handle of a consent, for those whom it names.
        Body::Consent(_) => visible.openings.clone_from(&record.sidecar.openings),
        // The handle of a case, for those who stay: not for those whom this very step sends away.
        Body::CaseAdvance(advance) if reader == agency || advance.agencies.contains(reader) => {
            visible.openings.clone_from(&record.sidecar.openings);
        }
        // The sealed answer goes to the requester, who alone can open it.
        Body::Answer(_) if reader != agency => {
            let answer = record.sidecar.payloads.get_key_value(PAYLOAD_ANSWER);
            visible
                .payloads
                .extend(answer.map(|(k, v)| (k.clone(), v.clone())));
        }
        // The context goes to the holder with the permit, and to nobody else.
        Body::Request(_)
        | Body::Answer(_)
        | Body::Receipt(_)
        | Body::Renewal(_)
        | Body::Withdrawal(_)
        | Body::Agreement(_)
        | Body::AgreementSignature(_)
        | Body::AgreementChange(_)
        | Body::CaseOpening(_)
        | Body::CaseAdvance(_)
        | Body::BundleEndorsement(_)
        | Body::OverrideReview(_)
        | Body::Resumption(_) => {}
    }
    visible
}
