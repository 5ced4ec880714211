//! The columns that come out of a join.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::binary;
use arrow::datatypes::{FieldRef, Schema, SchemaRef, TimestampMicrosecondType};
use icecore_core::{Error, Result};

use crate::table::JoinTable;

/// The spine's columns, then those of each table.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    schema: SchemaRef,
    spine_columns: usize,
    tables: Vec<Arc<JoinTable>>,
}

impl Output {
    pub(crate) fn new(spine: &SchemaRef, tables: Vec<Arc<JoinTable>>) -> Self {
        let taken = tables.iter().flat_map(|table| table.presented());
        let fields: Vec<FieldRef> = spine.fields().iter().cloned().chain(taken).collect();
        Self { schema: Arc::new(Schema::new(fields)), spine_columns: spine.fields().len(), tables }
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many columns the spine has.
    pub(crate) fn spine_columns(&self) -> usize {
        self.spine_columns
    }

    /// A batch of the spine with its moments, and what it took from each table.
    pub(crate) fn batch(
        &self,
        spine: &[ArrayRef],
        moments: &Int64Array,
        taken: Vec<Vec<ArrayRef>>,
    ) -> Result<RecordBatch> {
        let mut columns = spine.to_vec();
        for (table, mut taken) in self.tables.iter().zip(taken) {
            let events = if table.takes_event() { taken.pop() } else { None };
            columns.append(&mut taken);
            let Some(events) = events else { continue };
            let age = if table.with_age { Some(age(&events, moments)?) } else { None };
            if table.with_event_timestamp {
                columns.push(events);
            }
            columns.extend(age);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// How long before its moment the event of each row was, in microseconds.
fn age(events: &ArrayRef, moments: &Int64Array) -> Result<ArrayRef> {
    let events = events.as_primitive_opt::<TimestampMicrosecondType>();
    let events = events.ok_or_else(|| Error::internal("an event is no moment"))?;
    let events = Int64Array::new(events.values().clone(), events.nulls().cloned());
    Ok(Arc::new(binary::<_, _, _, arrow::datatypes::Int64Type>(moments, &events, |at, event| {
        at.saturating_sub(event)
    })?))
}
