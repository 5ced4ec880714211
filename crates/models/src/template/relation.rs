//! A table's name as templates see it: `{{ this }}`, `{{ ref('x') }}`.

use std::fmt;
use std::sync::Arc;

use icecore_core::TableName;
use minijinja::value::{Object, ObjectRepr, Value};

/// A table's name, which prints as SQL writes it.
#[derive(Debug, Clone)]
pub(crate) struct Relation(pub(crate) TableName);

/// A name as SQL writes it.
pub(crate) fn quoted(name: &TableName) -> String {
    format!("\"{}\".\"{}\"", name.namespace(), name.table())
}

impl Object for Relation {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(match key.as_str()? {
            "schema" => Value::from(self.0.namespace()),
            "identifier" | "name" | "table" => Value::from(self.0.table()),
            "database" => Value::from("icecore"),
            "is_table" => Value::from(true),
            _ => return None,
        })
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.0))
    }
}
