//! Deletes, overwrites and upserts, on both sides.

use std::ops::Range;

use icecore_catalog::{RowChanges, RowMode, RowOptions, UpsertOptions};
use icecore_core::{CompareOp, Literal, Predicate};

use super::oracle::{ID, REGION, Row, visible};
use super::world::{Told, World, told};
use crate::rows::Value;

const fn mode(copy: bool) -> RowMode {
    if copy { RowMode::CopyOnWrite } else { RowMode::MergeOnRead }
}

fn has_id(row: &Row, ids: &Range<i64>) -> bool {
    matches!(row.get(&ID), Some(Value::Int(id)) if ids.contains(id))
}

impl World {
    pub(super) async fn delete(&mut self, ids: Range<i64>, copy: bool) -> Told {
        let filter = Predicate::And(vec![
            Predicate::compare("id", CompareOp::GtEq, Literal::Int(ids.start)),
            Predicate::compare("id", CompareOp::Lt, Literal::Int(ids.end)),
        ]);
        let options = RowOptions::default().with_mode(mode(copy));
        let done = self.catalog.delete(&self.table, filter, options).await.map_err(told)?;
        let before = self.oracle.rows_of(self.oracle.main);
        let after: Vec<Row> = before.iter().filter(|row| !has_id(row, &ids)).cloned().collect();
        let deleted = before.len() - after.len();
        counted(&done, 0, 0, deleted)?;
        self.note_if_changed(&done, after);
        Ok(())
    }

    pub(super) async fn overwrite_region(&mut self, rows: &[Row], copy: bool) -> Told {
        let Some(region) = rows.first().and_then(|row| row.get(&REGION)).cloned() else {
            return Ok(());
        };
        let Value::Text(name) = &region else { return Ok(()) };
        let filter = Predicate::equal("region", Literal::Text(name.clone()));
        let options = RowOptions::default().with_mode(mode(copy));
        let stream = visible(&self.oracle.columns, rows).to_stream();
        let done = self.catalog.overwrite_where(&self.table, filter, stream, options).await;
        let done = done.map_err(told)?;
        let mut after = self.oracle.rows_of(self.oracle.main);
        let before = after.len();
        after.retain(|row| row.get(&REGION) != Some(&region));
        let deleted = before - after.len();
        after.extend(rows.iter().cloned());
        counted(&done, rows.len(), 0, deleted)?;
        self.note_if_changed(&done, after);
        Ok(())
    }

    pub(super) async fn upsert(&mut self, rows: Vec<Row>, copy: bool) -> Told {
        let options = UpsertOptions::default().with_mode(mode(copy));
        let stream = visible(&self.oracle.columns, &rows).to_stream();
        let key = ["id".to_owned()];
        let done = self.catalog.upsert(&self.table, stream, &key, options).await.map_err(told)?;
        let mut after = self.oracle.rows_of(self.oracle.main);
        let (mut updated, mut inserted) = (0, Vec::new());
        for new in rows {
            let mut found = false;
            for row in after.iter_mut().filter(|row| row.get(&ID) == new.get(&ID)) {
                found = true;
                updated += usize::from(*row != new);
                row.clone_from(&new);
            }
            if !found {
                inserted.push(new);
            }
        }
        counted(&done, inserted.len(), updated, 0)?;
        after.extend(inserted);
        self.note_if_changed(&done, after);
        Ok(())
    }

    fn note_if_changed(&mut self, done: &RowChanges, rows: Vec<Row>) {
        if done.changed {
            self.note(None, &done.pinned, rows);
        }
    }
}

fn counted(done: &RowChanges, inserted: usize, updated: usize, deleted: usize) -> Told {
    let said = (done.inserted, done.updated, done.deleted);
    let expected = (inserted as u64, updated as u64, deleted as u64);
    if said == expected {
        Ok(())
    } else {
        Err(format!("it says (inserted, updated, deleted) {said:?}, not {expected:?}"))
    }
}
