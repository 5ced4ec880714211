//! `icecore table tag | untag | branch | retain | fast-forward | publish | rollback | cherry-pick |
//! upgrade`.

use icecore::Project;
use icecore::catalog::{RefKind, Retention, RollbackPolicy, TagMove};
use icecore_core::{
    Error, PinnedTable, RefName, Result, SnapshotCatalog, SnapshotSelector, TableName,
};
use serde_json::json;

use crate::args::refs::{
    BranchArgs, CherryPickArgs, FastForwardArgs, PublishArgs, RetainArgs, RollbackArgs, UpgradeArgs,
};
use crate::report::Answer;

pub(super) async fn branch(project: &Project, args: BranchArgs) -> Result<Answer> {
    let pin = project.catalog().pin(&args.table, &args.at).await?;
    let (name, retention) = (&args.name, args.keep.retention());
    if args.dry_run {
        project.catalog().check_branch(&pin, name, retention).await?;
    } else {
        project.catalog().branch_with(&pin, name, retention).await?;
    }
    let json = json!({
        "table": args.table, "branch": name, "snapshot_id": pin.snapshot, "dry_run": args.dry_run,
    });
    let verb = if args.dry_run { "would begin" } else { "begins" };
    Ok(Answer::new(json, format!("branch `{name}` {verb} at {pin}")))
}

pub(super) async fn tag(
    project: &Project,
    table: &TableName,
    (tag, at): (&RefName, &SnapshotSelector),
    (moving, keep): (TagMove, Retention),
    dry_run: bool,
) -> Result<Answer> {
    let pin = project.catalog().pin(table, at).await?;
    if dry_run {
        project.catalog().check_tag(&pin, tag, moving, keep).await?;
    } else {
        project.catalog().tag_with(&pin, tag, moving, keep).await?;
    }
    let json = json!({
        "table": table, "tag": tag, "snapshot_id": pin.snapshot, "dry_run": dry_run,
    });
    let verb = if dry_run { "would be" } else { "is" };
    Ok(Answer::new(json, format!("tag `{tag}` {verb} {pin}")))
}

/// Removes a tag or branch. Lockfiles that name it hold their snapshots without it.
pub(super) async fn untag(
    project: &Project,
    table: &TableName,
    name: &RefName,
    dry_run: bool,
) -> Result<Answer> {
    let named_by = project.lockfiles_naming(table, name)?;
    let refs = project.catalog().refs(table).await?;
    let is_branch = refs.iter().any(|r| r.name == *name && r.kind == RefKind::Branch);
    let what = if is_branch { "branch" } else { "tag" };
    if dry_run {
        project.catalog().check_drop_ref(table, name).await?;
    } else {
        project.catalog().drop_ref(table, name).await?;
    }
    let verb = if dry_run { "would no longer be" } else { "is no longer" };
    let mut text = format!("`{name}` {verb} a {what} of `{table}`");
    for lockfile in &named_by {
        text.push_str(&format!(
            "\nnote: `{lockfile}` names it; it holds its snapshots by their ids as long as it is there"
        ));
    }
    let json = json!({
        "table": table, "removed": name, "named_by": named_by, "dry_run": dry_run,
    });
    Ok(Answer::new(json, text))
}

pub(super) async fn retain(project: &Project, args: RetainArgs) -> Result<Answer> {
    let (table, name, retention) = (&args.table, &args.name, args.keep.retention());
    // An unknown ref is an error of a dry run too.
    project.catalog().pin(table, &SnapshotSelector::Ref(name.clone())).await?;
    if !args.dry_run {
        project.catalog().set_retention(table, name, retention).await?;
    }
    let json = json!({
        "table": table, "ref": name, "dry_run": args.dry_run,
        "max_ref_age_ms": retention.max_ref_age_ms,
        "min_snapshots_to_keep": retention.min_snapshots_to_keep,
        "max_snapshot_age_ms": retention.max_snapshot_age_ms,
    });
    let verb = if args.dry_run { "would be" } else { "is" };
    let text = match retention.max_ref_age_ms {
        Some(millis) => format!("`{name}` of `{table}` {verb} kept for {millis} ms"),
        None => format!("`{name}` of `{table}` {verb} kept without a limit"),
    };
    Ok(Answer::new(json, text))
}

pub(super) async fn fast_forward(project: &Project, args: FastForwardArgs) -> Result<Answer> {
    let FastForwardArgs { table, branch, to, dry_run } = args;
    let before = tip(project, &table, &branch).await?;
    let catalog = project.catalog();
    let after = if dry_run {
        catalog.check_fast_forward(&table, &branch, &to).await?
    } else {
        catalog.fast_forward(&table, &branch, &to).await?
    };
    Ok(moved(&table, &branch, [&before, &after], dry_run))
}

