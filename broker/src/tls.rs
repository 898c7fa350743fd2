//! What the broker's TLS accepts: its own certificate, who may connect, who no longer may.
//!
//! In scope: the rustls configuration, a certificate that can be replaced while running, the set
//! of revoked serials, the identity in a client's certificate.
//!
//! Out of scope: sockets and live connections ([`crate::acceptor`]), issuing ([`crate::ca`]).
//!
//! Known attack: a session that is resumed presents no certificate, so the verifier here is not
//! asked (RFC 8446, 2.2). The acceptor therefore reads the identity again after every handshake.

use arc_swap::ArcSwap;
use passerelle_model::{
    error::ErrorCode,
    ids::{AgencyId, FederationId},
    time::Timestamp,
};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, OtherError,
    RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{
        ClientHello, ResolvesServerCert, VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _};
use std::{collections::HashSet, sync::Arc};
use x509_parser::{extensions::GeneralName, prelude::FromDer as _, prelude::X509Certificate};

/// Largest client certificate read. Ours have about 700 bytes.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

/// Why a TLS configuration can't be made. For an operator.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The PEM text is not what it should be.
    #[error("no usable {0} in the PEM text")]
    Pem(&'static str),
    /// Key and certificate differ, or the library does not know the key.
    #[error("key and certificate are not usable together: {0}")]
    Identity(#[source] TlsError),
    /// The root for clients is not usable.
    #[error("the root certificate for agencies is not usable: {0}")]
    Root(#[from] VerifierBuilderError),
    /// The protocol versions don't fit the library.
    #[error("the TLS library refuses the configuration: {0}")]
    Library(#[source] TlsError),
}

/// Why a client's certificate does not name an agency of this federation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// Not an X.509 certificate, or one with an odd form.
    #[error("the certificate is malformed")]
    Malformed,
    /// Not exactly one name, or not the URI of an agency.
    #[error("the certificate does not name exactly one agency")]
    NotAnAgency,
    /// Names another federation.
    #[error("the certificate names another federation")]
    WrongFederation,
    /// The serial is revoked.
    #[error("the certificate is revoked")]
    Revoked,
    /// Before or after its time, on a session that was resumed.
    #[error("the certificate is not valid at this time")]
    NotNow,
}

impl PeerFault {
    /// The code for the log.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Malformed => ErrorCode::Malformed,
            Self::NotAnAgency => ErrorCode::WrongAgency,
            Self::WrongFederation => ErrorCode::WrongFederation,
            Self::Revoked => ErrorCode::Revoked,
            Self::NotNow => ErrorCode::Stale,
        }
    }
}

impl From<PeerFault> for TlsError {
    fn from(fault: PeerFault) -> Self {
        Self::InvalidCertificate(match fault {
            PeerFault::Malformed => CertificateError::BadEncoding,
            PeerFault::Revoked => CertificateError::Revoked,
            other => CertificateError::Other(OtherError(Arc::new(other))),
        })
    }
}

/// The serials that may not connect, shared by verifier, acceptor and whoever revokes. Lower-case
/// hexadecimal without leading zero bytes, as [`crate::ca`] gives them.
#[derive(Clone, Debug, Default)]
pub struct RevokedSerials(Arc<ArcSwap<HashSet<String>>>);

impl RevokedSerials {
    /// True if `serial_hex` is revoked.
    pub fn contains(&self, serial_hex: &str) -> bool {
        self.0.load().contains(serial_hex)
    }

    /// Adds one, in whatever case and padding it is written. To close its live connections too,
    /// use [`Connections::revoke`](crate::acceptor::Connections::revoke).
    pub fn insert(&self, serial_hex: &str) {
        let serial = normal_serial(serial_hex);
        self.0.rcu(|old| {
            let mut new = HashSet::clone(old);
            new.insert(serial.clone());
            new
        });
    }
}

impl FromIterator<String> for RevokedSerials {
    fn from_iter<I: IntoIterator<Item = String>>(serials: I) -> Self {
        let set = serials.into_iter().map(|s| normal_serial(&s)).collect();
        Self(Arc::new(ArcSwap::from_pointee(set)))
    }
}

/// One text for one number: what is compared as text must not depend on who wrote it.
fn normal_serial(serial_hex: &str) -> String {
    let lower = serial_hex.to_ascii_lowercase();
    let mut digits = lower.as_str();
    while let Some(rest) = digits.strip_prefix("00") {
        digits = rest;
    }
    digits.to_owned()
}

/// Who a client's certificate says it is, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The agency in the URI.
    pub agency: AgencyId,
    /// The serial, as in [`RevokedSerials`].
    pub serial_hex: String,
    /// The first second in which it is valid.
    pub not_before: Timestamp,
    /// The last second in which it is valid.
    pub not_after: Timestamp,
}

