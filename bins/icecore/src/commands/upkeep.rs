//! `icecore table expire`, `clean`, `compact`, `rewrite-manifests`, and `icecore fsck`.

use icecore::Project;
use icecore::catalog::{
    CleanOptions, CleanReport, CompactOptions, CompactReport, CompactStrategy, ExpireOptions,
    ExpireReport, Finding, FsckOptions, FsckReport, OnMismatch, RewriteManifestsOptions,
};
use icecore_core::{Error, ErrorKind, Result, Span, TableName};
use serde_json::{Value, json};

use super::Context;
use crate::args;
use crate::args::upkeep::{
    CleanArgs, CompactArgs, ExpireArgs, FsckArgs, Mismatch, RewriteManifestsArgs,
};
use crate::report::{Answer, exit_status, table};

/// Below this age, files of a writer that is at work could be taken for garbage.
const SAFE_AGE: Span = Span::from_days(1);
/// Lines of files that are printed for people.
const LINES_MAX: usize = 20;

pub(super) async fn expire(
    context: &Context,
    project: &Project,
    typed: ExpireArgs,
) -> Result<Answer> {
    context.progress.say(format!("expiring snapshots of {}", typed.table));
    let now = project.clock().now();
    let options = ExpireOptions::default()
        .with_older_than(typed.older_than.map(|older_than| older_than.moment(now)))
        .with_retain_last(typed.retain_last)
        .with_snapshots(typed.snapshot)
        .with_dry_run(typed.dry_run);
    let report = project.expire(&typed.table, options).await?;
    Ok(Answer::new(expire_json(&typed.table, &report), expire_text(&typed.table, &report)))
}

fn expire_json(name: &TableName, report: &ExpireReport) -> Value {
    json!({
        "table": name,
        "dry_run": report.dry_run,
        "expired": report.expired,
        "held": report.held.iter().map(|held| json!({
            "snapshot_id": held.snapshot, "committed_at": held.committed_at, "by": held.by,
        })).collect::<Vec<_>>(),
        "expired_refs": report.expired_refs,
        "deleted_files": report.deleted_files,
        "deleted_bytes": report.deleted_bytes,
        "failed": failed_json(&report.failed),
    })
}

fn expire_text(name: &TableName, report: &ExpireReport) -> String {
    let verb = if report.dry_run { "would expire" } else { "expired" };
    let mut text = format!("{verb} {} snapshots of `{name}`", report.expired.len());
    text.push_str(&files_text(report.deleted_files, report.deleted_bytes, report.dry_run));
    for name in &report.expired_refs {
        text.push_str(&format!("\n`{name}` had reached its age"));
    }
    if !report.held.is_empty() {
        let rows = report.held.iter().map(|held| {
            [args::id(held.snapshot), held.committed_at.to_string(), held.by.join(", ")]
        });
        text.push_str("\n\n");
        text.push_str(&table(&["stays", "committed", "held by"], rows));
    }
    text.push_str(&failed_text(&report.failed));
    text
}

pub(super) async fn clean(
    context: &Context,
    project: &Project,
    typed: CleanArgs,
) -> Result<Answer> {
    if typed.older_than < SAFE_AGE && !typed.dry_run && !typed.yes {
        return Err(Error::invalid(format!(
            "files of less than a day may belong to a writer of `{}`",
            typed.table
        ))
        .with_note("a writer whose files are deleted commits a table that cannot be read")
        .with_help("repeat the command with `--yes` if no writer is at work"));
    }
    context.progress.say(format!("looking for files of {} that nothing names", typed.table));
    let mut options =
        CleanOptions::default().with_older_than(typed.older_than).with_dry_run(typed.dry_run);
    options.on_mismatch = match typed.on_mismatch {
        Mismatch::Fail => OnMismatch::Fail,
        Mismatch::Keep => OnMismatch::Keep,
    };
    let report = project.catalog().clean(&typed.table, options).await?;
    let json = json!({
        "table": typed.table,
        "dry_run": report.dry_run,
        "deleted_files": report.deleted_files,
        "deleted_bytes": report.deleted_bytes,
        "kept_files": report.kept_files,
        "files": report.orphans.iter().map(|orphan| json!({
            "location": orphan.location, "bytes": orphan.bytes, "modified": orphan.modified,
        })).collect::<Vec<_>>(),
        "failed": failed_json(&report.failed),
    });
    Ok(Answer::new(json, clean_text(&typed.table, &report)))
}

