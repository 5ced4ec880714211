//! Schemas of manifests and manifest lists in Avro's JSON, with Iceberg's field ids
//! (specification, "Manifests", "Manifest Lists" and appendix A, "Avro").

use iceberg::spec::{FormatVersion, NestedField, PrimitiveType, StructType, Type};
use icecore_core::{Error, Result};
use serde_json::json;

/// The schema of a manifest of files with such partitions.
///
/// # Errors
///
/// `Internal` for a partition field that is no single value.
pub(super) fn entries(version: FormatVersion, partition: &StructType) -> Result<String> {
    let mut file = vec![
        field(134, "content", INT),
        field(100, "file_path", STRING),
        field(101, "file_format", STRING),
        field(102, "partition", &record("r102", &partition_fields(partition)?)),
        field(103, "record_count", LONG),
        field(104, "file_size_in_bytes", LONG),
        optional(108, "column_sizes", &map(117, 118, LONG)),
        optional(109, "value_counts", &map(119, 120, LONG)),
        optional(110, "null_value_counts", &map(121, 122, LONG)),
        optional(137, "nan_value_counts", &map(138, 139, LONG)),
        optional(125, "lower_bounds", &map(126, 127, BYTES)),
        optional(128, "upper_bounds", &map(129, 130, BYTES)),
        optional(131, "key_metadata", BYTES),
        optional(132, "split_offsets", &list(133, LONG)),
        optional(135, "equality_ids", &list(136, INT)),
        optional(140, "sort_order_id", INT),
    ];
    if has_rows_with_ids(version) {
        file.push(optional(142, "first_row_id", LONG));
    }
    // Version 2 has no deletion vectors. Where a table has some all the same, they are to be found.
    file.push(optional(143, "referenced_data_file", STRING));
    file.push(optional(144, "content_offset", LONG));
    file.push(optional(145, "content_size_in_bytes", LONG));
    let entry = [
        field(0, "status", INT),
        optional(1, "snapshot_id", LONG),
        optional(3, "sequence_number", LONG),
        optional(4, "file_sequence_number", LONG),
        field(2, "data_file", &record("r2", &file)),
    ];
    Ok(record("manifest_entry", &entry))
}

/// The schema of a manifest list.
pub(super) fn manifests(version: FormatVersion) -> String {
    let summary = [
        field(509, "contains_null", BOOLEAN),
        optional(518, "contains_nan", BOOLEAN),
        optional(510, "lower_bound", BYTES),
        optional(511, "upper_bound", BYTES),
    ];
    let mut manifest = vec![
        field(500, "manifest_path", STRING),
        field(501, "manifest_length", LONG),
        field(502, "partition_spec_id", INT),
        field(517, "content", INT),
        field(515, "sequence_number", LONG),
        field(516, "min_sequence_number", LONG),
        field(503, "added_snapshot_id", LONG),
        field(504, "added_files_count", INT),
        field(505, "existing_files_count", INT),
        field(506, "deleted_files_count", INT),
        field(512, "added_rows_count", LONG),
        field(513, "existing_rows_count", LONG),
        field(514, "deleted_rows_count", LONG),
        optional(507, "partitions", &list(508, &record("r508", &summary))),
        optional(519, "key_metadata", BYTES),
    ];
    if has_rows_with_ids(version) {
        manifest.push(optional(520, "first_row_id", LONG));
    }
    record("manifest_file", &manifest)
}

/// Whether a version knows ids of rows.
pub(super) fn has_rows_with_ids(version: FormatVersion) -> bool {
    version >= FormatVersion::V3
}

const BOOLEAN: &str = r#""boolean""#;
const INT: &str = r#""int""#;
const LONG: &str = r#""long""#;
const STRING: &str = r#""string""#;
const BYTES: &str = r#""bytes""#;

