//! The border to parsers of other crates: what they are given is limited, and what they panic about
//! is a damaged file.

use std::io::Read;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures::FutureExt;
use iceberg::io::FileIO;
use iceberg::spec::{
    FormatVersion, Manifest, ManifestFile, ManifestList, ManifestStatus, SnapshotRef, TableMetadata,
};
use iceberg::table::Table;
use icecore_core::{Error, ErrorKind, Result};

use super::avro;
use super::limits::{StorageLimits, exceeded};
use super::listed::ListedEntry;
use super::unread::unread_column;
use crate::error::Context;

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Runs a parser of another crate over a file.
///
/// # Errors
///
/// `DataCorrupt` naming the file if the parser panics: they take for granted what a damaged file
/// does not hold.
pub(crate) async fn guarded<T>(
    location: &str,
    parse: impl Future<Output = Result<T>>,
) -> Result<T> {
    match AssertUnwindSafe(parse).catch_unwind().await {
        // Whatever a parser did not expect, it is the file that holds it.
        Ok(Err(error)) if error.kind() == ErrorKind::Internal => {
            Err(Error::corrupt(format!("`{location}` cannot be parsed")).with_source(error))
        }
        Ok(parsed) => parsed,
        Err(panic) => {
            let said = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
            let error = Error::corrupt(format!("`{location}` cannot be parsed"));
            Err(error.with_note(said.unwrap_or_else(|| "the parser gave up".to_owned())))
        }
    }
}

/// Reads the manifests that a snapshot is made of.
///
/// # Errors
///
/// `DataCorrupt`, `LimitExceeded` or `Denied`, naming the file.
pub(crate) async fn load_list(table: &Table, snapshot: &SnapshotRef) -> Result<Vec<ManifestFile>> {
    let path = snapshot.manifest_list();
    let cannot = || format!("cannot read manifest list `{path}`");
    let load = async {
        if snapshot.encryption_key_id().is_some() {
            let list = table.manifest_list_reader(snapshot).load().await.context(cannot)?;
            return Ok(list.consume_entries().into_iter().collect());
        }
        let (io, version) = (table.file_io(), table.metadata().format_version());
        read_list(io, path, version).await
    };
    guarded(path, load).await
}

/// Reads a manifest list of a table of this format version.
///
/// # Errors
///
/// As [`load_list`].
pub(crate) async fn read_list(
    io: &FileIO,
    path: &str,
    version: FormatVersion,
) -> Result<Vec<ManifestFile>> {
    let cannot = || format!("cannot read manifest list `{path}`");
    let bytes = io.new_input(path).context(cannot)?.read().await.context(cannot)?;
    if let Some(manifests) = avro::list(&bytes, StorageLimits::of_io(io).inflated_bytes) {
        return Ok(manifests);
    }
    let list = ManifestList::parse_with_version(&bytes, version).context(cannot)?;
    Ok(list.consume_entries().into_iter().collect())
}

/// Reads the entries of a manifest.
///
/// # Errors
///
/// As [`load_list`].
pub(crate) async fn load_manifest(table: &Table, manifest: &ManifestFile) -> Result<Manifest> {
    read_manifest(table.file_io(), manifest).await
}

/// Reads what a manifest lists, of which other ones may have had the same header: for those who
/// want to know few things of many files.
///
/// # Errors
///
/// As [`load_list`].
pub(crate) async fn load_entries(
    table: &Table,
    manifest: &ManifestFile,
    headers: &avro::Headers,
) -> Result<Vec<ListedEntry>> {
    let io = table.file_io();
    let load = async {
        if let Some(read) = read_at_once(io, manifest, headers).await? {
            return Ok(read.entries);
        }
        let (entries, _) = read_long(io, manifest).await?.into_parts();
        Ok(entries.into_iter().map(|entry| Arc::unwrap_or_clone(entry).into()).collect())
    };
    guarded(&manifest.manifest_path, load).await
}

