//! An entity's rows range after range, each from the events that it needs, against all at once.

use arrow::compute::concat;

use super::*;
use crate::window::{Questions, WindowRows};

/// The events of one entity.
struct One<'a> {
    times: &'a [i64],
    inputs: &'a [ArrayRef],
    masks: &'a [BooleanArray],
    asked: Option<&'a BooleanArray>,
}

impl One<'_> {
    fn rows(&self, kernel: &WindowKernel, events: Range<usize>, range: TimeRange) -> WindowRows {
        let (at, count) = (events.start, events.len());
        let cut = |array: &ArrayRef| array.slice(at, count);
        let inputs = self.inputs.iter().map(cut).collect::<Vec<_>>();
        let masks = self.masks.iter().map(|mask| mask.slice(at, count)).collect::<Vec<_>>();
        let entity = 0..count;
        let (inputs, masks) = (inputs.as_slice(), masks.as_slice());
        let times = &self.times[events];
        let events = EntityEvents { times, entities: std::slice::from_ref(&entity), inputs, masks };
        let Some(asked) = self.asked else { return kernel.evaluate(&events, range).unwrap() };
        let asked = asked.slice(at, count);
        let questions = Questions { asked: &asked, known: None, delay: Span::from_micros(2) };
        kernel.answer(&events, questions, range).unwrap()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // C44 C148: what memory has no room for is computed part after part.
    #[test]
    fn rows_come_range_after_range(
        inputs in inputs(),
        mut times in prop::collection::vec(time(), 1..60),
        mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        windows in prop::collection::vec(window(), 1..3),
        (closed, range) in (closed(), range()),
        emit in prop::sample::select(vec![
            Emit::EachEvent, Emit::LastPerDay, Emit::every(Span::from_micros(3)),
            Emit::At([-3, 0, 7, 11].map(Timestamp::from_micros).to_vec()),
        ]),
        is_asked in any::<bool>(),
    ) {
        let mut range = range;
        if matches!(emit, Emit::Every { .. }) {
            // Not more rows than a test has patience for.
            times.retain(|time| (-10..20).contains(time));
            range.to = Some(Timestamp::from_micros(40));
        }
        times.sort_unstable();
        let count = times.len();
        let arrays = inputs.arrays(count, &DataType::Utf8);
        let masks = inputs.masks.each_ref().map(|m| BooleanArray::from(m[..count].to_vec()));
        let asked = BooleanArray::from(inputs.flags[..count].to_vec());
        let asked = is_asked.then_some(&asked);
        let one = One { times: &times, inputs: &arrays, masks: &masks, asked };
        let types = arrays.iter().map(|array| array.data_type().clone()).collect::<Vec<_>>();
        let spec = WindowSpec { columns: columns(&windows, closed), emit, idle: None };
        let kernel = WindowKernel::try_new(spec.clone(), &types).unwrap();
        let whole = one.rows(&kernel, 0..count, range);

        let mut newest = match count {
            0 => Vec::new(),
            _ => cuts.drain(..).map(|cut| cut.index(count)).collect(),
        };
        newest.sort_unstable();
        let (mut parts, mut from, mut first) = (Vec::new(), range.from, 0);
        for newest in newest {
            let moment = Timestamp::from_micros(times[newest]);
            let to = Some(range.to.map_or(moment, |to| to.min(moment)));
            // Of the newest moment some events are not there yet.
            parts.push(one.rows(&kernel, first..newest + 1, TimeRange { from, to }));
            from = from.max(Some(moment));
            let oldest = spec.reach().and_then(|reach| times[newest].checked_sub(reach.micros()));
            let seen = oldest.map_or(0, |oldest| times.partition_point(|time| *time < oldest));
            first = first.max(seen);
        }
        parts.push(one.rows(&kernel, first..count, TimeRange { from, ..range }));

        let moments = parts.iter().flat_map(|part| part.times.iter().copied()).collect::<Vec<_>>();
        prop_assert_eq!(moments, whole.times);
        for (at, column) in whole.columns.iter().enumerate() {
            let of_parts = parts.iter().map(|part| part.columns[at].as_ref()).collect::<Vec<_>>();
            prop_assert_eq!(&concat(&of_parts).unwrap(), column, "{:?}", spec.columns[at]);
        }
    }
}
