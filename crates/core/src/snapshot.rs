//! Tables, their versions, and the catalog that holds them.

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    BatchStream, Error, ErrorKind, Predicate, RefName, Result, SnapshotId, TableName, Timestamp,
};

/// Which state of a table is meant: a question. Only [`SnapshotCatalog::pin`] answers it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SnapshotSelector {
    /// The head of `main`.
    #[default]
    Latest,
    /// This snapshot.
    Id(SnapshotId),
    /// The latest snapshot of `main` that was committed at or before this moment.
    AsOf(Timestamp),
    /// What this tag or branch points at.
    Ref(RefName),
    /// The latest snapshot of this branch that was committed at or before this moment.
    RefAsOf(RefName, Timestamp),
}

impl SnapshotSelector {
    /// Parses what users type: `latest`, a snapshot id, an RFC 3339 time or a date, the name of a
    /// tag or branch, or `BRANCH@TIME`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for what is none of these.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(SnapshotId::new(id)));
        }
        if let Some((name, moment)) = text.split_once('@') {
            return Ok(Self::RefAsOf(RefName::parse(name)?, Timestamp::parse(moment)?));
        }
        match Timestamp::parse(text) {
            Ok(moment) => Ok(Self::AsOf(moment)),
            // A time without its zone is a mistake, not the name of a tag.
            Err(error) if !error.notes().is_empty() => Err(error),
            Err(_) => RefName::parse(text).map(Self::Ref),
        }
    }
}

impl std::str::FromStr for SnapshotSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for SnapshotSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::Id(id) => id.fmt(f),
            Self::AsOf(moment) => moment.fmt(f),
            Self::Ref(name) => name.fmt(f),
            Self::RefAsOf(name, moment) => write!(f, "{name}@{moment}"),
        }
    }
}

/// One immutable state of one table: an answer. A pin never goes stale, so what was read through
/// it may be cached, recorded and read again.
///
/// The uuid tells a table from another one that was later created under the same name. A table
/// without any snapshot yet pins to [`PinnedTable::EMPTY`] and has no rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PinnedTable {
    /// The table's name.
    pub table: TableName,
    /// The table's uuid, hyphenated.
    pub uuid: String,
    /// The state.
    pub snapshot: SnapshotId,
}

impl PinnedTable {
    /// The id that stands for a table before its first commit (Iceberg's own convention).
    pub const EMPTY: SnapshotId = SnapshotId::new(-1);
}

impl fmt::Display for PinnedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.table, self.snapshot)
    }
}

/// One line of a table's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The snapshot.
    pub id: SnapshotId,
    /// The snapshot it was made from.
    pub parent: Option<SnapshotId>,
    /// Its place in the order of commits.
    pub sequence_number: i64,
    /// When it was committed (millisecond resolution).
    pub committed_at: Timestamp,
    /// Iceberg's word for it: `append`, `overwrite`, `delete`, `replace`.
    pub operation: String,
    /// Every summary field, as stored.
    pub summary: BTreeMap<String, String>,
    /// Tags and branches that point at it.
    pub refs: Vec<RefName>,
    /// Whether the head of `main` is it or descends from it.
    pub on_main: bool,
}

impl SnapshotInfo {
    /// A summary field as a number, zero where it is absent.
    #[must_use]
    pub fn count(&self, field: &str) -> i64 {
        self.summary.get(field).and_then(|value| value.parse().ok()).unwrap_or(0)
    }

    /// Rows that were there before and are not any more, as far as the summary says: those of files
    /// that were removed, without those that were deleted in them before, and those that delete
    /// files now take out of files that stay. Rows that an equality delete meets are not counted.
    #[must_use]
    pub fn removed_rows(&self) -> i64 {
        let gone =
            self.count("deleted-records").saturating_add(self.count("added-position-deletes"));
        gone.saturating_sub(self.count("removed-position-deletes")).max(0)
    }
}

/// What to read of a pinned table.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ScanOptions {
    /// These columns in this order; absent means all.
    pub columns: Option<Vec<String>>,
    /// Only rows that pass.
    pub filter: Option<Predicate>,
    /// Rows per batch at most; absent means 8192.
    pub batch_rows: Option<usize>,
}

