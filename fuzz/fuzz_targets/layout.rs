//! What a table is partitioned and sorted by, and the paths of columns.
#![no_main]

use std::sync::LazyLock;

use icecore_catalog::Alteration;
use icecore_testkit::specimen::Specimen;
use libfuzzer_sys::fuzz_target;

static SPECIMEN: LazyLock<Specimen> = LazyLock::new(Specimen::new);

fuzz_target!(|text: &str| {
    for alteration in [
        Alteration::PartitionBy(vec![text.to_owned()]),
        Alteration::SortBy(vec![text.to_owned()]),
        Alteration::DropColumn(text.to_owned()),
    ] {
        let _ = SPECIMEN.altered(&alteration);
    }
});
