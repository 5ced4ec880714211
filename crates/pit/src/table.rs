//! One feature table of a join: what it takes, checked against the spine and the table.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, binary, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use icecore_core::{FeatureTable, Knowledge, PitOptions, Result, Span};
use icecore_kernel::AsOfOptions;

use crate::check;
use crate::moment;
use crate::source::FeatureSource;

/// A feature table whose columns were found.
#[derive(Debug)]
pub(crate) struct JoinTable {
    pub(crate) feature: FeatureTable,
    /// The spine's key columns, ascending, each with the feature table's.
    pub(crate) keys: Vec<(usize, String)>,
    /// The keys' types: those of the spine.
    pub(crate) key_types: Vec<DataType>,
    pub(crate) options: AsOfOptions,
    /// What is taken: features, then the event timestamp where it or the age comes out.
    pub(crate) output: Vec<FieldRef>,
    pub(crate) with_event_timestamp: bool,
    pub(crate) with_age: bool,
    /// Whether a row also has to be created by the moment.
    by_created: bool,
    delay_micros: Option<i64>,
    /// When each state of the table was committed, ascending, where states decide.
    pub(crate) epochs: Option<Arc<[i64]>>,
    /// The column with the newest event behind a row, where that is not its event timestamp.
    newest: Option<String>,
}

impl JoinTable {
    /// Finds everything that `feature` names in the spine and in the feature table.
    ///
    /// # Errors
    ///
    /// `InvalidInput`, naming the view and the column, if one is missing or cannot be joined.
    pub(crate) fn new(
        feature: FeatureTable,
        spine: &SchemaRef,
        source: &dyn FeatureSource,
        options: PitOptions,
    ) -> Result<Self> {
        let schema = &source.schema();
        let newest = source.newest().map(str::to_owned);
        let knowledge = match newest {
            // Whoever made the rows has seen to it.
            Some(_) => Knowledge::Event,
            None => check::knowledge(&feature, feature.knowledge.or(options.knowledge))?,
        };
        let keys = check::keys(&feature, spine, schema)?;
        let created = feature.created_timestamp.as_ref().filter(|_| newest.is_none());
        for name in [&feature.event_timestamp].into_iter().chain(created).chain(&newest) {
            check::moment(&feature.view, check::column(&feature.view, schema, name)?)?;
        }
        let mut output = Vec::new();
        for (name, output_name) in &feature.columns {
            let data_type = plain(check::column(&feature.view, schema, name)?.data_type());
            output.push(Arc::new(Field::new(output_name, data_type, true)));
        }
        if options.with_event_timestamps || options.with_ages {
            let name = format!("{}__event_timestamp", feature.view);
            output.push(Arc::new(Field::new(name, moment::moment_type(), true)));
        }
        let is_exact = newest.is_some();
        let delay = feature.delay.map(Span::micros).filter(|delay| *delay > 0 && !is_exact);
        Ok(Self {
            key_types: keys.iter().map(|(at, _)| spine.field(*at).data_type().clone()).collect(),
            keys,
            options: AsOfOptions {
                ttl_micros: if is_exact { Some(0) } else { feature.ttl.map(Span::micros) },
                strict: (options.strict || feature.strict) && !is_exact,
                // Where states decide, all rows of a state are known in its time.
                knowledge: match knowledge {
                    Knowledge::Created => Knowledge::Created,
                    _ if delay.is_some() => Knowledge::Created,
                    _ => Knowledge::Event,
                },
            },
            by_created: knowledge == Knowledge::Created,
            delay_micros: delay,
            with_age: options.with_ages,
            epochs: source.epochs(),
            output,
            with_event_timestamp: options.with_event_timestamps,
            feature: FeatureTable {
                created_timestamp: feature.created_timestamp.filter(|_| !is_exact),
                ..feature
            },
            newest,
        })
    }

    /// The spine's key columns.
    pub(crate) fn spine_keys(&self) -> Vec<usize> {
        self.keys.iter().map(|(at, _)| *at).collect()
    }

    /// The column that says when a row was created, where that decides.
    pub(crate) fn deciding_created(&self) -> Option<&str> {
        self.feature.created_timestamp.as_deref().filter(|_| self.by_created)
    }

    /// How long a row cannot be seen at first, in microseconds.
    pub(crate) fn delay_micros(&self) -> i64 {
        self.delay_micros.unwrap_or(0)
    }

    /// Whether the last of `output` is the event timestamp.
    pub(crate) fn takes_event(&self) -> bool {
        self.with_event_timestamp || self.with_age
    }

    /// What it adds to the spine.
    pub(crate) fn presented(&self) -> Vec<FieldRef> {
        let mut fields = self.output.clone();
        if self.takes_event() && !self.with_event_timestamp {
            fields.pop();
        }
        if self.with_age {
            let name = format!("{}__age_us", self.feature.view);
            fields.push(Arc::new(Field::new(name, DataType::Int64, true)));
        }
        fields
    }

