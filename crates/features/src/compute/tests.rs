use icecore_catalog::RowOptions;
use icecore_core::{FeatureEngine, Literal, Predicate, SnapshotCatalog};
use proptest::prelude::*;

use super::*;
use crate::LocalFeatureEngine;
use crate::fixture::{DAY, Event, Lakehouse, Oracle, Rows, VIEWS, event, events, source};

const TRANSACTIONS: &str = "user_transaction_features";
const TRANSACTIONS_TABLE: &str = "ml_features.user_transaction_features";
const CHURN: &str = "churn_features";
const CHURN_TABLE: &str = "ml_features.churn_features";

fn views() -> Definitions {
    Definitions::parse("features/demo.toml", VIEWS).unwrap()
}

fn views_with(old: &str, new: &str) -> Definitions {
    assert!(VIEWS.contains(old), "{old}");
    Definitions::parse("features/demo.toml", &VIEWS.replacen(old, new, 1)).unwrap()
}

fn from_to(from: &str, to: &str) -> ComputeOptions {
    let moment = |text: &str| (!text.is_empty()).then(|| Timestamp::parse(text).unwrap());
    ComputeOptions { from: moment(from), to: moment(to), ..ComputeOptions::default() }
}

async fn compute_all(lake: &Lakehouse, definitions: &Definitions, view: &str) -> ComputeReport {
    compute_view(&lake.engine, definitions, view, ComputeOptions::default()).await.unwrap()
}

fn last_time(events: &[Event]) -> i64 {
    events.iter().filter(|event| event.user.is_some()).filter_map(|event| event.time).max().unwrap()
}

// C41-C47, D8, D9: ties, nulls, duplicates, unsorted events, against the obvious implementation.
#[tokio::test]
async fn the_transaction_features_equal_the_obvious_computation() {
    let lake = Lakehouse::open(2).await;
    let events = events(1, 500);
    lake.append(&events, 170).await;
    let report = compute_all(&lake, &views(), TRANSACTIONS).await;
    let expected = Oracle { events: &events, with_churn_columns: false }.rows(
        Rows::LastPerDay,
        i64::MIN,
        i64::MAX,
    );
    assert_eq!(lake.rows(TRANSACTIONS_TABLE).await, expected);
    // C49
    assert_eq!(report.rows, expected.len() as u64);
    assert_eq!(report.input_rows, 500);
    let incomplete = events.iter().filter(|event| event.user.is_none() || event.time.is_none());
    assert_eq!(report.excluded_rows, incomplete.count() as u64);
    assert!(report.excluded_rows > 0 && report.changed);
    assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
}

// C78: the features that scoring reads, one row per user and day.
#[tokio::test]
async fn the_churn_features_equal_the_obvious_computation() {
    let lake = Lakehouse::open(2).await;
    // The last user stops for longer than the ttl and comes back.
    let mut events = events(2, 300);
    events.push(event("late", "2023-11-20T10:00:00Z", 1.0));
    events.push(event("late", "2024-03-20T10:00:00Z", 2.0));
    lake.append(&events, 400).await;
    let report = compute_all(&lake, &views(), CHURN).await;
    // Up to and with the first midnight that is not before the last event.
    let end = (last_time(&events) + DAY - 1).div_euclid(DAY) * DAY + 1;
    assert_eq!(report.range.to, Some(Timestamp::from_micros(end)));
    let expected = Oracle { events: &events, with_churn_columns: true }.rows(
        Rows::Daily(end),
        i64::MIN,
        i64::MAX,
    );
    assert!(expected.iter().any(|row| row.contains("user_token=late event_timestamp=2024-02-18")));
    assert!(!expected.iter().any(|row| row.contains("user_token=late event_timestamp=2024-02-19")));
    assert_eq!(lake.rows(CHURN_TABLE).await, expected);
}

