//! Names of tables and refs, and ids of snapshots and runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The longest part of a name, in bytes.
const PART_LEN_MAX: usize = 255;

/// Whether `part` may name a namespace, a table, a ref or a view: not empty, at most 255 bytes,
/// and nothing that could leave its directory or break a quoted name.
fn is_plain(part: &str) -> bool {
    !part.is_empty()
        && part.len() <= PART_LEN_MAX
        && !part.starts_with('.')
        && part.chars().all(|c| !c.is_control() && !matches!(c, '/' | '\\' | '"' | '`' | '\''))
}

/// The name of a table: `namespace.table`, where the namespace may itself have dots.
///
/// ```
/// use icecore_core::TableName;
/// let name: TableName = "ml_features.churn_features".parse()?;
/// assert_eq!((name.namespace(), name.table()), ("ml_features", "churn_features"));
/// # Ok::<(), icecore_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TableName {
    full: String,
    split: usize,
}

impl TableName {
    /// Parses `namespace.table`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if there is no namespace, or a
    /// part is empty, too long, or holds a slash, a quote or a control character.
    pub fn parse(name: &str) -> Result<Self> {
        let (namespace, _) = name.rsplit_once('.').ok_or_else(|| {
            Error::invalid(format!("table name `{name}` is not of the form `namespace.table`"))
        })?;
        if name.split('.').all(is_plain) {
            Ok(Self { full: name.to_owned(), split: namespace.len() })
        } else {
            Err(Error::invalid(format!(
                "table name `{}` has a part that no table can have",
                name.escape_debug()
            ))
            .with_note("parts are 1 to 255 bytes without slashes, quotes and control characters"))
        }
    }

    /// The part before the last dot.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.full[..self.split]
    }

    /// The part after the last dot.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.full[self.split + 1..]
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.full
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

impl FromStr for TableName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::parse(name)
    }
}

impl TryFrom<String> for TableName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::parse(&name)
    }
}

impl From<TableName> for String {
    fn from(name: TableName) -> Self {
        name.full
    }
}

/// The name of a tag or branch of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RefName(String);

impl RefName {
    /// Parses the name of a ref.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a name that a selector
    /// could take for something else (`latest`, a number), or with characters that names exclude.
    pub fn parse(name: &str) -> Result<Self> {
        if name == "latest" || name.parse::<i64>().is_ok() || !is_plain(name) {
            return Err(Error::invalid(format!("`{}` cannot name a tag or branch", name.escape_debug()))
                .with_note("`latest` and numbers mean snapshots; slashes, quotes and a leading dot are not allowed"));
        }
        Ok(Self(name.to_owned()))
    }

    /// The branch that readers see by default.
    #[must_use]
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RefName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::parse(name)
    }
}

impl TryFrom<String> for RefName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::parse(&name)
    }
}

impl From<RefName> for String {
    fn from(name: RefName) -> Self {
        name.0
    }
}

/// The id of an immutable state of a table. In JSON it is a string: it exceeds 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(i64);

impl SnapshotId {
    /// Wraps an id.
    #[must_use]
    pub const fn new(id: i64) -> Self {
        Self(id)
    }

    /// The id as a number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for SnapshotId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SnapshotId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// The id of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// Wraps an id: 32 hexadecimal digits in what icecore makes, anything in what it reads.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
