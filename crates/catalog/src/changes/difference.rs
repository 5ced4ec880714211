//! Which files hold rows that one state has and another has not.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{ManifestContentType, ManifestFile};
use iceberg::table::Table;
use icecore_core::{Error, Result};

use super::path::Hop;
use crate::scan::{FileTask, plan_tasks};
use crate::storage::{self, Headers, KnownFile as _, ListedEntry};

/// Manifests that are read at a time.
const MANIFESTS_AT_ONCE: usize = 16;

/// Files that differ between two states.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Those that only the earlier state has.
    pub(super) gone: Vec<FileTask>,
    /// Those that only the later state has.
    pub(super) come: Vec<FileTask>,
    /// Those that both have, with other deletes applied to them.
    pub(super) shifted: Vec<(FileTask, FileTask)>,
    /// How many both have as they are.
    pub(super) shared: usize,
}

impl Difference {
    /// How many files have to be read.
    pub(super) const fn files(&self) -> usize {
        self.gone.len() + self.come.len() + self.shifted.len()
    }
}

/// The files that differ after all of these hops.
pub(super) async fn between(table: &Table, hops: &[Hop]) -> Result<Difference> {
    let mut balance = Balance::default();
    for (from, to) in hops {
        let shared = add_hop(table, *from, *to, &mut balance).await?;
        balance.shared = shared;
    }
    Ok(balance.finish())
}

/// What a file is, with the deletes that apply to it.
type Identity = (String, Vec<(String, Option<i64>)>);

fn identity(task: &FileTask) -> Identity {
    let deletes = task.deletes.iter();
    let mut deletes: Vec<(String, Option<i64>)> = deletes
        .map(|delete| (delete.file.file_path().to_owned(), delete.file.content_offset()))
        .collect();
    deletes.sort();
    (task.file.file_path().to_owned(), deletes)
}

/// Files by how many more times the later state has them, each as it is with its deletes.
///
/// Where a rewrite of delete files lies between two hops, one file is there in more ways than two:
/// as it was before the first hop and after it, and the same of the second. All of them count: only
/// together do their rows come to what changed.
#[derive(Default)]
struct Balance {
    files: BTreeMap<Identity, (i64, Option<FileTask>)>,
    shared: usize,
}

impl Balance {
    fn add(&mut self, task: FileTask, sign: i64) {
        let entry = self.files.entry(identity(&task)).or_default();
        entry.0 += sign;
        entry.1.get_or_insert(task);
    }

    fn finish(self) -> Difference {
        let mut found = Difference { shared: self.shared, ..Difference::default() };
        let mut by_path: BTreeMap<String, [Vec<FileTask>; 2]> = BTreeMap::new();
        for ((path, _), (net, task)) in self.files {
            let Some(task) = task else { continue };
            let [old, new] = by_path.entry(path).or_default();
            let side = if net < 0 { old } else { new };
            side.extend((0..net.unsigned_abs()).map(|_| task.clone()));
        }
        for [old, new] in by_path.into_values() {
            let (mut old, mut new) = (old.into_iter(), new.into_iter());
            loop {
                // Any two of one file tell what they have in common by their deletes alone.
                match (old.next(), new.next()) {
                    (Some(old), Some(new)) => found.shifted.push((old, new)),
                    (Some(old), None) => found.gone.push(old),
                    (None, Some(new)) => found.come.push(new),
                    (None, None) => break,
                }
            }
        }
        found
    }
}

/// Adds what differs between two states, and returns how many files do not.
async fn add_hop(
    table: &Table,
    from: Option<i64>,
    to: Option<i64>,
    balance: &mut Balance,
) -> Result<usize> {
    let (old, new) = (manifests(table, from).await?, manifests(table, to).await?);
    let has_deletes =
        |list: &[ManifestFile]| list.iter().any(|m| m.content == ManifestContentType::Deletes);
    if has_deletes(&old) || has_deletes(&new) {
        return add_states(table, from, to, balance).await;
    }
    let paths = |list: &[ManifestFile]| -> HashSet<String> {
        list.iter().map(|manifest| manifest.manifest_path.clone()).collect()
    };
    let (old_paths, new_paths) = (paths(&old), paths(&new));
    let count = |files: Option<u32>| files.unwrap_or(0) as usize;
    let shared = new.iter().filter(|manifest| old_paths.contains(&manifest.manifest_path));
    let in_shared: usize = shared
        .map(|manifest| count(manifest.added_files_count) + count(manifest.existing_files_count))
        .sum();
    let only = |list: Vec<ManifestFile>, other: &HashSet<String>| {
        list.into_iter().filter(|m| !other.contains(&m.manifest_path)).collect::<Vec<_>>()
    };
    let gone = files(table, only(old, &new_paths)).await?;
    let come = files(table, only(new, &old_paths)).await?;
    let gone_paths: HashSet<&str> = gone.iter().map(|task| task.file.file_path()).collect();
    let both = come.iter().filter(|task| gone_paths.contains(task.file.file_path())).count();
    gone.into_iter().for_each(|task| balance.add(task, -1));
    come.into_iter().for_each(|task| balance.add(task, 1));
    Ok(in_shared + both)
}

/// The same where deletes apply: which ones do can only be said for whole states.
async fn add_states(
    table: &Table,
    from: Option<i64>,
    to: Option<i64>,
    balance: &mut Balance,
) -> Result<usize> {
    let old = plan_tasks(table, from, None).await?;
    let new = plan_tasks(table, to, None).await?;
    let known: HashSet<Identity> = old.iter().map(identity).collect();
    let shared: HashSet<Identity> =
        new.iter().map(identity).filter(|identity| known.contains(identity)).collect();
    let differs = |task: &FileTask| !shared.contains(&identity(task));
    old.into_iter().filter(differs).for_each(|task| balance.add(task, -1));
    new.into_iter().filter(differs).for_each(|task| balance.add(task, 1));
    Ok(shared.len())
}

/// The manifests of a state that name files.
async fn manifests(table: &Table, snapshot: Option<i64>) -> Result<Vec<ManifestFile>> {
    let Some(id) = snapshot else { return Ok(Vec::new()) };
    let snapshot = table
        .metadata()
        .snapshot_by_id(id)
        .ok_or_else(|| Error::not_found(format!("there is no snapshot `{id}`")))?;
    let list = storage::load_list(table, snapshot).await?;
    let named =
        |manifest: &ManifestFile| manifest.has_added_files() || manifest.has_existing_files();
    Ok(list.into_iter().filter(named).collect())
}

/// The live files of manifests to which no deletes apply.
async fn files(table: &Table, manifests: Vec<ManifestFile>) -> Result<Vec<FileTask>> {
    let headers = &Headers::default();
    let mut loaded = stream::iter(manifests)
        .map(async |manifest| {
            let entries = storage::load_entries(table, &manifest, headers).await?;
            Ok::<_, Error>((manifest.partition_spec_id, entries))
        })
        .buffered(MANIFESTS_AT_ONCE);
    let mut tasks = Vec::new();
    while let Some((spec_id, entries)) = loaded.try_next().await? {
        for entry in entries.into_iter().filter(ListedEntry::is_alive) {
            tasks.push(FileTask {
                file: Arc::new(entry.file),
                spec_id,
                // Deletes go by it, and there are none.
                sequence: entry.sequence.unwrap_or(0),
                first_row_id: None,
                deletes: Vec::new(),
            });
        }
    }
    Ok(tasks)
}
