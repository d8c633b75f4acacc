//! A disk in memory that fails, lies and loses power where a test says.
//!
//! Deterministic: the same calls give the same state. Every call is an operation with a number,
//! counted from 0; faults name the number at which they strike, and with [`SimDisk::record`] the
//! disk keeps what it was before each operation, so that one run gives every point of a crash.

#[cfg(test)]
mod tests;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tickreel::disk::{Disk, HeapBytes, ReadFile, SharedBytes, WriteFile};
pub use tree::{NodeId, SECTOR, State};

/// More operations than any run here needs: above, the engine goes round in circles.
const OPERATIONS_MAX: usize = 100_000;

/// What was asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Map,
    Read,
    Open,
    ReadAt,
    Create,
    Reserve,
    Append,
    Sync,
    Rename,
    Remove,
    CreateFolder,
    SyncFolder,
    List,
    Len,
    MakeReadOnly,
    Lock,
    Pin,
    Unpinned,
}

impl What {
    fn takes_room(self) -> bool {
        use What::{Append, Create, CreateFolder, Lock, Rename, Reserve, Sync, SyncFolder};
        matches!(self, Append | Create | CreateFolder | Lock | Rename | Reserve | Sync | SyncFolder)
    }

    fn changes(self) -> bool {
        self.takes_room() || matches!(self, Self::MakeReadOnly | Self::Remove)
    }
}

/// How an operation goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Refused: input or output error.
    Eio,
    /// Refused: no space left.
    Enospc,
    /// Refused: interrupted.
    Eintr,
    /// Refused: the file system has become read-only.
    Erofs,
    /// Refused: permission denied.
    Eacces,
    /// Refused: this folder knows no sync.
    Einval,
    /// Half of the bytes are written, then the rest is refused.
    ShortWrite,
    /// Half of the bytes are given, and nobody says so.
    ShortRead,
    /// The sync fails; its bytes stay visible and are never written.
    SyncKeepsNew,
    /// The sync fails; the bytes before it are visible again.
    SyncGivesOld,
    /// It is done, and reported as failed.
    DoneButEio,
    /// The bytes land in another file, over what is there.
    Misdirected,
}

impl Fault {
    /// All that any disk may do while the engine runs, and that it is told of or could notice.
    pub const ALL: [Self; 9] = [
        Self::Eio,
        Self::Enospc,
        Self::Eintr,
        Self::Erofs,
        Self::ShortWrite,
        Self::ShortRead,
        Self::SyncKeepsNew,
        Self::SyncGivesOld,
        Self::DoneButEio,
    ];

    /// Whether an operation can go wrong in this way.
    pub fn strikes(self, what: What) -> bool {
        match self {
            Self::Eio | Self::Eintr => true,
            Self::Enospc => what.takes_room(),
            Self::Erofs => what.changes(),
            Self::ShortWrite | Self::Misdirected => what == What::Append,
            Self::ShortRead => matches!(what, What::Map | What::Read | What::ReadAt),
            Self::Eacces | Self::Einval => what == What::SyncFolder,
            Self::SyncKeepsNew | Self::SyncGivesOld => what == What::Sync,
            Self::DoneButEio => what.changes() && !matches!(what, What::Lock | What::Reserve),
        }
    }

    /// Whether nothing is done.
    fn refuses(self) -> bool {
        use Fault::{Eacces, Eintr, Einval, Eio, Enospc, Erofs};
        matches!(self, Eacces | Einval | Eintr | Eio | Enospc | Erofs)
    }

    fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Enospc | Self::ShortWrite => 28,
            Self::Eintr => 4,
            Self::Erofs => 30,
            Self::Eacces => 13,
            Self::Einval => 22,
            _ => 5,
        })
    }
}

/// Which operation goes wrong, and how.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Number of the operation.
    pub at: usize,
    /// What happens to it.
    pub fault: Fault,
    /// Also to every later one that it can happen to.
    pub forever: bool,
}

/// Which syncs, of files and folders, say that they are done and do nothing.
pub type Ignored = fn(What, &Path) -> bool;

/// A rule that the disk breaks in the engine's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Segments are synced only when a manifest that names them has become the current one.
    LateSegments,
    /// Journal files but the newest go as soon as segments have their names.
    EarlyRemoval,
    /// A sync that failed is tried again, which tells nothing, and taken for done.
    TrustedRetry,
    /// Nobody is told that files are in use.
    NoPins,
}

/// A lock of one file by handles of this machine.
enum Held {
    Shared(usize),
    Exclusive,
}

