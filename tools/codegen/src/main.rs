//! Writes `src/rpc/generated/` from `format-spec/rpc/`: run it after a change of the contract.
//!
//! No `protoc` is needed: the files are read by `protox`. What is written is committed, so that a
//! build of the server needs neither this tool nor a build script; a test here fails when the two
//! differ.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;

/// The contract, below `format-spec/rpc`.
const PROTO: &str = "v1/tickreel.proto";
/// The descriptors of the contract, for gRPC reflection.
const DESCRIPTORS: &str = "tickreel.v1.bin";
/// What the generated code is called by the Rust code generator.
const CODE: &str = "tickreel.v1.rs";

fn main() -> Result<(), Box<dyn Error>> {
    generate(&root().join("src/rpc/generated"))
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Writes the generated files into `folder`.
fn generate(folder: &Path) -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile([PROTO], [root().join("format-spec/rpc")])?;
    // Reflection needs no comments.
    let mut plain = descriptors.clone();
    plain.file.iter_mut().for_each(|file| file.source_code_info = None);
    fs::write(folder.join(DESCRIPTORS), plain.encode_to_vec())?;
    tonic_prost_build::configure()
        .bytes(".tickreel.v1")
        .emit_rerun_if_changed(false)
        .out_dir(folder)
        .compile_fds(descriptors)?;
    let code = folder.join(CODE);
    let text = fs::read_to_string(&code)?;
    fs::write(code, format!("//! Written by tools/codegen from format-spec/rpc/{PROTO}.\n{text}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_code_is_what_the_contract_gives() {
        let folder = tempfile::tempdir().unwrap();
        generate(folder.path()).unwrap();

        for name in [CODE, DESCRIPTORS] {
            let committed = fs::read(root().join("src/rpc/generated").join(name)).unwrap();
            let generated = fs::read(folder.path().join(name)).unwrap();
            let same = committed == generated;
            assert!(same, "{name} is out of date: cargo run -p tickreel-codegen");
        }
    }
}
