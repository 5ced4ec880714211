//! `manifest.json`, schema v12.

use std::collections::BTreeMap;

use icecore_core::{Result, Timestamp};
use serde_json::{Map, Value, json};

use super::metadata;
use crate::project::{Column, ModelProject, Node, NodeKind, SourceTable, UnitTest};
use crate::run::trimmed;
use crate::template::quoted;

/// What a project is, as dbt's tools read it.
///
/// # Errors
///
/// `InvalidInput` for a model that cannot be compiled.
pub fn manifest(project: &ModelProject, at: Timestamp) -> Result<Value> {
    let mut head = metadata(project, "manifest/v12", at);
    if let Some(head) = head.as_object_mut() {
        let more = json!({
            "project_name": project.name, "project_id": null, "user_id": null,
            "send_anonymous_usage_stats": false, "adapter_type": "icecore",
            "quoting": { "database": true, "schema": true, "identifier": true, "column": null },
            "run_started_at": project.started_at().to_string(),
        });
        head.extend(more.as_object().cloned().unwrap_or_default());
    }
    let mut nodes = Map::new();
    for (id, node) in &project.nodes {
        nodes.insert(id.clone(), of_node(project, node, at)?);
    }
    let sources: Map<String, Value> =
        project.sources.iter().map(|(id, s)| (id.clone(), of_source(project, s, at))).collect();
    let unit_tests: Map<String, Value> = project
        .unit_tests
        .iter()
        .map(|(id, test)| (id.clone(), of_unit_test(project, test, at)))
        .collect();
    let (parents, children) = families(project);
    Ok(json!({
        "metadata": head, "nodes": nodes, "sources": sources, "macros": {}, "docs": {},
        "exposures": {}, "metrics": {}, "groups": {}, "selectors": {}, "disabled": {},
        "parent_map": parents, "child_map": children, "group_map": {}, "saved_queries": {},
        "semantic_models": {}, "unit_tests": unit_tests,
    }))
}

type Family = BTreeMap<String, Vec<String>>;

fn families(project: &ModelProject) -> (Family, Family) {
    let mut parents = Family::new();
    let of_nodes = project.nodes.iter().map(|(id, node)| (id.clone(), node.depends_on.clone()));
    let of_sources = project.sources.keys().map(|id| (id.clone(), Vec::new()));
    let of_tests =
        project.unit_tests.iter().map(|(id, test)| (id.clone(), vec![test.model_id.clone()]));
    parents.extend(of_nodes.chain(of_sources).chain(of_tests));
    let mut children: Family = parents.keys().map(|id| (id.clone(), Vec::new())).collect();
    for (id, of) in &parents {
        for parent in of {
            children.entry(parent.clone()).or_default().push(id.clone());
        }
    }
    (parents, children)
}

