//! Random programs on a disk that fails at random and loses power at random, each by its seed.

use crate::model::without_panic;
use crate::oracle::Random;
use crate::power::Keep;
use crate::program::{World, random};
use crate::sim::{Fault, Plan, SimDisk, State};

/// Programs in a run that is not told another number by `TICKREEL_SEEDS`.
const SEEDS: u64 = 400;
/// Steps of one program.
const STEPS_MAX: u64 = 12;
/// Crashes in a row.
const CRASHES: usize = 4;

/// One life of a store: programs with a failure here and there, each ended by a crash.
fn live(seed: u64) -> Result<(), String> {
    let mut chance = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mut state, mut allowed) = (State::new(), vec![std::sync::Arc::default()]);
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
    for seed in seeds {
        let lived = without_panic(|| live(seed));
        lived.unwrap_or_else(|what| panic!("TICKREEL_SEED={seed}: {what}"));
    }
}
