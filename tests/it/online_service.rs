//! Features and models over HTTP, with the requests that Feast's, MLflow's and the Open Inference
//! Protocol's clients send. C164-C166

use std::collections::BTreeMap;

use icecore_testkit::RedisServer;
use serde_json::{Value, json as document};

use crate::binary::{demo, json, own_demo};
use crate::service::Service;

/// The drivers of Feast's own example.
pub(crate) const DRIVERS: &str = r#"
[[entity]]
name = "driver"
join_keys = [{ name = "driver_id", type = "long" }]
[[feature_view]]
name = "driver_hourly_stats"
entities = ["driver"]
source = "ml.driver_stats"
columns = ["conv_rate", "acc_rate", "avg_daily_trips"]
[[feature_view.request]]
name = "val_to_add"
type = "long"
[[feature_view.request]]
name = "val_to_add_2"
type = "long"
[[feature_view.derived]]
name = "conv_rate_plus_val1"
expression = "conv_rate + val_to_add"
[[feature_view.derived]]
name = "conv_rate_plus_val2"
expression = "conv_rate + val_to_add_2"
[[feature_view]]
name = "driver_salary"
entities = ["driver"]
source = "ml.driver_stats"
columns = ["conv_rate"]
[[feature_service]]
name = "driver_activity_v1"
features = [
    "driver_hourly_stats:conv_rate",
    "driver_hourly_stats:conv_rate_plus_val1",
    "driver_hourly_stats:conv_rate_plus_val2",
]
"#;

