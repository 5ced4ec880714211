//! Before a run: which test waits for which model, and what names mean.

use std::collections::{BTreeMap, BTreeSet};

use icecore_core::{Error, ErrorKind, Result, TableName};
use icecore_engine::{Engine, Scope};

use crate::config::Materialized;
use crate::project::{ModelProject, Node, NodeKind};

/// The tests that gate each model: each test the last of the models that it looks at.
pub(super) fn gates<'r>(
    project: &'r ModelProject,
    built: &[&Node],
    selected: &BTreeSet<String>,
    excluded: &BTreeSet<String>,
) -> BTreeMap<String, Vec<&'r Node>> {
    let mut gates: BTreeMap<String, Vec<&Node>> = BTreeMap::new();
    let tests = project.nodes.values().filter(|node| node.kind == NodeKind::Test);
    for test in tests.filter(|test| !excluded.contains(&test.unique_id)) {
        let last = built.iter().rev().find(|node| looks_at(project, test, &node.unique_id));
        let Some(last) = last else { continue };
        // A test that is left out by its own name does not gate.
        let is_meant = selected.contains(&test.unique_id)
            || test.depends_on.iter().any(|id| selected.contains(id));
        if is_meant {
            gates.entry(last.unique_id.clone()).or_default().push(test);
        }
    }
    gates
}

/// Whether a test looks at a model, itself or by way of ephemeral ones.
fn looks_at(project: &ModelProject, test: &Node, id: &str) -> bool {
    test.depends_on.iter().any(|parent| {
        parent == id
            || project.nodes.get(parent).is_some_and(|node| {
                node.kind == NodeKind::Model
                    && node.config.materialized == Materialized::Ephemeral
                    && looks_at(project, node, id)
            })
    })
}

/// Selected tests that gate nothing: of sources, or where only tests are run.
pub(super) fn loose_tests<'r>(
    project: &'r ModelProject,
    selected: &BTreeSet<String>,
    gates: &BTreeMap<String, Vec<&Node>>,
    only_tests: bool,
) -> Vec<&'r Node> {
    let gating: BTreeSet<&str> =
        gates.values().flatten().map(|test| test.unique_id.as_str()).collect();
    project
        .nodes
        .values()
        .filter(|node| node.kind == NodeKind::Test && !gating.contains(node.unique_id.as_str()))
        .filter(|test| {
            selected.contains(&test.unique_id)
                || only_tests && test.depends_on.iter().any(|id| selected.contains(id))
        })
        .collect()
}

/// What each model waits for: what it needs, by way of ephemeral models too, and what its tests
/// look at.
pub(super) fn waits(
    project: &ModelProject,
    built: &[&Node],
    gates: &BTreeMap<String, Vec<&Node>>,
) -> BTreeMap<String, BTreeSet<String>> {
    let ids: BTreeSet<&str> = built.iter().map(|node| node.unique_id.as_str()).collect();
    let mut waits = BTreeMap::new();
    for node in built {
        let mut found: BTreeSet<String> = BTreeSet::new();
        let mut open: Vec<&String> = node.depends_on.iter().collect();
        for test in gates.get(&node.unique_id).into_iter().flatten() {
            open.extend(&test.depends_on);
        }
        while let Some(id) = open.pop() {
            if ids.contains(id.as_str()) {
                found.insert(id.clone());
            } else if let Some(between) = project.nodes.get(id) {
                open.extend(&between.depends_on);
            }
        }
        found.remove(&node.unique_id);
        waits.insert(node.unique_id.clone(), found);
    }
    waits
}

/// What names mean when a run begins: ephemeral models their queries, tables their states at one
/// moment.
pub(super) async fn scope(
    engine: &Engine,
    project: &ModelProject,
    built: &[&Node],
    gates: &BTreeMap<String, Vec<&Node>>,
    loose: &[&Node],
) -> Result<Scope> {
    let mut scope = Scope::default();
    let mut queries: Vec<(&Node, String)> = Vec::new();
    let ephemeral = project.nodes.values().filter(|node| {
        node.kind == NodeKind::Model && node.config.materialized == Materialized::Ephemeral
    });
    for node in ephemeral {
        let sql = project.compile(node, false)?;
        if let Some(name) = &node.relation {
            scope = scope.with_view(name.clone(), trimmed(&sql));
        }
        queries.push((node, sql));
    }
    let tests = gates.values().flatten().chain(loose).copied();
    for node in built.iter().copied().filter(|node| node.kind == NodeKind::Model).chain(tests) {
        for is_incremental in [false, true] {
            // What cannot be compiled fails when its turn comes.
            if let Ok(sql) = project.compile(node, is_incremental) {
                queries.push((node, sql));
            }
        }
    }
    let made: BTreeSet<&TableName> =
        built.iter().filter_map(|node| node.relation.as_ref()).collect();
    let mut wanted: BTreeMap<TableName, &Node> = BTreeMap::new();
    for (node, sql) in &queries {
        for name in engine.names(sql).await.unwrap_or_default() {
            if !made.contains(&name) {
                wanted.entry(name).or_insert(node);
            }
        }
    }
    // A model's own table is read at its newest state, when its turn comes.
    let names: Vec<TableName> = wanted.keys().cloned().collect();
    let known = names_that_exist(engine, project, &names, &wanted).await?;
    for pin in engine.pin_tables(&known, &scope).await? {
        scope = scope.with_pin(pin);
    }
    Ok(scope)
}

/// The names without those of ephemeral models and of models that are not built yet.
async fn names_that_exist(
    engine: &Engine,
    project: &ModelProject,
    names: &[TableName],
    wanted: &BTreeMap<TableName, &Node>,
) -> Result<Vec<TableName>> {
    use icecore_core::SnapshotCatalog as _;
    let tables: BTreeSet<TableName> = engine.catalog().tables().await?.into_iter().collect();
    let views = engine.views().await?;
    let mut known = Vec::new();
    for name in names {
        if tables.contains(name) || views.contains_key(name) {
            known.push(name.clone());
            continue;
        }
        let made_by = project.nodes.values().find(|node| node.relation.as_ref() == Some(name));
        match made_by {
            Some(node)
                if node.kind == NodeKind::Model
                    && node.config.materialized == Materialized::Ephemeral => {}
            Some(node) => {
                let by = wanted.get(name).map_or("", |node| node.name.as_str());
                return Err(Error::not_found(format!(
                    "`{by}` needs `{name}`, which was not built yet"
                ))
                .with_note(format!("`{}` makes it", node.name))
                .with_help(format!("run it too: `icecore run --select +{by}`")));
            }
            None => {
                let by = wanted.get(name).copied();
                let all = tables.iter().chain(views.keys()).map(TableName::as_str);
                let listed: Vec<&str> = tables.iter().take(20).map(TableName::as_str).collect();
                let error = Error::new(ErrorKind::NotFound, format!("there is no table `{name}`"))
                    .with_note(format!("`{}` reads it", by.map_or("", |node| node.name.as_str())))
                    .with_note(format!("tables: {}", listed.join(", ")))
                    .with_candidates(name.as_str(), all);
                return Err(match by {
                    Some(node) => error.at(icecore_core::Location {
                        file: node.file.clone(),
                        line: 0,
                        column: 0,
                    }),
                    None => error,
                });
            }
        }
    }
    Ok(known)
}

/// A query without the semicolon at its end.
pub(crate) fn trimmed(sql: &str) -> &str {
    sql.trim().trim_end_matches(';').trim_end()
}
