//! Steps as a user asks for them.

use std::collections::BTreeMap;
use std::fmt;

use icecore_core::{Error, ParamValue, Result, TrainingSet};
use serde::{Deserialize, Serialize};

use super::Operation;
use super::operation::{COLUMNS_MAX, EDGES_MAX, Fill, Unknown, mismatch};
use super::table::{Column, Feature};
use super::target::{self, Encoding, FOLDS_MAX};
use crate::categories::Categories;
use crate::exact::Exact;
use crate::params::ParamReader;
use crate::statistics::Sorted;

/// A step of preprocessing, as a training file has it under `[[preprocess]]`.
///
/// | step | parameters | default columns |
/// |---|---|---|
/// | `impute` | `strategy`: `median`, `mean`, `most_frequent`, `constant` with `value`; `indicator` | those of numbers |
/// | `scale` | `method`: `standard`, `min_max`, `robust` | those of numbers |
/// | `bin` | `method`: `quantile`, `uniform`; `bins` (10) | those of numbers |
/// | `one_hot` | `max_categories` (100), `unknown`: `ignore`, `other`, `error` | those of text |
/// | `target_encode` | `folds` (5, at most 20), `smooth` (20), `seed` (0) | those of text |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepSpec {
    /// The step's name.
    pub step: String,
    /// The columns that it is about; absent means all that it can be about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Its parameters.
    #[serde(flatten)]
    pub params: BTreeMap<String, ParamValue>,
}

impl StepSpec {
    /// A step about all columns that it can be about, with these parameters.
    #[must_use]
    pub fn new(step: &str, params: BTreeMap<String, ParamValue>) -> Self {
        Self { step: step.to_owned(), columns: None, params }
    }

    /// The step about these columns only.
    #[must_use]
    pub fn with_columns<'a>(mut self, columns: impl IntoIterator<Item = &'a str>) -> Self {
        self.columns = Some(columns.into_iter().map(str::to_owned).collect());
        self
    }
}

const NAMES: [&str; 5] = ["impute", "scale", "bin", "one_hot", "target_encode"];

/// A step whose parameters are known to be right.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    name: &'static str,
    columns: Option<Vec<String>>,
    method: Method,
    effective: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
enum Method {
    Impute { strategy: Strategy, indicator: bool },
    Scale(Scaling),
    Bin { by_count: bool, bins: usize },
    OneHot { max_categories: usize, unknown: Unknown },
    Encode(Encoding),
}

#[derive(Debug, Clone)]
enum Strategy {
    Mean,
    Median,
    MostFrequent,
    Constant(Fill),
}

#[derive(Debug, Clone, Copy)]
enum Scaling {
    Standard,
    MinMax,
    Robust,
}

impl Step {
    pub(crate) fn new(spec: &StepSpec) -> Result<Self> {
        let Some(name) = NAMES.into_iter().find(|name| *name == spec.step) else {
            return Err(Error::invalid(format!("there is no step `{}`", spec.step))
                .with_candidates(&spec.step, NAMES)
                .with_note(format!("steps: {}", NAMES.join(", "))));
        };
        let mut read = ParamReader::of_step(name, &spec.params);
        let method = match name {
            "impute" => read_impute(&mut read),
            "scale" => {
                let method = read.choice("method", "standard", &["standard", "min_max", "robust"]);
                Method::Scale(match method.as_str() {
                    "min_max" => Scaling::MinMax,
                    "robust" => Scaling::Robust,
                    _ => Scaling::Standard,
                })
            }
            "bin" => Method::Bin {
                by_count: read.choice("method", "quantile", &["quantile", "uniform"]) == "quantile",
                bins: read.int("bins", 10, 2..=EDGES_MAX as i64 + 1) as usize,
            },
            "one_hot" => Method::OneHot {
                max_categories: read.int("max_categories", 100, 1..=COLUMNS_MAX as i64) as usize,
                unknown: match read
                    .choice("unknown", "ignore", &["ignore", "other", "error"])
                    .as_str()
                {
                    "other" => Unknown::Other,
                    "error" => Unknown::Error,
                    _ => Unknown::Ignore,
                },
            },
            _ => Method::Encode(Encoding {
                folds: read.int("folds", 5, 2..=FOLDS_MAX as i64) as usize,
                smooth: read.float("smooth", 20.0, 0.0..=1e9),
                seed: read.int("seed", 0, 0..) as u64,
            }),
        };
        let effective = read.finish()?;
        Ok(Self { name, columns: spec.columns.clone(), method, effective })
    }

    /// Whether it takes the mean of labels.
    pub(crate) const fn needs_mean_labels(&self) -> bool {
        matches!(self.method, Method::Encode(_))
    }

