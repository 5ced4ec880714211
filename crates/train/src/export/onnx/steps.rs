//! Preprocessing as operators.

use icecore_core::Result;

use super::proto::{Attribute, DOUBLE, Graph};
use super::{INPUT, unsupported};
use crate::categories::Categories;
use crate::exact::Exact;
use crate::model::FittedModel;
use crate::preprocess::{Fill, FittedStep, Operation, Unknown};

/// The table that the model computes with.
pub(super) fn write(model: &FittedModel, graph: &mut Graph) -> Result<String> {
    let inputs = &model.header.signature.inputs;
    if model.header.steps.is_empty() || inputs.is_empty() {
        return Ok(INPUT.to_owned());
    }
    // Each column with its name among the features, and its name in the graph.
    let mut columns: Vec<(String, String)> = Vec::with_capacity(inputs.len());
    for (at, input) in (0_i64..).zip(inputs) {
        let index = graph.indices(&[at]);
        let axis = [("axis", Attribute::Integer(1))];
        columns.push((input.name.clone(), graph.node("Gather", &[INPUT, &index], &axis)));
    }
    for step in &model.header.steps {
        let Some(at) = columns.iter().position(|(name, _)| *name == step.column) else {
            return Err(unsupported("steps of preprocessing about columns that are not there"));
        };
        let (name, column) = columns[at].clone();
        let made = run(step, (&name, &column), graph)?;
        columns.splice(at..=at, made);
    }
    let names: Vec<&str> = columns.iter().map(|(_, column)| column.as_str()).collect();
    Ok(graph.node("Concat", &names, &[("axis", Attribute::Integer(1))]))
}

fn run(
    step: &FittedStep,
    (name, column): (&str, &str),
    graph: &mut Graph,
) -> Result<Vec<(String, String)>> {
    let same = |column: String| vec![(name.to_owned(), column)];
    match &step.operation {
        Operation::Impute { with: Fill::Number(with), indicator } => {
            let missing = graph.node("IsNaN", &[column], &[]);
            let with = graph.constant(&[1, 1], &[with.0]);
            let mut made = same(graph.node("Where", &[&missing, &with, column], &[]));
            if *indicator {
                made.push((format!("{name}__missing"), flag(&missing, graph)));
            }
            Ok(made)
        }
        Operation::Scale { center, scale } => {
            let center = graph.constant(&[1, 1], &[center.0]);
            let centered = graph.node("Sub", &[column, &center], &[]);
            let scale = graph.constant(&[1, 1], &[scale.0]);
            Ok(same(graph.node("Div", &[&centered, &scale], &[])))
        }
        Operation::Bin { edges } if !edges.is_empty() => {
            let edges: Vec<f64> = edges.iter().map(|Exact(edge)| *edge).collect();
            let edges = graph.constant(&[1, edges.len()], &edges);
            let above = graph.node("GreaterOrEqual", &[column, &edges], &[]);
            let above = flag(&above, graph);
            let axis = graph.indices(&[1]);
            let bin = graph.node("ReduceSum", &[&above, &axis], &[]);
            let missing = graph.node("IsNaN", &[column], &[]);
            let none = graph.constant(&[1, 1], &[f64::NAN]);
            Ok(same(graph.node("Where", &[&missing, &none, &bin], &[])))
        }
        Operation::OneHot { categories: Categories::Number(values), missing, unknown }
            if *unknown == Unknown::Ignore =>
        {
            let mut made = Vec::with_capacity(values.len() + 1);
            for value in values {
                let category = graph.constant(&[1, 1], &[*value]);
                let equal = graph.node("Equal", &[column, &category], &[]);
                made.push((format!("{name}={value}"), flag(&equal, graph)));
            }
            if *missing {
                let missing = graph.node("IsNaN", &[column], &[]);
                made.push((format!("{name}__missing"), flag(&missing, graph)));
            }
            Ok(made)
        }
        _ => Err(unsupported(&format!("this step about `{name}` to ONNX"))
            .with_help("`impute`, `scale`, `bin` and `one_hot` of numbers can be exported")),
    }
}

/// Truth as zeros and ones.
fn flag(of: &str, graph: &mut Graph) -> String {
    graph.node("Cast", &[of], &[("to", Attribute::Integer(DOUBLE as i64))])
}
