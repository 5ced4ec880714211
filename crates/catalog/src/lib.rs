//! Iceberg tables: connect, scan a pinned snapshot, commit atomically, history, refs, rollback.
//!
//! This crate is the one home of Iceberg, of the catalog's SQL tables and of data files. Everyone
//! above it sees [`IcebergCatalog`] as a [`SnapshotCatalog`](icecore_core::SnapshotCatalog).
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow::array::{Int64Array, RecordBatch};
//! use arrow::datatypes::{DataType, Field, Schema};
//! use icecore_catalog::{CatalogOptions, IcebergCatalog, TagMove};
//! use icecore_core::{
//!     BatchStream, CommitOptions, NewTable, RefName, Result, SnapshotCatalog, SnapshotSelector,
//!     TableName,
//! };
//!
//! # #[tokio::main]
//! # async fn main() -> Result<()> {
//! # let root = tempfile::tempdir().expect("a directory");
//! # let path = |name: &str| root.path().join(name).display().to_string();
//! let options = CatalogOptions::new(format!("sqlite:{}", path("catalog.db")), path("warehouse"));
//! let catalog = IcebergCatalog::open(options).await?;
//!
//! let schema = Arc::new(Schema::new(vec![Field::new("user_token", DataType::Int64, false)]));
//! let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![1, 2]))])?;
//! let table = TableName::parse("labels.churn")?;
//! catalog.ensure_table(&table, &NewTable::new(schema.clone())).await?;
//! let rows = BatchStream::from_batches(schema, vec![rows]);
//! let committed = catalog.commit(&table, rows, CommitOptions::default()).await?;
//! assert_eq!(committed.added_rows, 2);
//!
//! let tag = RefName::parse("v1")?;
//! catalog.tag(&committed.pinned, &tag, TagMove::Refuse).await?;
//! assert_eq!(catalog.pin(&table, &SnapshotSelector::Ref(tag)).await?, committed.pinned);
//! # Ok(())
//! # }
//! ```
//!
//! # Stability
//!
//! What is stored follows Iceberg's format (version 2) and PyIceberg's SQL catalog; options and
//! descriptions are `#[non_exhaustive]`.

mod blocking;
mod catalog;
mod changes;
mod commit;
mod described;
mod error;
mod fsck;
mod history;
mod ids;
mod maintenance;
mod memory;
mod metadata_table;
mod planted;
mod pointer;
mod predicate;
mod refs;
mod rest;
mod rowlevel;
mod scan;
mod schema;
mod sql;
mod storage;
mod tables;
mod timer;
mod transform;
mod write;

pub use catalog::{
    AlterOptions, Altered, CatalogAccess, CatalogOptions, CatalogParts, IcebergCatalog,
    StatisticsBlob, TableDescription, TableDesign, TableLayout, Transaction,
};
pub use changes::{ChangeMode, ChangeOptions, Changes};
pub use fsck::{Finding, FindingKind, FsckOptions, FsckReport, Severity, TableCheck};
pub use ids::{Ids, RandomIds};
pub use maintenance::{
    CleanOptions, CleanReport, CompactOptions, CompactProgress, CompactReport, CompactStrategy,
    ExpireOptions, ExpireReport, HeldSnapshot, Hold, OnMismatch, Orphan, RewriteManifestsOptions,
    RewriteManifestsReport, SnapshotHolder,
};
pub use metadata_table::MetadataTable;
#[doc(hidden)]
pub use planted::PlantedBug;
#[cfg(feature = "planted-bugs")]
pub use planted::plant;
pub use pointer::{NamespaceStore, Place, PointerStore, Swap};
pub use refs::{RefInfo, RefKind, Retention, RollbackPolicy, TagMove};
pub use rowlevel::{
    DuplicateKeys, NullKeys, RowChanges, RowDelta, RowFilter, RowMode, RowOptions, RowTest,
    UpsertOptions, WhenMatched, WhenNotMatched,
};
pub use scan::{ColumnRange, FilePlan, PlannedFile};
pub use schema::{Alteration, ColumnPlace, ColumnType, NewColumn};
pub use storage::{BucketOptions, StorageLimits, StorageOptions};
pub use timer::{SystemTimer, Timer};
pub use write::spread_columns;
