//! What `config(…)` says of a model, laid over what the project says.

use icecore_core::{Error, Result};
use serde_json::Value;

use crate::yaml::{self, Object};

/// How a model is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Materialized {
    /// As its query, under its name.
    View,
    /// As a table that each run replaces.
    Table,
    /// As a table that each run adds to or changes.
    Incremental,
    /// Not at all: its query is part of those that name it.
    Ephemeral,
}

impl Materialized {
    /// What dbt calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Table => "table",
            Self::Incremental => "incremental",
            Self::Ephemeral => "ephemeral",
        }
    }

    /// Whether it has rows of its own.
    #[must_use]
    pub const fn is_table(self) -> bool {
        matches!(self, Self::Table | Self::Incremental)
    }
}

/// How an incremental model's new rows meet those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// They are added.
    Append,
    /// They update those of the same key, and are added where there is none.
    Merge,
    /// All rows of their keys leave, then they are added.
    DeleteInsert,
    /// All rows of their partitions leave, then they are added.
    InsertOverwrite,
}

/// Which columns of a row that is there a merge updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Updated {
    /// These.
    Only(Vec<String>),
    /// All that the query gives, without these.
    AllBut(Vec<String>),
}

impl Updated {
    /// Which of a query's columns are updated.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a column that the query does not give.
    pub(crate) fn of(&self, given: &[String]) -> Result<Vec<String>> {
        let (key, said) = match self {
            Self::Only(said) => (UPDATE, said),
            Self::AllBut(said) => (EXCLUDE, said),
        };
        if let Some(name) = said.iter().find(|name| !given.contains(name)) {
            let message = format!("`{key}` names `{name}`, which the query does not give");
            return Err(
                Error::invalid(message).with_candidates(name, given.iter().map(String::as_str))
            );
        }
        Ok(match self {
            Self::Only(said) => said.clone(),
            Self::AllBut(said) => given.iter().filter(|n| !said.contains(n)).cloned().collect(),
        })
    }
}

const UPDATE: &str = "merge_update_columns";
const EXCLUDE: &str = "merge_exclude_columns";

/// What becomes of a query's columns that a table lacks, and the other way around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSchemaChange {
    /// New ones are left out; old ones become null.
    Ignore,
    /// It is an error.
    Fail,
    /// New ones are added; old ones become null.
    AppendNewColumns,
    /// New ones are added, old ones dropped.
    SyncAllColumns,
}

/// What happens to an incremental condition that cuts an aggregate short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNarrowedWindow {
    /// The whole window is computed, and the user is told.
    Recompute,
    /// It is run as it is written, and the user is told.
    AsWritten,
    /// It is an error.
    Refuse,
}

/// The settings of a model, a seed or a test.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Whether it takes part.
    pub enabled: bool,
    /// How it is kept.
    pub materialized: Materialized,
    /// How new rows meet old ones.
    pub strategy: Option<Strategy>,
    /// The columns that tell a row from every other one.
    pub unique_key: Vec<String>,
    /// Which columns a merge updates, where not all.
    pub updated: Option<Updated>,
    /// Whether the query must give the columns that are described, and no others.
    pub contract: bool,
    /// What a new table is partitioned by, in icecore's words.
    pub partition_by: Vec<String>,
    /// What the rows of files are sorted by.
    pub sort_by: Vec<String>,
    /// What a change of columns does.
    pub on_schema_change: OnSchemaChange,
    /// What a condition does that cuts an aggregate short.
    pub on_narrowed_window: OnNarrowedWindow,
    /// Whether every run is a full one, or none.
    pub full_refresh: Option<bool>,
    /// Tags.
    pub tags: Vec<String>,
    /// The namespace, where it is said.
    pub schema: Option<String>,
    /// The table's name, where it is not the model's.
    pub alias: Option<String>,
    /// Table properties of a new table.
    pub properties: Vec<(String, String)>,
    /// Everything as it was said.
    pub raw: Object,
}

/// Keys that mean something here, then those of dbt that change nothing here.
const KEYS: [&str; 19] = [
    "enabled",
    "materialized",
    "incremental_strategy",
    "unique_key",
    UPDATE,
    EXCLUDE,
    "contract",
    "partition_by",
    "sort_by",
    "on_schema_change",
    "on_narrowed_window",
    "full_refresh",
    "tags",
    "schema",
    "alias",
    "table_properties",
    "meta",
    "file_format",
    "description",
];
const IGNORED: [&str; 21] = [
    "access",
    "batch_size",
    "begin",
    "column_types",
    "concurrent_batches",
    "database",
    "delimiter",
    "docs",
    "event_time",
    "freshness",
    "grants",
    "group",
    "lookback",
    "on_configuration_change",
    "packages",
    "persist_docs",
    "post-hook",
    "pre-hook",
    "quote_columns",
    "quoting",
    "static_analysis",
];

