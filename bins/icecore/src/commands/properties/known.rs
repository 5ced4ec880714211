//! Names of properties that mean something to Iceberg's engines, to tell a name that was mistyped.

use icecore_core::Error;

/// Iceberg's own names, and ours.
const KNOWN: &[&str] = &[
    "commit.manifest-merge.enabled",
    "commit.manifest.min-count-to-merge",
    "commit.manifest.target-size-bytes",
    "commit.retry.max-wait-ms",
    "commit.retry.min-wait-ms",
    "commit.retry.num-retries",
    "commit.retry.total-timeout-ms",
    "gc.enabled",
    "history.expire.max-ref-age-ms",
    "history.expire.max-snapshot-age-ms",
    "history.expire.min-snapshots-to-keep",
    "icecore.quick-codec.enabled",
    "icecore.version-hint.enabled",
    "read.parquet.vectorization.batch-size",
    "read.parquet.vectorization.enabled",
    "read.split.metadata-target-size",
    "read.split.open-file-cost",
    "read.split.planning-lookback",
    "read.split.target-size",
    "schema.name-mapping.default",
    "write.avro.compression-codec",
    "write.avro.compression-level",
    "write.data.path",
    "write.delete.distribution-mode",
    "write.delete.format.default",
    "write.delete.isolation-level",
    "write.delete.mode",
    "write.delete.target-file-size-bytes",
    "write.distribution-mode",
    "write.folder-storage.path",
    "write.format.default",
    "write.merge.distribution-mode",
    "write.merge.isolation-level",
    "write.merge.mode",
    "write.metadata.compression-codec",
    "write.metadata.delete-after-commit.enabled",
    "write.metadata.metrics.default",
    "write.metadata.metrics.max-inferred-column-defaults",
    "write.metadata.path",
    "write.metadata.previous-versions-max",
    "write.object-storage.enabled",
    "write.object-storage.path",
    "write.overwrite.isolation-level",
    "write.parquet.bloom-filter-max-bytes",
    "write.parquet.compression-codec",
    "write.parquet.compression-level",
    "write.parquet.dict-size-bytes",
    "write.parquet.page-row-limit",
    "write.parquet.page-size-bytes",
    "write.parquet.row-group-size-bytes",
    "write.spark.fanout.enabled",
    "write.summary.partition-limit",
    "write.target-file-size-bytes",
    "write.update.distribution-mode",
    "write.update.isolation-level",
    "write.update.mode",
    "write.wap.enabled",
];

/// What a name was perhaps to be, where it means nothing and is almost one that does.
pub(crate) fn mistyped(name: &str) -> Option<String> {
    // The rest of such a name is a column's.
    if KNOWN.contains(&name) || name.contains(".column.") {
        return None;
    }
    let near = Error::invalid(name).with_candidates(name, KNOWN.iter().copied());
    near.help().map(|help| format!("nothing reads `{name}`; {help}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_almost_one_is_told_and_ones_own_are_not() {
        let found = mistyped("write.parquet.compression-codek").unwrap();
        assert!(found.ends_with("did you mean `write.parquet.compression-codec`?"), "{found}");
        for name in [
            "write.merge.mode",
            "owner",
            "training-dataset.v3.row_count",
            "write.parquet.bloom-filter-enabled.column.user",
        ] {
            assert_eq!(mistyped(name), None, "{name}");
        }
    }
}
