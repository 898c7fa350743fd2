//! What goes wrong, with planted strings in the wrong place each time.

use super::offices::{AGENCIES, CLINIC, Offices, POLICE};
use anyhow::Result;
use passerelle_proto::v1;
use std::time::Duration;
use tonic::{Code, Status};

/// Every call must be refused; what the refusal says is for the caller alone, who typed it.
pub(crate) async fn provoke(offices: &mut Offices) -> Result<()> {
    imports(offices).await?;
    requests(offices).await?;
    others(offices).await?;
    offices
        .federation
        .settled(&AGENCIES, Duration::from_secs(60))
        .await
}

#[track_caller]
fn refused<T: std::fmt::Debug>(reply: Result<T, Status>, what: &str) {
    let status = reply.expect_err(what);
    assert!(status.code() != Code::Unavailable, "{what}: {status}");
}

async fn imports(offices: &mut Offices) -> Result<()> {
    let mapping = "source_id = \"no\"\ndate_formats = [\"YYYY-MM-DD\"]\n\
         [person]\nfamily_name = \"last\"\ngiven_name = \"first\"\nbirth_date = \"born\"\n\
         [[fact]]\ncategory = \"safety_flag\"\ncode = \"flag\"\ncodes = [\"weapons\"]\n\
         sensitivity = { constant = 3 }\n";
    let mut bad = || offices.planted.plant("bad cell");
    let rows = [
        format!("1,{},Anne,{},weapons", bad(), bad()),
        format!("2,{},Anne,1980-01-01,{}", bad(), bad()),
        format!("3,{},\"{},1980-01-01,weapons", bad(), bad()),
        format!("4,{}", bad()),
    ];
    let csv = format!("no,last,first,born,flag\n{}\n", rows.join("\n"));
    let ran = offices.federation.import(POLICE, mapping, &csv).await?;
    assert_eq!(ran.code, 1, "{ran:?}");
    let column = offices.planted.plant("unknown column");
    let other = mapping.replace("\"flag\"", &format!("\"{column}\""));
    let ran = offices.federation.import(POLICE, &other, &csv).await?;
    assert_eq!(ran.code, 1, "{ran:?}");
    let key = offices.planted.plant("unknown setting");
    let other = format!("{key} = \"{key}\"\n{mapping}");
    let ran = offices.federation.import(POLICE, &other, &csv).await?;
    assert_eq!(ran.code, 1, "{ran:?}");
    Ok(())
}

/// Spoils one field of a request with a planted text.
type Spoil = fn(&mut v1::AskRequest, String);

/// Every field that is free text or a code on the wire.
const SPOILT: [(&str, Spoil); 12] = [
    ("unknown agency", |r, text| r.holder = text),
    ("unknown purpose", |r, text| r.purpose = text),
    ("unknown basis", |r, text| r.basis = text),
    ("bad case", |r, text| r.case = text),
    ("bad consent", |r, text| r.consent = text),
    ("bad agreement", |r, text| r.agreement = text),
    ("bad emergency", |r, text| r.emergency = text),
    ("unknown worker", |r, text| r.worker = text),
    ("too long a reason", |r, text| {
        r.justification = text.repeat(500)
    }),
    ("unknown category", |r, text| r.items[0].category = text),
    ("unknown level", |r, text| r.items[0].level = text),
    ("bad date", |r, text| {
        r.person.as_mut().unwrap().birth_date = text
    }),
];

/// Past the command line, which would stop some of it.
async fn requests(offices: &mut Offices) -> Result<()> {
    let good = v1::AskRequest {
        person: Some(v1::Person {
            family_name: offices.planted.plant("family name of a bad request"),
            given_name: offices.planted.plant("given name of a bad request"),
            birth_date: "1970-01-01".to_owned(),
        }),
        holder: CLINIC.to_owned(),
        items: vec![v1::AskItem {
            category: "in_service".to_owned(),
            level: "known".to_owned(),
        }],
        purpose: "plan".to_owned(),
        basis: "consent".to_owned(),
        justification: offices.planted.plant("justification of a bad request"),
        worker: offices.workers[POLICE].clone(),
        ..v1::AskRequest::default()
    };
    let mut node = offices.federation.node(POLICE).await?;
    for (what, spoil) in SPOILT {
        let mut request = good.clone();
        spoil(&mut request, offices.planted.plant_lower(what));
        refused(node.ask(request).await, what);
    }
    Ok(())
}

async fn others(offices: &mut Offices) -> Result<()> {
    let mut node = offices.federation.node(POLICE).await?;
    let mut bad = |what: &str| offices.planted.plant_lower(what);
    let draft = format!("{} = \"{}\"", bad("bad draft"), bad("bad draft"));
    let reply = node
        .propose_agreement(v1::ProposeAgreementRequest { draft })
        .await;
    refused(reply, "a bad draft was accepted");
    let reply = node.show_consents(v1::ShowConsentsRequest {
        consent: bad("bad consent"),
    });
    refused(reply.await, "a bad consent was shown");
    let show = v1::ShowRequest {
        request: bad("bad request"),
        worker: bad("unknown worker"),
    };
    refused(node.show(show).await, "a bad request was shown");
    let review = v1::ReviewRequest {
        request: "req-00112233445566778899aabbccddeeff".to_owned(),
        verdict: bad("bad verdict"),
        worker: offices.workers[POLICE].clone(),
        record: bad("bad record"),
    };
    refused(node.review(review).await, "a bad verdict was taken");
    let person = v1::Person {
        family_name: offices.planted.plant("family name of a bad consent"),
        given_name: offices.planted.plant("given name of a bad consent"),
        birth_date: "1970-01-02".to_owned(),
    };
    let consent = v1::RecordConsentRequest {
        person: Some(person.clone()),
        categories: vec![offices.planted.plant_lower("unknown category")],
        ..v1::RecordConsentRequest::default()
    };
    refused(
        node.record_consent(consent).await,
        "a bad consent was recorded",
    );
    let case = v1::OpenCaseRequest {
        profile: "situation_table".to_owned(),
        agencies: vec![offices.planted.plant_lower("unknown agency at a table")],
        person: Some(person),
    };
    refused(node.open_case(case).await, "a bad case was opened");
    Ok(())
}
