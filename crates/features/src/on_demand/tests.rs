use arrow::array::{Array, AsArray, Float64Array, Int32Array};
use arrow::datatypes::Float64Type;

use super::*;
use crate::Definitions;
use crate::fixture::Lakehouse;

const PAYMENT: &str = r#"
[[entity]]
name = "user"
join_keys = [{ name = "user_token", type = "string" }]

[[feature_view]]
name = "payments"
entities = ["user"]
source = "events.raw_transactions"
table = "ml_features.payments"

[[feature_view.request]]
name = "amount_now"
type = "double"
description = "the payment that is being made"

[[feature_view.request]]
name = "unused"
type = "long"

[[feature_view.aggregate]]
name = "avg_amount"
function = "mean"
column = "amount"
windows = ["7d", "30d"]

[[feature_view.derived]]
name = "is_large"
expression = "ratio > 3"

[[feature_view.derived]]
name = "ratio"
expression = "amount_now / avg_amount_30d"

[[feature_view.derived]]
name = "trend"
expression = "avg_amount_7d / avg_amount_30d"
"#;

fn view() -> FeatureView {
    Definitions::parse("f.toml", PAYMENT).unwrap().views.remove(0)
}

fn names(steps: &[Derived]) -> Vec<&str> {
    steps.iter().map(|step| step.name.as_str()).collect()
}

#[test]
fn what_looks_at_a_request_is_computed_on_demand_and_the_rest_is_stored() {
    let view = view();
    assert_eq!(stored_features(&view), ["avg_amount_7d", "avg_amount_30d", "trend"]);
    assert!(is_on_demand(&view, "ratio") && is_on_demand(&view, "is_large"));
    assert!(!is_on_demand(&view, "trend"));

    let asked = ["is_large", "trend"].map(str::to_owned);
    let selection = select_features(&view, &asked).unwrap();
    assert_eq!(selection.stored, ["trend", "avg_amount_30d"]);
    assert_eq!(selection.asked, 1);
    assert_eq!(names(&selection.on_demand.steps), ["ratio", "is_large"]);
    assert_eq!(selection.on_demand.requests.len(), 1, "only what these features take");
    assert_eq!(selection.on_demand.requests[0].name, "amount_now");

    let stored = select_features(&view, &["trend".to_owned()]).unwrap();
    assert_eq!(stored.on_demand, OnDemandFeatures::default());
    assert!(select_features(&view, &["rato".to_owned()]).is_err());
}

#[tokio::test]
async fn one_request_gives_the_bits_that_a_batch_gives() {
    let lake = Lakehouse::open(1).await;
    let selection = select_features(&view(), &["is_large".to_owned()]).unwrap();
    let schema = Arc::new(Schema::new(vec![
        Field::new("avg_amount_30d", DataType::Float64, true),
        Field::new("amount_now", DataType::Int32, true),
    ]));
    let plan = OnDemandPlan::new(&lake.engine, &selection.on_demand, &schema).await.unwrap();
    let averages = vec![Some(0.1), Some(0.0), None, Some(f64::NAN), Some(-7.3), Some(1e300)];
    let amounts = vec![Some(3), Some(1), Some(1), Some(2), None, Some(-5)];
    let batch = |averages: Vec<Option<f64>>, amounts: Vec<Option<i32>>| {
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Float64Array::from(averages)), Arc::new(Int32Array::from(amounts))];
        RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
    };
    let all = plan.compute(&batch(averages.clone(), amounts.clone())).unwrap();
    assert_eq!(plan.fields()[1].data_type(), &DataType::Boolean);
    let ratio = all[0].as_primitive::<Float64Type>();
    assert_eq!(ratio.value(0), 3.0 / 0.1);
    assert!(ratio.is_null(1), "divided by zero");
    for row in 0..averages.len() {
        let one = plan.compute(&batch(vec![averages[row]], vec![amounts[row]])).unwrap();
        for (one, all) in one.iter().zip(&all) {
            assert_eq!(one.to_data(), all.slice(row, 1).to_data(), "row {row}");
        }
    }
    assert_eq!(plan.compute(&batch(vec![], vec![])).unwrap()[0].len(), 0);
}

#[tokio::test]
async fn an_entity_without_a_row_has_nulls_in_columns_that_rows_never_have_null() {
    let lake = Lakehouse::open(1).await;
    let mut view = view();
    view.derived[1].expression =
        "CASE WHEN avg_amount_30d IS NULL THEN -1.0 ELSE amount_now END".into();
    let selection = select_features(&view, &["ratio".to_owned()]).unwrap();
    let schema = |is_nullable| {
        Schema::new(vec![
            Field::new("avg_amount_30d", DataType::Float64, is_nullable),
            Field::new("amount_now", DataType::Float64, true),
        ])
    };
    let plan = OnDemandPlan::new(&lake.engine, &selection.on_demand, &schema(false)).await.unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from(vec![None, Some(1.0)])),
        Arc::new(Float64Array::from(vec![7.0, 8.0])),
    ];
    let rows = RecordBatch::try_new(Arc::new(schema(true)), columns).unwrap();
    let ratio = plan.compute(&rows).unwrap();
    assert_eq!(ratio[0].as_primitive::<Float64Type>().values(), &[-1.0, 8.0]);
}

#[tokio::test]
async fn a_request_that_does_not_fit_is_refused_by_name() {
    let lake = Lakehouse::open(1).await;
    let selection = select_features(&view(), &["ratio".to_owned()]).unwrap();
    let average = Field::new("avg_amount_30d", DataType::Float64, true);
    let plan = async |second: Field| {
        let schema = Schema::new(vec![average.clone(), second]);
        OnDemandPlan::new(&lake.engine, &selection.on_demand, &schema).await
    };
    let error = plan(Field::new("amount", DataType::Float64, true)).await.unwrap_err();
    assert_eq!(error.to_string(), "the request has no column `amount_now`");
    let error = plan(Field::new("amount_now", DataType::Int64, true)).await.unwrap_err();
    assert_eq!(error.to_string(), "`amount_now` is Int64, and the request declares double");
    assert_eq!(error.help(), Some("cast it: `CAST(amount_now AS DOUBLE)`"));
    // A column of nulls has no type to be wrong.
    assert!(plan(Field::new("amount_now", DataType::Null, true)).await.is_ok());
}