/// Exchanges with Feast 0.67's feature server: a request, and what it answered.
const FEAST: [(&str, u16, &str); 6] = [
    (
        r#"{"features": ["driver_hourly_stats:conv_rate", "driver_hourly_stats:acc_rate", "driver_hourly_stats:avg_daily_trips"], "entities": {"driver_id": [1001, 1002]}}"#,
        200,
        r#"{"results": [{"values": [1001, 1002], "statuses": ["PRESENT", "PRESENT"], "event_timestamps": ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"]}, {"values": [286, 923], "statuses": ["PRESENT", "PRESENT"], "event_timestamps": ["2026-11-22T19:00:00Z", "2026-11-22T19:00:00Z"]}, {"values": [0.7431684732437134, 0.5919644236564636], "statuses": ["PRESENT", "PRESENT"], "event_timestamps": ["2026-11-22T19:00:00Z", "2026-11-22T19:00:00Z"]}, {"values": [0.19043183326721191, 0.21350491046905518], "statuses": ["PRESENT", "PRESENT"], "event_timestamps": ["2026-11-22T19:00:00Z", "2026-11-22T19:00:00Z"]}], "metadata": {"feature_names": ["driver_id", "avg_daily_trips", "conv_rate", "acc_rate"]}}"#,
    ),
    (
        r#"{"features": ["driver_hourly_stats:conv_rate", "driver_hourly_stats:avg_daily_trips"], "entities": {"driver_id": [1001]}, "full_feature_names": true}"#,
        200,
        r#"{"results": [{"values": [1001], "statuses": ["PRESENT"], "event_timestamps": ["1970-01-01T00:00:00Z"]}, {"values": [286], "statuses": ["PRESENT"], "event_timestamps": ["2026-11-22T19:00:00Z"]}, {"values": [0.7431684732437134], "statuses": ["PRESENT"], "event_timestamps": ["2026-11-22T19:00:00Z"]}], "metadata": {"feature_names": ["driver_id", "driver_hourly_stats__avg_daily_trips", "driver_hourly_stats__conv_rate"]}}"#,
    ),
    (
        r#"{"entities": {"driver_id": [1001, 424242]}, "full_feature_names": false, "include_feature_view_version_metadata": false, "features": ["driver_hourly_stats:conv_rate", "driver_hourly_stats:avg_daily_trips"]}"#,
        200,
        r#"{"results": [{"values": [1001, 424242], "statuses": ["PRESENT", "PRESENT"], "event_timestamps": ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"]}, {"values": [286, null], "statuses": ["PRESENT", "NOT_FOUND"], "event_timestamps": ["2026-11-22T19:00:00Z", "1970-01-01T00:00:00Z"]}, {"values": [0.7431684732437134, null], "statuses": ["PRESENT", "NOT_FOUND"], "event_timestamps": ["2026-11-22T19:00:00Z", "1970-01-01T00:00:00Z"]}], "metadata": {"feature_names": ["driver_id", "avg_daily_trips", "conv_rate"]}}"#,
    ),
    (
        r#"{"feature_service": "driver_activity_v1", "entities": {"driver_id": [1001], "val_to_add": [1], "val_to_add_2": [2]}}"#,
        200,
        r#"{"results": [{"values": [1001], "statuses": ["PRESENT"], "event_timestamps": ["1970-01-01T00:00:00Z"]}, {"values": [0.7431684732437134], "statuses": ["PRESENT"], "event_timestamps": ["2026-11-22T19:00:00Z"]}, {"values": [1.7431684732437134], "statuses": ["PRESENT"], "event_timestamps": ["1970-01-01T00:00:00Z"]}, {"values": [2.7431684732437134], "statuses": ["PRESENT"], "event_timestamps": ["1970-01-01T00:00:00Z"]}], "metadata": {"feature_names": ["driver_id", "conv_rate", "conv_rate_plus_val1", "conv_rate_plus_val2"]}}"#,
    ),
    (
        r#"{"features": ["driver_hourly_stats:conv_rate"], "entities": {"driver_id": [1001]}, "include_feature_view_version_metadata": true}"#,
        200,
        r#"{"results": [{"values": [1001], "statuses": ["PRESENT"], "event_timestamps": ["1970-01-01T00:00:00Z"]}, {"values": [0.7431684732437134], "statuses": ["PRESENT"], "event_timestamps": ["2026-11-22T19:00:00Z"]}], "metadata": {"feature_names": ["driver_id", "conv_rate"], "feature_view_metadata": [{"name": "driver_hourly_stats"}]}}"#,
    ),
    (r#"{"features": 5, "entities": {"driver_id": [1]}}"#, 400, ""),
];

fn project(online: &str, more: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("features")).unwrap();
    std::fs::write(
        dir.path().join("icecore.toml"),
        format!("[online]\nurl = '{online}'\ncache = '0'\n{more}"),
    )
    .unwrap();
    std::fs::write(dir.path().join("features/drivers.toml"), DRIVERS).unwrap();
    let rows = "driver_id,event_timestamp,conv_rate,acc_rate,avg_daily_trips\n\
        1001,2026-11-22T19:00:00Z,0.7431684732437134,0.19043183326721191,286\n\
        1002,2026-11-22T19:00:00Z,0.5919644236564636,0.21350491046905518,923\n";
    std::fs::write(dir.path().join("rows.csv"), rows).unwrap();
    let file = dir.path().join("rows.csv");
    json(dir.path(), &["ingest", "ml.driver_stats", file.to_str().unwrap()]);
    json(dir.path(), &["online", "materialize", "--all"]);
    dir
}

/// The columns of an answer by name: Feast does not keep the order in which it was asked.
fn columns(answer: &Value) -> BTreeMap<String, Value> {
    let names = answer["metadata"]["feature_names"].as_array().unwrap();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(names.len(), results.len());
    names.iter().map(|n| n.as_str().unwrap().to_owned()).zip(results.iter().cloned()).collect()
}