impl NodeConfig {
    /// Reads settings.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a key or value that is none, naming the nearest.
    pub(crate) fn read(raw: Object) -> Result<Self> {
        let known = KEYS.iter().chain(&IGNORED);
        if let Some(key) = raw.keys().find(|key| !known.clone().any(|known| known == key)) {
            return Err(Error::invalid(format!("`{key}` is no setting of a model"))
                .with_note(format!("settings: {}", KEYS.join(", ")))
                .with_note("what is yours alone belongs into `meta`")
                .with_candidates(key, KEYS));
        }
        for hook in ["pre-hook", "post-hook"] {
            if raw
                .get(hook)
                .is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()))
            {
                return Err(Error::unsupported(format!("`{hook}` is not run"))
                    .with_note("a model is a query; a statement beside it could not be undone")
                    .with_help("make it a model of its own, or a test"));
            }
        }
        if let Some(format) = yaml::text(&raw, "file_format")
            && !["iceberg", "parquet"].contains(&format.as_str())
        {
            return Err(Error::unsupported(format!("`file_format = '{format}'` is not written"))
                .with_help("tables are Iceberg tables of Parquet files: leave it out"));
        }
        let flag = |key: &str| raw.get(key).and_then(Value::as_bool);
        Ok(Self {
            enabled: flag("enabled").unwrap_or(true),
            materialized: materialized(yaml::text(&raw, "materialized").as_deref())?,
            strategy: strategy(yaml::text(&raw, "incremental_strategy").as_deref())?,
            unique_key: yaml::texts(&raw, "unique_key"),
            updated: updated(&raw)?,
            contract: contract(raw.get("contract"))?,
            partition_by: partition_by(raw.get("partition_by"))?,
            sort_by: yaml::texts(&raw, "sort_by"),
            on_schema_change: on_schema_change(yaml::text(&raw, "on_schema_change").as_deref())?,
            on_narrowed_window: on_narrowed(yaml::text(&raw, "on_narrowed_window").as_deref())?,
            full_refresh: flag("full_refresh"),
            tags: yaml::texts(&raw, "tags"),
            schema: yaml::text(&raw, "schema"),
            alias: yaml::text(&raw, "alias"),
            properties: raw
                .get("table_properties")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.clone(), yaml::scalar(value)?)))
                .collect(),
            raw,
        })
    }

    /// How new rows meet old ones, where nothing is said: by their key if there is one.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a strategy that lacks what it needs.
    pub(crate) fn strategy(&self) -> Result<Strategy> {
        let strategy = self.strategy.unwrap_or(if self.unique_key.is_empty() {
            Strategy::Append
        } else {
            Strategy::Merge
        });
        let needs = |what: &str| {
            Err(Error::invalid(format!("this incremental strategy needs `{what}`"))
                .with_help(format!("add `{what}` to the model's `config(…)`")))
        };
        if self.updated.is_some() && strategy != Strategy::Merge {
            let message = format!("`{UPDATE}` and `{EXCLUDE}` are of the strategy `merge`");
            return Err(Error::invalid(message)
                .with_help("write `incremental_strategy='merge'`, or leave them out"));
        }
        match strategy {
            Strategy::Merge | Strategy::DeleteInsert if self.unique_key.is_empty() => {
                needs("unique_key")
            }
            Strategy::InsertOverwrite if self.partition_by.is_empty() => needs("partition_by"),
            strategy => Ok(strategy),
        }
    }
}

/// Lays settings over others: tags add up, `meta` is joined, everything else replaces.
pub(crate) fn lay_over(under: &mut Object, over: &Object) {
    for (key, value) in over {
        let key = key
            .trim_start_matches('+')
            .replace("pre_hook", "pre-hook")
            .replace("post_hook", "post-hook");
        match (key.as_str(), value) {
            ("tags", value) => {
                let mut tags = yaml::texts(under, "tags");
                let more = Object::from_iter([("tags".to_owned(), value.clone())]);
                for tag in yaml::texts(&more, "tags") {
                    if !tags.contains(&tag) {
                        tags.push(tag);
                    }
                }
                under.insert(key, tags.into());
            }
            ("meta", Value::Object(more)) => {
                let known = under.entry(key).or_insert_with(|| Object::new().into());
                if let Some(known) = known.as_object_mut() {
                    known.extend(more.clone());
                }
            }
            _ => {
                under.insert(key, value.clone());
            }
        }
    }
}

fn one_of<T: Copy>(key: &str, value: &str, all: &[(&str, T)]) -> Result<T> {
    let found = all.iter().find(|(name, _)| name.eq_ignore_ascii_case(value));
    found.map(|(_, meant)| *meant).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        Error::invalid(format!("`{key} = '{value}'` is none that there is"))
            .with_note(format!("values: {}", names.join(", ")))
            .with_candidates(value, names.iter().copied())
    })
}

