mod delete_files;
mod deletes;
mod every_type;
mod filters;
mod names;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use icecore_core::{
    BatchStream, CommitOptions, NewTable, PinnedTable, ScanOptions, SnapshotCatalog, TableName,
};

use crate::{CatalogOptions, IcebergCatalog};

/// A catalog with one table.
struct Lake {
    _root: tempfile::TempDir,
    catalog: IcebergCatalog,
    table: TableName,
}

impl Lake {
    async fn new(new: NewTable) -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().display();
        let options =
            CatalogOptions::new(format!("sqlite:{path}/c.db"), format!("{path}/ware house ä%20"));
        let catalog = IcebergCatalog::open(options).await.unwrap();
        let table = TableName::parse("ml.events").unwrap();
        catalog.ensure_table(&table, &new).await.unwrap();
        Self { _root: root, catalog, table }
    }

    async fn commit(&self, batch: RecordBatch) -> PinnedTable {
        let rows = BatchStream::from_batches(batch.schema(), vec![batch]);
        self.catalog.commit(&self.table, rows, CommitOptions::default()).await.unwrap().pinned
    }

    async fn read(&self, pinned: &PinnedTable, options: ScanOptions) -> RecordBatch {
        self.catalog.scan(pinned, options).await.unwrap().concat().await.unwrap()
    }
}

fn schema_of(batch: &RecordBatch) -> ArrowSchemaRef {
    Arc::new(ArrowSchema::new(batch.schema().fields().clone()))
}
