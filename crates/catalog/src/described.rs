//! Descriptions of files, told again with something changed, and of their partitions: in words, and
//! in a form in which they compare.

use arrow::temporal_conversions::{timestamp_ns_to_datetime, timestamp_us_to_datetime};
use iceberg::spec::{
    DataFile, DataFileBuilder, Literal, PartitionSpec, PrimitiveLiteral, PrimitiveType, Schema,
    Struct, Transform, Type,
};

/// Days before and after 1970 that the iceberg crate's calendar certainly has.
pub(crate) const CALENDAR_DAYS: i32 = 90_000_000;

/// A partition in words, for people: `field=value/field=value`. `None` where the columns of its spec
/// are not in the schema any more.
pub(crate) fn partition_in_words(
    spec: &PartitionSpec,
    schema: &Schema,
    partition: &Struct,
) -> Option<String> {
    let types = spec.partition_type(schema).ok()?;
    let fields = spec.fields().iter().zip(types.fields()).zip(partition.iter());
    let words: Vec<String> = fields
        .map(|((field, typed), value)| {
            format!("{}={}", field.name, in_words(field.transform, &typed.field_type, value))
        })
        .collect();
    Some(words.join("/"))
}

/// A value of a partition field in words, for people.
pub(crate) fn in_words(transform: Transform, of: &Type, value: Option<&Literal>) -> String {
    match value {
        Some(Literal::Primitive(odd)) if !has_words(of, value) => odd_in_words(of, odd),
        value => transform.to_human_string(of, value),
    }
}

/// A value that the iceberg crate has no words for: a moment that a calendar has as that, anything
/// else as its number.
fn odd_in_words(of: &Type, value: &PrimitiveLiteral) -> String {
    let moment = match (of, value) {
        (Type::Primitive(PrimitiveType::Timestamptz), PrimitiveLiteral::Long(micros)) => {
            timestamp_us_to_datetime(*micros)
        }
        (Type::Primitive(PrimitiveType::TimestamptzNs), PrimitiveLiteral::Long(nanos)) => {
            timestamp_ns_to_datetime(*nanos)
        }
        _ => None,
    };
    match (moment, value) {
        (Some(moment), _) => format!("{moment} UTC"),
        (None, PrimitiveLiteral::Int(number)) => number.to_string(),
        (None, PrimitiveLiteral::Long(number)) => number.to_string(),
        (None, PrimitiveLiteral::Int128(number)) => number.to_string(),
        (None, PrimitiveLiteral::UInt128(number)) => number.to_string(),
        (None, _) => "odd".to_owned(),
    }
}

/// Whether the iceberg crate has words for a value: it has none, and panics, for moments before 1970
/// with a time zone, for dates and numbers beyond what its calendar and its decimals know, for
/// numbers from before their column became wider, and for values that are not of their type.
fn has_words(of: &Type, value: Option<&Literal>) -> bool {
    const DAYS: i32 = CALENDAR_DAYS;
    const MICROS: i64 = DAYS as i64 * 86_400_000_000;
    let (Type::Primitive(of), Some(Literal::Primitive(value))) = (of, value) else { return true };
    match (of, value) {
        (PrimitiveType::Date, PrimitiveLiteral::Int(days)) => (-DAYS..=DAYS).contains(days),
        (PrimitiveType::Time, PrimitiveLiteral::Long(micros)) => {
            (0..86_400_000_000).contains(micros)
        }
        (PrimitiveType::Timestamp, PrimitiveLiteral::Long(micros)) => {
            (-MICROS..=MICROS).contains(micros)
        }
        (PrimitiveType::Timestamptz, PrimitiveLiteral::Long(micros)) => {
            (0..=MICROS).contains(micros)
        }
        (PrimitiveType::TimestamptzNs, PrimitiveLiteral::Long(nanos)) => *nanos >= 0,
        (PrimitiveType::Decimal { scale, .. }, PrimitiveLiteral::Int128(number)) => {
            *scale <= 28 && number.unsigned_abs() < 1 << 95
        }
        (PrimitiveType::Int, PrimitiveLiteral::Int(_))
        | (PrimitiveType::Long, PrimitiveLiteral::Long(_))
        | (PrimitiveType::TimestampNs, PrimitiveLiteral::Long(_))
        | (PrimitiveType::Uuid, PrimitiveLiteral::UInt128(_)) => true,
        // Those that it has words for whatever their type is.
        (_, value) => matches!(
            value,
            PrimitiveLiteral::Boolean(_)
                | PrimitiveLiteral::Float(_)
                | PrimitiveLiteral::Double(_)
                | PrimitiveLiteral::String(_)
                | PrimitiveLiteral::Binary(_)
        ),
    }
}

