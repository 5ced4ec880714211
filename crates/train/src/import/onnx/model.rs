//! The parts of an ONNX file that models are made of (onnx/onnx.proto3 of ONNX 1.x).

use std::collections::BTreeMap;

use icecore_core::Result;

use super::wire::{Value, fields};
use crate::import::{corrupt, unsupported};

/// The most nodes of a graph.
const NODES_MAX: usize = 10_000;
/// The most inputs of a graph.
const INPUTS_MAX: usize = 100_000;

/// A graph.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<String>,
    pub(super) nodes: Vec<OnnxNode>,
    pub(super) constants: BTreeMap<String, Tensor>,
    /// The names of the columns of its one input, where the file says them.
    pub(super) names: Vec<String>,
}

/// An input of a graph.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: String,
    /// The type of its elements.
    pub(super) element: i64,
    /// How many columns it has, where it says so.
    pub(super) width: Option<usize>,
}

/// A node of a graph.
#[derive(Debug, Default)]
pub(super) struct OnnxNode {
    pub(super) op: String,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    attributes: BTreeMap<String, Attribute>,
}

#[derive(Debug, Default)]
struct Attribute {
    number: i64,
    float: f64,
    text: String,
    tensor: Option<Tensor>,
    floats: Vec<f64>,
    integers: Vec<i64>,
    texts: Vec<String>,
}

/// A tensor of numbers.
#[derive(Debug, Default, Clone)]
pub(super) struct Tensor {
    name: String,
    pub(super) element: i64,
    pub(super) numbers: Vec<f64>,
}

/// What our own export calls the names of columns among the properties of a file.
pub(in crate::import) const NAMES_KEY: &str = "icecore.inputs";

/// The types of elements that are known.
pub(super) const FLOAT: i64 = 1;
pub(super) const INT64: i64 = 7;
pub(super) const STRING: i64 = 8;
pub(super) const DOUBLE: i64 = 11;

impl OnnxNode {
    pub(super) fn integer(&self, name: &str, default: i64) -> i64 {
        self.attributes.get(name).map_or(default, |attribute| attribute.number)
    }

    pub(super) fn float(&self, name: &str, default: f64) -> f64 {
        self.attributes.get(name).map_or(default, |attribute| attribute.float)
    }

    pub(super) fn text(&self, name: &str, default: &str) -> String {
        self.attributes.get(name).map_or_else(|| default.to_owned(), |of| of.text.clone())
    }

    /// A list of floats, or of doubles in a tensor of the name's double form.
    pub(super) fn floats(&self, name: &str) -> Vec<f64> {
        let doubles = self.attributes.get(&format!("{name}_as_tensor"));
        if let Some(tensor) = doubles.and_then(|attribute| attribute.tensor.as_ref()) {
            return tensor.numbers.clone();
        }
        self.attributes.get(name).map(|attribute| attribute.floats.clone()).unwrap_or_default()
    }

    pub(super) fn integers(&self, name: &str) -> Vec<i64> {
        self.attributes.get(name).map(|attribute| attribute.integers.clone()).unwrap_or_default()
    }

    pub(super) fn texts(&self, name: &str) -> &[String] {
        self.attributes.get(name).map(|attribute| attribute.texts.as_slice()).unwrap_or_default()
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.attributes.get(name)?.tensor.as_ref()
    }
}

/// Reads a file.
pub(super) fn read(bytes: &[u8]) -> Result<Graph> {
    let (mut graph, mut names) = (None, Vec::new());
    for (number, value) in fields(bytes)? {
        match number {
            7 => graph = Some(read_graph(value.bytes()?)?),
            14 => names.extend(read_names(value.bytes()?)?),
            _ => {}
        }
    }
    let graph = graph.ok_or_else(|| corrupt("it has no graph"))?;
    Ok(Graph { names, ..graph })
}

/// The names of columns, if this is what our own export says of them.
fn read_names(bytes: &[u8]) -> Result<Vec<String>> {
    let (mut key, mut text) = ("", "");
    for (number, value) in fields(bytes)? {
        match number {
            1 => key = value.text()?,
            2 => text = value.text()?,
            _ => {}
        }
    }
    if key != NAMES_KEY {
        return Ok(Vec::new());
    }
    serde_json::from_str(text)
        .map_err(|error| corrupt("its names of columns cannot be read").with_source(error))
}

