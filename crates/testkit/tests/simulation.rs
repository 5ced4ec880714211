//! Worlds that a seed decides: a thousand in an ordinary run, any number by hand.
//!
//! ```text
//! ICECORE_SIM_SEEDS=1000000 cargo test --release -p icecore-testkit --test simulation thousand -- --nocapture
//! ```
//!
//! A seed that breaks a promise is played again alone:
//!
//! ```text
//! ICECORE_SIM_FROM=4711 ICECORE_SIM_SEEDS=1 cargo test -p icecore-testkit --test simulation thousand
//! ```
#![expect(clippy::unwrap_used, reason = "clippy's exemption does not reach the helpers of a test")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use icecore_testkit::sim::{Played, Violation, play};

fn setting(name: &str, ordinary: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(ordinary)
}

/// Plays seeds on all cores, until they end or one breaks a promise.
fn play_all(from: u64, seeds: u64) -> Result<Played, Violation> {
    let next = AtomicU64::new(from);
    let one_thread = || {
        let mut sum = Played::default();
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= from + seeds {
                return Ok(sum);
            }
            let played = play(seed).inspect_err(|_| next.store(u64::MAX / 2, Ordering::SeqCst))?;
            // One of a hundred is played again, and must be the same.
            if seed.is_multiple_of(100) {
                let again = play(seed)?;
                if again != played {
                    let lines = played.story.iter().zip(&again.story);
                    let differ = lines.filter(|(line, other)| line != other).take(3);
                    let what = format!("not the same again: {:#?}", differ.collect::<Vec<_>>());
                    return Err(Violation { seed, what });
                }
            }
            sum.add(&played);
        }
    };
    let cores = std::thread::available_parallelism().map_or(2, Into::into);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(one_thread)).collect();
        let mut sum = Played::default();
        for thread in threads {
            sum.add(&thread.join().unwrap()?);
        }
        Ok(sum)
    })
}

#[test]
fn a_thousand_worlds_keep_every_promise() {
    let (from, seeds) = (setting("ICECORE_SIM_FROM", 0), setting("ICECORE_SIM_SEEDS", 1_000));
    let began = Instant::now();
    let played = play_all(from, seeds).unwrap_or_else(|violation| {
        panic!(
            "{violation}\n\nto play it again:\nICECORE_SIM_FROM={} ICECORE_SIM_SEEDS=1 cargo test \
             -p icecore-testkit --test simulation thousand",
            violation.seed
        )
    });
    eprintln!("{seeds} worlds in {:?}: {played:#?}", began.elapsed());
    // One world alone may be a quiet one.
    assert!(seeds < 100 || played.snapshots > seeds && played.tries > 5 * seeds, "{played:?}");
}
