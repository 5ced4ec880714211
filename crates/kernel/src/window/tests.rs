mod asked;
mod oracle;
mod parts;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array};
use arrow::array::{AsArray, StringArray, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use icecore_core::{
    AggregateFunction, Closed, Emit, ErrorKind, Finite, Result, Span, TimeRange, Timestamp, Window,
};
use proptest::prelude::*;

use super::{EntityEvents, WindowColumn, WindowKernel, WindowPiece, WindowRows, WindowSpec};
use crate::{HyperLogLog, hash_values};
pub(crate) use oracle::read;
use oracle::{Case, Value};

/// Every function, with parameters small enough to matter.
pub(crate) fn functions() -> Vec<AggregateFunction> {
    let number = |value| Finite::new(value).unwrap();
    vec![
        AggregateFunction::Count,
        AggregateFunction::Sum,
        AggregateFunction::Mean,
        AggregateFunction::Variance,
        AggregateFunction::Stddev,
        AggregateFunction::Skewness,
        AggregateFunction::Kurtosis,
        AggregateFunction::Min,
        AggregateFunction::Max,
        AggregateFunction::CountDistinct,
        AggregateFunction::ApproxCountDistinct,
        AggregateFunction::BoundedCountDistinct(2),
        AggregateFunction::First,
        AggregateFunction::Last,
        AggregateFunction::FirstK(2),
        AggregateFunction::LastK(3),
        AggregateFunction::TopK(3),
        AggregateFunction::BottomK(2),
        AggregateFunction::ApproxPercentile(number(0.5)),
        AggregateFunction::ApproxPercentiles([0.0, 0.3, 0.95, 1.0].map(number).to_vec()),
        AggregateFunction::Histogram([-2.0, 0.1, 50.0].map(number).to_vec()),
        AggregateFunction::DaysSinceLast,
    ]
}

/// Whether a function is of numbers alone.
pub(crate) fn is_numeric(function: &AggregateFunction) -> bool {
    matches!(
        function,
        AggregateFunction::Sum
            | AggregateFunction::Mean
            | AggregateFunction::Variance
            | AggregateFunction::Stddev
            | AggregateFunction::Skewness
            | AggregateFunction::Kurtosis
            | AggregateFunction::ApproxPercentile(_)
            | AggregateFunction::ApproxPercentiles(_)
            | AggregateFunction::Histogram(_)
    )
}

fn column(function: AggregateFunction, input: Option<usize>, window: Window) -> WindowColumn {
    let closed = Closed::Both;
    WindowColumn { name: "feature".into(), function, input, mask: None, window, closed }
}

fn last(micros: i64) -> Window {
    Window::last(Span::from_micros(micros))
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (-9999..9999i64).prop_map(|cents| cents as f64 / 100.0),
        2 => (-3..4i64).prop_map(|small| small as f64),
        1 => prop::sample::select(vec![
            f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, f64::MAX, f64::MIN,
            f64::MIN_POSITIVE, 5e-324, -1e-300, 1e300, 1e22, 0.1,
        ]),
    ]
}

fn floats() -> impl Strategy<Value = Vec<Option<f64>>> {
    // Entities without odd values take another way through the sums than those with them.
    let tame = prop::option::weighted(0.9, (-9999..9999i64).prop_map(|cents| cents as f64 / 100.0));
    prop_oneof![
        prop::collection::vec(prop::option::weighted(0.8, float()), 60),
        prop::collection::vec(tame, 60),
        prop::collection::vec((-9..9i64).prop_map(|whole| Some(whole as f64 * 1e15)), 60),
        // Around the width that still fits fixed point.
        prop::collection::vec(spread(80).prop_map(Some), 60),
        prop::collection::vec(spread(66).prop_map(Some), 60),
    ]
}

/// A float with a full mantissa, of one of two magnitudes about so many powers of two apart.
fn spread(powers: i32) -> impl Strategy<Value = f64> {
    (1.0..2.0f64, -4..5i32, any::<bool>(), any::<bool>()).prop_map(
        move |(mantissa, jitter, large, negative)| {
            let power = jitter - if large { 0 } else { powers };
            let magnitude = mantissa * 2f64.powi(power);
            if negative { -magnitude } else { magnitude }
        },
    )
}

