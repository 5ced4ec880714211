//! Views that everybody sees: rows of the table `icecore.views`.
//!
//! A table keeps them in every catalog alike, whether it is a file, a database or a REST server;
//! each change is a commit with a history, and any reader of Iceberg can look at them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use icecore_catalog::{IcebergCatalog, RowOptions, UpsertOptions};
use icecore_core::{
    BatchStream, CommitOptions, Error, ErrorKind, Literal, NewTable, PinnedTable, Predicate,
    Result, ScanOptions, SnapshotCatalog as _, SnapshotSelector, TableName, Timestamp,
};

use crate::engine::Engine;
use crate::files::moment;

/// A query under a name. Tables and views that it names are read as they are when it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The name.
    pub name: TableName,
    /// The query.
    pub sql: String,
    /// Who made it: a model's unique id.
    pub made_by: String,
    /// When.
    pub created_at: Timestamp,
}

const COLUMNS: [&str; 4] = ["name", "sql", "made_by", "created_at"];

/// Where views are kept.
const TABLE: &str = "icecore.views";

/// The name of the table in which views are kept.
pub(crate) fn table() -> Result<TableName> {
    TableName::parse(TABLE)
}

/// Whether a table is the one in which views are kept. Among pins, it says which state of the views
/// a query reads.
#[must_use]
pub fn is_views_table(name: &TableName) -> bool {
    name.as_str() == TABLE
}

fn schema() -> SchemaRef {
    let [name, sql, made_by, created_at] = COLUMNS;
    Arc::new(Schema::new(vec![
        Field::new(name, DataType::Utf8, false),
        Field::new(sql, DataType::Utf8, false),
        Field::new(made_by, DataType::Utf8, false),
        Field::new(created_at, moment(), false),
    ]))
}

/// The views that a catalog keeps.
pub(crate) async fn all(catalog: &IcebergCatalog) -> Result<BTreeMap<TableName, View>> {
    match catalog.pin(&table()?, &SnapshotSelector::Latest).await {
        Ok(pin) => of_state(catalog, &pin).await,
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

/// The views that a state of their table holds.
pub(crate) async fn of_state(
    catalog: &IcebergCatalog,
    pin: &PinnedTable,
) -> Result<BTreeMap<TableName, View>> {
    let rows = catalog.scan(pin, ScanOptions::default().with_columns(COLUMNS)).await?;
    let batch = rows.concat().await?;
    let [names, queries, makers] = [0, 1, 2].map(|at| batch.column(at).as_string_opt::<i32>());
    let moments = batch.column(3).as_primitive_opt::<TimestampMicrosecondType>();
    let (Some(names), Some(queries), Some(makers), Some(moments)) =
        (names, queries, makers, moments)
    else {
        return Err(Error::corrupt(format!("table `{TABLE}` is not one of views")));
    };
    (0..names.len())
        .map(|row| {
            let name = TableName::parse(names.value(row))?;
            let view = View {
                name: name.clone(),
                sql: queries.value(row).to_owned(),
                made_by: makers.value(row).to_owned(),
                created_at: Timestamp::from_micros(moments.value(row)),
            };
            Ok((name, view))
        })
        .collect()
}

impl Engine {
    /// The views that the catalog keeps, by name.
    ///
    /// # Errors
    ///
    /// `DataCorrupt` if the table of views holds something else.
    pub async fn views(&self) -> Result<BTreeMap<TableName, View>> {
        all(self.catalog()).await
    }

    /// Makes a view, or puts another query in its place, and says whether that changed anything.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if there is a table of that name; `InvalidInput` for what is no query.
    pub async fn put_view(&self, view: &View, commit: CommitOptions) -> Result<bool> {
        let catalog = self.catalog();
        match catalog.describe(&view.name).await {
            Ok(_) => {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("`{}` is a table, and would have to become a view", view.name),
                )
                .with_help(format!("drop it first: `icecore table drop {}`", view.name)));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.names(&view.sql).await?;
        let known = self.views().await?;
        let is_same = |known: &View| known.sql == view.sql && known.made_by == view.made_by;
        if known.get(&view.name).is_some_and(is_same) {
            return Ok(false);
        }
        let table = table()?;
        catalog.ensure_table(&table, &NewTable::new(schema())).await?;
        let row = RecordBatch::try_new(
            schema(),
            vec![
                Arc::new(StringArray::from(vec![view.name.as_str()])),
                Arc::new(StringArray::from(vec![view.sql.as_str()])),
                Arc::new(StringArray::from(vec![view.made_by.as_str()])),
                Arc::new(
                    TimestampMicrosecondArray::from(vec![view.created_at.micros()])
                        .with_timezone("+00:00"),
                ),
            ],
        )?;
        let rows = BatchStream::from_batches(schema(), vec![row]);
        let options = UpsertOptions::default().with_commit(commit);
        catalog.upsert(&table, rows, &["name".to_owned()], options).await?;
        Ok(true)
    }

    /// Forgets a view, and says whether there was one.
    ///
    /// # Errors
    ///
    /// `Conflict` if others change views all the time.
    pub async fn drop_view(&self, name: &TableName) -> Result<bool> {
        if !self.views().await?.contains_key(name) {
            return Ok(false);
        }
        let of_name = Predicate::equal("name", Literal::Text(name.as_str().to_owned()));
        self.catalog().delete(&table()?, of_name, RowOptions::default()).await?;
        Ok(true)
    }
}
