//! Certificate requests at enrolment, certificates of clients, and the files that hold them.

use crate::{Input, world};
use openssl::{base64, x509::X509};
use passerelle_agent::{csr::TlsIdentity, tls_client::BrokerConnector};
use passerelle_broker::{
    ca::{CertificateAuthority, MAX_CSR_BYTES},
    tls::{MAX_CERTIFICATE_BYTES, PeerCertificate, PeerFault},
};
use passerelle_model::{bytes::Digest, ids::FederationId};
use std::sync::LazyLock;

/// The invitation by which a certificate is asked for.
const TOKEN: Digest = Digest([5; 32]);

static AUTHORITY: LazyLock<CertificateAuthority> = LazyLock::new(|| {
    CertificateAuthority::create(&world::federation(), world::NOW, [1; 16]).unwrap()
});

/// A request in PEM or in DER, a client's certificate in DER, or PEM files of an agent.
pub fn certificate(data: &[u8]) {
    let mut input = Input::new(data);
    match (input.byte() % 4, input.text()) {
        (0, Some(text)) => request(text),
        (1, _) => request(&pem("CERTIFICATE REQUEST", input.rest())),
        (2, _) => peer(input.rest()),
        (3, Some(text)) => files(text),
        _ => {}
    }
}

/// The PEM armour (RFC 7468) around DER.
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in base64::encode_block(der).as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).unwrap());
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

fn request(text: &str) {
    let agency = world::member(0);
    let Ok(issued) = AUTHORITY.issue_agency(text, &agency, &TOKEN, world::NOW, 86_400) else {
        return;
    };
    assert!(text.len() <= MAX_CSR_BYTES);
    // Whatever the request says, the certificate names the agency that was invited.
    let der = X509::from_pem(issued.pem.as_bytes())
        .unwrap()
        .to_der()
        .unwrap();
    let peer = PeerCertificate::parse(&der, &world::federation()).unwrap();
    assert_eq!(peer.agency, agency);
    assert_eq!(peer.serial_hex, issued.serial_hex);
    assert_eq!(peer.not_after, issued.not_after);
    assert_eq!(
        peer.not_after.seconds(),
        world::NOW.plus_s(86_400).seconds()
    );
}

fn peer(der: &[u8]) {
    let federation = world::federation();
    let parsed = PeerCertificate::parse(der, &federation);
    let other: FederationId = "another".parse().unwrap();
    assert!(
        PeerCertificate::parse(der, &other).is_err() || parsed == Err(PeerFault::WrongFederation)
    );
    let Ok(peer) = parsed else { return };
    assert!(der.len() <= MAX_CERTIFICATE_BYTES);
    assert!(!peer.serial_hex.is_empty());
    assert!(
        peer.serial_hex
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    );
    let uri = format!("passerelle://{federation}/{}", peer.agency);
    let found = der
        .windows(uri.len())
        .any(|window| window == uri.as_bytes());
    assert!(found, "a name that the certificate does not hold");
    let longer = [der, &[0]].concat();
    assert_eq!(
        PeerCertificate::parse(&longer, &federation),
        Err(PeerFault::Malformed)
    );
}

/// `tls/agent.pem` and `tls/ca.pem`.
fn files(text: &str) {
    let identity = TlsIdentity::new(text, b"");
    let _ = identity.ends();
    let _ = BrokerConnector::new(&world::federation(), text.as_bytes(), &identity);
}
