//! `icecore dataset`.

mod differences;
mod locks;

use icecore::Project;
use icecore::dataset::{BuiltDataset, DatasetPlan, HandOff, LeakCheck, Lock, Verification};
use icecore_core::{Error, ErrorKind, PinnedTable, Result};
use serde_json::{Value, json};

use self::differences::differences;
use self::locks::lock_named;
use super::Context;
use super::sql::write_file;
use crate::args::dataset::DatasetCommand;
use crate::args::retrieve::ExportArgs;
use crate::report::{Answer, facts, table};

pub(super) async fn run(context: &Context, command: DatasetCommand) -> Result<Answer> {
    let project = context.open().await?;
    match command {
        DatasetCommand::Build { name, dry_run: true } => {
            Ok(planned(&project.plan_dataset(&name).await?))
        }
        DatasetCommand::Build { name, dry_run: false } => {
            context.progress.say(format!("joining {name}"));
            let built = project.build_dataset(&name).await?;
            let mut text = lines(&built);
            text.push(format!("next: icecore train {name}"));
            Ok(Answer::new(document(&built), text.join("\n")))
        }
        DatasetCommand::Explain { name } => {
            let plan = project.explain_dataset(&name).await?;
            Ok(Answer::new(json!({ "dataset": name, "plan": plan }), plan.trim_end().to_owned()))
        }
        DatasetCommand::List => list(&project),
        DatasetCommand::Show { name } => {
            let lock = project.dataset_lock(&name)?;
            Ok(Answer::new(json!(lock), lock.to_toml()?))
        }
        DatasetCommand::Verify { name } => {
            let lock = lock_named(&project, &name).await?;
            context.progress.say(format!("building {} again", lock.plan.dataset));
            verified(&lock.plan.dataset, &project.verify_lock(&lock).await?)
        }
        DatasetCommand::Diff { a, b } => {
            let (a, b) = (lock_named(&project, &a).await?, lock_named(&project, &b).await?);
            Ok(differences(&icecore::dataset::diff(&a, &b)?))
        }
        DatasetCommand::Export(args) => export(context, &project, args).await,
    }
}

async fn export(context: &Context, project: &Project, args: ExportArgs) -> Result<Answer> {
    context.progress.say(format!("writing {}", args.name));
    let lock = project.dataset_lock(&args.name)?;
    let mut options = HandOff::default();
    if !args.columns.is_empty() {
        options = options.with_columns(args.columns);
    }
    if let Some(part) = args.part {
        options = options.with_part(part);
    }
    let rows = project.dataset_rows(&args.name, options).await?;
    let count = write_file(rows, &args.output, args.format).await?;
    let json = json!({
        "dataset": args.name, "rows": count, "output": args.output,
        "snapshot_id": lock.materialized.snapshot, "content_hash": lock.content_hash,
    });
    let text = format!("{count} rows of {} are in {}", lock.materialized, args.output.display());
    Ok(Answer::new(json, text))
}

/// The answer's document.
pub(crate) fn document(built: &BuiltDataset) -> Value {
    json!({
        "dataset": built.dataset,
        "table": built.table,
        "snapshot_id": built.snapshot.snapshot,
        "rows": built.rows,
        "content_hash": built.content_hash,
        "lockfile": built.lockfile,
        "changed": built.changed,
        "tag": built.lock.tag,
        "leak_check": built.lock.leak_check,
        "warnings": warnings(&built.lock.leak_check),
    })
}

