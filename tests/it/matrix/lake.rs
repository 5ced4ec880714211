//! A table of the matrix, in one of the catalogs.

use arrow::datatypes::{DataType, TimeUnit};
use icecore_catalog::{CatalogOptions, FsckOptions, IcebergCatalog};
use icecore_core::{
    CommitOptions, Committed, NewTable, PinnedTable, Result, ScanOptions, SnapshotCatalog as _,
    SnapshotSelector, TableName, WriteMode,
};
use icecore_engine::{Engine, EngineOptions};
use icecore_testkit::{PostgresServer, RestServer};
use serde_json::{Value as Json, json};

use crate::rows::{Rows, Value};

/// A moment on the first day that rows are of: 2026-01-01.
const FIRST: i64 = 1_767_225_600_000_000;
const DAY: i64 = 86_400_000_000;
pub(crate) const REGIONS: [&str; 3] = ["east", "north", "west"];

/// A catalog with its server, if it has one.
pub(crate) struct Home {
    root: tempfile::TempDir,
    kind: Kind,
}

enum Kind {
    Sqlite,
    Postgres { _server: PostgresServer, url: String },
    Rest(RestServer),
}

impl Home {
    pub(crate) fn sqlite() -> Self {
        Self { root: scratch(), kind: Kind::Sqlite }
    }

    pub(crate) fn postgres() -> Option<Self> {
        let server = PostgresServer::start()?;
        let url = server.database();
        Some(Self { root: scratch(), kind: Kind::Postgres { _server: server, url } })
    }

    pub(crate) fn rest() -> Option<Self> {
        let root = scratch();
        let arguments = ["--prefix", "lake", "--credential", "matrix:secret"];
        let server = RestServer::start(&root.path().join("warehouse"), &arguments)?;
        Some(Self { root, kind: Kind::Rest(server) })
    }

    pub(crate) const fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Sqlite => "SQLite",
            Kind::Postgres { .. } => "Postgres",
            Kind::Rest(_) => "REST",
        }
    }

    fn options(&self) -> CatalogOptions {
        let path = |name: &str| self.root.path().join(name).display().to_string();
        let uri = match &self.kind {
            Kind::Sqlite => format!("sqlite:{}", path("catalog.db")),
            Kind::Postgres { url, .. } => url.clone(),
            Kind::Rest(server) => server.uri().to_owned(),
        };
        let mut options = CatalogOptions::new(uri, path("warehouse"));
        if matches!(self.kind, Kind::Rest(_)) {
            options.access.credential = Some("matrix:secret".to_owned());
        }
        options
    }

    /// The catalog as PyIceberg opens it.
    pub(crate) fn for_python(&self) -> Json {
        let warehouse = format!("file://{}", self.root.path().join("warehouse").display());
        match &self.kind {
            Kind::Sqlite => {
                let uri = format!("sqlite:///{}", self.root.path().join("catalog.db").display());
                json!({ "kind": "sqlite", "name": "icecore", "uri": uri, "warehouse": warehouse })
            }
            Kind::Postgres { url, .. } => {
                json!({ "kind": "postgres", "name": "icecore", "uri": url, "warehouse": warehouse })
            }
            Kind::Rest(server) => {
                json!({ "kind": "rest", "name": "icecore", "uri": server.uri(), "credential": "matrix:secret" })
            }
        }
    }
}

/// A directory in memory where there is one: syncing to a disk is most of a commit's time, and says
/// nothing about its logic.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn columns() -> Rows {
    Rows::new(&[
        ("id", DataType::Int64),
        ("region", DataType::Utf8),
        ("at", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))),
        ("amount", DataType::Float64),
        ("visits", DataType::Int32),
        ("note", DataType::Utf8),
    ])
}

/// The row of a number: regions and days repeat, and every column but the partitions' has nulls.
pub(crate) fn row(id: i64, flavour: i64) -> Vec<Value> {
    let or_null = |value: Value, every: i64| if id % every == 1 { Value::Null } else { value };
    vec![
        Value::Int(id),
        Value::text(REGIONS[usize::try_from(id % 3).unwrap()]),
        Value::Moment(FIRST + (id / 3 % 3) * DAY + id * 1_000_001),
        #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
        or_null(Value::Float((id * 7 + flavour) as f64 / 4.0), 5),
        or_null(Value::Int(id % 11 + flavour), 7),
        or_null(Value::Text(format!("note {id}.{flavour}")), 4),
    ]
}

/// One table.
pub(crate) struct Lake {
    pub(crate) catalog: IcebergCatalog,
    pub(crate) table: TableName,
    engine: Engine,
    python: Json,
    partitioned: bool,
}

