//! How much memory it takes to learn from more rows than fit into it as doubles: rows that are made
//! anew at each reading, and never are in memory at once.
//!
//! Usage: train_stream ROWS FEATURES NAME=VALUE…
//!
//! Sketch: a row of 20 features is 160 bytes of doubles. What is kept of it is a byte for each
//! feature, one for the label, and 16 for its score, gradient, key and place: 37 bytes. Prints what
//! it cost as one JSON object.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a bench that cannot run stops"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use icecore_core::{PinnedTable, Result, TrainingSet, TrainingSource};
use icecore_train::{ParamValue, metrics, model_hash, trainer};

/// Rows of a part.
const PART: u64 = 65_536;

/// Rows that are made of their numbers.
#[derive(Debug)]
struct Made {
    first: u64,
    rows: u64,
    schema: SchemaRef,
}

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A number from zero to one.
fn unit(row: u64, what: u64) -> f64 {
    (mix(row.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(what << 40)) >> 11) as f64
        / 9_007_199_254_740_992.0
}

/// Shares, skewed amounts and counts; every third has missing values.
fn value(row: u64, feature: u64) -> f64 {
    let u = unit(row, feature + 1);
    if feature % 3 == 1 && u < 0.1 {
        return f64::NAN;
    }
    match feature % 4 {
        0 => (u * 40.0).floor(),
        1 => 20.0 * u / (1.001 - u),
        2 => u,
        _ => (u * 10_000.0).round() / 100.0,
    }
}

impl Made {
    fn new(first: u64, rows: u64, features: u64) -> Self {
        let field = |at| Field::new(format!("f{at}"), DataType::Float64, true);
        Self {
            first,
            rows,
            schema: Arc::new(Schema::new((0..features).map(field).collect::<Vec<_>>())),
        }
    }

    fn part(&self, start: u64, end: u64) -> Result<TrainingSet> {
        let features = self.schema.fields().len() as u64;
        let column = |feature| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values((start..end).map(|row| value(row, feature))))
        };
        let columns: Vec<ArrayRef> = (0..features).map(column).collect();
        let of =
            |at: usize| columns[at % columns.len()].as_primitive::<Float64Type>().values().clone();
        let (counts, amounts, shares, prices) = (of(0), of(1), of(2), of(3));
        let label = |row: u64| {
            let at = (row - start) as usize;
            let amount = if amounts[at].is_nan() { 30.0 } else { amounts[at].min(200.0) };
            let odds = 0.06 * counts[at] - 0.02 * amount
                + 2.0 * f64::from(u8::from(shares[at] > 0.7))
                - 0.01 * prices[at] * shares[at]
                - 1.0;
            f64::from(u8::from(unit(row, 0) < 1.0 / (1.0 + (-odds).exp())))
        };
        let labels = Float64Array::from_iter_values((start..end).map(label));
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns.clone())?;
        TrainingSet::new(rows, labels, UInt64Array::from_iter_values((start..end).map(mix)))
    }
}

impl TrainingSource for Made {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn provenance(&self) -> &[PinnedTable] {
        &[]
    }

    fn read(&self, each: &mut dyn FnMut(TrainingSet) -> Result<()>) -> Result<()> {
        let end = self.first + self.rows;
        let starts = (self.first..end).step_by(PART as usize);
        starts.map(|start| self.part(start, end.min(start + PART))).try_for_each(|part| each(part?))
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [rows, features, given @ ..] = &args[..] else {
        panic!("usage: train_stream ROWS FEATURES NAME=VALUE…")
    };
    let (rows, features): (u64, u64) = (rows.parse().unwrap(), features.parse().unwrap());
    let params: BTreeMap<String, ParamValue> = given
        .iter()
        .map(|given| given.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), ParamValue::from(value)))
        .collect();
    let source = Made::new(0, rows, features);
    let started = icecore_benches::usage::start();
    source.read(&mut |_| Ok(())).unwrap();
    let making = started.usage();
    let started = icecore_benches::usage::start();
    let model = trainer("gbdt", &params).unwrap().fit_source(&source, None).unwrap();
    let usage = started.usage();
    let others = Made::new(rows, 100_000, features).part(rows, rows + 100_000).unwrap();
    let scores = model.predict(others.features()).unwrap();
    let scores = scores.as_primitive::<Float64Type>().values();
    println!(
        "{}",
        serde_json::json!({
            "rows": rows, "features": features, "reading_s": making.seconds,
            "fit_s": usage.seconds, "fit_cpu_s": usage.cpu_seconds, "peak_mib": usage.peak_mib,
            "bytes_per_row": usage.peak_mib * 1_048_576.0 / rows as f64,
            "auc": metrics::roc_auc(others.labels().values(), scores),
            "model_hash": model_hash(&model.encode().unwrap()),
        })
    );
}
