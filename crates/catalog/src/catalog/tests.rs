use super::*;
use arrow::array::{Date32Array, Int64Array};
use arrow::datatypes::{DataType, Field, Schema};
use icecore_core::*;
use std::sync::Arc;

#[tokio::test]
async fn smoke() {
    let root = tempfile::tempdir().unwrap();
    let p = root.path().display().to_string();
    let cat =
        IcebergCatalog::open(CatalogOptions::new(format!("sqlite:{p}/c.db"), format!("{p}/wh")))
            .await
            .unwrap();
    let schema = Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, true),
        Field::new("d", DataType::Date32, true),
    ]));
    let t = TableName::parse("a.t").unwrap();
    assert!(
        cat.ensure_table(&t, &NewTable::new(schema.clone()).with_partition_by(["d"]))
            .await
            .unwrap()
    );
    assert!(
        !cat.ensure_table(&t, &NewTable::new(schema.clone()).with_partition_by(["d"]))
            .await
            .unwrap()
    );
    let rows = |k: Vec<i64>, d: Vec<i32>| {
        BatchStream::from_batches(
            schema.clone(),
            vec![
                RecordBatch::try_new(
                    schema.clone(),
                    vec![Arc::new(Int64Array::from(k)), Arc::new(Date32Array::from(d))],
                )
                .unwrap(),
            ],
        )
    };
    let c =
        cat.commit(&t, rows(vec![1, 2, 3], vec![1, 1, 2]), CommitOptions::default()).await.unwrap();
    println!("{c:?}");
    let c = cat
        .commit(&t, rows(vec![9], vec![2]), CommitOptions::new(WriteMode::OverwritePartitions))
        .await
        .unwrap();
    println!("{c:?}");
    println!(
        "{:?}",
        cat.scan(&c.pinned, ScanOptions::default()).await.unwrap().concat().await.unwrap()
    );
    println!("{:?}", cat.plan_files(&c.pinned, None).await.unwrap());
    for m in MetadataTable::ALL {
        println!("{:?}", cat.metadata_table(&t, m).await.unwrap());
    }
}
