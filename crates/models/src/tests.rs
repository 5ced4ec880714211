//! Projects in a directory of their own, run over real tables.

mod dbt;
mod gates;
mod incremental;
mod names;
mod narrowed;
mod promises;
mod random;
mod templates;

use std::path::Path;
use std::sync::Arc;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use icecore_catalog::{CatalogOptions, IcebergCatalog};
use icecore_core::{
    CommitOptions, Error, FixedClock, NewTable, Result, SnapshotCatalog as _, TableName, Timestamp,
    WriteMode,
};
use icecore_engine::{Engine, EngineOptions};

use crate::{LoadOptions, ModelProject, RunOptions, RunReport, Selection, Status, run};

/// A project and its lake.
pub(crate) struct World {
    directory: tempfile::TempDir,
    pub(crate) engine: Engine,
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let uri = format!("sqlite:{}", path("catalog.db"));
        let catalog =
            IcebergCatalog::open(CatalogOptions::new(uri, path("warehouse"))).await.unwrap();
        let engine = Engine::new(catalog, EngineOptions::default().with_threads(2)).unwrap();
        Self { directory, engine }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn write(&self, file: &str, text: &str) -> &Self {
        let path = self.dir().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn load(&self, options: LoadOptions) -> Result<ModelProject> {
        ModelProject::load(self.dir(), options)
    }

    /// Why the project cannot be read.
    #[track_caller]
    pub(crate) fn mistake(&self) -> Error {
        self.load(options("2026-11-22")).map(|_| ()).expect_err("a mistake")
    }

    /// Runs everything as of a day; everything has to go well.
    #[track_caller]
    pub(crate) fn good(&self, day: &str) -> impl Future<Output = RunReport> {
        let run = self.run_with(options(day), Selection::default());
        async move {
            let report = run.await;
            let bad: Vec<String> = report
                .results
                .iter()
                .filter(|result| result.status.is_bad())
                .map(|result| format!("{} {:?}", result.name, result.error))
                .collect();
            assert!(report.is_good(), "{bad:#?}");
            report
        }
    }

    pub(crate) async fn run_with(&self, options: LoadOptions, selection: Selection) -> RunReport {
        let started = options.started_at;
        let project = self.load(options).unwrap();
        let options = RunOptions::new(Arc::new(FixedClock(started))).with_selection(selection);
        run(&self.engine, &project, &options).await.unwrap()
    }

    /// Makes a table of a query's answer, or adds it to the table.
    pub(crate) async fn put(&self, table: &str, sql: &str) {
        let name = TableName::parse(table).unwrap();
        let rows = self.engine.sql(sql, &[]).await.unwrap();
        let catalog = self.engine.catalog();
        let fields = rows.schema().fields().iter();
        let fields: Vec<_> = fields.map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let columns = Arc::new(arrow::datatypes::Schema::new(fields));
        catalog.ensure_table(&name, &NewTable::new(columns)).await.unwrap();
        catalog.commit(&name, rows, CommitOptions::new(WriteMode::Append)).await.unwrap();
    }

    /// The rows of a query's answer, each as text.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<String> {
        let batch = self.engine.sql(sql, &[]).await.unwrap().concat().await.unwrap();
        let options = FormatOptions::default().with_null("null");
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
            .collect();
        (0..batch.num_rows())
            .map(|row| {
                let cells: Vec<String> =
                    columns.iter().map(|column| column.value(row).to_string()).collect();
                cells.join("|")
            })
            .collect()
    }

    pub(crate) async fn refs(&self, table: &str) -> Vec<String> {
        let refs = self.engine.catalog().refs(&TableName::parse(table).unwrap()).await.unwrap();
        refs.into_iter().map(|found| found.name.to_string()).collect()
    }
}

pub(crate) fn options(day: &str) -> LoadOptions {
    let moment = Timestamp::parse(&format!("{day}T22:04:42.614426Z")).unwrap();
    LoadOptions::new(moment)
}

pub(crate) fn full(day: &str) -> LoadOptions {
    let mut options = options(day);
    options.full_refresh = true;
    options
}

/// The status of each node by name.
pub(crate) fn statuses(report: &RunReport) -> Vec<(String, Status)> {
    report.results.iter().map(|result| (result.name.clone(), result.status)).collect()
}
