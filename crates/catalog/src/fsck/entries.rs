//! What manifests say: each alone, and all of them about the same file.

use std::collections::HashMap;

use iceberg::spec::{
    DataContentType, DataFile, Manifest, ManifestContentType, ManifestEntry, ManifestFile,
    ManifestStatus, TableMetadata,
};

use super::finding::{FindingKind, Findings, TableCheck};
use crate::commit::RowIds;

/// What tells a file from others: its path, and for one of several deletion vectors of a file its
/// place in there.
pub(super) type FileKey = (String, Option<i64>);

/// A file that some snapshot holds.
#[derive(Debug)]
pub(super) struct StoredFile {
    pub(super) file: DataFile,
    pub(super) spec_id: i32,
    /// A manifest that names it.
    pub(super) manifest: String,
}

/// All files of all snapshots.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// In the order in which they were met.
    pub(super) files: Vec<StoredFile>,
    pub(super) by_key: HashMap<FileKey, usize>,
    pub(super) manifests: Vec<ManifestFile>,
    pub(super) snapshots: u64,
}

impl Contents {
    pub(super) fn count(&self, check: &mut TableCheck) {
        let is_data = |of: &&StoredFile| of.file.content_type() == DataContentType::Data;
        let data = self.files.iter().filter(is_data).count();
        check.snapshots = self.snapshots;
        check.manifests = self.manifests.len() as u64;
        check.data_files = data as u64;
        check.delete_files = (self.files.len() - data) as u64;
        check.bytes = self.files.iter().map(|of| bytes_of(&of.file)).sum();
    }

    /// Adds the files of a manifest, and checks it by itself.
    pub(super) fn add(
        &mut self,
        manifest: &Manifest,
        (listed, metadata): (&ManifestFile, &TableMetadata),
        findings: &mut Findings,
    ) -> Entries {
        let mut entries = Entries::default();
        let mut check = ManifestCheck { listed, findings };
        check.header(manifest, metadata);
        check.counts(manifest);
        let mut ids = RowIds::of(listed);
        for entry in manifest.entries() {
            check.entry(entry, metadata);
            let changed = Change::of(entry);
            if entry.is_alive() {
                let index = self.intern(entry, listed, check.findings);
                entries.live.push(index);
                let first = ids.first_of(entry.data_file());
                entries.row_ids.extend(first.map(|first| (first, index)));
            }
            entries.changes.extend(changed);
        }
        self.manifests.push(listed.clone());
        entries
    }

    fn intern(
        &mut self,
        entry: &ManifestEntry,
        listed: &ManifestFile,
        findings: &mut Findings,
    ) -> usize {
        let file = entry.data_file();
        let index = self.files.len();
        let known = *self.by_key.entry(key_of(file)).or_insert(index);
        match self.files.get(known) {
            Some(same) if differs(&same.file, file) => findings.add(
                FindingKind::BadEntry,
                &listed.manifest_path,
                format!("it describes `{}` unlike `{}` does", file.file_path(), same.manifest),
            ),
            Some(_) => {}
            None => self.files.push(StoredFile {
                file: file.clone(),
                spec_id: listed.partition_spec_id,
                manifest: listed.manifest_path.clone(),
            }),
        }
        known
    }
}

fn key_of(file: &DataFile) -> FileKey {
    (file.file_path().to_owned(), file.content_offset())
}

/// Whether two entries contradict each other. Row ids are given to a file after it was written.
fn differs(one: &DataFile, other: &DataFile) -> bool {
    one.content_type() != other.content_type()
        || one.record_count() != other.record_count()
        || one.file_size_in_bytes() != other.file_size_in_bytes()
        || one.partition() != other.partition()
}

/// The bytes that are a file's own: those of a deletion vector are a part of its file.
pub(super) fn bytes_of(file: &DataFile) -> u64 {
    let part = file.content_size_in_bytes().and_then(|size| u64::try_from(size).ok());
    part.unwrap_or_else(|| file.file_size_in_bytes())
}

/// What one manifest brings into a snapshot.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Live files, by their place in [`Contents::files`].
    pub(super) live: Vec<usize>,
    /// The first ids of the rows of live files, with their files, where rows have ids.
    pub(super) row_ids: Vec<(u64, usize)>,
    pub(super) changes: Vec<Change>,
}

/// That a snapshot added or removed a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    pub(super) snapshot: Option<i64>,
    pub(super) is_added: bool,
    pub(super) content: DataContentType,
    pub(super) records: u64,
}

impl Change {
    fn of(entry: &ManifestEntry) -> Option<Self> {
        (entry.status() != ManifestStatus::Existing).then(|| Self {
            snapshot: entry.snapshot_id(),
            is_added: entry.status() == ManifestStatus::Added,
            content: entry.content_type(),
            records: entry.record_count(),
        })
    }
}

