//! What a filter asks of partitions.

use iceberg::spec::{
    Datum, FieldSummary, PartitionSpec, PrimitiveLiteral, PrimitiveType, Struct, Transform, Type,
};
use icecore_core::CompareOp;

use super::possible::has_nan;
use super::{Asked, Filter, Known, Membership, Nulls, Question, Tree, Value};
use crate::transform::Function;

/// What a filter asks of partitions of one spec: a partition that fails it holds no row that passes
/// the filter.
#[derive(Debug)]
pub(crate) struct PartitionFilter {
    tree: Tree<PartitionQuestion>,
}

#[derive(Debug)]
struct PartitionQuestion {
    /// The value's place in the partition tuple.
    position: usize,
    value_type: PrimitiveType,
    question: Question,
}

impl PartitionFilter {
    /// Takes a filter to partitions of this spec.
    pub(crate) fn new(filter: &Filter, spec: &PartitionSpec) -> Self {
        Self { tree: project_tree(&filter.tree, spec) }
    }

    /// Whether files of this partition may hold rows that pass. Errs towards yes.
    pub(crate) fn may_hold(&self, partition: &Struct) -> bool {
        let values = partition.fields();
        self.tree.any(&|asked: &PartitionQuestion| {
            let Some(stored) = values.get(asked.position) else { return true };
            let known = match stored {
                None => Known::exactly(None),
                Some(stored) => match Value::of_literal(stored, &asked.value_type) {
                    Some(value) => Known::exactly(Some(value)),
                    None => return true,
                },
            };
            known.allows(&asked.question, &asked.value_type)
        })
    }

    /// Whether a manifest of which this is known may name files that hold rows that pass. Errs
    /// towards yes.
    pub(crate) fn may_name(&self, summaries: Option<&Vec<FieldSummary>>) -> bool {
        let Some(summaries) = summaries else { return true };
        self.tree.any(&|asked: &PartitionQuestion| {
            let Some(summary) = summaries.get(asked.position) else { return true };
            let bound = |bytes: Option<&[u8]>| {
                bytes.and_then(|bytes| Datum::try_from_bytes(bytes, asked.value_type.clone()).ok())
            };
            let lower = bound(summary.lower_bound.as_ref().map(|bytes| bytes.as_ref()));
            let upper = bound(summary.upper_bound.as_ref().map(|bytes| bytes.as_ref()));
            let may_be_nan = has_nan(&asked.value_type) && summary.contains_nan != Some(false);
            let is_bounded = summary.lower_bound.is_some() || summary.upper_bound.is_some();
            let nulls = match summary.contains_null {
                false => Nulls::None,
                true if !is_bounded && !may_be_nan => Nulls::All,
                true => Nulls::Perhaps,
            };
            // A bound that cannot be understood bounds nothing.
            let value = |bound| Value::of_datum(bound, &asked.value_type);
            let (min, max) = (lower.as_ref().and_then(value), upper.as_ref().and_then(value));
            Known::between(min, max, nulls, may_be_nan).allows(&asked.question, &asked.value_type)
        })
    }
}

fn project_tree(tree: &Tree<Asked>, spec: &PartitionSpec) -> Tree<PartitionQuestion> {
    let all = |parts: &[Tree<Asked>]| -> Vec<_> {
        parts.iter().map(|part| project_tree(part, spec)).collect()
    };
    match tree {
        Tree::Always(answer) => Tree::Always(*answer),
        Tree::And(parts) => Tree::And(all(parts)),
        Tree::Or(parts) => Tree::Or(all(parts)),
        // A column may be partitioned by in several ways, and each has a say.
        Tree::Leaf(asked) => {
            let fields = spec.fields().iter().enumerate();
            let of_column = fields.filter(|(_, field)| field.source_id == asked.column.id);
            let questions = of_column.filter_map(|(position, field)| {
                let value_type = field.transform.result_type(&asked.column.field_type).ok()?;
                let Type::Primitive(value_type) = value_type else { return None };
                let question = project(field.transform, &asked.question)?;
                let wrapped = wrapped(field.transform, &value_type, &asked.question);
                let leaf = |question| {
                    let value_type = value_type.clone();
                    Tree::Leaf(PartitionQuestion { position, value_type, question })
                };
                Some(match wrapped {
                    Some(wrapped) => Tree::Or(vec![leaf(question), leaf(wrapped)]),
                    None => leaf(question),
                })
            });
            Tree::And(questions.collect())
        }
    }
}

