//! The folder: open, snapshot, import, verify.
//!
//! [`Store`] is a folder and what is needed to read it; a [`Snapshot`] is one generation of it,
//! unchanged for as long as it is held, whatever is imported or compacted meanwhile; an [`Import`]
//! seals segments and commits them in one step. Questions about books and rows are in
//! [`crate::replay`].

mod cache;
mod import;
mod snapshot;
mod verify;

use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cache::SegmentCache;
pub use import::{Import, ImportOptions, ImportReport};
pub use snapshot::{Snapshot, StreamInfo};
pub use verify::{Damage, VerifyReport};

use crate::catalog::{self, Manifest};
use crate::disk::{Disk, OsDisk};
use crate::error::{Error, ErrorKind, Result};
use crate::format::manifest::Contents;

/// A store folder. Cheap to clone; all clones share opened segments.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    cache: SegmentCache,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.inner.root.display())
    }
}

impl Store {
    /// Opens an existing store. Touches `CURRENT` and the manifest only.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the folder is no store; [`ErrorKind::Corrupt`] if its manifest is
    /// damaged.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_on(Arc::new(OsDisk), root.as_ref())
    }

    /// As [`Store::open`], on any disk.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(disk: Arc<dyn Disk>, root: &Path) -> Result<Self> {
        let store = Self::on(disk, root);
        store.snapshot()?;
        Ok(store)
    }

    /// Opens the store in this folder, or makes an empty one if the folder is empty or missing.
    ///
    /// # Errors
    /// [`ErrorKind::Exists`] if the folder holds something else; as [`Store::open`] otherwise.
    pub fn open_or_create(root: impl AsRef<Path>) -> Result<Self> {
        let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
        Self::open_or_create_on(Arc::new(OsDisk), root.as_ref(), random)
    }

    /// As [`Store::open_or_create`], on any disk and with a given number for a new store.
    ///
    /// # Errors
    /// As [`Store::open_or_create`].
    pub fn open_or_create_on(disk: Arc<dyn Disk>, root: &Path, store_id: u64) -> Result<Self> {
        let store = Self::on(disk, root);
        if !catalog::is_store(store.disk(), root)? {
            store.create(store_id)?;
        }
        store.snapshot()?;
        Ok(store)
    }

    /// Makes an empty store in an empty or missing folder.
    fn create(&self, store_id: u64) -> Result<()> {
        let (disk, root) = (self.disk(), self.root());
        disk.create_folder(root).map_err(|e| Error::io(e, "create store folder", root))?;
        self.sync_folders_above()?;
        let _lock = self.lock()?;
        let entries = disk.list(root).map_err(|e| Error::io(e, "list store folder", root))?;
        let ours = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name == "LOCK" || name.starts_with("manifest-") || name.starts_with("CURRENT")
        };
        if let Some((stranger, _)) = entries.iter().find(|(path, _)| !ours(path)) {
            let name = stranger.file_name().unwrap_or_default().display();
            return Err(Error::new(
                ErrorKind::Exists,
                format!("folder is neither empty nor a tickreel store: it holds {name}"),
            )
            .at_path(root));
        }
        if catalog::is_store(disk, root)? {
            return Ok(());
        }
        let (generation, next_segment_id, next_stream_id) = (1, 1, 0);
        let streams = Vec::new();
        let contents = Contents { store_id, generation, next_segment_id, next_stream_id, streams };
        catalog::commit(disk, root, &contents, &[])
    }

    /// Makes the name of the store's folder durable, and those of the folders above it: perhaps
    /// they were made with it, now or by a process that was killed.
    fn sync_folders_above(&self) -> Result<()> {
        use std::io::ErrorKind::{InvalidInput, PermissionDenied};
        for folder in self.root().ancestors().skip(1) {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            match self.disk().sync_folder(folder) {
                // Where this program may not look it has made nothing, nor in an image that is
                // only ever read and therefore knows no sync.
                Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput) => {}
                synced => synced.map_err(|e| Error::io(e, "sync folder", folder))?,
            }
        }
        Ok(())
    }

    fn on(disk: Arc<dyn Disk>, root: &Path) -> Self {
        let cache = SegmentCache::default();
        Self { inner: Arc::new(Inner { disk, root: root.to_owned(), cache }) }
    }

    fn disk(&self) -> &dyn Disk {
        &*self.inner.disk
    }

    /// The store's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// A frozen view of the current generation.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        let manifest = Manifest::load(self.disk(), self.root())?;
        Ok(Snapshot::new(self.clone(), Arc::new(manifest)))
    }

    /// The one writer's lock, held until dropped.
    fn lock(&self) -> Result<Box<dyn Send + Sync>> {
        let path = self.root().join("LOCK");
        let lock = self.disk().lock(&path).map_err(|e| Error::io(e, "open lock file", &path))?;
        lock.ok_or_else(|| {
            let text = "store is locked by another writer; readers need no lock";
            Error::new(ErrorKind::Locked, text).at_path(&path)
        })
    }
}
