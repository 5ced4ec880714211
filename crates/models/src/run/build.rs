//! Building one model: compiled, written to a branch, tested, published.

use icecore_catalog::TableDescription;
use icecore_core::{
    CommitOptions, Error, ErrorKind, Location, PinnedTable, Result, SnapshotCatalog as _,
    SnapshotSelector, TableName,
};
use icecore_engine::{Narrowing, Scope, View};

use super::land::Draft;
use super::prepare::trimmed;
use super::{NodeResult, Runner, Status};
use crate::config::{Materialized, OnNarrowedWindow, Strategy};
use crate::contract;
use crate::project::{Node, NodeKind};

/// How often a model is built again because others committed to its table meanwhile.
const TRIES_MAX: u32 = 4;

/// What a model's query is, in this run.
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) is_incremental: bool,
    /// What it reads.
    pub(super) scope: Scope,
    /// The table as it is, if it is there.
    pub(super) existing: Option<(TableDescription, PinnedTable)>,
}

impl Runner<'_> {
    /// Builds a model or seed: its result comes last, after those of its tests.
    pub(super) async fn build(&self, node: &Node) -> Vec<NodeResult> {
        let mut all = self.unit_tests(node).await;
        let mut result = self.blank(node);
        if all.iter().any(|result| result.status.is_bad()) {
            result.status = Status::Skipped;
            "a unit test fails".clone_into(&mut result.message);
            all.push(result);
            return all;
        }
        let mut tries = 0;
        loop {
            tries += 1;
            let mut tests = Vec::new();
            let done = match (node.kind, node.config.materialized) {
                (NodeKind::Seed, _) => self.build_seed(node, &mut result, &mut tests).await,
                (_, Materialized::View) => self.build_view(node, &mut result, &mut tests).await,
                _ => self.build_table(node, &mut result, &mut tests).await,
            };
            match done {
                Err(error) if error.kind() == ErrorKind::Conflict && tries < TRIES_MAX => {
                    tracing::info!(model = %node.name, tries, %error, "building again");
                }
                Err(error) => {
                    all.extend(tests);
                    all.push(self.failed(result, error));
                    return all;
                }
                Ok(()) => {
                    all.extend(tests);
                    result.completed_at = self.now();
                    all.push(result);
                    return all;
                }
            }
        }
    }

    async fn build_view(
        &self,
        node: &Node,
        result: &mut NodeResult,
        tests: &mut Vec<NodeResult>,
    ) -> Result<()> {
        let name = self.relation(node)?;
        let sql = trimmed(&self.project.compile(node, false)?).to_owned();
        result.compiled = Some(sql.clone());
        let scope = self.scope().with_view(name.clone(), sql.clone());
        let select = format!("SELECT * FROM {}", crate::template::quoted(name));
        let columns = self.engine.schema_in(&sql, &self.scope()).await;
        let columns = columns.map_err(|e| self.placed(node, e))?;
        let kept = contract::check(self.engine, &self.scope(), node, &columns).await;
        kept.map_err(|e| self.placed(node, e))?;
        self.engine.schema_in(&select, &scope).await.map_err(|e| self.placed(node, e))?;
        self.gate(node, &scope, tests).await?;
        let view = View {
            name: name.clone(),
            sql: sql.clone(),
            made_by: node.unique_id.clone(),
            created_at: self.project.started_at(),
        };
        let pins = self.engine.pin_in(&sql, &self.scope(), &[]).await?;
        let commit = self.described(CommitOptions::default(), node, &sql, &pins);
        self.engine.put_view(&view, commit).await?;
        self.enter(|scope| scope.with_view(name.clone(), sql));
        "view".clone_into(&mut result.message);
        Ok(())
    }

    async fn build_table(
        &self,
        node: &Node,
        result: &mut NodeResult,
        tests: &mut Vec<NodeResult>,
    ) -> Result<()> {
        let name = self.relation(node)?;
        result.warnings.clear();
        let query = self.query(node, name, &mut result.warnings).await?;
        result.compiled = Some(query.sql.clone());
        result.is_incremental = query.is_incremental;
        let columns = self.engine.schema_in(&query.sql, &query.scope).await;
        let columns = columns.map_err(|error| self.placed(node, error))?;
        let kept = contract::check(self.engine, &query.scope, node, &columns).await;
        kept.map_err(|error| self.placed(node, error))?;
        let draft = self.prepare_table(node, name, &columns, &query).await?;
        let written = match self.write(node, name, &draft, &query).await {
            Ok(written) => written,
            Err(error) => {
                self.abandon(name, &draft).await;
                return Err(self.placed(node, error));
            }
        };
        self.finish(node, &draft, written, (result, tests)).await
    }

    /// Tests what was written to the branch, and publishes it.
    pub(super) async fn finish(
        &self,
        node: &Node,
        draft: &Draft,
        written: super::write::Written,
        (result, tests): (&mut NodeResult, &mut Vec<NodeResult>),
    ) -> Result<()> {
        let name = self.relation(node)?;
        let scope = self.scope().with_pin(written.pin.clone());
        let gated = match self.gate(node, &scope, tests).await {
            Ok(()) => self.publish(name, &written).await,
            Err(error) => Err(error),
        };
        if let Err(error) = gated {
            self.abandon(name, draft).await;
            return Err(error);
        }
        // What was a view under this name is a table from here on.
        self.engine.drop_view(name).await?;
        self.enter(|scope| scope.with_pin(written.pin.clone()));
        let is_empty = written.pin.snapshot == PinnedTable::EMPTY;
        result.snapshot = (!is_empty).then_some(written.pin.snapshot);
        result.rows = Some(written.rows);
        result.message = written.message;
        Ok(())
    }

    /// Asks the tests that gate a model.
    pub(super) async fn gate(
        &self,
        node: &Node,
        scope: &Scope,
        tests: &mut Vec<NodeResult>,
    ) -> Result<()> {
        for test in self.gates.get(&node.unique_id).into_iter().flatten() {
            tests.push(self.check(test, scope).await);
        }
        let bad: Vec<&NodeResult> = tests.iter().filter(|test| test.status.is_bad()).collect();
        let Some(first) = bad.first() else { return Ok(()) };
        let rows: u64 = bad.iter().filter_map(|test| test.failures).sum();
        let names: Vec<&str> = bad.iter().map(|test| test.name.as_str()).collect();
        Err(Error::invalid(format!(
            "`{}` is not published: {} of its tests found {rows} rows",
            node.name,
            bad.len()
        ))
        .with_note(format!("tests: {}", names.join(", ")))
        .with_note(first.message.clone())
        .with_help("readers see what they saw before; mend the model or its sources and run again"))
    }

    /// The query of a model in this run, and what it reads.
    async fn query(
        &self,
        node: &Node,
        name: &TableName,
        warnings: &mut Vec<String>,
    ) -> Result<Query> {
        let catalog = self.engine.catalog();
        let existing = match catalog.describe(name).await {
            Ok(table) => Some((table, catalog.pin(name, &SnapshotSelector::Latest).await?)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let is_full = node.config.full_refresh.unwrap_or(self.project.surroundings.full_refresh);
        let may_be_incremental = node.config.materialized == Materialized::Incremental && !is_full;
        let is_incremental = match &existing {
            Some((_, pin)) if may_be_incremental => self.has_rows(pin).await?,
            _ => false,
        };
        let mut scope = self.scope();
        if let Some((_, pin)) = &existing {
            scope = scope.with_pin(pin.clone());
        }
        let mut sql = trimmed(&self.project.compile(node, is_incremental)?).to_owned();
        if is_incremental {
            let full = trimmed(&self.project.compile(node, false)?).to_owned();
            let found = self.engine.narrowing(&full, &sql, &scope).await;
            if let Some(found) = found.map_err(|error| self.placed(node, error))? {
                sql = self.narrowed(node, &found, (full, sql), warnings)?;
            }
        }
        Ok(Query { sql, is_incremental, scope, existing })
    }

    /// Whether a state of a table has rows. Where its summary does not say, one is looked for.
    async fn has_rows(&self, pin: &PinnedTable) -> Result<bool> {
        if pin.snapshot == PinnedTable::EMPTY {
            return Ok(false);
        }
        let history = self.engine.catalog().history(&pin.table).await?;
        let state = history.iter().find(|info| info.id == pin.snapshot);
        let count =
            |field: &str| state.and_then(|info| info.summary.get(field)?.parse::<u64>().ok());
        match (count("total-records"), count("total-delete-files")) {
            (Some(0), _) => return Ok(false),
            (Some(_), Some(0)) => return Ok(true),
            // Records are counted with those that delete files take out.
            _ => {}
        }
        let sql = format!("SELECT * FROM {} LIMIT 1", crate::template::quoted(&pin.table));
        let rows = self.engine.sql(&sql, std::slice::from_ref(pin)).await?.concat().await?;
        Ok(rows.num_rows() > 0)
    }

    /// D5: what is done where the incremental condition cuts an aggregate short.
    fn narrowed(
        &self,
        node: &Node,
        found: &Narrowing,
        (full, written): (String, String),
        warnings: &mut Vec<String>,
    ) -> Result<String> {
        let what = found.to_string();
        let appends = node.config.strategy()? == Strategy::Append;
        match node.config.on_narrowed_window {
            OnNarrowedWindow::Refuse => {
                Err(Error::invalid(format!("`{}` would be wrong", node.name))
                    .with_note(what)
                    .with_help(
                        "filter by what is grouped by, take the condition out, or set \
                     `on_narrowed_window = 'recompute'`",
                    )
                    .at(Location::of_file(node.file.clone())))
            }
            OnNarrowedWindow::Recompute if !appends => {
                warnings.push(format!(
                    "{what}; the whole window is computed instead, and only the rows of its keys are \
                     replaced (set `on_narrowed_window` to `as_written` or `refuse` to have it otherwise)"
                ));
                Ok(full)
            }
            _ => {
                warnings.push(format!("{what}; it is run as it is written"));
                Ok(written)
            }
        }
    }

    /// An error in a query, with its place in the compiled file.
    pub(super) fn placed(&self, node: &Node, error: Error) -> Error {
        match error.location().cloned() {
            Some(place) if place.file == "query" => {
                let file = format!("target/compiled/{}/{}", self.project.name, node.file);
                error
                    .at(Location { file, ..place })
                    .with_note(format!("compiled from `{}`", node.file))
            }
            Some(_) => error,
            None => error.at(Location::of_file(node.file.clone())),
        }
    }
}
