//! Running a project: each model on a branch, its tests there, then it is published.

mod build;
mod check;
mod keys;
mod land;
mod layout;
mod prepare;
mod report;
mod seed;
mod unit;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use icecore_core::{Clock, Error, PinnedTable, RefName, Result, TableName, Timestamp};
use icecore_engine::{Engine, Scope};

use crate::project::{ModelProject, Node, NodeKind};
use crate::select::Selection;

pub(crate) use prepare::trimmed;
pub use report::{NodeResult, RunReport, Status};

/// How to run.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunOptions {
    /// Which models, seeds and tests.
    pub selection: Selection,
    /// How many at once, where they do not need each other.
    pub threads: usize,
    /// What the time is.
    pub clock: Arc<dyn Clock>,
    /// Whether only tests are run, on the tables as they are.
    pub only_tests: bool,
    /// Told of what begins and what is done.
    pub progress: Option<ProgressCallback>,
}

impl RunOptions {
    /// Everything, four at once.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            selection: Selection::default(),
            threads: 4,
            clock,
            only_tests: false,
            progress: None,
        }
    }

    /// Only these.
    #[must_use]
    pub fn with_selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Only tests, on the tables as they are.
    #[must_use]
    pub const fn with_only_tests(mut self) -> Self {
        self.only_tests = true;
        self
    }

    /// Tells of what begins and what is done.
    #[must_use]
    pub fn with_progress(mut self, progress: ProgressCallback) -> Self {
        self.progress = Some(progress);
        self
    }
}

/// What is called when something begins or is done.
#[derive(Clone)]
pub struct ProgressCallback(Arc<dyn Fn(&str) + Send + Sync>);

impl ProgressCallback {
    /// Calls this with a line such as `building features.trips`.
    pub fn new(callback: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }
}

impl fmt::Debug for ProgressCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressCallback")
    }
}

/// What a run has in its hands.
struct Runner<'r> {
    engine: &'r Engine,
    project: &'r ModelProject,
    options: &'r RunOptions,
    /// What names mean: the pins of the start, what was built since.
    scope: Mutex<Scope>,
    /// The pins of the start.
    pins: Vec<PinnedTable>,
    /// The branch that this run builds on.
    branch: RefName,
    /// By model or seed: the tests that gate it.
    gates: BTreeMap<String, Vec<&'r Node>>,
}

/// Runs a project.
///
/// Sources are pinned at one moment when the run begins. Each model is built on a branch of its
/// table from those pins and from what this run built before; its tests look at the branch; then
/// `main` moves along to it. Where a test fails, or the process dies, `main` is as it was.
///
/// # Errors
///
/// Those of the selection and of pinning. What goes wrong with a model is in the report.
pub async fn run(
    engine: &Engine,
    project: &ModelProject,
    options: &RunOptions,
) -> Result<RunReport> {
    let began_at = options.clock.now();
    let selected = options.selection.resolve(project)?;
    let excluded = if options.selection.exclude.is_empty() {
        BTreeSet::new()
    } else {
        Selection::new(options.selection.exclude.clone(), Vec::new()).resolve(project)?
    };
    let built: Vec<&Node> = project
        .order
        .iter()
        .filter(|id| selected.contains(*id) && !options.only_tests)
        .filter_map(|id| project.nodes.get(id))
        .filter(|node| {
            node.config.materialized != crate::config::Materialized::Ephemeral
                || node.kind == NodeKind::Seed
        })
        .collect();
    let gates = prepare::gates(project, &built, &selected, &excluded);
    let loose = prepare::loose_tests(project, &selected, &gates, options.only_tests);
    let scope = prepare::scope(engine, project, &built, &gates, &loose).await?;
    let branch = branch_name(project.run_id())?;
    let runner = Runner {
        engine,
        project,
        options,
        pins: scope.pins().to_vec(),
        scope: Mutex::new(scope),
        branch,
        gates,
    };
    let mut results = runner.build_all(&built).await;
    if options.only_tests {
        for node in project.nodes.values().filter(|node| selected.contains(&node.unique_id)) {
            results.extend(runner.unit_tests(node).await);
        }
    }
    results.extend(runner.test_all(&loose).await);
    Ok(RunReport {
        run_id: project.run_id().to_owned(),
        started_at: project.started_at(),
        began_at,
        completed_at: options.clock.now(),
        pins: runner.pins,
        results,
    })
}

