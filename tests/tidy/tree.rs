//! The files the rules look at.

use std::fs;
use std::path::Path;

use crate::source::Source;

/// Rust files by path.
pub struct Tree {
    files: Vec<Source>,
}

impl Tree {
    /// Every Rust file of this package's `src`, `tests`, `benches` and `tools`.
    pub fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        for folder in ["src", "tests", "benches", "tools"] {
            walk(root, &root.join(folder), &mut files);
        }
        assert!(files.iter().any(|source| source.path == "src/lib.rs"), "src/lib.rs was not found");
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { files }
    }

    /// A tree of (path, text), for the tests of the rules.
    pub fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut tree = Self { files: Vec::new() };
        for (path, text) in files {
            if tree.files.iter().all(|source| source.path != path) {
                tree.files.push(Source::new(path, text));
            }
        }
        tree
    }

    /// Every file.
    pub fn all(&self) -> impl Iterator<Item = &Source> {
        self.files.iter()
    }

    /// Files under `src/` that are written by hand.
    pub fn src(&self) -> impl Iterator<Item = &Source> {
        let by_hand = |source: &&Source| !source.path.starts_with("src/rpc/generated");
        self.files.iter().filter(|source| source.path.starts_with("src/")).filter(by_hand)
    }

    /// As [`Tree::src`], without the files that hold tests only.
    pub fn shipped(&self) -> impl Iterator<Item = &Source> {
        let mut test_modules = Vec::new();
        for source in self.src() {
            for name in &source.test_modules {
                let mut module = source.module();
                module.push(name.clone());
                test_modules.push(module);
            }
        }
        self.src().filter(move |source| {
            let module = source.module();
            !test_modules.iter().any(|tests| module.starts_with(tests))
        })
    }
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target" && name != ".venv") {
                walk(root, &path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            files.push(Source::new(&name, &fs::read_to_string(&path).unwrap()));
        }
    }
}
