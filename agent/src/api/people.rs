//! The people whom this agency holds records about: imported, forgotten.

use super::{Reply, document, refuse, refused};
use crate::{
    facts::csv_import::SourceId,
    forget::{self, Left},
    import::{self, How, ImportFailure},
    node::Node,
};
use passerelle_model::error::ErrorCode;
use passerelle_proto::{v1, views::Done};

pub(super) async fn import(node: &Node, request: v1::ImportFactsRequest) -> Reply {
    let v1::ImportFactsRequest {
        mapping,
        csv,
        dry_run,
        bring_back,
    } = request;
    let how = How {
        dry_run,
        bring_back,
    };
    let report = import::import(node, &mapping, &csv, how).await;
    let report = report.map_err(|error| match error {
        ImportFailure::File(message) => refuse(ErrorCode::Malformed, message),
        ImportFailure::Agent(code) => refused(code),
    })?;
    document(&report)
}

pub(super) async fn forget(node: &Node, request: v1::ForgetPersonRequest) -> Reply {
    let id = request.source_id;
    let left = forget::forget(node, SourceId(id.clone())).await;
    let left = left.map_err(|code| match code {
        // The id typed is not repeated: it may be a name in the wrong field.
        ErrorCode::OutOfRange => refuse(
            code,
            "nobody was imported under this id; it is the id in the source, of the column that the \
             mapping names as `source_id`",
        ),
        code => refused(code),
    })?;
    let status = match left {
        Left::Nothing => "done",
        Left::InTheClear => {
            "but an earlier version wrote this person in the clear: the journal's segments from \
             then, and copies of them, say it still"
        }
    };
    document(&Done {
        id,
        index: None,
        status: status.to_owned(),
    })
}
