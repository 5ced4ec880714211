//! A catalog with two feature views, and models that anybody can compute by hand.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float64Array, Int64Array};
use arrow::array::{Date32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type};
use icecore_catalog::{CatalogOptions, IcebergCatalog};
use icecore_core::{
    BatchStream, CommitOptions, Date, Model, ModelSelector, ModelSignature, ModelVersion, NewTable,
    OutputKind, Prediction, Result, RunId, SignatureColumn, SnapshotCatalog, TableName, Timestamp,
    WriteMode,
};
use icecore_engine::{Engine, EngineOptions};
use icecore_features::Definitions;

use crate::{ModelUri, ScoreJob, ScorePlan, ScoreReport, ScoringModel, ScoringSpec, plan, score};

const FEATURES: &str = r#"
[[entity]]
name = "user"
join_keys = ["user_token"]

[[feature_view]]
name = "activity"
entities = ["user"]
source = "events.raw"
event_timestamp = "event_timestamp"
table = "ml_features.activity"
partition_by = ["feature_date"]
emit = "last_per_day"
ttl = "30d"

[[feature_view.aggregate]]
name = "count"
function = "count"
windows = ["30d"]

[[feature_view]]
name = "account"
entities = ["user"]
source = "ml_features.account"
event_timestamp = "event_timestamp"
columns = ["balance", "tier"]
"#;

/// Adds its inputs up, nulls as nothing, and divides by a hundred.
#[derive(Debug)]
pub(crate) struct Adding {
    signature: ModelSignature,
}

pub(crate) fn adding(inputs: &[&str], output: OutputKind) -> Arc<dyn Model> {
    let column =
        |name: &&str| SignatureColumn { name: (*name).to_owned(), data_type: "Float64".to_owned() };
    let inputs = inputs.iter().map(column).collect();
    Arc::new(Adding { signature: ModelSignature { inputs, output } })
}

impl Adding {
    fn columns(&self, rows: &RecordBatch) -> Result<Vec<Float64Array>> {
        let column = |input: &SignatureColumn| {
            let column = rows.column_by_name(&input.name).ok_or_else(|| {
                icecore_core::Error::invalid(format!("column `{}` is missing", input.name))
            })?;
            Ok(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
        };
        self.signature.inputs.iter().map(column).collect()
    }
}

fn lists(values: Vec<f64>, width: usize) -> ArrayRef {
    let item = Arc::new(Field::new("item", DataType::Float64, false));
    let values = Arc::new(Float64Array::from(values));
    Arc::new(FixedSizeListArray::try_new(item, width as i32, values, None).unwrap())
}

impl Model for Adding {
    fn signature(&self) -> &ModelSignature {
        &self.signature
    }

    fn predict(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let columns = self.columns(rows)?;
        let at =
            |column: &Float64Array, row| if column.is_valid(row) { column.value(row) } else { 0.0 };
        let sum = |row| columns.iter().map(|column| at(column, row)).sum::<f64>() / 100.0;
        let sums: Vec<f64> = (0..rows.num_rows()).map(sum).collect();
        if self.signature.output == OutputKind::Classes {
            return Ok(lists(sums.iter().flat_map(|p| [1.0 - p, p / 4.0, p * 0.75]).collect(), 3));
        }
        Ok(Arc::new(Float64Array::from(sums)))
    }

    fn encode(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn predict_as(&self, rows: &RecordBatch, what: Prediction) -> Result<ArrayRef> {
        if what != Prediction::Contributions {
            return self.predict(rows);
        }
        let columns = self.columns(rows)?;
        let width = columns.len() + 1;
        let values = (0..rows.num_rows()).flat_map(|row| {
            let of = columns.iter().map(move |column| column.value(row) / 100.0);
            of.chain([0.0]).collect::<Vec<_>>()
        });
        Ok(lists(values.collect(), width))
    }
}

pub(crate) fn model(role: &str, version: u32, model: Arc<dyn Model>) -> ScoringModel {
    ScoringModel {
        role: role.to_owned(),
        uri: ModelUri { name: "churn".to_owned(), selector: ModelSelector::Version(version) },
        version: ModelVersion {
            model: "churn".to_owned(),
            version,
            run: RunId::new("r"),
            artifact: "model".to_owned(),
            hash: format!("hash of {version}"),
            created_at: Timestamp::from_micros(0),
            aliases: Vec::new(),
        },
        model,
    }
}

pub(crate) fn champion() -> Vec<ScoringModel> {
    vec![model("champion", 1, adding(&["count_30d"], OutputKind::Probability))]
}

pub(crate) fn spec(more: &str) -> ScoringSpec {
    let text = format!(
        "name = \"churn\"\nmodel = \"models:/churn/1\"\ntable = \"ml_predictions.churn\"\n{more}"
    );
    ScoringSpec::parse("scoring/churn.toml", &text).unwrap()
}

pub(crate) struct Lake {
    dir: tempfile::TempDir,
    pub(crate) engine: Engine,
    pub(crate) definitions: Definitions,
}

impl Lake {
    pub(crate) async fn filled() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let options = CatalogOptions::new(format!("sqlite:{}", at("catalog.db")), at("warehouse"));
        let catalog = IcebergCatalog::open(options).await.unwrap();
        let options = EngineOptions::default().with_threads(2).with_memory_limit(256 << 20);
        let engine = Engine::new(catalog, options).unwrap();
        let definitions = Definitions::parse("features/all.toml", FEATURES).unwrap();
        let lake = Self { dir, engine, definitions };
        lake.write("ml_features.activity", activity(&ACTIVITY)).await;
        lake.write("ml_features.account", account(&ACCOUNT)).await;
        lake
    }

