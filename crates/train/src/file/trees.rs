//! Trees as bytes.
//!
//! A node is a tag, then for a leaf its value, and for a split its feature, its threshold or its
//! set of categories, and its gain; then the number of rows. Nodes come in the order of a walk
//! that takes left children first.

use icecore_core::Result;

use super::corrupt;
use super::read::Reader;
use crate::tree::{
    CategorySet, DEPTH_MAX, Ensemble, LEAF_MAX, Link, Node, Note, Question, Side, Split, TREES_MAX,
    Tree, VALUE_MAX,
};

const LEAF: u8 = 0;
const SPLIT_MISSING_LEFT: u8 = 1;
const SPLIT_MISSING_RIGHT: u8 = 2;
const CATEGORIES_MISSING_LEFT: u8 = 3;
const CATEGORIES_MISSING_RIGHT: u8 = 4;
/// A tree has at least the tag and the value of a leaf.
const TREE_BYTES_MIN: usize = 9;
/// The most outputs of a model.
const OUTPUTS_MAX: usize = 1_000;

pub(super) fn write(ensemble: &Ensemble, out: &mut Vec<u8>) {
    out.push(match ensemble.link {
        Link::Logistic => 0,
        Link::Mean => 1,
        Link::Identity => 2,
        Link::Exp => 3,
        Link::Softmax => 4,
        Link::Shares => 5,
    });
    out.extend((ensemble.bases.len() as u32).to_le_bytes());
    for base in &ensemble.bases {
        out.extend(base.to_le_bytes());
    }
    out.extend((ensemble.gains.len() as u32).to_le_bytes());
    for gain in &ensemble.gains {
        out.extend(gain.to_le_bytes());
    }
    out.extend((ensemble.trees.len() as u32).to_le_bytes());
    for tree in &ensemble.trees {
        write_tree(tree, out);
    }
}

fn write_tree(tree: &Tree, out: &mut Vec<u8>) {
    let mut open = vec![0];
    while let Some(place) = open.pop() {
        let note = tree.note(place);
        match tree.node(place) {
            Node::Leaf(value) => {
                out.push(LEAF);
                out.extend(value.to_le_bytes());
            }
            Node::Split(split) => {
                write_split(&split, out);
                out.extend(note.gain.to_le_bytes());
                open.extend([split.right, split.left]);
            }
        }
        out.extend(note.cover.to_le_bytes());
    }
}

fn write_split(split: &Split, out: &mut Vec<u8>) {
    let left = split.missing == Side::Left;
    match split.question {
        Question::AtMost(threshold) => {
            out.push(if left { SPLIT_MISSING_LEFT } else { SPLIT_MISSING_RIGHT });
            out.extend(split.feature.to_le_bytes());
            out.extend(threshold.to_le_bytes());
        }
        Question::OneOf(set) => {
            out.push(if left { CATEGORIES_MISSING_LEFT } else { CATEGORIES_MISSING_RIGHT });
            out.extend(split.feature.to_le_bytes());
            for word in set.0 {
                out.extend(word.to_le_bytes());
            }
        }
    }
}

/// Reads an ensemble over this many inputs.
pub(super) fn read(reader: &mut Reader<'_>, inputs: usize) -> Result<Ensemble> {
    let link = match reader.u8()? {
        0 => Link::Logistic,
        1 => Link::Mean,
        2 => Link::Identity,
        3 => Link::Exp,
        4 => Link::Softmax,
        5 => Link::Shares,
        _ => return Err(corrupt("the meaning of its trees is not known")),
    };
    let outputs = reader.u32()? as usize;
    let has_classes = matches!(link, Link::Softmax | Link::Shares);
    let known = if has_classes { 2..=OUTPUTS_MAX } else { 1..=1 };
    if !known.contains(&outputs) {
        return Err(corrupt("it has another number of outputs than its trees can give"));
    }
    let bases = (0..outputs).map(|_| reader.bounded(VALUE_MAX)).collect::<Result<Vec<f64>>>()?;
    let ensemble = Ensemble { link, bases, trees: Vec::new(), gains: Vec::new() };
    read_rest(reader, inputs, (ensemble, read_tree))
}

/// Reads an ensemble of the first version of the format.
pub(super) fn read_version_1(reader: &mut Reader<'_>, inputs: usize) -> Result<Ensemble> {
    let link = match reader.u8()? {
        0 => Link::Logistic,
        1 => Link::Mean,
        _ => return Err(corrupt("the meaning of its trees is not known")),
    };
    let bases = vec![reader.bounded(f64::MAX)?];
    let ensemble = Ensemble { link, bases, trees: Vec::new(), gains: Vec::new() };
    read_rest(reader, inputs, (ensemble, read_tree_1))
}

