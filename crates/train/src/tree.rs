//! Decision trees and sums of them.

/// Leaf values lie within ± this, so that no sum of [`TREES_MAX`] of them overflows.
pub(crate) const LEAF_MAX: f64 = 16_384.0;
/// The most trees of a model.
pub(crate) const TREES_MAX: usize = 65_536;
/// The most splits on the way to a leaf.
pub(crate) const DEPTH_MAX: usize = 64;

/// Where a row goes at a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// A question about one feature: rows of at most the threshold go left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Split {
    pub(crate) feature: u32,
    pub(crate) threshold: f64,
    /// Where a missing value goes.
    pub(crate) missing: Side,
    /// The left child's place in the tree.
    pub(crate) left: u32,
    /// The right child's place in the tree.
    pub(crate) right: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Node {
    Leaf(f64),
    Split(Split),
}

/// A tree. The root is node zero, and children come after their parents.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// A tree that gives every row the same value.
    pub(crate) fn constant(value: f64) -> Self {
        Self { nodes: vec![Node::Leaf(value)] }
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn node(&self, place: u32) -> Node {
        self.nodes[place as usize]
    }

    /// Adds a leaf, whose parent is to be told the place that is returned.
    pub(crate) fn push_leaf(&mut self, value: f64) -> u32 {
        self.nodes.push(Node::Leaf(value));
        (self.nodes.len() - 1) as u32
    }

    /// Gives a leaf its value.
    pub(crate) fn set_leaf(&mut self, place: u32, value: f64) {
        self.nodes[place as usize] = Node::Leaf(value);
    }

    /// Turns a leaf into a split whose children are already there.
    pub(crate) fn set_split(&mut self, place: u32, split: Split) {
        debug_assert!(place < split.left && split.left != split.right && place < split.right);
        self.nodes[place as usize] = Node::Split(split);
    }

    pub(crate) fn splits(&self) -> impl Iterator<Item = &Split> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Split(split) => Some(split),
            Node::Leaf(_) => None,
        })
    }

    pub(crate) fn leaves(&self) -> usize {
        self.nodes.iter().filter(|node| matches!(node, Node::Leaf(_))).count()
    }

    /// The most splits on the way to a leaf.
    pub(crate) fn depth(&self) -> usize {
        let mut depths = vec![0_usize; self.nodes.len()];
        for (place, node) in self.nodes.iter().enumerate() {
            if let Node::Split(split) = node {
                depths[split.left as usize] = depths[place] + 1;
                depths[split.right as usize] = depths[place] + 1;
            }
        }
        depths.into_iter().max().unwrap_or(0)
    }

    /// The value of the leaf that a row falls into; `value` gives the row's features.
    pub(crate) fn evaluate(&self, value: impl Fn(u32) -> f64) -> f64 {
        let mut place = 0;
        loop {
            match self.node(place) {
                Node::Leaf(leaf) => return leaf,
                Node::Split(split) => {
                    let value = value(split.feature);
                    let left = if value.is_nan() {
                        split.missing == Side::Left
                    } else {
                        value <= split.threshold
                    };
                    place = if left { split.left } else { split.right };
                }
            }
        }
    }
}

/// What a sum over trees means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Log odds: the sum and the base go through the sigmoid.
    Logistic,
    /// Trees vote: their mean is the probability.
    Mean,
}

/// Trees that together give a prediction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ensemble {
    pub(crate) link: Link,
    /// What the sum begins with.
    pub(crate) base: f64,
    pub(crate) trees: Vec<Tree>,
    /// What the splits on each feature gained, all together.
    pub(crate) gains: Vec<f64>,
}
