//! What templates can name: `ref`, `source`, `var`, `this` and the rest.

use std::sync::Arc;

use icecore_core::{Error, ErrorKind, TableName};
use minijinja::Environment;
use minijinja::value::{Kwargs, Rest, Value};

use super::moment::Moment;
use super::{Relation, Surroundings, Template, Trail, from_json, to_jinja, to_json};

/// The names that templates can use, for errors.
pub(super) const KNOWN: [&str; 20] = [
    "ref",
    "source",
    "this",
    "config",
    "is_incremental",
    "var",
    "run_started_at",
    "env_var",
    "target",
    "model",
    "invocation_id",
    "execute",
    "project_name",
    "flags",
    "log",
    "return",
    "exceptions",
    "tojson",
    "dbt",
    "set",
];

/// What to do where a name of dbt is not there.
pub(super) fn alternative(name: &str) -> Option<&'static str> {
    Some(match name {
        "run_query" | "statement" | "load_result" => {
            "a template asks no queries: what it compiles to may depend on the project alone; join \
             the table instead"
        }
        "adapter" | "api" | "graph" | "builtins" | "schemas" | "database" => {
            "a template does not change or list tables; models, `ref` and `source` do"
        }
        "dbt_utils" | "dbt_expectations" | "dbt_date" | "codegen" => {
            "packages are not installed; copy the macros that you need into `macros/`"
        }
        "snapshot" | "materialization" => "every table keeps its history; there are no snapshots",
        "modules" | "open" | "fromyaml" | "local_md5" => {
            "a template reaches nothing of the machine"
        }
        _ => return None,
    })
}

type Answer = Result<Value, minijinja::Error>;

pub(super) fn add(
    env: &mut Environment<'_>,
    surroundings: &Surroundings,
    template: &Template<'_>,
    trail: &Arc<Trail>,
) {
    add_relations(env, template, trail);
    add_values(env, surroundings, template);
    add_vars(env, surroundings, trail);
    let is_incremental = template.is_incremental;
    env.add_function("is_incremental", move || is_incremental);
    env.add_function("log", |_: Rest<Value>| Value::from(""));
    env.add_function("print", |_: Rest<Value>| Value::from(""));
    env.add_function("return", |value: Value| value);
    env.add_function("tojson", |value: Value| to_json(&value).to_string());
    env.add_function("set", |values: Value| values);
}

fn add_relations(env: &mut Environment<'_>, template: &Template<'_>, trail: &Arc<Trail>) {
    let relations = Arc::new(template.relations.clone());
    let execute = template.execute;
    let resolve = move |key: String, table: &str| -> Answer {
        match relations.get(&key) {
            Some(name) => Ok(Value::from_object(Relation(name.clone()))),
            // Collecting names: what they mean is seen later.
            None if !execute => {
                let name = TableName::parse(&format!("unresolved.{table}")).map_err(to_jinja)?;
                Ok(Value::from_object(Relation(name)))
            }
            None => Err(to_jinja(Error::internal(format!("`{key}` was not resolved")))),
        }
    };
    let (notes, find) = (Arc::clone(trail), resolve.clone());
    env.add_function("ref", move |names: Rest<Value>| -> Answer {
        let plain: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
        if names.iter().any(Value::is_kwargs) {
            return Err(to_jinja(
                Error::unsupported("`ref` takes no version").with_help("write `ref('name')`"),
            ));
        }
        let ([name] | [_, name]) = plain.as_slice() else {
            return Err(to_jinja(
                Error::invalid("`ref` takes the name of a model").with_help("write `ref('name')`"),
            ));
        };
        notes.note(|done| done.refs.push((*name).to_owned()));
        find(format!("ref {name}"), name)
    });
    let notes = Arc::clone(trail);
    env.add_function("source", move |source: &str, table: &str| -> Answer {
        notes.note(|done| done.sources.push((source.to_owned(), table.to_owned())));
        resolve(format!("source {source}.{table}"), table)
    });
}

