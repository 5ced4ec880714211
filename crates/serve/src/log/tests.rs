use std::sync::Mutex;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{Float64Type, Int64Type};
use icecore_core::{
    ErrorKind, FixedClock, Model, ModelSignature, OutputKind, SignatureColumn, Timestamp,
};
use icecore_online::RowStatus;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::features::{FeatureColumn, FeatureSource};

/// A sink that fails as often as it is told to.
#[derive(Debug, Default)]
struct Sink {
    failures: Mutex<Vec<Error>>,
    written: Mutex<Vec<LogUnit>>,
    tried: Mutex<Vec<String>>,
}

#[async_trait]
impl RequestSink for Sink {
    async fn write(&self, unit: &LogUnit) -> Result<()> {
        self.tried.lock().unwrap().push(unit.id.clone());
        if let Some(error) = self.failures.lock().unwrap().pop() {
            return Err(error);
        }
        self.written.lock().unwrap().push(unit.clone());
        Ok(())
    }
}

struct Running {
    log: RequestLog,
    sink: Arc<Sink>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    fn start(sink: Sink, options: LogOptions) -> Self {
        let (sink, (stop, stopped)) = (Arc::new(sink), oneshot::channel());
        let clock = Arc::new(FixedClock(Timestamp::parse("2026-07-01T10:30:00Z").unwrap()));
        let (log, writer) = RequestLog::new(Arc::clone(&sink) as _, clock, options);
        Self { log, sink, stop, task: tokio::spawn(writer.run(stopped)) }
    }

    fn ask(&self, entities: i64) {
        let Some(sampled) = self.log.sampled(&HeaderMap::new()) else { return };
        self.log.features(&sampled, "churn", &answer(entities));
    }

    /// Stops, and says what was written, and how many rows were written and dropped.
    async fn stop(self) -> (Arc<Sink>, (usize, usize)) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
        (self.sink, self.log.take_counts())
    }
}

fn answer(entities: i64) -> FeatureAnswer {
    let values = Arc::new(Int64Array::from_iter_values(0..entities));
    let (statuses, events) = (Vec::new(), Arc::default());
    let columns = vec![FeatureColumn { name: "user".to_owned(), values, statuses, events }];
    let source = FeatureSource::Lakehouse("online_store_timeout");
    let views = vec!["account".to_owned()];
    let rows = vec![vec![RowStatus::NotFound; usize::try_from(entities).unwrap()]];
    FeatureAnswer { columns, join_keys: 1, views, rows, source }
}

#[tokio::test]
async fn rows_of_many_requests_are_written_together_when_the_service_stops_at_the_latest() {
    let running = Running::start(Sink::default(), LogOptions::default());
    let headers = HeaderMap::from_iter([(
        axum::http::HeaderName::from_static(REQUEST_ID),
        axum::http::HeaderValue::from_static("order-17"),
    )]);
    let sampled = running.log.sampled(&headers).unwrap();
    running.log.features(&sampled, "churn", &answer(2));
    running.ask(3);
    let (sink, counts) = running.stop().await;
    assert_eq!(counts, (5, 0));
    let written = sink.written.lock().unwrap();
    let [unit] = written.as_slice() else { panic!("{} units", written.len()) };
    assert_eq!((unit.log.as_str(), unit.rows.num_rows()), ("features_churn", 5));
    let ids = unit.rows["request_id"].as_string::<i32>();
    assert_eq!((ids.value(0), ids.value(1)), ("order-17", "order-17"));
    assert_eq!(ids.value(2), ids.value(4));
    assert_ne!(ids.value(1), ids.value(2));
    let reasons = unit.rows["reason"].as_string::<i32>();
    assert_eq!(reasons.value(4), "online_store_timeout");
    assert_eq!(unit.rows["feature_status"].as_string::<i32>().value(4), "NOT_FOUND");
}

#[tokio::test]
async fn a_unit_that_could_not_be_written_is_tried_again_as_it_was() {
    let failures = vec![Error::unavailable("the lake is gone")];
    let sink = Sink { failures: Mutex::new(failures), ..Sink::default() };
    let options = LogOptions::default().with_flush_every(Duration::from_millis(1));
    let running = Running::start(sink, options);
    running.ask(1);
    while running.sink.written.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let (sink, counts) = running.stop().await;
    assert_eq!(counts, (1, 0));
    let tried = sink.tried.lock().unwrap();
    assert_eq!(tried.len(), 2);
    assert_eq!(tried.first(), tried.last());
}

