//! Features of entities, of several views at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use bytes::Bytes;
use icecore_core::{Error, OnlineEntry, OnlineStore, Result, RowVersion, Span, Timestamp};

use tokio::time::Instant;

use crate::row::{Row, RowSchema, decode};
use crate::row_keys;

/// For how long a schema is taken to be still there.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// What a row is to whoever asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowStatus {
    /// There is one.
    Found,
    /// There is none.
    NotFound,
    /// There is one, and it is older than the view's ttl.
    OutsideMaxAge,
}

/// What a value is to whoever asks for it, by the names that Feast has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureStatus {
    /// It is there.
    Present,
    /// The row is there, and the value is null.
    Null,
    /// The entity has no row.
    NotFound,
    /// The entity's row is older than the view's ttl.
    OutsideMaxAge,
}

impl FeatureStatus {
    /// The word for it in answers.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Present => "PRESENT",
            Self::Null => "NULL_VALUE",
            Self::NotFound => "NOT_FOUND",
            Self::OutsideMaxAge => "OUTSIDE_MAX_AGE",
        }
    }
}

/// Which features of which entities of one view.
#[derive(Debug, Clone)]
pub struct ViewRead {
    /// The view.
    pub view: String,
    /// The columns of its join keys, in their order.
    pub keys: Vec<ArrayRef>,
    /// The features, with the types that they are wanted in.
    pub features: Vec<FieldRef>,
    /// How old a row may be.
    pub ttl: Option<Span>,
}

/// The rows of a view, one for each entity that was asked for.
#[derive(Debug, Clone)]
pub struct ViewRows {
    /// What there is of each entity.
    pub rows: Vec<RowStatus>,
    /// How new each row is.
    pub versions: Vec<Option<RowVersion>>,
    /// A column for each feature; null where there is no value, or one that is too old.
    pub columns: Vec<ArrayRef>,
}

impl ViewRows {
    /// What the value of a feature is.
    #[must_use]
    pub fn status(&self, row: usize, feature: usize) -> FeatureStatus {
        match self.rows.get(row) {
            Some(RowStatus::OutsideMaxAge) => FeatureStatus::OutsideMaxAge,
            Some(RowStatus::Found) => match self.columns.get(feature) {
                Some(column) if row < column.len() && column.is_valid(row) => {
                    FeatureStatus::Present
                }
                _ => FeatureStatus::Null,
            },
            Some(RowStatus::NotFound) | None => FeatureStatus::NotFound,
        }
    }
}

/// Rows of feature views in a store. Clones share what they know of schemas.
#[derive(Clone)]
pub struct FeatureStore {
    store: Arc<dyn OnlineStore>,
    schemas: Arc<Mutex<HashMap<u32, Arc<RowSchema>>>>,
    /// When each schema was last written.
    kept: Arc<Mutex<HashMap<u32, Instant>>>,
}

impl fmt::Debug for FeatureStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeatureStore").field("store", &self.store).finish_non_exhaustive()
    }
}

impl FeatureStore {
    /// Rows in this store.
    #[must_use]
    pub fn new(store: Arc<dyn OnlineStore>) -> Self {
        Self { store, schemas: Arc::default(), kept: Arc::default() }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn OnlineStore> {
        &self.store
    }

    /// Lets the store keep a schema, so that rows written with it can be read.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn keep_schema(&self, schema: &RowSchema) -> Result<()> {
        let entry =
            OnlineEntry { key: schema_key(schema.id()), value: schema.to_bytes()?, ttl: None };
        self.store.put(vec![entry]).await?;
        self.remember(schema.clone());
        Ok(())
    }