fn clean_text(name: &TableName, report: &CleanReport) -> String {
    let mut text = format!("`{name}`");
    text.push_str(&files_text(report.deleted_files, report.deleted_bytes, report.dry_run));
    text.push_str(&format!("; {} files stay", report.kept_files));
    for orphan in report.orphans.iter().take(LINES_MAX) {
        text.push_str(&format!("\n  {} ({} bytes)", orphan.location, orphan.bytes));
    }
    if let Some(more) = report.orphans.len().checked_sub(LINES_MAX).filter(|more| *more > 0) {
        text.push_str(&format!("\n  and {more} more: `--json` lists all"));
    }
    text.push_str(&failed_text(&report.failed));
    text
}

fn files_text(files: u64, bytes: u64, dry_run: bool) -> String {
    let verb = if dry_run { "would delete" } else { "deleted" };
    format!(": {verb} {files} files, {bytes} bytes")
}

fn failed_text(failed: &[(String, String)]) -> String {
    let lines = failed.iter().take(LINES_MAX);
    lines.map(|(location, why)| format!("\ncannot delete {location}: {why}")).collect()
}

fn failed_json(failed: &[(String, String)]) -> Vec<Value> {
    let failed = failed.iter();
    failed.map(|(location, why)| json!({ "location": location, "error": why })).collect()
}

/// Checks tables. Damage is an answer, with the exit status of corrupt data.
pub(super) async fn fsck(context: &Context, typed: FsckArgs) -> Result<Answer> {
    let project = context.open().await?;
    let options = FsckOptions::default().with_deep(typed.deep);
    let say = |name: &TableName, number: usize, of: usize| {
        let what = format!("checking {name} ({number} of {of})");
        context.progress.say_part(what, number.saturating_sub(1) as u64, of as u64);
    };
    let report = project.fsck(typed.table.as_ref(), options, say).await?;
    let status = if report.is_sound() { 0 } else { exit_status(ErrorKind::DataCorrupt) };
    Ok(Answer::new(fsck_json(&report), fsck_text(&report)).with_status(status))
}

fn fsck_json(report: &FsckReport) -> Value {
    let finding = |(name, finding): (&TableName, &Finding)| {
        json!({
            "table": name,
            "kind": finding.kind.code(),
            "severity": finding.severity().name(),
            "file": finding.file,
            "message": finding.message,
            "help": finding.help(),
        })
    };
    let warnings = report
        .findings()
        .filter(|(_, finding)| finding.severity() == icecore::catalog::Severity::Warning);
    json!({
        "tables": report.tables.iter().map(|check| json!({
            "table": check.table,
            "snapshots": check.snapshots,
            "manifests": check.manifests,
            "data_files": check.data_files,
            "delete_files": check.delete_files,
            "bytes": check.bytes,
            "rows_read": check.rows_read,
            "errors": check.errors().count(),
        })).collect::<Vec<_>>(),
        "errors": report.errors().map(finding).collect::<Vec<_>>(),
        "warnings": warnings.map(finding).collect::<Vec<_>>(),
    })
}

