use icecore_catalog::RowOptions;
use icecore_core::{BatchStream, CommitOptions, Literal, Predicate, TableName, WriteMode};

use super::*;
use crate::compute::compute_view;
use crate::fixture::{Lakehouse, VIEWS, events};

const VIEW: &str = "user_transaction_features";
const TABLE: &str = "ml_features.user_transaction_features";

async fn verified(lake: &Lakehouse, sample: f64) -> Result<VerifyReport> {
    let definitions = Definitions::parse("f.toml", VIEWS).unwrap();
    verify_view(&lake.engine, &definitions, VIEW, VerifyOptions::new(sample)).await
}

async fn computed(events_count: usize) -> Lakehouse {
    let lake = Lakehouse::open(2).await;
    lake.append(&events(11, events_count), 1000).await;
    let definitions = Definitions::parse("f.toml", VIEWS).unwrap();
    compute_view(&lake.engine, &definitions, VIEW, ComputeOptions::default()).await.unwrap();
    lake
}

#[tokio::test]
async fn a_sample_of_all_is_all_and_the_same_sample_is_the_same() {
    let lake = computed(120).await;
    let all = verified(&lake, 1.0).await.unwrap();
    assert_eq!(all.entities, 7);
    assert_eq!(all.rows, lake.rows(TABLE).await.len() as u64);
    let some = verified(&lake, 0.5).await.unwrap();
    assert!(some.entities < 7 && some.entities > 0, "{}", some.entities);
    assert_eq!(verified(&lake, 0.5).await.unwrap(), some);
    for none in [0.0, -1.0, 1.5, f64::NAN] {
        assert_eq!(verified(&lake, none).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    // New events do not make the rows wrong: they are those of the sources that were read.
    lake.append(&events(12, 30), 1000).await;
    assert_eq!(verified(&lake, 1.0).await.unwrap().sources, all.sources);
}

/// Puts other rows in the place of a user's, as if the job itself had written them.
async fn falsify(lake: &Lakehouse, change: impl Fn(RecordBatch) -> RecordBatch) {
    let table = TableName::parse(TABLE).unwrap();
    let history = lake.catalog.history(&table).await.unwrap();
    let summary = history.last().unwrap().summary.clone();
    let filter = Predicate::equal("user_token", Literal::Text("u1".to_owned()));
    let pin = lake.pin(TABLE).await;
    let scan = ScanOptions::default().with_filter(filter.clone());
    let rows = lake.catalog.scan(&pin, scan).await.unwrap().concat().await.unwrap();
    let rows = change(rows);
    let rows = BatchStream::from_batches(rows.schema(), vec![rows]);
    let mut commit = CommitOptions::new(WriteMode::Overwrite);
    for (field, value) in summary.into_iter().filter(|(field, _)| field.starts_with("icecore.")) {
        commit = if field == "icecore.job-id" { commit } else { commit.with_summary(field, value) };
    }
    let options = RowOptions::default().with_commit(commit);
    lake.catalog.overwrite_where(&table, filter, rows, options).await.unwrap();
}

#[tokio::test]
async fn a_wrong_value_a_missing_row_and_a_row_too_many_are_found() {
    let lake = computed(120).await;
    falsify(&lake, |rows| {
        let at = rows.schema().index_of("txn_amount_7d").unwrap();
        let mut columns = rows.columns().to_vec();
        let wrong = arrow::array::Float64Array::from(vec![1e6; rows.num_rows()]);
        columns[at] = Arc::new(wrong);
        RecordBatch::try_new(rows.schema(), columns).unwrap()
    })
    .await;
    let error = verified(&lake, 1.0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataCorrupt);
    assert!(error.notes()[0].starts_with("at `user_token` = `u1`, `event_timestamp` = "));
    assert!(
        error.notes()[1].starts_with("`txn_amount_7d` is 1000000.0 in the table and "),
        "{:?}",
        error.notes()
    );

    let lake = computed(120).await;
    falsify(&lake, |rows| rows.slice(1, rows.num_rows() - 1)).await;
    let error = verified(&lake, 1.0).await.unwrap_err();
    assert_eq!(error.notes()[1], "the table lacks this row");

    let lake = computed(120).await;
    falsify(&lake, |rows| {
        let at = rows.schema().index_of("user_token").unwrap();
        let mut columns = rows.columns().to_vec();
        columns[at] = Arc::new(arrow::array::StringArray::from(vec!["u1"; rows.num_rows()]));
        let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
        concat_batches(&rows.schema(), [&rows, &rows]).unwrap()
    })
    .await;
    assert_eq!(verified(&lake, 1.0).await.unwrap_err().kind(), ErrorKind::DataCorrupt);
}
