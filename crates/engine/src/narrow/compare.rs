//! The plan of a full refresh and that of an incremental run, side by side.
//!
//! The incremental query may have conditions that the full one has not. Everything else has to be
//! the same, and each of these conditions has to leave what is computed above it whole: then every
//! row of the one is a row of the other. Where that cannot be seen, it is not believed.

use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, Filter, Join, JoinType, LogicalPlan, Subquery};

use super::above::{Above, Takes, joined};
use super::grid::Grid;
use super::place::Place;
use super::shown::{shown_condition, shown_node};
use super::{Narrowing, said};

/// A condition that is fine if its bound is a moment at which groups begin.
pub(super) struct Doubt {
    pub(super) bound: Expr,
    pub(super) grids: Vec<Grid>,
    pub(super) otherwise: Narrowing,
}

/// Shows that the rows of the incremental plan are rows of the full one, but for what has yet to be
/// asked, or finds what keeps them from it.
pub(super) fn compare(
    full: &LogicalPlan,
    incremental: &LogicalPlan,
) -> Result<Vec<Doubt>, Narrowing> {
    let mut comparison = Comparison { above: Vec::new(), doubts: Vec::new() };
    comparison.walk(full, Place::top(incremental))?;
    Ok(comparison.doubts)
}

struct Comparison<'p> {
    above: Vec<Above<'p>>,
    doubts: Vec<Doubt>,
}

impl<'p> Comparison<'p> {
    fn walk(&mut self, full: &LogicalPlan, place: Place<'p>) -> Result<(), Narrowing> {
        let (full, place) = self.without_order(full, place)?;
        if said::plan(full) == said::plan(place.plan) {
            return Ok(());
        }
        if matches!(full, LogicalPlan::Filter(_)) || matches!(place.plan, LogicalPlan::Filter(_)) {
            return self.filters(full, place);
        }
        if let Some((join, at)) = beside_one_row(full, &place) {
            return self.beside_one_row(full, &place, join, at);
        }
        match (full, place.plan) {
            (LogicalPlan::Join(full), LogicalPlan::Join(join)) => self.joins(full, &place, join),
            (full, plan) if is_same_node(full, plan) => self.inputs(full, &place),
            _ => Err(another(shown_node(place.plan))),
        }
    }

    fn inputs(&mut self, full: &LogicalPlan, place: &Place<'p>) -> Result<(), Narrowing> {
        for (at, (full, input)) in full.inputs().into_iter().zip(place.inputs()).enumerate() {
            let depth = self.above.len();
            self.above.extend(Above::of(place, at));
            self.walk(full, input)?;
            self.above.truncate(depth);
        }
        Ok(())
    }

    /// The order of rows is nothing to tables, unless it decides which there are.
    fn without_order<'f>(
        &self,
        mut full: &'f LogicalPlan,
        mut place: Place<'p>,
    ) -> Result<(&'f LogicalPlan, Place<'p>), Narrowing> {
        while said::node(full) != said::node(place.plan) {
            let is_sort =
                |plan: &LogicalPlan| matches!(plan, LogicalPlan::Sort(of) if of.fetch.is_none());
            let (of_full, of_place) = (is_sort(full), is_sort(place.plan));
            if !of_full && !of_place {
                break;
            }
            if self.above.iter().any(|above| above.is_by_order) {
                return Err(another(shown_node(place.plan)));
            }
            if let (true, Some(input)) = (of_full, full.inputs().first().copied()) {
                full = input;
            }
            if let (true, Some(input)) = (of_place, place.input(0)) {
                place = input;
            }
        }
        Ok((full, place))
    }

    fn filters(&mut self, full: &LogicalPlan, place: Place<'p>) -> Result<(), Narrowing> {
        let mut of_full = Vec::new();
        let mut full = full;
        while let LogicalPlan::Filter(Filter { predicate, input, .. }) = full {
            of_full.extend(split_conjunction(predicate));
            full = input;
        }
        let mut own = Vec::new();
        let mut below = place;
        while let LogicalPlan::Filter(Filter { predicate, .. }) = below.plan {
            own.extend(split_conjunction(predicate));
            let Some(input) = below.input(0) else { break };
            below = input;
        }
        for condition in new_conditions(&of_full, own)? {
            self.cut(condition, &below)?;
        }
        self.walk(full, below)
    }

    fn joins(&mut self, full: &Join, place: &Place<'p>, join: &'p Join) -> Result<(), Narrowing> {
        let is_same = full.join_type == join.join_type
            && full.null_equality == join.null_equality
            && full.null_aware == join.null_aware;
        if !is_same {
            return Err(another(shown_node(place.plan)));
        }
        let (of_full, own) = (on(full), on(join));
        let mut missing = of_full.iter().filter(|condition| {
            let text = said::expression(condition);
            !is_true(condition) && !own.iter().any(|own| said::expression(own) == text)
        });
        if let Some(condition) = missing.next() {
            return Err(another(shown_condition(condition)));
        }
        let known: Vec<String> = of_full.iter().map(said::expression).collect();
        for condition in own.iter().filter(|own| !known.contains(&said::expression(own))) {
            match join.join_type {
                JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => {
                    self.cut(condition, place)?;
                }
                // Rows that it parts come alone.
                _ => {
                    return Err(Narrowing {
                        condition: shown_condition(condition),
                        computed: vec![joined(join)],
                        grouped_by: Vec::new(),
                    });
                }
            }
        }
        for (at, full) in [&full.left, &full.right].into_iter().enumerate() {
            let Some(input) = place.input(at) else { continue };
            let depth = self.above.len();
            self.above.extend(Above::of(place, at));
            self.walk(full, input)?;
            self.above.truncate(depth);
        }
        Ok(())
    }

    /// A join that only the incremental plan has, with one row that conditions may compare with.
    fn beside_one_row(
        &mut self,
        full: &LogicalPlan,
        place: &Place<'p>,
        join: &'p Join,
        at: usize,
    ) -> Result<(), Narrowing> {
        for condition in on(join) {
            self.cut(&condition, place)?;
        }
        match place.input(at) {
            Some(input) => self.walk(full, input),
            None => Err(another(shown_node(place.plan))),
        }
    }

    /// A condition of the incremental plan alone, over the rows of a node.
    fn cut(&mut self, condition: &Expr, below: &Place<'_>) -> Result<(), Narrowing> {
        let mut is_mixed = false;
        for above in self.above.iter().rev() {
            is_mixed |= above.is_union;
            match above.takes(condition, below, is_mixed) {
                Takes::Whole => {}
                Takes::Part => return Err(above.narrowed_by(condition)),
                Takes::WholeFrom(bound, grids) => {
                    let otherwise = above.narrowed_by(condition);
                    self.doubts.push(Doubt { bound, grids, otherwise });
                }
            }
        }
        Ok(())
    }
}

