//! `search`: entries of an export, verified first, by what they say.

use crate::{
    FAULT, UNREADABLE,
    exports::{Failed, Source, exit, is_of},
};
use clap::Args;
use passerelle_audit::{
    disclosure::DisclosureError,
    search::{self, SearchArgs, SearchError},
};
use passerelle_model::bytes::Handle;
use std::{io::Write as _, process::ExitCode};

/// Wrong usage, as for an argument that is none.
const USAGE: u8 = 2;

pub(crate) const EXAMPLES: &str = "\
Examples:
  passerelle-audit search export.jsonl --decision deny --from 2026-11-01 --until 2026-11-30
      What was denied in November, and by which rules?
  passerelle-audit search export.jsonl --requester police --purpose plan --count
  passerelle-audit search export.jsonl --request req-0123456789abcdef0123456789abcdef --json
  passerelle-audit search e.jsonl --type consent --type withdrawal --agency clinic --limit 1000

Of several values of one argument an entry must have one; all arguments must hold, and category,
decision and rule must hold of one and the same item. `--decision` and `--rule` find the entries
that decide; the other arguments find all that belongs to an exchange.
An export by an oversight body opens whom entries are about: `--handle` finds them.
Exit codes: 0 done, also if nothing was found, 1 a fault was found, 2 wrong usage or a name that
stands nowhere in the export, 3 a file can't be read or written.";

#[derive(Args)]
pub(crate) struct SearchArguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    search: SearchArgs,
    /// The person's handle, 64 hexadecimal digits; may be repeated.
    #[arg(long, value_name = "HEX", value_parser = Handle::from_hex)]
    handle: Vec<Handle>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn search(arguments: &SearchArguments) -> ExitCode {
    exit(run(arguments))
}

fn run(arguments: &SearchArguments) -> Result<(), Failed> {
    let SearchArguments {
        source,
        search,
        handle,
        json,
    } = arguments;
    let report = source.verified()?;
    let mut query = search.query();
    query.persons = handle.iter().copied().collect();
    let limits = search.limits();
    let (page, root) = search::in_export(source.open()?, query, limits)?;
    is_of(&report, page.size, root)?;
    let text = match (search.count, json) {
        (true, false) => format!("{}\n", page.matched),
        (true, true) => format!("{}\n", serde_json::json!({"matched": page.matched})),
        (false, false) => search::table(&page, limits),
        (false, true) => {
            let json = serde_json::to_string_pretty(&page);
            let json = json.map_err(|error| Failed(format!("{error}\n"), UNREADABLE))?;
            format!("{json}\n")
        }
    };
    source.write(|out| {
        out.write_all(text.as_bytes())
            .map_err(|error| DisclosureError::Write(error).into())
    })
}

impl From<SearchError> for Failed {
    fn from(error: SearchError) -> Self {
        let code = match &error {
            SearchError::Export(_) => UNREADABLE,
            // It was verified: the file changed since.
            SearchError::Entry { .. } => FAULT,
            SearchError::Unknown { .. } => USAGE,
        };
        Self(format!("{error}\n"), code)
    }
}