#[test]
fn feasts_requests_get_feasts_answers() {
    let dir = project("embedded:online?access=shared", "");
    let service = Service::start(dir.path(), &[]);
    for (request, code, expected) in FEAST {
        let (status, answer) = service.post("/get-online-features", "", request);
        assert_eq!(status, code, "{request}: {answer}");
        if code == 200 {
            let expected: Value = serde_json::from_str(expected).unwrap();
            assert_eq!(columns(&answer), columns(&expected), "{request}");
            let views = "feature_view_metadata";
            assert_eq!(answer["metadata"][views], expected["metadata"][views]);
        }
    }
    for (request, class) in [
        (
            r#"{"features": ["nope:x"], "entities": {"driver_id": [1]}}"#,
            "FeatureViewNotFoundException",
        ),
        (
            r#"{"feature_service": "nope", "entities": {"driver_id": [1]}}"#,
            "FeatureServiceNotFoundException",
        ),
    ] {
        let (status, answer) = service.post("/get-online-features", "", request);
        let inner: Value = serde_json::from_str(answer.as_str().unwrap()).unwrap();
        assert_eq!((status, &inner["class"]), (404, &document!(class)));
    }
    for request in [
        r#"{"features": ["driver_hourly_stats:conv_rate"], "entities": {}}"#,
        r#"{"features": ["driver_hourly_stats:conv_rate"], "entities": {"driver_id": [1], "x": [1, 2]}}"#,
        r#"{"features": ["driver_hourly_stats:conv_rate"], "entities": {"driver_id": ["no number"]}}"#,
        r#"{"features": ["driver_hourly_stats:conv_rate_plus_val1"], "entities": {"driver_id": [1]}}"#,
        r#"{"features": ["driver_hourly_stats:conv_rate"], "entities": {"driver_id": [[1]]}}"#,
        r#"{"entities": {"driver_id": [1]}}"#,
        "{nope",
    ] {
        let (status, answer) = service.post("/get-online-features", "", request);
        assert_eq!(status, 400, "{request}: {answer}");
    }
    let large = format!(r#"{{"features": ["{}"], "entities": {{}}}}"#, "x".repeat(5 << 20));
    assert_eq!(service.post("/get-online-features", "", &large).0, 413);
}

// C164
#[test]
fn a_redis_that_is_down_fails_no_request_and_is_found_again() {
    let Some(mut redis) = RedisServer::start() else { return };
    let dir = project(&redis.url(), "");
    let service = Service::start(dir.path(), &[]);
    let ask = || {
        let (status, answer) = service.post("/get-online-features", "", FEAST[0].0);
        assert_eq!(status, 200, "{answer}");
        assert_eq!(columns(&answer)["conv_rate"]["values"][0], document!(0.7431684732437134));
        answer["metadata"]["reason"].clone()
    };
    assert!(std::iter::repeat_with(ask).take(50).any(|reason| reason.is_null()));
    redis.stop();
    for _ in 0..10 {
        assert_ne!(ask(), Value::Null, "an answer without redis says so");
    }
    redis.restart();
    json(dir.path(), &["online", "materialize", "--all"]);
    assert!(std::iter::repeat_with(ask).take(200).any(|reason| reason.is_null()));
}

#[test]
fn tokens_see_their_views_and_do_what_their_roles_say() {
    let tokens = "[[serve.tokens]]\ntoken = '${T1}'\nroles = ['features']\nviews = ['driver_hourly_stats']\n\
         [[serve.tokens]]\ntoken = 'all'\n[[serve.tokens]]\ntoken = 'slow'\nrequests_per_second = 1\n";
    let dir = project("embedded:online?access=shared", "");
    let file = dir.path().join("icecore.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}{tokens}")).unwrap();
    let service = Service::start(dir.path(), &[("T1", "hunter2")]);
    let ask = |token: &str, body: &str| {
        service.post("/get-online-features", &format!("Authorization: Bearer {token}\r\n"), body).0
    };
    let salary = r#"{"features": ["driver_salary:conv_rate"], "entities": {"driver_id": [1001]}}"#;
    assert_eq!(service.post("/get-online-features", "", salary).0, 401);
    assert_eq!(
        (ask("hunter", salary), ask("hunter2", salary), ask("all", salary)),
        (401, 403, 200)
    );
    assert_eq!((ask("hunter2", FEAST[0].0), ask("hunter2", FEAST[3].0)), (200, 200));
    assert_eq!(service.get("/metrics", "Authorization: Bearer hunter2\r\n").0, 403);
    assert_eq!(service.get("/openapi.json", "Authorization: Bearer hunter2\r\n").0, 200);
    assert_eq!(service.get("/healthz", "").0, 200);
    assert!((0..5).any(|_| ask("slow", salary) == 429));
}

fn infer(service: &Service, path: &str, body: &Value) -> (u16, Value) {
    service.post(path, "Content-Type: application/json\r\n", &body.to_string())
}

