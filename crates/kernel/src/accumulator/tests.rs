use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use icecore_core::{Closed, Emit, Finite, Span, TimeRange, Timestamp, Window};
use proptest::prelude::*;

use super::*;
use crate::window::tests::{functions, is_numeric, read};
use crate::{EntityEvents, WindowColumn, WindowKernel, WindowSpec};

/// An event: its time, and what each kind of input is made of.
type Event = (i64, Option<i64>, bool);

fn events() -> impl Strategy<Value = Vec<Event>> {
    let value = prop::option::weighted(0.85, prop_oneof![4 => -6..6i64, 1 => any::<i64>()]);
    prop::collection::vec((-20..20i64, value, any::<bool>()), 0..40)
}

/// The same values in another type.
fn input(events: &[Event], kind: usize) -> ArrayRef {
    let words = || events.iter().map(|event| event.1);
    let float = |word: i64| match word {
        -6 => f64::NAN,
        -5 => -0.0,
        5 => f64::INFINITY,
        small if small.abs() < 100 => small as f64 / 10.0,
        large => f64::from_bits(large as u64),
    };
    match kind {
        0 => Arc::new(words().map(|w| w.map(|w| w >> 9)).collect::<Int64Array>()),
        1 => Arc::new(words().map(|w| w.map(float)).collect::<Float64Array>()),
        2 => Arc::new(words().map(|w| w.map(|w| format!("å{}", w % 7))).collect::<StringArray>()),
        3 => {
            let wide = words().map(|w| w.map(|w| i128::from(w) << 40));
            let decimals = wide.collect::<Decimal128Array>();
            Arc::new(decimals.with_precision_and_scale(38, 3).unwrap())
        }
        4 => Arc::new(words().map(|w| w.map(|w| w > 0)).collect::<BooleanArray>()),
        5 => Arc::new(words().map(|w| w.map(|w| w.unsigned_abs() >> 9)).collect::<UInt64Array>()),
        6 => {
            let moments = DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into()));
            cast(&words().map(|w| w.map(|w| w >> 20)).collect::<Int64Array>(), &moments).unwrap()
        }
        _ => {
            let days = words().map(|w| w.map(|w| (w % 1000) as i32));
            let days = days.collect::<arrow::array::Int32Array>();
            cast(&days, &DataType::Date32).unwrap()
        }
    }
}

fn aggregations(kind: usize, data_type: &DataType) -> Vec<Aggregation> {
    let fits = |function: &AggregateFunction| match kind {
        2 | 4 | 6 | 7 => !is_numeric(function),
        _ => true,
    };
    let new = |function| Aggregation::try_new("feature", function, Some(data_type)).unwrap();
    functions().into_iter().filter(fits).map(new).collect()
}

/// What the window kernel says at each of the moments.
fn slid(
    of: &Aggregation,
    events: &[Event],
    input: &ArrayRef,
    window: (Window, Closed),
    moments: &[i64],
) -> (Vec<i64>, ArrayRef) {
    let column = WindowColumn {
        name: "feature".into(),
        function: of.function.clone(),
        input: Some(0),
        mask: None,
        window: window.0,
        closed: window.1,
    };
    let emit = Emit::At(moments.iter().map(|at| Timestamp::from_micros(*at)).collect());
    let spec = WindowSpec { columns: vec![column], emit, idle: None };
    let kernel = WindowKernel::try_new(spec, &[input.data_type().clone()]).unwrap();
    let times = events.iter().map(|event| event.0).collect::<Vec<_>>();
    let entities = std::slice::from_ref(&(0..times.len())).to_vec();
    let inputs = [Arc::clone(input)];
    let events = EntityEvents { times: &times, entities: &entities, inputs: &inputs, masks: &[] };
    let rows = kernel.evaluate(&events, TimeRange::default()).unwrap();
    (rows.times, Arc::clone(&rows.columns[0]))
}

fn reloaded(of: &Aggregation, state: &Accumulator) -> Accumulator {
    let bytes = of.to_bytes(state);
    let loaded = of.from_bytes(&bytes).unwrap();
    assert_eq!(of.to_bytes(&loaded), bytes, "{of:?}");
    loaded
}

