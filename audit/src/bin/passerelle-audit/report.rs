//! `report`: how often agencies asked each other, by an export that is verified first.

use crate::{
    FAULT, UNREADABLE,
    exports::{Failed, Source, exit, is_of},
};
use clap::{Args, builder::PossibleValuesParser};
use passerelle_audit::{
    disclosure::DisclosureError,
    report::{self, LEAST, Property, ReportError},
    search::Bound,
};
use std::{io::Write as _, process::ExitCode};

/// Wrong usage, as for an argument that is none.
const USAGE: u8 = 2;

pub(crate) const EXAMPLES: &str = "\
Examples:
  passerelle-audit report export.jsonl --rows holder
      How many exchanges has each agency answered?
  passerelle-audit report export.jsonl --rows purpose --columns outcome --from 2026-01-01
  passerelle-audit report export.jsonl --rows month --columns basis --csv --out 2026.csv

A number about fewer than 10 people is withheld (`--k` asks for more, never for fewer), and so is
any number from which it could be computed. People are those whom the export opens: that of an
oversight body opens them all, with another most numbers are withheld.
Publish one table of a period: two tables of the same exchanges can say what neither says alone.
Exit codes: 0 done, 1 a fault was found, 2 wrong usage, 3 a file can't be read or written.";

#[derive(Args)]
pub(crate) struct ReportArguments {
    #[command(flatten)]
    source: Source,
    /// What the rows are.
    #[arg(long, value_name = "PROPERTY", value_parser = properties())]
    rows: String,
    /// What the columns are; without, one column.
    #[arg(long, value_name = "PROPERTY", value_parser = properties())]
    columns: Option<String>,
    /// Settled on this day or later, or at this instant (UTC).
    #[arg(long, value_name = "DAY|TIME")]
    from: Option<Bound>,
    /// Settled on this day or earlier, or before this instant (UTC).
    #[arg(long, value_name = "DAY|TIME")]
    until: Option<Bound>,
    /// The fewest people whom a number may be about.
    #[arg(long, value_name = "N", default_value_t = LEAST)]
    k: usize,
    /// Comma-separated values; a withheld number is empty.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print JSON; a withheld number is null.
    #[arg(long)]
    json: bool,
}

fn properties() -> PossibleValuesParser {
    Property::ALL.map(|(code, _)| code).into()
}

pub(crate) fn report(arguments: &ReportArguments) -> ExitCode {
    exit(run(arguments))
}

fn property(code: &str) -> Result<Property, Failed> {
    let mut all = Property::ALL.iter();
    let found = all.find(|(known, _)| *known == code);
    found
        .map(|(_, property)| *property)
        .ok_or_else(|| Failed(format!("`{code}` is no property\n"), USAGE))
}

fn run(arguments: &ReportArguments) -> Result<(), Failed> {
    let refuse = |message: String| Err(Failed(message, USAGE));
    if arguments.k < LEAST {
        return refuse(format!("`--k` is {LEAST} at least: fewer could be found\n"));
    }
    if arguments.columns.as_ref() == Some(&arguments.rows) {
        return refuse("rows and columns are the same property\n".to_owned());
    }
    let source = &arguments.source;
    let verified = source.verified()?;
    let columns = arguments.columns.as_deref().map(property).transpose()?;
    let period = (
        arguments.from.map(Bound::from),
        arguments.until.map(Bound::until),
    );
    let rows = property(&arguments.rows)?;
    let (table, walked) = report::count(source.open()?, rows, columns, period)?;
    is_of(&verified, walked.size, walked.root)?;
    let shown = table.shown(arguments.k);
    let text = match (arguments.csv, arguments.json) {
        (true, _) => shown.csv(),
        (_, false) => shown.text(),
        (_, true) => {
            let json = serde_json::to_string_pretty(&shown);
            json.map_err(|error| Failed(format!("{error}\n"), UNREADABLE))? + "\n"
        }
    };
    source.write(|out| {
        out.write_all(text.as_bytes())
            .map_err(|error| DisclosureError::Write(error).into())
    })
}

impl From<ReportError> for Failed {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Walk(DisclosureError::Entry { .. }) => Self(format!("{error}\n"), FAULT),
            ReportError::Walk(error) => error.into(),
            ReportError::TooLarge => Self(format!("{error}\n"), USAGE),
        }
    }
}
