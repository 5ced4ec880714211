//! The keys of new rows, as a question to old ones: is yours among them?

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::row::{OwnedRow, RowConverter, SortField};
use futures::StreamExt as _;
use icecore_catalog::{RowFilter, RowTest};
use icecore_core::{Error, Literal, Predicate, Result};
use icecore_engine::{Engine, Scope};

/// So few keys are also asked of the bounds of files.
const LITERALS_MAX: usize = 1000;

/// The keys of new rows.
pub(super) struct KeySet {
    columns: Vec<String>,
    types: Vec<DataType>,
    converter: RowConverter,
    keys: HashSet<OwnedRow>,
    literals: Option<Vec<Literal>>,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("columns", &self.columns)
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl KeySet {
    /// Asks a query for its keys, in the types of the table.
    pub(super) async fn read(
        engine: &Engine,
        sql: &str,
        scope: &Scope,
        (columns, stored): (&[String], Option<SchemaRef>),
    ) -> Result<Self> {
        let quoted: Vec<String> =
            columns.iter().map(|c| format!("\"{}\"", c.replace('"', "\"\""))).collect();
        let sql = format!("SELECT DISTINCT {} FROM (\n{sql}\n) AS model_rows", quoted.join(", "));
        let mut rows = engine.sql_in(&sql, scope).await?;
        let of_query = Arc::clone(rows.schema());
        let types: Vec<DataType> = columns
            .iter()
            .map(|column| {
                let stored = stored.as_ref().and_then(|schema| schema.field_with_name(column).ok());
                let field = stored.or_else(|| of_query.field_with_name(column).ok());
                field.map(|field| field.data_type().clone()).ok_or_else(|| {
                    Error::not_found(format!("`unique_key` names `{column}`, which is no column"))
                })
            })
            .collect::<Result<_>>()?;
        let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
        let mut set = Self {
            columns: columns.to_vec(),
            types,
            converter,
            keys: HashSet::new(),
            literals: (columns.len() == 1).then(Vec::new),
        };
        while let Some(batch) = rows.next().await {
            set.add(&batch?)?;
        }
        Ok(set)
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = self.cast(batch)?;
        let rows = self.converter.convert_columns(&columns)?;
        self.keys.extend(rows.iter().map(|row| row.owned()));
        if self.keys.len() > LITERALS_MAX {
            self.literals = None;
        }
        if let (Some(literals), [column]) = (&mut self.literals, columns.as_slice()) {
            match literals_of(column) {
                Some(more) => literals.extend(more),
                None => self.literals = None,
            }
        }
        Ok(())
    }

    fn cast(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let pairs = batch.columns().iter().zip(&self.types);
        Ok(pairs.map(|(column, wanted)| cast(column, wanted)).collect::<Result<_, _>>()?)
    }

    pub(super) fn into_filter(self) -> RowFilter {
        RowFilter::Test(Arc::new(self))
    }
}

/// Values that a predicate can name; none for a null or another type.
fn literals_of(column: &ArrayRef) -> Option<Vec<Literal>> {
    if column.null_count() > 0 {
        return None;
    }
    match column.data_type() {
        DataType::Int64 => Some(
            column.as_primitive::<Int64Type>().values().iter().map(|v| Literal::Int(*v)).collect(),
        ),
        DataType::Utf8 => Some(
            column
                .as_string::<i32>()
                .iter()
                .flatten()
                .map(|v| Literal::Text(v.to_owned()))
                .collect(),
        ),
        _ => None,
    }
}

impl RowTest for KeySet {
    fn columns(&self) -> Vec<String> {
        self.columns.clone()
    }

    fn implied(&self) -> Option<Predicate> {
        let column = self.columns.first()?.clone();
        self.literals.clone().map(|literals| Predicate::In(column, literals))
    }

    fn passes(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let converted = self.converter.convert_columns(&self.cast(rows)?)?;
        Ok(converted.iter().map(|row| Some(self.keys.contains(&row.owned()))).collect())
    }
}
