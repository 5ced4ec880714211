use icecore_core::TableName;

use super::*;
use crate::fixture::{Lakehouse, VIEWS, events};

/// Checks the demo's views with texts replaced, and compares everything that is reported.
async fn check_with(replacements: &[(&str, &str)], expected: &[&str]) {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(1, 5), 5).await;
    let mut text = VIEWS.trim_start().to_owned();
    for (old, new) in replacements {
        assert!(text.contains(old), "{old}");
        text = text.replacen(old, new, 1);
    }
    let definitions = Definitions::parse("f.toml", &text).unwrap();
    let lines = match check(&lake.engine, &definitions).await {
        Ok(()) => Vec::new(),
        Err(error) => {
            let all = std::iter::once(&error).chain(error.related()).map(|error| {
                let place = error.location().map(ToString::to_string).unwrap_or_default();
                let help = error.help().map(|help| format!(" | {help}")).unwrap_or_default();
                format!("{place} {error}{help}")
            });
            all.collect()
        }
    };
    assert_eq!(lines, expected, "{replacements:?}");
}

#[tokio::test]
async fn the_views_of_the_demo_fit_their_source() {
    check_with(&[], &[]).await;
}

#[tokio::test]
async fn columns_that_are_not_there_are_reported_together() {
    check_with(
        &[
            ("join_keys = [\"user_token\"]", "join_keys = [\"user_tokn\"]"),
            ("column = \"amount\"", "column = \"amout\""),
            ("status = 'declined'", "state = 'declined'"),
            ("emit = { every", "where = \"amount + 1\"\nemit = { every"),
        ],
        &[
            "f.toml:7:12 the source of `user_transaction_features` has no column `user_tokn` | did you mean `user_token`?",
            "f.toml:26:10 the source of `user_transaction_features` has no column `amout` | did you mean `amount`?",
            "f.toml:39:9 the source of `user_transaction_features` has no column `state` | did you mean `status`?",
            "f.toml:60:12 the source of `churn_features` has no column `user_tokn` | did you mean `user_token`?",
            "f.toml:63:9 `amount + 1` is Float64, not a condition | compare it with something, such as `status = 'declined'`",
        ],
    )
    .await;
}

// Each bit of a float would be an entity of its own, and no join could find it.
#[tokio::test]
async fn keys_that_no_join_compares_are_refused_though_no_type_is_declared() {
    check_with(
        &[("join_keys = [\"user_token\"]", "join_keys = [\"amount\"]")],
        &[
            "f.toml:7:12 `amount` of the source of `user_transaction_features` is Float64, which no key can be | cast it in `source_sql`",
            "f.toml:60:12 `amount` of the source of `churn_features` is Float64, which no key can be | cast it in `source_sql`",
        ],
    )
    .await;
}

#[tokio::test]
async fn aggregates_in_conditions_are_refused_where_they_stand() {
    check_with(
        &[("status = 'declined'", "sum(amount) > 1")],
        &["f.toml:39:9 `sum(amount) > 1` has the aggregate `sum` inside | an expression computes one row from itself; aggregates over windows are `[[feature_view.aggregate]]`"],
    )
    .await;
}

/// A view over this query, with features in this table.
fn summed(name: &str, query: &str, table: &str) -> String {
    format!(
        "[[feature_view]]\nname = \"{name}\"\nentities = [\"user\"]\nsource_sql = \"{query}\"\n\
         table = \"{table}\"\n[[feature_view.aggregate]]\nname = \"amount\"\nfunction = \"sum\"\n\
         column = \"amount\"\nwindows = [\"7d\"]\n"
    )
}

const USER: &str = "[[entity]]\nname = \"user\"\njoin_keys = [\"user_token\"]\n";

async fn computed(lake: &Lakehouse, text: &str, view: &str) -> Definitions {
    let definitions = Definitions::parse("f.toml", &format!("{USER}{text}")).unwrap();
    let options = crate::ComputeOptions::default();
    crate::compute_view(&lake.engine, &definitions, view, options).await.unwrap();
    definitions
}

