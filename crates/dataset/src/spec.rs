//! The definition of a training set and what is trained on it: `training/*.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use icecore_core::{Error, Knowledge, Location, ParamValue, RefName, Result, TableName};
use serde::{Deserialize, Serialize};

use crate::document;

/// A training set as its file says.
///
/// ```
/// let spec = icecore_dataset::DatasetSpec::parse("training/churn.toml", r#"
/// name = "churn"
/// spine = "SELECT user_token, observed_at AS event_timestamp, churned FROM labels.outcomes"
/// label = "churned"
/// features = ["user_transaction_features:*"]
/// "#)?;
/// assert_eq!(spec.table()?.as_str(), "ml_training.churn");
/// assert_eq!(spec.experiment(), "/ml/churn");
/// # Ok::<(), icecore_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetSpec {
    /// The dataset's name.
    pub name: String,
    /// The query that gives the rows: keys, moments, the label. Either this, `spine_table` or
    /// `spine_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spine: Option<String>,
    /// The table whose rows are the spine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spine_table: Option<TableName>,
    /// The file that the query stands in, beside the definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spine_file: Option<PathBuf>,
    /// The spine's column with the moment at which each row looks.
    #[serde(default = "event_timestamp")]
    pub event_timestamp: String,
    /// The spine's column to predict.
    pub label: String,
    /// Features as `view:feature`, or `view:*`.
    pub features: Vec<String>,
    /// The spine's columns for join keys, where they have other names: `user_token = "customer"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, String>,
    /// Which clock decides what was known; absent means created where a view declares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knowledge: Option<Knowledge>,
    /// The table that the rows are materialized to; absent means `ml_training.{name}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableName>,
    /// Whether features are named `view__feature`.
    #[serde(default)]
    pub full_feature_names: bool,
    /// The experiment that runs belong to; absent means `/ml/{name}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
    /// The version of the set of features, for people: `v3.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_set_version: Option<String>,
    /// Which rows validate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitSpec>,
    /// How the model is cross-validated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_validation: Option<CrossValidationSpec>,
    /// What is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelSpec>,
    /// Which parameters are looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchSpec>,
    /// Where it was read from.
    #[serde(skip)]
    source: Option<Source>,
}

/// Which rows validate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitSpec {
    /// The share of rows that validate, between 0 and 1.
    #[serde(default = "validation")]
    pub validation: f64,
    /// What the choice is drawn from.
    #[serde(default = "seed")]
    pub seed: u64,
}

/// How a model is cross-validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossValidationSpec {
    /// How many parts, each of which validates once.
    #[serde(default = "folds")]
    pub folds: usize,
}

/// What is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The name that the model is registered under.
    pub name: String,
    /// The algorithm, such as `gbdt`.
    pub algorithm: String,
    /// The algorithm's parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, ParamValue>,
}

/// Which parameters are looked for, by cross-validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchSpec {
    /// The values to try, by parameter.
    pub params: BTreeMap<String, Vec<ParamValue>>,
    /// How many combinations are drawn; absent means every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trials: Option<usize>,
    /// What they are drawn by.
    #[serde(default = "seed")]
    pub seed: u64,
    /// What is measured; absent means what is usual for the objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measure: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    path: PathBuf,
    text: String,
}

fn event_timestamp() -> String {
    "event_timestamp".to_owned()
}

const fn validation() -> f64 {
    0.2
}

const fn seed() -> u64 {
    42
}

const fn folds() -> usize {
    5
}

impl DatasetSpec {
    /// Reads a definition, and the query that it keeps in a file.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such file, `InvalidInput` with line and column for a mistake.
    pub fn load(path: &Path) -> Result<Self> {
        let file = path.display().to_string();
        let mut spec = Self::parse(&file, &document::read(path)?)?;
        if let Some(query) = &spec.spine_file {
            let place = spec.place_of(&query.display().to_string());
            let text = document::read(&path.parent().unwrap_or(Path::new("")).join(query));
            spec.spine = Some(text.map_err(|error| match place {
                Some(place) => error.at(place),
                None => error,
            })?);
        }
        Ok(spec)
    }

