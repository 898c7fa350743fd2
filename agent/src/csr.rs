//! The agency's TLS key: made here, never sent.
//!
//! In scope: a fresh key and the request for its certificate (PKCS #10, RFC 2986), keeping key and
//! certificate in one file.
//!
//! Out of scope: sending the request (enrolment), using the certificate ([`crate::tls_client`]).

use openssl::{
    asn1::Asn1Time,
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::PKey,
    x509::{X509, X509Name, X509ReqBuilder},
};
use passerelle_journal::durable_file;
use passerelle_model::{ids::AgencyId, time::Timestamp};
use std::{fmt, io, path::Path};
use zeroize::Zeroizing;

/// Why no key, request or file could be made.
#[derive(Debug, thiserror::Error)]
pub enum CsrError {
    /// The cryptographic library failed.
    #[error("the certificate library failed: {0}")]
    Library(#[from] ErrorStack),
    /// The request is not text.
    #[error("the certificate library gave no text")]
    NotText,
}

/// Makes a P-256 key and the request for its certificate: `(key_pem, csr_pem)`, the key as PKCS #8.
/// The name in the request is for people; the broker takes nothing but the key.
///
/// # Errors
/// The library fails.
pub fn new_key_and_csr(agency: &AgencyId) -> Result<(Zeroizing<Vec<u8>>, String), CsrError> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COMMONNAME, agency.as_str())?;
    let mut request = X509ReqBuilder::new()?;
    request.set_subject_name(&name.build())?;
    request.set_pubkey(&key)?;
    request.sign(&key, MessageDigest::sha256())?;
    let csr_pem = request.build().to_pem()?;
    let csr_pem = String::from_utf8(csr_pem).map_err(|_| CsrError::NotText)?;
    Ok((Zeroizing::new(key.private_key_to_pem_pkcs8()?), csr_pem))
}

/// The agency's certificate and private key, PEM in one text, so that one file holds both and a
/// crash can't leave one without the other.
#[derive(Clone)]
pub struct TlsIdentity(Zeroizing<Vec<u8>>);

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity")
    }
}

impl TlsIdentity {
    /// Joins what [`new_key_and_csr`] made and the broker issued.
    pub fn new(certificate_pem: &str, key_pem: &[u8]) -> Self {
        // At full size from the start: growing would leave a copy of the key behind.
        let mut pem = Zeroizing::new(Vec::with_capacity(
            certificate_pem.len() + key_pem.len() + 1,
        ));
        pem.extend_from_slice(certificate_pem.as_bytes());
        if !certificate_pem.ends_with('\n') {
            pem.push(b'\n');
        }
        pem.extend_from_slice(key_pem);
        Self(pem)
    }

    /// Replaces `path`, whole or not at all, with mode 0600.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        durable_file::write_atomically(path, &self.0, 0o600)
    }

    /// Reads what [`Self::save`] wrote. What it holds is checked when it is used.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn load(path: &Path) -> io::Result<Self> {
        Ok(Self(Zeroizing::new(std::fs::read(path)?)))
    }

    /// When the certificate ends.
    pub fn ends(&self) -> Option<Timestamp> {
        let certificate = X509::from_pem(&self.0).ok()?;
        let epoch = Asn1Time::from_unix(0).ok()?;
        let since = epoch.diff(certificate.not_after()).ok()?;
        let seconds = i64::from(since.days)
            .checked_mul(86_400)?
            .checked_add(i64::from(since.secs))?;
        Some(Timestamp(u64::try_from(seconds).ok()?.checked_mul(1_000)?))
    }

    pub(crate) fn pem(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::x509::X509Req;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_request_is_signed_by_its_fresh_key() {
        let agency = "clinic".parse().unwrap();
        let (key_pem, csr_pem) = new_key_and_csr(&agency).unwrap();
        let key = PKey::private_key_from_pem(&key_pem).unwrap();
        let request = X509Req::from_pem(csr_pem.as_bytes()).unwrap();
        assert!(request.verify(&key).unwrap());
        assert!(request.public_key().unwrap().public_eq(&key));
        assert!(!csr_pem.contains("PRIVATE"));
        let (other_pem, _) = new_key_and_csr(&agency).unwrap();
        assert_ne!(*key_pem, *other_pem);
    }

    #[test]
    fn the_end_of_a_certificate_is_read_from_it() {
        let (key_pem, _) = new_key_and_csr(&"clinic".parse().unwrap()).unwrap();
        let key = PKey::private_key_from_pem(&key_pem).unwrap();
        let mut certificate = X509::builder().unwrap();
        certificate.set_pubkey(&key).unwrap();
        let at = |seconds| Asn1Time::from_unix(seconds).unwrap();
        certificate.set_not_before(&at(0)).unwrap();
        certificate.set_not_after(&at(1_795_269_789)).unwrap();
        certificate.sign(&key, MessageDigest::sha256()).unwrap();
        let pem = String::from_utf8(certificate.build().to_pem().unwrap()).unwrap();
        let ends = TlsIdentity::new(&pem, &key_pem).ends();
        assert_eq!(ends, Some(Timestamp(1_795_269_789_000)));
        assert_eq!(TlsIdentity::new("nothing", b"").ends(), None);
    }

    #[test]
    fn an_identity_is_kept_private_and_never_printed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tls.pem");
        let identity = TlsIdentity::new("certificate", b"secret");
        identity.save(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(
            TlsIdentity::load(&path).unwrap().pem(),
            b"certificate\nsecret"
        );
        assert!(!format!("{identity:?}").contains("secret"));
    }
}
