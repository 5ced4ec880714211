//! What a table's properties say about its files.

use std::collections::{BTreeSet, HashMap};

use iceberg::spec::{NestedFieldRef, PrimitiveType, Schema, TableMetadata, Transform, Type};
use icecore_core::{Error, ErrorKind, Result};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::CHUNK_ROWS;

const TARGET_FILE_BYTES: &str = "write.target-file-size-bytes";
const ROW_GROUP_BYTES: &str = "write.parquet.row-group-size-bytes";
const PAGE_BYTES: &str = "write.parquet.page-size-bytes";
const PAGE_ROWS: &str = "write.parquet.page-row-limit";
const DICTIONARY_BYTES: &str = "write.parquet.dict-size-bytes";
const CODEC: &str = "write.parquet.compression-codec";
const LEVEL: &str = "write.parquet.compression-level";
/// Not of the format: whether columns may have another codec than zstd where that is faster to read.
const QUICK: &str = "icecore.quick-codec.enabled";
const BLOOM_FILTER: &str = "write.parquet.bloom-filter-enabled.column.";
const BLOOM_FPP: &str = "write.parquet.bloom-filter-fpp.column.";
const BLOOM_BYTES: &str = "write.parquet.bloom-filter-max-bytes";
const DATA_PATH: &str = "write.data.path";

/// Rows of a page. A page is read as a whole, so where single rows are looked for they are smaller.
const PAGE_ROWS_OF: (usize, usize) = (20_000, 5_000);
/// The dictionary of a column by which single rows are looked for: to find one value it is read as
/// a whole, and of a column of many values it saves nothing.
const KEY_DICTIONARY: usize = 128 << 10;
/// How often a Bloom filter says that a value may be there which is not.
const FPP: f64 = 0.01;

/// The size that files should have.
///
/// # Errors
///
/// `InvalidInput` for a property that is no size.
pub(crate) fn target_bytes(metadata: &TableMetadata) -> Result<usize> {
    Ok(size(metadata.properties(), TARGET_FILE_BYTES)?.unwrap_or(512 << 20))
}

/// The size in memory that row groups should have.
///
/// # Errors
///
/// `InvalidInput` for a property that is no size.
pub(super) fn group_bytes(metadata: &TableMetadata) -> Result<usize> {
    Ok(size(metadata.properties(), ROW_GROUP_BYTES)?.unwrap_or(128 << 20))
}

/// Where data files go, without a slash at the end.
pub(super) fn data_location(metadata: &TableMetadata) -> String {
    match metadata.properties().get(DATA_PATH) {
        Some(path) => path.trim_end_matches('/').to_owned(),
        None => format!("{}/data", metadata.location().trim_end_matches('/')),
    }
}

/// Whether files can be written as a table's properties say.
///
/// # Errors
///
/// Those of [`writer_properties`].
pub(crate) fn check(metadata: &TableMetadata) -> Result<()> {
    target_bytes(metadata)?;
    group_bytes(metadata)?;
    writer_properties(metadata, CHUNK_ROWS).map(|_| ())
}

/// How Parquet files are written.
///
/// # Errors
///
/// `InvalidInput` naming a property whose value is none; `Unsupported` for another codec.
pub(super) fn writer_properties(
    metadata: &TableMetadata,
    group_rows: usize,
) -> Result<WriterProperties> {
    let properties = metadata.properties();
    let page_bytes = number(properties, PAGE_BYTES)?.unwrap_or(1 << 20);
    let keys = key_columns(metadata);
    let page_rows = if keys.is_empty() { PAGE_ROWS_OF.0 } else { PAGE_ROWS_OF.1 };
    let builder = WriterProperties::builder()
        .set_compression(codec(metadata)?.compression())
        // A buffer grows by at most one chunk beyond a row group, and stays one row group.
        .set_max_row_group_row_count(Some(group_rows + CHUNK_ROWS))
        .set_data_page_size_limit(page_bytes)
        .set_data_page_row_count_limit(number(properties, PAGE_ROWS)?.unwrap_or(page_rows))
        .set_dictionary_page_size_limit(number(properties, DICTIONARY_BYTES)?.unwrap_or(2 << 20))
        // Readers skip pages by them.
        .set_statistics_enabled(EnabledStatistics::Page);
    blooms(metadata, (&keys, group_rows), builder).map(WriterPropertiesBuilder::build)
}

