use arrow::array::{AsArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Float64Type, Int64Type};
use icecore_core::OnlineChange;
use icecore_testkit::ManualClock;

use super::*;
use crate::{EmbeddedStore, Origin, RowEncoder};

struct Fixture {
    features: FeatureStore,
    _dir: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    let store = EmbeddedStore::open(dir.path(), clock).await.unwrap();
    Fixture { features: FeatureStore::new(Arc::new(store)), _dir: dir }
}

fn users(names: &[Option<&str>]) -> Vec<ArrayRef> {
    vec![Arc::new(StringArray::from(names.to_vec()))]
}

async fn write(features: &FeatureStore, view: &str, user: &str, event: i64, batch: &RecordBatch) {
    let schema = RowSchema::try_new(batch.schema().fields().iter().map(AsRef::as_ref)).unwrap();
    features.keep_schema(&schema).await.unwrap();
    let event = Timestamp::from_micros(event);
    let version = RowVersion { event, created: event };
    let row = RowEncoder::new(schema, Origin::Table).encode(batch, &[version]).unwrap().remove(0);
    let key = row_keys(view, &users(&[Some(user)])).unwrap().remove(0).unwrap();
    let change = OnlineChange { key, row: Some(row), until: version };
    features.store().apply(vec![change]).await.unwrap();
}

fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

fn floats(values: Vec<Option<f64>>) -> ArrayRef {
    Arc::new(Float64Array::from(values))
}

#[tokio::test]
async fn several_views_are_read_at_once_and_every_value_says_what_it_is() {
    let Fixture { features, _dir } = fixture().await;
    let spend = RecordBatch::try_from_iter([("spend", floats(vec![Some(1.5)]))]).unwrap();
    let none = RecordBatch::try_from_iter([("spend", floats(vec![None]))]).unwrap();
    write(&features, "payments", "new", 100, &spend).await;
    write(&features, "payments", "null", 100, &none).await;
    write(&features, "payments", "old", 49, &spend).await;
    write(&features, "account", "new", 1, &spend).await;
    let keys = users(&[Some("new"), Some("null"), Some("old"), Some("nobody"), None]);
    let read = |view: &str, ttl| ViewRead {
        view: view.to_owned(),
        keys: keys.clone(),
        features: vec![field("spend", DataType::Float64)],
        ttl,
    };
    let reads = [read("payments", Some(Span::from_micros(50))), read("account", None)];
    let answers = features.read(&reads, Timestamp::from_micros(100)).await.unwrap();
    use FeatureStatus::{NotFound, Null, OutsideMaxAge, Present};
    let statuses = |view: &ViewRows| (0..5).map(|row| view.status(row, 0)).collect::<Vec<_>>();
    assert_eq!(statuses(&answers[0]), [Present, Null, OutsideMaxAge, NotFound, NotFound]);
    assert_eq!(statuses(&answers[1]), [Present, NotFound, NotFound, NotFound, NotFound]);
    let values = answers[0].columns[0].as_primitive::<Float64Type>();
    assert_eq!(values.iter().collect::<Vec<_>>(), [Some(1.5), None, None, None, None]);
    let events = answers[0].versions.iter().map(|v| v.map(|v| v.event.micros()));
    assert_eq!(events.collect::<Vec<_>>(), [Some(100), Some(100), Some(49), None, None]);
}

#[tokio::test]
async fn rows_of_an_older_schema_are_read_by_name_and_in_the_wanted_type() {
    let Fixture { features, _dir } = fixture().await;
    let old: ArrayRef = Arc::new(Int32Array::from(vec![7]));
    let old = RecordBatch::try_from_iter([("n", old)]).unwrap();
    let new: ArrayRef = Arc::new(Int64Array::from(vec![1 << 40]));
    let new = RecordBatch::try_from_iter([("added", floats(vec![Some(0.5)])), ("n", new)]).unwrap();
    write(&features, "v", "old", 1, &old).await;
    write(&features, "v", "new", 1, &new).await;
    // Another process that has seen none of the schemas.
    let fresh = FeatureStore::new(Arc::clone(features.store()));
    let read = ViewRead {
        view: "v".to_owned(),
        keys: users(&[Some("old"), Some("new")]),
        features: vec![field("n", DataType::Int64), field("added", DataType::Float64)],
        ttl: None,
    };
    let answer = fresh.read(&[read], Timestamp::from_micros(1)).await.unwrap().remove(0);
    let numbers = answer.columns[0].as_primitive::<Int64Type>();
    assert_eq!(numbers.iter().collect::<Vec<_>>(), [Some(7), Some(1 << 40)]);
    assert_eq!(answer.status(0, 1), FeatureStatus::Null);
    assert_eq!(answer.status(1, 1), FeatureStatus::Present);
}
