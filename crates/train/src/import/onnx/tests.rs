use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::Float64Type;
use icecore_core::{Error, ErrorKind, Model, OutputKind, Prediction};

use crate::import_model;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field that is a message or text.
fn field(number: u8, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [&[number << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat()
}

/// A field that is a number.
fn number(field: u8, value: u64) -> Vec<u8> {
    [vec![field << 3], varint(value)].concat()
}

fn attribute(name: &str, value: &[u8]) -> Vec<u8> {
    field(5, [field(1, name), value.to_vec()].concat())
}

fn integers(name: &str, numbers: impl IntoIterator<Item = i64>) -> Vec<u8> {
    let packed: Vec<u8> = numbers.into_iter().flat_map(|number| varint(number as u64)).collect();
    attribute(name, &field(8, packed))
}

fn floats(name: &str, numbers: impl IntoIterator<Item = f32>) -> Vec<u8> {
    let packed: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
    attribute(name, &field(7, packed))
}

fn texts<'a>(name: &str, texts: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    attribute(name, &texts.into_iter().map(|text| field(9, text)).collect::<Vec<_>>().concat())
}

fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs = inputs.iter().map(|input| field(1, input));
    let outputs = outputs.iter().map(|output| field(2, output));
    let parts: Vec<Vec<u8>> = inputs.chain(outputs).chain([field(4, op)]).collect();
    field(1, [parts.concat(), attributes.concat()].concat())
}

/// A file whose graph has the input `x`, of so many columns of floats.
fn file(width: u64, nodes: &[Vec<u8>]) -> Vec<u8> {
    let shape = [field(1, ""), field(1, number(1, width))].concat();
    let tensor = [number(1, 1), field(2, shape)].concat();
    let input = [field(1, "x"), field(2, field(1, tensor))].concat();
    [number(1, 8), field(7, [nodes.concat(), field(11, input)].concat())].concat()
}

/// A node of a tree: its tree, its number, and the nodes that it leads to if it is no leaf.
type Node = (i64, i64, Option<(i64, i64)>);
/// What a leaf adds: its tree, its number, the class and the weight.
type Leaf = (i64, i64, i64, f32);

/// A classifier of so many labels, whose nodes ask whether the first column is at most zero.
fn classifier(nodes: &[Node], leaves: &[Leaf], (labels, bases): (i64, &[f32])) -> Vec<u8> {
    let attributes = [
        integers("nodes_treeids", nodes.iter().map(|node| node.0)),
        integers("nodes_nodeids", nodes.iter().map(|node| node.1)),
        integers("nodes_featureids", nodes.iter().map(|_| 0)),
        floats("nodes_values", nodes.iter().map(|_| 0.0)),
        texts("nodes_modes", nodes.iter().map(|node| node.2.map_or("LEAF", |_| "BRANCH_LEQ"))),
        integers("nodes_truenodeids", nodes.iter().map(|node| node.2.map_or(0, |to| to.0))),
        integers("nodes_falsenodeids", nodes.iter().map(|node| node.2.map_or(0, |to| to.1))),
        integers("class_treeids", leaves.iter().map(|leaf| leaf.0)),
        integers("class_nodeids", leaves.iter().map(|leaf| leaf.1)),
        integers("class_ids", leaves.iter().map(|leaf| leaf.2)),
        floats("class_weights", leaves.iter().map(|leaf| leaf.3)),
        integers("classlabels_int64s", 0..labels),
        floats("base_values", bases.iter().copied()),
    ];
    file(1, &[node("TreeEnsembleClassifier", &["x"], &["label", "scores"], &attributes)])
}

/// A classifier of trees of two leaves, each with its class and what its leaves add.
fn stumps(trees: &[(i64, f32, f32)], labels: (i64, &[f32])) -> Vec<u8> {
    let (mut nodes, mut leaves) = (Vec::new(), Vec::new());
    for (tree, (class, below, above)) in (0..).zip(trees) {
        nodes.extend([(tree, 0, Some((1, 2))), (tree, 1, None), (tree, 2, None)]);
        leaves.extend([(tree, 1, *class, *below), (tree, 2, *class, *above)]);
    }
    classifier(&nodes, &leaves, labels)
}

