//! Who gets in, and who is put out.

use crate::scene::{EXE, Scene, Seat, is_answer};
use anyhow::Result;
use passerelle_agent::csr::new_key_and_csr;
use passerelle_model::{
    entry::{EntryBody, StopCause},
    error::ErrorCode,
};
use passerelle_proto::{PROTOCOL, invitation::Invitation, v1};
use passerelle_tests::{
    federation::Federation,
    raw_agency::{RawAgency, anonymous, code_of, now, random},
    wait,
};
use tokio::io::AsyncReadExt as _;
use tonic::{Code, Request};

async fn enrol_code(federation: &Federation, invitation: &str) -> Option<ErrorCode> {
    let enrolled = RawAgency::enrol(federation.address(), federation.name(), invitation).await;
    code_of(&enrolled.err().expect("an enrolment that must fail"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_serves_once_and_only_whole() -> Result<()> {
    let federation = Federation::start(EXE).await?;
    let text = federation.invite("house", "community").await?;
    let invitation = Invitation::from_text(&text).unwrap();
    let mut guessed = invitation.clone();
    guessed.secret[31] ^= 1;
    let invalid = Some(ErrorCode::InviteInvalid);
    assert_eq!(enrol_code(&federation, &guessed.to_text()).await, invalid);
    guessed.secret = [0; 32];
    assert_eq!(enrol_code(&federation, &guessed.to_text()).await, invalid);
    // Who is made to trust another root does not even connect.
    let mut elsewhere = invitation.clone();
    elsewhere.ca_fingerprint.0[0] ^= 1;
    let elsewhere = elsewhere.to_text();
    let refused = RawAgency::enrol(federation.address(), federation.name(), &elsewhere);
    assert_eq!(refused.await.err().unwrap().code(), Code::Unavailable);
    // What fails does not use it up.
    let enrolled = RawAgency::enrol(federation.address(), federation.name(), &text).await;
    assert_eq!(enrolled.unwrap().agency.as_str(), "house");
    assert_eq!(enrol_code(&federation, &text).await, invalid);
    let members = federation.broker_status().await?.members;
    assert_eq!(members.len(), 1, "{members:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_show_one_invitation_at_once_do_not_both_get_in() -> Result<()> {
    let federation = Federation::start(EXE).await?;
    let text = federation.invite("house", "community").await?;
    let enrol = || RawAgency::enrol(federation.address(), federation.name(), &text);
    let (one, two, three) = tokio::join!(enrol(), enrol(), enrol());
    let (let_in, kept_out): (Vec<_>, Vec<_>) =
        [one, two, three].into_iter().partition(Result::is_ok);
    assert_eq!(let_in.len(), 1);
    for refused in kept_out {
        let code = code_of(&refused.err().unwrap());
        assert_eq!(code, Some(ErrorCode::InviteInvalid));
    }
    // The one who got in can work; its certificate is the one in the log.
    let member = let_in.into_iter().flatten().next().unwrap();
    member.attach().await.map_err(anyhow::Error::from).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_invitation_is_refused() -> Result<()> {
    let federation = Federation::start(EXE).await?;
    let args = ["house", "--sector", "community", "--valid", "1"];
    let ran = federation.broker_cli("invite", &args).await?.done()?;
    let expires_at = ran.json["expires_at"].as_u64().expect("a time");
    wait::until("the invitation to expire", || async {
        Ok((now().0 > expires_at).then_some(()))
    })
    .await?;
    let code = enrol_code(&federation, &ran.text("token")?).await;
    assert_eq!(code, Some(ErrorCode::InviteInvalid));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_with_unusable_keys_is_refused_and_leaves_the_invitation() -> Result<()> {
    let federation = Federation::start(EXE).await?;
    let text = federation.invite("house", "community").await?;
    let invitation = Invitation::from_text(&text).unwrap();
    let channel = anonymous(federation.address(), federation.name(), &invitation).await?;
    let mut client = v1::enrolment_client::EnrolmentClient::new(channel);
    let (_, csr_pem) = new_key_and_csr(&"house".parse()?)?;
    let honest = v1::EnrolRequest {
        token: invitation.secret.to_vec(),
        csr_pem,
        signing_key: vec![3; 32],
        sealing_key: vec![4; 32],
        witness_key: vec![5; 32],
    };
    let with = |change: &dyn Fn(&mut v1::EnrolRequest)| {
        let mut request = honest.clone();
        change(&mut request);
        request
    };
    for (what, request) in [
        ("no token", with(&|r| r.token.clear())),
        ("no request", with(&|r| r.csr_pem.clear())),
        ("garbage", with(&|r| r.csr_pem = "-----BEGIN X-----".into())),
        (
            "changed",
            with(&|r| r.csr_pem = r.csr_pem.replace('A', "B")),
        ),
        ("short key", with(&|r| r.signing_key.truncate(31))),
        ("long key", with(&|r| r.sealing_key.push(0))),
        ("no key", with(&|r| r.witness_key.clear())),
    ] {
        let refused = client.enrol(request).await.err();
        let refused = refused.unwrap_or_else(|| panic!("{what} was let in"));
        let code = code_of(&refused).unwrap_or_else(|| panic!("{what}: {refused:?}"));
        let expected = [
            ErrorCode::Malformed,
            ErrorCode::InviteInvalid,
            ErrorCode::BadSignature,
        ];
        assert!(expected.contains(&code), "{what}: {code}");
    }
    // The certificate that was made for a refused enrolment opens nothing; the invitation lives.
    let enrolled = RawAgency::enrol(federation.address(), federation.name(), &text).await;
    enrolled.map_err(anyhow::Error::from).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn witness_or_signing_keys_that_are_no_keys_do_not_stop_the_federation() -> Result<()> {
    let federation = Federation::start(EXE).await?;
    let text = federation.invite("house", "community").await?;
    let invitation = Invitation::from_text(&text).unwrap();
    let channel = anonymous(federation.address(), federation.name(), &invitation).await?;
    let mut client = v1::enrolment_client::EnrolmentClient::new(channel);
    let (_, csr_pem) = new_key_and_csr(&"house".parse()?)?;
    // The neutral element: a point of small order, with which anything verifies.
    let mut neutral = vec![0; 32];
    neutral[0] = 1;
    let request = v1::EnrolRequest {
        token: invitation.secret.to_vec(),
        csr_pem,
        signing_key: neutral.clone(),
        sealing_key: vec![4; 32],
        witness_key: neutral,
    };
    let refused = client.enrol(request).await;
    assert!(
        refused.is_err(),
        "a key with which anything verifies was let in"
    );
    // Others enrol and work.
    let clinic = Seat::take(&federation, "clinic", "health").await?;
    let (case, opening) = clinic.agency.case(&[]);
    let index = clinic.say(&opening).await?.index();
    clinic.agency.notice_of(index).await?;
    drop(case);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_witness_key_does_not_count_for_two_members() -> Result<()> {
    let federation = Federation::start(EXE).await?;
    let first = federation.raw("house", "community").await?;
    let text = federation.invite("clinic", "health").await?;
    let invitation = Invitation::from_text(&text).unwrap();
    let channel = anonymous(federation.address(), federation.name(), &invitation).await?;
    let mut client = v1::enrolment_client::EnrolmentClient::new(channel);
    let (_, csr_pem) = new_key_and_csr(&"clinic".parse()?)?;
    let key = passerelle_audit::dsse::SigningKey::from_seed(&first.witness_seed).public_key();
    let request = v1::EnrolRequest {
        token: invitation.secret.to_vec(),
        csr_pem,
        signing_key: passerelle_audit::dsse::SigningKey::from_seed(&random())
            .public_key()
            .0
            .to_vec(),
        sealing_key: vec![4; 32],
        witness_key: key.0.to_vec(),
    };
    assert!(
        client.enrol(request).await.is_err(),
        "two members with one witness key"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_agency_loses_its_stream_at_once_and_does_not_come_back() -> Result<()> {
    let scene = Scene::open().await?;
    // A fourth one, so that the others have a quorum without the clinic.
    let other = Seat::take(&scene.federation, "shelter", "housing_income").await?;
    let (asked, _, permit) = scene.permitted().await?;
    let mut live = scene.clinic.agency.log_reader().await?;
    live.latest_checkpoint(v1::LatestCheckpointRequest {})
        .await?;

    let ran = scene.federation.revoke("clinic").await?;
    assert!(
        ran.json["connections_cut"].as_u64().unwrap() >= 2,
        "{}",
        ran.stdout
    );
    let revoked = ran.json["index"].as_u64().unwrap();
    scene.clinic.session.ended().await?;
    // Another live connection of the same certificate is cut too.
    assert!(
        live.latest_checkpoint(v1::LatestCheckpointRequest {})
            .await
            .is_err()
    );
    // A new handshake, and one that resumes the TLS session of before the revocation.
    assert!(scene.clinic.agency.attach().await.is_err());
    let address = scene.federation.address();
    let connector = scene.clinic.agency.connector.clone();
    match connector
        .open(&address.ip().to_string(), address.port())
        .await
    {
        Ok(mut tls) => {
            let kind = tls.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(rustls::HandshakeKind::Resumed));
            // In TLS 1.3 the client learns on its first read that it was refused.
            let read = tls.read_u8().await;
            assert!(
                read.is_err(),
                "a revoked agency is served on a resumed session"
            );
        }
        Err(error) => assert_eq!(error.code(), ErrorCode::Revoked, "{error}"),
    }
    // The others are told, and the open request is stopped.
    for seat in [&scene.house, &scene.school, &other] {
        let notice = seat.agency.notice_of(revoked).await?;
        let EntryBody::Revoked { agency } = &notice.entry.body else {
            panic!("{:?}", notice.entry.body);
        };
        assert_eq!(agency.as_str(), "clinic");
    }
    let stopped = scene.house.agency.notice("the stop", |n| {
        matches!(&n.entry.body, EntryBody::Stopped { request, cause: StopCause::Revoked(who) }
            if *request == asked.request && who.as_str() == "clinic")
    });
    stopped.await?;
    assert!(!scene.house.agency.notices().iter().any(is_answer));
    drop(permit);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_outlives_the_broker_process() -> Result<()> {
    let mut federation = Federation::start(EXE).await?;
    let house = federation.raw("house", "community").await?;
    drop(house.attach().await?);
    federation.revoke("house").await?;
    federation.restart_broker().await?;
    assert!(house.attach().await.is_err());
    assert!(
        house.log_reader().await.is_err() || {
            let mut reader = house.log_reader().await?;
            reader
                .latest_checkpoint(v1::LatestCheckpointRequest {})
                .await
                .is_err()
        }
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agency_that_enrols_again_has_only_its_new_certificate() -> Result<()> {
    let federation = Federation::start(EXE).await?;
    let old = Seat::take(&federation, "house", "community").await?;
    let new = Seat::take(&federation, "house", "community").await?;
    old.session.ended().await?;
    assert!(old.agency.attach().await.is_err());
    // The old signing key is dead as well, on the new connection.
    let (_, opening) = old.agency.case(&[]);
    let bad = old.agency.sign(&opening);
    new.is_refused("old key", bad, ErrorCode::BadSignature)
        .await?;
    let (_, opening) = new.agency.case(&[]);
    new.say(&opening).await?.index();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_there_is_enrolment_and_health_and_nothing_else() -> Result<()> {
    let federation = Federation::start(EXE).await?;
    let text = federation.invite("house", "community").await?;
    let invitation = Invitation::from_text(&text).unwrap();
    let channel = anonymous(federation.address(), federation.name(), &invitation).await?;
    let revoked = Some(ErrorCode::Revoked);

    let hello = v1::AgentFrame {
        frame: Some(v1::agent_frame::Frame::Hello(v1::Hello {
            protocol: PROTOCOL,
            ..Default::default()
        })),
    };
    let mut exchange = v1::exchange_client::ExchangeClient::new(channel.clone());
    let refused = exchange.attach(tokio_stream::iter([hello])).await.err();
    assert_eq!(code_of(&refused.unwrap()), revoked);
    let mut log = v1::log_read_client::LogReadClient::new(channel.clone());
    let refused = log
        .latest_checkpoint(v1::LatestCheckpointRequest {})
        .await
        .err();
    assert_eq!(code_of(&refused.unwrap()), revoked);
    let refused = log.entries(v1::EntriesRequest::default()).await.err();
    assert_eq!(code_of(&refused.unwrap()), revoked);
    // The operator's service and the node's are not on this port at all.
    let mut admin = v1::admin_client::AdminClient::new(channel.clone());
    let refused = admin.broker_status(v1::BrokerStatusRequest {}).await.err();
    assert_eq!(refused.unwrap().code(), Code::Unimplemented);
    let invite = v1::InviteRequest {
        agency: "wolf".into(),
        sector: "oversight".into(),
        valid_s: 0,
    };
    assert_eq!(
        admin.invite(invite).await.err().unwrap().code(),
        Code::Unimplemented
    );
    let mut node = v1::node_client::NodeClient::new(channel.clone());
    let refused = node.node_status(v1::NodeStatusRequest {}).await.err();
    assert_eq!(refused.unwrap().code(), Code::Unimplemented);
    // Nor the description of the services, which is for members' developers.
    let mut reflection =
        tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(
            channel.clone(),
        );
    let ask = tonic_reflection::pb::v1::ServerReflectionRequest::default();
    let refused = reflection
        .server_reflection_info(tokio_stream::iter([ask]))
        .await
        .err();
    assert_eq!(
        code_of(&refused.expect("reflection without a certificate")),
        revoked
    );
    // Health is for load balancers.
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let check = tonic_health::pb::HealthCheckRequest {
        service: "passerelle.v1.Exchange".into(),
    };
    let status = health
        .check(Request::new(check))
        .await?
        .into_inner()
        .status();
    assert_eq!(
        status,
        tonic_health::pb::health_check_response::ServingStatus::Serving
    );
    Ok(())
}
