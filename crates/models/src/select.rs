//! Which nodes are meant: `+user_features+`, `tag:nightly`, `path:models/staging`, `@orders`.

use std::collections::BTreeSet;

use icecore_core::{Error, Result};

use crate::graph::{ancestors, descendants};
use crate::project::{ModelProject, Node, NodeKind};

/// Which models and seeds a command is about.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Selection {
    /// What is meant; empty means everything. Parts that a space divides add up, parts that a comma
    /// divides have to hold all.
    pub select: Vec<String>,
    /// What is not.
    pub exclude: Vec<String>,
}

impl Selection {
    /// What is meant, and what not.
    #[must_use]
    pub fn new(select: Vec<String>, exclude: Vec<String>) -> Self {
        Self { select, exclude }
    }

    /// The unique ids that are meant.
    ///
    /// # Errors
    ///
    /// `NotFound` for a part that no node fits, naming the nearest.
    pub fn resolve(&self, project: &ModelProject) -> Result<BTreeSet<String>> {
        let mut found = if self.select.is_empty() {
            project.nodes.keys().cloned().collect()
        } else {
            all(project, &self.select)?
        };
        for out in all(project, &self.exclude)? {
            found.remove(&out);
        }
        Ok(found)
    }
}

fn all(project: &ModelProject, texts: &[String]) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for text in texts.iter().flat_map(|text| text.split_whitespace()) {
        let mut parts = text.split(',').map(|part| one(project, part));
        let mut common = parts.next().transpose()?.unwrap_or_default();
        for part in parts {
            let part = part?;
            common.retain(|id| part.contains(id));
        }
        found.extend(common);
    }
    Ok(found)
}

/// One part: `@name`, `2+name+3`, `tag:x+`.
fn one(project: &ModelProject, text: &str) -> Result<BTreeSet<String>> {
    let nodes = &project.nodes;
    let (is_closure, rest) = text.strip_prefix('@').map_or((false, text), |rest| (true, rest));
    let (up, rest) = match rest.split_once('+') {
        Some((depth, rest)) if depth.chars().all(|c| c.is_ascii_digit()) => {
            (Some(depth.parse::<usize>().unwrap_or(usize::MAX)), rest)
        }
        _ => (None, rest),
    };
    let (rest, down) = match rest.rsplit_once('+') {
        Some((rest, depth)) if depth.chars().all(|c| c.is_ascii_digit()) => {
            (rest, Some(depth.parse::<usize>().unwrap_or(usize::MAX)))
        }
        _ => (rest, None),
    };
    let named: Vec<&Node> = nodes.values().filter(|node| fits(node, rest)).collect();
    if named.is_empty() {
        let names: Vec<&str> = nodes
            .values()
            .filter(|node| node.kind != NodeKind::Test)
            .map(|node| node.name.as_str())
            .collect();
        return Err(Error::not_found(format!("no model, seed or test fits `{rest}`"))
            .with_note(format!("models and seeds: {}", names.join(", ")))
            .with_candidates(rest, names.iter().copied()));
    }
    let mut found: BTreeSet<String> = named.iter().map(|node| node.unique_id.clone()).collect();
    for node in &named {
        if let Some(depth) = up {
            found.extend(near(depth, &node.unique_id, |id| {
                nodes.get(id).into_iter().flat_map(|node| node.depends_on.clone()).collect()
            }));
        }
        if down.is_some() || is_closure {
            let depth = down.filter(|_| !is_closure).unwrap_or(usize::MAX);
            let children = near(depth, &node.unique_id, |id| {
                let named = nodes.values().filter(|node| node.depends_on.iter().any(|of| of == id));
                named.map(|node| node.unique_id.clone()).collect()
            });
            found.extend(children);
        }
    }
    if is_closure {
        // With everything that the descendants need.
        let below: Vec<String> = found.iter().cloned().collect();
        for id in below {
            found.extend(ancestors(nodes, &id).into_iter().map(str::to_owned));
        }
        for node in &named {
            found.extend(descendants(nodes, &node.unique_id).into_iter().map(str::to_owned));
        }
    }
    found.retain(|id| nodes.contains_key(id));
    Ok(found)
}

/// What lies at most so many steps away.
fn near(depth: usize, from: &str, next: impl Fn(&str) -> Vec<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut ring = vec![from.to_owned()];
    let mut steps = 0;
    while steps < depth && !ring.is_empty() {
        ring = ring.iter().flat_map(|id| next(id)).filter(|id| found.insert(id.clone())).collect();
        steps += 1;
    }
    found
}

fn fits(node: &Node, text: &str) -> bool {
    let (method, value) = match text.split_once(':') {
        Some((method, value)) => (method, value),
        None if text.contains('/') || text.ends_with(".sql") => ("path", text),
        None => ("fqn", text),
    };
    match method {
        "tag" => node.config.tags.iter().any(|tag| matches(value, tag)),
        "path" => {
            let value = value.trim_start_matches("./").trim_end_matches('/');
            node.file == value
                || node.file.starts_with(&format!("{value}/"))
                || matches(value, &node.file)
        }
        "file" => node.file.rsplit('/').next().is_some_and(|file| {
            matches(value, file) || matches(value, file.trim_end_matches(".sql"))
        }),
        "config.materialized" => {
            node.kind == NodeKind::Model && node.config.materialized.name() == value
        }
        "resource_type" => node.kind.name() == value,
        "test_type" => node.test.as_ref().is_some_and(|test| match value {
            "generic" => test.name.is_some(),
            "singular" => test.name.is_none(),
            _ => false,
        }),
        "source" => node.sources.iter().any(|(source, table)| {
            matches(value, source) || matches(value, &format!("{source}.{table}"))
        }),
        "fqn" => {
            matches(value, &node.name)
                || matches(value, &node.fqn.join("."))
                || matches(value, node.fqn.get(1..).unwrap_or_default().join(".").as_str())
                || node.fqn.iter().rev().skip(1).any(|folder| folder == value)
                || node.relation.as_ref().is_some_and(|name| name.as_str() == value)
        }
        _ => false,
    }
}

/// A pattern with `*` for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len()).filter_map(|at| tail.get(at..)).any(|tail| matches(rest, tail))
        }),
    }
}
