//! Computing a long range in steps, each of which is committed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use icecore_core::{
    Emit, Error, ErrorKind, FeatureView, PinnedTable, Result, RunId, SnapshotId, SnapshotInfo,
    SnapshotSelector, Span, TableName, TimeRange, Timestamp, WriteMode,
};
use icecore_engine::Engine;

use crate::Definitions;
use crate::base;
use crate::compute::{ComputeMode, ComputeOptions, ComputeReport, Run, TRIES_MAX, effective_range};
use crate::counted::ProgressCallback;
use crate::hash::sha256_hex;
use crate::job::{BACKFILL, COMPLETE, DEFINITION_HASH, SOURCES, Stretch, VIEW, range_text};
use crate::output::{OnNothing, computed_table, head, history};
use crate::partition::grain;

/// Days of a step, unless told otherwise.
const STEP_DAYS: i64 = 30;
/// Table property: the state in which the last backfill ended.
const FINISHED: &str = "icecore.features.backfilled";
/// Steps of one backfill at most.
const STEPS_MAX: usize = 100_000;

/// What to backfill, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BackfillOptions {
    /// Rows from this moment on; absent means from the first event.
    pub from: Option<Timestamp>,
    /// Rows before this moment; absent means to the last event.
    pub to: Option<Timestamp>,
    /// How much time a step covers, widened to whole partitions.
    pub step: Span,
    /// The states to read; tables not named are read at their latest. A backfill that was
    /// interrupted goes on with the states that it began with.
    pub at: Vec<(TableName, SnapshotSelector)>,
    /// Begins again, with the sources as they are now, even if a backfill was interrupted.
    pub restart: bool,
    /// The run that asks for it, recorded in the snapshots.
    pub run: Option<RunId>,
    /// Change nothing; report the steps.
    pub dry_run: bool,
    /// Called with each step, before it and as its rows pass.
    pub progress: Option<BackfillCallback>,
}

impl Default for BackfillOptions {
    fn default() -> Self {
        Self {
            from: None,
            to: None,
            step: Span::from_days(STEP_DAYS),
            at: Vec::new(),
            restart: false,
            run: None,
            dry_run: false,
            progress: None,
        }
    }
}

/// Where a backfill is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackfillProgress {
    /// The step, from one.
    pub step: usize,
    /// How many there are.
    pub steps: usize,
    /// The rows of the step.
    pub range: TimeRange,
    /// Events that the step read so far.
    pub rows_in: u64,
    /// Feature rows that the step has so far.
    pub rows_out: u64,
}

/// Something to call with the progress of a backfill, from any thread.
#[derive(Clone)]
pub struct BackfillCallback(Arc<dyn Fn(BackfillProgress) + Send + Sync>);

impl BackfillCallback {
    /// Calls this.
    pub fn new(callback: impl Fn(BackfillProgress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }
}

impl fmt::Debug for BackfillCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackfillCallback")
    }
}

/// What a backfill did, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackfillReport {
    /// The view.
    pub view: String,
    /// The table that holds its rows.
    pub table: TableName,
    /// The state after the last step; absent if the table has no rows.
    pub snapshot_id: Option<SnapshotId>,
    /// What was read.
    pub sources: Vec<PinnedTable>,
    /// The hash of the view's definition.
    pub definition_hash: String,
    /// Names the backfill in the summaries of its snapshots.
    pub backfill_id: String,
    /// Whether it went on with one that was interrupted.
    pub resumed: bool,
    /// The ranges of the steps; the rows of each lie in whole partitions.
    pub steps: Vec<TimeRange>,
    /// Steps that were done before and were not done again.
    pub skipped: usize,
    /// Feature rows of all steps.
    pub rows: u64,
    /// Events read by the steps that were done now.
    pub input_rows: u64,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Computes a view in steps of time, oldest first, and commits each.
