//! Where a file of an older partitioning lies among the partitions of a newer one.

use iceberg::spec::{
    DataContentType, DataFile, Datum, Literal, PartitionField, PartitionSpec, PrimitiveLiteral,
    PrimitiveType, Struct, Transform, Type,
};

use super::partitions::Touched;
use crate::described::wide;
use crate::transform::Function;

/// Where a file lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// All of its rows lie in one of the partitions.
    Inside,
    /// No row of it does.
    Outside,
    /// Neither is certain.
    Across,
}

/// What is known of a partition field's values in a file.
#[derive(Debug)]
enum Values {
    /// All are this one.
    One(Option<Literal>),
    /// They lie between these, or are null if they may be.
    Between {
        lower: PrimitiveLiteral,
        upper: PrimitiveLiteral,
        nulls: bool,
    },
    Unknown,
}

/// Finds out where a file lies that was written under another spec than that of the partitions.
pub(super) fn place(touched: &Touched, spec: &PartitionSpec, file: &DataFile) -> Place {
    let fields = touched.spec.fields();
    let values: Vec<Values> =
        fields.iter().map(|field| values_of(field, touched, spec, file).widened()).collect();
    let one = |values: &Values| match values {
        Values::One(value) => Some(value.clone()),
        Values::Between { .. } | Values::Unknown => None,
    };
    if let Some(tuple) = values.iter().map(one).collect::<Option<Vec<Option<Literal>>>>() {
        let tuple: Struct = tuple.into_iter().collect();
        return if touched.tuples.contains(&tuple) { Place::Inside } else { Place::Outside };
    }
    let meets =
        |tuple: &Struct| tuple.iter().zip(&values).all(|(value, values)| values.may_be(value));
    if touched.tuples.iter().any(meets) { Place::Across } else { Place::Outside }
}

impl Values {
    /// The same in the form of the partitions that they are compared with.
    fn widened(self) -> Self {
        match self {
            Self::One(Some(Literal::Primitive(value))) => {
                Self::One(Some(Literal::Primitive(wide(&value))))
            }
            Self::Between { lower, upper, nulls } => {
                Self::Between { lower: wide(&lower), upper: wide(&upper), nulls }
            }
            other => other,
        }
    }

    fn may_be(&self, value: Option<&Literal>) -> bool {
        match (self, value) {
            (Self::One(one), value) => one.as_ref() == value,
            (Self::Between { nulls, .. }, None) => *nulls,
            (Self::Between { lower, upper, .. }, Some(Literal::Primitive(value))) => {
                lower <= value && value <= upper
            }
            (Self::Between { .. } | Self::Unknown, _) => true,
        }
    }
}

fn values_of(
    field: &PartitionField,
    touched: &Touched,
    spec: &PartitionSpec,
    file: &DataFile,
) -> Values {
    if field.transform == Transform::Void {
        return Values::One(None);
    }
    let source = touched.schema.field_by_id(field.source_id);
    let Some(Type::Primitive(source)) = source.map(|source| source.field_type.as_ref()) else {
        return Values::Unknown;
    };
    for (older, value) in spec.fields().iter().zip(file.partition().iter()) {
        if older.source_id == field.source_id
            && let Some(value) = follows(&field.transform, &older.transform, value, source)
        {
            return Values::One(value);
        }
    }
    if file.content_type() == DataContentType::Data {
        within_bounds(field, source, file)
    } else {
        Values::Unknown
    }
}