type ReadTree = fn(&mut Reader<'_>, usize, f64) -> Result<Tree>;

fn read_rest(
    reader: &mut Reader<'_>,
    inputs: usize,
    (mut ensemble, read_tree): (Ensemble, ReadTree),
) -> Result<Ensemble> {
    if reader.u32()? as usize != inputs {
        return Err(corrupt("its trees have other inputs than its signature"));
    }
    for _ in 0..inputs {
        let gain = reader.bounded(f64::MAX)?;
        if gain < 0.0 {
            return Err(corrupt("a gain in it is negative"));
        }
        ensemble.gains.push(gain);
    }
    let count = reader.u32()? as usize;
    if count > TREES_MAX * ensemble.outputs() || count > reader.remaining() / TREE_BYTES_MIN {
        return Err(corrupt("it has fewer trees than it says"));
    }
    if !count.is_multiple_of(ensemble.outputs()) {
        return Err(corrupt("its outputs have not the same number of trees"));
    }
    let leaf_max = match ensemble.link {
        Link::Identity => VALUE_MAX / TREES_MAX as f64,
        _ => LEAF_MAX,
    };
    ensemble.trees.reserve(count);
    for _ in 0..count {
        ensemble.trees.push(read_tree(reader, inputs, leaf_max)?);
    }
    Ok(ensemble)
}

fn read_tree(reader: &mut Reader<'_>, inputs: usize, leaf_max: f64) -> Result<Tree> {
    let mut tree = Tree::constant(0.0);
    let mut open = vec![(0, 0)];
    while let Some((place, depth)) = open.pop() {
        let tag = reader.u8()?;
        let mut note = Note::default();
        if tag == LEAF {
            tree.set_leaf(place, reader.bounded(leaf_max)?);
        } else {
            let (missing, categories) = match tag {
                SPLIT_MISSING_LEFT => (Side::Left, false),
                SPLIT_MISSING_RIGHT => (Side::Right, false),
                CATEGORIES_MISSING_LEFT => (Side::Left, true),
                CATEGORIES_MISSING_RIGHT => (Side::Right, true),
                _ => return Err(corrupt("a node in it is neither a leaf nor a split")),
            };
            let feature = read_feature(reader, inputs, depth)?;
            let question = if categories {
                let mut words = [0; 4];
                for word in &mut words {
                    *word = reader.u64()?;
                }
                Question::OneOf(CategorySet(words))
            } else {
                Question::AtMost(reader.number()?)
            };
            note.gain = reader.bounded(f64::MAX)?;
            let (left, right) = (tree.push_leaf(0.0), tree.push_leaf(0.0));
            tree.set_split(place, Split { feature, question, missing, left, right });
            open.extend([(right, depth + 1), (left, depth + 1)]);
        }
        note.cover = reader.bounded(VALUE_MAX)?;
        if note.cover < 0.0 {
            return Err(corrupt("a node in it has less than no rows"));
        }
        *tree.note_mut(place) = note;
    }
    Ok(tree)
}

fn read_tree_1(reader: &mut Reader<'_>, inputs: usize, leaf_max: f64) -> Result<Tree> {
    let mut tree = Tree::constant(0.0);
    let mut open = vec![(0, 0)];
    while let Some((place, depth)) = open.pop() {
        let missing = match reader.u8()? {
            LEAF => {
                tree.set_leaf(place, reader.bounded(leaf_max)?);
                continue;
            }
            SPLIT_MISSING_LEFT => Side::Left,
            SPLIT_MISSING_RIGHT => Side::Right,
            _ => return Err(corrupt("a node in it is neither a leaf nor a split")),
        };
        let feature = read_feature(reader, inputs, depth)?;
        let question = Question::AtMost(reader.number()?);
        let (left, right) = (tree.push_leaf(0.0), tree.push_leaf(0.0));
        tree.set_split(place, Split { feature, question, missing, left, right });
        open.extend([(right, depth + 1), (left, depth + 1)]);
    }
    Ok(tree)
}

fn read_feature(reader: &mut Reader<'_>, inputs: usize, depth: usize) -> Result<u32> {
    let feature = reader.u32()?;
    if feature as usize >= inputs || depth >= DEPTH_MAX {
        return Err(corrupt("a split in it is out of bounds"));
    }
    Ok(feature)
}
