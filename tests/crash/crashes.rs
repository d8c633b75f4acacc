//! Power fails at every operation of a workload, and of the recovery after it.

use std::path::Path;

use crate::model::{ROOT, open};
use crate::power::{Crashed, Judged, Keep, every_crash};
use crate::program::{
    Step, canonical, compaction, live, live_recovery, recovery, retention, small_live, stream_key,
};
use crate::sim::{Ignored, SimDisk, What};
use crate::world::World;

fn run(program: &[Step], ignored: Ignored) -> World {
    let mut world = World::empty(|disk| disk.record().ignore(ignored));
    world.run(program).unwrap();
    world
}

fn honest(program: &[Step]) -> World {
    run(program, |_, _| false)
}

fn every_operation(program: &[Step]) {
    let world = honest(program);
    let mut judged = Judged::default();

    every_crash(&world, &mut judged, Keep::variants).unwrap();

    println!("{} operations, {judged}", world.disk.operations());
}

/// The live program is worth its crashes only if it meets what it is there for.
#[test]
fn the_live_program_meets_every_border() {
    let program = live();
    let before_midnight = program.iter().position(|step| matches!(step, Step::Snapshot)).unwrap();
    let mut world = World::empty(|disk| disk);
    world.run(&program[..before_midnight]).unwrap();
    let store = open(&world.disk).unwrap();
    let snapshot = store.snapshot().unwrap();
    let infos = snapshot.stream_infos();
    let quiet = infos.iter().find(|info| info.key == stream_key(3)).unwrap();
    assert_eq!(quiet.segments, 0, "the quiet stream is not sealed");
    let first_journal = snapshot.manifest().contents().first_journal;
    assert!(first_journal > 1, "its rows are not carried out of the first journal file");
    assert!(infos.iter().any(|info| info.segments > 0), "no stream is sealed by its size");

    world.run(&program[before_midnight..]).unwrap();
    let asked = |what: What, end: &str| {
        let operations = world.disk.asked().into_iter().enumerate();
        let mut found = operations.filter(|(at, asked)| {
            *asked == what && world.disk.describe(*at).ends_with(&format!("{end})"))
        });
        found.by_ref().count()
    };
    assert!(asked(What::Create, ".jnl.tmp") > 8, "too few journal files");
    assert!(asked(What::Remove, ".jnl") > 4, "too few journal files go");
    assert!(asked(What::Create, ".seg.tmp") > 8, "too few segments");
}

#[test]
fn a_crash_at_any_operation_leaves_what_was_committed() {
    every_operation(&canonical());
}

#[test]
fn a_crash_at_any_operation_of_a_live_writer_leaves_what_was_acknowledged() {
    every_operation(&live());
}

#[test]
fn a_crash_at_any_operation_of_a_drop_leaves_the_days_before_it_or_after_it() {
    every_operation(&retention());
}

#[test]
fn a_crash_at_any_operation_of_a_compaction_leaves_all_rows_once() {
    every_operation(&compaction());
}

/// The program that compacts is worth its crashes only if there is something to be compacted.
#[test]
fn the_compacting_program_makes_few_segments_of_many() {
    let program = compaction();
    let compactions = program.iter().enumerate();
    let compactions: Vec<usize> = compactions
        .filter(|(_, step)| matches!(step, Step::Compact { .. }))
        .map(|(at, _)| at)
        .collect();
    let segments = |world: &World| {
        let infos = open(&world.disk).unwrap().snapshot().unwrap().stream_infos();
        infos.iter().map(|info| info.segments).sum::<usize>()
    };
    let (mut world, mut start, mut fewer) = (World::empty(|disk| disk), 0, Vec::new());
    for at in compactions {
        world.run(&program[start..at]).unwrap();
        let before = segments(&world);
        world.run(&program[at..=at]).unwrap();
        fewer.push(before - segments(&world));
        start = at + 1;
    }
    world.run(&program[start..]).unwrap();

    assert!(fewer[..2].iter().all(|&fewer| fewer >= 2), "{fewer:?}");
    assert_eq!(fewer.last(), Some(&0), "what is compacted is left alone");
    let removed = |at: &usize| world.disk.describe(*at).contains("(Remove /data/market.reel/seg");
    let removed = (0..world.disk.operations()).filter(removed).count();
    assert!(removed > 10, "{removed} files were removed");
}

