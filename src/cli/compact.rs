//! `tickreel compact`: the same rows in fewer, smaller segments.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use indicatif::ProgressBar;

use super::{args, screen};
use crate::compact::{self, Pace, Report, Selection, Task, Watch};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Kind;
use crate::format::manifest::SegmentEntry;
use crate::quantity::{Instrument, TsNs};
use crate::segment::WriterOptions;
use crate::store::{Dropped, Expired, GroupCommit, LiveOptions, Recorder, Rewritten, Store};

/// Write the segments of each stream and UTC day anew, as one where that can be
///
/// No answer changes: what is written is read back and compared before it takes the place of what
/// was read. Readers go on meanwhile; nobody else may write the store. Days that are complete are
/// best: rows can be imported into a compacted day only together with all of it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the store
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// Say what would be done, with bytes before and after as a sample says, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Only this instrument; may be given more than once
    #[arg(long, value_name = "EXCHANGE:SYMBOL", value_parser = args::instrument)]
    instrument: Vec<Instrument>,
    /// Only this kind; may be given more than once
    #[arg(long, value_name = "KIND", value_parser = args::kind)]
    kind: Vec<Kind>,
    /// Only days that were over so long ago, e.g. 1h, 2d
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Duration>,
    /// First drop the days of a kind that are older, e.g. raw=30d, of the chosen instruments; may
    /// be given more than once
    #[arg(long, value_name = "KIND=AGE", value_parser = kept)]
    keep: Vec<(Kind, Duration)>,
    /// Also write anew what was compacted before, e.g. with other checkpoints
    #[arg(long)]
    again: bool,
    /// Rows that a book at a time replays at most, but for the rest of a message [default: 8192, or
    /// up to 8 times as many where checkpoints would take more than a ninth of the bytes]
    #[arg(long, value_name = "ROWS")]
    checkpoint_rows: Option<u64>,
    /// Days of streams that are written side by side
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,
    /// MiB of segments that are read a second at most, so that others have the disk too
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    bandwidth: Option<u32>,
    /// Print the result as one JSON document
    #[arg(long)]
    json: bool,
}

impl Args {
    /// What is to be dropped.
    fn expired(&self) -> impl Iterator<Item = Expired> {
        self.keep.iter().map(|&(kind, age)| Expired {
            kind,
            before: before_now(age).day(),
            instruments: self.instrument.clone(),
        })
    }
}

/// An age: a number and `s`, `m`, `h` or `d`.
fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?}: expected a number and s, m, h or d, e.g. 36h");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text.trim_end_matches(unit).parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

fn kept(text: &str) -> Result<(Kind, Duration), String> {
    let (kind, age_text) =
        text.split_once('=').ok_or_else(|| format!("{text:?}: expected KIND=AGE, e.g. raw=30d"))?;
    Ok((args::kind(kind)?, age(age_text)?))
}

/// So long before now.
fn before_now(age: Duration) -> TsNs {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let ns = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    TsNs(ns(now).saturating_sub(ns(age)))
}

/// Runs the command.
///
/// # Errors
/// As [`compact::run`]; [`ErrorKind::Locked`] if another writer has the store;
/// [`ErrorKind::Corrupt`] at the end if segments could not be read.
pub fn run(args: &Args) -> Result<()> {
    screen::catch_interrupts()?;
    let options = WriterOptions { checkpoint_rows: args.checkpoint_rows, ..Default::default() };
    options.check()?;
    let store = Store::open(&args.store)?;
    let selection = Selection {
        instruments: args.instrument.clone(),
        kinds: args.kind.clone(),
        until: args.older_than.map_or(TsNs::MAX, before_now),
        again: args.again,
    };
    if args.dry_run {
        return dry_run(args, &store, &selection, options);
    }
    let live = LiveOptions { journal_bytes: JOURNAL_BYTES, ..LiveOptions::default() };
    let mut writer = store.writer(live)?;
    // What a recorder left is compacted with the rest.
    writer.seal_all()?;
    let recorder = Recorder::start(writer, GroupCommit::default())?;
    let mut dropped = Dropped::default();
    for expired in args.expired() {
        let more = recorder.drop_expired(&expired)?;
        dropped.segments += more.segments;
        dropped.rows += more.rows;
        dropped.bytes += more.bytes;
    }
    let tasks = compact::plan(&store.snapshot()?, &selection);
    let total = tasks.iter().map(Task::bytes).sum();
    let progress = Progress::new(total, args.bandwidth);
    let ran = compact::run(&recorder, &tasks, options, args.jobs.into(), &progress);
    let seconds = progress.started.elapsed().as_secs_f64();
    progress.bar.finish_and_clear();
    let done = progress.done.lock().unwrap_or_else(PoisonError::into_inner);
    let ran = ran.map_err(|error| match error.kind() {
        ErrorKind::Cancelled => {
            let text =
                format!("interrupted; {} of {} days were compacted", done.len(), tasks.len());
            Error::new(ErrorKind::Cancelled, text)
        }
        _ => error,
    })?;
    recorder.close()?;
    report(args, &done, &ran, dropped, seconds)?;
    match ran.failed {
        0 => Ok(()),
        failed => Err(Error::corrupt(format!(
            "{failed} of {} days of streams could not be compacted; they are as they were",
            tasks.len()
        ))
        .at_path(&args.store)),
    }
}