// D6: which ends of a window belong to it.
#[tokio::test]
async fn each_event_gets_a_row_and_peers_are_in_together() {
    let definitions = views_with("emit = \"last_per_day\"", "emit = \"each_event\"");
    let lake = Lakehouse::open(2).await;
    let events = events(3, 200);
    lake.append(&events, 200).await;
    compute_all(&lake, &definitions, TRANSACTIONS).await;
    let oracle = Oracle { events: &events, with_churn_columns: false };
    let expected = oracle.rows(Rows::EachEvent, i64::MIN, i64::MAX);
    assert_eq!(lake.rows(TRANSACTIONS_TABLE).await, expected);

    let counts = |closed: &'static str| async move {
        let lake = Lakehouse::open(1).await;
        let days = ["2024-01-01", "2024-01-01", "2024-01-05", "2024-01-08"];
        lake.append(&days.map(|day| event("u", day, 1.0)), 10).await;
        let definitions = views_with("closed = \"both\"", closed);
        compute_all(&lake, &definitions, TRANSACTIONS).await;
        let rows = lake.rows(TRANSACTIONS_TABLE).await;
        let count = |row: &String| row.split(' ').nth(2).unwrap().to_owned();
        rows.iter().map(count).collect::<Vec<_>>().join(" ").replace("txn_count_7d=", "")
    };
    assert_eq!(counts("closed = \"both\"").await, "2 3 4");
    assert_eq!(counts("closed = \"left\"").await, "0 2 3");
    assert_eq!(counts("closed = \"right\"").await, "2 3 2");
    assert_eq!(counts("closed = \"none\"").await, "0 2 1");
}

// The rows of a range do not depend on the range: C144 for window views.
#[tokio::test]
async fn a_range_gives_the_same_rows_as_everything() {
    let lake = Lakehouse::open(2).await;
    let events = events(4, 400);
    let pin = lake.append(&events, 400).await;
    let definitions = Arc::new(views());
    let local = LocalFeatureEngine::new(lake.engine.clone(), Arc::clone(&definitions));
    // Noon, so that a day is cut in half.
    let (from, to) = ("2024-01-10T12:00:00Z", "2024-02-20T12:00:00Z");
    let range = TimeRange {
        from: Some(Timestamp::parse(from).unwrap()),
        to: Some(Timestamp::parse(to).unwrap()),
    };
    let micros = |end: Option<Timestamp>| end.unwrap().micros();
    for (view, rows) in [(TRANSACTIONS, Rows::LastPerDay), (CHURN, Rows::Daily(micros(range.to)))] {
        let view = definitions.view(view).unwrap();
        let batches = local.compute(view, std::slice::from_ref(&pin), range).await.unwrap();
        let schema = local.output_schema(view, std::slice::from_ref(&pin)).await.unwrap();
        let computed = batches.concat().await.unwrap();
        assert_eq!(computed.schema(), schema);
        let oracle = Oracle { events: &events, with_churn_columns: view.name == CHURN };
        let expected = oracle.rows(rows, micros(range.from), micros(range.to));
        assert!(expected.len() > 10);
        assert_eq!(crate::fixture::text_rows(&computed), expected, "{}", view.name);
    }
}

// C48, C145, C143: only the partitions of the range are replaced, and they are replaced whole.
#[tokio::test]
async fn a_late_event_changes_its_partitions_and_no_others() {
    let lake = Lakehouse::open(2).await;
    let mut events: Vec<Event> = ["01", "02", "03", "12"]
        .map(|day| event("u", &format!("2024-01-{day}T08:00:00Z"), 1.0))
        .to_vec();
    lake.append(&events, 10).await;
    let definitions = views();
    compute_all(&lake, &definitions, TRANSACTIONS).await;
    let before = lake.files(TRANSACTIONS_TABLE).await;
    assert_eq!(before.len(), 4);

    let late = event("u", "2024-01-02T20:00:00Z", 5.0);
    lake.append(std::slice::from_ref(&late), 1).await;
    events.push(late);
    let options = from_to("2024-01-02T10:00:00Z", "2024-01-03T10:00:00Z");
    let report = compute_view(&lake.engine, &definitions, TRANSACTIONS, options).await.unwrap();
    assert_eq!(report.range, from_to_range("2024-01-02", "2024-01-04"));
    assert_eq!(report.rows, 2);
    assert!(report.notes[0].contains("widened to 2024-01-02T00:00:00Z/2024-01-04T00:00:00Z"));

    let after = lake.files(TRANSACTIONS_TABLE).await;
    let kept = |file: &&(String, String)| after.contains(file);
    assert_eq!(before.iter().filter(kept).count(), 2, "{before:?} {after:?}");
    // The day of the twelfth is in no window of the late event but the wide ones.
    let full = Lakehouse::open(1).await;
    full.append(&events, 10).await;
    let options = from_to("2024-01-01", "");
    compute_view(&lake.engine, &definitions, TRANSACTIONS, options).await.unwrap();
    compute_all(&full, &definitions, TRANSACTIONS).await;
    assert_eq!(lake.rows(TRANSACTIONS_TABLE).await, full.rows(TRANSACTIONS_TABLE).await);
}

