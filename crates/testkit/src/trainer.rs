//! The contracts of [`Trainer`] and [`Model`], line by line.
#![expect(clippy::expect_used, clippy::panic, reason = "a suite fails by panicking")]

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int64Array, RecordBatch,
    StringArray, UInt64Array, new_null_array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use icecore_core::{Error, ErrorKind, Model, OutputKind, Result, Trainer, TrainingSet};

use crate::Random;

const ROWS: usize = 600;
const THREADS: std::ops::RangeInclusive<usize> = 1..=4;

type Make<'a> = &'a dyn Fn(usize) -> Arc<dyn Trainer>;
type Decode<'a> = &'a dyn Fn(&[u8]) -> Result<Arc<dyn Model>>;

/// A trainer that keeps its contract on any number of threads, and the decoder of its models.
struct Subject<'a> {
    make: Make<'a>,
    decode: Decode<'a>,
}

/// Checks that trainers, and the models that they learn, keep their contracts.
///
/// `make` gives the trainer that uses this many threads; `decode` reads the file of its models.
/// The labels that it learns from are zero and one.
///
/// # Panics
///
/// If a contract is broken.
pub fn check_trainer(
    make: impl Fn(usize) -> Arc<dyn Trainer>,
    decode: impl Fn(&[u8]) -> Result<Arc<dyn Model>>,
) {
    let subject = Subject { make: &make, decode: &decode };
    let rows = Rows::new(ROWS);
    subject.names_itself();
    subject.learns_the_same_on_any_number_of_threads(&rows);
    subject.learns_the_same_in_any_order(&rows);
    subject.learns_the_same_from_any_order_of_equal_ids(&rows);
    subject.learns_the_same_from_missing_values_of_both_kinds(&rows);
    subject.survives_degenerate_rows(&rows);
    subject.refuses_no_rows(&rows);
    let model = subject.fit(&rows.set());
    binds_columns_by_name(&*model, &rows.features());
    refuses_what_it_cannot_bind(&*model, &rows.features());
    scores_each_row_by_itself(&*model, &rows.features());
    gives_what_its_signature_says(&*model, &rows.features());
    subject.comes_back_from_its_file(&*model, &rows.features());
}

/// Rows as columns, so that a test can change them.
#[derive(Debug, Clone)]
struct Rows {
    columns: Vec<(&'static str, ArrayRef)>,
    labels: Vec<f64>,
    ids: Vec<u64>,
}

impl Rows {
    /// Rows of columns of all kinds, with missing values, whose label the columns explain in part.
    fn new(count: usize) -> Self {
        let (mut amounts, mut counts, mut flags) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rates, mut labels) = (Vec::new(), Vec::new());
        for row in 0..count {
            let mut random = Random::new(7).of(row as u64);
            let (amount, tickets) = (random.normal() * 50.0, random.below(9));
            let (flag, rate) = (random.unit() < 0.3, random.unit());
            let score = amount / 50.0 - tickets as f64 / 4.0 + f64::from(u8::from(flag)) * 2.0;
            labels.push(f64::from(u8::from(score + random.normal() * 0.5 > 0.0)));
            amounts.push((random.unit() > 0.1).then_some(amount));
            counts.push((random.unit() > 0.1).then_some(tickets as i64));
            flags.push((random.unit() > 0.1).then_some(flag));
            rates.push((random.unit() > 0.1).then_some(rate as f32));
        }
        let constant: ArrayRef = Arc::new(Float64Array::from(vec![3.5; count]));
        Self {
            columns: vec![
                ("amount", Arc::new(Float64Array::from(amounts))),
                ("tickets", Arc::new(Int64Array::from(counts))),
                ("flag", Arc::new(BooleanArray::from(flags))),
                ("rate", Arc::new(Float32Array::from(rates))),
                ("constant", constant),
                ("missing", new_null_array(&DataType::Float64, count)),
            ],
            labels,
            ids: (0..count as u64).map(|row| Random::new(row).bits()).collect(),
        }
    }

