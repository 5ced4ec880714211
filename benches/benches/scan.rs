//! How long it takes to plan a table of many files, and to read one.
//!
//! Sketch: planning reads 10,000 entries of some hundred bytes, so tens of milliseconds; a filter on
//! the partition leaves out nearly all of them after that. A scan decodes some 100 MB/s of Parquet per
//! core and column; `count(*)` opens no file and costs what planning costs. Run with
//! `cargo bench -p icecore-benches --bench scan`.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use icecore_catalog::{CatalogOptions, IcebergCatalog};
use icecore_core::{
    BatchStream, CommitOptions, CompareOp, Literal, NewTable, PinnedTable, Predicate, ScanOptions,
    SnapshotCatalog, TableName,
};
use icecore_engine::{Engine, EngineOptions};
use tokio::runtime::Runtime;

const FILES: i64 = 10_000;
const ROWS: i64 = 1_000_000;

fn rows(ids: std::ops::Range<i64>) -> RecordBatch {
    let ids: Vec<i64> = ids.collect();
    let number = |of: fn(i64) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(ids.iter().map(|id| of(*id))))
    };
    let text: ArrayRef =
        Arc::new(StringArray::from_iter_values(ids.iter().map(|id| format!("u{}", id % 1000))));
    let columns: [(&str, ArrayRef); 7] = [
        ("id", Arc::new(Int64Array::from(ids.clone()))),
        ("user", text),
        ("a", number(|id| id as f64 * 0.5)),
        ("b", number(|id| (id % 97) as f64)),
        ("c", number(|id| (id % 13) as f64 / 3.0)),
        ("d", number(|id| -(id as f64))),
        ("e", number(|id| (id * 31 % 1009) as f64)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

async fn table(catalog: &IcebergCatalog, name: &str, by: &str, ids: i64) -> PinnedTable {
    let name = TableName::parse(name).unwrap();
    let all = rows(0..ids);
    let new = NewTable::new(all.schema()).with_partition_by([by]);
    catalog.ensure_table(&name, &new).await.unwrap();
    let stream = BatchStream::from_batches(all.schema(), vec![all]);
    catalog.commit(&name, stream, CommitOptions::default()).await.unwrap().pinned
}

fn scan(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let root = std::env::temp_dir().join(format!("icecore-bench-scan-{}", std::process::id()));
    let path = root.display();
    let (catalog, many, wide) = runtime.block_on(async {
        std::fs::create_dir_all(&root).unwrap();
        let options = CatalogOptions::new(format!("sqlite:{path}/c.db"), format!("{path}/w"));
        let catalog = IcebergCatalog::open(options).await.unwrap();
        let many = table(&catalog, "bench.many", "id", FILES).await;
        let wide = table(&catalog, "bench.wide", "truncate(250000, id)", ROWS).await;
        (catalog, many, wide)
    });
    let plan = |filter: Option<&Predicate>| {
        let files = runtime.block_on(catalog.plan_files(&many, filter)).unwrap().files;
        black_box(files).len()
    };
    let mut group = c.benchmark_group("plan/10k_files");
    group.sample_size(20).throughput(Throughput::Elements(FILES.unsigned_abs()));
    group.bench_function("all", |b| b.iter(|| plan(None)));
    let few = Predicate::compare("id", CompareOp::Lt, Literal::Int(10));
    group.bench_function("partition_filter", |b| b.iter(|| plan(Some(&few))));
    group.finish();

    let mut group = c.benchmark_group("scan/1M_rows");
    group.sample_size(10).throughput(Throughput::Elements(ROWS.unsigned_abs()));
    let filter = Predicate::compare("b", CompareOp::Lt, Literal::Float(20.0));
    group.bench_function("6_columns_filtered", |b| {
        b.iter(|| {
            let options = ScanOptions::default()
                .with_columns(["id", "user", "a", "c", "d", "e"])
                .with_filter(filter.clone());
            let read = async { catalog.scan(&wide, options).await?.collect().await };
            black_box(runtime.block_on(read).unwrap())
        });
    });
    group.finish();

    let engine = Engine::new(catalog.clone(), EngineOptions::default()).unwrap();
    c.bench_function("count/10k_files", |b| {
        b.iter(|| {
            let sql = "SELECT count(*) FROM bench.many";
            let count = async { engine.sql(sql, &[]).await?.concat().await };
            black_box(runtime.block_on(count).unwrap())
        });
    });
    std::fs::remove_dir_all(&root).unwrap();
}

criterion_group!(benches, scan);
criterion_main!(benches);
