//! What a new snapshot changes.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{
    DataFile, ManifestContentType, ManifestFile, Operation, PartitionSpecRef, SchemaRef, Struct,
    TableMetadata,
};
use icecore_core::Result;

use super::manifests::spec_of;
use super::partitions::Touched;
use crate::described::wide_partition;
use crate::storage::KnownFile;

/// What a new snapshot changes.
#[derive(Debug)]
pub(crate) struct Delta<'a> {
    /// The branch that it becomes the head of. One that does not exist begins at that of `main`.
    pub(crate) branch: &'a str,
    pub(crate) operation: Operation,
    pub(crate) added: &'a [AddedFiles],
    pub(crate) removed: Removal<'a>,
    /// Files of a later data sequence number than this are not removed: others added them since.
    pub(crate) keeps_after: Option<i64>,
    /// Fields for the summary.
    pub(crate) fields: &'a BTreeMap<String, String>,
}

/// New files that one manifest can hold.
#[derive(Debug, Clone)]
pub(crate) struct AddedFiles {
    /// Whether they hold rows or say which rows are deleted.
    pub(crate) content: ManifestContentType,
    /// The columns and the partitioning that they were written with.
    pub(crate) schema: SchemaRef,
    pub(crate) spec: PartitionSpecRef,
    /// The data sequence number of files that only rewrite older rows, so that deletes which
    /// apply to those still apply; absent means that of the commit.
    pub(crate) sequence: Option<i64>,
    pub(crate) files: Vec<DataFile>,
}

impl AddedFiles {
    /// Data files that were written with a table's current columns and partitioning.
    pub(crate) fn data(written_for: &TableMetadata, files: Vec<DataFile>) -> Self {
        Self {
            content: ManifestContentType::Data,
            schema: written_for.current_schema().clone(),
            spec: written_for.default_partition_spec().clone(),
            sequence: None,
            files,
        }
    }
}

/// Which of the live files a snapshot removes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Removal<'a> {
    Nothing,
    Everything,
    Partitions(&'a Touched),
    /// These. One that is not alive is a conflict.
    Files(&'a FileSet),
}

impl Removal<'_> {
    /// Whether it takes a file that was written under this spec.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a file of which some rows lie in the partitions and others may not.
    pub(super) fn takes(
        &self,
        metadata: &TableMetadata,
        spec: &PartitionSpecRef,
        file: &DataFile,
    ) -> Result<bool> {
        Ok(match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Partitions(touched) => touched.hold(metadata, spec, file)?,
            Self::Files(files) => files.contains(file),
        })
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
            Self::Partitions(touched) => touched.may_hold(manifest, spec_of(metadata, manifest)?),
            Self::Files(files) => files.may_be_in(manifest.content),
        })
    }
}

/// Files by path. Several deletion vectors share a Puffin file, so they also go by their offset
/// in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct FileSet {
    files: HashMap<String, Vec<Member>>,
    len: usize,
    /// Whether some may be data files, and some files of deletes.
    data: bool,
    deletes: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Member {
    offset: Option<i64>,
    /// Its partition in the widest form, where it is known.
    partition: Option<Struct>,
}

impl FileSet {
    /// These files.
    pub(crate) fn of<'f, F: KnownFile + 'f>(files: impl IntoIterator<Item = &'f F>) -> Self {
        let mut set = Self::default();
        files.into_iter().for_each(|file| set.insert(file));
        set
    }

    pub(crate) fn insert(&mut self, file: &impl KnownFile) {
        use iceberg::spec::DataContentType;
        match file.content_type() {
            DataContentType::Data => self.data = true,
            DataContentType::PositionDeletes | DataContentType::EqualityDeletes => {
                self.deletes = true;
            }
        }
        let partition = Some(wide_partition(file.partition()));
        self.enter(file.file_path(), Member { offset: file.content_offset(), partition });
    }

    /// Inserts a file of which only the path is known, and its offset if it is a deletion vector.
    pub(crate) fn insert_key(&mut self, path: &str, offset: Option<i64>) {
        (self.data, self.deletes) = (true, true);
        self.enter(path, Member { offset, partition: None });
    }

    fn enter(&mut self, path: &str, member: Member) {
        let members = self.files.entry(path.to_owned()).or_default();
        if members.iter().all(|known| known.offset != member.offset) {
            members.push(member);
            self.len += 1;
        }
    }

    pub(crate) fn contains(&self, file: &DataFile) -> bool {
        let members = self.files.get(file.file_path());
        members.is_some_and(|members| {
            members.iter().any(|member| member.offset == file.content_offset())
        })
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The paths, in no order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Whether a file of this path is among them.
    pub(super) fn has_path(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Whether one of them may lie in this partition.
    pub(super) fn touch(&self, partition: &Struct) -> bool {
        let partition = wide_partition(partition);
        self.files
            .values()
            .flatten()
            .any(|member| member.partition.as_ref().is_none_or(|of_member| *of_member == partition))
    }

    const fn may_be_in(&self, content: ManifestContentType) -> bool {
        match content {
            ManifestContentType::Data => self.data,
            ManifestContentType::Deletes => self.deletes,
        }
    }
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{DataContentType, DataFileBuilder, DataFileFormat, Literal};

    use super::*;

    #[test]
    fn a_partition_is_touched_however_wide_its_column_was() {
        let partition = |value: Literal| Struct::from_iter([Some(value)]);
        let mut file = DataFileBuilder::default();
        file.content(DataContentType::Data)
            .file_path("a".to_owned())
            .file_format(DataFileFormat::Parquet)
            .partition(partition(Literal::int(5)))
            .record_count(1)
            .file_size_in_bytes(1);
        let files = FileSet::of([&file.build().unwrap()]);
        assert!(files.touch(&partition(Literal::long(5))));
        assert!(!files.touch(&partition(Literal::long(6))));
    }
}
