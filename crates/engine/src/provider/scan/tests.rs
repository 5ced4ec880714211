use arrow::array::RecordBatch;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionContext, col, lit};
use icecore_core::NewTable;

use super::super::PinnedProvider;
use super::super::filter::predicate;
use super::*;
use crate::tests::{Lake, lines, payments, payments_schema};
use datafusion::catalog::TableProvider;

/// Reads through the catalog and with DataFusion's own operator.
async fn both(
    projection: Option<&Vec<usize>>,
    filters: &[datafusion::logical_expr::Expr],
) -> (Vec<String>, Vec<String>) {
    let lake = Lake::new().await;
    lake.create("t.t", NewTable::new(payments_schema())).await;
    lake.append("t.t", payments("1|a|1|2026-01-01 2|-|-|- 3|c|3|2026-01-03")).await;
    let pin = lake.append("t.t", payments("4|d|4|2026-01-04")).await.pinned;
    let session: SessionContext = lake.engine.session(&[]).await.unwrap();
    let provider = PinnedProvider::open(lake.catalog().clone(), pin.clone()).await.unwrap();
    let schema = provider.schema();
    let request = Request {
        schema: &schema,
        projection,
        filters,
        limit: None,
        is_selective: false,
        label: "t",
    };
    let filter = predicate(filters, &schema);
    let files = lake.catalog().plan_files(&pin, filter.as_ref()).await.unwrap().files;
    let rows = Rows { catalog: lake.catalog(), pin: &pin, files, filter };
    let scan = CatalogScan::new(rows, request, 2).unwrap();
    let native = provider.scan(&session.state(), projection, &[], None).await.unwrap();
    let mut answers = Vec::new();
    for plan in [Arc::new(scan) as Arc<dyn ExecutionPlan>, native] {
        let batches = collect(plan, session.task_ctx()).await.unwrap();
        let rows = batches.iter().map(RecordBatch::num_rows).sum::<usize>();
        let mut found: Vec<String> = batches.iter().flat_map(lines).collect();
        found.sort();
        found.push(format!("{rows} rows"));
        answers.push(found);
    }
    let native = answers.pop().unwrap();
    (answers.pop().unwrap(), native)
}

#[tokio::test]
async fn both_ways_of_reading_give_the_same_rows() {
    for projection in [None, Some(vec![3, 0]), Some(vec![])] {
        let (scan, native) = both(projection.as_ref(), &[]).await;
        assert_eq!(scan, native, "{projection:?}");
        assert_eq!(scan.last().unwrap(), "4 rows");
    }
}

#[tokio::test]
async fn filters_of_the_query_reach_the_catalog() {
    let (scan, native) = both(Some(&vec![0]), &[col("id").gt(lit(2_i64))]).await;
    assert_eq!(scan, ["3", "4", "2 rows"]);
    assert_eq!(native.last().unwrap(), "4 rows", "filtered by the operator above");
}