/// A partition whose values are as wide as they get: one that was written before a column became
/// wider is the same as one that was written since.
pub(crate) fn wide_partition(partition: &Struct) -> Struct {
    let widest = |value: &Literal| match value {
        Literal::Primitive(value) => Literal::Primitive(wide(value)),
        other => other.clone(),
    };
    partition.iter().map(|value| value.map(widest)).collect()
}

/// A value of a partition in the widest type that its column may have.
pub(crate) fn wide(value: &PrimitiveLiteral) -> PrimitiveLiteral {
    match value {
        PrimitiveLiteral::Int(value) => PrimitiveLiteral::Long((*value).into()),
        PrimitiveLiteral::Float(value) => PrimitiveLiteral::Double(f64::from(value.0).into()),
        other => other.clone(),
    }
}

/// Everything that is said of a file but its partition spec's id, which a description does not
/// show; a manifest has that for all its files.
pub(crate) fn told_again(file: &DataFile) -> DataFileBuilder {
    let mut builder = DataFileBuilder::default();
    builder
        .content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .key_metadata(file.key_metadata().map(<[u8]>::to_vec))
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .equality_ids(file.equality_ids())
        .first_row_id(file.first_row_id())
        .referenced_data_file(file.referenced_data_file())
        .content_offset(file.content_offset())
        .content_size_in_bytes(file.content_size_in_bytes());
    if let Some(order) = file.sort_order_id() {
        builder.sort_order_id(order);
    }
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_from_before_its_column_became_wider_has_words() {
        let of = Type::Primitive(PrimitiveType::Long);
        assert_eq!(in_words(Transform::Identity, &of, Some(&Literal::int(5))), "5");
        // A transform that is not known has texts, whatever the file says.
        let of = Type::Primitive(PrimitiveType::String);
        assert_eq!(in_words(Transform::Unknown, &of, Some(&Literal::int(5))), "5");
    }

    #[test]
    fn a_moment_before_1970_has_the_words_of_those_after() {
        let of = Type::Primitive(PrimitiveType::Timestamptz);
        let words = |micros: i64| in_words(Transform::Identity, &of, Some(&Literal::long(micros)));
        assert_eq!(words(500_000), "1970-01-01 00:00:00.500 UTC");
        assert_eq!(words(-500_000), "1969-12-31 23:59:59.500 UTC");
        assert_eq!(words(-86_400_000_000), "1969-12-31 00:00:00 UTC");
    }

    #[test]
    fn every_value_has_words() {
        let types = [
            PrimitiveType::Date,
            PrimitiveType::Time,
            PrimitiveType::Timestamp,
            PrimitiveType::Timestamptz,
            PrimitiveType::TimestampNs,
            PrimitiveType::TimestamptzNs,
            PrimitiveType::Decimal { precision: 38, scale: 30 },
            PrimitiveType::Decimal { precision: 38, scale: 2 },
        ];
        for of in types {
            for number in [i64::MIN, -86_400_000_123, -1, 0, 1, i64::MAX] {
                let value = match of {
                    PrimitiveType::Date => {
                        Literal::int(number.clamp(-1 << 31, (1 << 31) - 1) as i32)
                    }
                    PrimitiveType::Decimal { .. } => {
                        let wide = i128::from(number) * i128::from(i64::MAX);
                        Literal::Primitive(PrimitiveLiteral::Int128(wide))
                    }
                    _ => Literal::long(number),
                };
                let of = Type::Primitive(of.clone());
                assert!(!in_words(Transform::Identity, &of, Some(&value)).is_empty());
            }
        }
    }
}