// C142: what is computed again would add to itself.
#[tokio::test]
async fn a_query_that_reads_its_own_features_is_refused() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(1, 5), 5).await;
    let all = "SELECT * FROM events.raw_transactions";
    computed(&lake, &summed("v", all, "f.v"), "v").await;
    lake.say("f.known", "SELECT * FROM f.v").await;
    for table in ["f.v", "f.known"] {
        let query = format!("SELECT user_token, event_timestamp, amount_7d AS amount FROM {table}");
        let text = format!("{USER}{}", summed("v", &query, "f.v"));
        let definitions = Definitions::parse("f.toml", &text).unwrap();
        let error = check(&lake.engine, &definitions).await.unwrap_err();
        let expected = "the query of `v` reads `f.v`, the table of its own features";
        assert_eq!((error.to_string().as_str(), error.location().unwrap().line), (expected, 7));
        let options = crate::ComputeOptions::default();
        let error = crate::compute_view(&lake.engine, &definitions, "v", options).await;
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
}

// A nanosecond before 1970 is in the microsecond before it, in rows as in ranges.
#[tokio::test]
async fn an_event_is_in_the_range_of_its_row() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(1, 5), 5).await;
    let query = "SELECT DISTINCT user_token, 1.0 AS amount, \
                 arrow_cast(-1, 'Timestamp(Nanosecond, None)') AS event_timestamp \
                 FROM events.raw_transactions";
    let text = format!("{USER}{}", summed("v", query, "f.v"));
    let definitions = Definitions::parse("f.toml", &text).unwrap();
    let epoch = Some(icecore_core::Timestamp::from_micros(0));
    let range = |from, to| {
        let mode = crate::ComputeMode::Full;
        crate::ComputeOptions { from, to, mode, ..crate::ComputeOptions::default() }
    };
    crate::compute_view(&lake.engine, &definitions, "v", range(None, epoch)).await.unwrap();
    let rows = lake.rows("f.v").await;
    assert!(!rows.is_empty());
    crate::compute_view(&lake.engine, &definitions, "v", range(epoch, None)).await.unwrap();
    assert_eq!(lake.rows("f.v").await, rows);
}

#[tokio::test]
async fn views_that_are_computed_from_each_other_are_refused() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(1, 5), 5).await;
    let all = "SELECT * FROM events.raw_transactions";
    let of = |table: &str| {
        format!("SELECT user_token, event_timestamp, amount_7d AS amount FROM {table}")
    };
    let first = summed("v", all, "f.v");
    let second = summed("w", &of("f.v"), "f.w");
    computed(&lake, &first, "v").await;
    let chain = computed(&lake, &format!("{first}{second}"), "w").await;
    check(&lake.engine, &chain).await.unwrap();
    let circle = format!("{USER}{}{second}", summed("v", &of("f.w"), "f.v"));
    let circle = Definitions::parse("f.toml", &circle).unwrap();
    let error = check(&lake.engine, &circle).await.unwrap_err();
    assert_eq!(error.to_string(), "`v` is computed from its own features");
    assert_eq!(error.notes(), ["by way of w"]);
    assert_eq!(error.related().len(), 1);
}

#[tokio::test]
async fn times_and_functions_must_fit_their_columns() {
    check_with(
        &[
            ("event_timestamp = \"event_timestamp\"", "event_timestamp = \"status\""),
            ("function = \"mean\"\ncolumn = \"amount\"\nwindows = [\"7d\", \"30d\"]\n\n[[feature_view.aggregate]]\nname = \"decline_count\"\nfunction = \"count\"\ncolumn = \"txn_id\"\nwhere = \"status = 'declined'\"\nwindows = [\"30d\"]\n\n[[feature_view.aggregate]]\nname = \"days", "function = \"sum\"\ncolumn = \"status\"\nwindows = [\"7d\"]\n\n[[feature_view.aggregate]]\nname = \"decline_count\"\nfunction = \"count\"\nwindows = [\"30d\"]\n\n[[feature_view.aggregate]]\nname = \"days"),
        ],
        &[
            "f.toml:9:19 `status` of the source of `user_transaction_features` is Utf8, not a time or a date | cast it in `source_sql`: `CAST(status AS TIMESTAMP)`",
            "f.toml:75:12 `avg_amount_7d` adds up values of type `Utf8`",
        ],
    )
    .await;
}