/// The value of a transform where it follows from that of another one of the same column.
fn follows(
    wanted: &Transform,
    known: &Transform,
    value: Option<&Literal>,
    source: &PrimitiveType,
) -> Option<Option<Literal>> {
    if wanted == known {
        return Some(value.cloned());
    }
    if *known == Transform::Void {
        return None;
    }
    let Some(Literal::Primitive(value)) = value else {
        // A null has null as its transform, and nothing else has.
        return value.is_none().then_some(None);
    };
    let days = |days: i32| apply(wanted, &Datum::date(days)).map(Some);
    match (known, wanted, value) {
        (Transform::Identity, _, value) => apply(wanted, &datum(source, value)?).map(Some),
        (Transform::Bucket(many), Transform::Bucket(few), PrimitiveLiteral::Int(bucket))
            if *few > 0 && many % few == 0 =>
        {
            Some(Some(Literal::int(bucket.rem_euclid(i32::try_from(*few).ok()?))))
        }
        (Transform::Hour, Transform::Day, PrimitiveLiteral::Int(hours)) => {
            Some(Some(Literal::date(hours.div_euclid(24))))
        }
        (Transform::Hour, Transform::Month | Transform::Year, PrimitiveLiteral::Int(hours)) => {
            days(hours.div_euclid(24))
        }
        (Transform::Day, Transform::Month | Transform::Year, PrimitiveLiteral::Int(value)) => {
            days(*value)
        }
        (Transform::Month, Transform::Year, PrimitiveLiteral::Int(months)) => {
            Some(Some(Literal::int(months.div_euclid(12))))
        }
        _ => None,
    }
}

/// A value as a datum of this type.
fn datum(of: &PrimitiveType, value: &PrimitiveLiteral) -> Option<Datum> {
    let bytes = match value {
        PrimitiveLiteral::Boolean(value) => vec![u8::from(*value)],
        PrimitiveLiteral::Int(value) => value.to_le_bytes().to_vec(),
        PrimitiveLiteral::Long(value) => value.to_le_bytes().to_vec(),
        PrimitiveLiteral::Float(value) => value.to_le_bytes().to_vec(),
        PrimitiveLiteral::Double(value) => value.to_le_bytes().to_vec(),
        PrimitiveLiteral::String(value) => value.clone().into_bytes(),
        PrimitiveLiteral::Binary(value) => value.clone(),
        PrimitiveLiteral::Int128(value) => value.to_be_bytes().to_vec(),
        PrimitiveLiteral::UInt128(value) => value.to_be_bytes().to_vec(),
        PrimitiveLiteral::AboveMax | PrimitiveLiteral::BelowMin => return None,
    };
    Datum::try_from_bytes(&bytes, of.clone()).ok()
}

fn apply(transform: &Transform, value: &Datum) -> Option<Literal> {
    let result = Function::new(*transform).ok()?.value(value)?;
    Some(Literal::Primitive(result.literal().clone()))
}

/// What the statistics of a data file say.
fn within_bounds(field: &PartitionField, source: &PrimitiveType, file: &DataFile) -> Values {
    let nulls = file.null_value_counts().get(&field.source_id).copied();
    if nulls == Some(file.record_count()) {
        return Values::One(None);
    }
    // Bounds say nothing about NaN.
    let has_bounds = field.transform.preserves_order()
        && !matches!(source, PrimitiveType::Float | PrimitiveType::Double);
    if !has_bounds {
        return Values::Unknown;
    }
    let bound = |bounds: &std::collections::HashMap<i32, Datum>| {
        let bound = bounds.get(&field.source_id)?.clone();
        let bound = bound.to(&Type::Primitive(source.clone())).ok()?;
        match apply(&field.transform, &bound)? {
            Literal::Primitive(value) => Some(value),
            Literal::Struct(_) | Literal::List(_) | Literal::Map(_) => None,
        }
    };
    match (bound(file.lower_bounds()), bound(file.upper_bounds())) {
        (Some(lower), Some(upper)) if lower == upper && nulls == Some(0) => {
            Values::One(Some(Literal::Primitive(lower)))
        }
        // The least numbers may be truncated to the greatest.
        (Some(lower), Some(upper)) if lower > upper => Values::Unknown,
        (Some(lower), Some(upper)) => Values::Between { lower, upper, nulls: nulls != Some(0) },
        _ => Values::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_before_1970_lies_on_its_own_day() {
        let late = Literal::timestamptz(-86_400_500_000);
        let of = PrimitiveType::Timestamptz;
        let day = follows(&Transform::Day, &Transform::Identity, Some(&late), &of);
        assert_eq!(day, Some(Some(Literal::date(-2))));
    }

    #[test]
    fn nothing_follows_from_a_day_beyond_the_calendar() {
        let (day, of) = (Literal::date(i32::MAX), PrimitiveType::Timestamptz);
        for wanted in [Transform::Year, Transform::Month] {
            assert_eq!(follows(&wanted, &Transform::Day, Some(&day), &of), None);
        }
    }
}
