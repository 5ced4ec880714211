//! What becomes of joined rows: rules of views, filters, labels that are not settled, parts; and how
//! they are handed over.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use futures::TryStreamExt;
use icecore_catalog::CompactOptions;
use icecore_core::{CompareOp, ErrorKind, Literal, Predicate, SnapshotCatalog, Span, TableName};

use super::lake::{CHURN, Lake, OUTCOMES, outcomes};
use crate::{
    BuildOptions, BuiltDataset, DatasetSpec, HandOff, LoadOptions, SplitBy, build, diff, load,
    matrix, stream, verify,
};

async fn built(lake: &Lake, text: &str) -> BuiltDataset {
    let spec = lake.spec(text);
    let built = build(&lake.engine, &lake.definitions, &spec, BuildOptions::default()).await;
    let built = built.unwrap();
    let found = verify(&lake.engine, &built.lock, Some(&lake.definitions)).await.unwrap();
    assert!(found.equal(), "{:?}", found.differences);
    built
}

async fn refused(lake: &Lake, text: &str) -> String {
    let spec = lake.spec(text);
    let built = build(&lake.engine, &lake.definitions, &spec, BuildOptions::default()).await;
    built.unwrap_err().to_string()
}

/// The texts of a column, sorted.
async fn texts(lake: &Lake, built: &BuiltDataset, name: &str) -> Vec<String> {
    let options = HandOff::default().with_columns([name]);
    let rows = stream(&lake.engine, &built.lock, options).await.unwrap().concat().await.unwrap();
    let column = arrow::compute::cast(rows.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
    let column = column.as_string::<i32>();
    let mut texts: Vec<String> = column.iter().map(|t| t.unwrap_or("-").to_owned()).collect();
    texts.sort();
    texts
}

// C116, D10: what a pipeline takes to publish a row is no time in which it was known.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_has_rules_of_its_own_which_are_locked_and_proven() {
    let lake = Lake::filled().await;
    let plain = built(&lake, CHURN).await;
    assert_eq!(texts(&lake, &plain, "txn_count_30d").await, ["-", "-", "15", "3", "7"]);
    // That of u2 is of the very moment.
    let strict = built(&lake, &format!("{CHURN}[view.activity]\nstrict = true\n")).await;
    assert_eq!(texts(&lake, &strict, "txn_count_30d").await, ["-", "-", "-", "15", "3"]);
    let delayed = built(&lake, &format!("{CHURN}[view.activity]\ndelay = \"5d\"\n")).await;
    assert_eq!(texts(&lake, &delayed, "txn_count_30d").await, ["-", "-", "-", "15", "3"]);
    let delayed = built(&lake, &format!("{CHURN}[view.activity]\ndelay = \"6d\"\n")).await;
    assert_eq!(texts(&lake, &delayed, "txn_count_30d").await, ["-", "-", "-", "-", "15"]);
    let both = format!("{CHURN}[view.activity]\ndelay = \"6d\"\nttl = \"5d\"\n");
    let delayed = built(&lake, &both).await;
    assert_eq!(texts(&lake, &delayed, "txn_count_30d").await, ["-"; 5]);
    let activity = &strict.lock.plan.views[0];
    assert_eq!(
        (activity.strict, activity.delay, activity.ttl),
        (true, None, Some(Span::from_days(90)))
    );
    let differs = diff(&plain.lock, &strict.lock).unwrap();
    assert_eq!(differs.definitions[0].taken_differently[0].setting, "strict");
    let unknown = refused(&lake, &format!("{CHURN}[view.activty]\nstrict = true\n")).await;
    assert_eq!(unknown, "dataset `churn` takes no feature of `activty`, which it has rules for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_sees_features_and_the_spine() {
    let lake = Lake::filled().await;
    let filtered = CHURN.to_owned() + "where = \"txn_count_30d > 3 OR user_token = 'u9'\"\n";
    let set = built(&lake, &filtered).await;
    assert_eq!(texts(&lake, &set, "user_token").await, ["u1", "u2", "u9"]);
    assert_eq!((set.rows, set.lock.leak_check.rows), (3, 3));
    let error = refused(&lake, &(CHURN.to_owned() + "where = \"txn_cnt > 3\"\n")).await;
    assert!(error.contains("txn_cnt"), "{error}");
    // A value that it cannot be asked of is named with its place.
    let spec = lake.spec(&(CHURN.to_owned() + "where = \"CAST(user_token AS BIGINT) > 3\"\n"));
    let failed = build(&lake.engine, &lake.definitions, &spec, BuildOptions::default()).await;
    let error = failed.unwrap_err();
    let message = error.to_string();
    let expected = "`CAST(user_token AS BIGINT) > 3` cannot be asked of a row: ";
    assert!(message.starts_with(expected), "{message}");
    assert_eq!(error.location().map(|at| at.line), Some(CHURN.lines().count() + 1), "{error:?}");
}

// C170: a label that is not settled is no negative one.
#[tokio::test(flavor = "multi_thread")]
async fn labels_that_are_not_settled_are_none() {
    let lake = Lake::filled().await;
    let maturity = |policy: &str| {
        format!(
            "{CHURN}[maturity]\nafter = \"30d\"\nas_of = \"2024-03-02\"\nunmatured = \"{policy}\"\n"
        )
    };
    // Settled are those up to 2024-02-01.
    let null = built(&lake, &maturity("null")).await;
    assert_eq!(texts(&lake, &null, "churned").await, ["-", "-", "false", "true", "true"]);
    let dropped = built(&lake, &maturity("drop")).await;
    assert_eq!(texts(&lake, &dropped, "churned").await, ["false", "true", "true"]);
    let kept = built(&lake, &maturity("keep")).await;
    assert_eq!(kept.content_hash, built(&lake, CHURN).await.content_hash);
    let error = refused(&lake, &maturity("refuse")).await;
    assert_eq!(
        error,
        "the labels of 2 rows are not settled: their moments lie after `2024-02-01T00:00:00Z`"
    );
    // Else the state of the labels says up to when outcomes are known.
    let now = built(&lake, &format!("{CHURN}[maturity]\nafter = \"30d\"\n")).await;
    let labels = "labels.outcomes".parse().unwrap();
    let committed = lake.engine.catalog().history(&labels).await.unwrap()[0].committed_at;
    assert_eq!(now.lock.plan.maturity.unwrap().as_of, committed);
    assert!(
        !build(
            &lake.engine,
            &lake.definitions,
            &lake.spec(&format!("{CHURN}[maturity]\nafter = \"30d\"\n")),
            BuildOptions::default()
        )
        .await
        .unwrap()
        .changed
    );
}

// C170: files that are written anew tell of no outcome, and a table that lags behind holds back.
#[tokio::test(flavor = "multi_thread")]
async fn outcomes_are_known_up_to_when_their_tables_last_got_rows() {
    let lake = Lake::filled().await;
    let more = outcomes(&[("u7", "2024-02-21", Some(false))]);
    lake.write("labels.outcomes", more, icecore_core::WriteMode::Append).await;
    let (catalog, table) = (lake.engine.catalog(), TableName::parse("labels.outcomes").unwrap());
    let small = CompactOptions::default().with_min_input_files(2);
    catalog.compact(&table, small).await.unwrap();
    let history = catalog.history(&table).await.unwrap();
    let [.., written, compacted] = history.as_slice() else { panic!("{history:?}") };
    assert_eq!(compacted.operation, "replace");
    let maturity = "[maturity]\nafter = \"30d\"\n";
    let set = built(&lake, &format!("{CHURN}{maturity}")).await;
    assert_eq!(set.lock.plan.maturity.unwrap().as_of, written.committed_at);
    let reasons = outcomes(&[("u1", "2024-02-21", None)]);
    lake.write("labels.reasons", reasons, icecore_core::WriteMode::Append).await;
    let joined = CHURN.replace(
        "SELECT user_token, observed_at AS event_timestamp, churned FROM labels.outcomes",
        "SELECT o.user_token, o.observed_at AS event_timestamp, o.churned FROM labels.outcomes o \
         JOIN labels.reasons r ON o.user_token = r.user_token",
    );
    assert_ne!(joined, CHURN);
    let set = built(&lake, &format!("{joined}{maturity}")).await;
    assert_eq!(set.lock.plan.maturity.unwrap().as_of, written.committed_at);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_go_by_what_a_row_is_and_not_by_where_it_stands() {
    let lake = Lake::new().await;
    let users: Vec<String> = (0..400).map(|user| format!("u{}", user % 200)).collect();
    let days = ["2024-01-15", "2024-02-20"];
    let rows: Vec<(&str, &str, Option<bool>)> = users
        .iter()
        .enumerate()
        .map(|(at, user)| (user.as_str(), days[at / 200], Some(at % 3 == 0)))
        .collect();
    lake.write("labels.outcomes", outcomes(&rows), icecore_core::WriteMode::Append).await;
    lake.write(
        "ml_features.activity",
        super::lake::activity(&super::lake::ACTIVITY),
        icecore_core::WriteMode::Append,
    )
    .await;
    lake.write(
        "ml_features.account",
        super::lake::account(&super::lake::ACCOUNT),
        icecore_core::WriteMode::Append,
    )
    .await;
    let parts = async |built: &BuiltDataset| {
        let options = HandOff::default().with_columns(["user_token", "split"]);
        let rows = stream(&lake.engine, &built.lock, options).await.unwrap();
        let rows = rows.concat().await.unwrap();
        let (users, parts) = (rows.column(0).as_string::<i32>(), rows.column(1).as_string::<i32>());
        let mut found: BTreeMap<(String, String), usize> = BTreeMap::new();
        for row in 0..rows.num_rows() {
            let key = (users.value(row).to_owned(), parts.value(row).to_owned());
            *found.entry(key).or_default() += 1;
        }
        found
    };
    let by_key = CHURN.to_owned() + "[split]\nby = \"key\"\nvalidation = 0.2\ntest = 0.1\n";
    let first = built(&lake, &by_key).await;
    let found = parts(&first).await;
    assert_eq!(found.len(), 200, "no user is in two parts");
    let of = |part: &str| found.iter().filter(|((_, own), _)| own == part).count();
    assert!((25..=55).contains(&of("validation")) && (8..=35).contains(&of("test")), "{found:?}");
    assert_eq!(first.lock.plan.split.as_ref().map(|split| split.by), Some(SplitBy::Key));

    // Rows in another order, in other files, and fewer of them: each stays where it was.
    let mut fewer: Vec<_> = rows.iter().copied().step_by(2).collect();
    fewer.reverse();
    let halves = vec![outcomes(&fewer[..50]), outcomes(&fewer[50..])];
    lake.write_parts("labels.outcomes", halves, icecore_core::WriteMode::Overwrite).await;
    let again = parts(&built(&lake, &by_key).await).await;
    assert!(again.keys().all(|key| found.contains_key(key)));

    let loaded = load(&lake.engine, &first.lock, LoadOptions::default()).await.unwrap();
    assert_eq!(loaded.tested as usize, 2 * of("test"));
    let validation = loaded.validation.unwrap();
    assert_eq!(
        (validation.len(), validation.true_count()),
        (loaded.set.rows(), 2 * of("validation"))
    );
    let part = HandOff::default().with_part("validation");
    let part = stream(&lake.engine, &first.lock, part).await.unwrap().concat().await.unwrap();
    assert_eq!(part.num_rows(), 2 * of("validation"));

    let by_time = CHURN.to_owned() + "[split]\nby = \"time\"\nvalidation_from = \"2024-02-01\"\n";
    let by_time = built(&lake, &by_time).await;
    let timed = parts(&by_time).await;
    let count = |part: &str| -> usize {
        timed.iter().filter(|((_, own), _)| own == part).map(|(_, rows)| rows).sum()
    };
    assert_eq!((count("training"), count("validation"), count("test")), (100, 100, 0));
    let undivided = built(&lake, CHURN).await;
    let error = stream(&lake.engine, &undivided.lock, HandOff::default().with_part("test")).await;
    assert_eq!(error.unwrap_err().to_string(), "dataset `churn` is not divided into parts");
}

#[test]
fn a_split_that_says_too_little_is_refused() {
    let refused = |split: &str| {
        let text = format!("{CHURN}[split]\n{split}\n");
        DatasetSpec::parse("churn.toml", &text).unwrap_err().to_string()
    };
    assert_eq!(refused("test = 0.1"), "`split` does not say by what");
    assert_eq!(refused("by = \"group\""), "a split by group names no column");
    assert_eq!(refused("by = \"time\""), "a split by time does not say when");
    assert_eq!(
        refused("by = \"key\"\nvalidation = 0.7\ntest = 0.3"),
        "`validation` and `test` leave nothing to learn from"
    );
    assert_eq!(
        refused("by = \"time\"\nvalidation_from = \"2024-02-01\"\ntest_from = \"2024-01-01\""),
        "`test_from` is not after `validation_from`"
    );
    assert_eq!(refused("by = \"key\"\ngroup = \"a\""), "`group` is for a split by group");
}

// C99: batches of any size, and matrices, from the locked state.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_handed_over_in_batches_of_any_size_and_as_a_matrix() {
    let lake = Lake::filled().await;
    let set = built(&lake, CHURN).await;
    lake.write("labels.outcomes", outcomes(&OUTCOMES[..1]), icecore_core::WriteMode::Overwrite)
        .await;
    built(&lake, CHURN).await;
    let whole = stream(&lake.engine, &set.lock, HandOff::default()).await.unwrap();
    let whole = whole.concat().await.unwrap();
    assert_eq!(whole.num_rows(), OUTCOMES.len());
    for size in [1, 2, 5, 100] {
        let options = HandOff::default().with_batch_rows(size);
        let mut rows = stream(&lake.engine, &set.lock, options).await.unwrap();
        let (mut sizes, mut batches) = (Vec::new(), Vec::new());
        while let Some(batch) = rows.try_next().await.unwrap() {
            sizes.push(batch.num_rows());
            batches.push(batch);
        }
        assert!(sizes.split_last().unwrap().1.iter().all(|rows| *rows == size), "{sizes:?}");
        assert_eq!(arrow::compute::concat_batches(&whole.schema(), &batches).unwrap(), whole);
    }
    let names = ["txn_count_30d", "amount", "churned"];
    let numbers = HandOff::default().with_columns(names);
    let dense = matrix::<f64>(&lake.engine, &set.lock, numbers.clone()).await.unwrap();
    assert_eq!((dense.rows(), dense.names()), (5, names.map(str::to_owned).as_slice()));
    let counts = whole.column_by_name("txn_count_30d").unwrap().as_primitive::<Int64Type>().clone();
    let amounts = whole.column_by_name("amount").unwrap().as_primitive::<Float64Type>().clone();
    for row in 0..5 {
        let (count, amount) = (dense.column(0)[row], dense.column(1)[row]);
        assert_eq!(count.is_nan(), counts.is_null(row));
        assert!(counts.is_null(row) || count == counts.value(row) as f64);
        assert!(amounts.is_null(row) || amount == amounts.value(row));
    }
    let condition = Predicate::compare("amount", CompareOp::Gt, Literal::Float(50.0));
    let some =
        matrix::<f32>(&lake.engine, &set.lock, numbers.with_filter(condition)).await.unwrap();
    assert_eq!((some.rows(), some.column(9).len()), (2, 0));
    let error = matrix::<f32>(&lake.engine, &set.lock, HandOff::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let unknown = HandOff::default().with_columns(["amout"]);
    let error = stream(&lake.engine, &set.lock, unknown).await.unwrap_err();
    assert_eq!(error.help(), Some("did you mean `amount`?"));
}
