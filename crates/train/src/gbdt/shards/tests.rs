use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use icecore_core::{PinnedTable, Trainer};
use icecore_testkit::Random;
use proptest::prelude::*;

use super::*;
use crate::ParamValue;
use crate::gbdt::bins::Sampler;
use crate::gbdt::histogram::Histogram;
use crate::tests::make;

/// A set that is read in parts of this size, in another order each time.
#[derive(Debug)]
struct Parts {
    set: TrainingSet,
    size: usize,
    readings: AtomicU64,
}

impl Parts {
    fn of(set: &TrainingSet, size: usize) -> Self {
        Self { set: set.clone(), size, readings: AtomicU64::new(0) }
    }
}

impl TrainingSource for Parts {
    fn schema(&self) -> SchemaRef {
        self.set.features().schema()
    }

    fn provenance(&self) -> &[PinnedTable] {
        self.set.provenance()
    }

    fn read(&self, each: &mut dyn FnMut(TrainingSet) -> Result<()>) -> Result<()> {
        let reading = self.readings.fetch_add(1, Ordering::Relaxed);
        let mut order: Vec<u64> = (0..self.set.rows() as u64).collect();
        order.sort_by_key(|row| Random::new(reading).of(*row).below(1 << 40));
        for part in order.chunks(self.size) {
            each(self.set.take(&UInt64Array::from(part.to_vec()))?)?;
        }
        Ok(())
    }
}

/// Numbers of two kinds and text, all with missing values; weights of which some are zero.
fn rows(rows: u64, seed: u64, label: impl Fn(f64, u64) -> f64) -> TrainingSet {
    let (mut numbers, mut counts, mut text) = (Vec::new(), Vec::new(), Vec::new());
    let (mut labels, mut weights, mut groups) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows {
        let mut random = Random::new(seed).of(row);
        let (a, b) = (random.normal(), random.below(60));
        numbers.push((random.unit() > 0.1).then_some(a));
        counts.push((random.unit() > 0.2).then_some(b as i32));
        text.push((random.unit() > 0.1).then(|| format!("t{}", random.below(300))));
        labels.push(label(a + 0.03 * b as f64 + random.normal(), random.below(3)));
        weights.push([0.0, 1.0, 1.0, 2.5][random.below(4) as usize]);
        groups.push(random.below(1 + rows / 8));
    }
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("a", Arc::new(Float64Array::from(numbers)), true),
        ("b", Arc::new(Int32Array::from(counts)), true),
        ("c", Arc::new(StringArray::from(text)), true),
    ];
    let features = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let ids = UInt64Array::from_iter_values((0..rows).map(|row| row * 77 + row % 3));
    let set = TrainingSet::new(features, labels.into(), ids).unwrap();
    set.with_weights(weights.into()).unwrap().with_groups(groups.into()).unwrap()
}

fn given(objective: &str, more: &[(&str, ParamValue)]) -> BTreeMap<String, ParamValue> {
    let mut given = BTreeMap::from([
        ("objective".to_owned(), ParamValue::from(objective)),
        ("n_estimators".to_owned(), ParamValue::Int(6)),
        ("min_samples_leaf".to_owned(), ParamValue::Int(3)),
        ("subsample".to_owned(), ParamValue::Float(0.8)),
    ]);
    given.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    given
}

fn label_of(objective: &str) -> fn(f64, u64) -> f64 {
    match objective {
        "binary" => |effect, _| f64::from(u8::from(effect > 0.7)),
        "multiclass" | "lambdarank" => |effect, _| effect.clamp(0.0, 3.0).floor(),
        "poisson" => |effect, extra| (effect.clamp(0.0, 9.0).floor() + extra as f64) * 40.0,
        _ => |effect, extra| effect * 1e3 + extra as f64,
    }
}

fn bytes(trainer: &dyn Trainer, source: &dyn TrainingSource) -> Vec<u8> {
    trainer.fit_source(source, None).unwrap().encode().unwrap()
}

