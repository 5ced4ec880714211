use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};
use icecore_core::Knowledge;
use proptest::prelude::*;

use super::{AsOfMatcher, AsOfOptions, Candidates, Moments, Progress};

/// (key, event, created, taken value); a null key joins nothing.
type Fact = (Option<i64>, i64, i64, i64);
/// (key, moment)
type Question = (Option<i64>, i64);

/// What a spine row sees, by looking at every fact.
fn naive(facts: &[Fact], question: Question, options: AsOfOptions) -> Option<Fact> {
    let (key, moment) = question;
    key?;
    facts
        .iter()
        .filter(|(fact_key, ..)| *fact_key == key)
        .filter(|(_, event, ..)| if options.strict { *event < moment } else { *event <= moment })
        .filter(|(_, _, created, _)| options.knowledge == Knowledge::Event || *created <= moment)
        .filter(|(_, event, ..)| {
            options
                .ttl_micros
                .is_none_or(|ttl| i128::from(moment) - i128::from(*event) <= ttl.into())
        })
        .max_by_key(|(_, event, created, value)| (*event, *created, *value))
        .copied()
}

fn encode(keys: &[Option<i64>]) -> (Rows, NullBuffer) {
    let converter = RowConverter::new(vec![SortField::new(DataType::Int64)]).unwrap();
    let column: ArrayRef = Arc::new(Int64Array::from(keys.to_vec()));
    let valid = keys.iter().map(Option::is_some).collect::<Vec<_>>();
    (converter.convert_columns(&[column]).unwrap(), NullBuffer::from(valid))
}

/// Runs the matcher over batches of these sizes and gives back what each question saw.
fn streamed(
    facts: &[Fact],
    questions: &[Question],
    options: AsOfOptions,
    (left_rows, right_rows): (usize, usize),
) -> Vec<Option<Fact>> {
    let mut matcher = AsOfMatcher::new(options);
    let mut matches = Vec::new();
    let mut right = facts.chunks(right_rows);
    let mut current: &[Fact] = &[];
    let mut ended = false;
    let (mut answered, mut oldest) = (0, 0);
    for left in questions.chunks(left_rows) {
        let (keys, valid) = encode(&left.iter().map(|q| q.0).collect::<Vec<_>>());
        let times = left.iter().map(|q| q.1).collect::<Vec<_>>();
        let moments = Moments { keys: &keys, times: &times, valid: Some(&valid) };
        loop {
            check_dropped(&matches, answered, oldest);
            (answered, oldest) = (matches.len(), matcher.oldest_needed());
            if ended {
                matcher.finish(moments, &mut matches).unwrap();
                break;
            }
            let (keys, valid) = encode(&current.iter().map(|f| f.0).collect::<Vec<_>>());
            let events = current.iter().map(|f| f.1).collect::<Vec<_>>();
            let created = current.iter().map(|f| f.2).collect::<Vec<_>>();
            let candidates = Candidates {
                keys: &keys,
                events: &events,
                created: Some(&created),
                valid: Some(&valid),
            };
            match matcher.advance(moments, candidates, &mut matches).unwrap() {
                Progress::NeedMoments => break,
                Progress::NeedCandidates => match right.next() {
                    Some(next) => current = next,
                    None => ended = true,
                },
            }
        }
    }
    check_dropped(&matches, answered, oldest);
    matches.into_iter().map(|row| row.map(|row| facts[row as usize])).collect()
}

/// A caller that drops batches by `oldest_needed` is never asked for a row that it dropped.
#[track_caller]
fn check_dropped(matches: &[Option<u64>], answered: usize, oldest: u64) {
    assert!(matches[answered..].iter().flatten().all(|row| *row >= oldest));
}

fn sort_facts(facts: &mut [Fact], knowledge: Knowledge) {
    facts.sort_by_key(|&(key, event, created, value)| {
        let activation = if knowledge == Knowledge::Created { event.max(created) } else { event };
        (key, activation, event, created, value)
    });
}

fn time() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0..12i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX), 1 => -5..0i64]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The matcher sees what a look at every fact sees, however the streams are cut.
    #[test]
    fn every_row_sees_what_was_known(
        mut facts in prop::collection::vec(
            (prop::option::weighted(0.9, 0..4i64), time(), time(), 0..3i64), 0..40),
        mut questions in prop::collection::vec(
            (prop::option::weighted(0.9, 0..5i64), time()), 0..30),
        ttl_micros in prop::option::of(0..8i64),
        strict: bool,
        created: bool,
        batches in (1..9usize, 1..9usize),
    ) {
        let knowledge = if created { Knowledge::Created } else { Knowledge::Event };
        let options = AsOfOptions { ttl_micros, strict, knowledge };
        sort_facts(&mut facts, knowledge);
        questions.sort();
        let expected: Vec<_> = questions.iter().map(|q| naive(&facts, *q, options)).collect();
        prop_assert_eq!(streamed(&facts, &questions, options, batches), expected);
    }
}

#[test]
fn a_correction_stays_out_of_the_time_before_it() {
    let facts = [(Some(1), 1, 1, 10), (Some(1), 1, 9, 11)];
    let options = AsOfOptions { knowledge: Knowledge::Created, ..AsOfOptions::default() };
    let questions = [(Some(1), 5), (Some(1), 9)];
    let seen = streamed(&facts, &questions, options, (1, 1));
    assert_eq!(seen, [Some(facts[0]), Some(facts[1])]);
}

#[test]
fn a_late_fact_about_an_old_event_does_not_hide_a_newer_one() {
    let facts = [(Some(1), 5, 5, 10), (Some(1), 2, 8, 11)];
    let options = AsOfOptions { knowledge: Knowledge::Created, ..AsOfOptions::default() };
    assert_eq!(streamed(&facts, &[(Some(1), 9)], options, (1, 1)), [Some(facts[0])]);
}

#[test]
fn an_unsorted_spine_is_refused() {
    let (keys, _) = encode(&[Some(2), Some(1)]);
    let moments = Moments { keys: &keys, times: &[1, 1], valid: None };
    let mut matcher = AsOfMatcher::new(AsOfOptions::default());
    let error = matcher.finish(moments, &mut Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "spine rows are not sorted by key and moment");
}
