//! How rows are changed, and what came of it.

use std::collections::HashMap;

use icecore_core::{CommitOptions, Error, PinnedTable, Result};

/// How rows of a data file leave a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RowMode {
    /// The file is written again without them. Every engine reads the result, at full speed.
    #[default]
    CopyOnWrite,
    /// A file beside it says which rows are gone: a position delete file in tables of format
    /// version 2, a deletion vector in those of version 3. Cheap to write; each read pays.
    MergeOnRead,
}

impl std::str::FromStr for RowMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "copy-on-write" => Ok(Self::CopyOnWrite),
            "merge-on-read" => Ok(Self::MergeOnRead),
            _ => Err(Error::invalid(format!("`{text}` is no way to change rows"))
                .with_help("write `copy-on-write` or `merge-on-read`")),
        }
    }
}

/// What of a change is left to the table where the caller says nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Delete,
    Overwrite,
    Merge,
}

impl Operation {
    /// What Iceberg calls it in the names of table properties.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Overwrite => "update",
            Self::Merge => "merge",
        }
    }

    /// What the caller asks for, else what the property `write.OPERATION.mode` says, else
    /// copy-on-write.
    pub(crate) fn mode(
        self,
        asked: Option<RowMode>,
        properties: &HashMap<String, String>,
    ) -> Result<RowMode> {
        if let Some(mode) = asked {
            return Ok(mode);
        }
        let property = format!("write.{}.mode", self.name());
        match properties.get(&property) {
            Some(stored) => stored.parse().map_err(|error: Error| {
                error.with_note(format!("it is the table's property `{property}`"))
            }),
            None => Ok(RowMode::default()),
        }
    }
}

/// How to delete rows, or to replace them.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RowOptions {
    /// The branch, the summary, the job, the base and the isolation; its write mode is not used.
    pub commit: CommitOptions,
    /// How rows leave their files; absent means what the table's property says.
    pub mode: Option<RowMode>,
    /// Finds out what would change, and changes nothing.
    pub dry_run: bool,
}

impl RowOptions {
    /// Commits so.
    #[must_use]
    pub fn with_commit(mut self, commit: CommitOptions) -> Self {
        self.commit = commit;
        self
    }

    /// Takes rows out of their files so.
    #[must_use]
    pub const fn with_mode(mut self, mode: RowMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Finds out what would change, and changes nothing.
    #[must_use]
    pub const fn as_dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }
}

/// What happens to a row of the table that has the key of a new row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WhenMatched {
    /// It takes the new row's values.
    #[default]
    Update,
    /// It stays as it is.
    Ignore,
    /// It is deleted.
    Delete,
}

/// What happens to a new row whose key no row of the table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WhenNotMatched {
    /// It is inserted.
    #[default]
    Insert,
    /// Nothing.
    Ignore,
}

/// What a null in a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum NullKeys {
    /// A mistake.
    #[default]
    Refuse,
    /// A value like any other: it equals a null.
    Equal,
}

/// What two new rows of one key mean.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum DuplicateKeys {
    /// A mistake.
    #[default]
    Refuse,
    /// The one with the greater value in this column counts; of equals the later one. A null is
    /// less than every value.
    GreatestBy(String),
}

/// How to insert and update rows by key.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UpsertOptions {
    /// The branch, the summary, the job, the base and the isolation; its write mode is not used.
    pub commit: CommitOptions,
    /// How rows leave their files; absent means what the table's property says.
    pub mode: Option<RowMode>,
    /// What happens to rows of the table whose key a new row has.
    pub when_matched: WhenMatched,
    /// What happens to new rows whose key is new.
    pub when_not_matched: WhenNotMatched,
    /// The columns that an update changes; absent means all that the new rows have.
    pub update_columns: Option<Vec<String>>,
    /// What a null in a key means.
    pub null_keys: NullKeys,
    /// What two new rows of one key mean.
    pub duplicate_keys: DuplicateKeys,
    /// The most bytes of new rows that are held in memory.
    pub source_bytes_max: usize,
    /// Finds out what would change, and changes nothing.
    pub dry_run: bool,
}

