//! Files that nothing names.

use std::path::{Path, PathBuf};

use icecore_core::{
    CommitOptions, ErrorKind, NewTable, SnapshotCatalog, Span, TableName, WriteMode,
};

use super::*;
use crate::catalog::tests::{columns, named, stream};
use crate::refs::TagMove;
use crate::{CleanOptions, CleanReport, ExpireOptions};

/// A clean of another process, years later.
async fn clean_later(lake: &Lake) -> CleanReport {
    lake.clock.set("2040-01-01");
    clean(lake, CleanOptions::default()).await
}

async fn clean(lake: &Lake, options: CleanOptions) -> CleanReport {
    let report = lake.reopened().await.clean(&lake.table, options).await.unwrap();
    assert_eq!(report.failed, []);
    assert_sound(lake).await;
    report
}

fn directory(lake: &Lake) -> PathBuf {
    lake.root.path().join("warehouse/ns/events")
}

fn put(path: &Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, b"left behind").unwrap();
}

#[tokio::test]
async fn what_nothing_names_goes_and_everything_else_stays() {
    let lake = Lake::new().await;
    let one = lake.append(&[(1, 1), (2, 2)]).await;
    lake.commit(WriteMode::OverwritePartitions, &[(3, 2)]).await;
    lake.catalog.tag(&one, &named("v1"), TagMove::Refuse).await.unwrap();
    let before = files(&lake);
    let left = [
        "data/number_day=3/orphan.parquet",
        "data/.half-written.parquet.0123.tmp",
        "metadata/00009-lost.metadata.json",
        "metadata/lost-m0.avro",
        "elsewhere/notes.txt",
    ];
    left.iter().for_each(|name| put(&directory(&lake).join(name)));
    let report = clean_later(&lake).await;
    assert_eq!(files(&lake), before);
    assert_eq!((report.deleted_files, report.deleted_bytes), (5, 5 * 11));
    assert_eq!(report.kept_files, before.len() as u64);
    let found: Vec<&str> = report.orphans.iter().map(|orphan| &*orphan.location).collect();
    for name in left {
        assert!(found.iter().any(|location| location.ends_with(name)), "{found:?}");
    }
    assert_eq!(clean_later(&lake).await.deleted_files, 0);
    assert_eq!(lake.rows(&one).await, [(1, 1), (2, 2)]);
}

#[tokio::test]
async fn files_of_writers_that_have_not_committed_yet_stay() {
    // R14.
    let lake = Lake::new().await;
    lake.append(&[(1, 1)]).await;
    put(&directory(&lake).join("data/in-flight.parquet"));
    let before = files(&lake);
    // The storage says when a file was written, and that was just now.
    lake.clock.set("2026-01-01");
    assert_eq!(clean(&lake, CleanOptions::default()).await.deleted_files, 0);
    assert_eq!(files(&lake), before);
}

#[tokio::test]
async fn a_dry_run_names_what_would_go() {
    let lake = Lake::new().await;
    lake.append(&[(1, 1)]).await;
    put(&directory(&lake).join("data/orphan.parquet"));
    let before = files(&lake);
    lake.clock.set("2040-01-01");
    let said = clean(&lake, CleanOptions::default().with_dry_run(true)).await;
    assert_eq!((said.deleted_files, said.orphans.len(), said.dry_run), (1, 1, true));
    assert_eq!(files(&lake), before);
    assert_eq!(clean(&lake, CleanOptions::default()).await.orphans, said.orphans);
}

#[tokio::test]
async fn statistics_past_metadata_and_hints_stay() {
    // R14.
    let lake = Lake::new().await;
    let pinned = lake.append(&[(1, 1)]).await;
    let names = ["metadata/a.stats", "metadata/b.stats", "metadata/version-hint.text"];
    names.iter().for_each(|name| put(&directory(&lake).join(name)));
    let location = lake.catalog.describe(&lake.table).await.unwrap().location;
    let statistics = |name: &str| iceberg::spec::StatisticsFile {
        snapshot_id: pinned.snapshot.get(),
        statistics_path: format!("{location}/{name}"),
        file_size_in_bytes: 11,
        file_footer_size_in_bytes: 4,
        key_metadata: None,
        blob_metadata: Vec::new(),
    };
    let (whole, parts) = (statistics(names[0]), statistics(names[1]));
    let parts = iceberg::spec::PartitionStatisticsFile {
        snapshot_id: parts.snapshot_id,
        statistics_path: parts.statistics_path,
        file_size_in_bytes: 11,
    };
    let updates = [
        iceberg::TableUpdate::SetStatistics { statistics: whole },
        iceberg::TableUpdate::SetPartitionStatistics { partition_statistics: parts },
    ];
    lake.update(&updates).await;
    let before = files(&lake);
    assert_eq!(clean_later(&lake).await.deleted_files, 0);
    assert_eq!(files(&lake), before);
    // They go with their snapshot.
    lake.clock.set("2026-01-02");
    lake.commit(WriteMode::Overwrite, &[(2, 2)]).await;
    lake.clock.set("2026-02-01");
    let report = lake.catalog.expire(&lake.table, ExpireOptions::default()).await.unwrap();
    assert_eq!(report.expired, [pinned.snapshot]);
    let left = files(&lake);
    assert!(!left.iter().any(|path| path.ends_with(".stats")), "{left:?}");
    assert!(left.iter().any(|path| path.ends_with(names[2])));
}

