//! Moments and lengths of time.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = icecore_core::Timestamp::parse(text);
    let _ = icecore_core::Span::parse(text);
});
