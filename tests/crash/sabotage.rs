//! Rules that are broken on purpose, by the disk and not by switches in the engine: each must be
//! noticed, or the tests here prove nothing.
//!
//! Of the rules that `reliability` tests sabotage, here are:
//!
//! - no sync before acknowledging: "a group of rows" below;
//! - no sync of a folder after a rename: the folders below;
//! - a manifest before its segments are durable: "a segment" and [`Sabotage::LateSegments`];
//! - the journal forgotten before the manifest is committed: [`Sabotage::EarlyRemoval`];
//! - a sync retried after it failed: [`Sabotage::TrustedRetry`], and every program here fails if
//!   the engine asks for a sync again that has failed ([`crate::sim::SimDisk::retried`]);
//! - a torn tail kept: [`crate::model::judge`] opens for writing twice and appends between; damage
//!   in the middle of a journal taken for a torn tail, and a checksum of a frame that is not
//!   checked: every flipped bit in [`crate::journals`];
//! - a checksum of a block that is not checked, or that does not cover its place: every flipped bit
//!   and every swapped part in [`crate::damage`];
//! - a file removed that a snapshot needs: [`Sabotage::NoPins`].
//!
//! Wrong folds, lost gaps, limits, clients and clocks are other tests' business.

use crate::model::without_panic;
use crate::power::{Judged, Keep, every_crash};
use crate::program::{Step, canonical, compaction, live, retention};
use crate::sim::{Fault, Ignored, Plan, Sabotage, SimDisk, What};
use crate::world::World;

/// Whether a run on this disk, or a crash in it, breaks a promise.
fn notices(
    program: &[Step],
    variants: fn(usize) -> Vec<Keep>,
    prepare: impl FnOnce(SimDisk) -> SimDisk,
) -> Result<(), String> {
    without_panic(|| {
        let mut world = World::empty(|disk| prepare(disk.record()));
        world.run(program)?;
        every_crash(&world, &mut Judged::default(), variants).map(drop)
    })
}

#[test]
fn no_sync_of_a_live_writer_can_be_left_out() {
    let syncs: [(&str, Ignored); 9] = [
        ("a group of rows", |_, path| path.extension().is_some_and(|end| end == "jnl")),
        ("a new journal", |_, path| path.to_string_lossy().ends_with(".jnl.tmp")),
        ("the journals' folder", |_, path| path.ends_with("journal")),
        ("a segment", |_, path| path.to_string_lossy().ends_with(".seg.tmp")),
        ("a manifest", |_, path| path.to_string_lossy().contains("/manifest-")),
        ("CURRENT", |_, path| path.ends_with("CURRENT.tmp")),
        ("the store", |what, path| what == What::SyncFolder && path.ends_with("market.reel")),
        ("segments", |_, path| path.ends_with("segments")),
        ("a stream", |_, path| path.parent().is_some_and(|above| above.ends_with("segments"))),
    ];
    for (what, ignored) in syncs {
        let noticed = notices(&live(), Keep::singles, |disk| disk.ignore(ignored));

        println!("{what}: {noticed:?}");
        assert!(noticed.is_err(), "without the sync of {what} nothing is lost");
    }
}

#[test]
fn no_rule_of_order_can_be_broken() {
    for sabotage in [Sabotage::LateSegments, Sabotage::EarlyRemoval, Sabotage::NoPins] {
        let programs = [live(), canonical()];
        let noticed = programs
            .map(|program| notices(&program, Keep::singles, |disk| disk.sabotage(sabotage)).err());

        println!("{sabotage:?}: {noticed:?}");
        assert!(noticed.iter().any(Option::is_some), "{sabotage:?} does no harm");
    }
}

#[test]
fn days_cannot_be_dropped_under_readers_that_nobody_knows_of() {
    let noticed = notices(&retention(), Keep::whole, |disk| disk.sabotage(Sabotage::NoPins));

    assert!(
        noticed.as_ref().is_err_and(|what| what.contains("open a new snapshot")),
        "{noticed:?}"
    );
}

#[test]
fn no_sync_and_no_rule_of_order_can_be_left_out_of_a_compaction() {
    let syncs: [(&str, Ignored); 3] = [
        ("a segment", |_, path| path.to_string_lossy().ends_with(".seg.tmp")),
        ("a manifest", |_, path| path.to_string_lossy().contains("/manifest-")),
        ("CURRENT", |_, path| path.ends_with("CURRENT.tmp")),
    ];
    for (what, ignored) in syncs {
        let noticed = notices(&compaction(), Keep::whole, |disk| disk.ignore(ignored));

        assert!(noticed.is_err(), "without the sync of {what} nothing is lost");
    }
    for sabotage in [Sabotage::LateSegments, Sabotage::NoPins] {
        let noticed = notices(&compaction(), Keep::singles, |disk| disk.sabotage(sabotage));

        assert!(noticed.is_err(), "{sabotage:?} does no harm");
    }
}

#[test]
fn a_sync_that_fails_cannot_be_retried() {
    let mut clean = World::empty(|disk| disk);
    clean.run(&live()).unwrap();
    let is_group = |at: &usize| clean.disk.describe(*at).ends_with(".jnl.tmp)");
    let syncs = clean.disk.asked().into_iter().enumerate();
    let syncs = syncs.filter(|&(_, what)| what == What::Sync).map(|(at, _)| at).filter(is_group);
    let (mut count, mut noticed) = (0, 0);
    for at in syncs {
        let plan = Plan { at, fault: Fault::SyncKeepsNew, forever: false };
        let found =
            notices(&live(), Keep::whole, |disk| disk.plan(plan).sabotage(Sabotage::TrustedRetry));
        count += 1;
        noticed += usize::from(found.is_err());
    }
    println!("{count} syncs of the journal, {noticed} noticed");
    assert!(noticed * 2 > count);
}
