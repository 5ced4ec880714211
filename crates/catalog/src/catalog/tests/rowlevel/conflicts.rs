//! What others commit at the same time.

use icecore_core::Isolation;

use super::*;
use crate::rowlevel::UpsertOptions;

/// Options of a change that was computed from the state before the others.
fn from(base: &PinnedTable) -> RowOptions {
    RowOptions::default().with_commit(CommitOptions::default().with_base(base.snapshot))
}

async fn table_of_two() -> (Lines, PinnedTable) {
    let lines = Lines::new(2, &["day"]).await;
    lines.append(&[line(1, "a", 0.5, 1), line(2, "b", 0.0, 1), line(3, "b", 0.0, 2)]).await;
    let base = lines.pin().await;
    (lines, base)
}

#[tokio::test]
async fn a_row_that_was_added_where_a_change_read_contradicts_it_unless_snapshots_suffice() {
    for mode in MODES {
        let (lines, base) = table_of_two().await;
        lines.append(&[line(1, "late", 0.5, 1)]).await;
        let now = lines.now().await;
        let options = from(&base).with_mode(mode);
        let result = lines.catalog().delete(&lines.table, is("id", 1), options.clone()).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Conflict);
        let rows = lines_of(&[line(1, "new", 0.0, 1)], false);
        let result = lines.catalog().overwrite_where(&lines.table, day(1), rows, options.clone());
        assert_eq!(result.await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(lines.now().await, now);

        let commit = options.commit.clone().with_isolation(Isolation::Snapshot);
        let done = lines.delete(&is("id", 1), options.with_commit(commit)).await;
        assert_eq!(done.deleted, 1);
        let expected = [line(1, "late", 0.5, 1), line(2, "b", 0.0, 1), line(3, "b", 0.0, 2)];
        assert_eq!(lines.now().await, expected);
    }
}

#[tokio::test]
async fn a_row_that_was_added_elsewhere_contradicts_nothing() {
    for mode in MODES {
        let (lines, base) = table_of_two().await;
        lines.append(&[line(9, "late", 0.5, 2)]).await;
        let done = lines.delete(&is("id", 1), from(&base).with_mode(mode)).await;
        assert_eq!(done.deleted, 1);
        let expected = [line(2, "b", 0.0, 1), line(3, "b", 0.0, 2), line(9, "late", 0.5, 2)];
        assert_eq!(lines.now().await, expected);
    }
}

#[tokio::test]
async fn two_changes_of_the_same_file_contradict_each_other() {
    for (first, second) in [(MODES[0], MODES[0]), (MODES[0], MODES[1]), (MODES[1], MODES[0])] {
        let (lines, base) = table_of_two().await;
        lines.delete(&is("id", 1), from(&base).with_mode(first)).await;
        let files = lines.lake.files_on_disk();
        let options = from(&base).with_mode(second);
        let result = lines.catalog().delete(&lines.table, is("id", 2), options).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Conflict, "{first:?}, {second:?}");
        assert_eq!(lines.now().await, [line(2, "b", 0.0, 1), line(3, "b", 0.0, 2)]);
        assert_eq!(lines.lake.files_on_disk(), files);
    }
}

#[tokio::test]
async fn deletes_that_only_mark_rows_do_not_contradict_each_other_in_version_two() {
    let (lines, base) = table_of_two().await;
    let options = from(&base).with_mode(RowMode::MergeOnRead);
    lines.delete(&is("id", 1), options.clone()).await;
    lines.delete(&is("id", 2), options).await;
    assert_eq!(lines.now().await, [line(3, "b", 0.0, 2)]);
}

#[tokio::test]
async fn two_deletion_vectors_of_one_file_contradict_each_other() {
    let lines = Lines::new(3, &[]).await;
    lines.append(&[line(1, "a", 0.5, 1), line(2, "b", 0.0, 1), line(3, "b", 0.0, 2)]).await;
    let base = lines.pin().await;
    let options = from(&base).with_mode(RowMode::MergeOnRead);
    lines.delete(&is("id", 1), options.clone()).await;
    let result = lines.catalog().delete(&lines.table, is("id", 2), options).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(lines.now().await, [line(2, "b", 0.0, 1), line(3, "b", 0.0, 2)]);
}

#[tokio::test]
async fn a_change_without_a_base_is_computed_again_until_it_fits() {
    for mode in MODES {
        let lines = Lines::new(2, &[]).await;
        let rows: Vec<Line> = (0..6).map(|id| line(id, "a", 0.5, 1)).collect();
        lines.append(&rows).await;
        let work = (0..6).map(|id| {
            let (catalog, table) = (lines.catalog().clone(), lines.table.clone());
            tokio::spawn(async move {
                if id % 2 == 0 {
                    let options = RowOptions::default().with_mode(mode);
                    catalog.delete(&table, is("id", id), options).await
                } else {
                    let rows = lines_of(&[line(id, "new", 1.0, 2)], false);
                    let options = UpsertOptions::default().with_mode(mode);
                    catalog.upsert(&table, rows, &["id".to_owned()], options).await
                }
            })
        });
        let work: Vec<_> = work.collect();
        for done in work {
            assert!(done.await.unwrap().unwrap().changed);
        }
        let expected = [1, 3, 5].map(|id| line(id, "new", 1.0, 2));
        assert_eq!(lines.now().await, expected);
    }
}

#[tokio::test]
async fn a_job_that_was_done_is_not_done_again() {
    let (lines, _) = table_of_two().await;
    let options =
        RowOptions::default().with_commit(CommitOptions::default().with_job_id("forget-1"));
    let first = lines.delete(&is("id", 1), options.clone()).await;
    lines.append(&[line(1, "back", 0.5, 1)]).await;
    let again = lines.delete(&is("id", 1), options).await;
    assert_eq!(again, RowChanges { changed: false, ..first });
    assert_eq!(lines.now().await.len(), 3);
}

#[tokio::test]
async fn a_branch_is_changed_and_main_is_not() {
    let (lines, base) = table_of_two().await;
    let audit = named("audit");
    lines.catalog().branch(&base, &audit).await.unwrap();
    let commit = CommitOptions::default().with_branch(audit.clone());
    let done = lines.delete(&is("id", 1), RowOptions::default().with_commit(commit)).await;
    assert_eq!(done.deleted, 1);
    assert_eq!(lines.now().await.len(), 3);
    let pin = lines.catalog().pin(&lines.table, &SnapshotSelector::Ref(audit)).await.unwrap();
    assert_eq!(lines.at(&pin).await.len(), 2);
}
