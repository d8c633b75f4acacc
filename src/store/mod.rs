//! The folder: open, snapshot, append, import, verify.
//!
//! [`Store`] is a folder and what is needed to read it; a [`Snapshot`] is one generation of it and
//! the live rows after it, unchanged for as long as it is held, whatever is appended, imported or
//! compacted meanwhile; a [`Writer`] appends live rows through the journal; an [`Import`] seals
//! segments and commits them in one step. Questions about books and rows are in [`crate::replay`].

mod aside;
mod cache;
mod import;
mod live;
mod part;
mod quarantine;
mod recorder;
mod refill;
mod rewrite;
mod sealing;
mod snapshot;
mod tail;
mod verify;
mod writer;

use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use cache::SegmentCache;
pub use import::{Import, ImportOptions, ImportReport};
use live::Live;
pub use part::{Part, Parts};
pub use quarantine::{Missing, QuarantineReport};
pub use recorder::{GroupCommit, Recorder, Watcher};
use refill::Follower;
pub use rewrite::{RewriteWatch, Rewritten};
pub use snapshot::{Snapshot, StreamInfo};
pub use tail::{StreamTail, Tail};
pub use verify::{Damage, VerifyReport};
pub use writer::{Dropped, Expired, LiveOptions, Writer};

use crate::book::Tracker;
use crate::catalog::{self, Manifest};
use crate::disk::{Disk, OsDisk};
use crate::error::{Error, ErrorKind, Result};
use crate::format::manifest::Contents;
use crate::journal::JournalReader;

/// A store folder. Cheap to clone; all clones share opened segments.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    cache: SegmentCache,
    /// The writer of this process, if there is one.
    live: Mutex<Weak<Live>>,
    /// What was read last of the files of a writer in another process.
    files: Mutex<Files>,
}

/// A manifest, for as long as a snapshot holds it, and the journal after it.
#[derive(Default)]
struct Files {
    manifest: Weak<Manifest>,
    follower: Option<Follower>,
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

    /// As [`Store::open`], without a look at the journal: [`Store::verify`] and
    /// [`Store::quarantine`] are for stores in which anything may be damaged.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_for_repair(root: impl AsRef<Path>) -> Result<Self> {
        Self::open_for_repair_on(Arc::new(OsDisk), root.as_ref())
    }

    /// As [`Store::open_for_repair`], on any disk.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_for_repair_on(disk: Arc<dyn Disk>, root: &Path) -> Result<Self> {
        let store = Self::on(disk, root);
        Manifest::load(store.disk(), root)?;
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
        // Not a snapshot: a writer reads the whole journal anyway.
        Manifest::load(store.disk(), root)?;
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
        let contents = Contents {
            store_id,
            generation: 1,
            next_segment_id: 1,
            next_stream_id: 0,
            first_journal: 1,
            next_seq: 1,
            streams: Vec::new(),
        };
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
        let inner = Inner {
            disk,
            root: root.to_owned(),
            cache: SegmentCache::default(),
            live: Mutex::default(),
            files: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    fn disk(&self) -> &dyn Disk {
        &*self.inner.disk
    }

    fn disk_arc(&self) -> Arc<dyn Disk> {
        self.inner.disk.clone()
    }

    fn journal_reader(&self, contents: &Contents) -> JournalReader {
        let first = contents.first_journal;
        JournalReader::new(self.disk_arc(), self.root(), contents.store_id, first)
    }

    /// Gives the book after the last row of a stream that `manifest` has in a segment.
    fn sealed_books(&self, manifest: &Arc<Manifest>) -> impl Fn(u32) -> Result<Tracker> {
        let snapshot = Snapshot::new(self.clone(), manifest.clone(), Arc::default());
        move |stream_id| snapshot.book_sealed(stream_id)
    }

    /// Snapshots of this process see what `live` shows, for as long as its writer lives.
    fn show(&self, live: &Arc<Live>) {
        *self.inner.live.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(live);
    }

    fn live(&self) -> Option<Arc<Live>> {
        self.inner.live.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// The store's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// A frozen view of the current generation and of the rows after it: all that were appended if
    /// the writer is in this process, all that are durable if it is in another. Costs two small
    /// reads while some snapshot of the current generation is held.
    ///
    /// # Errors
    /// As [`Store::open`]; [`ErrorKind::Stale`] if commits keep overtaking.
    pub fn snapshot(&self) -> Result<Snapshot> {
        match self.live() {
            Some(live) => {
                let view = live.view();
                Ok(Snapshot::new(self.clone(), view.manifest.clone(), view.tail.clone()))
            }
            None => self.snapshot_of_files(),
        }
    }

    /// As [`Store::snapshot`], with durable rows only, wherever the writer is.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub fn durable_snapshot(&self) -> Result<Snapshot> {
        match self.live() {
            Some(live) => {
                let view = live.view();
                Ok(Snapshot::new(self.clone(), view.manifest.clone(), view.durable()))
            }
            None => self.snapshot_of_files(),
        }
    }

    fn snapshot_of_files(&self) -> Result<Snapshot> {
        const TRIES: usize = 8;
        let mut files = self.inner.files.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..TRIES {
            let manifest = match files.manifest.upgrade() {
                Some(held) if held.is_current(self.disk(), self.root())? => held,
                _ => Arc::new(Manifest::load(self.disk(), self.root())?),
            };
            files.manifest = Arc::downgrade(&manifest);
            let reader = || self.journal_reader(manifest.contents());
            let follower = files.follower.get_or_insert_with(|| Follower::new(&manifest, reader()));
            let tail = follower.tail(&manifest, reader, &self.sealed_books(&manifest))?;
            // Journal files are removed after a commit only: if there was none, none was missed.
            if manifest.is_current(self.disk(), self.root())? {
                return Ok(Snapshot::new(self.clone(), manifest, tail));
            }
        }
        Err(Error::new(ErrorKind::Stale, "commits keep overtaking the reader").at_path(self.root()))
    }

    /// Waits until there may be more than `seen` shows, at most so long, and takes a snapshot.
    ///
    /// Rows of a writer in this process wake it at once; the journal of another process is looked
    /// at every few milliseconds.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub fn snapshot_after(&self, seen: &Snapshot, timeout: Duration) -> Result<Snapshot> {
        const LOOK_EVERY: Duration = Duration::from_millis(2);
        let mut left = timeout;
        loop {
            let live = self.live();
            let version = live.as_ref().map_or(0, |live| live.view().version);
            let now = self.snapshot()?;
            if left.is_zero() || !now.shows_the_same(seen) {
                return Ok(now);
            }
            let wait = left.min(if live.is_some() { left } else { LOOK_EVERY });
            match live {
                Some(live) => drop(live.wait(version, wait)),
                None => std::thread::sleep(wait),
            }
            left -= wait;
        }
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