#[tokio::test]
async fn derived_features_must_compute() {
    check_with(
        &[(
            "expression = \"decline_count_30d / greatest(txn_count_30d, 1)\"",
            "expression = \"gratest(txn_count_30d, 1)\"",
        )],
        &["f.toml:56:14 cannot compute `gratest(txn_count_30d, 1)`"],
    )
    .await;
}

#[tokio::test]
async fn a_source_that_is_not_there_is_named() {
    check_with(
        &[("source = \"events.raw_transactions\"", "source = \"events.raw_transaction\"")],
        &["f.toml:8:10 there is no table `events.raw_transaction` | did you mean `events.raw_transactions`?"],
    )
    .await;
    check_with(
        &[(
            "source = \"events.raw_transactions\"",
            "source_sql = \"SELECT user_token, evnt FROM events.raw_transactions\"",
        )],
        &["f.toml:8:14 there is no column `evnt`"],
    )
    .await;
}

// What a view of the catalog says is a part of the query, at any depth.
#[tokio::test]
async fn a_view_of_the_catalog_that_changes_by_itself_is_refused() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(1, 5), 5).await;
    let recent = "SELECT * FROM events.raw_transactions WHERE event_timestamp < now()";
    lake.say("events.recent", recent).await;
    lake.say("events.paid", "SELECT * FROM events.recent AS r WHERE status = 'approved'").await;
    let query = "source_sql = \"SELECT p.* FROM events.paid AS p\"";
    let text = VIEWS.trim_start().replacen("source = \"events.raw_transactions\"", query, 1);
    let definitions = Definitions::parse("f.toml", &text).unwrap();
    let error = check(&lake.engine, &definitions).await.unwrap_err();
    let expected = "the source of `user_transaction_features` depends on `now`";
    assert_eq!((error.to_string().as_str(), error.location().unwrap().line), (expected, 8));
    assert!(error.notes().contains(&"in view `events.recent`".to_owned()), "{:?}", error.notes());
    let said = "date_trunc('day', event_timestamp) <= to_timestamp('2030-01-01')";
    let said = format!("SELECT * FROM events.raw_transactions WHERE {said}");
    lake.say("events.recent", &said).await;
    check(&lake.engine, &definitions).await.unwrap();
}

#[tokio::test]
async fn a_view_reads_nothing_but_pins() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(1, 5), 5).await;
    let definitions = Arc::new(Definitions::parse("f.toml", VIEWS).unwrap());
    let local = LocalFeatureEngine::new(lake.engine.clone(), Arc::clone(&definitions));
    let unpinned = local.compute(&definitions.views[0], &[], TimeRange::default()).await;
    assert!(unpinned.unwrap_err().to_string().ends_with("which is not pinned"));
}

#[tokio::test]
async fn stored_features_come_out_as_they_are() {
    let lake = Lakehouse::open(1).await;
    let events = events(1, 30);
    let pin = lake.append(&events, 30).await;
    let text = "[[entity]]\nname = \"user\"\njoin_keys = [\"user_token\"]\n[[feature_view]]\nname = \"v\"\nentities = [\"user\"]\nsource = \"events.raw_transactions\"\ncolumns = [\"merchant_id\", \"amount\"]\n";
    let definitions = Arc::new(Definitions::parse("f.toml", text).unwrap());
    let local = LocalFeatureEngine::new(lake.engine.clone(), Arc::clone(&definitions));
    let view = &definitions.views[0];
    let rows =
        local.compute(view, &[pin], TimeRange::default()).await.unwrap().concat().await.unwrap();
    let names: Vec<_> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["user_token", "event_timestamp", "merchant_id", "amount"]);
    let complete = events.iter().filter(|event| event.user.is_some() && event.time.is_some());
    assert_eq!(rows.num_rows(), complete.count());
}