struct Machine {
    state: State,
    log: Vec<(What, PathBuf)>,
    history: Option<Vec<State>>,
    plan: Option<Plan>,
    /// Operations that went wrong so far.
    struck: usize,
    /// How many of them were to change the disk.
    struck_changes: usize,
    /// Files whose sync failed.
    failed_syncs: BTreeSet<NodeId>,
    /// Whether one of them was synced again.
    retried: bool,
    ignored: Ignored,
    sabotage: Option<Sabotage>,
    /// Files whose sync comes late, and whether a manifest has become the current one since.
    late: (Vec<NodeId>, bool),
    unreadable: Option<(NodeId, usize)>,
    /// What another process makes of the disk just before the next lock is asked for.
    at_lock: Option<State>,
    locks: BTreeMap<NodeId, Held>,
}

/// A handle of the simulated disk; clones are handles of the same one.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<Machine>>);

impl SimDisk {
    /// A machine that starts with this disk; nobody holds locks.
    pub fn new(state: State) -> Self {
        Self(Arc::new(Mutex::new(Machine {
            state,
            log: Vec::new(),
            history: None,
            plan: None,
            struck: 0,
            struck_changes: 0,
            failed_syncs: BTreeSet::new(),
            retried: false,
            ignored: |_, _| false,
            sabotage: None,
            late: (Vec::new(), false),
            unreadable: None,
            at_lock: None,
            locks: BTreeMap::new(),
        })))
    }

    /// Keeps the state before every operation from now on.
    pub fn record(self) -> Self {
        self.machine().history = Some(Vec::new());
        self
    }

    /// Lets one operation, or all from one on, go wrong.
    pub fn plan(self, plan: Plan) -> Self {
        self.machine().plan = Some(plan);
        self
    }

    /// Lets some syncs say that they are done and do nothing.
    pub fn ignore(self, ignored: Ignored) -> Self {
        self.machine().ignored = ignored;
        self
    }

    /// Breaks a rule.
    pub fn sabotage(self, sabotage: Sabotage) -> Self {
        self.machine().sabotage = Some(sabotage);
        self
    }

    /// One sector of a file can no longer be read.
    pub fn lose_sector(self, file: NodeId, sector: usize) -> Self {
        self.machine().unreadable = Some((file, sector));
        self
    }

    /// Another process goes on until just before the next lock; the disk is `later` then.
    pub fn until_lock(self, later: State) -> Self {
        self.machine().at_lock = Some(later);
        self
    }

    /// The disk as it is.
    pub fn state(&self) -> State {
        self.machine().state.clone()
    }

    /// The disk before each recorded operation, and as it is.
    pub fn history(&self) -> Vec<State> {
        let machine = self.machine();
        let mut states = machine.history.clone().unwrap_or_default();
        states.push(machine.state.clone());
        states
    }

    /// Operations so far.
    pub fn operations(&self) -> usize {
        self.machine().log.len()
    }

    /// What was asked, in order.
    pub fn asked(&self) -> Vec<What> {
        self.machine().log.iter().map(|(what, _)| *what).collect()
    }

    /// Operations that went wrong so far.
    pub fn struck(&self) -> usize {
        self.machine().struck
    }

    /// How many of them were to change the disk.
    pub fn struck_changes(&self) -> usize {
        self.machine().struck_changes
    }

    /// Whether a file was synced again whose sync had failed.
    pub fn retried(&self) -> bool {
        self.machine().retried
    }

    /// Whether something is read in part, so that it looks damaged.
    pub fn reads_short(&self) -> bool {
        self.machine().plan.is_some_and(|plan| plan.fault == Fault::ShortRead)
    }

    /// Whether an operation may say that it failed and be done.
    pub fn reports_wrongly(&self) -> bool {
        self.machine().plan.is_some_and(|plan| plan.fault == Fault::DoneButEio)
    }

    /// The operation with this number, for a person.
    pub fn describe(&self, operation: usize) -> String {
        match self.machine().log.get(operation) {
            Some((what, path)) => format!("operation {operation} ({what:?} {})", path.display()),
            None => format!("operation {operation} (none, the end)"),
        }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap()
    }

    /// Counts an operation; refuses it if the plan says so, or tells in what other way it is to go
    /// wrong.
    fn begin(
        &self,
        what: What,
        path: &Path,
    ) -> io::Result<(MutexGuard<'_, Machine>, Option<Fault>)> {
        let mut machine = self.machine();
        let number = machine.log.len();
        assert!(number < OPERATIONS_MAX, "the engine goes round in circles: {what:?} {path:?}");
        let Machine { state, history, .. } = &mut *machine;
        if let Some(history) = history {
            history.push(state.clone());
        }
        machine.log.push((what, path.to_owned()));
        let due = |plan: &Plan| number == plan.at || plan.forever && number > plan.at;
        let fault = machine.plan.filter(due).map(|plan| plan.fault);
        let fault = fault.filter(|fault| fault.strikes(what));
        machine.struck += usize::from(fault.is_some());
        machine.struck_changes += usize::from(fault.is_some() && what.changes());
        match fault {
            Some(fault) if fault.refuses() => Err(fault.error()),
            _ => Ok((machine, fault)),
        }
    }