/// The state over some rows: added in an order that `seed` gives, in tiles that went to bytes and
/// back and were merged in another order.
fn tiled(
    of: &Aggregation,
    values: &AccumulatorValues,
    rows: &[(usize, i64)],
    seed: u64,
) -> Accumulator {
    let mut rows = rows.to_vec();
    rows.sort_by_key(|(row, _)| crate::hash::xxh::avalanche(*row as u64 ^ seed));
    let tiles = 1 + (seed % 4) as usize;
    let mut states = vec![of.empty(); tiles];
    for (at, (row, time)) in rows.iter().enumerate() {
        of.add(&mut states[at % tiles], values, *row, *time);
    }
    let mut whole = of.empty();
    states.iter().rev().for_each(|state| of.merge(&mut whole, &reloaded(of, state)).unwrap());
    reloaded(of, &whole)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // C148 C149 D6 D9: a sliding window, all its events one by one, and tiles of them that were
    // merged and kept as bytes say the same to the last bit.
    #[test]
    fn every_way_through_an_aggregate_ends_in_the_same_bits(
        mut events in events(),
        kind in 0..8_usize,
        (width, offset) in (1..30i64, 0..3i64),
        closed in prop::sample::select(vec![Closed::Both, Closed::Left, Closed::Right, Closed::None]),
        mut moments in prop::collection::vec(-25..25i64, 1..6),
        seed in any::<u64>(),
    ) {
        events.sort_by_key(|event| event.0);
        moments.sort_unstable();
        moments.dedup();
        let span = Span::from_micros;
        let window = Window::last(span(width)).with_offset(span(offset));
        let input = input(&events, kind);
        for of in aggregations(kind, input.data_type()) {
            let values = of.values(Some(&input)).unwrap();
            let (times, expected) = slid(&of, &events, &input, (window, closed), &moments);
            let mut states = Vec::new();
            for moment in &times {
                let range = window.range(closed, Timestamp::from_micros(*moment));
                let inside = |time: i64| range.contains(Timestamp::from_micros(time));
                let rows = (0..events.len()).map(|row| (row, events[row].0));
                let rows = rows.filter(|(_, time)| inside(*time)).collect::<Vec<_>>();

                let mut plain = of.empty();
                rows.iter().for_each(|(row, time)| of.add(&mut plain, &values, *row, *time));
                let tiled = tiled(&of, &values, &rows, seed);
                prop_assert_eq!(of.to_bytes(&tiled), of.to_bytes(&plain), "{:?}", of);

                // All events, without those outside.
                let mut whole = of.empty();
                (0..events.len()).for_each(|row| of.add(&mut whole, &values, row, events[row].0));
                let mut outside = (0..events.len()).filter(|row| !inside(events[*row].0));
                if outside.all(|row| of.remove(&mut whole, &values, row)) {
                    prop_assert_eq!(of.to_bytes(&whole), of.to_bytes(&plain), "{:?}", of);
                }
                states.push((plain, *moment));
            }
            let states = states.iter().map(|(state, moment)| (state, *moment)).collect::<Vec<_>>();
            let found = of.finish(&states).unwrap();
            prop_assert_eq!(found.data_type(), of.output_field().data_type());
            prop_assert_eq!(found.data_type(), expected.data_type());
            prop_assert_eq!(read(&found), read(&expected), "{:?}", of);
        }
    }

    #[test]
    fn tiles_slide_as_if_merged_anew(
        mut events in events(),
        kind in 0..6_usize,
        steps in prop::collection::vec(0..8i64, 0..20),
    ) {
        events.sort_by_key(|event| event.0);
        let input = input(&events, kind);
        for of in aggregations(kind, input.data_type()) {
            let values = of.values(Some(&input)).unwrap();
            let (mut window, mut row, mut bound) = (SlidingTiles::default(), 0, -30);
            for step in &steps {
                let tile_end = (row + *step as usize).min(events.len());
                if row < tile_end {
                    let mut tile = of.empty();
                    (row..tile_end).for_each(|row| of.add(&mut tile, &values, row, events[row].0));
                    window.push(&of, events[row].0, tile).unwrap();
                }
                row = tile_end;
                bound += step;
                window.evict_before(&of, bound).unwrap();
                let state = window.state(&of).unwrap();
                let mut merged = of.empty();
                let (mut first, mut expected) = (0, of.empty());
                for step in &steps {
                    let end = (first + *step as usize).min(row);
                    if first < end && events[first].0 >= bound {
                        (first..end).for_each(|r| of.add(&mut merged, &values, r, events[r].0));
                    }
                    first = end;
                }
                of.merge(&mut expected, &merged).unwrap();
                prop_assert_eq!(of.to_bytes(&state), of.to_bytes(&expected), "{:?}", of);
            }
        }
    }

    #[test]
    fn bytes_of_strangers_are_read_as_what_they_say_or_refused(
        events in events(),
        kind in 0..8_usize,
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        (at, with) in (any::<prop::sample::Index>(), any::<u8>()),
    ) {
        let input = input(&events, kind);
        for of in aggregations(kind, input.data_type()) {
            let values = of.values(Some(&input)).unwrap();
            let mut state = of.empty();
            (0..events.len()).for_each(|row| of.add(&mut state, &values, row, events[row].0));
            let mut damaged = of.to_bytes(&state);
            let at = at.index(damaged.len());
            damaged[at] = with;
            let cut = of.to_bytes(&state)[..at].to_vec();
            let shaped = [&[1, damaged[1]], bytes.as_slice()].concat();
            for bytes in [damaged, cut, shaped, bytes.clone()] {
                match of.from_bytes(&bytes) {
                    Ok(read) => {
                        prop_assert_eq!(of.to_bytes(&read), bytes);
                        let _ = of.finish(&[(&read, 7)]);
                        let mut merged = read.clone();
                        of.merge(&mut merged, &state).unwrap();
                        let _ = of.finish(&[(&merged, 7)]);
                    }
                    Err(error) => prop_assert_eq!(error.kind(), icecore_core::ErrorKind::DataCorrupt),
                }
            }
        }
    }
}

