//! Computing a view into its table.

use std::sync::Arc;

use icecore_core::{
    CommitOptions, Date, Emit, Error, ErrorKind, FeatureView, PinnedTable, Result, RunId,
    SnapshotId, SnapshotInfo, SnapshotSelector, TableName, TimeRange, Timestamp, WriteMode,
};
use icecore_engine::Engine;

use crate::Definitions;
use crate::base;
use crate::counted::{Counts, ProgressCallback};
use crate::document::joined;
use crate::estimate::{Estimate, estimate};
use crate::incremental;
use crate::job::{COMPLETE, Found, Job, RUN_ID, Stretch, range_text};
use crate::local::{compute, pin_sources, source_schema};
use crate::output::{
    Area, OnNothing, Written, computed_table, counted, ensure_table, head, history, replace,
};
use crate::partition::{Grain, grain, grid_point_from};
use crate::source::{Source, locate_source};

/// How often work is begun again because others wrote to the table meanwhile.
pub(crate) const TRIES_MAX: u32 = 4;

/// How much is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ComputeMode {
    /// The rows of the range, or all of them, unless the table already holds that.
    #[default]
    Range,
    /// Only rows that new, late and deleted events have a part in, found from what changed in the
    /// sources since the last time; everything the first time. The table then holds what computing
    /// everything would give.
    Incremental,
    /// The rows of the range, or all of them, whatever the table holds.
    Full,
}

/// What to compute, and how.
#[derive(Debug, Clone, Default)]
pub struct ComputeOptions {
    /// Rows from this moment on; absent means from the first event.
    pub from: Option<Timestamp>,
    /// Rows before this moment; absent means to the last event. With
    /// [`Emit::Every`](icecore_core::Emit::Every), to the first grid point that is not before the
    /// last event, so that every event is in a row.
    pub to: Option<Timestamp>,
    /// The states to read of the tables that the view reads; those not named are read at their
    /// latest.
    pub at: Vec<(TableName, SnapshotSelector)>,
    /// The run that asks for it, recorded in the snapshot.
    pub run: Option<RunId>,
    /// How much to compute.
    pub mode: ComputeMode,
    /// Change nothing; report what would be read and written.
    pub dry_run: bool,
    /// Called as rows pass.
    pub progress: Option<ProgressCallback>,
}

/// What a computation did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ComputeReport {
    /// The view.
    pub view: String,
    /// The table that holds its rows.
    pub table: TableName,
    /// The state with the rows; absent in a dry run, and when there were no rows to write into a
    /// table without any.
    pub snapshot_id: Option<SnapshotId>,
    /// Feature rows in that state's commit; an upper bound is not known in a dry run, so 0.
    pub rows: u64,
    /// Rows that were there and were removed or replaced.
    pub removed_rows: u64,
    /// What was read.
    pub sources: Vec<PinnedTable>,
    /// The hash of the view's definition.
    pub definition_hash: String,
    /// Whether there is a new snapshot (in a dry run: whether there would be).
    pub changed: bool,
    /// The event timestamps of the rows: the range asked for, widened to whole partitions. Of an
    /// incremental run, those of the rows that had to be computed.
    pub range: TimeRange,
    /// Of an incremental run: entities whose rows had to be computed.
    pub entities: Option<u64>,
    /// Events read. In a dry run, an upper bound from the statistics of the files. 0 when the
    /// table already held the result.
    pub input_rows: u64,
    /// Events left out because a join key or the event timestamp is null.
    pub excluded_rows: u64,
    /// In a dry run: the first and last day that may get rows, where the files' statistics tell.
    pub days: Option<(Date, Date)>,
    /// Columns that the table did not have before.
    pub added_columns: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Computes a view and commits its rows.
///
/// The sources are pinned first, so the result is that of one moment. The same work on the same
/// pins changes nothing the second time. If others write to the same rows meanwhile, it is done
/// again from the state that they left.
///
/// # Errors
///
/// `NotFound` for an unknown view or source; `InvalidInput` for a view of stored features, a
/// definition that does not fit its source, a table with another partitioning, and for an
/// incremental run that has nothing to go on from: the definition changed, the sources' state was
/// expired, others wrote to the table. `Conflict` if other writers never leave off.
pub async fn compute_view(
    engine: &Engine,
    definitions: &Definitions,
    view: &str,
    options: ComputeOptions,
) -> Result<ComputeReport> {
    let view = definitions.view(view)?;
    let (mut tries, mut before) = (0, None::<ComputeReport>);
    loop {
        tries += 1;
        let run = Run::begin(engine, (definitions, view), &options, None).await?;
        let done = async {
            match options.mode {
                ComputeMode::Incremental => Box::pin(incremental::compute(&run)).await,
                ComputeMode::Range | ComputeMode::Full => run.range().await,
            }
        };
        let report = match done.await {
            Err(error) if error.kind() == ErrorKind::Conflict && tries < TRIES_MAX => {
                tracing::debug!(view = %view.name, tries, %error, "computing again");
                continue;
            }
            done => done?,
        };
        let report = match before.take() {
            Some(before) => before.then(report),
            None => report,
        };
        let again = options.mode == ComputeMode::Incremental && tries < TRIES_MAX;
        if again && report.changed && run.was_overtaken().await? {
            tracing::debug!(view = %view.name, tries, "looking again at what others committed");
            before = Some(report);
            continue;
        }
        return Ok(report);
    }
}

