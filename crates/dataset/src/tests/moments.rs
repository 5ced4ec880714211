//! Windows that end at the moments of the spine.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type};
use icecore_core::{BatchStream, ErrorKind, NewTable, SnapshotCatalog as _, Timestamp, WriteMode};
use icecore_features::{ComputeOptions, Definitions, compute_view};

use super::lake::{FEATURES, Lake, OUTCOMES, activity, outcomes};
use crate::{
    Asked, BuildOptions, HandOff, InputRole, Lock, Retrieval, ViewRules, Windows, build, retrieve,
    stream, verify,
};

/// Views over events; nobody has computed them.
const VIEWS: &str = r#"
[[feature_view]]
name = "spend"
entities = ["user"]
source = "ml_features.activity"
table = "ml_features.spend"
[[feature_view.aggregate]]
name = "spent"
function = "sum"
column = "amount"
windows = ["30d"]
[[feature_view.aggregate]]
name = "payments"
function = "count"
windows = ["45d"]
[[feature_view.derived]]
name = "per_payment"
expression = "spent_30d / payments_45d"

[[feature_view]]
name = "credit"
entities = ["user"]
source_sql = "SELECT * FROM ml_features.account WHERE balance > 0"
created_timestamp = "created"
table = "ml_features.credit"
[[feature_view.aggregate]]
name = "credit"
function = "sum"
column = "balance"
windows = ["90d"]
"#;

const SET: &str = r#"
name = "churn"
spine = "SELECT user_token, observed_at AS event_timestamp, churned FROM labels.outcomes"
label = "churned"
features = ["spend:*", "credit:*"]
[view.spend]
windows = "moment"
[view.credit]
windows = "moment"
"#;

async fn lake() -> Lake {
    let mut lake = Lake::filled().await;
    lake.definitions = Definitions::parse("f.toml", &format!("{FEATURES}{VIEWS}")).unwrap();
    lake
}

/// User, day: spent, payments, per payment, credit.
fn lines(rows: &RecordBatch, moment: &str) -> Vec<String> {
    let column = |name: &str| rows.column_by_name(name).unwrap();
    let moments = icecore_pit::moment_micros(column(moment)).unwrap();
    let float = |name: &str, row: usize| {
        let values = column(name).as_primitive::<Float64Type>();
        if values.is_null(row) { "-".to_owned() } else { values.value(row).to_string() }
    };
    let line = |row: usize| {
        let counts = column("payments_45d").as_primitive::<Int64Type>();
        let count = if counts.is_null(row) { "-".into() } else { counts.value(row).to_string() };
        format!(
            "{} {}: {} {count} {} {}",
            column("user_token").as_string::<i32>().value(row),
            Timestamp::from_micros(moments.value(row)).date(),
            float("spent_30d", row),
            float("per_payment", row),
            float("credit_90d", row),
        )
    };
    let mut lines: Vec<String> = (0..rows.num_rows()).map(line).collect();
    lines.sort();
    lines
}

const EXPECTED: [&str; 5] = [
    "u1 2024-01-15: 30.5 1 30.5 100",
    "u1 2024-02-20: 155.25 2 77.625 190",
    "u2 2024-01-20: 70 1 70 -",
    "u3 2024-02-01: - - - -",
    "u9 2024-02-20: - - - -",
];

async fn rows(lake: &Lake, lock: &Lock) -> Vec<String> {
    let rows = stream(&lake.engine, lock, HandOff::default()).await.unwrap();
    lines(&rows.concat().await.unwrap(), "event_timestamp")
}

