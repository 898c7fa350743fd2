//! The files of the shipped legal packs.

macro_rules! embedded {
    ($($path:literal),* $(,)?) => {
        &[$((
            concat!("packs/", $path),
            include_str!(concat!("../library/packs/", $path)),
        )),*]
    };
}

/// By path in the bundle. A test finds any that is forgotten here.
pub(crate) const FILES: &[(&str, &str)] = embedded![
    "be/pack.toml",
    "be/policies/consultation.cedar",
    "be/tests/consultation.toml",
    "be/texts.toml",
    "ca-bc/pack.toml",
    "ca-bc/policies/shift.cedar",
    "ca-bc/tests/shift.toml",
    "ca-bc/texts.toml",
    "ca-federal/pack.toml",
    "ca-federal/policies/federal.cedar",
    "ca-federal/policies/youth.cedar",
    "ca-federal/tests/duties.toml",
    "ca-federal/tests/youth.toml",
    "ca-federal/texts.toml",
    "ca-on/pack.toml",
    "ca-on/policies/services.cedar",
    "ca-on/tests/notice.toml",
    "ca-on/texts.toml",
    "ca-qc/pack.toml",
    "ca-qc/policies/emergency.cedar",
    "ca-qc/tests/emergency.toml",
    "ca-qc/texts.toml",
    "ca-sk/pack.toml",
    "ca-sk/policies/services.cedar",
    "ca-sk/tests/services.toml",
    "ca-sk/texts.toml",
    "dk/pack.toml",
    "dk/policies/forum.cedar",
    "dk/tests/forum.toml",
    "dk/texts.toml",
    "eu/pack.toml",
    "eu/policies/police.cedar",
    "eu/tests/police.toml",
    "eu/texts.toml",
    "nl/pack.toml",
    "nl/policies/partnership.cedar",
    "nl/tests/partnership.toml",
    "nl/texts.toml",
    "uk/pack.toml",
    "uk/policies/channel.cedar",
    "uk/tests/channel.toml",
    "uk/texts.toml",
    "us/pack.toml",
    "us/policies/consent.cedar",
    "us/policies/emergency.cedar",
    "us/tests/consent.toml",
    "us/tests/emergency.toml",
    "us/texts.toml",
];
