//! What all trainers have in common: rows that count, preprocessing, the model's header.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Float64Array, UInt64Array};
use arrow::datatypes::SchemaRef;
use icecore_core::{Error, Model, PinnedTable, Result, Trainer, TrainingSet, TrainingSource};

use crate::columns::{self, CategoriesByName};
use crate::model::{FittedModel, Header};
use crate::preprocess::{self, Step};
use crate::scorer::Scorer;

/// How an algorithm learns from rows that are preprocessed.
pub(crate) trait Learner: fmt::Debug + Send + Sync + 'static {
    /// Learns from rows, all of which count, and stops where `watched` are no longer predicted
    /// better, if the parameters say so and the algorithm can.
    fn learn(&self, set: &TrainingSet, watched: Option<&TrainingSet>) -> Result<Learned>;

    /// Whether it reads rows part by part, by `learn_source`.
    fn reads_parts(&self) -> bool {
        false
    }

    /// As `learn`, from rows that are read part by part.
    fn learn_source(
        &self,
        source: &dyn TrainingSource,
        watched: Option<&dyn TrainingSource>,
    ) -> Result<Learned> {
        let set = TrainingSet::collect(source)?;
        match watched {
            None => self.learn(&set, None),
            Some(watched) => self.learn(&set, Some(&TrainingSet::collect(watched)?)),
        }
    }

    /// Whether labels are numbers of more than two classes, of which no mean makes sense.
    fn has_classes(&self) -> bool {
        false
    }

    /// Whether a row may count more than another.
    fn knows_weights(&self) -> bool {
        false
    }
}

/// What was learned.
#[derive(Debug)]
pub(crate) struct Learned {
    pub(crate) scorer: Scorer,
    /// The categories of features that are no numbers.
    pub(crate) categories: CategoriesByName,
}

impl Learned {
    /// From numbers alone.
    pub(crate) fn new(scorer: Scorer) -> Self {
        Self { scorer, categories: CategoriesByName::new() }
    }
}

/// An algorithm with its parameters and what becomes of the rows before it sees them.
#[derive(Debug)]
pub(crate) struct Fit {
    algorithm: &'static str,
    learner: Box<dyn Learner>,
    effective: BTreeMap<String, String>,
    threads: usize,
    steps: Vec<Step>,
}

impl Fit {
    pub(crate) fn new(
        algorithm: &'static str,
        learner: impl Learner,
        (effective, threads): (BTreeMap<String, String>, usize),
    ) -> Self {
        Self { algorithm, learner: Box::new(learner), effective, threads, steps: Vec::new() }
    }

    pub(crate) fn with_steps(mut self, steps: Vec<Step>) -> Result<Self> {
        if self.learner.has_classes() && steps.iter().any(Step::needs_mean_labels) {
            return Err(Error::invalid("`target_encode` is for two classes or numbers")
                .with_help("use `one_hot`, or leave text to `gbdt`, which divides it by itself"));
        }
        self.steps = steps;
        Ok(self)
    }

    fn run(&self, set: &TrainingSet, watched: Option<&TrainingSet>) -> Result<Arc<dyn Model>> {
        let inputs = columns::inputs(&set.features().schema())?;
        let rows = set.rows();
        let set = counted(set)?;
        columns::check_counted(set.rows(), rows)?;
        self.check_weights(&set)?;
        let (steps, learned) = if self.steps.is_empty() {
            (Vec::new(), self.learner.learn(&set, watched)?)
        } else {
            let (steps, prepared) = preprocess::fit(&self.steps, &set)?;
            let watched = watched
                .map(|watched| preprocess::prepared(&steps, &inputs, watched))
                .transpose()?;
            let learned = self.learner.learn(&prepared, watched.as_ref())?;
            (steps, learned)
        };
        let header = Header::new((self.algorithm, &self.effective), (inputs, &learned.scorer))
            .with_rows(rows, set.provenance())
            .with_steps(steps)
            .with_categories(learned.categories);
        Ok(Arc::new(FittedModel::new(header, learned.scorer)?))
    }

