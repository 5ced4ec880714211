//! Whether the store has what the table has.

use futures::TryStreamExt;
use icecore_core::{
    DigestMap, DigestSet, Error, KeyDigest, PinnedTable, Result, RowVersion, ScanOptions,
    SnapshotCatalog,
};
use icecore_online::{Origin, Row, row_prefix};
use serde::Serialize;

use crate::marker::Marker;
use crate::reader::Reader;
use crate::tiles;
use crate::view::{Source, plan};

/// At most so many differences are named; all are counted.
const NAMED_MAX: usize = 100;
/// Into so many ranges keys are divided, by their hash.
pub(crate) const RANGES: usize = 256;

/// How a row of the store differs from the table's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// The table has it, the store has not.
    Missing,
    /// The store has it, the table has not.
    Extra,
    /// Its time is another one.
    Version,
    /// Its values are others.
    Values,
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The row's key in the store.
    pub key: String,
    /// How it differs.
    pub kind: DifferenceKind,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The view.
    pub view: String,
    /// The state of its table that the store should have.
    pub source: PinnedTable,
    /// Entities of the table.
    pub offline_rows: u64,
    /// Rows of the store.
    pub online_rows: u64,
    /// Rows that were pushed and that the table does not have yet.
    pub pushed_rows: u64,
    /// Ranges of keys, and in how many of them the sums of the rows' hashes differ.
    pub ranges: usize,
    /// Ranges that differ.
    pub ranges_differing: usize,
    /// Rows that differ.
    pub different: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
}

impl VerifyReport {
    /// Nothing was compared yet.
    pub(crate) fn new(view: &str, source: &PinnedTable) -> Self {
        Self {
            view: view.to_owned(),
            source: source.clone(),
            offline_rows: 0,
            online_rows: 0,
            pushed_rows: 0,
            ranges: RANGES,
            ranges_differing: 0,
            different: 0,
            differences: Vec::new(),
        }
    }

    /// Counts a row that differs, and names it where there are not too many yet.
    pub(crate) fn differs(&mut self, key: &[u8], kind: DifferenceKind) {
        self.different += 1;
        self.name(key, kind);
    }

    fn name(&mut self, key: &[u8], kind: DifferenceKind) {
        if self.differences.len() < NAMED_MAX {
            let key = String::from_utf8_lossy(key).into_owned();
            self.differences.push(Difference { key, kind });
        }
    }

    /// Whether the store has what the table has.
    #[must_use]
    pub const fn is_equal(&self) -> bool {
        self.different == 0
    }
}

#[derive(Debug)]
struct Offline {
    version: RowVersion,
    values: u64,
    is_found: bool,
}

type Table = DigestMap<Offline>;

/// Compares the store with the state of the table that it was brought to, row by row, to the bit.
///
/// # Errors
///
/// `NotFound` for an unknown view and for one that was never materialized, `Conflict` while it is
/// being materialized or after a job that was killed.
pub async fn verify_view(source: &Source<'_>, view: &str) -> Result<VerifyReport> {
    let definition = source.definitions.view(view)?;
    let marker = Marker::read(&**source.store.store(), view).await?;
    let again = format!("run `icecore online materialize {view}`");
    let marker = marker.ok_or_else(|| {
        Error::not_found(format!("`{view}` was never materialized")).with_help(&again)
    })?;
    let (Some(pin), None) = (&marker.source, &marker.towards) else {
        return Err(Error::new(
            icecore_core::ErrorKind::Conflict,
            format!("`{view}` is being materialized, or the job was interrupted"),
        )
        .with_help(&again));
    };
    if !definition.online.is_rows() {
        return tiles::verify(source, view, pin).await;
    }
    let planned = plan(source, view).await?;
    let mut report = VerifyReport::new(view, pin);
    let reader = Reader::new(&planned.shape, Origin::Table);
    let mut ranges = vec![0_u64; RANGES];
    let mut offline = read_table(source, &reader, (&planned.shape.columns(), pin)).await?;
    report.offline_rows = offline.len() as u64;
    for (key, row) in &offline {
        add(&mut ranges, *key, row.values);
    }
    compare(source, view, &mut offline, &mut ranges, &mut report).await?;
    report.ranges_differing = ranges.iter().filter(|sum| **sum != 0).count();
    let missing = offline.values().filter(|row| !row.is_found).count() as u64;
    report.different += missing;
    if missing > 0 {
        name_missing(source, &reader, (&planned.shape.columns(), pin), &offline, &mut report)
            .await?;
    }
    Ok(report)
}

