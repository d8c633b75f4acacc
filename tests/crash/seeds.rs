//! Random programs on a disk that fails at random and loses power at random, each by its seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::model::{Allowed, without_panic};
use crate::oracle::Random;
use crate::power::Keep;
use crate::program::random;
use crate::sim::{Fault, Plan, SimDisk, State};
use crate::world::World;

/// Programs in a run that is not told another number by `TICKREEL_SEEDS`.
const SEEDS: u64 = 400;
/// Steps of one program.
const STEPS_MAX: u64 = 12;
/// Crashes in a row.
const CRASHES: usize = 4;

/// One life of a store: programs with a failure here and there, each ended by a crash.
fn life(seed: u64) -> Result<(), String> {
    let mut chance = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mut state, mut allowed) = (State::new(), vec![Allowed::default()]);
    for life in 0..CRASHES {
        let mut disk = SimDisk::new(state).record();
        if chance.below(2) == 0 {
            let fault = Fault::ALL[usize::try_from(chance.below(9)).unwrap()];
            let at = usize::try_from(chance.below(400)).unwrap();
            disk = disk.plan(Plan { at, fault, forever: chance.below(3) == 0 });
        }
        let mut world =
            World::new(disk, &allowed).map_err(|what| format!("life {life}: {what}"))?;
        let ran = world.run(&random(&mut chance, STEPS_MAX));
        ran.map_err(|what| format!("life {life}: {what}"))?;
        let history = world.disk.history();
        let operation = usize::try_from(chance.below(history.len() as u64)).unwrap();
        let keep = match chance.below(5) {
            0 => Keep::None,
            1 => Keep::All,
            2 => Keep::First(usize::try_from(chance.below(20)).unwrap()),
            _ => Keep::Random(chance.below(u64::MAX)),
        };
        state = keep.apply(&history[operation]);
        allowed.clone_from(&world.mark_at(operation).allowed);
    }
    World::new(SimDisk::new(state), &allowed).map(drop)
}

#[test]
fn a_store_survives_random_programs_failures_and_crashes() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match number("TICKREEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TICKREEL_SEEDS").unwrap_or(SEEDS),
    };
    let next = AtomicU64::new(seeds.start);
    let failed = thread::scope(|scope| {
        let run = || loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return None;
            }
            if let Err(what) = without_panic(|| life(seed)) {
                return Some(format!("TICKREEL_SEED={seed}: {what}"));
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    println!("{} seeds", seeds.end - seeds.start);
}
