//! The bytes of `format-spec/vectors/` are those of version 1, for ever, and read as they say.
//!
//! Each good vector has a builder here that is never changed: it must give the file bit for bit,
//! and what a reader finds in the file must be what the `.toml` beside it says. A bad vector is a
//! good one with one thing wrong, and its `.toml` names the fault that must be reported. With
//! `TICKREEL_WRITE_VECTORS=1` missing files are written; those that exist are never touched.

#[path = "vectors/bad.rs"]
mod bad;
#[path = "vectors/bad_journals.rs"]
mod bad_journals;
#[path = "vectors/chapters.rs"]
mod chapters;
#[path = "vectors/describe.rs"]
mod describe;
#[path = "vectors/journals.rs"]
mod journals;
#[path = "vectors/pages.rs"]
mod pages;
#[path = "vectors/segments.rs"]
mod segments;
#[path = "vectors/stores.rs"]
mod stores;

use std::collections::BTreeSet;
use std::path::PathBuf;

/// Bytes of the whole folder, so that it stays a part of the text.
const FOLDER_BYTES_MAX: u64 = 560 << 10;

/// A file of the format, and what it says.
pub struct Vector {
    name: String,
    bytes: Vec<u8>,
    toml: String,
}

impl Vector {
    fn new(name: &str, bytes: Vec<u8>, toml: String) -> Self {
        Self { name: name.to_owned(), bytes, toml }
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("format-spec/vectors")
}

fn file(name: &str) -> Vec<u8> {
    let path = folder().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn good() -> Vec<Vector> {
    let mut vectors = segments::vectors();
    vectors.extend(pages::vectors());
    vectors.extend(stores::vectors());
    vectors.extend(journals::vectors());
    vectors
}

fn compare_or_write(name: &str, bytes: &[u8]) {
    let path = folder().join(name);
    if !path.exists() && std::env::var_os("TICKREEL_WRITE_VECTORS").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let stored = file(name);
    if let (Ok(stored), Ok(found)) = (std::str::from_utf8(&stored), std::str::from_utf8(bytes)) {
        assert_eq!(stored, found, "{name}");
    }
    let differs = stored.iter().zip(bytes).position(|(a, b)| a != b);
    assert!(stored == bytes, "{name}: differs at byte {differs:?}");
}

#[test]
fn every_good_vector_is_what_its_builder_writes_and_says_what_its_text_says() {
    for vector in good() {
        compare_or_write(&format!("{}.bin", vector.name), &vector.bytes);
        compare_or_write(&format!("{}.toml", vector.name), vector.toml.as_bytes());
    }
}

#[test]
fn every_bad_vector_gives_exactly_its_fault() {
    for vector in bad::vectors() {
        compare_or_write(&format!("{}.bin", vector.name), &vector.bytes);
        compare_or_write(&format!("{}.toml", vector.name), vector.toml.as_bytes());
    }
}

#[test]
fn the_folder_holds_the_vectors_and_nothing_else_and_stays_small() {
    let known: BTreeSet<String> =
        good().into_iter().chain(bad::vectors()).map(|vector| vector.name).collect();
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let (stem, extension) = name.rsplit_once('.').unwrap();
        assert!(["bin", "toml", "hex"].contains(&extension), "{name}");
        assert!(known.contains(stem), "{name} has no builder");
        bytes += entry.metadata().unwrap().len();
    }
    assert!(bytes < FOLDER_BYTES_MAX, "{bytes} bytes");
}
