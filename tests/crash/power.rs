//! Crashes: what the disk may hold after power failed during a run.

use std::collections::HashSet;
use std::fmt;

use crate::model::{Allowed, judge};
use crate::oracle::Random;
use crate::sim::{SimDisk, State};
use crate::world::{Mark, World};

/// Pairs of units tried at one operation; where there are more, a sample.
const PAIRS_MAX: usize = 200;

/// Which pending units a crash keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    All,
    None,
    /// The first so many: a run of writes that stopped.
    First(usize),
    Only(usize, usize),
    Without(usize, usize),
    /// Each or not, by seed.
    Random(u64),
}

impl Keep {
    pub fn apply(self, state: &State) -> State {
        let mut random = Random(0);
        if let Self::Random(seed) = self {
            random = Random(seed | 1);
        }
        let chosen: Vec<bool> =
            (0..state.pending()).map(|unit| self.keeps(unit, &mut random)).collect();
        state.crash(|unit| chosen[unit])
    }

    fn keeps(self, unit: usize, random: &mut Random) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::First(count) => unit < count,
            Self::Only(a, b) => unit == a || unit == b,
            Self::Without(a, b) => unit != a && unit != b,
            Self::Random(seed) => random.below(8) <= seed % 8,
        }
    }

    /// All and none.
    pub fn whole(_units: usize) -> Vec<Self> {
        vec![Self::All, Self::None]
    }

    /// All, none, and every beginning.
    pub fn prefixes(units: usize) -> Vec<Self> {
        let beginnings = (1..units).map(Self::First);
        [Self::All, Self::None].into_iter().chain(beginnings).collect()
    }

    /// All, none, and all but one.
    pub fn singles(units: usize) -> Vec<Self> {
        let singles = (0..units).map(|unit| Self::Without(unit, unit));
        [Self::All, Self::None].into_iter().chain(singles).collect()
    }

    /// All, none, every beginning, every single unit kept or lost, and pairs of units.
    pub fn variants(units: usize) -> Vec<Self> {
        let mut variants = vec![Self::All, Self::None];
        for unit in 0..units {
            variants.extend([Self::First(unit), Self::Only(unit, unit), Self::Without(unit, unit)]);
        }
        let pairs = units * units.saturating_sub(1) / 2;
        let every = pairs.div_ceil(PAIRS_MAX).max(1);
        let all = (0..units).flat_map(|a| (a + 1..units).map(move |b| (a, b)));
        for (a, b) in all.step_by(every) {
            variants.extend([Self::Only(a, b), Self::Without(a, b)]);
        }
        variants
    }
}

/// A point of a run where power failed, as one line.
struct Point<'a> {
    disk: &'a SimDisk,
    operation: usize,
    keep: Keep,
}

impl fmt::Display for Point<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "power fails before {}, ", self.disk.describe(self.operation))?;
        write!(f, "the disk keeps {:?}", self.keep)
    }
}

/// States that were judged before.
#[derive(Default)]
pub struct Judged {
    states: HashSet<(u64, u64)>,
    /// Crashes so far, those with the same outcome included.
    crashes: usize,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} crashes, {} different outcomes", self.crashes, self.states.len())
    }
}

impl Judged {
    /// Judges a state unless it was judged; `true` if it is new.
    fn judge(&mut self, state: &State, mark: &Mark) -> Result<bool, String> {
        self.crashes += 1;
        if !self.states.insert((state.digest(), mark.id)) {
            return Ok(false);
        }
        judge(state.clone(), &mark.allowed).map(|_| true)
    }
}

/// A state after a crash, new to the judge.
pub struct Crashed {
    pub state: State,
    /// What the store may hold in it.
    pub allowed: Vec<Allowed>,
    /// Where power failed, in one line.
    pub point: String,
}

/// Judges the crashes of a recorded run, for each operation those that `variants` makes of the
/// number of pending units.
pub fn every_crash(
    world: &World,
    judged: &mut Judged,
    variants: impl Fn(usize) -> Vec<Keep>,
) -> Result<Vec<Crashed>, String> {
    let (mut states, mut before) = (Vec::new(), None);
    for (operation, state) in world.disk.history().iter().enumerate() {
        let mark = world.mark_at(operation);
        // An operation that only read changes nothing of what a crash may leave.
        if before.replace((state.version(), mark.id)) == Some((state.version(), mark.id)) {
            continue;
        }
        for keep in variants(state.pending()) {
            let crashed = keep.apply(state);
            let point = Point { disk: &world.disk, operation, keep };
            if judged.judge(&crashed, mark).map_err(|what| format!("{point}: {what}"))? {
                let (allowed, point) = (mark.allowed.clone(), point.to_string());
                states.push(Crashed { state: crashed, allowed, point });
            }
        }
    }
    Ok(states)
}
