//! Partitions by a column that another engine has widened since. icecore refuses to do that.

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, Int32Array};
use iceberg::spec::{PrimitiveType, Type};

use super::*;
use crate::catalog::AlterOptions;
use crate::schema::Alteration;

/// Rows of a key and a number.
fn rows(keys: &ArrayRef, numbers: &[i64]) -> BatchStream {
    let schema = Arc::new(Schema::new(vec![
        Field::new("key", keys.data_type().clone(), false),
        Field::new("number", DataType::Int64, false),
    ]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
    let batch = RecordBatch::try_new(schema.clone(), vec![keys.clone(), numbers]).unwrap();
    BatchStream::from_batches(schema, vec![batch])
}

async fn widen_key(lake: &Lake, to: &PrimitiveType) {
    let head = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let fields = head.metadata().current_schema().as_struct().fields().iter().map(|field| {
        let mut field = field.as_ref().clone();
        if field.name == "key" {
            field.field_type = Box::new(Type::Primitive(to.clone()));
        }
        Arc::new(field)
    });
    let schema = iceberg::spec::Schema::builder().with_fields(fields).build().unwrap();
    let updates =
        [TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: -1 }];
    lake.update(&updates).await;
}

async fn numbers(lake: &Lake) -> Vec<i64> {
    let pinned = lake.pin("latest").await.unwrap();
    let stream = lake.catalog.scan(&pinned, ScanOptions::default()).await.unwrap();
    let batch = stream.concat().await.unwrap();
    let mut numbers = batch.column(1).as_primitive::<Int64Type>().values().to_vec();
    numbers.sort_unstable();
    numbers
}

/// Partitionings with keys of two partitions, narrow ones and a wide one that is in the first.
fn cases() -> [(&'static str, ArrayRef, ArrayRef, PrimitiveType); 3] {
    let ints = || -> ArrayRef { Arc::new(Int32Array::from(vec![5, 25])) };
    let long = || -> ArrayRef { Arc::new(Int64Array::from(vec![5])) };
    [
        ("key", ints(), long(), PrimitiveType::Long),
        ("truncate(10, key)", ints(), long(), PrimitiveType::Long),
        (
            "key",
            Arc::new(Float32Array::from(vec![0.5, 2.5])),
            Arc::new(Float64Array::from(vec![0.5])),
            PrimitiveType::Double,
        ),
    ]
}

/// A table of the rows 1 and 2 in two partitions.
async fn partitioned(by: &str, narrow: &ArrayRef) -> Lake {
    let lake = Lake::empty().await;
    let first = rows(narrow, &[1, 2]);
    let new = NewTable::new(first.schema().clone()).with_partition_by([by]);
    lake.catalog.ensure_table(&lake.table, &new).await.unwrap();
    lake.catalog.commit(&lake.table, first, CommitOptions::default()).await.unwrap();
    lake
}

async fn overwrite(lake: &Lake, keys: &ArrayRef, numbers: &[i64]) -> Result<Committed> {
    let options = CommitOptions::new(WriteMode::OverwritePartitions);
    lake.catalog.commit(&lake.table, rows(keys, numbers), options).await
}

#[tokio::test]
async fn a_partition_from_before_is_overwritten() {
    for (by, narrow, wide, to) in cases() {
        let lake = partitioned(by, &narrow).await;
        widen_key(&lake, &to).await;
        overwrite(&lake, &wide, &[9]).await.unwrap();
        assert_eq!(numbers(&lake).await, [2, 9], "{by} as {to}");
        overwrite(&lake, &wide, &[8]).await.unwrap();
        assert_eq!(numbers(&lake).await, [2, 8], "{by} as {to}");
    }
}

#[tokio::test]
async fn a_partition_of_an_older_partitioning_is_found_too() {
    for (by, narrow, wide, to) in cases() {
        let lake = partitioned(by, &narrow).await;
        widen_key(&lake, &to).await;
        let by = [by.to_owned(), "truncate(100, number)".to_owned()];
        let alteration = Alteration::PartitionBy(by.to_vec());
        lake.catalog.alter(&lake.table, &[alteration], AlterOptions::default()).await.unwrap();
        overwrite(&lake, &wide, &[9]).await.unwrap();
        assert_eq!(numbers(&lake).await, [2, 9], "{by:?} as {to}");
    }
}

#[tokio::test]
async fn rows_that_were_added_before_the_key_was_widened_contradict_an_overwrite() {
    for (by, narrow, wide, to) in cases() {
        let lake = partitioned(by, &narrow).await;
        let base = lake.pin("latest").await.unwrap();
        let late = rows(&narrow.slice(0, 1), &[3]);
        lake.catalog.commit(&lake.table, late, CommitOptions::default()).await.unwrap();
        widen_key(&lake, &to).await;
        let options = CommitOptions::new(WriteMode::OverwritePartitions).with_base(base.snapshot);
        let result = lake.catalog.commit(&lake.table, rows(&wide, &[9]), options).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Conflict, "{by} as {to}");
        assert_eq!(numbers(&lake).await, [1, 2, 3], "{by} as {to}");
    }
}
