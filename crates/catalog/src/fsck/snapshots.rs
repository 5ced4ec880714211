//! What each snapshot holds.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{DataContentType, Manifest, ManifestFile, Snapshot, SnapshotRef};
use icecore_core::{Error, ErrorKind, Result};

use super::entries::{Contents, Entries, bytes_of};
use super::finding::{FindingKind, Findings};
use super::{Subject, guarded, in_words, is_damage, stored};
use crate::storage;

/// Lists and manifests that are read at once.
const READS_AT_ONCE: usize = 8;

/// Checks every snapshot, and returns all of their files. Each manifest is read once, however many
/// snapshots share it.
pub(super) async fn check(subject: &Subject, findings: &mut Findings) -> Result<Contents> {
    let mut snapshots: Vec<SnapshotRef> = subject.metadata.snapshots().cloned().collect();
    snapshots.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.snapshot_id()));
    let mut contents = Contents { snapshots: snapshots.len() as u64, ..Contents::default() };
    let lists = lists(subject, snapshots, findings).await?;
    let mut listed: HashMap<&str, &ManifestFile> = HashMap::new();
    let mut distinct: Vec<ManifestFile> = Vec::new();
    for manifest in lists.iter().flat_map(|(_, list)| list) {
        match listed.insert(&manifest.manifest_path, manifest) {
            None => distinct.push(manifest.clone()),
            Some(same) if same == manifest => {}
            Some(_) => findings.add(
                FindingKind::WrongManifest,
                &manifest.manifest_path,
                "two snapshots list it in different words",
            ),
        }
    }
    let by_path = manifests(subject, distinct, (&mut contents, findings)).await?;
    for (snapshot, list) in &lists {
        Check { subject, contents: &contents, snapshot, findings }.run(list, &by_path);
    }
    Ok(contents)
}

/// Keeps damage as a value, and lets what cannot be reached end the check.
fn damage<T>(subject: &Subject, path: &str, result: Result<T>) -> Result<Result<T, Error>> {
    match result {
        // Files outside of a table are not opened.
        Err(error)
            if error.kind() == ErrorKind::Denied && !stored::holds(&subject.metadata, path) =>
        {
            Ok(Err(error))
        }
        Err(error) if !is_damage(&error) => Err(error),
        result => Ok(result),
    }
}

async fn lists(
    subject: &Subject,
    snapshots: Vec<SnapshotRef>,
    findings: &mut Findings,
) -> Result<Vec<(SnapshotRef, Vec<ManifestFile>)>> {
    let version = subject.metadata.format_version();
    let mut reads = stream::iter(snapshots)
        .map(async |snapshot| {
            let (io, path) = (subject.io.clone(), snapshot.manifest_list().to_owned());
            let read = guarded(async move { storage::read_list(&io, &path, version).await });
            damage(subject, snapshot.manifest_list(), read.await).map(|list| (snapshot, list))
        })
        .buffered(READS_AT_ONCE);
    let mut lists = Vec::new();
    while let Some((snapshot, list)) = reads.try_next().await? {
        let path = snapshot.manifest_list().to_owned();
        match list {
            Ok(list) => lists.push((snapshot, list)),
            Err(error) => {
                findings.add(FindingKind::UnreadableManifestList, &path, in_words(&error));
            }
        }
    }
    Ok(lists)
}

/// Reads manifests, and returns what each brings into a snapshot.
async fn manifests(
    subject: &Subject,
    distinct: Vec<ManifestFile>,
    (contents, findings): (&mut Contents, &mut Findings),
) -> Result<HashMap<String, Entries>> {
    let mut reads = stream::iter(distinct)
        .map(async |listed| {
            let (io, file) = (subject.io.clone(), listed.clone());
            let read = guarded(async move { storage::read_manifest(&io, &file).await });
            let read: Result<Manifest> = read.await;
            damage(subject, &listed.manifest_path, read).map(|manifest| (listed.clone(), manifest))
        })
        .buffered(READS_AT_ONCE);
    let mut by_path = HashMap::new();
    while let Some((listed, manifest)) = reads.try_next().await? {
        match manifest {
            Ok(manifest) => {
                let entries = contents.add(&manifest, (&listed, &subject.metadata), findings);
                by_path.insert(listed.manifest_path, entries);
            }
            Err(error) => {
                let path = &listed.manifest_path;
                findings.add(FindingKind::UnreadableManifest, path, in_words(&error));
                contents.manifests.push(listed);
            }
        }
    }
    Ok(by_path)
}

struct Check<'a> {
    subject: &'a Subject,
    contents: &'a Contents,
    snapshot: &'a Snapshot,
    findings: &'a mut Findings,
}

/// A number of a summary, and the numbers that it may be. A total of bytes may count a file of
/// several deletion vectors once for each, or each of its parts.
type Expected<'n> = (&'n str, Vec<u64>);

