//! What a computation would read and write, from the statistics of files alone.

use icecore_catalog::{ColumnRange, FilePlan};
use icecore_core::{Date, FeatureView, Literal, PinnedTable, Result, TimeRange, Timestamp};
use icecore_engine::{Engine, is_views_table};

use crate::output::within;
use crate::source::events_range;

/// What a computation would touch at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// Events in the files that would be read.
    pub(crate) rows: u64,
    /// The first and last day that may get rows.
    pub(crate) days: Option<(Date, Date)>,
}

pub(crate) async fn estimate(
    engine: &Engine,
    view: &FeatureView,
    sources: &[PinnedTable],
    range: TimeRange,
) -> Result<Estimate> {
    // The time of a query's rows is not a column of any table.
    let of_table = view.source.as_ref();
    let reach = of_table.map(|_| within(&view.event_timestamp, events_range(view, range)));
    let mut estimate = Estimate { rows: 0, days: None };
    for pin in sources.iter().filter(|pin| !is_views_table(&pin.table)) {
        let plan = engine.catalog().plan_files(pin, reach.as_ref()).await?;
        estimate.rows += plan.files.iter().map(|file| file.rows).sum::<u64>();
        if view.source.is_some() {
            estimate.days = days(&plan, &view.event_timestamp, range);
        }
    }
    Ok(estimate)
}

/// The days that rows at events can lie in; rows of a grid go on after the last event, to the end
/// of the range.
fn days(plan: &FilePlan, column: &str, range: TimeRange) -> Option<(Date, Date)> {
    let ranges = plan.files.iter().map(|file| file.columns().get(column));
    let ranges = ranges.collect::<Option<Vec<&ColumnRange>>>()?;
    let moments = |pick: fn(&ColumnRange) -> Option<&Literal>| {
        let moments = ranges.iter().map(|range| match pick(range) {
            Some(Literal::Timestamp(moment)) => Some(*moment),
            _ => None,
        });
        moments.collect::<Option<Vec<Timestamp>>>()
    };
    let first = moments(|range| range.min.as_ref())?.into_iter().min()?;
    let last = moments(|range| range.max.as_ref())?.into_iter().max()?;
    let first = range.from.map_or(first, |from| from.max(first)).date();
    let last = range.to.map_or(last, |to| Timestamp::from_micros(to.micros() - 1).min(last)).date();
    (first <= last).then_some((first, last))
}
