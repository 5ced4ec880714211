//! Definitions as a file: the same for every way to write them.

use icecore_core::{Entity, Error, FeatureView, Result};
use serde::Serialize;

use crate::Definitions;
use crate::parse::parameter_of;

#[derive(Serialize)]
struct File<'a> {
    #[serde(rename = "entity", skip_serializing_if = "Vec::is_empty")]
    entities: Vec<&'a Entity>,
    #[serde(rename = "feature_view", skip_serializing_if = "Vec::is_empty")]
    views: Vec<&'a FeatureView>,
}

impl Definitions {
    /// All definitions as one TOML file, in their canonical form: every key in its place, without
    /// comments. [`parse`](Self::parse) gives the same definitions back.
    ///
    /// # Errors
    ///
    /// `Internal` if something cannot be written, which checked definitions never are.
    pub fn to_toml(&self) -> Result<String> {
        write(&File {
            entities: self.entities.iter().collect(),
            views: self.views.iter().collect(),
        })
    }

    /// One view and the entities that it names, as [`to_toml`](Self::to_toml).
    ///
    /// # Errors
    ///
    /// `NotFound` for an entity that these definitions do not have.
    pub fn view_toml(&self, view: &FeatureView) -> Result<String> {
        let entities = view.entities.iter().map(|name| self.entity(name));
        write(&File { entities: entities.collect::<Result<_>>()?, views: vec![view] })
    }
}

fn write(file: &File<'_>) -> Result<String> {
    let failed = |error| Error::internal("definitions cannot be written").with_source(error);
    let mut document = toml::Value::try_from(file).map_err(failed)?;
    let views = document.get_mut("feature_view").and_then(toml::Value::as_array_mut);
    for view in views.into_iter().flatten() {
        if let Some(emit) = view.get_mut("emit") {
            flatten(emit);
        }
        let aggregates = view.get_mut("aggregate").and_then(toml::Value::as_array_mut);
        for aggregate in aggregates.into_iter().flatten().filter_map(toml::Value::as_table_mut) {
            name_parameter(aggregate);
        }
    }
    toml::to_string(&document).map_err(failed)
}

/// Users write `function = "last_k"` and `k = 3`, where serde has `{ last_k = 3 }`.
fn name_parameter(aggregate: &mut toml::Table) {
    let plain = aggregate.get("function").is_none_or(toml::Value::is_str);
    let Some(toml::Value::Table(function)) =
        (!plain).then(|| aggregate.remove("function")).flatten()
    else {
        return;
    };
    let Some((name, value)) = function.into_iter().next() else { return };
    if let Some(parameter) = parameter_of(&name) {
        aggregate.insert(parameter.to_owned(), value);
    }
    aggregate.insert("function".to_owned(), toml::Value::String(name));
}

/// Users write the grid as `{ every = "1d", align = "8h" }`, in one table.
fn flatten(emit: &mut toml::Value) {
    let Some(toml::Value::Table(grid)) = emit.get("every") else { return };
    let mut grid = grid.clone();
    grid.retain(|key, value| key != "align" || value.as_str() != Some("0us"));
    *emit = toml::Value::Table(grid);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::VIEWS;

    #[test]
    fn what_is_written_reads_as_the_same() {
        let definitions = Definitions::parse("f.toml", VIEWS).unwrap();
        let text = definitions.to_toml().unwrap();
        let again = Definitions::parse("g.toml", &text).unwrap();
        assert_eq!(again.entities, definitions.entities);
        assert_eq!(again.views, definitions.views);
        assert_eq!(again.to_toml().unwrap(), text);
        for (view, other) in definitions.views.iter().zip(&again.views) {
            assert_eq!(definitions.definition_hash(view), again.definition_hash(other));
            let alone = Definitions::parse("h.toml", &definitions.view_toml(view).unwrap());
            assert_eq!(alone.unwrap().view(&view.name).unwrap(), view);
        }
        let code = Definitions::new(again.entities, again.views);
        assert_eq!(code.unwrap().to_toml().unwrap(), text);
    }
}
