//! What a service was asked, in tables: drift of what it serves, and its proof. C105 C109

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json as document};

use crate::binary::{json, own_demo};
use crate::service::Service;

const SERVICE: &str = "\n[[feature_service]]\nname = 'churn_v1'\nfeatures = ['churn_features:*']\n";

fn add(file: &Path, text: &str) {
    let before = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, before + text).unwrap();
}

fn predict(service: &Service, user: &str) -> (u16, Value) {
    let body = document!({
        "dataframe_records": [{ "user_token": user }],
        "params": { "feature_service": "churn_v1" },
    });
    service.post("/invocations", "Content-Type: application/json\r\n", &body.to_string())
}

/// Promotes another version while requests go on, none of which fails; how many there were, and the
/// versions that served.
fn promoted_under_load(project: &Path, service: &Service, users: &[&str]) -> (usize, [String; 2]) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ask = || {
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                let (status, answer) = predict(service, users[count % users.len()]);
                assert_eq!(status, 200, "{answer}");
                count += 1;
            }
            count
        };
        let askers = [scope.spawn(ask), scope.spawn(ask)];
        let version = || -> String {
            let path = "/v2/models/churn-prediction-gbm";
            let described: Value = serde_json::from_str(&service.get(path, "").1).unwrap();
            described["versions"][0].as_str().unwrap().to_owned()
        };
        let before = version();
        assert_eq!(predict(service, users[0]).0, 200);
        let next = if before == "1" { "2" } else { "1" };
        json(project, &["models", "promote", "churn-prediction-gbm", next, "--to", "Production"]);
        let is_new = std::iter::repeat_with(version).take(100_000).any(|now| now == next);
        // However fast that was, each of the two has served somebody.
        assert_eq!(predict(service, users[0]).0, 200);
        is_over.store(true, Ordering::Relaxed);
        let asked = askers.into_iter().map(|asker| asker.join().unwrap()).sum::<usize>() + 2;
        assert!(is_new, "the promotion was not seen");
        (asked, [before, next.to_owned()])
    })
}

#[test]
fn requests_become_rows_whose_drift_is_known_and_a_promotion_fails_none_of_them() {
    let (_dir, project) = own_demo();
    add(&project.join("features/churn.toml"), SERVICE);
    add(&project.join("icecore.toml"), "\n[serve.log]\nflush = '1h'\n");
    let users = json(
        &project,
        &["sql", "SELECT DISTINCT user_token FROM ml_predictions.churn_scores ORDER BY 1 LIMIT 20"],
    );
    let users: Vec<&str> =
        users.as_array().unwrap().iter().map(|row| row["user_token"].as_str().unwrap()).collect();
    json(&project, &["train", "churn"]);
    // A lookup in the tables may be refused after two seconds, which a busy machine takes.
    json(&project, &["online", "materialize", "churn_features"]);

    let service = Service::start(&project, &[]);
    let (status, _) = service.get(&format!("/churn-score/{}", users[0]), "");
    assert_eq!(status, 200);
    let asked = document!({ "feature_service": "churn_v1", "entities": { "user_token": users } });
    let (status, answer) =
        service.post("/get-online-features", "x-request-id: order-17\r\n", &asked.to_string());
    assert_eq!(status, 200, "{answer}");

    let (asked, versions) = promoted_under_load(&project, &service, &users);
    // What waits is written when it stops.
    service.stop();

    let count = |query: &str| json(&project, &["sql", query])[0]["n"].as_u64().unwrap();
    assert_eq!(count("SELECT count(*) AS n FROM serving.scores_churn"), 1);
    let rows = "SELECT count(*) AS n FROM serving.features_churn_v1 WHERE request_id = 'order-17'";
    assert_eq!(count(rows), users.len() as u64);
    let model = "serving.\"model_churn-prediction-gbm\"";
    let predicted = format!("SELECT count(DISTINCT request_id) AS n FROM {model}");
    assert_eq!(count(&predicted), asked as u64);
    for version in versions {
        let by_it = format!("SELECT count(*) AS n FROM {model} WHERE model_version = '{version}'");
        assert!(count(&by_it) > 0, "version {version} served nobody");
    }

    // What was served is what the tables say, to the bit.
    let skew = json(&project, &["monitor", "skew", "--serving", "serving.features_churn_v1"]);
    assert_eq!(skew["rows"], document!(users.len()), "{skew:#}");
    assert_eq!(skew["features"]["txn_count_30d"]["same"], document!(users.len()), "{skew:#}");
    let newest = "serving.model_churn-prediction-gbm[event_timestamp=latest]";
    let of_newest = json(&project, &["monitor", "profile", newest]);
    assert_eq!(of_newest["notes"], document!([]), "{of_newest:#}");

    let hour = &json(
        &project,
        &[
            "sql",
            &format!(
                "SELECT substr(CAST(min(event_timestamp) AS VARCHAR), 1, 13) AS hour FROM {model}"
            ),
        ],
    )[0]["hour"];
    let served =
        format!("serving.model_churn-prediction-gbm[event_timestamp={}]", hour.as_str().unwrap());
    let drift =
        json(&project, &["monitor", "drift", "model:churn-prediction-gbm/Production", &served]);
    let features = drift["drift"]["features"].as_array().unwrap_or_else(|| panic!("{drift:#}"));
    assert!(features.len() >= 8, "{drift:#}");
    let profile = json(&project, &["monitor", "profile", &served]);
    assert_eq!(profile["notes"], document!([]), "its statistics were kept: {profile:#}");
}