fn window() -> impl Strategy<Value = Window> {
    prop_oneof![
        4 => (1..9i64).prop_map(last),
        1 => Just(last(i64::MAX)),
        1 => Just(last(90 * 86_400_000_000)),
        1 => Just(Window::LIFETIME),
        2 => (1..9i64, 1..9i64, 0..9i64, 0..5i64).prop_map(|(length, every, align, offset)| {
            let [length, every, align, offset] = [length, every, align, offset].map(Span::from_micros);
            Window::hopping(length, every).with_align(align).with_offset(offset)
        }),
        1 => (1..9i64, 0..9i64).prop_map(|(every, align)| {
            Window::to_date(Span::from_micros(every)).with_align(Span::from_micros(align))
        }),
        1 => (1..9i64, 0..9i64).prop_map(|(span, offset)| {
            last(span).with_offset(Span::from_micros(offset))
        }),
        1 => Just(Window::LIFETIME.with_offset(Span::from_micros(3))),
        1 => Just(Window::tumbling(Span::from_days(1))),
    ]
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => -10..20i64,
        2 => (-400..400i64).prop_map(|quarter_days| quarter_days * 21_600_000_000),
        1 => prop::sample::select(vec![i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX]),
    ]
}

fn range() -> impl Strategy<Value = TimeRange> {
    (prop::option::of(time()), prop::option::of(time())).prop_map(|(from, to)| TimeRange {
        from: from.map(Timestamp::from_micros),
        to: to.map(Timestamp::from_micros),
    })
}

fn closed() -> impl Strategy<Value = Closed> {
    prop::sample::select(vec![Closed::Both, Closed::Left, Closed::Right, Closed::None])
}

/// Values of every type and the masks, by row.
#[derive(Debug, Clone)]
struct Inputs {
    ints: Vec<Option<i64>>,
    floats: Vec<Option<f64>>,
    texts: Vec<Option<String>>,
    decimals: Vec<Option<i128>>,
    flags: Vec<Option<bool>>,
    masks: [Vec<Option<bool>>; 2],
}

fn inputs() -> impl Strategy<Value = Inputs> {
    let int = prop_oneof![5 => -4..5i64, 1 => any::<i64>().prop_map(|n| n >> 8)];
    let mask = || prop::collection::vec(prop::option::weighted(0.9, any::<bool>()), 60);
    (
        prop::collection::vec(prop::option::weighted(0.85, int), 60),
        floats(),
        prop::collection::vec(prop::option::weighted(0.85, "[abå]{0,2}"), 60),
        prop::collection::vec(prop::option::weighted(0.85, -99_999..99_999i128), 60),
        mask(),
        [mask(), mask()],
    )
        .prop_map(|(ints, floats, texts, decimals, flags, masks)| Inputs {
            ints,
            floats,
            texts,
            decimals,
            flags,
            masks,
        })
}

impl Inputs {
    fn arrays(&self, rows: usize, layout: &DataType) -> Vec<ArrayRef> {
        let texts = StringArray::from(self.texts[..rows].to_vec());
        let decimals = Decimal128Array::from(self.decimals[..rows].to_vec());
        vec![
            Arc::new(Int64Array::from(self.ints[..rows].to_vec())),
            Arc::new(Float64Array::from(self.floats[..rows].to_vec())),
            cast(&texts, layout).unwrap(),
            Arc::new(decimals.with_precision_and_scale(20, 2).unwrap()),
            Arc::new(BooleanArray::from(self.flags[..rows].to_vec())),
        ]
    }

    fn values(&self, input: usize) -> Vec<Value> {
        match input {
            0 => self.ints.iter().map(|v| Value::int(v.map(i128::from))).collect(),
            1 => self.floats.iter().map(|v| v.map_or(Value::Null, Value::Float)).collect(),
            2 => self.texts.iter().map(|v| v.clone().map_or(Value::Null, Value::Text)).collect(),
            3 => self.decimals.iter().map(|v| Value::int(*v)).collect(),
            _ => self.flags.iter().map(|v| Value::int(v.map(i128::from))).collect(),
        }
    }
}

/// Every function that an input has, over each window, with each mask and without one.
fn columns(windows: &[Window], closed: Closed) -> Vec<WindowColumn> {
    let mut columns = Vec::new();
    for window in windows {
        for function in functions() {
            for input in [None, Some(0), Some(1), Some(2), Some(3), Some(4)] {
                let is_text = matches!(input, Some(2 | 4));
                if input.is_none() && !function.is_of_rows() || is_numeric(&function) && is_text {
                    continue;
                }
                for mask in [None, Some(0), Some(1)] {
                    let plain = column(function.clone(), input, *window);
                    columns.push(WindowColumn { mask, closed, ..plain });
                }
            }
        }
    }
    columns
}

fn text_layout() -> impl Strategy<Value = DataType> {
    let dictionary = DataType::Dictionary(DataType::Int16.into(), DataType::Utf8.into());
    prop::sample::select(vec![DataType::Utf8, DataType::Utf8View, DataType::LargeUtf8, dictionary])
}