    /// The columns that it is about.
    pub(super) fn columns_of(&self, features: &[Feature]) -> Result<Vec<String>> {
        if let Some(columns) = &self.columns {
            for name in columns {
                let known = || features.iter().map(|feature| feature.name.as_str());
                if known().all(|other| other != name) {
                    return Err(Error::invalid(format!(
                        "the step `{}` names the column `{name}`",
                        self.name
                    ))
                    .with_note(format!("columns: {}", known().collect::<Vec<_>>().join(", ")))
                    .with_candidates(name, known()));
                }
            }
            let mut names: Vec<&String> = columns.iter().collect();
            names.sort_unstable();
            if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(Error::invalid(format!(
                    "the step `{}` names the column `{}` twice",
                    self.name, pair[0]
                )));
            }
            return Ok(columns.clone());
        }
        let wanted = |feature: &&Feature| match &self.method {
            Method::Impute { strategy: Strategy::MostFrequent, .. } => true,
            Method::Impute { strategy: Strategy::Constant(Fill::Text(_)), .. }
            | Method::OneHot { .. }
            | Method::Encode(_) => feature.is_text,
            _ => !feature.is_text,
        };
        Ok(features.iter().filter(wanted).map(|feature| feature.name.clone()).collect())
    }

    /// Fits the step to a column.
    pub(super) fn fit(&self, column: &Column, set: &TrainingSet) -> Result<Operation> {
        let numbers = || match column {
            Column::Numbers(values) => Ok(Sorted::new(values)),
            Column::Text(_) => Err(mismatch("", true)),
        };
        Ok(match &self.method {
            Method::Impute { strategy, indicator } => {
                let with = match (strategy, column) {
                    (Strategy::Constant(with), _) => with.clone(),
                    (Strategy::MostFrequent, Column::Text(_)) => {
                        let most = Categories::fit(&*column.array(), 1)?;
                        Fill::Text(most.names().next().unwrap_or_default())
                    }
                    (Strategy::MostFrequent, _) => Fill::Number(Exact(numbers()?.most_frequent())),
                    (Strategy::Mean, _) => Fill::Number(Exact(numbers()?.mean())),
                    (Strategy::Median, _) => Fill::Number(Exact(numbers()?.quantile(0.5))),
                };
                Operation::Impute { with, indicator: *indicator }
            }
            Method::Scale(scaling) => scaled(*scaling, &numbers()?),
            Method::Bin { by_count, bins } => binned(*by_count, *bins, &numbers()?),
            Method::OneHot { max_categories, unknown } => Operation::OneHot {
                categories: Categories::fit(&*column.array(), *max_categories)?,
                missing: column.missing().contains(&true),
                unknown: *unknown,
            },
            Method::Encode(encoding) => target::fit(*encoding, column, set)?,
        })
    }

    /// The column of the rows that were fitted to, where they are not to be treated as others.
    pub(super) fn fit_out_of_fold(
        &self,
        column: &Column,
        set: &TrainingSet,
    ) -> Result<Option<Column>> {
        match &self.method {
            Method::Encode(encoding) => target::out_of_fold(*encoding, column, set).map(Some),
            _ => Ok(None),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(columns) = &self.columns {
            write!(f, " {}", columns.join(","))?;
        }
        for (name, value) in self.effective.iter().filter(|(_, value)| !value.is_empty()) {
            write!(f, " {name}={value}")?;
        }
        Ok(())
    }
}

fn read_impute(read: &mut ParamReader<'_>) -> Method {
    let strategies = ["median", "mean", "most_frequent", "constant"];
    let strategy = read.choice("strategy", "median", &strategies);
    let value = read.text("value");
    let strategy = match strategy.as_str() {
        "mean" => Strategy::Mean,
        "most_frequent" => Strategy::MostFrequent,
        "constant" => Strategy::Constant(match value.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Fill::Number(Exact(number)),
            _ if value.is_empty() => Fill::Number(Exact(0.0)),
            _ => Fill::Text(value),
        }),
        _ => Strategy::Median,
    };
    let indicator = read.choice("indicator", "false", &["false", "true"]) == "true";
    Method::Impute { strategy, indicator }
}

fn scaled(scaling: Scaling, values: &Sorted) -> Operation {
    let (center, scale) = match scaling {
        Scaling::Standard => (values.mean(), values.deviation()),
        Scaling::MinMax => (values.least(), values.greatest() - values.least()),
        Scaling::Robust => (values.quantile(0.5), values.quantile(0.75) - values.quantile(0.25)),
    };
    // A constant column stays one.
    let scale = if scale == 0.0 { 1.0 } else { scale.clamp(f64::MIN_POSITIVE, f64::MAX) };
    Operation::Scale { center: Exact(center), scale: Exact(scale) }
}

fn binned(by_count: bool, bins: usize, values: &Sorted) -> Operation {
    let (least, greatest) = (values.least(), values.greatest());
    let edge = |number: usize| {
        let share = number as f64 / bins as f64;
        if by_count { values.quantile(share) } else { least * (1.0 - share) + greatest * share }
    };
    let mut edges: Vec<f64> = (1..bins).map(edge).collect();
    edges.sort_unstable_by(f64::total_cmp);
    edges.dedup();
    // An edge at the least value would have nothing below it.
    edges.retain(|edge| *edge > least);
    Operation::Bin { edges: edges.into_iter().map(Exact).collect() }
}