///
/// All steps read the same states of the sources. A backfill that was interrupted, however it was,
/// goes on where it stopped when it is asked for again: steps whose rows are there are skipped, and
/// the others give the rows that they would have given. It is over once everything was computed
/// otherwise, or others wrote to the table: then the next one begins anew. The rows of steps in
/// which nothing happened are removed.
///
/// # Errors
///
/// As [`compute_view`](crate::compute_view); `InvalidInput` for a view whose partitions do not tell
/// moments apart, which cannot be computed in steps.
pub async fn backfill(
    engine: &Engine,
    definitions: &Definitions,
    view: &str,
    options: BackfillOptions,
) -> Result<BackfillReport> {
    let view = definitions.view(view)?;
    check(definitions, view, &options)?;
    let table = computed_table(definitions, view)?;
    let hash = definitions.definition_hash(view);
    let log = history(engine, table).await?;
    let wanted = wanted(&options, view, &hash);
    let begun = match options.restart {
        true => None,
        false => unfinished(engine, table, &log, (view, &hash, &wanted)).await?,
    };
    let resumed = begun.is_some();
    let compute = ComputeOptions {
        from: options.from,
        to: options.to,
        at: options.at.clone(),
        run: options.run.clone(),
        dry_run: options.dry_run,
        ..ComputeOptions::default()
    };
    let run = Run::begin(engine, (definitions, view), &compute, begun.as_deref()).await;
    let run = run.map_err(|error| {
        if resumed {
            error.with_help("`--restart` begins again with the sources as they are")
        } else {
            error
        }
    })?;
    let steps = Steps::plan(&run, &options).await?;
    let id = sha256_hex(format!("{wanted}\n{:?}", run.sources).as_bytes());
    let id = format!("{wanted}@{}", id.get(..16).unwrap_or(&id));
    let mut report = BackfillReport {
        view: view.name.clone(),
        table: table.clone(),
        snapshot_id: None,
        sources: run.sources.clone(),
        definition_hash: hash.clone(),
        backfill_id: id.clone(),
        resumed,
        steps: steps.ranges.clone(),
        skipped: 0,
        rows: 0,
        input_rows: 0,
        notes: Vec::new(),
    };
    if options.dry_run {
        for (index, range) in steps.ranges.iter().enumerate() {
            let stretch = stretch(&options, (index, steps.ranges.len()), *range);
            let step = run.of_range((stretch, OnNothing::Remove), &[]).await?;
            report.skipped += usize::from(!step.changed);
            report.input_rows += step.input_rows;
        }
        return Ok(report);
    }
    let job = Job { engine, definitions, view, options: &options, pins: &run.sources };
    job.run(&mut report).await?;
    let log = history(engine, table).await?;
    let state = head(&log);
    if state != PinnedTable::EMPTY {
        if steps.is_all && is_alone(&log, &id) {
            let what = (state, run.sources.as_slice(), steps.to);
            base::mark(engine, table, view, &hash, what).await?;
        }
        // A last step without rows leaves no snapshot that says so.
        let set = BTreeMap::from([(FINISHED.to_owned(), state.to_string())]);
        engine.catalog().set_properties(table, set, Vec::new()).await?;
    }
    Ok(report)
}

/// What a step replaces: the last one everything that comes after it too, where no end was asked
/// for.
fn stretch(options: &BackfillOptions, (index, of): (usize, usize), range: TimeRange) -> Stretch {
    let is_last = index + 1 == of && options.to.is_none();
    if is_last { Stretch::last(range) } else { Stretch::of(range) }
}

/// Whether nobody else wrote rows since the first step of a backfill.
fn is_alone(log: &[SnapshotInfo], id: &str) -> bool {
    let ours = |snapshot: &&SnapshotInfo| {
        let backfill = snapshot.summary.get(BACKFILL).and_then(|text| text.strip_prefix(id));
        backfill.is_some_and(|rest| rest.starts_with('#'))
    };
    let mut lineage = log.iter().filter(|snapshot| snapshot.on_main);
    lineage.find(ours).is_some() && lineage.all(|s| ours(&s) || s.operation == "replace")
}

/// The states that a backfill of this kind began with, if it is to go on.
async fn unfinished(
    engine: &Engine,
    table: &TableName,
    log: &[SnapshotInfo],
    (view, hash, wanted): (&FeatureView, &str, &str),
) -> Result<Option<Vec<PinnedTable>>> {
    let settled = base::settled(engine, table, view).await?;
    let begun = interrupted(log, (view, hash), wanted, settled);
    if begun.is_some() && finished(engine, table, log).await? {
        return Ok(None);
    }
    Ok(begun)
}

