//! A lake that several processes work on, and what is in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use icecore_catalog::{CatalogOptions, FsckOptions, IcebergCatalog};
use icecore_core::{ScanOptions, SnapshotCatalog, SnapshotInfo, SnapshotSelector, TableName};

/// A row: its id, and its writer's partition.
pub(crate) type Row = (i64, i32);

/// A catalog and a warehouse for the length of a test.
pub(crate) struct Lake {
    pub(crate) root: tempfile::TempDir,
    pub(crate) catalog: String,
}

impl Lake {
    /// With an empty table, on SQLite.
    pub(crate) fn new() -> Self {
        let root = scratch();
        let catalog = format!("sqlite:{}", root.path().join("catalog.db").display());
        Self::at(root, catalog)
    }

    /// With an empty table, in this catalog.
    pub(crate) fn at(root: tempfile::TempDir, catalog: String) -> Self {
        let lake = Self { root, catalog };
        assert_eq!(lake.run("create", 0, 1), ["ok 0 1"]);
        lake
    }

    pub(crate) fn warehouse(&self) -> std::path::PathBuf {
        self.root.path().join("warehouse")
    }

    /// A worker that begins when its input ends.
    pub(crate) fn command(&self, work: &str, writer: i32, commits: i64) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_table-worker"));
        self.arguments(&mut command, work, (writer, commits));
        command
    }

    pub(crate) fn arguments(
        &self,
        command: &mut Command,
        work: &str,
        (writer, commits): (i32, i64),
    ) {
        command
            .arg(&self.catalog)
            .arg(self.warehouse())
            .args([work, &writer.to_string(), &commits.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    pub(crate) fn spawn(&self, work: &str, writer: i32, commits: i64) -> Child {
        self.command(work, writer, commits).spawn().unwrap()
    }

    /// What a worker says that is left alone.
    #[track_caller]
    pub(crate) fn run(&self, work: &str, writer: i32, commits: i64) -> Vec<String> {
        let child = self.spawn(work, writer, commits);
        let (said, stderr) = finish(child);
        let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
        let end = lines.pop();
        assert!(end.is_some_and(|end| end.starts_with("took ")), "{said}{stderr}");
        lines
    }

    /// Does something with the catalog, as yet another process would.
    pub(crate) fn look<T>(&self, work: impl AsyncFnOnce(&IcebergCatalog, &TableName) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let warehouse = self.warehouse().display().to_string();
            let options = CatalogOptions::new(&self.catalog, warehouse);
            let catalog = IcebergCatalog::open(options).await.unwrap();
            work(&catalog, &TableName::parse("lake.events").unwrap()).await
        })
    }

    /// The rows as they are now, in order.
    pub(crate) fn rows(&self) -> Vec<Row> {
        self.look(async |catalog, table| {
            let pin = catalog.pin(table, &SnapshotSelector::Latest).await.unwrap();
            let rows = catalog.scan(&pin, ScanOptions::default()).await.unwrap();
            let rows = rows.concat().await.unwrap();
            let ids = rows.column(0).as_primitive::<Int64Type>().values();
            let parts = rows.column(1).as_primitive::<Int32Type>().values();
            let mut rows: Vec<Row> = ids.iter().copied().zip(parts.iter().copied()).collect();
            rows.sort_unstable();
            rows
        })
    }

    pub(crate) fn history(&self) -> Vec<SnapshotInfo> {
        self.look(async |catalog, table| catalog.history(table).await.unwrap())
    }

    /// Nothing is wrong with any file that the table needs.
    #[track_caller]
    pub(crate) fn check(&self) {
        let report = self.look(async |catalog, table| {
            catalog.fsck(table, FsckOptions::default().with_deep(true)).await.unwrap()
        });
        let wrong: Vec<_> = report.tables.iter().flat_map(|table| &table.findings).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// One line of history, each attempt in it once.
    #[track_caller]
    pub(crate) fn check_line(&self) {
        let log = self.history();
        for pair in log.windows(2) {
            assert_eq!(pair[1].parent, Some(pair[0].id));
            assert!(pair[0].sequence_number < pair[1].sequence_number);
            assert!(pair[0].committed_at <= pair[1].committed_at);
        }
        let mut attempts = BTreeMap::new();
        for snapshot in &log {
            let attempt = &snapshot.summary["icecore.attempt-id"];
            if let Some(twin) = attempts.insert(attempt, snapshot.id) {
                panic!("snapshots {twin} and {} are of one attempt", snapshot.id);
            }
        }
    }
}

/// Lets a worker go and waits for what it says.
pub(crate) fn finish(mut child: Child) -> (String, String) {
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}

/// A directory in memory where there is one: syncing says nothing about the logic.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The files below a directory, in order.
pub(crate) fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// A number from the environment, or what an ordinary run takes.
pub(crate) fn setting(name: &str, ordinary: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(ordinary)
}
