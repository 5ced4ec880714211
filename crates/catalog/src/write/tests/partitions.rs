//! Which partition a row goes to, against values computed by hand.

use std::collections::BTreeSet;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array};
use iceberg::spec::{Literal, PrimitiveLiteral, Struct};

use super::*;

/// The partitions that rows of one column go to, and the directories that they lie in.
async fn partitions(column: ArrayRef, by: &str) -> (Vec<Struct>, BTreeSet<String>) {
    let schema: SchemaRef =
        Arc::new(ArrowSchema::new(vec![Field::new("x", column.data_type().clone(), true)]));
    let bench = Bench::new(&schema, &Layout { partition_by: &[by], ..Layout::default() });
    let batch = RecordBatch::try_new(schema, vec![column]).unwrap();
    let (written, _) = bench.write(vec![batch], Limits::default()).await.unwrap();
    let files = bench.files();
    let directories = files.keys().map(|path| path.parent().unwrap().display().to_string());
    let partitions = written.files.iter().map(|file| file.partition().clone()).collect();
    (partitions, directories.collect())
}

fn one(value: PrimitiveLiteral) -> Struct {
    Struct::from_iter([Some(Literal::Primitive(value))])
}

const fn int(value: i32) -> PrimitiveLiteral {
    PrimitiveLiteral::Int(value)
}

const DAY: i64 = 86_400_000_000;

/// 2017-11-16T22:31:08, the moment of Iceberg's specification.
const SPEC_MICROS: i64 = 1_510_871_468_000_000;

async fn check(column: ArrayRef, by: &str, expected: &[PrimitiveLiteral]) {
    let (found, _) = partitions(column, by).await;
    let expected: Vec<Struct> = expected.iter().cloned().map(one).collect();
    assert_eq!(found, expected, "{by}");
}

fn moments(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values).with_timezone("+00:00"))
}

#[tokio::test]
async fn times_before_the_epoch_go_to_the_period_that_they_lie_in() {
    let times = || moments(vec![SPEC_MICROS, 0, -1, -DAY - 1]);
    check(times(), "year(x)", &[int(47), int(0), int(-1)]).await;
    check(times(), "month(x)", &[int(574), int(0), int(-1)]).await;
    check(times(), "day(x)", &[int(17_486), int(0), int(-1), int(-2)]).await;
    check(times(), "hour(x)", &[int(419_686), int(0), int(-1), int(-25)]).await;
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![17_486, -1, 0]));
    check(dates.clone(), "month(x)", &[int(574), int(-1), int(0)]).await;
    check(dates, "x", &[int(17_486), int(-1), int(0)]).await;
}

#[tokio::test]
async fn the_last_second_of_a_day_before_the_epoch_goes_to_that_day() {
    let times = moments(vec![-2 * DAY - 2, -DAY - 500_000, -DAY]);
    check(times, "day(x)", &[int(-3), int(-2), int(-1)]).await;
}

/// The hashes of appendix B of Iceberg's specification, as buckets of 1000.
#[tokio::test]
async fn buckets_are_those_of_the_specification() {
    let bucket = |hash: i32| int((hash & i32::MAX) % 1000);
    check(Arc::new(Int64Array::from(vec![34])), "bucket(1000, x)", &[bucket(2_017_239_379)]).await;
    check(
        Arc::new(Decimal128Array::from(vec![1420]).with_precision_and_scale(9, 2).unwrap()),
        "bucket(1000, x)",
        &[bucket(-500_754_589)],
    )
    .await;
    check(Arc::new(Date32Array::from(vec![17_486])), "bucket(1000, x)", &[bucket(-653_330_422)])
        .await;
    check(moments(vec![SPEC_MICROS]), "bucket(1000, x)", &[bucket(-2_047_944_441)]).await;
    check(
        Arc::new(StringArray::from(vec!["iceberg"])),
        "bucket(1000, x)",
        &[bucket(1_210_000_089)],
    )
    .await;
}

#[tokio::test]
async fn numbers_are_truncated_downwards_and_text_by_letters() {
    let numbers = Arc::new(Int64Array::from(vec![1, 10, -1, -10, -11]));
    let long = PrimitiveLiteral::Long;
    check(numbers, "truncate(10, x)", &[long(0), long(10), long(-10), long(-20)]).await;
    let text = |text: &str| PrimitiveLiteral::String(text.to_owned());
    let words = Arc::new(StringArray::from(vec!["äöü€", "äöx", ""]));
    check(words, "truncate(2, x)", &[text("äö"), text("")]).await;
}

#[tokio::test]
async fn null_is_a_partition_of_its_own() {
    let column: ArrayRef = Arc::new(StringArray::from(vec![None, Some("null"), None]));
    let (found, directories) = partitions(column, "x").await;
    let null = Struct::from_iter([None]);
    assert_eq!(found, [null, one(PrimitiveLiteral::String("null".to_owned()))]);
    assert_eq!(directories, BTreeSet::from(["data/x=null".to_owned()]));
}

#[tokio::test]
async fn directories_are_spelled_with_plain_letters() {
    let long = "l".repeat(300);
    let words = vec!["a/../b c%2Fä", "..", long.as_str(), "2024-01-31"];
    let (found, directories) = partitions(Arc::new(StringArray::from(words)), "x").await;
    assert_eq!(found.len(), 4);
    let expected = ["data/x=..", "data/x=2024-01-31", "data/x=a_.._b_c_2F_"].map(str::to_owned);
    let long = format!("data/x={}", "l".repeat(64));
    assert_eq!(directories, BTreeSet::from_iter(expected.into_iter().chain([long])));
    let (_, days) = partitions(moments(vec![SPEC_MICROS]), "day(x)").await;
    assert_eq!(days, BTreeSet::from(["data/x_day=2017-11-16".to_owned()]));
}
