use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, StringArray};
use icecore_catalog::CatalogOptions;
use icecore_core::{BatchStream, CommitOptions, FixedClock, NewTable, Timestamp, WriteMode};
use tempfile::TempDir;

use super::*;

const TODAY: &str = "2026-02-01";

fn day(text: &str) -> Date {
    Date::parse(text).unwrap()
}

pub(crate) fn clock() -> Arc<FixedClock> {
    Arc::new(FixedClock(Timestamp::parse("2026-02-01T06:30:00Z").unwrap()))
}

pub(crate) fn route() -> ScoreRoute {
    let table = TableName::parse("ml_predictions.churn_scores").unwrap();
    let mut route = ScoreRoute::new("churn", "/churn-score/{user_token}", table);
    route.key_template = Some("churn:{user_token}".to_owned());
    route.prediction_column = "churn_probability".to_owned();
    route.date_column = "churn_score_date".to_owned();
    route.default = 0.05;
    route
}

pub(crate) async fn catalog(dir: &TempDir) -> IcebergCatalog {
    let path = |name: &str| dir.path().join(name).display().to_string();
    let uri = format!("sqlite:{}", path("catalog.db"));
    IcebergCatalog::open(CatalogOptions::new(uri, path("warehouse"))).await.unwrap()
}

fn predictions(keys: ArrayRef, date: &str, scores: Vec<f64>) -> RecordBatch {
    let rows = keys.len();
    RecordBatch::try_from_iter([
        ("user_token", keys),
        ("churn_probability", Arc::new(Float64Array::from(scores)) as ArrayRef),
        ("churn_score_date", Arc::new(Date32Array::from(vec![day(date).days(); rows]))),
        ("model_version", Arc::new(Int64Array::from(vec![7; rows]))),
    ])
    .unwrap()
}

fn users(names: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(names.to_vec()))
}

pub(crate) async fn commit(catalog: &IcebergCatalog, date: &str, rows: &[(&str, f64)]) {
    let names: Vec<&str> = rows.iter().map(|(name, _)| *name).collect();
    let scores = rows.iter().map(|(_, score)| *score).collect();
    let batch = predictions(users(&names), date, scores);
    write(catalog, batch, &["churn_score_date"]).await;
}

async fn write(catalog: &IcebergCatalog, batch: RecordBatch, partition_by: &[&str]) {
    let table = route().table;
    let new = NewTable::new(batch.schema())
        .with_partition_by(partition_by.iter().copied())
        .with_sort_by(["user_token"]);
    catalog.ensure_table(&table, &new).await.unwrap();
    let mode =
        if partition_by.is_empty() { WriteMode::Append } else { WriteMode::OverwritePartitions };
    let rows = BatchStream::from_batches(batch.schema(), vec![batch]);
    catalog.commit(&table, rows, CommitOptions::new(mode)).await.unwrap();
}

fn lookup(catalog: &IcebergCatalog, pin_ttl: Duration) -> LakeLookup {
    LakeLookup::new(catalog.clone(), clock(), LakeOptions { pin_ttl })
}

async fn probability(lake: &LakeLookup, key: &str) -> Option<f64> {
    lake.lookup(&route(), key).await.unwrap().map(|score| score.probability)
}

// C89 D13 D18
#[tokio::test]
async fn the_newest_date_up_to_today_counts() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(&dir).await;
    commit(&catalog, "2026-01-30", &[("u1", 0.1), ("u2", 0.2), ("gone", 0.3)]).await;
    commit(&catalog, "2026-01-31", &[("u2", 0.4), ("u1", 0.9)]).await;
    commit(&catalog, "2026-02-02", &[("u1", 0.7), ("later", 0.8)]).await;
    let lake = lookup(&catalog, Duration::from_secs(1));
    let expected = LakeScore {
        probability: 0.9,
        model_version: Some("7".to_owned()),
        score_date: day("2026-01-31"),
    };
    assert_eq!(lake.lookup(&route(), "u1").await.unwrap(), Some(expected));
    assert_eq!(probability(&lake, "u2").await, Some(0.4));
    for key in ["gone", "later", "", "u", "u10", "\u{10FFFF}"] {
        assert_eq!(probability(&lake, key).await, None, "{key}");
    }
    lake.check(&route()).await.unwrap();
}

