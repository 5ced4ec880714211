//! Why a model sees other features than it learned from: the four causes of C105, checked and named.
//!
//! Data may move by itself: that is drift. Skew is when the same entity at the same moment would
//! have had another value in training than it has in scoring.

use serde::Serialize;

use crate::{ColumnProfile, Profile};

/// A change of a share, or a move of a mean in standard deviations, below which nobody is at fault.
const SHARE: f64 = 0.05;
const SHIFT: f64 = 0.25;

/// A cause of skew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SkewCause {
    /// Training and scoring computed features by different definitions.
    CodePath,
    /// A mean or a spread that was fitted on training rows does not fit the rows that are scored.
    GlobalStatistics,
    /// Windows end elsewhere: fixed in one place, rolling in the other, or of another length.
    Window,
    /// Missing values were treated differently.
    Imputation,
}

impl SkewCause {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::CodePath, Self::GlobalStatistics, Self::Window, Self::Imputation];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CodePath => "different code path",
            Self::GlobalStatistics => "global statistics differ",
            Self::Window => "fixed and rolling windows",
            Self::Imputation => "imputation differs",
        }
    }
}

/// What points to a cause of skew.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SkewFinding {
    /// The cause.
    pub cause: SkewCause,
    /// The feature or the feature view.
    pub subject: String,
    /// What was seen.
    pub evidence: String,
}

/// What is known of how a view's features were computed for training and for scoring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WindowFact {
    /// The feature view.
    pub view: String,
    /// What differs between the two definitions that has to do with windows.
    pub windows: Vec<String>,
    /// What else differs.
    pub others: Vec<String>,
}

/// Looks for the causes of skew in what a model learned from and what it scored.
#[must_use]
pub fn skew(training: &Profile, scoring: &Profile, views: &[WindowFact]) -> Vec<SkewFinding> {
    let mut findings = Vec::new();
    for view in views {
        for (cause, differences) in
            [(SkewCause::Window, &view.windows), (SkewCause::CodePath, &view.others)]
        {
            let of = |evidence: &String| SkewFinding {
                cause,
                subject: view.view.clone(),
                evidence: evidence.clone(),
            };
            findings.extend(differences.iter().map(of));
        }
    }
    if training.rows == 0 || scoring.rows == 0 {
        return findings;
    }
    for (name, learned) in &training.columns {
        let Some(scored) = scoring.columns.get(name) else {
            findings.push(SkewFinding {
                cause: SkewCause::CodePath,
                subject: name.clone(),
                evidence: "the scored rows do not have it".to_owned(),
            });
            continue;
        };
        let found =
            |cause, evidence: String| SkewFinding { cause, subject: name.clone(), evidence };
        let imputed = imputation(learned, scored);
        let is_imputed = imputed.is_some();
        findings.extend(imputed.map(|evidence| found(SkewCause::Imputation, evidence)));
        // Filling moves the mean too; naming it once is enough.
        if !is_imputed && let Some(evidence) = global_statistics(learned, scored) {
            findings.push(found(SkewCause::GlobalStatistics, evidence));
        }
        if let Some(evidence) = other_kind(learned, scored) {
            findings.push(found(SkewCause::CodePath, evidence));
        }
    }
    findings.sort_by(|a, b| a.cause.cmp(&b.cause).then_with(|| a.subject.cmp(&b.subject)));
    findings
}

/// Missing values that became a value, or the other way round.
fn imputation(learned: &ColumnProfile, scored: &ColumnProfile) -> Option<String> {
    let (before, now) = (learned.missing_rate(), scored.missing_rate());
    let filled = before - now;
    if filled.abs() <= SHARE {
        return None;
    }
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let zero = |column: &ColumnProfile| column.zeros() as f64 / column.rows().max(1) as f64;
    let grown = zero(scored) - zero(learned);
    let missing = format!("{} missing in training, {} in scoring", percent(before), percent(now));
    Some(if filled > 0.0 && grown > filled / 2.0 {
        format!("{missing}, and {} more zeros: missing values were filled with 0", percent(grown))
    } else if filled < 0.0 && -grown > -filled / 2.0 {
        format!("{missing}, and {} fewer zeros: training was filled with 0", percent(-grown))
    } else {
        missing
    })
}

/// A mean or a spread that moved: what was scaled with the training rows' does not fit.
fn global_statistics(learned: &ColumnProfile, scored: &ColumnProfile) -> Option<String> {
    let (mean, spread) = (learned.mean()?, learned.stddev()?);
    let (now, spread_now) = (scored.mean()?, scored.stddev()?);
    let moved = if spread > 0.0 { (now - mean) / spread } else { f64::from(now != mean) };
    let ratio = if spread > 0.0 { spread_now / spread } else { 1.0 };
    (moved.abs() > SHIFT || !(0.5..=2.0).contains(&ratio)).then(|| {
        format!(
            "mean {mean:.4} and spread {spread:.4} in training, {now:.4} and {spread_now:.4} in \
             scoring"
        )
    })
}

fn other_kind(learned: &ColumnProfile, scored: &ColumnProfile) -> Option<String> {
    let differs = learned.kind() != scored.kind()
        && !(learned.kind().is_number() && scored.kind().is_number());
    differs.then(|| format!("{:?} in training, {:?} in scoring", learned.kind(), scored.kind()))
}
