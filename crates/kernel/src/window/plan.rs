//! What is computed from which input, so that columns share what they have in common.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef};
use icecore_core::{AggregateFunction, Closed, Error, ErrorKind, Result, Window};

use super::{WindowColumn, WindowSpec};

/// A window and which of its ends belong to it.
pub(crate) type Frame = (Window, Closed);

/// The columns by what they look at, and the different windows.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    frames: Vec<Frame>,
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
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) column: usize,
    pub(crate) function: AggregateFunction,
    /// The position of its window in [`Plan::frames`].
    pub(crate) frame: usize,
}

impl Plan {
    pub(crate) fn new(spec: &WindowSpec) -> Self {
        let mut plan = Self { frames: Vec::new(), measures: Vec::new() };
        for (column, of) in spec.columns.iter().enumerate() {
            let frame = (of.window, of.closed);
            let frame = position_or_push(&mut plan.frames, |f| *f == frame, || frame);
            let same = |m: &PlannedMeasure| (m.input, m.mask) == (of.input, of.mask);
            let new = || PlannedMeasure { input: of.input, mask: of.mask, jobs: Vec::new() };
            let measure = position_or_push(&mut plan.measures, same, new);
            plan.measures[measure].jobs.push(Job { column, function: of.function.clone(), frame });
        }
        plan
    }

    pub(crate) fn frames(&self) -> &[Frame] {
        &self.frames
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
    column.window.check().map_err(|error| error.with_note(format!("the window of `{name}`")))?;
    let input = match column.input {
        Some(index) => Some(inputs.get(index).ok_or_else(|| {
            Error::internal(format!("`{name}` names input {index} of {}", inputs.len()))
        })?),
        None => None,
    };
    let (data_type, nullable) = output_type(name, &column.function, input)?;
    Ok(Arc::new(Field::new(name, data_type, nullable)))
}

/// The type of what a function gives over values of a type, and whether it can be null.
pub(crate) fn output_type(
    name: &str,
    function: &AggregateFunction,
    input: Option<&DataType>,
) -> Result<(DataType, bool)> {
    function.check().map_err(|error| error.with_note(format!("the function of `{name}`")))?;
    let Some(input) = input.map(plain) else {
        return match function {
            AggregateFunction::Count => Ok((DataType::Int64, false)),
            AggregateFunction::DaysSinceLast => Ok((DataType::Int64, true)),
            _ => {
                let message = format!(
                    "`{name}` needs a column; only `count` and `days_since_last` do without"
                );
                Err(Error::invalid(message))
            }
        };
    };
    let ordered =
        || if is_ordered(input) { Ok(input.clone()) } else { Err(unsupported(name, input)) };
    let number = || sum_type(name, input);
    Ok(match function {
        AggregateFunction::Count => (DataType::Int64, false),
        AggregateFunction::DaysSinceLast => (DataType::Int64, true),
        AggregateFunction::Sum => (number()?, true),
        AggregateFunction::Mean
        | AggregateFunction::Variance
        | AggregateFunction::Stddev
        | AggregateFunction::Skewness
        | AggregateFunction::Kurtosis
        | AggregateFunction::ApproxPercentile(_) => {
            number()?;
            (DataType::Float64, true)
        }
        AggregateFunction::ApproxPercentiles(_) => {
            number()?;
            (list_of(DataType::Float64), true)
        }
        AggregateFunction::Histogram(_) => {
            number()?;
            (list_of(DataType::Int64), false)
        }
        AggregateFunction::CountDistinct
        | AggregateFunction::ApproxCountDistinct
        | AggregateFunction::BoundedCountDistinct(_) => {
            ordered()?;
            (DataType::Int64, false)
        }
        AggregateFunction::Min
        | AggregateFunction::Max
        | AggregateFunction::First
        | AggregateFunction::Last => (ordered()?, true),
        AggregateFunction::FirstK(_)
        | AggregateFunction::LastK(_)
        | AggregateFunction::TopK(_)
        | AggregateFunction::BottomK(_) => (list_of(ordered()?), false),
        other => {
            let message = format!("`{name}`: windows do not compute `{other:?}`");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    })
}

/// A list whose values are never null, in Arrow's words. Tables only keep lists whose values may be.
fn list_of(values: DataType) -> DataType {
    DataType::List(list_item(values))
}

/// The field of a list's values.
pub(crate) fn list_item(values: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(values, true))
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
