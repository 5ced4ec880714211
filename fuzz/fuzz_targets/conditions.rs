//! Conditions and queries, as people and clients write them.
#![no_main]

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use icecore_engine::{Engine, EngineOptions};
use icecore_testkit::specimen::Specimen;
use libfuzzer_sys::fuzz_target;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let catalog = Specimen::new().catalog().expect("a catalog in memory");
    Engine::new(catalog, EngineOptions::default()).expect("an engine")
});
static COLUMNS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
        Field::new("price", DataType::Decimal128(12, 2), true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
        Field::new("tags", DataType::new_list(DataType::Utf8, true), true),
    ]))
});

fuzz_target!(|text: &str| {
    let _ = ENGINE.row_filter(&COLUMNS, text);
    let _ = ENGINE.row_test(&COLUMNS, text);
    let _ = icecore_engine::parse_statements(text);
});
