//! The federation's certificate authority: who may speak on the wire, and as whom.
//!
//! In scope: the root key and certificate, the broker's own certificate, agencies' certificates
//! from their requests. Names are URIs in the subject alternative name (RFC 5280, 4.2.1.6), with a
//! scheme for each role, so that no agency can pass as the broker whatever it is called.
//!
//! Out of scope: who is invited (enrolment), which serials are revoked ([`crate::tls`]), checking
//! a certificate on a connection ([`crate::tls`]).

use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{HasPublic, Id, PKey, PKeyRef, Private, Public},
    x509::{
        X509, X509Builder, X509Name, X509Req,
        extension::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage,
            SubjectAlternativeName, SubjectKeyIdentifier,
        },
    },
};
use passerelle_journal::durable_file;
use passerelle_model::{
    bytes::Digest,
    error::ErrorCode,
    ids::{AgencyId, FederationId},
    time::Timestamp,
};
use rustls_pki_types::ServerName;
use std::{fmt, io, path::Path};
use zeroize::Zeroizing;

/// The one file of [`CertificateAuthority::save`]: certificate and key, so that a crash can't leave
/// one without the other.
pub const CA_FILE: &str = "ca.pem";
/// How long a root certificate is valid: 10 years.
pub const CA_LIFETIME_S: u64 = 10 * 365 * 86_400;
/// Certificates begin this long before they are issued, for nodes whose clocks are behind.
pub const BACKDATE_S: u64 = 300;
const SERIAL_TAG: &[u8] = b"passerelle/v1/serial";
/// Largest certificate request read. One with a P-256 key has about 450 bytes.
pub const MAX_CSR_BYTES: usize = 16 * 1024;

/// Why the authority can't do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The cryptographic library failed.
    #[error("the certificate library failed: {0}")]
    Library(#[from] ErrorStack),
    /// No randomness.
    #[error("the system gave no random bytes")]
    Random,
    /// The file can't be read or written.
    #[error("cannot read or write the certificate authority: {0}")]
    File(#[from] io::Error),
    /// The file is not the authority of this federation.
    #[error("the certificate authority's file is not usable: {0}")]
    Unusable(&'static str),
    /// The request of an agency is refused.
    #[error("the certificate request is refused: {0}")]
    Request(&'static str),
    /// Not a host name or address.
    #[error("`{0}` is not a host name or an address")]
    ServerName(String),
    /// The root ends before the certificate would begin.
    #[error("the root certificate has expired")]
    RootExpired,
}

impl CaError {
    /// The code for the caller and the log.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Library(_) | Self::Random | Self::RootExpired => ErrorCode::Internal,
            Self::File(_) | Self::Unusable(_) => ErrorCode::Storage,
            Self::Request(_) => ErrorCode::Malformed,
            Self::ServerName(_) => ErrorCode::OutOfRange,
        }
    }
}

/// The URI that names an agency in its certificate.
pub fn agency_uri(federation: &FederationId, agency: &AgencyId) -> String {
    format!("passerelle://{federation}/{agency}")
}

/// The URI that names the broker in its certificate. A scheme of its own: `broker` is also a valid
/// name of an agency.
pub fn broker_uri(federation: &FederationId) -> String {
    format!("passerelle-broker://{federation}")
}

fn authority_uri(federation: &FederationId) -> String {
    format!("passerelle-ca://{federation}")
}

/// A certificate made for an agency.
#[derive(Clone, Debug)]
pub struct IssuedCertificate {
    /// The certificate alone, PEM. The root is [`CertificateAuthority::certificate_pem`].
    pub pem: String,
    /// The serial as 32 lower-case hexadecimal digits, the form of
    /// [`RevokedSerials`](crate::tls::RevokedSerials).
    pub serial_hex: String,
    /// The last second in which it is valid.
    pub not_after: Timestamp,
}

/// The broker's certificate with its fresh key.
pub struct IssuedServer {
    /// The certificate, then the root. The root is sent too, since an agency that enrols knows
    /// only its fingerprint.
    pub chain_pem: String,
    /// The private key, PKCS #8 PEM.
    pub key_pem: Zeroizing<Vec<u8>>,
    /// As in [`IssuedCertificate`].
    pub serial_hex: String,
    /// The last second in which it is valid.
    pub not_after: Timestamp,
}

/// The root key with its certificate.
pub struct CertificateAuthority {
    federation: FederationId,
    certificate: X509,
    key: PKey<Private>,
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateAuthority({})", self.federation)
    }
}