    /// The columns to read, each once.
    pub(crate) fn reads(&self) -> Vec<&str> {
        let keys = self.keys.iter().map(|(_, own)| own);
        let taken = self.feature.columns.iter().map(|(name, _)| name);
        let times =
            std::iter::once(&self.feature.event_timestamp).chain(&self.feature.created_timestamp);
        let times = times.chain(&self.newest);
        let reads: BTreeSet<&str> = keys.chain(taken).chain(times).map(String::as_str).collect();
        reads.into_iter().collect()
    }

    /// The types of the columns that the merge compares.
    pub(crate) fn compared_types(&self) -> impl Iterator<Item = DataType> {
        self.key_types.iter().cloned().chain(self.epochs.as_ref().map(|_| DataType::Int64))
    }

    /// The layout of [`prepare`](Self::prepare)'s batches: the compared columns, activation, event,
    /// created, then what is taken.
    pub(crate) fn prepared_schema(&self) -> SchemaRef {
        let key = |(at, data_type): (usize, DataType)| {
            Arc::new(Field::new(format!("key_{at}"), data_type, true))
        };
        let times = ["activation", "event", "created"]
            .map(|name| Arc::new(Field::new(name, DataType::Int64, true)));
        let keys = self.compared_types().enumerate().map(key);
        let fields: Vec<FieldRef> = keys.chain(times).chain(self.output.iter().cloned()).collect();
        Arc::new(Schema::new(fields))
    }

    /// Brings a batch of the feature table into the layout that the merge reads, without the rows
    /// that can join nothing: those with a null key, no event, or no moment of being known. `epoch`
    /// is the number of the state that the batch is from.
    pub(crate) fn prepare(
        &self,
        batch: &RecordBatch,
        schema: &SchemaRef,
        epoch: Option<i64>,
    ) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(schema.fields().len());
        let mut valid: Option<NullBuffer> = None;
        for ((_, own), data_type) in self.keys.iter().zip(&self.key_types) {
            // A key that does not fit the spine's narrower integers equals none of them.
            let key = as_type(self.named(batch, own)?, data_type)?;
            valid = NullBuffer::union(valid.as_ref(), key.logical_nulls().as_ref());
            columns.push(key);
        }
        if let Some(epoch) = epoch {
            columns.push(Arc::new(Int64Array::from_value(epoch, batch.num_rows())));
        }
        let events = moment::micros(self.named(batch, &self.feature.event_timestamp)?)?;
        valid = NullBuffer::union(valid.as_ref(), events.nulls());
        let mut created = match &self.feature.created_timestamp {
            Some(name) => moment::micros(self.named(batch, name)?)?,
            None => events.clone(),
        };
        let mut activation = match self.by_created {
            true => binary(&events, &created, i64::max)?,
            false => events.clone(),
        };
        if self.by_created {
            valid = NullBuffer::union(valid.as_ref(), created.nulls());
        } else if created.null_count() > 0 {
            // Of rows of one event, one that does not say when it was created is the oldest.
            created = Int64Array::from_iter_values(created.iter().map(|at| at.unwrap_or(i64::MIN)));
        }
        if let Some(delay) = self.delay_micros {
            activation = activation.unary(|known: i64| known.saturating_add(delay));
        }
        let moments =
            TimestampMicrosecondArray::new(events.values().clone(), events.nulls().cloned());
        columns.extend([Arc::new(activation) as ArrayRef, Arc::new(events), Arc::new(created)]);
        for ((name, _), field) in self.feature.columns.iter().zip(&self.output) {
            columns.push(match batch.column_by_name(name) {
                // An earlier state has no column that was added later.
                None if epoch.is_some() => new_null_array(field.data_type(), batch.num_rows()),
                _ => as_type(self.named(batch, name)?, field.data_type())?,
            });
        }
        if self.takes_event() {
            columns.push(match &self.newest {
                Some(newest) => as_type(self.named(batch, newest)?, &moment::moment_type())?,
                None => Arc::new(moments.with_timezone("+00:00")),
            });
        }
        let prepared = RecordBatch::try_new(Arc::clone(schema), columns)?;
        match valid.filter(|valid| valid.null_count() > 0) {
            Some(valid) => {
                let joins = BooleanArray::new(valid.into_inner(), None);
                Ok(filter_record_batch(&prepared, &joins)?)
            }
            None => Ok(prepared),
        }
    }

    fn named<'a>(&self, batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
        batch
            .column_by_name(name)
            .ok_or_else(|| check::missing(&self.feature.view, &batch.schema(), name))
    }
}

/// A type without its encoding.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, value) => plain(value),
        other => other.clone(),
    }
}

/// A column in another encoding or width; what does not fit becomes null.
fn as_type(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if column.data_type() == data_type {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    if let (DataType::BinaryView, DataType::FixedSizeBinary(_)) = (column.data_type(), data_type) {
        // There is no way between the two but by a third.
        let bytes = cast_with_options(column, &DataType::LargeBinary, &options)?;
        return Ok(cast_with_options(&bytes, data_type, &options)?);
    }
    Ok(cast_with_options(column, data_type, &options)?)
}
