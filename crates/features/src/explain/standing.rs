//! How an event stands to a window.

use std::fmt;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use icecore_core::{Aggregate, Closed, FeatureView, Timestamp, Window};
use serde::{Serialize, Serializer};

use super::ExplainedWindow;
use crate::source::Inputs;

/// How an event stands to a window of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It counts.
    Counts,
    /// It lies before the window.
    Before,
    /// It lies after the window.
    After,
    /// It lies at an end of the window that does not belong to it.
    AtOpenEnd,
    /// The view's `where` is not true for it.
    NotInView,
    /// The aggregate's `where` is not true for it.
    ConditionNotMet,
    /// It has no value in the aggregate's column.
    NoValue,
}

impl Standing {
    /// A word for it, as programs read it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::Before => "before",
            Self::After => "after",
            Self::AtOpenEnd => "at_open_end",
            Self::NotInView => "not_in_view",
            Self::ConditionNotMet => "condition_not_met",
            Self::NoValue => "no_value",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counts => "in",
            Self::Before => "before",
            Self::After => "after",
            Self::AtOpenEnd => "at open end",
            Self::NotInView => "not in view",
            Self::ConditionNotMet => "condition",
            Self::NoValue => "null",
        })
    }
}

impl Serialize for Standing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// Events beside a moment.
pub(super) struct Beside<'a> {
    pub(super) view: &'a FeatureView,
    pub(super) at: Timestamp,
    pub(super) times: &'a [Option<i64>],
    pub(super) events: &'a RecordBatch,
    /// Whether the view's `where` is true.
    pub(super) in_view: &'a BooleanArray,
    pub(super) masks: &'a [&'a BooleanArray],
}

impl Beside<'_> {
    pub(super) fn windows(&self, inputs: &Inputs) -> Vec<ExplainedWindow> {
        let mut windows = Vec::new();
        for aggregate in &self.view.aggregates {
            let mask = aggregate.filter.as_ref().and_then(|filter| inputs.mask(filter));
            let mask = mask.and_then(|mask| self.masks.get(mask)).copied();
            for window in &aggregate.windows {
                let closed = self.view.closed_of(aggregate, *window);
                windows.push(ExplainedWindow {
                    column: aggregate.column_name(*window),
                    function: aggregate.function.clone(),
                    input: aggregate.column.clone(),
                    filter: aggregate.filter.clone(),
                    window: *window,
                    range: window.range(closed, self.at),
                    closed,
                    standings: self.standings(aggregate, (*window, closed), mask),
                });
            }
        }
        windows
    }

    fn standings(
        &self,
        aggregate: &Aggregate,
        (window, closed): (Window, Closed),
        mask: Option<&BooleanArray>,
    ) -> Vec<Standing> {
        let input: Option<&ArrayRef> =
            aggregate.column.as_ref().and_then(|name| self.events.column_by_name(name));
        let (own, wide) = (window.range(closed, self.at), window.range(Closed::Both, self.at));
        let standing = |(row, time): (usize, &Option<i64>)| {
            // Events without a time are not listed.
            let time = Timestamp::from_micros(time.unwrap_or(i64::MIN));
            let is_true = |mask: &BooleanArray| mask.is_valid(row) && mask.value(row);
            if !own.contains(time) {
                return match (wide.contains(time), wide.from) {
                    (true, _) => Standing::AtOpenEnd,
                    (false, Some(from)) if time < from => Standing::Before,
                    _ => Standing::After,
                };
            }
            if !is_true(self.in_view) {
                Standing::NotInView
            } else if !mask.is_none_or(is_true) {
                Standing::ConditionNotMet
            } else if !input.is_none_or(|input| input.is_valid(row)) {
                Standing::NoValue
            } else {
                Standing::Counts
            }
        };
        self.times.iter().enumerate().map(standing).collect()
    }
}
