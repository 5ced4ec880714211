//! Changes of columns, partitions and order.

use arrow::datatypes::DataType;
use icecore_catalog::{Alteration, ColumnPlace, ColumnType, NewColumn};
use icecore_core::{Literal, Result};

use super::fresh;
use crate::matrix::lake::{Lake, row};
use crate::rows::{Rows, Value};

async fn alter(lake: &Lake, alterations: &[Alteration]) -> Result<()> {
    lake.catalog.alter(&lake.table, alterations, icecore_catalog::AlterOptions::default()).await?;
    Ok(())
}

/// Appends rows that are written in the new columns.
async fn go_on(lake: &Lake, mut rows: Rows, more: Vec<Vec<Value>>) -> Result<Rows> {
    let more = rows.with(more);
    lake.append(&more).await?;
    rows.rows.extend(more.rows);
    Ok(rows)
}

/// A column that goes, and another of the same name that comes: the old values stay gone.
pub(super) async fn drop_and_add(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    alter(lake, &[Alteration::DropColumn("note".to_owned())]).await?;
    let note = ColumnType::parse("string")?;
    alter(lake, &[Alteration::AddColumn(NewColumn::new("note", note))]).await?;
    let place = rows.at("note");
    for row in &mut rows.rows {
        row[place] = Value::Null;
    }
    let more = (100..104).map(|id| row(id, 1)).collect();
    go_on(lake, rows, more).await
}

pub(super) async fn rename(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    // Two columns change names in one step, through a third.
    let rename = |column: &str, to: &str| Alteration::RenameColumn {
        column: column.to_owned(),
        to: to.to_owned(),
    };
    alter(lake, &[rename("note", "remark"), rename("region", "area")]).await?;
    for (from, to) in [("note", "remark"), ("region", "area")] {
        let place = rows.at(from);
        rows.columns[place].0 = to.to_owned();
    }
    let more = (100..104).map(|id| row(id, 1)).collect();
    go_on(lake, rows, more).await
}

pub(super) async fn reorder(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    let to = ColumnPlace::First;
    alter(lake, &[Alteration::MoveColumn { column: "note".to_owned(), to }]).await?;
    let last = rows.columns.len() - 1;
    rows.columns.rotate_right(1);
    for row in &mut rows.rows {
        row.rotate_right(1);
    }
    let turned = |id| {
        let mut row = row(id, 1);
        row.rotate_left(last);
        row
    };
    let more = (100..104).map(turned).collect();
    go_on(lake, rows, more).await
}

/// A column that old rows have a value in (version 3).
pub(super) async fn add_with_default(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    let new = NewColumn::new("grade", ColumnType::parse("long")?).with_default(Literal::Int(5));
    alter(lake, &[Alteration::AddColumn(new)]).await?;
    rows.columns.push(("grade".to_owned(), DataType::Int64));
    for row in &mut rows.rows {
        row.push(Value::Int(5));
    }
    let graded = |id| {
        let mut row = row(id, 1);
        row.push(if id % 2 == 0 { Value::Int(id) } else { Value::Null });
        row
    };
    let more = (100..104).map(graded).collect();
    go_on(lake, rows, more).await
}

/// Partitions by something else from here on; old files stay where they are.
pub(super) async fn repartition(lake: &Lake, rows: Rows) -> Result<Rows> {
    let by = ["bucket(4, id)".to_owned(), "month(at)".to_owned()];
    alter(lake, &[Alteration::PartitionBy(by.to_vec())]).await?;
    let more = fresh(&rows, 12).rows;
    go_on(lake, rows, more).await
}

pub(super) async fn sort(lake: &Lake, rows: Rows) -> Result<Rows> {
    alter(lake, &[Alteration::SortBy(vec!["amount desc nulls last".to_owned()])]).await?;
    let more = fresh(&rows, 12).rows;
    go_on(lake, rows, more).await
}
