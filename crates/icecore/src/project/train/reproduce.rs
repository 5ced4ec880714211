//! Making a run's rows and its model again, and comparing both with what the run recorded.

use icecore_core::{
    ArtifactStore, Error, ErrorKind, Result, Run, RunId, RunTracker, SnapshotSelector,
};
use icecore_dataset::{LoadOptions, Lock, RowsDigest, RowsFrom};
use icecore_train::{first_difference, model_hash};
use serde::Serialize;

use super::environment::environment;
use super::recipe::Recipe;
use super::rows::{Rows, STREAMED_FROM};
use super::{MODEL_FILE, RECIPE_FILE};
use crate::Project;

/// How to make a run's model again.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct ReproduceOptions {
    /// Where the rows come from.
    pub rows: RowsProof,
}

impl ReproduceOptions {
    /// Takes the rows from here.
    #[must_use]
    pub const fn with_rows(mut self, rows: RowsProof) -> Self {
        self.rows = rows;
        self
    }
}

/// Where the rows come from that a model is made of again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RowsProof {
    /// They are joined again from the pinned inputs of the run's lock: the table that they were
    /// written to need not be there.
    #[default]
    Rebuilt,
    /// They are read from the table that they were written to, at the run's pin.
    Table,
}

/// What became of making a run's rows and its model again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReproduceReport {
    /// The run.
    pub run_id: RunId,
    /// Whether the rows and the model's bytes are those of the run.
    pub equal: bool,
    /// Where the rows come from.
    pub rows: RowsProof,
    /// How many there are.
    pub row_count: u64,
    /// The content hash of the rows.
    pub content_hash: String,
    /// The content hash that the run recorded; runs on another state of the training set than the
    /// locked one once recorded none.
    pub recorded_content_hash: Option<String>,
    /// SHA-256 of the model's file, built again.
    pub model_hash: String,
    /// SHA-256 of the model's file that the run recorded.
    pub recorded_hash: String,
    /// What differs first between the two models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
    /// What differs between the run's environment and this one: versions, the platform.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<String>,
}

/// What a run recorded that makes its model again.
struct Recorded {
    run: Run,
    lock: Lock,
    recipe: Recipe,
    /// The state of the training set's table.
    state: SnapshotSelector,
}

impl Recorded {
    /// Whether the run's rows are those of its lock, and not of another state of the table.
    fn is_locked(&self) -> bool {
        self.state == SnapshotSelector::Id(self.lock.materialized.snapshot)
    }

    fn content_hash(&self) -> Option<String> {
        let recorded = self.run.params.get("training_data_content_hash");
        recorded.or_else(|| self.is_locked().then_some(&self.lock.content_hash)).cloned()
    }
}

impl Project {
    /// Makes the rows of a run again from the inputs that its lock pins, trains its model again on
    /// them, and compares the rows' hash and the model's bytes with what the run recorded (C28,
    /// C63). Nothing is recorded.
    ///
    /// # Errors
    ///
    /// As [`Self::reproduce_opts`].
    pub async fn reproduce(&self, run: &RunId) -> Result<ReproduceReport> {
        self.reproduce_opts(run, ReproduceOptions::default()).await
    }

    /// As [`Self::reproduce`], with options. The rows of a run on another state of the training set
    /// than the locked one come from its table in any case: the run does not know their inputs.
    ///
    /// # Errors
    ///
    /// `NotFound` if the run, its lock or its data is gone.
    pub async fn reproduce_opts(
        &self,
        run: &RunId,
        options: ReproduceOptions,
    ) -> Result<ReproduceReport> {
        let recorded = self.recorded(run).await?;
        let before = self.artifacts().get(run, MODEL_FILE).await?;
        let proof = if recorded.is_locked() { options.rows } else { RowsProof::Table };
        let (rows, found) = match proof {
            RowsProof::Rebuilt => self.rebuilt_rows(&recorded).await,
            RowsProof::Table => self.stored_rows(&recorded).await,
        }
        .map_err(|error| rows_are_gone(error, &recorded, proof))?;
        let recipe = recorded.recipe.clone();
        let bytes = tokio::task::spawn_blocking(move || recipe.model(&rows)?.encode())
            .await
            .map_err(|error| Error::internal("training stopped").with_source(error))??;
        let (model_hash, recorded_hash) = (model_hash(&bytes), model_hash(&before));
        let recorded_content_hash = recorded.content_hash();
        let same_rows =
            recorded_content_hash.as_ref().is_none_or(|hash| *hash == found.content_hash);
        let same_model = model_hash == recorded_hash;
        let difference = if same_model { None } else { first_difference(&before, &bytes)? };
        let environment = environment().into_iter().filter_map(|(name, now)| {
            let then = recorded.run.params.get(name).filter(|then| **then != now)?;
            Some(format!("{name}: {then}, now {now}"))
        });
        Ok(ReproduceReport {
            run_id: run.clone(),
            equal: same_rows && same_model,
            rows: proof,
            row_count: found.rows,
            content_hash: found.content_hash,
            recorded_content_hash,
            model_hash,
            recorded_hash,
            difference,
            environment: environment.collect(),
        })
    }

