//! Tests of the certificate authority.

use super::*;
use openssl::{rsa::Rsa, stack::Stack, x509::X509ReqBuilder};
use std::os::unix::fs::PermissionsExt as _;

const NOW: Timestamp = Timestamp(1_795_269_789_123);
const DAY_S: u64 = 86_400;

fn federation() -> FederationId {
    "nord".parse().unwrap()
}

fn authority() -> CertificateAuthority {
    CertificateAuthority::create(&federation(), NOW, [0xff; 16]).unwrap()
}

fn token() -> Digest {
    Digest([7; 32])
}

fn agency() -> AgencyId {
    "police-nord".parse().unwrap()
}

/// A request signed by `signer` for the public half of `key`, asking for another agency's name.
fn request(key: &PKey<Private>, signer: &PKey<Private>) -> String {
    let mut builder = X509ReqBuilder::new().unwrap();
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, "clinic").unwrap();
    builder.set_subject_name(&name.build()).unwrap();
    let wish = SubjectAlternativeName::new()
        .uri("passerelle://nord/clinic")
        .dns("broker.example")
        .build(&builder.x509v3_context(None))
        .unwrap();
    let mut extensions = Stack::new().unwrap();
    extensions.push(wish).unwrap();
    builder.add_extensions(&extensions).unwrap();
    builder.set_pubkey(key).unwrap();
    // Ed25519 hashes by itself (RFC 8410), which the library calls the null digest.
    let digest = match signer.id() {
        Id::ED25519 => MessageDigest::null(),
        _ => MessageDigest::sha256(),
    };
    builder.sign(signer, digest).unwrap();
    String::from_utf8(builder.build().to_pem().unwrap()).unwrap()
}

fn uris(certificate: &X509) -> Vec<String> {
    let names = certificate.subject_alt_names().unwrap();
    assert!(names.iter().all(|n| n.dnsname().is_none()));
    names
        .iter()
        .filter_map(|n| n.uri().map(str::to_owned))
        .collect()
}

#[test]
fn names_in_a_request_are_ignored() {
    let authority = authority();
    let key = new_key().unwrap();
    let issued = authority
        .issue_agency(&request(&key, &key), &agency(), &token(), NOW, DAY_S)
        .unwrap();
    let certificate = X509::from_pem(issued.pem.as_bytes()).unwrap();
    assert_eq!(uris(&certificate), ["passerelle://nord/police-nord"]);
    let common_name = certificate
        .subject_name()
        .entries_by_nid(Nid::COMMONNAME)
        .next()
        .unwrap();
    assert_eq!(common_name.data().as_slice(), b"police-nord");
    assert!(certificate.verify(&authority.key).unwrap());
    assert_eq!(issued.not_after, Timestamp((NOW.seconds() + DAY_S) * 1_000));
    assert_eq!(issued.serial_hex.len(), 32);
    let serial = certificate
        .serial_number()
        .to_bn()
        .unwrap()
        .to_hex_str()
        .unwrap();
    assert_eq!(serial.to_ascii_lowercase(), issued.serial_hex);
}

#[test]
fn an_ed25519_request_is_accepted() {
    let key = PKey::generate_ed25519().unwrap();
    authority()
        .issue_agency(&request(&key, &key), &agency(), &token(), NOW, DAY_S)
        .unwrap();
}

#[test]
fn a_request_not_signed_by_its_own_key_is_refused() {
    let (key, other) = (new_key().unwrap(), new_key().unwrap());
    let refused = authority().issue_agency(&request(&key, &other), &agency(), &token(), NOW, DAY_S);
    assert!(matches!(
        refused,
        Err(CaError::Request("its signature does not verify"))
    ));
}

#[test]
fn malformed_weak_and_oversized_requests_are_refused() {
    let authority = authority();
    let rsa = PKey::from_rsa(Rsa::generate(2_048).unwrap()).unwrap();
    let p384 = EcGroup::from_curve_name(Nid::SECP384R1).unwrap();
    let p384 = PKey::from_ec_key(EcKey::generate(&p384).unwrap()).unwrap();
    let large = format!("{}{}", "\n".repeat(MAX_CSR_BYTES), request(&p384, &p384));
    for csr in [
        "",
        "garbage",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        &authority.certificate_pem().unwrap(),
        &request(&rsa, &rsa),
        &request(&p384, &p384),
        &request(&authority.key, &authority.key),
        &large,
    ] {
        let refused = authority
            .issue_agency(csr, &agency(), &token(), NOW, DAY_S)
            .unwrap_err();
        assert!(matches!(refused, CaError::Request(_)), "{refused}");
        assert_eq!(refused.code(), ErrorCode::Malformed);
    }
}