/// A question that the transformed values pass of all values that pass this one; `None` where that
/// is no question at all.
fn project(transform: Transform, question: &Question) -> Option<Question> {
    let function = match transform {
        Transform::Identity => return Some(question.clone()),
        Transform::Void | Transform::Unknown => return None,
        transform => Function::new(transform).ok()?,
    };
    Some(match question {
        Question::IsNull => Question::IsNull,
        Question::Compare(CompareOp::Eq, value) => {
            Question::In(transformed(transform, &function, value)?, Membership::Inside)
        }
        Question::In(values, Membership::Inside) => {
            let mut all = Vec::with_capacity(values.len());
            for value in values {
                all.extend(transformed(transform, &function, value)?);
            }
            Question::In(all, Membership::Inside)
        }
        Question::Compare(op, value) if transform.preserves_order() => match op {
            CompareOp::Lt | CompareOp::LtEq => {
                let value = if *op == CompareOp::Lt { before(value) } else { None }
                    .unwrap_or_else(|| value.clone());
                let last = transformed(transform, &function, &value)?.pop()?;
                Question::Compare(CompareOp::LtEq, last)
            }
            CompareOp::Gt | CompareOp::GtEq => {
                let value = if *op == CompareOp::Gt { after(value) } else { None }
                    .unwrap_or_else(|| value.clone());
                let first = transformed(transform, &function, &value)?.into_iter().next()?;
                // The least numbers are in a partition after all others.
                if Some(&first) == partition_of_least(transform, value.data_type()).as_ref() {
                    return Some(Question::NotNull);
                }
                Question::Compare(CompareOp::GtEq, first)
            }
            CompareOp::Eq | CompareOp::NotEq => Question::NotNull,
        },
        _ => Question::NotNull,
    })
}

/// Where the least numbers are that pass a question, if that is not where their order would have
/// them.
fn wrapped(transform: Transform, of: &PrimitiveType, question: &Question) -> Option<Question> {
    let Question::Compare(CompareOp::Lt | CompareOp::LtEq, _) = question else { return None };
    Some(Question::Compare(CompareOp::Eq, partition_of_least(transform, of)?))
}

/// The partition of the least number, where truncating wraps it around to the other end.
fn partition_of_least(transform: Transform, of: &PrimitiveType) -> Option<Datum> {
    let Transform::Truncate(_) = transform else { return None };
    let least = match of {
        PrimitiveType::Int => Datum::int(i32::MIN),
        PrimitiveType::Long => Datum::long(i64::MIN),
        _ => return None,
    };
    let partition = Function::new(transform).ok()?.value(&least)?;
    (partition != least).then_some(partition)
}

/// What a value may have become, in order. Some writers rounded moments before 1970 up instead of
/// down, some of them only those in the last second of a day, so those are looked for in the next
/// partition too. No writer is known that rounded further down.
fn transformed(transform: Transform, function: &Function, value: &Datum) -> Option<Vec<Datum>> {
    let result = function.value(value)?;
    let is_time =
        matches!(transform, Transform::Year | Transform::Month | Transform::Day | Transform::Hour);
    let next = match result.literal() {
        PrimitiveLiteral::Int(units) if is_time && *units < 0 => match result.data_type() {
            PrimitiveType::Date => Some(Datum::date(units + 1)),
            _ => Some(Datum::int(units + 1)),
        },
        _ => None,
    };
    Some(std::iter::once(result).chain(next).collect())
}

/// The value right before one, of a type whose values can be counted.
fn before(value: &Datum) -> Option<Datum> {
    neighbour(value, -1)
}

/// The value right after one, of a type whose values can be counted.
fn after(value: &Datum) -> Option<Datum> {
    neighbour(value, 1)
}

fn neighbour(value: &Datum, step: i8) -> Option<Datum> {
    use PrimitiveType as P;
    Some(match (value.data_type(), value.literal()) {
        (P::Int, PrimitiveLiteral::Int(value)) => Datum::int(value.checked_add(step.into())?),
        (P::Date, PrimitiveLiteral::Int(value)) => Datum::date(value.checked_add(step.into())?),
        (of, PrimitiveLiteral::Long(value)) => {
            let value = value.checked_add(step.into())?;
            match of {
                P::Long => Datum::long(value),
                P::Timestamp => Datum::timestamp_micros(value),
                P::Timestamptz => Datum::timestamptz_micros(value),
                P::TimestampNs => Datum::timestamp_nanos(value),
                P::TimestamptzNs => Datum::timestamptz_nanos(value),
                _ => return None,
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
