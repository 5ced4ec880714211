//! Whether every file is there, in the table, and as long as recorded.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::TableMetadata;
use icecore_core::{Error, Result};

use super::entries::Contents;
use super::finding::{FindingKind, Findings};
use super::{Subject, is_damage};
use crate::error::Context;

/// Files that are looked for at once.
const LOOKS_AT_ONCE: usize = 32;

/// Properties that put files of a table outside of its location.
const OTHER_ROOTS: [&str; 3] =
    ["write.data.path", "write.metadata.path", "write.object-storage.path"];

/// Looks for every file that some snapshot needs.
pub(super) async fn check(
    subject: &Subject,
    contents: &Contents,
    findings: &mut Findings,
) -> Result<()> {
    let expected = expected(subject, contents, findings);
    let metadata = &subject.metadata;
    let mut looks = stream::iter(expected)
        .map(async |(path, expected)| {
            let is_inside = holds(metadata, &path);
            let size = if is_inside { size_of(subject, &path).await? } else { None };
            Ok::<_, Error>((path, expected, size))
        })
        .buffered(LOOKS_AT_ONCE);
    while let Some((path, expected, size)) = looks.try_next().await? {
        if !holds(metadata, &path) {
            findings.add(FindingKind::OutsideTable, &path, "it lies outside of the table");
            continue;
        }
        match (size, expected.bytes) {
            (None, _) => {
                let message = format!("{} needs it, and it is not there", expected.by);
                findings.add(FindingKind::MissingFile, &path, message);
            }
            (Some(size), Some(bytes)) if size != bytes => {
                let message = format!("it has {size} bytes, and {} says {bytes}", expected.by);
                findings.add(FindingKind::WrongSize, &path, message);
            }
            _ => {}
        }
    }
    Ok(())
}

struct Expected {
    /// Its length, where somebody knows.
    bytes: Option<u64>,
    /// Who needs it, in words.
    by: String,
}

/// Every file, in order of its path.
fn expected(
    subject: &Subject,
    contents: &Contents,
    findings: &mut Findings,
) -> BTreeMap<String, Expected> {
    let metadata = &subject.metadata;
    let mut files: BTreeMap<String, Expected> = BTreeMap::new();
    let mut add = |path: &str, bytes: Option<u64>, by: String| {
        let known = files.entry(path.to_owned()).or_insert(Expected { bytes, by });
        if known.bytes != bytes {
            let message = format!("{} says another length than others do", known.by);
            findings.add(FindingKind::BadEntry, path, message);
        }
    };
    for snapshot in metadata.snapshots() {
        let by = format!("snapshot {}", snapshot.snapshot_id());
        add(snapshot.manifest_list(), None, by);
    }
    for manifest in &contents.manifests {
        let bytes = u64::try_from(manifest.manifest_length).ok();
        add(&manifest.manifest_path, bytes, format!("snapshot {}", manifest.added_snapshot_id));
    }
    for of in &contents.files {
        let bytes = Some(of.file.file_size_in_bytes());
        add(of.file.file_path(), bytes, format!("manifest `{}`", of.manifest));
    }
    for statistics in metadata.statistics_iter() {
        let bytes = u64::try_from(statistics.file_size_in_bytes).ok();
        add(&statistics.statistics_path, bytes, "the metadata".to_owned());
    }
    for statistics in metadata.partition_statistics_iter() {
        let bytes = u64::try_from(statistics.file_size_in_bytes).ok();
        add(&statistics.statistics_path, bytes, "the metadata".to_owned());
    }
    files
}

async fn size_of(subject: &Subject, path: &str) -> Result<Option<u64>> {
    let cannot = || format!("cannot look for `{path}`");
    let look = async {
        let input = subject.io.new_input(path).context(cannot)?;
        input.metadata().await.context(cannot)
    };
    match look.await {
        Ok(found) => Ok(Some(found.size)),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a file lies where the files of a table may.
pub(super) fn holds(metadata: &TableMetadata, path: &str) -> bool {
    let others = OTHER_ROOTS.iter().filter_map(|name| metadata.properties().get(*name));
    std::iter::once(metadata.location())
        .chain(others.map(String::as_str))
        .any(|root| is_below(path, root))
}

fn is_below(path: &str, root: &str) -> bool {
    let root = root.trim_end_matches('/');
    path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'))
}