/// What a model predicts where the column is below zero, and where it is above.
fn predictions(model: &dyn Model) -> Vec<f64> {
    let column: ArrayRef = Arc::new(Float64Array::from(vec![-1.0, 1.0]));
    let rows = RecordBatch::try_from_iter([("Column_0", column)]).unwrap();
    let predicted = model.predict(&rows).unwrap();
    let values = predicted.as_fixed_size_list_opt().map_or(&predicted, |lists| lists.values());
    values.as_primitive::<Float64Type>().values().to_vec()
}

#[track_caller]
fn refused(file: &[u8], kind: ErrorKind, message: &str) -> Error {
    let error = import_model(file).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
    error
}

// `raw_scores` of skl2onnx: ONNX Runtime answers the score of the second class, and its negative for
// the first; where no leaf is negative, one less the score.
#[test]
fn raw_scores_of_two_classes_are_a_number() {
    for (trees, base, expected) in [
        ([(0, -2.0, 0.5), (0, 1.0, 3.0)], -0.75, [-1.75, 2.75]),
        ([(0, 0.25, 0.5), (0, 0.0, 0.75)], 0.0, [0.25, 1.25]),
        ([(0, 0.25, 0.5), (0, 0.0, 0.5)], -0.25, [0.0, 0.75]),
    ] {
        let model = import_model(&stumps(&trees, (2, &[base]))).unwrap();
        assert_eq!(predictions(&*model), expected);
        assert_eq!(model.signature().output, OutputKind::Value);
    }
}

#[test]
fn probabilities_are_still_probabilities() {
    let model = import_model(&stumps(&[(0, 0.25, 0.5), (0, 0.0, 0.5)], (2, &[]))).unwrap();
    assert_eq!(predictions(&*model), [0.25, 1.0]);
    assert_eq!(model.signature().output, OutputKind::Probability);
    let classes = [(0, 0.25, 0.0), (1, 0.5, 0.5), (2, 0.25, 0.5)];
    let model = import_model(&stumps(&classes, (3, &[]))).unwrap();
    assert_eq!(predictions(&*model), [0.25, 0.5, 0.25, 0.0, 0.5, 0.5]);
}

#[test]
fn raw_scores_of_more_classes_are_refused() {
    for (first, bases) in
        [((0, -0.25, 0.5), &[][..]), ((0, 0.25, 1.5), &[]), ((0, 0.25, 0.5), &[-0.5, 0.0, 0.0])]
    {
        let trees = [first, (1, 0.5, 0.25), (2, 0.25, 0.25)];
        let message = "cannot import raw scores of classes, which are no probabilities";
        let error = refused(&stumps(&trees, (3, bases)), ErrorKind::Unsupported, message);
        assert!(error.help().unwrap().contains("gives probabilities"), "{error:?}");
    }
}

// Two nodes that lead to one twice are as many nodes as a walk finds, which may double at each level.
#[test]
fn a_tree_has_no_more_nodes_than_the_file_says() {
    let nodes = [(0, 0, Some((1, 1))), (0, 1, None), (1, 0, None)];
    let file = classifier(&nodes, &[(0, 1, 0, 0.5), (1, 0, 0, 0.25)], (2, &[]));
    let message = "the imported model is damaged: a tree in it leads in a circle";
    refused(&file, ErrorKind::DataCorrupt, message);
}

