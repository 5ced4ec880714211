//! From files to nodes: rendered once to see what they name, then bound to each other.

mod bind;
mod said;

use std::collections::BTreeMap;

use icecore_core::{Error, Location, Result, TableName};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::dbt::DbtProject;
use super::files::{Files, SourceFile};
use super::properties::Properties;
use super::{Node, NodeKind, SourceTable, UnitTest, data_tests, node};
use crate::config::{NodeConfig, lay_over};
use crate::template::{Rendered, Surroundings, Template, render};
use crate::yaml::Object;

/// Everything that a project has.
#[derive(Debug, Default)]
pub(super) struct Assembled {
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) sources: BTreeMap<String, SourceTable>,
    pub(super) unit_tests: BTreeMap<String, UnitTest>,
}

struct Work<'p> {
    dbt: &'p DbtProject,
    surroundings: &'p Surroundings,
    schema: Option<&'p str>,
    properties: Properties,
    done: Assembled,
    errors: Vec<Error>,
}

pub(super) fn assemble(
    dbt: &DbtProject,
    files: &Files,
    surroundings: &Surroundings,
    schema: Option<&str>,
) -> Result<Assembled> {
    let properties = Properties::read(&dbt.name, &files.properties)?;
    let done = Assembled::default();
    let mut work = Work { dbt, surroundings, schema, properties, done, errors: Vec::new() };
    for file in &files.models {
        work.add(NodeKind::Model, file);
    }
    for file in &files.seeds {
        work.add(NodeKind::Seed, file);
    }
    for file in &files.tests {
        work.add(NodeKind::Test, file);
    }
    work.check_described();
    work.add_sources();
    work.add_data_tests();
    work.bind();
    work.add_unit_tests();
    let mut errors = work.errors.into_iter();
    match errors.next() {
        Some(first) => Err(first.with_related(errors.collect())),
        None => Ok(work.done),
    }
}

