//! What to compact, and what it came to.

use std::fmt;
use std::sync::Arc;

use icecore_core::{Predicate, RefName, SnapshotId};

use super::plan::Plan;
use super::rewrite::Done;
use crate::storage::KnownFile as _;

/// How files are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CompactStrategy {
    /// Rows of a partition keep their order, and files get their size.
    #[default]
    BinPack,
    /// Rows of a partition are sorted by the table's order across all of its files.
    Sort,
}

/// Which files to write anew.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CompactOptions {
    /// The branch.
    pub branch: RefName,
    /// How files are put together.
    pub strategy: CompactStrategy,
    /// The size that files should have; the table's `write.target-file-size-bytes`, or 512 MiB,
    /// where it is absent.
    pub target_bytes: Option<u64>,
    /// So many small files of a partition are worth it.
    pub min_input_files: usize,
    /// So many delete files that apply to a data file are worth it.
    pub min_delete_files: usize,
    /// Files without a row that passes stay as they are.
    pub filter: Option<Predicate>,
    /// Every file, however it is.
    pub all: bool,
    /// A commit is made once so many bytes of old files were read for it.
    pub commit_bytes: u64,
    /// Says what would be done, and changes nothing.
    pub dry_run: bool,
    /// Told what is being done.
    pub progress: Option<ProgressFn>,
}

impl Default for CompactOptions {
    /// Five small files of a partition, and every file with deletes or of an old partitioning.
    fn default() -> Self {
        Self {
            branch: RefName::main(),
            strategy: CompactStrategy::default(),
            target_bytes: None,
            min_input_files: 5,
            min_delete_files: 1,
            filter: None,
            all: false,
            commit_bytes: 4 << 30,
            dry_run: false,
            progress: None,
        }
    }
}

impl CompactOptions {
    /// Compacts this branch.
    #[must_use]
    pub fn with_branch(mut self, branch: RefName) -> Self {
        self.branch = branch;
        self
    }

    /// Puts files together this way.
    #[must_use]
    pub const fn with_strategy(mut self, strategy: CompactStrategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Gives files this size.
    #[must_use]
    pub const fn with_target_bytes(mut self, target_bytes: Option<u64>) -> Self {
        self.target_bytes = target_bytes;
        self
    }

    /// Takes so many small files of a partition to be worth it.
    #[must_use]
    pub const fn with_min_input_files(mut self, files: usize) -> Self {
        self.min_input_files = files;
        self
    }

    /// Takes so many delete files of a data file to be worth it.
    #[must_use]
    pub const fn with_min_delete_files(mut self, files: usize) -> Self {
        self.min_delete_files = files;
        self
    }

    /// Leaves files without a row that passes as they are.
    #[must_use]
    pub fn with_filter(mut self, filter: Option<Predicate>) -> Self {
        self.filter = filter;
        self
    }

    /// Writes every file anew.
    #[must_use]
    pub const fn with_all(mut self, all: bool) -> Self {
        self.all = all;
        self
    }

    /// Commits each time that so many bytes were read.
    #[must_use]
    pub const fn with_commit_bytes(mut self, bytes: u64) -> Self {
        self.commit_bytes = bytes;
        self
    }

    /// Says what would be done, and changes nothing.
    #[must_use]
    pub const fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Tells this function what is being done.
    #[must_use]
    pub fn with_progress(
        mut self,
        progress: impl Fn(&CompactProgress) + Send + Sync + 'static,
    ) -> Self {
        self.progress = Some(ProgressFn(Arc::new(progress)));
        self
    }
}

/// A function that is told what a compaction does.
#[derive(Clone)]
pub struct ProgressFn(Arc<dyn Fn(&CompactProgress) + Send + Sync>);

impl ProgressFn {
    pub(super) fn call(&self, progress: &CompactProgress) {
        (self.0)(progress);
    }
}

impl fmt::Debug for ProgressFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressFn")
    }
}

/// What a compaction does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactProgress {
    /// The group of files that is written anew, from one.
    pub group: usize,
    /// How many groups there are.
    pub groups: usize,
    /// Files of this group.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// What a compaction came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// Groups of files that were written anew, or would be.
    pub groups: u64,
    /// Data files that are gone, or would be.
    pub removed_files: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Data files that took their place.
    pub added_files: u64,
    /// Their bytes.
    pub added_bytes: u64,
    /// Rows that were written anew.
    pub rows: u64,
    /// Delete files that are gone, or would be: nothing is left that they delete.
    pub removed_delete_files: u64,
    /// Commits that were made.
    pub commits: u64,
    /// Times that another writer was first, after which the files were planned again.
    pub conflicts: u64,
    /// The last snapshot that was made.
    pub snapshot: Option<SnapshotId>,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

impl CompactReport {
    pub(super) fn plan(&mut self, plan: &Plan) {
        self.groups = plan.groups.len() as u64;
        for group in &plan.groups {
            self.removed_files += group.tasks.len() as u64;
            self.removed_bytes += group.bytes;
            self.rows += group.tasks.iter().map(|task| task.file.record_count()).sum::<u64>();
        }
        self.removed_delete_files = plan.dangling_after_all() as u64;
    }

    pub(super) const fn add(&mut self, done: &Done) {
        self.groups += done.groups;
        self.removed_files += done.removed_files;
        self.removed_bytes += done.removed_bytes;
        self.added_files += done.added_files;
        self.added_bytes += done.added_bytes;
        self.rows += done.rows;
        self.removed_delete_files += done.removed_delete_files;
    }
}
