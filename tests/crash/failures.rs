//! The k-th operation fails, for every k and every way to fail, once and from then on.

use std::collections::HashSet;
use std::path::Path;

use tickreel::catalog::{self, Name};

use crate::model::{ROOT, open, without_panic};
use crate::power::{Judged, Keep, every_crash};
use crate::program::{Step, canonical, compaction, live, live_recovery, recovery, retention};
use crate::sim::{Fault, Plan, SimDisk, State, What};
use crate::world::World;

/// What a program asks of the disk.
fn asked(program: &[Step]) -> Vec<What> {
    let mut world = World::empty(|disk| disk);
    world.run(program).unwrap();
    world.disk.asked()
}

/// Every operation of a program with every fault that can strike it.
fn plans(program: &[Step], forever: bool) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (at, what) in asked(program).into_iter().enumerate() {
        let faults = Fault::ALL.into_iter().filter(|fault| fault.strikes(what));
        plans.extend(faults.map(|fault| Plan { at, fault, forever }));
    }
    plans
}

/// Runs a program with something going wrong in it; gives its end.
fn run(
    program: &[Step],
    plan: Plan,
    prepare: impl FnOnce(SimDisk) -> SimDisk,
) -> Result<World, String> {
    without_panic(|| {
        let mut world = World::empty(|disk| prepare(disk.plan(plan)));
        let ran = world.run(program);
        let point = || format!("{:?} at {}", plan.fault, world.disk.describe(plan.at));
        ran.map_err(|what| format!("{}: {what}", point()))?;
        if world.disk.struck() == 0 {
            return Err(format!("{} does not strike", point()));
        }
        Ok(world)
    })
}

/// The program goes on after the failure; then it is killed, or power fails, and another goes on.
fn every_failure(program: &[Step], recovery: &[Step], forever: bool) {
    let plans = plans(program, forever);
    let mut recovered = HashSet::new();
    for &plan in &plans {
        let world = run(program, plan, |disk| disk).unwrap();
        let (state, mark) = (world.disk.state(), world.mark_at(usize::MAX));
        let killed = [(state.clone(), "a kill".to_owned())];
        let crash = |keep: Keep| (keep.apply(&state), format!("a crash that keeps {keep:?}"));
        let crashes = [Keep::All, Keep::None].map(crash);
        for (state, end) in killed.into_iter().chain(crashes) {
            if recovered.insert((state.digest(), state.pending(), mark.id)) {
                World::new(SimDisk::new(state), &mark.allowed)
                    .and_then(|mut world| world.run(recovery))
                    .unwrap_or_else(|what| {
                        let operation = world.disk.describe(plan.at);
                        panic!("{:?} at {operation}; then {end}: {what}", plan.fault)
                    });
            }
        }
    }
    println!("{} runs, {} ends", plans.len(), recovered.len());
}

#[test]
fn an_operation_that_fails_once_leaves_the_store_before_or_after() {
    every_failure(&canonical(), &recovery(), false);
}

#[test]
fn operations_that_fail_from_one_on_leave_the_store_before_or_after() {
    every_failure(&canonical(), &recovery(), true);
}

#[test]
fn an_operation_of_a_live_writer_that_fails_once_loses_nothing_acknowledged() {
    every_failure(&live(), &live_recovery(), false);
}

#[test]
fn operations_of_a_live_writer_that_fail_from_one_on_lose_nothing_acknowledged() {
    every_failure(&live(), &live_recovery(), true);
}

#[test]
fn an_operation_of_a_drop_that_fails_leaves_the_days_before_it_or_after_it() {
    every_failure(&retention(), &live_recovery()[..3], false);
}

#[test]
fn operations_of_a_drop_that_fail_from_one_on_leave_the_days_before_it_or_after_it() {
    every_failure(&retention(), &live_recovery()[..3], true);
}

#[test]
fn an_operation_of_a_compaction_that_fails_changes_no_row() {
    every_failure(&compaction(), &live_recovery()[..3], false);
}

#[test]
fn operations_of_a_compaction_that_fail_from_one_on_change_no_row() {
    every_failure(&compaction(), &live_recovery()[..3], true);
}

fn every_crash_after_a_failure(program: &[Step], variants: fn(usize) -> Vec<Keep>) {
    let mut judged = Judged::default();
    let makes_durable = [What::Sync, What::SyncFolder, What::Rename, What::Remove];
    let asked = asked(program);
    for plan in plans(program, false) {
        // These refuse as an input or output error does.
        let as_eio = matches!(plan.fault, Fault::Eintr | Fault::Erofs);
        if !makes_durable.contains(&asked[plan.at]) || as_eio {
            continue;
        }
        let world = run(program, plan, SimDisk::record).unwrap();
        let crashed = every_crash(&world, &mut judged, variants);
        let point = || format!("{:?} at {}", plan.fault, world.disk.describe(plan.at));
        crashed.unwrap_or_else(|what| panic!("{}; then {what}", point()));
    }
    println!("{judged}");
}

#[test]
fn a_crash_at_any_time_after_a_failed_sync_or_rename_leaves_what_was_committed() {
    every_crash_after_a_failure(&canonical(), Keep::singles);
}

#[test]
fn a_crash_at_any_time_after_a_failure_of_a_live_writer_leaves_what_was_acknowledged() {
    every_crash_after_a_failure(&live(), Keep::whole);
}