#[tokio::test]
async fn a_table_without_partitions_has_a_newest_date_too() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(&dir).await;
    for (date, score) in [("2026-01-31", 0.9), ("2026-02-02", 0.7), ("2026-01-30", 0.1)] {
        write(&catalog, predictions(users(&["u1"]), date, vec![score]), &[]).await;
    }
    assert_eq!(probability(&lookup(&catalog, Duration::ZERO), "u1").await, Some(0.9));
}

#[tokio::test]
async fn keys_may_be_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(&dir).await;
    let keys: ArrayRef = Arc::new(Int64Array::from(vec![41, 42]));
    write(&catalog, predictions(keys, TODAY, vec![0.1, 0.2]), &["churn_score_date"]).await;
    let lake = lookup(&catalog, Duration::ZERO);
    assert_eq!(probability(&lake, "42").await, Some(0.2));
    for key in ["43", "u42", "4.2", "99999999999999999999"] {
        assert_eq!(probability(&lake, key).await, None, "{key}");
    }
}

#[tokio::test]
async fn no_table_and_no_rows_are_no_score_but_a_wrong_column_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(&dir).await;
    let lake = lookup(&catalog, Duration::ZERO);
    assert_eq!(probability(&lake, "u1").await, None);
    lake.check(&route()).await.unwrap();
    let schema = predictions(users(&[]), TODAY, vec![]).schema();
    catalog.ensure_table(&route().table, &NewTable::new(schema)).await.unwrap();
    assert_eq!(probability(&lake, "u1").await, None);
    commit_unpartitioned(&catalog).await;
    let mut wrong = route();
    wrong.entity_column = "user_tokn".to_owned();
    let error = lake.lookup(&wrong, "u1").await.unwrap_err();
    assert_eq!(error.help(), Some("did you mean `user_token`?"));
}

async fn commit_unpartitioned(catalog: &IcebergCatalog) {
    let batch = predictions(users(&["u1"]), TODAY, vec![0.5]);
    let rows = BatchStream::from_batches(batch.schema(), vec![batch]);
    catalog.commit(&route().table, rows, CommitOptions::default()).await.unwrap();
}

#[tokio::test]
async fn a_newer_commit_is_seen_when_the_pin_is_renewed_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(&dir).await;
    commit(&catalog, "2026-01-31", &[("u1", 0.1)]).await;
    let always = lookup(&catalog, Duration::ZERO);
    let seldom = lookup(&catalog, Duration::from_secs(3600));
    assert_eq!(probability(&always, "u1").await, Some(0.1));
    assert_eq!(probability(&seldom, "u1").await, Some(0.1));
    commit(&catalog, "2026-01-31", &[("u1", 0.2)]).await;
    assert_eq!(probability(&always, "u1").await, Some(0.2));
    assert_eq!(probability(&seldom, "u1").await, Some(0.1));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_share_one_pin() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(&dir).await;
    let rows: Vec<(String, f64)> =
        (0..2000_u32).map(|i| (format!("u{i:05}"), f64::from(i) / 2000.0)).collect();
    let rows: Vec<(&str, f64)> = rows.iter().map(|(name, score)| (name.as_str(), *score)).collect();
    commit(&catalog, "2026-01-31", &rows).await;
    let lake = Arc::new(lookup(&catalog, Duration::ZERO));
    let requests = (0..40_u32).map(|i| {
        let lake = Arc::clone(&lake);
        tokio::spawn(async move {
            let user = i * 47;
            let found = probability(&lake, &format!("u{user:05}")).await;
            assert_eq!(found, Some(f64::from(user) / 2000.0), "{user}");
        })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.unwrap();
    }
}
