//! From states to values.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float64Array, Int64Array,
    LargeBinaryArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int32Type};
use icecore_core::{AggregateFunction, Error, Finite, Result};

use super::Aggregation;
use super::datum::Datum;
use super::state::State;
use crate::accumulate::WholePowers;
use crate::window::{WindowSums, days_between, list_column, square_of_ten_to};
use crate::{Accumulator, PowerSums};

pub(super) fn finish(of: &Aggregation, states: &[(&Accumulator, i64)]) -> Result<ArrayRef> {
    let states_alone = || states.iter().map(|(state, _)| &state.state);
    Ok(match &of.function {
        AggregateFunction::Sum => {
            sums(of, states_alone())?.column(&of.field, &counts(states_alone()))?
        }
        AggregateFunction::Mean => {
            let counts = counts(states_alone());
            let mut means = sums(of, states_alone())?.into_floats(&of.field)?;
            for (mean, count) in means.iter_mut().zip(&counts) {
                *mean /= *count as f64;
            }
            let nulls = counts.iter().map(|count| *count > 0).collect();
            Arc::new(Float64Array::new(means.into(), Some(NullBuffer::new(nulls))))
        }
        AggregateFunction::Variance
        | AggregateFunction::Stddev
        | AggregateFunction::Skewness
        | AggregateFunction::Kurtosis => {
            Arc::new(states_alone().map(|state| shape(of, state)).collect::<Float64Array>())
        }
        AggregateFunction::ApproxPercentile(share) => {
            Arc::new(states_alone().map(|state| quantile(state, *share)).collect::<Float64Array>())
        }
        AggregateFunction::ApproxPercentiles(shares) => {
            let mut values = Vec::with_capacity(states.len() * shares.len());
            let mut present = Vec::with_capacity(states.len());
            for state in states_alone() {
                let found = shares.iter().map(|share| quantile(state, *share).unwrap_or(0.0));
                values.extend(found);
                present.push(shares.first().is_some_and(|share| quantile(state, *share).is_some()));
            }
            let lengths = vec![shares.len() as u32; states.len()];
            let nulls = Some(NullBuffer::new(present.into()));
            list_column(&of.field, &lengths, Arc::new(Float64Array::from(values)), nulls)?
        }
        AggregateFunction::Histogram(edges) => {
            let counts = states_alone().flat_map(histogram).collect::<Int64Array>();
            let lengths = vec![edges.len() as u32 + 1; states.len()];
            list_column(&of.field, &lengths, Arc::new(counts), None)?
        }
        AggregateFunction::FirstK(_)
        | AggregateFunction::LastK(_)
        | AggregateFunction::TopK(_)
        | AggregateFunction::BottomK(_) => lists(of, states_alone())?,
        AggregateFunction::Min
        | AggregateFunction::Max
        | AggregateFunction::First
        | AggregateFunction::Last => {
            let best = states_alone().map(|state| values_of(state).next()).collect::<Vec<_>>();
            array(&best, of.field.data_type())?
        }
        AggregateFunction::DaysSinceLast => {
            let since = |(state, moment): &(&Accumulator, i64)| match state.state {
                State::Latest(Some(latest)) => days_between(latest, *moment),
                _ => None,
            };
            Arc::new(states.iter().map(since).collect::<Int64Array>())
        }
        _ => Arc::new(states_alone().map(|state| Some(number(state))).collect::<Int64Array>()),
    })
}

fn counts<'a>(states: impl Iterator<Item = &'a State>) -> Vec<u32> {
    let count = |state: &State| match state {
        State::Whole { count, .. } | State::Float { count, .. } => {
            u32::try_from(*count).unwrap_or(u32::MAX)
        }
        _ => 0,
    };
    states.map(count).collect()
}

fn sums<'a>(of: &Aggregation, states: impl Iterator<Item = &'a State>) -> Result<WindowSums> {
    let (mut whole, mut floats) = (Vec::new(), Vec::new());
    for state in states {
        match state {
            State::Whole { sum, .. } => whole.push(sum.to_i128()),
            State::Float { sum, .. } => floats.push(sum.to_f64()),
            _ => return Err(foreign(of)),
        }
    }
    Ok(match State::empty(&of.function, of.input.as_ref()) {
        State::Whole { .. } => WindowSums::Whole { sums: whole, scale: scale(of) },
        _ => WindowSums::Float(floats),
    })
}

fn foreign(of: &Aggregation) -> Error {
    Error::internal(format!("`{}` is given the state of another aggregate", of.field.name()))
}

/// How many digits of the input's values lie behind the point.
fn scale(of: &Aggregation) -> i8 {
    fn of_type(data_type: &DataType) -> i8 {
        match data_type {
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale) => *scale,
            DataType::Dictionary(_, value) => of_type(value),
            _ => 0,
        }
    }
    of.input.as_ref().map_or(0, of_type)
}

