//! What the writer process does until it dies.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tickreel::Result;
use tickreel::compact::{self, Selection};
use tickreel::disk::{Disk, OsDisk};
use tickreel::event::{Batch, StreamKey};
use tickreel::segment::WriterOptions;
use tickreel::store::{GroupCommit, ImportOptions, LiveOptions, Recorder, Store, Writer};

use crate::oracle::Random;
use crate::source::Source;
use crate::without_sync::WithoutSync;
use crate::writer::Counts;

/// The test that is the writer process.
pub const TEST: &str = "job::writer_process";
/// Says what the writer process is to do.
pub const ENV: &str = "TICKREEL_TEST_WRITER";
/// Streams that [`Job::Import`] writes, from the first on.
pub const IMPORTED: usize = 8;
/// The line before the store is opened.
pub const BEGUN: &str = "begun";

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// By threads that share a recorder.
    Record,
    /// By one thread that commits and seals after every few rows.
    Seal,
    /// By one thread that compacts what it sealed.
    Compact,
    /// By opening the store again and again, as a writer or to import.
    Recover,
    /// By importing laps, each twice.
    Import,
}

/// Which files are made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    /// All.
    Kept,
    /// Those that are written whole, but not what is appended to the journal.
    OfWholeFiles,
    /// None.
    LeftOut,
}

/// The value of [`ENV`].
pub fn describe(job: Job, syncs: Syncs, store: &Path) -> String {
    format!("{job:?} {syncs:?} {}", store.display())
}

/// Stream and messages of a line that tells what is durable.
pub fn parse_durable(line: &str) -> Option<(usize, usize)> {
    let (stream, messages) = line.strip_prefix("durable ")?.split_once(' ')?;
    Some((stream.parse().ok()?, messages.parse().ok()?))
}

