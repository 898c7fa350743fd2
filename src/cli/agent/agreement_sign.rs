//! `agreement keygen`, `terms`, `endorse`, `sign`: who signs an agreement for a party, with which
//! key. The second and third need no node and no network: a person signs where his or her key is.

use super::{Place, agreement_paper::library, done_text};
use crate::cli::{
    Global, backend,
    failure::{Exit, Failure},
    output,
};
use clap::Args;
use passerelle_agent::{
    entropy,
    isa::{
        endorse::{MAX_FILE_BYTES, Signed, ToSign},
        print::{self, Paper},
        read,
    },
};
use passerelle_audit::keys::SigningKey;
use passerelle_model::{error::ErrorCode, ids::AgreementId};
use passerelle_proto::{
    v1,
    views::{AgentStatus, AgreementView, Done},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

pub(super) const ENDORSE_EXAMPLES: &str = "\
Examples:
  passerelle agent agreement endorse terms.json --key chief.pem --out chief.json
  passerelle agent agreement endorse terms.json agreement.toml --key chief.pem --out chief.json

Needs no node and no network. It shows what is signed; with the text of the agreement it signs only
if the terms are those that the text says. The key stays where it is; `chief.json` goes to whoever
runs `agreement sign`.";

#[derive(Debug, Args)]
pub(super) struct SignArgs {
    #[command(flatten)]
    place: Place,
    /// The agreement
    #[arg(value_name = "ID")]
    agreement: AgreementId,
    /// The document, if the agreement has one
    #[arg(value_name = "DRAFT.toml")]
    document: Option<PathBuf>,
    /// What a person who signs for this agency has endorsed; repeat for more
    #[arg(long = "endorsement", value_name = "FILE")]
    endorsements: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct EndorseArgs {
    /// What is to be signed, as `agreement terms` wrote it
    #[arg(value_name = "TERMS.json")]
    terms: PathBuf,
    /// The text of the agreement, if it has one
    #[arg(value_name = "DRAFT.toml")]
    document: Option<PathBuf>,
    /// The key of the one who signs
    #[arg(long, value_name = "KEY.pem")]
    key: PathBuf,
    /// Where the endorsement goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// A key that was made.
#[derive(Serialize)]
struct Made {
    key: String,
    file: String,
}

/// Writes what must not be there yet, readable by its owner alone.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::file(path, &e);
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let failed = |e: std::io::Error| Failure::file(path, &e);
    let mut text = Zeroizing::new(String::new());
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
    let file = fs::File::open(path).map_err(failed)?;
    file.take(limit).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    serde_json::from_str(&read_text(path)?).map_err(|error| {
        let reason = format!("{}: {error}", path.display());
        Failure::coded(ErrorCode::Malformed, Some(reason))
    })
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, Failure> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Makes a key for one who signs.
pub(super) fn keygen(global: Global, out: &Path) -> Result<Exit, Failure> {
    let seed = Zeroizing::new(entropy::random::<32>().map_err(|c| Failure::coded(c, None))?);
    let key = SigningKey::from_seed(&seed);
    let pem = key.to_pkcs8_pem();
    let pem = pem.map_err(|e| Failure::failed(e.to_string()))?;
    write_new(out, pem.as_bytes())?;
    let made = Made {
        key: key.public_key().to_hex(),
        file: out.display().to_string(),
    };
    output::print(global, &made, |made| {
        format!(
            "key: {}\nThis goes into the draft of the agreement. `{}` stays with its owner.",
            made.key, made.file
        )
    })?;
    Ok(Exit::Done)
}

/// Writes what the people who sign for this agency are to sign.
pub(super) async fn terms(
    global: Global,
    dir: &Path,
    id: &AgreementId,
    out: &Path,
) -> Result<Exit, Failure> {
    let mut node = backend::connect(dir).await?;
    let status: AgentStatus = backend::document(node.node_status(v1::NodeStatusRequest {}).await)?;
    let request = v1::ShowAgreementsRequest {
        agreement: id.to_string(),
    };
    let views: Vec<AgreementView> = backend::document(node.show_agreements(request).await)?;
    let view = views.into_iter().next();
    let view = view.ok_or_else(|| Failure::coded(ErrorCode::UnknownAgreement, None))?;
    let parsed = |e: passerelle_model::ids::InvalidId| Failure::failed(e.to_string());
    let to_sign = ToSign {
        federation: status.federation.parse().map_err(parsed)?,
        agency: status.agency.parse().map_err(parsed)?,
        terms: view.terms,
    };
    write_new(out, &json(&to_sign)?)?;
    output::print(global, &to_sign, |_| {
        let file = out.display();
        format!("{id}: written to {file}; each who signs: `agreement endorse {file}`")
    })?;
    Ok(Exit::Done)
}

/// Signs the terms with the key of a person.
pub(super) fn endorse(global: Global, args: &EndorseArgs) -> Result<Exit, Failure> {
    let to_sign: ToSign = read_json(&args.terms)?;
    let key = SigningKey::from_pkcs8_pem(&read_text(&args.key)?)
        .map_err(|e| Failure::coded(ErrorCode::Malformed, Some(e.to_string())))?;
    let of = to_sign.terms.signatories_of(&to_sign.agency);
    // Of a next version those who signed before may have to sign too: only the node knows them.
    let is_named = of.is_some_and(|of| of.keys.contains(&key.public_key()));
    if !is_named && to_sign.terms.edition.supersedes.is_none() {
        let agency = &to_sign.agency;
        let reason = format!("the terms do not name this key among those who sign for `{agency}`");
        return Err(Failure::coded(ErrorCode::NotAParty, Some(reason)));
    }
    let library = library()?;
    let document = match &args.document {
        None => None,
        Some(path) => Some(behind(&to_sign, path, &library)?),
    };
    let signed = to_sign
        .sign(&key)
        .map_err(|code| Failure::coded(code, None))?;
    write_new(&args.out, &json(&signed)?)?;
    let paper = Paper {
        terms: to_sign.terms,
        document,
        known: None,
    };
    output::print(global, &signed, |signed| {
        let text = print::text(&paper, &library, global.lang().language());
        let (agreement, agency, file) = (&signed.agreement, &signed.agency, args.out.display());
        format!(
            "{text}\nendorsed: {agreement}, for {agency}, by key {}: {file}",
            signed.key
        )
    })?;
    Ok(Exit::Done)
}

/// The text in a file, if it is the one behind the terms.
fn behind(
    to_sign: &ToSign,
    path: &Path,
    library: &passerelle_policies::Library,
) -> Result<passerelle_agent::isa::Document, Failure> {
    let refused = |reason: String| Failure::coded(ErrorCode::PayloadMismatch, Some(reason));
    let document = read::read(&read_text(path)?, library).map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        Failure::coded(ErrorCode::Malformed, Some(problems.join("; ")))
    })?;
    let terms = &to_sign.terms;
    let follow = document.terms(terms.agreement.clone(), terms.edition.version);
    let follow = follow.map_err(|e| Failure::failed(e.to_string()))?;
    match follow == *terms {
        true => Ok(document),
        false => Err(refused(format!(
            "`{}` is not the text behind these terms: don't sign, and ask who sent them",
            path.display()
        ))),
    }
}

/// Signs for the agency, with what its people have endorsed.
pub(super) async fn sign(global: Global, args: SignArgs) -> Result<Exit, Failure> {
    let read = |path: &PathBuf| fs::read_to_string(path).map_err(|e| Failure::file(path, &e));
    let document = args.document.as_ref().map(read).transpose()?;
    let mut endorsements = Vec::new();
    for path in &args.endorsements {
        let signed: Signed = read_json(path)?;
        if signed.agreement != args.agreement {
            let reason = format!("{}: it is of `{}`", path.display(), signed.agreement);
            return Err(Failure::coded(ErrorCode::PayloadMismatch, Some(reason)));
        }
        endorsements.push(v1::AgreementEndorsement {
            key: signed.key.to_hex(),
            signature: signed.signature.to_hex(),
        });
    }
    let mut node = backend::connect(&args.place.dir).await?;
    let request = v1::AgreementRef {
        agreement: args.agreement.to_string(),
        document: document.unwrap_or_default(),
        endorsements,
    };
    let done: Done = backend::document(node.sign_agreement(request).await)?;
    done_text(global, &done, "signed")
}