impl ScanOptions {
    /// Reads these columns in this order.
    #[must_use]
    pub fn with_columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Reads only rows that pass.
    #[must_use]
    pub fn with_filter(mut self, filter: Predicate) -> Self {
        self.filter = Some(filter);
        self
    }
}

/// What a commit does with the rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WriteMode {
    /// Keeps them.
    #[default]
    Append,
    /// Replaces all of them.
    Overwrite,
    /// Replaces the partitions that the new rows lie in, and leaves the files of others untouched
    /// (dynamic partition overwrite). No new rows: changes nothing.
    OverwritePartitions,
}

/// What of that which others commit at the same time contradicts a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Isolation {
    /// Changes come out as if they had been made one after the other: rows that others added
    /// where the change read or replaced contradict it.
    #[default]
    Serializable,
    /// Rows that others added since do not contradict a change; what they removed or deleted
    /// under it does. No row that was read is lost or comes back.
    Snapshot,
}

impl std::str::FromStr for Isolation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "serializable" => Ok(Self::Serializable),
            "snapshot" => Ok(Self::Snapshot),
            _ => Err(Error::invalid(format!("`{text}` is no isolation level"))
                .with_help("write `serializable` or `snapshot`")),
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serializable => "serializable",
            Self::Snapshot => "snapshot",
        })
    }
}

/// How to commit.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CommitOptions {
    /// What happens to the rows that are there.
    pub mode: WriteMode,
    /// Fields to add to the snapshot's summary: sources, definition hash, run.
    pub summary: BTreeMap<String, String>,
    /// A name for this piece of work. A commit whose job id the branch's history already holds
    /// changes nothing and returns the snapshot that it made: retries are idempotent.
    pub job_id: Option<String>,
    /// The state of this table that the rows were computed from; absent means its state when the
    /// commit begins. An overwrite fails with `Conflict` rather than replace rows that others
    /// committed since.
    pub base: Option<SnapshotId>,
    /// The branch that is committed to; absent means `main`.
    pub branch: Option<RefName>,
    /// Whether a branch that does not exist begins at the head of `main` rather than be an error.
    pub create_branch: bool,
    /// What contradicts the change; absent means what the table's property
    /// `write.overwrite.isolation-level` says, and serializable where it says nothing.
    pub isolation: Option<Isolation>,
}

impl CommitOptions {
    /// A commit of this mode.
    #[must_use]
    pub fn new(mode: WriteMode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// Adds a field to the snapshot's summary.
    #[must_use]
    pub fn with_summary(mut self, field: impl Into<String>, value: impl Into<String>) -> Self {
        self.summary.insert(field.into(), value.into());
        self
    }

    /// Makes retries of this piece of work idempotent.
    #[must_use]
    pub fn with_job_id(mut self, job_id: impl Into<String>) -> Self {
        self.job_id = Some(job_id.into());
        self
    }

    /// Names the state of this table that the rows were computed from.
    #[must_use]
    pub const fn with_base(mut self, base: SnapshotId) -> Self {
        self.base = Some(base);
        self
    }

    /// Commits to this branch.
    #[must_use]
    pub fn with_branch(mut self, branch: RefName) -> Self {
        self.branch = Some(branch);
        self
    }

    /// Begins the branch at the head of `main` where it does not exist.
    #[must_use]
    pub const fn with_new_branch(mut self) -> Self {
        self.create_branch = true;
        self
    }

    /// Says what contradicts the change.
    #[must_use]
    pub const fn with_isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = Some(isolation);
        self
    }
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The state that it made (or found, where nothing had to change).
    pub pinned: PinnedTable,
    /// Rows that it added.
    pub added_rows: u64,
    /// Rows that it removed.
    pub removed_rows: u64,
    /// Whether it made a new snapshot.
    pub changed: bool,
}

/// What a new table looks like.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewTable {
    /// Its columns. Timestamps are stored in microseconds; those with a zone become UTC.
    pub schema: SchemaRef,
    /// Partition fields such as `day(event_timestamp)`, `bucket(16, user_token)`, `feature_date`.
    pub partition_by: Vec<String>,
    /// Columns that rows are sorted by inside a file.
    pub sort_by: Vec<String>,
    /// Table properties.
    pub properties: BTreeMap<String, String>,
    /// Iceberg's format version, 2 or 3; absent means 2, which every engine reads.
    pub format_version: Option<u8>,
    /// Paths of the columns that tell a row from every other one; each must have a value.
    pub identifier: Vec<String>,
}

