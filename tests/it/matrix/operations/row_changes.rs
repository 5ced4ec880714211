//! Deletes, overwrites and upserts of rows, by copying files and by delete files.

use icecore_catalog::{RowDelta, RowMode, RowOptions, UpsertOptions};
use icecore_core::{CommitOptions, CompareOp, Error, Literal, Predicate, Result};

use super::fresh;
use crate::matrix::lake::{Lake, row};
use crate::rows::{Rows, Value};

/// Rows of two regions, some of the columns' nulls among them: no file has only such rows.
pub(super) async fn delete(lake: &Lake, mode: RowMode, mut rows: Rows) -> Result<Rows> {
    let filter = Predicate::And(vec![
        Predicate::compare("id", CompareOp::GtEq, Literal::Int(20)),
        Predicate::compare("id", CompareOp::Lt, Literal::Int(37)),
        Predicate::Or(vec![
            Predicate::equal("region", Literal::Text("east".to_owned())),
            Predicate::IsNull("amount".to_owned()),
        ]),
    ]);
    let options = RowOptions::default().with_mode(mode);
    let done = lake.catalog.delete(&lake.table, filter, options).await?;
    let before = rows.rows.len();
    rows.rows.retain(|row| {
        let inside = matches!(row[0], Value::Int(20..37));
        !(inside && (row[1] == Value::text("east") || row[3] == Value::Null))
    });
    counted("deleted", done.deleted, before - rows.rows.len())?;
    Ok(rows)
}

/// Once more, over rows that are partly deleted: what is there is folded in.
pub(super) async fn delete_twice(lake: &Lake, mode: RowMode, rows: Rows) -> Result<Rows> {
    let mut rows = delete(lake, mode, rows).await?;
    let filter = Predicate::In("id".to_owned(), [21, 22, 23, 40].map(Literal::Int).to_vec());
    let options = RowOptions::default().with_mode(mode);
    let done = lake.catalog.delete(&lake.table, filter, options).await?;
    let before = rows.rows.len();
    rows.rows.retain(|row| !matches!(row[0], Value::Int(21..24 | 40)));
    counted("deleted", done.deleted, before - rows.rows.len())?;
    Ok(rows)
}

/// A whole region, whose files can go unread where it is a partition.
pub(super) async fn delete_region(lake: &Lake, mode: RowMode, mut rows: Rows) -> Result<Rows> {
    let filter = Predicate::equal("region", Literal::Text("north".to_owned()));
    let options = RowOptions::default().with_mode(mode);
    lake.catalog.delete(&lake.table, filter, options).await?;
    rows.rows.retain(|row| row[1] != Value::text("north"));
    Ok(rows)
}

pub(super) async fn overwrite_where(lake: &Lake, mode: RowMode, mut rows: Rows) -> Result<Rows> {
    let filter = Predicate::equal("region", Literal::Text("east".to_owned()));
    let new = rows.with((100..105).map(|step| row(step * 3, 2)).collect());
    let options = RowOptions::default().with_mode(mode);
    lake.catalog.overwrite_where(&lake.table, filter, new.to_stream(), options).await?;
    rows.rows.retain(|row| row[1] != Value::text("east"));
    rows.rows.extend(new.rows);
    Ok(rows)
}

pub(super) async fn upsert(
    lake: &Lake,
    mode: RowMode,
    keys: &[&str],
    mut rows: Rows,
) -> Result<Rows> {
    let ids = [3, 4, 5, 29, 30, 31, 59, 400, 401, 402];
    let new = rows.with(ids.map(|id| row(id, 2)).to_vec());
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    let options = UpsertOptions::default().with_mode(mode);
    let done = lake.catalog.upsert(&lake.table, new.to_stream(), &keys, options).await?;
    let there = new.rows.iter().filter(|new| rows.rows.iter().any(|row| row[0] == new[0])).count();
    counted("updated", done.updated, there)?;
    counted("inserted", done.inserted, ids.len() - there)?;
    rows.rows.retain(|row| !new.rows.iter().any(|new| new[0] == row[0]));
    rows.rows.extend(new.rows);
    Ok(rows)
}

/// Keys are deleted unseen, and rows of the same commit come in under some of them.
pub(super) async fn row_delta(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    // Where a table is partitioned, a key names its partition.
    let places = [0, 1, 2];
    let gone: Vec<Vec<Value>> = [3, 17, 31, 45, 999].map(|id| row(id, 0)).to_vec();
    let keys = Rows {
        columns: places.map(|place| rows.columns[place].clone()).to_vec(),
        rows: gone.iter().map(|row| places.map(|place| row[place].clone()).to_vec()).collect(),
    };
    let new = rows.with([17, 500].map(|id| row(id, 4)).to_vec());
    let delta = RowDelta::new(keys.to_stream()).with_rows(new.to_stream());
    lake.catalog.row_delta(&lake.table, delta, CommitOptions::default()).await?;
    rows.rows.retain(|row| !gone.iter().any(|gone| gone[..3] == row[..3]));
    rows.rows.extend(new.rows);
    Ok(rows)
}

/// After deletes of every kind, a table that others append to and replace parts of.
pub(super) async fn delete_and_go_on(lake: &Lake, mode: RowMode, rows: Rows) -> Result<Rows> {
    let mut rows = delete(lake, mode, rows).await?;
    let more = fresh(&rows, 12);
    lake.append(&more).await?;
    rows.rows.extend(more.rows);
    let rows = upsert(lake, mode, &["id"], rows).await?;
    delete_twice_more(lake, mode, rows).await
}

async fn delete_twice_more(lake: &Lake, mode: RowMode, mut rows: Rows) -> Result<Rows> {
    let filter = Predicate::compare("id", CompareOp::Gt, Literal::Int(55));
    lake.catalog.delete(&lake.table, filter, RowOptions::default().with_mode(mode)).await?;
    rows.rows.retain(|row| !matches!(row[0], Value::Int(id) if id > 55));
    Ok(rows)
}

fn counted(what: &str, said: u64, expected: usize) -> Result<()> {
    if said == expected as u64 {
        return Ok(());
    }
    Err(Error::internal(format!("it says that it {what} {said} rows, not {expected}")))
}