    fn try_lock(&self, node: NodeId, exclusive: bool) -> Option<Box<dyn Send + Sync>> {
        let mut machine = self.machine();
        let held = match (machine.locks.remove(&node), exclusive) {
            (None, true) => Held::Exclusive,
            (None, false) => Held::Shared(1),
            (Some(Held::Shared(count)), false) => Held::Shared(count + 1),
            (Some(held), _) => {
                machine.locks.insert(node, held);
                return None;
            }
        };
        machine.locks.insert(node, held);
        Some(Box::new(Lock { disk: self.clone(), node }))
    }
}

impl Machine {
    /// The bytes of a file as a read gives them.
    fn read(&self, node: NodeId, fault: Option<Fault>) -> io::Result<&[u8]> {
        let bytes = self.state.bytes(node)?;
        let lost = self.unreadable.filter(|lost| lost.0 == node);
        if lost.is_some_and(|(_, sector)| sector * SECTOR < bytes.len()) {
            return Err(Fault::Eio.error());
        }
        let short = fault == Some(Fault::ShortRead);
        Ok(if short { &bytes[..bytes.len() / 2] } else { bytes })
    }

    /// Does what a broken rule does too late or too early.
    fn after_rename(&mut self, to: &Path) -> io::Result<()> {
        self.late.1 |= to.ends_with("CURRENT");
        if self.sabotage == Some(Sabotage::EarlyRemoval) && ends_with(to, ".seg") {
            let mut journals = self.state.files();
            journals.retain(|(path, _)| ends_with(path, ".jnl"));
            journals.sort_by_key(|(_, node)| *node);
            journals.pop();
            for (path, _) in journals {
                self.state.unlink(&path)?;
            }
        }
        Ok(())
    }

    /// Takes note of a sync: one that failed must not be tried again.
    fn synced(&mut self, file: NodeId, failed: bool) {
        self.retried |= self.failed_syncs.contains(&file);
        self.failed_syncs.extend(failed.then_some(file));
    }

    /// A file, other than `spared`, for bytes that lost their way.
    fn victim(&self, spared: NodeId) -> Option<NodeId> {
        let files = self.state.files();
        let written = |&(_, file): &(PathBuf, NodeId)| {
            file != spared && self.state.bytes(file).is_ok_and(|bytes| !bytes.is_empty())
        };
        files.into_iter().filter(written).map(|(_, file)| file).max()
    }
}

/// The error of an operation that was done all the same.
fn done(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        Some(fault) => Err(fault.error()),
        None => Ok(()),
    }
}

struct Lock {
    disk: SimDisk,
    node: NodeId,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut machine = self.disk.machine();
        if let Some(Held::Shared(count @ 2..)) = machine.locks.remove(&self.node) {
            machine.locks.insert(self.node, Held::Shared(count - 1));
        }
    }
}

impl Disk for SimDisk {
    fn map(&self, sealed: &Path) -> io::Result<SharedBytes> {
        let (machine, fault) = self.begin(What::Map, sealed)?;
        let node = machine.state.find(sealed)?;
        Ok(Arc::new(HeapBytes::new(machine.read(node, fault)?)))
    }

    fn read(&self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
        let (machine, fault) = self.begin(What::Read, path)?;
        let bytes = machine.read(machine.state.find(path)?, fault)?;
        match bytes.len() as u64 > limit_bytes {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => Ok(bytes.to_vec()),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        let (machine, _) = self.begin(What::Open, path)?;
        let node = machine.state.find(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), node, path: path.to_owned(), offset: 0 }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let (mut machine, fault) = self.begin(What::Create, path)?;
        let node = machine.state.create(path)?;
        done(fault)?;
        Ok(Box::new(SimFile { disk: self.clone(), node, path: path.to_owned(), offset: 0 }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut machine, fault) = self.begin(What::Rename, from)?;
        machine.state.rename(from, to)?;
        machine.after_rename(to)?;
        done(fault)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut machine, fault) = self.begin(What::Remove, path)?;
        machine.state.unlink(path)?;
        done(fault)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let (mut machine, fault) = self.begin(What::CreateFolder, path)?;
        machine.state.create_folder(path)?;
        done(fault)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let (mut machine, fault) = self.begin(What::SyncFolder, path)?;
        let node = machine.state.find(path)?;
        machine.state.names(node)?;
        if !(machine.ignored)(What::SyncFolder, path) {
            machine.state.sync(node);
        }
        if std::mem::take(&mut machine.late.1) {
            for file in std::mem::take(&mut machine.late.0) {
                machine.state.sync(file);
            }
        }
        done(fault)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
        let (machine, _) = self.begin(What::List, path)?;
        let names = machine.state.names(machine.state.find(path)?)?;
        Ok(names.into_iter().map(|(name, is_folder)| (path.join(name), is_folder)).collect())
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let (machine, _) = self.begin(What::Len, path)?;
        let node = machine.state.find(path)?;
        Ok(machine.state.bytes(node).map_or(4096, |bytes| bytes.len() as u64))
    }

