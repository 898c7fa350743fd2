//! How a command ends: exit codes, and failures in one line that says what to do.

use passerelle_model::error::{ErrorCode, Fault};
use passerelle_proto::convert::code_of;
use std::io::Write as _;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done.
    Done,
    /// 1: refused or denied.
    Refused,
    /// 2: usage.
    Usage,
    /// 3: failure.
    Failed,
}

impl Exit {
    /// The process's exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Failed => 3,
        }
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// A stable code: an error code of the model, or `usage`, `io`, `failed`.
    pub(crate) code: &'static str,
    /// What happened, lower-case.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// An argument that can't be meant.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            code: "usage",
            message: message.into(),
            hint: None,
        }
    }

    /// Something on this machine failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        let message = message.into();
        // ENOSPC comes through many layers, all of which keep the system's own words.
        let is_full = ["os error 28", "StorageFull"]
            .iter()
            .any(|w| message.contains(w));
        Self {
            exit: Exit::Failed,
            code: "failed",
            message,
            hint: is_full.then(|| MAKE_ROOM.to_owned()),
        }
    }

    /// A file that can't be read or written.
    pub(crate) fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self {
            exit: Exit::Failed,
            code: "io",
            message: format!("`{}`: {error}", path.display()),
            hint: Some("check that the path exists and may be used".to_owned()),
        }
    }

    /// An error code in its general words, or in words that fit better.
    pub(crate) fn coded(code: ErrorCode, words: Option<String>) -> Self {
        Self {
            exit: exit_of(code),
            code: code.code(),
            message: words
                .filter(|words| !words.is_empty())
                .unwrap_or_else(|| code.explanation().to_owned()),
            hint: hint(code).map(str::to_owned),
        }
    }

    /// An error that says itself what to do, under a code.
    pub(crate) fn told(code: ErrorCode, error: &dyn std::error::Error) -> Self {
        Self {
            exit: exit_of(code),
            code: code.code(),
            message: error.to_string(),
            hint: None,
        }
    }

    /// The same, with this advice.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// One line on standard error, as text or as JSON.
    pub(crate) fn report(&self, json: bool) {
        let mut stderr = std::io::stderr().lock();
        // Standard error that is closed leaves nobody to tell.
        let _nobody = writeln!(stderr, "{}", self.line(json));
    }

    fn line(&self, json: bool) -> String {
        // Messages may carry an inner error's line breaks; a script reads one line.
        let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        if json {
            serde_json::json!({
                "error": self.code,
                "message": one_line(&self.message),
                "hint": self.hint.as_deref().map(one_line),
            })
            .to_string()
        } else {
            let hint = self.hint.as_deref().map(one_line);
            let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
            format!("error[{}]: {}{hint}", self.code, one_line(&self.message))
        }
    }
}

/// A caller or a peer in the wrong was refused; operators and ourselves failed.
const fn exit_of(code: ErrorCode) -> Exit {
    match code.fault() {
        Fault::Peer | Fault::Caller => Exit::Refused,
        Fault::Operator => match code {
            ErrorCode::Revoked | ErrorCode::InviteInvalid => Exit::Refused,
            _ => Exit::Failed,
        },
        Fault::Ours => Exit::Failed,
    }
}

/// What to do when a disk is full.
const MAKE_ROOM: &str = "the disk is full: make room and start it again";

const fn hint(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::UnknownAgency => "`agent status` lists the members",
        ErrorCode::UnknownRequest => "`agent requests` and `agent inbox` list the requests",
        ErrorCode::UnknownConsent => "`agent consent show` lists the consents",
        ErrorCode::UnknownAgreement => "`agent agreement show` lists the agreements",
        ErrorCode::UnknownCase => "`agent case show` lists the cases",
        ErrorCode::UnknownAuditCase => "`agent audit-cases list` lists them",
        ErrorCode::InviteInvalid => "ask the broker's operator for a new one (`broker invite`)",
        ErrorCode::Unavailable => "check that the other process runs and try again",
        ErrorCode::WrongState => "`agent show ID` says where it stands",
        ErrorCode::Internal => "see the log of the node",
        ErrorCode::Storage => "the log of the node names the file; if the disk is full, make room",
        _ => return None,
    })
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        if let Some(code) = code_of(&status) {
            return Self::coded(code, Some(status.message().to_owned()));
        }
        match status.code() {
            tonic::Code::Unavailable | tonic::Code::DeadlineExceeded => {
                Self::coded(ErrorCode::Unavailable, None)
            }
            tonic::Code::InvalidArgument => Self {
                exit: Exit::Refused,
                code: "invalid",
                message: status.message().to_owned(),
                hint: None,
            },
            code => Self::failed(format!("{}: {}", code.description(), status.message())),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self {
            exit: Exit::Failed,
            code: "io",
            message: error.to_string(),
            hint: None,
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::failed(format!("a reply is not in the expected form: {error}"))
            .with_hint("check that both sides run the same version")
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_with_its_code() {
        for code in ErrorCode::ALL {
            let failure = Failure::from(passerelle_proto::convert::status(*code));
            assert_eq!(failure.code, code.code());
            assert!(matches!(failure.exit, Exit::Refused | Exit::Failed));
            let line = failure.line(false);
            assert!(line.starts_with(&format!("error[{code}]: ")), "{line}");
            assert!(line.contains(code.explanation()), "{line}");
            assert!(!line.contains('\n'));
            let json: serde_json::Value = serde_json::from_str(&failure.line(true)).unwrap();
            assert_eq!(json["error"], code.code());
        }
    }

    #[test]
    fn line_breaks_of_an_inner_error_do_not_break_the_line() {
        let failure = Failure::failed("first\nsecond").with_hint("do\nthis");
        assert_eq!(failure.line(false), "error[failed]: first second; do this");
    }

    #[test]
    fn refusals_and_failures_end_differently() {
        assert_eq!(exit_of(ErrorCode::NotAParty), Exit::Refused);
        assert_eq!(exit_of(ErrorCode::InviteInvalid), Exit::Refused);
        assert_eq!(exit_of(ErrorCode::Unavailable), Exit::Failed);
        assert_eq!(exit_of(ErrorCode::Storage), Exit::Failed);
    }
}