pub(super) async fn publish(project: &Project, args: PublishArgs) -> Result<Answer> {
    let PublishArgs { table, branch, dry_run } = args;
    let (main, catalog) = (RefName::main(), project.catalog());
    let before = tip(project, &table, &main).await?;
    let after = if dry_run {
        catalog.check_fast_forward(&table, &main, &branch).await?
    } else {
        catalog.publish(&table, &branch).await?
    };
    Ok(moved(&table, &main, [&before, &after], dry_run))
}

pub(super) async fn rollback(project: &Project, args: RollbackArgs) -> Result<Answer> {
    let RollbackArgs { table, branch, to, force, dry_run } = args;
    let policy = if force { RollbackPolicy::Force } else { RollbackPolicy::AncestorsOnly };
    let catalog = project.catalog();
    let before = tip(project, &table, &branch).await?;
    let target = catalog.pin(&table, &to).await?.snapshot;
    let after = if dry_run {
        catalog.check_rollback(&table, &branch, target, policy).await?
    } else {
        catalog.rollback_branch(&table, &branch, target, policy).await?
    };
    let json = json!({
        "table": table, "branch": branch, "snapshot_id": after.snapshot,
        "previous_snapshot_id": before.snapshot,
        "changed": after.snapshot != before.snapshot && !dry_run, "dry_run": dry_run,
    });
    let of = match branch == RefName::main() {
        true => format!("the current snapshot of `{table}`"),
        false => format!("the snapshot of `{branch}` of `{table}`"),
    };
    if after.snapshot == before.snapshot {
        return Ok(Answer::new(json, format!("{of} is {} already", after.snapshot)));
    }
    let verb = if dry_run { "would be" } else { "is" };
    let on = match branch == RefName::main() {
        true => String::new(),
        false => format!(" --branch {branch}"),
    };
    let text = format!(
        "{of} {verb} {}\nundo: icecore table rollback {table}{on} --to {} --force",
        after.snapshot, before.snapshot
    );
    Ok(Answer::new(json, text))
}

pub(super) async fn cherry_pick(project: &Project, args: CherryPickArgs) -> Result<Answer> {
    let CherryPickArgs { table, snapshot, branch, dry_run } = args;
    let catalog = project.catalog();
    let rows = catalog.check_cherry_pick(&table, snapshot, &branch).await?;
    if dry_run {
        let json = json!({
            "table": table, "branch": branch, "picked": snapshot, "rows": rows, "dry_run": true,
        });
        let text =
            format!("{rows} rows of snapshot {snapshot} would go to `{branch}` of `{table}`");
        return Ok(Answer::new(json, text));
    }
    let done = catalog.cherry_pick(&table, snapshot, &branch).await?;
    let json = json!({
        "table": table, "branch": branch, "picked": snapshot, "rows": rows,
        "snapshot_id": done.pinned.snapshot, "dry_run": false,
    });
    let text = format!("{rows} rows of snapshot {snapshot} are in `{branch}`: {}", done.pinned);
    Ok(Answer::new(json, text))
}

pub(super) async fn upgrade(project: &Project, args: UpgradeArgs) -> Result<Answer> {
    let UpgradeArgs { table, to, dry_run, yes } = args;
    let before = project.catalog().describe(&table).await?.format_version;
    if !dry_run && !yes && before != to {
        return Err(Error::invalid(format!("an upgrade of `{table}` cannot be taken back"))
            .with_note(format!("readers that do not know format version {to} will not read it"))
            .with_help("repeat the command with `--yes`"));
    }
    if !dry_run {
        project.catalog().upgrade(&table, to).await?;
    }
    let json = json!({
        "table": table, "format_version": to, "previous_format_version": before,
        "dry_run": dry_run,
    });
    let verb = if dry_run { "would have" } else { "has" };
    Ok(Answer::new(json, format!("`{table}` {verb} format version {to} (it had {before})")))
}

/// Where a branch is.
async fn tip(project: &Project, table: &TableName, branch: &RefName) -> Result<PinnedTable> {
    project.catalog().pin(table, &SnapshotSelector::Ref(branch.clone())).await
}

fn moved(
    table: &TableName,
    branch: &RefName,
    [before, after]: [&PinnedTable; 2],
    dry_run: bool,
) -> Answer {
    let json = json!({
        "table": table, "branch": branch, "snapshot_id": after.snapshot,
        "previous_snapshot_id": before.snapshot, "changed": before != after && !dry_run,
        "dry_run": dry_run,
    });
    let verb = if dry_run { "would be" } else { "is" };
    let text = if before == after {
        format!("`{branch}` of `{table}` is at {} already", after.snapshot)
    } else {
        format!(
            "`{branch}` of `{table}` {verb} at {} (it was at {})",
            after.snapshot, before.snapshot
        )
    };
    Answer::new(json, text)
}