/// What differs between the three kinds of certificate.
struct Profile<'a> {
    common_name: &'a str,
    names: SubjectAlternativeName,
    role: Role,
    serial: [u8; 16],
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Whom a certificate is for.
struct Subject<'a, T> {
    common_name: &'a str,
    names: SubjectAlternativeName,
    role: Role,
    key: &'a PKeyRef<T>,
}

enum Role {
    Authority,
    Server,
    Client,
}

impl CertificateAuthority {
    /// Makes a root with a fresh P-256 key, valid for [`CA_LIFETIME_S`] from `now`. `serial` must
    /// be random.
    ///
    /// # Errors
    /// The library fails.
    pub fn create(
        federation: &FederationId,
        now: Timestamp,
        serial: [u8; 16],
    ) -> Result<Self, CaError> {
        let key = new_key()?;
        let mut names = SubjectAlternativeName::new();
        names.uri(&authority_uri(federation));
        let profile = Profile {
            common_name: &format!("Passerelle {federation}"),
            names,
            role: Role::Authority,
            serial: positive(serial),
            not_before: now.minus_s(BACKDATE_S),
            not_after: now.plus_s(CA_LIFETIME_S),
        };
        let certificate = build(&profile, &key, None, &key)?;
        Ok(Self {
            federation: federation.clone(),
            certificate,
            key,
        })
    }

    /// Writes [`CA_FILE`] into `directory` with mode 0600, whole or not at all.
    ///
    /// # Errors
    /// The file exists already, since a root that is overwritten is lost, or can't be written.
    pub fn save(&self, directory: &Path) -> Result<(), CaError> {
        let mut pem = Zeroizing::new(self.certificate.to_pem()?);
        pem.extend_from_slice(&Zeroizing::new(self.key.private_key_to_pem_pkcs8()?));
        durable_file::write_new(&directory.join(CA_FILE), &pem, 0o600)?;
        Ok(())
    }

    /// Reads what [`Self::save`] wrote.
    ///
    /// # Errors
    /// The file can't be read, key and certificate don't belong together, or it is the root of
    /// another federation.
    pub fn load(directory: &Path, federation: &FederationId) -> Result<Self, CaError> {
        let pem = Zeroizing::new(std::fs::read(directory.join(CA_FILE))?);
        let certificate =
            X509::from_pem(&pem).map_err(|_| CaError::Unusable("it holds no certificate"))?;
        let key = PKey::private_key_from_pem(&pem)
            .map_err(|_| CaError::Unusable("it holds no private key"))?;
        if !certificate.public_key()?.public_eq(&key) {
            return Err(CaError::Unusable("key and certificate differ"));
        }
        let expected = authority_uri(federation);
        let names = certificate.subject_alt_names();
        if !names.is_some_and(|names| names.iter().any(|n| n.uri() == Some(&expected))) {
            return Err(CaError::Unusable("it is of another federation"));
        }
        Ok(Self {
            federation: federation.clone(),
            certificate,
            key,
        })
    }

    /// The federation whose root this is.
    pub fn federation(&self) -> &FederationId {
        &self.federation
    }

    /// The root certificate, PEM.
    ///
    /// # Errors
    /// The library fails.
    pub fn certificate_pem(&self) -> Result<String, CaError> {
        pem_text(&self.certificate)
    }

    /// SHA-256 of the root certificate's DER, as in invitations.
    ///
    /// # Errors
    /// The library fails.
    pub fn fingerprint(&self) -> Result<Digest, CaError> {
        Ok(Digest::of(&self.certificate.to_der()?))
    }