fn read_graph(bytes: &[u8]) -> Result<Graph> {
    let mut graph = Graph::default();
    for (number, value) in fields(bytes)? {
        match number {
            1 => graph.nodes.push(read_node(value.bytes()?)?),
            5 => {
                let tensor = read_tensor(value.bytes()?)?;
                graph.constants.insert(tensor.name.clone(), tensor);
            }
            11 => graph.inputs.push(read_input(value.bytes()?)?),
            12 => graph.outputs.push(read_input(value.bytes()?)?.name),
            _ => {}
        }
        if graph.nodes.len() > NODES_MAX || graph.inputs.len() > INPUTS_MAX {
            return Err(unsupported("a graph of so many nodes"));
        }
    }
    // Old files name their constants among the inputs.
    let Graph { inputs, constants, .. } = &mut graph;
    inputs.retain(|input| !constants.contains_key(&input.name));
    Ok(graph)
}

fn read_node(bytes: &[u8]) -> Result<OnnxNode> {
    let mut node = OnnxNode::default();
    for (number, value) in fields(bytes)? {
        match number {
            1 => node.inputs.push(value.text()?.to_owned()),
            2 => node.outputs.push(value.text()?.to_owned()),
            4 => value.text()?.clone_into(&mut node.op),
            5 => {
                let (name, attribute) = read_attribute(value.bytes()?)?;
                node.attributes.insert(name, attribute);
            }
            _ => {}
        }
    }
    Ok(node)
}

fn read_attribute(bytes: &[u8]) -> Result<(String, Attribute)> {
    let (mut name, mut attribute) = (String::new(), Attribute::default());
    for (number, value) in fields(bytes)? {
        match number {
            1 => value.text()?.clone_into(&mut name),
            2 => attribute.float = value.float()?,
            3 => attribute.number = value.integer()?,
            4 => attribute.text = String::from_utf8_lossy(value.bytes()?).into_owned(),
            5 => attribute.tensor = Some(read_tensor(value.bytes()?)?),
            7 => value.floats(&mut attribute.floats)?,
            8 => value.integers(&mut attribute.integers)?,
            9 => attribute.texts.push(String::from_utf8_lossy(value.bytes()?).into_owned()),
            _ => {}
        }
    }
    Ok((name, attribute))
}

fn read_tensor(bytes: &[u8]) -> Result<Tensor> {
    let mut tensor = Tensor::default();
    let mut raw: &[u8] = &[];
    for (number, value) in fields(bytes)? {
        match number {
            2 => tensor.element = value.integer()?,
            4 => value.floats(&mut tensor.numbers)?,
            5 | 7 | 11 => {
                let mut integers = Vec::new();
                value.integers(&mut integers)?;
                tensor.numbers.extend(integers.into_iter().map(|number| number as f64));
            }
            8 => value.text()?.clone_into(&mut tensor.name),
            9 => raw = value.bytes()?,
            10 => value.doubles(&mut tensor.numbers)?,
            _ => {}
        }
    }
    match tensor.element {
        FLOAT => Value::Bytes(raw).floats(&mut tensor.numbers)?,
        DOUBLE => Value::Bytes(raw).doubles(&mut tensor.numbers)?,
        INT64 => {
            let (numbers, _) = raw.as_chunks::<8>();
            tensor.numbers.extend(numbers.iter().map(|bytes| i64::from_le_bytes(*bytes) as f64));
        }
        _ => {}
    }
    Ok(tensor)
}

/// The name, the type of elements and the number of columns of an input or an output.
fn read_input(bytes: &[u8]) -> Result<Input> {
    let mut input = Input { name: String::new(), element: 0, width: None };
    for (number, value) in fields(bytes)? {
        match number {
            1 => value.text()?.clone_into(&mut input.name),
            2 => {
                for (kind, tensor) in fields(value.bytes()?)? {
                    if kind == 1 {
                        read_type(tensor.bytes()?, &mut input)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(input)
}

fn read_type(bytes: &[u8], input: &mut Input) -> Result<()> {
    for (number, value) in fields(bytes)? {
        match number {
            1 => input.element = value.integer()?,
            2 => {
                let dims = fields(value.bytes()?)?;
                let Some((_, last)) = dims.get(1) else { continue };
                for (kind, size) in fields(last.bytes()?)? {
                    if kind == 1 {
                        input.width = usize::try_from(size.integer()?).ok();
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}