fn of_node(project: &ModelProject, node: &Node, at: Timestamp) -> Result<Value> {
    let compiled = match node.kind {
        NodeKind::Seed => None,
        _ => Some(trimmed(&project.compile(node, false)?).to_owned()),
    };
    let refs =
        node.refs.iter().map(|name| json!({ "name": name, "package": null, "version": null }));
    let sources = node.sources.iter().map(|(source, table)| json!([source, table]));
    let macros: Vec<String> =
        node.macros.iter().map(|name| format!("macro.{}.{name}", project.name)).collect();
    let mut value = json!({
        "database": "icecore",
        "schema": node.relation.as_ref().map_or("dbt_test__audit", |name| name.namespace()),
        "name": node.name,
        "resource_type": node.kind.name(),
        "package_name": project.name,
        "path": node.path,
        "original_file_path": node.file,
        "unique_id": node.unique_id,
        "fqn": node.fqn,
        "alias": node.relation.as_ref().map_or(node.name.as_str(), |name| name.table()),
        "checksum": {
            "name": if node.checksum.is_empty() { "none" } else { "sha256" },
            "checksum": node.checksum,
        },
        "config": config(node),
        "tags": node.config.tags,
        "description": node.description,
        "columns": columns(&node.columns),
        "meta": node.config.raw.get("meta").cloned().unwrap_or_else(|| json!({})),
        "group": null,
        "docs": { "show": true, "node_color": null },
        "patch_path": null,
        "build_path": null,
        "unrendered_config": node.config.raw,
        "created_at": at.micros() as f64 / 1e6,
        "relation_name": node.relation.as_ref().map(quoted),
        "raw_code": node.text,
        "doc_blocks": [],
    });
    let Some(object) = value.as_object_mut() else { return Ok(value) };
    if node.kind == NodeKind::Seed {
        object.insert("root_path".to_owned(), json!(project.dir.display().to_string()));
        object.insert("depends_on".to_owned(), json!({ "macros": macros }));
        return Ok(value);
    }
    let more = json!({
        "language": "sql", "refs": refs.collect::<Vec<_>>(),
        "sources": sources.collect::<Vec<_>>(), "metrics": [],
        "depends_on": { "macros": macros, "nodes": node.depends_on },
        "compiled_path": format!("target/compiled/{}/{}", project.name, node.file),
        "compiled": true, "compiled_code": compiled, "extra_ctes_injected": true, "extra_ctes": [],
        "contract": { "enforced": false, "alias_types": true, "checksum": null },
    });
    object.extend(more.as_object().cloned().unwrap_or_default());
    object.extend(by_kind(node));
    Ok(value)
}

/// What only models or only tests have.
fn by_kind(node: &Node) -> Map<String, Value> {
    let value = match &node.test {
        None => json!({
            "access": "protected", "constraints": [], "version": null, "latest_version": null,
            "deprecation_date": null, "primary_key": [], "time_spine": null,
        }),
        Some(spec) => match &spec.name {
            Some(name) => {
                let mut arguments = spec.arguments.clone();
                if let Some(column) = &spec.column {
                    arguments.insert("column_name".to_owned(), json!(column));
                }
                json!({
                    "test_metadata": { "name": name, "kwargs": arguments, "namespace": null },
                    "column_name": spec.column, "attached_node": spec.attached,
                    "file_key_name": null,
                })
            }
            None => json!({}),
        },
    };
    value.as_object().cloned().unwrap_or_default()
}

/// Settings with dbt's defaults.
fn config(node: &Node) -> Value {
    let mut config = json!({
        "enabled": true, "alias": null, "schema": null, "database": null, "tags": [], "meta": {},
        "group": null, "materialized": node.config.materialized.name(),
    });
    let Some(object) = config.as_object_mut() else { return config };
    let more = match (node.kind, &node.test) {
        (_, Some(spec)) => json!({
            "materialized": "test", "schema": "dbt_test__audit",
            "severity": if spec.is_error { "ERROR" } else { "WARN" },
            "store_failures": null, "store_failures_as": null, "where": null,
            "limit": spec.limit, "fail_calc": "count(*)",
            "warn_if": spec.warn_if.to_string(), "error_if": spec.error_if.to_string(),
        }),
        (kind, None) => {
            let mut of_model = json!({
                "incremental_strategy": null, "batch_size": null, "lookback": 1, "begin": null,
                "persist_docs": {}, "post-hook": [], "pre-hook": [], "quoting": {},
                "column_types": {}, "full_refresh": null, "unique_key": null,
                "on_schema_change": "ignore", "on_configuration_change": "apply", "grants": {},
                "packages": [], "docs": { "show": true, "node_color": null },
                "contract": { "enforced": false, "alias_types": true }, "event_time": null,
                "concurrent_batches": null,
            });
            let own = if kind == NodeKind::Seed {
                json!({ "materialized": "seed", "delimiter": ",", "quote_columns": null })
            } else {
                json!({ "access": "protected", "freshness": null })
            };
            if let (Some(all), Some(own)) = (of_model.as_object_mut(), own.as_object()) {
                all.extend(own.clone());
            }
            of_model
        }
    };
    object.extend(more.as_object().cloned().unwrap_or_default());
    object.extend(node.config.raw.clone());
    object.insert("tags".to_owned(), json!(node.config.tags));
    config
}