#[test]
fn a_small_file_is_no_large_model() {
    let nodes: Vec<Node> = (0..3_000).map(|tree| (tree, 0, None)).collect();
    let leaves: Vec<Leaf> = (0..3_000).map(|tree| (tree, 0, tree % 1_000, 0.0)).collect();
    let message = "cannot import so many trees of so many classes";
    refused(&classifier(&nodes, &leaves, (1_000, &[])), ErrorKind::Unsupported, message);

    let names: Vec<String> = (0..50).map(|name| format!("t{name}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let wide = file(100_000, &[node("Identity", &["x"], &names, &[])]);
    refused(&wide, ErrorKind::Unsupported, "cannot import a graph of so many columns");
}

fn integer(name: &str, value: i64) -> Vec<u8> {
    attribute(name, &number(3, value as u64))
}

fn float(name: &str, value: f32) -> Vec<u8> {
    attribute(name, &[&[2 << 3 | 5][..], &value.to_le_bytes()].concat())
}

fn text(name: &str, value: &str) -> Vec<u8> {
    attribute(name, &field(4, value))
}

/// A file of two columns with whole numbers that nodes refer to.
fn file_with(name: &str, numbers: &[i64], nodes: &[Vec<u8>]) -> Vec<u8> {
    let packed: Vec<u8> = numbers.iter().flat_map(|number| varint(*number as u64)).collect();
    let parts = [number(1, numbers.len() as u64), number(2, 7), field(7, packed), field(8, name)];
    file(2, &[nodes.concat(), field(5, parts.concat())])
}

/// A linear regression of two columns, the second of which counts tenfold.
fn sum(input: &str, output: &str) -> Vec<u8> {
    let attributes = [floats("coefficients", [1.0, 10.0]), floats("intercepts", [0.0])];
    node("LinearRegressor", &[input], &[output], &attributes)
}

/// What a model of two columns predicts for a row.
fn prediction(file: &[u8], row: [f64; 2]) -> Vec<f64> {
    let model = import_model(file).unwrap();
    let columns = (0..2).map(|at| {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![row[at]]));
        (format!("Column_{at}"), column)
    });
    let predicted = model.predict(&RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    let values = predicted.as_fixed_size_list_opt().map_or(&predicted, |lists| lists.values());
    values.as_primitive::<Float64Type>().values().to_vec()
}

#[test]
fn operators_go_along_columns() {
    let gather = |attributes: &[Vec<u8>], places: &[i64]| {
        let nodes = [node("Gather", &["x", "at"], &["z"], attributes), sum("z", "y")];
        file_with("at", places, &nodes)
    };
    for axis in [1, -1] {
        assert_eq!(prediction(&gather(&[integer("axis", axis)], &[1, 0]), [2.0, 3.0]), [23.0]);
    }
    assert_eq!(prediction(&gather(&[integer("axis", 1)], &[-1, -2]), [2.0, 3.0]), [23.0]);
    let message = "cannot import a graph with `Gather` of rows";
    refused(&gather(&[], &[1, 0]), ErrorKind::Unsupported, message);

    let parts = |attributes: &[Vec<u8>]| {
        let chosen = |at: &str, to: &str| node("ArrayFeatureExtractor", &["x", at], &[to], &[]);
        let concat = node("Concat", &["a", "a"], &["z"], attributes);
        file_with("at", &[1], &[chosen("at", "a"), concat, sum("z", "y")])
    };
    assert_eq!(prediction(&parts(&[integer("axis", 1)]), [2.0, 3.0]), [33.0]);
    let message = "cannot import a graph with `Concat` of rows";
    refused(&parts(&[integer("axis", 0)]), ErrorKind::Unsupported, message);
    let flat = file(2, &[node("Flatten", &["x"], &["z"], &[integer("axis", 0)]), sum("z", "y")]);
    refused(&flat, ErrorKind::Unsupported, "cannot import a graph with `Flatten`");
}

#[test]
fn only_missing_values_are_imputed() {
    let imputer = |attributes: &[Vec<u8>]| {
        let fills = [&[floats("imputed_value_floats", [100.0, 200.0])], attributes].concat();
        file(2, &[node("Imputer", &["x"], &["z"], &fills), sum("z", "y")])
    };
    let missing = imputer(&[float("replaced_value_float", f32::NAN)]);
    assert_eq!(prediction(&missing, [f64::NAN, 1.0]), [110.0]);
    assert_eq!(prediction(&missing, [0.0, f64::NAN]), [2_000.0]);
    // What the operator replaces where nothing is said.
    let message = "cannot import a graph whose `Imputer` replaces 0";
    refused(&imputer(&[]), ErrorKind::Unsupported, message);
}

#[test]
fn a_linear_model_says_what_a_missing_value_counts_as() {
    let params = |file: &[u8]| {
        let model = import_model(file).unwrap().encode().unwrap();
        crate::file::decode(&model).unwrap().header.params
    };
    let bare = file(2, &[sum("x", "y")]);
    assert_eq!(params(&bare)["missing"], "counts as 0, before any scaling");
    assert_eq!(prediction(&bare, [f64::NAN, 1.0]), [10.0]);
    let fills =
        [floats("imputed_value_floats", [1.0, 2.0]), float("replaced_value_float", f32::NAN)];
    let filled = file(2, &[node("Imputer", &["x"], &["z"], &fills), sum("z", "y")]);
    assert!(!params(&filled).contains_key("missing"));
}

#[test]
fn what_changes_a_prediction_is_refused() {
    let after = |op: &str, attributes: &[Vec<u8>]| {
        file_with("to", &[-1, 1], &[sum("x", "w"), node(op, &["w", "to"], &["y"], attributes)])
    };
    for (op, attributes) in [
        ("Identity", vec![]),
        ("Cast", vec![integer("to", 1)]),
        ("Cast", vec![integer("to", 11)]),
        ("Reshape", vec![]),
        ("Squeeze", vec![]),
    ] {
        assert_eq!(prediction(&after(op, &attributes), [2.0, 3.0]), [32.0], "{op}");
    }
    for (op, attributes, what) in [
        ("Cast", integer("to", 7), "a graph with `Cast` after the model"),
        ("Normalizer", text("norm", "L1"), "a graph with `Normalizer` by L1 after the model"),
        ("ArrayFeatureExtractor", vec![], "a graph with `ArrayFeatureExtractor` after the model"),
        ("Concat", integer("axis", 1), "a graph with `Concat` after the model"),
    ] {
        let error = import_model(&after(op, &[attributes])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(what), "{error}");
    }
}

/// A linear classifier of this many classes by log odds, and what follows it.
fn odds(weights: &[f32], classes: i64, then: &[Vec<u8>]) -> Vec<u8> {
    let attributes = [
        floats("coefficients", weights.iter().copied()),
        floats("intercepts", (0..weights.len() / 2).map(|_| 0.0)),
        integers("classlabels_ints", 0..classes),
        text("post_transform", "LOGISTIC"),
    ];
    let model = node("LinearClassifier", &["x"], &["label", "w"], &attributes);
    file(2, &[&[model], then].concat())
}

#[test]
fn scores_of_classes_are_probabilities_where_the_graph_makes_them_so() {
    let normalizer = |norm: &str| node("Normalizer", &["w"], &["y"], &[text("norm", norm)]);
    let label = node("Cast", &["label"], &["named"], &[integer("to", 7)]);
    let three = [1.0, 0.0, 0.0, 1.0, -1.0, 0.0];
    let shares = prediction(&odds(&three, 3, &[normalizer("L1"), label.clone()]), [0.0, 0.0]);
    assert!(shares.iter().all(|share| (share - 1.0 / 3.0).abs() < 1e-12), "{shares:?}");
    let sigmoid = 1.0 / (1.0 + (-2.0_f64).exp());
    let two = prediction(&odds(&[-1.0, 0.0, 1.0, 0.0], 2, &[normalizer("L1"), label]), [2.0, 0.0]);
    assert!((two[0] - sigmoid).abs() < 1e-12, "{two:?}");
    let message = "cannot import scores of classes that do not sum to one";
    refused(&odds(&three, 3, &[]), ErrorKind::Unsupported, message);
    let message = "cannot import a graph with `Normalizer` by MAX after the model";
    refused(&odds(&three, 3, &[normalizer("MAX")]), ErrorKind::Unsupported, message);
    let message = "cannot import a graph with `Normalizer` by L1 after the model";
    let apart = odds(&[-1.0, 0.0, 3.0, 0.0], 2, &[normalizer("L1")]);
    refused(&apart, ErrorKind::Unsupported, message);
}

// A job asks a model about no rows to learn what it gives.
#[test]
fn no_rows_have_no_predictions() {
    let normalizer = node("Normalizer", &["w"], &["y"], &[text("norm", "L1")]);
    let three = odds(&[1.0, 0.0, 0.0, 1.0, -1.0, 0.0], 3, &[normalizer]);
    let columns = (0..2).map(|at| {
        let none: ArrayRef = Arc::new(Float64Array::from(Vec::<f64>::new()));
        (format!("Column_{at}"), none)
    });
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let model = import_model(&three).unwrap();
    for what in [Prediction::Response, Prediction::Margin, Prediction::Contributions] {
        assert_eq!(model.predict_as(&rows, what).unwrap().len(), 0);
    }
}
