//! `agreement check` and `agreement print`: the document of an agreement, from a file or a node.

use crate::cli::{
    Global, Lang, backend,
    failure::{Exit, Failure},
    output,
};
use passerelle_agent::isa::{
    Document,
    print::{self, Paper},
    read,
};
use passerelle_model::{error::ErrorCode, ids::AgreementId};
use passerelle_policies::{Library, embedded_files};
use passerelle_proto::{v1, views::AgreementView};
use serde::Serialize;
use std::path::Path;

/// What came of a check.
#[derive(Serialize)]
struct Checked {
    file: String,
    /// The digest that the terms would hold.
    digest: Option<String>,
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Printed {
    text: String,
}

#[derive(Serialize)]
struct Problem {
    line: usize,
    reason: String,
}

pub(super) fn library() -> Result<Library, Failure> {
    Library::load(&embedded_files()).map_err(|e| Failure::failed(e.to_string()))
}

fn read_file(path: &Path) -> Result<Result<Document, Vec<read::Problem>>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?;
    Ok(read::read(&text, &library()?))
}

/// Says what is wrong with a draft.
pub(super) fn check(global: Global, path: &Path) -> Result<Exit, Failure> {
    let file = path.display().to_string();
    let (checked, exit) = match read_file(path)? {
        Ok(document) => {
            let digest = document
                .digest()
                .map_err(|e| Failure::failed(e.to_string()))?;
            let checked = Checked {
                file,
                digest: Some(digest.to_string()),
                problems: Vec::new(),
            };
            (checked, Exit::Done)
        }
        Err(problems) => {
            let problems = problems.into_iter().map(|p| Problem {
                line: p.line,
                reason: p.reason,
            });
            let checked = Checked {
                file,
                digest: None,
                problems: problems.collect(),
            };
            (checked, Exit::Refused)
        }
    };
    output::print(global, &checked, |checked| match &checked.digest {
        Some(digest) => format!("{}: complete; digest {digest}\n", checked.file),
        None => {
            let lines = checked.problems.iter();
            lines
                .map(|p| format!("{}:{}: {}\n", checked.file, p.line, p.reason))
                .collect()
        }
    })?;
    Ok(exit)
}

/// Prints an agreement that a node knows, or a draft.
pub(super) async fn print(
    global: Global,
    dir: Option<&Path>,
    what: &str,
    language: Lang,
    html: bool,
) -> Result<Exit, Failure> {
    let paper = match (what.parse::<AgreementId>(), dir) {
        (Ok(id), Some(dir)) => known(dir, &id).await?,
        (Ok(_), None) => {
            let hint = "an agreement is printed by the node that knows it: give its `--dir`";
            return Err(Failure::usage(hint));
        }
        (Err(_), _) => draft(Path::new(what))?,
    };
    let (library, language) = (library()?, language.language());
    let text = match html {
        true => print::html(&paper, &library, language),
        false => print::text(&paper, &library, language),
    };
    output::print(global, &Printed { text }, |printed| printed.text.clone())?;
    Ok(Exit::Done)
}

fn draft(path: &Path) -> Result<Paper, Failure> {
    let document = read_file(path)?.map_err(|problems| {
        let file = path.display();
        let problems: Vec<_> = problems.iter().map(|p| format!("{file}: {p}")).collect();
        Failure::coded(ErrorCode::Malformed, Some(problems.join("; ")))
    })?;
    // A draft has no id and no number yet; neither is printed.
    let terms = document.terms(AgreementId::from_random([0; 16]), 1);
    Ok(Paper {
        terms: terms.map_err(|e| Failure::failed(e.to_string()))?,
        document: Some(document),
        known: None,
    })
}

async fn known(dir: &Path, id: &AgreementId) -> Result<Paper, Failure> {
    let mut node = backend::connect(dir).await?;
    let request = v1::ShowAgreementsRequest {
        agreement: id.to_string(),
    };
    let views: Vec<AgreementView> = backend::document(node.show_agreements(request).await)?;
    let Some(view) = views.into_iter().next() else {
        return Err(Failure::failed(
            "the node shows no such agreement".to_owned(),
        ));
    };
    let document = match &view.document {
        None => None,
        Some(json) => {
            let document = Document::from_bytes(json.as_bytes());
            Some(document.map_err(|e| Failure::failed(e.to_string()))?)
        }
    };
    Ok(Paper {
        terms: view.terms.clone(),
        document,
        known: Some(view),
    })
}
