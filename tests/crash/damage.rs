//! Damage at rest and a disk that lies: the same answer or an error, never another answer.

use std::path::PathBuf;
use std::sync::Arc;

use crate::model::{Contents, never_another_answer, without_panic};
use crate::power::Keep;
use crate::program::{Step, canonical, live, small, small_compacted};
use crate::sim::{Fault, Ignored, NodeId, Plan, SECTOR, SimDisk, State, What};
use crate::world::World;

/// The small store that a program leaves, and its files that hold bytes.
fn small_store(program: &[Step]) -> (State, Vec<Arc<Contents>>, Vec<(PathBuf, NodeId)>) {
    let mut world = World::empty(|disk| disk);
    world.run(program).unwrap();
    let state = world.disk.state();
    let mut files = state.files();
    files.retain(|&(_, file)| !state.bytes(file).unwrap().is_empty());
    (state, world.allowed().iter().map(|allowed| allowed.contents.clone()).collect(), files)
}

/// Expects that a store with other bytes in one file says so.
fn expect_noticed(
    state: &State,
    known: &[Arc<Contents>],
    (path, file): &(PathBuf, NodeId),
    bytes: Vec<u8>,
    what: impl Fn() -> String,
) {
    let disk = SimDisk::new(state.with_bytes(*file, bytes));
    let noticed = without_panic(|| never_another_answer(&disk, known, true));
    assert_eq!(noticed, Ok(true), "{}, {}", path.display(), what());
}

#[test]
fn every_flipped_bit_is_noticed() {
    every_flipped_bit(&small(1));
}

#[test]
fn every_flipped_bit_of_a_compacted_store_is_noticed() {
    every_flipped_bit(&small_compacted(1));
}

fn every_flipped_bit(program: &[Step]) {
    let (state, known, files) = small_store(program);
    let mut count = 0;
    for file in &files {
        let bytes = state.bytes(file.1).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            expect_noticed(&state, &known, file, damaged, || format!("bit {bit}"));
            count += 1;
        }
    }
    println!("{} files, {count} bits", files.len());
}

#[test]
fn every_other_length_is_noticed() {
    every_other_length(&small(1));
    every_other_length(&small_compacted(1));
}

fn every_other_length(program: &[Step]) {
    let (state, known, files) = small_store(program);
    for file in &files {
        let bytes = state.bytes(file.1).unwrap();
        for len in (0..bytes.len()).chain([bytes.len() + 1, bytes.len() + 64]) {
            let mut damaged = bytes.to_vec();
            damaged.resize(len, 0);
            expect_noticed(&state, &known, file, damaged, || format!("length {len}"));
        }
    }
}

#[test]
fn every_lost_or_foreign_part_is_noticed() {
    every_lost_or_foreign_part([&small(1), &small(2)]);
    every_lost_or_foreign_part([&small_compacted(1), &small(1)]);
}

fn every_lost_or_foreign_part(programs: [&[Step]; 2]) {
    let [(state, known, files), (other, _, others)] = programs.map(small_store);
    for file in &files {
        let bytes = state.bytes(file.1).unwrap();
        for sector in 0..bytes.len().div_ceil(SECTOR) {
            let mut damaged = bytes.to_vec();
            damaged[sector * SECTOR..].iter_mut().take(SECTOR).for_each(|byte| *byte = 0);
            expect_noticed(&state, &known, file, damaged, || format!("no sector {sector}"));
        }
        let foreign = files.iter().map(|file| (&state, file));
        for (from, (path, node)) in foreign.chain(others.iter().map(|file| (&other, file))) {
            let foreign = from.bytes(*node).unwrap();
            if foreign != bytes {
                let what = || format!("with the bytes of {}", path.display());
                expect_noticed(&state, &known, file, foreign.to_vec(), what);
            }
        }
    }
}

#[test]
fn a_sector_that_cannot_be_read_is_an_error() {
    let (state, known, files) = small_store(&small(1));
    for (path, file) in files {
        for sector in 0..state.bytes(file).unwrap().len().div_ceil(SECTOR) {
            let disk = SimDisk::new(state.clone()).lose_sector(file, sector);
            let noticed = without_panic(|| never_another_answer(&disk, &known, true));
            assert_eq!(noticed, Ok(true), "{}, sector {sector}", path.display());
        }
    }
}

fn every_misdirected_write(program: &[Step], is_import: bool) {
    let mut clean = World::empty(|disk| disk);
    clean.run(program).unwrap();
    let asked = clean.disk.asked();
    let appends = (0..asked.len()).filter(|&at| Fault::Misdirected.strikes(asked[at]));
    let (mut count, mut noticed) = (0, 0);
    for at in appends {
        let plan = Plan { at, fault: Fault::Misdirected, forever: false };
        let mut world = World::empty(|disk| disk.plan(plan));
        let answered = without_panic(|| {
            world.run_damaged(program)?;
            never_another_answer(&SimDisk::new(world.disk.state()), &world.known(), is_import)
        });
        count += 1;
        noticed += usize::from(answered.unwrap_or_else(|what| {
            panic!("misdirected {}: {what}", world.disk.describe(at));
        }));
    }
    println!("{count} writes, {noticed} noticed at the end");
}

#[test]
fn a_write_that_lands_in_another_file_never_gives_another_answer() {
    every_misdirected_write(&canonical(), true);
}

#[test]
fn a_write_of_a_live_writer_that_lands_in_another_file_never_gives_another_answer() {
    every_misdirected_write(&live(), false);
}

fn every_lie(program: &[Step], is_import: bool) {
    let lies: [(&str, Ignored); 3] = [
        ("files", |what, _| what == What::Sync),
        ("folders", |what, _| what == What::SyncFolder),
        ("all", |_, _| true),
    ];
    for (name, lies) in lies {
        let mut world = World::empty(|disk| disk.record().ignore(lies));
        world.run(program).unwrap();
        let known = world.known();
        let mut noticed = 0;
        for (operation, state) in world.disk.history().iter().enumerate() {
            let random = (0..6).map(|seed| Keep::Random(operation as u64 * 6 + seed));
            for keep in [Keep::None, Keep::All].into_iter().chain(random) {
                let disk = SimDisk::new(keep.apply(state));
                let answered = without_panic(|| never_another_answer(&disk, &known, is_import));
                noticed += usize::from(answered.unwrap_or_else(|what| {
                    panic!(
                        "syncs of {name} lie, {keep:?} at {}: {what}",
                        world.disk.describe(operation)
                    );
                }));
            }
        }
        assert!(noticed > 0, "{name}: nothing is lost");
    }
}

#[test]
fn after_flushes_that_were_lies_a_crash_never_gives_another_answer() {
    every_lie(&canonical(), true);
}

#[test]
fn after_flushes_that_were_lies_a_crash_of_a_live_writer_never_gives_another_answer() {
    every_lie(&live(), false);
}
