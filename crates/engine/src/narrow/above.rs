//! What stands above a condition and needs all of the rows: groups, divisions, limits, joins.

use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::logical_expr::{Aggregate, Distinct, Expr, Join, JoinType, LogicalPlan, Window};

use super::Narrowing;
use super::grid::{self, Grid};
use super::place::{Place, columns, is_volatile, outer_columns};
use super::shown::{shown, shown_condition};

/// What puts rows together, or sees that one is missing.
#[derive(Debug)]
pub(super) struct Above<'p> {
    /// What is computed.
    computed: Vec<String>,
    /// What the rows are put together by.
    grouped_by: Vec<&'p Expr>,
    /// The rows that are put together; `None` where they are not by groups.
    input: Option<Place<'p>>,
    /// Whether nothing comes of no rows: `count(*)` is a row, and a left join is all of the left.
    is_nothing_of_nothing: bool,
    /// Whether rows of several inputs come together here, each as it is.
    pub(super) is_union: bool,
    /// Whether it matters in which order the rows come.
    pub(super) is_by_order: bool,
}

/// What a condition takes of the groups above it.
pub(super) enum Takes {
    /// Each as a whole, or not at all.
    Whole,
    Part,
    /// Each as a whole if the bound of the condition is a moment of one of these.
    WholeFrom(Expr, Vec<Grid>),
}

impl<'p> Above<'p> {
    /// What a node is to the input at this position; `None` if each row is taken by itself.
    pub(super) fn of(node: &Place<'p>, at: usize) -> Option<Self> {
        let input = node.input(at);
        match node.plan {
            LogicalPlan::Aggregate(of) => Self::aggregate(of, input),
            LogicalPlan::Window(of) => Some(Self::window(of, input)),
            LogicalPlan::Distinct(Distinct::On(of)) => Some(Self {
                computed: vec!["DISTINCT ON".to_owned()],
                grouped_by: of.on_expr.iter().collect(),
                input,
                is_nothing_of_nothing: true,
                is_union: false,
                is_by_order: true,
            }),
            LogicalPlan::Limit(_) => Some(Self::ordered("LIMIT")),
            LogicalPlan::Sort(of) => of.fetch.is_some().then(|| Self::ordered("LIMIT")),
            LogicalPlan::Join(of) => Self::join(of, at),
            LogicalPlan::Union(_) => {
                Some(Self { is_union: true, ..Self::opaque("UNION".to_owned()) })
            }
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::Distinct(Distinct::All(_)) => None,
            other => Some(Self::opaque(other.display().to_string())),
        }
    }

    fn aggregate(of: &'p Aggregate, input: Option<Place<'p>>) -> Option<Self> {
        let has_sets = of.group_expr.iter().any(|key| matches!(key, Expr::GroupingSet(_)));
        // The groups alone are distinct rows.
        let is_distinct = of.aggr_expr.is_empty() && !of.group_expr.is_empty() && !has_sets;
        (!is_distinct).then(|| Self {
            computed: of.aggr_expr.iter().map(shown).collect(),
            grouped_by: of.group_expr.iter().collect(),
            input,
            is_nothing_of_nothing: !of.group_expr.is_empty() && !has_sets,
            is_union: false,
            is_by_order: false,
        })
    }

    fn window(of: &'p Window, input: Option<Place<'p>>) -> Self {
        let mut divisions = of.window_expr.iter().map(|expr| match unaliased(expr) {
            Expr::WindowFunction(function) => function.params.partition_by.iter().collect(),
            _ => Vec::new(),
        });
        // What all of them are divided by.
        let first: Vec<&Expr> = divisions.next().unwrap_or_default();
        let others: Vec<Vec<&Expr>> = divisions.collect();
        let is_of_all = |key: &&Expr| others.iter().all(|other| other.contains(key));
        Self {
            computed: of.window_expr.iter().map(shown).collect(),
            grouped_by: first.into_iter().filter(is_of_all).collect(),
            input,
            is_nothing_of_nothing: true,
            is_union: false,
            is_by_order: false,
        }
    }

    /// Rows of this side that are missing are seen as such: by nulls, or by what they kept out.
    fn join(of: &Join, at: usize) -> Option<Self> {
        let is_seen = match of.join_type {
            JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => false,
            JoinType::Left | JoinType::LeftAnti | JoinType::LeftMark => at == 1,
            JoinType::Right | JoinType::RightAnti | JoinType::RightMark => at == 0,
            JoinType::Full => true,
        };
        is_seen.then(|| Self::opaque(joined(of)))
    }

    fn ordered(what: &str) -> Self {
        Self { is_by_order: true, is_nothing_of_nothing: true, ..Self::opaque(what.to_owned()) }
    }

    fn opaque(what: String) -> Self {
        Self {
            computed: vec![what],
            grouped_by: Vec::new(),
            input: None,
            is_nothing_of_nothing: false,
            is_union: false,
            is_by_order: false,
        }
    }

    /// What a condition, over the rows of a node below, takes of the groups here. They are mixed
    /// where rows come to them that do not have to meet it.
    pub(super) fn takes(&self, condition: &Expr, below: &Place<'_>, is_mixed: bool) -> Takes {
        if self.is_union {
            return Takes::Whole;
        }
        if is_volatile(condition) {
            return Takes::Part;
        }
        let of_rows = columns(condition);
        if of_rows.is_empty() {
            // The same for all rows.
            let is_whole = self.is_nothing_of_nothing && !is_mixed;
            return if is_whole { Takes::Whole } else { Takes::Part };
        }
        let Some(input) = &self.input else { return Takes::Part };
        let keys: Vec<Expr> = (self.grouped_by.iter())
            .filter(|key| !is_volatile(key))
            .filter_map(|key| input.traced(key))
            .collect();
        let is_same =
            |expr: &Expr| below.traced(expr).is_some_and(|traced| is_determined(&traced, &keys));
        let referred = outer_columns(condition);
        if is_same(condition) && referred.iter().all(is_same) {
            return Takes::Whole;
        }
        grid::takes(condition, below, &keys)
    }

    /// A condition that takes a part.
    pub(super) fn narrowed_by(&self, condition: &Expr) -> Narrowing {
        Narrowing {
            condition: shown_condition(condition),
            computed: self.computed.clone(),
            grouped_by: self.grouped_by.iter().map(|key| shown(key)).collect(),
        }
    }
}

/// What a join is called.
pub(super) fn joined(join: &Join) -> String {
    format!("{} JOIN", join.join_type.to_string().to_uppercase())
}

/// Whether an expression is the same for all rows that have these in common.
fn is_determined(expr: &Expr, keys: &[Expr]) -> bool {
    if keys.contains(expr) {
        return true;
    }
    if matches!(expr, Expr::OuterReferenceColumn(..) | Expr::Column(_)) {
        return false;
    }
    let mut is_determined_below = true;
    let walked = expr.apply_children(|child| {
        is_determined_below &= is_determined(child, keys);
        Ok(TreeNodeRecursion::Continue)
    });
    is_determined_below && walked.is_ok()
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
