//! Why a stored prediction is what it is.

use std::collections::BTreeMap;

use icecore_core::{Date, ErrorKind, OutputKind};

use super::lake::{Lake, activity, adding, champion, model, spec};
use crate::{ScorePlan, explain_score, predictions_of};

fn user(key: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("user_token".to_owned(), key.to_owned())])
}

// C114
#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_is_explained_from_the_rows_that_its_run_read() {
    let lake = Lake::filled().await;
    let spec = spec("view = \"activity\"");
    let (plan, _) = lake.score(&spec, &champion(), None).await.unwrap();
    // What comes later is of no account: the plan is read back from where it was kept.
    let late = activity(&[("u1", "2024-01-10T09:00:00Z", Some(1))]);
    lake.write("ml_features.activity", late).await;
    let plan: ScorePlan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
    let model = &champion()[0].model;
    let explain = async |key: &str| {
        explain_score(&lake.engine, &lake.definitions, &plan, &**model, &user(key)).await
    };
    let found = explain("u1").await.unwrap();
    assert_eq!((found.prediction, found.expected), (Some(0.9), Some(0.0)));
    let input = &found.inputs[0];
    assert_eq!((input.name.as_str(), input.contribution), ("count_30d", Some(0.9)));
    assert_eq!(input.view.as_deref(), Some("activity"));
    assert_eq!(explain("ü 'x'").await.unwrap().prediction, Some(0.0), "quotes are part of a key");
    assert_eq!(explain("nobody").await.unwrap_err().kind(), ErrorKind::NotFound);
    let wrong = BTreeMap::from([("user".to_owned(), "u1".to_owned())]);
    let error = explain_score(&lake.engine, &lake.definitions, &plan, &**model, &wrong).await;
    assert_eq!(error.unwrap_err().to_string(), "`user` is no key of `churn`");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_joined_are_explained_alike() {
    let lake = Lake::filled().await;
    let models = [model("champion", 1, adding(&["count_30d", "balance"], OutputKind::Value))];
    let entities = "\nentities = \"SELECT * FROM (VALUES ('u1'), ('u4')) AS t(user_token)\"";
    let features = "features = [\"activity:*\", \"account:balance\"]";
    for text in [features.to_owned(), format!("{features}{entities}")] {
        let (plan, _) = lake.score(&spec(&text), &models, Some("2024-01-10")).await.unwrap();
        let explain = async |key: &str| {
            let model = &*models[0].model;
            explain_score(&lake.engine, &lake.definitions, &plan, model, &user(key)).await
        };
        assert_eq!(explain("u1").await.unwrap().prediction, Some(0.98));
        assert_eq!(explain("u4").await.unwrap().prediction, None, "its features are too old");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_predictions_of_an_entity_are_found_by_date() {
    let lake = Lake::filled().await;
    let spec = spec("view = \"activity\"");
    for date in ["2024-01-09", "2024-01-10"] {
        lake.score(&spec, &champion(), Some(date)).await.unwrap();
    }
    let date = |text: &str| Some(Date::parse(text).unwrap());
    for (from, to, rows) in [
        (None, None, 2),
        (date("2024-01-10"), None, 1),
        (None, date("2024-01-08"), 0),
        (date("2024-01-09"), date("2024-01-09"), 1),
    ] {
        let found = predictions_of(&lake.engine, &spec, &user("u1"), (from, to)).await.unwrap();
        assert_eq!(found.num_rows(), rows);
    }
}
