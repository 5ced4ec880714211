//! `icecore demo`: the whole story, through the same calls as the single commands.
//!
//! Every step is safe to repeat, so a demo that was killed can simply be run again.

mod questions;
mod story;
mod world;

use std::fs;
use std::path::Path;
use std::time::Instant;

use icecore::{Project, Template};
use icecore_core::{Error, Result};
use icecore_testkit::Cdnow;
use serde_json::{Value, json};

use crate::args::DemoArgs;
use crate::commands::Context;
use crate::report::Answer;

use world::World;

/// A step of the story: the command that does the same, and what came of it.
#[derive(Debug)]
struct Step {
    name: &'static str,
    command: String,
    seconds: f64,
    lines: Vec<String>,
    json: Value,
}

/// What a step found: lines for people, and a document.
struct Found {
    command: String,
    lines: Vec<String>,
    json: Value,
}

pub(crate) async fn run(context: &Context, args: DemoArgs) -> Result<Answer> {
    let begun = Instant::now();
    if let Some(file) = &args.data {
        // A file that cannot be read leaves no half of a project behind.
        Cdnow::read(file)?;
    }
    icecore::init(&args.dir, Template::Churn)?;
    if let Some(url) = &args.redis {
        use_redis(&args.dir, url)?;
    }
    context.progress.say("making the world");
    let world = World::make(&args.dir, &args).await?;
    let project = Project::open(&args.dir, context.options()).await?;
    let story = story::Story { project: &project, world: &world, dir: &args.dir };

    let mut steps = Vec::new();
    for (name, chapter) in story::CHAPTERS {
        context.progress.say(name);
        let started = Instant::now();
        for found in Box::pin(story.tell(chapter)).await? {
            steps.push(Step {
                name,
                command: found.command,
                seconds: started.elapsed().as_secs_f64(),
                lines: found.lines,
                json: found.json,
            });
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Answer::new(
        document(&args.dir, &world, &steps, seconds),
        text(&args.dir, &world, &steps, seconds),
    ))
}

/// Puts the store's address where a user would write it.
fn use_redis(dir: &Path, url: &str) -> Result<()> {
    let path = dir.join("icecore.toml");
    let settings = fs::read_to_string(&path).and_then(|text| {
        let line = format!("url = {}", toml_string(url));
        let lines: Vec<&str> = text
            .lines()
            .map(|old| {
                let is_url = old.trim_start_matches("# ").starts_with("url = ");
                if is_url { line.as_str() } else { old }
            })
            .collect();
        fs::write(&path, format!("{}\n", lines.join("\n")))
    });
    settings.map_err(|error| {
        Error::unavailable(format!("cannot write `{}`", path.display())).with_source(error)
    })
}

/// A string as TOML spells it: its basic strings are JSON's.
fn toml_string(text: &str) -> String {
    Value::from(text).to_string()
}

fn document(dir: &Path, world: &World, steps: &[Step], seconds: f64) -> Value {
    let steps: Vec<Value> = steps
        .iter()
        .map(|step| {
            json!({
                "step": step.name, "command": step.command, "seconds": step.seconds,
                "result": step.json,
            })
        })
        .collect();
    json!({
        "project": dir, "steps": steps, "seconds": seconds, "malformed": world.malformed,
    })
}

fn text(dir: &Path, world: &World, steps: &[Step], seconds: f64) -> String {
    let mut text = String::new();
    let mut chapter = "";
    for step in steps {
        if step.name != chapter {
            chapter = step.name;
            text.push_str(&format!("\n{chapter}\n"));
        }
        text.push_str(&format!("  $ icecore {}\n", step.command));
        for line in &step.lines {
            text.push_str(&format!("    {}\n", line.trim_end()));
        }
    }
    if !world.malformed.is_empty() {
        text.push_str(&format!(
            "\n{} lines of the file could not be read:\n",
            world.malformed.len()
        ));
        for line in world.malformed.iter().take(5) {
            text.push_str(&format!("    {}\n", line.trim_end()));
        }
    }
    text.push_str(&format!(
        "\nThe whole story took {seconds:.1} s. The project stays in {0}: go on with\n  \
         cd {0}\n  icecore table list\n  icecore sql \"SELECT score_bucket, count(*) FROM \
         ml_predictions.churn_scores GROUP BY 1\"\n  icecore serve\n",
        dir.display()
    ));
    text
}