fn add(ranges: &mut [u64], key: KeyDigest, values: u64) {
    if let Some(sum) = ranges.get_mut(key.part(RANGES)) {
        *sum = sum.wrapping_add(values);
    }
}

/// What stands for a row's time and values.
fn fingerprint(version: RowVersion, payload: &[u8]) -> u64 {
    KeyDigest::of(&[&version.to_bytes()[..], payload].concat()).half()
}

async fn read_table(
    source: &Source<'_>,
    reader: &Reader<'_>,
    (columns, pin): (&[String], &PinnedTable),
) -> Result<Table> {
    let mut table = Table::default();
    let scan = ScanOptions::default().with_columns(columns.iter().cloned());
    let mut rows = source.engine.catalog().scan(pin, scan).await?;
    while let Some(batch) = rows.try_next().await? {
        let read = reader.read(&batch)?;
        for ((key, version), row) in read.keys.iter().zip(read.versions).zip(read.rows) {
            let known = table.get(&KeyDigest::of(key)).map(|known| known.version);
            if known.is_none_or(|known| known <= version) {
                let values = fingerprint(version, Row::parse(row)?.payload());
                table.insert(KeyDigest::of(key), Offline { version, values, is_found: false });
            }
        }
    }
    Ok(table)
}

async fn compare(
    source: &Source<'_>,
    view: &str,
    offline: &mut Table,
    ranges: &mut [u64],
    report: &mut VerifyReport,
) -> Result<()> {
    let prefix = row_prefix(view);
    let mut extra = DigestSet::default();
    let mut cursor = None;
    loop {
        let page = source.store.store().scan(&prefix, cursor).await?;
        for (key, bytes) in page.rows {
            let row = Row::parse(bytes)?;
            let values = fingerprint(row.version(), row.payload());
            let is_pushed = row.origin() == Origin::Push;
            let kind = match offline.get_mut(&KeyDigest::of(&key)) {
                // A scan may find a row twice.
                Some(known) if known.is_found => continue,
                Some(known) => {
                    known.is_found = true;
                    let is_ahead = is_pushed && row.version() > known.version;
                    add(
                        ranges,
                        KeyDigest::of(&key),
                        if is_ahead { known.values } else { values }.wrapping_neg(),
                    );
                    match () {
                        () if is_ahead => None,
                        () if row.version() != known.version => Some(DifferenceKind::Version),
                        () if values != known.values => Some(DifferenceKind::Values),
                        () => None,
                    }
                }
                None if !extra.insert(KeyDigest::of(&key)) => continue,
                None if is_pushed => None,
                None => {
                    add(ranges, KeyDigest::of(&key), values.wrapping_neg());
                    Some(DifferenceKind::Extra)
                }
            };
            report.online_rows += 1;
            report.pushed_rows += u64::from(is_pushed);
            if let Some(kind) = kind {
                report.differs(&key, kind);
            }
        }
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

/// Reads the table once more for the names of the rows that the store does not have.
async fn name_missing(
    source: &Source<'_>,
    reader: &Reader<'_>,
    (columns, pin): (&[String], &PinnedTable),
    offline: &Table,
    report: &mut VerifyReport,
) -> Result<()> {
    let scan = ScanOptions::default().with_columns(columns.iter().cloned());
    let mut rows = source.engine.catalog().scan(pin, scan).await?;
    let mut named = DigestSet::default();
    while let Some(batch) = rows.try_next().await? {
        for key in reader.read(&batch)?.keys {
            let is_missing = offline.get(&KeyDigest::of(&key)).is_some_and(|row| !row.is_found);
            if is_missing && named.insert(KeyDigest::of(&key)) {
                report.name(&key, DifferenceKind::Missing);
            }
        }
        if report.differences.len() >= NAMED_MAX {
            break;
        }
    }
    Ok(())
}
