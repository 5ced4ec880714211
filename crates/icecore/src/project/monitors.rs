//! Watching features: statistics of anything, drift between any two of them, skew, alerts.

mod notify;
mod served;
mod skew;
mod source;

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use bytes::Bytes;
use icecore_core::{
    ArtifactStore, Error, ErrorKind, PinnedTable, Result, RunId, SnapshotCatalog, SnapshotSelector,
    TableName,
};
use icecore_monitor::{
    Comparison, MonitorSpec, Profile, ProfileOptions, Verdict, compare, compare_exactly,
    store_profile,
};
use serde_json::Value;

use crate::Project;
pub use served::{ServedFeature, ServedSkew};

/// The path of the statistics of what a run read, among its artifacts.
pub(crate) const FEATURES_FILE: &str = "statistics/features.icprofile";
/// The path of the statistics of what a scoring run predicted.
pub(crate) const PREDICTIONS_FILE: &str = "statistics/predictions.icprofile";
/// The same for people.
const SUMMARY_FILE: &str = "statistics/features.json";

/// Statistics, and where they come from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Profiled {
    /// What was asked for, resolved: `ml_features.churn@123`, `run 42`.
    pub name: String,
    /// The statistics.
    pub profile: Profile,
    /// Whether they are those of the rows, all of them and no others.
    pub complete: bool,
    /// What a reader should know.
    pub notes: Vec<String>,
    /// The rows, where they were read.
    pub rows: Option<Vec<RecordBatch>>,
}

/// How to compare.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CompareOptions {
    /// Reads the values themselves, so that no measure has an error.
    pub exact: bool,
    /// Only these columns; none means all.
    pub features: Vec<String>,
}

impl CompareOptions {
    /// Reads the values themselves.
    #[must_use]
    pub const fn with_exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }

    /// Compares only these columns.
    #[must_use]
    pub fn with_features(mut self, features: Vec<String>) -> Self {
        self.features = features;
        self
    }
}

impl Project {
    /// The statistics of a table's state or partitions, a training set, a run, a model's training,
    /// or a scoring; see [`compare_profiles`](Self::compare_profiles) for how they are named.
    ///
    /// # Errors
    ///
    /// `NotFound` for what is not there, `InvalidInput` for a name that is none.
    pub async fn profile(&self, source: &str, exact: bool) -> Result<Profiled> {
        source::Source::parse(source)?.profile(self, exact).await
    }

    /// Reads a table's state once and keeps its statistics in the table's metadata.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table or state.
    pub async fn store_profile(
        &self,
        table: &TableName,
        at: &SnapshotSelector,
    ) -> Result<PinnedTable> {
        let pin = self.catalog().pin(table, at).await?;
        if pin.snapshot == PinnedTable::EMPTY {
            return Err(Error::not_found(format!("`{table}` has no rows yet")));
        }
        let options = self.profile_options()?;
        store_profile(self.catalog(), &pin, options).await?;
        Ok(pin)
    }

    /// Measures what differs between two sources: `TABLE`, `TABLE@SELECTOR`,
    /// `TABLE[FIELD=VALUE]`, `TABLE@SELECTOR[FIELD=FROM..TO]`, `dataset:NAME`, `run:ID`,
    /// `model:NAME/SELECTOR` (what it learned from), `scoring:NAME` or `scoring:NAME@DATE` (what was
    /// scored), `predictions:NAME@DATE` (what came of it).
    ///
    /// # Errors
    ///
    /// `NotFound` for what is not there, `InvalidInput` for a name that is none.
    pub async fn compare_profiles(
        &self,
        reference: &str,
        current: &str,
        options: &CompareOptions,
    ) -> Result<Comparison> {
        let mut a = self.profile(reference, options.exact).await?;
        let mut b = self.profile(current, options.exact).await?;
        if !options.features.is_empty() {
            let wanted: BTreeSet<String> = options.features.iter().cloned().collect();
            for side in [&a, &b] {
                known(&wanted, side)?;
            }
            a.profile = a.profile.only(&wanted);
            b.profile = b.profile.only(&wanted);
        }
        let drift = match (&a.rows, &b.rows) {
            (Some(rows_a), Some(rows_b)) => {
                compare_exactly((&a.profile, rows_a), (&b.profile, rows_b))?
            }
            _ => compare(&a.profile, &b.profile),
        };
        let of = |side: &Profiled| -> Vec<String> {
            side.notes.iter().map(|note| format!("{}: {note}", side.name)).collect()
        };
        let notes = of(&a).into_iter().chain(of(&b)).collect();
        Ok(Comparison {
            name: format!("{} and {}", a.name, b.name),
            reference: a.name,
            current: b.name,
            made_at: self.clock().now(),
            drift,
            alerts: Vec::new(),
            undecided: Vec::new(),
            skew: None,
            notes,
        })
    }

