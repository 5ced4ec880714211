//! The parts of an ONNX file, as bytes (onnx/onnx.proto3 of ONNX 1.x).

/// Types of elements.
pub(super) const FLOAT: u64 = 1;
pub(super) const INT64: u64 = 7;
pub(super) const DOUBLE: u64 = 11;

/// The version of the file format, of the operators, and of those of `ai.onnx.ml`.
const IR_VERSION: u64 = 8;
const OPSET: u64 = 18;
const OPSET_ML: u64 = 3;
const ML: &str = "ai.onnx.ml";

/// A message of protocol buffers.
#[derive(Debug, Clone, Default)]
struct Message(Vec<u8>);

impl Message {
    fn raw(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.raw(field << 3);
        self.raw(number);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.raw(field << 3 | 2);
        self.raw(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn text(&mut self, field: u64, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }
}

/// What a node is told.
#[derive(Debug, Clone)]
pub(super) enum Attribute {
    Integer(i64),
    Text(&'static str),
    Integers(Vec<i64>),
    Texts(Vec<&'static str>),
    Doubles(Vec<f64>),
}

impl Attribute {
    fn message(&self, name: &str) -> Message {
        let mut message = Message::default();
        message.text(1, name);
        let kind = match self {
            Self::Integer(number) => {
                message.number(3, *number as u64);
                2
            }
            Self::Text(text) => {
                message.text(4, text);
                3
            }
            Self::Doubles(numbers) => {
                message.message(5, &tensor("", &[numbers.len()], numbers));
                4
            }
            Self::Integers(numbers) => {
                let mut packed = Message::default();
                numbers.iter().for_each(|number| packed.raw(*number as u64));
                message.message(8, &packed);
                7
            }
            Self::Texts(texts) => {
                texts.iter().for_each(|text| message.text(9, text));
                8
            }
        };
        message.number(20, kind);
        message
    }
}

fn tensor(name: &str, shape: &[usize], numbers: &[f64]) -> Message {
    let mut message = Message::default();
    shape.iter().for_each(|size| message.number(1, *size as u64));
    message.number(2, DOUBLE);
    message.text(8, name);
    let raw: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    message.bytes(9, &raw);
    message
}

/// A graph that grows node by node.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Message>,
    constants: Vec<Message>,
    outputs: Vec<Message>,
    properties: Vec<Message>,
    names: usize,
}

impl Graph {
    /// A name that nothing else has.
    fn name(&mut self) -> String {
        self.names += 1;
        format!("v{}", self.names)
    }

    /// Numbers of this shape.
    pub(super) fn constant(&mut self, shape: &[usize], numbers: &[f64]) -> String {
        let name = self.name();
        self.constants.push(tensor(&name, shape, numbers));
        name
    }

    /// Whole numbers in a row.
    pub(super) fn indices(&mut self, numbers: &[i64]) -> String {
        let name = self.name();
        let mut message = Message::default();
        message.number(1, numbers.len() as u64);
        message.number(2, INT64);
        message.text(8, &name);
        let raw: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        message.bytes(9, &raw);
        self.constants.push(message);
        name
    }

    /// A node with one output, whose name is returned.
    pub(super) fn node(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: &[(&str, Attribute)],
    ) -> String {
        let name = self.name();
        self.node_to(op, inputs, (&[&name], attributes));
        name
    }

    /// A node with outputs of these names.
    pub(super) fn node_to(
        &mut self,
        op: &str,
        inputs: &[&str],
        (outputs, attributes): (&[&str], &[(&str, Attribute)]),
    ) {
        let mut message = Message::default();
        inputs.iter().for_each(|input| message.text(1, input));
        outputs.iter().for_each(|output| message.text(2, output));
        message.text(4, op);
        for (name, attribute) in attributes {
            message.message(5, &attribute.message(name));
        }
        if op.starts_with("TreeEnsemble") {
            message.text(7, ML);
        }
        self.nodes.push(message);
    }

    /// Makes a name an output, of so many columns, or of none.
    pub(super) fn output(&mut self, name: &str, element: u64, width: Option<usize>) {
        self.outputs.push(value(name, element, width));
    }

    /// Says something about the file.
    pub(super) fn property(&mut self, key: &str, value: &str) {
        let mut property = Message::default();
        property.text(1, key);
        property.text(2, value);
        self.properties.push(property);
    }

    /// The file of a graph with one input of so many columns of doubles.
    pub(super) fn finish(self, input: &str, width: usize) -> Vec<u8> {
        let mut graph = Message::default();
        self.nodes.iter().for_each(|node| graph.message(1, node));
        graph.text(2, "icecore");
        self.constants.iter().for_each(|constant| graph.message(5, constant));
        graph.message(11, &value(input, DOUBLE, Some(width)));
        self.outputs.iter().for_each(|output| graph.message(12, output));
        let mut file = Message::default();
        file.number(1, IR_VERSION);
        file.text(2, "icecore");
        file.message(7, &graph);
        for (domain, version) in [("", OPSET), (ML, OPSET_ML)] {
            let mut opset = Message::default();
            opset.text(1, domain);
            opset.number(2, version);
            file.message(8, &opset);
        }
        self.properties.iter().for_each(|property| file.message(14, property));
        file.0
    }
}

/// The description of an input or an output.
fn value(name: &str, element: u64, width: Option<usize>) -> Message {
    let mut shape = Message::default();
    let mut rows = Message::default();
    rows.text(2, "rows");
    shape.message(1, &rows);
    if let Some(width) = width {
        let mut columns = Message::default();
        columns.number(1, width as u64);
        shape.message(1, &columns);
    }
    let mut tensor = Message::default();
    tensor.number(1, element);
    tensor.message(2, &shape);
    let mut kind = Message::default();
    kind.message(1, &tensor);
    let mut value = Message::default();
    value.text(1, name);
    value.message(2, &kind);
    value
}
