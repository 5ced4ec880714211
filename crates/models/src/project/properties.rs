//! Property files: sources, descriptions, tests, unit tests.

use std::collections::BTreeMap;

use icecore_core::{Error, Location, Result, TableName};
use serde_json::Value;

use super::files::SourceFile;
use super::{Column, SourceTable};
use crate::yaml::{self, Object};

/// What is said of a model or seed.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// The file.
    pub(super) file: String,
    pub(super) description: String,
    pub(super) config: Object,
    pub(super) columns: BTreeMap<String, Column>,
    /// Tests as they are said, with the column that they are said of.
    pub(super) tests: Vec<(Option<String>, Value)>,
}

/// What all property files say.
#[derive(Debug, Default)]
pub(super) struct Properties {
    /// By kind and name: `models`, `seeds`.
    pub(super) nodes: BTreeMap<(&'static str, String), Said>,
    /// By source and table, with the tests of each.
    pub(super) sources: Vec<(SourceTable, Said)>,
    /// As they are said, with their files.
    pub(super) unit_tests: Vec<(String, Object)>,
}

/// The keys of a property file.
const KEYS: [&str; 12] = [
    "version",
    "models",
    "seeds",
    "sources",
    "unit_tests",
    "macros",
    "exposures",
    "metrics",
    "semantic_models",
    "groups",
    "saved_queries",
    "data_tests",
];

impl Properties {
    pub(super) fn read(project: &str, files: &[(SourceFile, Object)]) -> Result<Self> {
        let mut all = Self::default();
        for (file, object) in files {
            let here = |error: Error| error.at(Location::of_file(file.file.clone()));
            if let Some(key) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
                return Err(here(
                    Error::invalid(format!("unknown key `{key}`"))
                        .with_note(format!("keys: {}", KEYS.join(", ")))
                        .with_candidates(key, KEYS),
                ));
            }
            for kind in ["models", "seeds"] {
                for said in yaml::objects(object, kind) {
                    let name = named(said, kind).map_err(here)?;
                    let said = Said::read(&file.file, said);
                    if all.nodes.insert((kind, name.clone()), said).is_some() {
                        return Err(here(Error::invalid(format!(
                            "`{name}` is described twice under `{kind}`"
                        ))));
                    }
                }
            }
            for source in yaml::objects(object, "sources") {
                all.sources.extend(sources(project, &file.file, source).map_err(here)?);
            }
            let tests = yaml::objects(object, "unit_tests");
            all.unit_tests.extend(tests.map(|test| (file.file.clone(), test.clone())));
        }
        Ok(all)
    }
}

fn named(object: &Object, kind: &str) -> Result<String> {
    yaml::text(object, "name")
        .ok_or_else(|| Error::invalid(format!("an entry under `{kind}` has no `name`")))
}

impl Said {
    fn read(file: &str, object: &Object) -> Self {
        let mut config =
            object.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
        for key in ["tags", "meta"] {
            if let Some(value) = object.get(key) {
                config.entry(key).or_insert_with(|| value.clone());
            }
        }
        let mut tests = Vec::new();
        let mut said_tests = |object: &Object, column: Option<&String>| {
            for key in ["tests", "data_tests"] {
                let all = object.get(key).and_then(Value::as_array);
                tests.extend(all.into_iter().flatten().map(|test| (column.cloned(), test.clone())));
            }
        };
        let mut columns = BTreeMap::new();
        for column in yaml::objects(object, "columns") {
            let Some(name) = yaml::text(column, "name") else { continue };
            said_tests(column, Some(&name));
            let meta = column.get("meta").and_then(Value::as_object).cloned().unwrap_or_default();
            let described = Column {
                name: name.clone(),
                description: yaml::text(column, "description").unwrap_or_default(),
                data_type: yaml::text(column, "data_type"),
                tags: yaml::texts(column, "tags"),
                meta,
            };
            columns.insert(name, described);
        }
        said_tests(object, None);
        Self {
            file: file.to_owned(),
            description: yaml::text(object, "description").unwrap_or_default(),
            config,
            columns,
            tests,
        }
    }
}

fn sources(project: &str, file: &str, source: &Object) -> Result<Vec<(SourceTable, Said)>> {
    let name = named(source, "sources")?;
    let schema = yaml::text(source, "schema").unwrap_or_else(|| name.clone());
    let mut all = Vec::new();
    for table in yaml::objects(source, "tables") {
        let table_name = named(table, "tables")?;
        let identifier = yaml::text(table, "identifier").unwrap_or_else(|| table_name.clone());
        let said = Said::read(file, table);
        let of = |key: &str| table.get(key).or_else(|| source.get(key)).cloned();
        let config = table.get("config").and_then(Value::as_object);
        let in_config = |key: &str| config.and_then(|config| config.get(key)).cloned();
        let freshness = of("freshness").or_else(|| in_config("freshness")).unwrap_or_default();
        let loaded_at = of("loaded_at_field").or_else(|| in_config("loaded_at_field"));
        let declared = SourceTable {
            unique_id: format!("source.{project}.{name}.{table_name}"),
            source_name: name.clone(),
            relation: TableName::parse(&format!("{schema}.{identifier}"))?,
            name: table_name,
            file: file.to_owned(),
            description: said.description.clone(),
            columns: said.columns.clone(),
            loaded_at_field: loaded_at.as_ref().and_then(yaml::scalar),
            freshness,
            tags: yaml::texts(table, "tags"),
        };
        all.push((declared, said));
    }
    Ok(all)
}