    /// Parses a definition; the file's name appears in errors and names the lockfile.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with line and column for a mistake.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut spec: Self = document::parse(file, text)?;
        spec.source = Some(Source { path: file.into(), text: text.to_owned() });
        spec.check().map_err(|(error, value)| {
            match value.and_then(|value| spec.place_of(&value)) {
                Some(place) => error.at(place),
                None => error.at(Location { file: file.to_owned(), line: 0, column: 0 }),
            }
        })?;
        Ok(spec)
    }

    /// The file that it was read from.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.source.as_ref().map(|source| source.path.as_path())
    }

    /// The table that the rows are materialized to.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is none and the dataset's name cannot name one.
    pub fn table(&self) -> Result<TableName> {
        match &self.table {
            Some(table) => Ok(table.clone()),
            None => TableName::parse(&format!("ml_training.{}", self.name)),
        }
    }

    /// The experiment that runs belong to.
    #[must_use]
    pub fn experiment(&self) -> String {
        self.experiment.clone().unwrap_or_else(|| format!("/ml/{}", self.name))
    }

    /// The query that gives the spine's rows.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the query is in a file that was not read.
    pub fn spine_sql(&self) -> Result<String> {
        if let Some(sql) = &self.spine {
            return Ok(sql.trim().to_owned());
        }
        let quoted = |name: &str| name.split('.').map(quote).collect::<Vec<_>>().join(".");
        match &self.spine_table {
            Some(table) => {
                Ok(format!("SELECT * FROM {}.{}", quoted(table.namespace()), quote(table.table())))
            }
            None => Err(Error::invalid(format!("dataset `{}` has no spine", self.name))
                .with_help("write the query as `spine`, or load the definition from its file")),
        }
    }

    /// Adds to an error where a value stands in the definition.
    pub(crate) fn locate(&self, value: &str, error: Error) -> Error {
        match self.place_of(value) {
            Some(place) if error.location().is_none() => error.at(place),
            _ => error,
        }
    }

    fn place_of(&self, value: &str) -> Option<Location> {
        let source = self.source.as_ref()?;
        Some(document::place_of(&source.path.display().to_string(), &source.text, value))
    }

    /// The first mistake, with the value that it is in.
    fn check(&self) -> Result<(), (Error, Option<String>)> {
        let name = Some(self.name.clone());
        RefName::parse(&self.name).map_err(|error| (error, name.clone()))?;
        self.table().map_err(|error| (error, name))?;
        let plain = |message: &str, help: &str| (Error::invalid(message).with_help(help), None);
        let spines = [self.spine.is_some(), self.spine_table.is_some(), self.spine_file.is_some()];
        if spines.iter().filter(|given| **given).count() != 1 {
            return Err(plain(
                "a dataset has exactly one of `spine`, `spine_table` and `spine_file`",
                "write the query that gives keys, moments and the label as `spine`",
            ));
        }
        if self.features.is_empty() {
            return Err(plain("`features` names none", "write `view:feature`, or `view:*`"));
        }
        if self.label == self.event_timestamp {
            let message = format!("`{}` is both the label and the event timestamp", self.label);
            return Err((Error::invalid(message), Some(self.label.clone())));
        }
        if self.split.is_some_and(|split| !(split.validation > 0.0 && split.validation < 1.0)) {
            return Err(plain("`validation` is not between 0 and 1", "write a share such as 0.2"));
        }
        if self.cross_validation.is_some_and(|cross| cross.folds < 2) {
            return Err(plain("`folds` is less than 2", "write a number such as 5"));
        }
        Ok(())
    }
}

/// The definitions in a directory, in order of name; lockfiles are none.
///
/// # Errors
///
/// `Unavailable` if the directory cannot be read. No directory, no definitions.
pub fn definition_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error: std::io::Error| {
        Error::unavailable(format!("cannot read `{}`", dir.display())).with_source(error)
    };
    if !dir.try_exists().map_err(failed)? {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".toml") && !name.ends_with(".lock.toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn quote(part: &str) -> String {
    format!("\"{part}\"")
}
