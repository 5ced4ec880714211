//! Computing only what changed.

use std::sync::Arc;

use futures::TryStreamExt;
use icecore_core::{
    BatchStream, Emit, Error, PinnedTable, Result, SnapshotId, TimeRange, WriteMode,
};

use crate::affected::{Affected, Interval};
use crate::base::{self, Base, Standing};
use crate::changed::changed_events;
use crate::compute::{ComputeReport, Run, effective_range};
use crate::counted::Counts;
use crate::estimate::{Estimate, estimate};
use crate::job::{COMPLETE, INCREMENTAL_FROM, Stretch};
use crate::kept_views;
use crate::local::{compute as compute_rows, source_schema};
use crate::output::{Area, counted, head, replace};

/// Computes the rows that events which changed have a part in.
pub(crate) async fn compute(run: &Run<'_>) -> Result<ComputeReport> {
    check(run)?;
    let view = run.view();
    let (engine, hash) = (run.engine, run.definition_hash.as_str());
    let standing = match base::find(engine, run.table, view, hash, &run.history).await? {
        Base::Nothing => return run.range().await,
        Base::Found(standing) => standing,
        // Rows of another view are not to be computed over.
        Base::No(error) if error.help().is_some() => return Err(error),
        Base::No(error) => return Err(refused(run, error)),
    };
    let mut notes = Vec::new();
    if standing.sources.iter().any(|old| kept_views::are_unknown(old, &run.sources)) {
        notes.push(kept_views::UNKNOWN_THEN.to_owned());
    }
    let all = effective_range(engine, &run.source, run.options, &mut notes).await?;
    let mut report = run.report(all, notes);
    report.snapshot_id = Some(head(&run.history));
    let affected = Arc::new(affected(run, &standing, all).await?);
    report.entities = Some(affected.entities() as u64);
    let Some(hull) = affected.hull() else {
        report.changed = false;
        report.notes.push("the table already holds this result".to_owned());
        if standing.sources != [run.sources.clone()] && !run.options.dry_run {
            settle(run, head(&run.history), all).await?;
        }
        return Ok(report);
    };
    report.range = clipped(hull, all);
    if run.options.dry_run {
        let estimated = estimate(engine, view, &run.sources, report.range).await?;
        let Estimate { rows, days } = estimated;
        (report.input_rows, report.days, report.snapshot_id) = (rows, days, None);
        return Ok(report);
    }
    write(run, all, affected, &mut report).await?;
    Ok(report)
}

fn check(run: &Run<'_>) -> Result<()> {
    if run.options.from.is_some() || run.options.to.is_some() {
        return Err(Error::invalid(
            "what changed has no range: `from` and `to` are for computing one",
        )
        .with_help("leave them out, or compute the range"));
    }
    if run.view().write == WriteMode::Append {
        let error = Error::invalid(format!(
            "`{}` appends its rows, so those of late and deleted events could not be replaced",
            run.view().name
        ));
        let error = error.with_help("write `write = \"overwrite_partitions\"`");
        return Err(run.source.definitions.locate(run.view(), "write", error));
    }
    Ok(())
}

/// Why there is nothing to go on from, and what to do.
fn refused(run: &Run<'_>, error: Error) -> Error {
    let view = &run.view().name;
    error.with_help(format!(
        "compute everything again: `icecore features compute {view} --full`, or step by step: `icecore features backfill {view}`"
    ))
}

/// The rows that may have changed since.
async fn affected(run: &Run<'_>, standing: &Standing, all: TimeRange) -> Result<Affected> {
    let source = &run.source;
    let mut affected = Affected::new(run.view(), source.keys.clone(), source.key_types()?)?;
    for old in &standing.sources {
        let old = kept_views::with_views(old, &run.sources);
        let pins = (old.as_slice(), run.sources.as_slice());
        let same = kept_views::is_same(run.engine, run.view(), pins).await;
        if same.map_err(|error| refused(run, error))? {
            continue;
        }
        let changed = changed_events(run.engine, source.definitions, run.view(), pins).await;
        let mut changed = changed.map_err(|error| refused(run, error))?;
        while let Some(events) = changed.try_next().await? {
            affected.add_events(&events)?;
        }
    }
    // A grid goes on to the last event of all, so each entity's rows end there.
    if let (Emit::Every { .. }, Some(then), Some(now)) = (&run.view().emit, standing.to, all.to)
        && then != now
    {
        let (first, last) = (then.min(now).micros(), then.max(now).micros());
        affected.add_everyone(Interval { from: first, to: last - 1 });
    }
    Ok(affected)
}

/// The range to compute: what is affected, as far as there are rows at all.
fn clipped(hull: Interval, all: TimeRange) -> TimeRange {
    let range = hull.range();
    let to = match (range.to, all.to) {
        (Some(hull), Some(end)) => Some(hull.min(end)),
        (hull, end) => hull.or(end),
    };
    TimeRange { from: range.from, to }
}

async fn write(
    run: &Run<'_>,
    all: TimeRange,
    affected: Arc<Affected>,
    report: &mut ComputeReport,
) -> Result<()> {
    let counts = Arc::new(Counts::new(run.options.progress.clone()));
    let range = report.range;
    let is_empty = range.from.zip(range.to).is_some_and(|(from, to)| from >= to);
    let base = head(&run.history);
    let extra = [(COMPLETE, "true".to_owned()), (INCREMENTAL_FROM, base.to_string())];
    let commit = run.commit_options(&run.job(Stretch::last(all)), &extra);
    let fill = async {
        let rows = if is_empty {
            BatchStream::from_batches(source_schema(run.engine, &run.source).await?, Vec::new())
        } else {
            compute_rows(run.engine, &run.source, range, &counts, Some(&affected)).await?
        };
        let area = (Area::Affected(affected), counted(rows, Arc::clone(&counts)));
        replace(run.engine, &run.source, run.table, area, commit).await
    };
    let written = run.fill_table(report, Box::pin(fill)).await?;
    run.finish(report, &counts, written);
    if !written.changed {
        settle(run, written.snapshot.unwrap_or(base), all).await?;
    }
    Ok(())
}

/// Writes down that the table holds what the sources give, where no commit says it.
async fn settle(run: &Run<'_>, state: SnapshotId, all: TimeRange) -> Result<()> {
    if state == PinnedTable::EMPTY {
        return Ok(());
    }
    let what = (state, run.sources.as_slice(), all.to);
    base::mark(run.engine, run.table, run.view(), &run.definition_hash, what).await
}

#[cfg(test)]
mod tests;
