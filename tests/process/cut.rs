//! The power is cut while a process writes.
//!
//! What is durable is asked before the cut: a sync that is under way at the cut may still be
//! reported as done.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use tickreel::store::Store;

use crate::expected::Expected;
use crate::job::{IMPORTED, Job, Syncs, messages};
use crate::source::{STREAMS, Source};
use crate::volume::{Cut, Volume};
use crate::writer::{Counts, Life, WriterProcess};
use crate::{from_env, random, say};

/// Cuts after which a store is so large that a new one is begun.
const CUTS_PER_STORE: u64 = 50;

/// The volume of a test; without one the test is skipped, and says so.
fn volume() -> Option<Volume> {
    let why = match Volume::new() {
        Ok(volume) => return Some(volume),
        Err(why) => why,
    };
    let line = format!("SKIPPED: power cuts: {why}");
    say(&line);
    // Those who run the tests do not see what a test that passes has to say.
    if let Some(path) = std::env::var_os("TICKREEL_SKIPPED") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())).unwrap();
    }
    None
}

/// How often the power is cut in a test whose share of all cuts is so many percent.
fn cuts(percent: u64) -> u64 {
    (from_env("TICKREEL_CUTS", 60) * percent / 100).max(1)
}

/// Cuts the power under a writer that has lived, and brings it back; what was durable.
fn cut_once(volume: &mut Volume, writer: &mut WriterProcess, store: &Path, cut: Cut) -> Counts {
    // Other processes are shown durable rows only.
    let seen = Store::open(store).and_then(|store| messages(&store)).unwrap();
    let told = writer.durable();
    volume.cut(cut).unwrap();
    writer.kill();
    volume.remount();
    more(&told, &seen)
}

/// The larger number of each stream.
fn more(counts: &[usize], others: &[usize]) -> Counts {
    counts.iter().zip(others).map(|(a, b)| *a.max(b)).collect()
}

/// Cuts the power of one store again and again, and checks it each time, also with `check`.
fn cut_all(test: u64, cuts: u64, jobs: &[Job], check: fn(&Counts)) {
    let Some(mut volume) = volume() else { return };
    let (mut random, mut expected) = (random(test), Expected::new());
    let (mut store, log) = (volume.path(), volume.outside("errors"));
    let mut counts = vec![0; STREAMS];
    for (nth, &job) in (0..cuts).zip(jobs.iter().cycle()) {
        if nth % CUTS_PER_STORE == 0 {
            (store, counts) = (volume.new_store(), vec![0; STREAMS]);
        }
        if job == Job::Recover {
            // What a killed writer wrote last is in memory only, and is to be recovered.
            let mut writer = WriterProcess::start(Job::Record, Syncs::Kept, &store, &log);
            writer.live(&Life::any(&mut random), counts[0]);
            counts = more(&counts, &writer.kill());
        }
        let mut writer = WriterProcess::start(job, Syncs::Kept, &store, &log);
        let life = Life::any(&mut random);
        writer.live(&life, counts[0]);
        let cut = if random.below(3) == 0 { Cut::Contents } else { Cut::All };
        let durable = cut_once(&mut volume, &mut writer, &store, cut);
        counts = expected
            .check_recovery(&store, &more(&durable, &counts), &mut random)
            .unwrap_or_else(|wrong| panic!("cut {nth}, {cut:?}, {job:?}, {life:?}: {wrong}"));
        check(&counts);
    }
    say(&format!("{cuts} cuts of {jobs:?}: 0 lost; messages of the last store: {counts:?}"));
}

#[test]
fn a_power_cut_while_rows_are_appended_and_sealed_loses_nothing() {
    cut_all(2, cuts(50), &[Job::Record, Job::Seal], |_| {});
}

#[test]
fn a_power_cut_while_a_store_is_compacted_loses_nothing() {
    cut_all(6, cuts(25), &[Job::Compact], |_| {});
}

#[test]
fn a_power_cut_while_a_store_is_recovered_loses_nothing() {
    cut_all(3, cuts(25), &[Job::Recover], |_| {});
}

#[test]
fn a_power_cut_while_an_import_commits_keeps_all_of_it_or_nothing() {
    cut_all(4, cuts(25), &[Job::Import], |counts| {
        let sources = Source::all();
        let laps = |stream: usize| {
            let lap_messages = sources[stream].lap_messages;
            (counts[stream] / lap_messages, counts[stream] % lap_messages)
        };
        let whole = (0..IMPORTED).all(|stream| laps(stream) == (laps(0).0, 0));
        assert!(whole, "part of an import: {counts:?}");
    });
}

#[test]
fn a_power_cut_without_syncs_does_lose_rows() {
    let Some(mut volume) = volume() else { return };
    let (mut random, mut expected) = (random(5), Expected::new());
    let (cuts, mut lost) = (cuts(20), 0);
    for nth in 0..cuts {
        let store = volume.new_store();
        let syncs = if nth % 2 == 0 { Syncs::LeftOut } else { Syncs::OfWholeFiles };
        let mut writer =
            WriterProcess::start(Job::Record, syncs, &store, &volume.outside("errors"));
        writer.live(&Life::active(&mut random), 0);
        let durable = cut_once(&mut volume, &mut writer, &store, Cut::All);
        let checked = expected.check_recovery(&store, &durable, &mut random);
        lost += u64::from(checked.inspect_err(|lost| say(lost)).is_err());
    }
    say(&format!("{cuts} cuts without syncs: {lost} lost"));
    assert!(lost * 10 >= cuts * 9, "{lost} of {cuts} cuts lost rows: the cuts cut nothing");
}