fn emit() -> impl Strategy<Value = Emit> {
    prop::sample::select(vec![Emit::EachEvent, Emit::LastPerDay])
}

/// Compares the kernel with the oracle for every function at once.
fn check(
    inputs: &Inputs,
    entities: &[Vec<i64>],
    (spec, layout): (WindowSpec, &DataType),
    range: TimeRange,
) -> std::result::Result<(), TestCaseError> {
    let times = entities.concat();
    let mut start = 0;
    let ranges = entities.iter().map(|times| {
        start += times.len();
        start - times.len()..start
    });
    let ranges = ranges.collect::<Vec<_>>();
    let arrays = inputs.arrays(times.len(), layout);
    let masks = inputs.masks.each_ref().map(|m| BooleanArray::from(m[..times.len()].to_vec()));
    let types = arrays.iter().map(|array| array.data_type().clone()).collect::<Vec<_>>();
    let kernel = WindowKernel::try_new(spec.clone(), &types).unwrap();
    let events = EntityEvents { times: &times, entities: &ranges, inputs: &arrays, masks: &masks };
    let rows = kernel.evaluate(&events, range).unwrap();

    let case = Case { times: &times, entities: &ranges, spec: &spec, range };
    let expected_rows = oracle::rows(&case);
    prop_assert_eq!(&rows.times, &expected_rows.iter().map(|row| row.moment).collect::<Vec<_>>());
    for (source, expected) in rows.source_rows.values().iter().zip(&expected_rows) {
        prop_assert!(ranges[expected.entity].contains(&(*source as usize)));
        prop_assert!(spec_is_grid(&spec) || times[*source as usize] == expected.moment);
    }
    let mut pieces = Vec::new();
    for WindowPiece { entities, range } in kernel.split(&events, range, 7).unwrap() {
        let events = EntityEvents { entities: &ranges[entities], ..events };
        let piece = kernel.evaluate(&events, range).unwrap();
        prop_assert!(piece.times.len() <= 7 || !spec_is_grid(&spec));
        pieces.extend(piece.times.into_iter().zip(piece.source_rows.values().to_vec()));
    }
    let whole = rows.times.iter().copied().zip(rows.source_rows.values().iter().copied());
    prop_assert_eq!(pieces, whole.collect::<Vec<_>>());
    for (index, column) in spec.columns.iter().enumerate() {
        let values = column.input.map(|input| inputs.values(input));
        let mask = column.mask.map(|mask| inputs.masks[mask].as_slice());
        let actual = read(&rows.columns[index]);
        let of = |row| oracle::value(&case, column, row, (values.as_deref(), mask));
        let expected = expected_rows.iter().map(of).collect::<Vec<_>>();
        prop_assert_eq!(actual, expected, "{:?}", column);
        prop_assert_eq!(rows.columns[index].data_type(), kernel.output_fields()[index].data_type());
    }
    Ok(())
}

fn spec_is_grid(spec: &WindowSpec) -> bool {
    spec.emit.is_scheduled()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    // C41 C44 C148 C149 D6 D8 D9
    #[test]
    fn every_window_holds_what_a_look_at_every_event_finds(
        inputs in inputs(),
        mut entities in prop::collection::vec(prop::collection::vec(time(), 0..20), 0..4),
        windows in prop::collection::vec(window(), 1..3),
        (closed, emit, layout, range) in (closed(), emit(), text_layout(), range()),
    ) {
        entities.iter_mut().for_each(|times| times.sort());
        let spec = WindowSpec { columns: columns(&windows, closed), emit, idle: None };
        check(&inputs, &entities, (spec, &layout), range)?;
    }

    #[test]
    fn a_grid_sees_the_same_windows(
        inputs in inputs(),
        mut entities in prop::collection::vec(prop::collection::vec(-40..40i64, 0..12), 0..4),
        window in window(),
        closed in closed(),
        (step, align, at) in (1..15i64, 0..20i64, prop::option::of(prop::collection::vec(-60..60i64, 0..20))),
        idle in prop::option::of(0..20i64),
        (from, to) in (prop::option::of(-60..60i64), -60..60i64),
    ) {
        entities.iter_mut().for_each(|times| times.sort());
        let [every, align] = [step, align].map(Span::from_micros);
        let emit = match at {
            Some(at) => Emit::At(at.into_iter().map(Timestamp::from_micros).collect()),
            None => Emit::Every { every, align },
        };
        let idle = idle.map(Span::from_micros);
        let spec = WindowSpec { columns: columns(&[window], closed), emit, idle };
        let (from, to) = (from.map(Timestamp::from_micros), Some(Timestamp::from_micros(to)));
        check(&inputs, &entities, (spec, &DataType::Utf8), TimeRange { from, to })?;
    }
}

