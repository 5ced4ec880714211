//! Overwrites, and what contradicts them.

use super::*;
use crate::MetadataTable;

const PARTITIONS: WriteMode = WriteMode::OverwritePartitions;

#[tokio::test]
async fn only_the_partitions_of_the_new_rows_are_replaced() {
    let lake = Lake::new().await;
    lake.append(&[(1, 1), (2, 2), (3, 3)]).await;
    lake.append(&[(10, 1), (20, 2), (30, 3)]).await;
    let before = lake.paths().await;
    let done = lake.commit(PARTITIONS, &[(5, 2), (6, 4)]).await;
    assert_eq!((done.added_rows, done.removed_rows, done.changed), (2, 2, true));
    assert_eq!(lake.rows_now().await, [(1, 1), (3, 3), (5, 2), (6, 4), (10, 1), (30, 3)]);
    // C145: the files of other partitions are the same ones.
    let other = |paths: &[String]| -> Vec<String> {
        let is_other =
            |path: &&String| !path.contains("day=1970-01-03") && !path.contains("1970-01-05");
        paths.iter().filter(is_other).cloned().collect()
    };
    let after = lake.paths().await;
    assert_eq!(other(&after), other(&before));
    assert_eq!((before.len(), after.len()), (6, 6));
    let log = lake.catalog.history(&lake.table).await.unwrap();
    assert_eq!(log[2].operation, "overwrite");
    assert_eq!(log[2].summary["replace-partitions"], "true");
    assert_eq!((log[2].count("total-records"), log[2].count("total-data-files")), (6, 6));
}

#[tokio::test]
async fn no_new_rows_replace_nothing() {
    let lake = Lake::new().await;
    let before = lake.append(&[(1, 1)]).await;
    // C146
    for mode in [PARTITIONS, WriteMode::Append] {
        let done = lake.commit(mode, &[]).await;
        assert_eq!((done.pinned, done.changed), (before.clone(), false));
    }
    assert_eq!(lake.catalog.history(&lake.table).await.unwrap().len(), 1);
    // Overwriting everything with nothing is a deletion.
    let done = lake.commit(WriteMode::Overwrite, &[]).await;
    assert_eq!((done.removed_rows, done.changed), (1, true));
    assert_eq!(lake.rows_now().await, []);
    assert_eq!(lake.rows(&before).await, [(1, 1)]);
    let log = lake.catalog.history(&lake.table).await.unwrap();
    assert_eq!((log[1].operation.as_str(), log[1].count("total-records")), ("delete", 0));
}

#[tokio::test]
async fn a_table_without_partitions_is_one_partition() {
    let lake = Lake::empty().await;
    lake.catalog.ensure_table(&lake.table, &NewTable::new(columns())).await.unwrap();
    lake.append(&[(1, 1), (2, 2)]).await;
    lake.commit(PARTITIONS, &[(3, 1)]).await;
    assert_eq!(lake.rows_now().await, [(3, 1)]);
}

#[tokio::test]
async fn partitions_are_told_apart_by_value_in_many_manifests() {
    let lake = Lake::new().await;
    for day in [-400, -1, 0, 1, 128, 300] {
        lake.append(&[(1, day)]).await;
    }
    lake.commit(PARTITIONS, &[(2, -1), (2, 300)]).await;
    assert_eq!(lake.rows_now().await, [(1, -400), (1, 0), (1, 1), (1, 128), (2, -1), (2, 300)]);
    // Manifests of other partitions were not rewritten.
    let manifests =
        lake.catalog.metadata_table(&lake.table, MetadataTable::Manifests).await.unwrap();
    assert_eq!(manifests.num_rows(), 4 + 2 + 1);
}

/// Commits rows while, before the last step, `meanwhile` happens.
async fn overwrite_while(
    lake: &Lake,
    mode: WriteMode,
    rows: &[Row],
    meanwhile: impl Future<Output = ()> + Send + 'static,
) -> Result<Committed> {
    use futures::StreamExt;
    let rows = stream(rows);
    let schema = rows.schema().clone();
    let last = futures::stream::once(async {
        meanwhile.await;
        Ok(RecordBatch::new_empty(columns()))
    });
    let rows = BatchStream::new(schema, rows.chain(last));
    lake.catalog.commit(&lake.table, rows, CommitOptions::new(mode)).await
}

