//! The agent's way to the broker: a connector for gRPC channels that knows whom it talks to.
//!
//! In scope: the connection with the agency's certificate, the one before it (enrolment), which
//! trusts a root by its fingerprint, and the check that the other end is the broker.
//!
//! Out of scope: reconnecting and calls; getting the certificate ([`crate::csr`]).
//!
//! The broker is known by the URI `passerelle-broker://<federation>` in its certificate, not by
//! a host name: agencies of one federation share the root, and whoever answers at an address, by
//! mistake or by attack, must be the broker all the same. Known attack: an agency that poses as
//! the broker with its own certificate. It has another scheme in its URI and may not serve (RFC
//! 5280, 4.2.1.12).

use crate::csr::TlsIdentity;
use hyper_util::rt::TokioIo;
use passerelle_model::{bytes::Digest, error::ErrorCode, ids::FederationId};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, OtherError,
    RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::Uri;
use x509_parser::{extensions::GeneralName, prelude::FromDer as _, prelude::X509Certificate};

/// How long connecting, name resolution included, may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the handshake may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest certificate read from a server.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;
/// Most certificates read from a server: ours sends two.
pub const MAX_CHAIN: usize = 4;
/// Begins the URI in a broker's certificate.
const BROKER_SCHEME: &str = "passerelle-broker://";

/// Why there is no secure connection to the broker.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The PEM text is not what it should be.
    #[error("no usable {0} in the PEM text")]
    Pem(&'static str),
    /// The TLS library refuses key, certificate or root.
    #[error("the TLS library refuses the configuration: {0}")]
    Config(#[source] TlsError),
    /// The address is not one.
    #[error("the broker's address is not a host with a port")]
    Address,
    /// Nothing answers there.
    #[error("cannot reach the broker: {0}")]
    Unreachable(#[source] io::Error),
    /// It took too long.
    #[error("the broker did not answer in time")]
    TooSlow,
    /// What answers is not the broker of this federation, or the handshake failed otherwise.
    #[error("no secure connection to the broker: {0}")]
    Handshake(#[source] io::Error),
    /// It does not speak HTTP/2.
    #[error("the other end does not offer HTTP/2")]
    NoHttp2,
}

impl ConnectError {
    /// The code for the caller and the log.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Pem(_) | Self::Config(_) => ErrorCode::Storage,
            Self::Address => ErrorCode::OutOfRange,
            Self::Unreachable(_) | Self::TooSlow => ErrorCode::Unavailable,
            Self::Handshake(error) => match tls_error(error) {
                None => ErrorCode::Unavailable,
                // One of the two clocks is wrong, or the broker's certificate is over.
                Some(TlsError::InvalidCertificate(
                    CertificateError::Expired
                    | CertificateError::ExpiredContext { .. }
                    | CertificateError::NotValidYet
                    | CertificateError::NotValidYetContext { .. },
                )) => ErrorCode::Stale,
                Some(TlsError::InvalidCertificate(reason)) => match broker_fault(reason) {
                    Some(fault) => fault.code(),
                    None => ErrorCode::BadSignature,
                },
                Some(_) => ErrorCode::Malformed,
            },
            Self::NoHttp2 => ErrorCode::Malformed,
        }
    }
}

fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

fn broker_fault(reason: &CertificateError) -> Option<BrokerFault> {
    match reason {
        CertificateError::Other(OtherError(other)) => other.downcast_ref().copied(),
        _ => None,
    }
}

/// Why a server's certificate is not the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerFault {
    /// The root is not the one of the invitation.
    #[error("the server does not show the root certificate that the invitation names")]
    WrongRoot,
    /// Too many or too large certificates, or odd ones.
    #[error("the server's certificate is malformed")]
    Malformed,
    /// Another role: an agency, or nothing of ours.
    #[error("the server's certificate is not a broker's")]
    NotABroker,
    /// Another federation.
    #[error("the server's certificate names another federation")]
    WrongFederation,
}

impl BrokerFault {
    /// The code for the caller and the log.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::WrongRoot => ErrorCode::BadSignature,
            Self::Malformed => ErrorCode::Malformed,
            Self::NotABroker => ErrorCode::WrongAgency,
            Self::WrongFederation => ErrorCode::WrongFederation,
        }
    }
}

