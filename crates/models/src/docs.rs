//! What a project's models are: their SQL, their columns, and where these come from.

use std::collections::BTreeMap;

use icecore_core::{Result, TableName};
use icecore_engine::lineage::QueryLineage;
use icecore_engine::{Engine, Scope};

use crate::project::{ModelProject, Node, NodeKind};
use crate::run::trimmed;
use crate::select::Selection;

/// What a model is.
#[derive(Debug, Clone)]
pub struct ModelDocs {
    /// Its unique id.
    pub unique_id: String,
    /// Its name.
    pub name: String,
    /// Its table or view.
    pub table: Option<TableName>,
    /// How it is kept.
    pub materialized: &'static str,
    /// What it is about.
    pub description: String,
    /// What is said of its columns.
    pub columns: BTreeMap<String, String>,
    /// What it names.
    pub depends_on: Vec<String>,
    /// The hash of what it means.
    pub hash: String,
    /// Its SQL, as a full run has it.
    pub sql: String,
    /// Where its columns come from; `None` where the tables that it reads are not there yet.
    pub lineage: Option<QueryLineage>,
}

/// Says what the selected models are. Nothing is run: models that are not built yet are looked at
/// through their queries.
///
/// # Errors
///
/// Those of the selection; `InvalidInput` for a model that cannot be compiled.
pub async fn document(
    engine: &Engine,
    project: &ModelProject,
    selection: &Selection,
) -> Result<Vec<ModelDocs>> {
    let selected = selection.resolve(project)?;
    let models = project.order.iter().filter_map(|id| project.nodes.get(id));
    let mut scope = Scope::default();
    let mut all = Vec::new();
    for node in models.filter(|node| node.kind == NodeKind::Model) {
        let sql = trimmed(&project.compile(node, false)?).to_owned();
        if selected.contains(&node.unique_id) {
            let lineage = engine.lineage(&sql, &scope).await.ok();
            all.push(docs(node, sql.clone(), lineage));
        }
        // Whether it was built or not, its columns are those of its query.
        if let Some(name) = &node.relation {
            scope = scope.with_view(name.clone(), sql);
        }
    }
    Ok(all)
}

fn docs(node: &Node, sql: String, lineage: Option<QueryLineage>) -> ModelDocs {
    let columns = node.columns.iter();
    ModelDocs {
        unique_id: node.unique_id.clone(),
        name: node.name.clone(),
        table: node.relation.clone(),
        materialized: node.config.materialized.name(),
        description: node.description.clone(),
        columns: columns.map(|(name, column)| (name.clone(), column.description.clone())).collect(),
        depends_on: node.depends_on.clone(),
        hash: node.hash.clone(),
        sql,
        lineage,
    }
}