#[test]
fn a_crash_at_any_time_after_a_failed_drop_leaves_what_was_acknowledged() {
    every_crash_after_a_failure(&retention(), Keep::whole);
}

#[test]
fn a_crash_at_any_time_after_a_failed_compaction_leaves_what_was_acknowledged() {
    every_crash_after_a_failure(&compaction(), Keep::whole);
}

#[test]
fn a_store_is_created_below_folders_that_cannot_be_synced_but_not_in_one() {
    let asked = asked(&canonical());
    let syncs = (0..asked.len()).filter(|&at| asked[at] == What::SyncFolder);
    let syncs: Vec<usize> = syncs.take(3).collect();
    for fault in [Fault::Eacces, Fault::Einval] {
        // The folder above the store, the one above that, and the store's own.
        for (at, works) in syncs.iter().zip([true, true, false]) {
            let plan = Plan { at: *at, fault, forever: false };
            let disk = SimDisk::new(State::new()).plan(plan);

            let opened = open(&disk);

            assert_eq!(opened.is_ok(), works, "{fault:?} at {}", disk.describe(*at));
            assert_eq!(disk.struck(), 1);
        }
    }
}

/// The disk is full from some operation of the step on, any that it can strike. If the writer goes
/// on, the files that were cut short are gone; with room again, so does the program. Where the disk
/// was full, and whether the writer went on.
fn full_disks(program: &[Step], at: usize) -> Vec<(String, bool)> {
    let mut clean = World::empty(|disk| disk);
    clean.run(&program[..at]).unwrap();
    let start = clean.disk.operations();
    clean.run(&program[at..=at]).unwrap();
    let mut met = Vec::new();
    for from in start..clean.disk.operations() {
        let plan = Plan { at: from, fault: Fault::Enospc, forever: true };
        if !Fault::Enospc.strikes(clean.disk.asked()[from]) {
            continue;
        }
        let mut world = World::empty(|disk| disk.plan(plan));
        world.run(&program[..at]).unwrap();
        let before = names(&world);
        world.run(&program[at..=at]).unwrap();
        let working = world.writer.as_ref().is_some_and(|writer| writer.check().is_ok());
        met.push((clean.disk.describe(from), working));
        let left: HashSet<u64> = names(&world).difference(&before).copied().collect();
        let snapshot = open(&world.disk).unwrap().snapshot().unwrap();
        let segments = snapshot.manifest().segments();
        let named = segments.iter().map(|entry| entry.segment_id).collect();
        let place = || clean.disk.describe(from);
        assert!(!working || left.is_subset(&named), "a full disk at {} leaves files", place());
        drop(snapshot);

        world.disk = world.disk.clone().plan(Plan { at: usize::MAX, ..plan });
        world.run(&program[at..]).unwrap();
    }
    met
}

#[test]
fn a_compaction_on_a_full_disk_leaves_the_store_as_it_was() {
    let program = compaction();
    let at = program.iter().position(|step| matches!(step, Step::Compact { .. })).unwrap();
    let met = full_disks(&program, at);
    assert!(met.iter().any(|(_, working)| *working), "no full disk is met and outlived");
}

#[test]
fn a_seal_waits_for_room_on_a_full_disk_and_no_row_is_lost() {
    let program = live();
    let at = program.iter().position(|step| matches!(step, Step::Seal)).unwrap();
    let met = full_disks(&program, at);
    let of_manifest = met.iter().filter(|(place, _)| place.contains("manifest-"));
    assert!(of_manifest.clone().count() > 0, "{met:?}");
    assert!(of_manifest.clone().all(|(_, working)| *working), "{met:?}");
}

/// The numbers of the segment files, of unfinished ones too.
fn names(world: &World) -> HashSet<u64> {
    let names = catalog::names(&world.disk, Path::new(ROOT)).unwrap();
    let ids = names.into_iter().filter_map(|(_, name)| match name {
        Name::Segment { id, .. } => Some(id),
        _ => None,
    });
    ids.collect()
}

/// Whoever drops days to get room must not lose the writer because there is none.
#[test]
fn a_drop_on_a_full_disk_is_refused_and_works_when_there_is_room() {
    let program = retention();
    let at = program.iter().position(|step| matches!(step, Step::DropBefore { .. })).unwrap();
    let mut world = World::empty(|disk| disk);
    world.run(&program[..at]).unwrap();
    let rows = |world: &World| world.model.values().map(|rows| rows.len()).sum::<usize>();
    let before = rows(&world);
    let from = |at| Plan { at, fault: Fault::Enospc, forever: true };

    world.disk = world.disk.clone().plan(from(world.disk.operations()));
    world.run(&program[at..=at]).unwrap();
    assert!(world.disk.struck() > 0 && rows(&world) == before);
    world.writer.as_ref().unwrap().check().unwrap();

    world.disk = world.disk.clone().plan(from(usize::MAX));
    world.run(&program[at..]).unwrap();
    assert!(rows(&world) < before);
    let removed = |at: &usize| world.disk.describe(*at).contains("(Remove /data/market.reel/seg");
    let removed = (0..world.disk.operations()).filter(removed).count();
    assert!(removed > 6, "{removed} files were removed");
}
