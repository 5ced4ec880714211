//! Scoring and materialization, with the audit run that records them.

use std::collections::BTreeMap;

use icecore_core::{
    Date, ModelRegistry, ModelVersion, NewRun, Result, RunEntries, RunId, RunStatus, RunTracker,
};
use icecore_score::{
    MaterializeOptions, MaterializeReport, ScoreJob, ScorePlan, ScoreReport, ScoringSpec,
};
use serde::Serialize;

use crate::Project;

/// What a scoring did, and which run recorded it.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredRun {
    /// The audit run.
    pub run_id: RunId,
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub model_version: u32,
    /// What was done.
    pub report: ScoreReport,
}

/// What the serving cache was filled with, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MaterializedScores {
    /// The store, without secrets.
    pub store: String,
    /// What was done.
    #[serde(flatten)]
    pub report: MaterializeReport,
}

impl Project {
    /// Says what a scoring would read, and with which version of the model; scores nothing.
    ///
    /// # Errors
    ///
    /// Those of [`score`](Self::score).
    pub async fn plan_score(
        &self,
        name: &str,
        date: Option<Date>,
    ) -> Result<(ScorePlan, ModelVersion)> {
        let spec = self.scoring(name)?;
        let version = self.tracker().resolve(&spec.model.name, &spec.model.selector).await?;
        let definitions = self.definitions()?;
        let plan = icecore_score::plan(self.engine(), &definitions, &spec, date).await?;
        Ok((plan, version))
    }

    /// Scores the entities of a date with the registered model and records an audit run (C77-C84).
    ///
    /// # Errors
    ///
    /// `NotFound` if the model, its alias or the date's features are not there.
    pub async fn score(&self, name: &str, date: Option<Date>) -> Result<ScoredRun> {
        let spec = self.scoring(name)?;
        let definitions = self.definitions()?;
        let version = self.tracker().resolve(&spec.model.name, &spec.model.selector).await?;
        let model = self.load_model(&version).await?;
        let plan = icecore_score::plan(self.engine(), &definitions, &spec, date).await?;
        let run = NewRun::new(format!("/scoring/{name}"), format!("batch-scoring-{}", plan.date))
            .with_inputs(vec![plan.features.clone()])
            .with_tag("icecore.scoring", name);
        let run = self.tracker().start(run).await?;
        let (model_name, model_version) = (version.model.clone(), version.version);
        let job = ScoreJob { spec: &spec, plan, model, version, run: run.clone() };
        let outcome = match icecore_score::score(self.engine(), job).await {
            Ok(report) => self.audit(&run, &spec, &report, model_version).await.map(|()| report),
            Err(error) => Err(error),
        };
        let status = if outcome.is_ok() { RunStatus::Finished } else { RunStatus::Failed };
        let finished = self.tracker().finish(&run, status).await;
        let report = outcome?;
        finished?;
        Ok(ScoredRun { run_id: run, model: model_name, model_version, report })
    }

    async fn audit(
        &self,
        run: &RunId,
        spec: &ScoringSpec,
        report: &ScoreReport,
        version: u32,
    ) -> Result<()> {
        let params = [
            ("scoring_date", report.date.to_string()),
            ("model_version", version.to_string()),
            ("model_uri", spec.model.to_string()),
            ("feature_table", report.features.table.to_string()),
            ("feature_snapshot_id", report.features.snapshot.to_string()),
            ("prediction_snapshot_id", report.predictions.snapshot.to_string()),
            ("code_version", self.code_version().to_owned()),
        ];
        let mut metrics = BTreeMap::new();
        metrics.insert("scored_user_count".to_owned(), report.rows as f64);
        metrics.insert("high_risk_count".to_owned(), report.high_rows as f64);
        if let Some(mean) = report.mean_prediction {
            metrics.insert("avg_churn_probability".to_owned(), mean);
        }
        let params = params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.tracker().log(run, RunEntries { params, metrics, ..RunEntries::default() }).await
    }

    /// Copies the selected scores to the serving cache (C85).
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no score yet, `Unavailable` if the cache does not answer.
    pub async fn materialize(
        &self,
        name: &str,
        options: MaterializeOptions,
    ) -> Result<MaterializedScores> {
        let spec = self.scoring(name)?;
        let store = self.online().await?;
        let report = icecore_score::materialize(self.engine(), &*store, &spec, options).await?;
        Ok(MaterializedScores { store: store.location().to_owned(), report })
    }
}
