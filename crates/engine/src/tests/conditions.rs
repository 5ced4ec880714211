//! Conditions that nobody thought of: three ways to find the rows that pass find the same.

use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use icecore_catalog::RowFilter;
use icecore_core::ScanOptions;
use proptest::prelude::*;

use super::*;

/// Five files whose bounds differ, with the values that are easily got wrong. `-0.0` is not among
/// them: a query puts it before `0.0`, everything else holds them for equal.
const FILES: [&str; 5] = [
    "0|a|0|2026-01-01T00:00:00Z 1|b|0.25|2026-01-02T00:00:00Z 2|-|1.5|-",
    "3|zz|NaN|1969-12-31T23:59:59Z 4|-|-|2026-01-02T00:00:00Z",
    "5|ä|inf|2026-01-03T00:00:00.000001Z 6|a|-inf|1970-01-01T00:00:00Z 7|𝄞x|2|-",
    "8|-|-|- 9|-|NaN|-",
    "10|long_text_whose_bound_is_cut_off_1|1e300|2262-01-01T00:00:00Z 11|b|0.1|0001-01-01T00:00:00Z",
];

async fn lake() -> (Lake, SessionContext) {
    let lake = Lake::new().await;
    lake.create("events.payments", NewTable::new(payments_schema())).await;
    let mut files = Vec::new();
    for rows in FILES {
        let rows = payments(rows);
        lake.append("events.payments", rows.clone()).await;
        files.push(vec![rows]);
    }
    let memory = MemTable::try_new(payments_schema(), files).unwrap();
    let mut config = SessionConfig::new();
    config.options_mut().execution.time_zone = Some("+00:00".to_owned());
    let plain = SessionContext::new_with_config(config);
    plain.register_table("payments", Arc::new(memory)).unwrap();
    (lake, plain)
}

fn comparison() -> impl Strategy<Value = String> {
    let compared = prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let id =
        prop::sample::select(vec!["0", "3", "7", "11", "-5", "12", "3.5", "9223372036854775807"]);
    let amount = prop::sample::select(vec![
        "0.0",
        "1.5",
        "2",
        "0.1",
        "1e300",
        "'NaN'::DOUBLE",
        "'inf'::DOUBLE",
        "-'inf'::DOUBLE",
    ]);
    let user = prop::sample::select(vec![
        "''",
        "'a'",
        "'b'",
        "'ä'",
        "'zz'",
        "'𝄞x'",
        "'long_text_whose_bound_is_cut_off_1'",
    ]);
    let at = prop::sample::select(vec![
        "TIMESTAMP '2026-01-02T00:00:00Z'",
        "TIMESTAMP '1970-01-01T00:00:00Z'",
        "TIMESTAMP '2026-01-03T00:00:00.000001Z'",
        "TIMESTAMP '1969-06-01T00:00:00Z'",
    ]);
    let of = |column: &'static str, values: prop::sample::Select<&'static str>| {
        let one = (compared.clone(), values.clone())
            .prop_map(move |(compared, value)| format!("{column} {compared} {value}"));
        let turned = (compared.clone(), values.clone())
            .prop_map(move |(compared, value)| format!("{value} {compared} {column}"));
        let between =
            (values.clone(), values.clone(), any::<bool>()).prop_map(move |(low, high, not)| {
                format!("{column} {}BETWEEN {low} AND {high}", if not { "NOT " } else { "" })
            });
        let list =
            (prop::collection::vec(values, 1..4), any::<bool>()).prop_map(move |(values, not)| {
                format!("{column} {}IN ({})", if not { "NOT " } else { "" }, values.join(", "))
            });
        let null = any::<bool>()
            .prop_map(move |not| format!("{column} IS {}NULL", if not { "NOT " } else { "" }));
        prop_oneof![4 => one, 1 => turned, 2 => between, 2 => list, 1 => null]
    };
    let others = prop::sample::select(vec![
        "id % 3 = 1",
        "user_token LIKE 'a%'",
        "user_token LIKE '%x'",
        "length(user_token) > 1",
        "amount * 2 > id",
        "event_timestamp::date = DATE '2026-01-02'",
        "event_timestamp::date <= DATE '1970-01-01'",
        "true",
        "false",
        "NULL::BOOLEAN",
        "amount IS DISTINCT FROM 0.0",
        "user_token IS NOT DISTINCT FROM NULL",
    ]);
    prop_oneof![
        3 => of("id", id),
        4 => of("amount", amount),
        3 => of("user_token", user),
        3 => of("event_timestamp", at),
        2 => others.prop_map(|other| format!("({other})")),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    comparison().prop_recursive(3, 12, 3, |inner| {
        let joined =
            (prop::collection::vec(inner.clone(), 2..4), any::<bool>()).prop_map(|(parts, all)| {
                format!("({})", parts.join(if all { " AND " } else { " OR " }))
            });
        prop_oneof![joined, inner.prop_map(|inner| format!("NOT ({inner})"))]
    })
}

/// The ids of rows, in order.
fn ids(batch: &RecordBatch) -> Vec<String> {
    let mut lines = lines(batch);
    lines.sort_unstable();
    lines
}

/// The rows that a condition means when it is asked of rows that are not in files.
async fn in_memory(plain: &SessionContext, condition: &str) -> Vec<String> {
    let sql = format!("SELECT id FROM payments WHERE {condition}");
    let batches = plain.sql(&sql).await.unwrap().collect().await.unwrap();
    let mut found: Vec<String> = batches.iter().flat_map(ids).collect();
    found.sort_unstable();
    found
}

/// What the catalog finds, which a delete would take.
async fn in_files(lake: &Lake, condition: &str) -> Vec<String> {
    let filter = lake.engine.row_filter(&payments_schema(), condition).unwrap();
    let pin = lake.latest("events.payments").await;
    let mut scan = ScanOptions::default();
    let test = match filter {
        RowFilter::Predicate(predicate) => {
            let rows = lake.catalog().scan(&pin, scan.with_filter(predicate).with_columns(["id"]));
            return ids(&rows.await.unwrap().concat().await.unwrap());
        }
        RowFilter::Test(test) => test,
        other => panic!("{condition}: {other:?}"),
    };
    if let Some(implied) = test.implied() {
        scan = scan.with_filter(implied);
    }
    let rows = lake.catalog().scan(&pin, scan).await.unwrap().concat().await.unwrap();
    let looked_at = test.columns();
    let places = looked_at.iter().map(|name| rows.schema().index_of(name).unwrap());
    let passes = test.passes(&rows.project(&places.collect::<Vec<_>>()).unwrap()).unwrap();
    let found = arrow::compute::filter_record_batch(&rows, &passes).unwrap();
    ids(&found.project(&[0]).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn whichever_way_rows_are_found_they_are_the_same(
        conditions in prop::collection::vec(condition(), 24),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (lake, plain) = runtime.block_on(lake());
        for condition in conditions {
            runtime.block_on(async {
                let expected = in_memory(&plain, &condition).await;
                let sql = format!("SELECT id FROM events.payments WHERE {condition}");
                let mut queried = lake.rows(&sql).await;
                queried.sort_unstable();
                prop_assert_eq!(&queried, &expected, "a query: {}", condition);
                prop_assert_eq!(&in_files(&lake, &condition).await, &expected, "{}", condition);
                Ok(())
            })?;
        }
    }
}
