//! A small table whose files can be replaced one at a time, to see what reading damaged ones does.
#![expect(clippy::expect_used, reason = "a specimen that cannot be made is a bug of its own")]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use futures::TryStreamExt;
use icecore_catalog::{
    AlterOptions, Alteration, CatalogParts, FsckOptions, IcebergCatalog, RowDelta, RowMode,
    RowOptions, StatisticsBlob,
};
use icecore_core::{
    BatchStream, CommitOptions, CompareOp, Literal, NewTable, Predicate, Result, ScanOptions,
    SnapshotCatalog, SnapshotSelector, TableName, Timestamp,
};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::ManualClock;
use crate::faults::{MemoryPointers, MemoryStore};

/// What a damaged file may be inflated to.
const INFLATED_MAX: u64 = 32 << 20;
const WAREHOUSE: &str = "memory:///lake";

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The table's metadata.
    Metadata,
    /// The list of its manifests.
    ManifestList,
    /// A list of its files.
    Manifest,
    /// A file of its rows.
    Rows,
    /// A file that says which rows are deleted: a deletion vector, or positions.
    Deletes,
    /// Statistics of its snapshot.
    Statistics,
}

/// A small table in memory.
#[derive(Debug)]
pub struct Specimen {
    files: BTreeMap<Path, Bytes>,
    parts: BTreeMap<Part, Path>,
    pointers: Arc<MemoryPointers>,
    table: TableName,
}

impl Specimen {
    /// Makes one with a few rows.
    #[must_use]
    pub fn new() -> Self {
        runtime().block_on(Self::make(2)).expect("a table in memory")
    }

    /// Makes one of which some rows are deleted, by a file of positions in format version 2, by a
    /// deletion vector in format version 3.
    #[must_use]
    pub fn with_deletes(version: u8) -> Self {
        let made = runtime().block_on(async {
            let mut specimen = Self::make(version).await?;
            specimen.delete().await?;
            Ok::<_, icecore_core::Error>(specimen)
        });
        made.expect("a table in memory")
    }

    /// Makes one of which some rows are deleted by a file of keys.
    #[must_use]
    pub fn with_deleted_keys() -> Self {
        let made = runtime().block_on(async {
            let mut specimen = Self::make(2).await?;
            specimen.delete_keys().await?;
            Ok::<_, icecore_core::Error>(specimen)
        });
        made.expect("a table in memory")
    }

    async fn delete_keys(&mut self) -> Result<()> {
        let store = self.store(None).await?;
        let catalog = catalog(self.pointers.clone(), store.clone())?;
        let columns = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let keys = Arc::new(Int64Array::from_iter_values(0..70));
        let keys = RecordBatch::try_new(columns.clone(), vec![keys])?;
        let keys = RowDelta::new(BatchStream::from_batches(columns, vec![keys]));
        catalog.row_delta(&self.table, keys, CommitOptions::default()).await?;
        self.keep_new(Part::Deletes, &store, |path| !path.contains("/metadata/")).await;
        Ok(())
    }

    /// Takes what is stored now; what is new and is looked for is this part.
    async fn keep_new(&mut self, part: Part, store: &MemoryStore, is_it: impl Fn(&str) -> bool) {
        let files = files(store).await;
        let new = files.keys().filter(|path| !self.files.contains_key(*path));
        let new = new.filter(|path| is_it(path.as_ref())).map(|path| (part, path.clone()));
        // The others have successors now.
        self.parts = new.collect();
        self.files = files;
    }

    /// A catalog of its own with the table as it should be.
    ///
    /// # Errors
    ///
    /// None, but for a bug.
    pub fn catalog(&self) -> Result<IcebergCatalog> {
        catalog(self.pointers.clone(), runtime().block_on(self.store(None))?)
    }

    /// What the table would be after a change, which is not made.
    ///
    /// # Errors
    ///
    /// What speaks against it.
    pub fn altered(&self, alteration: &Alteration) -> Result<()> {
        let catalog = self.catalog()?;
        let alterations = std::slice::from_ref(alteration);
        let altered = catalog.alter(&self.table, alterations, AlterOptions::dry_run());
        runtime().block_on(altered).map(|_| ())
    }

    /// Makes one whose snapshot has statistics.
    #[must_use]
    pub fn with_statistics() -> Self {
        let made = runtime().block_on(async {
            let mut specimen = Self::make(2).await?;
            let store = specimen.store(None).await?;
            let catalog = catalog(specimen.pointers.clone(), store.clone())?;
            let pin = catalog.pin(&specimen.table, &SnapshotSelector::Latest).await?;
            let blobs = ["first", "second"].map(|kind| StatisticsBlob {
                kind: kind.to_owned(),
                fields: vec![1, 2],
                properties: BTreeMap::from([("rows".to_owned(), "200".to_owned())]),
                data: Bytes::from_static(b"what is known of these columns"),
            });
            catalog.put_statistics(&pin, blobs.to_vec()).await?;
            let is_it = |path: &str| path.ends_with(".stats");
            specimen.keep_new(Part::Statistics, &store, is_it).await;
            Ok::<_, icecore_core::Error>(specimen)
        });
        made.expect("a table in memory")
    }

