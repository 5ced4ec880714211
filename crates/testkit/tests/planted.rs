//! Bugs that are planted on purpose: the simulation finds each of them.
//!
//! ```text
//! cargo test --workspace --features icecore-testkit/planted-bugs --test planted
//! ```
#![expect(
    clippy::panic,
    clippy::print_stderr,
    reason = "clippy's exemption does not reach the helpers of a test"
)]

use icecore_catalog::{PlantedBug, plant};
use icecore_testkit::sim::play;

/// Worlds in which a bug has to show.
const SEEDS_MAX: u64 = 400;

/// A world lives on one thread, as each test does, so bugs do not meet.
#[track_caller]
fn check(bug: PlantedBug) {
    plant(Some(bug));
    let found = (0..SEEDS_MAX).find_map(|seed| play(seed).err());
    plant(None);
    match found {
        Some(violation) => {
            let what = violation.what.lines().next().unwrap_or_default();
            eprintln!("{bug:?} shows in world {}: {what}", violation.seed);
            assert_eq!(play(violation.seed).err(), None, "without the bug all is well");
        }
        None => panic!("{SEEDS_MAX} worlds do not show {bug:?}"),
    }
}

#[test]
fn a_lost_answer_that_is_taken_for_a_conflict_is_found() {
    check(PlantedBug::LostIsConflict);
}

#[test]
fn a_change_that_is_made_twice_is_found() {
    check(PlantedBug::LostIsRepeated);
}

#[test]
fn a_cleanup_after_an_unknown_outcome_is_found() {
    check(PlantedBug::UnknownIsCleanedUp);
}

#[test]
fn an_overwrite_that_nobody_validates_is_found() {
    check(PlantedBug::NothingIsValidated);
}

#[test]
fn a_clean_that_takes_young_files_is_found() {
    check(PlantedBug::YoungIsGarbage);
}