impl Check<'_> {
    fn run(mut self, list: &[ManifestFile], by_path: &HashMap<String, Entries>) {
        let mut listed = HashSet::new();
        let mut held: HashSet<usize> = HashSet::new();
        let mut changes = Vec::new();
        let mut row_ids = Vec::new();
        let mut is_whole = true;
        for manifest in list {
            let path = &manifest.manifest_path;
            if !listed.insert(path) {
                self.add(FindingKind::DuplicateFile, path, "is listed twice");
            }
            if manifest.sequence_number > self.snapshot.sequence_number() {
                self.add(FindingKind::BadSequenceNumber, path, "is newer than the snapshot");
            }
            let Some(entries) = by_path.get(path) else {
                is_whole = false;
                continue;
            };
            for index in &entries.live {
                if !held.insert(*index)
                    && let Some(of) = self.contents.files.get(*index)
                {
                    self.add(FindingKind::DuplicateFile, of.file.file_path(), "is held twice");
                }
            }
            row_ids.extend(entries.row_ids.iter().copied());
            let own = entries.changes.iter();
            let own = own.filter(|change| change.snapshot == Some(self.snapshot.snapshot_id()));
            changes.extend(own.copied());
        }
        if is_whole {
            self.row_ids(row_ids);
            self.deletes(&held);
            let expected = self.expected(&held, &changes);
            self.summary(&expected);
        }
    }

    fn add(&mut self, kind: FindingKind, file: &str, what: &str) {
        let id = self.snapshot.snapshot_id();
        self.findings.add(kind, file, format!("in snapshot {id}: {what}"));
    }

    /// Ids of rows are of one row each, and were given out.
    fn row_ids(&mut self, mut ranges: Vec<(u64, usize)>) {
        ranges.sort_unstable();
        let next = self.subject.metadata.next_row_id();
        let mut before: Option<(u64, &str)> = None;
        for (first, index) in ranges {
            let Some(of) = self.contents.files.get(index) else { continue };
            let path = of.file.file_path();
            let end = first.saturating_add(of.file.record_count());
            if let Some((taken, other)) = before.filter(|(taken, _)| first < *taken) {
                let what = format!(
                    "its rows have ids from {first}, and those of `{other}` end at {taken}"
                );
                self.add(FindingKind::BadRowIds, path, &what);
            }
            if end > next {
                let what = format!("its rows have ids up to {end}, and the table gave out {next}");
                self.add(FindingKind::BadRowIds, path, &what);
            }
            before = Some((end, path));
        }
    }

    /// Deletes of one data file are of one that the snapshot holds.
    fn deletes(&mut self, held: &HashSet<usize>) {
        let files = || held.iter().filter_map(|index| self.contents.files.get(*index));
        let data: HashSet<&str> = files()
            .filter(|of| of.file.content_type() == DataContentType::Data)
            .map(|of| of.file.file_path())
            .collect();
        let dangling: Vec<(String, String)> = files()
            .filter(|of| of.file.content_type() == DataContentType::PositionDeletes)
            .filter_map(|of| Some((of.file.file_path(), of.file.referenced_data_file()?)))
            .filter(|(_, referenced)| !data.contains(referenced.as_str()))
            .map(|(path, referenced)| (path.to_owned(), referenced))
            .collect();
        for (path, referenced) in dangling {
            let what = format!("deletes rows of `{referenced}`, which is not there any more");
            self.add(FindingKind::DanglingDelete, &path, &what);
        }
    }

    fn expected(
        &self,
        held: &HashSet<usize>,
        changes: &[super::entries::Change],
    ) -> Vec<Expected<'static>> {
        use DataContentType::{Data, EqualityDeletes, PositionDeletes};
        let files: Vec<_> =
            held.iter().filter_map(|index| self.contents.files.get(*index)).collect();
        let of = |content| files.iter().filter(move |of| of.file.content_type() == content);
        let rows = |content| of(content).map(|of| of.file.record_count()).sum::<u64>();
        let deletes = of(PositionDeletes).count() + of(EqualityDeletes).count();
        let parts = files.iter().map(|of| bytes_of(&of.file)).sum();
        let wholes = files.iter().map(|of| of.file.file_size_in_bytes()).sum();
        let changed = |is_added, is_data| {
            let changes = changes.iter().filter(move |change| {
                change.is_added == is_added && (change.content == Data) == is_data
            });
            changes.fold((0, 0), |(files, rows), change| (files + 1, rows + change.records))
        };
        let (added, added_rows) = changed(true, true);
        let (deleted, deleted_rows) = changed(false, true);
        vec![
            ("total-data-files", vec![of(Data).count() as u64]),
            ("total-delete-files", vec![deletes as u64]),
            ("total-records", vec![rows(Data)]),
            ("total-files-size", vec![parts, wholes]),
            ("total-position-deletes", vec![rows(PositionDeletes)]),
            ("total-equality-deletes", vec![rows(EqualityDeletes)]),
            ("added-data-files", vec![added]),
            ("added-records", vec![added_rows]),
            ("deleted-data-files", vec![deleted]),
            ("deleted-records", vec![deleted_rows]),
            ("added-delete-files", vec![changed(true, false).0]),
            ("removed-delete-files", vec![changed(false, false).0]),
        ]
    }

    fn summary(&mut self, expected: &[Expected<'_>]) {
        let summary = &self.snapshot.summary().additional_properties;
        for (field, values) in expected {
            let Some(text) = summary.get(*field) else { continue };
            if !text.parse().is_ok_and(|said: u64| values.contains(&said)) {
                let found = values.first().copied().unwrap_or_default();
                let what = format!("its summary says `{field}` is {text}, and it is {found}");
                let location = self.subject.location.as_str();
                self.add(FindingKind::WrongSummary, location, &what);
            }
        }
    }
}