// C28
#[test]
fn a_stream_teaches_what_the_rows_in_memory_do_to_the_byte() {
    for (seed, objective) in (0..).zip(["binary", "multiclass", "squared", "quantile", "poisson"]) {
        let set = rows(3_000, seed, label_of(objective));
        for more in [
            vec![],
            vec![("num_leaves", ParamValue::Int(40)), ("categorical", ParamValue::from("b"))],
            vec![("early_stopping_rounds", ParamValue::Int(2))],
        ] {
            let trainer = make("gbdt", &given(objective, &more));
            let expected = trainer.fit(&set).unwrap().encode().unwrap();
            for size in [1, 333, 3_000] {
                assert_eq!(
                    bytes(&*trainer, &Parts::of(&set, size)),
                    expected,
                    "{objective} {size}"
                );
            }
        }
    }
}

#[test]
fn rankings_and_balanced_classes_are_streamed_too() {
    let ranked = rows(2_000, 8, label_of("lambdarank"));
    let trainer = make("gbdt", &given("lambdarank", &[("subsample", ParamValue::Float(1.0))]));
    let expected = trainer.fit(&ranked).unwrap().encode().unwrap();
    assert_eq!(bytes(&*trainer, &Parts::of(&ranked, 100)), expected);
    let set = rows(2_000, 9, label_of("binary"));
    let balanced = [("class_weight", ParamValue::from("balanced"))];
    let trainer = make("gbdt", &given("binary", &balanced));
    let expected = trainer.fit(&set).unwrap().encode().unwrap();
    assert_eq!(bytes(&*trainer, &Parts::of(&set, 170)), expected);
}

#[test]
fn rows_that_are_watched_are_streamed_too() {
    let (set, others) = (rows(2_000, 1, label_of("binary")), rows(900, 2, label_of("binary")));
    let stops = [("early_stopping_rounds", ParamValue::Int(2)), ("n_estimators", 40.into())];
    let trainer = make("gbdt", &given("binary", &stops));
    let expected = trainer.fit_watching(&set, &others).unwrap();
    let (learned, watched) = (Parts::of(&set, 64), Parts::of(&others, 50));
    let streamed = trainer.fit_source(&learned, Some(&watched)).unwrap();
    assert_eq!(streamed.encode().unwrap(), expected.encode().unwrap());
    assert!(expected.rounds().unwrap() < 40);
}

#[test]
fn an_algorithm_that_needs_all_rows_at_once_collects_them() {
    let (mut set, label) = (rows(500, 3, label_of("binary")), label_of("squared"));
    let numbers = set.features().project(&[0, 1]).unwrap();
    set = TrainingSet::new(numbers, set.labels().clone(), set.row_ids().clone()).unwrap();
    let trainer = make("extra_trees", &BTreeMap::new());
    let expected = trainer.fit(&set).unwrap().encode().unwrap();
    assert_eq!(bytes(&*trainer, &Parts::of(&set, 60)), expected);
    let error = make("gbdt", &given("squared", &[]))
        .fit_source(&Parts::of(&rows(0, 0, label), 10), None)
        .unwrap_err();
    assert!(error.to_string().contains("without rows"), "{error}");
}