    /// Makes the broker's key and certificate for `lifetime_s` from `now`. `hosts` are the names
    /// and addresses under which ordinary TLS clients may reach it; agencies check the URI.
    ///
    /// # Errors
    /// A host is neither name nor address; the root has expired; the library fails.
    pub fn issue_server(
        &self,
        hosts: &[&str],
        now: Timestamp,
        lifetime_s: u64,
    ) -> Result<IssuedServer, CaError> {
        let mut names = SubjectAlternativeName::new();
        names.uri(&broker_uri(&self.federation));
        for host in hosts {
            match ServerName::try_from(*host) {
                Ok(ServerName::DnsName(_)) => names.dns(host),
                Ok(ServerName::IpAddress(_)) => names.ip(host),
                Ok(_) | Err(_) => return Err(CaError::ServerName((*host).to_owned())),
            };
        }
        let key = new_key()?;
        let subject = Subject {
            common_name: "broker",
            names,
            role: Role::Server,
            key: &key,
        };
        let issued = self.issue(subject, random_serial()?, now, lifetime_s)?;
        Ok(IssuedServer {
            chain_pem: format!("{}{}", issued.pem, self.certificate_pem()?),
            key_pem: Zeroizing::new(key.private_key_to_pem_pkcs8()?),
            serial_hex: issued.serial_hex,
            not_after: issued.not_after,
        })
    }

    /// Makes the certificate of `agency` for the key in `csr_pem`, for `lifetime_s` from `now`.
    ///
    /// Only the key is taken from the request (RFC 2986), never a name: the caller says who asks,
    /// after it has checked the invitation `token`. The serial follows from the invitation and the
    /// key: whoever asks again by the same invitation with the same key gets a certificate of the
    /// same serial, and nobody else does.
    ///
    /// # Errors
    /// [`CaError::Request`] when it is too large, not parseable, not signed by its own key, or of
    /// another kind than P-256 and Ed25519; else as [`Self::issue_server`].
    pub fn issue_agency(
        &self,
        csr_pem: &str,
        agency: &AgencyId,
        token: &Digest,
        now: Timestamp,
        lifetime_s: u64,
    ) -> Result<IssuedCertificate, CaError> {
        let key = key_of_request(csr_pem)?;
        let spki = key.public_key_to_der()?;
        let digest = Digest::of(&[SERIAL_TAG, &token.0, &spki].concat());
        let (serial, _) = digest.0.split_at(16);
        let serial = <[u8; 16]>::try_from(serial).map_err(|_| CaError::Random)?;
        self.issue_client(&key, agency, positive(serial), now, lifetime_s)
    }

    fn issue_client(
        &self,
        key: &PKey<Public>,
        agency: &AgencyId,
        serial: [u8; 16],
        now: Timestamp,
        lifetime_s: u64,
    ) -> Result<IssuedCertificate, CaError> {
        if self.certificate.public_key()?.public_eq(key) {
            return Err(CaError::Request("the key is the root's"));
        }
        let mut names = SubjectAlternativeName::new();
        names.uri(&agency_uri(&self.federation, agency));
        let subject = Subject {
            common_name: agency.as_str(),
            names,
            role: Role::Client,
            key,
        };
        self.issue(subject, serial, now, lifetime_s)
    }

    fn issue<T: HasPublic>(
        &self,
        subject: Subject<'_, T>,
        serial: [u8; 16],
        now: Timestamp,
        lifetime_s: u64,
    ) -> Result<IssuedCertificate, CaError> {
        let root_ends = self.not_after()?;
        if root_ends <= now {
            return Err(CaError::RootExpired);
        }
        // Certificates carry whole seconds.
        let not_after = Timestamp(0).plus_s(now.plus_s(lifetime_s).min(root_ends).seconds());
        let not_before = now.minus_s(BACKDATE_S);
        let profile = Profile {
            common_name: subject.common_name,
            names: subject.names,
            role: subject.role,
            serial,
            not_before,
            not_after,
        };
        let certificate = build(&profile, subject.key, Some(&self.certificate), &self.key)?;
        Ok(IssuedCertificate {
            pem: pem_text(&certificate)?,
            serial_hex: hex::encode(serial),
            not_after,
        })
    }

    fn not_after(&self) -> Result<Timestamp, CaError> {
        let span = Asn1Time::from_unix(0)?.diff(self.certificate.not_after())?;
        let seconds = i64::from(span.days) * 86_400 + i64::from(span.secs);
        Ok(Timestamp(0).plus_s(u64::try_from(seconds).unwrap_or(0)))
    }
}

/// Makes 16 random bytes a positive integer of exactly 16 bytes: a serial must be positive
/// (RFC 5280, 4.1.2.2), and with one length it has one text form. 126 bits stay random.
const fn positive(mut serial: [u8; 16]) -> [u8; 16] {
    let [first, ..] = &mut serial;
    *first = *first & 0x3f | 0x40;
    serial
}

