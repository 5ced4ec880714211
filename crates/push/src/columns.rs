//! Events in the columns that their table has now, whatever it had when they came.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StructArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use icecore_core::{BatchStream, Error, Result};

/// Where the catalog keeps the id of a column, which stays whatever the column is called.
const FIELD_ID: &str = "PARQUET:field_id";
/// Where events keep the table that their columns' ids are of.
const TABLE: &str = "icecore.table-uuid";

/// The columns of a table.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) schema: SchemaRef,
    /// The table: one that was dropped and made again under its name is another one.
    pub(crate) uuid: String,
}

/// How a column of events is found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    /// By its id; by its name where one of the two has none.
    Id,
    /// By its name: ids of another table mean nothing.
    Name,
}

impl Match {
    fn is_same(self, one: &Field, other: &Field) -> bool {
        match (self, one.metadata().get(FIELD_ID), other.metadata().get(FIELD_ID)) {
            (Self::Id, Some(one), Some(other)) => one == other,
            _ => one.name() == other.name(),
        }
    }

    fn find(self, fields: &Fields, wanted: &Field) -> Option<usize> {
        fields.iter().position(|field| self.is_same(field, wanted))
    }
}

impl Columns {
    /// The same events, with a note of which table their columns are of.
    pub(crate) fn sign(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let note = HashMap::from([(TABLE.to_owned(), self.uuid.clone())]);
        let schema = Schema::new_with_metadata(rows.schema_ref().fields().clone(), note);
        batch_of(Arc::new(schema), rows.columns().to_vec(), rows.num_rows())
    }

    /// Events in all of these columns. What they lack is null.
    pub(crate) fn fit(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        self.fit_to(rows, &self.schema)
    }

    /// Events of several batches, in those of these columns that any of them has: what the others
    /// are without a value, the table says.
    pub(crate) fn fit_all(&self, batches: &[RecordBatch]) -> Result<BatchStream> {
        let is_brought = |field: &&FieldRef| {
            let has = |rows: &RecordBatch| {
                self.how(rows).find(rows.schema_ref().fields(), field).is_some()
            };
            batches.iter().any(has)
        };
        let fields: Fields = self.schema.fields().iter().filter(is_brought).cloned().collect();
        let schema = Arc::new(Schema::new(fields));
        let fitted = batches.iter().map(|rows| self.fit_to(rows, &schema));
        let fitted = fitted.collect::<Result<Vec<_>>>()?;
        Ok(BatchStream::from_batches(schema, fitted))
    }

    /// How many values events have in each column that the table does not have any more.
    pub(crate) fn left_out(&self, batches: &[RecordBatch]) -> BTreeMap<String, u64> {
        let mut left_out = BTreeMap::new();
        for rows in batches {
            let how = self.how(rows);
            for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
                if how.find(self.schema.fields(), field).is_none() {
                    let values = (column.len() - column.null_count()) as u64;
                    *left_out.entry(field.name().clone()).or_insert(0) += values;
                }
            }
        }
        left_out
    }

    /// What a release wrote that signed nothing is taken to be of this table.
    fn how(&self, rows: &RecordBatch) -> Match {
        match rows.schema_ref().metadata().get(TABLE) {
            Some(uuid) if *uuid != self.uuid => Match::Name,
            _ => Match::Id,
        }
    }

    fn fit_to(&self, rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
        let from = (rows.schema_ref().fields(), rows.columns());
        let columns = fit_columns(from, schema.fields(), (self.how(rows), rows.num_rows()))?;
        batch_of(Arc::clone(schema), columns, rows.num_rows())
    }
}

fn batch_of(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    // Nothing may be left of the columns that events came with.
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

fn fit_columns(
    (fields, columns): (&Fields, &[ArrayRef]),
    to: &Fields,
    (how, rows): (Match, usize),
) -> Result<Vec<ArrayRef>> {
    let fitted = to.iter().map(|wanted| {
        let at = how.find(fields, wanted);
        let found = at.and_then(|at| Some((fields.get(at)?, columns.get(at)?)));
        match found {
            Some((field, column)) => fit_column(column, (field, wanted), how),
            None => Ok(new_null_array(wanted.data_type(), rows)),
        }
    });
    fitted.collect()
}

/// A column in the type that it has now. A value that this cannot hold is not made null.
fn fit_column(column: &ArrayRef, (from, to): (&Field, &Field), how: Match) -> Result<ArrayRef> {
    if column.data_type() == to.data_type() {
        return Ok(Arc::clone(column));
    }
    if let (DataType::Struct(from), DataType::Struct(to)) = (from.data_type(), to.data_type())
        && let Some(structs) = column.as_struct_opt()
    {
        let columns = fit_columns((from, structs.columns()), to, (how, structs.len()))?;
        let fitted = StructArray::try_new(to.clone(), columns, structs.nulls().cloned())?;
        return Ok(Arc::new(fitted));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, to.data_type(), &options).map_err(|error| {
        Error::invalid(format!("events have values that column `{}` cannot hold", to.name()))
            .with_source(error)
    })
}
