//! Row filters on record batches, and on what is known of rows that have not been read.
//!
//! Values compare as in SQL, with one addition: a NaN equals a NaN and is greater than every
//! number. `-0.0` equals `0.0`.

mod bind;
mod evaluate;
mod literal;
mod partition;
mod possible;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use iceberg::spec::{Datum, NestedFieldRef, Schema};
use icecore_core::{CompareOp, Predicate, Result};

pub(crate) use evaluate::comparable;
pub(crate) use literal::{array_of_literals, exact_literal, from_datum, from_literal};
pub(crate) use partition::PartitionFilter;
pub(crate) use possible::{Evidence, Known, Nulls, has_nan, primitive};
pub(crate) use value::Value;

/// A filter whose columns and literals have been checked against the columns of a table. It knows
/// the columns by their ids, and so means the same of a file that calls them otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    tree: Tree<Asked>,
}

/// How questions are joined. There is no `not`: it has been moved down to the questions, where
/// nulls pass neither way.
#[derive(Debug, Clone)]
enum Tree<L> {
    Always(bool),
    Leaf(L),
    And(Vec<Self>),
    Or(Vec<Self>),
}

/// A question about the values of a column.
#[derive(Debug, Clone)]
struct Asked {
    column: NestedFieldRef,
    question: Question,
}

/// What can be asked of a value.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    IsNull,
    NotNull,
    Compare(CompareOp, Datum),
    /// One of these, or none of them.
    In(Vec<Datum>, Membership),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membership {
    Inside,
    Outside,
}

impl Filter {
    /// Looks up the columns and turns the literals into values of their types.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown column, `InvalidInput` for a literal of the wrong kind.
    pub(crate) fn bind(predicate: &Predicate, schema: &Schema) -> Result<Self> {
        bind::bind(predicate, schema).map(|tree| Self { tree })
    }

    /// The columns that it looks at.
    pub(crate) fn columns(&self) -> Vec<NestedFieldRef> {
        let mut columns = BTreeMap::new();
        self.tree.each(&mut |asked: &Asked| {
            columns.insert(asked.column.id, asked.column.clone());
        });
        columns.into_values().collect()
    }

    /// Whether no row can pass.
    pub(crate) const fn is_never(&self) -> bool {
        matches!(self.tree, Tree::Always(false))
    }

    /// Whether every row passes.
    pub(crate) const fn is_always(&self) -> bool {
        matches!(self.tree, Tree::Always(true))
    }

    /// A filter that passes exactly the rows that do not pass this one, those for which it is null
    /// among them.
    pub(crate) fn complement(&self) -> Self {
        Self { tree: self.tree.complement() }
    }

    /// Filters that a row must pass all of, each of as few columns as possible.
    pub(crate) fn conjuncts(&self) -> Vec<Self> {
        let parts = match &self.tree {
            Tree::And(parts) => parts.clone(),
            other => vec![other.clone()],
        };
        let mut by_columns: BTreeMap<BTreeSet<i32>, Vec<Tree<Asked>>> = BTreeMap::new();
        for part in parts {
            let mut ids = BTreeSet::new();
            part.each(&mut |asked: &Asked| {
                ids.insert(asked.column.id);
            });
            by_columns.entry(ids).or_default().push(part);
        }
        by_columns.into_values().map(|parts| Self { tree: conjunction(parts) }).collect()
    }

    /// The ids of columns of which a certain value is asked for.
    pub(crate) fn equalities(&self) -> BTreeSet<i32> {
        let mut ids = BTreeSet::new();
        self.tree.each(&mut |asked: &Asked| {
            if let Question::Compare(CompareOp::Eq, _) | Question::In(_, Membership::Inside) =
                asked.question
            {
                ids.insert(asked.column.id);
            }
        });
        ids
    }

    /// About which share of the rows passes, given the least and the greatest number of a column.
    pub(crate) fn share(&self, bounds: &impl Fn(&NestedFieldRef) -> Option<(f64, f64)>) -> f64 {
        self.tree.share(bounds)
    }

    /// Whether a row that passes may be among rows of which this is known. Errs towards yes.
    pub(crate) fn may_pass(&self, evidence: &impl Evidence) -> bool {
        self.tree.any(&|asked: &Asked| evidence.allows(&asked.column, &asked.question))
    }
}