fn columns(columns: &BTreeMap<String, Column>) -> Value {
    let all = columns.iter().map(|(name, column)| {
        let value = json!({
            "name": column.name, "description": column.description, "meta": column.meta,
            "data_type": column.data_type, "constraints": [], "quote": null,
            "config": { "meta": column.meta, "tags": column.tags }, "tags": column.tags,
            "granularity": null, "doc_blocks": [],
        });
        (name.clone(), value)
    });
    Value::Object(all.collect())
}

fn of_source(project: &ModelProject, source: &SourceTable, at: Timestamp) -> Value {
    let freshness = match &source.freshness {
        Value::Object(said) => {
            let limit = |key: &str| {
                said.get(key).cloned().unwrap_or_else(|| json!({ "count": null, "period": null }))
            };
            let filter = said.get("filter").cloned().unwrap_or(Value::Null);
            json!({
                "warn_after": limit("warn_after"), "error_after": limit("error_after"),
                "filter": filter,
            })
        }
        _ => Value::Null,
    };
    json!({
        "database": "icecore", "schema": source.relation.namespace(), "name": source.name,
        "resource_type": "source", "package_name": project.name, "path": source.file,
        "original_file_path": source.file, "unique_id": source.unique_id,
        "fqn": [project.name, source.source_name, source.name],
        "source_name": source.source_name, "source_description": "", "loader": "",
        "identifier": source.relation.table(),
        "quoting": { "database": null, "schema": null, "identifier": null, "column": null },
        "loaded_at_field": source.loaded_at_field, "loaded_at_query": null,
        "freshness": freshness, "external": null, "description": source.description,
        "columns": columns(&source.columns), "meta": {}, "source_meta": {}, "tags": source.tags,
        "config": {
            "enabled": true, "event_time": null, "freshness": freshness,
            "loaded_at_field": source.loaded_at_field, "loaded_at_query": null, "meta": {},
            "tags": source.tags,
        },
        "patch_path": null, "unrendered_config": {}, "relation_name": quoted(&source.relation),
        "created_at": at.micros() as f64 / 1e6, "unrendered_database": null,
        "unrendered_schema": source.relation.namespace(), "doc_blocks": [],
    })
}

fn of_unit_test(project: &ModelProject, test: &UnitTest, at: Timestamp) -> Value {
    let given = test.given.iter().map(|(input, rows)| {
        // The quotes were taken out to compare names.
        let input = match input.split_once('(') {
            Some((what, rest)) => {
                let names: Vec<String> =
                    rest.trim_end_matches(')').split(',').map(|name| format!("'{name}'")).collect();
                format!("{what}({})", names.join(", "))
            }
            None => input.clone(),
        };
        json!({ "input": input, "rows": rows, "format": "dict", "fixture": null })
    });
    let given: Vec<Value> = given.collect();
    json!({
        "model": test.model, "given": given,
        "expect": { "rows": test.expect, "format": "dict", "fixture": null },
        "name": test.name, "resource_type": "unit_test", "package_name": project.name,
        "path": test.file.rsplit('/').next().unwrap_or(&test.file),
        "original_file_path": test.file, "unique_id": test.unique_id,
        "fqn": [project.name, test.model, test.name], "description": test.description,
        "overrides": {
            "macros": { "is_incremental": test.is_incremental }, "vars": test.vars, "env_vars": {},
        },
        "depends_on": { "macros": [], "nodes": [test.model_id] },
        "config": { "tags": test.tags, "meta": {}, "enabled": true },
        "checksum": crate::project::sha256(
            serde_json::to_string(&test.raw).unwrap_or_default().as_bytes(),
        ),
        "schema": project.surroundings.schema, "created_at": at.micros() as f64 / 1e6,
        "versions": null, "version": null,
    })
}
