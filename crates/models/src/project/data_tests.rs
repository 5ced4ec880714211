//! Tests that property files say: each becomes a query of the rows that should not be there.

use icecore_core::{Error, Result};
use serde_json::Value;

use super::{TestSpec, Threshold};
use crate::template::MacroFile;
use crate::yaml::{self, Object};

/// Where a test is attached: how a template names it, and what it is called in the test's name.
pub(super) struct Attached<'t> {
    /// `ref('x')` or `source('a', 'b')`.
    pub(super) call: String,
    /// The name.
    pub(super) name: String,
    /// The unique id.
    pub(super) id: &'t str,
}

/// A test, ready to be made a node.
pub(super) struct Said {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) config: Object,
    pub(super) spec: TestSpec,
}

const CONFIG_KEYS: [&str; 10] = [
    "severity",
    "error_if",
    "warn_if",
    "limit",
    "where",
    "enabled",
    "tags",
    "fail_calc",
    "store_failures",
    "meta",
];
const BUILT_IN: [&str; 4] = ["unique", "not_null", "accepted_values", "relationships"];

/// Reads a test.
///
/// # Errors
///
/// `NotFound` for a test that nobody defines; `InvalidInput` for one that lacks what it needs.
pub(super) fn read(
    said: &Value,
    column: Option<&str>,
    attached: &Attached<'_>,
    macros: &[MacroFile],
) -> Result<Said> {
    let (kind, mut arguments) = match said {
        Value::String(kind) => (kind.clone(), Object::new()),
        Value::Object(object) => with_arguments(object)?,
        _ => return Err(Error::invalid("a test is a name, or a name with what it is given")),
    };
    if let Some(Value::Object(inner)) = arguments.remove("arguments") {
        arguments.extend(inner);
    }
    let mut config = Object::new();
    if let Some(Value::Object(own)) = arguments.remove("config") {
        config.extend(own);
    }
    for key in CONFIG_KEYS {
        if let Some(value) = arguments.remove(key) {
            config.insert(key.to_owned(), value);
        }
    }
    let own_name = arguments.remove("name").as_ref().and_then(yaml::scalar);
    arguments.remove("description");
    let column = arguments
        .remove("column_name")
        .as_ref()
        .and_then(yaml::scalar)
        .or_else(|| column.map(str::to_owned));
    let asked = Asked {
        kind: &kind,
        column: column.as_deref(),
        arguments: &arguments,
        attached,
        condition: yaml::text(&config, "where"),
    };
    let text = asked.query(macros)?;
    let name =
        own_name.unwrap_or_else(|| long_name(&kind, column.as_deref(), &arguments, &attached.name));
    let spec = spec(&config, Some(kind), column, arguments, Some(attached.id.to_owned()))?;
    Ok(Said { name, text, config, spec })
}

/// How a test judges, from its settings.
pub(super) fn spec(
    config: &Object,
    name: Option<String>,
    column: Option<String>,
    arguments: Object,
    attached: Option<String>,
) -> Result<TestSpec> {
    let threshold = |key: &str| match yaml::text(config, key) {
        Some(text) => Threshold::parse(&text),
        None => Ok(Threshold::any()),
    };
    let severity = yaml::text(config, "severity").unwrap_or_else(|| "error".to_owned());
    if !["error", "warn"].iter().any(|known| severity.eq_ignore_ascii_case(known)) {
        return Err(Error::invalid(format!("`severity: {severity}` is none"))
            .with_help("write `error` or `warn`"));
    }
    Ok(TestSpec {
        name,
        column,
        arguments,
        is_error: severity.eq_ignore_ascii_case("error"),
        error_if: threshold("error_if")?,
        warn_if: threshold("warn_if")?,
        limit: config.get("limit").and_then(Value::as_u64),
        attached,
    })
}

/// `{unique: {…}}`, `{unique: null, config: {…}}`, or `{test_name: unique, …}`.
fn with_arguments(object: &Object) -> Result<(String, Object)> {
    if let Some(kind) = yaml::text(object, "test_name") {
        let mut rest = object.clone();
        rest.remove("test_name");
        return Ok((kind, rest));
    }
    let is_setting = |key: &str| {
        ["config", "name", "description", "arguments"].contains(&key) || CONFIG_KEYS.contains(&key)
    };
    let Some((kind, given)) = object.iter().find(|(key, _)| !is_setting(key)) else {
        return Err(Error::invalid("a test has no name"));
    };
    let mut arguments = given.as_object().cloned().unwrap_or_default();
    for (key, value) in object.iter().filter(|(key, _)| *key != kind) {
        arguments.entry(key).or_insert_with(|| value.clone());
    }
    Ok((kind.clone(), arguments))
}

/// What a test asks.
struct Asked<'t> {
    kind: &'t str,
    column: Option<&'t str>,
    arguments: &'t Object,
    attached: &'t Attached<'t>,
    /// The condition on the rows that are looked at.
    condition: Option<String>,
}

