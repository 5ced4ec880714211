//! Putting the manifests of a new snapshot together.

use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{
    DataFile, FormatVersion, Manifest, ManifestContentType, ManifestEntry, ManifestFile,
    ManifestStatus, PartitionSpecRef, SchemaRef, SnapshotRef, TableMetadata,
};
use iceberg::table::Table;
use icecore_core::{Error, ErrorKind, Result};

use super::Attempt;
use super::branch::Tip;
use super::delta::{AddedFiles, Delta, FileSet, Removal};
use super::lineage::RowIds;
use super::summary::Changes;
use crate::error::Context;
use crate::storage::{self, Codec, ListKind, ManifestKind, ManifestWriter, NewEntry, write_list};

/// Manifests that are read at once.
pub(super) const MANIFESTS_AT_ONCE: usize = 8;

/// Puts a snapshot's manifests together.
pub(super) struct Producer<'a> {
    pub(super) head: &'a Table,
    /// The snapshot that the new one follows.
    pub(super) parent: Option<&'a SnapshotRef>,
    /// The new snapshot.
    pub(super) snapshot: i64,
    pub(super) attempt: &'a mut Attempt,
    pub(super) changes: Changes,
    /// What the new manifest list will name.
    pub(super) manifests: Vec<ManifestFile>,
}

/// A manifest list that was written.
pub(super) struct WrittenList {
    pub(super) location: String,
    /// The first id that rows may have got from it, and how many, where rows have ids.
    pub(super) row_ids: Option<(u64, u64)>,
}

impl<'a> Producer<'a> {
    /// Begins a snapshot that follows the tip of a branch.
    pub(super) fn new(head: &'a Table, tip: &Tip<'a>, attempt: &'a mut Attempt) -> Self {
        Self {
            head,
            parent: tip.snapshot,
            snapshot: attempt.snapshot_id(head.metadata()),
            attempt,
            changes: Changes::default(),
            manifests: Vec::new(),
        }
    }

    /// Takes over the manifests of the parent, without the files that are to be removed.
    pub(super) async fn keep(&mut self, delta: &Delta<'_>) -> Result<()> {
        let mut gone = Gone::of(delta.removed);
        let metadata = self.head.metadata();
        let Some(parent) = self.parent else { return gone.check(self.head) };
        let list = storage::load_list(self.head, parent).await?;
        let mut touched = Vec::new();
        for manifest in list {
            if !manifest.has_added_files() && !manifest.has_existing_files() {
                continue;
            }
            if delta.removed.may_take(&manifest, metadata)? {
                touched.push(manifest);
            } else {
                self.manifests.push(manifest);
            }
        }
        let head = self.head;
        let mut loaded = stream::iter(touched)
            .map(async |manifest| load(head, &manifest).await.map(|entries| (manifest, entries)))
            .buffered(MANIFESTS_AT_ONCE);
        while let Some((manifest, entries)) = loaded.try_next().await? {
            self.rewrite(manifest, &entries, delta, &mut gone).await?;
        }
        gone.check(head)
    }

    /// Takes over one manifest without the files that are to be removed.
    async fn rewrite(
        &mut self,
        file: ManifestFile,
        manifest: &Manifest,
        delta: &Delta<'_>,
        gone: &mut Gone<'_>,
    ) -> Result<()> {
        let metadata = self.head.metadata();
        let spec = spec_of(metadata, &file)?.clone();
        let mut taken = Vec::new();
        let mut any_left = false;
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let is_old = delta.keeps_after.is_none_or(|after| {
                entry.sequence_number().is_none_or(|sequence| sequence <= after)
            });
            let takes = is_old && delta.removed.takes(metadata, &spec, entry.data_file())?;
            any_left |= !takes;
            taken.push(takes);
        }
        if !taken.contains(&true) {
            if any_left {
                self.manifests.push(file);
            }
            return Ok(());
        }
        let schema = manifest.metadata().schema().clone();
        let mut writer = self.writer(schema.clone(), &spec, file.content)?;
        let mut ids = RowIds::of(&file);
        let live = manifest.entries().iter().filter(|entry| entry.is_alive());
        for (entry, takes) in live.zip(taken) {
            let data_file = entry.data_file();
            let mut entry = Known::of(&file, entry)?.entry(data_file, ids.next(data_file));
            if takes {
                gone.meet(data_file);
                self.changes.remove(data_file, &schema, &spec);
                entry.status = ManifestStatus::Deleted;
                entry.snapshot = self.snapshot;
            }
            writer.push(&entry)?;
        }
        let mut written = writer.finish(self.head.file_io()).await?;
        ids.settle(&mut written);
        self.manifests.push(written);
        Ok(())
    }

    /// Names the new files, in manifests that earlier tries of the commit wrote already if there
    /// were any: what they say does not depend on the state of the table.
    pub(super) async fn add(&mut self, delta: &Delta<'_>) -> Result<()> {
        let mut manifests = Vec::new();
        for (index, added) in delta.added.iter().enumerate() {
            if added.files.is_empty() {
                continue;
            }
            for file in &added.files {
                self.changes.add(file, &added.schema, &added.spec);
            }
            let place = (self.attempt.step, index);
            let manifest = match self.attempt.reuse.manifests.get(&place) {
                Some(manifest) => manifest.clone(),
                None => {
                    let manifest = self.manifest_of(added).await?;
                    self.attempt.reuse.manifests.insert(place, manifest.clone());
                    manifest
                }
            };
            manifests.push(manifest);
        }
        // Newest first, so that planning meets the newest files first.
        self.manifests.splice(0..0, manifests);
        Ok(())
    }

    async fn manifest_of(&mut self, added: &AddedFiles) -> Result<ManifestFile> {
        let location = self.attempt.reused_manifest(self.head.metadata().location());
        let (schema, spec) = (added.schema.clone(), &added.spec);
        let mut writer = self.writer_to(location, schema, spec, added.content)?;
        for file in &added.files {
            writer.push(&NewEntry {
                file,
                status: ManifestStatus::Added,
                snapshot: self.snapshot,
                // What is not said is inherited from the snapshot.
                sequence: added.sequence,
                file_sequence: None,
                first_row_id: file.first_row_id(),
            })?;
        }
        writer.finish(self.head.file_io()).await
    }

    pub(super) fn writer(
        &mut self,
        schema: SchemaRef,
        spec: &PartitionSpecRef,
        content: ManifestContentType,
    ) -> Result<ManifestWriter> {
        let location = self.attempt.manifest(self.head.metadata().location());
        self.writer_to(location, schema, spec, content)
    }

    fn writer_to(
        &self,
        location: String,
        schema: SchemaRef,
        spec: &PartitionSpecRef,
        content: ManifestContentType,
    ) -> Result<ManifestWriter> {
        let (version, codec) = (self.version(), self.codec()?);
        let kind = ManifestKind { version, content, schema, spec: spec.clone(), codec };
        ManifestWriter::new(kind, location, self.snapshot)
    }

    /// The version in which manifests are written.
    fn version(&self) -> FormatVersion {
        self.head.metadata().format_version().max(FormatVersion::V2)
    }

    fn codec(&self) -> Result<Codec> {
        Codec::of(self.head.metadata().properties())
    }

    pub(super) async fn write_list(&mut self) -> Result<WrittenList> {
        let metadata = self.head.metadata();
        let location = self.attempt.manifest_list(metadata.location(), self.snapshot);
        let version = self.version();
        let first = (version >= FormatVersion::V3).then(|| metadata.next_row_id());
        let kind = ListKind {
            version,
            snapshot: self.snapshot,
            parent: self.parent.map(|parent| parent.snapshot_id()),
            sequence: metadata.next_sequence_number(),
            first_row_id: first,
            codec: self.codec()?,
        };
        let (bytes, next) = write_list(&kind, std::mem::take(&mut self.manifests))?;
        let cannot = || format!("cannot write manifest list `{location}`");
        let output = self.head.file_io().new_output(&location).context(cannot)?;
        output.write(bytes.into()).await.context(cannot)?;
        let row_ids = first.zip(next).map(|(first, next)| (first, next.saturating_sub(first)));
        Ok(WrittenList { location, row_ids })
    }
}