struct ManifestCheck<'a> {
    listed: &'a ManifestFile,
    findings: &'a mut Findings,
}

impl ManifestCheck<'_> {
    fn add(&mut self, kind: FindingKind, message: String) {
        self.findings.add(kind, &self.listed.manifest_path, message);
    }

    /// A manifest's own words about itself, against those of the list.
    fn header(&mut self, manifest: &Manifest, metadata: &TableMetadata) {
        let (header, listed) = (manifest.metadata(), self.listed);
        let spec = header.partition_spec().spec_id();
        if spec != listed.partition_spec_id {
            let listed = listed.partition_spec_id;
            self.add(
                FindingKind::WrongManifest,
                format!("it is of partitioning {spec}, and listed with partitioning {listed}"),
            );
        }
        if *header.content() != listed.content {
            self.add(
                FindingKind::WrongManifest,
                format!(
                    "it is of {:?} files, and listed as of {:?}",
                    header.content(),
                    listed.content
                ),
            );
        }
        if metadata.partition_spec_by_id(listed.partition_spec_id).is_none() {
            let spec = listed.partition_spec_id;
            self.add(FindingKind::UnknownId, format!("its partitioning {spec} is not the table's"));
        }
    }

    fn counts(&mut self, manifest: &Manifest) {
        use ManifestStatus::{Added, Deleted, Existing};
        let listed = self.listed;
        for (status, files, rows) in [
            (Added, listed.added_files_count, listed.added_rows_count),
            (Existing, listed.existing_files_count, listed.existing_rows_count),
            (Deleted, listed.deleted_files_count, listed.deleted_rows_count),
        ] {
            let entries = manifest.entries().iter().filter(|entry| entry.status() == status);
            let (mut found_files, mut found_rows) = (0_u32, 0_u64);
            for entry in entries {
                found_files += 1;
                found_rows += entry.record_count();
            }
            if files.is_some_and(|files| files != found_files) {
                let files = files.unwrap_or_default();
                self.add(
                    FindingKind::WrongManifest,
                    format!("it has {found_files} {status:?} entries, and is listed with {files}"),
                );
            } else if rows.is_some_and(|rows| rows != found_rows) {
                let rows = rows.unwrap_or_default();
                self.add(
                    FindingKind::WrongManifest,
                    format!(
                        "its {status:?} entries have {found_rows} rows, and it is listed with {rows}"
                    ),
                );
            }
        }
    }

    fn entry(&mut self, entry: &ManifestEntry, metadata: &TableMetadata) {
        let (listed, path) = (self.listed, entry.file_path());
        let is_delete = entry.content_type() != DataContentType::Data;
        if is_delete != (listed.content == ManifestContentType::Deletes) {
            let message = format!("`{path}` does not belong into a manifest of this content");
            self.add(FindingKind::BadEntry, message);
        }
        // A file is added or removed by the commit that wrote the manifest; a merged manifest
        // turns older ones into existing entries.
        if entry.status() != ManifestStatus::Existing
            && entry.snapshot_id() != Some(listed.added_snapshot_id)
        {
            let by = entry.snapshot_id().map_or_else(|| "nobody".to_owned(), |id| id.to_string());
            let message = format!(
                "`{path}` is {:?} by snapshot {by}, and the manifest of snapshot {}",
                entry.status(),
                listed.added_snapshot_id
            );
            self.add(FindingKind::WrongManifest, message);
        }
        let Some(sequence) = entry.sequence_number() else {
            self.add(FindingKind::BadEntry, format!("`{path}` has no sequence number"));
            return;
        };
        if sequence > metadata.last_sequence_number() {
            let message =
                format!("`{path}` has sequence number {sequence}, which is not given out");
            self.add(FindingKind::BadEntry, message);
        }
        if entry.is_alive() && sequence < listed.min_sequence_number {
            let message = format!(
                "`{path}` has sequence number {sequence}, and the manifest is listed with {} as \
                 the least",
                listed.min_sequence_number
            );
            self.add(FindingKind::WrongManifest, message);
        }
        self.partition(entry, metadata);
    }

    fn partition(&mut self, entry: &ManifestEntry, metadata: &TableMetadata) {
        let Some(spec) = metadata.partition_spec_by_id(self.listed.partition_spec_id) else {
            return;
        };
        let (values, fields) = (entry.data_file().partition().fields().len(), spec.fields().len());
        if values != fields {
            let message = format!(
                "`{}` has {values} partition values, and its partitioning {fields} fields",
                entry.file_path()
            );
            self.add(FindingKind::BadEntry, message);
        }
    }
}
