//! What is scored, and what of it is in the table.

use icecore_core::{ErrorKind, OutputKind};

use super::lake::{Lake, activity, adding, champion, model, spec};
use crate::scored_before;

const STORED: &str = "user_token, prediction, score_bucket, feature_status";

// C78 C81 C82 C168
#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_a_date_are_scored_and_say_where_they_come_from() {
    let lake = Lake::filled().await;
    let spec = spec("view = \"activity\"");
    let (plan, report) = lake.score(&spec, &champion(), None).await.unwrap();
    assert_eq!(plan.date.to_string(), "2024-01-10", "the newest");
    let expected = ["u1 0.9 high PRESENT", "u2 0.5 medium PRESENT", "ü 'x' 0.0 low PRESENT"];
    assert_eq!(lake.lines(STORED).await, expected);
    let snapshot = plan.features().unwrap().snapshot;
    let line = format!("2024-01-10 1 {snapshot} run-1");
    let names = "DISTINCT score_date, model_version, feature_snapshot_id, run_id";
    assert_eq!(lake.lines(names).await, [line]);
    assert_eq!((report.rows, report.high_rows), (3, 1));
    assert_eq!(report.mean_prediction, Some(1.4 / 3.0));
}

// D13: older rows stand in for missing ones as far as the maximum age goes, newest first.
#[tokio::test(flavor = "multi_thread")]
async fn a_maximum_age_lets_older_rows_stand_in() {
    let lake = Lake::filled().await;
    for (age, users) in [
        ("1d", vec!["u1 0.9", "u2 0.5", "ü 'x' 0.0"]),
        ("36h", vec!["u1 0.9", "u2 0.5", "u3 0.2", "ü 'x' 0.0"]),
        ("90d", vec!["u1 0.9", "u2 0.5", "u3 0.2", "u4 0.3", "ü 'x' 0.0"]),
    ] {
        let spec = spec(&format!("view = \"activity\"\nmax_age = \"{age}\""));
        lake.score(&spec, &champion(), Some("2024-01-10")).await.unwrap();
        assert_eq!(lake.lines("user_token, prediction").await, users, "{age}");
    }
    let spec = spec("view = \"activity\"\nmax_age = \"1d\"");
    let error = lake.score(&spec, &champion(), Some("2024-01-12")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.notes()[0].contains("2024-01-10"), "{error:?}");
    let error = lake.score(&spec, &champion(), Some("2020-01-01")).await.unwrap_err();
    assert!(error.to_string().ends_with("has no features of 2020-01-01 or before"), "{error:?}");
}

