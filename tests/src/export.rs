//! The log as the oversight body exports it, read and verified as an auditor would.

use crate::federation::Federation;
use anyhow::Context as _;
use passerelle_audit::{
    export::{ExportReader, ExportRow},
    merkle::{Tree, leaf_hash},
    verify::{self, Options, Report},
};
use passerelle_model::{
    entry::{Entry, EntryBody},
    statement::{Body, ReceiptKind, Statement},
};
use std::{io::BufReader, path::PathBuf, process::Output};

/// An export that holds every entry.
pub struct Export {
    /// The file.
    pub path: PathBuf,
    /// The entries, by index.
    pub entries: Vec<Entry>,
    /// The tree over them.
    pub tree: Tree,
}

impl Federation {
    /// Has the log exported by an oversight body and reads the file.
    pub async fn export(&self, oversight: &str) -> anyhow::Result<Export> {
        let path = self.dir().join("export.jsonl");
        let (dir, out) = (self.agent_dir(oversight), path.clone());
        let dir = dir.to_str().context("a path that is not text")?;
        let out = out.to_str().context("a path that is not text")?;
        self.cli(&["audit", "export", "--dir", dir, "--out", out])
            .await?
            .done()?;
        Export::read(path)
    }

    /// Runs `passerelle-audit verify` on a file.
    pub async fn audit_verify(&self, exe: &str, file: &str) -> anyhow::Result<Output> {
        self.passerelle_audit(exe, &["verify", file]).await
    }

    /// Runs `passerelle-audit`.
    pub async fn passerelle_audit(&self, exe: &str, args: &[&str]) -> anyhow::Result<Output> {
        let verifier = verifier(exe).await?;
        let mut command = tokio::process::Command::new(verifier);
        Ok(command.args(args).output().await?)
    }
}

/// The stand-alone verifier beside the program under test; built if nobody has yet.
async fn verifier(exe: &str) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(exe).with_file_name("passerelle-audit");
    if !path.exists() {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let built = tokio::process::Command::new(cargo)
            .args(["build", "-p", "passerelle-audit", "--bin"])
            .arg("passerelle-audit")
            .status()
            .await?;
        anyhow::ensure!(built.success() && path.exists(), "no `passerelle-audit`");
    }
    Ok(path)
}

impl Export {
    /// Reads a file.
    pub fn read(path: PathBuf) -> anyhow::Result<Self> {
        let mut reader = ExportReader::new(BufReader::new(std::fs::File::open(&path)?))?;
        let (mut entries, mut tree) = (Vec::new(), Tree::new());
        while let Some(row) = reader.next_row()? {
            let ExportRow::Entry { entry, .. } = row else {
                anyhow::bail!("row {} is hidden from the oversight body", row.index());
            };
            tree.push(leaf_hash(&entry));
            entries.push(Entry::from_bytes(&entry)?);
        }
        Ok(Self {
            path,
            entries,
            tree,
        })
    }

    /// Verifies the file with nothing but itself.
    pub fn verify(&self) -> anyhow::Result<Report> {
        let file = BufReader::new(std::fs::File::open(&self.path)?);
        let options = Options {
            threads: 2,
            ..Options::default()
        };
        verify::verify(file, &options).map_err(|fault| anyhow::anyhow!("{fault:?}"))
    }

    /// Index and kind of each entry about a request, or of any other object with an id.
    pub fn about(&self, id: &str) -> Vec<(u64, &'static str)> {
        let entries = (0..).zip(&self.entries);
        entries
            .filter_map(|(index, entry)| {
                let (kind, named) = kind_and_id(entry);
                (named.as_deref() == Some(id)).then_some((index, kind))
            })
            .collect()
    }

    /// Index, kind and id of each entry that is about something with an id.
    pub fn named(&self) -> impl Iterator<Item = (u64, &'static str, String)> {
        let entries = (0..).zip(&self.entries);
        entries.filter_map(|(index, entry)| {
            let (kind, id) = kind_and_id(entry);
            Some((index, kind, id?))
        })
    }

    /// The kinds alone.
    pub fn kinds(&self, id: &str) -> Vec<&'static str> {
        self.about(id).into_iter().map(|(_, kind)| kind).collect()
    }

    /// How many entries of this kind are about this.
    pub fn count(&self, id: &str, kind: &str) -> usize {
        self.kinds(id).iter().filter(|k| **k == kind).count()
    }

    /// The signed statements.
    pub fn statements(&self) -> impl Iterator<Item = (u64, Statement)> {
        (0..).zip(&self.entries).filter_map(|(index, entry)| {
            let EntryBody::Said { envelope, .. } = &entry.body else {
                return None;
            };
            Some((index, envelope.unverified_statement().ok()?))
        })
    }
}

/// What an entry is, and what it is about.
fn kind_and_id(entry: &Entry) -> (&'static str, Option<String>) {
    let id = match &entry.body {
        EntryBody::Said { envelope, .. } => {
            let statement = envelope.unverified_statement();
            return statement.map_or(("unreadable", None), |s| said(&s.body));
        }
        EntryBody::Decided { request, .. }
        | EntryBody::Stopped { request, .. }
        | EntryBody::Recalled { request, .. }
        | EntryBody::Expired { request } => Some(request.to_string()),
        EntryBody::Offered { permit } => Some(permit.request.to_string()),
        _ => None,
    };
    (entry.body.code(), id)
}

fn said(body: &Body) -> (&'static str, Option<String>) {
    let (kind, id) = match body {
        Body::Request(r) => ("request", r.request.to_string()),
        Body::Answer(a) => ("answer", a.request.to_string()),
        Body::Receipt(r) => {
            let kind = match r.kind {
                ReceiptKind::Delivered => "delivered",
                ReceiptKind::Viewed => "viewed",
                ReceiptKind::Erased => "erased",
            };
            (kind, r.request.to_string())
        }
        Body::Renewal(r) => ("renewal", r.request.to_string()),
        Body::Consent(c) => ("consent", c.consent.to_string()),
        Body::Withdrawal(w) => ("withdrawal", w.consent.to_string()),
        Body::Agreement(a) => ("agreement", a.agreement.to_string()),
        Body::AgreementSignature(s) => ("agreement_signature", s.agreement.to_string()),
        Body::AgreementChange(c) => ("agreement_change", c.agreement.to_string()),
        Body::CaseOpening(c) => ("case_opening", c.case.to_string()),
        Body::CaseAdvance(c) => ("case_advance", c.case.to_string()),
        Body::BundleEndorsement(e) => ("bundle_endorsement", e.bundle.to_hex()),
        Body::OverrideReview(r) => ("override_review", r.request.to_string()),
        Body::Resumption(r) => ("resumption", r.supersedes.to_string()),
    };
    (kind, Some(id))
}