impl PeerCertificate {
    /// Reads the certificate of a client in `federation`. Verifies no signature: the chain is
    /// checked by the handshake, this says only whose it is.
    ///
    /// # Errors
    /// Anything but exactly one name, the URI `passerelle://<federation>/<agency>`.
    pub fn parse(der: &[u8], federation: &FederationId) -> Result<Self, PeerFault> {
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(PeerFault::Malformed);
        }
        let (rest, certificate) =
            X509Certificate::from_der(der).map_err(|_| PeerFault::Malformed)?;
        if !rest.is_empty() {
            return Err(PeerFault::Malformed);
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| PeerFault::Malformed)?
            .ok_or(PeerFault::NotAnAgency)?;
        let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
            return Err(PeerFault::NotAnAgency);
        };
        let path = uri
            .strip_prefix("passerelle://")
            .ok_or(PeerFault::NotAnAgency)?;
        let (authority, agency) = path.split_once('/').ok_or(PeerFault::NotAnAgency)?;
        if authority != federation.as_str() {
            return Err(PeerFault::WrongFederation);
        }
        let validity = certificate.validity();
        Ok(Self {
            agency: agency.parse().map_err(|_| PeerFault::NotAnAgency)?,
            serial_hex: normal_serial(&hex::encode(certificate.raw_serial())),
            not_before: timestamp(validity.not_before.timestamp())?,
            not_after: timestamp(validity.not_after.timestamp())?,
        })
    }

    /// Refuses when it is revoked or outside its time. Asked after every handshake: of a resumed
    /// session nobody else checks either.
    ///
    /// # Errors
    /// [`PeerFault::Revoked`], [`PeerFault::NotNow`].
    pub fn check(&self, revoked: &RevokedSerials, now: Timestamp) -> Result<(), PeerFault> {
        if revoked.contains(&self.serial_hex) {
            return Err(PeerFault::Revoked);
        }
        // `not_after` is the whole second.
        if now < self.not_before || now >= self.not_after.plus_s(1) {
            return Err(PeerFault::NotNow);
        }
        Ok(())
    }
}

fn timestamp(seconds: i64) -> Result<Timestamp, PeerFault> {
    let seconds = u64::try_from(seconds).map_err(|_| PeerFault::Malformed)?;
    Ok(Timestamp(0).plus_s(seconds))
}

/// The broker's certificate chain and key, which can be replaced while running: handshakes that
/// begin afterwards use the new one.
#[derive(Debug)]
pub struct ServerCertificate(ArcSwap<CertifiedKey>);

impl ServerCertificate {
    /// Reads the leaf and the root that follows it, and the key. Both may be in one text.
    ///
    /// # Errors
    /// Something is missing or does not fit together.
    pub fn from_pem(chain_pem: &[u8], key_pem: &[u8]) -> Result<Arc<Self>, ConfigError> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(certified(
            chain_pem, key_pem,
        )?))))
    }

    /// Replaces it.
    ///
    /// # Errors
    /// As [`Self::from_pem`]; the old one then stays.
    pub fn replace(&self, chain_pem: &[u8], key_pem: &[u8]) -> Result<(), ConfigError> {
        self.0.store(Arc::new(certified(chain_pem, key_pem)?));
        Ok(())
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

fn certified(chain_pem: &[u8], key_pem: &[u8]) -> Result<CertifiedKey, ConfigError> {
    let chain = CertificateDer::pem_slice_iter(chain_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| ConfigError::Pem("certificate"))?;
    if chain.is_empty() {
        return Err(ConfigError::Pem("certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| ConfigError::Pem("key"))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(ConfigError::Identity)
}

/// The configuration of the broker's port. A client without a certificate is let in, as enrolment
/// needs, and has no agency; one with a bad certificate is refused, never taken for one without.
///
/// # Errors
/// `agency_root_pem` is not usable.
pub fn server_config(
    certificate: Arc<ServerCertificate>,
    agency_root_pem: &[u8],
    federation: &FederationId,
    revoked: &RevokedSerials,
) -> Result<Arc<ServerConfig>, ConfigError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(agency_root_pem)
        .map_err(|_| ConfigError::Pem("certificate"))?;
    roots.add(root).map_err(ConfigError::Library)?;
    let verifier = AgencyVerifier {
        chain: webpki_verifier(roots, provider.clone())?,
        federation: federation.clone(),
        revoked: revoked.clone(),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(ConfigError::Library)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Early data can be replayed (RFC 8446, 8).
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn webpki_verifier(
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    Ok(builder.allow_unauthenticated().build()?)
}

/// Chain, time and usage as WebPKI checks them, then name and revocation.
#[derive(Debug)]
struct AgencyVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    federation: FederationId,
    revoked: RevokedSerials,
}

impl ClientCertVerifier for AgencyVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        let verified = self
            .chain
            .verify_client_cert(end_entity, intermediates, now)?;
        let peer = PeerCertificate::parse(end_entity, &self.federation)?;
        peer.check(&self.revoked, Timestamp(0).plus_s(now.as_secs()))?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// The reason for a failed handshake, for the log: a refused TLS 1.3 client sees only that the
/// connection ended. `None` when it was not about the certificate.
pub(crate) fn fault_of(error: &std::io::Error) -> Option<ErrorCode> {
    let error = error.get_ref()?.downcast_ref::<TlsError>()?;
    let TlsError::InvalidCertificate(reason) = error else {
        return None;
    };
    Some(match reason {
        CertificateError::Revoked => ErrorCode::Revoked,
        CertificateError::Other(OtherError(other)) => other
            .downcast_ref::<PeerFault>()
            .map_or(ErrorCode::BadSignature, |fault| fault.code()),
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => ErrorCode::Stale,
        CertificateError::BadEncoding => ErrorCode::Malformed,
        _ => ErrorCode::BadSignature,
    })
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
