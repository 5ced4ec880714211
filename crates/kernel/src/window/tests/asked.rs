//! Windows at moments that are asked for: every question on its own, by looking at every event.

use super::*;
use crate::window::Questions;

/// An event or a question of one entity.
#[derive(Debug, Clone)]
struct Row {
    time: i64,
    asked: bool,
    /// How long after it happened an event was known.
    late: i64,
}

fn row() -> impl Strategy<Value = Row> {
    let late = prop_oneof![3 => Just(0), 2 => 0..12i64, 1 => Just(i64::MAX)];
    (-10..20i64, any::<bool>(), late).prop_map(|(time, asked, late)| Row { time, asked, late })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // C116 D10 D22
    #[test]
    fn a_question_sees_what_was_known_by_then(
        inputs in inputs(),
        mut entities in prop::collection::vec(prop::collection::vec(row(), 0..20), 0..4),
        windows in prop::collection::vec(window(), 1..3),
        (closed, delay, knows) in (closed(), 0..4i64, any::<bool>()),
    ) {
        entities.iter_mut().for_each(|rows| rows.sort_by_key(|row| row.time));
        let rows = entities.concat();
        let times = rows.iter().map(|row| row.time).collect::<Vec<_>>();
        let known = rows.iter().map(|row| row.time.saturating_add(row.late)).collect::<Vec<_>>();
        let mut end = 0;
        let ranges = entities.iter().map(|rows| { end += rows.len(); end - rows.len()..end });
        let ranges = ranges.collect::<Vec<_>>();
        let arrays = inputs.arrays(rows.len(), &DataType::Utf8);
        let masks = inputs.masks.each_ref().map(|m| BooleanArray::from(m[..rows.len()].to_vec()));
        let types = arrays.iter().map(|array| array.data_type().clone()).collect::<Vec<_>>();
        let spec = WindowSpec { columns: columns(&windows, closed), emit: Emit::EachEvent, idle: None };
        let kernel = WindowKernel::try_new(spec.clone(), &types).unwrap();
        let events = EntityEvents { times: &times, entities: &ranges, inputs: &arrays, masks: &masks };
        let asked = BooleanArray::from_iter(rows.iter().map(|row| Some(row.asked)));
        let delay = Span::from_micros(delay);
        let questions = Questions { asked: &asked, known: knows.then_some(&known), delay };
        let answered = kernel.answer(&events, questions, TimeRange::default()).unwrap();

        let of_entity = |entity: &Range<usize>| {
            entity.clone().filter(|row| rows[*row].asked).map(|row| row as u64).collect::<Vec<_>>()
        };
        let expected = ranges.iter().flat_map(of_entity).collect::<Vec<_>>();
        prop_assert_eq!(answered.source_rows.values(), expected.as_slice());
        let read = answered.columns.iter().map(read).collect::<Vec<_>>();
        for (at, question) in expected.iter().map(|row| *row as usize).enumerate() {
            let moment = times[question];
            prop_assert_eq!(answered.times[at], moment);
            let entity = ranges.iter().find(|range| range.contains(&question)).unwrap();
            let seen = entity.clone().filter(|row| {
                let known = if knows { known[*row] } else { times[*row] };
                !rows[*row].asked && known.saturating_add(delay.micros()) <= moment
            });
            let seen = seen.collect::<Vec<_>>();
            let of_seen = seen.iter().map(|row| times[*row]).collect::<Vec<_>>();
            let whole = [Range { start: 0, end: seen.len() }];
            let case = Case { times: &of_seen, entities: &whole, spec: &spec, range: TimeRange::default() };
            for (column, read) in spec.columns.iter().zip(&read) {
                let values = column.input.map(|input| {
                    let all = inputs.values(input);
                    seen.iter().map(|row| all[*row].clone()).collect::<Vec<_>>()
                });
                let mask = column.mask.map(|mask| {
                    seen.iter().map(|row| inputs.masks[mask][*row]).collect::<Vec<_>>()
                });
                let row = oracle::Row { entity: 0, moment };
                let expected = oracle::value(&case, column, &row, (values.as_deref(), mask.as_deref()));
                prop_assert_eq!(&read[at], &expected, "{:?} at {}", column, moment);
            }
        }
    }
}

#[test]
fn questions_that_do_not_fit_are_refused() {
    let spec = WindowSpec { columns: Vec::new(), emit: Emit::EachEvent, idle: None };
    let kernel = WindowKernel::try_new(spec, &[]).unwrap();
    let entities = one_entity(2);
    let events = EntityEvents { times: &[1, 2], entities: &entities, inputs: &[], masks: &[] };
    let asked = BooleanArray::from(vec![true]);
    let delay = Span::from_micros(0);
    let questions = Questions { asked: &asked, known: None, delay };
    assert_eq!(
        kernel.answer(&events, questions, TimeRange::default()).unwrap_err().kind(),
        ErrorKind::Internal
    );
}
