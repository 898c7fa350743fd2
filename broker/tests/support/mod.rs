//! A broker's port with a server behind it that says who it sees, and clients for it.

use hyper_util::rt::TokioIo;
use openssl::{
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::PKey,
    x509::X509Req,
};
use passerelle_broker::{
    acceptor::{Acceptor, Connections, Incoming, Limits, PeerStream},
    ca::CertificateAuthority,
    tls::{RevokedSerials, ServerCertificate, server_config},
};
use passerelle_model::{ids::FederationId, time::Timestamp};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::StreamExt as _;

pub(crate) const DAY_S: u64 = 86_400;
/// Makes the server write without end.
pub(crate) const FLOOD: &[u8] = b"flood\n";

pub(crate) fn now() -> Timestamp {
    Timestamp(0).plus_s(UnixTime::now().as_secs())
}

pub(crate) fn federation(name: &str) -> FederationId {
    name.parse().unwrap()
}

/// An agency's TLS client.
pub(crate) struct Agency {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) serial_hex: String,
}

/// An open port. The server behind it greets with the agency's name or `-`, then echoes lines.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    pub(crate) authority: CertificateAuthority,
    pub(crate) certificate: Arc<ServerCertificate>,
    pub(crate) connections: Connections,
    pub(crate) clock_ahead_s: Arc<AtomicU64>,
    errors: Option<mpsc::UnboundedReceiver<io::ErrorKind>>,
    server: Option<JoinHandle<()>>,
}

impl Drop for Port {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

impl Port {
    pub(crate) async fn open(limits: Limits) -> Self {
        let root = CertificateAuthority::create(&federation("nord"), now(), [9; 16]).unwrap();
        Self::open_with(root, "nord", limits).await
    }

    pub(crate) async fn open_with(root: CertificateAuthority, name: &str, limits: Limits) -> Self {
        let (mut port, incoming) = Self::bare(root, name, limits).await;
        let (failed, errors) = mpsc::unbounded_channel();
        port.errors = Some(errors);
        port.server = Some(tokio::spawn(serve(incoming, failed)));
        port
    }

    /// Without a server.
    pub(crate) async fn bare(
        authority: CertificateAuthority,
        name: &str,
        limits: Limits,
    ) -> (Self, Incoming) {
        let issued = authority
            .issue_server(&["localhost"], now(), DAY_S)
            .unwrap();
        let chain = issued.chain_pem.as_bytes();
        let certificate = ServerCertificate::from_pem(chain, &issued.key_pem).unwrap();
        let revoked = RevokedSerials::default();
        let root_pem = authority.certificate_pem().unwrap();
        let name = federation(name);
        let config =
            server_config(certificate.clone(), root_pem.as_bytes(), &name, &revoked).unwrap();
        let connections = Connections::new(revoked);
        let clock_ahead_s = Arc::new(AtomicU64::new(0));
        let ahead = clock_ahead_s.clone();
        let clock = Arc::new(move || now().plus_s(ahead.load(Ordering::SeqCst)));
        let acceptor = Acceptor::new(config, name, connections.clone(), limits, clock);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = acceptor.listen(listener);
        let (errors, server) = (None, None);
        let port = Self {
            address,
            authority,
            certificate,
            connections,
            clock_ahead_s,
            errors,
            server,
        };
        (port, incoming)
    }

    pub(crate) fn agency(&self, name: &str) -> Agency {
        agency_of(&self.authority, name, DAY_S, &self.authority)
    }

    pub(crate) fn anonymous(&self) -> Arc<ClientConfig> {
        client_config(&self.authority, None)
    }

    pub(crate) async fn connect(
        &self,
        config: &Arc<ClientConfig>,
    ) -> io::Result<TlsStream<TcpStream>> {
        connect(self.address, config.clone()).await
    }

    /// Connects and returns what the server says first.
    pub(crate) async fn greeting(&self, config: &Arc<ClientConfig>) -> io::Result<String> {
        line(&mut self.connect(config).await?).await
    }

