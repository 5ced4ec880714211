use std::sync::Mutex;

use icecore_core::{CommitOptions, NewTable, ScanOptions, SnapshotCatalog};

use super::*;
use crate::compute::compute_view;
use crate::fixture::{Event, Lakehouse, VIEWS, event, events};

const TRANSACTIONS: &str = "user_transaction_features";
const CHURN: &str = "churn_features";

fn table(view: &str) -> String {
    format!("ml_features.{view}")
}

fn views() -> Definitions {
    Definitions::parse("features/demo.toml", VIEWS).unwrap()
}

fn in_steps(days: i64) -> BackfillOptions {
    BackfillOptions { step: Span::from_days(days), ..BackfillOptions::default() }
}

async fn run(lake: &Lakehouse, view: &str, options: BackfillOptions) -> BackfillReport {
    backfill(&lake.engine, &views(), view, options).await.unwrap()
}

async fn at_once(events: &[Event], view: &str) -> Vec<String> {
    let lake = Lakehouse::open(1).await;
    lake.append(events, 1000).await;
    compute_view(&lake.engine, &views(), view, ComputeOptions::default()).await.unwrap();
    lake.rows(&table(view)).await
}

#[tokio::test]
async fn steps_give_what_everything_at_once_gives() {
    let all = events(21, 200);
    for (view, days) in [(TRANSACTIONS, 30), (CHURN, 45)] {
        let lake = Lakehouse::open(2).await;
        lake.append(&all, 1000).await;
        let report = run(&lake, view, in_steps(days)).await;
        assert_eq!(lake.rows(&table(view)).await, at_once(&all, view).await, "{view} {days}");
        assert!(report.steps.len() >= 3 && report.skipped == 0 && !report.resumed);
        assert_eq!(report.rows, lake.rows(&table(view)).await.len() as u64);
        // Everything is there, so one can go on from it.
        let again = run(&lake, view, in_steps(days)).await;
        assert_eq!((again.rows, again.snapshot_id), (report.rows, report.snapshot_id));
        let options =
            ComputeOptions { mode: ComputeMode::Incremental, ..ComputeOptions::default() };
        let next = compute_view(&lake.engine, &views(), view, options).await.unwrap();
        assert!(!next.changed, "{next:?}");
    }
}

/// A backfill that is killed when its step begins.
async fn killed_at(lake: &Lakehouse, definitions: &Definitions, step: usize) {
    let (engine, definitions) = (lake.engine.clone(), definitions.clone());
    let (sender, reached) = tokio::sync::oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let progress = BackfillCallback::new(move |progress: BackfillProgress| {
        if progress.step == step
            && let Some(sender) = sender.lock().unwrap().take()
        {
            let _ = sender.send(());
        }
    });
    let options = BackfillOptions { progress: Some(progress), ..in_steps(10) };
    let job = tokio::spawn(async move {
        let _ = backfill(&engine, &definitions, TRANSACTIONS, options).await;
    });
    reached.await.unwrap();
    job.abort();
    let _ = job.await;
}

// C142: interrupted, asked for again, and the same rows as if nothing had happened.
#[tokio::test]
async fn an_interrupted_backfill_goes_on_with_the_sources_that_it_began_with() {
    let all = events(22, 150);
    let lake = Lakehouse::open(2).await;
    lake.append(&all, 1000).await;
    killed_at(&lake, &views(), 4).await;
    // What came in meanwhile is not in the later half of the rows alone.
    lake.append(&[event("late", "2023-11-20", 1.0)], 1).await;
    let report = run(&lake, TRANSACTIONS, in_steps(10)).await;
    assert!(report.resumed && report.skipped >= 1, "{report:?}");
    assert_eq!(lake.rows(&table(TRANSACTIONS)).await, at_once(&all, TRANSACTIONS).await);
    // It is done, so the next one reads what is there now.
    let next = run(&lake, TRANSACTIONS, in_steps(10)).await;
    assert!(!next.resumed && next.sources != report.sources);
    let mut more = all.clone();
    more.push(event("late", "2023-11-20", 1.0));
    assert_eq!(lake.rows(&table(TRANSACTIONS)).await, at_once(&more, TRANSACTIONS).await);
}

// Otherwise it would put the table back to what the sources were when it began.
#[tokio::test]
async fn an_interrupted_backfill_is_over_once_everything_was_computed() {
    let lake = Lakehouse::open(2).await;
    lake.append(&events(22, 150), 1000).await;
    killed_at(&lake, &views(), 4).await;
    lake.append(&[event("late", "2023-11-20", 1.0)], 1).await;
    let full = ComputeOptions { mode: ComputeMode::Full, ..ComputeOptions::default() };
    compute_view(&lake.engine, &views(), TRANSACTIONS, full).await.unwrap();
    let expected = lake.rows(&table(TRANSACTIONS)).await;
    assert!(expected.iter().any(|row| row.contains("user_token=late")));
    let report = run(&lake, TRANSACTIONS, in_steps(10)).await;
    assert!(!report.resumed, "{report:?}");
    assert_eq!(lake.rows(&table(TRANSACTIONS)).await, expected);
}

