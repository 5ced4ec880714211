//! The definition of a training set and what is trained on it: `training/*.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use icecore_core::{
    Error, ErrorKind, Knowledge, Location, ParamValue, RefName, Result, Span, TableName, Timestamp,
    parse_toml,
};
use icecore_train::StepSpec;
use icecore_train::search::Space;
use serde::{Deserialize, Serialize};

use crate::document::{self, KeyPlace};
use crate::rules::ViewRules;
use crate::shape::Unmatured;
use crate::split::{SplitSpec, seed};

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
    /// The spine's column to predict; absent for a set that is only scored or explored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The spine's column that says how often each row counts in training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// The spine's column whose values are queries: rows of one value are ranked among each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Features as `view:feature`, or `view:*`, where `view` may be another name that the set gives
    /// it.
    pub features: Vec<String>,
    /// The spine's columns for join keys, where they have other names: `user_token = "customer"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, String>,
    /// Which clock decides what was known; absent means created where a view declares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knowledge: Option<Knowledge>,
    /// How rows of some views are joined, where not as the views say, and under which other names.
    #[serde(default, rename = "view", skip_serializing_if = "BTreeMap::is_empty")]
    pub views: BTreeMap<String, ViewRules>,
    /// The table that the rows are materialized to; absent means `ml_training.{name}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableName>,
    /// Whether features are named `view__feature`.
    #[serde(default)]
    pub full_feature_names: bool,
    /// Whether each view adds when the row that it gave happened: `{view}__event_timestamp`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_event_timestamps: bool,
    /// Whether each view adds how old the row that it gave was, in microseconds: `{view}__age_us`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_ages: bool,
    /// The experiment that runs belong to; absent means `/ml/{name}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
    /// The version of the set of features, for people: `v3.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_set_version: Option<String>,
    /// Only joined rows for which this SQL expression is true.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// When labels are settled; absent means that all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maturity: Option<MaturitySpec>,
    /// Which rows validate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitSpec>,
    /// How the model is cross-validated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_validation: Option<CrossValidationSpec>,
    /// What becomes of the features before the model sees them, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preprocess: Vec<StepSpec>,
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

/// When labels are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaturitySpec {
    /// How long after its moment the label of a row is settled: as long as it looks ahead.
    pub after: Span,
    /// The moment up to which outcomes are known; absent means the earliest of the moments at which
    /// the tables that the spine reads last got rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// What becomes of rows whose label is not settled by then.
    #[serde(default)]
    pub unmatured: Unmatured,
}

/// How a model is cross-validated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossValidationSpec {
    /// How many parts, each of which validates once.
    #[serde(default = "folds")]
    pub folds: usize,
    /// What the parts are: `row`, `group` or `time`.
    #[serde(default)]
    pub by: FoldBy,
    /// The column whose values stay together, for `by = "group"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Rows between those that are learned from and those that validate, for `by = "time"`.
    #[serde(default, skip_serializing_if = "is_none")]
    pub gap: usize,
    /// Whether chance decides which rows are in which part, for `by = "row"`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shuffle: bool,
    /// What chance goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// What the parts of cross-validation are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoldBy {
    /// Rows, each class alike often in every part.
    #[default]
    Row,
    /// Groups: rows of one value of a column are in one part.
    Group,
    /// Stretches of time: each validates what was learned from all rows before it.
    Time,
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
    /// The values to try, by parameter, or ranges of them. `STEP.PARAM` is one of a step of
    /// preprocessing.
    pub params: Space,
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

impl CrossValidationSpec {
    fn check(&self) -> Result<(), (Error, Option<String>)> {
        let plain =
            |message: &str, help: &str| Err((Error::invalid(message).with_help(help), None));
        if self.folds < 2 && self.by != FoldBy::Time || self.folds == 0 {
            return plain("`folds` is less than 2", "write a number such as 5");
        }
        if (self.by == FoldBy::Group) != self.group.is_some() {
            return plain(
                "`by = \"group\"` and `group` belong together",
                "write `group = \"COLUMN\"`, the column whose values stay together",
            );
        }
        if self.gap > 0 && self.by != FoldBy::Time {
            return plain("`gap` is for `by = \"time\"`", "leave it out");
        }
        if self.shuffle && self.by != FoldBy::Row {
            return plain("`shuffle` is for `by = \"row\"`", "leave it out");
        }
        if self.seed.is_some() && !self.shuffle {
            return plain("`seed` is for `shuffle = true`", "set it, or leave the seed out");
        }
        Ok(())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_none(gap: &usize) -> bool {
    *gap == 0
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    path: PathBuf,
    text: String,
}

fn event_timestamp() -> String {
    "event_timestamp".to_owned()
}

const fn folds() -> usize {
    5
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| Error::unreadable(path, error))
}

impl DatasetSpec {
    /// What is asked for without a definition: features, and how they are joined.
    pub(crate) fn of_request(features: Vec<String>, event_timestamp: String) -> Self {
        Self {
            name: "retrieval".to_owned(),
            spine: None,
            spine_table: None,
            spine_file: None,
            event_timestamp,
            label: None,
            weight: None,
            group: None,
            features,
            keys: BTreeMap::new(),
            knowledge: None,
            views: BTreeMap::new(),
            table: None,
            full_feature_names: false,
            with_event_timestamps: false,
            with_ages: false,
            experiment: None,
            feature_set_version: None,
            filter: None,
            maturity: None,
            split: None,
            cross_validation: None,
            preprocess: Vec::new(),
            model: None,
            search: None,
            source: None,
        }
    }

