//! The proof that no row of a training set saw its future.

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use icecore_core::{Error, Result, Span, Timestamp};
use icecore_pit::moment_micros;
use serde::{Deserialize, Serialize};

use crate::lock::LockedView;

/// What looking at every joined row found, with the moments that the join had at hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakCheck {
    /// How many rows were looked at.
    pub rows: u64,
    /// How many of them have a feature from their future. A build with one fails.
    pub violations: u64,
    /// What was found by view.
    #[serde(default, rename = "view", skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<ViewLeakCheck>,
}

/// What looking at the rows of one view found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewLeakCheck {
    /// The view.
    pub name: String,
    /// How many rows have features of it.
    pub joined: u64,
    /// The least time from a feature row's event to the moment that saw it, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_before_moment_us: Option<i64>,
    /// The greatest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_before_moment_us: Option<i64>,
    /// The least time from when a feature row was known to the moment that saw it, where the created
    /// timestamp decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_known_before_moment_us: Option<i64>,
}

/// The column with the event timestamp of the row that a view gave.
pub(crate) fn event_column(view: &str) -> String {
    format!("{view}__event_timestamp")
}

/// The column with the created timestamp of the row that a view gave.
pub(crate) fn created_column(view: &str) -> String {
    format!("{view}__created_timestamp")
}

/// The column with the age of the row that a view gave, where the set has it.
pub(crate) fn age_column(view: &str) -> String {
    format!("{view}__age_us")
}

/// Looks at joined rows.
#[derive(Debug, Clone)]
pub(crate) struct LeakChecker {
    moment: String,
    views: Vec<LockedView>,
    found: LeakCheck,
}

impl LeakChecker {
    pub(crate) fn new(moment: &str, views: &[LockedView]) -> Self {
        let found = views.iter().map(|view| ViewLeakCheck {
            name: view.name.clone(),
            joined: 0,
            newest_before_moment_us: None,
            oldest_before_moment_us: None,
            newest_known_before_moment_us: None,
        });
        let found = LeakCheck { rows: 0, violations: 0, views: found.collect() };
        Self { moment: moment.to_owned(), views: views.to_vec(), found }
    }

    /// What was found so far.
    pub(crate) fn found(&self) -> &LeakCheck {
        &self.found
    }

    /// Looks at a batch that still has the columns of [`event_column`] and [`created_column`].
    ///
    /// # Errors
    ///
    /// `Internal`, naming the view and the moments, if a row saw its future, or something older
    /// than its view allows.
    pub(crate) fn check(&mut self, batch: &RecordBatch) -> Result<()> {
        let moments = moments_of(batch, &self.moment)?;
        self.found.rows += batch.num_rows() as u64;
        let mut wrong = None;
        for (view, found) in self.views.iter().zip(&mut self.found.views) {
            let events = moments_of(batch, &event_column(&view.name))?;
            let created = match batch.column_by_name(&created_column(&view.name)) {
                Some(column) => Some(moment_micros(column)?),
                None => None,
            };
            let ages = batch.column_by_name(&age_column(&view.name));
            let ages = ages.and_then(|ages| ages.as_primitive_opt::<Int64Type>());
            for row in (0..batch.num_rows()).filter(|row| events.is_valid(*row)) {
                let event = events.value(row);
                let known = created.as_ref().map_or(event, |created| created.value(row).max(event));
                let moment = moments.is_valid(row).then(|| moments.value(row));
                if let Some(problem) = problem(view, moment, event, known) {
                    self.found.violations += 1;
                    wrong.get_or_insert(problem);
                }
                let age = moment.map_or(0, |moment| moment.saturating_sub(event));
                if let Some(ages) = ages
                    && (ages.is_null(row) || ages.value(row) != age)
                {
                    self.found.violations += 1;
                    wrong.get_or_insert_with(|| {
                        let name = &view.name;
                        format!("the age of a row of feature view `{name}` is not what it was")
                    });
                }
                let (newest, oldest) =
                    (&mut found.newest_before_moment_us, &mut found.oldest_before_moment_us);
                *newest = Some(newest.map_or(age, |newest| newest.min(age)));
                *oldest = Some(oldest.map_or(age, |oldest| oldest.max(age)));
                if created.is_some() {
                    let since = moment.map_or(0, |moment| moment.saturating_sub(known));
                    let newest = &mut found.newest_known_before_moment_us;
                    *newest = Some(newest.map_or(since, |newest| newest.min(since)));
                }
                found.joined += 1;
            }
        }
        match wrong {
            Some(problem) => Err(Error::internal(problem)
                .with_note(format!("{} rows so far are wrong", self.found.violations))
                .with_help("this is a defect of the join; nothing was written")),
            None => Ok(()),
        }
    }
}

fn moments_of(batch: &RecordBatch, name: &str) -> Result<Int64Array> {
    let column = batch.column_by_name(name);
    moment_micros(column.ok_or_else(|| Error::internal(format!("a join gave no `{name}`")))?)
}

/// What is wrong with a joined row, if anything.
fn problem(view: &LockedView, moment: Option<i64>, event: i64, known: i64) -> Option<String> {
    let (name, at) = (&view.name, Timestamp::from_micros);
    let Some(moment) = moment else {
        return Some(format!("a row without a moment got a row of feature view `{name}`"));
    };
    let seen_from = known.saturating_add(view.delay.map_or(0, Span::micros));
    if seen_from > moment {
        return Some(format!(
            "a row of `{}` got a row of feature view `{name}` that was known from `{}` on",
            at(moment),
            at(seen_from)
        ));
    }
    if view.strict && event == moment {
        return Some(format!(
            "a row of `{}` got a row of feature view `{name}` of the same moment",
            at(moment)
        ));
    }
    let oldest = view.ttl.map(Span::micros).map(|ttl| moment.saturating_sub(ttl));
    oldest.filter(|oldest| event < *oldest).map(|_| {
        format!(
            "a row of `{}` got a row of feature view `{name}` of `{}`, older than its ttl",
            at(moment),
            at(event)
        )
    })
}
