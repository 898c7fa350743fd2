//! `passerelle audit search`: entries of the log, by what they say.

use super::Place;
use crate::cli::{Global, backend, codes, failure::Failure, output};
use clap::Args;
use passerelle_agent::audit_read::SearchView;
use passerelle_audit::search::{SearchArgs, table};
use passerelle_proto::v1;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  passerelle audit search --dir /srv/oversight --decision deny --from 2026-11-01 --until 2026-11-30
  passerelle audit search --dir /srv/oversight --requester police-nord --purpose plan --count
  passerelle audit search --dir /srv/oversight --person person.toml --json
  passerelle audit search --dir /srv/police-nord --worker officer-12 --category in_service
  passerelle audit search --dir /srv/oversight --mirror --type withdrawal --type consent

Of several values of one argument an entry must have one; all arguments must hold, and category,
decision and rule must hold of one and the same item. `--decision` and `--rule` find the entries
that decide; the other arguments find all that belongs to an exchange.
An agency finds what names it, an oversight body all. Persons and workers are found where this
agency has what opens them: an oversight body those persons whom the broker still knows, an agency
those of what it asked, until it is erased, and of consents that name it. The mirror opens nobody.
Of an exported file: passerelle-audit search FILE";

#[derive(Debug, Args)]
pub(super) struct SearchCommand {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    search: SearchArgs,
    /// About the person in this file (family_name, given_name, birth_date); may be repeated
    #[arg(long, value_name = "FILE")]
    person: Vec<PathBuf>,
}

/// Runs the command.
pub(super) async fn run(global: Global, command: SearchCommand) -> Result<(), Failure> {
    let SearchCommand {
        place,
        search,
        person,
    } = command;
    let persons = person.iter().map(|path| codes::person(path));
    let limits = search.limits();
    let request = v1::AuditSearchRequest {
        query: serde_json::to_string(&search.query())?,
        persons: persons.collect::<Result<_, _>>()?,
        after: limits.after,
        limit: u32::try_from(limits.most).unwrap_or(u32::MAX),
        mirror: place.mirror,
    };
    let mut node = backend::connect(&place.dir).await?;
    let found: SearchView = backend::document(node.audit_search(request).await)?;
    if search.count {
        let count = serde_json::json!({
            "matched": found.page.matched,
            "not_readable": found.page.not_readable,
        });
        return output::print(global, &count, |_| found.page.matched.to_string());
    }
    output::print(global, &found, |found| {
        let mut text = table(&found.page, limits);
        if found.from_mirror {
            text.push_str(&format!(
                "read from this agency's own mirror of the log: {} entries, verified\n",
                found.page.size
            ));
        }
        text
    })
}
