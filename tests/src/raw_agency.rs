//! An agency played by hand, through the published protocol alone. It keeps the rules unless a
//! test makes it break them, and checks everything that the broker sends.

use passerelle_agent::{
    clock::{Clock as _, SystemClock},
    csr::{TlsIdentity, new_key_and_csr},
    seal::SealingKeys,
    tls_client::{BrokerConnector, EnrolmentConnector, root_has_fingerprint},
};
use passerelle_audit::{
    cosignature::Cosigner,
    dsse::{self, SigningKey},
    note::{SignatureType, VerifierKey},
    tlog_proof::TlogProof,
    witness::{WitnessState, quorum},
};
use passerelle_model::{
    bytes::{PublicKey, Signature},
    canonical,
    commitment::Opening,
    entry::{Entry, EntryBody},
    error::ErrorCode,
    ids::{AgencyId, FederationId, witness_name},
    permit::{self, Permit},
    time::Timestamp,
    vocabulary::Sector,
};
use passerelle_proto::{MAX_MESSAGE_BYTES, convert, invitation::Invitation, v1};
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

/// Fresh random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives randomness");
    bytes
}

/// The time by the machine's clock.
pub fn now() -> Timestamp {
    SystemClock.now()
}

/// How an agency's witness behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Witnessing {
    /// By the rule of tlog-witness.
    #[default]
    Honest,
    /// Does not answer.
    Silent,
    /// Refuses with this status, and claims to stand at this size.
    Refuse(u32, u64),
    /// Cosigns, with a signature that is wrong in one bit.
    BadSignature,
    /// Cosigns another root of the same size.
    OtherRoot,
    /// Cosigns correctly, under the name of another agency.
    OtherName,
}

/// A notice whose proof was verified.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its index.
    pub index: u64,
    /// The entry.
    pub entry: Entry,
    /// Openings that came with it.
    pub openings: Vec<Opening>,
    /// Payloads that came with it.
    pub payloads: HashMap<String, Vec<u8>>,
    /// With a permit: the requester's statement and what belongs to it.
    pub related: Option<v1::Related>,
    /// The size of the checkpoint that proved it.
    pub proven_at: u64,
}

/// What an agency remembers from one stream to the next.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) witness: WitnessState,
    pub(crate) witnessing: Witnessing,
    pub(crate) next_notice: u64,
    pub(crate) next_member: u64,
    pub(crate) cosigned: u64,
    members: BTreeMap<AgencyId, VerifierKey>,
    notices: Vec<Received>,
    faults: Vec<String>,
}

/// See the module. Clones are the same agency.
#[derive(Clone)]
pub struct RawAgency {
    /// Its name.
    pub agency: AgencyId,
    /// Its sector.
    pub sector: Sector,
    /// Its federation.
    pub federation: FederationId,
    /// Signs statements.
    pub signing: SigningKey,
    /// Opens contexts.
    pub sealing: SealingKeys,
    /// Seed of the key of its witness.
    pub witness_seed: [u8; 32],
    /// Verifies checkpoints.
    pub log: VerifierKey,
    /// Verifies permits.
    pub permit_key: PublicKey,
    /// Public key of the oblivious function.
    pub oprf_key: Vec<u8>,
    /// Opens connections as this agency; keeps TLS sessions to resume.
    pub connector: BrokerConnector,
    /// Where the broker is.
    pub address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
}

/// A connection through `connector`.
pub async fn channel(address: SocketAddr, connector: BrokerConnector) -> Result<Channel, Status> {
    let endpoint = Endpoint::from_shared(format!("https://{address}"));
    let endpoint = endpoint.map_err(|e| Status::internal(e.to_string()))?;
    let connected = endpoint.connect_with_connector(connector).await;
    connected.map_err(|e| Status::unavailable(format!("{e:?}")))
}

/// A connection without a certificate.
pub async fn anonymous(
    address: SocketAddr,
    federation: &FederationId,
    invitation: &Invitation,
) -> Result<Channel, Status> {
    let enrolment = EnrolmentConnector::new(federation, invitation.ca_fingerprint);
    let enrolment = enrolment.map_err(|e| Status::internal(e.to_string()))?;
    channel(address, enrolment.connector).await
}

fn invalid(what: &str) -> Status {
    Status::internal(format!("the broker sent no valid {what}"))
}

