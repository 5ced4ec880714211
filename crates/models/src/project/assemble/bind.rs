//! What nodes name, found among the nodes and sources that there are.

use std::collections::BTreeMap;

use icecore_core::{Error, Location};

use super::{Work, at};
use crate::project::{Node, NodeKind};

impl Work<'_> {
    /// Finds what nodes name.
    pub(super) fn bind(&mut self) {
        let ids: BTreeMap<String, String> = self
            .done
            .nodes
            .values()
            .filter(|node| node.kind != NodeKind::Test)
            .map(|node| (node.name.clone(), node.unique_id.clone()))
            .collect();
        let sources: BTreeMap<(String, String), String> = self
            .done
            .sources
            .values()
            .map(|source| {
                ((source.source_name.clone(), source.name.clone()), source.unique_id.clone())
            })
            .collect();
        for node in self.done.nodes.values_mut() {
            for name in &node.refs {
                match ids.get(name) {
                    Some(id) => node.depends_on.push(id.clone()),
                    None => self.errors.push(unknown_ref(node, name, &ids, &sources)),
                }
            }
            for (source, table) in &node.sources {
                let declared = sources.get(&(source.clone(), table.clone()));
                match declared {
                    Some(id) => node.depends_on.push(id.clone()),
                    None if sources.keys().any(|(known, _)| known == source) => {
                        self.errors.push(unknown_source(node, source, table, &sources));
                    }
                    // A table of the catalog by its own name needs no declaration.
                    None => {}
                }
            }
            node.depends_on.sort();
            node.depends_on.dedup();
        }
    }
}

fn unknown_ref(
    node: &Node,
    name: &str,
    ids: &BTreeMap<String, String>,
    sources: &BTreeMap<(String, String), String>,
) -> Error {
    let names: Vec<&str> = ids.keys().map(String::as_str).collect();
    let error = Error::not_found(format!("`{}` names an unknown model `{name}`", node.name))
        .with_note(format!("models and seeds: {}", names.join(", ")))
        .with_candidates(name, names.iter().copied());
    let error = match sources.keys().find(|(_, table)| table == name) {
        Some((source, table)) => error.with_help(format!("write `source('{source}', '{table}')`")),
        None if error.help().is_none() => error.with_help(format!(
            "a table that no model makes is read as `source('NAMESPACE', '{name}')`"
        )),
        None => error,
    };
    placed(error, node, name)
}

fn unknown_source(
    node: &Node,
    source: &str,
    table: &str,
    sources: &BTreeMap<(String, String), String>,
) -> Error {
    let tables: Vec<&str> = sources
        .keys()
        .filter(|(known, _)| known == source)
        .map(|(_, table)| table.as_str())
        .collect();
    let error = Error::not_found(format!("source `{source}` declares no table `{table}`"))
        .with_note(format!("it declares: {}", tables.join(", ")))
        .with_candidates(table, tables.iter().copied());
    placed(error, node, table)
}

/// The place in a node's text where a name stands.
fn placed(error: Error, node: &Node, name: &str) -> Error {
    let quoted = [format!("'{name}'"), format!("\"{name}\"")];
    let offset = quoted.iter().find_map(|quoted| node.text.find(quoted.as_str()));
    match offset {
        Some(offset) if node.test.as_ref().is_none_or(|test| test.name.is_none()) => {
            error.at(Location::of_offset(&node.file, &node.text, offset))
        }
        _ => at(error, &node.file),
    }
}