    fn make_read_only(&self, path: &Path) -> io::Result<()> {
        let (machine, fault) = self.begin(What::MakeReadOnly, path)?;
        machine.state.find(path)?;
        done(fault)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let (mut machine, _) = self.begin(What::Lock, path)?;
        if let Some(later) = machine.at_lock.take() {
            machine.state = later;
        }
        let node = match machine.state.find(path) {
            Ok(node) => node,
            Err(_) => machine.state.create(path)?,
        };
        drop(machine);
        Ok(self.try_lock(node, true))
    }

    fn pin(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let (machine, _) = self.begin(What::Pin, path)?;
        let node = machine.state.find(path)?;
        drop(machine);
        Ok(self.try_lock(node, false))
    }

    fn unpinned(&self, path: &Path) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let (machine, _) = self.begin(What::Unpinned, path)?;
        let node = machine.state.find(path)?;
        if machine.sabotage == Some(Sabotage::NoPins) {
            return Ok(Some(Box::new(())));
        }
        drop(machine);
        Ok(self.try_lock(node, true))
    }
}

fn ends_with(path: &Path, end: &str) -> bool {
    path.to_str().is_some_and(|path| path.ends_with(end))
}

/// An open file.
struct SimFile {
    disk: SimDisk,
    node: NodeId,
    path: PathBuf,
    /// Where the next bytes are appended.
    offset: usize,
}

impl WriteFile for SimFile {
    fn reserve(&mut self, len_bytes: u64) -> io::Result<()> {
        let (mut machine, _) = self.disk.begin(What::Reserve, &self.path)?;
        machine.state.reserve(self.node, usize::try_from(len_bytes).unwrap());
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut machine, fault) = self.disk.begin(What::Append, &self.path)?;
        if fault == Some(Fault::Misdirected)
            && let Some(victim) = machine.victim(self.node)
        {
            machine.state.write(victim, 0, bytes);
            machine.state.reserve(self.node, self.offset + bytes.len());
            self.offset += bytes.len();
            return Ok(());
        }
        let short = fault == Some(Fault::ShortWrite);
        let bytes = if short { &bytes[..bytes.len() / 2] } else { bytes };
        machine.state.write(self.node, self.offset, bytes);
        self.offset += bytes.len();
        done(fault)
    }

    fn sync(&mut self) -> io::Result<()> {
        let begun = self.disk.begin(What::Sync, &self.path);
        let failed = match &begun {
            Ok((_, fault)) => fault.is_some(),
            Err(error) => error.kind() != io::ErrorKind::Interrupted,
        };
        let (mut machine, fault) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                self.disk.machine().synced(self.node, failed);
                return Err(error);
            }
        };
        machine.synced(self.node, failed);
        let path = machine.state.path(self.node).unwrap_or_else(|| self.path.clone());
        match fault {
            Some(Fault::SyncKeepsNew) => {
                machine.state.lose(self.node, true);
                if machine.sabotage == Some(Sabotage::TrustedRetry) {
                    return Ok(());
                }
            }
            Some(Fault::SyncGivesOld) => machine.state.lose(self.node, false),
            _ if (machine.ignored)(What::Sync, &path) => {}
            _ if machine.sabotage == Some(Sabotage::LateSegments)
                && ends_with(&path, ".seg.tmp") =>
            {
                machine.late.0.push(self.node);
            }
            _ => machine.state.sync(self.node),
        }
        done(fault)
    }
}

impl ReadFile for SimFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let (machine, fault) = self.disk.begin(What::ReadAt, &self.path)?;
        let bytes = machine.read(self.node, None)?;
        let start = bytes.len().min(usize::try_from(offset).unwrap());
        let mut len = out.len().min(bytes.len() - start);
        if fault == Some(Fault::ShortRead) {
            len /= 2;
        }
        out[..len].copy_from_slice(&bytes[start..start + len]);
        Ok(len)
    }
}
