//! Random sequences of operations on one table, against an oracle in memory that is obviously right.
//!
//! After every step the head must hold what the oracle says; at the end, every state that was ever
//! committed and was not expired must still read as it did when it was the head. A failure is shrunk
//! to a short sequence and printed as the steps that lead to it.
//!
//! `ICECORE_MODEL_CASES` says how many sequences are tried (CI tries a fixed number), and
//! `ICECORE_MODEL_SEED` which ones.

mod oracle;
mod row_changes;
mod step;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use step::{Layout, Step};
use world::World;

const CASES: u32 = 48;
const STEPS_MAX: usize = 24;

#[test]
fn any_sequence_of_operations_reads_as_the_oracle_says_at_every_pin() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let config = Config {
        cases: number("ICECORE_MODEL_CASES").unwrap_or(CASES),
        failure_persistence: None,
        max_shrink_iters: 600,
        ..Config::default()
    };
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number("ICECORE_MODEL_SEED").unwrap_or(1).to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let strategy = (step::layout(), prop::collection::vec(step::step(), 1..STEPS_MAX));
    let outcome = TestRunner::new_with_rng(config, rng)
        .run(&strategy, |(layout, steps)| run(layout, &steps).map_err(TestCaseError::fail));
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Runs one sequence; says what went wrong, and after which step.
fn run(layout: Layout, steps: &[Step]) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(layout).await;
        for (number, step) in steps.iter().enumerate() {
            let told = |what| format!("step {number}, {step:?}: {what}");
            world.take(number, step).await.map_err(told)?;
            world.check_head().await.map_err(told)?;
        }
        world.check_every_pin().await
    })
}
