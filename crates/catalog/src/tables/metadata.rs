//! Making and writing a table's next metadata.

use std::io::{self, Write};
use std::str::FromStr;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use iceberg::spec::{MAIN_BRANCH, TableMetadata};
use iceberg::table::Table;
use iceberg::{MetadataLocation, TableRequirement, TableUpdate};
use icecore_core::{Error, Result, TableName};
use serde_json::Value;
use uuid::Uuid;

use super::{Tables, location_of};
use crate::error::Context;
use crate::ids::new_uuid;

pub(super) const GZIP_SUFFIX: &str = ".gz.metadata.json";
/// Letters of a uuid with its hyphens.
const UUID_CHARS: usize = 36;

/// A table's next metadata, written but not pointed at.
#[derive(Debug)]
pub(super) struct NextMetadata {
    pub(super) location: String,
    /// The table as it will be. It is made before the swap, after which nothing may fail.
    pub(super) table: Table,
    /// Older metadata files that it names no more.
    pub(super) forgotten: Vec<String>,
}

impl Tables {
    /// Writes the metadata that a new table begins with.
    pub(super) async fn write_first(
        &self,
        name: &TableName,
        metadata: TableMetadata,
    ) -> Result<NextMetadata> {
        let location = MetadataLocation::new_with_metadata(metadata.location(), &metadata);
        let now = self.clock.now().millis();
        self.write(name, &location, stamped(&metadata, now, false)?).await
    }

    /// Applies updates to a state of a table and writes the metadata that results. Nothing points
    /// at it yet.
    pub(super) async fn write_next(
        &self,
        name: &TableName,
        head: &Table,
        updates: Vec<TableUpdate>,
    ) -> Result<NextMetadata> {
        let adds = updates.iter().any(|update| matches!(update, TableUpdate::AddSnapshot { .. }));
        let moves_main = updates.iter().any(|update| {
            matches!(update, TableUpdate::SetSnapshotRef { ref_name, .. } if ref_name == MAIN_BRANCH)
        });
        let current = location_of(head)?;
        let cannot = || format!("cannot change the metadata of table `{name}`");
        let mut builder = head.metadata().clone().into_builder(Some(current.to_owned()));
        for update in updates {
            builder = update.apply(builder).context(cannot)?;
        }
        let built = builder.build().context(cannot)?;
        let (metadata, expired) = (built.metadata, built.expired_metadata_logs);
        let value = if adds {
            let at = metadata.last_updated_ms();
            stamped(&metadata, at, false)?
        } else {
            let at = self.clock.now().millis().max(head.metadata().last_updated_ms());
            stamped(&metadata, at, moves_main)?
        };
        let location = MetadataLocation::from_str(current)
            .context(cannot)?
            .with_next_version()
            .with_new_metadata(&metadata);
        let mut next = self.write(name, &location, value).await?;
        next.forgotten = expired.into_iter().map(|entry| entry.metadata_file).collect();
        Ok(next)
    }

    async fn write(
        &self,
        name: &TableName,
        location: &MetadataLocation,
        value: Value,
    ) -> Result<NextMetadata> {
        let location = &renamed(location, new_uuid(&**self.ids()))?;
        let path = location.to_string();
        let cannot = || format!("cannot write metadata `{path}`");
        let bytes = serde_json::to_vec(&value).context(cannot)?;
        let metadata: TableMetadata = serde_json::from_value(value)
            .context(|| "cannot understand metadata that icecore made")?;
        let table = self.build(name, metadata, &path)?;
        let bytes =
            if path.ends_with(GZIP_SUFFIX) { zipped(&bytes).context(cannot)? } else { bytes };
        let output = self.io.new_output(&path).context(cannot)?;
        output.write(Bytes::from(bytes)).await.context(cannot)?;
        Ok(NextMetadata { location: path, table, forgotten: Vec::new() })
    }
}

/// Bytes as gzip has them: the same for the same bytes.
fn zipped(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The same location with another id: Iceberg takes one from the operating system.
fn renamed(location: &MetadataLocation, id: Uuid) -> Result<MetadataLocation> {
    let text = location.to_string();
    // `FOLDER/VERSION-UUID.metadata.json`, perhaps `.gz.metadata.json`.
    let id_at = text.rfind('/').and_then(|slash| Some(slash + text.get(slash..)?.find('-')? + 1));
    let parts = id_at.and_then(|at| text.get(..at).zip(text.get(at + UUID_CHARS..)));
    let (before, after) =
        parts.ok_or_else(|| Error::internal(format!("metadata `{text}` has no id")))?;
    MetadataLocation::from_str(&format!("{before}{id}{after}"))
        .context(|| format!("cannot name the metadata after `{text}`"))
}

/// Fails where a state of a table does not meet a requirement.
pub(super) fn check(
    name: &TableName,
    head: &TableMetadata,
    requirements: &[TableRequirement],
) -> Result<()> {
    for requirement in requirements {
        requirement
            .check(Some(head))
            .context(|| format!("table `{name}` is not what the change was made for"))?;
    }
    Ok(())
}

/// Metadata as JSON whose times come from our clock, and whose snapshots are in order.
///
/// The builder reads the machine's clock wherever no snapshot was added, and keeps snapshots in a
/// hash map, while other readers list them as they stand in the file.
fn stamped(metadata: &TableMetadata, now_ms: i64, log_too: bool) -> Result<Value> {
    let mut value = serde_json::to_value(metadata).context(|| "cannot write metadata as JSON")?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("last-updated-ms".to_owned(), now_ms.into());
        if let Some(snapshots) = fields.get_mut("snapshots").and_then(Value::as_array_mut) {
            snapshots.sort_by_key(|snapshot| {
                snapshot.get("sequence-number").and_then(Value::as_i64).unwrap_or(0)
            });
        }
        let log = fields.get_mut("snapshot-log").and_then(Value::as_array_mut);
        if let Some(last) = log.and_then(|log| log.last_mut()).filter(|_| log_too)
            && let Some(entry) = last.as_object_mut()
        {
            entry.insert("timestamp-ms".to_owned(), now_ms.into());
        }
    }
    Ok(value)
}
