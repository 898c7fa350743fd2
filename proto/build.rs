//! Generates the wire code with protox: no `protoc` to install.

use prost::Message as _;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "exchange",
        "admin",
        "node",
        "audit_cases",
        "rights",
        "consents",
    ]
    .map(|f| format!("proto/passerelle/v1/{f}.proto"));
    let descriptors = protox::compile(&files, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("passerelle.bin");
    std::fs::write(out, descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
