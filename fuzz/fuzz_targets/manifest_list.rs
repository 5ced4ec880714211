//! A manifest list, in Avro.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use icecore_testkit::specimen::{Part, Specimen};
use libfuzzer_sys::fuzz_target;

static SPECIMEN: LazyLock<Specimen> = LazyLock::new(Specimen::new);

fuzz_target!(|bytes: &[u8]| {
    let _ = SPECIMEN.read(Part::ManifestList, &Bytes::copy_from_slice(bytes));
});