#[test]
fn a_model_answers_both_protocols_alike() {
    let service = Service::start(demo(), &[]);
    // The model of the only scoring job is the one that `/invocations` asks.
    let name = "churn-prediction-gbm";
    let described: Value =
        serde_json::from_str(&service.get(&format!("/v2/models/{name}"), "").1).unwrap();
    let inputs = described["inputs"].as_array().unwrap();
    let names: Vec<&str> = inputs.iter().map(|input| input["name"].as_str().unwrap()).collect();
    let rows: Vec<Vec<f64>> =
        (0..3).map(|row| (0..names.len()).map(|at| (row * 7 + at) as f64).collect()).collect();
    let flat: Vec<f64> = rows.iter().flatten().copied().collect();

    let path = format!("/v2/models/{name}/infer");
    let matrix = document!({ "id": "42", "inputs": [
        { "name": "x", "shape": [3, names.len()], "datatype": "FP64", "data": flat },
    ]});
    let (status, answer) = infer(&service, &path, &matrix);
    assert_eq!(
        (status, &answer["id"], &answer["outputs"][0]["shape"]),
        (200, &document!("42"), &document!([3, 1])),
        "{answer}"
    );
    let expected = answer["outputs"][0]["data"].clone();
    let columns: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let data: Vec<f64> = rows.iter().map(|row| row[at]).collect();
            document!({ "name": name, "shape": [3], "datatype": "FP64", "data": data })
        })
        .collect();
    let version = answer["model_version"].as_str().unwrap();
    let by_version = format!("/v2/models/{name}/versions/{version}/infer");
    let (_, answer) = infer(&service, &by_version, &document!({ "inputs": columns }));
    assert_eq!(answer["outputs"][0]["data"], expected);

    let records: Vec<Value> = rows
        .iter()
        .map(|row| names.iter().copied().zip(row.iter().copied()).collect::<BTreeMap<_, _>>())
        .map(|row| document!(row))
        .collect();
    let by_column: BTreeMap<&str, Vec<f64>> = names
        .iter()
        .enumerate()
        .map(|(at, name)| (*name, rows.iter().map(|row| row[at]).collect()))
        .collect();
    for body in [
        document!({ "dataframe_split": { "columns": names, "data": rows } }),
        document!({ "dataframe_records": records }),
        document!({ "instances": records }),
        document!({ "inputs": by_column }),
        document!({ "inputs": rows }),
    ] {
        let (status, answer) = infer(&service, "/invocations", &body);
        assert_eq!((status, &answer["predictions"]), (200, &expected), "{body}: {answer}");
    }
    let csv: String = std::iter::once(names.join(","))
        .chain(rows.iter().map(|row| row.iter().map(f64::to_string).collect::<Vec<_>>().join(",")))
        .collect::<Vec<_>>()
        .join("\n");
    let (status, answer) = service.post("/invocations", "Content-Type: text/csv\r\n", &csv);
    assert_eq!((status, &answer["predictions"]), (200, &expected), "{answer}");
}

#[test]
fn a_request_that_no_model_can_answer_says_so_in_the_words_of_its_protocol() {
    let service = Service::start(demo(), &[]);
    let path = "/v2/models/churn-prediction-gbm/infer";
    assert_eq!(infer(&service, "/v2/models/nope/infer", &document!({ "inputs": [] })).0, 404);
    for body in [
        document!({}),
        document!({ "inputs": [] }),
        document!({ "inputs": [{ "name": "x", "shape": [3, 2], "datatype": "FP64", "data": [1.0] }] }),
        document!({ "inputs": [{ "name": "x", "shape": [1], "datatype": "NOPE", "data": [1.0] }] }),
        document!({ "inputs": [{ "name": "x", "datatype": "FP64", "data": [1.0] }] }),
    ] {
        let (status, answer) = infer(&service, path, &body);
        assert!(status == 400 && answer["error"].is_string(), "{body}: {status} {answer}");
    }
    for body in [
        document!({ "foo": 1 }),
        document!({ "instances": [], "inputs": [] }),
        document!({ "dataframe_records": [{ "foo": 1 }] }),
    ] {
        let (status, answer) = infer(&service, "/invocations", &body);
        assert!(
            status == 400 && answer["error_code"] == "BAD_REQUEST",
            "{body}: {status} {answer}"
        );
    }
    assert_eq!(service.post("/invocations", "Content-Type: text/plain\r\n", "x").0, 415);
}

