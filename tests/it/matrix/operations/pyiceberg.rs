//! What PyIceberg does to a table, and icecore after it.

use arrow::datatypes::DataType;
use icecore_core::{Error, Result};
use serde_json::json;

use super::with;
use crate::matrix::lake::{Lake, row};
use crate::readers::Readers;
use crate::rows::{Rows, Value};

fn write(readers: &mut Readers, request: &serde_json::Value) -> Result<()> {
    match readers.ask(request) {
        Ok(_) => Ok(()),
        Err((kind, message)) => Err(Error::internal(format!("pyiceberg: {kind}: {message}"))),
    }
}

pub(super) async fn append(lake: &Lake, readers: &mut Readers, mut rows: Rows) -> Result<Rows> {
    let theirs = rows.with((200..207).map(|id| row(id, 2)).collect());
    let mut request = lake.write_request("append");
    request["rows"] = theirs.to_json();
    write(readers, &request)?;
    rows.rows.extend(theirs.rows);
    super::append(lake, rows).await
}

pub(super) async fn overwrite(lake: &Lake, readers: &mut Readers, mut rows: Rows) -> Result<Rows> {
    let theirs = rows.with((200..207).map(|id| row(id, 2)).collect());
    let mut request = lake.write_request("overwrite");
    request["rows"] = theirs.to_json();
    request["filter"] = json!("region = 'east'");
    write(readers, &request)?;
    rows.rows.retain(|row| row[1] != Value::text("east"));
    rows.rows.extend(theirs.rows);
    super::overwrite_partitions(lake, rows).await
}

pub(super) async fn delete(lake: &Lake, readers: &mut Readers, mut rows: Rows) -> Result<Rows> {
    let mut request = lake.write_request("delete");
    request["filter"] = json!("id >= 20 and id < 37");
    write(readers, &request)?;
    rows.rows.retain(|row| !matches!(row[0], Value::Int(20..37)));
    super::append(lake, rows).await
}

pub(super) async fn upsert(lake: &Lake, readers: &mut Readers, mut rows: Rows) -> Result<Rows> {
    let theirs = rows.with([5, 17, 18, 59, 400, 401].map(|id| row(id, 2)).to_vec());
    let mut request = lake.write_request("upsert");
    request["rows"] = theirs.to_json();
    request["keys"] = json!(["id"]);
    write(readers, &request)?;
    rows.rows.retain(|row| !theirs.rows.iter().any(|new| new[0] == row[0]));
    rows.rows.extend(theirs.rows);
    super::append(lake, rows).await
}

pub(super) async fn evolve(lake: &Lake, readers: &mut Readers, mut rows: Rows) -> Result<Rows> {
    let changes = [
        json!({ "change": "add", "column": "channel" }),
        json!({ "change": "rename", "column": "note", "to": "remark" }),
        json!({ "change": "widen", "column": "visits" }),
        json!({ "change": "drop", "column": "amount" }),
        json!({ "change": "partition", "column": "id", "transform": "bucket[4]" }),
    ];
    for change in changes {
        let mut request = lake.write_request("evolve");
        for (field, value) in change.as_object().into_iter().flatten() {
            request[field] = value.clone();
        }
        write(readers, &request)?;
    }
    let (amount, visits, note) = (rows.at("amount"), rows.at("visits"), rows.at("note"));
    rows.columns[note].0 = "remark".to_owned();
    rows.columns[visits].1 = DataType::Int64;
    rows.columns.push(("channel".to_owned(), DataType::Utf8));
    rows.columns.remove(amount);
    for row in &mut rows.rows {
        row.push(Value::Null);
        row.remove(amount);
    }
    let new = |id| {
        let mut row = with(row(id, 1), Value::text("shop"));
        row.remove(amount);
        row
    };
    let more = rows.with((100..106).map(new).collect());
    lake.append(&more).await?;
    rows.rows.extend(more.rows);
    Ok(rows)
}
