//! Types of columns, as they are written down.
#![no_main]

use icecore_catalog::ColumnType;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(parsed) = ColumnType::parse(text) {
        // What is shown is read as the same type.
        assert_eq!(ColumnType::parse(&parsed.to_string()).ok(), Some(parsed));
    }
});
