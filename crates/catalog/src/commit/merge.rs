//! Merging manifests, so that a table of many small commits stays quick to plan.

use iceberg::spec::{ManifestContentType, ManifestFile};
use icecore_core::{Error, Result};

use super::snapshot::{Producer, load, spec_of};
use crate::error::Context;

/// The property that says how many manifests it takes to merge them, and its default.
const MIN_COUNT: (&str, usize) = ("commit.manifest.min-count-to-merge", 100);
/// The property that says how large a merged manifest may get in bytes, and its default.
const TARGET_SIZE: (&str, usize) = ("commit.manifest.target-size-bytes", 8 << 20);
/// The property that switches merging off with `false`.
const ENABLED: &str = "commit.manifest-merge.enabled";

impl Producer<'_> {
    fn setting(&self, (name, default): (&str, usize)) -> usize {
        let stored = self.head.metadata().properties().get(name);
        stored.and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    /// Replaces small manifests of data files by one, once there are many.
    pub(super) async fn merge(&mut self) -> Result<()> {
        let metadata = self.head.metadata();
        if metadata.properties().get(ENABLED).is_some_and(|value| value == "false") {
            return Ok(());
        }
        let target = self.setting(TARGET_SIZE);
        let snapshot = self.snapshot;
        let spec_id = metadata.default_partition_spec_id();
        // What this snapshot wrote says what it changed, and stays as it is.
        let small = |file: &ManifestFile| {
            file.content == ManifestContentType::Data
                && file.partition_spec_id == spec_id
                && file.added_snapshot_id != snapshot
                && usize::try_from(file.manifest_length).is_ok_and(|length| length < target)
        };
        if self.manifests.iter().filter(|file| small(file)).count() < self.setting(MIN_COUNT).max(2)
        {
            return Ok(());
        }
        let mut size = 0;
        let mut fits = |file: &ManifestFile| {
            size += usize::try_from(file.manifest_length).unwrap_or(target);
            size <= target
        };
        let (merged, kept): (Vec<_>, Vec<_>) =
            self.manifests.drain(..).partition(|file| small(file) && fits(file));
        self.manifests = kept;
        if merged.len() < 2 {
            self.manifests.extend(merged);
        } else {
            let manifest = self.merged(&merged).await?;
            self.manifests.extend(manifest);
        }
        Ok(())
    }

    /// One manifest that names the live files of these, oldest last as they are.
    async fn merged(&mut self, files: &[ManifestFile]) -> Result<Option<ManifestFile>> {
        let Some(first) = files.first() else { return Ok(None) };
        let metadata = self.head.metadata();
        let spec = spec_of(metadata, first)?.clone();
        let schema = metadata.current_schema().clone();
        let mut writer = self.writer(schema, &spec, ManifestContentType::Data)?;
        let cannot = || "cannot merge manifests";
        for file in files {
            let manifest = load(self.head.file_io(), file).await?;
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                let (Some(sequence), Some(added_by)) =
                    (entry.sequence_number(), entry.snapshot_id())
                else {
                    return Err(Error::corrupt(format!(
                        "manifest `{}` does not say when `{}` was added",
                        file.manifest_path,
                        entry.file_path()
                    )));
                };
                let (data_file, file_sequence) =
                    (entry.data_file().clone(), entry.file_sequence_number);
                writer
                    .add_existing_file(data_file, added_by, sequence, file_sequence)
                    .context(cannot)?;
            }
        }
        writer.write_manifest_file().await.context(cannot).map(Some)
    }
}
