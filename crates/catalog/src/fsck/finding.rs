//! What a check found.

use icecore_core::TableName;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// The file that is wrong, or that says something wrong.
    pub file: Option<String>,
    /// What it says and what it should say.
    pub message: String,
}

impl Finding {
    /// Whether rows may be lost or read wrongly.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.kind.severity()
    }

    /// What to do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        self.kind.help()
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Rows may be lost or read wrongly.
    Error,
    /// Rows are read as they should be.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// The metadata file is not there or cannot be understood.
    UnreadableMetadata,
    /// The table has what icecore does not read, and so was not checked.
    NotRead,
    /// A tag or branch names a snapshot that is not there.
    DanglingRef,
    /// Metadata files are no linear chain.
    BrokenHistory,
    /// Sequence numbers do not rise along the history.
    BadSequenceNumber,
    /// Two snapshots say that they are of the same attempt.
    DuplicateAttempt,
    /// Something names a schema, partitioning or sort order that the table lacks.
    UnknownId,
    /// A file lies outside of the table.
    OutsideTable,
    /// A manifest list cannot be read.
    UnreadableManifestList,
    /// A manifest cannot be read.
    UnreadableManifest,
    /// A manifest is not what its list says of it.
    WrongManifest,
    /// An entry of a manifest contradicts itself, its manifest, or another entry of its file.
    BadEntry,
    /// A snapshot holds a file twice.
    DuplicateFile,
    /// The totals or counts in a snapshot's summary are not those of its files.
    WrongSummary,
    /// A file that a snapshot needs is not there.
    MissingFile,
    /// A file is shorter or longer than recorded.
    WrongSize,
    /// Ids of rows overlap or lie outside of what was given out.
    BadRowIds,
    /// Deletes name a data file that the snapshot does not hold.
    DanglingDelete,
    /// The properties that mirror a tag say something else than the tag.
    StaleTagProperty,
    /// A data or delete file cannot be read.
    UnreadableFile,
    /// A file has another number of rows than recorded.
    WrongRowCount,
    /// The nulls, bounds or sizes of a column are not what is recorded.
    WrongColumnMetrics,
    /// Rows lie in another partition than their file.
    WrongPartition,
    /// Rows are not in the order that their file names.
    NotSorted,
    /// Deleted positions are not in order or not in their file.
    BadPosition,
}

impl FindingKind {
    /// A name for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnreadableMetadata => "unreadable-metadata",
            Self::NotRead => "not-read",
            Self::DanglingRef => "dangling-ref",
            Self::BrokenHistory => "broken-history",
            Self::BadSequenceNumber => "bad-sequence-number",
            Self::DuplicateAttempt => "duplicate-attempt",
            Self::UnknownId => "unknown-id",
            Self::OutsideTable => "outside-table",
            Self::UnreadableManifestList => "unreadable-manifest-list",
            Self::UnreadableManifest => "unreadable-manifest",
            Self::WrongManifest => "wrong-manifest",
            Self::BadEntry => "bad-entry",
            Self::DuplicateFile => "duplicate-file",
            Self::WrongSummary => "wrong-summary",
            Self::MissingFile => "missing-file",
            Self::WrongSize => "wrong-size",
            Self::BadRowIds => "bad-row-ids",
            Self::DanglingDelete => "dangling-delete",
            Self::StaleTagProperty => "stale-tag-property",
            Self::UnreadableFile => "unreadable-file",
            Self::WrongRowCount => "wrong-row-count",
            Self::WrongColumnMetrics => "wrong-column-metrics",
            Self::WrongPartition => "wrong-partition",
            Self::NotSorted => "not-sorted",
            Self::BadPosition => "bad-position",
        }
    }

    /// How bad it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::NotRead | Self::DanglingDelete | Self::StaleTagProperty => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::UnreadableMetadata | Self::DanglingRef => {
                "register an earlier metadata file of the table, or restore this one"
            }
            Self::MissingFile | Self::WrongSize | Self::UnreadableFile => {
                "restore the file from a copy, or roll back to a snapshot without it"
            }
            Self::UnreadableManifestList | Self::UnreadableManifest | Self::WrongManifest => {
                "restore the file from a copy, or roll back to a snapshot without it"
            }
            Self::BrokenHistory | Self::BadSequenceNumber | Self::DuplicateAttempt => {
                "find out which writers share the table: one does not commit by compare-and-swap"
            }
            Self::NotRead => "check it with an engine that reads it",
            Self::OutsideTable => "copy the file into the table, or export and ingest its rows",
            Self::DanglingDelete => "`icecore table compact` removes deletes that delete nothing",
            Self::StaleTagProperty => "set the tag again with `icecore table tag --force`",
            _ => "roll back to a snapshot without it, or export the rows and overwrite the table",
        }
    }
}

/// What a check of one table came to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TableCheck {
    /// The table.
    pub table: TableName,
    /// Its snapshots.
    pub snapshots: u64,
    /// Manifests of all snapshots.
    pub manifests: u64,
    /// Data files of all snapshots.
    pub data_files: u64,
    /// Delete files of all snapshots.
    pub delete_files: u64,
    /// Bytes of data and delete files.
    pub bytes: u64,
    /// Rows that were read.
    pub rows_read: u64,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
}

impl TableCheck {
    pub(super) const fn new(table: TableName) -> Self {
        Self {
            table,
            snapshots: 0,
            manifests: 0,
            data_files: 0,
            delete_files: 0,
            bytes: 0,
            rows_read: 0,
            findings: Vec::new(),
        }
    }

    /// What may lose rows or read them wrongly.
    pub fn errors(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.severity() == Severity::Error)
    }
}

/// What a check of tables came to.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FsckReport {
    /// The tables, in the order in which they were checked.
    pub tables: Vec<TableCheck>,
}

impl FsckReport {
    /// Everything that may lose rows or read them wrongly, with its table.
    pub fn errors(&self) -> impl Iterator<Item = (&TableName, &Finding)> {
        self.findings().filter(|(_, finding)| finding.severity() == Severity::Error)
    }

    /// Everything that was found, with its table.
    pub fn findings(&self) -> impl Iterator<Item = (&TableName, &Finding)> {
        let tables = self.tables.iter();
        tables.flat_map(|check| check.findings.iter().map(|finding| (&check.table, finding)))
    }

    /// Whether no rows are lost or read wrongly.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.errors().next().is_none()
    }
}

/// Findings as they are made.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn add(&mut self, kind: FindingKind, file: &str, message: impl Into<String>) {
        self.0.push(Finding { kind, file: Some(file.to_owned()), message: message.into() });
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn into_sorted(mut self) -> Vec<Finding> {
        self.0.sort_by(|left, right| (left.severity(), left).cmp(&(right.severity(), right)));
        self.0.dedup();
        self.0
    }
}
