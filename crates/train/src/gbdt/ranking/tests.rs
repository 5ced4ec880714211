use std::collections::BTreeMap;

use arrow::array::UInt64Array;
use icecore_core::TrainingSet;
use icecore_testkit::Random;

use super::*;
use crate::metrics::Measure;
use crate::tests::{make, set};
use crate::{ParamValue, cross_validate_on, decode_model, metrics, split};

/// Rows of queries of 1 to 20 rows, whose relevance three features tell something of.
fn queries(count: u64, seed: u64) -> TrainingSet {
    let mut columns: [Vec<f64>; 3] = Default::default();
    let (mut labels, mut groups) = (Vec::new(), Vec::new());
    for query in 0..count {
        let mut random = Random::new(seed).of(query);
        // Scores of different queries cannot be compared.
        let offset = random.normal() * 5.0;
        for _ in 0..1 + random.below(20) {
            let (a, b) = (random.normal(), random.unit());
            let hidden = 1.5 * a + if b > 0.6 { 1.0 } else { 0.0 } + 0.7 * random.normal();
            labels.push(hidden.clamp(0.0, 4.0).floor());
            let c = if random.unit() < 0.1 { f64::NAN } else { hidden + offset };
            for (column, value) in columns.iter_mut().zip([a, b, c]) {
                column.push(value);
            }
            groups.push(query * 31 + 7);
        }
    }
    let rows = set(&["a", "b", "c"].into_iter().zip(columns).collect::<Vec<_>>(), labels);
    rows.with_groups(groups.into()).unwrap()
}

fn given<const N: usize>(more: [(&str, i64); N]) -> BTreeMap<String, ParamValue> {
    let mut given = BTreeMap::from([
        ("objective".to_owned(), ParamValue::from("lambdarank")),
        ("n_estimators".to_owned(), ParamValue::Int(30)),
        ("min_samples_leaf".to_owned(), ParamValue::Int(5)),
    ]);
    given.extend(more.map(|(name, value)| (name.to_owned(), ParamValue::Int(value))));
    given
}

fn ndcg(model: &dyn icecore_core::Model, set: &TrainingSet) -> f64 {
    Measure::Ndcg(10).of(model, set).unwrap().unwrap()
}

#[test]
fn a_ranking_is_better_than_a_regression_and_far_better_than_none() {
    let (learned, others) = (queries(400, 1), queries(200, 2));
    let ranked = make("gbdt", &given([])).fit(&learned).unwrap();
    let mut squared = given([]);
    squared.insert("objective".to_owned(), ParamValue::from("squared"));
    let regression = make("gbdt", &squared).fit(&learned).unwrap();
    let scores = vec![0.0; others.rows()];
    let groups = others.groups().unwrap().values();
    let none = metrics::ndcg(others.labels().values(), &scores, groups, 10).unwrap();
    let (ranked, regression) = (ndcg(&*ranked, &others), ndcg(&*regression, &others));
    assert!(ranked > regression - 0.002 && ranked > none + 0.15, "{ranked} {regression} {none}");
}

// C28, D4
#[test]
fn a_ranking_depends_neither_on_the_order_of_rows_nor_on_threads() {
    let set = queries(1_500, 3);
    let shuffled: Vec<u64> = {
        let mut rows: Vec<u64> = (0..set.rows() as u64).collect();
        rows.sort_by_key(|row| Random::new(9).of(*row).bits());
        rows
    };
    let shuffled = set.take(&UInt64Array::from(shuffled)).unwrap();
    let fit = |set: &TrainingSet, threads: i64| {
        let given = given([("threads", threads), ("early_stopping_rounds", 5)]);
        make("gbdt", &given).fit(set).unwrap().encode().unwrap()
    };
    let once = fit(&set, 1);
    assert_eq!(fit(&set, 4), once);
    assert_eq!(fit(&shuffled, 2), once);
    assert_eq!(decode_model(&once).unwrap().encode().unwrap(), once);
}

#[test]
fn pulls_of_a_query_cancel_each_other_and_lift_what_is_relevant() {
    let labels = [0.0, 2.0, 1.0, 0.0, 1.0];
    let ranking = Ranking { truncation: 30, ndcg_at: 10 };
    let queries = Queries::new(ranking, &[5; 5], &labels, 0..5);
    for scores in [[0.0; 5], [3.0, -1.0, 0.5, 0.5, 0.0]] {
        let pulls = queries.pulls(queries.queries()[0], &scores);
        let sum: f64 = pulls.iter().map(|(gradient, _)| gradient).sum();
        assert!(sum.abs() < 1e-6, "{pulls:?}");
        assert!(pulls[1].0 < 0.0 && pulls[0].0 > 0.0, "{pulls:?}");
        assert!(pulls.iter().all(|(_, hessian)| *hessian > 0.0), "{pulls:?}");
    }
    // Rows that are alike have nothing to be pulled by.
    let alike = Queries::new(ranking, &[5; 3], &[1.0; 3], 0..3);
    assert_eq!(alike.pulls(alike.queries()[0], &[1.0, 2.0, 3.0]), [(0.0, 0.0); 3]);
}

#[test]
fn learning_stops_where_others_are_not_ranked_better() {
    let (learned, others) = (queries(150, 4), queries(80, 5));
    let given = given([("n_estimators", 400), ("early_stopping_rounds", 10)]);
    let model = make("gbdt", &given).fit_watching(&learned, &others).unwrap();
    assert!(model.rounds().unwrap() < 300, "{:?}", model.rounds());
    let splits = split::group_k_fold(learned.groups().unwrap(), 3).unwrap();
    let measured =
        cross_validate_on(&*make("gbdt", &given), &learned, &splits, Some(Measure::Map)).unwrap();
    assert!(measured.mean > 0.5, "{measured:?}");
}

#[test]
fn rows_without_queries_or_relevance_are_refused() {
    let rows = queries(10, 6);
    let (labels, ids) = (rows.labels().clone(), rows.row_ids().clone());
    let plain = TrainingSet::new(rows.features().clone(), labels, ids.clone()).unwrap();
    let error = make("gbdt", &given([])).fit(&plain).unwrap_err();
    assert!(error.to_string().contains("ranks rows in groups"), "{error}");
    let odd = vec![0.5; rows.rows()].into();
    let odd = TrainingSet::new(rows.features().clone(), odd, ids).unwrap();
    let odd = odd.with_groups(rows.groups().unwrap().clone()).unwrap();
    let error = make("gbdt", &given([])).fit(&odd).unwrap_err();
    assert!(error.help().unwrap().contains("0 to 30"), "{error}");
    let mut binary = given([("ndcg_at", 3)]);
    binary.remove("objective");
    assert!(crate::trainer("gbdt", &binary).is_err());
    assert!(plain.with_groups(vec![1, 2].into()).is_err());
}
