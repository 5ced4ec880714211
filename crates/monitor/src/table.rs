//! Statistics of tables: written with each commit, found again from the history.
//!
//! A commit's rows are profiled by partition as they pass to the files, and the profiles go into the
//! snapshot's statistics file (Puffin), with what the commit did to the rows that were there. The
//! profile of any state is put together from those of the snapshots that led to it: what a later
//! commit replaced does not count. No row is read.

mod history;
mod partition;
mod resolve;
#[cfg(test)]
mod tests;
mod unit;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_arrays;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use icecore_catalog::{IcebergCatalog, StatisticsBlob};
use icecore_core::{
    BatchStream, Error, PinnedTable, Result, ScanOptions, SnapshotCatalog, TableName,
};

use crate::codec::{Reader, pack, put, put_bytes, unpack};
use crate::{Profile, ProfileOptions};
pub use history::{TableProfile, profile_of_table};
pub use partition::PartitionFilter;
use partition::Partitioning;

/// The kind of our blobs.
pub(crate) const KIND: &str = "icecore-profile-v1";
const MAGIC: &[u8; 8] = b"ictabp1\n";
/// A commit that touches more partitions than this is not profiled: that would take more memory
/// than its statistics are worth.
const PARTITIONS_MAX: usize = 4_096;
/// The table property that turns statistics off.
const ENABLED: &str = "icecore.statistics.enabled";

/// What a commit did with the rows that were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableWriteMode {
    /// It kept them.
    Append,
    /// It replaced all of them.
    Replace,
    /// It replaced those of the partitions that it wrote.
    ReplacePartitions,
    /// It replaced some that nobody counted.
    Delta,
}

/// Profiles rows on their way into a table.
#[derive(Debug, Clone)]
pub struct TableWriter {
    partitioning: Arc<Partitioning>,
    options: ProfileOptions,
    parts: Arc<Mutex<Parts>>,
    is_on: bool,
}

#[derive(Debug, Default)]
struct Parts {
    by_label: BTreeMap<String, Profile>,
    too_many: bool,
}

impl TableWriter {
    /// A writer for a table as it is partitioned now.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such table.
    pub async fn new(
        catalog: &IcebergCatalog,
        table: &TableName,
        options: ProfileOptions,
    ) -> Result<Self> {
        let described = catalog.describe(table).await?;
        let partitioning = Arc::new(Partitioning::parse(&described.partition_by));
        let is_on = described.properties.get(ENABLED).is_none_or(|value| value != "false");
        Ok(Self { partitioning, options, parts: Arc::default(), is_on })
    }

    /// What has passed by, of all partitions together.
    #[must_use]
    pub fn profile(&self) -> Profile {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut profile = Profile::default();
        parts.by_label.values().for_each(|part| profile.merge(part));
        profile
    }

    /// The same rows; what passes by is profiled.
    #[must_use]
    pub fn observe(&self, rows: BatchStream) -> BatchStream {
        if !self.is_on {
            return rows;
        }
        let schema = Arc::clone(rows.schema());
        let writer = self.clone();
        let rows = rows.map(move |batch| {
            let batch = batch?;
            writer.add(&batch)?;
            Ok(batch)
        });
        BatchStream::new(schema, rows)
    }

    fn add(&self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let groups = self.partitioning.groups(batch)?;
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        for (label, rows) in groups {
            if parts.too_many {
                return Ok(());
            }
            let part = match rows {
                None => batch.clone(),
                Some(rows) => {
                    let columns = take_arrays(batch.columns(), &UInt32Array::from(rows), None)?;
                    RecordBatch::try_new(batch.schema(), columns)?
                }
            };
            if !parts.by_label.contains_key(&label) && parts.by_label.len() >= PARTITIONS_MAX {
                parts.too_many = true;
                parts.by_label.clear();
                return Ok(());
            }
            let options = &self.options;
            let profile = parts.by_label.entry(label);
            profile.or_insert_with(|| Profile::empty(&batch.schema(), options)).add(&part)?;
        }
        Ok(())
    }

    /// Puts the statistics of what has passed by into the table's metadata, for the snapshot that
    /// it became.
    ///
    /// # Errors
    ///
    /// Those of [`IcebergCatalog::put_statistics`].
    pub async fn store(
        &self,
        catalog: &IcebergCatalog,
        pin: &PinnedTable,
        mode: TableWriteMode,
    ) -> Result<()> {
        let blob = {
            let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
            if parts.too_many || !self.is_on || pin.snapshot == PinnedTable::EMPTY {
                return Ok(());
            }
            // Without knowing partitions, nobody knows which rows were replaced.
            let mode = match mode {
                TableWriteMode::ReplacePartitions if !self.partitioning.is_known() => {
                    TableWriteMode::Delta
                }
                TableWriteMode::ReplacePartitions if self.partitioning.is_none() => {
                    TableWriteMode::Replace
                }
                mode => mode,
            };
            blob(&parts.by_label, mode)?
        };
        catalog.put_statistics(pin, vec![blob]).await
    }