impl From<BrokerFault> for TlsError {
    fn from(fault: BrokerFault) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(fault))))
    }
}

/// Opens connections for `Endpoint::connect_with_connector`, with an `https` URI with host and
/// port. Clones share sessions for resumption.
#[derive(Clone, Debug)]
pub struct BrokerConnector {
    config: Arc<ClientConfig>,
}

/// A connector for enrolment, with the root certificate that it came to trust.
#[derive(Clone, Debug)]
pub struct EnrolmentConnector {
    /// The connector itself.
    pub connector: BrokerConnector,
    verifier: Arc<BrokerVerifier>,
}

impl EnrolmentConnector {
    /// Trusts exactly the root whose DER has the SHA-256 `fingerprint`, from the invitation, and
    /// only the broker of `federation` under it. Shows no certificate.
    ///
    /// # Errors
    /// The TLS library refuses.
    pub fn new(federation: &FederationId, fingerprint: Digest) -> Result<Self, ConnectError> {
        Self::with_uri(format!("{BROKER_SCHEME}{federation}"), fingerprint)
    }

    /// As [`Self::new`], for an invitation, which names no federation: the root with this
    /// fingerprint is of one federation only, so its broker is the one that invited.
    ///
    /// # Errors
    /// The TLS library refuses.
    pub fn by_fingerprint(fingerprint: Digest) -> Result<Self, ConnectError> {
        Self::with_uri(BROKER_SCHEME.to_owned(), fingerprint)
    }

    fn with_uri(broker_uri: String, fingerprint: Digest) -> Result<Self, ConnectError> {
        let trust = Trust::Fingerprint {
            fingerprint,
            shown: OnceLock::new(),
        };
        let verifier = BrokerVerifier::new(broker_uri, trust);
        let config = client_config(verifier.clone(), None)?;
        Ok(Self {
            connector: BrokerConnector { config },
            verifier,
        })
    }

    /// The root certificate, DER, once a handshake has succeeded: it has the fingerprint.
    pub fn root_der(&self) -> Option<&[u8]> {
        match &self.verifier.trust {
            Trust::Fingerprint { shown, .. } => shown.get().map(AsRef::as_ref),
            Trust::Roots(_) => None,
        }
    }
}

/// The root certificate in `root_pem`, if it is the one with `fingerprint`: to check what the
/// broker sends in its answer to an enrolment before keeping it.
pub fn root_has_fingerprint(root_pem: &[u8], fingerprint: &Digest) -> bool {
    CertificateDer::from_pem_slice(root_pem).is_ok_and(|der| Digest::of(&der) == *fingerprint)
}

impl BrokerConnector {
    /// Trusts `root_pem`, shows `identity`, accepts only the broker of `federation`.
    ///
    /// # Errors
    /// Root, certificate or key are not usable.
    pub fn new(
        federation: &FederationId,
        root_pem: &[u8],
        identity: &TlsIdentity,
    ) -> Result<Self, ConnectError> {
        let root = CertificateDer::from_pem_slice(root_pem)
            .map_err(|_| ConnectError::Pem("root certificate"))?;
        let mut roots = RootCertStore::empty();
        roots.add(root).map_err(ConnectError::Config)?;
        let uri = format!("{BROKER_SCHEME}{federation}");
        let verifier = BrokerVerifier::new(uri, Trust::Roots(roots));
        Ok(Self {
            config: client_config(verifier, Some(identity))?,
        })
    }

    /// Connects to `host` and `port` and checks who answers.
    ///
    /// # Errors
    /// [`ConnectError`]. A broker that refuses this agency's certificate is seen only on the first
    /// read: in TLS 1.3 the client is done before the server has checked (RFC 8446, 4.4.2).
    pub async fn open(&self, host: &str, port: u16) -> Result<TlsStream<TcpStream>, ConnectError> {
        // An IPv6 address stands in brackets in a URI (RFC 3986, 3.2.2).
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Address)?;
        let tcp = timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port)))
            .await
            .map_err(|_| ConnectError::TooSlow)?
            .map_err(ConnectError::Unreachable)?;
        tcp.set_nodelay(true).map_err(ConnectError::Unreachable)?;
        let handshake = TlsConnector::from(self.config.clone()).connect(name, tcp);
        let tls = timeout(HANDSHAKE_TIMEOUT, handshake)
            .await
            .map_err(|_| ConnectError::TooSlow)?
            .map_err(ConnectError::Handshake)?;
        if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(ConnectError::NoHttp2);
        }
        Ok(tls)
    }
}

