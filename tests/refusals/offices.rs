//! A clinic that holds, a house that asks, an oversight body, one person.

use anyhow::Result;
use passerelle_tests::federation::Federation;

pub(crate) const EXE: &str = env!("CARGO_BIN_EXE_passerelle");
pub(crate) const CLINIC: &str = "clinic";
pub(crate) const HOUSE: &str = "house";
pub(crate) const OVERSIGHT: &str = "oversight";
pub(crate) const AGENCIES: [&str; 3] = [CLINIC, HOUSE, OVERSIGHT];
pub(crate) const WORKER: &str = "worker-1";

/// A mapping with an id, a person, a coded fact and a text.
pub(crate) const MAPPING: &str = "source_id = \"no\"\ndate_formats = [\"YYYY-MM-DD\"]\n\
     [person]\nfamily_name = \"last\"\ngiven_name = \"first\"\nbirth_date = \"born\"\n\
     [[fact]]\ncategory = \"in_service\"\ncode = \"state\"\ncodes = [\"active\", \"paused\"]\n\
     contact = { constant = \"Desk, 555-0140\" }\nsensitivity = { constant = 1 }\n";

pub(crate) async fn open() -> Result<Federation> {
    let mut federation = Federation::start(EXE).await?;
    for (agency, sector, role) in [
        (CLINIC, "health", "nurse"),
        (HOUSE, "community", "mentor"),
        (OVERSIGHT, "oversight", "privacy_officer"),
    ] {
        let worker = format!("{WORKER}:{role}");
        federation.open_office(agency, sector, &[&worker]).await?;
    }
    federation.all_know_each_other(&AGENCIES).await?;
    Ok(federation)
}
