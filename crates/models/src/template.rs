//! Templates: what a model's file says, rendered in a sandbox.
//!
//! A template sees what dbt shows it and nothing else: no files, no network, no clock but the run's,
//! and of the environment only what the project grants. How long it runs, how deep its macros call
//! each other and how much it writes is bounded.

mod macros;
mod moment;
mod names;
mod relation;
mod settings;
mod sink;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use icecore_core::{Error, Location, Result, TableName, Timestamp};
use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, ErrorKind as JinjaKind, UndefinedBehavior};

use crate::yaml::Object;

pub(crate) use macros::{MacroFile, macro_files};
pub(crate) use relation::{Relation, quoted};

/// Steps of a template: loops that never end come to an end here.
const FUEL: u64 = 2_000_000;
/// How deep a macro may call itself within its file.
const DEPTH_MAX: usize = 60;
/// The most that a template may write.
const OUTPUT_MAX: usize = 8 << 20;
/// The stack that templates are run on: deep calls are found by the limits, not by a crash.
const STACK_BYTES: usize = 256 << 20;

/// What all templates of a run see alike.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// The macros of the project.
    pub(crate) macros: Arc<Vec<MacroFile>>,
    /// Values of `var`.
    pub(crate) vars: Object,
    /// What `env_var` may see.
    pub(crate) environment: BTreeMap<String, String>,
    /// When the run began.
    pub(crate) started_at: Timestamp,
    /// The run's id.
    pub(crate) run_id: String,
    /// The project's name.
    pub(crate) project: String,
    /// Where models are put unless they say otherwise.
    pub(crate) schema: String,
    /// Whether the run is a full one.
    pub(crate) full_refresh: bool,
}

/// One template to render.
#[derive(Debug, Clone)]
pub(crate) struct Template<'t> {
    /// The file's name, for errors.
    pub(crate) file: &'t str,
    /// Its text.
    pub(crate) text: &'t str,
    /// The node's name.
    pub(crate) name: &'t str,
    /// The node's table.
    pub(crate) this: Option<TableName>,
    /// What `is_incremental()` answers.
    pub(crate) is_incremental: bool,
    /// Whether names are resolved, rather than collected.
    pub(crate) execute: bool,
    /// What `config.get` sees.
    pub(crate) config: Object,
    /// The tables of the names that `ref` and `source` take, by `ref NAME` and `source A.B`.
    pub(crate) relations: BTreeMap<String, TableName>,
}

/// What a template came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rendered {
    /// The text.
    pub(crate) text: String,
    /// The names that `ref` was called with, in order.
    pub(crate) refs: Vec<String>,
    /// The names that `source` was called with, in order.
    pub(crate) sources: Vec<(String, String)>,
    /// What `config` was called with.
    pub(crate) config: Object,
    /// The macros that were called.
    pub(crate) macros: BTreeSet<String>,
    /// What `var` answered.
    pub(crate) vars: Object,
}

/// What a template does while it is rendered.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    pub(crate) done: Mutex<Rendered>,
}