impl tower::Service<Uri> for BrokerConnector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
                return Err(ConnectError::Address);
            };
            Ok(TokioIo::new(connector.open(host, port).await?))
        })
    }
}

/// TLS 1.3 alone, which keeps the agency's certificate from who listens on the wire. Sessions are
/// resumed, from a store of this configuration's own, so none outlives the trust it was made with.
fn client_config(
    verifier: Arc<BrokerVerifier>,
    identity: Option<&TlsIdentity>,
) -> Result<Arc<ClientConfig>, ConnectError> {
    let builder = ClientConfig::builder_with_provider(verifier.provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(ConnectError::Config)?
        .dangerous() // the library's word for a verifier of one's own
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(identity.pem())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| ConnectError::Pem("certificate"))?;
            let key = PrivateKeyDer::from_pem_slice(identity.pem())
                .map_err(|_| ConnectError::Pem("key"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(ConnectError::Config)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

enum Trust {
    /// After enrolment.
    Roots(RootCertStore),
    /// Before: what the invitation says, and the root that was then shown.
    Fingerprint {
        fingerprint: Digest,
        shown: OnceLock<CertificateDer<'static>>,
    },
}

/// Chain, time and usage as WebPKI checks them, then the broker's URI in place of a host name.
struct BrokerVerifier {
    broker_uri: String,
    trust: Trust,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for BrokerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrokerVerifier({})", self.broker_uri)
    }
}

impl BrokerVerifier {
    fn new(broker_uri: String, trust: Trust) -> Arc<Self> {
        Arc::new(Self {
            broker_uri,
            trust,
            provider: Arc::new(aws_lc_rs::default_provider()),
        })
    }

    fn verify_chain(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        roots: &RootCertStore,
        now: UnixTime,
    ) -> Result<(), TlsError> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(leaf)?,
            roots,
            chain,
            now,
            self.provider.signature_verification_algorithms.all,
        )
    }

    /// Exactly one URI, the broker's. Host names beside it are for other clients.
    fn verify_identity(&self, leaf: &CertificateDer<'_>) -> Result<(), BrokerFault> {
        let (rest, certificate) =
            X509Certificate::from_der(leaf).map_err(|_| BrokerFault::Malformed)?;
        if !rest.is_empty() {
            return Err(BrokerFault::Malformed);
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| BrokerFault::Malformed)?
            .ok_or(BrokerFault::NotABroker)?;
        let mut uris = names
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            });
        match (uris.next(), uris.next()) {
            (Some(uri), None) if uri == self.broker_uri => Ok(()),
            (Some(uri), None) if uri.starts_with(BROKER_SCHEME) => {
                // The scheme alone: any federation, see `by_fingerprint`.
                match self.broker_uri == BROKER_SCHEME {
                    true => Ok(()),
                    false => Err(BrokerFault::WrongFederation),
                }
            }
            _ => Err(BrokerFault::NotABroker),
        }
    }
}

impl ServerCertVerifier for BrokerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let mut all = intermediates.iter().chain([end_entity]);
        if intermediates.len() >= MAX_CHAIN || all.any(|c| c.len() > MAX_CERTIFICATE_BYTES) {
            return Err(BrokerFault::Malformed.into());
        }
        match &self.trust {
            Trust::Roots(roots) => {
                self.verify_chain(end_entity, intermediates, roots, now)?;
                self.verify_identity(end_entity)?;
            }
            Trust::Fingerprint { fingerprint, shown } => {
                // The leaf is no candidate: a root that serves would sign for itself.
                let root = intermediates
                    .iter()
                    .find(|c| Digest::of(c) == *fingerprint)
                    .ok_or(BrokerFault::WrongRoot)?;
                let mut roots = RootCertStore::empty();
                roots.add(root.clone().into_owned())?;
                self.verify_chain(end_entity, intermediates, &roots, now)?;
                self.verify_identity(end_entity)?;
                // A second handshake can only show the same: it has the same fingerprint.
                let _ = shown.set(root.clone().into_owned());
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