// D13: entities of a query get a row each, which says how their features are.
#[tokio::test(flavor = "multi_thread")]
async fn entities_of_a_query_get_a_row_whatever_their_features_are() {
    let lake = Lake::filled().await;
    let who = "entities = \"SELECT * FROM (VALUES ('u1', 7), ('u3', 7), ('u4', 7), ('u9', 7)) AS t(user_token, seats)\"\ncolumns = [\"seats\"]\nview = \"activity\"";
    let columns = "user_token, prediction, score_bucket, feature_status, seats";
    let mut spec = spec(who);
    let date = Some("2024-01-10");
    lake.score(&spec, &champion(), date).await.unwrap();
    let known = ["u1 0.9 high PRESENT 7", "u3 0.2 low PRESENT 7"];
    let status = [known[0], known[1], "u4 - unknown OUTSIDE_MAX_AGE 7", "u9 - unknown NOT_FOUND 7"];
    assert_eq!(lake.lines(columns).await, status, "u4's row is older than the view's ttl");
    spec.missing = crate::Missing::Score;
    let (_, report) = lake.score(&spec, &champion(), date).await.unwrap();
    let scored = [known[0], known[1], "u4 0.0 low OUTSIDE_MAX_AGE 7", "u9 0.0 low NOT_FOUND 7"];
    assert_eq!(lake.lines(columns).await, scored);
    assert_eq!(report.statuses.len(), 3);
    spec.missing = crate::Missing::Skip;
    let (_, report) = lake.score(&spec, &champion(), date).await.unwrap();
    assert_eq!(lake.lines(columns).await, known);
    assert_eq!((report.rows, report.skipped), (2, 2));
    let moments = lake.lines("user_token, CAST(feature_timestamp AS VARCHAR)").await;
    assert!(moments[1].starts_with("u3 2024-01-08T12:00:00"), "{moments:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn features_of_several_views_are_as_they_were_at_the_end_of_the_date() {
    let lake = Lake::filled().await;
    let spec = spec("features = [\"activity:count_30d\", \"account:*\"]\ncolumns = [\"tier\"]");
    let models = [model("champion", 3, adding(&["count_30d", "balance"], OutputKind::Value))];
    let (plan, _) = lake.score(&spec, &models, Some("2024-01-10")).await.unwrap();
    let lines = lake.lines("user_token, prediction, tier, feature_status").await;
    let expected = [
        "u1 0.98 tin PRESENT",
        "u2 0.5 - NOT_FOUND",
        "u3 0.2 - NOT_FOUND",
        "u4 - - OUTSIDE_MAX_AGE",
        "u5 0.07 tin NOT_FOUND",
        "ü 'x' 0.0 - NOT_FOUND",
    ];
    assert_eq!(lines, expected);
    let snapshots = lake.lines("DISTINCT feature_snapshot_id, account_snapshot_id").await;
    let pins: Vec<_> = plan.views.iter().map(|view| view.pin.snapshot.to_string()).collect();
    assert_eq!(snapshots, [pins.join(" ")]);
    let columns = lake.engine.sql("SELECT * FROM ml_predictions.churn", &[]).await.unwrap();
    assert!(columns.schema().column_with_name("score_bucket").is_none(), "values have no bands");
}

#[tokio::test(flavor = "multi_thread")]
async fn challengers_score_the_same_rows_beside_the_champion() {
    let lake = Lake::filled().await;
    let spec = spec("view = \"activity\"\n[challengers]\nnext = \"models:/churn/2\"\n");
    let mut models = champion();
    models.push(model("next", 2, adding(&["count_30d", "count_30d"], OutputKind::Probability)));
    let (_, report) = lake.score(&spec, &models, None).await.unwrap();
    let columns = "user_token, prediction, next_prediction, next_score_bucket, next_model_version";
    let expected = ["u1 0.9 1.8 high 2", "u2 0.5 1.0 high 2", "ü 'x' 0.0 0.0 low 2"];
    assert_eq!(lake.lines(columns).await, expected);
    let next = &report.models[1];
    assert_eq!((next.role.as_str(), next.same_bucket), ("next", Some(2.0 / 3.0)));
    assert_eq!(next.mean_distance, Some(1.4 / 3.0));
    // A date without a challenger: the columns stay, without values.
    let spec = self::spec("view = \"activity\"");
    lake.score(&spec, &champion(), Some("2024-01-09")).await.unwrap();
    let lines = lake.lines("score_date, user_token, next_prediction").await;
    assert_eq!(lines[0], "2024-01-09 u1 -");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_several_classes_gives_each_of_them_a_column() {
    let lake = Lake::filled().await;
    let classes = || vec![model("champion", 1, adding(&["count_30d"], OutputKind::Classes))];
    let spec = spec("view = \"activity\"\nclasses = [\"stay\", \"pause\", \"leave\"]");
    lake.score(&spec, &classes(), None).await.unwrap();
    let columns = "user_token, prediction_class, prediction, prediction_stay, prediction_leave";
    let lines = lake.lines(columns).await;
    assert!(lines[0].starts_with("u1 leave 0.675"), "{lines:?}");
    assert!(lines[1].starts_with("u2 stay 0.5 0.5 0.375"), "{lines:?}");
    let two = self::spec("view = \"activity\"\nclasses = [\"stay\", \"leave\"]");
    let error = lake.score(&two, &classes(), None).await.unwrap_err();
    assert!(error.to_string().contains("names 2 classes, and the model has 3"), "{error}");
}

// C83: a re-run is the same work; what others did to the date makes it new work.
#[tokio::test(flavor = "multi_thread")]
async fn equal_work_is_recognized_until_something_of_it_changes() {
    let lake = Lake::filled().await;
    let spec = spec("view = \"activity\"");
    let before = async |date: &str| {
        let plan = lake.plan(&spec, &champion(), Some(date)).await.unwrap();
        let before = scored_before(&lake.engine, &spec, &plan).await.unwrap();
        before.map(|(run, _)| run.to_string())
    };
    assert_eq!(before("2024-01-10").await, None, "there is no table yet");
    lake.score(&spec, &champion(), Some("2024-01-10")).await.unwrap();
    lake.score(&spec, &champion(), Some("2024-01-09")).await.unwrap();
    assert_eq!(before("2024-01-10").await.as_deref(), Some("run-1"), "another date is no matter");
    assert_eq!(before("2024-01-08").await, None);
    let other = vec![model("champion", 2, adding(&["count_30d"], OutputKind::Probability))];
    lake.score(&spec, &other, Some("2024-01-10")).await.unwrap();
    assert_eq!(before("2024-01-10").await, None, "another model's rows are there now");
    lake.score(&spec, &champion(), Some("2024-01-10")).await.unwrap();
    let late = activity(&[("u7", "2024-01-10T01:00:00Z", Some(1))]);
    lake.write("ml_features.activity", late).await;
    assert_eq!(before("2024-01-10").await, None, "the features are others");
}

// C157: what a model reads and nobody gives is an error before any row is scored.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_nobody_gives_is_named() {
    let lake = Lake::filled().await;
    let models = [model("champion", 1, adding(&["count_7d"], OutputKind::Probability))];
    let spec = spec("view = \"activity\"");
    let error = lake.score(&spec, &models, None).await.unwrap_err();
    let expected = "model `churn` version 1 reads column `count_7d`, which feature view `activity` does not have";
    assert_eq!(error.to_string(), expected);
    let several = self::spec("features = [\"activity:*\"]\ncolumns = [\"teir\"]");
    let error = lake.score(&several, &champion(), None).await.unwrap_err();
    assert!(error.to_string().contains("`teir`"), "{error}");
    let who = self::spec("view = \"activity\"\nentities = \"SELECT 'u1' AS user\"");
    let error = lake.score(&who, &champion(), None).await.unwrap_err();
    assert!(error.to_string().contains("no column `user_token`"), "{error}");
    let nobody =
        self::spec("view = \"activity\"\nentities = \"SELECT 'u1' AS user_token WHERE 1 = 0\"");
    let error = lake.score(&nobody, &champion(), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