/// Whether no step of a backfill was committed since one ended.
async fn finished(engine: &Engine, table: &TableName, log: &[SnapshotInfo]) -> Result<bool> {
    let described = engine.catalog().describe(table).await?;
    let ended = described.properties.get(FINISHED).and_then(|id| id.parse().ok());
    let ended = ended.map(SnapshotId::new);
    let mut newer = log.iter().rev().filter(|snapshot| snapshot.on_main);
    let first = newer.find(|s| Some(s.id) == ended || s.summary.contains_key(BACKFILL));
    Ok(first.is_some_and(|snapshot| Some(snapshot.id) == ended))
}

fn check(definitions: &Definitions, view: &FeatureView, options: &BackfillOptions) -> Result<()> {
    if options.step.micros() <= 0 {
        return Err(Error::invalid("a step must be longer than nothing"));
    }
    if view.write != WriteMode::OverwritePartitions && !view.is_stored() {
        let error = Error::invalid(format!(
            "`{}` cannot be computed in steps: a step would not replace just its own rows",
            view.name
        ));
        let error = error.with_help("write `write = \"overwrite_partitions\"`");
        return Err(definitions.locate(view, "write", error));
    }
    Ok(())
}

/// What was asked for, as text: the same words are the same backfill.
fn wanted(options: &BackfillOptions, view: &FeatureView, hash: &str) -> String {
    let range = range_text(TimeRange { from: options.from, to: options.to });
    format!("{}:{}:{range}:{}", view.name, base::short(hash), options.step)
}

/// The states that a backfill of this kind began with, if its last step is missing.
///
/// What was computed or written since is newer than those states, and going on with them would put
/// it back: then there is nothing to go on with. `settled` is the state that was found to hold
/// everything, where no commit says it.
fn interrupted(
    history: &[SnapshotInfo],
    (view, hash): (&FeatureView, &str),
    wanted: &str,
    settled: Option<SnapshotId>,
) -> Option<Vec<PinnedTable>> {
    let mut newest_first = history.iter().rev().filter(|snapshot| snapshot.on_main);
    let newest = newest_first.find(|&snapshot| {
        settled == Some(snapshot.id)
            || is_step(snapshot, (view, hash), wanted)
            || supersedes(snapshot, view)
    })?;
    if settled == Some(newest.id) || !is_step(newest, (view, hash), wanted) {
        return None;
    }
    let place = newest.summary.get(BACKFILL)?.rsplit_once('#')?.1;
    let (step, of) = place.split_once('/')?;
    if step == of {
        return None;
    }
    serde_json::from_str(newest.summary.get(SOURCES)?).ok()
}

/// Whether a snapshot is of a step of a backfill that was asked for with these words.
fn is_step(snapshot: &SnapshotInfo, (view, hash): (&FeatureView, &str), wanted: &str) -> bool {
    let field = |name: &str| snapshot.summary.get(name).map(String::as_str);
    let backfill = field(BACKFILL).unwrap_or_default();
    field(VIEW) == Some(view.name.as_str())
        && field(DEFINITION_HASH) == Some(hash)
        && backfill.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('@'))
}

/// Whether the table held everything of newer sources after a snapshot, or others wrote rows.
fn supersedes(snapshot: &SnapshotInfo, view: &FeatureView) -> bool {
    // Files are rewritten, rows are not.
    if snapshot.operation == "replace" {
        return false;
    }
    let field = |name: &str| snapshot.summary.get(name).map(String::as_str);
    field(VIEW) != Some(view.name.as_str()) || field(COMPLETE) == Some("true")
}

/// The ranges of the steps.
struct Steps {
    ranges: Vec<TimeRange>,
    /// Whether the table holds everything after the last one.
    is_all: bool,
    /// Where the rows of a grid end.
    to: Option<Timestamp>,
}

