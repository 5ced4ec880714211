//! Feature views: read, checked and computed, from one definition.
//!
//! Users write entities and feature views in `features/*.toml`. [`Definitions`] reads them and
//! reports every mistake at once, with its file, line and column. [`compute_view`] computes a view
//! into its table; [`LocalFeatureEngine`] computes rows for whoever asks for them;
//! [`feature_table`] says what a point-in-time join reads; [`explain`] lists the events in and out
//! of each window of one entity.
//!
//! The crate stands on `engine` (queries, the window operator) and `kernel` (the arithmetic). It
//! plans one pass over the events for any number of windows: filter, window operator, derived
//! features, `feature_date`.
//!
//! # Example
//!
//! ```
//! use icecore_features::{Definitions, resolve_features};
//!
//! # fn main() -> icecore_core::Result<()> {
//! let definitions = Definitions::parse(
//!     "features/user.toml",
//!     r#"
//!     [[entity]]
//!     name = "user"
//!     join_keys = ["user_token"]
//!
//!     [[feature_view]]
//!     name = "payments"
//!     entities = ["user"]
//!     source = "events.raw_transactions"
//!     table = "ml_features.payments"
//!
//!     [[feature_view.aggregate]]
//!     name = "txn_count"
//!     function = "count"
//!     windows = ["7d", "30d"]
//!
//!     [[feature_view.derived]]
//!     name = "weekly_share"
//!     expression = "txn_count_7d / txn_count_30d"
//!     "#,
//! )?;
//! let view = definitions.view("payments")?;
//! assert_eq!(view.feature_names(), ["txn_count_7d", "txn_count_30d", "weekly_share"]);
//!
//! let error = resolve_features(&definitions, &["payments:txn_cnt_7d"]).unwrap_err();
//! assert_eq!(error.help(), Some("did you mean `txn_count_7d`?"));
//! # Ok(())
//! # }
//! ```
//!
//! # Stability
//!
//! Keys of the files keep their names and defaults; a definition keeps its
//! [hash](Definitions::definition_hash). Reports and explanations are `#[non_exhaustive]`.

mod affected;
mod backfill;
mod base;
mod canonical;
mod changed;
mod check;
mod compute;
mod counted;
mod definitions;
mod document;
mod estimate;
mod explain;
mod expression;
#[cfg(test)]
mod fixture;
mod hash;
mod incremental;
mod job;
mod kept_views;
mod lineage;
mod local;
mod moment;
mod on_demand;
mod openlineage;
mod order;
mod output;
mod parse;
mod partition;
mod placed;
mod registry;
mod search;
mod select;
mod services;
mod source;
mod verify;
mod view_events;
mod volatility;

pub use backfill::{BackfillCallback, BackfillOptions, BackfillProgress, BackfillReport, backfill};
pub use compute::{ComputeMode, ComputeOptions, ComputeReport, compute_view};
pub use counted::{Progress, ProgressCallback};
pub use definitions::Definitions;
pub use explain::{ExplainOptions, ExplainedWindow, Explanation, Standing, explain, parse_entity};
pub use expression::unstable_condition;
pub use lineage::{FeatureLineage, SourceUse, source_lineage, view_lineage};
pub use local::{LocalFeatureEngine, check, pin_sources};
pub use moment::{AskedMoments, MomentColumns, MomentRules, features_at};
pub use on_demand::{
    FeatureSelection, OnDemandFeatures, OnDemandPlan, is_on_demand, select_features,
    stored_features,
};
pub use openlineage::lineage_events;
pub use registry::{Difference, FeatureRegistry, RegisteredView, ViewChange, ViewChangeKind};
pub use search::{FoundView, SearchQuery, search};
pub use select::{feature_source, feature_table, moment_table, resolve_features};
pub use verify::{VerifyOptions, VerifyReport, verify_view};
pub use view_events::ViewEvents;
pub use volatility::{UnstableCall, unstable_call};