#[test]
fn the_document_names_every_route() {
    let service = Service::start(demo(), &[]);
    let (status, body) = service.get("/openapi.json", "");
    let document: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &document["openapi"]), (200, &document!("3.1.0")));
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    for path in [
        "/churn-score/{user_token}",
        "/get-online-features",
        "/invocations",
        "/v2/models/{name}/infer",
        "/materialize",
        "/version",
    ] {
        assert!(paths.iter().any(|known| *known == path), "{path} of {paths:?}");
    }
}

/// The demo with all that a service can answer for.
fn everything(settings: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let (dir, project) = own_demo();
    let more = "[[feature_service]]\nname = 'churn_v1'\nfeatures = ['churn_features:*']\n\
        [[push_source]]\nname = 'transactions'\ntable = 'events.raw_transactions'\n";
    std::fs::write(project.join("features/served.toml"), more).unwrap();
    let file = project.join("icecore.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, text.replacen("[serve]\n", settings, 1)).unwrap();
    (dir, project)
}

// C164 C166
#[test]
fn a_models_answer_says_that_its_features_are_not_from_redis() {
    let Some(mut redis) = RedisServer::start() else { return };
    // A busy machine is slower than the deadlines, which are not what is tested.
    let settings = "[serve]\nfeature_deadline = '30s'\nfeature_lake_deadline = '1m'\n\
        request_timeout = '2m'\n";
    let (_dir, project) = everything(settings);
    let file = project.join("icecore.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let online = format!("[online]\nurl = '{}'\ncache = '0'\n", redis.url());
    std::fs::write(file, text.replacen("[online]\n", &online, 1)).unwrap();
    json(&project, &["online", "materialize", "churn_features"]);
    let query = "SELECT max(user_token) AS user FROM ml_features.churn_features";
    let user = json(&project, &["sql", query])[0]["user"].as_str().unwrap().to_owned();
    let service = Service::start(&project, &[]);
    let users = [user.as_str(), "nobody"];
    let ask = |missing: &str| {
        let params = document!({ "feature_service": "churn_v1", "missing": missing });
        let records = users.map(|user| document!({ "user_token": user }));
        let body = document!({ "dataframe_records": records, "params": params });
        let (status, answer) = infer(&service, "/invocations", &body);
        assert_eq!(status, 200, "{answer}");
        let tensor =
            document!({ "name": "user_token", "shape": [2], "datatype": "BYTES", "data": users });
        let body = document!({ "inputs": [tensor], "parameters": params });
        let (status, other) = infer(&service, "/v2/models/churn-prediction-gbm/infer", &body);
        assert_eq!((status, &other["parameters"]["source"]), (200, &answer["metadata"]["source"]));
        assert_eq!(other["outputs"][0]["data"], answer["predictions"]);
        assert_eq!(other["outputs"][1]["data"], answer["metadata"]["feature_status"]);
        answer
    };
    let online = ask("score");
    assert_eq!(online["metadata"]["source"], "online", "{online}");
    assert!(online["metadata"].get("reason").is_none());
    assert_eq!(online["metadata"]["feature_status"][1], "NOT_FOUND");
    assert!(online["predictions"][1].is_number());
    assert_eq!(ask("status")["predictions"][1], Value::Null);
    redis.stop();
    for _ in 0..3 {
        let answer = ask("score");
        assert_eq!(answer["metadata"]["source"], "lakehouse", "{answer}");
        assert!(answer["metadata"]["reason"].is_string());
        let status = "feature_status";
        assert_eq!(answer["metadata"][status], online["metadata"][status]);
        assert_eq!(answer["predictions"], online["predictions"]);
    }
}

/// Requests made up from the document find no error of the service, none that it describes and
/// refuses or refuses to describe, and no answer that it does not describe.
#[test]
fn the_service_keeps_to_its_document() {
    let Some(python) = crate::binary::python() else { return };
    let (_dir, project) = everything("[serve]\n");
    let service = Service::start(&project, &[]);
    let url = format!("http://{}/openapi.json", service.address);
    let schemathesis = python.with_file_name("schemathesis");
    let output = std::process::Command::new(schemathesis)
        .args(["run", &url, "--max-examples", "20", "--seed", "5", "--workers", "1"])
        // It keeps what it found in the folder that it is started in.
        .current_dir(&project)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", crate::binary::text(&output.stdout));
}
