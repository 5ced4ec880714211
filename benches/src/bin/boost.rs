//! Trains and scores on raw columns, once, and prints what it cost as one JSON object: our side of
//! `benches/peers/training.py`.
//!
//! Usage: boost TRAIN TEST FEATURES MODEL.txt NAME=VALUE…
//!
//! With `groups=TRAIN,TEST`, files of a whole number of 64 bits a row, rows are ranked within their
//! groups, and NDCG of ten rows is printed in place of the AUC.
//!
//! Set `RAYON_NUM_THREADS=1` to score on one thread; `threads=2` trains on two. A file has the features and then the labels, column by column, as little-endian doubles. The
//! model is written in LightGBM's text format, so that LightGBM can score it beside us.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench that cannot run stops"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, UInt64Array};
use arrow::datatypes::Float64Type;
use icecore_core::TrainingSet;
use icecore_train::{ParamValue, metrics, model_hash, to_lightgbm, trainer};

fn read(path: &str, features: usize) -> TrainingSet {
    let bytes = std::fs::read(path).unwrap();
    let (chunks, _) = bytes.as_chunks::<8>();
    let numbers: Vec<f64> = chunks.iter().map(|chunk| f64::from_le_bytes(*chunk)).collect();
    let rows = numbers.len() / (features + 1);
    let mut columns = numbers.chunks(rows);
    let arrays: Vec<(String, ArrayRef)> = columns
        .by_ref()
        .take(features)
        .enumerate()
        .map(|(at, column)| (format!("f{at}"), Arc::new(Float64Array::from(column.to_vec())) as _))
        .collect();
    let labels = Float64Array::from(columns.next().unwrap().to_vec());
    let ids = UInt64Array::from_iter_values((0..rows as u64).map(|row| row * 0x9e37_79b9 + 1));
    let features = RecordBatch::try_from_iter_with_nullable(
        arrays.into_iter().map(|(name, array)| (name, array, true)),
    );
    TrainingSet::new(features.unwrap(), labels, ids).unwrap()
}

/// The set with its groups, if a file has them.
fn grouped(set: TrainingSet, path: Option<&str>) -> TrainingSet {
    let Some(path) = path else { return set };
    let bytes = std::fs::read(path).unwrap();
    let (chunks, _) = bytes.as_chunks::<8>();
    let groups = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk));
    set.with_groups(UInt64Array::from_iter_values(groups)).unwrap()
}

/// CPU seconds of the process.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// MiB that the process has (`VmRSS`), or had at most (`VmHWM`).
fn memory(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [train, test, features, model_path, given @ ..] = &args[..] else {
        panic!("usage: boost TRAIN TEST FEATURES MODEL.txt NAME=VALUE…")
    };
    let features = features.parse().unwrap();
    let (groups, given): (Vec<&String>, Vec<&String>) =
        given.iter().partition(|given| given.starts_with("groups="));
    let mut groups = groups.into_iter().flat_map(|given| given["groups=".len()..].split(','));
    let train = grouped(read(train, features), groups.next());
    let test = grouped(read(test, features), groups.next());
    let params: BTreeMap<String, ParamValue> = given
        .iter()
        .map(|given| given.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), ParamValue::from(value)))
        .collect();
    let trainer = trainer("gbdt", &params).unwrap();
    // What reading the files took does not count.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let loaded = memory("VmRSS");
    let (start, cpu_start) = (Instant::now(), cpu());
    let model = trainer.fit(&train).unwrap();
    let (wall, cpu_used) = (start.elapsed().as_secs_f64(), cpu() - cpu_start);
    let peak = memory("VmHWM") - loaded;

    let mut per_row = f64::INFINITY;
    let mut scores = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let predicted = model.predict(test.features()).unwrap();
        per_row = per_row.min(start.elapsed().as_secs_f64() / test.rows() as f64);
        scores = predicted.as_primitive::<Float64Type>().values().to_vec();
    }
    let mut single: Vec<f64> = (0..2_000)
        .map(|row| {
            let one = test.features().slice(row % test.rows(), 1);
            let start = Instant::now();
            std::hint::black_box(model.predict(&one).unwrap());
            start.elapsed().as_secs_f64()
        })
        .collect();
    single.sort_unstable_by(f64::total_cmp);
    std::fs::write(model_path, to_lightgbm(&*model).unwrap()).unwrap();
    let labels = test.labels().values();
    let quality = match test.groups() {
        Some(groups) => ("ndcg", metrics::ndcg(labels, &scores, groups.values(), 10).unwrap()),
        None => ("auc", metrics::roc_auc(labels, &scores).unwrap()),
    };
    let checksum: f64 = scores.iter().sum();
    println!(
        "{}",
        serde_json::json!({
            "fit_s": wall, "fit_cpu_s": cpu_used, quality.0: quality.1, "peak_mib": peak,
            "predict_ns": per_row * 1e9, "single_us_p50": single[1_000] * 1e6,
            "checksum": checksum, "model_hash": model_hash(&model.encode().unwrap()),
        })
    );
}
