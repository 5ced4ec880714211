//! Feature views and training sets of a project.

use icecore_core::{BatchStream, Result, RunId};
use icecore_dataset::{
    Asked, BuildOptions, BuiltDataset, DatasetPlan, HandOff, Lock, Retrieval, Retrieved,
    Verification, lockfile_path,
};
use icecore_features::{
    BackfillOptions, BackfillReport, ComputeOptions, ComputeReport, ExplainOptions, Explanation,
    VerifyOptions, VerifyReport,
};

use crate::Project;

impl Project {
    /// Computes a feature view into its table (C40-C49). Where no run is named, this is one of its
    /// own: its commit says so (`icecore.run-id`).
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown view or source, `InvalidInput` for a definition that does not fit.
    pub async fn compute_features(
        &self,
        view: &str,
        mut options: ComputeOptions,
    ) -> Result<ComputeReport> {
        let definitions = self.definitions()?;
        options.run.get_or_insert_with(new_run);
        icecore_features::compute_view(self.engine(), &definitions, view, options).await
    }

    /// Checks every feature view against its sources as they are now.
    ///
    /// # Errors
    ///
    /// Every mistake of every file, each with its place.
    pub async fn check_features(&self) -> Result<()> {
        icecore_features::check(self.engine(), &self.definitions()?).await
    }

    /// Computes a feature view in steps, each of which is committed; an interrupted one goes on.
    ///
    /// # Errors
    ///
    /// As [`compute_features`](Self::compute_features).
    pub async fn backfill_features(
        &self,
        view: &str,
        mut options: BackfillOptions,
    ) -> Result<BackfillReport> {
        let definitions = self.definitions()?;
        options.run.get_or_insert_with(new_run);
        icecore_features::backfill(self.engine(), &definitions, view, options).await
    }

    /// Computes sampled entities of a feature view again and compares with its table.
    ///
    /// # Errors
    ///
    /// `DataCorrupt` with the first row that differs.
    pub async fn verify_features(
        &self,
        view: &str,
        options: VerifyOptions,
    ) -> Result<VerifyReport> {
        let definitions = self.definitions()?;
        icecore_features::verify_view(self.engine(), &definitions, view, options).await
    }

    /// Lists the events of an entity beside the windows of a view that end at a moment.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown view, `InvalidInput` for an entity that is not one.
    pub async fn explain_features(
        &self,
        view: &str,
        options: ExplainOptions,
    ) -> Result<Explanation> {
        let definitions = self.definitions()?;
        icecore_features::explain(self.engine(), &definitions, view, options).await
    }

    /// Joins, pins and locks a training set (C15-C20, C116-C118).
    ///
    /// # Errors
    ///
    /// `NotFound` and `InvalidInput` for what the definition names and nobody has.
    pub async fn build_dataset(&self, name: &str) -> Result<BuiltDataset> {
        let (spec, _) = self.training(name)?;
        let options = BuildOptions::default().with_clock(std::sync::Arc::clone(self.clock()));
        icecore_dataset::build(self.engine(), &self.definitions()?, &spec, options).await
    }

    /// Says what a training set would pin and join, and writes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`build_dataset`](Self::build_dataset).
    pub async fn plan_dataset(&self, name: &str) -> Result<DatasetPlan> {
        let (spec, _) = self.training(name)?;
        icecore_dataset::plan(self.engine(), &self.definitions()?, &spec, &[]).await
    }

    /// How the rows of a training set are joined, as text. Writes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`build_dataset`](Self::build_dataset).
    pub async fn explain_dataset(&self, name: &str) -> Result<String> {
        icecore_dataset::explain(self.engine(), &self.plan_dataset(name).await?).await
    }

    /// Features for rows that are no training set (C116-C118). Writes nothing.
    ///
    /// # Errors
    ///
    /// `NotFound` and `InvalidInput` for what is asked for and nobody has.
    pub async fn retrieve_features(
        &self,
        asked: Asked,
        retrieval: &Retrieval,
    ) -> Result<Retrieved> {
        icecore_dataset::retrieve(self.engine(), &self.definitions()?, asked, retrieval).await
    }

    /// Streams the rows of a training set from the state that its lock pins (C99).
    ///
    /// # Errors
    ///
    /// `NotFound` if it was not built or has no such column.
    pub async fn dataset_rows(&self, name: &str, options: HandOff) -> Result<BatchStream> {
        icecore_dataset::stream(self.engine(), &self.dataset_lock(name)?, options).await
    }

    /// Reads the lock of a training set.
    ///
    /// # Errors
    ///
    /// `NotFound` if it was not built.
    pub fn dataset_lock(&self, name: &str) -> Result<Lock> {
        let path = lockfile_path(&self.definition_path("training", name)?);
        Lock::read(&path).map_err(|error| {
            error.with_help(format!("build it first: `icecore dataset build {name}`"))
        })
    }

    /// Builds a training set again from its lock and compares.
    ///
    /// # Errors
    ///
    /// `NotFound` if it was not built or a pin has expired.
    pub async fn verify_dataset(&self, name: &str) -> Result<Verification> {
        self.verify_lock(&self.dataset_lock(name)?).await
    }

    /// Builds the training set of a lock again, wherever the lock is kept, and compares.
    ///
    /// # Errors
    ///
    /// `NotFound` if a pin has expired.
    pub async fn verify_lock(&self, lock: &Lock) -> Result<Verification> {
        icecore_dataset::verify(self.engine(), lock, Some(&self.definitions()?)).await
    }
}

/// The id of a run of its own.
fn new_run() -> RunId {
    RunId::new(uuid::Uuid::now_v7().simple().to_string())
}