    fn run_source(
        &self,
        source: &dyn TrainingSource,
        watched: Option<&dyn TrainingSource>,
    ) -> Result<Arc<dyn Model>> {
        let inputs = columns::inputs(&source.schema())?;
        let counted = Counted { source, rows: AtomicUsize::new(0) };
        let learned = self.learner.learn_source(&counted, watched)?;
        let header = Header::new((self.algorithm, &self.effective), (inputs, &learned.scorer))
            .with_rows(counted.rows.load(Ordering::Relaxed), source.provenance())
            .with_categories(learned.categories);
        Ok(Arc::new(FittedModel::new(header, learned.scorer)?))
    }

    fn check_weights(&self, set: &TrainingSet) -> Result<()> {
        let Some(weights) = set.weights() else { return Ok(()) };
        let differ = weights.values().windows(2).any(|pair| pair[0] != pair[1]);
        if differ && !self.learner.knows_weights() {
            return Err(Error::invalid(format!("`{}` knows no weights of rows", self.algorithm))
                .with_help("train with `gbdt`, or let all rows count alike"));
        }
        Ok(())
    }
}

/// The rows of a source that count at all.
#[derive(Debug)]
struct Counted<'a> {
    source: &'a dyn TrainingSource,
    /// How many rows the source had when it was last read.
    rows: AtomicUsize,
}

impl TrainingSource for Counted<'_> {
    fn schema(&self) -> SchemaRef {
        self.source.schema()
    }

    fn provenance(&self) -> &[PinnedTable] {
        self.source.provenance()
    }

    fn read(&self, each: &mut dyn FnMut(TrainingSet) -> Result<()>) -> Result<()> {
        let (mut rows, mut counted) = (0, 0);
        self.source.read(&mut |part| {
            rows += part.rows();
            let counts = |weights: &Float64Array| weights.values().iter().all(|w| *w > 0.0);
            let part = if part.weights().is_none_or(counts) { part } else { positive(&part)? };
            counted += part.rows();
            each(part)
        })?;
        columns::check_counted(counted, rows)?;
        self.rows.store(rows, Ordering::Relaxed);
        Ok(())
    }
}

/// The rows that count at all: one of weight zero is as if it were not there.
fn counted(set: &TrainingSet) -> Result<TrainingSet> {
    let counted = positive(set)?;
    if set.weights().is_none() {
        return Ok(counted);
    }
    let once = |weights: &Float64Array| weights.values().iter().all(|weight| *weight == 1.0);
    if !counted.weights().is_some_and(once) {
        return Ok(counted);
    }
    // Rows that all count once have no weights.
    let (labels, ids) = (counted.labels().clone(), counted.row_ids().clone());
    let provenance = counted.provenance().to_vec();
    let once = TrainingSet::new(counted.features().clone(), labels, ids)?;
    let once = once.with_provenance(provenance);
    match counted.groups() {
        Some(groups) => once.with_groups(groups.clone()),
        None => Ok(once),
    }
}

/// The rows of weight above zero.
fn positive(set: &TrainingSet) -> Result<TrainingSet> {
    let Some(weights) = set.weights() else { return Ok(set.clone()) };
    let rows = (0..set.rows()).filter(|row| weights.value(*row) > 0.0);
    set.take(&UInt64Array::from_iter_values(rows.map(|row| row as u64)))
}

impl Trainer for Fit {
    fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    fn params(&self) -> BTreeMap<String, String> {
        let mut params = self.effective.clone();
        if !self.steps.is_empty() {
            let steps: Vec<String> = self.steps.iter().map(ToString::to_string).collect();
            params.insert("preprocess".to_owned(), steps.join("; "));
        }
        params
    }

    fn fit(&self, set: &TrainingSet) -> Result<Arc<dyn Model>> {
        crate::pool::with_threads(self.threads, || self.run(set, None))
    }

    fn fit_watching(&self, set: &TrainingSet, validation: &TrainingSet) -> Result<Arc<dyn Model>> {
        crate::pool::with_threads(self.threads, || self.run(set, Some(validation)))
    }

    fn fit_source(
        &self,
        source: &dyn TrainingSource,
        validation: Option<&dyn TrainingSource>,
    ) -> Result<Arc<dyn Model>> {
        if self.steps.is_empty() && self.learner.reads_parts() {
            let fit = || self.run_source(source, validation);
            return crate::pool::with_threads(self.threads, fit);
        }
        let set = TrainingSet::collect(source)?;
        match validation {
            None => self.fit(&set),
            Some(validation) => self.fit_watching(&set, &TrainingSet::collect(validation)?),
        }
    }
}
