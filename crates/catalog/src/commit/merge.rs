//! Merging manifests, so that a table of many small commits stays quick to plan.

use std::collections::BTreeMap;

use iceberg::spec::{ManifestContentType, ManifestFile, PartitionSpecRef, SchemaRef};
use iceberg::table::Table;
use icecore_core::Result;

use super::lineage::RowIds;
use super::manifests::{Known, Producer, load, spec_of};

/// The property that says how many manifests it takes to merge them, and its default.
const MIN_COUNT: (&str, usize) = ("commit.manifest.min-count-to-merge", 100);
/// The property that says how large a merged manifest may get in bytes, and its default.
pub(super) const TARGET_SIZE: (&str, usize) = ("commit.manifest.target-size-bytes", 8 << 20);
/// The property that switches merging off with `false`.
const ENABLED: &str = "commit.manifest-merge.enabled";

/// A property of a table that is a number, or its default.
pub(super) fn setting(head: &Table, (name, default): (&str, usize)) -> usize {
    let stored = head.metadata().properties().get(name);
    stored.and_then(|value| value.parse().ok()).unwrap_or(default)
}

impl Producer<'_> {
    /// Replaces small manifests by one, for each kind of files and partitioning of which there are
    /// many.
    pub(super) async fn merge(&mut self) -> Result<()> {
        let metadata = self.head.metadata();
        if metadata.properties().get(ENABLED).is_some_and(|value| value == "false") {
            return Ok(());
        }
        let (target, enough) =
            (setting(self.head, TARGET_SIZE), setting(self.head, MIN_COUNT).max(2));
        let snapshot = self.snapshot;
        // What this snapshot wrote says what it changed, and stays as it is.
        let small = |file: &ManifestFile| {
            file.added_snapshot_id != snapshot
                && usize::try_from(file.manifest_length).is_ok_and(|length| length < target)
        };
        let mut groups: BTreeMap<(u8, i32), usize> = BTreeMap::new();
        for file in self.manifests.iter().filter(|file| small(file)) {
            *groups.entry(group_of(file)).or_default() += 1;
        }
        groups.retain(|_, count| *count >= enough);
        for group in groups.into_keys() {
            let mut size = 0;
            let mut fits = |file: &ManifestFile| {
                size += usize::try_from(file.manifest_length).unwrap_or(target);
                size <= target
            };
            let (merged, kept): (Vec<_>, Vec<_>) = self
                .manifests
                .drain(..)
                .partition(|file| group_of(file) == group && small(file) && fits(file));
            self.manifests = kept;
            if merged.len() < 2 {
                self.manifests.extend(merged);
            } else {
                let manifest = self.merged(&merged).await?;
                self.manifests.extend(manifest);
            }
        }
        Ok(())
    }

    /// The columns for a manifest that takes the place of this one.
    pub(super) async fn schema_for(
        &self,
        manifest: &ManifestFile,
        spec: &PartitionSpecRef,
    ) -> Result<SchemaRef> {
        let columns = self.head.metadata().current_schema();
        Ok(match spec.partition_type(columns) {
            Ok(_) => columns.clone(),
            // A column that the spec is over was dropped.
            Err(_) => load(self.head, manifest).await?.metadata().schema().clone(),
        })
    }

    /// One manifest that names the live files of these, oldest last as they are.
    async fn merged(&mut self, files: &[ManifestFile]) -> Result<Option<ManifestFile>> {
        let Some(first) = files.first() else { return Ok(None) };
        let spec = spec_of(self.head.metadata(), first)?.clone();
        let schema = self.schema_for(first, &spec).await?;
        let mut writer = self.writer(schema, &spec, first.content)?;
        let mut ids = RowIds::of(first);
        for file in files {
            ids.turn_to(file);
            let manifest = load(self.head, file).await?;
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                let data_file = entry.data_file();
                writer.push(&Known::of(file, entry)?.entry(data_file, ids.next(data_file)))?;
            }
        }
        let mut written = writer.finish(self.head.file_io()).await?;
        ids.settle(&mut written);
        Ok(Some(written))
    }
}

/// Only manifests of the same kind of files and the same partitioning can be merged.
pub(super) const fn group_of(file: &ManifestFile) -> (u8, i32) {
    let content = match file.content {
        ManifestContentType::Data => 0,
        ManifestContentType::Deletes => 1,
    };
    (content, file.partition_spec_id)
}