#[test]
fn serials_are_positive_and_of_one_length() {
    let authority = authority();
    let key = new_key().unwrap();
    let csr = request(&key, &key);
    let mut serials: Vec<_> = (0..8)
        .map(|number| {
            let token = Digest([number; 32]);
            let issued = authority.issue_agency(&csr, &agency(), &token, NOW, DAY_S);
            issued.unwrap().serial_hex
        })
        .collect();
    serials.sort();
    serials.dedup();
    assert_eq!(serials.len(), 8);
    assert_eq!(positive([0; 16])[0], 0x40);
    assert_eq!(positive([0xff; 16])[0], 0x7f);
}

#[test]
fn no_certificate_outlives_the_root() {
    let authority = authority();
    let root_ends = authority.not_after().unwrap();
    assert_eq!(root_ends.seconds(), NOW.seconds() + CA_LIFETIME_S);
    let issued = authority
        .issue_server(&["localhost"], NOW, 20 * CA_LIFETIME_S)
        .unwrap();
    assert_eq!(issued.not_after, root_ends);
    let late = authority.issue_server(&["localhost"], root_ends, DAY_S);
    assert!(matches!(late, Err(CaError::RootExpired)));
}

#[test]
fn the_root_survives_saving_and_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let authority = authority();
    authority.save(directory.path()).unwrap();
    let path = directory.path().join(CA_FILE);
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let loaded = CertificateAuthority::load(directory.path(), &federation()).unwrap();
    assert_eq!(
        loaded.fingerprint().unwrap(),
        authority.fingerprint().unwrap()
    );
    assert!(loaded.key.public_eq(&authority.key));

    let other = CertificateAuthority::create(&federation(), NOW, [1; 16]).unwrap();
    assert!(matches!(
        other.save(directory.path()),
        Err(CaError::File(_))
    ));
    let loaded = CertificateAuthority::load(directory.path(), &federation()).unwrap();
    assert!(loaded.key.public_eq(&authority.key));
}

#[test]
fn a_root_of_another_federation_or_with_another_key_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let authority = authority();
    authority.save(directory.path()).unwrap();
    let sud = "sud".parse().unwrap();
    let refused = CertificateAuthority::load(directory.path(), &sud);
    assert!(matches!(refused, Err(CaError::Unusable(_))));

    let mut pem = authority.certificate.to_pem().unwrap();
    pem.extend(new_key().unwrap().private_key_to_pem_pkcs8().unwrap());
    std::fs::write(directory.path().join(CA_FILE), pem).unwrap();
    let refused = CertificateAuthority::load(directory.path(), &federation());
    assert!(matches!(
        refused,
        Err(CaError::Unusable("key and certificate differ"))
    ));
}

#[test]
fn the_broker_is_named_by_a_scheme_that_no_agency_has() {
    let authority = authority();
    let issued = authority
        .issue_server(&["localhost", "127.0.0.1", "::1"], NOW, DAY_S)
        .unwrap();
    let chain = X509::stack_from_pem(issued.chain_pem.as_bytes()).unwrap();
    let [leaf, root] = chain.as_slice() else {
        panic!("leaf and root")
    };
    assert_eq!(
        Digest::of(&root.to_der().unwrap()),
        authority.fingerprint().unwrap()
    );
    let names = leaf.subject_alt_names().unwrap();
    let uris: Vec<_> = names.iter().filter_map(|n| n.uri()).collect();
    assert_eq!(uris, ["passerelle-broker://nord"]);
    let broker: AgencyId = "broker".parse().unwrap();
    assert_ne!(agency_uri(&federation(), &broker), uris[0]);
    for bad in ["", "no such host", "a/b", "http://x"] {
        let refused = authority.issue_server(&[bad], NOW, DAY_S);
        assert!(matches!(refused, Err(CaError::ServerName(_))), "{bad}");
    }
}

#[test]
fn a_serial_by_invitation_is_that_of_the_token_and_the_key() {
    let authority = authority();
    let (key, other) = (new_key().unwrap(), new_key().unwrap());
    let serial = |key: &PKey<Private>, token: u8, now: Timestamp| {
        let csr = request(key, key);
        let token = Digest([token; 32]);
        let issued = authority.issue_agency(&csr, &agency(), &token, now, DAY_S);
        let issued = issued.unwrap();
        let certificate = X509::from_pem(issued.pem.as_bytes()).unwrap();
        assert!(certificate.public_key().unwrap().public_eq(key));
        issued.serial_hex
    };
    let first = serial(&key, 1, NOW);
    assert_eq!(serial(&key, 1, NOW.plus_s(60)), first);
    assert_ne!(serial(&key, 2, NOW), first);
    assert_ne!(serial(&other, 1, NOW), first);
}
