//! `monitor/*.toml`: what is compared with what, which distance is too far, and who is told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use icecore_core::{Error, Location, Result, TableName, parse_toml};
use serde::{Deserialize, Serialize};

use crate::{Drift, FeatureDrift, Measured};

/// A comparison that is made again and again.
///
/// ```
/// let spec = icecore_monitor::MonitorSpec::parse("monitor/churn.toml", r#"
/// name = "churn"
/// reference = "model:churn-prediction-gbm/Production"
/// current = "scoring:churn"
/// [thresholds]
/// psi = 0.1
/// [feature.amount]
/// ks = 0.2
/// "#)?;
/// assert_eq!(spec.thresholds_of("amount").psi, Some(0.1));
/// assert_eq!(spec.thresholds_of("amount").ks, Some(0.2));
/// # Ok::<(), icecore_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonitorSpec {
    /// The monitor's name.
    pub name: String,
    /// What is compared with.
    pub reference: String,
    /// What is compared.
    pub current: String,
    /// Only these columns; absent means all that both have.
    #[serde(default)]
    pub features: Vec<String>,
    /// With fewer rows on a side, nothing is concluded.
    #[serde(default = "min_rows")]
    pub min_rows: u64,
    /// Whether the values themselves are read and compared.
    #[serde(default)]
    pub exact: bool,
    /// Which distances are too far, for every feature.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// Which are for single features.
    #[serde(default)]
    pub feature: BTreeMap<String, Thresholds>,
    /// Who is told.
    #[serde(default)]
    pub alert: AlertSpec,
}

/// Which distances are too far.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Of the population stability index; 0.2 where nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub psi: Option<f64>,
    /// Of the Jensen-Shannon distance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub js: Option<f64>,
    /// Of the Kolmogorov-Smirnov distance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ks: Option<f64>,
    /// Of the Wasserstein distance, in standard deviations of the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasserstein: Option<f64>,
    /// Of the change of the share of missing values, up or down; 0.05 where nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_rate: Option<f64>,
    /// Of the mean's move, in standard deviations of the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_shift: Option<f64>,
    /// Of the share of rows in new categories; 0.01 where nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_categories: Option<f64>,
}

/// Who is told of a distance that is too far.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertSpec {
    /// An address that gets the alerts as JSON. A secret in it comes from the environment:
    /// `${NAME}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// A file of Prometheus' text format, for a collector of text files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<PathBuf>,
    /// A table that every check's measures are appended to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableName>,
}

/// Something that is measured of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Measure {
    /// The population stability index.
    Psi,
    /// The Jensen-Shannon distance.
    Js,
    /// The Kolmogorov-Smirnov distance.
    Ks,
    /// The Wasserstein distance, in standard deviations of the reference.
    Wasserstein,
    /// The change of the share of missing values.
    NullRate,
    /// The mean's move, in standard deviations of the reference.
    MeanShift,
    /// The share of rows in new categories.
    NewCategories,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Psi,
        Self::Js,
        Self::Ks,
        Self::Wasserstein,
        Self::NullRate,
        Self::MeanShift,
        Self::NewCategories,
    ];

    /// Its name in files, metrics and documents.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Psi => "psi",
            Self::Js => "js",
            Self::Ks => "ks",
            Self::Wasserstein => "wasserstein",
            Self::NullRate => "null_rate",
            Self::MeanShift => "mean_shift",
            Self::NewCategories => "new_categories",
        }
    }

    /// What it is of a feature.
    #[must_use]
    pub fn of(self, drift: &FeatureDrift) -> Option<Measured> {
        let exactly = Measured::exactly;
        match self {
            Self::Psi => drift.psi,
            Self::Js => drift.js,
            Self::Ks => drift.ks,
            Self::Wasserstein => drift.wasserstein_relative,
            Self::NullRate => Some(exactly(drift.null_rate_change)),
            Self::MeanShift => drift.mean_shift.map(exactly),
            Self::NewCategories => (drift.kind == "category").then_some(drift.new_share),
        }
    }
}

/// A distance that is too far, whatever the sketches left open.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alert {
    /// The column.
    pub feature: String,
    /// What was measured.
    pub measure: Measure,
    /// What it is.
    pub value: f64,
    /// What it may be at most.
    pub threshold: f64,
}

/// A distance of which sketches cannot tell whether it is too far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Undecided {
    /// The column.
    pub feature: String,
    /// What was measured.
    pub measure: Measure,
    /// What it is, as far as the sketches know.
    pub value: f64,
    /// Its size is at least this,
    pub least: f64,
    /// and at most this.
    pub most: f64,
    /// Between which lies what it may be at most.
    pub threshold: f64,
}

