//! What rows keep when they move, in tables of format version 3.

use std::collections::BTreeMap;

use futures::TryStreamExt;

use super::*;
use crate::rowlevel::UpsertOptions;
use crate::scan::{TaskRead, plan_tasks, read_task};
use crate::write::lineage;

/// By the row's `id`: its row id, and the sequence number of its last update.
pub(super) async fn lineage_of(lines: &Lines) -> BTreeMap<i64, (i64, i64)> {
    let table = lines.catalog().tables_now().load(&lines.table).await.unwrap();
    let head = table.metadata().current_snapshot_id();
    let columns = lineage::with_table(table.metadata().current_schema()).unwrap();
    let read = TaskRead { columns, filter: None, positions: false, groups: None, batch_rows: 100 };
    let mut found = BTreeMap::new();
    for task in plan_tasks(&table, head, None).await.unwrap() {
        let batches: Vec<RecordBatch> =
            read_task(&table, &task, &read).try_collect().await.unwrap();
        for batch in batches {
            let column = |name: &str| {
                batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().clone()
            };
            let (ids, rows) = (column("id"), column("_row_id"));
            let updated = column("_last_updated_sequence_number");
            for at in 0..batch.num_rows() {
                assert!(rows.is_valid(at) && updated.is_valid(at));
                found.insert(ids.value(at), (rows.value(at), updated.value(at)));
            }
        }
    }
    found
}

#[tokio::test]
async fn rows_keep_their_ids_and_those_that_stay_the_same_keep_since_when() {
    for mode in MODES {
        for partial in [false, true] {
            let lines = Lines::new(3, &["day"]).await;
            let rows: Vec<Line> = (0..8).map(|id| line(id, "a", 0.5, id as i32 % 2)).collect();
            lines.append(&rows).await;
            let mut expected = lineage_of(&lines).await;
            assert!(expected.values().all(|(_, updated)| *updated == 1));
            assert_eq!(expected.values().map(|(row, _)| row).max(), Some(&7));

            lines.delete(&is("id", 3), RowOptions::default().with_mode(mode)).await;
            expected.remove(&3);
            assert_eq!(lineage_of(&lines).await, expected);

            let mut options = UpsertOptions::default().with_mode(mode);
            if partial {
                options = options.with_update_columns(["score"]);
            }
            let new = [line(4, "a", 1.0, 0), line(5, "a", 0.5, 1), line(9, "n", 1.0, 1)];
            let new = lines_of(&new, false);
            let key = ["id".to_owned()];
            lines.catalog().upsert(&lines.table, new, &key, options).await.unwrap();
            let now = lineage_of(&lines).await;
            let (row, _) = expected[&4];
            expected.insert(4, (row, 3));
            let (new_row, updated) = now[&9];
            assert!(updated == 3 && expected.values().all(|(row, _)| *row != new_row));
            expected.insert(9, (new_row, 3));
            assert_eq!(now, expected, "{mode:?}, partial: {partial}");
        }
    }
}