fn add_values(env: &mut Environment<'_>, surroundings: &Surroundings, template: &Template<'_>) {
    if let Some(this) = &template.this {
        env.add_global("this", Value::from_object(Relation(this.clone())));
    }
    let started = || Value::from_object(Moment::new(surroundings.started_at));
    env.add_global("run_started_at", started());
    env.add_global("invocation_id", surroundings.run_id.clone());
    env.add_global("project_name", surroundings.project.clone());
    env.add_global("execute", template.execute);
    env.add_global(
        "target",
        from_json(&serde_json::json!({
            "name": "icecore", "type": "icecore", "schema": surroundings.schema,
            "database": "icecore", "profile_name": surroundings.project, "threads": 4,
        })),
    );
    env.add_global(
        "flags",
        from_json(&serde_json::json!({
            "FULL_REFRESH": surroundings.full_refresh, "WHICH": "run",
        })),
    );
    env.add_global(
        "model",
        from_json(&serde_json::json!({
            "name": template.name, "original_file_path": template.file,
            "alias": template.this.as_ref().map(TableName::table),
            "schema": template.this.as_ref().map(TableName::namespace),
        })),
    );
    let raise = Value::from_function(|message: &str| -> Answer {
        Err(to_jinja(Error::invalid(message.to_owned())))
    });
    let warn = Value::from_function(|message: &str| {
        tracing::warn!(message, "a template warns");
        Value::from("")
    });
    env.add_global(
        "exceptions",
        Value::from_pairs([("raise_compiler_error", raise), ("warn", warn)]),
    );
    env.add_global("dbt", cross_database());
}

/// An argument, or nothing.
fn get(values: &[String], index: usize) -> &str {
    values.get(index).map_or("", String::as_str)
}

/// The macros of dbt that hide what databases write differently.
fn cross_database() -> Value {
    let function = |name: &'static str, body: fn(&[String]) -> String| {
        let called = Value::from_function(move |values: Rest<Value>| {
            let values: Vec<String> = values.iter().map(ToString::to_string).collect();
            Value::from(body(&values))
        });
        (name, called)
    };
    Value::from_pairs([
        function("current_timestamp", |_| "now()".to_owned()),
        function("dateadd", |v| format!("dateadd('{}', {}, {})", get(v, 0), get(v, 1), get(v, 2))),
        function("datediff", |v| {
            format!("datediff('{}', {}, {})", get(v, 2), get(v, 0), get(v, 1))
        }),
        function("date_trunc", |v| format!("date_trunc('{}', {})", get(v, 0), get(v, 1))),
        function("safe_cast", |v| format!("try_cast({} as {})", get(v, 0), get(v, 1))),
        function("cast", |v| format!("cast({} as {})", get(v, 0), get(v, 1))),
        function("length", |v| format!("length({})", get(v, 0))),
        function("hash", |v| format!("md5(cast({} as varchar))", get(v, 0))),
        function("split_part", |v| {
            format!("split_part({}, {}, {})", get(v, 0), get(v, 1), get(v, 2))
        }),
        function("type_string", |_| "varchar".to_owned()),
        function("type_int", |_| "bigint".to_owned()),
        function("type_bigint", |_| "bigint".to_owned()),
        function("type_float", |_| "double".to_owned()),
        function("type_numeric", |_| "decimal(28, 6)".to_owned()),
        function("type_boolean", |_| "boolean".to_owned()),
        function("type_timestamp", |_| "timestamp".to_owned()),
    ])
}

fn add_vars(env: &mut Environment<'_>, surroundings: &Surroundings, trail: &Arc<Trail>) {
    let vars = Arc::new(surroundings.vars.clone());
    let notes = Arc::clone(trail);
    env.add_function("var", move |name: &str, default: Option<Value>| -> Answer {
        let value = match (vars.get(name), default) {
            (Some(value), _) => from_json(value),
            (None, Some(default)) => default,
            (None, None) => {
                let known: Vec<&str> = vars.keys().map(String::as_str).collect();
                return Err(to_jinja(
                    Error::not_found(format!("there is no var `{name}`"))
                        .with_note(format!("vars: {}", known.join(", ")))
                        .with_help(format!("give it with `--vars '{name}: value'`, or a default"))
                        .with_candidates(name, known.iter().copied()),
                ));
            }
        };
        notes.note(|done| {
            done.vars.insert(name.to_owned(), to_json(&value));
        });
        Ok(value)
    });
    let environment = Arc::new(surroundings.environment.clone());
    env.add_function("env_var", move |name: &str, default: Option<Value>, _: Kwargs| -> Answer {
        match (environment.get(name), default) {
            (Some(value), _) => Ok(Value::from(value.clone())),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(to_jinja(
                Error::new(ErrorKind::Denied, format!("a template may not see `{name}`"))
                    .with_note("templates see the variables that the project grants them")
                    .with_help(format!(
                        "write `env_vars = [\"{name}\"]` under `[models]` in `icecore.toml`"
                    )),
            )),
        }
    });
}
