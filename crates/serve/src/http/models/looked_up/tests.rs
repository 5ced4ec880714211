use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use async_trait::async_trait;
use icecore_core::{
    BatchStream, CommitOptions, Model, ModelSignature, NewTable, OnlineStore, OutputKind,
    SignatureColumn, SnapshotCatalog, TableName, Timestamp, WriteMode,
};
use icecore_engine::{Engine, EngineOptions};
use icecore_features::Definitions;
use icecore_materialize::{MaterializeOptions, Source, materialize_view};
use icecore_online::{EmbeddedStore, FeatureStore};
use serde_json::json;
use std::sync::{Arc, Mutex};

use super::*;
use crate::http::tests::{Broken, Cache, Lake, Server, options};
use crate::lake::tests::{catalog, clock};
use crate::{FeatureOptions, LogOptions, LogUnit, ModelSource, OnlineFeatures, RequestSink};

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = ["user"]
[[feature_view]]
name = "account"
entities = ["user"]
source = "ml.account"
columns = ["balance"]
ttl = "7d"
[[feature_service]]
name = "churn"
features = ["account:balance"]
"#;

/// A model that takes whom it does not know for average.
#[derive(Debug)]
struct Percent(ModelSignature);

impl Model for Percent {
    fn signature(&self) -> &ModelSignature {
        &self.0
    }
    fn predict(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let balance = cast(&rows["balance"], &DataType::Float64)?;
        let balance = balance.as_primitive::<Float64Type>();
        let percent = |balance: Option<f64>| balance.map_or(0.5, |balance| balance / 100.0);
        Ok(Arc::new(Float64Array::from_iter_values(balance.iter().map(percent))))
    }
    fn encode(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

#[derive(Debug)]
struct OneModel;

#[async_trait]
impl ModelSource for OneModel {
    async fn resolve(&self, _: &str, _: Option<&str>) -> Result<String> {
        Ok("7".to_owned())
    }
    async fn load(&self, _: &str, _: &str) -> Result<Arc<dyn Model>> {
        let (name, data_type) = ("balance".to_owned(), "Float64".to_owned());
        let inputs = vec![SignatureColumn { name, data_type }];
        let signature = ModelSignature { inputs, output: OutputKind::Probability };
        Ok(Arc::new(Percent(signature)))
    }
    fn default_model(&self) -> Option<&str> {
        Some("percent")
    }
}

#[derive(Debug, Default)]
struct Sink(Mutex<Vec<LogUnit>>);

#[async_trait]
impl RequestSink for Sink {
    async fn write(&self, unit: &LogUnit) -> Result<()> {
        self.0.lock().unwrap().push(unit.clone());
        Ok(())
    }
}

/// `u1` is known, of `u2` there is only what is too old.
async fn write_accounts(engine: &Engine) {
    let now = clock().0.micros();
    let days = |days: i64| now - days * 86_400_000_000;
    let times = TimestampMicrosecondArray::from(vec![days(1), days(30)]).with_timezone("+00:00");
    let rows = RecordBatch::try_from_iter([
        ("user", Arc::new(StringArray::from(vec!["u1", "u2"])) as ArrayRef),
        ("event_timestamp", Arc::new(times)),
        ("balance", Arc::new(Int64Array::from(vec![7, 99]))),
    ])
    .unwrap();
    let table = TableName::parse("ml.account").unwrap();
    let catalog = engine.catalog();
    catalog.ensure_table(&table, &NewTable::new(rows.schema())).await.unwrap();
    let stream = BatchStream::from_batches(rows.schema(), vec![rows]);
    catalog.commit(&table, stream, CommitOptions::new(WriteMode::Append)).await.unwrap();
}

/// A service whose online store is filled, or gone.
async fn server(dir: &tempfile::TempDir, is_down: bool, sink: Arc<Sink>) -> Server {
    let engine = Engine::new(catalog(dir).await, EngineOptions::default()).unwrap();
    let definitions = Definitions::parse("f.toml", DEFINITIONS).unwrap();
    let store: Arc<dyn OnlineStore> = if is_down {
        Arc::new(Broken { hangs: false })
    } else {
        write_accounts(&engine).await;
        let path = dir.path().join("online");
        let store: Arc<dyn OnlineStore> =
            Arc::new(EmbeddedStore::open(&path, clock()).await.unwrap());
        let now = Timestamp::from_micros(clock().0.micros());
        let filled = FeatureStore::new(Arc::clone(&store));
        let source = Source { engine: &engine, definitions: &definitions, store: &filled, now };
        materialize_view(&source, "account", MaterializeOptions::default()).await.unwrap();
        store
    };
    // Busy machines take longer than the real deadline, which is not what is tested.
    let deadline = Duration::from_secs(60);
    let lookups = FeatureOptions {
        store_deadline: deadline,
        lake_deadline: deadline,
        ..FeatureOptions::default()
    };
    let store = FeatureStore::new(store);
    let features =
        OnlineFeatures::new(engine, Arc::new(definitions), Some(store), clock(), lookups);
    let cache: Cache = None;
    let options = crate::ServeOptions { request_timeout: deadline, ..options() };
    let service = ScoreService::new(cache, Arc::new(Lake::Empty), clock(), options).unwrap();
    let service = service.with_features(features).with_models(Arc::new(OneModel));
    Server::of(service.with_log(sink, LogOptions::default())).await
}

fn tensors(users: &[&str], parameters: &Value) -> Value {
    let users =
        json!({ "name": "user", "shape": [users.len()], "datatype": "BYTES", "data": users });
    json!({ "inputs": [users], "parameters": parameters })
}

// C166
#[tokio::test]
async fn an_answer_says_where_its_features_are_from_and_whom_it_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let statuses = json!(["PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"]);
    for (is_down, source, reason) in [
        (false, json!("online"), Value::Null),
        (true, json!("lakehouse"), json!("online_store_unavailable")),
    ] {
        let sink = Arc::new(Sink::default());
        let server = server(&dir, is_down, Arc::clone(&sink)).await;
        for (missing, predictions) in
            [("score", json!([0.07, 0.5, 0.5])), ("status", json!([0.07, null, null]))]
        {
            let parameters = json!({ "feature_service": "churn", "missing": missing });
            let asked = tensors(&["u1", "u2", "u3"], &parameters);
            let answer = server.post("/v2/models/percent/infer", &asked).await.json();
            let said = &answer["parameters"];
            assert_eq!((&said["source"], &said["reason"]), (&source, &reason), "{answer}");
            assert_eq!(said["feature_status"], "OUTSIDE_MAX_AGE");
            assert_eq!(answer["outputs"][0]["data"], predictions);
            let told = &answer["outputs"][1];
            assert_eq!((&told["name"], &told["data"]), (&json!("feature_status"), &statuses));

            let users = ["u1", "u2", "u3"].map(|user| json!({ "user": user }));
            let asked = json!({ "dataframe_records": users, "params": parameters });
            let answer = server.post("/invocations", &asked).await.json();
            let said = &answer["metadata"];
            assert_eq!((&said["source"], &said["reason"]), (&source, &reason), "{answer}");
            assert_eq!(
                (&answer["predictions"], &said["feature_status"]),
                (&predictions, &statuses)
            );
        }
        let metrics = server.get("/metrics").await.body;
        let fell_back = "reason=\"online_store_unavailable\",route=\"/invocations\"";
        let other = "route=\"/invocations\",reason=\"online_store_unavailable\"";
        assert_eq!(metrics.contains(fell_back) || metrics.contains(other), is_down, "{metrics}");
        server.stop.notify_one();
        server.task.await.unwrap().unwrap();
        let units = sink.0.lock().unwrap();
        let unit = units.iter().find(|unit| unit.log == "model_percent").unwrap();
        let logged = unit.rows["feature_status"].as_string::<i32>();
        assert_eq!((logged.value(0), logged.value(2)), ("PRESENT", "NOT_FOUND"));
        assert_eq!(unit.rows["source"].as_string::<i32>().value(0), source.as_str().unwrap());
        assert_eq!(unit.rows.column_by_name("reason").is_some_and(|all| all.is_valid(0)), is_down);
    }
}

#[tokio::test]
async fn an_answer_has_the_outputs_that_are_asked_for_and_parameters_are_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&dir, false, Arc::default()).await;
    let ask = async |parameters: &Value, outputs: &Value| {
        let mut asked = tensors(&["u1"], parameters);
        asked["outputs"] = outputs.clone();
        server.post("/v2/models/percent/infer", &asked).await
    };
    let names = |answer: &Value| -> Vec<Value> {
        answer["outputs"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect()
    };
    let churn = json!({ "feature_service": "churn" });
    for (outputs, expected) in [
        (json!([{ "name": "p" }]), vec!["p"]),
        (json!([]), vec!["predict", "feature_status"]),
        (json!([{ "name": "feature_status" }, { "name": "p" }]), vec!["p", "feature_status"]),
    ] {
        let answer = ask(&churn, &outputs).await.json();
        assert_eq!(names(&answer), expected, "{answer}");
        assert_eq!(
            answer["parameters"],
            json!({ "source": "online", "feature_status": "PRESENT" })
        );
    }
    for (parameters, word) in [
        (json!({ "feature_service": 5 }), "feature_service"),
        (json!({ "feature_service": "churn", "missing": "skip" }), "missing"),
        (json!({ "missing": "status" }), "missing"),
        (json!(["feature_service"]), "parameters"),
    ] {
        let reply = ask(&parameters, &json!([])).await;
        assert_eq!(reply.code, 400);
        assert!(reply.json()["error"].as_str().unwrap().contains(word));
    }
}
