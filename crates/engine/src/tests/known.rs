//! Up to when tables tell what happened.

use std::sync::atomic::{AtomicI64, Ordering};

use icecore_catalog::{CompactOptions, ExpireOptions, RowMode, RowOptions};
use icecore_core::{Clock, ErrorKind, Literal, Predicate, Timestamp};

use super::*;
use crate::View;

/// A clock that tests set.
#[derive(Debug, Default)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// A lake whose commits have the moments that a test says.
struct Dated {
    lake: Lake,
    clock: Arc<SetClock>,
}

impl Dated {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let clock = Arc::new(SetClock::default());
        let uri = format!("sqlite:{}", path("catalog.db"));
        let options = CatalogOptions::new(uri, path("warehouse"))
            .with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let catalog = IcebergCatalog::open(options).await.unwrap();
        let engine = Engine::new(catalog, EngineOptions::default().with_threads(2)).unwrap();
        Self { lake: Lake { engine, directory }, clock }
    }

    fn on(&self, day: &str) -> &Lake {
        self.clock.0.store(Timestamp::parse(day).unwrap().micros(), Ordering::SeqCst);
        &self.lake
    }

    /// A table with a row for each of two commits of a day.
    async fn table(&self, table: &str, day: &str) {
        let lake = self.on(day);
        lake.create(table, NewTable::new(payments_schema())).await;
        for row in ["1|a|10|2026-01-01", "2|b|20|2026-01-01"] {
            lake.append(table, payments(row)).await;
        }
    }

    async fn known(&self, tables: &[&str]) -> Result<Timestamp, Error> {
        let mut pins = Vec::new();
        for table in tables {
            pins.push(self.lake.latest(table).await);
        }
        self.lake.engine.known_until(&pins).await
    }
}

fn day(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

async fn operation(lake: &Lake, table: &str) -> String {
    let history = lake.catalog().history(&name(table)).await.unwrap();
    history.last().unwrap().operation.clone()
}

// C170: what only touches files or takes rows away tells nothing of outcomes.
#[tokio::test]
async fn files_written_anew_and_deleted_rows_are_no_news() {
    let table = "labels.outcomes";
    for (mode, said) in [(RowMode::CopyOnWrite, "overwrite"), (RowMode::MergeOnRead, "delete")] {
        let dated = Dated::new().await;
        dated.table(table, "2026-01-01").await;
        let lake = dated.on("2026-03-01");
        let small = CompactOptions::default().with_min_input_files(2);
        lake.catalog().compact(&name(table), small).await.unwrap();
        assert_eq!(operation(lake, table).await, "replace");
        assert_eq!(dated.known(&[table]).await.unwrap(), day("2026-01-01"));
        let lake = dated.on("2026-03-02");
        let gone = Predicate::In("id".to_owned(), vec![Literal::Int(1)]);
        let options = RowOptions::default().with_mode(mode);
        lake.catalog().delete(&name(table), gone, options).await.unwrap();
        assert_eq!(operation(lake, table).await, said);
        assert_eq!(dated.known(&[table]).await.unwrap(), day("2026-01-01"));
        dated.on("2026-03-03").append(table, payments("3|c|5|2026-03-02")).await;
        assert_eq!(dated.known(&[table]).await.unwrap(), day("2026-03-03"));
    }
}

#[tokio::test]
async fn a_table_that_lags_behind_holds_back() {
    let dated = Dated::new().await;
    dated.table("labels.refunds", "2026-01-05").await;
    dated.table("labels.cancellations", "2026-02-01").await;
    let both = ["labels.cancellations", "labels.refunds"];
    assert_eq!(dated.known(&both).await.unwrap(), day("2026-01-05"));
    assert_eq!(dated.known(&both[..1]).await.unwrap(), day("2026-02-01"));
    // When a view was made says nothing of what happened.
    let lake = dated.on("2025-12-01");
    let view = View {
        name: name("labels.all"),
        sql: "SELECT * FROM labels.refunds".to_owned(),
        made_by: "test".to_owned(),
        created_at: day("2025-12-01"),
    };
    lake.engine.put_view(&view, CommitOptions::default()).await.unwrap();
    let with_views = ["icecore.views", "labels.refunds"];
    assert_eq!(dated.known(&with_views).await.unwrap(), day("2026-01-05"));
}

#[tokio::test]
async fn a_table_that_cannot_tell_is_an_error_that_names_it() {
    let dated = Dated::new().await;
    dated.table("labels.cancellations", "2026-01-05").await;
    let lake = dated.on("2026-02-01");
    lake.create("labels.refunds", NewTable::new(payments_schema())).await;
    let error = dated.known(&["labels.cancellations", "labels.refunds"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "`labels.refunds` does not say up to when outcomes are known");
    assert_eq!(error.notes(), ["nothing was committed to it yet"]);
    // Nobody can tell how much earlier than the files the rows are.
    let small = CompactOptions::default().with_min_input_files(2);
    let table = name("labels.cancellations");
    lake.catalog().compact(&table, small).await.unwrap();
    lake.catalog().expire(&table, ExpireOptions::default()).await.unwrap();
    let error = dated.known(&["labels.cancellations"]).await.unwrap_err();
    assert_eq!(error.notes(), ["no commit that brought rows is left in its history"]);
    assert_eq!(dated.known(&[]).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}
