//! Several changes of a table that become visible in one step.

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::SchemaRef;
use iceberg::table::Table;
use icecore_core::{
    BatchStream, CommitOptions, Committed, Error, ErrorKind, RefName, Result, TableName,
};

use super::IcebergCatalog;
use super::alter::plan_alter;
use super::commits::row_change;
use super::edits::{check_properties, plan_evolution, plan_properties};
use crate::commit::{self, Change, Edit, FileChange, Plan, Several};
use crate::history;
use crate::refs::{self, NewTag, Retention, TagMove};
use crate::schema::Alteration;

/// Changes of one table that become visible together, or not at all. Each meets what the ones
/// before it did: a tag that follows rows names the state with those rows.
///
/// ```no_run
/// # use std::collections::BTreeMap;
/// # use icecore_core::{BatchStream, CommitOptions, RefName, Result, TableName};
/// # use icecore_catalog::{IcebergCatalog, TagMove};
/// # async fn publish(catalog: &IcebergCatalog, table: TableName, rows: BatchStream) -> Result<()> {
/// let quality = BTreeMap::from([("quality.checked".to_owned(), "yes".to_owned())]);
/// catalog
///     .transaction(table)
///     .rows(rows, CommitOptions::default())
///     .tag(RefName::parse("2026-11")?, RefName::main(), TagMove::Refuse)
///     .properties(quality, vec![])
///     .commit()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens before `commit`"]
pub struct Transaction {
    catalog: IcebergCatalog,
    table: TableName,
    steps: Vec<Step>,
}

enum Step {
    Rows(BatchStream, Box<CommitOptions>),
    Evolve(SchemaRef),
    Alter(Vec<Alteration>),
    Edit(Box<Planned>),
}

/// What to do to the state that the steps before lead to.
type Planned = dyn Fn(&Table) -> Result<Plan> + Send + Sync;

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("table", &self.table)
            .field("steps", &self.steps.len())
            .finish_non_exhaustive()
    }
}

impl IcebergCatalog {
    /// Begins several changes of a table that become visible in one step.
    pub fn transaction(&self, table: TableName) -> Transaction {
        Transaction { catalog: self.clone(), table, steps: Vec::new() }
    }
}

impl Transaction {
    /// Commits rows. They are written when the transaction is committed, with the columns that it
    /// added before.
    pub fn rows(self, rows: BatchStream, options: CommitOptions) -> Self {
        self.step(Step::Rows(rows, Box::new(options)))
    }

    /// Adds the columns that are new and widens those that have to hold more, as
    /// [`IcebergCatalog::evolve`] does.
    pub fn evolve(self, schema: SchemaRef) -> Self {
        self.step(Step::Evolve(schema))
    }

    /// Changes columns and layout, as [`IcebergCatalog::alter`] does. New columns become visible
    /// with the rows that are committed after them.
    pub fn alter(self, alterations: Vec<Alteration>) -> Self {
        self.step(Step::Alter(alterations))
    }

    /// Sets and removes table properties.
    pub fn properties(self, set: BTreeMap<String, String>, remove: Vec<String>) -> Self {
        self.edit(move |head| {
            check_properties(set.keys().chain(&remove))?;
            plan_properties(head, &set, &remove)
        })
    }

    /// Names the state that a branch has by then.
    pub fn tag(self, name: RefName, of: RefName, moving: TagMove) -> Self {
        let (table, catalog) = (self.table.clone(), self.catalog.clone());
        self.edit(move |head| {
            let (pinned, now) =
                (history::at_ref(&table, head, &of), catalog.tables_now().clock().now());
            let retention = Retention::default();
            NewTag { pinned: &pinned, name: &name, moving, retention, now }.plan(head)
        })
    }

    /// Begins a branch at the state that another has by then.
    pub fn branch(self, name: RefName, at: RefName, retention: Retention) -> Self {
        let table = self.table.clone();
        self.edit(move |head| {
            refs::plan_branch(head, &history::at_ref(&table, head, &at), &name, retention)
        })
    }