/// The conditions that are not those of the full plan, all of which have to be met.
fn new_conditions<'p>(
    of_full: &[&Expr],
    mut own: Vec<&'p Expr>,
) -> Result<Vec<&'p Expr>, Narrowing> {
    let mut narrower = Vec::new();
    for condition in of_full {
        let text = said::expression(condition);
        if is_true(condition) {
            continue;
        }
        if let Some(at) = own.iter().position(|own| said::expression(own) == text) {
            own.remove(at);
            continue;
        }
        let at = own.iter().position(|own| is_narrower(condition, own));
        let at = at.ok_or_else(|| another(shown_condition(condition)))?;
        narrower.push(own.remove(at));
    }
    own.retain(|condition| !is_true(condition));
    own.extend(narrower);
    Ok(own)
}

/// Whether a condition looks for rows in fewer of those that another looks for them in.
fn is_narrower(full: &Expr, own: &Expr) -> bool {
    let Some((full, own)) = looked_for(full, own) else { return false };
    let mut inside = Comparison { above: Vec::new(), doubts: Vec::new() };
    let is_subset = inside.walk(&full.subquery, Place::top(&own.subquery)).is_ok();
    // What would have to be asked there is not asked here.
    is_subset && inside.doubts.is_empty()
}

/// A difference that is no condition.
const fn another(what: String) -> Narrowing {
    Narrowing { condition: what, computed: Vec::new(), grouped_by: Vec::new() }
}

fn is_same_node(full: &LogicalPlan, plan: &LogicalPlan) -> bool {
    let has_as_many = full.inputs().len() == plan.inputs().len();
    match (full, plan) {
        // A condition on groups may compute something more of them.
        (LogicalPlan::Aggregate(full), LogicalPlan::Aggregate(of)) => {
            full.group_expr.len() == of.group_expr.len()
                && (full.group_expr.iter().zip(&of.group_expr))
                    .all(|(full, own)| said::expression(full) == said::expression(own))
                && full.aggr_expr.iter().all(|full| {
                    let text = said::expression(full);
                    of.aggr_expr.iter().any(|own| said::expression(own) == text)
                })
        }
        _ => has_as_many && said::node(full) == said::node(plan),
    }
}

fn is_true(condition: &Expr) -> bool {
    matches!(condition, Expr::Literal(value, _) if *value == true.into())
}

/// The conditions of a join.
fn on(join: &Join) -> Vec<Expr> {
    let equal = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
    let filter = join.filter.iter().flat_map(split_conjunction).cloned();
    equal.chain(filter).collect()
}

/// The subqueries of two conditions that both ask whether there is such a row.
fn looked_for<'f, 'p>(full: &'f Expr, own: &'p Expr) -> Option<(&'f Subquery, &'p Subquery)> {
    match (full, own) {
        (
            Expr::InSubquery(InSubquery { expr, subquery, negated: false }),
            Expr::InSubquery(InSubquery { expr: own_expr, subquery: own, negated: false }),
        ) => (said::expression(expr) == said::expression(own_expr)).then_some((subquery, own)),
        (
            Expr::Exists(Exists { subquery, negated: false }),
            Expr::Exists(Exists { subquery: own, negated: false }),
        ) => Some((subquery, own)),
        _ => None,
    }
}

/// A join of the incremental plan with exactly one row, and the side that has the others.
fn beside_one_row<'p>(full: &LogicalPlan, place: &Place<'p>) -> Option<(&'p Join, usize)> {
    let LogicalPlan::Join(join) = place.plan else { return None };
    let sides = match full {
        LogicalPlan::Join(full) => [Some(&full.left), Some(&full.right)],
        _ => [None, None],
    };
    let is_new = |own: &LogicalPlan, at: usize| {
        let full = sides.get(at).copied().flatten();
        full.is_none_or(|full| said::plan(full) != said::plan(own))
    };
    let is_inner = join.join_type == JoinType::Inner;
    if is_inner && is_one_row(&join.right) && is_new(&join.right, 1) {
        Some((join, 0))
    } else if is_inner && is_one_row(&join.left) && is_new(&join.left, 0) {
        Some((join, 1))
    } else {
        None
    }
}

fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(node) => node.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(node) => node.produce_one_row,
        LogicalPlan::Projection(node) => is_one_row(&node.input),
        LogicalPlan::SubqueryAlias(node) => is_one_row(&node.input),
        _ => false,
    }
}