#[tokio::test]
async fn a_neighbour_a_table_inside_and_a_shared_location_are_left_alone() {
    let lake = Lake::new().await;
    lake.append(&[(1, 1)]).await;
    let inside = TableName::parse("ns.inside").unwrap();
    let neighbour = TableName::parse("ns.events2").unwrap();
    for name in [&neighbour, &inside] {
        lake.catalog.ensure_table(name, &NewTable::new(columns())).await.unwrap();
        let options = CommitOptions::default();
        lake.catalog.commit(name, stream(&[(1, 1)]), options).await.unwrap();
    }
    // As if it had been created with a location of its own.
    let moved = directory(&lake).join("nested");
    std::fs::rename(lake.root.path().join("warehouse/ns/inside"), &moved).unwrap();
    let pointers = lake.catalog.tables_now().pointers();
    let old = pointers.find(&inside).await.unwrap().unwrap();
    let new = old.replace("ns/inside", "ns/events/nested");
    pointers.swap(&inside, &old, &new).await;
    let before = files(&lake);
    assert_eq!(clean_later(&lake).await.deleted_files, 0);
    assert_eq!(files(&lake), before);
    // The same table under two names.
    let own = pointers.find(&lake.table).await.unwrap().unwrap();
    pointers.create(&TableName::parse("ns.alias").unwrap(), &own).await;
    let error = lake.catalog.clean(&lake.table, CleanOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("`ns.events` and `ns.alias` share"), "{error}");
}

#[tokio::test]
async fn a_table_whose_files_may_be_those_of_another_is_not_cleaned() {
    let lake = Lake::new().await;
    lake.append(&[(1, 1)]).await;
    let set = [("gc.enabled".to_owned(), "false".to_owned())].into();
    lake.catalog.set_properties(&lake.table, set, Vec::new()).await.unwrap();
    put(&directory(&lake).join("data/orphan.parquet"));
    let before = files(&lake);
    lake.clock.set("2040-01-01");
    let error = lake.catalog.clean(&lake.table, CleanOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`gc.enabled` is `false`"), "{error}");
    assert_eq!(files(&lake), before);
    let remove = vec!["gc.enabled".to_owned()];
    let none = std::collections::BTreeMap::new();
    lake.catalog.set_properties(&lake.table, none, remove).await.unwrap();
    assert_eq!(clean_later(&lake).await.deleted_files, 1);
}

#[tokio::test]
async fn nothing_goes_while_something_that_may_name_files_cannot_be_read() {
    let lake = Lake::new().await;
    lake.append(&[(1, 1)]).await;
    let table = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let list = table.metadata().current_snapshot().unwrap().manifest_list().to_owned();
    std::fs::write(crate::storage::local_path(&list).unwrap(), b"nothing").unwrap();
    put(&directory(&lake).join("data/orphan.parquet"));
    let before = files(&lake);
    lake.clock.set("2040-01-01");
    let error = lake.catalog.clean(&lake.table, CleanOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataCorrupt, "{error:?}");
    assert_eq!(files(&lake), before);
}

#[tokio::test]
async fn a_file_that_metadata_names_elsewhere_stops_everything() {
    // R14: the same file under another scheme.
    let lake = Lake::new().await;
    lake.append(&[(1, 1)]).await;
    put(&directory(&lake).join("metadata/a.stats"));
    let path = directory(&lake).join("metadata/a.stats").display().to_string();
    let head = lake.pin("latest").await.unwrap();
    let statistics = iceberg::spec::PartitionStatisticsFile {
        snapshot_id: head.snapshot.get(),
        statistics_path: format!("hdfs://namenode{path}"),
        file_size_in_bytes: 11,
    };
    let update = iceberg::TableUpdate::SetPartitionStatistics { partition_statistics: statistics };
    lake.update(&[update]).await;
    let before = files(&lake);
    lake.clock.set("2040-01-01");
    let error = lake.catalog.clean(&lake.table, CleanOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("hdfs://namenode"), "{error}");
    assert_eq!(files(&lake), before);
    let options = CleanOptions { on_mismatch: crate::OnMismatch::Keep, ..CleanOptions::default() };
    let report = lake.catalog.clean(&lake.table, options).await.unwrap();
    assert_eq!(report.deleted_files, 0);
}

#[tokio::test]
async fn a_clean_beside_writers_takes_nothing_from_them() {
    let lake = Lake::new().await;
    // Files count as garbage at once, unless a state names them.
    let options = CleanOptions::default().with_older_than(Span::from_micros(0));
    lake.append(&[(0, 0)]).await;
    lake.clock.set("2026-01-02");
    let writes = async {
        for number in 1..20 {
            lake.append(&[(number, 1)]).await;
        }
    };
    let cleans = async {
        for _ in 0..20 {
            // The clock of the table is behind that of the storage, so every file is in flight.
            lake.catalog.clean(&lake.table, options.clone()).await.unwrap();
        }
    };
    tokio::join!(writes, cleans);
    assert_sound(&lake).await;
    assert_eq!(lake.rows_now().await.len(), 20);
}
