//! Where groups of moments begin.
//!
//! `t >= X` beside `GROUP BY date_trunc('day', t)` takes whole days only if a day begins at X. What
//! a table holds cannot be seen in a plan: a column that is taken as it is, or the greatest of it,
//! may be such a moment, and whether it is one is asked when it is known. What is computed from it
//! has to stay on the grid: three days earlier a day begins, too, and six hours earlier none does.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, Datelike as _};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Cast, Distinct, Expr, JoinType, LogicalPlan, Operator, TryCast};

use super::above::Takes;
use super::place::{Place, columns};
use crate::dialect;
use crate::files::moment as moment_type;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// 1970-01-05, the first Monday.
const MONDAY: i64 = 4 * DAY;

/// What a comparison takes of groups that are spans of time, by where such spans begin. The keys
/// are [traced](Place::traced).
pub(super) fn takes(condition: &Expr, below: &Place<'_>, keys: &[Expr]) -> Takes {
    let Some(compared) = Compared::of(condition) else { return Takes::Part };
    let Some(moment) = below.traced(compared.moment) else { return Takes::Part };
    let Some((of_rows, column)) = floor(&moment) else { return Takes::Part };
    let of_column = |(grid, other)| (other == column).then_some(grid);
    let grids = keys.iter().filter_map(floor).filter_map(of_column).chain(parts(keys, column));
    let grids: Vec<Grid> = grids.collect();
    // What is compared is the same for all rows of a group.
    if grids.iter().any(|grid| of_rows.is_within(*grid)) {
        return Takes::Whole;
    }
    let may_begin = |grid: &Grid| {
        compared.is_start && grid.is_within(of_rows) && is_on(compared.bound, below.plan, *grid)
    };
    let grids: Vec<Grid> = grids.into_iter().filter(may_begin).collect();
    if grids.is_empty() { Takes::Part } else { Takes::WholeFrom(compared.bound.clone(), grids) }
}

/// A comparison of what rows have with what is the same for all of them.
struct Compared<'p> {
    moment: &'p Expr,
    bound: &'p Expr,
    /// Whether it takes everything from the bound on, and the bound with it.
    is_start: bool,
}

impl<'p> Compared<'p> {
    fn of(condition: &'p Expr) -> Option<Self> {
        let Expr::BinaryExpr(binary) = condition else { return None };
        let is_of_rows = |expr: &Expr| !columns(expr).is_empty();
        let (left, right) = (binary.left.as_ref(), binary.right.as_ref());
        let (moment, bound, start) = match (is_of_rows(left), is_of_rows(right)) {
            (true, false) => (left, right, Operator::GtEq),
            (false, true) => (right, left, Operator::LtEq),
            _ => return None,
        };
        let is_comparison = matches!(
            binary.op,
            Operator::Eq
                | Operator::NotEq
                | Operator::Lt
                | Operator::LtEq
                | Operator::Gt
                | Operator::GtEq
        );
        is_comparison.then_some(Self { moment, bound, is_start: binary.op == start })
    }
}

/// Moments, UTC, of which groups begin at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grid {
    /// So many microseconds from one to the next; one of them is the origin.
    Micros { width: i64, origin: i64 },
    /// The firsts of months, so many from one to the next; one of them is that of January 1970.
    Months(i64),
}

impl Grid {
    const FINEST: Self = Self::every(1);
    const DAYS: Self = Self::every(DAY);

    const fn every(width: i64) -> Self {
        Self::Micros { width, origin: 0 }
    }

