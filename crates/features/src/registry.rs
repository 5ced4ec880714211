//! The registry: every version of every feature view that was applied, in an Iceberg table.

mod difference;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use icecore_catalog::RowOptions;
use icecore_core::{
    BatchStream, CommitOptions, Error, ErrorKind, Literal, NewTable, Predicate, Result,
    ScanOptions, SnapshotCatalog, SnapshotSelector, TableName, Timestamp,
};
use icecore_engine::Engine;

use crate::Definitions;
use crate::source::moment_type;

pub use difference::Difference;

/// The table that holds the registry.
const TABLE: &str = "icecore.feature_views";
/// How often an application is begun again because others applied something meanwhile.
const TRIES_MAX: u32 = 8;

/// One version of a feature view.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegisteredView {
    /// The view.
    pub view: String,
    /// From one, counted for each view.
    pub version: i64,
    /// Whether the view was taken out with this version.
    pub removed: bool,
    /// The hash of its meaning.
    pub definition_hash: String,
    /// The view and its entities, in canonical form; of a removed one, what it was.
    pub definition: String,
    /// Who owned it.
    pub owner: Option<String>,
    /// When it was applied.
    pub applied_at: Timestamp,
}

/// What applying definitions does to a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViewChangeKind {
    /// It is new.
    Added,
    /// Values or rows may be others.
    Changed,
    /// Only what people read is: a description, an owner, tags.
    Described,
    /// It is not defined any more.
    Removed,
    /// It is what the registry has.
    Unchanged,
}

/// What applying definitions does to one view.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ViewChange {
    /// The view.
    pub view: String,
    /// What happens to it.
    pub kind: ViewChangeKind,
    /// The version that it gets, or has.
    pub version: i64,
    /// What differs from the version before.
    pub differences: Vec<Difference>,
}

/// Versions of definitions. Appending them is one atomic commit of an Iceberg table, so that two
/// who apply at once come one after the other, and any engine can read what was applied when.
#[derive(Debug, Clone)]
pub struct FeatureRegistry {
    engine: Engine,
}

impl FeatureRegistry {
    /// The registry in the catalog of an engine.
    #[must_use]
    pub const fn new(engine: Engine) -> Self {
        Self { engine }
    }

    /// The versions of one view, or of all: by view, oldest first.
    ///
    /// # Errors
    ///
    /// `NotFound` for a view that was never applied.
    pub async fn history(&self, view: Option<&str>) -> Result<Vec<RegisteredView>> {
        let (_, mut rows) = self.read().await?;
        if let Some(view) = view {
            let names: Vec<String> = rows.iter().map(|row| row.view.clone()).collect();
            rows.retain(|row| row.view == view);
            if rows.is_empty() {
                let error = Error::not_found(format!("feature view `{view}` was never applied"))
                    .with_help("apply the definitions: `icecore features apply`");
                return Err(error.with_candidates(view, names.iter().map(String::as_str)));
            }
        }
        Ok(rows)
    }

    /// One version of a view as definitions.
    ///
    /// # Errors
    ///
    /// `NotFound` for a version that does not exist.
    pub async fn version(&self, view: &str, version: i64) -> Result<Definitions> {
        let versions = self.history(Some(view)).await?;
        let found = versions.iter().find(|row| row.version == version).ok_or_else(|| {
            let last = versions.last().map_or(0, |row| row.version);
            Error::not_found(format!("feature view `{view}` has no version {version}"))
                .with_note(format!("versions: 1 to {last}"))
        })?;
        Definitions::parse(&format!("{view} version {version}"), &found.definition)
    }

    /// What differs between two versions of a view; without the later one, from the earlier one to
    /// these definitions.
    ///
    /// # Errors
    ///
    /// `NotFound` for a version or view that does not exist.
    pub async fn differences(
        &self,
        definitions: &Definitions,
        view: &str,
        (from, to): (i64, Option<i64>),
    ) -> Result<Vec<Difference>> {
        let before = self.version(view, from).await?;
        let after = match to {
            Some(to) => self.version(view, to).await?,
            None => definitions.clone(),
        };
        difference::between((&before, before.view(view)?), (&after, after.view(view)?))
    }

