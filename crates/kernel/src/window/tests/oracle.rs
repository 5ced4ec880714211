//! Windows by looking at every event for every row: slow and obviously right.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit,
    TimestampMillisecondType, UInt64Type,
};
use icecore_core::{
    AggregateFunction, Closed, Emit, Finite, Shape, Span, TimeRange, Timestamp, Window,
};

use crate::accumulate::{Limbs, Order, WholePowers};
use crate::window::{WindowColumn, WindowSpec};
use crate::{ExactSum, HyperLogLog, PowerSums, QuantileSketch, hash_values};

const DAY: i64 = 86_400_000_000;

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Self>),
}

impl Value {
    pub(super) fn int(value: Option<i128>) -> Self {
        value.map_or(Self::Null, Self::Int)
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Orders as values do, with every NaN above all numbers.
    fn order(&self) -> (i128, u64, &str) {
        match self {
            Self::Null | Self::List(_) => (0, 0, ""),
            Self::Int(value) => (*value, 0, ""),
            Self::Text(text) => (0, 0, text),
            Self::Float(value) if value.is_nan() => (2, 0, ""),
            Self::Float(value) if value.is_sign_negative() => (0, !value.to_bits(), ""),
            Self::Float(value) => (1, value.to_bits(), ""),
        }
    }

    /// What tells values apart when they are counted.
    fn identity(&self) -> String {
        match self {
            Self::Float(value) if value.is_nan() => "NaN".into(),
            Self::Float(value) if *value == 0.0 => "0".into(),
            other => format!("{other:?}"),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(left), Self::List(right)) => left == right,
            (Self::List(_), _) | (_, Self::List(_)) => false,
            _ => self.is_null() == other.is_null() && self.order() == other.order(),
        }
    }
}

pub(super) struct Case<'a> {
    pub(super) times: &'a [i64],
    pub(super) entities: &'a [Range<usize>],
    pub(super) spec: &'a WindowSpec,
    pub(super) range: TimeRange,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) moment: i64,
    pub(super) entity: usize,
}

pub(super) fn rows(case: &Case<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (entity, events) in case.entities.iter().enumerate() {
        let times = &case.times[events.clone()];
        let moments = match &case.spec.emit {
            Emit::EachEvent => times.to_vec(),
            Emit::LastPerDay => {
                let days = times.iter().map(|time| time.div_euclid(DAY)).collect::<BTreeSet<_>>();
                let of_day = |day: i64| times.iter().filter(move |t| t.div_euclid(DAY) == day);
                days.into_iter().map(|day| *of_day(day).max().unwrap()).collect()
            }
            Emit::Every { every, align } => {
                let (every, align) = (every.micros(), align.micros());
                scheduled(times, |t| (t - align).rem_euclid(every) == 0, case)
            }
            Emit::At(moments) => {
                scheduled(times, |t| moments.contains(&Timestamp::from_micros(t)), case)
            }
            _ => unreachable!(),
        };
        let inside =
            moments.into_iter().filter(|m| case.range.contains(Timestamp::from_micros(*m)));
        rows.extend(inside.map(|moment| Row { moment, entity }));
    }
    rows
}

/// Times are small where the oracle is asked for a schedule.
fn scheduled(times: &[i64], is_point: impl Fn(i64) -> bool, case: &Case<'_>) -> Vec<i64> {
    let idle = case.spec.idle.map_or(i64::MAX, |idle| idle.micros());
    let is_alive = |t: i64| times.iter().any(|event| *event <= t && t - event <= idle);
    (-1000..=1000).filter(|t| is_point(*t) && is_alive(*t)).collect()
}

fn is_inside(time: i64, moment: i64, window: Window, closed: Closed) -> bool {
    let seen_from = i128::from(moment) - i128::from(window.offset.micros());
    let step = |every: Span, align: Span| {
        let (every, align) = (i128::from(every.micros()), i128::from(align.micros()));
        (seen_from - align).div_euclid(every) * every + align
    };
    let (start, end) = match window.shape {
        Shape::Lifetime => (i128::MIN, seen_from),
        Shape::Last(span) => (seen_from - i128::from(span.micros()), seen_from),
        Shape::Hopping { length, every, align } => {
            let end = step(every, align);
            (end - i128::from(length.micros()), end)
        }
        Shape::ToDate { every, align } => (step(every, align), seen_from),
        other => unreachable!("{other:?}"),
    };
    let time = i128::from(time);
    match closed {
        Closed::Both => start <= time && time <= end,
        Closed::Left => start <= time && time < end,
        Closed::Right => start < time && time <= end,
        Closed::None => start < time && time < end,
    }
}

