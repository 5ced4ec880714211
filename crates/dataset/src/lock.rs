//! The lockfile: what a training set was made from, and what it holds.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use icecore_core::{
    Error, Knowledge, PinnedTable, RefName, Result, Span, TableName, Timestamp, parse_toml,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::leak::LeakCheck;
use crate::moment::LockedWindows;
use crate::on_demand::LockedOnDemand;
use crate::parts::LockedSplit;
use crate::shape::LockedMaturity;
use crate::statistics::ColumnStatistics;

/// The form of the lockfile that this version writes.
const FORM: u32 = 1;

/// The lockfile of a definition: `training/churn.toml` has `training/churn.lock.toml`.
#[must_use]
pub fn lockfile_path(definition: &Path) -> PathBuf {
    definition.with_extension("lock.toml")
}

/// What a training set was made from, and what it holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lock {
    /// The form of the file.
    pub version: u32,
    /// When the set was first built from these inputs.
    pub created_at: Timestamp,
    /// The version of icecore that built it.
    pub icecore_version: String,
    /// How many rows it has.
    pub rows: u64,
    /// The hash of its rows, whatever their order and layout: 64 hexadecimal digits.
    pub content_hash: String,
    /// The tag of its snapshot.
    pub tag: RefName,
    /// Where it is materialized.
    pub materialized: PinnedTable,
    /// What it was made from.
    #[serde(flatten)]
    pub plan: DatasetPlan,
    /// What each column holds, in order.
    #[serde(rename = "column")]
    pub columns: Vec<ColumnStatistics>,
    /// That no row saw its future.
    pub leak_check: LeakCheck,
}

/// What a training set is made from: every input pinned, every choice made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetPlan {
    /// The dataset's name.
    pub dataset: String,
    /// The table that the rows go to.
    pub table: TableName,
    /// The column to predict, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The column with each row's moment.
    pub event_timestamp: String,
    /// The spine's columns that features are joined by.
    pub keys: Vec<String>,
    /// The clock that was asked for; absent means created where a view declares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knowledge: Option<Knowledge>,
    /// Whether each view adds when the row that it gave happened: `{view}__event_timestamp`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_event_timestamps: bool,
    /// Whether each view adds how old the row that it gave was, in microseconds: `{view}__age_us`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_ages: bool,
    /// Only joined rows for which this SQL expression is true.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// When labels are settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maturity: Option<LockedMaturity>,
    /// How the rows are divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<LockedSplit>,
    /// The rows to enrich.
    pub spine: LockedSpine,
    /// Every table that is read, at its pin.
    #[serde(rename = "input")]
    pub inputs: Vec<LockedInput>,
    /// What is joined.
    #[serde(rename = "view")]
    pub views: Vec<LockedView>,
}

/// The query of a spine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedSpine {
    /// Its text.
    pub sql: String,
    /// SHA-256 of the text, in hex.
    pub sha256: String,
}

impl LockedSpine {
    pub(crate) fn new(sql: String) -> Self {
        Self { sha256: sha256(&sql), sql }
    }
}

/// A table that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedInput {
    /// For what.
    pub role: InputRole,
    /// Which state.
    #[serde(flatten)]
    pub pin: PinnedTable,
}

/// What a table was read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InputRole {
    /// The spine's query reads it.
    Spine,
    /// It holds feature rows.
    Features,
    /// It holds events that features are computed from at the spine's moments.
    Events,
}

/// A feature view as it was joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedView {
    /// Its name in the set.
    pub name: String,
    /// The feature view, where the set has another name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The hash of its definition.
    pub definition_hash: String,
    /// Where its rows are, or its events, if its windows end at the spine's moments.
    pub table: TableName,
    /// The clock that decided.
    pub knowledge: Knowledge,
    /// The column with the moment that a row describes.
    pub event_timestamp: String,
    /// The column with the moment at which a row became known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_timestamp: Option<String>,
    /// How old a row may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// How long after it was known a row can first be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// Whether a row of exactly the spine's moment stays out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// The table's key columns, each with the spine's.
    pub keys: Vec<(String, String)>,
    /// The columns taken, each with its name in the set.
    pub columns: Vec<(String, String)>,
    /// What is computed from them and the spine's columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand: Option<LockedOnDemand>,
    /// How windows are computed that end at the spine's moments; absent where stored rows are seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<LockedWindows>,
}

impl LockedView {
    /// The name of the feature view, whatever the set calls it.
    #[must_use]
    pub fn view(&self) -> &str {
        self.of.as_deref().unwrap_or(&self.name)
    }
}

impl DatasetPlan {
    /// The pins, each once.
    #[must_use]
    pub fn pins(&self) -> Vec<PinnedTable> {
        let mut pins: Vec<PinnedTable> =
            self.inputs.iter().map(|input| input.pin.clone()).collect();
        pins.sort();
        pins.dedup();
        pins
    }

    /// The names of the feature columns, in order: those of the views' tables, then those that are
    /// computed on demand.
    #[must_use]
    pub fn features(&self) -> Vec<&str> {
        let stored = self.views.iter().flat_map(|view| &view.columns);
        let on_demand = self.views.iter().filter_map(|view| view.on_demand.as_ref());
        let on_demand = on_demand.flat_map(|on_demand| &on_demand.columns);
        stored.chain(on_demand).map(|(_, name)| name.as_str()).collect()
    }
}

impl Lock {
    /// Reads a lockfile.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none; `InvalidInput` with line and column if it is none;
    /// `Unsupported` if a later version of icecore wrote it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| Error::unreadable(path, error))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Parses the text of a lockfile; the file's name appears in errors.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Form {
            version: u32,
        }
        let form: Form = parse_toml(file, text)?;
        if form.version != FORM {
            return Err(Error::unsupported(format!(
                "`{file}` has form {}, and this version of icecore reads form {FORM}",
                form.version
            ))
            .with_help("build the dataset again, or use the version that wrote the file"));
        }
        parse_toml(file, text)
    }

    /// Writes the lockfile in one step: a reader sees the old one or the new one.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = self.to_toml()?;
        let failed = |error: std::io::Error| {
            Error::unavailable(format!("cannot write `{}`", path.display())).with_source(error)
        };
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(dir).map_err(failed)?;
        let temporary = path.with_extension(format!("toml.{}.tmp", std::process::id()));
        let written = (|| {
            let mut file = File::create(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            File::open(dir)?.sync_all()
        })();
        written.map_err(|error| {
            // What is left of it would be in nobody's way, but it is litter.
            let _ = fs::remove_file(&temporary);
            failed(error)
        })
    }

    /// The text of the lockfile.
    ///
    /// # Errors
    ///
    /// `Internal` if it cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String> {
        let body = toml::to_string(self)
            .map_err(|error| Error::internal("cannot write a lockfile").with_source(error))?;
        Ok(format!(
            "# What dataset `{}` was made from. Written by `icecore dataset build`; keep it with \
             the definition.\n{body}",
            self.plan.dataset
        ))
    }

    pub(crate) const FORM: u32 = FORM;
}

/// SHA-256 of a text, in hex.
pub(crate) fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