impl Default for UpsertOptions {
    fn default() -> Self {
        Self {
            commit: CommitOptions::default(),
            mode: None,
            when_matched: WhenMatched::default(),
            when_not_matched: WhenNotMatched::default(),
            update_columns: None,
            null_keys: NullKeys::default(),
            duplicate_keys: DuplicateKeys::default(),
            source_bytes_max: 1 << 30,
            dry_run: false,
        }
    }
}

impl UpsertOptions {
    /// Commits so.
    #[must_use]
    pub fn with_commit(mut self, commit: CommitOptions) -> Self {
        self.commit = commit;
        self
    }

    /// Takes rows out of their files so.
    #[must_use]
    pub const fn with_mode(mut self, mode: RowMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Does this with rows of the table whose key a new row has.
    #[must_use]
    pub const fn with_matched(mut self, matched: WhenMatched) -> Self {
        self.when_matched = matched;
        self
    }

    /// Does this with new rows whose key is new.
    #[must_use]
    pub const fn with_not_matched(mut self, not_matched: WhenNotMatched) -> Self {
        self.when_not_matched = not_matched;
        self
    }

    /// Updates only these columns.
    #[must_use]
    pub fn with_update_columns<S: Into<String>>(
        mut self,
        columns: impl IntoIterator<Item = S>,
    ) -> Self {
        self.update_columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Takes a null in a key for this.
    #[must_use]
    pub const fn with_null_keys(mut self, null_keys: NullKeys) -> Self {
        self.null_keys = null_keys;
        self
    }

    /// Takes two new rows of one key for this.
    #[must_use]
    pub fn with_duplicate_keys(mut self, duplicate_keys: DuplicateKeys) -> Self {
        self.duplicate_keys = duplicate_keys;
        self
    }

    /// Holds at most this many bytes of new rows in memory.
    #[must_use]
    pub const fn with_source_bytes_max(mut self, bytes: usize) -> Self {
        self.source_bytes_max = bytes;
        self
    }

    /// Finds out what would change, and changes nothing.
    #[must_use]
    pub const fn as_dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }
}

/// What a change of rows did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowChanges {
    /// The state that it made (or found, where nothing had to change).
    pub pinned: PinnedTable,
    /// Whether it made a new snapshot, or would.
    pub changed: bool,
    /// Rows that were put in.
    pub inserted: u64,
    /// Rows that got other values.
    pub updated: u64,
    /// Rows that are gone.
    pub deleted: u64,
    /// Data files that are gone as a whole, without being read where the manifest says enough.
    pub files_removed: u64,
    /// Data files that were written again, or that a delete file was written for.
    pub files_touched: u64,
}

/// The summary fields that keep what a [`RowChanges`] says.
const FIELDS: [&str; 5] = [
    "icecore.inserted-rows",
    "icecore.updated-rows",
    "icecore.deleted-rows",
    "icecore.removed-files",
    "icecore.touched-files",
];

impl RowChanges {
    /// Nothing, in this state.
    pub(crate) const fn none(pinned: PinnedTable) -> Self {
        Self {
            pinned,
            changed: false,
            inserted: 0,
            updated: 0,
            deleted: 0,
            files_removed: 0,
            files_touched: 0,
        }
    }

    /// Whether there is something to commit.
    pub(crate) const fn is_something(&self) -> bool {
        self.inserted > 0 || self.updated > 0 || self.deleted > 0 || self.files_removed > 0
    }

    /// What it did, as fields of a snapshot's summary.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (String, String)> {
        let counts =
            [self.inserted, self.updated, self.deleted, self.files_removed, self.files_touched];
        FIELDS.into_iter().zip(counts).map(|(field, count)| (field.to_owned(), count.to_string()))
    }

    /// What the snapshot with these fields did.
    pub(crate) fn of_summary(pinned: PinnedTable, summary: &HashMap<String, String>) -> Self {
        let count = |field: &str| {
            summary.get(field).and_then(|count| count.parse().ok()).unwrap_or_default()
        };
        let [inserted, updated, deleted, files_removed, files_touched] = FIELDS.map(count);
        Self { pinned, changed: false, inserted, updated, deleted, files_removed, files_touched }
    }
}
