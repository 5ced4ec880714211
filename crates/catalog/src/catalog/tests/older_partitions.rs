//! Overwriting partitions of a table whose partitioning was changed.

use super::*;
use crate::catalog::AlterOptions;
use crate::schema::Alteration;

/// A table that was partitioned one way while these rows were appended, and is another way now.
async fn repartitioned(before: &str, commits: &[&[Row]], after: &str) -> Lake {
    let lake = Lake::empty().await;
    let new = NewTable::new(columns()).with_partition_by([before]);
    lake.catalog.ensure_table(&lake.table, &new).await.unwrap();
    for rows in commits {
        lake.append(rows).await;
    }
    let to = [Alteration::PartitionBy(vec![after.to_owned()])];
    lake.catalog.alter(&lake.table, &to, AlterOptions::default()).await.unwrap();
    lake
}

const PARTITIONS: WriteMode = WriteMode::OverwritePartitions;

#[tokio::test]
async fn files_of_finer_partitions_lie_in_the_coarser_ones() {
    let days: &[&[Row]] = &[&[(1, 1), (2, 2)], &[(3, 40)]];
    let lake = repartitioned("day", days, "month(day)").await;
    lake.commit(PARTITIONS, &[(9, 5)]).await;
    assert_eq!(lake.rows_now().await, [(3, 40), (9, 5)]);
    lake.commit(PARTITIONS, &[(8, 41)]).await;
    assert_eq!(lake.rows_now().await, [(8, 41), (9, 5)]);
}

#[tokio::test]
async fn buckets_are_put_together_where_their_numbers_divide() {
    let rows: Vec<Row> = (0..40).map(|number| (number, 1)).collect();
    let lake = repartitioned("bucket(8, number)", &[&rows], "bucket(2, number)").await;
    // Overwriting both buckets replaces everything; one of them leaves the others' rows.
    lake.commit(PARTITIONS, &[(7, 1)]).await;
    let left = lake.rows_now().await;
    assert!(left.contains(&(7, 1)) && left.len() > 5 && left.len() < 36, "{left:?}");
    lake.commit(PARTITIONS, &rows).await;
    assert_eq!(lake.rows_now().await, rows);
}

#[tokio::test]
async fn bounds_tell_where_files_of_coarser_partitions_lie() {
    let months: &[&[Row]] = &[&[(1, 1), (2, 2)], &[(3, 40), (4, 40)]];
    let lake = repartitioned("month(day)", months, "day").await;
    // All rows of the file of February are of one day.
    lake.commit(PARTITIONS, &[(9, 40)]).await;
    assert_eq!(lake.rows_now().await, [(1, 1), (2, 2), (9, 40)]);
    // No row of that of January is of this day.
    lake.commit(PARTITIONS, &[(8, 3)]).await;
    assert_eq!(lake.rows_now().await, [(1, 1), (2, 2), (8, 3), (9, 40)]);
    let files = lake.files_on_disk();
    let error = lake.try_commit(CommitOptions::new(PARTITIONS), &[(7, 2)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.help().is_some_and(|help| help.contains("filter")), "{error:?}");
    assert_eq!(lake.files_on_disk(), files);
    lake.commit(WriteMode::Overwrite, &[(7, 2)]).await;
    lake.commit(PARTITIONS, &[(6, 2)]).await;
    assert_eq!(lake.rows_now().await, [(6, 2)]);
}
