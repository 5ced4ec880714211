//! A model's file, with the checksum that it should have.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

fuzz_target!(|bytes: &[u8]| {
    let sealed = [bytes, Sha256::digest(bytes).as_slice()].concat();
    if let Ok(model) = icecore_train::decode_model(&sealed) {
        let _ = model.importance();
        let _ = model.encode().expect("a model that was read can be written");
    }
});