fn from_to_range(from: &str, to: &str) -> TimeRange {
    let options = from_to(from, to);
    TimeRange { from: options.from, to: options.to }
}

// C142: the same work twice changes nothing; undone or forced, it is done again.
#[tokio::test]
async fn the_same_work_is_done_once() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(5, 100), 100).await;
    let definitions = views();
    let first = compute_all(&lake, &definitions, TRANSACTIONS).await;
    let again = compute_all(&lake, &definitions, TRANSACTIONS).await;
    assert!(first.changed && !again.changed);
    assert_eq!((again.snapshot_id, again.rows), (first.snapshot_id, first.rows));

    let full = ComputeOptions { mode: ComputeMode::Full, ..ComputeOptions::default() };
    let forced = compute_view(&lake.engine, &definitions, TRANSACTIONS, full).await.unwrap();
    assert!(forced.changed && forced.snapshot_id != first.snapshot_id);

    let changed = views_with("closed = \"both\"", "closed = \"left\"");
    let other = compute_all(&lake, &changed, TRANSACTIONS).await;
    assert!(other.changed && other.definition_hash != first.definition_hash);
    let back = compute_all(&lake, &definitions, TRANSACTIONS).await;
    assert!(back.changed);
    assert!(!compute_all(&lake, &definitions, TRANSACTIONS).await.changed);
    let log = lake.catalog.history(&back.table).await.unwrap();
    let summary = &log.last().unwrap().summary;
    assert_eq!(summary["icecore.view"], TRANSACTIONS);
    assert_eq!(summary["icecore.definition-hash"], first.definition_hash);
    let sources: Vec<PinnedTable> = serde_json::from_str(&summary["icecore.sources"]).unwrap();
    assert_eq!(sources, back.sources);
}

// C146
#[tokio::test]
async fn an_empty_source_changes_nothing() {
    let lake = Lakehouse::open(1).await;
    lake.append(&[], 1).await;
    for view in [TRANSACTIONS, CHURN] {
        let report = compute_all(&lake, &views(), view).await;
        assert_eq!((report.rows, report.changed, report.snapshot_id), (0, false, None));
    }
    lake.append(&events(6, 50), 50).await;
    let before = compute_all(&lake, &views(), TRANSACTIONS).await;
    let none = from_to("2030-01-01", "2030-02-01");
    let report = compute_view(&lake.engine, &views(), TRANSACTIONS, none).await.unwrap();
    assert_eq!((report.rows, report.changed), (0, false));
    assert_eq!(lake.pin(TRANSACTIONS_TABLE).await.snapshot, before.snapshot_id.unwrap());
}

// C146
#[tokio::test]
async fn a_range_without_rows_does_not_empty_a_table_that_is_overwritten() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(6, 50), 50).await;
    let definitions = views_with("write = \"overwrite_partitions\"", "write = \"overwrite\"");
    let before = compute_all(&lake, &definitions, TRANSACTIONS).await;
    let none = from_to("2030-01-01", "2030-02-01");
    let report =
        compute_view(&lake.engine, &definitions, TRANSACTIONS, none.clone()).await.unwrap();
    assert_eq!((report.rows, report.changed, report.removed_rows), (0, false, 0));
    assert_eq!(report.snapshot_id, before.snapshot_id);
    assert_eq!(lake.rows(TRANSACTIONS_TABLE).await.len() as u64, before.rows);
    // Whoever insists on it gets it.
    let full = ComputeOptions { mode: ComputeMode::Full, ..none };
    let report = compute_view(&lake.engine, &definitions, TRANSACTIONS, full).await.unwrap();
    assert_eq!((report.changed, report.removed_rows), (true, before.rows));
}

