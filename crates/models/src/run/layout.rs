//! A table's columns and layout, made what a model needs.

use arrow::datatypes::{DataType, SchemaRef};
use icecore_catalog::{Alteration, TableDescription};
use icecore_core::{Error, NewTable, Result, SnapshotCatalog as _, TableName};

use super::Runner;
use super::build::Query;
use super::land::Draft;
use crate::config::OnSchemaChange;
use crate::project::Node;

impl Runner<'_> {
    /// Makes the table of a model, or changes its columns as the model says. Readers of `main` see
    /// the columns of its snapshot, whatever is changed here.
    pub(super) async fn prepare_table(
        &self,
        node: &Node,
        name: &TableName,
        columns: &SchemaRef,
        query: &Query,
    ) -> Result<Draft> {
        check_columns(node, columns)?;
        let catalog = self.engine.catalog();
        let Some((table, pin)) = &query.existing else {
            let mut new = NewTable::new(nullable(columns))
                .with_partition_by(node.config.partition_by.iter().cloned())
                .with_sort_by(node.config.sort_by.iter().cloned());
            new.properties.extend(node.config.properties.iter().cloned());
            let created = catalog.ensure_table(name, &new).await?;
            return Ok(Draft { created, layouts: None, columns: None });
        };
        self.sweep(name).await?;
        let (drops, adds, kept) = if query.is_incremental {
            incremental(node, table, columns)?
        } else {
            (dropped(table, columns), true, None)
        };
        let moves = if query.is_incremental { Vec::new() } else { laid_out(node, table) };
        self.branch_off(pin).await?;
        let is_same = drops.is_empty() && moves.is_empty() && (!adds || covers(table, columns));
        if is_same {
            return Ok(Draft { created: false, layouts: None, columns: kept });
        }
        let before = catalog.layout(name).await?;
        let mut change = catalog.transaction(name.clone()).alter(drops);
        if adds {
            change = change.evolve(nullable(columns));
        }
        // A layout may be one by a column that is new.
        if let Err(error) = change.alter(moves).commit().await {
            self.abandon(name, &Draft { created: false, layouts: None, columns: None }).await;
            return Err(error);
        }
        let made = catalog.layout(name).await?;
        Ok(Draft { created: false, layouts: Some((before, made)), columns: kept })
    }
}

/// Every column may be null: what a query says of that changes with its text.
fn nullable(columns: &SchemaRef) -> SchemaRef {
    let fields = columns.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    SchemaRef::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()))
}

fn check_columns(node: &Node, columns: &SchemaRef) -> Result<()> {
    for (at, field) in columns.fields().iter().enumerate() {
        if columns.fields().iter().take(at).any(|other| other.name() == field.name()) {
            return Err(Error::invalid(format!("two columns are named `{}`", field.name()))
                .with_help("rename one of them with `AS`"));
        }
        if *field.data_type() == DataType::Null {
            return Err(Error::invalid(format!("column `{}` has no type", field.name()))
                .with_help(format!("write `CAST(NULL AS VARCHAR) AS {}`", field.name())));
        }
    }
    for key in &node.config.unique_key {
        if columns.field_with_name(key).is_err() {
            let names = columns.fields().iter().map(|field| field.name().as_str());
            return Err(Error::not_found(format!(
                "`unique_key` names `{key}`, which is no column"
            ))
            .with_candidates(key, names));
        }
    }
    Ok(())
}

/// Whether a table has all of these columns, wide enough.
fn covers(table: &TableDescription, columns: &SchemaRef) -> bool {
    columns.fields().iter().all(|field| {
        let stored = table.schema.field_with_name(field.name());
        stored.is_ok_and(|stored| fit(stored.data_type(), field.data_type()) == Fit::Holds)
    })
}

/// What a column of a table is to the values of a query.
#[derive(Debug, PartialEq, Eq)]
enum Fit {
    /// It holds them.
    Holds,
    /// It can be widened to hold them.
    Widens,
    /// It is another column.
    Other,
}

fn fit(stored: &DataType, wanted: &DataType) -> Fit {
    use DataType::{
        Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64,
    };
    if stored.equals_datatype(wanted) {
        return Fit::Holds;
    }
    match (stored, wanted) {
        (Int64, Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32 | UInt64)
        | (Int32, Int8 | Int16 | UInt8 | UInt16)
        | (Float64, Float32) => Fit::Holds,
        (Int32, Int64 | UInt32 | UInt64) | (Float32, Float64) => Fit::Widens,
        (Decimal128(has, scale), Decimal128(wants, same)) if scale == same => {
            if has >= wants {
                Fit::Holds
            } else {
                Fit::Widens
            }
        }
        _ => Fit::Other,
    }
}

/// A table is laid out as its model says.
fn laid_out(node: &Node, table: &TableDescription) -> Vec<Alteration> {
    let mut alterations = Vec::new();
    let plain = |fields: &[String]| -> Vec<String> {
        fields.iter().map(|field| field.replace(' ', "")).collect()
    };
    if plain(&table.partition_by) != plain(&node.config.partition_by) {
        alterations.push(Alteration::PartitionBy(node.config.partition_by.clone()));
    }
    if !node.config.sort_by.is_empty() && plain(&table.sort_by) != plain(&node.config.sort_by) {
        alterations.push(Alteration::SortBy(node.config.sort_by.clone()));
    }
    alterations
}

/// A table has the columns of its query and no others.
fn dropped(table: &TableDescription, columns: &SchemaRef) -> Vec<Alteration> {
    let is_other = |field: &arrow::datatypes::Field| match columns.field_with_name(field.name()) {
        Ok(wanted) => fit(field.data_type(), wanted.data_type()) == Fit::Other,
        Err(_) => true,
    };
    let others = table.schema.fields().iter().filter(|field| is_other(field));
    others.map(|field| Alteration::DropColumn(field.name().clone())).collect()
}

type Change = (Vec<Alteration>, bool, Option<Vec<String>>);

/// A table keeps its rows: what the model says becomes of its columns.
fn incremental(node: &Node, table: &TableDescription, columns: &SchemaRef) -> Result<Change> {
    let names = |schema: &SchemaRef| -> Vec<String> {
        schema.fields().iter().map(|field| field.name().clone()).collect()
    };
    let (has, wants) = (names(&table.schema), names(columns));
    let new: Vec<&String> = wants.iter().filter(|name| !has.contains(name)).collect();
    let old: Vec<&String> = has.iter().filter(|name| !wants.contains(name)).collect();
    match node.config.on_schema_change {
        OnSchemaChange::Ignore => {
            let kept = wants.iter().filter(|name| has.contains(name)).cloned().collect();
            Ok((Vec::new(), false, (!new.is_empty()).then_some(kept)))
        }
        OnSchemaChange::Fail if new.is_empty() && old.is_empty() => Ok((Vec::new(), false, None)),
        OnSchemaChange::Fail => {
            let list = |names: &[&String]| {
                names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
            };
            Err(Error::invalid(format!("the columns of `{}` have changed", node.name))
                .with_note(format!("new: {}; gone: {}", list(&new), list(&old)))
                .with_help("run with `--full-refresh`, or set `on_schema_change`"))
        }
        OnSchemaChange::AppendNewColumns => Ok((Vec::new(), true, None)),
        OnSchemaChange::SyncAllColumns => {
            let drops = old.into_iter().cloned().map(Alteration::DropColumn).collect();
            Ok((drops, true, None))
        }
    }
}
