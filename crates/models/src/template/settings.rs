//! `config(…)`, `config.get(…)`.

use std::sync::Arc;

use icecore_core::Error;
use minijinja::value::{Kwargs, Object, ObjectRepr, Value, from_args};
use minijinja::{Environment, State};

use super::{Template, Trail, from_json, named, to_jinja};
use crate::config::lay_over;

/// What a model says of itself.
#[derive(Debug)]
struct Settings {
    known: crate::yaml::Object,
    trail: Arc<Trail>,
}

impl Object for Settings {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(
        self: &Arc<Self>,
        _state: &mut State<'_, '_>,
        args: &[Value],
    ) -> Result<Value, minijinja::Error> {
        let said = match args {
            [one] if one.kind() == minijinja::value::ValueKind::Map && !one.is_kwargs() => {
                super::to_json(one).as_object().cloned().unwrap_or_default()
            }
            _ => {
                let (kwargs,): (Kwargs,) = from_args(args)?;
                named(&kwargs)?
            }
        };
        self.trail.note(|done| lay_over(&mut done.config, &said));
        Ok(Value::from(""))
    }

    fn call_method(
        self: &Arc<Self>,
        _state: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, minijinja::Error> {
        let (key, default): (&str, Option<Value>) = from_args(args)?;
        let mut all = self.known.clone();
        self.trail.note(|done| lay_over(&mut all, &done.config));
        match (method, all.get(key)) {
            ("get" | "require", Some(value)) => Ok(from_json(value)),
            ("get", None) => Ok(default.unwrap_or_else(|| Value::from(()))),
            ("require", None) => {
                Err(to_jinja(Error::invalid(format!("the model's `config` says no `{key}`"))))
            }
            _ => Err(to_jinja(
                Error::not_found(format!("`config` has no `{method}`"))
                    .with_note("it has: get, require"),
            )),
        }
    }
}

pub(super) fn add(env: &mut Environment<'_>, template: &Template<'_>, trail: &Arc<Trail>) {
    let settings = Settings { known: template.config.clone(), trail: Arc::clone(trail) };
    env.add_global("config", Value::from_object(settings));
}