/// Reads the entries of a manifest of any table.
///
/// # Errors
///
/// As [`load_list`].
pub(crate) async fn read_manifest(io: &FileIO, manifest: &ManifestFile) -> Result<Manifest> {
    let load = async {
        match read_at_once(io, manifest, &avro::Headers::default()).await? {
            Some(read) => read.unpacked(),
            None => read_long(io, manifest).await,
        }
    };
    guarded(&manifest.manifest_path, load).await
}

/// Reads a manifest with the reader that knows everything.
async fn read_long(io: &FileIO, manifest: &ManifestFile) -> Result<Manifest> {
    let path = &manifest.manifest_path;
    manifest.load_manifest(io).await.context(|| format!("cannot read manifest `{path}`"))
}

/// Reads a manifest that is as its list says, and as the specification says: its bytes are asked
/// for, inflated and looked at once. `None` where it has to be read the long way, if only to say
/// what is wrong with it.
async fn read_at_once(
    io: &FileIO,
    listed: &ManifestFile,
    headers: &avro::Headers,
) -> Result<Option<avro::Manifest>> {
    let limits = StorageLimits::of_io(io);
    let length = u64::try_from(listed.manifest_length).unwrap_or(0);
    if listed.key_metadata.is_some() || length == 0 || length > limits.manifest_bytes {
        return Ok(None);
    }
    let read = async { io.new_input(&listed.manifest_path)?.reader().await?.read(0..length).await };
    let Ok(bytes) = read.await else { return Ok(None) };
    let read = avro::manifest(&bytes, listed, limits.inflated_bytes, headers)?;
    // The beginning of a file whose length is not the listed one may look like a whole one.
    Ok(read.filter(|read| has_listed_files(read, listed)))
}

fn has_listed_files(read: &avro::Manifest, listed: &ManifestFile) -> bool {
    let counts = [
        (ManifestStatus::Added, listed.added_files_count),
        (ManifestStatus::Existing, listed.existing_files_count),
        (ManifestStatus::Deleted, listed.deleted_files_count),
    ];
    counts.into_iter().all(|(status, wanted)| {
        let found = read.entries.iter().filter(|entry| entry.status == status).count();
        wanted.is_some_and(|wanted| wanted as usize == found)
    })
}

/// Reads a metadata file, compressed or not.
///
/// # Errors
///
/// `DataCorrupt` or `LimitExceeded` naming the file.
pub(crate) async fn read_metadata(io: &FileIO, location: &str) -> Result<TableMetadata> {
    read_metadata_within(io, location, StorageLimits::default().inflated_bytes).await
}

/// Reads a metadata file that is at most this large when inflated.
pub(super) async fn read_metadata_within(
    io: &FileIO,
    location: &str,
    limit: u64,
) -> Result<TableMetadata> {
    let cannot = || format!("cannot read metadata `{location}`");
    let bytes = io.new_input(location).context(cannot)?.read().await.context(cannot)?;
    let bytes = inflated(location, bytes, limit)?;
    let parse = async {
        let parsed = serde_json::from_slice::<TableMetadata>(&bytes).context(cannot);
        parsed.map_err(|error| {
            let json = serde_json::from_slice(&bytes).ok();
            json.and_then(|json| unread_column(location, &json)).unwrap_or(error)
        })
    };
    guarded(location, parse).await
}

/// The content of a file that may be compressed with gzip.
///
/// # Errors
///
/// `LimitExceeded` if it is larger than `limit`, `DataCorrupt` if it cannot be inflated.
fn inflated(location: &str, bytes: Bytes, limit: u64) -> Result<Bytes> {
    if !bytes.starts_with(&GZIP) {
        return Ok(bytes);
    }
    let mut content = Vec::new();
    MultiGzDecoder::new(&bytes[..])
        .take(limit.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(|error| Error::corrupt(format!("`{location}` is not whole")).with_source(error))?;
    if content.len() as u64 > limit {
        return Err(exceeded(location, "the inflated content", limit, "storage.inflated_limit"));
    }
    Ok(Bytes::from(content))
}