// A grid ends at its last event: later rows are of another definition, or of events that are gone.
#[tokio::test]
async fn everything_leaves_no_row_after_the_end_of_its_grid() {
    let lake = Lakehouse::open(1).await;
    let last = [event("u", "2026-05-25T10:00:00Z", 1.0), event("v", "2026-06-01", 1.0)];
    lake.append(&last, 10).await;
    let weekly = views_with("emit = { every = \"1d\" }", "emit = { every = \"7d\" }");
    compute_all(&lake, &weekly, CHURN).await;
    assert_eq!(newest(&lake).await.as_deref(), Some("2026-06-04T00:00:00Z"));
    let full = ComputeOptions { mode: ComputeMode::Full, ..ComputeOptions::default() };
    for (gone, expected) in
        [("nobody", Some("2026-06-01T00:00:00Z")), ("v", Some("2026-05-26T00:00:00Z")), ("u", None)]
    {
        let gone = Predicate::equal("user_token", Literal::Text(gone.to_owned()));
        lake.catalog.delete(&source(), gone, RowOptions::default()).await.unwrap();
        compute_view(&lake.engine, &views(), CHURN, full.clone()).await.unwrap();
        assert_eq!(newest(&lake).await.as_deref(), expected);
    }
}

/// The moment of the last churn row.
async fn newest(lake: &Lakehouse) -> Option<String> {
    let rows = lake.rows(CHURN_TABLE).await;
    let cells = rows.iter().filter_map(|row| row.split(' ').nth(1));
    cells.filter_map(|cell| cell.strip_prefix("event_timestamp=")).max().map(str::to_owned)
}

#[tokio::test]
async fn a_dry_run_reads_statistics_and_changes_nothing() {
    let lake = Lakehouse::open(1).await;
    let days = ["2024-01-01", "2024-01-02", "2024-03-01"];
    lake.append(&days.map(|day| event("u", day, 1.0)), 1).await;
    let options = ComputeOptions { dry_run: true, ..from_to("2024-02-28", "") };
    let report = compute_view(&lake.engine, &views(), TRANSACTIONS, options).await.unwrap();
    assert!(report.changed && report.snapshot_id.is_none());
    // The widest window reaches all three files.
    assert_eq!((report.input_rows, report.sources.len()), (3, 1));
    let day = |text: &str| Date::parse(text).unwrap();
    assert_eq!(report.days, Some((day("2024-02-28"), day("2024-03-01"))));
    let tables = lake.catalog.tables().await.unwrap();
    assert_eq!(tables, [source()]);
}

// C147, C148: nothing is divided by zero, and what is null stays out.
#[tokio::test]
async fn derived_features_divide_truly_and_never_by_zero() {
    let expression = "decline_count_30d / greatest(txn_count_30d, 1)";
    let derived = format!(
        "{expression}\"\n[[feature_view.derived]]\nname = \"ratio\"\nexpression = \"txn_amount_7d / decline_count_30d\"\n[[feature_view.derived]]\nname = \"rounded\"\nexpression = \"round(coalesce(ratio, -1) / 4, 1)"
    );
    let definitions = views_with(expression, &derived);
    let lake = Lakehouse::open(1).await;
    let mut events = vec![event("a", "2024-01-01", 3.0), event("b", "2024-01-01", 2.0)];
    events[1].status = Some("declined");
    events.push(Event { status: None, amount: None, ..event("b", "2024-01-01T01:00:00Z", 0.0) });
    lake.append(&events, 10).await;
    compute_all(&lake, &definitions, TRANSACTIONS).await;
    let rows = lake.rows(TRANSACTIONS_TABLE).await;
    assert!(rows[0].contains("decline_rate_30d=0.0 ratio=- rounded=-0.3"), "{}", rows[0]);
    assert!(rows[1].contains("decline_rate_30d=0.5 ratio=2.0 rounded=0.5"), "{}", rows[1]);
}

#[tokio::test]
async fn a_new_feature_is_a_new_column() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(7, 60), 60).await;
    compute_all(&lake, &views(), TRANSACTIONS).await;
    let wider = views_with(
        "windows = [\"7d\", \"30d\", \"90d\"]",
        "windows = [\"7d\", \"1d\", \"30d\", \"90d\"]",
    );
    let report = compute_all(&lake, &wider, TRANSACTIONS).await;
    assert_eq!(report.added_columns, ["txn_count_1d"]);
    // The column stays when the feature leaves.
    assert!(compute_all(&lake, &views(), TRANSACTIONS).await.changed);
    let rows = lake.rows(TRANSACTIONS_TABLE).await;
    assert!(rows.iter().all(|row| row.contains("txn_count_1d=-")));

    let moved =
        views_with("partition_by = [\"feature_date\"]", "partition_by = [\"month(feature_date)\"]");
    let error = compute_view(&lake.engine, &moved, TRANSACTIONS, ComputeOptions::default()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(error.location().unwrap().to_string(), "features/demo.toml:15:16");
}

