//! Which files are written anew together.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{ManifestContentType, TableMetadata};
use iceberg::table::Table;
use icecore_core::{Error, Result};

use super::options::{CompactOptions, CompactStrategy};
use crate::predicate::Filter;
use crate::scan::{FileTask, plan_tasks};
use crate::storage::{Headers, KnownFile as _, ListedEntry, ListedFile, load_entries, load_list};
use crate::write::target_bytes;

/// Files below this part of the size that files should have are small.
const SMALL: f64 = 0.75;
/// Files above this part of it are large.
const LARGE: f64 = 1.8;
/// Bytes of files that are written anew together.
const GROUP_BYTES_MAX: u64 = 4 << 30;

/// Files of one partition.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) tasks: Vec<FileTask>,
    pub(super) bytes: u64,
}

/// What is done to a snapshot.
#[derive(Debug)]
pub(super) struct Plan {
    /// The snapshot that is read.
    pub(super) snapshot: i64,
    /// Its sequence number.
    pub(super) sequence: i64,
    pub(super) target_bytes: u64,
    pub(super) groups: Vec<Group>,
    pub(super) deletes: Deletes,
}

impl Plan {
    /// How many delete files are of no use once all groups are written.
    pub(super) fn dangling_after_all(&self) -> usize {
        let mut deletes = self.deletes.clone();
        let tasks = self.groups.iter().flat_map(|group| &group.tasks);
        tasks.for_each(|task| deletes.release(task));
        deletes.take_unused().len()
    }
}

/// Delete files, with how many data files each may still apply to.
#[derive(Debug, Clone, Default)]
pub(super) struct Deletes {
    uses: HashMap<(String, Option<i64>), (usize, ListedFile)>,
}

impl Deletes {
    fn key(file: &ListedFile) -> (String, Option<i64>) {
        (file.file_path().to_owned(), file.content_offset())
    }

    /// Takes note that a data file is gone.
    pub(super) fn release(&mut self, task: &FileTask) {
        for delete in &task.deletes {
            if let Some((uses, _)) = self.uses.get_mut(&Self::key(&delete.file)) {
                *uses = uses.saturating_sub(1);
            }
        }
    }

    /// Takes note that a data file is there after all.
    pub(super) fn retain(&mut self, task: &FileTask) {
        for delete in &task.deletes {
            let key = Self::key(&delete.file);
            let (uses, _) = self.uses.entry(key).or_insert_with(|| (0, delete.file.clone()));
            *uses += 1;
        }
    }

    /// Those that apply to nothing.
    pub(super) fn take_unused(&mut self) -> Vec<ListedFile> {
        let unused: Vec<_> = self.uses.extract_if(|_, (uses, _)| *uses == 0).collect();
        let mut files: Vec<ListedFile> = unused.into_iter().map(|(_, (_, file))| file).collect();
        files.sort_by(|left, right| {
            (left.file_path(), left.content_offset())
                .cmp(&(right.file_path(), right.content_offset()))
        });
        files
    }

    fn has_unused(&self) -> bool {
        self.uses.values().any(|(uses, _)| *uses == 0)
    }
}

/// Plans a compaction; `None` where nothing is to be done.
pub(super) async fn plan(head: &Table, options: &CompactOptions) -> Result<Option<Plan>> {
    let metadata = head.metadata();
    let Some(snapshot) = metadata.snapshot_for_ref(options.branch.as_str()) else {
        return match metadata.current_snapshot() {
            None => Ok(None),
            Some(_) => Err(Error::not_found(format!(
                "table `{}` has no branch `{}`",
                head.identifier(),
                options.branch
            ))),
        };
    };
    let id = snapshot.snapshot_id();
    let tasks = plan_tasks(head, Some(id), None).await?;
    let mut deletes = Deletes::default();
    for file in delete_files(head, id).await? {
        deletes.uses.insert(Deletes::key(&file), (0, file));
    }
    tasks.iter().for_each(|task| deletes.retain(task));
    let wanted = match &options.filter {
        None => None,
        Some(filter) => {
            let filter = Filter::bind(filter, metadata.current_schema())?;
            let tasks = plan_tasks(head, Some(id), Some(&filter)).await?;
            Some(tasks.iter().map(|task| task.file.file_path().to_owned()).collect::<HashSet<_>>())
        }
    };
    let target = match options.target_bytes {
        Some(bytes) => bytes.max(1),
        None => target_bytes(metadata)? as u64,
    };
    let rules = Rules { metadata, options, target };
    let groups = rules.groups(tasks, wanted.as_ref());
    if groups.is_empty() && !deletes.has_unused() {
        return Ok(None);
    }
    Ok(Some(Plan {
        snapshot: id,
        sequence: snapshot.sequence_number(),
        target_bytes: target,
        groups,
        deletes,
    }))
}

