//! Features for rows that are no training set.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use icecore_core::{BatchStream, Error, TimeRange, Timestamp};

use super::lake::{CHURN, Lake, OUTCOMES, outcomes};
use crate::{Asked, BuildOptions, HandOff, Retrieval, ViewRules, build, retrieve, stream};

async fn found(lake: &Lake, asked: Asked, retrieval: &Retrieval) -> RecordBatch {
    let found = retrieve(&lake.engine, &lake.definitions, asked, retrieval).await.unwrap();
    found.rows.concat().await.unwrap()
}

async fn refused(lake: &Lake, asked: Asked, retrieval: &Retrieval) -> Error {
    retrieve(&lake.engine, &lake.definitions, asked, retrieval).await.unwrap_err()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// User, day, count.
fn lines(rows: &RecordBatch, moment: &str) -> Vec<String> {
    let users = rows.column_by_name("user_token").unwrap().as_string::<i32>();
    let moments = icecore_pit::moment_micros(rows.column_by_name(moment).unwrap()).unwrap();
    let counts = rows.column_by_name("txn_count_30d").unwrap().as_primitive::<Int64Type>();
    let line = |row: usize| {
        let day = Timestamp::from_micros(moments.value(row)).date();
        let count =
            if counts.is_null(row) { "-".to_owned() } else { counts.value(row).to_string() };
        format!("{} {day} {count}", users.value(row))
    };
    (0..rows.num_rows()).map(line).collect()
}

// C116-C118: a query, a table and rows at hand see the same as the training set does.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_a_table_and_rows_at_hand_see_the_same() {
    let lake = Lake::filled().await;
    let expected = [
        "u1 2024-01-15 3",
        "u2 2024-01-20 7",
        "u3 2024-02-01 -",
        "u1 2024-02-20 15",
        "u9 2024-02-20 -",
    ];
    let mut retrieval = Retrieval::new(["activity:txn_count_30d", "account:balance"]);
    retrieval.event_timestamp = "observed_at".to_owned();
    let query = Asked::Query("SELECT * FROM labels.outcomes".to_owned());
    let by_query = found(&lake, query, &retrieval).await;
    assert_eq!(lines(&by_query, "observed_at"), expected, "in the order of the rows");
    let names: Vec<_> = by_query.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["user_token", "observed_at", "churned", "txn_count_30d", "balance"]);
    let table = found(&lake, Asked::Table("labels.outcomes".parse().unwrap()), &retrieval).await;
    assert_eq!(table, by_query);
    let batch = outcomes(&OUTCOMES);
    let rows = BatchStream::from_batches(batch.schema(), vec![batch]);
    assert_eq!(found(&lake, Asked::Rows(rows), &retrieval).await.columns(), by_query.columns());

    let spec = lake.spec(CHURN);
    let built = build(&lake.engine, &lake.definitions, &spec, BuildOptions::default()).await;
    let built = built.unwrap();
    let options =
        HandOff::default().with_columns(["user_token", "event_timestamp", "txn_count_30d"]);
    let set = stream(&lake.engine, &built.lock, options).await.unwrap().concat().await.unwrap();
    let mut set = lines(&set, "event_timestamp");
    set.sort();
    let mut sorted = expected.map(str::to_owned).to_vec();
    sorted.sort();
    assert_eq!(set, sorted);
}

