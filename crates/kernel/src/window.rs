//! Trailing windows: every window and aggregate of a feature view in one pass over sorted events.

mod asked;
mod bounds;
mod counts;
mod distinct;
mod emit;
mod events;
mod histogram;
mod lists;
mod measure;
mod order;
mod pick;
mod plan;
mod quantile;
mod ranked;
mod spread;
mod sums;
#[cfg(test)]
pub(crate) mod tests;

use std::ops::Range;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::{DataType, FieldRef};
use icecore_core::{AggregateFunction, Closed, Emit, Error, Result, Span, TimeRange, Window};

pub use asked::Questions;
use events::Events;
pub(crate) use histogram::classes as histogram_classes;
pub(crate) use lists::column as list_column;
use measure::Measure;
pub(crate) use order::float_key;
pub(crate) use pick::days_between;
use plan::Plan;
pub(crate) use plan::output_type;
pub(crate) use quantile::as_floats;
pub(crate) use spread::square_of_ten_to;
pub(crate) use sums::WindowSums;

/// One column of the output: an aggregate over a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowColumn {
    /// The column's name.
    pub name: String,
    /// What is computed.
    pub function: AggregateFunction,
    /// Over which input. Only `count` and `days_since_last` do without, and then look at rows.
    pub input: Option<usize>,
    /// Only over rows for which this mask is true.
    pub mask: Option<usize>,
    /// Over which window.
    pub window: Window,
    /// Which ends of the window belong to it.
    pub closed: Closed,
}

/// The window features of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSpec {
    /// The columns, in order.
    pub columns: Vec<WindowColumn>,
    /// When there is a row.
    pub emit: Emit,
    /// For scheduled rows: how long after an event rows go on when no other follows; absent means
    /// to the end of the range. An entity that comes back later has no rows for the time between.
    pub idle: Option<Span>,
}

impl WindowSpec {
    /// How long before a row an event that it depends on can lie at most; absent for a lifetime.
    #[must_use]
    pub fn reach(&self) -> Option<Span> {
        let mut reaches = self.columns.iter().map(|column| column.window.reach());
        reaches.try_fold(Span::from_micros(0), |widest, reach| Some(widest.max(reach?)))
    }
}

/// Events of whole entities.
#[derive(Debug, Clone, Copy)]
pub struct EntityEvents<'a> {
    /// When each event happened, in microseconds; ascending inside each entity.
    pub times: &'a [i64],
    /// The rows of each entity, in order and without overlap.
    pub entities: &'a [Range<usize>],
    /// The inputs that columns name by position.
    pub inputs: &'a [ArrayRef],
    /// The masks that columns name by position; null means false.
    pub masks: &'a [BooleanArray],
}

/// The rows that come out, by entity and then by time.
#[derive(Debug, Clone)]
pub struct WindowRows {
    /// An event of the same entity, to take the keys from: for rows at events, that event.
    pub source_rows: UInt64Array,
    /// Each row's moment, in microseconds.
    pub times: Vec<i64>,
    /// The columns of the spec.
    pub columns: Vec<ArrayRef>,
}

/// A part of the work of one call: some of the entities, and some of the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowPiece {
    /// The entities, by position.
    pub entities: Range<usize>,
    /// The rows' moments.
    pub range: TimeRange,
}

/// Computes window features.
///
/// Each aggregate costs a constant number of steps per event and window, amortized, however wide
/// the window is; what only depends on the input (prefix sums, codes of values) is shared by all
/// windows over it. Memory is proportional to the events and rows of one call.
///
/// - Bounds are of a RANGE frame: events of one time are in or out together.
/// - Sums of floats are exact before one rounding, so equal windows have equal sums whatever lay
///   before them. NaN and infinities count as in [`ExactSum`](crate::ExactSum).
/// - Variance, standard deviation, skewness and kurtosis come from exact sums of powers, as in
///   [`PowerSums`](crate::PowerSums), so they too depend on the window's values alone.
/// - Minimum and maximum order floats totally: `-0.0` before `0.0`, NaN after everything.
/// - Distinct counts take NaN for one value and `-0.0` for `0.0`. The approximate one equals a
///   [`HyperLogLog`](crate::HyperLogLog) over the window's values alone.
/// - Lists of the first, last, greatest and least values are Arrow lists, the best one first.
/// - Percentiles equal those of a [`QuantileSketch`](crate::QuantileSketch) over the window's values
///   alone.
/// - Strings come out as `Utf8` and dictionaries as their values.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow::{array::{ArrayRef, Float64Array}, datatypes::DataType};
/// # use icecore_core::{AggregateFunction, Closed, Emit, Span, TimeRange, Window};
/// # use icecore_kernel::{EntityEvents, WindowColumn, WindowKernel, WindowSpec};
/// # fn main() -> icecore_core::Result<()> {
/// let spend = WindowColumn {
///     name: "spend_10us".into(),
///     function: AggregateFunction::Sum,
///     input: Some(0),
///     mask: None,
///     window: Window::last(Span::from_micros(10)),
///     closed: Closed::Both,
/// };
/// let spec = WindowSpec { columns: vec![spend], emit: Emit::EachEvent, idle: None };
/// let kernel = WindowKernel::try_new(spec, &[DataType::Float64])?;
///
/// let amounts: ArrayRef = Arc::new(Float64Array::from(vec![0.1, 0.2, 0.3]));
/// let events = EntityEvents { times: &[0, 10, 11], entities: &[0..3], inputs: &[amounts], masks: &[] };
/// let rows = kernel.evaluate(&events, TimeRange::default())?;
/// assert_eq!(rows.columns[0].as_ref(), &Float64Array::from(vec![0.1, 0.1 + 0.2, 0.5]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct WindowKernel {
    spec: WindowSpec,
    plan: Plan,
    fields: Vec<FieldRef>,
    input_types: Vec<DataType>,
}