/// When a file of a manifest was added, and by which snapshot.
pub(super) struct Known {
    pub(super) added_by: i64,
    pub(super) sequence: i64,
    pub(super) file_sequence: Option<i64>,
}

impl Known {
    pub(super) fn of(file: &ManifestFile, entry: &ManifestEntry) -> Result<Self> {
        match (entry.sequence_number(), entry.snapshot_id()) {
            (Some(sequence), Some(added_by)) => {
                Ok(Self { added_by, sequence, file_sequence: entry.file_sequence_number })
            }
            _ => Err(Error::corrupt(format!(
                "manifest `{}` does not say when `{}` was added",
                file.manifest_path,
                entry.file_path()
            ))),
        }
    }
}

impl Known {
    /// An entry that says the same in another manifest.
    pub(super) const fn entry<'a>(
        &self,
        file: &'a DataFile,
        first_row_id: Option<i64>,
    ) -> NewEntry<'a> {
        NewEntry {
            file,
            status: ManifestStatus::Existing,
            snapshot: self.added_by,
            sequence: Some(self.sequence),
            file_sequence: self.file_sequence,
            first_row_id,
        }
    }
}

/// Files that are to be removed and were not met alive.
struct Gone<'a> {
    wanted: Option<&'a FileSet>,
    met: FileSet,
}

impl<'a> Gone<'a> {
    fn of(removal: Removal<'a>) -> Self {
        let wanted = match removal {
            Removal::Files(files) => Some(files),
            Removal::Nothing | Removal::Everything | Removal::Partitions(_) => None,
        };
        Self { wanted, met: FileSet::default() }
    }

    fn meet(&mut self, file: &DataFile) {
        if self.wanted.is_some() {
            self.met.insert_key(file.file_path(), file.content_offset());
        }
    }

    fn check(&self, head: &Table) -> Result<()> {
        let Some(wanted) = self.wanted else { return Ok(()) };
        if self.met.len() == wanted.len() {
            return Ok(());
        }
        let missing = wanted.len() - self.met.len();
        let error = Error::new(
            ErrorKind::Conflict,
            format!(
                "another writer removed files of `{}` that this change rewrites",
                head.identifier()
            ),
        )
        .with_note(format!("{missing} of {} file(s) are not part of it any more", wanted.len()));
        Err(error.with_help("compute the change again from the table as it is"))
    }
}

/// The partitioning that the files of a manifest were written under.
pub(crate) fn spec_of<'m>(
    metadata: &'m TableMetadata,
    manifest: &ManifestFile,
) -> Result<&'m PartitionSpecRef> {
    metadata.partition_spec_by_id(manifest.partition_spec_id).ok_or_else(|| {
        Error::corrupt(format!(
            "manifest `{}` names partition spec {}, which the table does not have",
            manifest.manifest_path, manifest.partition_spec_id
        ))
    })
}

/// Reads the entries of a manifest.
pub(crate) async fn load(table: &Table, manifest: &ManifestFile) -> Result<Manifest> {
    storage::load_manifest(table, manifest).await
}