    async fn delete(&mut self) -> Result<()> {
        let store = self.store(None).await?;
        let catalog = catalog(self.pointers.clone(), store.clone())?;
        let some = Predicate::compare("id", CompareOp::Lt, Literal::Int(70));
        let options = RowOptions::default().with_mode(RowMode::MergeOnRead);
        catalog.delete(&self.table, some, options).await?;
        self.keep_new(Part::Deletes, &store, |path| !path.contains("/metadata/")).await;
        Ok(())
    }

    async fn make(version: u8) -> Result<Self> {
        let store = Arc::new(MemoryStore::new(clock()));
        let pointers = Arc::new(MemoryPointers::default());
        let table = TableName::parse("damaged.goods")?;
        let catalog = catalog(pointers.clone(), store.clone())?;
        let columns = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8, true),
        ]));
        let new = NewTable::new(columns.clone()).with_format_version(version);
        catalog.ensure_table(&table, &new).await?;
        let names: Vec<String> = (0..200).map(|number| format!("name {}", number % 7)).collect();
        let rows = RecordBatch::try_new(
            columns.clone(),
            vec![
                Arc::new(Int64Array::from_iter_values(0..200)),
                Arc::new(StringArray::from(names)),
            ],
        )?;
        let rows = BatchStream::from_batches(columns, vec![rows]);
        catalog.commit(&table, rows, CommitOptions::default()).await?;
        let files = files(&store).await;
        let parts = files.keys().filter_map(|path| Some((part(path)?, path.clone()))).collect();
        Ok(Self { files, parts, pointers, table })
    }

    /// The bytes of a file as they should be.
    #[must_use]
    pub fn bytes(&self, part: Part) -> Bytes {
        self.parts.get(&part).and_then(|path| self.files.get(path)).cloned().unwrap_or_default()
    }

    /// The name of a file.
    #[must_use]
    pub fn name(&self, part: Part) -> &str {
        self.parts.get(&part).and_then(Path::filename).unwrap_or_default()
    }

    /// A store of its own with the files, and with one of them replaced.
    async fn store(&self, replaced: Option<(Part, Bytes)>) -> Result<Arc<MemoryStore>> {
        let store = Arc::new(MemoryStore::new(clock()));
        for (path, content) in &self.files {
            let new = replaced.as_ref().filter(|(part, _)| self.parts.get(part) == Some(path));
            let content = new.map_or(content, |(_, bytes)| bytes);
            let put = store.put(path, content.clone().into()).await;
            put.map_err(|error| icecore_core::Error::internal("memory").with_source(error))?;
        }
        Ok(store)
    }

    /// Reads the table with these bytes in the place of one of its files: its history, its rows,
    /// its plan, its statistics, and a check of everything.
    ///
    /// # Errors
    ///
    /// What the reader says of them.
    pub fn read(&self, part: Part, bytes: &Bytes) -> Result<()> {
        runtime().block_on(async {
            let store = self.store(Some((part, bytes.clone()))).await?;
            let catalog = catalog(self.pointers.clone(), store)?;
            let options = FsckOptions::default().with_deep(true);
            let checked = catalog.fsck(&self.table, options).await;
            let pin = catalog.pin(&self.table, &SnapshotSelector::Latest).await?;
            catalog.history(&self.table).await?;
            catalog.plan_files(&pin, None).await?;
            catalog.statistics(&pin).await?;
            catalog.scan(&pin, ScanOptions::default()).await?.concat().await?;
            checked.map(|_| ())
        })
    }
}

/// Everything that is stored.
async fn files(store: &MemoryStore) -> BTreeMap<Path, Bytes> {
    let mut files = BTreeMap::new();
    let listed: Vec<_> = store.list(None).try_collect().await.expect("a listing");
    for meta in listed {
        let found = store.get(&meta.location).await.expect("a file that was listed");
        files.insert(meta.location, found.bytes().await.expect("its bytes"));
    }
    files
}

impl Default for Specimen {
    fn default() -> Self {
        Self::new()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_micros(1_767_225_600_000_000)))
}

fn catalog(pointers: Arc<MemoryPointers>, store: Arc<MemoryStore>) -> Result<IcebergCatalog> {
    let mut parts = CatalogParts::new(pointers, store, WAREHOUSE);
    parts.clock = clock();
    parts.limits.inflated_bytes = INFLATED_MAX;
    IcebergCatalog::from_parts(parts)
}

/// The last one of its kind is the one that is in use.
fn part(path: &Path) -> Option<Part> {
    let name = path.filename()?;
    if name.ends_with(".metadata.json") {
        Some(Part::Metadata)
    } else if name.starts_with("snap-") {
        Some(Part::ManifestList)
    } else if name.ends_with(".avro") {
        Some(Part::Manifest)
    } else {
        name.ends_with(".parquet").then_some(Part::Rows)
    }
}