/// Power fails in a program, and in each of the recoveries after it; `depth` of these fail.
fn every_recovery(program: &[Step], recovery: &[Step], depth: usize) {
    let world = honest(program);
    let mut crashes = every_crash(&world, &mut Judged::default(), Keep::singles).unwrap();
    let mut judged = Judged::default();
    for _ in 0..depth {
        let mut next = Vec::new();
        for crashed in crashes {
            let disk = SimDisk::new(crashed.state).record();
            let recovered = World::new(disk, &crashed.allowed).and_then(|mut world| {
                world.run(recovery)?;
                every_crash(&world, &mut judged, Keep::prefixes)
            });
            let point = crashed.point;
            let recovered = recovered.unwrap_or_else(|what| panic!("{point}; then {what}"));
            next.extend(recovered.into_iter().map(|crashed| Crashed {
                point: format!("{point}; then {}", crashed.point),
                ..crashed
            }));
        }
        crashes = next;
    }
    println!("{judged}");
}

#[test]
fn a_crash_at_any_operation_of_the_recovery_leaves_what_was_committed() {
    every_recovery(&canonical(), &recovery(), 1);
}

#[test]
fn a_crash_at_any_operation_of_the_recovery_of_a_live_writer_leaves_what_was_acknowledged() {
    every_recovery(&live(), &live_recovery(), 1);
}

#[test]
fn a_crash_in_the_recovery_after_a_crash_in_the_recovery_leaves_what_was_acknowledged() {
    every_recovery(&small_live(1), &live_recovery()[..3], 2);
}

#[test]
fn a_crash_at_any_operation_of_the_recovery_after_a_drop_leaves_what_was_acknowledged() {
    every_recovery(&retention(), &live_recovery()[..3], 1);
}

#[test]
fn a_crash_at_any_operation_of_the_recovery_after_a_compaction_leaves_what_was_acknowledged() {
    every_recovery(&compaction(), &live_recovery()[..3], 1);
}

fn every_kill(program: &[Step], recovery: &[Step]) {
    let world = honest(program);
    let mut judged = Judged::default();
    for (operation, state) in world.disk.history().iter().enumerate() {
        let disk = SimDisk::new(state.clone()).record();
        let restarted =
            World::new(disk, &world.mark_at(operation).allowed).and_then(|mut world| {
                world.run(recovery)?;
                every_crash(&world, &mut judged, Keep::singles)
            });
        let point = || format!("killed before {}", world.disk.describe(operation));
        restarted.unwrap_or_else(|what| panic!("{}; then {what}", point()));
    }

    println!("{judged}");
}

#[test]
fn a_crash_after_a_kill_leaves_what_was_committed() {
    every_kill(&canonical(), &recovery());
}

#[test]
fn a_crash_after_a_kill_of_a_live_writer_leaves_what_was_acknowledged() {
    every_kill(&live(), &live_recovery());
}

#[test]
fn a_crash_after_a_kill_of_a_compaction_leaves_what_was_acknowledged() {
    every_kill(&compaction(), &live_recovery()[..3]);
}

/// Without this control the tests above could pass because the disk loses nothing.
#[test]
fn no_sync_can_be_left_out() {
    let syncs: [(&str, Ignored); 9] = [
        ("a segment", |_, path| path.to_string_lossy().ends_with(".seg.tmp")),
        ("a manifest", |_, path| path.to_string_lossy().contains("/manifest-")),
        ("CURRENT", |_, path| path.ends_with("CURRENT.tmp")),
        ("the folder above those above the store", |_, path| path == Path::new("/")),
        ("the folder above the store", |_, path| path.ends_with("data")),
        ("the store", |_, path| path == Path::new(ROOT)),
        ("segments", |_, path| path.ends_with("segments")),
        ("a stream", |_, path| path.parent().is_some_and(|above| above.ends_with("segments"))),
        ("a day", |_, path| path.to_string_lossy().contains("-08-0") && path.extension().is_none()),
    ];
    for (what, ignored) in syncs {
        let world = run(&canonical(), ignored);

        let found = every_crash(&world, &mut Judged::default(), Keep::variants);

        assert!(found.is_err(), "without the sync of {what} nothing is lost");
    }
}