fn random_serial() -> Result<[u8; 16], CaError> {
    let mut serial = [0; 16];
    getrandom::fill(&mut serial).map_err(|_| CaError::Random)?;
    Ok(positive(serial))
}

fn new_key() -> Result<PKey<Private>, CaError> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    Ok(PKey::from_ec_key(EcKey::generate(&group)?)?)
}

fn key_of_request(csr_pem: &str) -> Result<PKey<Public>, CaError> {
    if csr_pem.len() > MAX_CSR_BYTES {
        return Err(CaError::Request("it is too large"));
    }
    let unreadable = |_| CaError::Request("it is not a certificate request");
    let request = X509Req::from_pem(csr_pem.as_bytes()).map_err(unreadable)?;
    let key = request.public_key().map_err(unreadable)?;
    let strong = match key.id() {
        Id::ED25519 => true,
        Id::EC => key.ec_key()?.group().curve_name() == Some(Nid::X9_62_PRIME256V1),
        _ => false,
    };
    if !strong {
        return Err(CaError::Request("its key is neither P-256 nor Ed25519"));
    }
    // Proof that whoever asks holds the private key. A library error means the same as `false`.
    if !request.verify(&key).unwrap_or(false) {
        return Err(CaError::Request("its signature does not verify"));
    }
    Ok(key)
}

fn build<T: HasPublic>(
    profile: &Profile<'_>,
    subject_key: &PKeyRef<T>,
    issuer: Option<&X509>,
    issuer_key: &PKeyRef<Private>,
) -> Result<X509, CaError> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COMMONNAME, profile.common_name)?;
    let name = name.build();
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?; // X.509 version 3 is written as 2
    let serial = BigNum::from_slice(&profile.serial)?.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(issuer.map_or(name.as_ref(), |root| root.subject_name()))?;
    builder.set_pubkey(subject_key)?;
    builder.set_not_before(asn1_time(profile.not_before)?.as_ref())?;
    builder.set_not_after(asn1_time(profile.not_after)?.as_ref())?;
    append_usage(&mut builder, &profile.role)?;
    let names = profile.names.build(&builder.x509v3_context(None, None))?;
    builder.append_extension(names)?;
    let subject_id = SubjectKeyIdentifier::new()
        .build(&builder.x509v3_context(issuer.map(AsRef::as_ref), None))?;
    builder.append_extension(subject_id)?;
    if let Some(root) = issuer {
        let context = builder.x509v3_context(Some(root), None);
        let issuer_id = AuthorityKeyIdentifier::new().keyid(true).build(&context)?;
        builder.append_extension(issuer_id)?;
    }
    builder.sign(issuer_key, MessageDigest::sha256())?;
    Ok(builder.build())
}

/// What the key may do. An agency's certificate can't be used by a server, nor the broker's by a
/// client, nor either to issue.
fn append_usage(builder: &mut X509Builder, role: &Role) -> Result<(), CaError> {
    let mut constraints = BasicConstraints::new();
    let mut usage = KeyUsage::new();
    constraints.critical();
    usage.critical();
    match role {
        Role::Authority => {
            constraints.ca().pathlen(0);
            usage.key_cert_sign().crl_sign();
        }
        Role::Server => {
            usage.digital_signature();
            builder.append_extension(ExtendedKeyUsage::new().server_auth().build()?)?;
        }
        Role::Client => {
            usage.digital_signature();
            builder.append_extension(ExtendedKeyUsage::new().client_auth().build()?)?;
        }
    }
    builder.append_extension(constraints.build()?)?;
    builder.append_extension(usage.build()?)?;
    Ok(())
}

fn asn1_time(time: Timestamp) -> Result<Asn1Time, CaError> {
    let seconds = i64::try_from(time.seconds()).unwrap_or(i64::MAX);
    Ok(Asn1Time::from_unix(seconds)?)
}

fn pem_text(certificate: &X509) -> Result<String, CaError> {
    let pem = certificate.to_pem()?;
    String::from_utf8(pem).map_err(|_| CaError::Unusable("its text form is not text"))
}

#[cfg(test)]
#[path = "ca_tests.rs"]
mod tests;
