//! What becomes of joined rows before they are written: filters, labels that are not settled, parts.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, nullif};
use arrow::datatypes::{Schema, SchemaRef};
use icecore_core::{Error, Location, Result, Span, Timestamp};
use icecore_engine::{Engine, RowTest};
use icecore_pit::moment_micros;
use serde::{Deserialize, Serialize};

use crate::lock::DatasetPlan;
use crate::parts::Parts;

/// What to do with rows whose label may still change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unmatured {
    /// They stay, without a label: nothing learns from them.
    #[default]
    Null,
    /// They are left out.
    Drop,
    /// They stay as they are.
    Keep,
    /// The build fails.
    Refuse,
}

/// When labels are settled, as a lock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedMaturity {
    /// How long after its moment the label of a row is settled.
    pub after: Span,
    /// The moment up to which outcomes are known.
    pub as_of: Timestamp,
    /// What becomes of rows that are not.
    pub unmatured: Unmatured,
}

/// A feature that only others are computed from is no column of the set, until it is asked for.
fn with_helper(plan: &DatasetPlan, error: Error) -> Error {
    let message = error.to_string();
    for view in &plan.views {
        for helper in view.on_demand.iter().flat_map(|on_demand| &on_demand.helpers) {
            if message.contains(&format!("`{helper}`")) {
                return error.with_help(format!("add `{}:{helper}` to `features`", view.name));
            }
        }
    }
    error
}

fn located(error: Error, at: Option<&Location>) -> Error {
    match at {
        Some(at) => error.at(at.clone()),
        None => error,
    }
}

/// The steps of a plan after the join.
#[derive(Debug)]
pub(crate) struct Shaping {
    filter: Option<(Arc<dyn RowTest>, Vec<usize>)>,
    /// Where the filter stands in the definition, if that is at hand.
    written: Option<Location>,
    maturity: Option<LockedMaturity>,
    moment: usize,
    label: Option<usize>,
    parts: Option<Parts>,
}

impl Shaping {
    /// Finds what a plan names in the set's columns.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a filter that cannot be asked, or a column that is not there.
    pub(crate) fn new(
        engine: &Engine,
        plan: &DatasetPlan,
        (schema, hidden): (&SchemaRef, &[String]),
        written: Option<Location>,
    ) -> Result<Self> {
        let place = |name: &str| Ok::<_, Error>(schema.index_of(name)?);
        let filter = match &plan.filter {
            None => None,
            Some(condition) => {
                let fields = schema.fields().iter();
                let shown = fields.filter(|field| !hidden.contains(field.name())).cloned();
                let shown = Arc::new(Schema::new(shown.collect::<Vec<_>>()));
                let test = engine.row_test(&shown, condition);
                let test =
                    test.map_err(|error| located(with_helper(plan, error), written.as_ref()))?;
                let columns = test.columns();
                let columns = columns.iter().map(|name| place(name)).collect::<Result<_>>()?;
                Some((test, columns))
            }
        };
        let parts = plan.split.as_ref().map(|split| Parts::new(plan, split, schema)).transpose()?;
        Ok(Self {
            filter,
            written,
            maturity: plan.maturity,
            moment: place(&plan.event_timestamp)?,
            label: plan.label.as_deref().map(place).transpose()?,
            parts,
        })
    }

    /// The columns that come out.
    pub(crate) fn schema(&self, schema: &SchemaRef) -> SchemaRef {
        match &self.parts {
            None => Arc::clone(schema),
            Some(_) => {
                let fields = schema.fields().iter().cloned().chain([Parts::field()]);
                Arc::new(Schema::new(fields.collect::<Vec<_>>()))
            }
        }
    }

    /// The rows that stay.
    pub(crate) fn apply(&self, batch: RecordBatch, output: &SchemaRef) -> Result<RecordBatch> {
        let mut batch = batch;
        if let Some((test, columns)) = &self.filter {
            let passes = test.passes(&batch.project(columns)?);
            let passes = passes.map_err(|error| located(error, self.written.as_ref()))?;
            batch = filter_record_batch(&batch, &passes)?;
        }
        if let Some(maturity) = &self.maturity {
            batch = self.matured(batch, maturity)?;
        }
        let Some(parts) = &self.parts else { return Ok(batch) };
        let part = parts.of(&batch)?;
        let columns = batch.columns().iter().cloned().chain([part]).collect();
        Ok(RecordBatch::try_new(Arc::clone(output), columns)?)
    }

    fn matured(&self, batch: RecordBatch, maturity: &LockedMaturity) -> Result<RecordBatch> {
        let moments = moment_micros(batch.column(self.moment))?;
        let latest = maturity.as_of.micros().saturating_sub(maturity.after.micros());
        let early = |moment: Option<i64>| moment.is_none_or(|moment| moment > latest);
        let unmatured = BooleanArray::from_iter(moments.iter().map(|at| Some(early(at))));
        match maturity.unmatured {
            Unmatured::Keep => Ok(batch),
            Unmatured::Drop => {
                let matured = arrow::compute::not(&unmatured)?;
                Ok(filter_record_batch(&batch, &matured)?)
            }
            Unmatured::Null => {
                let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
                // A set without a label has none that could not be settled.
                if let Some(label) = self.label.and_then(|at| columns.get_mut(at)) {
                    *label = nullif(label, &unmatured)?;
                }
                Ok(RecordBatch::try_new(batch.schema(), columns)?)
            }
            Unmatured::Refuse => match unmatured.true_count() {
                0 => Ok(batch),
                count => Err(Error::invalid(format!(
                    "the labels of {count} rows are not settled: their moments lie after `{}`",
                    Timestamp::from_micros(latest)
                ))
                .with_help("end the spine earlier, or set `unmatured` to \"null\" or \"drop\"")),
            },
        }
    }
}
