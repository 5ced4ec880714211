//! Where among the rows of a table those can be that have one of these keys.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::{max, max_string, min, min_string};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use icecore_core::{CompareOp, Date, Literal, Predicate, Timestamp};

/// Up to so many keys are asked for one by one, which bloom filters and buckets can answer too.
const LISTED_MAX: usize = 256;

/// What every row passes that has one of these keys.
pub(super) fn around(names: &[String], columns: &[ArrayRef]) -> Predicate {
    let parts = names.iter().zip(columns).filter_map(|(name, column)| {
        let inside = match listed(column) {
            Some(values) => Predicate::In(name.clone(), values),
            None => {
                let (least, greatest) = ends(column)?;
                Predicate::And(vec![
                    Predicate::compare(name, CompareOp::GtEq, least),
                    Predicate::compare(name, CompareOp::LtEq, greatest),
                ])
            }
        };
        if column.null_count() == 0 {
            return Some(inside);
        }
        Some(Predicate::Or(vec![Predicate::IsNull(name.clone()), inside]))
    });
    Predicate::And(parts.collect())
}

/// The values of a column, each once, if they are few and literals can say them.
fn listed(column: &ArrayRef) -> Option<Vec<Literal>> {
    match column.data_type() {
        DataType::Int32 => few::<Int32Type>(column, |value| Literal::Int(value.into())),
        DataType::Int64 => few::<Int64Type>(column, Literal::Int),
        DataType::Date32 => few::<Date32Type>(column, |days| Literal::Date(Date::from_days(days))),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            few::<TimestampMicrosecondType>(column, |micros| {
                Literal::Timestamp(Timestamp::from_micros(micros))
            })
        }
        DataType::Utf8 => {
            let mut values = BTreeSet::new();
            for value in column.as_string::<i32>().iter().flatten() {
                values.insert(value);
                if values.len() > LISTED_MAX {
                    return None;
                }
            }
            Some(values.into_iter().map(|text| Literal::Text(text.to_owned())).collect())
        }
        _ => None,
    }
}

fn few<T>(column: &ArrayRef, literal: impl Fn(T::Native) -> Literal) -> Option<Vec<Literal>>
where
    T: ArrowPrimitiveType,
    T::Native: Ord,
{
    let column: &PrimitiveArray<T> = column.as_primitive();
    let mut values = BTreeSet::new();
    for value in column.iter().flatten() {
        values.insert(value);
        if values.len() > LISTED_MAX {
            return None;
        }
    }
    Some(values.into_iter().map(literal).collect())
}

/// The least and the greatest value of a column, if there are values and literals can say them.
fn ends(column: &ArrayRef) -> Option<(Literal, Literal)> {
    let both = |least: Option<Literal>, greatest: Option<Literal>| least.zip(greatest);
    match column.data_type() {
        DataType::Int32 => {
            let column = column.as_primitive::<Int32Type>();
            let literal = |value: i32| Literal::Int(value.into());
            both(min(column).map(literal), max(column).map(literal))
        }
        DataType::Int64 => {
            let column = column.as_primitive::<Int64Type>();
            both(min(column).map(Literal::Int), max(column).map(Literal::Int))
        }
        DataType::Date32 => {
            let column = column.as_primitive::<Date32Type>();
            let literal = |days| Literal::Date(Date::from_days(days));
            both(min(column).map(literal), max(column).map(literal))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let column = column.as_primitive::<TimestampMicrosecondType>();
            let literal = |micros| Literal::Timestamp(Timestamp::from_micros(micros));
            both(min(column).map(literal), max(column).map(literal))
        }
        DataType::Utf8 => {
            let column = column.as_string::<i32>();
            let literal = |text: &str| Literal::Text(text.to_owned());
            both(min_string(column).map(literal), max_string(column).map(literal))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    #[test]
    fn few_keys_are_listed_and_many_are_bounded() {
        let few: ArrayRef =
            Arc::new(StringArray::from(vec![Some("b"), None, Some("a"), Some("b")]));
        let many: ArrayRef = Arc::new(Int64Array::from_iter_values((0..1000).rev()));
        let names = ["few".to_owned(), "many".to_owned()];
        let listed = Predicate::In(
            "few".to_owned(),
            vec![Literal::Text("a".to_owned()), Literal::Text("b".to_owned())],
        );
        assert_eq!(
            around(&names, &[few, many]),
            Predicate::And(vec![
                Predicate::Or(vec![Predicate::IsNull("few".to_owned()), listed]),
                Predicate::And(vec![
                    Predicate::compare("many", CompareOp::GtEq, Literal::Int(0)),
                    Predicate::compare("many", CompareOp::LtEq, Literal::Int(999)),
                ]),
            ])
        );
    }
}