    /// Drops a tag or branch.
    pub fn drop_ref(self, name: RefName) -> Self {
        let table = self.table.clone();
        self.edit(move |head| refs::plan_drop(head, &table, &name))
    }

    /// Says how long a tag or branch is kept.
    pub fn retention(self, name: RefName, retention: Retention) -> Self {
        let table = self.table.clone();
        self.edit(move |head| refs::plan_retention(head, &table, &name, retention))
    }

    /// Makes all of it visible, and says what the last rows did.
    ///
    /// # Errors
    ///
    /// Those of the single changes, of which then none is made; `InvalidInput` for rows that are
    /// committed twice to one branch.
    pub async fn commit(self) -> Result<Committed> {
        let Self { catalog, table, steps } = self;
        let mut written = Written::default();
        let result = match written.prepare(&catalog, &table, steps).await {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => {
                let branch = written.branches.last().cloned().unwrap_or_else(RefName::main);
                let steps = Several(std::mem::take(&mut written.steps));
                let outcome = commit::commit(catalog.tables_now(), &table, &steps).await;
                outcome.map(|outcome| catalog.committed(&table, outcome, &branch))
            }
            Err(error) => Err(error),
        };
        let unused = match &result {
            Ok(done) => !done.changed,
            // Nobody knows whether the table refers to them.
            Err(error) => error.kind() != ErrorKind::OutcomeUnknown,
        };
        if unused {
            catalog.tables_now().discard(&written.paths).await;
        }
        result
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    fn edit(self, plan: impl Fn(&Table) -> Result<Plan> + Send + Sync + 'static) -> Self {
        self.step(Step::Edit(Box::new(plan)))
    }
}

/// The steps of a transaction whose files are written.
#[derive(Default)]
struct Written {
    steps: Vec<Box<dyn Change>>,
    /// Branches that rows go to.
    branches: Vec<RefName>,
    /// Files of rows.
    paths: Vec<String>,
}

impl Written {
    /// Writes the files. Returns what a job did that is done already.
    async fn prepare(
        &mut self,
        catalog: &IcebergCatalog,
        table: &TableName,
        steps: Vec<Step>,
    ) -> Result<Option<Committed>> {
        let mut state = catalog.tables_now().load(table).await?;
        commit::check_writable(&state)?;
        for step in steps {
            match step {
                Step::Edit(plan) => self.steps.push(Box::new(Edit(plan))),
                Step::Evolve(schema) => {
                    if let Plan::Apply { updates, .. } = plan_evolution(&state, &schema)? {
                        state = commit::after(&state, &updates)?;
                    }
                    self.steps
                        .push(Box::new(Edit(move |head: &Table| plan_evolution(head, &schema))));
                }
                Step::Alter(changes) => {
                    if let Plan::Apply { updates, .. } = plan_alter(&state, &changes)? {
                        state = commit::after(&state, &updates)?;
                    }
                    self.steps.push(Box::new(Edit(move |head: &Table| plan_alter(head, &changes))));
                }
                Step::Rows(rows, options) => {
                    let branch = options.branch.clone().unwrap_or_else(RefName::main);
                    if self.branches.contains(&branch) {
                        return Err(Error::invalid(format!(
                            "a transaction commits rows to `{branch}` twice"
                        ))
                        .with_help("put the rows into one stream"));
                    }
                    let job = options.job_id.as_deref();
                    if let Some(id) = commit::done_before(&state, &branch, job) {
                        return Ok(Some(super::commits::done_before(table, &state, &branch, id)));
                    }
                    let change = self.write(catalog, &state, rows, *options).await?;
                    self.branches.push(branch);
                    self.steps.push(Box::new(change));
                }
            }
        }
        Ok(None)
    }

    async fn write(
        &mut self,
        catalog: &IcebergCatalog,
        state: &Table,
        rows: BatchStream,
        options: CommitOptions,
    ) -> Result<FileChange> {
        let change = row_change(catalog, state, rows, options).await?;
        self.paths.extend(change.added_files().map(|file| file.file_path().to_owned()));
        Ok(change)
    }
}
