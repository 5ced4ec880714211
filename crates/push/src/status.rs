//! Where the queue of a source stands.

use icecore_core::{TableName, Timestamp};
use serde::Serialize;

/// Where the queue of a source stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PushStatus {
    /// The source.
    pub source: String,
    /// The table that its events go to.
    pub table: TableName,
    /// Batches that wait for their commit.
    pub batches: u64,
    /// Their rows.
    pub rows: u64,
    /// Bytes that count against the queue's limit: theirs, and those of batches that the online
    /// store does not have yet.
    pub bytes: u64,
    /// When the oldest of them came.
    pub oldest: Option<Timestamp>,
    /// Batches that the online store does not have yet.
    pub behind: u64,
    /// Batches that the online store did not take since the process began, and that come with the
    /// next materialization: the table has them.
    pub left_to_table: u64,
    /// Batches for the online store alone that it could not take for an hour, and that are dropped,
    /// since the process began.
    pub dropped: u64,
    /// Values that are not in the table since the process began: when they were committed, their
    /// column had been dropped.
    pub left_out_values: u64,
    /// Rows that were accepted since the process began.
    pub accepted_rows: u64,
    /// Rows that were committed since the process began.
    pub committed_rows: u64,
    /// Commits that failed since then.
    pub failed_commits: u64,
    /// What the last commit that failed said, until one succeeds.
    pub error: Option<String>,
}
