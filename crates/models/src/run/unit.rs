//! Unit tests: a model on rows of its own.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use icecore_core::{Error, Result, TableName};
use serde_json::Value;

use super::prepare::trimmed;
use super::{NodeResult, Runner, Status};
use crate::project::{Node, UnitTest};
use crate::template::quoted;
use crate::yaml::Object;

impl Runner<'_> {
    /// Runs the unit tests of a model.
    pub(super) async fn unit_tests(&self, node: &Node) -> Vec<NodeResult> {
        let mut results = Vec::new();
        let of_node =
            self.project.unit_tests.values().filter(|test| test.model_id == node.unique_id);
        for test in of_node {
            let mut result = self.blank(node);
            result.unique_id.clone_from(&test.unique_id);
            result.name.clone_from(&test.name);
            (result.kind, result.materialized, result.table) = ("unit_test", None, None);
            results.push(match self.unit_test(node, test, &mut result).await {
                Ok(()) => {
                    result.completed_at = self.now();
                    result
                }
                Err(error) => self.failed(result, error),
            });
        }
        results
    }

    async fn unit_test(&self, node: &Node, test: &UnitTest, result: &mut NodeResult) -> Result<()> {
        let mut surroundings = self.project.surroundings.clone();
        surroundings.vars.extend(test.vars.clone());
        let rendered = self.project.render(node, test.is_incremental, &surroundings)?;
        let sql = trimmed(&rendered.text).to_owned();
        result.compiled = Some(sql.clone());
        let mut scope = self.scope();
        for (input, rows) in &test.given {
            let name = self.input(node, test, input)?;
            let known = self.columns_of(&name).await;
            let rows = batch(rows, known.as_ref())?;
            scope = scope.with_rows(name, rows);
        }
        let answer = self.engine.sql_in(&sql, &scope).await?.concat().await?;
        let wanted = expected(test, &answer.schema())?;
        let (found, wanted) =
            (lines(&answer, &wanted.schema())?, lines(&wanted, &wanted.schema())?);
        let missing: Vec<&String> = without(&wanted, &found);
        let surplus: Vec<&String> = without(&found, &wanted);
        let differs = missing.len() + surplus.len();
        result.failures = Some(differs as u64);
        result.status = if differs == 0 { Status::Pass } else { Status::Fail };
        if differs > 0 {
            let list = |rows: &[&String]| {
                rows.iter().map(|row| format!("({row})")).collect::<Vec<_>>().join(" ")
            };
            result.message = format!(
                "expected and not there: {}; there and not expected: {}",
                list(&missing),
                list(&surplus)
            );
        }
        Ok(())
    }

    /// The table that `ref('x')`, `source('a', 'b')` or `this` means.
    fn input(&self, node: &Node, test: &UnitTest, input: &str) -> Result<TableName> {
        let unknown = || {
            Error::not_found(format!(
                "unit test `{}` gives `{input}`, which `{}` does not read",
                test.name, node.name
            ))
            .with_note(format!("it reads: {}", node.refs.join(", ")))
        };
        if input == "this" {
            return self.relation(node).cloned();
        }
        let inner = input.split_once('(').map(|(what, rest)| (what, rest.trim_end_matches(')')));
        match inner {
            Some(("ref", name)) => {
                let name = name.rsplit(',').next().unwrap_or(name);
                let nodes = node.depends_on.iter().filter_map(|id| self.project.nodes.get(id));
                let found = nodes.into_iter().find(|other| other.name == name);
                found.and_then(|node| node.relation.clone()).ok_or_else(unknown)
            }
            Some(("source", names)) => {
                let (source, table) = names.split_once(',').ok_or_else(unknown)?;
                let declared = self
                    .project
                    .sources
                    .values()
                    .find(|declared| declared.source_name == source && declared.name == table);
                match declared {
                    Some(declared) => Ok(declared.relation.clone()),
                    None => TableName::parse(&format!("{source}.{table}")),
                }
            }
            _ => Err(unknown()),
        }
    }

    /// The columns of a table or view, if it is there.
    async fn columns_of(&self, name: &TableName) -> Option<SchemaRef> {
        let sql = format!("SELECT * FROM {}", quoted(name));
        self.engine.schema_in(&sql, &self.scope()).await.ok()
    }
}

/// Rows of a property file, in the types of the table that they stand for.
fn batch(rows: &[Object], known: Option<&SchemaRef>) -> Result<RecordBatch> {
    let schema = match known {
        Some(schema) => {
            let fields =
                schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
            Arc::new(Schema::new(fields.collect::<Vec<_>>()))
        }
        None => Arc::new(Schema::new(guessed(rows))),
    };
    decode(rows, &schema)
}

fn decode(rows: &[Object], schema: &SchemaRef) -> Result<RecordBatch> {
    for name in rows.iter().flat_map(|row| row.keys()) {
        if schema.field_with_name(name).is_err() {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            return Err(Error::not_found(format!("a row has a column `{name}` that is not there"))
                .with_candidates(name, names));
        }
    }
    let mut decoder =
        ReaderBuilder::new(Arc::clone(schema)).with_coerce_primitive(true).build_decoder()?;
    decoder.serialize(rows)?;
    Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(schema))))
}

/// The types of rows whose table is not there.
fn guessed(rows: &[Object]) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for (name, value) in rows.iter().flatten() {
        if fields.iter().any(|field| field.name() == name) {
            continue;
        }
        let data_type = match value {
            Value::Bool(_) => DataType::Boolean,
            Value::Number(number) if number.is_i64() => DataType::Int64,
            Value::Number(_) => DataType::Float64,
            Value::Null => continue,
            _ => DataType::Utf8,
        };
        fields.push(Field::new(name, data_type, true));
    }
    fields
}

/// The rows that have to come out: of the columns that they name, in the types of the answer.
fn expected(test: &UnitTest, answer: &SchemaRef) -> Result<RecordBatch> {
    let named: Vec<&String> = test.expect.iter().flat_map(|row| row.keys()).collect();
    let fields: Vec<Field> = answer
        .fields()
        .iter()
        .filter(|field| named.is_empty() || named.contains(&field.name()))
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    decode(&test.expect, &Arc::new(Schema::new(fields)))
}

/// Rows as texts, of these columns.
fn lines(rows: &RecordBatch, of: &SchemaRef) -> Result<Vec<String>> {
    let options = FormatOptions::default().with_null("null");
    let columns = of
        .fields()
        .iter()
        .filter_map(|field| rows.column_by_name(field.name()))
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<Vec<_>, _>>()?;
    let line = |row: usize| {
        columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(", ")
    };
    let mut all: Vec<String> = (0..rows.num_rows()).map(line).collect();
    all.sort();
    Ok(all)
}

/// What the first has and the second lacks, each as often.
fn without<'r>(rows: &'r [String], others: &[String]) -> Vec<&'r String> {
    let mut left: Vec<&String> = others.iter().collect();
    rows.iter()
        .filter(|row| match left.iter().position(|other| other == row) {
            Some(at) => {
                left.remove(at);
                false
            }
            None => true,
        })
        .collect()
}
