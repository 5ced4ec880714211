//! The operations, each on icecore's side and on the oracle's.

use arrow::datatypes::{DataType, Field, Schema};
use icecore_catalog::{ExpireOptions, RollbackPolicy, TagMove};
use icecore_core::{
    Clock as _, CommitOptions, Error, RefName, Result, SnapshotCatalog as _, SnapshotSelector,
    SystemClock, Timestamp, WriteMode,
};
use serde_json::json;

use super::lake::{Lake, row};
use crate::readers::Readers;
use crate::rows::{Rows, Value};

/// What is done to a table of sixty rows in two commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Append,
    Overwrite,
    OverwritePartitions,
    AddColumn,
    Widen,
    TagAndBranch,
    Rollback,
    Publish,
    CherryPick,
    Expire,
    PyicebergAppend,
    PyicebergOverwrite,
    PyicebergDelete,
    PyicebergUpsert,
    PyicebergEvolve,
}

impl Operation {
    pub(super) fn all() -> Vec<Self> {
        use Operation as O;
        vec![
            O::Append,
            O::Overwrite,
            O::OverwritePartitions,
            O::AddColumn,
            O::Widen,
            O::TagAndBranch,
            O::Rollback,
            O::Publish,
            O::CherryPick,
            O::Expire,
            O::PyicebergAppend,
            O::PyicebergOverwrite,
            O::PyicebergDelete,
            O::PyicebergUpsert,
            O::PyicebergEvolve,
        ]
    }

    /// Whether the states before it can still be read.
    pub(super) const fn keeps_history(self) -> bool {
        !matches!(self, Self::Expire)
    }

    /// Whether PyIceberg can do it in this version of the format: it writes version 2 alone.
    pub(super) fn is_possible(self, version: u8) -> bool {
        version == 2 || !format!("{self:?}").starts_with("Pyiceberg")
    }

    /// How a reader refuses the state after it, where it does.
    pub(super) const fn refused_by(self, _reader: &str, _version: u8) -> Option<&'static str> {
        None
    }

    /// Does it, and returns what the table holds then.
    pub(super) async fn apply(
        self,
        lake: &Lake,
        readers: &mut Readers,
        rows: Rows,
    ) -> Result<Rows> {
        match self {
            Self::Append => append(lake, rows).await,
            Self::Overwrite => overwrite(lake, rows).await,
            Self::OverwritePartitions => overwrite_partitions(lake, rows).await,
            Self::AddColumn => add_column(lake, rows).await,
            Self::Widen => widen(lake, rows).await,
            Self::TagAndBranch => tag_and_branch(lake, rows).await,
            Self::Rollback => rollback(lake, rows).await,
            Self::Publish => publish(lake, rows).await,
            Self::CherryPick => cherry_pick(lake, rows).await,
            Self::Expire => expire(lake, rows).await,
            Self::PyicebergAppend => pyiceberg_append(lake, readers, rows).await,
            Self::PyicebergOverwrite => pyiceberg_overwrite(lake, readers, rows).await,
            Self::PyicebergDelete => pyiceberg_delete(lake, readers, rows).await,
            Self::PyicebergUpsert => pyiceberg_upsert(lake, readers, rows).await,
            Self::PyicebergEvolve => pyiceberg_evolve(lake, readers, rows).await,
        }
    }
}

/// Rows of numbers that begin where those of the base end.
fn fresh(rows: &Rows, count: i64) -> Rows {
    rows.with((100..100 + count).map(|id| row(id, 1)).collect())
}

async fn append(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    let more = fresh(&rows, 12);
    lake.append(&more).await?;
    rows.rows.extend(more.rows);
    Ok(rows)
}

async fn overwrite(lake: &Lake, rows: Rows) -> Result<Rows> {
    let all = fresh(&rows, 20);
    lake.commit(&all, CommitOptions::new(WriteMode::Overwrite)).await?;
    Ok(all)
}

async fn overwrite_partitions(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    // Numbers that are three apart share a region; nine of them lie on one day.
    let new = rows.with((0..4).map(|step| row(300 + 9 * step, 2)).collect());
    lake.commit(&new, CommitOptions::new(WriteMode::OverwritePartitions)).await?;
    let touched: Vec<_> = new.rows.iter().map(|row| lake.partition_of(row)).collect();
    rows.rows.retain(|row| !touched.contains(&lake.partition_of(row)));
    rows.rows.extend(new.rows);
    Ok(rows)
}

/// The columns of a table with one added, or with another type.
async fn evolve(lake: &Lake, rows: &Rows, column: &str, kind: DataType) -> Result<Vec<String>> {
    let mut fields: Vec<Field> =
        rows.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    match fields.iter_mut().find(|field| field.name() == column) {
        Some(field) => field.set_data_type(kind),
        None => fields.push(Field::new(column, kind, true)),
    }
    lake.catalog.evolve(&lake.table, &std::sync::Arc::new(Schema::new(fields))).await
}

async fn add_column(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    evolve(lake, &rows, "channel", DataType::Utf8).await?;
    rows.columns.push(("channel".to_owned(), DataType::Utf8));
    for row in &mut rows.rows {
        row.push(Value::Null);
    }
    let more = rows.with((100..103).map(|id| with(row(id, 1), Value::text("web"))).collect());
    lake.append(&more).await?;
    rows.rows.extend(more.rows);
    Ok(rows)
}

fn with(mut row: Vec<Value>, value: Value) -> Vec<Value> {
    row.push(value);
    row
}

async fn widen(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    evolve(lake, &rows, "visits", DataType::Int64).await?;
    let place = rows.at("visits");
    rows.columns[place].1 = DataType::Int64;
    let mut more = fresh(&rows, 3);
    more.rows[0][place] = Value::Int(1 << 40);
    lake.append(&more).await?;
    rows.rows.extend(more.rows);
    Ok(rows)
}

