//! Faults on purpose: whatever is killed or fails at whatever moment, maqet keeps its promises.
//!
//! [`invariants`] says what must hold; the others make the faults. What runs with every test is a
//! sample, whose seed is printed and which `MAQET_TORTURE_SEED` repeats; `tests/torture` runs all of
//! it and puts the figures into the README.

mod cases;
mod environment;
mod found;
mod found_images;
mod ground;
mod invariants;
mod kills;
mod strace;
mod sweep;

use std::time::{Duration, Instant};

/// Numbers that look random and repeat with their seed.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// From `MAQET_TORTURE_SEED`, else from the clock; printed, for a failing test shows it.
    pub(crate) fn seeded() -> Random {
        let given = std::env::var("MAQET_TORTURE_SEED").ok();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = given.map_or(u64::from(now.subsec_nanos()), |seed| seed.parse().unwrap());
        println!("MAQET_TORTURE_SEED={seed}");
        Random(seed)
    }

    /// Others that look random, by these.
    pub(crate) fn another(&mut self) -> Random {
        Random(self.below(usize::MAX) as u64)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// How many faults are tried side by side: most of their time is waiting.
const SIDE_BY_SIDE: usize = 4;

/// Does this on several grounds at once.
pub(crate) fn side_by_side(work: &(dyn Fn(&ground::Ground) + Sync)) {
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| work(&ground::Ground::new()));
        }
    });
}

/// How long a full test may go on: `MAQET_TORTURE_MINUTES`, else 10.
pub(crate) fn until() -> Instant {
    let minutes = std::env::var("MAQET_TORTURE_MINUTES").ok();
    let minutes = minutes.map_or(10.0, |minutes| minutes.parse::<f64>().unwrap());
    Instant::now() + Duration::from_secs_f64(minutes * 60.0)
}

/// What was tried and what broke, as a row of the README's table; fails where anything broke.
pub(crate) fn report(fault: &str, tried: usize, unit: &str, violations: &[String]) {
    println!("ROW | {fault} | {tried} {unit} | {} |", violations.len());
    for violation in violations {
        println!("{violation}\n");
    }
    assert!(violations.is_empty(), "{} violations", violations.len());
}
