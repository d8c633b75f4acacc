//! Files and folders as values: what programs see, what is durable, and what lies between.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// What the device writes whole or not at all, in bytes.
pub const SECTOR: usize = 512;

/// A file or folder, whatever names it has.
pub type NodeId = usize;

/// The folder `/`.
const ROOT: NodeId = 0;

/// One part of what was asked of the disk since the last sync: a crash keeps it or loses it.
#[derive(Debug)]
enum Unit {
    Sector { file: NodeId, index: usize, bytes: Vec<u8> },
    Length { file: NodeId, len: usize },
    Link { folder: NodeId, name: String, node: NodeId },
    Unlink { folder: NodeId, name: String },
    Rename { folder: NodeId, name: String, to: NodeId, to_name: String, node: NodeId },
}

impl Unit {
    /// The file or folder whose sync makes this durable.
    fn owner(&self) -> NodeId {
        match *self {
            Self::Sector { file, .. } | Self::Length { file, .. } => file,
            Self::Link { folder, .. } | Self::Unlink { folder, .. } => folder,
            Self::Rename { to, .. } => to,
        }
    }
}

#[derive(Clone, Debug)]
enum Node {
    File(Content),
    Folder(BTreeMap<String, NodeId>),
}

/// Bytes of a file. Sectors may be there before the length that shows them, or after.
#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    len: usize,
    hash: OnceLock<u64>,
}

impl Content {
    fn new(bytes: Vec<u8>) -> Self {
        Self { len: bytes.len(), bytes, hash: OnceLock::new() }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(bytes);
        self.hash = OnceLock::new();
    }

    fn set_len(&mut self, len: usize) {
        self.len = len;
        self.hash = OnceLock::new();
    }

    /// Makes the bytes as long as the length says: what was never written reads as zero.
    fn settle(&mut self) {
        self.bytes.resize(self.len, 0);
    }

    fn hash(&self) -> u64 {
        *self.hash.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            self.bytes.hash(&mut hasher);
            hasher.finish()
        })
    }
}

#[derive(Clone, Debug)]
struct Tree(Vec<Arc<Node>>);

impl Tree {
    fn file(&self, id: NodeId) -> Option<&Content> {
        match &*self.0[id] {
            Node::File(content) => Some(content),
            Node::Folder(_) => None,
        }
    }

    fn folder(&self, id: NodeId) -> Option<&BTreeMap<String, NodeId>> {
        match &*self.0[id] {
            Node::File(_) => None,
            Node::Folder(names) => Some(names),
        }
    }

    fn file_mut(&mut self, id: NodeId) -> &mut Content {
        match Arc::make_mut(&mut self.0[id]) {
            Node::File(content) => content,
            Node::Folder(_) => panic!("node {id} is no file"),
        }
    }

    fn folder_mut(&mut self, id: NodeId) -> &mut BTreeMap<String, NodeId> {
        match Arc::make_mut(&mut self.0[id]) {
            Node::File(_) => panic!("node {id} is no folder"),
            Node::Folder(names) => names,
        }
    }

    fn apply(&mut self, unit: &Unit) {
        match unit {
            Unit::Sector { file, index, bytes } => {
                self.file_mut(*file).write(index * SECTOR, bytes);
            }
            Unit::Length { file, len } => self.file_mut(*file).set_len(*len),
            Unit::Link { folder, name, node } => {
                self.folder_mut(*folder).insert(name.clone(), *node);
            }
            Unit::Unlink { folder, name } => {
                self.folder_mut(*folder).remove(name);
            }
            Unit::Rename { folder, name, to, to_name, node } => {
                let names = self.folder_mut(*folder);
                if names.get(name) == Some(node) {
                    names.remove(name);
                }
                self.folder_mut(*to).insert(to_name.clone(), *node);
            }
        }
    }

    /// Adds what hangs below a folder to `hasher`.
    fn hash_folder(&self, id: NodeId, hasher: &mut DefaultHasher) {
        for (name, &node) in self.folder(id).into_iter().flatten() {
            name.hash(hasher);
            match self.file(node) {
                Some(content) => content.hash().hash(hasher),
                None => self.hash_folder(node, hasher),
            }
        }
        hasher.write_u8(b'/');
    }
}

/// A disk at one moment.
#[derive(Clone, Debug)]
pub struct State {
    visible: Tree,
    durable: Tree,
    pending: Vec<Arc<Unit>>,
    version: usize,
}

impl State {
    /// An empty disk.
    pub fn new() -> Self {
        let tree = Tree(vec![Arc::new(Node::Folder(BTreeMap::new()))]);
        Self { visible: tree.clone(), durable: tree, pending: Vec::new(), version: 0 }
    }

    /// How many units a crash may keep or lose.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Number of changes so far: while it is the same, so is the disk.
    pub fn version(&self) -> usize {
        self.version
    }

    /// The disk after a crash that keeps those pending units whose number `keep` accepts.
    pub fn crash(&self, keep: impl Fn(usize) -> bool) -> Self {
        let mut tree = self.durable.clone();
        for (_, unit) in self.pending.iter().enumerate().filter(|(at, _)| keep(*at)) {
            tree.apply(unit);
        }
        for id in 0..tree.0.len() {
            if tree.file(id).is_some_and(|content| content.bytes.len() != content.len) {
                tree.file_mut(id).settle();
            }
        }
        Self { visible: tree.clone(), durable: tree, pending: Vec::new(), version: 0 }
    }