#[tokio::test(flavor = "multi_thread")]
async fn ages_moments_and_rules_can_be_asked_for() {
    let lake = Lake::filled().await;
    let mut retrieval = Retrieval::new(["activity:txn_count_30d"]);
    retrieval.event_timestamp = "observed_at".to_owned();
    (retrieval.with_ages, retrieval.with_event_timestamps) = (true, true);
    retrieval.full_feature_names = true;
    let rules = ViewRules { strict: true, ..ViewRules::default() };
    retrieval.views.insert("activity".to_owned(), rules);
    let rows = found(&lake, Asked::Table("labels.outcomes".parse().unwrap()), &retrieval).await;
    let ages = rows.column_by_name("activity__age_us").unwrap().as_primitive::<Int64Type>();
    let day = 86_400_000_000;
    assert_eq!(ages.iter().collect::<Vec<_>>(), [Some(5 * day), None, None, Some(6 * day), None]);
    assert!(rows.column_by_name("activity__event_timestamp").is_some());
    assert!(rows.column_by_name("activity__txn_count_30d").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entity_is_seen_at_each_moment_where_something_is_known() {
    let lake = Lake::filled().await;
    let mut retrieval = Retrieval::new(["activity:txn_count_30d", "account:balance"]);
    let moments = vec![at("2024-03-05"), at("2023-10-02"), at("2024-02-14")];
    let rows = found(&lake, Asked::Entities(moments), &retrieval).await;
    // By moment, then by key; u3 is too old in 2024, and nobody knew of u1 and u2 before.
    let expected = [
        "u3 2023-10-02 99",
        "u1 2024-02-14 15",
        "u2 2024-02-14 8",
        "u1 2024-03-05 40",
        "u2 2024-03-05 8",
    ];
    assert_eq!(lines(&rows, "event_timestamp"), expected);
    let balances = rows.column_by_name("balance").unwrap().as_primitive::<Float64Type>();
    let balances: Vec<_> = balances.iter().collect();
    assert_eq!(balances, [None, Some(90.0), None, Some(90.0), Some(55.0)]);
    assert_eq!(rows.num_columns(), 4, "{:?}", rows.schema());
    retrieval.keys.insert("user_token".to_owned(), "who".to_owned());
    let renamed = found(&lake, Asked::Entities(vec![at("2024-03-05")]), &retrieval).await;
    assert_eq!(renamed.schema().field(0).name(), "who");
    let error = refused(&lake, Asked::Entities(Vec::new()), &retrieval).await;
    assert_eq!(error.to_string(), "no moment is asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_gives_its_rows_of_a_time() {
    let lake = Lake::filled().await;
    let retrieval = Retrieval::new(["activity:txn_count_30d"]);
    let range = TimeRange { from: Some(at("2024-01-20")), to: Some(at("2024-02-15")) };
    let rows = found(&lake, Asked::Period(range), &retrieval).await;
    let expected = ["u1 2024-02-14 15", "u2 2024-01-20 7", "u2 2024-01-21 8"];
    assert_eq!(lines(&rows, "event_timestamp"), expected);
    let all = found(&lake, Asked::Period(TimeRange::default()), &retrieval).await;
    assert_eq!(all.num_rows(), 6);
    let both = Retrieval::new(["activity:*", "account:balance"]);
    let error = refused(&lake, Asked::Period(range), &both).await;
    assert_eq!(error.to_string(), "features of several views are asked for");
}

// Nanoseconds end in 2262, and "for ever" is written as 9999.
#[tokio::test(flavor = "multi_thread")]
async fn moments_may_be_of_any_year() {
    let lake = Lake::filled().await;
    let retrieval = Retrieval::new(["account:balance"]);
    let moments = vec![at("1600-01-01"), at("9999-12-31")];
    let rows = found(&lake, Asked::Entities(moments), &retrieval).await;
    assert_eq!(rows.num_rows(), 2, "u1 and u2, in 9999");
    let retrieval = Retrieval::new(["activity:txn_count_30d"]);
    let range = TimeRange { from: Some(at("1000-01-01")), to: Some(at("9999-12-31")) };
    assert_eq!(found(&lake, Asked::Period(range), &retrieval).await.num_rows(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_and_nobody_has_is_named() {
    let lake = Lake::filled().await;
    let asked = || Asked::Table("labels.outcomes".parse().unwrap());
    let error = refused(&lake, asked(), &Retrieval::new(["activty:*"])).await;
    assert_eq!(error.help(), Some("did you mean `activity`?"));
    let error = refused(&lake, asked(), &Retrieval::new(["activity:*"])).await;
    assert_eq!(error.to_string(), "the spine has no column `event_timestamp` for its moments");
    let mut retrieval = Retrieval::new(["activity:*"]);
    retrieval.views.insert("account".to_owned(), ViewRules::default());
    let error = refused(&lake, asked(), &retrieval).await;
    assert!(error.to_string().contains("takes no feature of `account`"), "{error}");
}