impl Undecided {
    /// What there is to say about it.
    #[must_use]
    pub fn sentence(&self) -> String {
        format!(
            "{}: cannot tell whether {} is beyond {}: it is between {:.4} and {:.4}",
            self.feature,
            self.measure.name(),
            self.threshold,
            self.least,
            self.most
        )
    }
}

/// What a check comes to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// The distances that are too far.
    pub alerts: Vec<Alert>,
    /// Those of which the sketches cannot tell.
    pub undecided: Vec<Undecided>,
}

const fn min_rows() -> u64 {
    100
}

impl Thresholds {
    /// What is too far where nobody says.
    pub const USUAL: Self = Self {
        psi: Some(0.2),
        js: None,
        ks: None,
        wasserstein: None,
        null_rate: Some(0.05),
        mean_shift: None,
        new_categories: Some(0.01),
    };

    /// These, and others where these say nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            psi: self.psi.or(other.psi),
            js: self.js.or(other.js),
            ks: self.ks.or(other.ks),
            wasserstein: self.wasserstein.or(other.wasserstein),
            null_rate: self.null_rate.or(other.null_rate),
            mean_shift: self.mean_shift.or(other.mean_shift),
            new_categories: self.new_categories.or(other.new_categories),
        }
    }

    /// What a measure may be at most.
    #[must_use]
    pub const fn of(&self, measure: Measure) -> Option<f64> {
        match measure {
            Measure::Psi => self.psi,
            Measure::Js => self.js,
            Measure::Ks => self.ks,
            Measure::Wasserstein => self.wasserstein,
            Measure::NullRate => self.null_rate,
            Measure::MeanShift => self.mean_shift,
            Measure::NewCategories => self.new_categories,
        }
    }

    fn check(&self) -> Result<()> {
        for measure in Measure::ALL {
            if self.of(measure).is_some_and(|bound| !bound.is_finite() || bound < 0.0) {
                return Err(Error::invalid(format!("`{}` is no distance", measure.name()))
                    .with_help("write a number that is at least 0"));
            }
        }
        Ok(())
    }
}

impl MonitorSpec {
    /// Reads a definition.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such file, `Unavailable` if it cannot be read, `InvalidInput` with line and column for a mistake.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::unreadable(path, error))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Parses a definition.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with line and column for a mistake.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let spec: Self = parse_toml(file, text)?;
        let place = || Location::of_file(file);
        spec.thresholds.check().map_err(|error| error.at(place()))?;
        for thresholds in spec.feature.values() {
            thresholds.check().map_err(|error| error.at(place()))?;
        }
        Ok(spec)
    }

    /// Which distances of a feature are too far.
    #[must_use]
    pub fn thresholds_of(&self, feature: &str) -> Thresholds {
        let own = self.feature.get(feature).copied().unwrap_or_default();
        own.or(self.thresholds).or(Thresholds::USUAL)
    }

    /// The distances that are too far, and those of which nobody can tell; none where a side has too
    /// few rows.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if a feature that is named is not compared.
    pub fn judge(&self, drift: &Drift) -> Result<Verdict> {
        let names = || drift.features.iter().map(|feature| feature.feature.as_str());
        let named = self.feature.keys().chain(&self.features);
        if let Some(unknown) = named.into_iter().find(|name| names().all(|known| known != *name)) {
            return Err(Error::invalid(format!(
                "monitor `{}` names `{unknown}`, which the two sides do not both have",
                self.name
            ))
            .with_note(format!("they have: {}", names().collect::<Vec<_>>().join(", ")))
            .with_candidates(unknown, names()));
        }
        if drift.reference_rows.min(drift.current_rows) < self.min_rows {
            return Ok(Verdict::default());
        }
        let mut verdict = Verdict::default();
        for feature in &drift.features {
            if !self.features.is_empty() && !self.features.contains(&feature.feature) {
                continue;
            }
            let thresholds = self.thresholds_of(&feature.feature);
            for measure in Measure::ALL {
                let Some((threshold, found)) = thresholds.of(measure).zip(measure.of(feature))
                else {
                    continue;
                };
                let (value, feature) = (found.value, feature.feature.clone());
                match found.size() {
                    (least, _) if least > threshold => {
                        verdict.alerts.push(Alert { feature, measure, value, threshold });
                    }
                    (least, most) if most > threshold => verdict.undecided.push(Undecided {
                        feature,
                        measure,
                        value,
                        least,
                        most,
                        threshold,
                    }),
                    _ => {}
                }
            }
        }
        Ok(verdict)
    }
}