    /// Reads a monitor's definition.
    ///
    /// # Errors
    ///
    /// `NotFound` with the names that are there, `InvalidInput` for a mistake.
    pub fn monitor(&self, name: &str) -> Result<MonitorSpec> {
        MonitorSpec::load(&self.definition_path("monitor", name)?)
    }

    /// Makes the comparison of a monitor and says which distances are too far. Where what is
    /// compared was scored by a model, the causes of skew are looked for too (C105, C172).
    ///
    /// # Errors
    ///
    /// Those of [`compare_profiles`](Self::compare_profiles).
    pub async fn check_monitor(&self, name: &str) -> Result<Comparison> {
        let spec = self.monitor(name)?;
        let options = CompareOptions { exact: spec.exact, features: spec.features.clone() };
        let mut found = self.compare_profiles(&spec.reference, &spec.current, &options).await?;
        found.name.clone_from(&spec.name);
        Verdict { alerts: found.alerts, undecided: found.undecided } = spec.judge(&found.drift)?;
        let rows = found.drift.reference_rows.min(found.drift.current_rows);
        if rows < spec.min_rows {
            found.notes.push(format!(
                "one side has {rows} rows, fewer than {}: nothing is concluded",
                spec.min_rows
            ));
        }
        if let source::Source::Scoring { name, date, .. } = source::Source::parse(&spec.current)? {
            found.skew = Some(self.skew(&name, date).await?);
        }
        for alert in &found.alerts {
            tracing::warn!(
                monitor = %spec.name,
                feature = %alert.feature,
                measure = alert.measure.name(),
                value = alert.value,
                threshold = alert.threshold,
                "a feature has drifted"
            );
        }
        for undecided in &found.undecided {
            tracing::warn!(
                monitor = %spec.name,
                feature = %undecided.feature,
                measure = undecided.measure.name(),
                least = undecided.least,
                most = undecided.most,
                threshold = undecided.threshold,
                "sketches cannot tell whether a feature has drifted"
            );
        }
        Ok(found)
    }

    /// Tells everybody whom a monitor's definition names: its metrics file, its table, its webhook.
    ///
    /// # Errors
    ///
    /// `Unavailable` if one of them cannot be reached; the others are told all the same.
    pub async fn notify(&self, name: &str, found: &Comparison) -> Result<()> {
        notify::notify(self, &self.monitor(name)?, found).await
    }

    /// What of tables is profiled: everything but the values of keys.
    pub(crate) fn profile_options(&self) -> Result<ProfileOptions> {
        let definitions = self.definitions()?;
        let keys = definitions.entities.iter().flat_map(|entity| &entity.join_keys);
        let keys = keys.map(|key| key.name.clone());
        Ok(ProfileOptions::default().with_private(keys).with_private(["run_id"]))
    }

    /// Keeps statistics with a run, as sketches and for people. They are not worth failing for.
    pub(crate) async fn keep_profile(&self, run: &RunId, path: &str, profile: &Profile) {
        let kept = async {
            self.artifacts().put(run, path, Bytes::from(profile.to_bytes()?)).await?;
            if path == FEATURES_FILE {
                let summary = serde_json::to_vec_pretty(&profile.summary()).map_err(|error| {
                    Error::internal("cannot write statistics").with_source(error)
                })?;
                self.artifacts().put(run, SUMMARY_FILE, Bytes::from(summary)).await?;
            }
            Ok::<(), Error>(())
        };
        if let Err(error) = kept.await {
            tracing::warn!(%run, %error, "the run is recorded, and its statistics are not");
        }
    }

    /// The statistics that a run kept.
    pub(crate) async fn kept_profile(&self, run: &RunId, path: &str) -> Result<Profile> {
        let bytes = self.artifacts().get(run, path).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.with_note(format!("run `{run}` kept no statistics")),
            _ => error,
        })?;
        Profile::from_bytes(&bytes)
    }
}

/// Refuses columns that a side does not have.
fn known(wanted: &BTreeSet<String>, side: &Profiled) -> Result<()> {
    let columns = side.profile.columns();
    match wanted.iter().find(|name| !columns.contains_key(*name)) {
        None => Ok(()),
        Some(unknown) => {
            let names = || columns.keys().map(String::as_str);
            Err(Error::not_found(format!("`{}` has no column `{unknown}`", side.name))
                .with_note(format!("columns: {}", names().collect::<Vec<_>>().join(", ")))
                .with_candidates(unknown, names()))
        }
    }
}

/// A comparison as a document.
///
/// # Errors
///
/// `Internal` if it cannot be written.
pub(crate) fn document(found: &Comparison) -> Result<Value> {
    serde_json::to_value(found)
        .map_err(|error| Error::internal("cannot write a comparison").with_source(error))
}
