//! Which files a state of a table needs.

use std::collections::{BTreeMap, BTreeSet};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use iceberg::io::FileIO;
use iceberg::spec::{FormatVersion, ManifestFile, Snapshot, TableMetadata};
use icecore_core::Result;

use crate::fsck::is_damage;
use crate::storage;

/// Lists and manifests that are read at once.
const READS_AT_ONCE: usize = 8;

/// A file that metadata names. Its length is as recorded where the metadata records one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) location: String,
    pub(super) bytes: u64,
}

/// What becomes of a list or manifest that cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// It is an error.
    Fails,
    /// It is passed over.
    IsSkipped,
}

impl Damage {
    fn check<T>(self, path: &str, read: Result<T>) -> Result<Option<T>> {
        match read {
            Err(error) if self == Self::IsSkipped && is_damage(&error) => {
                tracing::warn!(path, %error, "passed over what cannot be read");
                Ok(None)
            }
            read => read.map(Some),
        }
    }
}

/// What snapshots are made of, down to their manifests.
#[derive(Debug, Default)]
pub(super) struct Skeleton {
    pub(super) lists: BTreeSet<String>,
    pub(super) manifests: BTreeMap<String, ManifestFile>,
}

/// The manifests of some snapshots, each once.
pub(super) async fn skeleton<'s>(
    io: &FileIO,
    version: FormatVersion,
    snapshots: impl IntoIterator<Item = &'s Snapshot>,
    damage: Damage,
) -> Result<Skeleton> {
    let lists: BTreeSet<String> =
        snapshots.into_iter().map(|snapshot| snapshot.manifest_list().to_owned()).collect();
    let mut reads = stream::iter(lists.iter().cloned())
        .map(async |path| {
            let read = storage::guarded(&path, storage::read_list(io, &path, version)).await;
            damage.check(&path, read)
        })
        .buffer_unordered(READS_AT_ONCE);
    let mut manifests = BTreeMap::new();
    while let Some(list) = reads.try_next().await? {
        for manifest in list.into_iter().flatten() {
            manifests.insert(manifest.manifest_path.clone(), manifest);
        }
    }
    drop(reads);
    Ok(Skeleton { lists, manifests })
}

/// The data and delete files that are alive in each manifest. The files of one manifest come
/// together; a file comes once for each manifest that names it.
pub(super) fn live_files<'a>(
    io: &'a FileIO,
    manifests: impl IntoIterator<Item = &'a ManifestFile>,
    damage: Damage,
) -> impl Stream<Item = Result<Vec<Named>>> + 'a {
    let manifests: Vec<&ManifestFile> = manifests.into_iter().collect();
    stream::iter(manifests)
        .map(move |file| async move {
            let path = &file.manifest_path;
            let read = storage::read_manifest(io, file).await;
            let Some(manifest) = damage.check(path, read)? else { return Ok(Vec::new()) };
            let live = manifest.entries().iter().filter(|entry| entry.is_alive());
            Ok(live
                .map(|entry| Named {
                    location: entry.file_path().to_owned(),
                    bytes: entry.file_size_in_bytes(),
                })
                .collect())
        })
        .buffer_unordered(READS_AT_ONCE)
}

/// Statistics of the snapshots that a filter takes.
pub(super) fn statistics(
    metadata: &TableMetadata,
    takes: impl Fn(i64) -> bool + Copy,
) -> impl Iterator<Item = Named> {
    let named = |location: &String, bytes: i64| Named {
        location: location.clone(),
        bytes: u64::try_from(bytes).unwrap_or(0),
    };
    let whole = metadata
        .statistics_iter()
        .filter(move |of| takes(of.snapshot_id))
        .map(move |of| named(&of.statistics_path, of.file_size_in_bytes));
    let parts = metadata
        .partition_statistics_iter()
        .filter(move |of| takes(of.snapshot_id))
        .map(move |of| named(&of.statistics_path, of.file_size_in_bytes));
    whole.chain(parts)
}
