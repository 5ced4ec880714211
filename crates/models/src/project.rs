//! A project's models, seeds, sources and tests, as its files say them.

mod assemble;
mod data_tests;
mod dbt;
mod files;
mod node;
mod properties;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use icecore_core::{Error, Result, TableName, Timestamp};

use crate::graph;
use crate::template::{Rendered, Surroundings, Template, render};
use crate::yaml::Object;

pub(crate) use assemble::sha256;
pub use node::{Column, Node, NodeKind, SourceTable, TestSpec, Threshold, UnitTest};

/// How to read a project.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoadOptions {
    /// The namespace of models that name none. Absent: in a dbt project the schema of its profile;
    /// otherwise the first folder under `models/`.
    pub schema: Option<String>,
    /// Values of `var`, over those of the project.
    pub vars: Object,
    /// What `env_var` may see.
    pub environment: BTreeMap<String, String>,
    /// When the run began.
    pub started_at: Timestamp,
    /// The run's id.
    pub run_id: String,
    /// Whether every incremental model is built anew.
    pub full_refresh: bool,
}

impl LoadOptions {
    /// A run that began at a moment.
    #[must_use]
    pub fn new(started_at: Timestamp) -> Self {
        Self {
            schema: None,
            vars: Object::new(),
            environment: BTreeMap::new(),
            started_at,
            run_id: uuid::Uuid::now_v7().to_string(),
            full_refresh: false,
        }
    }
}

/// A project's models, seeds, sources and tests: read, rendered once to see what they name, and
/// put in order.
#[derive(Debug, Clone)]
pub struct ModelProject {
    /// The project's directory.
    pub dir: PathBuf,
    /// Its name.
    pub name: String,
    /// Models, seeds and tests by their unique ids.
    pub nodes: BTreeMap<String, Node>,
    /// Declared sources by their unique ids.
    pub sources: BTreeMap<String, SourceTable>,
    /// Unit tests by their unique ids.
    pub unit_tests: BTreeMap<String, UnitTest>,
    /// The unique ids of models and seeds, what is named before what names it.
    pub order: Vec<String>,
    pub(crate) surroundings: Surroundings,
}

impl ModelProject {
    /// Reads a project: `dbt_project.yml` if there is one, `models/`, `macros/`, `seeds/`, `tests/`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` and `NotFound` with file and line: every mistake, the first with the others
    /// related to it.
    pub fn load(dir: &Path, options: LoadOptions) -> Result<Self> {
        let dbt = dbt::DbtProject::read(dir)?;
        let read = files::Files::read(dir, &dbt)?;
        let mut vars = dbt.vars.clone();
        vars.extend(options.vars.clone());
        let schema = options.schema.clone().or_else(|| dbt.schema.clone());
        let surroundings = Surroundings {
            macros: Arc::new(read.macros.clone()),
            vars,
            environment: options.environment,
            started_at: options.started_at,
            run_id: options.run_id,
            project: dbt.name.clone(),
            schema: schema.clone().unwrap_or_else(|| node::SCHEMA.to_owned()),
            full_refresh: options.full_refresh,
        };
        let assembled = assemble::assemble(&dbt, &read, &surroundings, schema.as_deref())?;
        let order = graph::order(&assembled.nodes)?;
        Ok(Self {
            dir: dir.to_owned(),
            name: dbt.name,
            nodes: assembled.nodes,
            sources: assembled.sources,
            unit_tests: assembled.unit_tests,
            order,
            surroundings,
        })
    }

    /// A node by its unique id.
    ///
    /// # Errors
    ///
    /// `NotFound` for an id that nothing has.
    pub fn node(&self, id: &str) -> Result<&Node> {
        self.nodes.get(id).ok_or_else(|| Error::not_found(format!("there is no node `{id}`")))
    }

    /// The run's id.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.surroundings.run_id
    }

    /// When the run began.
    #[must_use]
    pub const fn started_at(&self) -> Timestamp {
        self.surroundings.started_at
    }

    /// The SQL of a node.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with the place in the file.
    pub fn compile(&self, node: &Node, is_incremental: bool) -> Result<String> {
        self.render(node, is_incremental, &self.surroundings).map(|rendered| rendered.text)
    }

    pub(crate) fn render(
        &self,
        node: &Node,
        is_incremental: bool,
        surroundings: &Surroundings,
    ) -> Result<Rendered> {
        let template = Template {
            file: &node.file,
            text: &node.text,
            name: &node.name,
            this: node.relation.clone(),
            is_incremental,
            execute: true,
            config: node.config.raw.clone(),
            relations: self.relations(node),
        };
        render(surroundings, &template)
    }

    /// What `ref` and `source` mean in a node.
    fn relations(&self, node: &Node) -> BTreeMap<String, TableName> {
        let refs = node.refs.iter().filter_map(|name| {
            let found = node.depends_on.iter().filter_map(|id| self.nodes.get(id));
            let found = found.filter(|other| other.name == *name).find_map(|n| n.relation.clone());
            Some((format!("ref {name}"), found?))
        });
        let sources = node.sources.iter().filter_map(|(source, table)| {
            let declared = self
                .sources
                .values()
                .find(|declared| declared.source_name == *source && declared.name == *table);
            let relation = match declared {
                Some(declared) => declared.relation.clone(),
                None => TableName::parse(&format!("{source}.{table}")).ok()?,
            };
            Some((format!("source {source}.{table}"), relation))
        });
        refs.chain(sources).collect()
    }
}
