//! Statistics of snapshots: blobs in a Puffin file that the table's metadata names.
//!
//! The format is [Puffin](https://iceberg.apache.org/puffin-spec/); which statistics a blob holds is
//! the business of whoever writes it. A snapshot has one statistics file, so what others put there
//! is written along.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use iceberg::puffin::{APACHE_DATASKETCHES_THETA_V1, CREATED_BY_PROPERTY};
use iceberg::spec::{BlobMetadata, StatisticsFile};
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use icecore_core::{Error, ErrorKind, PinnedTable, Result};
use serde_json::{Value, json};

use super::IcebergCatalog;
use crate::commit::Plan;
use crate::error::Context as _;
use crate::ids::new_uuid;
use crate::storage::{Piece, read_puffin};

const MAGIC: &[u8; 4] = b"PFA1";
const NO_FLAGS: [u8; 4] = [0; 4];
/// How often others may put statistics of the same snapshot first.
const TRIES_MAX: usize = 8;

/// A piece of statistics of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatisticsBlob {
    /// What it is, such as `apache-datasketches-theta-v1`.
    pub kind: String,
    /// The ids of the columns that it is about.
    pub fields: Vec<i32>,
    /// Properties.
    pub properties: BTreeMap<String, String>,
    /// The statistics themselves.
    pub data: Bytes,
}

impl IcebergCatalog {
    /// Puts statistics of a snapshot into the table's metadata, in place of those of equal kinds.
    /// The snapshot and every pin stay as they are.
    ///
    /// # Errors
    ///
    /// `NotFound` if the table or the snapshot is gone, those of a commit.
    pub async fn put_statistics(
        &self,
        pin: &PinnedTable,
        blobs: Vec<StatisticsBlob>,
    ) -> Result<()> {
        for _ in 1..TRIES_MAX {
            match self.try_put(pin, &blobs).await {
                // What others put there meanwhile has to be written along.
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    tracing::debug!(table = %pin.table, %error, "other statistics came first");
                }
                done => return done,
            }
        }
        self.try_put(pin, &blobs).await
    }

    /// Writes statistics along with those that are there, unless those change meanwhile.
    async fn try_put(&self, pin: &PinnedTable, new: &[StatisticsBlob]) -> Result<()> {
        let table = self.tables_now().load(&pin.table).await?;
        let sequence_number = snapshot_of(&table, pin)?;
        let before = path_of(&table, pin);
        let others = read(&table, pin.snapshot.get()).await?.into_iter();
        let is_kept = |other: &StatisticsBlob| new.iter().all(|new| new.kind != other.kind);
        let blobs: Vec<StatisticsBlob> =
            new.iter().cloned().chain(others.filter(is_kept)).collect();
        let file = encode(&blobs, (pin.snapshot.get(), sequence_number))?;
        let id = new_uuid(&**self.tables_now().ids());
        let location = table.metadata().location().trim_end_matches('/');
        let path = format!("{location}/metadata/{}-{id}.stats", pin.snapshot);
        let statistics = StatisticsFile {
            snapshot_id: pin.snapshot.get(),
            statistics_path: path.clone(),
            file_size_in_bytes: signed(file.bytes.len())?,
            file_footer_size_in_bytes: signed(file.footer)?,
            key_metadata: None,
            blob_metadata: file.described,
        };
        let output =
            table.file_io().new_output(&path).context(|| format!("cannot create `{path}`"))?;
        output.write(file.bytes).await.context(|| format!("cannot write `{path}`"))?;
        let done = self.edit(&pin.table, |head| plan(head, pin, (before, &statistics))).await;
        if done.as_ref().is_err_and(|error| error.kind() != ErrorKind::OutcomeUnknown) {
            self.tables_now().discard(std::slice::from_ref(&path)).await;
        }
        done?;
        // Over REST nobody compares: of two that come at once, the first finds itself replaced.
        let now = self.tables_now().load(&pin.table).await?;
        match path_of(&now, pin) == Some(path.as_str()) || !self.tables_now().is_remote() {
            true => Ok(()),
            false => Err(replaced(pin)),
        }
    }

    /// The statistics that the table's metadata names for a snapshot; none where there are none.
    ///
    /// # Errors
    ///
    /// `NotFound` if the table is gone; `DataCorrupt` for a file that is no Puffin file,
    /// `LimitExceeded` for one that is inflated to more than `storage.inflated_limit`.
    pub async fn statistics(&self, pin: &PinnedTable) -> Result<Vec<StatisticsBlob>> {
        let table = self.tables_now().load(&pin.table).await?;
        read(&table, pin.snapshot.get()).await
    }
}