fn one_entity(rows: usize) -> [Range<usize>; 1] {
    [Range { start: 0, end: rows }]
}

/// One entity with one input: what a feature is at each event.
fn features(columns: Vec<WindowColumn>, input: ArrayRef, times: &[i64]) -> Result<WindowRows> {
    let spec = WindowSpec { columns, emit: Emit::EachEvent, idle: None };
    let kernel = WindowKernel::try_new(spec, &[input.data_type().clone()])?;
    let entities = one_entity(times.len());
    let inputs = [input];
    let events = EntityEvents { times, entities: &entities, inputs: &inputs, masks: &[] };
    kernel.evaluate(&events, TimeRange::default())
}

// C41: bounds are inclusive to the microsecond, and events of one time see each other.
#[test]
fn both_ends_of_a_closed_window_are_in() {
    let times = [0, 0, 10, 11];
    let ones: ArrayRef = Arc::new(Int64Array::from(vec![1; 4]));
    let rows = features(vec![column(AggregateFunction::Count, None, last(10))], ones, &times);
    assert_eq!(rows.unwrap().columns[0].as_ref(), &Int64Array::from(vec![2, 2, 3, 2]));
}

// C150: an event that came twice counts once where the feature says so.
#[test]
fn duplicates_count_once_where_the_feature_is_distinct() {
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["e1", "e2", "e2", "e3"]));
    let columns = vec![
        column(AggregateFunction::CountDistinct, Some(0), Window::LIFETIME),
        column(AggregateFunction::ApproxCountDistinct, Some(0), Window::LIFETIME),
        column(AggregateFunction::Count, Some(0), Window::LIFETIME),
    ];
    let rows = features(columns, ids, &[0, 1, 2, 3]).unwrap();
    assert_eq!(rows.columns[0].as_ref(), &Int64Array::from(vec![1, 2, 2, 3]));
    assert_eq!(rows.columns[1].as_ref(), &Int64Array::from(vec![1, 2, 2, 3]));
    assert_eq!(rows.columns[2].as_ref(), &Int64Array::from(vec![1, 2, 3, 4]));
}

// C44 C149 D9: registers that many values share give back their older ranks as windows move on.
#[test]
fn a_sliding_sketch_equals_a_sketch_of_the_window() {
    let width = 7000;
    let times = (0..30_000).collect::<Vec<i64>>();
    let ids = times.iter().map(|time| time * time % 9_973).collect::<Vec<_>>();
    let ids: ArrayRef = Arc::new(Int64Array::from(ids));
    let distinct = column(AggregateFunction::ApproxCountDistinct, Some(0), last(width));
    let rows = features(vec![distinct], ids.clone(), &times).unwrap();
    let hashes = hash_values(&ids).unwrap();
    for row in (0..times.len()).step_by(997) {
        let mut sketch = HyperLogLog::default();
        let window = row.saturating_sub(width as usize)..row + 1;
        window.for_each(|event| sketch.add_hash(hashes.value(event)));
        let value = rows.columns[0].as_primitive::<Int64Type>().value(row);
        assert_eq!(value, sketch.estimate() as i64, "{row}");
    }
}

// C147: a mean over nothing is null rather than a division by zero.
#[test]
fn nothing_has_no_mean_and_no_sum_but_a_count() {
    let nulls: ArrayRef = Arc::new(Float64Array::from(vec![None, None]));
    let columns = vec![
        column(AggregateFunction::Mean, Some(0), Window::LIFETIME),
        column(AggregateFunction::Sum, Some(0), Window::LIFETIME),
        column(AggregateFunction::Count, Some(0), Window::LIFETIME),
        column(AggregateFunction::CountDistinct, Some(0), Window::LIFETIME),
    ];
    let rows = features(columns, nulls, &[0, 1]).unwrap();
    assert_eq!(rows.columns[0].null_count(), 2);
    assert_eq!(rows.columns[1].null_count(), 2);
    assert_eq!(rows.columns[2].as_ref(), &Int64Array::from(vec![0, 0]));
    assert_eq!(rows.columns[3].as_ref(), &Int64Array::from(vec![0, 0]));
}