    fn of_unit(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "microsecond" => Self::FINEST,
            "millisecond" => Self::every(1000),
            "second" => Self::every(SECOND),
            "minute" => Self::every(60 * SECOND),
            "hour" => Self::every(3600 * SECOND),
            "day" => Self::DAYS,
            "week" => Self::Micros { width: 7 * DAY, origin: MONDAY },
            "month" => Self::Months(1),
            "quarter" => Self::Months(3),
            "year" => Self::Months(12),
            _ => return None,
        })
    }

    /// That of `date_bin`.
    fn of_bins(width: &Expr, origin: Option<&Expr>) -> Option<Self> {
        let origin = origin.map_or(Some(0), constant)?;
        match Shift::of(width)? {
            Shift { months: 0, micros: width } if width > 0 => Some(Self::Micros { width, origin }),
            Shift { months, micros: 0 } if months > 0 && origin == 0 => Some(Self::Months(months)),
            _ => None,
        }
    }

    /// What a cast to this type takes moments down to.
    fn of_type(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Date32 | DataType::Date64 => Some(Self::DAYS),
            DataType::Timestamp(unit, zone) => {
                // In another zone, days begin at other moments.
                let is_utc = matches!(zone.as_deref(), None | Some("UTC" | "Z" | "+00:00"));
                let width = match unit {
                    TimeUnit::Second => SECOND,
                    TimeUnit::Millisecond => 1000,
                    TimeUnit::Microsecond | TimeUnit::Nanosecond => 1,
                };
                is_utc.then_some(Self::every(width))
            }
            _ => None,
        }
    }

    /// Whether this is one of its moments; nothing is later than null.
    pub(super) fn has(self, value: &ScalarValue) -> bool {
        value.is_null() || micros(value).is_some_and(|moment| self.holds(moment))
    }

    fn holds(self, moment: i64) -> bool {
        match self {
            Self::Micros { width, origin } => moment.saturating_sub(origin).rem_euclid(width) == 0,
            Self::Months(months) => DateTime::from_timestamp_micros(moment).is_some_and(|at| {
                let month = (i64::from(at.year()) - 1970) * 12 + i64::from(at.month0());
                moment.rem_euclid(DAY) == 0 && at.day() == 1 && month.rem_euclid(months) == 0
            }),
        }
    }

    /// Whether each of its moments is one of the other's.
    fn is_within(self, other: Self) -> bool {
        match (self, other) {
            (
                Self::Micros { width, origin },
                Self::Micros { width: other_width, origin: other_origin },
            ) => width % other_width == 0 && origin.saturating_sub(other_origin) % other_width == 0,
            (Self::Months(months), Self::Months(other)) => months % other == 0,
            // Months begin at midnight.
            (Self::Months(_), Self::Micros { .. }) => Self::DAYS.is_within(other),
            (Self::Micros { .. }, Self::Months(_)) => false,
        }
    }

    /// Where moments come to that were taken down to another grid before.
    fn after(self, before: Self) -> Option<Self> {
        if self.is_within(before) { Some(self) } else { before.is_within(self).then_some(before) }
    }

    /// Whether each of its moments, so much later or earlier, is one of it again.
    fn is_kept_by(self, by: Shift) -> bool {
        match self {
            Self::Micros { width, .. } => {
                by.micros % width == 0 && (by.months == 0 || DAY % width == 0)
            }
            Self::Months(months) => by.micros == 0 && by.months % months == 0,
        }
    }
}

/// How much later, or earlier.
#[derive(Debug, Clone, Copy)]
struct Shift {
    months: i64,
    micros: i64,
}

impl Shift {
    /// An interval, or a number of days.
    fn of(expr: &Expr) -> Option<Self> {
        if let Some(days) = whole(expr) {
            return Some(Self { months: 0, micros: days.checked_mul(DAY)? });
        }
        match expr {
            Expr::Negative(by) => Self::of(by),
            Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(by)), _) => {
                let micros = i64::from(by.days).checked_mul(DAY)?;
                let micros = micros.checked_add(by.nanoseconds / 1000)?;
                let is_exact = by.nanoseconds % 1000 == 0;
                is_exact.then_some(Self { months: by.months.into(), micros })
            }
            _ => None,
        }
    }

    /// So many of a unit; of a number that is not known, one: what one keeps, any number keeps.
    fn of_units(unit: &Expr, count: &Expr) -> Option<Self> {
        let count = whole(count).unwrap_or(1);
        match Grid::of_unit(text(unit)?)? {
            Grid::Micros { width, .. } => {
                Some(Self { months: 0, micros: width.checked_mul(count)? })
            }
            Grid::Months(months) => Some(Self { months: months.checked_mul(count)?, micros: 0 }),
        }
    }
}