    pub(crate) async fn write(&self, table: &str, rows: RecordBatch) {
        let (catalog, table) = (self.engine.catalog(), TableName::parse(table).unwrap());
        let by = rows.schema().column_with_name("feature_date").map(|_| "feature_date".to_owned());
        let new = NewTable::new(rows.schema()).with_partition_by(by);
        catalog.ensure_table(&table, &new).await.unwrap();
        let rows = BatchStream::from_batches(rows.schema(), vec![rows]);
        catalog.commit(&table, rows, CommitOptions::new(WriteMode::Append)).await.unwrap();
    }

    pub(crate) async fn plan(
        &self,
        spec: &ScoringSpec,
        models: &[ScoringModel],
        date: Option<&str>,
    ) -> Result<ScorePlan> {
        let date = date.map(|date| Date::parse(date).unwrap());
        plan(&self.engine, &self.definitions, spec, models, date).await
    }

    pub(crate) async fn score(
        &self,
        spec: &ScoringSpec,
        models: &[ScoringModel],
        date: Option<&str>,
    ) -> Result<(ScorePlan, ScoreReport)> {
        let plan = self.plan(spec, models, date).await?;
        let job = ScoreJob {
            spec,
            definitions: &self.definitions,
            plan: &plan,
            models,
            run: RunId::new("run-1"),
            progress: None,
        };
        let (report, _) = score(&self.engine, job).await?;
        Ok((plan, report))
    }

    /// The data files of a namespace, those of states that are not the newest included.
    pub(crate) fn data_files(&self, namespace: &str) -> Vec<PathBuf> {
        let (mut folders, mut files) = (vec![self.dir.path().join("warehouse")], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "parquet")
                    && path.display().to_string().contains(namespace)
                {
                    files.push(path);
                }
            }
        }
        files
    }

    /// The stored rows in order, with `-` for what is not there.
    pub(crate) async fn lines(&self, columns: &str) -> Vec<String> {
        self.lines_of(&format!("SELECT {columns} FROM ml_predictions.churn")).await
    }

    /// The rows of a query, in order.
    pub(crate) async fn lines_of(&self, query: &str) -> Vec<String> {
        let rows = self.engine.sql(query, &[]).await.unwrap().concat().await.unwrap();
        let format = arrow::util::display::FormatOptions::default().with_null("-");
        let cell = |row: usize, column: &ArrayRef| {
            let formatter = arrow::util::display::ArrayFormatter::try_new(column, &format).unwrap();
            formatter.value(row).to_string()
        };
        let line = |row: usize| {
            rows.columns().iter().map(|column| cell(row, column)).collect::<Vec<_>>().join(" ")
        };
        let mut lines: Vec<String> = (0..rows.num_rows()).map(line).collect();
        lines.sort();
        lines
    }
}

/// User, event timestamp, count.
const ACTIVITY: [(&str, &str, Option<i64>); 6] = [
    ("u1", "2024-01-10T08:00:00Z", Some(90)),
    ("u2", "2024-01-10T23:59:59Z", Some(50)),
    ("ü 'x'", "2024-01-10T00:00:00Z", None),
    ("u1", "2024-01-09T08:00:00Z", Some(10)),
    ("u3", "2024-01-08T12:00:00Z", Some(20)),
    ("u4", "2023-11-01T12:00:00Z", Some(30)),
];

/// User, event timestamp, balance, tier.
const ACCOUNT: [(&str, &str, f64, &str); 3] = [
    ("u1", "2024-01-01T00:00:00Z", 5.0, "gold"),
    ("u1", "2024-01-10T12:00:00Z", 8.0, "tin"),
    ("u5", "2024-01-01T00:00:00Z", 7.0, "tin"),
];

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn moments<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    let micros = values.map(|text| Timestamp::parse(text).unwrap().micros());
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("+00:00"))
}

pub(crate) fn activity(rows: &[(&str, &str, Option<i64>)]) -> RecordBatch {
    let days = rows.iter().map(|row| Timestamp::parse(row.1).unwrap().date().days());
    RecordBatch::try_from_iter_with_nullable([
        ("user_token", texts(rows.iter().map(|row| row.0)), true),
        ("event_timestamp", moments(rows.iter().map(|row| row.1)), true),
        ("count_30d", Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.2))) as _, true),
        ("feature_date", Arc::new(Date32Array::from_iter_values(days)) as _, true),
    ])
    .unwrap()
}

fn account(rows: &[(&str, &str, f64, &str)]) -> RecordBatch {
    let balances = Float64Array::from_iter_values(rows.iter().map(|row| row.2));
    RecordBatch::try_from_iter_with_nullable([
        ("user_token", texts(rows.iter().map(|row| row.0)), true),
        ("event_timestamp", moments(rows.iter().map(|row| row.1)), true),
        ("balance", Arc::new(balances) as _, true),
        ("tier", texts(rows.iter().map(|row| row.3)), true),
    ])
    .unwrap()
}
