//! The as-of merge of one partition: spine rows and feature rows, both in order of key and time.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::interleave;
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::row::{RowConverter, Rows};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use icecore_core::{Knowledge, Result};
use icecore_engine::from_datafusion;
use icecore_kernel::{AsOfMatcher, AsOfOptions, Candidates, Moments, Progress};

/// How many batches of feature rows may wait for the output that takes rows from them.
const KEPT_MAX: usize = 32;

/// Activation, event, created: the columns of microseconds between a feature batch's keys and the
/// columns to take.
pub(crate) const FEATURE_TIMES: usize = 3;

/// What the merge finds where.
#[derive(Debug)]
pub(crate) struct MergeSpec {
    /// The spine's key columns.
    pub(crate) keys: Vec<usize>,
    /// The spine's column of microseconds.
    pub(crate) moment: usize,
    /// When each state of the feature table was committed, where states decide: the number of the
    /// state that a moment falls in is compared like a key.
    pub(crate) epochs: Option<Arc<[i64]>>,
    /// What a spine row may see.
    pub(crate) options: AsOfOptions,
    /// The spine's columns, then the taken ones.
    pub(crate) output: SchemaRef,
}

/// Joins one partition. Comes out in the order of `spine`, one row for each of its rows.
pub(crate) fn merge(
    spec: Arc<MergeSpec>,
    converter: RowConverter,
    spine: SendableRecordBatchStream,
    features: SendableRecordBatchStream,
) -> SendableRecordBatchStream {
    let output = Arc::clone(&spec.output);
    let taken = output.fields().iter().skip(spine.schema().fields().len());
    let merge = Merge {
        nothing: taken.map(|field| new_null_array(field.data_type(), 1)).collect(),
        matcher: AsOfMatcher::new(spec.options),
        spec,
        converter,
        spine,
        features,
        left: None,
        right: None,
        ended: false,
        kept: Vec::new(),
        matches: Vec::new(),
    };
    let batches = futures::stream::try_unfold(merge, |mut merge| async move {
        let batch = merge.next().await.map_err(|error| DataFusionError::External(error.into()))?;
        Ok(batch.map(|batch| (batch, merge)))
    });
    Box::pin(RecordBatchStreamAdapter::new(output, batches))
}

struct Merge {
    spec: Arc<MergeSpec>,
    converter: RowConverter,
    matcher: AsOfMatcher,
    spine: SendableRecordBatchStream,
    features: SendableRecordBatchStream,
    left: Option<Left>,
    right: Option<Right>,
    /// Whether there are no more features.
    ended: bool,
    /// Batches that matches point at or may point at, in order. The last is the one in `right`.
    kept: Vec<Kept>,
    /// One row of nulls of the taken columns.
    nothing: Vec<ArrayRef>,
    /// What the rows of `left` see that did not come out yet.
    matches: Vec<Option<u64>>,
}

/// A batch of the spine, and how much of it has come out.
struct Left {
    batch: RecordBatch,
    keys: Rows,
    moments: Int64Array,
    /// Where neither a key nor the moment is null.
    valid: Option<NullBuffer>,
    done: usize,
}

impl Left {
    fn moments(&self) -> Moments<'_> {
        Moments { keys: &self.keys, times: self.moments.values(), valid: self.valid.as_ref() }
    }
}

/// The batch of features that is being read.
struct Right {
    keys: Rows,
    events: Int64Array,
    created: Int64Array,
}

impl Right {
    fn candidates(&self) -> Candidates<'_> {
        Candidates {
            keys: &self.keys,
            events: self.events.values(),
            created: Some(self.created.values()),
            valid: None,
        }
    }
}

/// The taken columns of a batch of features, by its first row's number.
struct Kept {
    start: u64,
    rows: usize,
    taken: Vec<ArrayRef>,
    /// Whether a match that did not come out yet points here.
    used: bool,
}

