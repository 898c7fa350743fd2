//! `passerelle agent consent export` and `import`: consents in the formats of others.

use super::Place;
use crate::cli::{
    Global, backend, codes,
    failure::{Exit, Failure},
    output, render,
};
use clap::Args;
use passerelle_model::{
    consent_formats::{Format, MAX_FILE_BYTES, Surroundings},
    ids::ConsentId,
};
use passerelle_proto::{v1, views::ConsentImport};
use serde_json::Value;
use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

pub(super) const EXPORT_EXAMPLES: &str = "\
Examples:
  passerelle agent consent export --dir /srv/sante-centre --format fhir \\
    consent-00112233445566778899aabbccddeeff
  passerelle agent consent export --dir /srv/sante-centre --format iso27560 \\
    --surroundings surroundings.toml --all

One consent is written over several lines, all of them one a line. The person is told by the
federation's pseudonym, never by name. docs/CONSENT.md says what each field means; an example of
the file of --surroundings is docs/examples/surroundings.toml.";

pub(super) const IMPORT_EXAMPLES: &str = "\
Examples:
  passerelle agent consent import --dir /srv/sante-centre --person person.toml consent.json
  passerelle agent consent import --dir /srv/sante-centre --person person.toml --subject 4711 \\
    --dry-run consent.json

The file must be a record of this agency about that person, in force, and say nothing that a
consent here can't hold: docs/CONSENT.md says what is refused. A consent is recorded once: the same
file again is refused.";

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    place: Place,
    /// fhir (HL7 FHIR R4 Consent) or iso27560 (ISO/IEC TS 27560, JSON-LD)
    #[arg(long)]
    format: Format,
    /// The consent
    #[arg(
        value_name = "ID",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    consent: Option<ConsentId>,
    /// All that name this agency
    #[arg(long)]
    all: bool,
    /// What iso27560 wants and no record holds: jurisdictions, storage, address of each agency
    #[arg(long, value_name = "FILE.toml", required_if_eq("format", "iso27560"))]
    surroundings: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    place: Place,
    /// TOML file with family_name, given_name, birth_date of the person whose consent it is
    #[arg(long, value_name = "FILE")]
    person: PathBuf,
    /// The identifier by which the file tells of that person, compared by you
    #[arg(long, value_name = "TEXT", default_value = "")]
    subject: String,
    /// fhir or iso27560 [default: what the file says of itself]
    #[arg(long)]
    format: Option<Format>,
    /// Check only, record nothing
    #[arg(long)]
    dry_run: bool,
    /// The file
    #[arg(value_name = "FILE.json")]
    file: PathBuf,
}

pub(super) async fn export(global: Global, args: ExportArgs) -> Result<Exit, Failure> {
    let surroundings = match &args.surroundings {
        None => String::new(),
        Some(path) => serde_json::to_string(&surroundings(path)?)?,
    };
    let request = v1::ExportConsentsRequest {
        consent: args
            .consent
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        format: args.format.to_string(),
        surroundings,
    };
    let mut node = backend::connect(&args.place.dir).await?;
    let written: Vec<Value> = backend::document(node.export_consents(request).await)?;
    match (args.consent, written.as_slice()) {
        (Some(_), [only]) => output::print(global, only, |only| format!("{only:#}"))?,
        (_, all) => {
            for one in all {
                output::line(&one.to_string())?;
            }
        }
    }
    Ok(Exit::Done)
}

fn surroundings(path: &Path) -> Result<Surroundings, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?;
    toml::from_str(&text).map_err(|e| Failure::usage(format!("`{}`: {e}", path.display())))
}

pub(super) async fn import(global: Global, args: ImportArgs) -> Result<Exit, Failure> {
    let person = codes::person(&args.person)?;
    let request = v1::ImportConsentRequest {
        file: contents(&args.file)?,
        format: args.format.map(|f| f.to_string()).unwrap_or_default(),
        person: Some(person),
        subject: args.subject,
        dry_run: args.dry_run,
    };
    let mut node = backend::connect(&args.place.dir).await?;
    let reply = node.import_consent(request).await;
    let report: ConsentImport = backend::document(reply).map_err(|mut failure| {
        if failure.code == "malformed" {
            failure.message = format!("`{}`: {}", args.file.display(), failure.message);
        }
        failure
    })?;
    output::print(global, &report, render::consent_import)?;
    Ok(Exit::Done)
}

/// The file, or its beginning if it is longer than any that is read: enough to be refused for it.
fn contents(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |e| Failure::file(path, &e);
    let file = std::fs::File::open(path).map_err(failed)?;
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_surroundings_is_one() {
        let path = Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/docs/examples/surroundings.toml"
        ));
        let read = surroundings(path).unwrap();
        assert!(
            !read.jurisdictions.is_empty() && read.party.len() >= 2,
            "{read:?}"
        );
    }
}
