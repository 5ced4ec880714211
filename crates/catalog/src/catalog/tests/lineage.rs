//! Ids of rows in tables of format version 3.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::commit::{RowIds, load};

/// The ids that the rows of each data file of `main` have.
async fn ids(lake: &Lake) -> BTreeMap<String, std::ops::Range<u64>> {
    let table = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let head = table.metadata().current_snapshot().unwrap();
    let list = table.manifest_list_reader(head).load().await.unwrap();
    let mut found = BTreeMap::new();
    for file in list.entries() {
        let mut ids = RowIds::of(file);
        for entry in load(&table, file).await.unwrap().entries() {
            if entry.is_alive() {
                let first = ids.first_of(entry.data_file()).unwrap();
                let path = entry.file_path().to_owned();
                assert_eq!(found.insert(path, first..first + entry.record_count()), None);
            }
        }
    }
    found
}

/// Ids that were given stay, no id is given twice, and the table knows which come next.
async fn check(lake: &Lake, before: &BTreeMap<String, std::ops::Range<u64>>) {
    let now = ids(lake).await;
    for (path, range) in &now {
        assert!(before.get(path).is_none_or(|was| was == range), "{path}: {range:?}");
    }
    let mut seen = BTreeSet::new();
    assert!(now.values().cloned().flatten().all(|id| seen.insert(id)), "{now:?}");
    let given = before.values().map(|range| range.end).max().unwrap_or(0);
    for (path, range) in now.iter().filter(|(path, _)| !before.contains_key(*path)) {
        assert!(range.start >= given, "{path} got an id of before: {range:?}");
    }
    let table = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let next = now.values().map(|range| range.end).max().unwrap_or(0);
    assert!(table.metadata().next_row_id() >= next);
    let head = table.metadata().current_snapshot().unwrap();
    let (first, added) = head.row_range().unwrap();
    assert_eq!(first + added, table.metadata().next_row_id());
}

async fn version_3() -> Lake {
    let lake = Lake::empty().await;
    let new = NewTable::new(columns()).with_partition_by(["day"]).with_format_version(3);
    lake.catalog.ensure_table(&lake.table, &new).await.unwrap();
    lake
}

#[tokio::test]
async fn ids_of_rows_survive_overwrites_merges_and_deletions() {
    let lake = version_3().await;
    assert_eq!(lake.catalog.describe(&lake.table).await.unwrap().format_version, 3);
    let few = [("commit.manifest.min-count-to-merge".to_owned(), "3".to_owned())].into();
    lake.catalog.set_properties(&lake.table, few, vec![]).await.unwrap();
    let mut before = BTreeMap::new();
    for round in 0..8_i64 {
        lake.append(&[(round, 1), (round, 2), (round + 100, 2), (round, 3)]).await;
        check(&lake, &before).await;
        before = ids(&lake).await;
        let day = i32::try_from(round % 3 + 1).unwrap();
        lake.commit(WriteMode::OverwritePartitions, &[(round + 1000, day)]).await;
        check(&lake, &before).await;
        before = ids(&lake).await;
    }
    let table = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    // No ids were given but to new rows: what is rewritten takes none.
    assert_eq!(table.metadata().next_row_id(), 8 * 5);
    lake.commit(WriteMode::Overwrite, &[(7, 7)]).await;
    check(&lake, &before).await;
    assert_eq!(lake.rows_now().await, [(7, 7)]);
}

#[tokio::test]
async fn branches_of_a_table_share_its_ids() {
    let lake = version_3().await;
    lake.append(&[(1, 1)]).await;
    let side = CommitOptions::default().with_branch(named("side")).with_new_branch();
    lake.try_commit(side, &[(2, 1), (3, 1)]).await.unwrap();
    let before = ids(&lake).await;
    lake.append(&[(4, 1)]).await;
    check(&lake, &before).await;
    assert_eq!(
        ids(&lake).await.values().map(|range| range.start).collect::<BTreeSet<_>>(),
        [0, 3].into()
    );
}

#[tokio::test]
async fn a_table_that_is_upgraded_gives_ids_to_the_rows_it_has() {
    let lake = Lake::new().await;
    lake.append(&[(1, 1), (2, 2)]).await;
    lake.append(&[(3, 1)]).await;
    lake.catalog.upgrade(&lake.table, 3).await.unwrap();
    lake.catalog.upgrade(&lake.table, 3).await.unwrap();
    assert_eq!(lake.rows_now().await, [(1, 1), (2, 2), (3, 1)]);
    lake.append(&[(4, 1)]).await;
    check(&lake, &BTreeMap::new()).await;
    let before = ids(&lake).await;
    assert_eq!(before.len(), 4);
    lake.commit(WriteMode::OverwritePartitions, &[(5, 2)]).await;
    check(&lake, &before).await;
    assert_eq!(lake.rows_now().await, [(1, 1), (3, 1), (4, 1), (5, 2)]);
    let error = lake.catalog.upgrade(&lake.table, 2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = lake.catalog.upgrade(&lake.table, 9).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