impl Asked<'_> {
    fn column(&self) -> Result<String> {
        self.column.map(identifier).ok_or_else(|| {
            Error::invalid(format!("test `{}` is of a column", self.kind))
                .with_help("put it under the column, or say `column_name`")
        })
    }

    fn text(&self, key: &str) -> Result<String> {
        yaml::text(self.arguments, key).ok_or_else(|| self.missing(key))
    }

    fn missing(&self, key: &str) -> Error {
        Error::invalid(format!("test `{}` of `{}` has no `{key}`", self.kind, self.attached.name))
    }

    /// What stands after `from`.
    fn from(&self) -> String {
        let call = &self.attached.call;
        match &self.condition {
            Some(condition) => {
                format!("(select * from {{{{ {call} }}}} where {condition}) as dbt_subquery")
            }
            None => format!("{{{{ {call} }}}}"),
        }
    }

    fn query(&self, macros: &[MacroFile]) -> Result<String> {
        let from = self.from();
        match self.kind {
            "not_null" => Ok(format!("select *\nfrom {from}\nwhere {} is null", self.column()?)),
            "unique" => {
                let column = self.column()?;
                Ok(format!(
                    "select\n    {column} as unique_field,\n    count(*) as n_records\nfrom {from}\n\
                     where {column} is not null\ngroup by {column}\nhaving count(*) > 1"
                ))
            }
            "accepted_values" => {
                let column = self.column()?;
                let values = self.arguments.get("values").and_then(Value::as_array);
                let values = values.ok_or_else(|| self.missing("values"))?;
                let values: Vec<String> = values.iter().map(literal).collect();
                Ok(format!(
                    "with all_values as (\n    select\n        {column} as value_field,\n        \
                     count(*) as n_records\n    from {from}\n    group by {column}\n)\nselect *\n\
                     from all_values\nwhere value_field not in ({})",
                    values.join(", ")
                ))
            }
            "relationships" => {
                let (column, to) = (self.column()?, self.text("to")?);
                let field = identifier(&self.text("field")?);
                Ok(format!(
                    "with child as (\n    select {column} as from_field\n    from {from}\n    \
                     where {column} is not null\n),\nparent as (\n    select {field} as to_field\n    \
                     from {{{{ {to} }}}}\n)\nselect from_field\nfrom child\n\
                     left join parent on child.from_field = parent.to_field\n\
                     where parent.to_field is null"
                ))
            }
            _ => self.own(macros),
        }
    }

    /// A test that the project defines.
    fn own(&self, macros: &[MacroFile]) -> Result<String> {
        let bare = self.kind.rsplit('.').next().unwrap_or(self.kind);
        let name = format!("test_{bare}");
        if !macros.iter().flat_map(MacroFile::names).any(|known| known == name) {
            let own = macros.iter().flat_map(MacroFile::names);
            let known: Vec<&str> =
                own.filter_map(|name| name.strip_prefix("test_")).chain(BUILT_IN).collect();
            return Err(Error::not_found(format!("there is no test `{bare}`"))
                .with_note(format!("tests: {}", known.join(", ")))
                .with_note("one of your own is `{% test NAME(model, column_name) %}` in `macros/`")
                .with_candidates(bare, known.iter().copied()));
        }
        let call = &self.attached.call;
        let mut given = vec![match &self.condition {
            Some(condition) => {
                let condition = Value::from(format!(" where {condition})"));
                format!("\"(select * from \" ~ {call} ~ {}", jinja(&condition))
            }
            None => call.clone(),
        }];
        let column = self.column.map(|column| jinja(&Value::from(column)));
        given.extend(column.map(|column| format!("column_name={column}")));
        let arguments = self.arguments.iter();
        given.extend(arguments.map(|(key, value)| format!("{key}={}", jinja(value))));
        Ok(format!("{{{{ {name}({}) }}}}", given.join(", ")))
    }
}

/// A column as SQL writes it: quoted where that is needed; what is an expression stays one.
fn identifier(column: &str) -> String {
    let is_name = column.chars().all(|c| c.is_alphanumeric() || c == '_');
    if is_name && column.chars().any(|c| c.is_uppercase() || !c.is_ascii()) {
        format!("\"{column}\"")
    } else {
        column.to_owned()
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        other => other.to_string(),
    }
}

/// A value as a template writes it.
fn jinja(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(jinja).collect::<Vec<_>>().join(", "))
        }
        Value::Object(object) => {
            let pairs: Vec<String> = object
                .iter()
                .map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), jinja(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::String(text) if text.starts_with("ref(") || text.starts_with("source(") => {
            text.clone()
        }
        other => other.to_string(),
    }
}

/// The name that dbt gives a test: `accepted_values_orders_status__paid__open`.
fn long_name(kind: &str, column: Option<&str>, arguments: &Object, of: &str) -> String {
    let clean = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
    };
    let mut parts: Vec<String> = column.map(clean).into_iter().collect();
    for value in arguments.values() {
        match value {
            Value::Array(items) => parts.extend(
                items
                    .iter()
                    .map(|item| clean(&yaml::scalar(item).unwrap_or_else(|| item.to_string()))),
            ),
            other => parts.push(clean(&yaml::scalar(other).unwrap_or_else(|| other.to_string()))),
        }
    }
    let kind = kind.replace('.', "_");
    format!("{kind}_{of}_{}", parts.join("__")).trim_end_matches('_').to_owned()
}