// A row is known once all its events are.
#[tokio::test]
async fn the_created_timestamp_is_that_of_the_latest_known_event() {
    let definitions = views_with(
        "source = \"events.raw_transactions\"",
        "source_sql = '''SELECT *, event_timestamp + CASE WHEN amount > 5 THEN INTERVAL '10 days' ELSE INTERVAL '1 hour' END AS known_at FROM events.raw_transactions'''\ncreated_timestamp = \"known_at\"",
    );
    let lake = Lakehouse::open(1).await;
    lake.append(&[event("u", "2024-01-01", 9.0), event("u", "2024-01-02", 1.0)], 10).await;
    compute_all(&lake, &definitions, TRANSACTIONS).await;
    let rows = lake.rows(TRANSACTIONS_TABLE).await;
    for row in &rows {
        assert!(row.contains(" known_at=2024-01-11T00:00:00Z txn_count_7d="), "{row}");
    }
    assert_eq!(rows.len(), 2);
}

/// The view's source with a column that says when each event was known: an hour later, or fifteen
/// days later if its amount is above five, or never if it is negative.
const KNOWN_AT: &str = "source_sql = '''SELECT *, CASE WHEN amount >= 0 THEN event_timestamp + CASE WHEN amount > 5 THEN INTERVAL '15 days' ELSE INTERVAL '1 hour' END END AS known_at FROM events.raw_transactions'''\ncreated_timestamp = \"known_at\"";

/// Users, with the moments in January of their rows and when those were known.
async fn known_rows(lake: &Lakehouse, view: &str) -> Vec<String> {
    let text = format!(
        "[[entity]]\nname = \"user\"\njoin_keys = [\"user_token\"]\n[[feature_view]]\nname = \"v\"\nentities = [\"user\"]\n{KNOWN_AT}\ntable = \"out.v\"\nttl = \"90d\"\n{view}\n[[feature_view.aggregate]]\nname = \"n\"\nfunction = \"count\"\nwindows = [\"7d\"]\n"
    );
    let definitions = Definitions::parse("f.toml", &text).unwrap();
    compute_all(lake, &definitions, "v").await;
    let rows = lake.rows("out.v").await;
    let short = |row: &String| {
        let cells = row.split(' ').take(3).filter_map(|cell| cell.split_once('='));
        let values = cells.map(|(_, value)| value.replace("2024-01-", "").replace(":00:00Z", ""));
        values.collect::<Vec<_>>().join(" ")
    };
    rows.iter().map(short).collect()
}

// C117: the event of a row's own moment may be in none of its windows, but without it there is no
// row.
#[tokio::test]
async fn a_row_was_not_known_before_the_event_that_it_is_there_for() {
    for closed in ["left", "none"] {
        let lake = Lakehouse::open(1).await;
        lake.append(&[event("u", "2024-01-01", 1.0), event("u", "2024-01-05", 9.0)], 10).await;
        let rows = known_rows(&lake, &format!("closed = \"{closed}\"")).await;
        assert_eq!(rows, ["u 01T00 01T01", "u 05T00 20T00"], "{closed}");
    }
}

// C117: rows of a grid go on when the event that they are there for is out of all windows.
#[tokio::test]
async fn a_row_of_empty_windows_was_not_known_before_any_event_of_its_entity() {
    let lake = Lakehouse::open(1).await;
    lake.append(&[event("late", "2024-01-01", 9.0), event("u", "2024-01-12", 1.0)], 10).await;
    // One of these is enough for a row of the eleventh, and neither is in its window.
    lake.append(&[event("both", "2024-01-01", 1.0), event("both", "2024-01-02", 9.0)], 10).await;
    let rows = known_rows(&lake, "emit = { every = \"1d\" }").await;
    let late: Vec<&String> = rows.iter().filter(|row| row.starts_with("late ")).collect();
    assert_eq!(late.len(), 12);
    assert!(late.iter().all(|row| row.ends_with(" 16T00")), "{late:?}");
    for row in ["both 01T00 01T01", "both 02T00 17T00", "both 11T00 01T01"] {
        assert!(rows.iter().any(|found| found == row), "{row}: {rows:?}");
    }
}