    /// Tries until it is let in.
    pub(crate) async fn greeting_within(&self, config: &Arc<ClientConfig>, limit: Duration) {
        let began = Instant::now();
        while self.greeting(config).await.is_err() {
            assert!(began.elapsed() < limit, "not let in");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The first `count` errors that the server saw on its streams.
    pub(crate) async fn server_errors(&mut self, count: usize) -> Vec<io::ErrorKind> {
        let mut kinds = Vec::new();
        let errors = self.errors.as_mut().unwrap();
        while kinds.len() < count {
            let next = timeout(Duration::from_secs(1), errors.recv()).await;
            kinds.push(next.expect("an error within a second").unwrap());
        }
        kinds
    }
}

async fn serve(mut incoming: Incoming, failed: mpsc::UnboundedSender<io::ErrorKind>) {
    while let Some(stream) = incoming.next().await {
        let (stream, failed) = (stream.expect("never an error"), failed.clone());
        tokio::spawn(async move {
            if let Err(error) = talk(stream).await {
                let _ = failed.send(error.kind());
            }
        });
    }
}

async fn talk(mut stream: PeerStream) -> io::Result<()> {
    let agency = stream.peer().agency.clone();
    let greeting = agency.map_or_else(|| "-".to_owned(), |a| a.to_string());
    stream.write_all(format!("{greeting}\n").as_bytes()).await?;
    stream.flush().await?;
    let mut buffer = [0; 64];
    loop {
        let size = stream.read(&mut buffer).await?;
        if size == 0 {
            return Ok(());
        }
        if &buffer[..size] == FLOOD {
            // In a task of its own: it must be woken for itself, not for having read before.
            let mut half = tokio::io::split(stream).1;
            let flood = tokio::spawn(async move {
                loop {
                    half.write_all(&[b'x'; 4_096]).await?;
                }
            });
            return flood.await.map_err(io::Error::other)?;
        }
        stream.write_all(&buffer[..size]).await?;
        stream.flush().await?;
    }
}

/// A client whose certificate is of `issuer` and which trusts a broker of `trusted`.
pub(crate) fn agency_of(
    issuer: &CertificateAuthority,
    name: &str,
    lifetime_s: u64,
    trusted: &CertificateAuthority,
) -> Agency {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut request = X509Req::builder().unwrap();
    request.set_pubkey(&key).unwrap();
    request.sign(&key, MessageDigest::sha256()).unwrap();
    let csr = String::from_utf8(request.build().to_pem().unwrap()).unwrap();
    let token = passerelle_model::bytes::Digest::of(name.as_bytes());
    let issued = issuer
        .issue_agency(&csr, &name.parse().unwrap(), &token, now(), lifetime_s)
        .unwrap();
    let key_pem = key.private_key_to_pem_pkcs8().unwrap();
    let config = client_config(trusted, Some((&issued.pem, &key_pem)));
    Agency {
        config,
        serial_hex: issued.serial_hex,
    }
}

pub(crate) fn client_config(
    trusted: &CertificateAuthority,
    identity: Option<(&str, &[u8])>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let root_pem = trusted.certificate_pem().unwrap();
    roots
        .add(CertificateDer::from_pem_slice(root_pem.as_bytes()).unwrap())
        .unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
                .collect::<Result<_, _>>()
                .unwrap();
            let key = PrivateKeyDer::from_pem_slice(key).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

async fn connect(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(config).connect(name, tcp).await
}

/// Reads up to a line's end, which it leaves out.
pub(crate) async fn line(stream: &mut TlsStream<TcpStream>) -> io::Result<String> {
    let mut text = Vec::new();
    let reading = async {
        loop {
            match stream.read_u8().await? {
                b'\n' => return Ok(String::from_utf8(text).unwrap()),
                byte => text.push(byte),
            }
        }
    };
    timeout(Duration::from_secs(5), reading)
        .await
        .expect("a line or an end within 5 s")
}

/// The certificate that the server showed.
pub(crate) fn leaf_of(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// Connects a gRPC channel to the port.
pub(crate) struct TestConnector {
    pub(crate) address: SocketAddr,
    pub(crate) config: Arc<ClientConfig>,
}

impl tower::Service<tonic::transport::Uri> for TestConnector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: tonic::transport::Uri) -> Self::Future {
        let connecting = connect(self.address, self.config.clone());
        Box::pin(async move { Ok(TokioIo::new(connecting.await?)) })
    }
}