    /// As [`store`](Self::store), but for work that is done whether or not its statistics can be
    /// kept: what goes wrong is logged.
    pub async fn store_or_warn(
        &self,
        catalog: &IcebergCatalog,
        pin: &PinnedTable,
        mode: TableWriteMode,
    ) {
        if let Err(error) = self.store(catalog, pin, mode).await {
            tracing::warn!(%pin, %error, "the rows are stored, and their statistics are not");
        }
    }
}

fn blob(parts: &BTreeMap<String, Profile>, mode: TableWriteMode) -> Result<StatisticsBlob> {
    let mut body = Vec::new();
    put(&mut body, mode_number(mode));
    put(&mut body, parts.len() as u64);
    for (label, profile) in parts {
        put_bytes(&mut body, label.as_bytes());
        body.extend(profile.encoded());
    }
    let rows: u64 = parts.values().map(Profile::rows).sum();
    let properties = [("rows", rows.to_string()), ("partitions", parts.len().to_string())];
    Ok(StatisticsBlob {
        kind: KIND.to_owned(),
        fields: Vec::new(),
        properties: properties.map(|(name, value)| (name.to_owned(), value)).into(),
        data: Bytes::from(pack(MAGIC, &body)?),
    })
}

/// What a blob says: what the commit did, and a profile of each partition.
fn read_blob(blob: &StatisticsBlob) -> Result<(TableWriteMode, Vec<(String, Profile)>)> {
    let body = unpack(MAGIC, &blob.data)?;
    let mut reader = Reader(&body);
    let corrupt = || Error::corrupt("these bytes are not statistics of a table");
    let mode = reader.number().and_then(mode_of).ok_or_else(corrupt)?;
    let mut parts = Vec::new();
    for _ in 0..reader.number().ok_or_else(corrupt)? {
        let label = reader.text().ok_or_else(corrupt)?;
        parts.push((label, Profile::decoded(&mut reader).ok_or_else(corrupt)?));
    }
    Ok((mode, parts))
}

const fn mode_number(mode: TableWriteMode) -> u64 {
    match mode {
        TableWriteMode::Append => 0,
        TableWriteMode::Replace => 1,
        TableWriteMode::ReplacePartitions => 2,
        TableWriteMode::Delta => 3,
    }
}

const fn mode_of(number: u64) -> Option<TableWriteMode> {
    match number {
        0 => Some(TableWriteMode::Append),
        1 => Some(TableWriteMode::Replace),
        2 => Some(TableWriteMode::ReplacePartitions),
        3 => Some(TableWriteMode::Delta),
        _ => None,
    }
}

/// Reads the rows of a state, or of some of its partitions, and profiles them; with `keep`, the
/// rows come along.
///
/// # Errors
///
/// `NotFound` if the state has expired; `InvalidInput` for partitions that the table does not have.
pub async fn scan_profile(
    catalog: &IcebergCatalog,
    pin: &PinnedTable,
    filter: Option<&PartitionFilter>,
    options: &ProfileOptions,
    mut each: impl FnMut(RecordBatch),
) -> Result<Profile> {
    let described = catalog.describe(&pin.table).await?;
    let partitioning = Partitioning::parse(&described.partition_by);
    let schema = catalog.schema(pin).await?;
    let mut scan = ScanOptions::default();
    if let Some(filter) = filter {
        partitioning.check(filter)?;
        scan.filter = partitioning.predicate(filter, &schema);
    }
    let mut rows = catalog.scan(pin, scan).await?;
    let mut profile = Profile::empty(rows.schema(), options);
    while let Some(batch) = rows.try_next().await? {
        for (label, rows) in partitioning.groups(&batch)? {
            if filter.is_some_and(|filter| !filter.takes(&label)) {
                continue;
            }
            let part = match rows {
                None => batch.clone(),
                Some(rows) => {
                    let columns = take_arrays(batch.columns(), &UInt32Array::from(rows), None)?;
                    RecordBatch::try_new(batch.schema(), columns)?
                }
            };
            profile.add(&part)?;
            each(part);
        }
    }
    Ok(profile)
}

/// Reads a state once and keeps its statistics in the table's metadata, for tables that others wrote
/// or whose statistics are not complete.
///
/// # Errors
///
/// `NotFound` if the state has expired, those of a commit.
pub async fn store_profile(
    catalog: &IcebergCatalog,
    pin: &PinnedTable,
    options: ProfileOptions,
) -> Result<()> {
    let writer = TableWriter::new(catalog, &pin.table, options).await?;
    let mut rows = writer.observe(catalog.scan(pin, ScanOptions::default()).await?);
    while rows.try_next().await?.is_some() {}
    writer.store(catalog, pin, TableWriteMode::Replace).await
}
