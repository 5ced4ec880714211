//! What models compute with, as bytes.

use icecore_core::Result;

use super::corrupt;
use super::read::Reader;
use crate::forest::TreeScorer;
use crate::linear::{LinearScorer, LinearTerm, WEIGHT_MAX};
use crate::model::Scorer;
use crate::tree::{DEPTH_MAX, Ensemble, LEAF_MAX, Link, Node, Side, Split, TREES_MAX, Tree};

/// Which payload an algorithm has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layout {
    Trees,
    Linear,
}

const LEAF: u8 = 0;
const SPLIT_MISSING_LEFT: u8 = 1;
const SPLIT_MISSING_RIGHT: u8 = 2;
/// A tree has at least the tag and the value of a leaf.
const TREE_BYTES_MIN: usize = 9;

pub(super) fn write(scorer: &Scorer, out: &mut Vec<u8>) {
    match scorer {
        Scorer::Trees(trees) => write_ensemble(trees.ensemble(), out),
        Scorer::Linear(linear) => write_linear(linear, out),
    }
}

/// Reads the payload of a model of this many inputs.
pub(super) fn read(bytes: &[u8], layout: Layout, inputs: usize) -> Result<Scorer> {
    let mut reader = Reader::new(bytes);
    let scorer = match layout {
        Layout::Trees => {
            Scorer::Trees(TreeScorer::new(read_ensemble(&mut reader, inputs)?, inputs))
        }
        Layout::Linear => Scorer::Linear(read_linear(&mut reader, inputs)?),
    };
    reader.end()?;
    Ok(scorer)
}

fn write_ensemble(ensemble: &Ensemble, out: &mut Vec<u8>) {
    out.push(match ensemble.link {
        Link::Logistic => 0,
        Link::Mean => 1,
    });
    out.extend(ensemble.base.to_le_bytes());
    out.extend((ensemble.gains.len() as u32).to_le_bytes());
    for gain in &ensemble.gains {
        out.extend(gain.to_le_bytes());
    }
    out.extend((ensemble.trees.len() as u32).to_le_bytes());
    for tree in &ensemble.trees {
        write_tree(tree, out);
    }
}

/// Writes a node before its left subtree and that before its right one: what the nodes' places
/// are in memory does not show.
fn write_tree(tree: &Tree, out: &mut Vec<u8>) {
    let mut open = vec![0];
    while let Some(place) = open.pop() {
        match tree.node(place) {
            Node::Leaf(value) => {
                out.push(LEAF);
                out.extend(value.to_le_bytes());
            }
            Node::Split(split) => {
                out.push(match split.missing {
                    Side::Left => SPLIT_MISSING_LEFT,
                    Side::Right => SPLIT_MISSING_RIGHT,
                });
                out.extend(split.feature.to_le_bytes());
                out.extend(split.threshold.to_le_bytes());
                open.extend([split.right, split.left]);
            }
        }
    }
}

fn read_ensemble(reader: &mut Reader<'_>, inputs: usize) -> Result<Ensemble> {
    let link = match reader.u8()? {
        0 => Link::Logistic,
        1 => Link::Mean,
        _ => return Err(corrupt("the meaning of its trees is not known")),
    };
    let base = reader.bounded(f64::MAX)?;
    if reader.u32()? as usize != inputs {
        return Err(corrupt("its trees have other inputs than its signature"));
    }
    let mut gains = Vec::with_capacity(inputs);
    for _ in 0..inputs {
        let gain = reader.bounded(f64::MAX)?;
        if gain < 0.0 {
            return Err(corrupt("a gain in it is negative"));
        }
        gains.push(gain);
    }
    let count = reader.u32()? as usize;
    if count > TREES_MAX || count > reader.remaining() / TREE_BYTES_MIN {
        return Err(corrupt("it has fewer trees than it says"));
    }
    let mut trees = Vec::with_capacity(count);
    for _ in 0..count {
        trees.push(read_tree(reader, inputs)?);
    }
    Ok(Ensemble { link, base, trees, gains })
}

fn read_tree(reader: &mut Reader<'_>, inputs: usize) -> Result<Tree> {
    let mut tree = Tree::constant(0.0);
    let mut open = vec![(0, 0)];
    while let Some((place, depth)) = open.pop() {
        let missing = match reader.u8()? {
            LEAF => {
                tree.set_leaf(place, reader.bounded(LEAF_MAX)?);
                continue;
            }
            SPLIT_MISSING_LEFT => Side::Left,
            SPLIT_MISSING_RIGHT => Side::Right,
            _ => return Err(corrupt("a node in it is neither a leaf nor a split")),
        };
        let feature = reader.u32()?;
        let threshold = reader.number()?;
        if feature as usize >= inputs || depth >= DEPTH_MAX {
            return Err(corrupt("a split in it is out of bounds"));
        }
        let (left, right) = (tree.push_leaf(0.0), tree.push_leaf(0.0));
        tree.set_split(place, Split { feature, threshold, missing, left, right });
        open.extend([(right, depth + 1), (left, depth + 1)]);
    }
    Ok(tree)
}

fn write_linear(linear: &LinearScorer, out: &mut Vec<u8>) {
    out.extend(linear.intercept.to_le_bytes());
    out.extend((linear.terms.len() as u32).to_le_bytes());
    for term in &linear.terms {
        for value in [term.center, term.scale, term.weight, term.missing_weight] {
            out.extend(value.to_le_bytes());
        }
    }
}

fn read_linear(reader: &mut Reader<'_>, inputs: usize) -> Result<LinearScorer> {
    let intercept = reader.bounded(WEIGHT_MAX)?;
    if reader.u32()? as usize != inputs {
        return Err(corrupt("it has other weights than its signature has inputs"));
    }
    let mut terms = Vec::with_capacity(inputs);
    for _ in 0..inputs {
        let center = reader.bounded(f64::MAX)?;
        let scale = reader.bounded(f64::MAX)?;
        if scale <= 0.0 {
            return Err(corrupt("a deviation in it is not positive"));
        }
        let weight = reader.bounded(WEIGHT_MAX)?;
        let missing_weight = reader.bounded(WEIGHT_MAX)?;
        terms.push(LinearTerm { center, scale, weight, missing_weight });
    }
    Ok(LinearScorer { intercept, terms })
}