impl ComputeReport {
    /// One report of two computations, the second of which went on from the first.
    fn then(self, mut next: Self) -> Self {
        next.changed |= self.changed;
        next.snapshot_id = next.snapshot_id.or(self.snapshot_id);
        next.rows += self.rows;
        next.removed_rows += self.removed_rows;
        next.input_rows += self.input_rows;
        next.excluded_rows = next.excluded_rows.max(self.excluded_rows);
        next.entities = next.entities.max(self.entities);
        next.added_columns.splice(0..0, self.added_columns);
        next.notes = self.notes;
        next
    }
}

/// One computation: what was found when it began.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) source: Source<'a>,
    pub(crate) table: &'a TableName,
    /// The log of the table, from before anything was read.
    pub(crate) history: Vec<SnapshotInfo>,
    /// What the table's properties said then of what it holds.
    standing: Option<String>,
    pub(crate) sources: Vec<PinnedTable>,
    pub(crate) definition_hash: String,
    pub(crate) options: &'a ComputeOptions,
}

impl<'a> Run<'a> {
    /// Looks at the table, then opens the sources at these pins, or pins them as the options say.
    pub(crate) async fn begin(
        engine: &'a Engine,
        (definitions, view): (&'a Definitions, &'a FeatureView),
        options: &'a ComputeOptions,
        pins: Option<&[PinnedTable]>,
    ) -> Result<Self> {
        let table = computed_table(definitions, view)?;
        // What others write from here on is not overwritten unseen.
        let history = history(engine, table).await?;
        let standing = base::written_down(engine, table).await?;
        let sources = match pins {
            Some(pins) => pins.to_vec(),
            None => pin_sources(engine, view, &options.at)
                .await
                .map_err(|error| locate_source(definitions, view, error))?,
        };
        let source = Source::open(engine, definitions, view, &sources).await.map_err(joined)?;
        let definition_hash = definitions.definition_hash(view);
        Ok(Self { engine, source, table, history, standing, sources, definition_hash, options })
    }

    /// Whether others computed rows of the view while this run did. Of two runs the one that
    /// commits last may have looked at the older sources; it then has to look again.
    async fn was_overtaken(&self) -> Result<bool> {
        let base = head(&self.history);
        let now = history(self.engine, self.table).await?;
        let since = now.iter().rev().filter(|snapshot| snapshot.on_main);
        let since = since.take_while(|snapshot| snapshot.id != base);
        let commits = since.filter(|snapshot| snapshot.operation != "replace").count();
        // A run that found nothing to commit writes down what it saw.
        let standing = base::written_down(self.engine, self.table).await?;
        Ok(commits > 1 || standing != self.standing)
    }

