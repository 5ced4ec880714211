//! Tests that property files say.

use std::collections::BTreeMap;

use icecore_core::{Error, Result};
use serde_json::Value;

use super::{Work, at, only_common, sha256, unique};
use crate::config::NodeConfig;
use crate::project::files::SourceFile;
use crate::project::properties::Said;
use crate::project::{Node, NodeKind, UnitTest, data_tests};
use crate::yaml::{self, Object};

impl Work<'_> {
    pub(super) fn add_data_tests(&mut self) {
        let of_nodes = self.done.nodes.values().filter_map(|node| {
            let kind = if node.kind == NodeKind::Seed { "seeds" } else { "models" };
            let said = self.properties.nodes.get(&(kind, node.name.clone()))?;
            let call = format!("ref('{}')", node.name);
            Some((call, node.name.clone(), node.unique_id.clone(), said.clone()))
        });
        let of_sources = self.properties.sources.iter().map(|(source, said)| {
            let call = format!("source('{}', '{}')", source.source_name, source.name);
            let name = format!("source_{}_{}", source.source_name, source.name);
            (call, name, source.unique_id.clone(), said.clone())
        });
        let all: Vec<(String, String, String, Said)> = of_nodes.chain(of_sources).collect();
        for (call, name, id, said) in all {
            for (column, test) in &said.tests {
                let attached =
                    data_tests::Attached { call: call.clone(), name: name.clone(), id: &id };
                match self.data_test(test, column.as_deref(), &attached, &said.file) {
                    Ok(Some(test)) => {
                        self.done.nodes.insert(test.unique_id.clone(), test);
                    }
                    Ok(None) => {}
                    Err(error) => self.errors.push(at(error, &said.file)),
                }
            }
        }
    }

    fn data_test(
        &self,
        said: &Value,
        column: Option<&str>,
        attached: &data_tests::Attached<'_>,
        file: &str,
    ) -> Result<Option<Node>> {
        let test = data_tests::read(said, column, attached, &self.surroundings.macros)?;
        let source = SourceFile {
            path: format!("{}.sql", test.name),
            file: file.to_owned(),
            text: test.text.clone(),
        };
        let rendered = self.look(&test.name, &source, &Object::new())?;
        let config = NodeConfig::read(only_common(&test.config))?;
        if !config.enabled {
            return Ok(None);
        }
        let hash = self.hash(&test.text, &config, &rendered);
        let id = sha256(
            format!("{}{}", test.text, serde_json::to_string(&test.config).unwrap_or_default())
                .as_bytes(),
        );
        Ok(Some(Node {
            unique_id: format!(
                "test.{}.{}.{}",
                self.dbt.name,
                test.name,
                id.get(..10).unwrap_or_default()
            ),
            kind: NodeKind::Test,
            fqn: vec![self.dbt.name.clone(), test.name.clone()],
            path: source.path,
            file: file.to_owned(),
            text: test.text,
            description: String::new(),
            columns: BTreeMap::new(),
            relation: None,
            refs: unique(rendered.refs),
            sources: unique(rendered.sources),
            macros: rendered.macros.into_iter().collect(),
            depends_on: Vec::new(),
            hash,
            checksum: String::new(),
            config,
            test: Some(test.spec),
            name: test.name,
        }))
    }

    pub(super) fn add_unit_tests(&mut self) {
        let said = std::mem::take(&mut self.properties.unit_tests);
        for (file, test) in said {
            match self.unit_test(&file, &test) {
                Ok(test) => {
                    self.done.unit_tests.insert(test.unique_id.clone(), test);
                }
                Err(error) => self.errors.push(at(error, &file)),
            }
        }
    }

    fn unit_test(&self, file: &str, said: &Object) -> Result<UnitTest> {
        let need = |key: &str| {
            yaml::text(said, key)
                .ok_or_else(|| Error::invalid(format!("a unit test has no `{key}`")))
        };
        let (name, model) = (need("name")?, need("model")?);
        let models: Vec<&Node> =
            self.done.nodes.values().filter(|node| node.kind == NodeKind::Model).collect();
        let Some(of) = models.iter().find(|node| node.name == model) else {
            return Err(Error::not_found(format!(
                "unit test `{name}` is of an unknown model `{model}`"
            ))
            .with_candidates(&model, models.iter().map(|node| node.name.as_str())));
        };
        let rows = |object: &Object| -> Result<Vec<Object>> {
            match object.get("rows") {
                Some(Value::Array(rows)) if rows.iter().all(Value::is_object) => {
                    Ok(rows.iter().filter_map(Value::as_object).cloned().collect())
                }
                None => Ok(Vec::new()),
                _ => Err(Error::unsupported(format!(
                    "unit test `{name}` has rows that are no objects"
                ))
                .with_help("write each as `{column: value}`")),
            }
        };
        let given = yaml::objects(said, "given").map(|given| {
            let input = yaml::text(given, "input").unwrap_or_default();
            Ok((input.replace(['"', '\''], "").replace(' ', ""), rows(given)?))
        });
        let given = given.collect::<Result<Vec<_>>>()?;
        let overrides = said.get("overrides").and_then(Value::as_object);
        let part = |key: &str| {
            overrides
                .and_then(|o| o.get(key))
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default()
        };
        let expect = said.get("expect").and_then(Value::as_object);
        Ok(UnitTest {
            unique_id: format!("unit_test.{}.{model}.{name}", self.dbt.name),
            model_id: of.unique_id.clone(),
            file: file.to_owned(),
            description: yaml::text(said, "description").unwrap_or_default(),
            given,
            expect: expect.map(rows).transpose()?.unwrap_or_default(),
            is_incremental: part("macros").get("is_incremental") == Some(&Value::Bool(true)),
            vars: part("vars"),
            tags: yaml::texts(said, "tags"),
            raw: said.clone(),
            name,
            model,
        })
    }
}