/// A whole number that is written in the query.
fn whole(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Negative(number) => whole(number)?.checked_neg(),
        Expr::Literal(value, _) if value.data_type().is_integer() => {
            match value.cast_to(&DataType::Int64) {
                Ok(ScalarValue::Int64(number)) => number,
                _ => None,
            }
        }
        _ => None,
    }
}

/// A text that is written in the query.
fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// A moment that is written in the query.
fn constant(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Cast(Cast { expr, data_type: DataType::Timestamp(..) }) => constant(expr),
        Expr::Literal(value, _) => micros(value),
        _ => None,
    }
}

fn micros(value: &ScalarValue) -> Option<i64> {
    let is_moment = value.data_type().is_temporal() || value.try_as_str().is_some();
    if matches!(value, ScalarValue::TimestampNanosecond(Some(nanos), _) if nanos % 1000 != 0) {
        return None;
    }
    match value.cast_to(&moment_type()) {
        Ok(ScalarValue::TimestampMicrosecond(micros, _)) if is_moment => micros,
        _ => None,
    }
}

/// What a column of moments was taken down to, and the column; `None` if it is something else.
fn floor(traced: &Expr) -> Option<(Grid, &Expr)> {
    if let Expr::OuterReferenceColumn(field, _) = traced {
        return Some((Grid::of_type(field.data_type())?, traced));
    }
    let (grid, moment) = taken_down(traced)?;
    let (before, column) = floor(moment)?;
    Some((grid.after(before)?, column))
}

/// The grid that an expression takes a moment down to, and the moment.
fn taken_down(expr: &Expr) -> Option<(Grid, &Expr)> {
    match expr {
        Expr::Cast(Cast { expr, data_type }) | Expr::TryCast(TryCast { expr, data_type }) => {
            Some((Grid::of_type(data_type)?, expr.as_ref()))
        }
        Expr::ScalarFunction(function) => match (function.name(), function.args.as_slice()) {
            ("date_trunc", [unit, moment]) => Some((Grid::of_unit(text(unit)?)?, moment)),
            ("date_bin", [width, moment, origin @ ..]) => {
                Some((Grid::of_bins(width, origin.first())?, moment))
            }
            ("to_date", [moment]) => Some((Grid::DAYS, moment)),
            _ => None,
        },
        _ => None,
    }
}

/// The grid of groups by year, by year and month, and so on, of a column.
fn parts(keys: &[Expr], column: &Expr) -> Option<Grid> {
    let part = |key: &Expr| {
        let Expr::ScalarFunction(function) = key else { return None };
        let ("date_part", [unit, moment]) = (function.name(), function.args.as_slice()) else {
            return None;
        };
        let (grid, of) = floor(moment)?;
        let is_whole = of == column && Grid::DAYS.is_within(grid);
        is_whole.then_some(text(unit)?.to_ascii_lowercase())
    };
    let units: BTreeSet<String> = keys.iter().filter_map(part).collect();
    let has = |unit: &str| units.contains(unit);
    if !has("year") {
        None
    } else if has("doy") || has("month") && has("day") {
        Some(Grid::DAYS)
    } else if has("month") {
        Some(Grid::Months(1))
    } else if has("quarter") {
        Some(Grid::Months(3))
    } else {
        Some(Grid::Months(12))
    }
}