fn updated(raw: &Object) -> Result<Option<Updated>> {
    let said = |key: &str| Some(yaml::texts(raw, key)).filter(|names| !names.is_empty());
    match (said(UPDATE), said(EXCLUDE)) {
        (Some(_), Some(_)) => {
            Err(Error::invalid(format!("`{UPDATE}` and `{EXCLUDE}` say the same thing twice"))
                .with_help("keep one of them"))
        }
        (only, all_but) => Ok(only.map(Updated::Only).or(all_but.map(Updated::AllBut))),
    }
}

fn contract(value: Option<&Value>) -> Result<bool> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(false) };
    let enforced = value.as_object().map(|contract| contract.get("enforced"));
    match enforced {
        Some(None) => Ok(false),
        Some(Some(Value::Bool(enforced))) => Ok(*enforced),
        _ => Err(Error::invalid("`contract` says whether it is enforced")
            .with_help("write `contract={'enforced': true}`")),
    }
}

fn materialized(value: Option<&str>) -> Result<Materialized> {
    let Some(value) = value else { return Ok(Materialized::View) };
    if value == "snapshot" || value == "materialized_view" {
        return Err(Error::unsupported(format!("`materialized = '{value}'` is not built"))
            .with_note("every table keeps its history: `icecore sql … --at TABLE=2026-01-01`")
            .with_help("write `table` or `incremental`"));
    }
    one_of(
        "materialized",
        value,
        &[
            ("view", Materialized::View),
            ("table", Materialized::Table),
            ("incremental", Materialized::Incremental),
            ("ephemeral", Materialized::Ephemeral),
        ],
    )
}

fn strategy(value: Option<&str>) -> Result<Option<Strategy>> {
    let Some(value) = value else { return Ok(None) };
    if value == "microbatch" {
        return Err(Error::unsupported("`incremental_strategy = 'microbatch'` is not built")
            .with_help(
                "write `insert_overwrite` with `partition_by`, and filter by the partition",
            ));
    }
    let all = [
        ("append", Strategy::Append),
        ("merge", Strategy::Merge),
        ("delete+insert", Strategy::DeleteInsert),
        ("insert_overwrite", Strategy::InsertOverwrite),
    ];
    one_of("incremental_strategy", value, &all).map(Some)
}

fn on_schema_change(value: Option<&str>) -> Result<OnSchemaChange> {
    let all = [
        ("ignore", OnSchemaChange::Ignore),
        ("fail", OnSchemaChange::Fail),
        ("append_new_columns", OnSchemaChange::AppendNewColumns),
        ("sync_all_columns", OnSchemaChange::SyncAllColumns),
    ];
    one_of("on_schema_change", value.unwrap_or("ignore"), &all)
}

fn on_narrowed(value: Option<&str>) -> Result<OnNarrowedWindow> {
    let all = [
        ("recompute", OnNarrowedWindow::Recompute),
        ("as_written", OnNarrowedWindow::AsWritten),
        ("refuse", OnNarrowedWindow::Refuse),
    ];
    one_of("on_narrowed_window", value.unwrap_or("recompute"), &all)
}

/// `'day'`, `['a', 'bucket(16, b)']`, or `{'field': …, 'data_type': …, 'granularity': …}`.
fn partition_by(value: Option<&Value>) -> Result<Vec<String>> {
    let one = |value: &Value| match value {
        Value::String(field) => Ok(field.clone()),
        Value::Object(object) => {
            let field = yaml::text(object, "field")
                .ok_or_else(|| Error::invalid("`partition_by` names no `field`"))?;
            let kind = yaml::text(object, "data_type").unwrap_or_else(|| "date".to_owned());
            match (kind.as_str(), yaml::text(object, "granularity").as_deref()) {
                ("date", None | Some("day")) => Ok(field),
                ("timestamp" | "datetime" | "timestamptz", None) => Ok(format!("day({field})")),
                ("string" | "int64" | "int" | "integer", None) => Ok(field),
                (_, Some(by @ ("hour" | "day" | "month" | "year"))) => Ok(format!("{by}({field})")),
                (kind, by) => Err(Error::invalid(format!(
                    "`partition_by` cannot be a {kind} by {}",
                    by.unwrap_or("value")
                ))
                .with_help("write it as `'month(field)'` or `'bucket(16, field)'`")),
            }
        }
        _ => Err(Error::invalid("`partition_by` is neither a field nor a list of them")),
    };
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(all)) => all.iter().map(one).collect(),
        Some(value) => Ok(vec![one(value)?]),
    }
}
