//! Ids of rows, which a table of format version 3 keeps while its manifests are rewritten.
//!
//! A data file's entry says which id its first row has, or says nothing: then ids are counted
//! from the one that the manifest list gives to the whole manifest. A manifest that is written
//! again must say what the old one left to be counted.

use iceberg::spec::{DataFile, ManifestContentType, ManifestFile};

use crate::storage::KnownFile;

/// Counts the ids of a manifest's rows, file by file.
#[derive(Debug, Default)]
pub(crate) struct RowIds {
    /// The id that the next file without one begins with, where rows have ids.
    next: Option<u64>,
    /// The least id that was given to a file.
    first: Option<u64>,
    /// Whether a file has no id.
    gap: bool,
}

impl RowIds {
    /// Those of this manifest.
    pub(crate) fn of(manifest: &ManifestFile) -> Self {
        let next = match manifest.content {
            ManifestContentType::Data => manifest.first_row_id,
            ManifestContentType::Deletes => None,
        };
        Self { next, first: None, gap: false }
    }

    /// Counts on in another manifest.
    pub(super) fn turn_to(&mut self, manifest: &ManifestFile) {
        self.next = Self::of(manifest).next;
    }

    /// The id of the first row of the next live file of the manifest.
    pub(crate) fn first_of(&mut self, file: &impl KnownFile) -> Option<u64> {
        // Ids that were written before the manifest was part of a table with ids mean nothing.
        let next = self.next?;
        let id = file.first_row_id().and_then(|id| u64::try_from(id).ok()).unwrap_or_else(|| {
            self.next = Some(next.saturating_add(file.record_count()));
            next
        });
        self.first = Some(self.first.map_or(id, |first| first.min(id)));
        Some(id)
    }

    /// The id of the first row of the next live file of the manifest, as an entry of another
    /// manifest says it.
    pub(super) fn next(&mut self, file: &DataFile) -> Option<i64> {
        let id = self.first_of(file);
        self.gap |= id.is_none();
        id.and_then(|id| i64::try_from(id).ok())
    }

    /// Takes note of the id of a file that another manifest counted.
    pub(super) fn meet(&mut self, id: Option<i64>) {
        match id.and_then(|id| u64::try_from(id).ok()) {
            Some(id) => self.first = Some(self.first.map_or(id, |first| first.min(id))),
            None => self.gap = true,
        }
    }

    /// Completes a manifest that names files with ids: nothing is left to be counted, so no ids
    /// have to be set aside for it.
    pub(super) const fn settle(&self, written: &mut ManifestFile) {
        if !self.gap && matches!(written.content, ManifestContentType::Data) {
            written.first_row_id = self.first;
        }
    }
}