    /// The same, unless it was done a moment ago: a store may be emptied at any time.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn ensure_schema(&self, schema: &RowSchema) -> Result<()> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept().get(&schema.id()).is_some_and(|at| at.elapsed() < KEPT_FOR) {
            return Ok(());
        }
        self.keep_schema(schema).await?;
        kept().insert(schema.id(), Instant::now());
        Ok(())
    }

    /// Reads features of several views in one round trip.
    ///
    /// # Errors
    ///
    /// Those of the store, and `DataCorrupt` for rows that cannot be read.
    pub async fn read(&self, reads: &[ViewRead], now: Timestamp) -> Result<Vec<ViewRows>> {
        let mut keys = Vec::new();
        let mut places = Vec::with_capacity(reads.len());
        for read in reads {
            let of_view = row_keys(&read.view, &read.keys)?;
            // A null identifies nobody.
            let at: Vec<Option<usize>> = of_view
                .into_iter()
                .map(|key| {
                    keys.push(key?);
                    Some(keys.len() - 1)
                })
                .collect();
            places.push(at);
        }
        let found = self.store.rows(&keys).await?;
        let rows = places
            .into_iter()
            .map(|places| places.into_iter().map(|at| found.get(at?)?.clone()).collect());
        self.answers(reads, rows.collect(), now).await
    }

    /// What rows say, one for each entity of each view.
    pub(crate) async fn answers(
        &self,
        reads: &[ViewRead],
        rows: Vec<Vec<Option<Bytes>>>,
        now: Timestamp,
    ) -> Result<Vec<ViewRows>> {
        let mut answers = Vec::with_capacity(reads.len());
        for (read, rows) in reads.iter().zip(rows) {
            let rows = rows.into_iter().map(|bytes| bytes.map(Row::parse).transpose());
            let rows = rows.collect::<Result<Vec<_>>>()?;
            answers.push(self.answer(read, &rows, now).await?);
        }
        Ok(answers)
    }

    async fn answer(
        &self,
        read: &ViewRead,
        rows: &[Option<Row>],
        now: Timestamp,
    ) -> Result<ViewRows> {
        let status = |row: &Option<Row>| match (row, read.ttl) {
            (None, _) => RowStatus::NotFound,
            (Some(row), Some(ttl)) if is_older(row.version(), ttl, now) => RowStatus::OutsideMaxAge,
            (Some(_), _) => RowStatus::Found,
        };
        let statuses: Vec<RowStatus> = rows.iter().map(status).collect();
        let mut cells = Vec::with_capacity(rows.len());
        for (row, status) in rows.iter().zip(&statuses) {
            cells.push(match row {
                Some(row) if *status == RowStatus::Found => {
                    let schema = self.schema(row.schema_id()).await?;
                    let cells = row.cells(&schema)?;
                    Some((schema, cells))
                }
                _ => None,
            });
        }
        let columns = read.features.iter().map(|wanted| column(wanted, &cells));
        Ok(ViewRows {
            columns: columns.collect::<Result<_>>()?,
            versions: rows.iter().map(|row| row.as_ref().map(Row::version)).collect(),
            rows: statuses,
        })
    }

    async fn schema(&self, id: u32) -> Result<Arc<RowSchema>> {
        if let Some(known) = self.lock().get(&id) {
            return Ok(Arc::clone(known));
        }
        let bytes = self.store.get(&[schema_key(id)]).await?.into_iter().next().flatten();
        let bytes = bytes.ok_or_else(|| {
            Error::corrupt(format!("`{}` has rows of an unknown schema", self.store.location()))
                .with_help("materialize the view again with `--full`")
        })?;
        Ok(self.remember(RowSchema::of_bytes(&bytes)?))
    }

    fn remember(&self, schema: RowSchema) -> Arc<RowSchema> {
        let schema = Arc::new(schema);
        self.lock().insert(schema.id(), Arc::clone(&schema));
        schema
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Arc<RowSchema>>> {
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn schema_key(id: u32) -> String {
    format!("icecore:schema:{id:08x}")
}

fn is_older(version: RowVersion, ttl: Span, now: Timestamp) -> bool {
    now.micros().saturating_sub(version.event.micros()) > ttl.micros()
}

/// Where a schema has a feature, and in which type.
type Place<'s> = Option<(usize, &'s DataType)>;

type RowCells<'r> = Option<(Arc<RowSchema>, Vec<Option<&'r [u8]>>)>;

/// The values of one feature. Those of rows that were written before the feature had its type are
/// cast, and rows that were written before there was the feature have none.
fn column(wanted: &FieldRef, rows: &[RowCells<'_>]) -> Result<ArrayRef> {
    let canonical = crate::row::canonical_type(wanted.data_type()).ok_or_else(|| {
        Error::unsupported(format!("rows of an online store hold no {}", wanted.data_type()))
    })?;
    let mut cells: Vec<Option<&[u8]>> = Vec::with_capacity(rows.len());
    let mut others: Vec<(usize, ArrayRef)> = Vec::new();
    // Rows beside each other are of one schema, nearly always.
    let mut known: Option<(&Arc<RowSchema>, Place<'_>)> = None;
    for (place, row) in rows.iter().enumerate() {
        let Some((schema, row)) = row else {
            cells.push(None);
            continue;
        };
        let found = match known {
            Some((before, found)) if Arc::ptr_eq(before, schema) => found,
            _ => schema.find(wanted.name()).map(|(at, field)| (at, field.data_type())),
        };
        known = Some((schema, found));
        let cell = found.and_then(|(at, data_type)| Some((data_type, (*row.get(at)?)?)));
        match cell {
            Some((data_type, cell)) if *data_type == canonical => cells.push(Some(cell)),
            Some((data_type, cell)) => {
                others.push((place, cast_cell(data_type, cell, &canonical)?));
                cells.push(None);
            }
            None => cells.push(None),
        }
    }
    let mut values = decode(&canonical, &cells)?;
    if !others.is_empty() {
        let mut picks: Vec<(usize, usize)> = (0..values.len()).map(|row| (0, row)).collect();
        let mut arrays: Vec<&dyn Array> = vec![&*values];
        for (at, (place, array)) in others.iter().enumerate() {
            arrays.push(&**array);
            if let Some(pick) = picks.get_mut(*place) {
                *pick = (at + 1, 0);
            }
        }
        values = arrow::compute::interleave(&arrays, &picks)?;
    }
    if values.data_type() == wanted.data_type() {
        return Ok(values);
    }
    Ok(cast(&values, wanted.data_type())?)
}

fn cast_cell(from: &DataType, cell: &[u8], to: &DataType) -> Result<ArrayRef> {
    Ok(cast(&decode(from, &[Some(cell)])?, to)?)
}

#[cfg(test)]
mod tests;