impl RawAgency {
    /// Enrols with an invitation's text and fresh keys.
    pub async fn enrol(
        address: SocketAddr,
        federation: &FederationId,
        invitation: &str,
    ) -> Result<Self, Status> {
        let invitation = Invitation::from_text(invitation).map_err(convert::status)?;
        let channel = anonymous(address, federation, &invitation).await?;
        // The name in the request counts for nothing: any will do.
        let placeholder = "anybody".parse().map_err(|_| invalid("name"))?;
        let (tls_key, csr_pem) =
            new_key_and_csr(&placeholder).map_err(|e| Status::internal(e.to_string()))?;
        let signing = SigningKey::from_seed(&random());
        let sealing = SealingKeys::generate().map_err(|e| Status::internal(e.to_string()))?;
        let witness_seed = random();
        let request = v1::EnrolRequest {
            token: invitation.secret.to_vec(),
            csr_pem,
            signing_key: signing.public_key().0.to_vec(),
            sealing_key: sealing.public().0.to_vec(),
            witness_key: SigningKey::from_seed(&witness_seed).public_key().0.to_vec(),
        };
        let mut client = v1::enrolment_client::EnrolmentClient::new(channel);
        let reply = client.enrol(request).await?.into_inner();
        if !root_has_fingerprint(reply.ca_pem.as_bytes(), &invitation.ca_fingerprint) {
            return Err(invalid("root certificate"));
        }
        let federation: FederationId = reply.federation.parse().map_err(|_| invalid("name"))?;
        let identity = TlsIdentity::new(&reply.certificate_pem, &tls_key);
        let connector = BrokerConnector::new(&federation, reply.ca_pem.as_bytes(), &identity)
            .map_err(|e| Status::internal(e.to_string()))?;
        Ok(Self {
            agency: reply.agency.parse().map_err(|_| invalid("name"))?,
            sector: reply.sector.parse().map_err(|_| invalid("sector"))?,
            federation,
            signing,
            sealing,
            witness_seed,
            log: reply.checkpoint_key.parse().map_err(|_| invalid("key"))?,
            permit_key: PublicKey::from_slice(&reply.permit_key).ok_or_else(|| invalid("key"))?,
            oprf_key: reply.oprf_key,
            connector,
            address,
            memory: Arc::default(),
        })
    }

    /// A fresh connection as this agency.
    pub async fn channel(&self) -> Result<Channel, Status> {
        channel(self.address, self.connector.clone()).await
    }

