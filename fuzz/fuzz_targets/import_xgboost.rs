//! The JSON of XGBoost.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = icecore_train::import_model(&[&b"{\""[..], bytes].concat()) {
        let file = model.encode().expect("a model that was imported can be written");
        icecore_train::decode_model(&file).expect("a model that was written can be read");
    }
});