    /// A number for all names and bytes that programs see.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.visible.hash_folder(ROOT, &mut hasher);
        hasher.finish()
    }

    /// The node at a path.
    pub fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = ROOT;
        for part in path.components().skip(1) {
            let names = self.visible.folder(node).ok_or(io::ErrorKind::NotADirectory)?;
            let name = part.as_os_str().to_str().unwrap();
            node = *names.get(name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    /// The folder that a path lies in, and the last name of the path.
    fn place(&self, path: &Path) -> io::Result<(NodeId, String)> {
        let folder = self.find(path.parent().unwrap())?;
        self.visible.folder(folder).ok_or(io::ErrorKind::NotADirectory)?;
        Ok((folder, path.file_name().unwrap().to_str().unwrap().to_owned()))
    }

    /// Bytes of a file.
    pub fn bytes(&self, file: NodeId) -> io::Result<&[u8]> {
        Ok(&self.visible.file(file).ok_or(io::ErrorKind::IsADirectory)?.bytes)
    }

    /// Names in a folder, sorted; `true` for folders.
    pub fn names(&self, folder: NodeId) -> io::Result<Vec<(String, bool)>> {
        let names = self.visible.folder(folder).ok_or(io::ErrorKind::NotADirectory)?;
        let is_folder = |node| self.visible.folder(node).is_some();
        Ok(names.iter().map(|(name, &node)| (name.clone(), is_folder(node))).collect())
    }

    fn ask(&mut self, unit: Unit) {
        self.version += 1;
        self.visible.apply(&unit);
        self.pending.push(Arc::new(unit));
    }

    fn link(&mut self, path: &Path, node: Node) -> io::Result<NodeId> {
        let (folder, name) = self.place(path)?;
        let id = self.visible.0.len();
        let node = Arc::new(node);
        self.visible.0.push(node.clone());
        self.durable.0.push(node);
        self.ask(Unit::Link { folder, name, node: id });
        Ok(id)
    }

    /// Makes an empty file.
    pub fn create(&mut self, path: &Path) -> io::Result<NodeId> {
        if self.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.link(path, Node::File(Content::default()))
    }

    /// Makes a folder and those above it, where missing.
    pub fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        let above: Vec<_> = path.ancestors().collect();
        for folder in above.into_iter().rev() {
            match self.find(folder) {
                Ok(node) if self.visible.folder(node).is_some() => {}
                Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => drop(self.link(folder, Node::Folder(BTreeMap::new()))?),
            }
        }
        Ok(())
    }

    /// Removes the name of a file.
    pub fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let node = self.find(path)?;
        self.bytes(node)?;
        let (folder, name) = self.place(path)?;
        self.ask(Unit::Unlink { folder, name });
        Ok(())
    }

    /// Gives a file another name.
    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        let ((folder, name), (to, to_name)) = (self.place(from)?, self.place(to)?);
        self.ask(Unit::Rename { folder, name, to, to_name, node });
        Ok(())
    }

    /// Writes bytes into a file, making it longer where needed.
    pub fn write(&mut self, file: NodeId, offset: usize, bytes: &[u8]) {
        self.version += 1;
        let content = self.visible.file_mut(file);
        let len_before = content.len;
        content.write(offset, bytes);
        content.len = content.bytes.len();
        let (len, content) = (content.len, content.bytes.clone());
        for index in offset / SECTOR..(offset + bytes.len()).div_ceil(SECTOR) {
            let end = content.len().min((index + 1) * SECTOR);
            let bytes = content[index * SECTOR..end].to_vec();
            self.pending.push(Arc::new(Unit::Sector { file, index, bytes }));
        }
        if len > len_before {
            self.ask(Unit::Length { file, len });
        }
    }

    /// Makes a file at least so long; new bytes read as zero.
    pub fn reserve(&mut self, file: NodeId, len: usize) {
        if self.visible.file(file).is_some_and(|content| content.len < len) {
            self.ask(Unit::Length { file, len });
            self.visible.file_mut(file).settle();
        }
    }

    /// Makes all bytes of a file, or all names in a folder, durable.
    pub fn sync(&mut self, node: NodeId) {
        self.version += 1;
        for unit in std::mem::take(&mut self.pending) {
            match unit.owner() == node {
                true => self.durable.apply(&unit),
                false => self.pending.push(unit),
            }
        }
        if self.durable.file(node).is_some() {
            self.durable.file_mut(node).settle();
        }
    }

    /// A sync that failed: what was pending of a file is taken for clean and never written.
    /// Programs go on to see it (`keeps_new`, as on ext4), or what the disk has (as on Btrfs).
    pub fn lose(&mut self, file: NodeId, keeps_new: bool) {
        self.version += 1;
        self.pending.retain(|unit| unit.owner() != file);
        if !keeps_new {
            self.visible.0[file] = self.durable.0[file].clone();
        }
    }

    /// All files with their paths.
    pub fn files(&self) -> Vec<(std::path::PathBuf, NodeId)> {
        let (mut files, mut folders) = (Vec::new(), vec![(std::path::PathBuf::from("/"), ROOT)]);
        while let Some((path, folder)) = folders.pop() {
            for (name, &node) in self.visible.folder(folder).into_iter().flatten() {
                let path = path.join(name);
                match self.visible.file(node) {
                    Some(_) => files.push((path, node)),
                    None => folders.push((path, node)),
                }
            }
        }
        files.sort();
        files
    }

    /// The path of a file that has a name.
    pub fn path(&self, file: NodeId) -> Option<std::path::PathBuf> {
        self.files().into_iter().find(|(_, node)| *node == file).map(|(path, _)| path)
    }

    /// The disk with other bytes in one file: damage at rest.
    pub fn with_bytes(&self, file: NodeId, bytes: Vec<u8>) -> Self {
        let mut damaged = self.crash(|_| true);
        damaged.visible.0[file] = Arc::new(Node::File(Content::new(bytes)));
        damaged.durable = damaged.visible.clone();
        damaged
    }
}
