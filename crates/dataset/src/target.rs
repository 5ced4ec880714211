//! Where the rows of a set may go. A build replaces a whole table, so it has to be one that builds of
//! the same set made.

use arrow::datatypes::SchemaRef;
use icecore_catalog::TableDescription;
use icecore_core::{Error, ErrorKind, Result, SnapshotCatalog, SnapshotInfo, TableName};
use icecore_engine::Engine;
use icecore_features::Definitions;

use crate::lock::{DatasetPlan, Lock};
use crate::spec::{DatasetSpec, definition_files};

/// Summary field: the set whose rows a snapshot holds.
pub(crate) const DATASET: &str = "icecore.dataset";

/// That the table of a set is none that it reads, that features go to, or that another set has.
///
/// # Errors
///
/// `InvalidInput` that says whose table it is.
pub(crate) fn check_free(
    definitions: &Definitions,
    spec: &DatasetSpec,
    plan: &DatasetPlan,
) -> Result<()> {
    let table = &plan.table;
    let whose = if plan.inputs.iter().any(|input| input.pin.table == *table) {
        "which it reads".to_owned()
    } else if let Some(view) = definitions.views.iter().find(|v| v.table.as_ref() == Some(table)) {
        format!("the table of feature view `{}`", view.name)
    } else if let Some(other) = other_set(spec, table) {
        format!("the table of dataset `{other}`")
    } else {
        return Ok(());
    };
    let error =
        Error::invalid(format!("dataset `{}` would overwrite `{table}`, {whose}", plan.dataset))
            .with_help("name another `table` for the rows of the set");
    Err(spec.locate(table.as_str(), error))
}

/// Another definition in the same directory whose rows go to the same table.
fn other_set(spec: &DatasetSpec, table: &TableName) -> Option<String> {
    let path = spec.path()?;
    let files = definition_files(path.parent()?).ok()?;
    let others = files.into_iter().filter(|file| file.as_path() != path);
    // What is wrong with another definition is said where that one is asked for.
    let mut specs = others.filter_map(|file| DatasetSpec::load(&file).ok());
    let same = specs.find(|other| other.table().is_ok_and(|own| own == *table));
    same.map(|other| other.name)
}

/// That whatever rows are in the table are those of an earlier build of the set.
///
/// # Errors
///
/// `InvalidInput` that says who wrote them.
pub(crate) async fn check_made_here(
    engine: &Engine,
    spec: &DatasetSpec,
    (plan, previous): (&DatasetPlan, Option<&Lock>),
) -> Result<()> {
    let history = match engine.catalog().history(&plan.table).await {
        Ok(history) => history,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let is_locked = previous.is_some_and(|lock| lock.materialized.table == plan.table);
    let who = match maker(&history) {
        Maker::Nobody => return Ok(()),
        Maker::Dataset(name) if name == plan.dataset => return Ok(()),
        Maker::Dataset(name) => format!("the rows of dataset `{name}`"),
        // People correct rows of a set, too, and its lock says whose they are.
        Maker::Others if is_locked => return Ok(()),
        Maker::Others => "rows that no build of this set wrote".to_owned(),
    };
    let error = Error::invalid(format!(
        "dataset `{}` would overwrite `{}`, {who}",
        plan.dataset, plan.table
    ))
    .with_help("name another `table`, or drop this one if nobody needs it");
    Err(spec.locate(plan.table.as_str(), error))
}

/// Who wrote the rows of a table.
#[derive(Debug, PartialEq, Eq)]
enum Maker<'h> {
    /// There are none.
    Nobody,
    /// A build of this set.
    Dataset(&'h str),
    /// Somebody who does not say so.
    Others,
}

fn maker(history: &[SnapshotInfo]) -> Maker<'_> {
    let mut newest_first = history.iter().rev().filter(|snapshot| snapshot.on_main).peekable();
    if newest_first.peek().is_none() {
        return Maker::Nobody;
    }
    // Files that are written anew, and rows that are deleted, are no new rows.
    let writes =
        |snapshot: &&SnapshotInfo| !matches!(snapshot.operation.as_str(), "replace" | "delete");
    let newest = newest_first.find(writes);
    match newest.and_then(|snapshot| snapshot.summary.get(DATASET)) {
        Some(name) => Maker::Dataset(name),
        None => Maker::Others,
    }
}

/// That a table can take rows of these columns, apart from columns that are new or wider.
///
/// # Errors
///
/// `InvalidInput` that names the column which the rows lack.
pub(crate) fn check_fits(table: &TableDescription, rows: &SchemaRef) -> Result<()> {
    let lacking = table.schema.fields().iter().find(|field| {
        let is_needed = !field.is_nullable() || is_partitioned_by(table, field.name());
        is_needed && rows.column_with_name(field.name()).is_none()
    });
    match lacking {
        None => Ok(()),
        Some(field) => Err(Error::invalid(format!(
            "table `{}` needs a column `{}`, which the rows of the set have not",
            table.name,
            field.name()
        ))
        .with_help("name another `table` for the rows of the set")),
    }
}

/// Whether a partition field, such as `bucket(4, user_token)`, is of this column.
fn is_partitioned_by(table: &TableDescription, column: &str) -> bool {
    let is_word = |field: &String| {
        field.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == column)
    };
    table.partition_by.iter().any(is_word)
}
