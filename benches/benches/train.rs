//! How long boosting takes to learn, and how long its model takes to score, by rows.
//!
//! Sketch of learning, one core: a row costs a nanosecond for each feature, tree, and level whose
//! smaller side it is on, of which there are about two and a half; 100 trees on 20 thousand rows
//! of 9 features are 0.05 s. Of scoring: 64 rows answer a node of a tree with a dozen vector
//! instructions, so 100 trees of 31 nodes are 0.1 to 0.2 µs a row, and finding the ranks of 9
//! values adds a third. Far off that, look for a bounds check or a branch in an inner loop.
//! Run with `cargo bench -p icecore-benches --bench train`.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run stops")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use icecore_core::{Trainer, TrainingSet};
use icecore_train::{ParamValue, trainer};

const FEATURES: u64 = 9;

/// A number in [0, 1) that the row and the column tell.
fn unit(row: u64, column: u64) -> f64 {
    let mut bits = (row * FEATURES + column + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Rows of continuous values and counts, some of them missing, with labels that they half explain.
fn rows(count: u64) -> TrainingSet {
    let value = |row, column| match column {
        0..3 => Some((unit(row, column) * 40.0).floor()),
        3..6 => (unit(row, column + 40) > 0.1).then(|| unit(row, column).powi(3) * 1e4),
        _ => Some(unit(row, column) - 0.5),
    };
    let columns: Vec<ArrayRef> = (0..FEATURES)
        .map(|column| {
            Arc::new((0..count).map(|row| value(row, column)).collect::<Float64Array>()) as ArrayRef
        })
        .collect();
    let label = |row| {
        let odds = value(row, 0).unwrap_or(0.0) / 10.0 - value(row, 3).unwrap_or(2e4) / 5e3
            + 4.0 * value(row, 6).unwrap_or(0.0) * value(row, 7).unwrap_or(0.0).signum();
        f64::from(u8::from(odds + 4.0 * unit(row, 77) > 2.5))
    };
    let fields: Vec<Field> = (0..FEATURES)
        .map(|column| Field::new(format!("feature_{column}"), DataType::Float64, true))
        .collect();
    let features = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let labels = Float64Array::from_iter_values((0..count).map(label));
    let ids = UInt64Array::from_iter_values((0..count).map(|row| row.wrapping_mul(0x9e37_79b9)));
    TrainingSet::new(features, labels, ids).unwrap()
}

fn make(algorithm: &str, given: &[(&str, i64)]) -> Arc<dyn Trainer> {
    let given: BTreeMap<String, ParamValue> =
        given.iter().map(|(name, value)| ((*name).to_owned(), ParamValue::Int(*value))).collect();
    trainer(algorithm, &given).unwrap()
}

fn fit(c: &mut Criterion) {
    let mut group = c.benchmark_group("train/fit");
    group.sample_size(10);
    for count in [20_000, 100_000] {
        let set = rows(count);
        group.throughput(Throughput::Elements(count));
        for threads in [1, 2] {
            let trainer = make("gbdt", &[("threads", threads)]);
            let id = BenchmarkId::new(format!("gbdt/{threads}_threads"), count);
            group.bench_with_input(id, &set, |b, set| {
                b.iter(|| trainer.fit(black_box(set)).unwrap());
            });
        }
    }
    let set = rows(20_000);
    group.throughput(Throughput::Elements(20_000));
    for algorithm in ["logistic_regression", "random_forest"] {
        let trainer = make(algorithm, &[("threads", 1)]);
        group.bench_with_input(BenchmarkId::new(algorithm, 20_000), &set, |b, set| {
            b.iter(|| trainer.fit(black_box(set)).unwrap());
        });
    }
    group.finish();
}

fn predict(c: &mut Criterion) {
    let set = rows(20_000);
    let mut group = c.benchmark_group("train/predict");
    for (algorithm, given) in [
        ("gbdt", &[("n_estimators", 100)][..]),
        ("logistic_regression", &[]),
        ("random_forest", &[("n_estimators", 20)]),
    ] {
        let model = make(algorithm, given).fit(&set).unwrap();
        // A batch of this size is scored on one thread.
        for count in [1, 4_096] {
            let batch = set.features().slice(0, count);
            group.throughput(Throughput::Elements(count as u64));
            group.bench_with_input(BenchmarkId::new(algorithm, count), &batch, |b, batch| {
                b.iter(|| model.predict(black_box(batch)).unwrap());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, fit, predict);
criterion_main!(benches);
