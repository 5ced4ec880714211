//! Writing the manifests and the manifest list of a new snapshot.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, Manifest, ManifestContentType, ManifestFile,
    ManifestListWriter, ManifestWriter, ManifestWriterBuilder, Operation, PartitionSpecRef,
    SchemaRef, Snapshot, SnapshotReference, SnapshotRetention, SnapshotSummaryCollector, Summary,
    TableMetadata,
};
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use icecore_core::{Error, Result};

use super::partitions::Touched;
use super::summary::add_totals;
use super::{ATTEMPT_ID, Attempt, Plan};
use crate::error::Context;
use crate::ids::{Ids, new_uuid};

/// Manifests that are read at once.
const MANIFESTS_AT_ONCE: usize = 8;

/// Which of the live files a snapshot removes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Removal<'a> {
    Nothing,
    Everything,
    Partitions(&'a Touched),
}

impl Removal<'_> {
    /// Whether it takes a file that was written under this spec.
    pub(super) fn takes(&self, spec_id: i32, file: &DataFile) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Partitions(touched) => touched.hold(spec_id, file),
        }
    }

    /// Whether it may take a file that this manifest names. Errs towards yes.
    pub(super) fn may_take(
        &self,
        manifest: &ManifestFile,
        metadata: &TableMetadata,
    ) -> Result<bool> {
        Ok(match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Partitions(touched) => {
                let spec = spec_of(metadata, manifest)?;
                let types = spec.partition_type(metadata.current_schema());
                match types {
                    Ok(types) => touched.may_hold(manifest, &types),
                    // A column that the spec is over was dropped: look into the manifest.
                    Err(_) => true,
                }
            }
        })
    }
}

/// What a new snapshot changes.
#[derive(Debug)]
pub(crate) struct Delta<'a> {
    pub(crate) operation: Operation,
    /// New data files.
    pub(crate) added: &'a [DataFile],
    /// The columns and the partitioning that they were written with.
    pub(crate) schema: SchemaRef,
    pub(crate) spec: PartitionSpecRef,
    pub(crate) removed: Removal<'a>,
    /// Fields for the summary.
    pub(crate) fields: &'a BTreeMap<String, String>,
}

/// Writes a snapshot of `main` that follows `head`, and says how to make it current.
pub(crate) async fn plan(head: &Table, delta: Delta<'_>, attempt: &mut Attempt) -> Result<Plan> {
    let metadata = head.metadata();
    check_writable(head)?;
    let parent = metadata.current_snapshot();
    let mut producer = Producer {
        head,
        snapshot: new_snapshot_id(metadata, &*attempt.ids),
        attempt,
        summary: SnapshotSummaryCollector::default(),
        manifests: Vec::new(),
    };
    producer.keep(&delta).await?;
    producer.add(&delta).await?;
    producer.merge().await?;
    let list = producer.write_list().await?;
    let Producer { snapshot: id, summary, attempt, .. } = producer;

    let mut fields = summary.build();
    add_totals(&mut fields, parent.map(|parent| &parent.summary().additional_properties));
    fields.extend(delta.fields.clone());
    fields.insert(ATTEMPT_ID.to_owned(), attempt.id.clone());
    let snapshot = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(parent.map(|parent| parent.snapshot_id()))
        .with_sequence_number(metadata.next_sequence_number())
        // Clocks of writers differ; a table's history never runs backwards.
        .with_timestamp_ms(attempt.now_ms.max(metadata.last_updated_ms()))
        .with_manifest_list(list)
        .with_summary(Summary { operation: delta.operation, additional_properties: fields })
        .with_schema_id(metadata.current_schema_id())
        .build();
    Ok(Plan::Apply {
        requirements: vec![
            TableRequirement::UuidMatch { uuid: metadata.uuid() },
            TableRequirement::RefSnapshotIdMatch {
                r#ref: MAIN_BRANCH.to_owned(),
                snapshot_id: metadata.current_snapshot_id(),
            },
        ],
        updates: vec![
            TableUpdate::AddSnapshot { snapshot },
            TableUpdate::SetSnapshotRef {
                ref_name: MAIN_BRANCH.to_owned(),
                reference: SnapshotReference::new(id, SnapshotRetention::branch(None, None, None)),
            },
        ],
    })
}

/// Refuses tables of a format version that is not 2. Version 3 counts rows across manifests, which
/// rewriting a manifest here would break.
pub(crate) fn check_writable(head: &Table) -> Result<()> {
    match head.metadata().format_version() {
        FormatVersion::V2 => Ok(()),
        version => Err(Error::unsupported(format!(
            "table `{}` has format version {}, which icecore reads but does not write",
            head.identifier(),
            version as u8
        ))),
    }
}

fn new_snapshot_id(metadata: &TableMetadata, ids: &dyn Ids) -> i64 {
    loop {
        let (high, low) = new_uuid(ids).as_u64_pair();
        let id = ((high ^ low) >> 1) as i64;
        if id > 0 && metadata.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}

/// The partitioning that the files of a manifest were written under.
pub(super) fn spec_of<'m>(
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

/// Puts a snapshot's manifests together.
pub(super) struct Producer<'a> {
    pub(super) head: &'a Table,
    pub(super) snapshot: i64,
    attempt: &'a mut Attempt,
    summary: SnapshotSummaryCollector,
    /// What the new manifest list will name.
    pub(super) manifests: Vec<ManifestFile>,
}