/// Whether a moment is one of a grid, as far as the query says what it is.
fn is_on(expr: &Expr, plan: &LogicalPlan, grid: Grid) -> bool {
    let Some((expr, plan)) = seen_through(expr, plan) else { return false };
    if let Some((to, moment)) = taken_down(expr) {
        return to.is_within(grid) || grid.is_within(to) && is_on(moment, plan, grid);
    }
    match expr {
        // A table's: it may be.
        Expr::Column(_) => true,
        Expr::Literal(value, _) => grid.has(value),
        Expr::ScalarSubquery(query) => match origin(&query.subquery, 0) {
            Some(Origin::Stored) => true,
            Some(Origin::Computed(expr, below)) => is_on(expr, below, grid),
            None => false,
        },
        Expr::AggregateFunction(function) => {
            let is_one_of = ["min", "max", "first_value", "last_value"];
            let argument = function.params.args.first();
            is_one_of.contains(&function.func.name())
                && argument.is_some_and(|argument| is_on(argument, plan, grid))
        }
        Expr::ScalarFunction(function) => is_call_on(function, plan, grid),
        Expr::BinaryExpr(binary) => {
            let is_later = |moment: &Expr, by: &Expr| {
                Shift::of(by).is_some_and(|by| grid.is_kept_by(by)) && is_on(moment, plan, grid)
            };
            match binary.op {
                Operator::Plus => {
                    is_later(&binary.left, &binary.right) || is_later(&binary.right, &binary.left)
                }
                Operator::Minus => is_later(&binary.left, &binary.right),
                _ => false,
            }
        }
        Expr::Case(case) => {
            let mut thens = case.when_then_expr.iter().map(|(_, then)| then);
            thens.all(|then| is_on(then, plan, grid))
                && case.else_expr.as_ref().is_none_or(|expr| is_on(expr, plan, grid))
        }
        _ => false,
    }
}

fn is_call_on(function: &ScalarFunction, plan: &LogicalPlan, grid: Grid) -> bool {
    match (function.name(), function.args.as_slice()) {
        (dialect::DATE_ADD, [unit, count, moment]) => {
            Shift::of_units(unit, count).is_some_and(|by| grid.is_kept_by(by))
                && is_on(moment, plan, grid)
        }
        ("coalesce" | "nvl" | "greatest" | "least", choices) => {
            choices.iter().all(|choice| is_on(choice, plan, grid))
        }
        ("to_timestamp", [moment]) => is_on(moment, plan, grid),
        ("current_date", []) => Grid::DAYS.is_within(grid),
        _ => false,
    }
}

/// Where a column of a plan is from.
enum Origin<'p> {
    /// A table.
    Stored,
    /// An expression over the rows of a plan below.
    Computed(&'p Expr, &'p LogicalPlan),
}

/// An expression behind the names that plans give it: no alias, and no column but a table's.
fn seen_through<'p>(
    mut expr: &'p Expr,
    mut plan: &'p LogicalPlan,
) -> Option<(&'p Expr, &'p LogicalPlan)> {
    loop {
        match expr {
            Expr::Alias(alias) => expr = &alias.expr,
            Expr::Column(column) => {
                match origin(plan, plan.schema().maybe_index_of_column(column)?)? {
                    Origin::Stored => return Some((expr, plan)),
                    Origin::Computed(computed, below) => (expr, plan) = (computed, below),
                }
            }
            _ => return Some((expr, plan)),
        }
    }
}

/// Where the column at this place of a plan is from, as far as that can be seen.
fn origin(plan: &LogicalPlan, at: usize) -> Option<Origin<'_>> {
    match plan {
        LogicalPlan::TableScan(_) => Some(Origin::Stored),
        LogicalPlan::Projection(node) => Some(Origin::Computed(node.expr.get(at)?, &node.input)),
        LogicalPlan::Aggregate(node) => {
            let is_plain = !matches!(node.group_expr.first(), Some(Expr::GroupingSet(_)));
            let expr = node.group_expr.iter().chain(&node.aggr_expr).nth(at)?;
            is_plain.then_some(Origin::Computed(expr, &node.input))
        }
        LogicalPlan::Window(node) if at < node.input.schema().fields().len() => {
            origin(&node.input, at)
        }
        LogicalPlan::Join(node)
            if matches!(
                node.join_type,
                JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full
            ) =>
        {
            match at.checked_sub(node.left.schema().fields().len()) {
                None => origin(&node.left, at),
                Some(at) => origin(&node.right, at),
            }
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Distinct(Distinct::All(_)) => origin(plan.inputs().into_iter().next()?, at),
        _ => None,
    }
}
