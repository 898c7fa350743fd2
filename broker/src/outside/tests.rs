use super::*;
use passerelle_audit::{cosignature::Cosigner, keys::SigningKey, note::Signer};

fn config(url: &str, seed: u8) -> OutsideConfig {
    let key = SigningKey::from_seed(&[seed; 32]);
    let cosigner = Cosigner::new("witness.example/w", key).unwrap();
    OutsideConfig {
        url: url.to_owned(),
        key: cosigner.verifier_key().to_string(),
    }
}

#[test]
fn the_submission_prefix_is_kept_and_what_is_no_plain_url_is_refused() {
    for (url, target) in [
        (
            "http://192.0.2.7:8080",
            "http://192.0.2.7:8080/add-checkpoint",
        ),
        ("http://w.example/", "http://w.example/add-checkpoint"),
        (
            "http://w.example/a/b",
            "http://w.example/a/b/add-checkpoint",
        ),
    ] {
        let parsed = Outside::parse(&[config(url, 1)]).unwrap();
        assert_eq!(parsed[0].target.to_string(), target);
        assert_eq!(parsed[0].view().url, url);
    }
    for url in [
        "",
        "w.example",
        "/a",
        "https://w.example",
        "ftp://w.example",
        "http://",
        "http://w.example/?a=b",
        "http://w.example/a b",
    ] {
        let error = Outside::parse(&[config(url, 1)]).err();
        assert!(
            error.is_some_and(|e| e.contains(&format!("`{url}`"))),
            "{url}"
        );
    }
}

#[test]
fn a_key_is_a_witnesss_and_there_once() {
    let one = config("http://w.example", 1);
    assert!(Outside::parse(&[one.clone(), config("http://v.example", 2)]).is_ok());
    assert!(Outside::parse(&[one.clone(), config("http://v.example", 1)]).is_err());
    let log = Signer::new("log", SigningKey::from_seed(&[3; 32])).unwrap();
    for key in ["", "w", &log.verifier_key().to_string()] {
        let url = one.url.clone();
        let key = key.to_owned();
        assert!(Outside::parse(&[OutsideConfig { url, key }]).is_err());
    }
    let many: Vec<_> = (0..=16).map(|n| config("http://w.example", n)).collect();
    assert!(Outside::parse(&many[..16]).is_ok());
    assert!(Outside::parse(&many).is_err());
}

#[test]
fn each_status_has_its_meaning() {
    let reply = |status: u16, body: &str| Reply {
        status: StatusCode::from_u16(status).unwrap(),
        body: body.as_bytes().to_vec(),
    };
    // The checkpoint has 9 entries, and the witness was taken to stand at 5.
    for (status, body, meaning) in [
        (200, "", Ok(None)),
        (409, "7\n", Ok(Some(7))),
        (409, "0\n", Ok(Some(0))),
        (409, "9\n", Ok(Some(9))),
        (409, "10\n", Err(Trouble::SawMore(10))),
        (409, "5\n", Err(Trouble::SawOther(5))),
        (409, "7", Err(Trouble::Malformed)),
        (409, "07\n", Err(Trouble::Malformed)),
        (409, "+7\n", Err(Trouble::Malformed)),
        (409, "", Err(Trouble::Malformed)),
        (422, "", Err(Trouble::SawOther(5))),
        (404, "", Err(Trouble::Status(404))),
        (403, "", Err(Trouble::Status(403))),
        (302, "", Err(Trouble::Status(302))),
        (500, "", Err(Trouble::Status(500))),
        (204, "", Err(Trouble::Status(204))),
    ] {
        let known = reply(status, body).known_size(9, 5);
        assert_eq!(known, meaning, "{status} {body:?}");
    }
}

#[test]
fn what_went_wrong_stays_for_the_operator_until_it_goes_right() {
    let outside = &Outside::parse(&[config("http://w.example", 1)]).unwrap()[0];
    assert_eq!((outside.view().size, outside.view().error), (0, None));
    assert!(!note(outside, 9, &Err(Trouble::TooSlow)));
    let error = outside.view().error.unwrap();
    assert!(error.contains("in time"), "{error}");
    assert!(!note(outside, 9, &Err(Trouble::SawMore(12))));
    assert_ne!(outside.view().error, Some(error));
    assert!(note(outside, 9, &Ok(())));
    let view = outside.view();
    assert_eq!((view.size, view.error), (9, None));
    assert!(view.cosigned_at_ms.is_some());
}

#[test]
fn more_required_than_there_are_is_refused() {
    let two = [config("http://w.example", 1), config("http://v.example", 2)];
    for required in 0..=2 {
        let all = Outside::parse(&two).unwrap();
        assert_eq!(Outside::enough(all, required).unwrap().len(), 2);
    }
    let refused = Outside::enough(Outside::parse(&two).unwrap(), 3).err();
    assert!(refused.unwrap().contains("`outside_required` is 3"));
    assert!(Outside::enough(Vec::new(), 1).is_err());
}
