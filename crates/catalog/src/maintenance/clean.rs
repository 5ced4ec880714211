//! Deleting files that nothing names: those of writers that died, and of metadata that is past.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::TryStreamExt;
use iceberg::table::Table;
use icecore_core::{Error, ErrorKind, Result, Span, TableName, Timestamp};
use object_store::ObjectStore;

use super::delete::delete;
use super::list::{Listed, list};
use super::neighbours::{check_own, tables_inside};
use super::place::Place;
use super::reach::{Damage, Named, live_files, skeleton, statistics};
use crate::planted::{self, PlantedBug};
use crate::tables::{Hidden, Tables, location_of};

/// Files that tell readers without a catalog which metadata is current.
const HINTS: [&str; 1] = ["version-hint.text"];

/// Which files to delete.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CleanOptions {
    /// Files that are younger may belong to a writer that has not committed yet, and stay. No
    /// writer may take longer than this.
    pub older_than: Span,
    /// Says what would go, and deletes nothing.
    pub dry_run: bool,
    /// What to do where metadata names a file on another storage than the one that was listed, but
    /// with the same path.
    pub on_mismatch: OnMismatch,
}

impl Default for CleanOptions {
    /// What is older than three days.
    fn default() -> Self {
        Self { older_than: Span::from_days(3), dry_run: false, on_mismatch: OnMismatch::default() }
    }
}

impl CleanOptions {
    /// Takes files of this age to belong to nobody.
    #[must_use]
    pub const fn with_older_than(mut self, older_than: Span) -> Self {
        self.older_than = older_than;
        self
    }

    /// Says what would go, and deletes nothing.
    #[must_use]
    pub const fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }
}

/// What happens to a file whose path metadata names on another storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnMismatch {
    /// Nothing is deleted at all: perhaps the table was copied, and its metadata means the original.
    #[default]
    Fail,
    /// It stays.
    Keep,
}

/// A file that nothing names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Orphan {
    /// Where it is, or was.
    pub location: String,
    /// Its length.
    pub bytes: u64,
    /// When it was written.
    pub modified: Timestamp,
}

/// What a clean came to.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CleanReport {
    /// Files that nothing names and that are old enough, in order. They are gone, unless it was a
    /// dry run or they are among `failed`.
    pub orphans: Vec<Orphan>,
    /// Files that were deleted, or would be.
    pub deleted_files: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Files that are there and stay.
    pub kept_files: u64,
    /// Files that could not be deleted, with why.
    pub failed: Vec<(String, String)>,
    /// Whether nothing was deleted.
    pub dry_run: bool,
}

/// Deletes the files below a table's location that no state of it names.
pub(crate) async fn clean(
    tables: &Tables,
    name: &TableName,
    store: &dyn ObjectStore,
    options: &CleanOptions,
) -> Result<CleanReport> {
    let head = tables.load(name).await?;
    check_own(name, &head)?;
    let now = tables.clock().now().micros();
    let cutoff = Timestamp::from_micros(now.saturating_sub(options.older_than.micros()));
    let cutoff = if planted::has(PlantedBug::YoungIsGarbage) {
        Timestamp::from_micros(i64::MAX)
    } else {
        cutoff
    };
    let mut sweep = Sweep::new(tables, name, options.on_mismatch);
    // What is below the directory of a table that nobody may see would be taken for garbage.
    let others = tables_inside(tables, name, &head, Hidden::Fails).await?;
    // First the files, then the state: what is committed meanwhile is in the state.
    sweep.collect(head.metadata().location(), store, (cutoff, &others)).await?;
    sweep.protect_current(&head).await?;
    let (mut orphans, files) = sweep.remains();
    let mut report = CleanReport { dry_run: options.dry_run, ..CleanReport::default() };
    report.kept_files = sweep.listed - orphans.len() as u64;
    orphans.sort();
    if options.dry_run {
        report.deleted_files = orphans.len() as u64;
        report.deleted_bytes = orphans.iter().map(|orphan| orphan.bytes).sum();
    } else {
        let deleted = delete(tables.io(), files).await;
        report.deleted_files = deleted.files;
        report.deleted_bytes = deleted.bytes;
        report.failed = deleted.failed;
    }
    report.orphans = orphans;
    tracing::info!(
        table = %name,
        files = report.deleted_files,
        bytes = report.deleted_bytes,
        dry_run = report.dry_run,
        "cleaned"
    );
    Ok(report)
}