/// Bytes of the journal of a writer that appends nothing.
const JOURNAL_BYTES: u64 = 64 << 10;

/// Shows how it goes on, and keeps to the bandwidth.
struct Progress {
    bar: ProgressBar,
    started: Instant,
    pace: Mutex<Pace>,
    done: Mutex<Vec<(Task, Rewritten)>>,
}

impl Progress {
    fn new(bytes_total: u64, mib_per_second: Option<u32>) -> Self {
        let template = "{wide_msg} [{bar:30}] {bytes}/{total_bytes} {eta}";
        Self {
            bar: screen::progress(bytes_total, template),
            started: Instant::now(),
            pace: Mutex::new(Pace::new(mib_per_second.map(|mib| u64::from(mib) << 20))),
            done: Mutex::default(),
        }
    }
}

impl Watch for Progress {
    fn read(&self, bytes: u64) -> Result<()> {
        const WAIT: Duration = Duration::from_millis(100);
        self.bar.inc(bytes);
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left = pace.after(bytes, self.started.elapsed());
        drop(pace);
        loop {
            screen::check_interrupted()?;
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(WAIT));
            left = left.saturating_sub(WAIT);
        }
    }

    fn done(&self, task: &Task, result: &Result<Rewritten>) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(rewritten) => {
                done.push((task.clone(), *rewritten));
                self.bar.set_message(format!("{} {}", task.day, task.key));
            }
            Err(error) if error.kind() == ErrorKind::Cancelled => {}
            Err(error) => self.bar.suspend(|| screen::error_line(&format!("tickreel: {error}"))),
        }
    }
}

fn report(
    args: &Args,
    done: &[(Task, Rewritten)],
    ran: &Report,
    dropped: Dropped,
    seconds: f64,
) -> Result<()> {
    let mut out = screen::output();
    let sum = &ran.sum;
    if args.json {
        let parts: Vec<_> = done
            .iter()
            .map(|(task, done)| document(task, done.segments_after, done.bytes_after))
            .collect();
        let document = serde_json::json!({
            "store": args.store,
            "dry_run": false,
            "dropped": dropped_document(dropped),
            "days": parts,
            "failed": ran.failed,
            "rows": sum.rows,
            "segments_before": sum.segments_before,
            "segments_after": sum.segments_after,
            "bytes_before": sum.bytes_before,
            "bytes_after": sum.bytes_after,
            "seconds": seconds,
        });
        return writeln!(out, "{document}").map_err(screen::write_error);
    }
    let mut lines = Vec::new();
    if dropped.segments > 0 {
        lines.push(format!("dropped {}", dropped_text(dropped)));
    }
    lines.extend(done.iter().map(|(task, done)| line(task, done.segments_after, done.bytes_after)));
    lines.push(match (ran.tasks, ran.failed) {
        (0, 0) => "nothing to do: every day that was chosen is compacted".to_owned(),
        _ => format!(
            "{} rows of {} days of streams, {} segments -> {}, {} -> {}, {seconds:.1} s",
            screen::count(sum.rows),
            ran.tasks,
            sum.segments_before,
            sum.segments_after,
            screen::bytes(sum.bytes_before),
            screen::bytes(sum.bytes_after),
        ),
    });
    lines.iter().try_for_each(|line| writeln!(out, "{line}")).map_err(screen::write_error)
}

fn dropped_document(dropped: Dropped) -> serde_json::Value {
    serde_json::json!({
        "segments": dropped.segments, "rows": dropped.rows, "bytes": dropped.bytes,
    })
}

fn dropped_text(dropped: Dropped) -> String {
    let (rows, bytes) = (screen::count(dropped.rows), screen::bytes(dropped.bytes));
    format!("{rows} rows in {} segments, {bytes}", dropped.segments)
}