impl NewTable {
    /// An unpartitioned table of these columns.
    #[must_use]
    pub fn new(schema: SchemaRef) -> Self {
        Self {
            schema,
            partition_by: Vec::new(),
            sort_by: Vec::new(),
            properties: BTreeMap::new(),
            format_version: None,
            identifier: Vec::new(),
        }
    }

    /// Partitions by these fields.
    #[must_use]
    pub fn with_partition_by<S: Into<String>>(mut self, by: impl IntoIterator<Item = S>) -> Self {
        self.partition_by = by.into_iter().map(Into::into).collect();
        self
    }

    /// Sorts the rows of each file by these columns, ascending, nulls first.
    #[must_use]
    pub fn with_sort_by<S: Into<String>>(mut self, by: impl IntoIterator<Item = S>) -> Self {
        self.sort_by = by.into_iter().map(Into::into).collect();
        self
    }

    /// Creates the table in this version of Iceberg's format.
    #[must_use]
    pub const fn with_format_version(mut self, version: u8) -> Self {
        self.format_version = Some(version);
        self
    }

    /// Says which columns tell a row from every other one.
    #[must_use]
    pub fn with_identifier<S: Into<String>>(mut self, by: impl IntoIterator<Item = S>) -> Self {
        self.identifier = by.into_iter().map(Into::into).collect();
        self
    }
}

/// Looks at several tables before one gives up to find them standing still.
const PIN_TRIES_MAX: usize = 50;

/// Versioned tables.
///
/// # Contract
///
/// - No read takes a selector: [`pin`](Self::pin) turns a question into a [`PinnedTable`], and
///   only that is read, so nothing can depend on data that moves by accident.
/// - A pin reads the same rows for ever, or fails with `NotFound` naming the expiry.
/// - A commit is one atomic step: every reader sees all of it or nothing, and a writer that dies
///   leaves the table as it was.
/// - A commit that returned `Ok` is stored. One whose outcome nobody knows fails with
///   `OutcomeUnknown` and its attempt id.
/// - Two writers never lose each other's rows: the later one is retried on the newer state.
#[async_trait]
pub trait SnapshotCatalog: fmt::Debug + Send + Sync + 'static {
    /// The tables, in order of name.
    async fn tables(&self) -> Result<Vec<TableName>>;

    /// Answers which state a selector means now.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table, snapshot, ref, or a time before the first snapshot.
    async fn pin(&self, table: &TableName, selector: &SnapshotSelector) -> Result<PinnedTable>;

    /// Answers which states several selectors mean at one moment: all of these pins were the
    /// answers at once, whoever commits meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`pin`](Self::pin); `Conflict` if the tables never stand still.
    async fn pin_all(&self, wanted: &[(TableName, SnapshotSelector)]) -> Result<Vec<PinnedTable>> {
        let mut before: Option<Vec<PinnedTable>> = None;
        for _ in 0..PIN_TRIES_MAX {
            let mut pins = Vec::with_capacity(wanted.len());
            for (table, selector) in wanted {
                pins.push(self.pin(table, selector).await?);
            }
            // What two rounds found alike was the case for all tables between them.
            if pins.len() < 2 || before.as_ref() == Some(&pins) {
                return Ok(pins);
            }
            before = Some(pins);
        }
        Err(Error::new(ErrorKind::Conflict, "the tables change too often to be pinned together")
            .with_help("name snapshots, tags or times instead of the latest states"))
    }

    /// The columns of a pinned table.
    async fn schema(&self, table: &PinnedTable) -> Result<SchemaRef>;

    /// The snapshots of a table, oldest first.
    async fn history(&self, table: &TableName) -> Result<Vec<SnapshotInfo>>;

    /// Reads a pinned table. The order of rows is not defined.
    async fn scan(&self, table: &PinnedTable, options: ScanOptions) -> Result<BatchStream>;

    /// Creates a table if there is none of that name; returns whether it did.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if there is one of another schema or partitioning.
    async fn ensure_table(&self, table: &TableName, new: &NewTable) -> Result<bool>;

    /// Writes rows and makes them visible in one step.
    async fn commit(
        &self,
        table: &TableName,
        rows: BatchStream,
        options: CommitOptions,
    ) -> Result<Committed>;
}