struct Sweep<'a> {
    tables: &'a Tables,
    name: &'a TableName,
    on_mismatch: OnMismatch,
    /// Old files that nothing is known to name, by path.
    candidates: HashMap<String, Candidate>,
    listed: u64,
    /// Manifests whose files are protected already.
    protected: HashSet<String>,
}

struct Candidate {
    storage: String,
    listed: Listed,
}

impl<'a> Sweep<'a> {
    fn new(tables: &'a Tables, name: &'a TableName, on_mismatch: OnMismatch) -> Self {
        Self {
            tables,
            name,
            on_mismatch,
            candidates: HashMap::new(),
            listed: 0,
            protected: HashSet::new(),
        }
    }

    /// Takes every old file below a directory for garbage.
    async fn collect(
        &mut self,
        directory: &str,
        store: &dyn ObjectStore,
        (cutoff, others): (Timestamp, &[Place]),
    ) -> Result<()> {
        let mut found = list(store, directory)?;
        while let Some(listed) = found.try_next().await? {
            let place = Place::of(&listed.location);
            if others.iter().any(|other| place.is_below(other)) {
                continue;
            }
            self.listed += 1;
            if listed.modified < cutoff && !HINTS.contains(&place.name()) {
                let Place { path, storage } = place;
                self.candidates.insert(path, Candidate { storage, listed });
            }
        }
        Ok(())
    }

    /// Protects what the table names now, until it does not change while that is found out.
    async fn protect_current(&mut self, begun: &Table) -> Result<()> {
        let mut done: Option<String> = None;
        loop {
            let state = self.tables.load(self.name).await?;
            if state.metadata().uuid() != begun.metadata().uuid() {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("table `{}` was dropped and created again meanwhile", self.name),
                )
                .with_help("clean it again"));
            }
            let location = location_of(&state)?.to_owned();
            if done.as_ref() == Some(&location) {
                return Ok(());
            }
            self.protect(&state, &location).await?;
            done = Some(location);
        }
    }

    async fn protect(&mut self, state: &Table, location: &str) -> Result<()> {
        let metadata = state.metadata();
        self.needed(location)?;
        for entry in metadata.metadata_log() {
            self.needed(&entry.metadata_file)?;
        }
        for file in statistics(metadata, |_| true) {
            self.needed(&file.location)?;
        }
        let snapshots: Vec<_> = metadata.snapshots().map(AsRef::as_ref).collect();
        let io = self.tables.io();
        let found = skeleton(io, metadata.format_version(), snapshots, Damage::Fails).await?;
        for list in &found.lists {
            self.needed(list)?;
        }
        let mut new = Vec::new();
        for (path, manifest) in &found.manifests {
            self.needed(path)?;
            if self.protected.insert(path.clone()) {
                new.push(manifest);
            }
        }
        let mut files = std::pin::pin!(live_files(io, new, Damage::Fails));
        while let Some(live) = files.try_next().await? {
            for file in live {
                self.needed(&file.location)?;
            }
        }
        Ok(())
    }

    /// Takes note that a file is needed.
    fn needed(&mut self, location: &str) -> Result<()> {
        let place = Place::of(location);
        let Some(found) = self.candidates.remove(&place.path) else { return Ok(()) };
        if found.storage == place.storage || self.on_mismatch == OnMismatch::Keep {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "table `{}` names `{location}`, and `{}` is there",
            self.name, found.listed.location
        ))
        .with_note("nothing was deleted: the two may be the same file")
        .with_help("keep such files with `--on-mismatch keep`"))
    }

    /// What nothing names.
    fn remains(&mut self) -> (Vec<Orphan>, Vec<Named>) {
        let sorted: BTreeMap<String, Candidate> = self.candidates.drain().collect();
        sorted
            .into_values()
            .map(|Candidate { listed: Listed { location, bytes, modified }, .. }| {
                let named = Named { location: location.clone(), bytes };
                (Orphan { location, bytes, modified }, named)
            })
            .unzip()
    }
}