    /// What [`apply`](Self::apply) would do.
    ///
    /// # Errors
    ///
    /// Those of reading the registry.
    pub async fn plan(&self, definitions: &Definitions) -> Result<Vec<ViewChange>> {
        let (_, rows) = self.read().await?;
        plan(definitions, &rows)
    }

    /// Makes these definitions the newest versions: views that are new or changed get one, and so do
    /// those that are not defined any more. All or nothing.
    ///
    /// # Errors
    ///
    /// `Conflict` if others apply definitions all the time.
    pub async fn apply(
        &self,
        definitions: &Definitions,
        now: Timestamp,
    ) -> Result<Vec<ViewChange>> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.apply_once(definitions, now).await {
                Err(error) if error.kind() == ErrorKind::Conflict && tries < TRIES_MAX => {}
                done => return done,
            }
        }
    }

    async fn apply_once(
        &self,
        definitions: &Definitions,
        now: Timestamp,
    ) -> Result<Vec<ViewChange>> {
        let table = table()?;
        self.engine.catalog().ensure_table(&table, &NewTable::new(schema())).await?;
        let (base, rows) = self.read().await?;
        let changes = plan(definitions, &rows)?;
        let moved: Vec<&ViewChange> =
            changes.iter().filter(|change| change.kind != ViewChangeKind::Unchanged).collect();
        if moved.is_empty() {
            return Ok(changes);
        }
        let mut new = Vec::new();
        for change in &moved {
            new.push(registered(definitions, &rows, change, now)?);
        }
        // No row has one of these versions yet. If others add one first, that is a conflict.
        let same = |row: &RegisteredView| {
            Predicate::And(vec![
                Predicate::equal("view", Literal::Text(row.view.clone())),
                Predicate::equal("version", Literal::Int(row.version)),
            ])
        };
        let filter = Predicate::Or(new.iter().map(same).collect());
        let rows = BatchStream::from_batches(schema(), vec![batch(&new)?]);
        let commit = CommitOptions::default().with_base(base);
        let options = RowOptions::default().with_commit(commit);
        self.engine.catalog().overwrite_where(&table, filter, rows, options).await?;
        Ok(changes)
    }

    /// The state of the table, and its rows in order.
    async fn read(&self) -> Result<(icecore_core::SnapshotId, Vec<RegisteredView>)> {
        let catalog = self.engine.catalog();
        let pin = match catalog.pin(&table()?, &SnapshotSelector::Latest).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok((icecore_core::PinnedTable::EMPTY, Vec::new()));
            }
            pin => pin?,
        };
        let rows = catalog.scan(&pin, ScanOptions::default()).await?.concat().await?;
        let mut rows = decode(&rows)?;
        rows.sort_by(|a, b| (&a.view, a.version).cmp(&(&b.view, b.version)));
        Ok((pin.snapshot, rows))
    }
}

