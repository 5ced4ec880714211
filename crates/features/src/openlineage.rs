//! What a feature table was computed from, as OpenLineage events (spec 2-0-2).

use std::collections::BTreeMap;

use icecore_core::{
    FeatureView, PinnedTable, Result, SnapshotCatalog, SnapshotInfo, SnapshotSelector,
};
use icecore_engine::Engine;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Definitions;
use crate::job::{DEFINITION_HASH, RUN_ID, SOURCES, VIEW};
use crate::lineage::source_lineage;
use crate::on_demand::is_on_demand;
use crate::output::{computed_table, history};

const PRODUCER: &str = "https://github.com/icecore/icecore";
const EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// The events of the computations that a view's table remembers, oldest first: for each, one that
/// says that it began and one that it ended. `namespace` names the lakehouse, such as
/// `iceberg://lakehouse`; `project` the jobs.
///
/// # Errors
///
/// `InvalidInput` for a view without a table.
pub async fn lineage_events(
    engine: &Engine,
    definitions: &Definitions,
    view: &str,
    (namespace, project): (&str, &str),
) -> Result<Vec<Value>> {
    let view = definitions.view(view)?;
    let table = computed_table(definitions, view)?;
    let log = history(engine, table).await?;
    let hash = definitions.definition_hash(view);
    let mut events = Vec::new();
    for snapshot in log.iter().filter(|s| s.summary.get(VIEW) == Some(&view.name)) {
        let sources: Vec<PinnedTable> = snapshot
            .summary
            .get(SOURCES)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let inputs: Vec<Value> = sources
            .iter()
            .map(|pin| {
                dataset(namespace, pin.table.as_str(), &pin.snapshot.to_string(), BTreeMap::new())
            })
            .collect();
        let mut facets = BTreeMap::new();
        // The columns of other definitions are not known here.
        if snapshot.summary.get(DEFINITION_HASH) == Some(&hash) {
            let pin = engine.catalog().pin(table, &SnapshotSelector::Id(snapshot.id)).await;
            let Ok(pin) = pin else { continue };
            facets.insert("schema", schema(engine, &pin).await?);
            let columns = columns(engine, definitions, view, (namespace, &sources)).await?;
            facets.insert("columnLineage", columns);
        }
        let mut output = dataset(namespace, table.as_str(), &snapshot.id.to_string(), facets);
        insert(&mut output, "outputFacets", statistics(snapshot));
        let event = |state: &str, outputs: Vec<Value>| {
            json!({
                "eventType": state,
                "eventTime": snapshot.committed_at.to_string(),
                "producer": PRODUCER,
                "schemaURL": EVENT,
                "run": { "runId": run_id(snapshot), "facets": {} },
                "job": { "namespace": project, "name": format!("features.{}", view.name), "facets": {} },
                "inputs": inputs,
                "outputs": outputs,
            })
        };
        events.push(event("START", Vec::new()));
        events.push(event("COMPLETE", vec![output]));
    }
    Ok(events)
}

fn insert(document: &mut Value, key: &str, value: Value) {
    if let Value::Object(fields) = document {
        fields.insert(key.to_owned(), value);
    }
}

/// A facet with what every facet has.
fn facet(name: &str, version: &str, mut body: Value) -> Value {
    insert(&mut body, "_producer", json!(PRODUCER));
    let url = format!("https://openlineage.io/spec/facets/{version}/{name}.json#/$defs/{name}");
    insert(&mut body, "_schemaURL", json!(url));
    body
}

fn dataset(
    namespace: &str,
    name: &str,
    version: &str,
    facets: BTreeMap<&'static str, Value>,
) -> Value {
    let mut all: BTreeMap<&str, Value> = facets;
    let body = json!({ "datasetVersion": version });
    all.insert("version", facet("DatasetVersionDatasetFacet", "1-0-1", body));
    json!({ "namespace": namespace, "name": name, "facets": all })
}

async fn schema(engine: &Engine, pin: &PinnedTable) -> Result<Value> {
    let schema = engine.catalog().schema(pin).await?;
    let fields = schema.fields().iter().map(|field| {
        json!({ "name": field.name(), "type": field.data_type().to_string(), "fields": [] })
    });
    let fields: Vec<Value> = fields.collect();
    Ok(facet("SchemaDatasetFacet", "1-2-0", json!({ "fields": fields })))
}