fn tell(line: &str) {
    let mut out = io::stdout().lock();
    // Nobody listens any more: the parent ended, and so will this process.
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

fn tell_durable(stream: usize, messages: usize) {
    tell(&format!("durable {stream} {messages}"));
}

/// Small files, so that every few milliseconds a journal file or a segment is begun.
pub fn options() -> LiveOptions {
    LiveOptions {
        segments: WriterOptions { block_rows: 200, checkpoint_rows: Some(50) },
        journal_bytes: 64 << 10,
        seal_bytes: 20 << 10,
        memory_max: 120 << 10,
        ..LiveOptions::default()
    }
}

#[test]
#[ignore = "the other tests start it as a process of its own"]
fn writer_process() {
    let Ok(described) = std::env::var(ENV) else { return };
    let (job, rest) = described.split_once(' ').unwrap();
    let (syncs, root) = rest.split_once(' ').unwrap();
    let disk: Arc<dyn Disk> = match syncs {
        "Kept" => Arc::new(OsDisk),
        "OfWholeFiles" => Arc::new(WithoutSync { disk: OsDisk, syncs: 1 }),
        _ => Arc::new(WithoutSync { disk: OsDisk, syncs: 0 }),
    };
    let closing = close_with_parent();
    // libtest has written the name of this test, without an end of line.
    tell("");
    tell(BEGUN);
    let store = Store::open_or_create_on(disk, &PathBuf::from(root), 1).unwrap();
    let done = match job {
        "Record" => record(&store, &closing),
        "Seal" => seal(&store, &closing),
        "Compact" => compact(&store, &closing),
        "Recover" => recover(&store, &closing),
        "Import" => import(&store, &closing),
        other => panic!("no such job: {other}"),
    };
    done.unwrap();
}

/// Becomes true when the parent closes the pipe or ends.
fn close_with_parent() -> Arc<AtomicBool> {
    let closing = Arc::new(AtomicBool::new(false));
    let told = closing.clone();
    thread::spawn(move || {
        drop(io::stdin().read_to_end(&mut Vec::new()));
        told.store(true, Ordering::Relaxed);
    });
    closing
}

/// Writes one stream on from where the store has it.
struct Lane {
    stream: usize,
    source: Source,
    messages: usize,
    lap: (usize, Batch),
}

impl Lane {
    fn all(store: &Store) -> Result<Vec<Self>> {
        let counts = messages(store)?.into_iter().enumerate();
        let lanes = counts.zip(Source::all()).map(|((stream, messages), source)| {
            let lap = messages / source.lap_messages;
            let rows = source.lap(lap);
            Self { stream, source, messages, lap: (lap, rows) }
        });
        Ok(lanes.collect())
    }

    /// The next messages, at most so many and of one lap.
    fn next(&mut self, messages_max: usize) -> Batch {
        let (lap, at) =
            (self.messages / self.source.lap_messages, self.messages % self.source.lap_messages);
        if self.lap.0 != lap {
            self.lap = (lap, self.source.lap(lap));
        }
        let end = (at + messages_max).min(self.source.lap_messages);
        self.messages += end - at;
        self.lap.1.slice_messages(at..end)
    }
}

/// Messages of each stream in a store.
pub fn messages(store: &Store) -> Result<Counts> {
    let infos = store.snapshot()?.stream_infos();
    let count = |source: Source| {
        let info = infos.iter().find(|info| info.key == source.key);
        info.map_or(0, |info| usize::try_from(info.messages).unwrap())
    };
    Ok(Source::all().into_iter().map(count).collect())
}

fn random() -> Random {
    Random(u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
}

fn few(random: &mut Random, most: u64) -> usize {
    1 + usize::try_from(random.below(most)).unwrap()
}

fn record(store: &Store, closing: &AtomicBool) -> Result<()> {
    let group = GroupCommit { within: Duration::from_millis(2), bytes: 16 << 10 };
    let recorder = Recorder::start(store.writer(options())?, group)?;
    let mut busy = Lane::all(store)?;
    let quiet = busy.split_off(2);
    let trades = busy.split_off(1);
    let ends = thread::scope(|scope| {
        let recorder = &recorder;
        let threads = [(busy, 20), (trades, 20), (quiet, 1)]
            .map(|(lanes, most)| scope.spawn(move || append_all(lanes, most, recorder, closing)));
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Result<Vec<_>>>()
    })?;
    recorder.close()?;
    ends.iter().flatten().for_each(|lane| tell_durable(lane.stream, lane.messages));
    Ok(())
}

/// Appends to lanes in turn, and tells what has become durable.
fn append_all(
    mut lanes: Vec<Lane>,
    messages_max: u64,
    recorder: &Recorder,
    closing: &AtomicBool,
) -> Result<Vec<Lane>> {
    const WAITING_MAX: usize = 4;
    let mut random = random();
    let mut waiting = VecDeque::new();
    while !closing.load(Ordering::Relaxed) {
        let place = usize::try_from(random.below(lanes.len() as u64)).unwrap();
        let lane = &mut lanes[place];
        let rows = lane.next(few(&mut random, messages_max));
        let seq = recorder.append(&lane.source.key, &rows)?;
        waiting.push_back((seq, lane.stream, lane.messages));
        if waiting.len() > WAITING_MAX {
            recorder.wait(waiting[0].0)?;
        }
        let durable = recorder.watermark();
        while let Some((_, stream, messages)) = waiting.pop_front_if(|next| next.0 <= durable) {
            tell_durable(stream, messages);
        }
    }
    Ok(lanes)
}

fn seal(store: &Store, closing: &AtomicBool) -> Result<()> {
    commit_and(store, closing, |writer, random| match random.below(20) {
        0 => writer.seal_all(),
        _ => Ok(()),
    })
}

fn compact(store: &Store, closing: &AtomicBool) -> Result<()> {
    commit_and(store, closing, |writer, random| {
        if random.below(10) == 0 {
            writer.seal_all()?;
            for task in compact::plan(&store.snapshot()?, &Selection::default()) {
                writer.rewrite(&task.segments, options().segments, &mut |_| Ok(()))?;
            }
        }
        Ok(())
    })
}

/// Appends and commits a few rows again and again, and does `then` after each time.
fn commit_and(
    store: &Store,
    closing: &AtomicBool,
    then: impl Fn(&mut Writer, &mut Random) -> Result<()>,
) -> Result<()> {
    let mut random = random();
    let mut writer = store.writer(options())?;
    let mut lanes = Lane::all(store)?;
    while !closing.load(Ordering::Relaxed) {
        append_few(&mut lanes, &mut random, |key, rows| writer.append(key, rows).map(drop))?;
        writer.commit()?;
        lanes.iter().for_each(|lane| tell_durable(lane.stream, lane.messages));
        then(&mut writer, &mut random)?;
        writer.maintain()?;
    }
    Ok(())
}

/// Appends to the busy streams and to some quiet ones.
fn append_few(
    lanes: &mut [Lane],
    random: &mut Random,
    mut append: impl FnMut(&StreamKey, &Batch) -> Result<()>,
) -> Result<()> {
    for lane in lanes {
        if lane.stream < 2 || random.below(10) == 0 {
            let most = if lane.stream < 2 { 20 } else { 1 };
            let rows = lane.next(few(random, most));
            append(&lane.source.key, &rows)?;
        }
    }
    Ok(())
}

fn recover(store: &Store, closing: &AtomicBool) -> Result<()> {
    let mut random = random();
    while !closing.load(Ordering::Relaxed) {
        if random.below(4) == 0 {
            drop(store.import(ImportOptions::default())?);
        }
        let mut writer = store.writer(options())?;
        let mut lanes = Lane::all(store)?;
        for _ in 0..few(&mut random, 4) {
            append_few(&mut lanes, &mut random, |key, rows| writer.append(key, rows).map(drop))?;
            writer.commit()?;
            lanes.iter().for_each(|lane| tell_durable(lane.stream, lane.messages));
        }
    }
    Ok(())
}

fn import(store: &Store, closing: &AtomicBool) -> Result<()> {
    let sources = &Source::all()[..IMPORTED];
    let mut lap = messages(store)?[0] / sources[0].lap_messages;
    while !closing.load(Ordering::Relaxed) {
        for replace in [false, true] {
            let options = ImportOptions { replace, writer: options().segments };
            let mut import = store.import(options)?;
            for source in sources {
                import.append(&source.key, &source.lap(lap))?;
            }
            import.commit()?;
            for (stream, source) in sources.iter().enumerate() {
                tell_durable(stream, (lap + 1) * source.lap_messages);
            }
        }
        lap += 1;
    }
    Ok(())
}
