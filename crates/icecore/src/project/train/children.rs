//! Runs below a training's run: what the trials of a search and the folds of a cross-validation
//! gave, each written when it has ended.

use std::collections::BTreeMap;

use icecore_core::{
    Error, NewRun, PinnedTable, Result, Run, RunEntries, RunId, RunStatus, RunTracker,
};
use icecore_train::metrics::Measure;
use icecore_train::search::Params;
use icecore_train::{CvResult, Fold};
use tokio::sync::mpsc;

use crate::Project;

/// The tag by which MLflow knows a run that belongs to another.
const PARENT: &str = "mlflow.parentRunId";
/// The tag that says why a run failed.
const ERROR: &str = "icecore.error";

/// What ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Such as `trial-3`.
    pub(super) name: String,
    pub(super) params: BTreeMap<String, String>,
    /// What it gave, or why it failed.
    pub(super) outcome: Result<BTreeMap<String, f64>, String>,
}

impl Ended {
    pub(super) fn trial(
        number: usize,
        (params, result): (&Params, &Result<CvResult>),
        measure: Measure,
    ) -> Self {
        let text = |(name, value): (&String, &_)| (name.clone(), ToString::to_string(value));
        let outcome = result.as_ref().map(|result| of_trial(result, measure));
        Self {
            name: format!("trial-{number}"),
            params: params.iter().map(text).collect(),
            outcome: outcome.map_err(whole),
        }
    }

    pub(super) fn fold(number: usize, fold: &Result<Fold>, measure: Measure) -> Self {
        let outcome = fold.as_ref().map(|fold| {
            let mut metrics = BTreeMap::from([
                (format!("val_{}", measure.name()), fold.score),
                ("training_row_count".to_owned(), fold.training_rows as f64),
                ("val_row_count".to_owned(), fold.validation_rows as f64),
            ]);
            metrics.extend(fold.rounds.map(|rounds| ("val_rounds".to_owned(), rounds as f64)));
            metrics
        });
        let params = BTreeMap::from([("fold".to_owned(), number.to_string())]);
        Self { name: format!("fold-{number}"), params, outcome: outcome.map_err(whole) }
    }
}

fn of_trial(result: &CvResult, measure: Measure) -> BTreeMap<String, f64> {
    let name = measure.name();
    let mut metrics = BTreeMap::from([
        (format!("cv_{name}_mean"), result.mean),
        (format!("cv_{name}_std"), result.std),
    ]);
    let folds = result.scores.iter().enumerate();
    metrics.extend(folds.map(|(fold, score)| (format!("fold_{fold}_{name}"), *score)));
    if !result.rounds.is_empty() {
        let rounds: usize = result.rounds.iter().sum();
        metrics.insert("rounds_mean".to_owned(), rounds as f64 / result.rounds.len() as f64);
    }
    metrics
}

/// An error with what it says to do.
fn whole(error: &Error) -> String {
    let help = error.help().map(|help| format!(": {help}"));
    format!("{error}{}", help.unwrap_or_default())
}

/// Whose children are written.
#[derive(Debug)]
pub(super) struct Parent {
    pub(super) run: RunId,
    pub(super) experiment: String,
    /// The training set's name, with which the names of children begin.
    pub(super) dataset: String,
    pub(super) inputs: Vec<PinnedTable>,
}

impl Project {
    /// Does work on a thread that may wait, and writes what it tells of as it ends.
    pub(super) async fn with_children<T: Send + 'static>(
        &self,
        parent: &Parent,
        work: impl FnOnce(&(dyn Fn(Ended) + Sync)) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, mut ended) = mpsc::unbounded_channel();
        let working = tokio::task::spawn_blocking(move || {
            work(&|ended| {
                // Nobody listens any more if writing failed, which is told in the end.
                let _ = sender.send(ended);
            })
        });
        let writing = async move {
            while let Some(ended) = ended.recv().await {
                self.write_child(parent, ended).await?;
            }
            Ok(())
        };
        let (worked, written): (_, Result<()>) = tokio::join!(working, writing);
        let worked =
            worked.map_err(|error| Error::internal("training stopped").with_source(error))??;
        written.map(|()| worked)
    }

    async fn write_child(&self, parent: &Parent, ended: Ended) -> Result<()> {
        let name = format!("{}-{}", parent.dataset, ended.name);
        let child = NewRun::new(parent.experiment.clone(), name)
            .with_inputs(parent.inputs.clone())
            .with_tag(PARENT, parent.run.to_string())
            .with_tag("icecore.dataset", parent.dataset.clone());
        let child = self.tracker().start(child).await?;
        let mut entries = RunEntries { params: ended.params, ..RunEntries::default() };
        let status = match ended.outcome {
            Ok(metrics) => {
                entries.metrics = metrics;
                RunStatus::Finished
            }
            Err(why) => {
                entries.tags.insert(ERROR.to_owned(), why);
                RunStatus::Failed
            }
        };
        self.tracker().log(&child, entries).await?;
        self.tracker().finish(&child, status).await
    }

    /// The runs that belong to a run, in the order in which they ended: the trials of a search, the
    /// folds of a cross-validation.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such run.
    pub async fn child_runs(&self, run: &RunId) -> Result<Vec<Run>> {
        let parent = self.tracker().get(run).await?;
        let mut runs = self.tracker().list(Some(&parent.experiment)).await?;
        runs.retain(|of| of.tags.get(PARENT).is_some_and(|id| id == run.as_str()));
        runs.reverse();
        Ok(runs)
    }
}