impl Trail {
    pub(crate) fn note(&self, note: impl FnOnce(&mut Rendered)) {
        note(&mut self.done.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Renders a template.
///
/// # Errors
///
/// `InvalidInput` with the place of the mistake; `LimitExceeded` for one that runs too long, calls
/// too deep or writes too much.
pub(crate) fn render(surroundings: &Surroundings, template: &Template<'_>) -> Result<Rendered> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("template".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || render_here(surroundings, template))
            .map_err(|error| Error::unavailable("cannot start a thread").with_source(error))?;
        thread.join().unwrap_or_else(|_| Err(Error::internal("a template's thread died")))
    })
}

fn render_here(surroundings: &Surroundings, template: &Template<'_>) -> Result<Rendered> {
    let trail = Arc::new(Trail::default());
    let mut env = Environment::new();
    env.set_debug(true);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(DEPTH_MAX);
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    names::add(&mut env, surroundings, template, &trail);
    settings::add(&mut env, template, &trail);
    let files = Arc::clone(&surroundings.macros);
    let explained = |error: minijinja::Error| explain(&error, surroundings, template);
    macros::add(&mut env, &files, &trail).map_err(explained)?;
    env.add_template_owned(template.file.to_owned(), template.text.to_owned())
        .map_err(explained)?;
    let mut sink = sink::Sink::new(OUTPUT_MAX);
    {
        let compiled = env.get_template(template.file).map_err(explained)?;
        compiled.render_captured_to(Value::UNDEFINED, &mut sink).map_err(explained)?;
    }
    let text = sink.into_text()?;
    let mut rendered =
        std::mem::take(&mut *trail.done.lock().unwrap_or_else(PoisonError::into_inner));
    rendered.text = text;
    Ok(rendered)
}

/// Says in our words what a template did wrong.
fn explain(
    error: &minijinja::Error,
    surroundings: &Surroundings,
    template: &Template<'_>,
) -> Error {
    if let Some(ours) = ours(error) {
        return placed(ours, error, template);
    }
    let detail = error.detail().unwrap_or_default();
    let found = match error.kind() {
        JinjaKind::OutOfFuel => Error::new(
            icecore_core::ErrorKind::LimitExceeded,
            format!("template `{}` does not come to an end", template.name),
        )
        .with_note(format!("it may take {FUEL} steps"))
        .with_help("look for a loop that is too long, or a macro that calls itself"),
        _ if detail.contains("recursion limit") => macros::too_deep(template.name),
        JinjaKind::UnknownFunction => {
            unknown(detail.split_whitespace().next().unwrap_or_default(), "function", surroundings)
        }
        JinjaKind::UndefinedError => unknown(written(error, template), "name", surroundings),
        JinjaKind::SyntaxError
            if ["include", "import", "extends", "from"]
                .iter()
                .any(|word| detail.contains(&format!("unknown statement {word}"))) =>
        {
            Error::new(icecore_core::ErrorKind::Denied, "a template reads no other file")
                .with_note("macros of `macros/**/*.sql` are known everywhere, without an import")
                .with_help("put what is shared into a macro")
        }
        _ if detail.contains("template state went away") => {
            Error::unsupported("a `call` block cannot be handed to a macro of another file")
                .with_help("pass the text as an argument")
        }
        kind if detail.is_empty() => Error::invalid(format!("the template fails: {kind}")),
        _ => Error::invalid(format!("the template fails: {detail}")),
    };
    placed(found, error, template)
}

/// An error of ours that passed through the template.
fn ours(error: &minijinja::Error) -> Option<Error> {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = at {
        // An error of writing hides what it was made of from its sources.
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let ours = inner.and_then(|inner| inner.downcast_ref::<Error>());
        if let Some(ours) = ours.or_else(|| cause.downcast_ref::<Error>()) {
            let mut copy = Error::new(ours.kind(), ours.to_string());
            if let Some(help) = ours.help() {
                copy = copy.with_help(help);
            }
            return Some(ours.notes().iter().fold(copy, |copy, note| copy.with_note(note)));
        }
        at = cause.source();
    }
    None
}

fn placed(found: Error, error: &minijinja::Error, template: &Template<'_>) -> Error {
    // The innermost place: where a macro fails, not where it is called.
    let (mut file, mut line) = (error.name(), error.line());
    let mut at: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(cause) = at {
        if let Some(inner) = cause.downcast_ref::<minijinja::Error>()
            && inner.line().is_some()
        {
            (file, line) = (inner.name(), inner.line());
        }
        at = cause.source();
    }
    found.at(Location {
        file: file.unwrap_or(template.file).to_owned(),
        line: line.unwrap_or(0),
        column: 0,
    })
}

/// The name that stands where an error is.
fn written<'t>(error: &minijinja::Error, template: &Template<'t>) -> &'t str {
    let range = error.range().filter(|_| error.name() == Some(template.file));
    let text = range.and_then(|range| template.text.get(range)).unwrap_or_default();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// The error for a name that nobody knows.
fn unknown(name: &str, what: &str, surroundings: &Surroundings) -> Error {
    if name.is_empty() {
        return Error::invalid("the template uses a value that is not there")
            .with_help("write `var('name', default)`, or look at the name for a typing error");
    }
    if let Some(other) = names::alternative(name) {
        return Error::unsupported(format!("a template has no `{name}`")).with_note(other);
    }
    let known: Vec<&str> = names::KNOWN
        .iter()
        .copied()
        .chain(surroundings.macros.iter().flat_map(MacroFile::names))
        .collect();
    Error::not_found(format!("the template calls an unknown {what} `{name}`"))
        .with_note(format!("it may call: {}", known.join(", ")))
        .with_candidates(name, known.iter().copied())
}

/// Puts an error of ours into a template.
pub(crate) fn to_jinja(error: Error) -> minijinja::Error {
    minijinja::Error::new(JinjaKind::InvalidOperation, error.to_string()).with_source(error)
}

/// The named arguments of a call as an object.
pub(crate) fn named(kwargs: &Kwargs) -> Result<Object, minijinja::Error> {
    let mut object = Object::new();
    for name in kwargs.args() {
        let value: Value = kwargs.get(name)?;
        object.insert(name.to_owned(), to_json(&value));
    }
    Ok(object)
}

/// A value of a template as JSON; what JSON has no word for becomes its text.
pub(crate) fn to_json(value: &Value) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_else(|_| serde_json::Value::String(value.to_string()))
}

/// JSON as a value of a template.
pub(crate) fn from_json(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::from(whole),
            (None, float) => Value::from(float.unwrap_or_default()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(from_json).collect(),
        Json::Object(object) => {
            Value::from_pairs(object.iter().map(|(key, value)| (key.as_str(), from_json(value))))
        }
    }
}
