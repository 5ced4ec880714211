//! Looking after a project's tables.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use icecore_catalog::{
    CompactOptions, CompactReport, ExpireOptions, ExpireReport, FsckOptions, FsckReport, Hold,
    SnapshotHolder,
};
use icecore_core::{Error, ModelRegistry, RefName, Result, RunTracker, SnapshotCatalog, TableName};
use icecore_dataset::Lock;
use icecore_tracking::SqlTracker;

use crate::Project;

impl Project {
    /// Everybody in the project who may need a snapshot: the lockfiles of training sets, runs, and
    /// registered models (C134).
    #[must_use]
    pub fn snapshot_holders(&self) -> Vec<Arc<dyn SnapshotHolder>> {
        vec![
            Arc::new(Lockfiles { folder: self.dir().join("training") }),
            Arc::new(Runs { tracker: self.tracker().clone() }),
        ]
    }

    /// Expires snapshots that nobody needs: no ref of the table, and nobody in the project.
    ///
    /// # Errors
    ///
    /// Those of the catalog's `expire`; `InvalidInput` for a lockfile that cannot be read, since
    /// nobody knows what it needs.
    pub async fn expire(
        &self,
        table: &TableName,
        mut options: ExpireOptions,
    ) -> Result<ExpireReport> {
        options.holders.extend(self.snapshot_holders());
        self.catalog().expire(table, options).await
    }

    /// Writes files of a table anew: those that may hold a row for which the condition is true, as
    /// SQL writes it after `WHERE`, or all that need it.
    ///
    /// # Errors
    ///
    /// Those of the catalog's `compact`; `InvalidInput` for what is no condition, and for one that
    /// the bounds of files say nothing about; `NotFound` for an unknown table or column.
    pub async fn compact(
        &self,
        table: &TableName,
        condition: Option<&str>,
        mut options: CompactOptions,
    ) -> Result<CompactReport> {
        if let Some(condition) = condition {
            let filter = self.row_filter(table, condition).await?.implied();
            let filter = filter.ok_or_else(|| {
                Error::invalid(format!("`{condition}` does not tell files from each other"))
                    .with_help("compare columns with constants, such as `day >= '2026-01-01'`")
            })?;
            options = options.with_filter(Some(filter));
        }
        self.catalog().compact(table, options).await
    }

    /// Checks a table, or all of them. `started` is called before each.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table, `Unavailable` for what cannot be reached. What is wrong
    /// with a table is in the report.
    pub async fn fsck(
        &self,
        table: Option<&TableName>,
        options: FsckOptions,
        started: impl Fn(&TableName, usize, usize),
    ) -> Result<FsckReport> {
        let tables = match table {
            Some(table) => vec![table.clone()],
            None => self.catalog().tables().await?,
        };
        let mut report = FsckReport::default();
        for (number, table) in tables.iter().enumerate() {
            started(table, number + 1, tables.len());
            report.tables.extend(self.catalog().fsck(table, options.clone()).await?.tables);
        }
        Ok(report)
    }
}

impl Project {
    /// The lockfiles of training sets that name a tag of a table, such as
    /// `training/churn.lock.toml`. One that cannot be read names nothing.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the folder of training sets cannot be read.
    pub fn lockfiles_naming(&self, table: &TableName, tag: &RefName) -> Result<Vec<String>> {
        let names = |lock: &Lock| {
            let pins = lock.plan.pins();
            let mut tagged = pins.iter().chain([&lock.materialized]);
            lock.tag == *tag && tagged.any(|pin| pin.table == *table)
        };
        let paths = lockfiles(&self.dir().join("training"))?.into_iter();
        let naming = paths.filter(|path| Lock::read(path).is_ok_and(|lock| names(&lock)));
        Ok(naming.map(|path| shown(&path)).collect())
    }
}

/// Training sets that can be built again from what they were locked to.
#[derive(Debug)]
struct Lockfiles {
    folder: PathBuf,
}

#[async_trait]
impl SnapshotHolder for Lockfiles {
    async fn holds(&self, table: &TableName) -> Result<Vec<Hold>> {
        let mut holds = Vec::new();
        for path in lockfiles(&self.folder)? {
            let lock = Lock::read(&path).map_err(|error| {
                error.with_note("nothing is expired while nobody knows what a lockfile needs")
            })?;
            let by = format!("lockfile `{}`", shown(&path));
            let mut pins = lock.plan.pins();
            pins.push(lock.materialized);
            let of_table = pins.iter().filter(|pin| pin.table == *table);
            holds.extend(of_table.map(|pin| Hold::of_pin(pin, by.clone())));
        }
        Ok(holds)
    }
}

/// The lockfiles of a folder, in order; an absent one has none.
fn lockfiles(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot = |error| Error::unavailable("cannot read `training/`").with_source(error);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(cannot(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(cannot)?.path();
        if path.to_string_lossy().ends_with(".lock.toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn shown(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    format!("training/{}", name.to_string_lossy())
}

/// Runs, which can be done again from what they read, and the models that came out of them.
#[derive(Debug)]
struct Runs {
    tracker: SqlTracker,
}

#[async_trait]
impl SnapshotHolder for Runs {
    async fn holds(&self, table: &TableName) -> Result<Vec<Hold>> {
        let models = self.tracker.versions(None).await?;
        let mut holds = Vec::new();
        // They may be brought back, and are done again from the same rows then.
        for deleted in self.tracker.deleted_runs().await? {
            let by = format!("deleted run `{}`", deleted.run.id);
            let of_table = deleted.run.inputs.iter().filter(|pin| pin.table == *table);
            holds.extend(of_table.map(|pin| Hold::of_pin(pin, by.clone())));
        }
        for run in self.tracker.list(None).await? {
            let of_table = run.inputs.iter().filter(|pin| pin.table == *table);
            for pin in of_table {
                holds.push(Hold::of_pin(pin, format!("run `{}`", run.id)));
                for model in models.iter().filter(|model| model.run == run.id) {
                    let by = format!("model `{}` version {}", model.model, model.version);
                    holds.push(Hold::of_pin(pin, by));
                }
            }
        }
        Ok(holds)
    }
}
