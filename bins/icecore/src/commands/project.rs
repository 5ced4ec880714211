//! `icecore init`, `doctor`, `attempt` and `completions`.

use std::io::Write;
use std::path::Path;

use icecore_core::{Error, ModelRegistry, Result, SnapshotCatalog};
use serde_json::{Value, json};

use super::Context;
use crate::args::{AttemptArgs, InitArgs, Template};
use crate::report::{Answer, counted, error_json, facts, table};

pub(super) fn init(args: &InitArgs) -> Result<Answer> {
    let template = match args.template {
        Template::Churn => icecore::Template::Churn,
        Template::Empty => icecore::Template::Empty,
    };
    let written = icecore::init(&args.dir, template)?;
    let names: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    let text = if names.is_empty() {
        "every file is there already".to_owned()
    } else {
        let cd = match args.dir.as_path() {
            here if here == Path::new(".") => String::new(),
            dir => format!("cd {}, and ", dir.display()),
        };
        let ingest = "put data into a table: icecore ingest events.raw_transactions FILE";
        format!("{}\nnext: {cd}{ingest}", names.join("\n"))
    };
    Ok(Answer::new(json!({ "dir": args.dir, "written": names }), text))
}

/// Looks at everything that a project names, and reports all of it, not only the first trouble.
pub(super) async fn doctor(context: &Context) -> Result<Answer> {
    let project = context.open().await?;
    let mut checks: Vec<(&str, Result<String>)> = Vec::new();
    let tables = project.catalog().tables().await;
    checks.push(("catalog", tables.map(|tables| counted(tables.len(), "table"))));
    checks.push(("warehouse", project.catalog().check_warehouse().await));
    let views = project.definitions().map(|definitions| counted(definitions.views.len(), "view"));
    checks.push(("features", views));
    for (folder, check) in [("training", true), ("scoring", false)] {
        let names = project.definition_names(folder)?;
        let loaded = names.iter().try_for_each(|name| {
            if check { project.training(name).map(drop) } else { project.scoring(name).map(drop) }
        });
        checks.push((folder, loaded.map(|()| counted(names.len(), "definition"))));
    }
    let models = project.tracker().versions(None).await;
    checks.push(("tracking", models.map(|models| counted(models.len(), "model version"))));
    let online = match project.online().await {
        Ok(store) => store.ping().await.map(|()| store.location().to_owned()),
        Err(error) => Err(error),
    };
    checks.push(("online", online));

    let failed = checks.iter().filter(|(_, outcome)| outcome.is_err()).count();
    let rows = checks.iter().map(|(name, outcome)| match outcome {
        Ok(found) => ["ok".to_owned(), (*name).to_owned(), found.clone()],
        Err(error) => ["FAILED".to_owned(), (*name).to_owned(), error.to_string()],
    });
    let text = table(&["", "part", "found"], rows);
    let json: Vec<Value> = checks
        .iter()
        .map(|(name, outcome)| match outcome {
            Ok(found) => json!({ "part": name, "ok": true, "found": found }),
            Err(error) => json!({ "part": name, "ok": false, "error": error_json(error) }),
        })
        .collect();
    if failed == 0 {
        return Ok(Answer::new(json!(json), text));
    }
    let mut error = Error::unavailable(match failed {
        1 => "a part of the project does not work".to_owned(),
        _ => format!("{failed} parts of the project do not work"),
    })
    .with_help("what is wrong with each of them follows");
    for (name, found) in &checks {
        error = match found {
            Ok(found) => error.with_note(format!("ok: {name}, {found}")),
            Err(_) => error.with_note(format!("FAILED: {name}")),
        };
    }
    let related = checks.into_iter().filter_map(|(_, outcome)| outcome.err()).collect();
    Err(error.with_related(related))
}

/// Looks for the snapshot that carries an attempt's id.
pub(super) async fn attempt(context: &Context, args: &AttemptArgs) -> Result<Answer> {
    let project = context.open().await?;
    if let Some(made) = project.catalog().find_attempt(&args.id).await? {
        let pin = made.pinned;
        let json = json!({
            "attempt": args.id, "committed": true, "table": pin.table, "snapshot_id": pin.snapshot,
        });
        let text = facts(&[
            ("committed", "yes: do not repeat it".to_owned()),
            ("table", pin.table.to_string()),
            ("snapshot", pin.snapshot.to_string()),
        ]);
        return Ok(Answer::new(json, text));
    }
    let text = "committed  no snapshot carries this attempt: it is safe to repeat it";
    Ok(Answer::new(json!({ "attempt": args.id, "committed": false }), text))
}

pub(super) fn completions(shell: clap_complete::Shell) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::args::command(), "icecore", &mut script);
    let _ = script.flush();
    let text = String::from_utf8_lossy(&script).into_owned();
    Answer::new(json!({ "shell": shell.to_string(), "script": text }), text)
}
