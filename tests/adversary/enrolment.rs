//! An enrolment whose reply was lost: asked again it is the same, and nobody else's.

use crate::scene::EXE;
use anyhow::{Context as _, Result};
use passerelle_agent::{
    csr::{TlsIdentity, new_key_and_csr},
    tls_client::BrokerConnector,
};
use passerelle_audit::dsse::SigningKey;
use passerelle_model::error::ErrorCode;
use passerelle_proto::{invitation::Invitation, v1};
use passerelle_tests::{
    federation::Federation,
    raw_agency::{anonymous, channel, code_of, random},
    wait,
};

fn key() -> Vec<u8> {
    SigningKey::from_seed(&random()).public_key().0.to_vec()
}

struct Asker {
    federation: Federation,
    request: v1::EnrolRequest,
    tls_key: Vec<u8>,
    invitation: Invitation,
}

impl Asker {
    async fn invited() -> Result<Self> {
        let federation = Federation::start(EXE).await?;
        let text = federation.invite("house", "community").await?;
        let invitation = Invitation::from_text(&text).unwrap();
        let (tls_key, csr_pem) = new_key_and_csr(&"house".parse()?)?;
        let request = v1::EnrolRequest {
            token: invitation.secret.to_vec(),
            csr_pem,
            signing_key: key(),
            sealing_key: vec![4; 32],
            witness_key: key(),
        };
        Ok(Self {
            federation,
            request,
            tls_key: tls_key.to_vec(),
            invitation,
        })
    }

    async fn enrol(&self, request: v1::EnrolRequest) -> Result<v1::EnrolResponse, tonic::Status> {
        let federation = &self.federation;
        let channel = anonymous(federation.address(), federation.name(), &self.invitation).await?;
        let mut client = v1::enrolment_client::EnrolmentClient::new(channel);
        Ok(client.enrol(request).await?.into_inner())
    }

    async fn is_invalid(&self, what: &str, edit: impl FnOnce(&mut v1::EnrolRequest)) {
        let mut request = self.request.clone();
        edit(&mut request);
        let refused = self.enrol(request).await.err();
        let code = refused.as_ref().and_then(code_of);
        assert_eq!(code, Some(ErrorCode::InviteInvalid), "{what}");
    }

    /// Reads the log as the member that the reply made.
    async fn reads_the_log(&self, reply: &v1::EnrolResponse) -> Result<()> {
        let federation = &self.federation;
        let identity = TlsIdentity::new(&reply.certificate_pem, &self.tls_key);
        let name = federation.name();
        let connector = BrokerConnector::new(name, reply.ca_pem.as_bytes(), &identity)?;
        let channel = channel(federation.address(), connector).await?;
        let mut reader = v1::log_read_client::LogReadClient::new(channel);
        let all = v1::EntriesRequest { from: 0, until: 1 };
        match reader.entries(all).await {
            // No witness is up: that it was asked as a member is enough.
            Err(status) if code_of(&status) == Some(ErrorCode::NoQuorum) => Ok(()),
            read => read.map(drop).map_err(anyhow::Error::from),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_whose_reply_was_lost_is_told_again_to_the_same_keys_alone() -> Result<()> {
    let asker = Asker::invited().await?;
    let (_, other_csr) = new_key_and_csr(&"house".parse()?)?;
    let first = asker.enrol(asker.request.clone()).await?;
    let again = asker.enrol(asker.request.clone()).await?;
    let told = |reply: &v1::EnrolResponse| v1::EnrolResponse {
        certificate_pem: String::new(),
        ..reply.clone()
    };
    assert_eq!(told(&first), told(&again), "and no second entry");
    asker.reads_the_log(&first).await?;
    asker.reads_the_log(&again).await?;
    // The member's public keys stand in the log, and the invitation may be found later: without
    // the private TLS key there is no certificate.
    let other = other_csr.clone();
    asker
        .is_invalid("another TLS key", |r| r.csr_pem = other)
        .await;
    asker
        .is_invalid("another signing key", |r| r.signing_key = key())
        .await;
    asker
        .is_invalid("another witness key", |r| r.witness_key = key())
        .await;
    asker
        .is_invalid("another sealing key", |r| r.sealing_key = vec![9; 32])
        .await;
    asker.is_invalid("another token", |r| r.token[0] ^= 1).await;
    let members = asker.federation.broker_status().await?.members;
    assert_eq!(members.len(), 1, "{members:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_enrolment_is_not_told_again() -> Result<()> {
    let asker = Asker::invited().await?;
    asker.enrol(asker.request.clone()).await?;
    let text = asker.federation.invite("house", "community").await?;
    let renewed = v1::EnrolRequest {
        token: Invitation::from_text(&text).unwrap().secret.to_vec(),
        ..asker.request.clone()
    };
    asker.enrol(renewed.clone()).await?;
    asker.is_invalid("the first invitation", |_| ()).await;
    asker.enrol(renewed.clone()).await?;
    asker.federation.revoke("house").await?;
    asker.is_invalid("a former member", |r| *r = renewed).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_before_the_reply_and_asks_again_gets_in() -> Result<()> {
    let asker = Asker::invited().await?;
    let federation = &asker.federation;
    let channel = anonymous(federation.address(), federation.name(), &asker.invitation).await?;
    let mut client = v1::enrolment_client::EnrolmentClient::new(channel);
    let request = asker.request.clone();
    let cut_off = tokio::spawn(async move { client.enrol(request).await.map(drop) });
    wait::until("the enrolment to be in the log", || async {
        let members = federation.broker_status().await?.members;
        Ok((members.len() == 1).then_some(()))
    })
    .await?;
    // Whatever came of it is lost.
    cut_off.abort();
    let (one, two) = tokio::join!(
        asker.enrol(asker.request.clone()),
        asker.enrol(asker.request.clone())
    );
    assert_eq!(one?.index, two?.index);
    Ok(())
}

/// As in the directory of an agency whose first attempt got no reply: keys and request, no more.
fn without_the_reply(dir: &std::path::Path) -> Result<()> {
    for name in ["federation.json", "tls/agent.pem", "tls/ca.pem"] {
        std::fs::remove_file(dir.join(name)).context(name)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_its_reply_enrols_by_the_same_command() -> Result<()> {
    let mut federation = Federation::start(EXE).await?;
    let token = federation.invite("house", "community").await?;
    let broker = federation.address().to_string();
    let args = ["--broker", &broker, "--token", &token];
    federation
        .agent_cli("house", "enrol", &args)
        .await?
        .done()?;
    without_the_reply(&federation.agent_dir("house"))?;
    federation
        .agent_cli("house", "enrol", &args)
        .await?
        .done()?;
    federation.serve_agent("house").await?;
    let members = federation.broker_status().await?.members;
    assert_eq!(members.len(), 1, "{members:?}");
    Ok(())
}