fn document(task: &Task, segments_after: usize, bytes_after: u64) -> serde_json::Value {
    serde_json::json!({
        "instrument": task.key.instrument.to_string(),
        "kind": task.key.kind.name(),
        "day": task.day.to_string(),
        "rows": task.rows(),
        "segments_before": task.segments.len(),
        "segments_after": segments_after,
        "bytes_before": task.bytes(),
        "bytes_after": bytes_after,
    })
}

fn line(task: &Task, segments_after: usize, bytes_after: u64) -> String {
    let per_row = |bytes: u64| bytes as f64 / task.rows().max(1) as f64;
    format!(
        "{} {:<12} {:<32} {:>14} rows  {:>4} -> {:<4} segments  {:>6.2} -> {:<6.2} B/row",
        task.day,
        task.key.kind.name(),
        task.key.instrument.to_string(),
        screen::count(task.rows()),
        task.segments.len(),
        segments_after,
        per_row(task.bytes()),
        per_row(bytes_after),
    )
}

/// Says what would be done. The time is that of encoding the samples, as if of all rows.
fn dry_run(
    args: &Args,
    store: &Store,
    selection: &Selection,
    options: WriterOptions,
) -> Result<()> {
    let snapshot = store.snapshot()?;
    let expired: Vec<_> = args.expired().flat_map(|expired| expired.segments(&snapshot)).collect();
    let mut tasks = compact::plan(&snapshot, selection);
    let drops = |entry: &SegmentEntry| expired.iter().any(|e| e.segment_id == entry.segment_id);
    tasks.retain(|task| !task.segments.iter().any(drops));
    let dropped = Dropped::of(&expired);
    let unsealed = snapshot.tail().rows();
    let mut out = screen::output();
    if !args.json && unsealed > 0 {
        let rows = screen::count(unsealed);
        writeln!(out, "would first seal {rows} rows that are in no segment, and compact them too")
            .map_err(screen::write_error)?;
    }
    if !args.json && dropped.segments > 0 {
        writeln!(out, "would drop {}", dropped_text(dropped)).map_err(screen::write_error)?;
    }
    let (mut sampled, mut spent, mut parts) = (0, Duration::ZERO, Vec::new());
    let (mut bytes_before, mut bytes_after, mut rows) = (0, 0, 0);
    for task in &tasks {
        screen::check_interrupted()?;
        let started = Instant::now();
        let estimate = compact::estimate(&snapshot, task, options)?;
        spent += started.elapsed();
        sampled += estimate.sampled_rows;
        rows += task.rows();
        bytes_before += task.bytes();
        bytes_after += estimate.bytes;
        if args.json {
            parts.push(document(task, 1, estimate.bytes));
        } else {
            let line = line(task, 1, estimate.bytes);
            writeln!(out, "{line}").map_err(screen::write_error)?;
        }
    }
    // What is encoded is read, written and read back besides.
    let seconds = 2.0 * spent.as_secs_f64() * rows as f64 / sampled.max(1) as f64;
    let seconds = seconds / f64::from(args.jobs);
    let segments: usize = tasks.iter().map(|task| task.segments.len()).sum();
    let text = if args.json {
        serde_json::json!({
            "store": args.store,
            "dry_run": true,
            "unsealed_rows": unsealed,
            "dropped": dropped_document(dropped),
            "days": parts,
            "rows": rows,
            "segments_before": segments,
            "segments_after": tasks.len(),
            "bytes_before": bytes_before,
            "bytes_after": bytes_after,
            "seconds": seconds,
        })
        .to_string()
    } else if tasks.is_empty() && unsealed == 0 && expired.is_empty() {
        "nothing to do: every day that was chosen is compacted".to_owned()
    } else {
        format!(
            "would compact {} rows of {} days of streams, {segments} segments -> about {}, \
             {} -> about {}, in about {seconds:.1} s; nothing was changed",
            screen::count(rows),
            tasks.len(),
            tasks.len(),
            screen::bytes(bytes_before),
            screen::bytes(bytes_after),
        )
    };
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(screen::write_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        assert_eq!(age("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(age("2d"), Ok(Duration::from_secs(172_800)));
        assert_eq!(kept("raw=36h"), Ok((Kind::Raw, Duration::from_secs(129_600))));
        for wrong in ["", "d", "3", "3w", "-1h", "1.5h", "99999999999999999999d", "dd"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
        assert!(kept("raw").is_err() && kept("none=1d").is_err());
    }
}
