//! What is built before what.

use std::collections::{BTreeMap, BTreeSet};

use icecore_core::{Error, Location, Result};

use crate::project::{Node, NodeKind};

/// Models and seeds in an order in which each comes after what it names; of those that could come
/// next, the first by id.
///
/// # Errors
///
/// `InvalidInput` with the path of a cycle.
pub(crate) fn order(nodes: &BTreeMap<String, Node>) -> Result<Vec<String>> {
    let built = |id: &String| nodes.get(id).is_some_and(|node| node.kind != NodeKind::Test);
    let mut open: BTreeMap<&String, BTreeSet<&String>> = nodes
        .iter()
        .filter(|(id, _)| built(id))
        .map(|(id, node)| (id, node.depends_on.iter().filter(|id| built(id)).collect()))
        .collect();
    let mut order = Vec::with_capacity(open.len());
    while !open.is_empty() {
        let next = open.iter().find(|(_, waits)| waits.is_empty()).map(|(id, _)| *id);
        let Some(id) = next else { return Err(cycle(nodes, &open)) };
        open.remove(id);
        for waits in open.values_mut() {
            waits.remove(id);
        }
        order.push(id.clone());
    }
    Ok(order)
}

/// The error for models that name each other in a circle.
fn cycle(nodes: &BTreeMap<String, Node>, open: &BTreeMap<&String, BTreeSet<&String>>) -> Error {
    let mut path: Vec<&String> = Vec::new();
    let mut at = open.keys().next().copied();
    while let Some(id) = at {
        if let Some(start) = path.iter().position(|seen| *seen == id) {
            path.drain(..start);
            path.push(id);
            break;
        }
        path.push(id);
        at = open.get(id).and_then(|waits| waits.iter().next().copied());
    }
    let name =
        |id: &String| nodes.get(id).map_or(id.as_str(), |node| node.name.as_str()).to_owned();
    let names: Vec<String> = path.iter().map(|id| name(id)).collect();
    let first = path.first().and_then(|id| nodes.get(*id));
    let error = Error::invalid("models name each other in a circle")
        .with_note(format!("{} (each needs the next)", names.join(" -> ")))
        .with_help("take one of these `ref`s out, or read the table as a `source`");
    match first {
        Some(node) => error.at(Location::of_file(node.file.clone())),
        None => error,
    }
}

/// Everything that a node needs, at any distance.
pub(crate) fn ancestors<'n>(nodes: &'n BTreeMap<String, Node>, id: &str) -> BTreeSet<&'n str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = vec![id];
    while let Some(at) = open.pop() {
        for parent in nodes.get(at).into_iter().flat_map(|node| &node.depends_on) {
            if found.insert(parent.as_str()) {
                open.push(parent);
            }
        }
    }
    found
}

/// Everything that needs a node, at any distance.
pub(crate) fn descendants<'n>(nodes: &'n BTreeMap<String, Node>, id: &str) -> BTreeSet<&'n str> {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut open: Vec<&str> = vec![id];
    while let Some(at) = open.pop() {
        for (child, node) in nodes {
            if node.depends_on.iter().any(|parent| parent == at) && found.insert(child) {
                open.push(child);
            }
        }
    }
    found
}
