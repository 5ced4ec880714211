mod clean;
mod expire;
mod regroup;

use std::collections::BTreeSet;

use icecore_core::PinnedTable;

use crate::FsckOptions;
use crate::catalog::tests::Lake;

/// Fails unless a check finds nothing at all.
async fn assert_sound(lake: &Lake) {
    let report = lake.reopened().await.fsck(&lake.table, FsckOptions::default()).await.unwrap();
    assert_eq!(report.findings().collect::<Vec<_>>(), []);
}

fn files(lake: &Lake) -> BTreeSet<String> {
    lake.files_on_disk().into_iter().collect()
}