fn fsck_text(report: &FsckReport) -> String {
    let rows = report.tables.iter().map(|check| {
        [
            (if check.errors().next().is_none() { "ok" } else { "DAMAGED" }).to_owned(),
            check.table.to_string(),
            check.snapshots.to_string(),
            check.manifests.to_string(),
            check.data_files.to_string(),
            check.delete_files.to_string(),
            check.bytes.to_string(),
        ]
    });
    let header = ["", "table", "snapshots", "manifests", "data files", "delete files", "bytes"];
    let mut text = table(&header, rows);
    for (name, finding) in report.findings() {
        text.push_str(&format!(
            "\n\n{}[{}]: {}",
            finding.severity().name(),
            finding.kind.code(),
            finding.message
        ));
        text.push_str(&format!("\n  --> {name}"));
        if let Some(file) = &finding.file {
            text.push_str(&format!(": {file}"));
        }
        text.push_str(&format!("\n  = help: {}", finding.help()));
    }
    text
}

pub(super) async fn rewrite_manifests(
    context: &Context,
    project: &Project,
    typed: RewriteManifestsArgs,
) -> Result<Answer> {
    context.progress.say(format!("rewriting the manifests of {}", typed.table));
    let options = RewriteManifestsOptions::default()
        .with_branch(typed.branch)
        .with_force(typed.force)
        .with_dry_run(typed.dry_run);
    let report = project.catalog().rewrite_manifests(&typed.table, options).await?;
    let (before, after) = (report.manifests_before, report.manifests_after);
    let json = json!({
        "table": typed.table,
        "dry_run": report.dry_run,
        "manifests_before": before,
        "manifests_after": after,
        "entries": report.entries,
    });
    let text = match report.entries {
        0 => format!("the {before} manifests of `{}` are as they should be", typed.table),
        entries => {
            format!("`{}`: {entries} files in {after} manifests, from {before}", typed.table)
        }
    };
    Ok(Answer::new(json, text))
}

pub(super) async fn compact(
    context: &Context,
    project: &Project,
    typed: CompactArgs,
) -> Result<Answer> {
    let name = typed.table;
    context.progress.say(format!("planning the files of {name}"));
    let (progress, table) = (context.progress.clone(), name.clone());
    let options = CompactOptions::default()
        .with_branch(typed.branch)
        .with_strategy(if typed.sort { CompactStrategy::Sort } else { CompactStrategy::BinPack })
        .with_target_bytes(typed.target_size)
        .with_min_input_files(typed.min_files)
        .with_min_delete_files(typed.min_deletes)
        .with_all(typed.all)
        .with_dry_run(typed.dry_run)
        .with_progress(move |now| {
            let what = format!(
                "compacting {table}: group {} of {}, {} files, {} bytes",
                now.group, now.groups, now.files, now.bytes
            );
            progress.say_part(what, now.group.saturating_sub(1) as u64, now.groups as u64);
        });
    let report = project.compact(&name, typed.r#where.as_deref(), options).await?;
    let json = json!({
        "table": name,
        "dry_run": report.dry_run,
        "snapshot_id": report.snapshot,
        "groups": report.groups,
        "removed_files": report.removed_files,
        "removed_bytes": report.removed_bytes,
        "added_files": report.added_files,
        "added_bytes": report.added_bytes,
        "rows": report.rows,
        "removed_delete_files": report.removed_delete_files,
        "commits": report.commits,
        "conflicts": report.conflicts,
    });
    Ok(Answer::new(json, compact_text(&name, &report)))
}

fn compact_text(name: &TableName, report: &CompactReport) -> String {
    if report.removed_files == 0 && report.removed_delete_files == 0 {
        return format!("the files of `{name}` are as they should be");
    }
    if report.dry_run {
        return format!(
            "`{name}`: would write {} files of {} bytes anew in {} groups, and drop {} delete files",
            report.removed_files, report.removed_bytes, report.groups, report.removed_delete_files
        );
    }
    let mut text = format!(
        "`{name}`: {} files of {} bytes in place of {} files of {} bytes, {} delete files dropped",
        report.added_files,
        report.added_bytes,
        report.removed_files,
        report.removed_bytes,
        report.removed_delete_files
    );
    if report.conflicts > 0 {
        text.push_str(&format!("; {} times another writer was first", report.conflicts));
    }
    text
}