/// Bloom filters for columns by which single rows are looked for, and those that properties name.
fn blooms(
    metadata: &TableMetadata,
    (keys, group_rows): (&BTreeSet<i32>, usize),
    mut builder: WriterPropertiesBuilder,
) -> Result<WriterPropertiesBuilder> {
    let (schema, properties) = (metadata.current_schema(), metadata.properties());
    let bytes_max: usize = number(properties, BLOOM_BYTES)?.unwrap_or(1 << 20);
    for (id, path) in leaves(schema.as_struct().fields(), &[]) {
        let Some(name) = schema.name_by_field_id(id) else { continue };
        if keys.contains(&id) && !properties.contains_key(DICTIONARY_BYTES) {
            let path = ColumnPath::new(path.clone());
            builder = builder.set_column_dictionary_page_size_limit(path, KEY_DICTIONARY);
        }
        let wanted = match properties.get(&format!("{BLOOM_FILTER}{name}")) {
            Some(value) => value == "true",
            None => keys.contains(&id),
        };
        if !wanted {
            continue;
        }
        let fpp_name = format!("{BLOOM_FPP}{name}");
        let fpp = number(properties, &fpp_name)?.unwrap_or(FPP);
        if !(fpp > 0.0 && fpp < 1.0) {
            return Err(Error::invalid(format!("table property `{fpp_name}` is `{fpp}`"))
                .with_help("a probability lies between 0 and 1: `0.01`"));
        }
        // The filter is made for this many values, and folded to what they need when it is done.
        let values = values_within(bytes_max, fpp).min(group_rows as u64).max(1);
        let path = ColumnPath::new(path);
        builder = builder
            .set_column_bloom_filter_enabled(path.clone(), true)
            .set_column_bloom_filter_fpp(path.clone(), fpp)
            .set_column_bloom_filter_ndv(path, values);
    }
    Ok(builder)
}

/// How many values a filter of this size takes.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate of a count that is far below 2^53"
)]
fn values_within(bytes: usize, fpp: f64) -> u64 {
    let bits_per_value = -8.0 / (1.0 - fpp.powf(1.0 / 8.0)).ln();
    // Sizes are powers of two, and rounded up.
    ((bytes as f64 * 8.0 / bits_per_value) / 1.01) as u64
}

/// Columns that identify rows, that rows are sorted by, or whose hash says where a row lies.
fn key_columns(metadata: &TableMetadata) -> BTreeSet<i32> {
    let schema = metadata.current_schema();
    let sorted = metadata.default_sort_order().fields.iter();
    let sorted =
        sorted.filter(|field| field.transform == Transform::Identity).map(|field| field.source_id);
    let hashed = metadata.default_partition_spec().fields().iter();
    let hashed = hashed
        .filter(|field| matches!(field.transform, Transform::Bucket(_)))
        .map(|field| field.source_id);
    let keys = schema.identifier_field_ids().chain(sorted).chain(hashed);
    keys.filter(|id| schema.field_by_id(*id).is_some_and(is_looked_for)).collect()
}

/// Whether anybody looks for single values of a column.
fn is_looked_for(field: &NestedFieldRef) -> bool {
    matches!(
        field.field_type.as_ref(),
        Type::Primitive(
            PrimitiveType::Int
                | PrimitiveType::Long
                | PrimitiveType::String
                | PrimitiveType::Uuid
                | PrimitiveType::Binary
                | PrimitiveType::Fixed(_)
                | PrimitiveType::Decimal { .. }
        )
    )
}