#[tokio::test]
async fn a_query_pins_every_table_that_it_reads() {
    let lake = Lakehouse::open(1).await;
    let pin = lake.append(&events(1, 5), 5).await;
    let query = "source_sql = \"SELECT a.* FROM events.raw_transactions a JOIN events.raw_transactions b ON a.txn_id = b.txn_id\"";
    let text = VIEWS.replacen("source = \"events.raw_transactions\"", query, 1);
    let definitions = Definitions::parse("f.toml", &text).unwrap();
    let pins = pin_sources(&lake.engine, &definitions.views[0], &[]).await.unwrap();
    assert_eq!(pins, [pin]);
    assert_eq!(pins[0].table, TableName::parse("events.raw_transactions").unwrap());
}

#[tokio::test]
async fn a_typed_key_has_its_type_whatever_the_source_has() {
    let key = |value_type: &str| format!("[{{ name = \"user_token\", type = \"{value_type}\" }}]");
    check_with(
        &[("[\"user_token\"]", &key("long"))],
        &[
            "f.toml:7:12 `user_token` of the source of `user_transaction_features` is Utf8, and its entity says long | cast it in `source_sql`",
            "f.toml:60:12 `user_token` of the source of `churn_features` is Utf8, and its entity says long | cast it in `source_sql`",
        ],
    )
    .await;
    check_with(&[("[\"user_token\"]", &key("string"))], &[]).await;

    let lake = Lakehouse::open(1).await;
    lake.append(&events(1, 50), 50).await;
    let query = "SELECT CAST(length(user_token) AS INT) AS user_token, event_timestamp, txn_id, \
                 amount, status, merchant_id FROM events.raw_transactions";
    let text = VIEWS
        .replacen("[\"user_token\"]", &key("long"), 1)
        .replace("source = \"events.raw_transactions\"", &format!("source_sql = \"{query}\""));
    let definitions = Arc::new(Definitions::parse("f.toml", &text).unwrap());
    let local = LocalFeatureEngine::new(lake.engine.clone(), Arc::clone(&definitions));
    let view = &definitions.views[0];
    let pins = pin_sources(&lake.engine, view, &[]).await.unwrap();
    let schema = local.output_schema(view, &pins).await.unwrap();
    assert_eq!(schema.field(0).data_type(), &DataType::Int64, "an int is a long, too");
    let rows = local.compute(view, &pins, TimeRange::default()).await.unwrap();
    assert!(rows.concat().await.unwrap().num_rows() > 0);
}

#[tokio::test]
async fn what_looks_at_a_request_is_checked_and_not_stored() {
    let request = |expression: &str| {
        format!(
            "[[feature_view.request]]\nname = \"now\"\ntype = \"double\"\n\n\
             [[feature_view.derived]]\nname = \"ratio\"\nexpression = \"{expression}\"\n\n\
             [[feature_view]]\nname = \"churn_features\""
        )
    };
    let old = "[[feature_view]]\nname = \"churn_features\"";
    check_with(&[(old, &request("now / avg_amount_7d"))], &[]).await;
    check_with(
        &[(old, &request("date_trunc('day', now)"))],
        &["f.toml:64:14 cannot compute `date_trunc('day', now)`"],
    )
    .await;

    let lake = Lakehouse::open(1).await;
    let pin = lake.append(&events(1, 50), 50).await;
    let text = VIEWS.replacen(old, &request("now / avg_amount_7d"), 1);
    let definitions = Arc::new(Definitions::parse("f.toml", &text).unwrap());
    let local = LocalFeatureEngine::new(lake.engine.clone(), Arc::clone(&definitions));
    let view = &definitions.views[0];
    let schema = local.output_schema(view, &[pin]).await.unwrap();
    assert!(schema.column_with_name("ratio").is_none());
    assert!(schema.column_with_name("decline_rate_30d").is_some());
}