#[test]
fn a_sum_that_does_not_fit_is_an_error_that_names_the_column() {
    let sum = || vec![column(AggregateFunction::Sum, Some(0), last(1))];
    let ints: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, -2, 2]));
    let message = "a sum of `feature` does not fit a 64-bit integer";
    assert_eq!(features(sum(), ints.clone(), &[0, 0, 0]).unwrap().columns[0].len(), 3);
    assert_eq!(features(sum(), ints, &[0, 1, 2]).unwrap().columns[0].len(), 3);
    let ints: ArrayRef = Arc::new(UInt64Array::from(vec![1 << 63]));
    let error = features(sum(), ints, &[0]).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidInput, message));

    let greatest = 10_i128.pow(38) - 1;
    let decimals = |values: Vec<i128>| -> ArrayRef {
        let array = Decimal128Array::from(values).with_precision_and_scale(38, 2).unwrap();
        Arc::new(array)
    };
    let fits = decimals(vec![greatest, greatest, -greatest, -greatest]);
    let rows = features(sum(), fits.clone(), &[0, 5, 5, 9]).unwrap();
    let expected = decimals(vec![greatest, 0, 0, -greatest]);
    assert_eq!(&rows.columns[0], &expected);
    let error = features(sum(), fits, &[0, 1, 5, 9]).unwrap_err();
    assert_eq!(error.to_string(), "a sum of `feature` does not fit a decimal of 38 digits");
    // Four of the greatest come around to a number that would fit modulo 2^128.
    let error = features(sum(), decimals(vec![greatest; 4]), &[0; 4]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn the_mean_of_decimals_is_rounded_like_the_decimal() {
    let decimals = Decimal128Array::from(vec![10_i128.pow(20) + 7]);
    let decimals: ArrayRef = Arc::new(decimals.with_precision_and_scale(30, 20).unwrap());
    let mean = vec![column(AggregateFunction::Mean, Some(0), Window::LIFETIME)];
    let rows = features(mean, decimals, &[0]).unwrap();
    assert_eq!(rows.columns[0].as_ref(), &Float64Array::from(vec![1.00000000000000000007]));
}

#[test]
fn columns_that_cannot_be_meant_are_refused() {
    let refuse = |column: WindowColumn, input: DataType| {
        let spec = WindowSpec { columns: vec![column], emit: Emit::EachEvent, idle: None };
        WindowKernel::try_new(spec, &[input]).unwrap_err().to_string()
    };
    let sum = column(AggregateFunction::Sum, Some(0), last(1));
    assert_eq!(refuse(sum.clone(), DataType::Boolean), "`feature` adds up booleans");
    assert_eq!(refuse(sum, DataType::Utf8), "`feature` adds up values of type `Utf8`");
    let bare = column(AggregateFunction::Max, None, last(1));
    let message = "`feature` needs a column; only `count` and `days_since_last` do without";
    assert_eq!(refuse(bare, DataType::Int64), message);
    let empty = column(AggregateFunction::Count, None, last(0));
    assert_eq!(refuse(empty, DataType::Int64), "a window must be longer than nothing");
    let list = DataType::new_list(DataType::Int64, true);
    let distinct = column(AggregateFunction::CountDistinct, Some(0), last(1));
    assert!(refuse(distinct, list).ends_with("which windows do not take"));
}

#[test]
fn rows_on_a_grid_need_an_end_and_stay_below_a_limit() {
    let grid = |every: i64, to: Option<i64>| {
        let columns = vec![column(AggregateFunction::Count, None, Window::LIFETIME)];
        let emit = Emit::every(Span::from_micros(every));
        let spec = WindowSpec { columns, emit, idle: None };
        let kernel = WindowKernel::try_new(spec, &[]).unwrap();
        let (times, entities) = ([i64::MIN, 5], one_entity(2));
        let events = EntityEvents { times: &times, entities: &entities, inputs: &[], masks: &[] };
        let to = to.map(Timestamp::from_micros);
        kernel.evaluate(&events, TimeRange { from: None, to }).map_err(|e| e.kind())
    };
    assert_eq!(grid(5, None).unwrap_err(), ErrorKind::InvalidInput);
    assert_eq!(grid(1, Some(0)).unwrap_err(), ErrorKind::LimitExceeded);
    let rows = grid(i64::MAX, Some(i64::MAX)).unwrap();
    assert_eq!(rows.times, [-i64::MAX, 0]);
    assert!(grid(5, Some(i64::MIN)).unwrap().times.is_empty());
}

#[test]
fn events_out_of_order_are_refused() {
    let columns = vec![column(AggregateFunction::Count, None, Window::LIFETIME)];
    let ones: ArrayRef = Arc::new(Int64Array::from(vec![1; 2]));
    let error = features(columns, ones, &[1, 0]).unwrap_err();
    assert_eq!(error.to_string(), "events are not sorted by entity and time");
}
