//! A Puffin file that holds statistics of a snapshot.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use icecore_testkit::specimen::{Part, Specimen};
use libfuzzer_sys::fuzz_target;

static SPECIMEN: LazyLock<Specimen> = LazyLock::new(|| {
    // A parser of others that panics is caught and an error; libFuzzer's hook would end the process
    // before. What is not caught still ends it.
    drop(std::panic::take_hook());
    Specimen::with_statistics()
});

fuzz_target!(|bytes: &[u8]| {
    let _ = SPECIMEN.read(Part::Statistics, &Bytes::copy_from_slice(bytes));
});
