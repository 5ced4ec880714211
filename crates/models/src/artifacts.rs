//! `target/`: compiled SQL, and what dbt's tools read: `manifest.json`, `run_results.json`.

mod manifest;
mod results;

use std::fs;
use std::path::{Path, PathBuf};

use icecore_core::{Error, Result, Timestamp};
use serde_json::{Value, json};

use crate::project::{ModelProject, NodeKind};
use crate::run::RunReport;
use crate::run::trimmed;

pub use manifest::manifest;
pub use results::run_results;

/// The version of dbt whose artifacts these are.
const DBT_VERSION: &str = "1.10.23";

/// What every artifact begins with.
fn metadata(project: &ModelProject, schema: &str, at: Timestamp) -> Value {
    json!({
        "dbt_schema_version": format!("https://schemas.getdbt.com/dbt/{schema}.json"),
        "dbt_version": DBT_VERSION,
        "generated_at": at.to_string(),
        "invocation_id": project.run_id(),
        "invocation_started_at": project.started_at().to_string(),
        "env": {},
    })
}

/// Writes the compiled SQL of every node, and the manifest, under `target/`.
///
/// # Errors
///
/// `Unavailable` if they cannot be written; `InvalidInput` for a model that cannot be compiled.
pub fn write_compiled(project: &ModelProject, at: Timestamp) -> Result<Vec<PathBuf>> {
    let target = project.dir.join("target");
    let mut written = Vec::new();
    for node in project.nodes.values().filter(|node| node.kind != NodeKind::Seed) {
        let sql = project.compile(node, false)?;
        let file = match &node.test {
            Some(spec) if spec.name.is_some() => format!("{}/{}", node.file, node.path),
            _ => node.file.clone(),
        };
        let path = target.join("compiled").join(&project.name).join(file);
        put(&path, trimmed(&sql).as_bytes())?;
        written.push(path);
    }
    let path = target.join("manifest.json");
    put_json(&path, &manifest(project, at)?)?;
    written.push(path);
    Ok(written)
}

/// Writes what a run did under `target/`: the results, and the SQL that was run.
///
/// # Errors
///
/// `Unavailable` if it cannot be written.
pub fn write_results(project: &ModelProject, report: &RunReport) -> Result<PathBuf> {
    let target = project.dir.join("target");
    for result in &report.results {
        let node = project.nodes.get(&result.unique_id);
        if let (Some(node), Some(sql)) = (node, &result.compiled)
            && node.kind == NodeKind::Model
        {
            put(&target.join("compiled").join(&project.name).join(&node.file), sql.as_bytes())?;
            put(&target.join("run").join(&project.name).join(&node.file), sql.as_bytes())?;
        }
    }
    let path = target.join("run_results.json");
    put_json(&path, &run_results(project, report))?;
    Ok(path)
}

fn put_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::internal("an artifact is no JSON").with_source(error))?;
    put(path, text.as_bytes())
}

/// Writes a file whole or not at all.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let unwritable = |error: std::io::Error| {
        Error::unavailable(format!("cannot write `{}`", path.display())).with_source(error)
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(unwritable)?;
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let draft = path.with_file_name(format!(".{name}.{}", std::process::id()));
    fs::write(&draft, bytes).map_err(unwritable)?;
    fs::rename(&draft, path).map_err(unwritable)
}