    fn features(&self) -> RecordBatch {
        let fields: Vec<Field> = self
            .columns
            .iter()
            .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
            .collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(self.ids.len()));
        let arrays = self.columns.iter().map(|(_, array)| array.clone()).collect();
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .expect("the columns are of one length")
    }

    fn set(&self) -> TrainingSet {
        let (labels, ids) = (self.labels.clone(), self.ids.clone());
        TrainingSet::new(self.features(), Float64Array::from(labels), UInt64Array::from(ids))
            .expect("the rows are a training set")
    }

    fn with_column(mut self, name: &'static str, array: ArrayRef) -> Self {
        self.columns.retain(|(other, _)| *other != name);
        self.columns.push((name, array));
        self
    }
}

/// The rows in an order that the seed tells.
fn shuffled(set: &TrainingSet, seed: u64) -> TrainingSet {
    let mut order: Vec<u64> = (0..set.rows() as u64).collect();
    order.sort_by_key(|row| Random::new(seed).of(*row).bits());
    set.take(&UInt64Array::from(order)).expect("the positions are inside")
}

/// The rows of both sets, as those of several batches put together.
fn joined(a: &TrainingSet, b: &TrainingSet) -> TrainingSet {
    let features = concat_batches(&a.features().schema(), [a.features(), b.features()])
        .expect("the sets have the same columns");
    let labels: Vec<f64> = a.labels().values().iter().chain(b.labels().values()).copied().collect();
    let ids: Vec<u64> = a.row_ids().values().iter().chain(b.row_ids().values()).copied().collect();
    TrainingSet::new(features, Float64Array::from(labels), UInt64Array::from(ids))
        .expect("the rows are a training set")
}

fn bytes(model: &dyn Model) -> Vec<u8> {
    model.encode().expect("a model can be written")
}

fn predict(model: &dyn Model, rows: &RecordBatch) -> Vec<u64> {
    let predictions = model.predict(rows).expect("the rows can be scored");
    assert_eq!(predictions.data_type(), &DataType::Float64, "a prediction is a Float64");
    assert_eq!(predictions.len(), rows.num_rows(), "there is one prediction a row");
    assert_eq!(predictions.null_count(), 0, "no prediction is null");
    predictions.as_primitive::<Float64Type>().values().iter().map(|value| value.to_bits()).collect()
}