/// What a column says at a row.
pub(super) fn value(
    case: &Case<'_>,
    column: &WindowColumn,
    row: &Row,
    (values, mask): (Option<&[Value]>, Option<&[Option<bool>]>),
) -> Value {
    let events = case.entities[row.entity].clone();
    let seen = events
        .filter(|event| is_inside(case.times[*event], row.moment, column.window, column.closed))
        .filter(|event| mask.is_none_or(|mask| mask[*event] == Some(true)))
        .map(|event| (case.times[event], values.map_or(Value::Int(0), |v| v[event].clone())))
        .filter(|(_, value)| !value.is_null())
        .collect::<Vec<_>>();
    let only = seen.iter().map(|(_, value)| value);
    // Decimals have two digits behind the point in these tests.
    let scale = if column.input == Some(3) { 2 } else { 0 };
    match &column.function {
        AggregateFunction::Count => Value::Int(seen.len() as i128),
        AggregateFunction::Sum => sum(&seen),
        AggregateFunction::Mean => match sum(&seen) {
            Value::Int(sum) => {
                let sum = format!("{sum}e-{scale}").parse::<f64>().unwrap();
                Value::Float(sum / seen.len() as f64)
            }
            Value::Float(sum) => Value::Float(sum / seen.len() as f64),
            other => other,
        },
        function @ (AggregateFunction::Variance
        | AggregateFunction::Stddev
        | AggregateFunction::Skewness
        | AggregateFunction::Kurtosis) => spread(function, &seen, scale),
        AggregateFunction::Min => {
            only.min_by(|a, b| a.order().cmp(&b.order())).cloned().unwrap_or(Value::Null)
        }
        AggregateFunction::Max => {
            only.max_by(|a, b| a.order().cmp(&b.order())).cloned().unwrap_or(Value::Null)
        }
        AggregateFunction::CountDistinct => {
            Value::Int(only.map(Value::identity).collect::<BTreeSet<_>>().len() as i128)
        }
        AggregateFunction::ApproxCountDistinct => Value::Int(sketch(column.input, &seen).into()),
        AggregateFunction::First => {
            let first = seen.iter().min_by(|a, b| (a.0, a.1.order()).cmp(&(b.0, b.1.order())));
            first.map_or(Value::Null, |first| first.1.clone())
        }
        AggregateFunction::Last => {
            let last = seen.iter().max_by(|a, b| (a.0, a.1.order()).cmp(&(b.0, b.1.order())));
            last.map_or(Value::Null, |last| last.1.clone())
        }
        AggregateFunction::BoundedCountDistinct(most) => {
            let different = only.map(Value::identity).collect::<BTreeSet<_>>().len() as i128;
            Value::Int(different.min((*most).into()))
        }
        AggregateFunction::FirstK(k) => list(&seen, *k, |a, b| by_time(a).cmp(&by_time(b))),
        AggregateFunction::LastK(k) => list(&seen, *k, |a, b| by_time(b).cmp(&by_time(a))),
        AggregateFunction::TopK(k) => list(&seen, *k, |a, b| b.1.order().cmp(&a.1.order())),
        AggregateFunction::BottomK(k) => list(&seen, *k, |a, b| a.1.order().cmp(&b.1.order())),
        AggregateFunction::ApproxPercentile(share) => {
            quantiles(&seen, scale).quantile(*share).map_or(Value::Null, Value::Float)
        }
        AggregateFunction::ApproxPercentiles(shares) => {
            let sketch = quantiles(&seen, scale);
            let found = shares.iter().map(|share| sketch.quantile(*share).map(Value::Float));
            found.collect::<Option<Vec<_>>>().map_or(Value::Null, Value::List)
        }
        AggregateFunction::Histogram(edges) => histogram(&seen, edges, scale),
        AggregateFunction::DaysSinceLast => {
            let last = seen.iter().map(|(time, _)| *time).max();
            let since = |time| (i128::from(row.moment) - i128::from(time)).div_euclid(DAY.into());
            Value::int(last.map(since))
        }
        _ => unreachable!(),
    }
}

fn histogram(seen: &[(i64, Value)], edges: &[Finite], scale: i32) -> Value {
    let ends = edges.iter().map(|edge| edge.get()).chain([f64::INFINITY]);
    let starts = [f64::NEG_INFINITY].into_iter().chain(edges.iter().map(|edge| edge.get()));
    let count = |(start, end): (f64, f64)| {
        let is_last = end == f64::INFINITY;
        let inside = |value: f64| {
            start <= value && value < end || is_last && (value.is_nan() || value == end)
        };
        let inside = seen.iter().filter(|(_, value)| inside(float(value, scale)));
        Value::Int(inside.count() as i128)
    };
    Value::List(starts.zip(ends).map(count).collect())
}

fn by_time(seen: &(i64, Value)) -> (i64, (i128, u64, &str)) {
    (seen.0, seen.1.order())
}