impl Work<'_> {
    fn add(&mut self, kind: NodeKind, file: &SourceFile) {
        match self.node(kind, file) {
            Ok(Some(node)) => {
                let taken = self.done.nodes.values().find(|other| {
                    other.name == node.name
                        && other.kind != NodeKind::Test
                        && kind != NodeKind::Test
                });
                if let Some(other) = taken {
                    let error = Error::invalid(format!("there are two nodes `{}`", node.name))
                        .with_note(format!("the other one is `{}`", other.file));
                    self.errors.push(at(error, &node.file));
                } else {
                    self.done.nodes.insert(node.unique_id.clone(), node);
                }
            }
            Ok(None) => {}
            Err(error) => {
                let placed = if error.location().is_some() { error } else { at(error, &file.file) };
                self.errors.push(placed);
            }
        }
    }

    fn node(&self, kind: NodeKind, file: &SourceFile) -> Result<Option<Node>> {
        let name = file.stem().to_owned();
        let mut fqn = vec![self.dbt.name.clone()];
        fqn.extend(file.folders().map(str::to_owned));
        fqn.push(name.clone());
        let said = match kind {
            NodeKind::Model => self.properties.nodes.get(&("models", name.clone())),
            NodeKind::Seed => self.properties.nodes.get(&("seeds", name.clone())),
            NodeKind::Test => None,
        };
        let mut settings = self.dbt.settings(kind, &fqn)?;
        if let Some(said) = said {
            lay_over(&mut settings, &said.config);
        }
        let rendered = match kind {
            NodeKind::Seed => Rendered::default(),
            _ => self.look(&name, file, &settings)?,
        };
        lay_over(&mut settings, &rendered.config);
        let test = match kind {
            NodeKind::Test => Some(data_tests::spec(&settings, None, None, Object::new(), None)?),
            _ => None,
        };
        let config = match kind {
            NodeKind::Test => NodeConfig::read(only_common(&settings))?,
            _ => NodeConfig::read(settings)?,
        };
        if !config.enabled {
            return Ok(None);
        }
        let relation = match kind {
            NodeKind::Test => None,
            _ => Some(self.relation(&name, file, &config)?),
        };
        let hash = self.hash(&file.text, &config, &rendered);
        Ok(Some(Node {
            unique_id: format!("{}.{}.{name}", kind.name(), self.dbt.name),
            kind,
            fqn,
            path: file.path.clone(),
            file: file.file.clone(),
            text: file.text.clone(),
            description: said.map(|said| said.description.clone()).unwrap_or_default(),
            columns: said.map(|said| said.columns.clone()).unwrap_or_default(),
            relation,
            refs: unique(rendered.refs),
            sources: unique(rendered.sources),
            macros: rendered.macros.into_iter().collect(),
            depends_on: Vec::new(),
            hash,
            checksum: sha256(file.text.as_bytes()),
            config,
            test,
            name,
        }))
    }

    /// Renders a file for what it names, once as a full run and once as an incremental one: what
    /// stands in either is needed.
    fn look(&self, name: &str, file: &SourceFile, settings: &Object) -> Result<Rendered> {
        let mut template = Template {
            file: &file.file,
            text: &file.text,
            name,
            this: Some(TableName::parse(&format!("unresolved.{name}"))?),
            is_incremental: false,
            execute: false,
            config: settings.clone(),
            relations: BTreeMap::new(),
        };
        let mut full = render(self.surroundings, &template)?;
        template.is_incremental = true;
        let more = render(self.surroundings, &template)?;
        full.refs.extend(more.refs);
        full.sources.extend(more.sources);
        full.macros.extend(more.macros);
        full.vars.extend(more.vars);
        Ok(full)
    }

    fn relation(&self, name: &str, file: &SourceFile, config: &NodeConfig) -> Result<TableName> {
        let folder = file.folders().next();
        let namespace = config.schema.as_deref().or(self.schema).or(folder).unwrap_or(node::SCHEMA);
        TableName::parse(&format!("{namespace}.{}", config.alias.as_deref().unwrap_or(name)))
    }

    fn hash(&self, text: &str, config: &NodeConfig, rendered: &Rendered) -> String {
        let mut hash = Sha256::new();
        hash.update("icecore model 1\n");
        hash.update(squeezed(text));
        hash.update(serde_json::to_string(&config.raw).unwrap_or_default());
        hash.update(serde_json::to_string(&rendered.vars).unwrap_or_default());
        for file in self.surroundings.macros.iter() {
            if file.names().any(|name| rendered.macros.contains(name)) {
                hash.update(squeezed(file.text()));
            }
        }
        hex(&hash.finalize())
    }

    /// What is described has to be there.
    fn check_described(&mut self) {
        for ((kind, name), said) in &self.properties.nodes {
            let wanted = if *kind == "models" { NodeKind::Model } else { NodeKind::Seed };
            let of_kind = || self.done.nodes.values().filter(|node| node.kind == wanted);
            let is_off = said.config.get("enabled") == Some(&Value::Bool(false));
            if !is_off && !of_kind().any(|node| node.name == *name) && self.errors.is_empty() {
                let names: Vec<&str> = of_kind().map(|node| node.name.as_str()).collect();
                let error =
                    Error::not_found(format!("`{name}` is described, and there is no such file"))
                        .with_candidates(name, names);
                self.errors.push(at(error, &said.file));
            }
        }
    }

    fn add_sources(&mut self) {
        for (source, _) in &self.properties.sources {
            self.done.sources.insert(source.unique_id.clone(), source.clone());
        }
    }
}

fn at(error: Error, file: &str) -> Error {
    if error.location().is_some() {
        return error;
    }
    error.at(Location::of_file(file))
}

/// What tests share with models.
fn only_common(settings: &Object) -> Object {
    let common =
        settings.iter().filter(|(key, _)| ["enabled", "tags", "meta"].contains(&key.as_str()));
    common.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn unique<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut once = Vec::new();
    for one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}

/// A text with its layout taken out: runs of white space outside of quotes are one blank.
fn squeezed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quote = None;
    for c in text.trim().chars() {
        match quote {
            Some(open) => {
                out.push(c);
                if c == open {
                    quote = None;
                }
            }
            None if c.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            None => {
                if c == '\'' || c == '"' {
                    quote = Some(c);
                }
                out.push(c);
            }
        }
    }
    out
}

/// The SHA-256 of bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
