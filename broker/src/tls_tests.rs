//! Tests of the identity in a client certificate.

use super::*;
use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::PKey,
    x509::{X509Builder, extension::SubjectAlternativeName},
};

const BEGIN_S: i64 = 1_795_000_000;

fn certificate(names: &SubjectAlternativeName) -> Vec<u8> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_slice(&[0, 0xab, 1]).unwrap();
    builder
        .set_serial_number(&serial.to_asn1_integer().unwrap())
        .unwrap();
    builder.set_pubkey(&key).unwrap();
    builder
        .set_not_before(&Asn1Time::from_unix(BEGIN_S).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::from_unix(BEGIN_S + 10).unwrap())
        .unwrap();
    let context = builder.x509v3_context(None, None);
    if let Ok(names) = names.build(&context) {
        builder.append_extension(names).unwrap();
    }
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    builder.build().to_der().unwrap()
}

fn parse(uris: &[&str]) -> Result<PeerCertificate, PeerFault> {
    let mut names = SubjectAlternativeName::new();
    for uri in uris {
        names.uri(uri);
    }
    PeerCertificate::parse(&certificate(&names), &"nord".parse().unwrap())
}

#[test]
fn only_exactly_one_agency_of_this_federation_is_a_name() {
    assert_eq!(
        parse(&["passerelle://nord/clinic"])
            .unwrap()
            .agency
            .as_str(),
        "clinic"
    );
    for (uris, fault) in [
        (&["passerelle://sud/clinic"][..], PeerFault::WrongFederation),
        (
            &["passerelle://nord-est/clinic"],
            PeerFault::WrongFederation,
        ),
        (&["passerelle://NORD/clinic"], PeerFault::WrongFederation),
        (&["passerelle:///clinic"], PeerFault::WrongFederation),
        (&["passerelle://nord"], PeerFault::NotAnAgency),
        (&["passerelle://nord/"], PeerFault::NotAnAgency),
        (&["passerelle://nord/clinic/police"], PeerFault::NotAnAgency),
        (&["passerelle://nord/Clinic"], PeerFault::NotAnAgency),
        (&["passerelle://nord/clinic\n"], PeerFault::NotAnAgency),
        (&["passerelle://nord/clinic?x"], PeerFault::NotAnAgency),
        (&["passerelle-broker://nord"], PeerFault::NotAnAgency),
        (&["PASSERELLE://nord/clinic"], PeerFault::NotAnAgency),
        (&["https://nord/clinic"], PeerFault::NotAnAgency),
        (
            &["passerelle://nord/clinic", "passerelle://nord/police"],
            PeerFault::NotAnAgency,
        ),
        (&["passerelle://nord/clinic"; 2], PeerFault::NotAnAgency),
        (&[], PeerFault::NotAnAgency),
    ] {
        assert_eq!(parse(uris), Err(fault), "{uris:?}");
    }
    let mut names = SubjectAlternativeName::new();
    names.uri("passerelle://nord/clinic").dns("clinic.example");
    let beside = PeerCertificate::parse(&certificate(&names), &"nord".parse().unwrap());
    assert_eq!(beside, Err(PeerFault::NotAnAgency));
}

#[test]
fn bytes_after_the_certificate_are_malformed() {
    let mut names = SubjectAlternativeName::new();
    let mut der = certificate(names.uri("passerelle://nord/clinic"));
    der.push(0);
    let parsed = PeerCertificate::parse(&der, &"nord".parse().unwrap());
    assert_eq!(parsed, Err(PeerFault::Malformed));
}

#[test]
fn a_certificate_holds_from_its_first_to_its_last_second() {
    let peer = parse(&["passerelle://nord/clinic"]).unwrap();
    assert_eq!(peer.serial_hex, "ab01");
    let revoked = RevokedSerials::default();
    let begin = Timestamp(BEGIN_S.unsigned_abs() * 1_000);
    for (now, held) in [
        (Timestamp(begin.0 - 1), Err(PeerFault::NotNow)),
        (begin, Ok(())),
        (Timestamp(begin.0 + 10_999), Ok(())),
        (Timestamp(begin.0 + 11_000), Err(PeerFault::NotNow)),
    ] {
        assert_eq!(peer.check(&revoked, now), held, "{now:?}");
    }
    revoked.insert("00AB01");
    assert_eq!(peer.check(&revoked, begin), Err(PeerFault::Revoked));
}

#[test]
fn one_serial_has_one_text() {
    let revoked: RevokedSerials = ["00AB01".to_owned()].into_iter().collect();
    assert!(revoked.contains("ab01"));
    revoked.insert("0000FF");
    assert!(revoked.contains("ff"));
    assert!(!revoked.contains("01"));
}

#[test]
fn what_is_no_certificate_is_malformed() {
    let federation = "nord".parse().unwrap();
    for bad in [
        &b""[..],
        b"x",
        &[0x30, 0x80],
        &vec![0x30; MAX_CERTIFICATE_BYTES + 1],
    ] {
        assert_eq!(
            PeerCertificate::parse(bad, &federation),
            Err(PeerFault::Malformed)
        );
    }
}
