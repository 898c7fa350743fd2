//! Between wire and model. Structural only: lengths and codes; meaning is checked later.

use crate::v1;
use passerelle_model::{
    bytes::{Bytes, Nonce, Signature},
    commitment::{Field, Opening},
    error::ErrorCode,
    statement::Envelope,
};
use std::collections::{BTreeMap, HashMap};

impl TryFrom<v1::Envelope> for Envelope {
    type Error = ErrorCode;

    fn try_from(wire: v1::Envelope) -> Result<Self, ErrorCode> {
        let v1::Envelope { payload, signature } = wire;
        Ok(Self {
            payload: Bytes(payload),
            signature: Signature::from_slice(&signature).ok_or(ErrorCode::Malformed)?,
        })
    }
}

impl From<Envelope> for v1::Envelope {
    fn from(envelope: Envelope) -> Self {
        let Envelope { payload, signature } = envelope;
        Self {
            payload: payload.0,
            signature: signature.0.to_vec(),
        }
    }
}

const fn field_code(field: Field) -> &'static str {
    match field {
        Field::Subject => "subject",
        Field::Worker => "worker",
        Field::Justification => "justification",
        Field::Outcome => "outcome",
        Field::Evidence => "evidence",
        Field::Counts => "counts",
    }
}

const FIELDS: [Field; 6] = [
    Field::Subject,
    Field::Worker,
    Field::Justification,
    Field::Outcome,
    Field::Evidence,
    Field::Counts,
];

impl TryFrom<v1::Opening> for Opening {
    type Error = ErrorCode;

    fn try_from(wire: v1::Opening) -> Result<Self, ErrorCode> {
        let v1::Opening {
            field,
            random,
            data,
        } = wire;
        Ok(Self {
            field: FIELDS
                .into_iter()
                .find(|f| field_code(*f) == field)
                .ok_or(ErrorCode::UnknownCode)?,
            random: Nonce::from_slice(&random).ok_or(ErrorCode::Malformed)?,
            data: Bytes(data),
        })
    }
}

impl From<Opening> for v1::Opening {
    fn from(opening: Opening) -> Self {
        let Opening {
            field,
            random,
            data,
        } = opening;
        Self {
            field: field_code(field).to_owned(),
            random: random.0.to_vec(),
            data: data.0,
        }
    }
}

/// Openings from the wire; the first bad one refuses all.
pub fn openings(wire: Vec<v1::Opening>) -> Result<Vec<Opening>, ErrorCode> {
    wire.into_iter().map(Opening::try_from).collect()
}

/// Openings for the wire.
pub fn openings_to_wire(openings: Vec<Opening>) -> Vec<v1::Opening> {
    openings.into_iter().map(v1::Opening::from).collect()
}

/// Payloads from the wire.
pub fn payloads(wire: HashMap<String, Vec<u8>>) -> BTreeMap<String, Bytes> {
    wire.into_iter()
        .map(|(name, bytes)| (name, Bytes(bytes)))
        .collect()
}

/// Payloads for the wire.
pub fn payloads_to_wire(payloads: BTreeMap<String, Bytes>) -> HashMap<String, Vec<u8>> {
    payloads
        .into_iter()
        .map(|(name, bytes)| (name, bytes.0))
        .collect()
}

/// The gRPC status of an error code. One wildcard-free match, so that a new code needs a choice.
pub fn status(code: ErrorCode) -> tonic::Status {
    use ErrorCode as E;
    use tonic::Code;
    let grpc = match code {
        E::Malformed
        | E::UnknownCode
        | E::OpeningMismatch
        | E::PayloadMismatch
        | E::OutOfRange
        | E::Stale
        | E::WrongFederation => Code::InvalidArgument,
        E::TooLarge | E::RateLimited => Code::ResourceExhausted,
        E::BadSignature | E::WrongAgency | E::Revoked | E::InviteInvalid => Code::Unauthenticated,
        E::NotAParty | E::RefusedHere | E::Suspended | E::NotIndependent => Code::PermissionDenied,
        E::Replayed | E::Duplicate => Code::AlreadyExists,
        E::UnknownAgency
        | E::UnknownRequest
        | E::UnknownConsent
        | E::UnknownAgreement
        | E::UnknownCase
        | E::UnknownBundle
        | E::UnknownAuditCase => Code::NotFound,
        E::WrongState
        | E::BundleNotHeld
        | E::BundleNotEndorsed
        | E::SignatoriesMissing
        | E::OriginNotAccepted
        | E::Held
        | E::PermitExpired
        | E::PermitMismatch
        | E::PermitWithdrawn
        | E::ProofInvalid => Code::FailedPrecondition,
        E::NoQuorum | E::Recovering | E::Unavailable => Code::Unavailable,
        E::Storage => Code::DataLoss,
        E::Internal => Code::Internal,
    };
    let mut status = tonic::Status::new(grpc, code.explanation());
    if let Ok(value) = code.code().parse() {
        status.metadata_mut().insert(CODE_HEADER, value);
    }
    status
}

/// Metadata key under which a status carries the error code.
pub const CODE_HEADER: &str = "passerelle-code";

/// The error code of a status, if it carries one.
pub fn code_of(status: &tonic::Status) -> Option<ErrorCode> {
    status
        .metadata()
        .get(CODE_HEADER)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
