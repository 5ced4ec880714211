//! Inserting and updating rows by key.

use super::*;
use crate::rowlevel::{
    DuplicateKeys, NullKeys, RowDelta, UpsertOptions, WhenMatched, WhenNotMatched,
};

async fn upsert(
    lines: &Lines,
    rows: &[Line],
    key: &[&str],
    options: UpsertOptions,
) -> Result<RowChanges> {
    let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
    let rows = lines_of(rows, lines.extra);
    lines.catalog().upsert(&lines.table, rows, &key, options).await
}

// C141, C142
#[tokio::test]
async fn an_upsert_inserts_and_updates_and_does_nothing_the_second_time() {
    for (mode, version) in [(MODES[0], 2), (MODES[1], 2), (MODES[0], 3), (MODES[1], 3)] {
        let lines = Lines::new(version, &["day"]).await;
        lines
            .append(&[line(1, "a", 0.5, 1), line(2, "b", f64::NAN, 1), line(3, "c", 0.0, 2)])
            .await;
        let new = [line(1, "A", 0.5, 1), line(2, "b", f64::NAN, 1), line(4, "d", 4.0, 3)];
        let options = UpsertOptions::default().with_mode(mode);
        let done = upsert(&lines, &new, &["id"], options.clone()).await.unwrap();
        assert_eq!((done.inserted, done.updated, done.changed), (1, 1, true));
        let now = lines.now().await;
        let expected = [
            line(1, "A", 0.5, 1),
            line(2, "b", f64::NAN, 1),
            line(3, "c", 0.0, 2),
            line(4, "d", 4.0, 3),
        ];
        assert_eq!(now, expected);
        let pin = lines.pin().await;
        let again = upsert(&lines, &new, &["id"], options).await.unwrap();
        assert_eq!((again.inserted, again.updated, again.changed), (0, 0, false));
        assert_eq!((again.pinned, lines.now().await), (pin, now));
    }
}

#[tokio::test]
async fn a_row_whose_partition_changes_moves_there() {
    for mode in MODES {
        let lines = Lines::new(2, &["day"]).await;
        lines.append(&[line(1, "a", 0.5, 1), line(2, "b", 0.5, 1), line(3, "c", 0.0, 2)]).await;
        let options = UpsertOptions::default().with_mode(mode);
        upsert(&lines, &[line(1, "a", 0.5, 9)], &["id"], options).await.unwrap();
        let of_day = |days: i32| {
            let (catalog, table) = (lines.catalog().clone(), lines.table.clone());
            async move {
                let pin = catalog.pin(&table, &SnapshotSelector::Latest).await.unwrap();
                let options = ScanOptions::default().with_filter(day(days));
                catalog.scan(&pin, options).await.unwrap().concat().await.unwrap().num_rows()
            }
        };
        assert_eq!((of_day(1).await, of_day(9).await, of_day(2).await), (1, 1, 1));
    }
}

#[tokio::test]
async fn what_happens_to_matched_and_unmatched_rows_can_be_said() {
    let before = [line(1, "a", 0.5, 1), line(2, "b", 0.5, 1)];
    let new = [line(2, "B", 7.0, 2), line(3, "c", 0.5, 1)];
    let kept = |of: &[usize], and: &[Line]| {
        let mut rows: Vec<Line> = of.iter().map(|at| before[*at].clone()).collect();
        rows.extend(and.iter().cloned());
        rows.sort();
        rows
    };
    let base = UpsertOptions::default();
    let cases = [
        (base.clone().with_matched(WhenMatched::Ignore), kept(&[0, 1], &new[1..]), (1, 0, 0)),
        (base.clone().with_matched(WhenMatched::Delete), kept(&[0], &new[1..]), (1, 0, 1)),
        (base.clone().with_not_matched(WhenNotMatched::Ignore), kept(&[0], &new[..1]), (0, 1, 0)),
        (
            base.clone().with_matched(WhenMatched::Delete).with_not_matched(WhenNotMatched::Ignore),
            kept(&[0], &[]),
            (0, 0, 1),
        ),
        (
            base.with_update_columns(["score"]),
            kept(&[0], &[line(2, "b", 7.0, 1), new[1].clone()]),
            (1, 1, 0),
        ),
    ];
    for (options, expected, counts) in cases {
        for mode in MODES {
            let lines = Lines::new(2, &[]).await;
            lines.append(&before).await;
            let options = options.clone().with_mode(mode);
            let done = upsert(&lines, &new, &["id"], options).await.unwrap();
            assert_eq!((done.inserted, done.updated, done.deleted), counts);
            assert_eq!(lines.now().await, expected);
        }
    }
}