impl Merge {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let left = match self.left.take() {
            Some(left) => left,
            None => match self.spine.next().await {
                Some(batch) => self.load_spine(batch.map_err(from_datafusion)?)?,
                None => return Ok(None),
            },
        };
        loop {
            let answered = self.matches.len();
            let progress = self.advance(&left)?;
            self.mark_used(answered);
            match progress {
                Progress::NeedMoments => return self.put_out(left).map(Some),
                Progress::NeedCandidates => {
                    self.load_features().await?;
                    if self.kept.len() > KEPT_MAX && !self.matches.is_empty() {
                        return self.put_out(left).map(Some);
                    }
                }
            }
        }
    }

    fn advance(&mut self, left: &Left) -> Result<Progress> {
        match &self.right {
            Some(right) => {
                self.matcher.advance(left.moments(), right.candidates(), &mut self.matches)
            }
            None if self.ended => {
                self.matcher.finish(left.moments(), &mut self.matches)?;
                Ok(Progress::NeedMoments)
            }
            None => Ok(Progress::NeedCandidates),
        }
    }

    fn load_spine(&self, batch: RecordBatch) -> Result<Left> {
        let mut keys: Vec<ArrayRef> =
            self.spec.keys.iter().map(|&key| Arc::clone(batch.column(key))).collect();
        let moments = batch.column(self.spec.moment).as_primitive::<Int64Type>().clone();
        if let Some(epochs) = &self.spec.epochs {
            keys.push(Arc::new(epochs_of(epochs, &moments)));
        }
        let valid = keys.iter().fold(moments.nulls().cloned(), |nulls, key| {
            NullBuffer::union(nulls.as_ref(), key.logical_nulls().as_ref())
        });
        let keys = self.converter.convert_columns(&keys)?;
        Ok(Left { batch, keys, moments, valid, done: 0 })
    }

    async fn load_features(&mut self) -> Result<()> {
        let oldest = self.matcher.oldest_needed();
        let start = self.kept.last().map_or(0, |kept| kept.start + kept.rows as u64);
        match self.features.next().await {
            None => {
                self.right = None;
                self.ended = true;
            }
            Some(batch) => {
                let batch = batch.map_err(from_datafusion)?;
                let (keys, others) = batch
                    .columns()
                    .split_at(self.spec.keys.len() + usize::from(self.spec.epochs.is_some()));
                let (times, taken) = others.split_at(FEATURE_TIMES);
                let time = |time: usize| times[time].as_primitive::<Int64Type>().clone();
                let keys = self.converter.convert_columns(keys)?;
                // Where it decides when a row was known, that and not when it was created.
                let known = self.spec.options.knowledge == Knowledge::Created;
                let created = time(if known { 0 } else { 2 });
                self.right = Some(Right { keys, events: time(1), created });
                let rows = batch.num_rows();
                self.kept.push(Kept { start, rows, taken: taken.to_vec(), used: false });
            }
        }
        // The last batch stays: it tells where the next one starts.
        let last = self.kept.last().map(|kept| kept.start);
        self.kept.retain(|kept| {
            kept.used || kept.start + kept.rows as u64 > oldest || Some(kept.start) == last
        });
        Ok(())
    }

    fn mark_used(&mut self, from: usize) {
        for row in self.matches.iter().skip(from).flatten() {
            let after = self.kept.partition_point(|kept| kept.start <= *row);
            if let Some(kept) = after.checked_sub(1).and_then(|at| self.kept.get_mut(at)) {
                kept.used = true;
            }
        }
    }

    /// The rows of the spine that have an answer, with what they see.
    fn put_out(&mut self, mut left: Left) -> Result<RecordBatch> {
        let rows = left.batch.slice(left.done, self.matches.len());
        left.done += self.matches.len();
        let mut columns = rows.columns().to_vec();
        columns.extend(self.gather()?);
        self.matches.clear();
        self.kept.iter_mut().for_each(|kept| kept.used = false);
        if left.done < left.batch.num_rows() {
            self.left = Some(left);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.spec.output), columns)?)
    }

    /// The taken columns of the matches.
    fn gather(&self) -> Result<Vec<ArrayRef>> {
        let place = |row: &Option<u64>| {
            row.map_or((0, 0), |row| {
                let batch = self.kept.partition_point(|kept| kept.start <= row);
                let start = batch.checked_sub(1).and_then(|at| self.kept.get(at));
                (batch, start.map_or(0, |kept| (row - kept.start) as usize))
            })
        };
        let places: Vec<(usize, usize)> = self.matches.iter().map(place).collect();
        let columns = self.nothing.iter().enumerate().map(|(column, nothing)| {
            let batches = self.kept.iter().map(|kept| kept.taken[column].as_ref());
            let values: Vec<&dyn Array> =
                std::iter::once(nothing.as_ref()).chain(batches).collect();
            Ok(interleave(&values, &places)?)
        });
        columns.collect()
    }
}

/// The number of the state that each moment falls in, null before the first one.
fn epochs_of(epochs: &[i64], moments: &Int64Array) -> Int64Array {
    let epoch = |moment: i64| {
        let after = epochs.partition_point(|committed| *committed <= moment);
        after.checked_sub(1).and_then(|epoch| i64::try_from(epoch).ok())
    };
    moments.iter().map(|moment| moment.and_then(epoch)).collect()
}
