//! Naming the files of a branch in other manifests: fewer, and each of neighbouring partitions, so
//! that a read opens few of them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{
    DataFile, Literal, ManifestContentType, ManifestEntryRef, ManifestFile, Operation,
};
use iceberg::table::Table;
use icecore_core::{RefName, Result};

use super::branch::Tip;
use super::lineage::RowIds;
use super::manifests::{Known, MANIFESTS_AT_ONCE, Producer, load, spec_of};
use super::merge::{TARGET_SIZE, group_of, setting};
use super::snapshot::complete;
use super::{Attempt, Change, Plan};
use crate::storage;

/// Puts the entries of a branch's manifests together anew.
#[derive(Debug)]
pub(crate) struct Regroup {
    branch: RefName,
    /// How large a manifest should be in bytes; the table's setting where it is absent.
    target: Option<usize>,
    /// Whether manifests are written anew that are few already.
    force: bool,
    last: Mutex<Regrouped>,
}

/// What it came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Regrouped {
    /// Manifests of the branch before and after.
    pub(crate) before: u64,
    pub(crate) after: u64,
    /// Entries that were written.
    pub(crate) entries: u64,
}

impl Regroup {
    pub(crate) fn new(branch: RefName, target: Option<usize>, force: bool) -> Self {
        Self { branch, target, force, last: Mutex::default() }
    }

    /// What the last plan came to.
    pub(crate) fn into_last(self) -> Regrouped {
        self.last.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it would come to on this state.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown branch.
    pub(crate) async fn look(&self, head: &Table) -> Result<Regrouped> {
        let mut did = Regrouped::default();
        let (before, groups) = self.groups(head).await?;
        did.before = before;
        for group in groups {
            let wanted = Self::wanted(self.target(head), &group);
            if self.stays(&group, wanted) {
                did.after += group.len() as u64;
                continue;
            }
            did.after += wanted as u64;
            let live = |file: &ManifestFile| {
                let counts = [file.added_files_count, file.existing_files_count];
                counts.iter().map(|count| u64::from(count.unwrap_or(0))).sum::<u64>()
            };
            did.entries += group.iter().map(live).sum::<u64>();
        }
        Ok(did)
    }

    fn target(&self, head: &Table) -> usize {
        self.target.unwrap_or_else(|| setting(head, TARGET_SIZE))
    }

    /// Whether a group is as it should be.
    const fn stays(&self, group: &[ManifestFile], wanted: usize) -> bool {
        group.len() <= wanted && !self.force
    }

    /// The manifests of the branch, of which there are so many, by what can be in one; those that
    /// name no live file are left out.
    async fn groups(&self, head: &Table) -> Result<(u64, Vec<Vec<ManifestFile>>)> {
        let tip = Tip::of(head, &self.branch, false)?;
        let Some(parent) = tip.snapshot else { return Ok((0, Vec::new())) };
        let list = storage::load_list(head, parent).await?;
        let (mut count, mut groups) = (0, BTreeMap::<(u8, i32), Vec<ManifestFile>>::new());
        for file in list {
            count += 1;
            if file.has_added_files() || file.has_existing_files() {
                groups.entry(group_of(&file)).or_default().push(file);
            }
        }
        Ok((count, groups.into_values().collect()))
    }

    /// How many manifests a group should have.
    fn wanted(target: usize, group: &[ManifestFile]) -> usize {
        let bytes: usize =
            group.iter().map(|file| usize::try_from(file.manifest_length).unwrap_or(0)).sum();
        bytes.div_ceil(target.max(1)).max(1)
    }
}

#[async_trait]
impl Change for Regroup {
    async fn plan(&self, head: &Table, attempt: &mut Attempt) -> Result<Plan> {
        super::check_writable(head)?;
        let tip = Tip::of(head, &self.branch, false)?;
        let mut done = Regrouped::default();
        let (before, groups) = self.groups(head).await?;
        done.before = before;
        let mut producer = Producer::new(head, &tip, attempt);
        for group in groups {
            let wanted = Self::wanted(self.target(head), &group);
            if self.stays(&group, wanted) {
                producer.manifests.extend(group);
            } else {
                done.entries += producer.regroup(&group, wanted).await?;
            }
        }
        done.after = producer.manifests.len() as u64;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = done;
        if done.entries == 0 {
            return Ok(Plan::Nothing);
        }
        let fields = [
            ("manifests-created", done.after),
            ("manifests-replaced", done.before),
            ("entries-processed", done.entries),
        ];
        let fields = fields.map(|(name, count)| (name.to_owned(), count.to_string())).into();
        complete(producer, &tip, (Operation::Replace, &fields)).await
    }

    fn is_repeatable(&self) -> bool {
        true
    }
}

/// A live entry on its way to another manifest.
struct Moved {
    entry: ManifestEntryRef,
    known: Known,
    first_row_id: Option<i64>,
}

impl Moved {
    fn file(&self) -> &DataFile {
        self.entry.data_file()
    }
}

impl Producer<'_> {
    /// Writes the live entries of manifests of one kind and partitioning into so many manifests, in
    /// the order of their partitions.
    async fn regroup(&mut self, group: &[ManifestFile], wanted: usize) -> Result<u64> {
        let Some(first) = group.first() else { return Ok(0) };
        let head = self.head;
        let mut entries = Vec::new();
        let mut loaded = stream::iter(group.to_vec())
            .map(async |file| load(head, &file).await.map(|manifest| (file, manifest)))
            .buffered(MANIFESTS_AT_ONCE);
        while let Some((file, manifest)) = loaded.try_next().await? {
            let mut ids = RowIds::of(&file);
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                let known = Known::of(&file, entry)?;
                let first_row_id = ids.next(entry.data_file());
                entries.push(Moved { entry: entry.clone(), known, first_row_id });
            }
        }
        drop(loaded);
        entries.sort_by(|left, right| {
            let (left, right) = (left.file(), right.file());
            by_partition(left, right)
                .then_with(|| left.file_path().cmp(right.file_path()))
                .then_with(|| left.content_offset().cmp(&right.content_offset()))
        });
        let count = entries.len();
        let each = count.div_ceil(wanted.max(1)).max(1);
        let mut entries = entries.into_iter();
        loop {
            let part: Vec<Moved> = entries.by_ref().take(each).collect();
            if part.is_empty() {
                return Ok(count as u64);
            }
            self.write_moved(first, part).await?;
        }
    }

    async fn write_moved(&mut self, of: &ManifestFile, part: Vec<Moved>) -> Result<()> {
        let spec = spec_of(self.head.metadata(), of)?.clone();
        let schema = self.schema_for(of, &spec).await?;
        let mut writer = self.writer(schema, &spec, of.content)?;
        let mut ids = RowIds::default();
        for moved in part {
            ids.meet(moved.first_row_id);
            writer.push(&moved.known.entry(moved.file(), moved.first_row_id))?;
        }
        let mut written = writer.finish(self.head.file_io()).await?;
        ids.settle(&mut written);
        match of.content {
            // Deletes are planned first.
            ManifestContentType::Deletes => self.manifests.insert(0, written),
            ManifestContentType::Data => self.manifests.push(written),
        }
        Ok(())
    }
}

fn by_partition(left: &DataFile, right: &DataFile) -> Ordering {
    for (left, right) in left.partition().iter().zip(right.partition().iter()) {
        let order = match (left, right) {
            (Some(Literal::Primitive(left)), Some(Literal::Primitive(right))) => {
                left.partial_cmp(right).unwrap_or(Ordering::Equal)
            }
            (left, right) => left.is_some().cmp(&right.is_some()),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}
