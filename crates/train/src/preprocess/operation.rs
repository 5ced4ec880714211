//! What becomes of a column, as it was fitted.

use arrow::array::{Array, StringArray};
use icecore_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::table::{Column, Feature};
use crate::categories::Categories;
use crate::columns::Values;
use crate::exact::Exact;

/// The most categories of a column that become numbers.
pub(super) const ENCODED_MAX: usize = 65_536;
/// The most categories of a column that become columns.
pub(super) const COLUMNS_MAX: usize = 10_000;
/// The most edges between bins.
pub(super) const EDGES_MAX: usize = 65_535;

/// What becomes of one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Operation {
    /// Missing values become this one; a second column may tell where they were.
    Impute { with: Fill, indicator: bool },
    /// Numbers become their distance from the center, in units of the scale.
    Scale { center: Exact, scale: Exact },
    /// Numbers become the number of edges at or below them.
    Bin { edges: Vec<Exact> },
    /// Each category becomes a column of zeros and ones.
    OneHot { categories: Categories, missing: bool, unknown: Unknown },
    /// Each category becomes a number.
    Encode { categories: Categories, values: Vec<Exact>, missing: Exact, unknown: Exact },
}

/// What a missing value becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fill {
    Number(Exact),
    Text(String),
}

/// What becomes of a category that was not there when the step was fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unknown {
    /// Zeros in all columns.
    Ignore,
    /// A one in a column of its own.
    Other,
    /// A refusal.
    Error,
}

impl Operation {
    /// The columns that it makes of this one.
    pub(super) fn outputs(&self, of: &Feature) -> Result<Vec<Feature>> {
        let name = &of.name;
        let wants_text = match self {
            Self::Impute { with: Fill::Number(_), .. } | Self::Scale { .. } | Self::Bin { .. } => {
                Some(false)
            }
            Self::Impute { with: Fill::Text(_), .. } => Some(true),
            Self::OneHot { categories, .. } | Self::Encode { categories, .. } => {
                Some(matches!(categories, Categories::Text(_)))
            }
        };
        if wants_text.is_some_and(|wants| wants != of.is_text) {
            return Err(mismatch(name, of.is_text));
        }
        let missing = || of.number(format!("{name}__missing"));
        Ok(match self {
            Self::Impute { indicator: true, .. } => vec![of.clone(), missing()],
            Self::Impute { .. } => vec![of.clone()],
            Self::Scale { .. } | Self::Bin { .. } | Self::Encode { .. } => {
                vec![of.number(name.clone())]
            }
            Self::OneHot { categories, missing: has_missing, unknown } => {
                let mut outputs: Vec<Feature> = categories
                    .names()
                    .map(|category| of.number(format!("{name}={category}")))
                    .collect();
                outputs.extend(has_missing.then(missing));
                if *unknown == Unknown::Other {
                    outputs.push(of.number(format!("{name}__other")));
                }
                outputs
            }
        })
    }

    /// Runs it, which gives the columns of [`Self::outputs`].
    pub(super) fn run(&self, column: &Column) -> Result<Vec<Column>> {
        match (self, column) {
            (Self::Impute { with, indicator }, column) => impute(with, *indicator, column),
            (Self::Scale { center, scale }, Column::Numbers(values)) => {
                let scaled = |value: &f64| (value - center.0) / scale.0;
                Ok(vec![Column::Numbers(values.iter().map(scaled).collect())])
            }
            (Self::Bin { edges }, Column::Numbers(values)) => {
                let bin = |value: &f64| {
                    if value.is_nan() {
                        return f64::NAN;
                    }
                    edges.partition_point(|edge| edge.0 <= *value) as f64
                };
                Ok(vec![Column::Numbers(values.iter().map(bin).collect())])
            }
            (Self::OneHot { categories, missing, unknown }, column) => {
                one_hot(categories, (*missing, *unknown), column)
            }
            (Self::Encode { categories, values, missing, unknown }, column) => {
                let places = categories.encode(&*column.array())?;
                let encoded = places.iter().zip(column.missing()).map(|(place, is_missing)| {
                    if is_missing {
                        return missing.0;
                    }
                    if place.is_nan() { None } else { values.get(*place as usize) }
                        .map_or(unknown.0, |value| value.0)
                });
                Ok(vec![Column::Numbers(encoded.collect())])
            }
            (_, Column::Text(_)) => Err(mismatch("", true)),
        }
    }

