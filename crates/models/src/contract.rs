//! A model's contract: the columns that its query must give, by name and type.

use std::fmt::Write as _;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use icecore_core::{Error, Result};
use icecore_engine::{Engine, Scope};

use crate::project::Node;

/// Checks what a query gives against what the property file says, where the model says
/// `contract = {enforced: true}`: the same columns, each of the type that its `data_type` names.
/// Their order makes no difference.
///
/// # Errors
///
/// `InvalidInput` naming every column that is missing, is not described, or has another type.
pub(crate) async fn check(
    engine: &Engine,
    scope: &Scope,
    node: &Node,
    given: &SchemaRef,
) -> Result<()> {
    if !node.config.contract {
        return Ok(());
    }
    let mut wrong = Vec::new();
    for (name, column) in &node.columns {
        let Some(said) = &column.data_type else {
            wrong.push(format!("`{name}` is described without a `data_type`"));
            continue;
        };
        match given.fields().iter().find(|field| field.name() == name) {
            None => wrong.push(format!("`{name}` is described, and the query does not give it")),
            Some(field) => {
                let wanted = named(engine, scope, name, said).await?;
                if plain(field.data_type()) != plain(&wanted) {
                    let found = plain(field.data_type());
                    wrong.push(format!("`{name}` is `{found}`, and `{said}` was promised"));
                }
            }
        }
    }
    for field in given.fields().iter().filter(|field| !node.columns.contains_key(field.name())) {
        wrong.push(format!("`{}` comes out of the query, and is not described", field.name()));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let message = format!("`{}` does not keep its contract", node.name);
    let error = wrong.into_iter().fold(Error::invalid(message), Error::with_note);
    Err(error.with_help("change the query, or the columns of the model's property file"))
}

/// The type that a name of SQL means.
async fn named(engine: &Engine, scope: &Scope, column: &str, name: &str) -> Result<DataType> {
    let mut sql = String::new();
    // Writing to a text cannot fail.
    let _ = write!(sql, "SELECT CAST(NULL AS {name}) AS one");
    let schema = engine.schema_in(&sql, scope).await.map_err(|error| {
        Error::invalid(format!("`data_type: {name}` of column `{column}` is no type of SQL"))
            .with_source(error)
            .with_help("types are those of SQL: `bigint`, `text`, `decimal(12, 2)`, `timestamp`, …")
    })?;
    let one = |schema: &Schema| schema.fields().first().map(|field| field.data_type().clone());
    one(&schema).ok_or_else(|| Error::internal("a type has no column"))
}

/// A type as tables have it: one kind of text, moments in microseconds.
fn plain(data_type: &DataType) -> DataType {
    let inner = |field: &Field| field.clone().with_data_type(plain(field.data_type()));
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain(values),
        DataType::Timestamp(_, zone) => {
            let zone = zone.as_ref().map(|_| "+00:00".into());
            DataType::Timestamp(TimeUnit::Microsecond, zone)
        }
        DataType::List(item) | DataType::LargeList(item) => {
            DataType::List(inner(item).with_name("item").with_nullable(true).into())
        }
        other => other.clone(),
    }
}
