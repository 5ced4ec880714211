//! Batch scoring: a registered model, the feature rows of a date, and a prediction table; and from
//! there to the serving cache.
//!
//! Scoring is a [`Model`](icecore_core::Model) applied to a stream, so this crate has functions:
//! [`plan`] pins what is read, [`score`] commits one date's predictions in one step, with those of
//! challengers beside them, [`explain_score`] says years later which features made one of them,
//! [`label`] joins outcomes to predictions that are old enough, [`evaluation_views`] measures them,
//! [`materialize`] copies what must be served fast. All are safe to repeat.
//!
//! # Example
//!
//! ```
//! use icecore_score::ScoringSpec;
//!
//! let spec = ScoringSpec::parse("scoring/churn.toml", r#"
//!     name = "churn"
//!     model = "models:/churn-prediction-gbm/Production"
//!     view = "churn_features"
//!     table = "ml_predictions.churn_scores"
//!     prediction = "churn_probability"
//!     date_column = "churn_score_date"
//! "#)?;
//! assert_eq!(spec.buckets.unwrap_or_default().of(0.93), "high");
//! # Ok::<(), icecore_core::Error>(())
//! ```

mod bucket;
mod explain;
mod feedback;
mod materialize;
mod model_uri;
mod newest;
mod plan;
mod rows;
mod run;
mod scorer;
mod spec;
mod sql;
mod template;

pub use bucket::{Bucket, Buckets};
pub use explain::{ExplainedInput, ScoreExplanation, explain_score, predictions_of};
pub use feedback::{
    Absent, EvaluationViews, FeedbackSpec, LabelOptions, LabelPlan, LabelReport, Pick,
    evaluation_views, feedback_of, label, plan_labels, put_evaluation_views,
};
pub use materialize::{MaterializeOptions, MaterializeReport, materialize};
pub use model_uri::ModelUri;
pub use plan::{PlannedModel, PlannedRows, PlannedView, ScorePlan, ScoringModel, plan};
pub use run::{
    ModelReport, ScoreJob, ScoreProgress, ScoreReport, ScoreStatistics, score, scored_before,
    scored_by, scored_rows,
};
pub use spec::{MaterializeSpec, Missing, ScoringSpec, ServeSpec};

#[cfg(test)]
mod tests;
