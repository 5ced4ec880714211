//! Looking for parameters: each combination is a run of its own.

use std::collections::BTreeMap;

use icecore_core::{Error, Result, RunEntries, RunTracker};
use icecore_dataset::SearchSpec;
use icecore_train::search::{Params, draw, grid, search};

use super::Training;
use super::children::{Ended, Parent};
use super::rows::Rows;
use crate::Project;

impl Project {
    /// Cross-validates every combination, records each as a child of the run when it has ended, and
    /// gives the recipe the parameters of the best. Returns how many failed, if some did.
    pub(super) async fn search(
        &self,
        parent: &Parent,
        training: &mut Training,
        spec: SearchSpec,
    ) -> Result<Option<String>> {
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
        let work = move |tell: &(dyn Fn(Ended) + Sync)| {
            let splits = recipe.splits(&loaded)?;
            let trainer = |given: &Params| recipe.with(given)?.trainer();
            let on = (&splits[..], measure);
            search(&trainer, &candidates, &loaded.set, on, &|number, params, result| {
                tell(Ended::trial(number, (params, result), measure));
            })
        };
        let found = self.with_children(parent, work).await?;
        let tried = found.trials.len();
        let failed = found.trials.iter().filter(|trial| trial.result.is_none()).count();
        let best = found.trials.get(found.best);
        let Some((params, result)) =
            best.and_then(|best| Some((&best.params, best.result.as_ref()?)))
        else {
            return Err(Error::internal("a search has no best trial"));
        };
        let metrics = BTreeMap::from([
            (format!("search_{}_mean", measure.name()), result.mean),
            ("search_best_trial".to_owned(), found.best as f64),
            ("search_failed_trials".to_owned(), failed as f64),
        ]);
        self.tracker().log(&parent.run, RunEntries { metrics, ..RunEntries::default() }).await?;
        training.recipe = training.recipe.with(params)?;
        Ok((failed > 0).then(|| {
            format!(
                "{failed} of {tried} combinations failed: `icecore runs show {}` lists them",
                parent.run
            )
        }))
    }
}
