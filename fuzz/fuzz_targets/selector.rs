//! What a user types to say which snapshot is meant.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = icecore_core::SnapshotSelector::parse(text);
});