#[tokio::test]
async fn rows_that_no_table_takes_and_those_beyond_the_bound_are_dropped_and_counted() {
    let failures = vec![Error::new(ErrorKind::InvalidInput, "no such column")];
    let sink = Sink { failures: Mutex::new(failures), ..Sink::default() };
    let options = LogOptions { rows_max: 10, ..LogOptions::default() };
    let running = Running::start(sink, options);
    running.ask(7);
    running.ask(7);
    running.ask(3);
    let (sink, counts) = running.stop().await;
    assert_eq!(counts, (0, 17));
    assert!(sink.written.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_share_of_the_requests_is_logged() {
    for (share, least, most) in [(0.0, 0, 0), (1.0, 2000, 2000), (0.25, 380, 620)] {
        let options = LogOptions::default().with_sample(share).unwrap();
        let running = Running::start(Sink::default(), options);
        let headers = HeaderMap::new();
        let logged = (0..2000).filter(|_| running.log.sampled(&headers).is_some()).count();
        assert!((least..=most).contains(&logged), "{share}: {logged}");
        running.stop().await;
    }
    assert!(LogOptions::default().with_sample(1.5).is_err());
    assert!(LogOptions::default().with_sample(f64::NAN).is_err());
}

#[test]
fn what_a_client_calls_like_a_column_of_the_log_gets_a_name_of_its_own() {
    let moment = Timestamp::from_micros(0);
    let common = Common { id: "r".to_owned(), at: moment };
    let mut answer = answer(1);
    for name in ["request_id", "request_id", OTHERS] {
        let values = Arc::new(Float64Array::from(vec![1.5]));
        let (statuses, events) = (Vec::new(), Arc::default());
        answer.columns.push(FeatureColumn { name: name.to_owned(), values, statuses, events });
    }
    let LoggedRows { rows, keys, .. } = rows::of_features(&common, &answer).unwrap();
    assert_eq!(keys, ["request_id", "user"]);
    assert_eq!(rows["request_id"].as_string::<i32>().value(0), "r");
    for name in ["request_id__", "others_"] {
        assert_eq!(rows[name].as_primitive::<Float64Type>().value(0), 1.5);
    }
}

/// A model that reads `amount`.
#[derive(Debug)]
struct Halves(ModelSignature);

impl Model for Halves {
    fn signature(&self) -> &ModelSignature {
        &self.0
    }

    fn predict(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        Ok(Arc::new(Float64Array::from(vec![0.5; rows.num_rows()])))
    }

    fn encode(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

fn halves() -> LoadedModel {
    let (name, data_type) = ("amount".to_owned(), "Float64".to_owned());
    let inputs = vec![SignatureColumn { name, data_type }];
    let signature = ModelSignature { inputs, output: OutputKind::Probability };
    let (name, version) = ("churn".to_owned(), "7".to_owned());
    LoadedModel { name, version, model: Arc::new(Halves(signature)) }
}

/// Rows of one request, with a column `NAME` of the number that the name has.
fn asked(name: &str, number: i64) -> Frame {
    let columns: [(&str, ArrayRef); 4] = [
        ("amount", Arc::new(Int64Array::from(vec![3]))),
        ("user", Arc::new(StringArray::from(vec!["u1"]))),
        (OTHERS, Arc::new(Int64Array::from(vec![-1]))),
        (name, Arc::new(Int64Array::from(vec![number]))),
    ];
    let columns = columns.map(|(name, values)| (name.to_owned(), values));
    let looked_up = BTreeSet::from(["user".to_owned()]);
    Frame { columns: columns.into_iter().collect(), rows: 1, looked_up, ..Frame::default() }
}

#[tokio::test]
async fn names_that_clients_make_up_make_a_log_no_wider_than_it_may_be() {
    let running = Running::start(Sink::default(), LogOptions::default());
    let (model, predictions) = (halves(), Arc::new(Float64Array::from(vec![0.5])) as ArrayRef);
    for at in 0..1000 {
        let sampled = running.log.sampled(&HeaderMap::new()).unwrap();
        let frame = asked(&format!("n{at}"), at);
        running.log.predictions(&sampled, &model, &frame, &predictions);
    }
    // The first 32 have columns; `others` is not among what a client may call a column.
    assert_eq!(running.log.take_folded(), Folded { kept: 2 * 1000 - 32, left_out: 0 });
    let (sink, counts) = running.stop().await;
    assert_eq!(counts, (1000, 0));
    let written = sink.written.lock().unwrap();
    let [unit] = written.as_slice() else { panic!("{} units", written.len()) };
    let services =
        ["request_id", "event_timestamp", "model_version", "prediction", "amount", "user"];
    assert_eq!(unit.rows.num_columns(), services.len() + 32 + 1);
    assert_eq!(unit.own.len(), 32);
    assert!(["user", OTHERS].iter().all(|key| unit.keys.contains(*key)));
    assert!(["user", OTHERS].iter().all(|key| !unit.own.contains(*key)));
    let others = unit.rows[OTHERS].as_string::<i32>();
    for at in 0..1000 {
        let name = format!("n{at}");
        let object: Value = serde_json::from_str(others.value(at)).unwrap();
        let found = match unit.rows.column_by_name(&name) {
            Some(column) => Some(column.as_primitive::<Int64Type>().value(at)),
            None => object[&name].as_i64(),
        };
        assert_eq!((found, object[OTHERS].as_i64()), (i64::try_from(at).ok(), Some(-1)), "{at}");
    }
}
