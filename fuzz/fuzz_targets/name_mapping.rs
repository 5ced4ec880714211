//! What other writers note of how columns are called in files without ids.
#![no_main]

use std::sync::LazyLock;

use icecore_testkit::specimen::{Part, Specimen};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static SPECIMEN: LazyLock<Specimen> = LazyLock::new(|| {
    // A parser of others that panics is caught and an error; libFuzzer's hook would end the process
    // before. What is not caught still ends it.
    drop(std::panic::take_hook());
    Specimen::new()
});
static METADATA: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_slice(&SPECIMEN.bytes(Part::Metadata)).expect("metadata in JSON")
});

fuzz_target!(|text: &str| {
    let mut metadata = METADATA.clone();
    metadata["properties"]["schema.name-mapping.default"] = text.into();
    let _ = SPECIMEN.read(Part::Metadata, &metadata.to_string().into());
});