    pub(crate) const fn view(&self) -> &'a FeatureView {
        self.source.view
    }

    pub(crate) fn report(&self, range: TimeRange, notes: Vec<String>) -> ComputeReport {
        ComputeReport {
            view: self.view().name.clone(),
            table: self.table.clone(),
            snapshot_id: None,
            rows: 0,
            removed_rows: 0,
            sources: self.sources.clone(),
            definition_hash: self.definition_hash.clone(),
            changed: true,
            range,
            entities: None,
            input_rows: 0,
            excluded_rows: 0,
            days: None,
            added_columns: Vec::new(),
            notes,
        }
    }

    pub(crate) fn job(&self, stretch: Stretch) -> Job {
        Job::new(self.view(), &self.definition_hash, &self.sources, stretch)
    }

    /// The rows of a range, or all.
    pub(crate) async fn range(&self) -> Result<ComputeReport> {
        let mut notes = Vec::new();
        let range = effective_range(self.engine, &self.source, self.options, &mut notes).await?;
        let is_all = self.options.from.is_none() && self.options.to.is_none();
        let extra = is_all.then(|| (COMPLETE, "true".to_owned()));
        let is_full = self.options.mode == ComputeMode::Full;
        let on_nothing = if is_full { OnNothing::Remove } else { OnNothing::Keep };
        // A grid ends somewhere even if nobody said where.
        let has_end = self.options.to.is_some();
        let stretch = if has_end { Stretch::of(range) } else { Stretch::last(range) };
        let mut report = self.of_range((stretch, on_nothing), extra.as_slice()).await?;
        notes.append(&mut report.notes);
        report.notes = notes;
        Ok(report)
    }

    /// The rows of exactly this stretch, with these fields in the summary.
    pub(crate) async fn of_range(
        &self,
        (stretch, on_nothing): (Stretch, OnNothing),
        extra: &[(&str, String)],
    ) -> Result<ComputeReport> {
        let (job, range) = (self.job(stretch), stretch.range);
        let mut report = self.report(range, Vec::new());
        let found = job.find(&self.history);
        let is_full = self.options.mode == ComputeMode::Full;
        if let (Found::Done(snapshot), false) = (found, is_full) {
            report.changed = false;
            report.snapshot_id = Some(snapshot.id);
            report.rows = u64::try_from(snapshot.count("added-records")).unwrap_or(0);
            report.notes.push("the table already holds this result".to_owned());
            return Ok(report);
        }
        if self.options.dry_run {
            let estimated = estimate(self.engine, self.view(), &self.sources, range).await?;
            let Estimate { rows, days } = estimated;
            (report.input_rows, report.days) = (rows, days);
            return Ok(report);
        }
        let mut commit = self.commit_options(&job, extra);
        if !is_full {
            commit = commit.with_job_id(job.id(found));
        }
        let counts = Arc::new(Counts::new(self.options.progress.clone()));
        let fill = async {
            let rows = compute(self.engine, &self.source, range, &counts, None).await?;
            let rows = counted(rows, Arc::clone(&counts));
            let area = (Area::Range(stretch.replaced, on_nothing), rows);
            replace(self.engine, &self.source, self.table, area, commit).await
        };
        let written = self.fill_table(&mut report, Box::pin(fill)).await?;
        self.finish(&mut report, &counts, written);
        Ok(report)
    }

    /// Makes the table what the view's rows need, and has it filled. A table that was made for
    /// them does not stay if there are none to be had.
    pub(crate) async fn fill_table(
        &self,
        report: &mut ComputeReport,
        fill: impl Future<Output = Result<Written>>,
    ) -> Result<Written> {
        let schema = source_schema(self.engine, &self.source).await?;
        let prepared = ensure_table(self.engine, &self.source, self.table, &schema).await?;
        let written = fill.await;
        if written.is_err() {
            prepared.take_back(self.engine, self.table).await;
        }
        self.note_columns(report, prepared.added_columns);
        written
    }

    fn note_columns(&self, report: &mut ComputeReport, added: Vec<String>) {
        report.added_columns = added;
        let is_part = self.options.from.is_some() || self.options.to.is_some();
        if !report.added_columns.is_empty() && is_part {
            let columns = report.added_columns.join(", ");
            report.notes.push(format!("new columns are null outside the range: {columns}"));
        }
    }

    /// How rows of this work are committed.
    pub(crate) fn commit_options(&self, job: &Job, extra: &[(&str, String)]) -> CommitOptions {
        let mut commit = CommitOptions::new(self.view().write).with_base(head(&self.history));
        for (field, value) in job.summary() {
            commit = commit.with_summary(field, value);
        }
        for (field, value) in extra {
            commit = commit.with_summary(*field, value.clone());
        }
        match &self.options.run {
            Some(run) => commit.with_summary(RUN_ID, run.to_string()),
            None => commit,
        }
    }

    /// Says what was written.
    pub(crate) fn finish(&self, report: &mut ComputeReport, counts: &Counts, written: Written) {
        report.changed = written.changed;
        report.rows = counts.rows_out();
        report.snapshot_id = written.snapshot;
        report.removed_rows = written.removed_rows;
        report.input_rows = counts.rows_in();
        report.excluded_rows = counts.excluded();
        let view = &self.view().name;
        if report.excluded_rows > 0 {
            let excluded = report.excluded_rows;
            tracing::warn!(%view, excluded, "left out events without a key or a time");
            report
                .notes
                .push(format!("{excluded} events without a join key or a time were left out"));
        }
        tracing::info!(%view, table = %report.table, rows = report.rows, "computed features");
    }
}

/// The range of the rows: whole partitions, and an end where rows would go on for ever.
pub(crate) async fn effective_range(
    engine: &Engine,
    source: &Source<'_>,
    options: &ComputeOptions,
    notes: &mut Vec<String>,
) -> Result<TimeRange> {
    let view = source.view;
    let asked = TimeRange { from: options.from, to: options.to };
    if let (Some(from), Some(to)) = (asked.from, asked.to)
        && from >= to
    {
        return Err(Error::invalid(format!("the range from {from} to {to} is empty"))
            .with_note("`from` is the first moment inside, `to` the first one after"));
    }
    let mut range = asked;
    if view.write == WriteMode::OverwritePartitions && asked != TimeRange::default() {
        range = grain(view).widen(asked);
        if range != asked {
            let why = match grain(view) {
                Grain::Everything => "no partition is by time, so everything is replaced",
                _ => "partitions are replaced whole",
            };
            let range = range_text(range);
            notes.push(format!("the range was widened to {range}: {why}"));
        }
    }
    if let (Emit::Every { every, align }, None) = (&view.emit, range.to) {
        let last = source.last_event(engine).await?;
        // Without an event there is no row, whatever the end.
        let last = last.unwrap_or_default();
        let point = grid_point_from(last, *every, *align);
        range.to = Some(Timestamp::from_micros(point.micros().saturating_add(1)));
        if let Some(from) = range.from.filter(|from| Some(*from) >= range.to) {
            notes.push(format!("the last event is at {last}, so there is no row from {from} on"));
        }
    }
    Ok(range)
}

#[cfg(test)]
mod tests;