impl Steps {
    async fn plan(run: &Run<'_>, options: &BackfillOptions) -> Result<Self> {
        let view = run.view();
        let mut notes = Vec::new();
        let range = effective_range(run.engine, &run.source, run.options, &mut notes).await?;
        let is_all = options.from.is_none() && options.to.is_none();
        let extent = run.source.extent(run.engine).await?;
        let (first, last) = match (extent, range.from, range.to) {
            (_, Some(from), Some(to)) => (from, to),
            (Some((first, _)), None, Some(to)) => (first.min(to), to),
            (Some((_, last)), Some(from), None) => (from, after(last).max(from)),
            (Some((first, last)), None, None) => (first, after(last)),
            // Without events there is one step, in which nothing happens.
            (None, ..) => {
                return Ok(Self { ranges: vec![range], is_all, to: range.to });
            }
        };
        let grain = grain(view);
        let mut ranges = Vec::new();
        let mut from = first;
        while from < last || ranges.is_empty() {
            let to = Timestamp::from_micros(from.micros().saturating_add(options.step.micros()));
            let step = grain.widen(TimeRange { from: Some(from), to: Some(to) });
            // Whole partitions do not end where a step does.
            let step = step.to.map_or(step, |end| TimeRange { to: Some(end.max(to)), ..step });
            let Some(end) = step.to else {
                ranges.push(range);
                break;
            };
            ranges.push(TimeRange {
                from: Some(step.from.map_or(from, |begin| begin.max(from))),
                to: Some(end),
            });
            from = end;
            if ranges.len() > STEPS_MAX {
                return Err(Error::invalid(format!("steps of {} are too many", options.step))
                    .with_help("take longer steps, or a shorter range"));
            }
        }
        // What lies before the first event and after the last has no rows.
        if let Some(step) = ranges.first_mut() {
            step.from = range.from;
        }
        if let Some(step) = ranges.last_mut() {
            step.to = range.to;
        }
        let is_grid = matches!(view.emit, Emit::Every { .. });
        Ok(Self { ranges, is_all, to: range.to.filter(|_| is_grid) })
    }
}

fn after(moment: Timestamp) -> Timestamp {
    Timestamp::from_micros(moment.micros().saturating_add(1))
}

/// Which step it is, of which backfill.
#[derive(Clone, Copy)]
struct Place<'a> {
    index: usize,
    of: usize,
    id: &'a str,
}

/// All that the steps have in common.
struct Job<'a> {
    engine: &'a Engine,
    definitions: &'a Definitions,
    view: &'a FeatureView,
    options: &'a BackfillOptions,
    /// States of the sources, that of a table without any row among them.
    pins: &'a [PinnedTable],
}

impl Job<'_> {
    async fn run(&self, report: &mut BackfillReport) -> Result<()> {
        let (ranges, id) = (report.steps.clone(), report.backfill_id.clone());
        for (index, range) in ranges.iter().enumerate() {
            let place = Place { index, of: ranges.len(), id: &id };
            let step = self.step(*range, place).await?;
            report.skipped += usize::from(!step.changed && step.input_rows == 0);
            report.rows += step.rows;
            report.input_rows += step.input_rows;
            report.snapshot_id = step.snapshot_id;
            let notes =
                step.notes.into_iter().filter(|note| !note.starts_with("the table already"));
            report.notes.extend(notes.map(|note| format!("step {}: {note}", index + 1)));
        }
        Ok(())
    }

    async fn step(&self, range: TimeRange, place: Place<'_>) -> Result<ComputeReport> {
        let told = self.options.progress.clone();
        let (step, steps) = (place.index + 1, place.of);
        let tell = move |rows_in, rows_out| {
            if let Some(BackfillCallback(callback)) = &told {
                callback(BackfillProgress { step, steps, range, rows_in, rows_out });
            }
        };
        tell(0, 0);
        let compute = ComputeOptions {
            run: self.options.run.clone(),
            mode: ComputeMode::Range,
            progress: Some(ProgressCallback::new(move |done| tell(done.rows_in, done.rows_out))),
            ..ComputeOptions::default()
        };
        let mut extra = vec![(BACKFILL, format!("{}#{step}/{steps}", place.id))];
        // One step that is everything is a computation like any other.
        if range == TimeRange::default() {
            extra.push((COMPLETE, "true".to_owned()));
        }
        let stretch = stretch(self.options, (place.index, place.of), range);
        let mut tries = 0;
        loop {
            tries += 1;
            let of = (self.definitions, self.view);
            let run = Run::begin(self.engine, of, &compute, Some(self.pins)).await?;
            match run.of_range((stretch, OnNothing::Remove), &extra).await {
                Err(error) if error.kind() == ErrorKind::Conflict && tries < TRIES_MAX => {}
                done => return done,
            }
        }
    }
}

#[cfg(test)]
mod tests;
