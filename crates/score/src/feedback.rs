//! Feedback: what became of those who were scored, and how good the predictions were.

mod evaluation;
mod label;
mod spec;

pub use evaluation::{EvaluationViews, evaluation_views, put_evaluation_views};
pub use label::{LabelOptions, LabelPlan, LabelReport, feedback_of, label, plan_labels};
pub use spec::{Absent, FeedbackSpec, Pick};