#[test]
fn rows_are_counted_without_a_column() {
    let of = Aggregation::try_new("rows", AggregateFunction::Count, None).unwrap();
    let values = of.values(None).unwrap();
    let mut state = of.empty();
    (0..3).for_each(|row| of.add(&mut state, &values, row, 0));
    assert!(of.remove(&mut state, &values, 0));
    assert_eq!(of.finish(&[(&state, 0)]).unwrap().as_ref(), &Int64Array::from(vec![2]));
}

#[test]
fn states_of_other_aggregates_are_refused() {
    let of = |function| Aggregation::try_new("a", function, Some(&DataType::Int64)).unwrap();
    let (count, sum) = (of(AggregateFunction::Count), of(AggregateFunction::Sum));
    let mut state = sum.empty();
    assert!(sum.merge(&mut state, &count.empty()).is_err());
    let error = count.from_bytes(&sum.to_bytes(&state)).unwrap_err();
    assert_eq!(error.to_string(), "35 bytes are not a state of `a`");
    let edges = |edges: &[f64]| edges.iter().filter_map(|edge| Finite::new(*edge)).collect();
    let (two, three) = (of(AggregateFunction::Histogram(edges(&[1.0]))), edges(&[1.0, 2.0]));
    let three = of(AggregateFunction::Histogram(three));
    assert!(two.from_bytes(&three.to_bytes(&three.empty())).is_err());
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    assert!(sum.values(Some(&texts)).is_err());
}

#[test]
fn a_sum_that_does_not_fit_is_an_error_here_too() {
    let of = Aggregation::try_new("spend", AggregateFunction::Sum, Some(&DataType::Int64)).unwrap();
    let values = of.values(Some(&(Arc::new(Int64Array::from(vec![i64::MAX; 2])) as ArrayRef)));
    let values = values.unwrap();
    let mut state = of.empty();
    (0..2).for_each(|row| of.add(&mut state, &values, row, 0));
    let error = of.finish(&[(&state, 0)]).unwrap_err();
    assert_eq!(error.to_string(), "a sum of `spend` does not fit a 64-bit integer");
}