impl<L> Tree<L> {
    fn each<'a>(&'a self, visit: &mut impl FnMut(&'a L)) {
        match self {
            Self::Always(_) => {}
            Self::Leaf(leaf) => visit(leaf),
            Self::And(parts) | Self::Or(parts) => {
                parts.iter().for_each(|part| part.each(visit));
            }
        }
    }

    /// Whether it can hold where the leaves that can hold are these.
    fn any(&self, can_hold: &impl Fn(&L) -> bool) -> bool {
        match self {
            Self::Always(answer) => *answer,
            Self::Leaf(leaf) => can_hold(leaf),
            Self::And(parts) => parts.iter().all(|part| part.any(can_hold)),
            Self::Or(parts) => parts.iter().any(|part| part.any(can_hold)),
        }
    }
}

impl Tree<Asked> {
    fn share(&self, bounds: &impl Fn(&NestedFieldRef) -> Option<(f64, f64)>) -> f64 {
        let parts =
            |parts: &[Self]| -> Vec<f64> { parts.iter().map(|part| part.share(bounds)).collect() };
        match self {
            Self::Always(answer) => f64::from(u8::from(*answer)),
            Self::Leaf(asked) => possible::share(&asked.question, bounds(&asked.column)),
            Self::And(all) => parts(all).into_iter().product(),
            Self::Or(any) => parts(any).into_iter().sum::<f64>().min(1.0),
        }
    }

    fn complement(&self) -> Self {
        let all = |parts: &[Self]| parts.iter().map(Self::complement).collect();
        let asked = |column: &NestedFieldRef, question: Question| {
            Self::Leaf(Asked { column: column.clone(), question })
        };
        match self {
            Self::Always(answer) => Self::Always(!answer),
            Self::And(parts) => disjunction(all(parts)),
            Self::Or(parts) => conjunction(all(parts)),
            Self::Leaf(Asked { column, question }) => {
                let or_null = |question| {
                    Self::Or(vec![asked(column, Question::IsNull), asked(column, question)])
                };
                match question {
                    Question::IsNull => asked(column, Question::NotNull),
                    Question::NotNull => asked(column, Question::IsNull),
                    Question::Compare(op, value) => {
                        or_null(Question::Compare(negated(*op), value.clone()))
                    }
                    Question::In(values, wanted) => {
                        or_null(Question::In(values.clone(), wanted.opposite()))
                    }
                }
            }
        }
    }
}

impl Membership {
    const fn opposite(self) -> Self {
        match self {
            Self::Inside => Self::Outside,
            Self::Outside => Self::Inside,
        }
    }
}

fn conjunction<L>(mut parts: Vec<Tree<L>>) -> Tree<L> {
    parts.retain(|part| !matches!(part, Tree::Always(true)));
    if parts.iter().any(|part| matches!(part, Tree::Always(false))) {
        return Tree::Always(false);
    }
    match parts.len() {
        0 => Tree::Always(true),
        1 => parts.remove(0),
        _ => Tree::And(flat(parts, |part| match part {
            Tree::And(inner) => Ok(inner),
            other => Err(other),
        })),
    }
}

fn disjunction<L>(mut parts: Vec<Tree<L>>) -> Tree<L> {
    parts.retain(|part| !matches!(part, Tree::Always(false)));
    if parts.iter().any(|part| matches!(part, Tree::Always(true))) {
        return Tree::Always(true);
    }
    match parts.len() {
        0 => Tree::Always(false),
        1 => parts.remove(0),
        _ => Tree::Or(flat(parts, |part| match part {
            Tree::Or(inner) => Ok(inner),
            other => Err(other),
        })),
    }
}

/// Takes parts apart that are joined as their parent is.
fn flat<L>(
    parts: Vec<Tree<L>>,
    inner: impl Fn(Tree<L>) -> std::result::Result<Vec<Tree<L>>, Tree<L>>,
) -> Vec<Tree<L>> {
    let mut all = Vec::with_capacity(parts.len());
    for part in parts {
        match inner(part) {
            Ok(parts) => all.extend(parts),
            Err(part) => all.push(part),
        }
    }
    all
}

const fn negated(op: CompareOp) -> CompareOp {
    match op {
        CompareOp::Eq => CompareOp::NotEq,
        CompareOp::NotEq => CompareOp::Eq,
        CompareOp::Lt => CompareOp::GtEq,
        CompareOp::LtEq => CompareOp::Gt,
        CompareOp::Gt => CompareOp::LtEq,
        CompareOp::GtEq => CompareOp::Lt,
    }
}
