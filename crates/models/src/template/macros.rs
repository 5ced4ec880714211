//! Macros of `macros/**/*.sql`, which all templates know by their names.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use icecore_core::{Error, ErrorKind};
use minijinja::value::{Object, ObjectRepr, Value};
use minijinja::{Environment, State};

use super::{Trail, to_jinja};

/// How deep macros of different files may call each other.
const DEPTH_MAX: usize = 40;
/// How many calls of macros a template may make.
const CALLS_MAX: usize = 20_000;

/// A file of macros.
#[derive(Debug, Clone)]
pub(crate) struct MacroFile {
    /// The file's name.
    pub(crate) file: String,
    /// Its text, with tests as macros.
    text: String,
    /// The macros that it defines.
    names: Vec<String>,
}

impl MacroFile {
    /// Reads which macros a file defines. `{% test x(…) %}` defines `test_x`.
    pub(crate) fn new(file: String, text: &str) -> Self {
        let mut names = Vec::new();
        let mut rewritten = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("{%") {
            let (before, block) = rest.split_at(start);
            rewritten.push_str(before);
            let end = block.find("%}").map_or(block.len(), |end| end + 2);
            let (block, after) = block.split_at(end);
            let inner = block.trim_start_matches("{%").trim_start_matches('-').trim_start();
            if let Some(definition) = word(inner, "macro") {
                names.push(name(definition));
                rewritten.push_str(block);
            } else if let Some(definition) = word(inner, "test") {
                names.push(format!("test_{}", name(definition)));
                rewritten.push_str(&block.replacen("test", "macro", 1).replacen(
                    &name(definition),
                    &format!("test_{}", name(definition)),
                    1,
                ));
            } else if inner.starts_with("endtest") {
                rewritten.push_str(&block.replacen("endtest", "endmacro", 1));
            } else {
                rewritten.push_str(block);
            }
            rest = after;
        }
        rewritten.push_str(rest);
        Self { file, text: rewritten, names }
    }

    /// The macros that it defines.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Its text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// What follows a word and a space.
fn word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    text.strip_prefix(word)
        .filter(|rest| rest.starts_with(char::is_whitespace))
        .map(str::trim_start)
}

fn name(definition: &str) -> String {
    definition.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Files of macros, by their names and texts.
pub(crate) fn macro_files(files: impl IntoIterator<Item = (String, String)>) -> Vec<MacroFile> {
    files.into_iter().map(|(file, text)| MacroFile::new(file, &text)).collect()
}

/// A macro that is called from anywhere.
#[derive(Debug)]
struct Macro {
    file: String,
    name: String,
    depth: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
    trail: Arc<Trail>,
}

impl Object for Macro {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(
        self: &Arc<Self>,
        state: &mut State<'_, '_>,
        args: &[Value],
    ) -> Result<Value, minijinja::Error> {
        self.trail.note(|done| {
            done.macros.insert(self.name.clone());
        });
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.depth.fetch_add(1, Ordering::Relaxed) >= DEPTH_MAX || calls >= CALLS_MAX {
            return Err(to_jinja(too_deep(&self.name)));
        }
        let template = state.env().get_template(&self.file)?;
        let mut captured = template.render_captured(Value::UNDEFINED)?;
        let result = captured.with_state_mut(|state| state.call_macro(&self.name, args))?;
        self.depth.fetch_sub(1, Ordering::Relaxed);
        Ok(Value::from(result))
    }
}

/// The error for macros that call themselves without end.
pub(super) fn too_deep(name: &str) -> Error {
    Error::new(ErrorKind::LimitExceeded, format!("macros of `{name}` call each other too deep"))
        .with_help("look for a macro that calls itself without coming to an end")
}

pub(super) fn add(
    env: &mut Environment<'_>,
    files: &[MacroFile],
    trail: &Arc<Trail>,
) -> Result<(), minijinja::Error> {
    let (depth, calls) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for file in files {
        env.add_template_owned(file.file.clone(), file.text.clone())?;
        for name in &file.names {
            let called = Macro {
                file: file.file.clone(),
                name: name.clone(),
                depth: Arc::clone(&depth),
                calls: Arc::clone(&calls),
                trail: Arc::clone(trail),
            };
            env.add_global(name.clone(), Value::from_object(called));
        }
    }
    Ok(())
}