async fn tag_and_branch(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    let (tag, branch) = (RefName::parse("v1")?, RefName::parse("audit")?);
    let pin = lake.pin().await;
    lake.catalog.tag(&pin, &tag, TagMove::Refuse).await?;
    lake.catalog.branch(&pin, &branch).await?;
    let before = rows.state();
    let more = fresh(&rows, 5);
    lake.append(&more).await?;
    rows.rows.extend(more.rows);
    for name in [tag, branch] {
        let named = lake.catalog.pin(&lake.table, &SnapshotSelector::Ref(name)).await?;
        if lake.scan(Some(&named)).await?.state() != before {
            return Err(Error::internal("a ref moved with `main`"));
        }
    }
    Ok(rows)
}

async fn rollback(lake: &Lake, rows: Rows) -> Result<Rows> {
    let pin = lake.pin().await;
    lake.commit(&fresh(&rows, 5), CommitOptions::new(WriteMode::Overwrite)).await?;
    lake.catalog.rollback(&lake.table, pin.snapshot, RollbackPolicy::AncestorsOnly).await?;
    Ok(rows)
}

/// A branch with two commits that nobody saw until it was published.
async fn publish(lake: &Lake, mut rows: Rows) -> Result<Rows> {
    let branch = RefName::parse("audit")?;
    lake.catalog.branch(&lake.pin().await, &branch).await?;
    let before = rows.state();
    for from in [100, 200] {
        let more = rows.with((from..from + 5).map(|id| row(id, 1)).collect());
        let options = CommitOptions::new(WriteMode::Append).with_branch(branch.clone());
        lake.commit(&more, options).await?;
        if lake.scan(None).await?.state() != before {
            return Err(Error::internal("`main` moved with a branch"));
        }
        rows.rows.extend(more.rows);
    }
    lake.catalog.publish(&lake.table, &branch).await?;
    Ok(rows)
}

/// One of two appends to a branch, after `main` went on.
async fn cherry_pick(lake: &Lake, rows: Rows) -> Result<Rows> {
    let branch = RefName::parse("side")?;
    lake.catalog.branch(&lake.pin().await, &branch).await?;
    let mut rows = append(lake, rows).await?;
    for (from, taken) in [(200, false), (300, true)] {
        let more = rows.with((from..from + 5).map(|id| row(id, 1)).collect());
        let options = CommitOptions::new(WriteMode::Append).with_branch(branch.clone());
        let done = lake.commit(&more, options).await?;
        if taken {
            let picked = done.pinned.snapshot;
            lake.catalog.cherry_pick(&lake.table, picked, &RefName::main()).await?;
            rows.rows.extend(more.rows);
        }
    }
    Ok(rows)
}

/// Everything but the last state goes, with the files of what was overwritten before.
async fn expire(lake: &Lake, rows: Rows) -> Result<Rows> {
    let rows = overwrite_partitions(lake, rows).await?;
    let later = Timestamp::from_micros(SystemClock.now().micros() + 3_600_000_000);
    let options = ExpireOptions::default().with_older_than(Some(later)).with_retain_last(Some(1));
    let report = lake.catalog.expire(&lake.table, options).await?;
    if report.expired.len() != 2 || report.deleted_files == 0 {
        return Err(Error::internal(format!("it expired otherwise: {report:?}")));
    }
    Ok(rows)
}

fn write(readers: &mut Readers, request: &serde_json::Value) -> Result<()> {
    match readers.ask(request) {
        Ok(_) => Ok(()),
        Err((kind, message)) => Err(Error::internal(format!("pyiceberg: {kind}: {message}"))),
    }
}

async fn pyiceberg_append(lake: &Lake, readers: &mut Readers, mut rows: Rows) -> Result<Rows> {
    let theirs = rows.with((200..207).map(|id| row(id, 2)).collect());
    let mut request = lake.write_request("append");
    request["rows"] = theirs.to_json();
    write(readers, &request)?;
    rows.rows.extend(theirs.rows);
    append(lake, rows).await
}

async fn pyiceberg_overwrite(lake: &Lake, readers: &mut Readers, mut rows: Rows) -> Result<Rows> {
    let theirs = rows.with((200..207).map(|id| row(id, 2)).collect());
    let mut request = lake.write_request("overwrite");
    request["rows"] = theirs.to_json();
    request["filter"] = json!("region = 'east'");
    write(readers, &request)?;
    rows.rows.retain(|row| row[1] != Value::text("east"));
    rows.rows.extend(theirs.rows);
    overwrite_partitions(lake, rows).await
}

async fn pyiceberg_delete(lake: &Lake, readers: &mut Readers, mut rows: Rows) -> Result<Rows> {
    let mut request = lake.write_request("delete");
    request["filter"] = json!("id >= 20 and id < 37");
    write(readers, &request)?;
    rows.rows.retain(|row| !matches!(row[0], Value::Int(20..37)));
    append(lake, rows).await
}

async fn pyiceberg_upsert(lake: &Lake, readers: &mut Readers, mut rows: Rows) -> Result<Rows> {
    let theirs = rows.with([5, 17, 18, 59, 400, 401].map(|id| row(id, 2)).to_vec());
    let mut request = lake.write_request("upsert");
    request["rows"] = theirs.to_json();
    request["keys"] = json!(["id"]);
    write(readers, &request)?;
    rows.rows.retain(|row| !theirs.rows.iter().any(|new| new[0] == row[0]));
    rows.rows.extend(theirs.rows);
    append(lake, rows).await
}

async fn pyiceberg_evolve(lake: &Lake, readers: &mut Readers, mut rows: Rows) -> Result<Rows> {
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