fn record(name: &str, fields: &[String]) -> String {
    format!(r#"{{"type":"record","name":"{name}","fields":[{}]}}"#, fields.join(","))
}

fn field(id: i32, name: &str, of: &str) -> String {
    format!(r#"{{"name":"{name}","type":{of},"field-id":{id}}}"#)
}

fn optional(id: i32, name: &str, of: &str) -> String {
    format!(r#"{{"name":"{name}","type":["null",{of}],"default":null,"field-id":{id}}}"#)
}

fn list(element: i32, of: &str) -> String {
    format!(r#"{{"type":"array","items":{of},"element-id":{element}}}"#)
}

/// A map whose keys are no text is a list of keys and values.
fn map(key: i32, value: i32, of: &str) -> String {
    let name = format!("k{key}_v{value}");
    let items = record(&name, &[field(key, "key", INT), field(value, "value", of)]);
    format!(r#"{{"type":"array","items":{items},"logicalType":"map"}}"#)
}

fn partition_fields(partition: &StructType) -> Result<Vec<String>> {
    let mut named = Vec::new();
    let fields = partition.fields().iter();
    fields.map(|field| partition_field(field, &mut named)).collect()
}

fn partition_field(field: &NestedField, named: &mut Vec<String>) -> Result<String> {
    let Type::Primitive(of) = field.field_type.as_ref() else {
        return Err(Error::internal(format!("partition field `{}` is no value", field.name)));
    };
    let mut json = json!({
        "name": avro_name(&field.name),
        "type": ["null", primitive(of, field.id, named)],
        "default": null,
        "field-id": field.id,
    });
    if avro_name(&field.name) != field.name {
        json["iceberg-field-name"] = field.name.as_str().into();
    }
    Ok(json.to_string())
}

/// A type in Avro's terms. Types with names are told anew each time, each under a name of its own:
/// not every reader knows what a name alone refers to.
fn primitive(of: &PrimitiveType, id: i32, named: &mut Vec<String>) -> serde_json::Value {
    let mut fixed = |name: String, size: u64| {
        let name = if named.contains(&name) { format!("{name}_{id}") } else { name };
        named.push(name.clone());
        json!({ "type": "fixed", "name": name, "size": size })
    };
    let time = |unit: &str, utc: bool| json!({ "type": "long", "logicalType": format!("timestamp-{unit}"), "adjust-to-utc": utc });
    match of {
        PrimitiveType::Boolean => json!("boolean"),
        PrimitiveType::Int => json!("int"),
        PrimitiveType::Long => json!("long"),
        PrimitiveType::Float => json!("float"),
        PrimitiveType::Double => json!("double"),
        PrimitiveType::String => json!("string"),
        PrimitiveType::Binary => json!("bytes"),
        PrimitiveType::Date => json!({ "type": "int", "logicalType": "date" }),
        PrimitiveType::Time => json!({ "type": "long", "logicalType": "time-micros" }),
        PrimitiveType::Timestamp => time("micros", false),
        PrimitiveType::Timestamptz => time("micros", true),
        PrimitiveType::TimestampNs => time("nanos", false),
        PrimitiveType::TimestamptzNs => time("nanos", true),
        PrimitiveType::Fixed(size) => fixed(format!("fixed_{size}"), *size),
        PrimitiveType::Uuid => {
            let mut uuid = fixed("uuid_fixed".to_owned(), 16);
            uuid["logicalType"] = "uuid".into();
            uuid
        }
        PrimitiveType::Decimal { precision, scale } => {
            let size = decimal_bytes(*precision) as u64;
            let mut decimal = fixed(format!("decimal_{precision}_{scale}"), size);
            decimal["logicalType"] = "decimal".into();
            decimal["precision"] = (*precision).into();
            decimal["scale"] = (*scale).into();
            decimal
        }
    }
}

/// The fewest bytes that hold every number of so many digits.
pub(super) fn decimal_bytes(precision: u32) -> usize {
    let max = 10_i128.checked_pow(precision).map_or(i128::MAX, |past| past - 1);
    let bits = 128 - max.leading_zeros() + 1;
    bits.div_ceil(8) as usize
}

/// A name as Avro takes it, made as other writers make it: in manifests, and in data files too.
pub(crate) fn avro_name(name: &str) -> String {
    let mut made = String::with_capacity(name.len());
    for (place, letter) in name.chars().enumerate() {
        match letter {
            'a'..='z' | 'A'..='Z' | '_' => made.push(letter),
            '0'..='9' if place > 0 => made.push(letter),
            '0'..='9' => made.extend(['_', letter]),
            _ => made.push_str(&format!("_x{:X}", u32::from(letter))),
        }
    }
    if made.is_empty() { "_".to_owned() } else { made }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_as_avro_takes_them() {
        let cases =
            [("day", "day"), ("a b", "a_x20b"), ("9lives", "_9lives"), ("größe", "gr_xF6_xDFe")];
        for (name, made) in cases {
            assert_eq!(avro_name(name), made);
        }
    }

    #[test]
    fn decimals_take_the_bytes_that_the_specification_gives_them() {
        for precision in 1..=38 {
            let wanted = Type::decimal_required_bytes(precision).unwrap();
            assert_eq!(decimal_bytes(precision), wanted as usize, "{precision}");
        }
    }
}
