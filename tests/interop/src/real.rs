//! The log of a real federation: the product's demonstration, five processes and their story,
//! as the oversight body exports it.

use crate::{
    case::{Keys, Side},
    ground::{Head, Log, head_of, write_tiles},
};
use anyhow::{Context as _, Result, ensure};
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use passerelle_audit::{
    checkpoint,
    export::{ExportReader, ExportRow},
    merkle::{Tree, leaf_hash},
    note::VerifierKey,
    verify::{self, Options},
};
use std::{
    io::BufReader,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The demonstration, under way.
pub(crate) struct Story {
    child: Child,
    home: tempfile::TempDir,
}

impl Story {
    /// Starts it.
    pub(crate) fn start(exe: &Path) -> Result<Self> {
        // Short: a Unix socket's path has room for 107 bytes.
        let home = tempfile::Builder::new().prefix("psr").tempdir_in("/tmp")?;
        let child = Command::new(exe)
            .args(["demo", "--once", "--json", "--dir"])
            .arg(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("`{}` can't be run: build it first", exe.display()))?;
        Ok(Self { child, home })
    }

    /// Waits for its end, and reads the log. The files of the log go to `dir`.
    pub(crate) fn log(mut self, dir: &Path) -> Result<Real> {
        let status = self.child.wait()?;
        ensure!(status.success(), "the demonstration: {status}");
        let export = dir.join("export.jsonl");
        std::fs::create_dir_all(dir)?;
        std::fs::copy(self.home.path().join("audit-export"), &export)?;
        let pem = self.home.path().join("broker/keys/checkpoint.pem");
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(&std::fs::read_to_string(pem)?)?;
        let log = read(&export, dir, key)?;
        Ok(Real { log, export })
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        // It has ended, unless something else went wrong. On the terminal's signal it ends its
        // own processes.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The log of the demonstration.
pub(crate) struct Real {
    /// As files.
    pub(crate) log: Log,
    /// As it was exported.
    pub(crate) export: PathBuf,
}

fn read(export: &Path, dir: &Path, key: ed25519_dalek::SigningKey) -> Result<Log> {
    let open = || Ok::<_, std::io::Error>(BufReader::new(std::fs::File::open(export)?));
    let report = verify::verify(open()?, &Options::default())
        .map_err(|fault| anyhow::anyhow!("the export: {fault:?}"))?;
    let witnesses = report.cosignatures.iter().take(1).flat_map(|set| &set.keys);
    let witnesses: Vec<_> = witnesses
        .filter(|witness| witness.cosigned_at_s.is_some())
        .map(|witness| witness.key.clone())
        .collect();
    ensure!(
        witnesses.len() >= 3,
        "three witnesses or more have cosigned"
    );
    let mut reader = ExportReader::new(open()?)?;
    let (mut entries, mut tree) = (Vec::new(), Tree::new());
    while let Some(row) = reader.next_row()? {
        let ExportRow::Entry { entry, .. } = row else {
            anyhow::bail!("row {} is hidden from the oversight body", row.index());
        };
        tree.push(leaf_hash(&entry));
        entries.push(entry);
    }
    write_tiles(dir, &tree, &entries, 0)?;
    let log_key: VerifierKey = reader.header().checkpoint_key.parse()?;
    let signed = checkpoint::open(&reader.header().checkpoint, &log_key)?;
    let head: Head = head_of(&tree, &signed, &(0..tree.size()).collect::<Vec<_>>(), &[])?;
    Ok(Log {
        maker: Side::Ours,
        name: "A federation's log".to_owned(),
        dir: dir.to_owned(),
        key: log_key,
        witnesses,
        keys: Keys {
            log: key,
            witnesses: Vec::new(),
        },
        entries,
        heads: vec![head],
    })
}