/// The sequence number of a pinned snapshot.
fn snapshot_of(table: &Table, pin: &PinnedTable) -> Result<i64> {
    let metadata = table.metadata();
    let snapshot = metadata.snapshot_by_id(pin.snapshot.get());
    match snapshot.filter(|_| metadata.uuid().to_string() == pin.uuid) {
        Some(snapshot) => Ok(snapshot.sequence_number()),
        None => Err(Error::not_found(format!("`{pin}` is not there any more"))),
    }
}

/// The file that holds the statistics of a pinned snapshot.
fn path_of<'t>(table: &'t Table, pin: &PinnedTable) -> Option<&'t str> {
    let file = table.metadata().statistics_for_snapshot(pin.snapshot.get());
    file.map(|file| file.statistics_path.as_str())
}

/// Names statistics that were written along with those of the file `before`.
fn plan(
    head: &Table,
    pin: &PinnedTable,
    (before, statistics): (Option<&str>, &StatisticsFile),
) -> Result<Plan> {
    snapshot_of(head, pin)?;
    let now = path_of(head, pin);
    if now == Some(statistics.statistics_path.as_str()) {
        return Ok(Plan::Nothing);
    }
    if now != before {
        return Err(replaced(pin));
    }
    Ok(Plan::Apply {
        requirements: vec![TableRequirement::UuidMatch { uuid: head.metadata().uuid() }],
        updates: vec![TableUpdate::SetStatistics { statistics: statistics.clone() }],
    })
}

fn replaced(pin: &PinnedTable) -> Error {
    let text = format!("other statistics of `{pin}` were put there meanwhile");
    Error::new(ErrorKind::Conflict, text).with_help("put them again")
}

async fn read(table: &Table, snapshot: i64) -> Result<Vec<StatisticsBlob>> {
    let Some(file) = table.metadata().statistics_for_snapshot(snapshot) else {
        return Ok(Vec::new());
    };
    let pieces = read_puffin(table.file_io(), &file.statistics_path).await?.into_iter();
    let blob = |Piece { kind, fields, properties, data }| StatisticsBlob {
        kind,
        fields,
        properties,
        data,
    };
    Ok(pieces.map(blob).collect())
}

struct Encoded {
    bytes: Bytes,
    footer: usize,
    described: Vec<BlobMetadata>,
}

/// A Puffin file of these blobs.
fn encode(blobs: &[StatisticsBlob], (snapshot, sequence): (i64, i64)) -> Result<Encoded> {
    let mut file = MAGIC.to_vec();
    let mut listed: Vec<Value> = Vec::with_capacity(blobs.len());
    for blob in blobs {
        listed.push(json!({
            "type": blob.kind,
            "fields": blob.fields,
            "snapshot-id": snapshot,
            "sequence-number": sequence,
            "offset": file.len(),
            "length": blob.data.len(),
            "properties": blob.properties,
        }));
        file.extend_from_slice(&blob.data);
    }
    let created_by = concat!("icecore ", env!("CARGO_PKG_VERSION"));
    let footer = json!({ "blobs": listed, "properties": { CREATED_BY_PROPERTY: created_by } });
    let footer = footer.to_string();
    let begin = file.len();
    file.extend(MAGIC);
    file.extend(footer.as_bytes());
    let length = u32::try_from(footer.len())
        .map_err(|_| Error::unsupported("the statistics of a snapshot have too many parts"))?;
    file.extend(length.to_le_bytes());
    file.extend(NO_FLAGS);
    file.extend(MAGIC);
    let footer = file.len() - begin;
    // Readers that check metadata strictly refuse a table that names kinds that they do not know:
    // those stand in the file's own footer alone.
    let standard = blobs.iter().filter(|blob| blob.kind == APACHE_DATASKETCHES_THETA_V1);
    let described = standard.map(|blob| BlobMetadata {
        r#type: blob.kind.clone(),
        snapshot_id: snapshot,
        sequence_number: sequence,
        fields: blob.fields.clone(),
        properties: blob.properties.clone().into_iter().collect::<HashMap<_, _>>(),
    });
    Ok(Encoded { footer, described: described.collect(), bytes: file.into() })
}

fn signed(size: usize) -> Result<i64> {
    i64::try_from(size).map_err(|_| Error::unsupported("statistics exceed 2^63 bytes"))
}
