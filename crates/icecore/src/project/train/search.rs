//! Looking for parameters: each combination is a run of its own.

use std::collections::BTreeMap;

use icecore_core::{Error, NewRun, Result, RunEntries, RunId, RunStatus, RunTracker};
use icecore_dataset::SearchSpec;
use icecore_train::metrics::Measure;
use icecore_train::search::{Params, Trial, draw, grid, search};

use super::Training;
use super::rows::Rows;
use crate::Project;

/// The tag by which MLflow knows a run that belongs to another.
const PARENT: &str = "mlflow.parentRunId";

impl Project {
    /// Cross-validates every combination, records each as a child of the run, and gives the recipe
    /// the parameters of the best.
    pub(super) async fn search(
        &self,
        run: &RunId,
        training: &mut Training,
        spec: SearchSpec,
    ) -> Result<()> {
        let measure = match &spec.measure {
            None => training.recipe.measure(),
            Some(name) => training.recipe.measure_named(name)?,
        };
        let candidates = match spec.trials {
            None => grid(&spec.params)?,
            Some(trials) => draw(&spec.params, trials, spec.seed)?,
        };
        let Rows::Loaded(loaded) = training.rows.clone() else {
            return Err(Error::internal("a search needs its rows in memory"));
        };
        let recipe = training.recipe.clone();
        let found = tokio::task::spawn_blocking(move || {
            let splits = recipe.splits(&loaded)?;
            let trainer = |given: &Params| {
                let mut params = recipe.params.clone();
                params.extend(given.clone());
                recipe.trainer_with(&params)
            };
            search(&trainer, &candidates, &loaded.set, (&splits, measure))
        })
        .await
        .map_err(|error| Error::internal("the search stopped").with_source(error))??;
        for (number, trial) in found.trials.iter().enumerate() {
            self.record_trial(run, training, (number, trial, measure)).await?;
        }
        let Some(best) = found.trials.into_iter().nth(found.best) else { return Ok(()) };
        let metrics = BTreeMap::from([
            (format!("search_{}_mean", measure.name()), best.result.mean),
            ("search_best_trial".to_owned(), found.best as f64),
        ]);
        self.tracker().log(run, RunEntries { metrics, ..RunEntries::default() }).await?;
        training.recipe.params.extend(best.params);
        Ok(())
    }

    async fn record_trial(
        &self,
        run: &RunId,
        training: &Training,
        (number, trial, measure): (usize, &Trial, Measure),
    ) -> Result<()> {
        let child = NewRun::new(
            training.spec.experiment(),
            format!("{}-trial-{number}", training.spec.name),
        )
        .with_inputs(training.rows.source().provenance().to_vec())
        .with_tag(PARENT, run.to_string())
        .with_tag("icecore.dataset", training.spec.name.clone());
        let child = self.tracker().start(child).await?;
        let params =
            trial.params.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
        let mut metrics = BTreeMap::from([
            (format!("cv_{}_mean", measure.name()), trial.result.mean),
            (format!("cv_{}_std", measure.name()), trial.result.std),
        ]);
        if !trial.result.rounds.is_empty() {
            let rounds: usize = trial.result.rounds.iter().sum();
            let mean = rounds as f64 / trial.result.rounds.len() as f64;
            metrics.insert("rounds_mean".to_owned(), mean);
        }
        self.tracker().log(&child, RunEntries { params, metrics, ..RunEntries::default() }).await?;
        self.tracker().finish(&child, RunStatus::Finished).await
    }
}