    /// Reads a definition, and the query that it keeps in a file.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such file, `InvalidInput` with line and column for a mistake.
    pub fn load(path: &Path) -> Result<Self> {
        let file = path.display().to_string();
        let mut spec = Self::parse(&file, &read(path)?)?;
        if let Some(query) = &spec.spine_file {
            let name = query.display().to_string();
            let text = match holds_rows(query) {
                true => Err(Error::invalid(format!("`{name}` holds rows, and no query"))),
                false => read(&path.parent().unwrap_or(Path::new("")).join(query)),
            };
            let text = text.map_err(|error| match error.kind() {
                ErrorKind::InvalidInput => error.with_help(
                    "`spine_file` is of a query in SQL; ingest a file of rows into a table, and \
                     name that as `spine_table`",
                ),
                _ => error,
            });
            spec.spine = Some(text.map_err(|error| spec.locate(&name, error))?);
        }
        Ok(spec)
    }

    /// Parses a definition; the file's name appears in errors and names the lockfile.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with line and column for a mistake.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut spec: Self = parse_toml(file, text)?;
        spec.source = Some(Source { path: file.into(), text: text.to_owned() });
        spec.check().map_err(|(error, value)| {
            match value.and_then(|value| spec.place_of(&value)) {
                Some(place) => error.at(place),
                None => error.at(Location::of_file(file)),
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

    /// Whether features of a view are taken, under whatever name.
    #[must_use]
    pub fn takes_features_of(&self, view: &str) -> bool {
        let mut names = self.features.iter().filter_map(|feature| feature.split(':').next());
        names.any(|name| {
            let of = self.views.get(name).and_then(|rules| rules.of.as_deref());
            of.unwrap_or(name) == view
        })
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
        match &self.spine_table {
            Some(table) => Ok(format!("SELECT * FROM {}", quoted(table))),
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

    /// Adds to an error where a key stands in the definition.
    pub(crate) fn locate_key(&self, path: &[&str], error: Error) -> Error {
        match self.place_of_key(path) {
            Some(place) if error.location().is_none() => error.at(place.key),
            _ => error,
        }
    }

    /// Adds to an error where the value of a key stands in the definition.
    pub(crate) fn locate_value(&self, path: &[&str], error: Error) -> Error {
        match self.place_of_key(path) {
            Some(place) if error.location().is_none() => error.at(place.value),
            _ => error,
        }
    }

    fn place_of_key(&self, path: &[&str]) -> Option<KeyPlace> {
        let source = self.source.as_ref()?;
        document::place_of_key(&source.path.display().to_string(), &source.text, path)
    }

    /// Where a value stands in the definition.
    pub(crate) fn place_of(&self, value: &str) -> Option<Location> {
        let source = self.source.as_ref()?;
        let file = source.path.display().to_string();
        Some(match source.text.find(&format!("\"{value}\"")) {
            Some(offset) => Location::of_offset(&file, &source.text, offset),
            None => Location::of_file(file),
        })
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
        if let Some(label) = self.label.as_ref().filter(|label| **label == self.event_timestamp) {
            let message = format!("`{label}` is both the label and the event timestamp");
            return Err((Error::invalid(message), Some(label.clone())));
        }
        if self.label.is_none() && self.maturity.is_some() {
            return Err(plain(
                "`[maturity]` says when labels are settled, and the set has none",
                "name the spine's column to predict as `label`, or leave `[maturity]` out",
            ));
        }
        self.split.as_ref().map_or(Ok(()), SplitSpec::check).map_err(|error| (error, None))?;
        let cross = self.cross_validation.as_ref();
        if let (Some(group), Some(other)) =
            (&self.group, cross.and_then(|cross| cross.group.as_ref()))
            && group != other
        {
            let message = format!("rows are ranked by `{group}` and folds are by `{other}`");
            let help = "leave `[cross_validation]`'s `by` and `group` out: queries stay together";
            return Err((Error::invalid(message).with_help(help), None));
        }
        cross.map_or(Ok(()), CrossValidationSpec::check)
    }
}

/// Whether a file is named as those are that hold rows.
fn holds_rows(file: &Path) -> bool {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let of_rows = ["parquet", "csv", "tsv", "json", "jsonl", "ndjson", "arrow", "avro", "orc"];
    of_rows.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// The definitions in a directory, in order of name; lockfiles are none.
///
/// # Errors
///
/// `Unavailable` if the directory cannot be read. No directory, no definitions.
pub fn definition_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Error::unreadable(dir, error);
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

/// A table's name as queries write it.
pub(crate) fn quoted(table: &TableName) -> String {
    let parts = table.namespace().split('.').chain([table.table()]);
    parts.map(|part| format!("\"{part}\"")).collect::<Vec<_>>().join(".")
}
