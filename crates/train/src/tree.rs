//! Decision trees and sums of them.

/// Leaf values lie within ± this where they are log odds, so that no sum of [`TREES_MAX`] of them
/// overflows.
pub(crate) const LEAF_MAX: f64 = 16_384.0;
/// Leaf values lie within ± this where they are numbers.
pub(crate) const VALUE_MAX: f64 = 1e300;
/// The most trees of a model.
pub(crate) const TREES_MAX: usize = 65_536;
/// The most splits on the way to a leaf.
pub(crate) const DEPTH_MAX: usize = 64;
/// The most categories of a feature.
pub(crate) const CATEGORIES_MAX: usize = 254;

/// Where a row goes at a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// Categories of a feature, by their place among all of its.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct CategorySet(pub(crate) [u64; 4]);

impl CategorySet {
    pub(crate) const fn insert(&mut self, category: u8) {
        self.0[category as usize / 64] |= 1 << (category % 64);
    }

    pub(crate) const fn contains(self, category: u8) -> bool {
        self.0[category as usize / 64] >> (category % 64) & 1 == 1
    }
}

/// What a split asks about a value that is there. Rows that answer yes go left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Question {
    /// Whether it is at most this.
    AtMost(f64),
    /// Whether it is one of these categories.
    OneOf(CategorySet),
}

impl Question {
    /// Whether a value that is not missing goes left.
    #[inline]
    pub(crate) fn holds(&self, value: f64) -> bool {
        match self {
            Self::AtMost(threshold) => value <= *threshold,
            // Categories are whole numbers below 254; the conversion saturates.
            Self::OneOf(set) => set.contains((value as u8).min(CATEGORIES_MAX as u8)),
        }
    }
}

/// A question about one feature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Split {
    pub(crate) feature: u32,
    pub(crate) question: Question,
    /// Where a missing value goes.
    pub(crate) missing: Side,
    /// The left child's place in the tree.
    pub(crate) left: u32,
    /// The right child's place in the tree.
    pub(crate) right: u32,
}

impl Split {
    /// The child that a row with this value goes to.
    #[inline]
    pub(crate) fn child(&self, value: f64) -> u32 {
        let left =
            if value.is_nan() { self.missing == Side::Left } else { self.question.holds(value) };
        if left { self.left } else { self.right }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Node {
    Leaf(f64),
    Split(Split),
}

/// What is known of a node besides what it computes with.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Note {
    /// How many training rows came by; zero in trees that do not know.
    pub(crate) cover: f64,
    /// What the split gained.
    pub(crate) gain: f64,
}

/// A tree. The root is node zero, and children come after their parents.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    notes: Vec<Note>,
}

impl Tree {
    /// A tree that gives every row the same value.
    pub(crate) fn constant(value: f64) -> Self {
        Self { nodes: vec![Node::Leaf(value)], notes: vec![Note::default()] }
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn node(&self, place: u32) -> Node {
        self.nodes[place as usize]
    }

    pub(crate) fn note(&self, place: u32) -> Note {
        self.notes[place as usize]
    }

    pub(crate) fn note_mut(&mut self, place: u32) -> &mut Note {
        &mut self.notes[place as usize]
    }

    /// Adds a leaf, whose parent is to be told the place that is returned.
    pub(crate) fn push_leaf(&mut self, value: f64) -> u32 {
        self.nodes.push(Node::Leaf(value));
        self.notes.push(Note::default());
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

    /// Multiplies the leaves, and the gains by the factor's square.
    pub(crate) fn scale(&mut self, factor: f64) {
        for node in &mut self.nodes {
            if let Node::Leaf(value) = node {
                *value *= factor;
            }
        }
        for note in &mut self.notes {
            note.gain = (note.gain * factor * factor).min(f64::MAX);
        }
    }

    pub(crate) fn splits(&self) -> impl Iterator<Item = &Split> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Split(split) => Some(split),
            Node::Leaf(_) => None,
        })
    }

    pub(crate) fn leaf_values(&self) -> impl Iterator<Item = f64> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Split(_) => None,
            Node::Leaf(value) => Some(*value),
        })
    }

    pub(crate) fn leaves(&self) -> usize {
        self.leaf_values().count()
    }

    /// The number of each node that is a leaf, from left to right.
    pub(crate) fn leaf_numbers(&self) -> Vec<u32> {
        let mut numbers = vec![0; self.nodes.len()];
        let (mut open, mut next) = (vec![0_u32], 0);
        while let Some(place) = open.pop() {
            match self.node(place) {
                Node::Leaf(_) => {
                    numbers[place as usize] = next;
                    next += 1;
                }
                Node::Split(split) => open.extend([split.right, split.left]),
            }
        }
        numbers
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

    /// The place of the leaf that a row falls into; `value` gives the row's features.
    pub(crate) fn find(&self, value: impl Fn(u32) -> f64) -> u32 {
        let mut place = 0;
        while let Node::Split(split) = self.node(place) {
            place = split.child(value(split.feature));
        }
        place
    }

    /// The value of the leaf that a row falls into.
    pub(crate) fn evaluate(&self, value: impl Fn(u32) -> f64) -> f64 {
        match self.node(self.find(value)) {
            Node::Leaf(leaf) => leaf,
            Node::Split(_) => 0.0,
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
    /// The sum and the base are the prediction.
    Identity,
    /// The prediction's logarithm.
    Exp,
    /// One sum of each class; their exponentials are as the probabilities.
    Softmax,
    /// One sum of each class, which is its probability.
    Shares,
}

/// Trees that together give a prediction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ensemble {
    pub(crate) link: Link,
    /// What the sum of each output begins with. Only classes have several.
    pub(crate) bases: Vec<f64>,
    /// The trees; the first is of the first output, the second of the second, and so on in turn.
    pub(crate) trees: Vec<Tree>,
    /// What the splits on each feature gained, all together.
    pub(crate) gains: Vec<f64>,
}

impl Ensemble {
    pub(crate) fn outputs(&self) -> usize {
        self.bases.len()
    }

    /// The trees of one output.
    pub(crate) fn trees_of(&self, output: usize) -> impl Iterator<Item = &Tree> + Clone {
        self.trees.iter().skip(output).step_by(self.outputs().max(1))
    }

    /// How many splits are about each feature.
    pub(crate) fn split_counts(&self) -> Vec<f64> {
        let mut counts = vec![0.0; self.gains.len()];
        for split in self.trees.iter().flat_map(Tree::splits) {
            counts[split.feature as usize] += 1.0;
        }
        counts
    }
}