async fn columns(
    engine: &Engine,
    definitions: &Definitions,
    view: &FeatureView,
    (namespace, sources): (&str, &[PinnedTable]),
) -> Result<Value> {
    let mut fields = BTreeMap::new();
    for of in source_lineage(engine, definitions, view, sources).await? {
        // No table holds what is computed on demand.
        if is_on_demand(view, &of.feature) {
            continue;
        }
        let inputs = of.inputs.iter().filter_map(|input| {
            let table = input.table.as_ref()?;
            let (kind, subtype) =
                if input.is_value { ("DIRECT", "AGGREGATION") } else { ("INDIRECT", "FILTER") };
            Some(json!({
                "namespace": namespace, "name": table.as_str(), "field": input.column,
                "transformations": [{ "type": kind, "subtype": subtype }],
            }))
        });
        let inputs: Vec<Value> = inputs.collect();
        fields.insert(of.feature, json!({ "inputFields": inputs }));
    }
    Ok(facet("ColumnLineageDatasetFacet", "1-2-0", json!({ "fields": fields, "dataset": [] })))
}

fn statistics(snapshot: &SnapshotInfo) -> Value {
    let body = json!({
        "rowCount": snapshot.count("added-records"),
        "size": snapshot.count("added-files-size"),
    });
    let name = "OutputStatisticsOutputDatasetFacet";
    json!({ "outputStatistics": facet(name, "1-0-2", body) })
}

/// The run that the snapshot names, else a UUID (version 8) that is the same every time for one
/// snapshot.
fn run_id(snapshot: &SnapshotInfo) -> String {
    let named = snapshot.summary.get(RUN_ID).map(|run| run.replace('-', ""));
    let is_uuid = |run: &str| run.len() == 32 && run.bytes().all(|digit| digit.is_ascii_hexdigit());
    if let Some(run) = named.filter(|run| is_uuid(run)) {
        return hyphenated(&run);
    }
    let digest = Sha256::digest(format!("icecore run {}", snapshot.id));
    let mut bytes = [0_u8; 16];
    for (byte, hashed) in bytes.iter_mut().zip(digest) {
        *byte = hashed;
    }
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    hyphenated(&bytes.map(|byte| format!("{byte:02x}")).concat())
}

/// 32 hexadecimal digits in the groups of a UUID.
fn hyphenated(digits: &str) -> String {
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

#[cfg(test)]
mod tests {
    use icecore_core::RunId;

    use super::*;
    use crate::fixture::{Lakehouse, VIEWS, events};
    use crate::{ComputeOptions, compute_view};

    // The parts that the specification requires, and the columns behind a rate.
    #[tokio::test]
    async fn a_computation_is_told_as_a_run_with_the_columns_it_used() {
        let lake = Lakehouse::open(1).await;
        let pin = lake.append(&events(1, 40), 40).await;
        let definitions = Definitions::parse("f.toml", VIEWS).unwrap();
        let view = "user_transaction_features";
        let run = Some(RunId::new("0198f2a1b3c47d5e8f00112233445566"));
        let options = ComputeOptions { run, ..ComputeOptions::default() };
        let report = compute_view(&lake.engine, &definitions, view, options).await.unwrap();
        let names = ("iceberg://lakehouse", "churn");
        let told = lineage_events(&lake.engine, &definitions, view, names).await.unwrap();
        assert_eq!(told.len(), 2);
        for event in &told {
            for key in ["eventType", "eventTime", "producer", "schemaURL", "run", "job"] {
                assert!(event.get(key).is_some(), "{key}");
            }
            let id = event["run"]["runId"].as_str().unwrap();
            assert_eq!(id, "0198f2a1-b3c4-7d5e-8f00-112233445566");
            assert_eq!(event["job"]["name"], "features.user_transaction_features");
            let version = &event["inputs"][0]["facets"]["version"];
            assert_eq!(version["datasetVersion"], pin.snapshot.to_string());
            assert!(version["_schemaURL"].is_string() && version["_producer"].is_string());
        }
        assert_eq!(told[0]["run"], told[1]["run"]);
        let output = &told[1]["outputs"][0];
        assert_eq!(output["name"], "ml_features.user_transaction_features");
        assert_eq!(output["outputFacets"]["outputStatistics"]["rowCount"], report.rows);
        let rate = &output["facets"]["columnLineage"]["fields"]["decline_rate_30d"]["inputFields"];
        let found: Vec<(&str, &str)> = rate
            .as_array()
            .unwrap()
            .iter()
            .map(|input| {
                let kind = input["transformations"][0]["type"].as_str().unwrap();
                (input["field"].as_str().unwrap(), kind)
            })
            .collect();
        let indirect = "INDIRECT";
        assert_eq!(
            found,
            [
                ("event_timestamp", indirect),
                ("status", indirect),
                ("txn_id", "DIRECT"),
                ("user_token", indirect)
            ]
        );
        let error = lineage_events(&lake.engine, &definitions, "none", names).await;
        assert!(error.is_err());
    }
}
