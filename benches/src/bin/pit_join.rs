//! A point-in-time join from a file of a spine to a file of rows with features: icecore's side of
//! `benches/peers/pit.py`.
//!
//! `pit_join load LAKE TABLE FILE [SORT_COLUMN…]` fills a table;
//! `pit_join join LAKE DATA OUT THREADS MIB VIEWS` joins the spine of the directory DATA with the
//! tables `bench.DATA_fv1…`, as many as VIEWS, and writes OUT. Prints one JSON object with the cost.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use icecore_benches::usage;
use icecore_catalog::{CatalogOptions, IcebergCatalog};
use icecore_core::{
    CommitOptions, FeatureTable, NewTable, PitOptions, PointInTimeJoin as _, SnapshotCatalog as _,
    SnapshotSelector, Span, Spine, TableName, WriteMode,
};
use icecore_engine::files::{FileReadOptions, read_files, write_parquet};
use icecore_engine::{Engine, EngineOptions};
use icecore_pit::MergeJoin;
use serde_json::{Value as Json, json};

type Outcome = Result<Json, Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    icecore_engine::share_heaps();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [operation, lake, rest @ ..] = arguments.as_slice() else {
        return Err("usage: pit_join load|join LAKE ARGUMENTS".into());
    };
    let threads = match (operation.as_str(), rest) {
        ("join", [_, _, threads, ..]) => threads.parse::<usize>()?,
        _ => 2,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let report = runtime.block_on(run(operation, Path::new(lake), rest))?;
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}

async fn run(operation: &str, lake: &Path, rest: &[String]) -> Outcome {
    let path = |name: &str| lake.join(name).display().to_string();
    let uri = format!("sqlite:{}", path("catalog.db"));
    let catalog = IcebergCatalog::open(CatalogOptions::new(uri, path("warehouse"))).await?;
    match (operation, rest) {
        ("load", [table, file, sort @ ..]) => load(&catalog, table, file, sort).await,
        ("join", [data, out, threads, memory, views]) => {
            let started = usage::start();
            let options = EngineOptions::default()
                .with_threads(threads.parse()?)
                .with_memory_limit(memory.parse::<usize>()? << 20);
            let engine = Engine::new(catalog, options)?;
            let rows = join(engine, Path::new(data), Path::new(out), views.parse()?).await?;
            let used = started.usage();
            Ok(json!({
                "rows": rows, "seconds": used.seconds, "cpu_seconds": used.cpu_seconds,
                "peak_mib": used.peak_mib,
            }))
        }
        _ => Err(format!("no operation `{operation}` with {rest:?}").into()),
    }
}

async fn load(catalog: &IcebergCatalog, table: &str, file: &str, sort: &[String]) -> Outcome {
    let table: TableName = table.parse()?;
    let rows = read_files(&[file.into()], FileReadOptions::default()).await?;
    let new = NewTable::new(rows.stream.schema().clone()).with_sort_by(sort.iter().cloned());
    catalog.ensure_table(&table, &new).await?;
    let options = CommitOptions::new(WriteMode::Overwrite);
    let done = catalog.commit(&table, rows.stream, options).await?;
    Ok(json!({ "rows": done.added_rows }))
}

/// Days that a row of each view counts; of the only one of wide data, as long as the second.
const DAYS: [i64; 3] = [7, 30, 90];

async fn join(
    engine: Engine,
    data: &Path,
    out: &Path,
    views: usize,
) -> Result<u64, Box<dyn Error>> {
    let name = data.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
    let mut tables = Vec::with_capacity(views);
    let is_wide = name.ends_with("-wide");
    for view in 0..views {
        let number = if is_wide { 1 } else { view % DAYS.len() + 1 };
        let table: TableName = format!("bench.d{}_fv{number}", name.replace('-', "_")).parse()?;
        let pin = engine.catalog().pin(&table, &SnapshotSelector::Latest).await?;
        let schema = engine.catalog().schema(&pin).await?;
        // More views than there are tables take the same features under other names.
        let again = if view < DAYS.len() { String::new() } else { format!("_{view}") };
        let names = schema.fields().iter().map(|field| field.name());
        let features = names.filter(|name| name.starts_with(&format!("f{number}_")));
        let columns = features.map(|feature| (feature.clone(), format!("{feature}{again}")));
        let days = if is_wide { DAYS[1] } else { DAYS[number - 1] };
        tables.push(FeatureTable {
            view: format!("fv{view}"),
            table: pin,
            keys: vec![("entity_id".to_owned(), "entity_id".to_owned())],
            event_timestamp: "event_timestamp".to_owned(),
            created_timestamp: None,
            ttl: Some(Span::from_days(days)),
            delay: None,
            knowledge: None,
            strict: false,
            columns: columns.collect(),
        });
    }
    let rows = read_files(&[data.join("spine.parquet")], FileReadOptions::default()).await?;
    let spine = Spine { rows: rows.stream, event_timestamp: "event_timestamp".to_owned() };
    let joined = MergeJoin::new(engine).join(spine, tables, PitOptions::default()).await?;
    Ok(write_parquet(joined, out).await?)
}
