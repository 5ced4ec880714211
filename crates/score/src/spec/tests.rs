use super::*;

const SHORT: &str = r#"
name = "churn"
model = "models:/churn/Production"
view = "activity"
table = "ml_predictions.churn"
"#;

fn refused(more: &str) -> String {
    let text = format!("{SHORT}{more}");
    ScoringSpec::parse("scoring/churn.toml", &text).unwrap_err().to_string()
}

#[test]
fn a_short_file_has_the_defaults_that_make_it_work() {
    let spec = ScoringSpec::parse("scoring/churn.toml", SHORT).unwrap();
    assert_eq!((spec.prediction.as_str(), spec.date_column.as_str()), ("prediction", "score_date"));
    assert_eq!((spec.missing, spec.buckets.as_ref()), (Missing::Status, None));
    assert_eq!(spec.views(), ["activity"]);
}

#[test]
fn names_that_would_stand_for_two_columns_are_refused() {
    assert!(refused("prediction = \"score_date\"").contains("`score_date`"));
    assert!(refused("columns = [\"run_id\"]").contains("`run_id`"));
    assert!(refused("columns = [\"tier\", \"tier\"]").contains("`tier`"));
    let own = "[challengers]\nnext = \"models:/churn/2\"\n";
    assert!(
        refused(&format!("columns = [\"next_prediction\"]\n{own}")).contains("next_prediction")
    );
    assert!(refused("[challengers]\n\"The Next\" = \"models:/churn/2\"").contains("The Next"));
}

#[test]
fn what_is_scored_is_said_once() {
    assert!(refused("features = [\"account:*\"]").contains("both"));
    let none = SHORT.replace("view = \"activity\"", "");
    let error = ScoringSpec::parse("scoring/churn.toml", &none).unwrap_err();
    assert_eq!(error.to_string(), "nothing says what is scored");
    let several = SHORT.replace(
        "view = \"activity\"",
        "features = [\"activity:a\", \"account:b\", \"activity:c\"]",
    );
    let spec = ScoringSpec::parse("scoring/churn.toml", &several).unwrap();
    assert_eq!(spec.views(), ["activity", "account"]);
}
