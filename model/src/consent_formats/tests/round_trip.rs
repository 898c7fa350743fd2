//! What is written reads back as it was; what has ended or was withdrawn does not read back.

use super::*;

proptest! {
    #[test]
    fn a_record_reads_back_as_it_was_written(file in consent_file()) {
        for format in FORMATS {
            let value = written(&file, &Standing::default(), format);
            let read = read_value(&value).map_err(|e| TestCaseError::fail(format!("{e}\n{value}")))?;
            prop_assert_eq!(&read.file, &file);
            match format {
                Format::Fhir => {
                    prop_assert_eq!(read.surroundings, None);
                    prop_assert_eq!(read.not_kept, Vec::<String>::new());
                }
                Format::Iso27560 => {
                    prop_assert_eq!(read.surroundings, Some(surroundings(&file)));
                }
            }
        }
    }

    #[test]
    fn a_record_that_has_ended_or_was_withdrawn_is_never_read_as_a_consent(
        file in consent_file(),
        which in 0..5_usize,
        n in any::<prop::sample::Index>(),
    ) {
        let recipient = n.get(&file.recipients).clone();
        let category = *n.get(&file.categories);
        let withdrawn = |scope| Standing { withdrawn: vec![scope], is_expired: false };
        let standing = match which {
            0 => withdrawn(WithdrawalScope::All),
            1 => withdrawn(WithdrawalScope::Recipient(recipient)),
            2 => withdrawn(WithdrawalScope::Category(category)),
            3 => Standing { withdrawn: Vec::new(), is_expired: true },
            _ => Standing { withdrawn: vec![WithdrawalScope::All], is_expired: true },
        };
        for format in FORMATS {
            let value = written(&file, &standing, format);
            prop_assert!(read_value(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn no_field_can_be_added_anywhere(file in consent_file(), n in any::<prop::sample::Index>()) {
        for format in FORMATS {
            let value = written(&file, &Standing::default(), format);
            let mut places = Vec::new();
            objects("", &value, &mut places);
            let mut doctored = value.clone();
            let place = n.get(&places);
            let object = doctored.pointer_mut(place).and_then(Value::as_object_mut);
            object.unwrap().insert("condition".to_owned(), Value::Bool(true));
            let refused = read_value(&doctored).unwrap_err();
            prop_assert!(refused.path.contains("condition"), "{refused}");
        }
    }

    #[test]
    fn no_field_can_be_taken_away(file in consent_file(), n in any::<prop::sample::Index>()) {
        for format in FORMATS {
            let value = written(&file, &Standing::default(), format);
            let mut places = Vec::new();
            objects("", &value, &mut places);
            let mut doctored = value.clone();
            let place = n.get(&places);
            let object = doctored.pointer_mut(place).and_then(Value::as_object_mut);
            let object = object.unwrap();
            let name = object.keys().nth(n.index(object.len())).unwrap().clone();
            object.remove(&name);
            if let Ok(read) = read_value(&doctored) {
                prop_assert_ne!(read.file, file.clone(), "{}", name);
            }
        }
    }

    #[test]
    fn stray_bytes_are_refused_and_no_panic(bytes in vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes, None, &federation()).is_err());
    }

    #[test]
    fn moments_read_back_to_the_millisecond(at in 0..253_402_300_800_000_u64) {
        let text = instant::text(Timestamp(at));
        prop_assert_eq!(instant::parse(&text), Some(Timestamp(at)), "{}", text);
    }
}

/// Pointers to all objects, but those whose fields say nothing of a consent.
fn objects(path: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            found.push(path.to_owned());
            for (name, value) in object {
                let name = name.replace('~', "~0").replace('/', "~1");
                objects(&format!("{path}/{name}"), value, found);
            }
        }
        Value::Array(list) => {
            for (n, value) in list.iter().enumerate() {
                objects(&format!("{path}/{n}"), value, found);
            }
        }
        _ => {}
    }
}

#[test]
fn every_code_of_every_vocabulary_reads_back() {
    for format in FORMATS {
        let mut file = full();
        file.categories = Category::ALL.to_vec();
        file.purposes = Purpose::ALL.to_vec();
        file.purposes.retain(|purpose| !purpose.is_prohibited());
        for giver in ConsentGiver::ALL {
            for capacity in Capacity::ALL {
                for method in ConsentMethod::ALL {
                    for language in Language::ALL {
                        (file.giver, file.capacity) = (*giver, *capacity);
                        (file.method, file.language) = (*method, *language);
                        let value = written(&file, &Standing::default(), format);
                        assert_eq!(read_value(&value).unwrap().file, file);
                    }
                }
            }
        }
    }
}

#[test]
fn known_moments_are_read_in_any_zone() {
    for (text, millis) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-21T14:03:09Z", 1_795_269_789_000),
        ("2026-11-21T14:03:09.000Z", 1_795_269_789_000),
        ("2026-11-21T09:03:09-05:00", 1_795_269_789_000),
        ("2026-11-21T09:03:09.5-05:00", 1_795_269_789_500),
        ("2026-11-22T01:03:09+11:00", 1_795_269_789_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
    ] {
        assert_eq!(instant::parse(text), Some(Timestamp(millis)), "{text}");
    }
}

#[test]
fn what_is_no_moment_is_refused() {
    for text in [
        "",
        "2026",
        "2026-11-21",
        "2026-11-21T14:03:09",
        "2026-11-21T14:03Z",
        "2026-11-21 14:03:09Z",
        "2026-11-21t14:03:09z",
        "2026-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T23:59:60Z",
        "2026-11-21T14:03:09.Z",
        "2026-11-21T14:03:09.1234Z",
        "2026-11-21T14:03:09+5:00",
        "2026-11-21T14:03:09+15:00",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "+2026-11-21T14:03:09Z",
        "2026-11-21T14:03:09Z ",
    ] {
        assert_eq!(instant::parse(text), None, "{text}");
    }
}

#[test]
fn the_longest_record_fits_several_times_into_the_limit() {
    let mut file = full();
    let agency = |n: usize| format!("agence-{n:02}{}", "-x".repeat(15)).parse().unwrap();
    file.recipients = (0..MAX_LIST / 2).map(agency).collect();
    file.disclosers = (0..MAX_LIST / 2).map(agency).collect();
    file.categories = Category::ALL.to_vec();
    for format in FORMATS {
        let text = written(&file, &Standing::default(), format).to_string();
        assert!(text.len() * 2 < MAX_FILE_BYTES, "{}", text.len());
        assert_eq!(
            read(text.as_bytes(), Some(format), &federation())
                .unwrap()
                .file,
            file
        );
    }
}