// A run that found nothing to change leaves no snapshot, but says so.
#[tokio::test]
async fn an_interrupted_backfill_is_over_once_everything_was_found_to_be_there() {
    let lake = Lakehouse::open(2).await;
    lake.append(&events(22, 150), 1000).await;
    killed_at(&lake, &views(), 4).await;
    let (definitions, name) = (views(), table(TRANSACTIONS));
    let (view, target) = (definitions.view(TRANSACTIONS).unwrap(), name.parse().unwrap());
    let hash = definitions.definition_hash(view);
    let wanted = wanted(&in_steps(10), view, &hash);
    let log = history(&lake.engine, &target).await.unwrap();
    assert!(interrupted(&log, (view, &hash), &wanted, None).is_some());
    let sources = [lake.pin("events.raw_transactions").await];
    let what = (head(&log), sources.as_slice(), None);
    base::mark(&lake.engine, &target, view, &hash, what).await.unwrap();
    let settled = base::settled(&lake.engine, &target, view).await.unwrap();
    assert_eq!(settled, Some(head(&log)));
    assert!(interrupted(&log, (view, &hash), &wanted, settled).is_none());
}

// A grid ends at its last event: later rows are of another definition.
#[tokio::test]
async fn the_last_step_leaves_no_row_after_the_end_of_its_grid() {
    let all = events(21, 200);
    let lake = Lakehouse::open(1).await;
    lake.append(&all, 1000).await;
    let sparse = VIEWS.replacen("emit = { every = \"1d\" }", "emit = { every = \"30d\" }", 1);
    let sparse = Definitions::parse("f.toml", &sparse).unwrap();
    compute_view(&lake.engine, &sparse, CHURN, ComputeOptions::default()).await.unwrap();
    let expected = at_once(&all, CHURN).await;
    let moment = |rows: &[String]| {
        let moments = rows.iter().filter_map(|row| row.split(' ').nth(1));
        moments.max().map(str::to_owned)
    };
    assert!(moment(&lake.rows(&table(CHURN)).await) > moment(&expected));
    run(&lake, CHURN, in_steps(45)).await;
    assert_eq!(lake.rows(&table(CHURN)).await, expected);
}

// A source without any row is held like every other: what comes into it meanwhile is not read.
#[tokio::test]
async fn a_source_that_was_empty_is_so_to_the_last_step() {
    let all = events(24, 150);
    let lake = Lakehouse::open(2).await;
    let pin = lake.append(&all, 1000).await;
    let more = TableName::parse("events.more").unwrap();
    let schema = lake.catalog.schema(&pin).await.unwrap();
    lake.catalog.ensure_table(&more, &NewTable::new(schema)).await.unwrap();
    let both = "source_sql = \"SELECT * FROM events.raw_transactions UNION ALL \
                SELECT * FROM events.more\"";
    let text = VIEWS.replacen("source = \"events.raw_transactions\"", both, 1);
    let definitions = Definitions::parse("f.toml", &text).unwrap();
    killed_at(&lake, &definitions, 4).await;
    let rows = lake.catalog.scan(&pin, ScanOptions::default()).await.unwrap();
    lake.catalog.commit(&more, rows, CommitOptions::new(WriteMode::Append)).await.unwrap();
    let report = backfill(&lake.engine, &definitions, TRANSACTIONS, in_steps(10)).await.unwrap();
    assert!(report.resumed && report.skipped >= 1, "{report:?}");
    assert_eq!(lake.rows(&table(TRANSACTIONS)).await, at_once(&all, TRANSACTIONS).await);
}

#[tokio::test]
async fn a_backfill_can_be_begun_again_and_looked_at_before() {
    let lake = Lakehouse::open(2).await;
    lake.append(&events(23, 100), 1000).await;
    let dry = BackfillOptions { dry_run: true, ..in_steps(10) };
    let report = run(&lake, TRANSACTIONS, dry).await;
    assert!(report.steps.len() > 5 && report.snapshot_id.is_none());
    assert_eq!(lake.catalog.tables().await.unwrap().len(), 1);
    killed_at(&lake, &views(), 3).await;
    lake.append(&[event("late", "2023-11-20", 1.0)], 1).await;
    let report = run(&lake, TRANSACTIONS, BackfillOptions { restart: true, ..in_steps(10) }).await;
    assert!(!report.resumed);
    let rows = lake.rows(&table(TRANSACTIONS)).await;
    assert!(rows.iter().any(|row| row.contains("user_token=late")));
}

// The rows of a range; the others stay.
#[tokio::test]
async fn a_range_is_computed_in_whole_partitions_and_others_stay() {
    let lake = Lakehouse::open(1).await;
    let days = ["2024-01-01", "2024-01-05", "2024-01-09"];
    lake.append(&days.map(|day| event("u", day, 1.0)), 10).await;
    let at = |text: &str| Some(Timestamp::parse(text).unwrap());
    let range =
        |from: &str, to: &str| BackfillOptions { from: at(from), to: at(to), ..in_steps(2) };
    run(&lake, TRANSACTIONS, range("2024-01-01", "2024-01-03")).await;
    let report =
        run(&lake, TRANSACTIONS, range("2024-01-04T12:00:00Z", "2024-01-09T00:00:01Z")).await;
    assert_eq!(report.steps.len(), 3);
    assert_eq!(report.steps[0].from, at("2024-01-04"));
    assert_eq!(report.steps[2].to, at("2024-01-10"));
    assert_eq!(lake.rows(&table(TRANSACTIONS)).await.len(), 3);
    let none = BackfillOptions { step: Span::from_micros(0), ..BackfillOptions::default() };
    assert!(backfill(&lake.engine, &views(), TRANSACTIONS, none).await.is_err());
}
