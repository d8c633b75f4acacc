//! Power fails at every operation of a workload, and of the recovery after it.

use std::path::Path;

use crate::model::ROOT;
use crate::power::{Judged, Keep, every_crash};
use crate::program::{World, canonical, recovery};
use crate::sim::{Ignored, SimDisk};

fn canonical_run(ignored: Ignored) -> World {
    let mut world = World::empty(|disk| disk.record().ignore(ignored));
    world.run(&canonical()).unwrap();
    world
}

#[test]
fn a_crash_at_any_operation_leaves_what_was_committed() {
    let world = canonical_run(|_, _| false);
    let mut judged = Judged::default();

    every_crash(&world, &mut judged, Keep::variants).unwrap();

    println!("{} operations, {judged}", world.disk.operations());
}

#[test]
fn a_crash_at_any_operation_of_the_recovery_leaves_what_was_committed() {
    let world = canonical_run(|_, _| false);
    let mut judged = Judged::default();
    for crashed in every_crash(&world, &mut Judged::default(), Keep::singles).unwrap() {
        let disk = SimDisk::new(crashed.state).record();
        let recovered = World::new(disk, &crashed.allowed).and_then(|mut world| {
            world.run(&recovery())?;
            every_crash(&world, &mut judged, Keep::whole)
        });
        let point = crashed.point;
        recovered.unwrap_or_else(|what| panic!("{point}; then {what}"));
    }

    println!("{judged}");
}

#[test]
fn a_crash_after_a_kill_leaves_what_was_committed() {
    let world = canonical_run(|_, _| false);
    let mut judged = Judged::default();
    for (operation, state) in world.disk.history().iter().enumerate() {
        let disk = SimDisk::new(state.clone()).record();
        let restarted =
            World::new(disk, &world.mark_at(operation).allowed).and_then(|mut world| {
                world.run(&recovery())?;
                every_crash(&world, &mut judged, Keep::singles)
            });
        let point = || format!("killed before {}", world.disk.describe(operation));
        restarted.unwrap_or_else(|what| panic!("{}; then {what}", point()));
    }

    println!("{judged}");
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
        let world = canonical_run(ignored);

        let found = every_crash(&world, &mut Judged::default(), Keep::variants);

        assert!(found.is_err(), "without the sync of {what} nothing is lost");
    }
}