// C3 C116 C117 D10: no stored row is needed, late events do not count, and the set is rebuilt from
// its lock after everything changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_set_has_the_windows_of_its_own_moments() {
    let mut lake = lake().await;
    let spec = lake.spec(SET);
    let built = build(&lake.engine, &lake.definitions, &spec, BuildOptions::default()).await;
    let built = built.unwrap();
    assert_eq!(rows(&lake, &built.lock).await, EXPECTED);
    let events = built.lock.plan.inputs.iter().filter(|input| input.role == InputRole::Events);
    let events: Vec<_> = events.map(|input| input.pin.table.to_string()).collect();
    assert_eq!(events, ["ml_features.account", "ml_features.activity"]);
    let check = &built.lock.leak_check;
    assert_eq!((check.rows, check.violations), (5, 0));
    let joined: Vec<_> = check.views.iter().map(|view| (view.name.as_str(), view.joined)).collect();
    assert_eq!(joined, [("spend", 3), ("credit", 2)]);
    assert_eq!(check.views[0].newest_before_moment_us, Some(0), "the payment of the very moment");

    let lock = Lock::read(&built.lockfile).unwrap();
    assert_eq!(lock, built.lock);
    lake.write(
        "ml_features.activity",
        activity(&[("u1", "2024-01-11", 9, 1.0)]),
        WriteMode::Append,
    )
    .await;
    let changed = VIEWS.replace("30d", "31d");
    lake.definitions = Definitions::parse("f.toml", &format!("{FEATURES}{changed}")).unwrap();
    let verified = verify(&lake.engine, &lock, Some(&lake.definitions)).await.unwrap();
    assert!(verified.equal(), "{:?}", verified.differences);
    assert_eq!(verified.changed_definitions, ["spend"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_under_another_name_has_its_windows_at_the_moments() {
    let lake = lake().await;
    let named = SET
        .replace("\"spend:*\"", "\"own:*\"")
        .replace("[view.spend]", "[view.own]\nof = \"spend\"");
    assert_eq!(named.matches("own").count(), 2);
    let spec = lake.spec(&named);
    let built = build(&lake.engine, &lake.definitions, &spec, BuildOptions::default()).await;
    let built = built.unwrap();
    assert_eq!(rows(&lake, &built.lock).await, EXPECTED);
    let verified = verify(&lake.engine, &built.lock, Some(&lake.definitions)).await.unwrap();
    assert!(verified.equal() && verified.changed_definitions.is_empty(), "{verified:?}");
    let entities = Asked::Entities(vec![Timestamp::parse("2024-02-20").unwrap()]);
    let mut retrieval = Retrieval::new(["own:*", "credit:*"]);
    retrieval.views.clone_from(&spec.views);
    let found = retrieve(&lake.engine, &lake.definitions, entities, &retrieval).await.unwrap();
    let found = lines(&found.rows.concat().await.unwrap(), "event_timestamp");
    assert!(found.contains(&EXPECTED[1].to_owned()), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_a_view_hold_for_its_windows() {
    let lake = lake().await;
    for (rule, expected) in [
        ("strict = true", ["30.5 1 30.5", "155.25 2 77.625", "- - -"]),
        ("delay = \"6d\"", ["- - -", "155.25 2 77.625", "- - -"]),
        ("ttl = \"5d\"", ["30.5 1 30.5", "- - -", "70 1 70"]),
    ] {
        let text =
            SET.replacen("windows = \"moment\"", &format!("windows = \"moment\"\n{rule}"), 1);
        let spec = lake.spec(&text);
        let built = build(&lake.engine, &lake.definitions, &spec, BuildOptions::default()).await;
        let found = rows(&lake, &built.unwrap().lock).await;
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(&format!(": {expected} ")), "{rule}: {found}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_at_hand_and_entities_are_answered_the_same() {
    let lake = lake().await;
    let mut retrieval = Retrieval::new(["spend:*", "credit:*"]);
    let rules = ViewRules { windows: Windows::Moment, ..ViewRules::default() };
    retrieval.views = ["spend", "credit"].map(|view| (view.to_owned(), rules.clone())).into();
    retrieval.event_timestamp = "observed_at".to_owned();
    retrieval.with_ages = true;
    let batch = outcomes(&OUTCOMES);
    let asked = [
        Asked::Rows(BatchStream::from_batches(batch.schema(), vec![batch])),
        Asked::Table("labels.outcomes".parse().unwrap()),
    ];
    for asked in asked {
        let found = retrieve(&lake.engine, &lake.definitions, asked, &retrieval).await.unwrap();
        let found = found.rows.concat().await.unwrap();
        assert_eq!(lines(&found, "observed_at"), EXPECTED);
        let ages = found.column_by_name("spend__age_us").unwrap().as_primitive::<Int64Type>();
        let days = ages.iter().map(|age| age.map(|age| age / 86_400_000_000)).collect::<Vec<_>>();
        assert_eq!(days, [Some(5), Some(0), None, Some(6), None]);
    }
    let moments = vec![Timestamp::parse("2024-01-20").unwrap()];
    let asked = Asked::Entities(moments);
    let found = retrieve(&lake.engine, &lake.definitions, asked, &retrieval).await.unwrap();
    let found = lines(&found.rows.concat().await.unwrap(), "observed_at");
    assert_eq!(found, ["u1 2024-01-20: 30.5 1 30.5 100", "u2 2024-01-20: 70 1 70 -"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_windows_at_moments_is_refused() {
    let lake = lake().await;
    let refused = async |text: &str| {
        let spec = lake.spec(text);
        let built = build(&lake.engine, &lake.definitions, &spec, BuildOptions::default()).await;
        built.unwrap_err()
    };
    let snapshot = SET.replacen("label =", "knowledge = \"snapshot\"\nlabel =", 1);
    let error = refused(&snapshot).await;
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.location().unwrap().line, 4, "{error}");
    let stored = SET.replace("spend", "activity");
    assert!(refused(&stored).await.to_string().contains("`activity` stores features"));
    // A spine that is another one each time would lose features.
    let random = "observed_at + CAST(random() * 1000000 AS BIGINT) * INTERVAL '1 microsecond' AS";
    let random =
        random.replace("observed_at +", "to_timestamp_micros(arrow_cast(observed_at, 'Int64') +");
    let random = random.replace(" * INTERVAL '1 microsecond' AS", ") AS");
    let random = SET.replace("observed_at AS", &random);
    assert_eq!(refused(&random).await.to_string(), "the spine depends on `random`");
    let retrieval = {
        let mut retrieval = Retrieval::new(["spend:*"]);
        let rules = ViewRules { windows: Windows::Moment, ..ViewRules::default() };
        retrieval.views = [("spend".to_owned(), rules)].into();
        retrieval
    };
    // Rows that nobody has to get again may be random, but not while they are read twice.
    let asked = Asked::Query(lake.spec(&random).spine_sql().unwrap());
    let error = match retrieve(&lake.engine, &lake.definitions, asked, &retrieval).await {
        Ok(found) => found.rows.concat().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.to_string(), "the spine gives other rows each time it is read");
    let period = Asked::Period(icecore_core::TimeRange::default());
    let error = retrieve(&lake.engine, &lake.definitions, period, &retrieval).await.unwrap_err();
    assert_eq!(error.to_string(), "rows of a time are those that are stored");
}

/// Ticks as they are, in windows at moments, and in windows that were computed before.
const TICKS: &str = r#"
[[entity]]
name = "user"
join_keys = ["user_token"]

[[feature_view]]
name = "stored"
entities = ["user"]
source = "ml_features.ticks"
columns = ["amount"]

[[feature_view]]
name = "asked"
entities = ["user"]
source = "ml_features.ticks"
emit = "each_event"
table = "ml_features.asked"
[[feature_view.aggregate]]
name = "newest"
function = "last"
column = "amount"
windows = ["30d"]

[[feature_view]]
name = "computed"
entities = ["user"]
source = "ml_features.ticks"
emit = "each_event"
table = "ml_features.computed"
[[feature_view.aggregate]]
name = "latest"
function = "last"
column = "amount"
windows = ["30d"]
"#;

const TICKING: &str = r#"
name = "churn"
spine = "SELECT user_token, observed_at AS event_timestamp, churned FROM labels.moments"
label = "churned"
features = ["stored:amount", "asked:newest_30d", "computed:latest_30d"]
[view.asked]
windows = "moment"
"#;

// Rounded up, an event before 1970 would be known a microsecond late in windows, and not in joins.
#[tokio::test(flavor = "multi_thread")]
async fn nanoseconds_before_1970_are_one_moment_in_windows_and_joins() {
    let mut lake = Lake::new().await;
    lake.definitions = Definitions::parse("f.toml", TICKS).unwrap();
    let user = |rows: usize| Arc::new(StringArray::from(vec!["u1"; rows])) as ArrayRef;
    let nanos = TimestampNanosecondArray::from(vec![-1, -1_001]).with_timezone("+00:00");
    let ticks = RecordBatch::try_from_iter_with_nullable([
        ("user_token", user(2), true),
        ("event_timestamp", Arc::new(nanos) as ArrayRef, true),
        ("amount", Arc::new(Float64Array::from(vec![2.0, 1.0])) as ArrayRef, true),
    ]);
    let (ticks, table) = (ticks.unwrap(), "ml_features.ticks".parse().unwrap());
    let new = NewTable::new(ticks.schema()).with_format_version(3);
    lake.engine.catalog().ensure_table(&table, &new).await.unwrap();
    lake.write("ml_features.ticks", ticks, WriteMode::Append).await;
    let micros = TimestampMicrosecondArray::from(vec![-3, -2, -1, 0]).with_timezone("+00:00");
    let moments = RecordBatch::try_from_iter_with_nullable([
        ("user_token", user(4), true),
        ("observed_at", Arc::new(micros) as ArrayRef, true),
        ("churned", Arc::new(BooleanArray::from(vec![true; 4])) as ArrayRef, true),
    ]);
    lake.write("labels.moments", moments.unwrap(), WriteMode::Append).await;
    let options = ComputeOptions::default();
    compute_view(&lake.engine, &lake.definitions, "computed", options).await.unwrap();

    let spec = lake.spec(TICKING);
    let built = build(&lake.engine, &lake.definitions, &spec, BuildOptions::default()).await;
    let rows = stream(&lake.engine, &built.unwrap().lock, HandOff::default()).await.unwrap();
    let rows = rows.concat().await.unwrap();
    let column = |name: &str| rows.column_by_name(name).unwrap();
    let moments = icecore_pit::moment_micros(column("event_timestamp")).unwrap();
    let known = |row: usize| {
        ["amount", "newest_30d", "latest_30d"].map(|name| {
            let values = column(name).as_primitive::<Float64Type>();
            values.is_valid(row).then(|| values.value(row))
        })
    };
    let mut found: Vec<_> =
        (0..rows.num_rows()).map(|row| (moments.value(row), known(row))).collect();
    found.sort_by_key(|(moment, _)| *moment);
    let expected = [(-3, None), (-2, Some(1.0)), (-1, Some(2.0)), (0, Some(2.0))];
    assert_eq!(found, expected.map(|(moment, value)| (moment, [value; 3])));
}
