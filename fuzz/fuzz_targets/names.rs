//! Names of tables, tags and branches.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = icecore_core::TableName::parse(text);
    let _ = icecore_core::RefName::parse(text);
});