/// Branches of runs begin so.
const BRANCH: &str = "icecore-run-";

fn branch_name(run_id: &str) -> Result<RefName> {
    let short: String = run_id.chars().filter(char::is_ascii_alphanumeric).collect();
    RefName::parse(&format!("{BRANCH}{short}"))
}

impl Runner<'_> {
    fn say(&self, what: &str) {
        if let Some(progress) = &self.options.progress {
            (progress.0)(what);
        }
    }

    fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    fn scope(&self) -> Scope {
        self.scope.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was built is what its name means from here on.
    fn enter(&self, change: impl FnOnce(Scope) -> Scope) {
        let mut scope = self.scope.lock().unwrap_or_else(PoisonError::into_inner);
        *scope = change(std::mem::take(&mut scope));
    }

    /// Builds models and seeds, each after what it needs, several at once.
    async fn build_all(&self, built: &[&Node]) -> Vec<NodeResult> {
        let mut waits = prepare::waits(self.project, built, &self.gates);
        let needs = prepare::waits(self.project, built, &BTreeMap::new());
        let mut open: Vec<&Node> = built.to_vec();
        let mut failed: BTreeSet<String> = BTreeSet::new();
        let mut running = FuturesUnordered::new();
        let mut results = Vec::new();
        let total = built.len();
        let mut started = 0;
        loop {
            let is_ready = |node: &&Node| waits.get(&node.unique_id).is_none_or(BTreeSet::is_empty);
            while running.len() < self.options.threads.max(1) {
                let Some(at) = open.iter().position(is_ready) else { break };
                let node = open.remove(at);
                started += 1;
                let needed = needs.get(&node.unique_id);
                let blocked = needed.into_iter().flatten().find(|id| failed.contains(*id)).cloned();
                self.say(&format!("{started} of {total}: {} {}", node.kind.name(), node.name));
                running.push(async move {
                    let done = match blocked {
                        Some(id) => vec![self.skipped(node, &id)],
                        None => self.build(node).await,
                    };
                    (node, done)
                });
            }
            let Some((node, done)) = running.next().await else { break };
            if done.iter().any(|result| result.status.is_bad()) {
                failed.insert(node.unique_id.clone());
            }
            for waiting in waits.values_mut() {
                waiting.remove(&node.unique_id);
            }
            results.extend(done);
        }
        results
    }

    fn skipped(&self, node: &Node, because: &str) -> NodeResult {
        let mut result = self.blank(node);
        result.status = Status::Skipped;
        let name = self.project.nodes.get(because).map_or(because, |node| node.name.as_str());
        result.message = format!("`{name}` failed, which it needs");
        result
    }

    /// A result that nothing is known of yet.
    fn blank(&self, node: &Node) -> NodeResult {
        let is_model = node.kind == NodeKind::Model;
        NodeResult {
            unique_id: node.unique_id.clone(),
            name: node.name.clone(),
            kind: node.kind.name(),
            materialized: is_model.then(|| node.config.materialized.name()),
            status: Status::Success,
            message: String::new(),
            table: node.relation.clone(),
            snapshot: None,
            rows: None,
            failures: None,
            sample: None,
            warnings: Vec::new(),
            compiled: None,
            is_incremental: false,
            error: None,
            started_at: self.now(),
            completed_at: self.now(),
        }
    }

    fn failed(&self, mut result: NodeResult, error: Error) -> NodeResult {
        result.status = Status::Error;
        result.message = error.to_string();
        result.error = Some(error);
        result.completed_at = self.now();
        result
    }

    /// What a node's table is called.
    fn relation<'n>(&self, node: &'n Node) -> Result<&'n TableName> {
        node.relation
            .as_ref()
            .ok_or_else(|| Error::internal(format!("`{}` has no table", node.name)))
    }
}