impl Producer<'_> {
    /// Takes over the manifests of the head, without the files that are to be removed.
    async fn keep(&mut self, delta: &Delta<'_>) -> Result<()> {
        let metadata = self.head.metadata();
        let Some(parent) = metadata.current_snapshot() else { return Ok(()) };
        let list = self
            .head
            .manifest_list_reader(parent)
            .load()
            .await
            .context(|| format!("cannot read manifest list `{}`", parent.manifest_list()))?;
        let mut touched = Vec::new();
        for manifest in list.consume_entries() {
            if !manifest.has_added_files() && !manifest.has_existing_files() {
                continue;
            }
            check_spec(delta.removed, &manifest)?;
            if delta.removed.may_take(&manifest, metadata)? {
                touched.push(manifest);
            } else {
                self.manifests.push(manifest);
            }
        }
        let io = self.head.file_io();
        let mut loaded = stream::iter(touched)
            .map(async |manifest| load(io, &manifest).await.map(|entries| (manifest, entries)))
            .buffered(MANIFESTS_AT_ONCE);
        while let Some((manifest, entries)) = loaded.try_next().await? {
            self.rewrite(manifest, &entries, delta).await?;
        }
        Ok(())
    }

    /// Takes over one manifest without the files that are to be removed.
    async fn rewrite(
        &mut self,
        file: ManifestFile,
        manifest: &Manifest,
        delta: &Delta<'_>,
    ) -> Result<()> {
        let spec = spec_of(self.head.metadata(), &file)?.clone();
        let takes = |file: &DataFile| delta.removed.takes(spec.spec_id(), file);
        let live = || manifest.entries().iter().filter(|entry| entry.is_alive());
        if !live().any(|entry| takes(entry.data_file())) {
            if live().next().is_some() {
                self.manifests.push(file);
            }
            return Ok(());
        }
        let schema = manifest.metadata().schema().clone();
        let mut writer = self.writer(schema.clone(), &spec, file.content)?;
        let cannot = || format!("cannot rewrite manifest `{}`", file.manifest_path);
        for entry in live() {
            let data_file = entry.data_file();
            let (Some(sequence), Some(added_by)) = (entry.sequence_number(), entry.snapshot_id())
            else {
                return Err(Error::corrupt(format!(
                    "manifest `{}` does not say when `{}` was added",
                    file.manifest_path,
                    data_file.file_path()
                )));
            };
            let file_sequence = entry.file_sequence_number;
            if takes(data_file) {
                self.summary.remove_file(data_file, schema.clone(), spec.clone());
                writer.add_delete_file(data_file.clone(), sequence, file_sequence)
            } else {
                writer.add_existing_file(data_file.clone(), added_by, sequence, file_sequence)
            }
            .context(cannot)?;
        }
        self.manifests.push(writer.write_manifest_file().await.context(cannot)?);
        Ok(())
    }

    /// Writes the manifest of the new files.
    async fn add(&mut self, delta: &Delta<'_>) -> Result<()> {
        if delta.added.is_empty() {
            return Ok(());
        }
        let mut writer =
            self.writer(delta.schema.clone(), &delta.spec, ManifestContentType::Data)?;
        let cannot = || "cannot write the manifest of the new files";
        for file in delta.added {
            self.summary.add_file(file, delta.schema.clone(), delta.spec.clone());
            // A negative sequence number is inherited from the snapshot.
            writer.add_file(file.clone(), -1).context(cannot)?;
        }
        // Newest first, so that planning meets the newest files first.
        self.manifests.insert(0, writer.write_manifest_file().await.context(cannot)?);
        Ok(())
    }

    pub(super) fn writer(
        &mut self,
        schema: SchemaRef,
        spec: &PartitionSpecRef,
        content: ManifestContentType,
    ) -> Result<ManifestWriter> {
        let path = self.attempt.manifest(self.head.metadata().location());
        let output = self
            .head
            .file_io()
            .new_output(&path)
            .context(|| format!("cannot write manifest `{path}`"))?;
        let spec = Arc::unwrap_or_clone(spec.clone());
        let builder = ManifestWriterBuilder::new(output, Some(self.snapshot), schema, spec);
        Ok(match content {
            ManifestContentType::Data => builder.build_v2_data(),
            ManifestContentType::Deletes => builder.build_v2_deletes(),
        })
    }

    async fn write_list(&mut self) -> Result<String> {
        let metadata = self.head.metadata();
        let path = self.attempt.manifest_list(metadata.location(), self.snapshot);
        let cannot = || format!("cannot write manifest list `{path}`");
        let output = self.head.file_io().new_output(&path).context(cannot)?;
        let mut writer = ManifestListWriter::v2(
            output.writer().await.context(cannot)?,
            self.snapshot,
            metadata.current_snapshot_id(),
            metadata.next_sequence_number(),
        );
        writer.add_manifests(self.manifests.drain(..)).context(cannot)?;
        writer.close().await.context(cannot)?;
        Ok(path)
    }
}

/// Reads the entries of a manifest.
pub(super) async fn load(io: &iceberg::io::FileIO, manifest: &ManifestFile) -> Result<Manifest> {
    manifest
        .load_manifest(io)
        .await
        .context(|| format!("cannot read manifest `{}`", manifest.manifest_path))
}

/// Partitions of one spec say nothing about files of another, whose rows might be replaced too.
fn check_spec(removal: Removal<'_>, manifest: &ManifestFile) -> Result<()> {
    match removal {
        Removal::Partitions(touched)
            if touched.spec_id != manifest.partition_spec_id
                && manifest.content == ManifestContentType::Data =>
        {
            Err(Error::unsupported(
                "cannot overwrite partitions of a table that holds files of an older partitioning",
            )
            .with_help("overwrite the whole table once, which rewrites them"))
        }
        _ => Ok(()),
    }
}

/// Counts of a summary that a caller reports.
pub(crate) fn counts(summary: &HashMap<String, String>) -> (u64, u64) {
    let count = |field| {
        super::summary::count(summary, field).and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
    };
    (count("added-records"), count("deleted-records"))
}
