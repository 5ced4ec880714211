//! Models, seeds, tests and sources.

use std::collections::BTreeMap;

use icecore_core::{Error, Result, TableName};
use serde_json::Value;

use crate::config::NodeConfig;
use crate::yaml::Object;

/// The namespace of what names none and lies in no folder.
pub(crate) const SCHEMA: &str = "models";

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A query.
    Model,
    /// A CSV file.
    Seed,
    /// A query of rows that should not be there.
    Test,
}

impl NodeKind {
    /// What dbt calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Seed => "seed",
            Self::Test => "test",
        }
    }
}

/// A model, a seed or a test.
#[derive(Debug, Clone)]
pub struct Node {
    /// `model.PROJECT.NAME`.
    pub unique_id: String,
    /// What it is.
    pub kind: NodeKind,
    /// Its name.
    pub name: String,
    /// The project, the folders, the name.
    pub fqn: Vec<String>,
    /// Its file, from the folder of its kind.
    pub path: String,
    /// Its file, from the project.
    pub file: String,
    /// The file's text; that of a test of a property file is made of what it says.
    pub text: String,
    /// Its settings.
    pub config: NodeConfig,
    /// What it is about.
    pub description: String,
    /// What is said of its columns.
    pub columns: BTreeMap<String, Column>,
    /// Its table or view; tests have none.
    pub relation: Option<TableName>,
    /// The names that `ref` was called with.
    pub refs: Vec<String>,
    /// The names that `source` was called with.
    pub sources: Vec<(String, String)>,
    /// The macros that it calls.
    pub macros: Vec<String>,
    /// The nodes and sources that it names.
    pub depends_on: Vec<String>,
    /// The hash of what it means: its text without its layout, settings, macros, vars.
    pub hash: String,
    /// The SHA-256 of its text.
    pub checksum: String,
    /// What a test tests.
    pub test: Option<TestSpec>,
}

/// What is said of a column.
#[derive(Debug, Clone, Default)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// Its type.
    pub data_type: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What else is said.
    pub meta: Object,
}

/// A table that the project reads and does not make.
#[derive(Debug, Clone)]
pub struct SourceTable {
    /// `source.PROJECT.SOURCE.TABLE`.
    pub unique_id: String,
    /// The source.
    pub source_name: String,
    /// The table's name in the project.
    pub name: String,
    /// The table.
    pub relation: TableName,
    /// The file that declares it.
    pub file: String,
    /// What it is about.
    pub description: String,
    /// What is said of its columns.
    pub columns: BTreeMap<String, Column>,
    /// The column that says when a row was loaded.
    pub loaded_at_field: Option<String>,
    /// How old it may be, as it is said.
    pub freshness: Value,
    /// Its tags.
    pub tags: Vec<String>,
}

/// What a test tests.
#[derive(Debug, Clone)]
pub struct TestSpec {
    /// `not_null`, `unique`, …; absent for a test that is a file of its own.
    pub name: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// What it was given.
    pub arguments: Object,
    /// Whether rows are an error, or a warning.
    pub is_error: bool,
    /// How many rows are an error.
    pub error_if: Threshold,
    /// How many rows are a warning.
    pub warn_if: Threshold,
    /// The most rows that are counted.
    pub limit: Option<u64>,
    /// The node or source that it is attached to.
    pub attached: Option<String>,
}

/// How many rows are too many: `!= 0`, `> 10`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// The comparison.
    op: String,
    /// The number.
    number: u64,
}

impl Threshold {
    /// Any row.
    pub(crate) fn any() -> Self {
        Self { op: "!=".to_owned(), number: 0 }
    }

    /// Reads a comparison.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is none.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        let digits = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
        let (op, number) = text.split_at(digits);
        let op = op.trim();
        match (op, number.trim().parse()) {
            ("!=" | "<>" | ">" | ">=" | "=" | "==" | "<" | "<=", Ok(number)) => {
                Ok(Self { op: op.to_owned(), number })
            }
            _ => Err(Error::invalid(format!("`{text}` does not compare a number of rows"))
                .with_help("write such as `> 10`")),
        }
    }

    /// Whether so many rows are too many.
    #[must_use]
    pub fn is_passed(&self, rows: u64) -> bool {
        match self.op.as_str() {
            "!=" | "<>" => rows != self.number,
            ">" => rows > self.number,
            ">=" => rows >= self.number,
            "<" => rows < self.number,
            "<=" => rows <= self.number,
            _ => rows == self.number,
        }
    }
}

impl std::fmt::Display for Threshold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.op, self.number)
    }
}

/// Rows that a model is given, and those that it has to answer.
#[derive(Debug, Clone)]
pub struct UnitTest {
    /// `unit_test.PROJECT.MODEL.NAME`.
    pub unique_id: String,
    /// Its name.
    pub name: String,
    /// The model's name.
    pub model: String,
    /// The model's unique id.
    pub model_id: String,
    /// The file that declares it.
    pub file: String,
    /// What it is about.
    pub description: String,
    /// What `ref` and `source` give, by their keys.
    pub given: Vec<(String, Vec<Object>)>,
    /// The rows that have to come out.
    pub expect: Vec<Object>,
    /// What `is_incremental()` answers.
    pub is_incremental: bool,
    /// Values of `var`.
    pub vars: Object,
    /// As it is said.
    pub raw: Object,
    /// The tags.
    pub tags: Vec<String>,
}