    /// Whether it is about a column of text.
    pub(crate) const fn is_of_text(&self) -> bool {
        match self {
            Self::Impute { with, .. } => matches!(with, Fill::Text(_)),
            Self::OneHot { categories, .. } | Self::Encode { categories, .. } => {
                matches!(categories, Categories::Text(_))
            }
            Self::Scale { .. } | Self::Bin { .. } => false,
        }
    }

    /// Refuses what no fit gives: a file may come from a stranger.
    pub(super) fn check(&self) -> Result<()> {
        let is_sound = match self {
            Self::Impute { with: Fill::Text(_), .. } => true,
            Self::Impute { with: Fill::Number(with), .. } => with.0.is_finite(),
            Self::Scale { center, scale } => {
                center.0.is_finite() && scale.0.is_finite() && scale.0 > 0.0
            }
            Self::Bin { edges } => {
                edges.len() <= EDGES_MAX
                    && edges.iter().all(|edge| edge.0.is_finite())
                    && edges.windows(2).all(|pair| pair[0].0 < pair[1].0)
            }
            Self::OneHot { categories, .. } => categories.is_sound(COLUMNS_MAX),
            Self::Encode { categories, values, missing, unknown } => {
                categories.is_sound(ENCODED_MAX)
                    && values.len() == categories.len()
                    && values.iter().chain([missing, unknown]).all(|value| value.0.is_finite())
            }
        };
        if is_sound { Ok(()) } else { Err(Error::corrupt("a step of preprocessing is damaged")) }
    }
}

fn impute(with: &Fill, indicator: bool, column: &Column) -> Result<Vec<Column>> {
    let imputed = match (with, column) {
        (Fill::Number(with), Column::Numbers(values)) => {
            let fill = |value: &f64| if value.is_nan() { with.0 } else { *value };
            Column::Numbers(values.iter().map(fill).collect())
        }
        (Fill::Text(with), Column::Text(text)) => {
            let filled = text.iter().map(|value| Some(value.unwrap_or(with)));
            Column::Text(filled.collect::<StringArray>())
        }
        (_, column) => return Err(mismatch("", matches!(column, Column::Text(_)))),
    };
    let mut columns = vec![imputed];
    if indicator {
        columns.push(flags(column.missing().into_iter()));
    }
    Ok(columns)
}

fn one_hot(
    categories: &Categories,
    (has_missing, unknown): (bool, Unknown),
    column: &Column,
) -> Result<Vec<Column>> {
    let array = column.array();
    let places = categories.encode(&*array)?;
    let missing = column.missing();
    let is_unknown = |row: usize| places[row].is_nan() && !(has_missing && missing[row]);
    if unknown == Unknown::Error
        && let Some(row) = (0..places.len()).find(|row| is_unknown(*row))
    {
        let value = if missing[row] { "a missing value" } else { "a value" };
        let known = categories.names().take(20).collect::<Vec<_>>().join(", ");
        return Err(Error::invalid(format!(
            "row {row} has {value} that was not there when the model was trained"
        ))
        .with_note(format!("known: {known}"))
        .with_help("train again, or with `unknown = \"ignore\"` in the step `one_hot`"));
    }
    let mut columns: Vec<Column> = (0..categories.len())
        .map(|category| flags(places.iter().map(|place| *place == category as f64)))
        .collect();
    if has_missing {
        columns.push(flags(missing.iter().copied()));
    }
    if unknown == Unknown::Other {
        columns.push(flags((0..array.len()).map(is_unknown)));
    }
    Ok(columns)
}

fn flags(flags: impl Iterator<Item = bool>) -> Column {
    Column::Numbers(flags.map(|flag| f64::from(u8::from(flag))).collect::<Values>())
}

pub(super) fn mismatch(column: &str, is_text: bool) -> Error {
    let (has, wants) = if is_text { ("text", "numbers") } else { ("numbers", "text") };
    Error::invalid(format!("column `{column}` has {has}, and the step is for {wants}"))
        .with_help("name the step's columns: `columns = [\"…\"]`")
}