    /// A client of the log's reads.
    pub async fn log_reader(&self) -> Result<v1::log_read_client::LogReadClient<Channel>, Status> {
        let client = v1::log_read_client::LogReadClient::new(self.channel().await?);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES))
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("no test panicked with it")
    }

    /// Makes its witness behave like this from now on.
    pub fn witness_like(&self, how: Witnessing) {
        self.memory().witnessing = how;
    }

    /// What verifies the cosignatures of its witness.
    pub fn witness_key(&self) -> VerifierKey {
        let key = SigningKey::from_seed(&self.witness_seed).public_key();
        let name = witness_name(&self.federation, &self.agency);
        VerifierKey::new(&name, SignatureType::CosignatureV1, key).expect("a name")
    }

    /// How many checkpoints its witness has cosigned by the rule.
    pub fn cosigned(&self) -> u64 {
        self.memory().cosigned
    }

    /// The cosigner under this agency's name, or another's.
    pub fn cosigner(&self, agency: &AgencyId) -> Cosigner {
        let key = SigningKey::from_seed(&self.witness_seed);
        let name = witness_name(&self.federation, agency);
        Cosigner::new(&name, key).expect("an agency's name fits a note")
    }

    /// Every verified notice so far.
    pub fn notices(&self) -> Vec<Received> {
        self.memory().notices.clone()
    }

    /// An error if the broker ever sent what does not verify.
    pub fn require_honest_broker(&self) -> anyhow::Result<()> {
        let memory = self.memory();
        anyhow::ensure!(
            memory.faults.is_empty(),
            "{}: {:?}",
            self.agency,
            memory.faults
        );
        Ok(())
    }

    /// Waits for the first notice that `wanted` accepts, old ones included.
    pub async fn notice(
        &self,
        what: &str,
        wanted: impl Fn(&Received) -> bool,
    ) -> anyhow::Result<Received> {
        let what = format!("{} to get {what}", self.agency);
        crate::wait::until(&what, || async {
            self.require_honest_broker()?;
            Ok(self.memory().notices.iter().find(|n| wanted(n)).cloned())
        })
        .await
    }

    /// Waits for the notice of the entry at `index`.
    pub async fn notice_of(&self, index: u64) -> anyhow::Result<Received> {
        self.notice(&format!("the notice of entry {index}"), |n| {
            n.index == index
        })
        .await
    }

    /// Takes in a notice as an agent must: not before its proof holds, and not twice. `last` is
    /// what came last on this stream, of each kind.
    pub(crate) fn take_notice(&self, last: &mut [Option<u64>; 2], wire: v1::Notice) {
        let mut memory = self.memory();
        let last = &mut last[usize::from(wire.membership)];
        if last.is_some_and(|last| wire.index <= last) {
            memory
                .faults
                .push(format!("notice {}: out of order", wire.index));
        }
        *last = Some(wire.index);
        let cursor = if wire.membership {
            memory.next_member
        } else {
            memory.next_notice
        };
        // It came on an earlier stream, after this one had said where it stands.
        if wire.index < cursor {
            return;
        }
        if let Err(fault) = self.check(&mut memory, wire) {
            memory.faults.push(fault);
        }
    }

    fn check(&self, memory: &mut Memory, wire: v1::Notice) -> Result<(), String> {
        let index = wire.index;
        let fault = |what: &str| format!("notice {index}: {what}");
        let proof = TlogProof::parse(&wire.proof).map_err(|e| fault(&e.to_string()))?;
        if proof.claimed_index() != index {
            return Err(fault("proof of another index"));
        }
        let own = self.cosigner(&self.agency).verifier_key().clone();
        let included = proof
            .verify(&wire.entry, &self.log, &[own], 1)
            .map_err(|e| fault(&format!("own cosignature: {e}")))?;
        let entry = Entry::from_bytes(&wire.entry).map_err(|e| fault(&e.to_string()))?;
        if wire.membership {
            memory.next_member = index + 1;
            match &entry.body {
                EntryBody::Enrolled { agency, keys, .. } => {
                    let name = witness_name(&self.federation, agency);
                    let kind = SignatureType::CosignatureV1;
                    let key = VerifierKey::new(&name, kind, keys.witness)
                        .map_err(|e| fault(&e.to_string()))?;
                    memory.members.insert(agency.clone(), key);
                }
                EntryBody::Revoked { agency } => {
                    memory.members.remove(agency);
                }
                other if other.is_for_all() => {}
                _ => return Err(fault("not an entry for all")),
            }
        } else {
            let members: Vec<_> = memory.members.values().cloned().collect();
            proof
                .verify(&wire.entry, &self.log, &members, quorum(members.len()))
                .map_err(|e| fault(&e.to_string()))?;
            memory.next_notice = index + 1;
        }
        if let EntryBody::Offered { permit } = &entry.body
            && permit.holder == self.agency
        {
            self.check_permit(permit, &wire)
                .map_err(|what| fault(&what))?;
        }
        memory.notices.push(Received {
            index,
            entry,
            openings: convert::openings(wire.openings).map_err(|c| fault(c.code()))?,
            payloads: wire.payloads,
            related: wire.related,
            proven_at: included.checkpoint().size(),
        });
        Ok(())
    }

    fn check_permit(&self, permit: &Permit, wire: &v1::Notice) -> Result<(), String> {
        let bytes = canonical::to_vec(permit).map_err(|e| e.to_string())?;
        let signature = Signature::from_slice(&wire.permit_signature).ok_or("no signature")?;
        if !dsse::verify(&self.permit_key, permit::PAYLOAD_TYPE, &bytes, &signature) {
            return Err("the permit's signature does not verify".into());
        }
        let related = wire
            .related
            .as_ref()
            .ok_or("no statement with the permit")?;
        let payload = &related.envelope.as_ref().ok_or("no envelope")?.payload;
        if passerelle_model::bytes::Digest::of(payload) != permit.statement {
            return Err("another statement than the permit's".into());
        }
        Ok(())
    }
}

/// The error code that a status carries.
pub fn code_of(status: &Status) -> Option<ErrorCode> {
    convert::code_of(status)
}