/// The answer in lines.
pub(crate) fn lines(built: &BuiltDataset) -> Vec<String> {
    let state = if built.changed { "" } else { " (as it was)" };
    let check = &built.lock.leak_check;
    let tag = match built.snapshot.snapshot == PinnedTable::EMPTY {
        // Without a row there is no state to keep.
        true => "no row to pin".to_owned(),
        false => format!("pinned as tag `{}`", built.lock.tag),
    };
    let mut lines = vec![
        format!("{} rows -> {}{state}", built.rows, built.snapshot),
        format!("content {}", built.content_hash),
        format!("leak check: {} of {} rows saw their future; {tag}", check.violations, check.rows),
    ];
    let joined = check.views.iter();
    lines.extend(joined.map(|view| {
        format!("joined: {} of {} rows have features of `{}`", view.joined, check.rows, view.name)
    }));
    lines.extend(warnings(check).into_iter().map(|warning| format!("warning: {warning}")));
    lines
}

/// Views that gave no row anything: the set is all nulls there, which nobody means.
fn warnings(check: &LeakCheck) -> Vec<String> {
    let without = check.views.iter().filter(|view| check.rows > 0 && view.joined == 0);
    let warning = |name: &str| {
        format!(
            "no row has features of `{name}`: is it computed, are keys and moments those of the \
             spine, and is its `ttl` long enough?"
        )
    };
    without.map(|view| warning(&view.name)).collect()
}

fn planned(plan: &DatasetPlan) -> Answer {
    let pins: Vec<String> = plan.inputs.iter().map(|input| input.pin.to_string()).collect();
    let text = facts(&[
        ("dry run", format!("`{}` would be written to {}", plan.dataset, plan.table)),
        ("pins", pins.join(", ")),
        ("label", plan.label.clone().unwrap_or_else(|| "none".to_owned())),
    ]);
    Answer::new(json!({ "dry_run": true, "plan": plan }), text)
}

fn list(project: &Project) -> Result<Answer> {
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    for name in project.definition_names("training")? {
        let lock: Option<Lock> = match project.dataset_lock(&name) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        documents.push(json!({
            "dataset": name, "built": lock.is_some(),
            "rows": lock.as_ref().map(|lock| lock.rows),
            "table": lock.as_ref().map(|lock| &lock.plan.table),
            "snapshot_id": lock.as_ref().map(|lock| lock.materialized.snapshot),
            "content_hash": lock.as_ref().map(|lock| &lock.content_hash),
        }));
        rows.push(match lock {
            Some(lock) => [
                name,
                lock.rows.to_string(),
                lock.materialized.to_string(),
                lock.created_at.to_string(),
                lock.content_hash.chars().take(12).collect(),
            ],
            None => [name, String::new(), "not built".to_owned(), String::new(), String::new()],
        });
    }
    let text = table(&["dataset", "rows", "table", "built", "content"], rows);
    Ok(Answer::new(json!(documents), text))
}

fn verified(name: &str, found: &Verification) -> Result<Answer> {
    if !found.equal() {
        let error = Error::new(
            ErrorKind::DataCorrupt,
            format!("training set `{name}` does not come out as it was locked"),
        );
        return Err(found.differences.iter().cloned().fold(error, Error::with_note));
    }
    let json = json!({
        "dataset": name, "equal": true, "rows": found.locked.rows,
        "content_hash": found.locked.content_hash,
        "changed_definitions": found.changed_definitions,
    });
    let mut lines = vec![
        ("equal", "yes: built again and stored, both as locked".to_owned()),
        ("rows", found.locked.rows.to_string()),
        ("content", found.locked.content_hash.clone()),
    ];
    let changed = found.changed_definitions.iter();
    lines.extend(changed.map(|view| ("note", format!("view `{view}` is defined otherwise now"))));
    Ok(Answer::new(json, facts(&lines)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_that_joined_nothing_are_warned_of() {
        let view = |name: &str, joined: u64| json!({ "name": name, "joined": joined });
        let of = |rows: u64| {
            let views = [view("paid", rows), view("empty", 0)];
            let check = json!({ "rows": rows, "violations": 0, "view": views });
            warnings(&serde_json::from_value(check).unwrap())
        };
        let found = of(3);
        assert!(found.len() == 1 && found[0].starts_with("no row has features of `empty`"));
        assert!(of(0).is_empty(), "without rows there is nothing to join");
    }
}