impl Lake {
    pub(crate) async fn new(home: &Home, name: &str, version: u8, partitioned: bool) -> Self {
        let catalog = IcebergCatalog::open(home.options()).await.unwrap();
        let options = EngineOptions::default().with_memory_limit(64 << 20);
        let engine = Engine::new(catalog.clone(), options).unwrap();
        let table = TableName::parse(&format!("matrix.{name}")).unwrap();
        let mut new = NewTable::new(columns().schema()).with_format_version(version);
        if partitioned {
            new = new.with_partition_by(["region", "day(at)"]);
        }
        assert!(catalog.ensure_table(&table, &new).await.unwrap());
        Self { catalog, table, engine, python: home.for_python(), partitioned }
    }

    /// What every cell begins with: two commits of thirty rows.
    pub(crate) async fn base(&self) -> Rows {
        let mut all = columns();
        for from in [0, 30] {
            let rows = all.with((from..from + 30).map(|id| row(id, 0)).collect());
            self.append(&rows).await.unwrap();
            all.rows.extend(rows.rows);
        }
        all
    }

    /// A row that no table of the matrix has, in the columns of a table that may have changed.
    pub(crate) fn one_more(&self, rows: &Rows) -> Vec<Value> {
        let (known, values) = (columns(), row(1_000, 3));
        let of = |(name, kind): &(String, DataType)| {
            let place = known.columns.iter().position(|(other, _)| other == name);
            match (place, kind) {
                (Some(place), _) => values[place].clone(),
                (None, DataType::Int64 | DataType::Int32) => Value::Int(7),
                (None, DataType::Float64) => Value::Float(0.5),
                (None, _) => Value::text("seven"),
            }
        };
        rows.columns.iter().map(of).collect()
    }

    pub(crate) fn partition_of(&self, row: &[Value]) -> Option<(String, i64)> {
        let (Value::Text(region), Value::Moment(at)) = (&row[1], &row[2]) else { return None };
        self.partitioned.then(|| (region.clone(), at.div_euclid(DAY)))
    }

    pub(crate) async fn append(&self, rows: &Rows) -> Result<Committed> {
        self.commit(rows, CommitOptions::new(WriteMode::Append)).await
    }

    pub(crate) async fn commit(&self, rows: &Rows, options: CommitOptions) -> Result<Committed> {
        self.catalog.commit(&self.table, rows.to_stream(), options).await
    }

    pub(crate) async fn pin(&self) -> PinnedTable {
        self.catalog.pin(&self.table, &SnapshotSelector::Latest).await.unwrap()
    }

    async fn pinned(&self, pin: Option<&PinnedTable>) -> Result<PinnedTable> {
        match pin {
            Some(pin) => Ok(pin.clone()),
            None => self.catalog.pin(&self.table, &SnapshotSelector::Latest).await,
        }
    }

    pub(crate) async fn scan(&self, pin: Option<&PinnedTable>) -> Result<Rows> {
        let pin = self.pinned(pin).await?;
        let batch = self.catalog.scan(&pin, ScanOptions::default()).await?.concat().await?;
        Ok(Rows::from_batch(&batch))
    }

    pub(crate) async fn select(&self, pin: Option<&PinnedTable>) -> Result<Rows> {
        let pins = [self.pinned(pin).await?];
        let query = format!("SELECT * FROM {}", self.table);
        let batch = self.engine.sql(&query, &pins).await?.concat().await?;
        Ok(Rows::from_batch(&batch))
    }

    /// What is wrong with the files of the table, read to the last row.
    pub(crate) async fn fsck(&self) -> std::result::Result<(), String> {
        let options = FsckOptions::default().with_deep(true);
        let report = self.catalog.fsck(&self.table, options).await;
        let report = report.map_err(|error| format!("fsck failed: {error}"))?;
        let found: Vec<String> =
            report.findings().map(|(_, finding)| format!("fsck: {finding:?}")).collect();
        if found.is_empty() { Ok(()) } else { Err(found.join("; ")) }
    }

    /// A request for `read_state.py`: PyIceberg finds the table through the catalog, DuckDB by its
    /// metadata.
    pub(crate) async fn request(&self, reader: &str, pin: Option<&PinnedTable>) -> Json {
        let mut request = json!({ "reader": reader, "table": self.table.to_string() });
        if reader == "pyiceberg" {
            request["catalog"] = self.python.clone();
        } else {
            let shown = self.catalog.describe(&self.table).await.unwrap();
            request["metadata"] = json!(shown.metadata_location);
        }
        if let Some(pin) = pin {
            request["snapshot"] = json!(pin.snapshot.get());
        }
        request
    }

    /// A request that lets PyIceberg write to the table.
    pub(crate) fn write_request(&self, writer: &str) -> Json {
        json!({ "writer": writer, "catalog": self.python, "table": self.table.to_string() })
    }
}
