//! What data files are called.

use iceberg::spec::{PartitionSpec, Schema, Struct};
use icecore_core::Result;
use uuid::Uuid;

use crate::described::in_words;
use crate::error::Context as _;

const VALUE_CHARS: usize = 64;

/// The path of the commit's `number`-th data file below where data files go.
pub(super) fn data_file_path(
    location: &str,
    partition: &str,
    commit: Uuid,
    number: usize,
) -> String {
    format!("{location}/{partition}{commit}-{number:05}.parquet")
}

/// The directories of a partition, each with a slash at its end: `ts_day=2024-01-31/`.
///
/// They are for people; readers go by the manifest. So a value is cut and spelled with letters that
/// every file system and URL takes, and two values may share a directory.
pub(super) fn partition_directories(
    schema: &Schema,
    spec: &PartitionSpec,
    partition: &Struct,
) -> Result<String> {
    let types = spec.partition_type(schema).context(|| "cannot name a partition")?;
    let fields = spec.fields().iter().zip(types.fields()).zip(partition.iter());
    let directories = fields.map(|((field, typed), value)| {
        let value = in_words(field.transform, &typed.field_type, value);
        format!("{}={}/", plain(&field.name), plain(&value))
    });
    Ok(directories.collect())
}

fn plain(text: &str) -> String {
    let letters = text.chars().take(VALUE_CHARS);
    letters
        .map(|letter| match letter {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => letter,
            _ => '_',
        })
        .collect()
}

/// The path of the commit's `number`-th delete file.
pub(super) fn delete_file_path(
    location: &str,
    commit: Uuid,
    number: usize,
    extension: &str,
) -> String {
    let location = location.trim_end_matches('/');
    format!("{location}/data/{commit}-{number:05}-deletes.{extension}")
}
