//! Moving a branch along to where another one is.

use iceberg::spec::{MAIN_BRANCH, SnapshotRef, TableMetadata};
use iceberg::table::Table;
use icecore_core::{Error, ErrorKind, RefName, Result, TableName};

use super::{RefInfo, RefKind, find, point, retention, unknown, unmoved};
use crate::commit::Plan;
use crate::history::ancestors;

/// Moves a branch along to where another ref is, which must descend from it.
pub(crate) fn plan_fast_forward(
    head: &Table,
    table: &TableName,
    branch: &RefName,
    to: &RefName,
) -> Result<Plan> {
    let metadata = head.metadata();
    let from = existing(metadata, table, branch)?;
    let target = existing(metadata, table, to)?;
    if from.is_none() && branch.as_str() != MAIN_BRANCH {
        return Err(unknown(table, metadata, branch));
    }
    let Some(target) = target else {
        return Err(unknown(table, metadata, to));
    };
    if from.as_ref().is_some_and(|from| from.kind == RefKind::Tag) {
        return Err(Error::invalid(format!("`{branch}` of table `{table}` is a tag"))
            .with_note("tags stay where they are")
            .with_help(format!(
                "`icecore table tag {table} {branch} --at {to} --force` moves it"
            )));
    }
    let (here, there) = (from.map(|from| from.snapshot.get()), target.snapshot.get());
    if here == Some(there) {
        return Ok(Plan::Nothing);
    }
    let between = ancestors(metadata, Some(there));
    let descends = here.is_none_or(|here| between.into_iter().any(|s| s.snapshot_id() == here));
    if !descends {
        return Err(diverged(metadata, table, branch, to));
    }
    let mut requirements = unmoved(metadata, branch.as_str());
    requirements.extend(unmoved(metadata, to.as_str()).into_iter().skip(1));
    let kept = retention(metadata, branch.as_str())?;
    Ok(Plan::Apply { requirements, updates: vec![point(branch.as_str(), there, kept)] })
}

/// Makes what was written to a branch the current state of the table: write, audit, publish.
pub(crate) fn plan_publish(head: &Table, table: &TableName, branch: &RefName) -> Result<Plan> {
    if branch.as_str() == MAIN_BRANCH {
        return Err(Error::invalid("`main` is what readers see already")
            .with_help("name the branch that is to be published"));
    }
    plan_fast_forward(head, table, &RefName::main(), branch)
}

fn existing(
    metadata: &TableMetadata,
    table: &TableName,
    name: &RefName,
) -> Result<Option<RefInfo>> {
    let found = find(metadata, name)?;
    // An empty table has no `main` yet.
    if found.is_none() && name.as_str() != MAIN_BRANCH {
        return Err(unknown(table, metadata, name));
    }
    Ok(found)
}

/// Why a branch cannot be moved along, and how to take over what the other one has.
fn diverged(metadata: &TableMetadata, table: &TableName, branch: &RefName, to: &RefName) -> Error {
    let tip = |name: &RefName| metadata.snapshot_for_ref(name.as_str()).map(|s| s.snapshot_id());
    let here: Vec<i64> = ancestors(metadata, tip(branch)).map(|s| s.snapshot_id()).collect();
    let mut missing: Vec<&SnapshotRef> = ancestors(metadata, tip(to))
        .take_while(|snapshot| !here.contains(&snapshot.snapshot_id()))
        .collect();
    missing.reverse();
    let ahead = ancestors(metadata, tip(to))
        .map(|s| s.snapshot_id())
        .find(|id| here.contains(id))
        .map_or(here.len(), |fork| here.iter().take_while(|id| **id != fork).count());
    let error = Error::new(
        ErrorKind::Conflict,
        format!("`{branch}` of table `{table}` has moved on since `{to}` began"),
    )
    .with_note(format!(
        "`{branch}` has {ahead} snapshot(s) that `{to}` lacks, and lacks {} of it",
        missing.len()
    ));
    match missing.first() {
        Some(first) => error.with_help(format!(
            "take over one snapshot after the other, beginning with `icecore table cherry-pick {table} {}`",
            first.snapshot_id()
        )),
        None => error,
    }
}
