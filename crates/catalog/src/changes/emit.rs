//! Batches of changes.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use icecore_core::Result;
use tokio::sync::mpsc;

use super::net::Stop;
use super::rows::Side;
use super::tally::Fingerprints;
use super::{BATCH_ROWS, Step};

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Insert,
    Delete,
    UpdateBefore,
    UpdateAfter,
}

impl Kind {
    pub(super) const fn of(side: Side) -> Self {
        match side {
            Side::Gone => Self::Delete,
            Side::Come => Self::Insert,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Delete => "delete",
            Self::UpdateBefore => "update_before",
            Self::UpdateAfter => "update_after",
        }
    }
}

/// Where changes go.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) schema: SchemaRef,
    /// The places of the key's columns.
    pub(super) key: Vec<usize>,
    pub(super) sender: mpsc::Sender<Result<RecordBatch>>,
}

/// The rows of one key: places among the batches of both sides.
#[derive(Debug, Default)]
struct Group {
    gone: Vec<(usize, usize)>,
    come: Vec<(usize, usize)>,
}

impl Output {
    /// Hands on rows to all of which the same happened.
    pub(super) async fn rows(
        &self,
        step: &Step,
        rows: &RecordBatch,
        kind: Kind,
    ) -> Result<(), Stop> {
        let kinds = vec![kind; rows.num_rows()];
        self.send(step, rows, &kinds).await
    }

    /// Hands on rows as updates where both sides have one of the same key. The first of one side
    /// belongs to the first of the other, and so on; what is left was deleted or inserted.
    pub(super) async fn pairs(
        &self,
        step: &Step,
        gone: &[RecordBatch],
        come: &[RecordBatch],
    ) -> Result<(), Stop> {
        let batches: Vec<&RecordBatch> = gone.iter().chain(come).collect();
        let Some(first) = batches.first() else { return Ok(()) };
        let keys = Fingerprints::of(&first.schema(), self.key.clone())?;
        let mut groups: Vec<Group> = Vec::new();
        let mut group_of: HashMap<u128, usize> = HashMap::new();
        for (number, batch) in batches.iter().enumerate() {
            for (row, key) in keys.rows(batch)?.into_iter().enumerate() {
                let index = *group_of.entry(key).or_insert(groups.len());
                if index == groups.len() {
                    groups.push(Group::default());
                }
                let Some(group) = groups.get_mut(index) else { continue };
                if number < gone.len() {
                    group.gone.push((number, row));
                } else {
                    group.come.push((number, row));
                }
            }
        }
        let changes: Vec<((usize, usize), Kind)> = groups.iter().flat_map(in_order).collect();
        for chunk in changes.chunks(BATCH_ROWS) {
            let places: Vec<(usize, usize)> = chunk.iter().map(|(place, _)| *place).collect();
            let kinds: Vec<Kind> = chunk.iter().map(|(_, kind)| *kind).collect();
            self.send(step, &interleave_record_batch(&batches, &places)?, &kinds).await?;
        }
        Ok(())
    }

    async fn send(&self, step: &Step, rows: &RecordBatch, kinds: &[Kind]) -> Result<(), Stop> {
        let count = rows.num_rows();
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        columns.push(Arc::new(StringArray::from_iter_values(kinds.iter().map(|k| k.as_str()))));
        columns.push(Arc::new(Int64Array::from(vec![step.commit; count])));
        columns.push(Arc::new(Int64Array::from(vec![step.ordinal; count])));
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        self.sender.send(Ok(batch)).await.map_err(|_| Stop::NobodyListens)
    }
}

/// The changes of one key.
fn in_order(group: &Group) -> Vec<((usize, usize), Kind)> {
    let pairs = group.gone.iter().zip(&group.come);
    let mut changes: Vec<((usize, usize), Kind)> = pairs
        .flat_map(|(old, new)| [(*old, Kind::UpdateBefore), (*new, Kind::UpdateAfter)])
        .collect();
    let paired = group.gone.len().min(group.come.len());
    changes.extend(group.gone.iter().skip(paired).map(|place| (*place, Kind::Delete)));
    changes.extend(group.come.iter().skip(paired).map(|place| (*place, Kind::Insert)));
    changes
}