fn plan(definitions: &Definitions, rows: &[RegisteredView]) -> Result<Vec<ViewChange>> {
    let newest: BTreeMap<&str, &RegisteredView> =
        rows.iter().map(|row| (row.view.as_str(), row)).collect();
    let mut changes = Vec::new();
    for view in &definitions.views {
        let change = |kind, version, differences| ViewChange {
            view: view.name.clone(),
            kind,
            version,
            differences,
        };
        let Some(known) = newest.get(view.name.as_str()).filter(|row| !row.removed) else {
            let before = newest.get(view.name.as_str()).map_or(0, |row| row.version);
            changes.push(change(ViewChangeKind::Added, before + 1, Vec::new()));
            continue;
        };
        if definitions.view_toml(view)? == known.definition {
            changes.push(change(ViewChangeKind::Unchanged, known.version, Vec::new()));
            continue;
        }
        let hash = definitions.definition_hash(view);
        let kind = if hash == known.definition_hash {
            ViewChangeKind::Described
        } else {
            ViewChangeKind::Changed
        };
        let before = Definitions::parse("registry", &known.definition)?;
        let old = before.view(&view.name)?;
        let differences = difference::between((&before, old), (definitions, view))?;
        changes.push(change(kind, known.version + 1, differences));
    }
    for known in newest.values().filter(|row| !row.removed) {
        if !definitions.views.iter().any(|view| view.name == known.view) {
            changes.push(ViewChange {
                view: known.view.clone(),
                kind: ViewChangeKind::Removed,
                version: known.version + 1,
                differences: Vec::new(),
            });
        }
    }
    Ok(changes)
}

/// The row of a change.
fn registered(
    definitions: &Definitions,
    rows: &[RegisteredView],
    change: &ViewChange,
    applied_at: Timestamp,
) -> Result<RegisteredView> {
    if change.kind == ViewChangeKind::Removed {
        let last = rows.iter().rev().find(|row| row.view == change.view);
        let last = last.ok_or_else(|| Error::internal("a view without versions was removed"))?;
        let version = change.version;
        return Ok(RegisteredView { version, removed: true, applied_at, ..last.clone() });
    }
    let view = definitions.view(&change.view)?;
    Ok(RegisteredView {
        view: view.name.clone(),
        version: change.version,
        removed: false,
        definition_hash: definitions.definition_hash(view),
        definition: definitions.view_toml(view)?,
        owner: view.owner.clone(),
        applied_at,
    })
}

fn table() -> Result<TableName> {
    TableName::parse(TABLE)
}

fn schema() -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("view", false),
        Field::new("version", DataType::Int64, false),
        text("change", false),
        text("definition_hash", false),
        text("definition", false),
        text("owner", true),
        Field::new("applied_at", moment_type(), false),
    ]))
}

fn batch(rows: &[RegisteredView]) -> Result<RecordBatch> {
    let texts = |pick: fn(&RegisteredView) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(pick)))
    };
    let times =
        TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.applied_at.micros()));
    let columns: Vec<ArrayRef> = vec![
        texts(|row| &row.view),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.version))),
        texts(|row| if row.removed { "removed" } else { "defined" }),
        texts(|row| &row.definition_hash),
        texts(|row| &row.definition),
        Arc::new(rows.iter().map(|row| row.owner.as_deref()).collect::<StringArray>()),
        Arc::new(times.with_timezone("+00:00")),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn decode(rows: &RecordBatch) -> Result<Vec<RegisteredView>> {
    let foreign = || Error::corrupt(format!("table `{TABLE}` is not a registry"));
    let column = |name: &str| rows.column_by_name(name).ok_or_else(foreign);
    let text = |name: &str| -> Result<StringArray> {
        column(name)?.as_string_opt::<i32>().cloned().ok_or_else(foreign)
    };
    let (view, change, owner) = (text("view")?, text("change")?, text("owner")?);
    let (hash, definition) = (text("definition_hash")?, text("definition")?);
    let version = column("version")?.as_primitive_opt::<Int64Type>().ok_or_else(foreign)?;
    let applied = column("applied_at")?.as_primitive_opt::<TimestampMicrosecondType>();
    let applied = applied.ok_or_else(foreign)?;
    let row = |row: usize| RegisteredView {
        view: view.value(row).to_owned(),
        version: version.value(row),
        removed: change.value(row) == "removed",
        definition_hash: hash.value(row).to_owned(),
        definition: definition.value(row).to_owned(),
        owner: owner.is_valid(row).then(|| owner.value(row).to_owned()),
        applied_at: Timestamp::from_micros(applied.value(row)),
    };
    Ok((0..rows.num_rows()).map(row).collect())
}

#[cfg(test)]
mod tests;
