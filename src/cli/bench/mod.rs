//! `tickreel bench`: what this machine does with these rows.
//!
//! Every figure comes with a hash of what was computed, so that no loop is empty. CPU seconds are
//! user plus system time of the whole process, from `/proc`, in steps of 10 ms.

mod append;
mod figure;
mod folder;
mod growth;
mod live;
mod market;
mod merged;
mod print;
mod served;
mod store;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use figure::Figure;
use folder::Folder;

use super::screen;
use crate::error::{Error, Result};
use crate::event::{Kind, StreamKey};
use crate::store::{Snapshot, Store, StreamInfo};

/// Measure import, seek, scan, replay, server and live append on this machine.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files to measure with, as for import [default: a made-up market]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Measure this store instead, as it is
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "compact", "keep"])]
    store: Option<PathBuf>,
    /// Keep the store here instead of removing it
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Compact the store before anything is asked of it
    #[arg(long)]
    compact: bool,
    /// Ask only these [default: all]
    #[arg(long, value_name = "QUESTION", value_delimiter = ',')]
    only: Vec<Question>,
    /// How many seeks are measured
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    seeks: usize,
    /// Ask made-up markets that grow instead: from 1 to so many million rows in one stream, and ten
    /// million in 50 and in 2,000
    #[arg(long, value_name = "MILLION", num_args = 0..=1, default_missing_value = "100",
          value_parser = clap::value_parser!(u64).range(1..=1000),
          conflicts_with_all = ["data", "store", "only"])]
    growth: Option<u64>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What is asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Question {
    /// Open it
    Open,
    /// Its largest book at random times, all levels
    Book,
    /// Random minutes of it
    Range,
    /// All its rows
    Scan,
    /// All its messages through a book, with the best prices after each
    Replay,
    /// All streams merged
    Merged,
    /// Random minutes of all streams merged
    Minute,
    /// One stream as a whole, of all books in turn
    Day,
    /// Its rows from memory to new segments, sealed and compacted
    Append,
    /// Its rows through a live writer, until they are durable
    Live,
    /// Replay and books through a server, over loopback
    Served,
}

/// Runs the command.
///
/// # Errors
/// The data cannot be imported or read back.
pub fn run(args: &Args) -> Result<()> {
    screen::catch_interrupts()?;
    figure::watch_memory();
    let folder = Folder::new(args.keep.as_deref())?;
    if let Some(millions) = args.growth {
        return growth::run(&folder, millions * 1_000_000, args.compact, args.json);
    }
    let mut figures = Vec::new();
    let root = match &args.store {
        Some(root) => root.clone(),
        None => fill(args, &folder.path, &mut figures)?,
    };
    let subject = Subject::new(&root, folder.path.clone(), args.seeks)?;
    let all = Question::value_variants();
    for question in if args.only.is_empty() { all } else { &args.only } {
        figures.extend(subject.ask(*question)?);
    }
    print::print(args.json, None, &figures, &subject.infos)
}

/// Imports the data into a new store in `folder`.
fn fill(args: &Args, folder: &Path, figures: &mut Vec<Figure>) -> Result<PathBuf> {
    let data = match args.data.is_empty() {
        true => super::demo::sample_files(&folder.join("data"))?,
        false => args.data.clone(),
    };
    let root = folder.join("bench.reel");
    figures.push(store::import(&data, &root)?);
    if args.compact {
        figures.push(store::compact(&root)?);
    }
    Ok(root)
}

/// What questions are asked of.
struct Subject {
    store: Store,
    snapshot: Snapshot,
    infos: Vec<StreamInfo>,
    /// The largest book, or the largest stream where there is no book.
    key: StreamKey,
    /// For stores that a question makes.
    folder: PathBuf,
    seeks: usize,
}

impl Subject {
    fn new(root: &Path, folder: PathBuf, seeks: usize) -> Result<Self> {
        let store = Store::open(root)?;
        let snapshot = store.snapshot()?;
        let infos = snapshot.stream_infos();
        let largest = infos.iter().max_by_key(|info| (info.key.kind == Kind::Book, info.rows));
        let key = largest.ok_or_else(|| Error::invalid("the store is empty"))?.key.clone();
        Ok(Self { store, snapshot, infos, key, folder, seeks })
    }

    fn books(&self) -> Vec<StreamKey> {
        let books = self.infos.iter().filter(|info| info.key.kind == Kind::Book);
        books.map(|info| info.key.clone()).collect()
    }

    fn ask(&self, question: Question) -> Result<Vec<Figure>> {
        let (snapshot, key) = (&self.snapshot, &self.key);
        let keys: Vec<_> = self.infos.iter().map(|info| info.key.clone()).collect();
        let books = self.books();
        let of_books = matches!(question, Question::Book | Question::Replay | Question::Served);
        if of_books && key.kind != Kind::Book {
            return Ok(Vec::new());
        }
        Ok(vec![match question {
            Question::Open => store::open(self.store.root())?,
            Question::Book => store::seeks(snapshot, key, self.seeks)?,
            Question::Range => store::ranges(snapshot, key, self.seeks / 5)?,
            Question::Scan => store::scan(snapshot, key)?,
            Question::Replay => store::book_replay(snapshot, key)?,
            Question::Day => merged::days(snapshot, &books, self.seeks / 20)?,
            Question::Merged => return merged::replays(snapshot, &keys, &books),
            Question::Minute => return merged::minutes(snapshot, &keys, &books, self.seeks / 20),
            Question::Append => return append::figures(snapshot, key, &self.folder),
            Question::Live => return live::figures(snapshot, key, &self.folder),
            Question::Served => return served::figures(&self.store, key, self.seeks / 5),
        }])
    }
}
