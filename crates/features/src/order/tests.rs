use crate::Definitions;
use crate::fixture::{Lakehouse, VIEWS, events};
use crate::{ComputeOptions, compute_view};

const VIEW: &str = "user_transaction_features";

/// The first view with these derived features after its own.
fn with_derived(derived: &[(&str, &str)]) -> icecore_core::Result<Definitions> {
    let own = "expression = \"decline_count_30d / greatest(txn_count_30d, 1)\"\n";
    let mut text = own.to_owned();
    for (name, expression) in derived {
        text.push_str(&format!(
            "[[feature_view.derived]]\nname = \"{name}\"\nexpression = \"{expression}\"\n"
        ));
    }
    Definitions::parse("f.toml", &VIEWS.replacen(own, &text, 1))
}

#[tokio::test]
async fn a_feature_may_stand_before_those_that_it_uses() {
    let lake = Lakehouse::open(1).await;
    lake.append(&events(1, 60), 60).await;
    let definitions =
        with_derived(&[("c", "b + 1"), ("b", "a * 2"), ("a", "txn_count_7d + 1")]).unwrap();
    let options = ComputeOptions::default();
    compute_view(&lake.engine, &definitions, VIEW, options).await.unwrap();
    let rows = lake.rows("ml_features.user_transaction_features").await;
    for row in &rows {
        let value = |name: &str| -> f64 {
            let cell = row.split(' ').find_map(|cell| cell.strip_prefix(&format!("{name}=")));
            cell.unwrap().parse().unwrap()
        };
        assert_eq!(value("c"), (value("txn_count_7d") + 1.0) * 2.0 + 1.0, "{row}");
    }
    assert!(!rows.is_empty());
}

#[test]
fn a_cycle_is_told_with_its_way_around() {
    let error = with_derived(&[("a", "b + 1"), ("b", "c + 1"), ("c", "a + 1")]).unwrap_err();
    assert_eq!(error.to_string(), "`a` is computed from itself");
    assert_eq!(error.notes(), ["a -> b -> c -> a"]);
    assert!(error.location().is_some());
    let error = with_derived(&[("x", "txn_count_7d + x")]).unwrap_err();
    assert_eq!(error.notes(), ["x -> x"]);
}