/// The delete files of a snapshot.
async fn delete_files(head: &Table, snapshot: i64) -> Result<Vec<ListedFile>> {
    let Some(snapshot) = head.metadata().snapshot_by_id(snapshot) else { return Ok(Vec::new()) };
    let list = load_list(head, snapshot).await?;
    let mut files = Vec::new();
    for manifest in &list {
        if manifest.content == ManifestContentType::Deletes {
            let entries = load_entries(head, manifest, &Headers::default()).await?;
            let live = entries.into_iter().filter(ListedEntry::is_alive);
            files.extend(live.map(|entry| entry.file));
        }
    }
    Ok(files)
}

struct Rules<'a> {
    metadata: &'a TableMetadata,
    options: &'a CompactOptions,
    target: u64,
}

impl Rules<'_> {
    fn groups(&self, tasks: Vec<FileTask>, wanted: Option<&HashSet<String>>) -> Vec<Group> {
        // In the order in which partitions are met, which is that of their files' paths.
        let mut order: Vec<Vec<FileTask>> = Vec::new();
        let mut places = HashMap::new();
        for task in tasks {
            if wanted.is_some_and(|wanted| !wanted.contains(task.file.file_path())) {
                continue;
            }
            let partition = (task.spec_id, task.file.partition().clone());
            let place = *places.entry(partition).or_insert_with(|| {
                order.push(Vec::new());
                order.len() - 1
            });
            if let Some(files) = order.get_mut(place) {
                files.push(task);
            }
        }
        order.into_iter().flat_map(|files| self.partition(files)).collect()
    }

    /// The groups of one partition.
    fn partition(&self, mut files: Vec<FileTask>) -> Vec<Group> {
        match self.options.strategy {
            CompactStrategy::Sort => {
                if !files.iter().any(|task| self.must(task) || self.is_unsorted(task))
                    && !self.is_worth_it(&files)
                {
                    return Vec::new();
                }
            }
            CompactStrategy::BinPack => {
                files.retain(|task| self.must(task) || self.is_small(task));
            }
        }
        // Older rows first, as they would be read.
        files.sort_by(|left, right| {
            (left.sequence, left.file.file_path()).cmp(&(right.sequence, right.file.file_path()))
        });
        let sorts = self.options.strategy == CompactStrategy::Sort;
        pack(files)
            .into_iter()
            .filter(|group| {
                sorts || group.iter().any(|task| self.must(task)) || self.is_worth_it(group)
            })
            .map(|tasks| Group { bytes: bytes_of(&tasks), tasks })
            .collect()
    }

    /// Whether a file is written anew even if it is alone.
    fn must(&self, task: &FileTask) -> bool {
        self.options.all
            || task.spec_id != self.metadata.default_partition_spec_id()
            || (!task.deletes.is_empty() && task.deletes.len() >= self.options.min_delete_files)
            || task.file.file_size_in_bytes() as f64 > self.target as f64 * LARGE
    }

    fn is_small(&self, task: &FileTask) -> bool {
        (task.file.file_size_in_bytes() as f64) < self.target as f64 * SMALL
    }

    fn is_unsorted(&self, task: &FileTask) -> bool {
        let order = self.metadata.default_sort_order_id();
        order != 0 && task.file.sort_order_id().map(i64::from) != Some(order)
    }

    /// Whether files get fewer by it, enough of them.
    fn is_worth_it(&self, files: &[FileTask]) -> bool {
        let small: Vec<&FileTask> = files.iter().filter(|task| self.is_small(task)).collect();
        let bytes: u64 = small.iter().map(|task| task.file.file_size_in_bytes()).sum();
        small.len() >= 2 && (small.len() >= self.options.min_input_files || bytes >= self.target)
    }
}

fn bytes_of(tasks: &[FileTask]) -> u64 {
    tasks.iter().map(|task| task.file.file_size_in_bytes()).sum()
}

/// Cuts the files of a partition into groups that can be written anew in one go.
fn pack(files: Vec<FileTask>) -> Vec<Vec<FileTask>> {
    let mut groups: Vec<Vec<FileTask>> = Vec::new();
    let mut bytes = 0;
    for task in files {
        let size = task.file.file_size_in_bytes();
        match groups.last_mut() {
            Some(group) if bytes + size <= GROUP_BYTES_MAX => {
                bytes += size;
                group.push(task);
            }
            _ => {
                bytes = size;
                groups.push(vec![task]);
            }
        }
    }
    groups
}