    async fn recorded(&self, run: &RunId) -> Result<Recorded> {
        let of = self.tracker().get(run).await?;
        let missing = |error: Error| {
            error.with_note(format!("run `{run}` is `{}`: it trained no model", of.name))
        };
        let lock = self.run_lock(run).await.map_err(missing)?;
        let recipe = self.artifacts().get(run, RECIPE_FILE).await.map_err(missing)?;
        let recipe: Recipe = serde_json::from_slice(&recipe).map_err(|error| {
            Error::corrupt(format!("the recipe of run `{run}` cannot be read")).with_source(error)
        })?;
        let state = of
            .params
            .get("training_data_snapshot_id")
            .ok_or_else(|| missing(Error::not_found("the run names no training data")))?;
        let state = SnapshotSelector::parse(state)?;
        Ok(Recorded { run: of, lock, recipe, state })
    }

    /// The rows, joined again. Where they are many, they are not joined for each of the readings
    /// that it takes to learn from them, if their table is proven to hold the same.
    async fn rebuilt_rows(&self, recorded: &Recorded) -> Result<(Rows, RowsDigest)> {
        let Recorded { lock, recipe, .. } = recorded;
        let types = recipe.types.clone();
        let options = recipe.loads(None).with_rows(RowsFrom::Inputs { types });
        let can_stream = recipe.needs_memory().is_none();
        if can_stream
            && icecore_dataset::size(self.engine(), lock, &options).await? >= STREAMED_FROM
        {
            let rebuilt = icecore_dataset::rebuilt_digest(self.engine(), lock).await?;
            match icecore_dataset::digest(self.engine(), lock, &lock.materialized).await {
                Ok(stored) if stored == rebuilt => {
                    let rows = self.rows_of(recorded, recipe.loads(None)).await?;
                    return Ok((rows, rebuilt));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let rows = self.rows_of(recorded, options).await?;
        let found = rows.rebuilt().cloned();
        let found = found.ok_or_else(|| Error::internal("rows were not joined that had to be"))?;
        Ok((rows, found))
    }

    /// The rows as they were written.
    async fn stored_rows(&self, recorded: &Recorded) -> Result<(Rows, RowsDigest)> {
        let options = recorded.recipe.loads(Some(recorded.state.clone()));
        let rows = self.rows_of(recorded, options).await?;
        let found = icecore_dataset::digest(self.engine(), &recorded.lock, rows.pin()).await?;
        Ok((rows, found))
    }

    async fn rows_of(&self, recorded: &Recorded, options: LoadOptions) -> Result<Rows> {
        let can_stream = recorded.recipe.needs_memory().is_none();
        let (rows, _) = self.rows(&recorded.lock, (options, (false, can_stream))).await?;
        Ok(rows)
    }
}

/// Says what else can be tried where rows are gone.
fn rows_are_gone(error: Error, recorded: &Recorded, proof: RowsProof) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    let run = &recorded.run.id;
    match (proof, recorded.is_locked()) {
        (RowsProof::Rebuilt, _) => error.with_help(format!(
            "an input of the rows is gone; `icecore reproduce {run} --from-table` trains on the \
             rows as they were written, if their table is there"
        )),
        (_, true) => error.with_help(format!(
            "`icecore reproduce {run}` joins the rows again from what they were made of"
        )),
        (_, false) => error.with_note(
            "the run was trained on another state of the training set than the locked one, and \
             does not know what those rows were made of",
        ),
    }
}