impl Subject<'_> {
    fn fit(&self, set: &TrainingSet) -> Arc<dyn Model> {
        (self.make)(1).fit(set).expect("the rows can be learned from")
    }

    #[track_caller]
    fn check_equal(&self, set: &TrainingSet, expected: &[u8], what: &str) {
        let model = bytes(&*self.fit(set));
        assert!(model == expected, "{what} gave another model");
    }

    fn names_itself(&self) {
        let trainer = (self.make)(1);
        assert!(!trainer.algorithm().is_empty());
        assert!(!trainer.params().is_empty(), "defaults are among the parameters");
        assert_eq!(trainer.params(), (self.make)(4).params(), "threads change no parameter");
    }

    fn learns_the_same_on_any_number_of_threads(&self, rows: &Rows) {
        // Enough rows that an implementation may divide them among its threads.
        let set = (0..6).fold(rows.set(), |set, _| joined(&set, &set));
        let expected = bytes(&*self.fit(&set));
        for threads in THREADS {
            let model = (self.make)(threads).fit(&set).expect("the rows can be learned from");
            assert!(bytes(&*model) == expected, "{threads} threads gave another model");
        }
    }

    fn learns_the_same_in_any_order(&self, rows: &Rows) {
        let set = rows.set();
        let expected = bytes(&*self.fit(&set));
        self.check_equal(&set, &expected, "a second fit");
        for seed in 0..3 {
            self.check_equal(&shuffled(&set, seed), &expected, "another order of rows");
        }
        let doubled = joined(&set, &set);
        let expected = bytes(&*self.fit(&doubled));
        self.check_equal(&shuffled(&doubled, 9), &expected, "another order of doubled rows");
        let parts = joined(&shuffled(&set, 1), &shuffled(&set, 2));
        self.check_equal(&parts, &expected, "another order of batches");
    }

    fn learns_the_same_from_any_order_of_equal_ids(&self, rows: &Rows) {
        let mut rows = rows.clone();
        for id in &mut rows.ids {
            *id %= 7;
        }
        let set = rows.set();
        let expected = bytes(&*self.fit(&set));
        for seed in 0..3 {
            self.check_equal(&shuffled(&set, seed), &expected, "another order of equal ids");
        }
    }

    fn learns_the_same_from_missing_values_of_both_kinds(&self, rows: &Rows) {
        let nulls = rows.columns[0].1.as_primitive::<Float64Type>();
        let nans: Float64Array =
            nulls.iter().map(|value| Some(value.unwrap_or(f64::NAN))).collect();
        let nulls = rows.clone().with_column("amount", Arc::new(nulls.clone()));
        let nans = rows.clone().with_column("amount", Arc::new(nans));
        let model = self.fit(&nulls.set());
        self.check_equal(&nans.set(), &bytes(&*model), "NaN for null");
        let of_nulls = predict(&*model, &nulls.features());
        assert_eq!(of_nulls, predict(&*model, &nans.features()), "NaN is as null is");
    }

    fn survives_degenerate_rows(&self, rows: &Rows) {
        let infinite: Float64Array = (0..ROWS)
            .map(|row| [f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 5e-324, 0.0][row % 6])
            .map(Some)
            .collect();
        let one_class = |label| Rows { labels: vec![label; ROWS], ..rows.clone() };
        let only = |names: &[&str]| {
            let mut rows = rows.clone();
            rows.columns.retain(|(name, _)| names.contains(name));
            rows
        };
        let first = Rows::new(1);
        self.check_degenerate("only positive rows", &one_class(1.0));
        self.check_degenerate("only negative rows", &one_class(0.0));
        self.check_degenerate("only a constant column", &only(&["constant"]));
        self.check_degenerate("only a missing column", &only(&["missing"]));
        self.check_degenerate("no column", &only(&[]));
        self.check_degenerate("one row", &first);
        self.check_degenerate(
            "infinite values",
            &rows.clone().with_column("amount", Arc::new(infinite)),
        );
    }

    /// A model whose predictions are defined, the same in any order, or a refusal: never a panic.
    fn check_degenerate(&self, what: &str, rows: &Rows) {
        match (self.make)(1).fit(&rows.set()) {
            Ok(model) => {
                let _ = predict(&*model, &rows.features());
                gives_what_its_signature_says(&*model, &rows.features());
                self.check_equal(&shuffled(&rows.set(), 5), &bytes(&*model), what);
                self.comes_back_from_its_file(&*model, &rows.features());
            }
            Err(error) => check_refusal(&error, what),
        }
    }

    fn refuses_no_rows(&self, rows: &Rows) {
        let none = rows.set().take(&UInt64Array::from(Vec::<u64>::new())).expect("no rows");
        match (self.make)(1).fit(&none) {
            Ok(model) => drop(predict(&*model, &rows.features())),
            Err(error) => check_refusal(&error, "no rows"),
        }
    }

    fn comes_back_from_its_file(&self, model: &dyn Model, rows: &RecordBatch) {
        let file = bytes(model);
        assert!(bytes(model) == file, "a model has one encoding");
        let decoded = (self.decode)(&file).expect("a model's file can be read");
        assert_eq!(decoded.signature(), model.signature());
        assert_eq!(decoded.importance(), model.importance());
        assert!(bytes(&*decoded) == file, "a decoded model has another encoding");
        assert_eq!(predict(&*decoded, rows), predict(model, rows), "a decoded model predicts else");
        for length in [0, 1, file.len() / 2, file.len() - 1] {
            assert!((self.decode)(&file[..length]).is_err(), "{length} bytes of a file are none");
        }
    }
}