impl WindowKernel {
    /// Checks the columns against the types of the inputs.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](icecore_core::ErrorKind::InvalidInput) for a function that its
    /// input does not have, naming the column.
    pub fn try_new(spec: WindowSpec, input_types: &[DataType]) -> Result<Self> {
        let field = |column| plan::output_field(column, input_types);
        let fields = spec.columns.iter().map(field).collect::<Result<_>>()?;
        if let Emit::Every { every, .. } = spec.emit
            && every.micros() <= 0
        {
            return Err(Error::invalid("rows cannot come every `0us`"));
        }
        let plan = Plan::new(&spec);
        Ok(Self { spec, plan, fields, input_types: input_types.to_vec() })
    }

    /// The fields of the output, one for each column of the spec.
    #[must_use]
    pub fn output_fields(&self) -> &[FieldRef] {
        &self.fields
    }

    /// Cuts the work so that [`evaluate`](Self::evaluate) gives at most about `rows_max` rows for a
    /// piece. Together the pieces give the same rows in the same order. Only scheduled rows can
    /// be more than there are events, so for all else there is one piece.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate), except for sums.
    pub fn split(
        &self,
        events: &EntityEvents<'_>,
        range: TimeRange,
        rows_max: usize,
    ) -> Result<Vec<WindowPiece>> {
        let events = Events::try_new(*events, &self.input_types)?;
        emit::split(&self.spec, &events, range, rows_max)
    }

    /// Computes the rows whose moments lie in `range`, from all the events.
    ///
    /// Events that lie further before the range than the [`reach`](WindowSpec::reach) of the spec
    /// change nothing, so an entity's rows can be computed range after range, from what each of them
    /// needs.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](icecore_core::ErrorKind::InvalidInput) for a sum that does not
    /// fit, naming the column, and for [`Emit::Every`] without an end of the range;
    /// [`ErrorKind::LimitExceeded`](icecore_core::ErrorKind::LimitExceeded) for 2^32 events or rows
    /// in one call; [`ErrorKind::Internal`](icecore_core::ErrorKind::Internal) for events that are
    /// not as [`EntityEvents`] says.
    pub fn evaluate(&self, events: &EntityEvents<'_>, range: TimeRange) -> Result<WindowRows> {
        let events = Events::try_new(*events, &self.input_types)?;
        let rows = emit::rows(&self.spec, &events, range)?;
        let columns = self.columns(&events, &rows)?;
        let source_rows = rows.sources.iter().map(|row| u64::from(*row)).collect::<Vec<_>>();
        Ok(WindowRows { source_rows: source_rows.into(), times: rows.moments, columns })
    }

    /// The columns of these rows.
    fn columns(&self, events: &Events<'_>, rows: &emit::Rows) -> Result<Vec<ArrayRef>> {
        let bounds = bounds::all(self.plan.frames(), events, rows);
        let mut columns = vec![None; self.fields.len()];
        for planned in self.plan.measures() {
            let measure = Measure::try_new(planned, events, rows)?;
            for job in planned.jobs() {
                let (Some(field), Some(column)) =
                    (self.fields.get(job.column), columns.get_mut(job.column))
                else {
                    continue;
                };
                *column = Some(measure.evaluate(job, field, bounds.of(job.frame))?);
            }
        }
        let columns = columns.into_iter().collect::<Option<Vec<_>>>();
        columns.ok_or_else(|| Error::internal("a window column was not planned"))
    }
}
