//! What a snapshot's summary says: counts of what it changed, and totals.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, PartitionSpecRef, SchemaRef, Struct, TableMetadata,
};

use crate::described::partition_in_words;

/// The property that says of how many changed partitions a summary tells each by itself.
const PARTITION_LIMIT: &str = "write.summary.partition-limit";

/// For each total: its name, and the names of what this snapshot added and removed.
const TOTALS: [(&str, &str, &str); 6] = [
    ("total-data-files", "added-data-files", "deleted-data-files"),
    ("total-delete-files", "added-delete-files", "removed-delete-files"),
    ("total-records", "added-records", "deleted-records"),
    ("total-files-size", "added-files-size", "removed-files-size"),
    ("total-position-deletes", "added-position-deletes", "removed-position-deletes"),
    ("total-equality-deletes", "added-equality-deletes", "removed-equality-deletes"),
];

/// Counts of files and rows that a snapshot added and removed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    all: Counts,
    /// By spec and partition, with the partition's name.
    partitions: HashMap<(i32, Struct), Partition>,
}

#[derive(Debug)]
struct Partition {
    counts: Counts,
    spec: PartitionSpecRef,
    schema: SchemaRef,
}

/// Counts by the name that they have in a summary.
#[derive(Debug, Default)]
struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    fn count(&mut self, file: &DataFile, is_added: bool) {
        let name = |added, removed| if is_added { added } else { removed };
        let mut add = |field, by| *self.0.entry(field).or_insert(0) += by;
        let is_vector = file.file_format() == DataFileFormat::Puffin;
        let size = match file.content_size_in_bytes() {
            // Deletion vectors share a file.
            Some(size) if is_vector => size.unsigned_abs(),
            _ => file.file_size_in_bytes(),
        };
        let rows = file.record_count();
        add(name("added-files-size", "removed-files-size"), size);
        match file.content_type() {
            DataContentType::Data => {
                add(name("added-data-files", "deleted-data-files"), 1);
                add(name("added-records", "deleted-records"), rows);
            }
            DataContentType::PositionDeletes => {
                add(name("added-delete-files", "removed-delete-files"), 1);
                let files = if is_vector {
                    name("added-dvs", "removed-dvs")
                } else {
                    name("added-position-delete-files", "removed-position-delete-files")
                };
                add(files, 1);
                add(name("added-position-deletes", "removed-position-deletes"), rows);
            }
            DataContentType::EqualityDeletes => {
                add(name("added-delete-files", "removed-delete-files"), 1);
                add(name("added-equality-delete-files", "removed-equality-delete-files"), 1);
                add(name("added-equality-deletes", "removed-equality-deletes"), rows);
            }
        }
    }

    /// Those that are not zero.
    fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        let positive = self.0.iter().filter(|(_, count)| **count > 0);
        positive.map(|(name, count)| (*name, count.to_string()))
    }
}

impl Changes {
    pub(super) fn add(&mut self, file: &DataFile, schema: &SchemaRef, spec: &PartitionSpecRef) {
        self.count(file, (schema, spec), true);
    }

    pub(super) fn remove(&mut self, file: &DataFile, schema: &SchemaRef, spec: &PartitionSpecRef) {
        self.count(file, (schema, spec), false);
    }

    fn count(&mut self, file: &DataFile, of: (&SchemaRef, &PartitionSpecRef), is_added: bool) {
        self.all.count(file, is_added);
        let (schema, spec) = of;
        if spec.is_unpartitioned() {
            return;
        }
        let key = (spec.spec_id(), file.partition().clone());
        let partition = self.partitions.entry(key).or_insert_with(|| Partition {
            counts: Counts::default(),
            spec: spec.clone(),
            schema: schema.clone(),
        });
        partition.counts.count(file, is_added);
    }

    /// The fields of a summary that they come to.
    pub(super) fn into_fields(self, metadata: &TableMetadata) -> HashMap<String, String> {
        let mut fields: HashMap<String, String> =
            self.all.fields().map(|(name, count)| (name.to_owned(), count)).collect();
        fields.insert("engine-name".to_owned(), "icecore".to_owned());
        fields.insert("engine-version".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        if self.partitions.is_empty() {
            return fields;
        }
        let changed = self.partitions.len();
        fields.insert("changed-partition-count".to_owned(), changed.to_string());
        let limit = metadata.properties().get(PARTITION_LIMIT).and_then(|limit| limit.parse().ok());
        if changed <= limit.unwrap_or(0) {
            fields.insert("partition-summaries-included".to_owned(), "true".to_owned());
            for ((_, tuple), partition) in &self.partitions {
                // A partition has words only where the columns of its spec are known.
                let Partition { spec, schema, .. } = partition;
                let Some(path) = partition_in_words(spec, schema, tuple) else { continue };
                let counts: Vec<String> = partition
                    .counts
                    .fields()
                    .map(|(name, count)| format!("{name}={count}"))
                    .collect();
                fields.insert(format!("partitions.{path}"), counts.join(","));
            }
        }
        fields
    }
}

/// Counts of a summary that a caller reports. The records of a file that was removed count whole,
/// and those that were deleted in it by position went before, with a delete file that went now.
pub(crate) fn counts(summary: &HashMap<String, String>) -> (u64, u64) {
    let count = |field| count(summary, field).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    let gone_before = count("removed-position-deletes");
    (count("added-records"), count("deleted-records").saturating_sub(gone_before))
}

/// Adds the totals to a summary. A total that the parent does not state is not known, and left
/// out, as the format asks; a table's first snapshot starts from zero.
pub(super) fn add_totals(
    summary: &mut HashMap<String, String>,
    parent: Option<&HashMap<String, String>>,
) {
    for (total, added, removed) in TOTALS {
        let before = match parent {
            Some(parent) => count(parent, total),
            None => Some(0),
        };
        let Some(before) = before else { continue };
        let after =
            before + count(summary, added).unwrap_or(0) - count(summary, removed).unwrap_or(0);
        summary.insert(total.to_owned(), after.max(0).to_string());
    }
}

/// A field of a summary as a number.
pub(super) fn count(summary: &HashMap<String, String>, field: &str) -> Option<i64> {
    summary.get(field)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(of: &[(&str, &str)]) -> HashMap<String, String> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn totals_follow_from_the_parent_and_unknown_ones_stay_unknown() {
        let mut first = fields(&[("added-records", "7"), ("added-data-files", "2")]);
        add_totals(&mut first, None);
        assert_eq!(
            (first["total-records"].as_str(), first["total-delete-files"].as_str()),
            ("7", "0")
        );
        let mut next = fields(&[("added-records", "1"), ("deleted-records", "3")]);
        add_totals(&mut next, Some(&first));
        assert_eq!((next["total-records"].as_str(), next["total-data-files"].as_str()), ("5", "2"));
        let mut after_unknown = fields(&[("added-records", "1")]);
        add_totals(&mut after_unknown, Some(&fields(&[])));
        assert_eq!(after_unknown.get("total-records"), None);
    }
}