fn list(
    seen: &[(i64, Value)],
    k: u32,
    order: impl Fn(&(i64, Value), &(i64, Value)) -> Ordering,
) -> Value {
    let mut seen = seen.to_vec();
    seen.sort_by(order);
    Value::List(seen.into_iter().take(k as usize).map(|(_, value)| value).collect())
}

/// A number as the float nearest to it.
fn float(value: &Value, scale: i32) -> f64 {
    match value {
        Value::Float(value) => *value,
        Value::Int(value) => format!("{value}e-{scale}").parse().unwrap(),
        other => unreachable!("{other:?}"),
    }
}

fn quantiles(seen: &[(i64, Value)], scale: i32) -> QuantileSketch {
    let mut sketch = QuantileSketch::default();
    seen.iter().for_each(|(_, value)| sketch.add(float(value, scale)));
    sketch
}

/// Of just these values. Decimals are counted in cents.
fn spread(function: &AggregateFunction, seen: &[(i64, Value)], scale: i32) -> Value {
    let mut floats = PowerSums::default();
    let mut whole = WholePowers::<12>::default();
    for (_, value) in seen {
        match value {
            Value::Float(value) => floats.add(*value),
            Value::Int(value) => whole.add(&Limbs::shifted(*value, 0), Order::Fourth),
            other => unreachable!("{other:?}"),
        }
    }
    let divisor = 10_f64.powi(2 * scale);
    let is_float = floats.count() > 0;
    let found = match function {
        AggregateFunction::Variance if is_float => floats.variance(),
        AggregateFunction::Variance => whole.variance_of(0, divisor),
        AggregateFunction::Stddev if is_float => floats.stddev(),
        AggregateFunction::Stddev => whole.variance_of(0, divisor).map(f64::sqrt),
        AggregateFunction::Skewness if is_float => floats.skewness(),
        AggregateFunction::Skewness => whole.skewness(),
        AggregateFunction::Kurtosis if is_float => floats.kurtosis(),
        _ => whole.kurtosis(),
    };
    found.map_or(Value::Null, Value::Float)
}

fn sum(seen: &[(i64, Value)]) -> Value {
    match seen.first() {
        None => Value::Null,
        Some((_, Value::Float(_))) => {
            let mut sum = ExactSum::default();
            for (_, value) in seen {
                let Value::Float(value) = value else { unreachable!() };
                sum.add(*value);
            }
            Value::Float(sum.to_f64())
        }
        Some(_) => Value::Int(
            seen.iter().map(|(_, v)| if let Value::Int(v) = v { *v } else { unreachable!() }).sum(),
        ),
    }
}

/// A HyperLogLog over just these values.
fn sketch(input: Option<usize>, seen: &[(i64, Value)]) -> u64 {
    let array: ArrayRef = match input {
        Some(1) => std::sync::Arc::new(arrow::array::Float64Array::from_iter_values(
            seen.iter().map(|(_, v)| if let Value::Float(v) = v { *v } else { unreachable!() }),
        )),
        Some(2) => std::sync::Arc::new(StringArray::from_iter_values(
            seen.iter().map(|(_, v)| if let Value::Text(v) = v { v } else { unreachable!() }),
        )),
        other => {
            let values = seen.iter().map(|(_, v)| if let Value::Int(v) = v { *v } else { 0 });
            let values = values.collect::<Vec<_>>();
            match other {
                Some(3) => {
                    let array = arrow::array::Decimal128Array::from(values);
                    std::sync::Arc::new(array.with_precision_and_scale(20, 2).unwrap())
                }
                Some(4) => {
                    let values = values.iter().map(|v| *v == 1).collect::<Vec<_>>();
                    std::sync::Arc::new(arrow::array::BooleanArray::from(values))
                }
                _ => std::sync::Arc::new(Int64Array::from_iter_values(
                    values.iter().map(|v| *v as i64),
                )),
            }
        }
    };
    let mut sketch = HyperLogLog::default();
    hash_values(&array).unwrap().values().iter().for_each(|hash| sketch.add_hash(*hash));
    sketch.estimate()
}

/// The values of an output column.
pub(crate) fn read(array: &ArrayRef) -> Vec<Value> {
    let value = |row| match array.data_type() {
        _ if array.is_null(row) => Value::Null,
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row).into()),
        DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => Value::Int(array.as_primitive::<Decimal128Type>().value(row)),
        DataType::List(_) => Value::List(read(&array.as_list::<i32>().value(row))),
        DataType::UInt64 => Value::Int(array.as_primitive::<UInt64Type>().value(row).into()),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            Value::Int(array.as_primitive::<TimestampMillisecondType>().value(row).into())
        }
        DataType::Date32 => Value::Int(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Boolean => Value::Int(array.as_boolean().value(row).into()),
        _ => Value::Text(array.as_string::<i32>().value(row).to_owned()),
    };
    (0..array.len()).map(value).collect()
}