fn check_refusal(error: &Error, what: &str) {
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{what}: {error}");
}

fn binds_columns_by_name(model: &dyn Model, rows: &RecordBatch) {
    let expected = predict(model, rows);
    let columns = rows.num_columns();
    let reversed: Vec<usize> = (0..columns).rev().collect();
    let reversed = rows.project(&reversed).expect("the columns are there");
    assert_eq!(predict(model, &reversed), expected, "columns are bound by name");

    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    let mut arrays = rows.columns().to_vec();
    fields.insert(0, Arc::new(Field::new("user_token", DataType::Utf8, true)));
    arrays.insert(0, Arc::new(StringArray::from(vec!["u"; rows.num_rows()])));
    let wider = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns");
    assert_eq!(predict(model, &wider), expected, "extra columns are ignored");
}

fn refuses_what_it_cannot_bind(model: &dyn Model, rows: &RecordBatch) {
    for (place, input) in model.signature().inputs.iter().enumerate() {
        let others: Vec<usize> = (0..rows.num_columns()).filter(|other| *other != place).collect();
        let others = rows.project(&others).expect("the columns are there");
        check_named(model, &others, &input.name, "a missing column");

        let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
        let mut arrays = rows.columns().to_vec();
        fields[place] = Arc::new(Field::new(&input.name, DataType::Utf8, true));
        arrays[place] = Arc::new(StringArray::from(vec!["1"; rows.num_rows()]));
        let text = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("columns");
        check_named(model, &text, &input.name, "a column of text");
    }
}

fn check_named(model: &dyn Model, rows: &RecordBatch, name: &str, what: &str) {
    let Err(error) = model.predict(rows) else { panic!("{what} `{name}` was scored") };
    check_refusal(&error, what);
    assert!(error.to_string().contains(name), "`{name}` is not named: {error}");
}

fn scores_each_row_by_itself(model: &dyn Model, rows: &RecordBatch) {
    let expected = predict(model, rows);
    assert!(predict(model, &rows.slice(0, 0)).is_empty(), "no rows have no predictions");
    for (start, length) in [(0, 1), (1, 63), (17, 64), (100, 65), (rows.num_rows() - 1, 1)] {
        let part = predict(model, &rows.slice(start, length));
        assert_eq!(part, expected[start..start + length], "rows {start} and {length} on");
    }
    let many = vec![rows; 40];
    let many = concat_batches(&rows.schema(), many).expect("the batches are alike");
    for part in predict(model, &many).chunks(rows.num_rows()) {
        assert_eq!(part, expected, "a row gets the same bits at any position");
    }
}

fn gives_what_its_signature_says(model: &dyn Model, rows: &RecordBatch) {
    let names: Vec<String> = rows.schema().fields().iter().map(|f| f.name().clone()).collect();
    let inputs: Vec<String> = model.signature().inputs.iter().map(|i| i.name.clone()).collect();
    assert_eq!(inputs, names, "the signature has the columns that it was trained with");
    let predictions = predict(model, rows);
    for bits in &predictions {
        let value = f64::from_bits(*bits);
        assert!(!value.is_nan(), "no prediction is NaN");
        if model.signature().output == OutputKind::Probability {
            assert!((0.0..=1.0).contains(&value), "{value} is no probability");
        }
    }
    let importance = model.importance();
    if !importance.is_empty() {
        assert_eq!(importance.len(), inputs.len(), "each input has an importance");
        let sum: f64 = importance.iter().sum();
        let nothing_counts = sum == 0.0 && predictions.windows(2).all(|pair| pair[0] == pair[1]);
        assert!(nothing_counts || (sum - 1.0).abs() < 1e-9, "importances sum to {sum}");
    }
}