/// Columns that hold values, with their paths in a Parquet file.
pub(super) fn leaves(fields: &[NestedFieldRef], above: &[String]) -> Vec<(i32, Vec<String>)> {
    let mut found = Vec::new();
    for field in fields {
        let at = |parts: &[&str]| -> Vec<String> {
            above.iter().cloned().chain(parts.iter().map(|part| (*part).to_owned())).collect()
        };
        let path = at(&[&field.name]);
        match field.field_type.as_ref() {
            Type::Primitive(_) => found.push((field.id, path)),
            Type::Struct(inner) => found.extend(leaves(inner.fields(), &path)),
            Type::List(list) => {
                let path = at(&[&field.name, "list"]);
                found.extend(leaves(std::slice::from_ref(&list.element_field), &path));
            }
            Type::Map(map) => {
                let path = at(&[&field.name, "key_value"]);
                let parts = [map.key_field.clone(), map.value_field.clone()];
                found.extend(leaves(&parts, &path));
            }
        }
    }
    found
}

/// The columns of a schema that an Iceberg property may name.
pub(super) fn named<'p>(
    schema: &Schema,
    properties: &'p HashMap<String, String>,
    prefix: &str,
) -> Vec<(i32, &'p str)> {
    let columns = properties.iter().filter_map(|(name, value)| {
        let field = schema.field_by_name(name.strip_prefix(prefix)?)?;
        Some((field.id, value.as_str()))
    });
    columns.collect()
}

/// How a table compresses its columns.
#[derive(Debug, Clone, Copy)]
pub(super) enum Codec {
    /// All alike.
    One(Compression),
    /// With zstd of this level, but for columns that are read faster from another.
    ByColumn(ZstdLevel),
}

impl Codec {
    /// What columns are compressed with of which nothing else is known.
    pub(super) const fn compression(self) -> Compression {
        match self {
            Self::One(compression) => compression,
            Self::ByColumn(level) => Compression::ZSTD(level),
        }
    }
}

/// How a table compresses its columns.
///
/// # Errors
///
/// `InvalidInput` naming a property whose value is none; `Unsupported` for another codec.
pub(super) fn codec(metadata: &TableMetadata) -> Result<Codec> {
    let properties = metadata.properties();
    let wrong = |level: &dyn std::fmt::Display, error: ParquetError| {
        Error::invalid(format!("table property `{LEVEL}` is `{level}`")).with_source(error)
    };
    let is_quick = match properties.get(QUICK).map(String::as_str) {
        None | Some("true") => true,
        Some("false") => false,
        Some(other) => {
            return Err(Error::invalid(format!("table property `{QUICK}` is `{other}`"))
                .with_help("set it to `true` or `false`"));
        }
    };
    match properties.get(CODEC).map_or("zstd", String::as_str).to_ascii_lowercase().as_str() {
        "zstd" => {
            let level = number(properties, LEVEL)?.unwrap_or(1_i32);
            let level = ZstdLevel::try_new(level).map_err(|error| wrong(&level, error))?;
            let all = Codec::One(Compression::ZSTD(level));
            Ok(if is_quick { Codec::ByColumn(level) } else { all })
        }
        "gzip" => {
            let level = number(properties, LEVEL)?.unwrap_or(6_u32);
            let level = GzipLevel::try_new(level).map_err(|error| wrong(&level, error))?;
            Ok(Codec::One(Compression::GZIP(level)))
        }
        "snappy" => Ok(Codec::One(Compression::SNAPPY)),
        "lz4" | "lz4_raw" => Ok(Codec::One(Compression::LZ4_RAW)),
        "uncompressed" | "none" => Ok(Codec::One(Compression::UNCOMPRESSED)),
        other => Err(Error::new(
            ErrorKind::Unsupported,
            format!("table property `{CODEC}` is `{other}`, which icecore does not write"),
        )
        .with_help("set it to `zstd`, `lz4`, `snappy`, `gzip` or `uncompressed`")),
    }
}

/// A size in bytes. Nothing fits into zero, and whoever filled it would not come to an end.
fn size(properties: &HashMap<String, String>, name: &str) -> Result<Option<usize>> {
    match number::<usize>(properties, name)? {
        Some(0) => Err(Error::invalid(format!("table property `{name}` is `0`"))
            .with_help(format!("set it to a number of bytes, or remove `{name}`"))),
        bytes => Ok(bytes),
    }
}

fn number<N: std::str::FromStr>(
    properties: &HashMap<String, String>,
    name: &str,
) -> Result<Option<N>> {
    let Some(text) = properties.get(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        Error::invalid(format!("table property `{name}` is `{text}`, which is no number"))
    })
}