#[test]
fn a_source_that_fails_ends_the_training() {
    #[derive(Debug)]
    struct Fails(TrainingSet);
    impl TrainingSource for Fails {
        fn schema(&self) -> SchemaRef {
            self.0.features().schema()
        }
        fn provenance(&self) -> &[PinnedTable] {
            &[]
        }
        fn read(&self, each: &mut dyn FnMut(TrainingSet) -> Result<()>) -> Result<()> {
            each(self.0.clone())?;
            Err(Error::unavailable("the store is gone"))
        }
    }
    let source = Fails(rows(100, 3, label_of("binary")));
    let error = make("gbdt", &given("binary", &[])).fit_source(&source, None).unwrap_err();
    assert!(error.to_string().contains("the store is gone"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // C28
    #[test]
    fn whatever_the_parts_are_the_bytes_are_the_same(
        count in 2_u64..400,
        seed in 0_u64..1_000,
        size in 1_usize..500,
        max_bins in 2_i64..256,
        objective in prop::sample::select(vec!["binary", "squared", "absolute", "multiclass"]),
    ) {
        let set = rows(count, seed, label_of(objective));
        let trainer = make("gbdt", &given(objective, &[("max_bins", ParamValue::Int(max_bins))]));
        match trainer.fit(&set) {
            Ok(model) => {
                prop_assert_eq!(bytes(&*trainer, &Parts::of(&set, size)), model.encode().unwrap());
            }
            Err(error) => {
                let streamed = trainer.fit_source(&Parts::of(&set, size), None).unwrap_err();
                prop_assert_eq!(streamed.to_string(), error.to_string());
            }
        }
    }
}

/// Shards of some columns, with the histogram of the rows that a question leads left.
fn histogram(columns: &[Vec<f64>], shard_rows: usize) -> Histogram {
    let rows = columns[0].len();
    let ids: Vec<u64> = (0..rows as u64).collect();
    let cuts: Vec<Vec<f64>> = columns
        .iter()
        .map(|column| {
            let mut sampler = Sampler::default();
            sampler.add(column, &ids);
            sampler.cuts(255)
        })
        .collect();
    let tables: Vec<RankTable> = cuts.iter().map(|cuts| RankTable::new(cuts)).collect();
    let layout = Layout::new(tables.iter().map(RankTable::codes));
    let fields = columns.iter().enumerate();
    let arrays = fields.map(|(at, column)| {
        (format!("f{at}"), Arc::new(Float64Array::from(column.clone())) as ArrayRef, true)
    });
    let features = RecordBatch::try_from_iter_with_nullable(arrays).unwrap();
    let labels: Vec<f64> = (0..rows).map(|row| (row % 2) as f64).collect();
    let set = TrainingSet::new(features, labels.clone().into(), ids.into()).unwrap();
    let objective = Objective::LogLoss;
    let target = objective.target(&labels, None, 1);
    let inputs = columns::inputs(&set.features().schema()).unwrap();
    let sharding = Sharding {
        objective,
        target: &target,
        tables: &tables,
        layout: &layout,
        inputs: &inputs,
        categories: &CategoriesByName::new(),
        weighing: &Weighing::default(),
    };
    let mut shards = sharding.read(&set, shard_rows).unwrap().shards;
    let mut sums = Histogram::zero(&layout);
    let split = crate::tree::Split {
        feature: columns.len() as u32 - 1,
        question: crate::tree::Question::AtMost(cuts[columns.len() - 1][1]),
        missing: crate::tree::Side::Left,
        left: 1,
        right: 2,
    };
    let mut tree = crate::tree::Tree::constant(0.0);
    for value in [0.5, -0.25] {
        tree.push_leaf(value);
    }
    tree.set_split(0, split);
    let codes = crate::gbdt::code_tree::CodeTree::new(&tree, &tables);
    for shard in &mut shards {
        shard.add_tree(0, &codes);
        shard.begin_round(objective, objective.steps((1.0, 1.0), None, 0));
        shard.begin_tree(crate::gbdt::shard::Sampling::Hashed { key: 7, limit: 3 << 30 });
        let route = crate::gbdt::code_tree::Route::new(&split, &tables);
        shard.divide(0, &route, &mut Vec::new());
        for group in 0..layout.groups() {
            sums.add_rows(&layout, std::iter::once(shard.part(1, 0, group)));
        }
    }
    sums
}

#[test]
fn however_rows_are_cut_into_shards_the_sums_are_the_same() {
    let mut random = Random::new(4);
    let columns: Vec<Vec<f64>> = (0..14)
        .map(|_| {
            let value = |_| if random.unit() < 0.1 { f64::NAN } else { random.normal() };
            (0..1_000).map(value).collect()
        })
        .collect();
    let one = histogram(&columns, 1_024);
    for shard_rows in [64, 128, 960] {
        assert_eq!(one, histogram(&columns, shard_rows));
    }
}