fn shape(of: &Aggregation, state: &State) -> Option<f64> {
    match (&of.function, state) {
        (AggregateFunction::Variance, State::FloatPowers(powers)) => powers.variance(),
        (AggregateFunction::Stddev, State::FloatPowers(powers)) => powers.stddev(),
        (AggregateFunction::Skewness, State::FloatPowers(powers)) => powers.skewness(),
        (_, State::FloatPowers(powers)) => PowerSums::kurtosis(powers),
        (AggregateFunction::Variance, State::WholePowers(powers)) => {
            powers.variance_of(0, square_of_ten_to(scale(of)))
        }
        (AggregateFunction::Stddev, State::WholePowers(powers)) => {
            powers.deviation_of(0, square_of_ten_to(scale(of)))
        }
        (AggregateFunction::Skewness, State::WholePowers(powers)) => powers.skewness(),
        (_, State::WholePowers(powers)) => WholePowers::kurtosis(powers),
        _ => None,
    }
}

fn quantile(state: &State, share: Finite) -> Option<f64> {
    if let State::Quantiles(sketch) = state { sketch.quantile(share) } else { None }
}

fn histogram(state: &State) -> Vec<i64> {
    let State::Histogram(counts) = state else { return Vec::new() };
    counts.iter().map(|count| saturated(*count)).collect()
}

fn saturated(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn number(state: &State) -> i64 {
    match state {
        State::Count(count) => saturated(*count),
        State::Distinct(counts) => saturated(counts.len() as u64),
        State::Bounded(values) => saturated(values.len() as u64),
        State::Sketch(sketch) => saturated(sketch.estimate()),
        _ => 0,
    }
}

fn values_of(state: &State) -> Box<dyn Iterator<Item = &Datum> + '_> {
    match state {
        State::Best(best) => Box::new(best.iter()),
        State::Timed(best) => Box::new(best.iter().map(|(_, datum)| datum)),
        _ => Box::new(std::iter::empty()),
    }
}

fn lists<'a>(of: &Aggregation, states: impl Iterator<Item = &'a State>) -> Result<ArrayRef> {
    let DataType::List(item) = of.field.data_type() else { return Err(foreign(of)) };
    let (mut values, mut lengths) = (Vec::new(), Vec::new());
    for state in states {
        let before = values.len();
        values.extend(values_of(state).map(Some));
        lengths.push((values.len() - before) as u32);
    }
    list_column(&of.field, &lengths, array(&values, item.data_type())?, None)
}

/// The array of a type that has these values.
fn array(values: &[Option<&Datum>], data_type: &DataType) -> Result<ArrayRef> {
    let words = || {
        let word = |datum: &Option<&Datum>| match datum {
            Some(Datum::Word(word)) => Some(*word),
            _ => None,
        };
        values.iter().map(word).collect::<Int64Array>()
    };
    let wide = || {
        let wide = |datum: &Option<&Datum>| datum.map(Datum::whole);
        values.iter().map(wide).collect::<Decimal128Array>()
    };
    let bytes = || {
        let bytes = |datum: &Option<&'_ Datum>| match datum {
            Some(Datum::Bytes(bytes)) => Some(bytes.to_vec()),
            _ => None,
        };
        values.iter().map(bytes).collect::<LargeBinaryArray>()
    };
    let canonical: ArrayRef = match data_type {
        DataType::Boolean => {
            let flag = |word: Option<i64>| word.map(|word| word != 0);
            Arc::new(words().iter().map(flag).collect::<BooleanArray>())
        }
        DataType::UInt64 => Arc::new(wide().with_precision_and_scale(38, 0)?),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale) => Arc::new(wide().with_precision_and_scale(38, *scale)?),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let floats = values.iter().map(|datum| datum.map(Datum::to_float));
            Arc::new(floats.collect::<Float64Array>())
        }
        DataType::Date32 | DataType::Date64 => {
            let days = cast(&words(), &DataType::Int32)?;
            let days = arrow::array::AsArray::as_primitive::<Int32Type>(&days);
            Arc::new(days.reinterpret_cast::<Date32Type>())
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            Arc::new(words().iter().collect::<Time64MicrosecondArray>())
        }
        DataType::Timestamp(_, zone) => {
            let moments = words().iter().collect::<TimestampMicrosecondArray>();
            Arc::new(moments.with_timezone_opt(zone.clone()))
        }
        DataType::FixedSizeBinary(width) => {
            let bytes = bytes();
            let values = bytes.iter();
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, *width)?)
        }
        DataType::Utf8 | DataType::Binary => Arc::new(bytes()),
        _ => Arc::new(words()),
    };
    match canonical.data_type() == data_type {
        true => Ok(canonical),
        false => Ok(cast(&canonical, data_type)?),
    }
}