/// A commit to the same table by another process.
fn other_commit(
    catalog: &IcebergCatalog,
    table: &TableName,
    mode: WriteMode,
    rows: &'static [Row],
) -> impl Future<Output = ()> + Send + 'static {
    let (catalog, table) = (catalog.clone(), table.clone());
    async move {
        catalog.commit(&table, stream(rows), CommitOptions::new(mode)).await.unwrap();
    }
}

async fn check_race(
    mine: (WriteMode, &[Row]),
    theirs: (WriteMode, &'static [Row]),
    expected: Result<&[Row], ErrorKind>,
) {
    let lake = Lake::new().await;
    lake.append(&[(1, 1), (2, 2)]).await;
    let other = lake.reopened().await;
    let meanwhile = other_commit(&other, &lake.table, theirs.0, theirs.1);
    let result = overwrite_while(&lake, mine.0, mine.1, meanwhile).await;
    match (result, expected) {
        (Ok(_), Ok(expected)) => assert_eq!(lake.rows_now().await, expected),
        (Err(error), Err(kind)) => {
            assert_eq!(error.kind(), kind, "{error:?}");
            // What lost left nothing behind.
            let paths = lake.paths().await;
            let data = lake.files_on_disk().into_iter().filter(|path| path.ends_with(".parquet"));
            let dead = data.filter(|path| !paths.iter().any(|live| path.ends_with(live.as_str())));
            assert!(dead.count() <= 2, "only what theirs replaced");
        }
        (got, expected) => panic!("{got:?} is not {expected:?}"),
    }
}

#[tokio::test]
async fn two_overwrites_of_a_partition_conflict() {
    let theirs = (PARTITIONS, [(8, 2)].as_slice());
    check_race((PARTITIONS, &[(9, 2)]), theirs, Err(ErrorKind::Conflict)).await;
}

#[tokio::test]
async fn two_overwrites_of_different_partitions_both_succeed() {
    let theirs = (PARTITIONS, [(8, 1)].as_slice());
    check_race((PARTITIONS, &[(9, 2)]), theirs, Ok(&[(8, 1), (9, 2)])).await;
}

#[tokio::test]
async fn an_overwrite_does_not_swallow_an_append_to_its_partition() {
    let theirs = (WriteMode::Append, [(8, 2)].as_slice());
    check_race((PARTITIONS, &[(9, 2)]), theirs, Err(ErrorKind::Conflict)).await;
    check_race((WriteMode::Overwrite, &[(9, 2)]), theirs, Err(ErrorKind::Conflict)).await;
}

#[tokio::test]
async fn an_overwrite_does_not_bring_back_rows_that_were_deleted() {
    let theirs = (WriteMode::Overwrite, [].as_slice());
    check_race((PARTITIONS, &[(9, 2)]), theirs, Err(ErrorKind::Conflict)).await;
}

#[tokio::test]
async fn appends_never_conflict() {
    let theirs = (WriteMode::Overwrite, [(8, 2)].as_slice());
    check_race((WriteMode::Append, &[(9, 2)]), theirs, Ok(&[(8, 2), (9, 2)])).await;
    let theirs = (WriteMode::Append, [(8, 1)].as_slice());
    check_race((PARTITIONS, &[(9, 2)]), theirs, Ok(&[(1, 1), (8, 1), (9, 2)])).await;
}

#[tokio::test]
async fn a_named_base_finds_commits_of_before_the_commit_began() {
    let lake = Lake::new().await;
    let base = lake.append(&[(1, 1)]).await;
    lake.append(&[(2, 1)]).await;
    let options = CommitOptions::new(PARTITIONS).with_base(base.snapshot);
    let error = lake.try_commit(options.clone(), &[(9, 1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(lake.try_commit(options, &[(9, 2)]).await.unwrap().changed);
    let from_nothing = CommitOptions::new(PARTITIONS).with_base(PinnedTable::EMPTY);
    let error = lake.try_commit(from_nothing, &[(9, 2)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn an_overwrite_computed_from_a_state_that_was_rolled_back_conflicts() {
    let lake = Lake::new().await;
    let first = lake.append(&[(1, 1)]).await;
    let second = lake.append(&[(2, 1)]).await;
    let policy = RollbackPolicy::AncestorsOnly;
    lake.catalog.rollback(&lake.table, first.snapshot, policy).await.unwrap();
    let options = CommitOptions::new(PARTITIONS).with_base(second.snapshot);
    let error = lake.try_commit(options, &[(9, 3)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("rolled back"), "{error}");
}

#[tokio::test]
async fn a_table_that_was_created_anew_takes_no_rows_of_the_old_one() {
    let lake = Lake::new().await;
    let (catalog, table) = (lake.catalog.clone(), lake.table.clone());
    let anew = async move {
        catalog.drop_table(&table).await.unwrap();
        let new = NewTable::new(columns()).with_partition_by(["day"]);
        catalog.ensure_table(&table, &new).await.unwrap();
    };
    let error = overwrite_while(&lake, WriteMode::Append, &[(1, 1)], anew).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(lake.rows_now().await, []);
}

#[tokio::test]
async fn a_job_is_done_once() {
    let lake = Lake::new().await;
    let options =
        || CommitOptions::default().with_job_id("load-7").with_summary("icecore.run", "r");
    let first = lake.try_commit(options(), &[(1, 1)]).await.unwrap();
    lake.append(&[(2, 2)]).await;
    let files = lake.files_on_disk();
    let again = lake.try_commit(options(), &[(1, 1)]).await.unwrap();
    assert_eq!((again.pinned, again.added_rows, again.changed), (first.pinned.clone(), 1, false));
    assert_eq!(lake.files_on_disk(), files);
    assert_eq!(lake.rows_now().await, [(1, 1), (2, 2)]);
    let log = lake.catalog.history(&lake.table).await.unwrap();
    assert_eq!(
        (log[0].summary["icecore.job-id"].as_str(), log[0].summary["icecore.run"].as_str()),
        ("load-7", "r")
    );
    // A run of the same job that began before the first one ended.
    let other = lake.reopened().await;
    let theirs = {
        let table = lake.table.clone();
        async move {
            let options = CommitOptions::default().with_job_id("load-8");
            other.commit(&table, stream(&[(8, 1)]), options).await.unwrap();
        }
    };
    use futures::StreamExt;
    let last = futures::stream::once(async {
        theirs.await;
        Ok(RecordBatch::new_empty(columns()))
    });
    let rows = BatchStream::new(columns(), stream(&[(8, 1)]).chain(last));
    let options = CommitOptions::default().with_job_id("load-8");
    let late = lake.catalog.commit(&lake.table, rows, options).await.unwrap();
    assert!(!late.changed);
    assert_eq!(lake.rows_now().await, [(1, 1), (2, 2), (8, 1)]);
    // Rolled back, it is not part of `main` any more and may be done again.
    let policy = RollbackPolicy::AncestorsOnly;
    lake.catalog.rollback(&lake.table, first.pinned.snapshot, policy).await.unwrap();
    let options = CommitOptions::default().with_job_id("load-8");
    assert!(lake.try_commit(options, &[(8, 1)]).await.unwrap().changed);
}

#[tokio::test]
async fn rows_that_fail_while_they_are_read_leave_nothing() {
    use futures::StreamExt;
    let lake = Lake::new().await;
    let before = lake.files_on_disk();
    let broken = futures::stream::once(async { Err(Error::invalid("line 7 is not a row")) });
    let rows = BatchStream::new(columns(), stream(&[(1, 1)]).chain(broken));
    let result = lake.catalog.commit(&lake.table, rows, CommitOptions::default()).await;
    assert_eq!(result.unwrap_err().to_string(), "line 7 is not a row");
    assert_eq!(lake.files_on_disk(), before);
}

#[tokio::test]
async fn many_small_commits_share_a_manifest() {
    let lake = Lake::new().await;
    let few = [("commit.manifest.min-count-to-merge".to_owned(), "4".to_owned())].into();
    lake.catalog.set_properties(&lake.table, few, vec![]).await.unwrap();
    let mut pins = Vec::new();
    for number in 0..10 {
        pins.push(lake.append(&[(number, 1), (number, 2)]).await);
    }
    let manifests =
        lake.catalog.metadata_table(&lake.table, MetadataTable::Manifests).await.unwrap();
    assert!(manifests.num_rows() <= 4, "{}", manifests.num_rows());
    for (index, pinned) in pins.iter().enumerate() {
        assert_eq!(lake.rows(pinned).await.len(), 2 * (index + 1));
    }
    // A merged manifest is rewritten like any other, and says who added what.
    let base = pins[8].snapshot;
    let options = CommitOptions::new(PARTITIONS).with_base(base);
    let error = lake.try_commit(options, &[(99, 2)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    lake.commit(PARTITIONS, &[(99, 2)]).await;
    let mut expected: Vec<Row> = (0..10).map(|number| (number, 1)).collect();
    expected.push((99, 2));
    assert_eq!(lake.rows_now().await, expected);
}
