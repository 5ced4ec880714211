//! What became of those who were scored: labels, and the quality of the models.

use arrow::array::RecordBatch;
use icecore_core::Result;
use icecore_score::{EvaluationViews, LabelOptions, LabelPlan, LabelReport};

use crate::Project;

/// How good predictions were, and where to ask for it.
#[derive(Debug, Clone)]
pub struct EvaluatedScores {
    /// The views that answer, for whoever asks in SQL.
    pub views: EvaluationViews,
    /// Measures by model version, bucket and segment.
    pub measures: RecordBatch,
}

impl Project {
    /// Says which predictions would be labelled, and labels none.
    ///
    /// # Errors
    ///
    /// Those of [`label_scores`](Self::label_scores).
    pub async fn plan_labels(&self, name: &str, options: &LabelOptions) -> Result<LabelPlan> {
        let (spec, keys) = (self.scoring(name)?, self.scoring_keys(name)?);
        icecore_score::plan_labels(self.engine(), &spec, &keys, options).await
    }

    /// Joins outcomes to the predictions whose labels are settled, and keeps the labelled rows in a
    /// table that the next training set can be built from (C102, C103, C170).
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the job has no `[feedback]`; `NotFound` if nothing was scored, or for
    /// columns that outcomes do not have.
    pub async fn label_scores(&self, name: &str, options: &LabelOptions) -> Result<LabelReport> {
        let (spec, keys) = (self.scoring(name)?, self.scoring_keys(name)?);
        icecore_score::label(self.engine(), &spec, &keys, options).await
    }

    /// Measures the labelled predictions by model version, bucket and segment, in SQL views that
    /// stay (C113, C169).
    ///
    /// # Errors
    ///
    /// `NotFound` if nothing was labelled; `InvalidInput` for segments that are no columns.
    pub async fn evaluate_scores(&self, name: &str) -> Result<EvaluatedScores> {
        let (spec, keys) = (self.scoring(name)?, self.scoring_keys(name)?);
        let feedback = icecore_score::feedback_of(&spec)?;
        let definitions = self.definitions()?;
        let engine = self.engine();
        let views =
            icecore_score::evaluation_views(engine, &definitions, &spec, feedback, &keys).await?;
        let made_by = format!("scoring.{name}");
        let now = self.clock().now();
        icecore_score::put_evaluation_views(engine, &views, (&made_by, now)).await?;
        let query = format!(
            "SELECT * FROM {} ORDER BY role, model_version, grouped_by, value",
            views.evaluation
        );
        let measures = engine.sql(&query, &[]).await?.concat().await?;
        Ok(EvaluatedScores { views, measures })
    }
}
