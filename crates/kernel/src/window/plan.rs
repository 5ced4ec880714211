//! What is computed from which input, so that columns share what they have in common.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef};
use icecore_core::{AggregateFunction, Error, ErrorKind, Result, Window};

use super::{WindowColumn, WindowSpec};

/// The columns by what they look at, and the different windows.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    windows: Vec<Window>,
    measures: Vec<PlannedMeasure>,
}

/// Columns over one input with one mask.
#[derive(Debug, Clone)]
pub(crate) struct PlannedMeasure {
    pub(crate) input: Option<usize>,
    pub(crate) mask: Option<usize>,
    jobs: Vec<Job>,
}

/// One column to compute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    pub(crate) column: usize,
    pub(crate) function: AggregateFunction,
    /// The position of its window in [`Plan::windows`].
    pub(crate) window: usize,
}

impl Plan {
    pub(crate) fn new(spec: &WindowSpec) -> Self {
        let mut plan = Self { windows: Vec::new(), measures: Vec::new() };
        for (column, of) in spec.columns.iter().enumerate() {
            let window = position_or_push(&mut plan.windows, |w| *w == of.window, || of.window);
            let same = |m: &PlannedMeasure| (m.input, m.mask) == (of.input, of.mask);
            let new = || PlannedMeasure { input: of.input, mask: of.mask, jobs: Vec::new() };
            let measure = position_or_push(&mut plan.measures, same, new);
            plan.measures[measure].jobs.push(Job { column, function: of.function, window });
        }
        plan
    }

    pub(crate) fn windows(&self) -> &[Window] {
        &self.windows
    }

    pub(crate) fn measures(&self) -> &[PlannedMeasure] {
        &self.measures
    }
}

impl PlannedMeasure {
    pub(crate) fn jobs(&self) -> &[Job] {
        &self.jobs
    }
}

fn position_or_push<T>(
    items: &mut Vec<T>,
    is: impl FnMut(&T) -> bool,
    new: impl FnOnce() -> T,
) -> usize {
    items.iter().position(is).unwrap_or_else(|| {
        items.push(new());
        items.len() - 1
    })
}

/// The field that a column has in the output.
pub(crate) fn output_field(column: &WindowColumn, inputs: &[DataType]) -> Result<FieldRef> {
    let name = &column.name;
    if let Window::Last(span) = column.window
        && span.micros() <= 0
    {
        return Err(Error::invalid(format!("the window of `{name}` has no length")));
    }
    let input = match column.input {
        Some(index) => Some(plain(inputs.get(index).ok_or_else(|| {
            Error::internal(format!("`{name}` names input {index} of {}", inputs.len()))
        })?)),
        None => None,
    };
    let function = column.function;
    let (data_type, nullable) = match (function, input) {
        (AggregateFunction::Count, _) => (DataType::Int64, false),
        (AggregateFunction::DaysSinceLast, _) => (DataType::Int64, true),
        (_, None) => {
            let message = format!("`{name}` needs a column; only `count` does without");
            return Err(Error::invalid(message));
        }
        (AggregateFunction::Sum, Some(input)) => (sum_type(name, input)?, true),
        (
            AggregateFunction::Mean
            | AggregateFunction::Variance
            | AggregateFunction::Stddev
            | AggregateFunction::Skewness
            | AggregateFunction::Kurtosis,
            Some(input),
        ) => {
            sum_type(name, input)?;
            (DataType::Float64, true)
        }
        (
            AggregateFunction::CountDistinct | AggregateFunction::ApproxCountDistinct,
            Some(input),
        ) => {
            if !is_ordered(input) {
                return Err(unsupported(name, input));
            }
            (DataType::Int64, false)
        }
        (
            AggregateFunction::Min
            | AggregateFunction::Max
            | AggregateFunction::First
            | AggregateFunction::Last,
            Some(input),
        ) => {
            if !is_ordered(input) {
                return Err(unsupported(name, input));
            }
            (input.clone(), true)
        }
        (other, Some(_)) => {
            let message = format!("`{name}`: windows do not compute `{other:?}`");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    Ok(Arc::new(Field::new(name, data_type, nullable)))
}

/// The type that values of an input have in the output.
pub(crate) fn plain(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, value) => plain(value),
        DataType::LargeUtf8 | DataType::Utf8View => &DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => &DataType::Binary,
        other => other,
    }
}

fn sum_type(name: &str, input: &DataType) -> Result<DataType> {
    if input.is_integer() {
        return Ok(DataType::Int64);
    }
    match input {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Ok(DataType::Float64),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale) => {
            Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, *scale))
        }
        DataType::Boolean => Err(Error::invalid(format!("`{name}` adds up booleans"))
            .with_help("use `count` with a `where`")),
        other => Err(Error::invalid(format!("`{name}` adds up values of type `{other}`"))),
    }
}

/// Whether values of the type have an order and an identity here.
fn is_ordered(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_floating()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Utf8
                | DataType::Binary
                | DataType::FixedSizeBinary(_)
                | DataType::Date32
                | DataType::Date64
                | DataType::Time32(_)
                | DataType::Time64(_)
                | DataType::Timestamp(_, _)
                | DataType::Decimal32(_, _)
                | DataType::Decimal64(_, _)
                | DataType::Decimal128(_, _)
        )
}

fn unsupported(name: &str, input: &DataType) -> Error {
    let message = format!("`{name}` looks at values of type `{input}`, which windows do not take");
    Error::new(ErrorKind::Unsupported, message).with_help("cast the column to a plain type")
}
