mod clean;
mod compact;
mod deletes;
mod expire;
mod histories;
mod names;
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

/// Every file that some snapshot needs, found by following the metadata by hand.
async fn reachable(lake: &Lake) -> BTreeSet<String> {
    let table = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let metadata = table.metadata();
    let mut found = BTreeSet::new();
    let mut add = |location: &str| {
        found.insert(location.strip_prefix("file://").unwrap().to_owned());
    };
    add(table.metadata_location().unwrap());
    metadata.metadata_log().iter().for_each(|entry| add(&entry.metadata_file));
    for snapshot in metadata.snapshots() {
        add(snapshot.manifest_list());
        let list = table.manifest_list_reader(snapshot).load().await.unwrap();
        for manifest in list.entries() {
            add(&manifest.manifest_path);
            let manifest = manifest.load_manifest(table.file_io()).await.unwrap();
            let live = manifest.entries().iter().filter(|entry| entry.is_alive());
            live.for_each(|entry| add(entry.file_path()));
        }
    }
    found
}