#[tokio::test]
async fn two_new_rows_of_one_key_are_a_mistake_unless_a_column_decides() {
    let lines = Lines::new(2, &[]).await;
    lines.append(&[line(1, "a", 0.5, 1)]).await;
    let new =
        [line(1, "x", 3.0, 1), line(2, "y", 0.0, 1), line(1, "x", 9.0, 2), line(1, "x", 4.0, 3)];
    let error = upsert(&lines, &new, &["id", "name"], UpsertOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "two of the new rows have the key `id` = `1`, `name` = `x`");
    assert_eq!(error.notes(), ["they are rows 1 and 3"]);
    let greatest = DuplicateKeys::GreatestBy("score".to_owned());
    let options = UpsertOptions::default().with_duplicate_keys(greatest);
    let done = upsert(&lines, &new, &["id"], options).await.unwrap();
    assert_eq!((done.inserted, done.updated), (1, 1));
    assert_eq!(lines.now().await, [line(1, "x", 9.0, 2), line(2, "y", 0.0, 1)]);
}

#[tokio::test]
async fn a_null_in_a_key_is_a_mistake_unless_nulls_are_equal() {
    let lines = Lines::new(2, &[]).await;
    let none = |score| Line { name: None, ..line(1, "", score, 1) };
    lines.append(&[none(0.5), line(1, "a", 0.5, 1)]).await;
    let new = [line(1, "a", 1.0, 1), none(2.0)];
    let error = upsert(&lines, &new, &["id", "name"], UpsertOptions::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "new row 2 has no value for the key's column `name`");
    let options = UpsertOptions::default().with_null_keys(NullKeys::Equal);
    let done = upsert(&lines, &new, &["id", "name"], options).await.unwrap();
    assert_eq!((done.inserted, done.updated), (0, 2));
    assert_eq!(lines.now().await, [none(2.0), line(1, "a", 1.0, 1)]);
}

#[tokio::test]
async fn keys_are_checked_before_anything_is_read() {
    let lines = Lines::new(2, &[]).await;
    let fails = async |key: &[&str]| {
        let new = [line(1, "a", 1.0, 1)];
        upsert(&lines, &new, key, UpsertOptions::default()).await.unwrap_err().to_string()
    };
    assert_eq!(fails(&[]).await, "an upsert needs the columns of a key");
    assert_eq!(fails(&["ID"]).await, "the table has no column `ID`");
    assert_eq!(fails(&["id", "id"]).await, "the key has the column `id` twice");
    let rows = lines_of(&[line(1, "a", 1.0, 1)], false);
    let options = UpsertOptions::default().with_source_bytes_max(10);
    let result = lines.catalog().upsert(&lines.table, rows, &["id".to_owned()], options).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(lines.catalog().history(&lines.table).await.unwrap(), []);
}

#[tokio::test]
async fn a_delta_deletes_older_rows_of_its_keys_without_looking_for_them() {
    for (version, partition_by) in [(2, vec![]), (2, vec!["day"]), (3, vec!["bucket(2, id)"])] {
        let lines = Lines::new(version, &partition_by).await;
        lines.append(&[line(1, "a", 0.5, 1), line(2, "b", 0.0, 1), line(3, "c", 0.0, 2)]).await;
        let all = lines_of(&[line(1, "", 0.0, 1), line(3, "", 0.0, 2)], false);
        let schema = Arc::new(all.schema().project(&[0, 3]).unwrap());
        let keys = all.concat().await.unwrap().project(&[0, 3]).unwrap();
        let keys = BatchStream::from_batches(schema, vec![keys]);
        let rows = lines_of(&[line(1, "again", 1.0, 1)], false);
        let delta = RowDelta::new(keys).with_rows(rows);
        let done = lines.catalog().row_delta(&lines.table, delta, CommitOptions::default()).await;
        assert!(done.unwrap().changed);
        assert_eq!(lines.now().await, [line(1, "again", 1.0, 1), line(2, "b", 0.0, 1)]);
    }
    // A key of a partition says nothing about files of an older partitioning.
    let lines = Lines::new(2, &["day"]).await;
    lines.append(&[line(1, "a", 0.5, 1), line(2, "b", 0.0, 1)]).await;
    let to = [schema::Alteration::PartitionBy(vec!["bucket(4, id)".to_owned()])];
    let options = AlterOptions::default();
    lines.catalog().alter(&lines.table, &to, options).await.unwrap();
    let all = lines_of(&[line(1, "", 0.0, 1)], false);
    let schema = Arc::new(all.schema().project(&[0, 3]).unwrap());
    let keys = all.concat().await.unwrap().project(&[0, 3]).unwrap();
    let delta = RowDelta::new(BatchStream::from_batches(schema, vec![keys]));
    lines.catalog().row_delta(&lines.table, delta, CommitOptions::default()).await.unwrap();
    assert_eq!(lines.now().await, [line(2, "b", 0.0, 1)]);

    let lines = Lines::new(2, &["day"]).await;
    let ids = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let delta = RowDelta::new(BatchStream::from_batches(Arc::new(ids), vec![]));
    let result = lines.catalog().row_delta(&lines.table, delta, CommitOptions::default()).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Unsupported);
}