// C117: an event without a created timestamp was never known, and no row that counts it was.
#[tokio::test]
async fn a_row_with_an_event_that_was_never_known_was_not_either() {
    let lake = Lakehouse::open(1).await;
    let days = [("2024-01-01", -1.0), ("2024-01-02", 1.0), ("2024-01-09", 1.0)];
    lake.append(&days.map(|(day, amount)| event("u", day, amount)), 10).await;
    for closed in ["both", "left"] {
        let rows = known_rows(&lake, &format!("closed = \"{closed}\"")).await;
        assert_eq!(rows, ["u 01T00 -", "u 02T00 -", "u 09T00 09T01"], "{closed}");
    }
}

#[tokio::test]
async fn progress_is_reported_as_rows_pass() {
    use std::sync::Mutex;
    let lake = Lakehouse::open(1).await;
    lake.append(&events(8, 80), 80).await;
    let seen = Arc::new(Mutex::new(crate::Progress::default()));
    let last = Arc::clone(&seen);
    let progress = ProgressCallback::new(move |progress| *last.lock().unwrap() = progress);
    let options = ComputeOptions { progress: Some(progress), ..ComputeOptions::default() };
    let report = compute_view(&lake.engine, &views(), TRANSACTIONS, options).await.unwrap();
    let seen = *seen.lock().unwrap();
    assert_eq!((seen.rows_in, seen.rows_out), (report.input_rows, report.rows));
    assert!(report.rows > 0);
}

// The rows do not depend on the order, the files or the threads.
#[test]
fn rows_do_not_depend_on_layout_or_threads() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap();
    let config = ProptestConfig { cases: 4, ..ProptestConfig::default() };
    proptest!(config, |(seed in 0..1000_u64, split in 20..120_usize, threads in 1..5_usize)| {
        runtime.block_on(async {
            let mut events = events(seed, 120);
            for event in &mut events {
                // Amounts whose sum depends on the order, if it is not exact.
                event.amount = event.amount.map(|amount| amount / 3.0 * 1e3_f64.powf(amount % 5.0));
            }
            let (one, other) = (Lakehouse::open(1).await, Lakehouse::open(threads).await);
            one.append(&events, 1000).await;
            events.reverse();
            other.append(&events, split).await;
            for lake in [&one, &other] {
                compute_all(lake, &views(), TRANSACTIONS).await;
            }
            prop_assert_eq!(one.rows(TRANSACTIONS_TABLE).await, other.rows(TRANSACTIONS_TABLE).await);
            Ok(())
        })?;
    });
}

// What stands wrong is named where it stands, and nothing is left behind.
#[tokio::test]
async fn what_a_value_is_too_much_for_is_named_at_its_place() {
    let lake = Lakehouse::open(2).await;
    lake.append(&events(1, 40), 40).await;
    let table = TableName::parse(TRANSACTIONS_TABLE).unwrap();
    let derived = "decline_count_30d / greatest(txn_count_30d, 1)";
    for (old, new, what) in [
        (
            derived,
            "txn_count_30d % (txn_count_30d - txn_count_30d)",
            "derived feature `decline_rate_30d` of `user_transaction_features`",
        ),
        (
            "status = 'declined'",
            "CAST(merchant_id AS BIGINT) > 1",
            "`where` of aggregate `decline_count` of `user_transaction_features`",
        ),
        (
            "ttl = \"90d\"",
            "where = \"CAST(txn_id AS BIGINT) = 1\"\nttl = \"90d\"",
            "`where` of `user_transaction_features`",
        ),
    ] {
        let views = views_with(old, new);
        crate::check(&lake.engine, &views).await.unwrap();
        let options = ComputeOptions::default();
        let failed = compute_view(&lake.engine, &views, TRANSACTIONS, options).await;
        let error = failed.unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with(&format!("{what} cannot be computed: ")), "{message}");
        let line = 1 + VIEWS.split(old).next().unwrap().lines().count();
        let found = error.location().map_or(0, |at| at.line);
        assert!((line - 1..=line + 1).contains(&found), "{message}: {found}, {line}");
        let gone = lake.catalog.describe(&table).await.unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound, "{what}");
    }
}

#[tokio::test]
async fn what_is_null_in_every_row_is_said_before_anything_is_computed() {
    let lake = Lakehouse::open(2).await;
    lake.append(&events(1, 40), 40).await;
    let views = views_with("decline_count_30d / greatest(txn_count_30d, 1)", "null");
    let error = crate::check(&lake.engine, &views).await.unwrap_err();
    assert_eq!(error.to_string(), "`null` is null in every row");
    let derived = VIEWS.split("decline_count_30d / ").next().unwrap().lines().count();
    assert_eq!(error.location().map(|at| at.line), Some(derived));
}
