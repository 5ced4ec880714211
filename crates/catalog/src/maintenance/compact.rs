//! Writing files anew: small ones put together, rows in order, deletes folded in.
//!
//! What is read is one snapshot. New files carry that snapshot's data sequence number, so a delete
//! by key that another writer commits meanwhile applies to them as it would have to the old ones;
//! a delete by position cannot, and makes the commit lose, after which those files are planned and
//! written again. Rows stay the same, and so do older snapshots.

mod merge;
mod options;
mod plan;
mod rewrite;
mod sort;
mod target;

use icecore_core::{ErrorKind, Result, TableName};

pub use options::{CompactOptions, CompactProgress, CompactReport, CompactStrategy};

use crate::catalog::IcebergCatalog;
use plan::{Plan, plan};
use rewrite::Batch;

/// Plans that are made before contention is given up on.
const ROUNDS_MAX: usize = 4;

/// Compacts a branch of a table.
pub(crate) async fn compact(
    catalog: &IcebergCatalog,
    name: &TableName,
    options: &CompactOptions,
) -> Result<CompactReport> {
    let mut report = CompactReport { dry_run: options.dry_run, ..CompactReport::default() };
    for round in 1..=ROUNDS_MAX {
        let head = catalog.tables_now().load(name).await?;
        crate::commit::check_writable(&head)?;
        let Some(plan) = plan(&head, options).await? else { break };
        if options.dry_run {
            report.plan(&plan);
            break;
        }
        let mut run = Run { catalog, name, options, report: &mut report, lost: None };
        run.all(head, plan).await?;
        match run.lost.take() {
            None => break,
            // What was committed stays; the rest is for the next call.
            Some(error) if round == ROUNDS_MAX && report.commits == 0 => return Err(error),
            Some(error) => {
                tracing::info!(table = %name, round, %error, "compaction lost to another writer");
                report.conflicts += 1;
            }
        }
    }
    tracing::info!(
        table = %name,
        removed = report.removed_files,
        added = report.added_files,
        commits = report.commits,
        "compacted"
    );
    Ok(report)
}

/// What to do about a commit that was lost: nobody's rows are, and what it was to replace is there.
const RUN_AGAIN: &str = "run it again: what is compacted stays so, and other writers are kept";

struct Run<'a> {
    catalog: &'a IcebergCatalog,
    name: &'a TableName,
    options: &'a CompactOptions,
    report: &'a mut CompactReport,
    /// What a commit lost to.
    lost: Option<icecore_core::Error>,
}

impl Run<'_> {
    /// Works a plan off, with a commit each time that enough was written.
    async fn all(&mut self, head: iceberg::table::Table, plan: Plan) -> Result<()> {
        let groups_total = plan.groups.len();
        let mut batch = Batch::new(self.catalog.tables_now(), head, &plan, self.options)?;
        for (number, group) in plan.groups.into_iter().enumerate() {
            if let Some(progress) = &self.options.progress {
                progress.call(&CompactProgress {
                    group: number + 1,
                    groups: groups_total,
                    files: group.tasks.len(),
                    bytes: group.bytes,
                });
            }
            if let Err(error) = batch.rewrite(group).await {
                batch.abandon().await;
                return Err(error);
            }
            if batch.bytes() >= self.options.commit_bytes {
                self.commit(&mut batch).await?;
            }
        }
        self.commit(&mut batch).await
    }

    async fn commit(&mut self, batch: &mut Batch<'_>) -> Result<()> {
        let Some((change, done)) = batch.take() else { return Ok(()) };
        match self.catalog.commit_change(self.name, change).await {
            Ok(committed) => {
                self.report.add(&done);
                if committed.changed {
                    self.report.commits += 1;
                    self.report.snapshot = Some(committed.pinned.snapshot);
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Conflict => {
                batch.give_up(&done);
                self.lost = Some(error.with_help(RUN_AGAIN));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
