//! Perfect trees over blocks of 64 rows of byte codes, with masks instead of branches.

use crate::tree::{Node, Side, Split, Tree};

/// Rows of a block.
pub(crate) const LANES: usize = 64;
/// The deepest tree that masks are worth: its leaves are numbered by a byte.
pub(crate) const MAX_DEPTH: usize = 8;

/// The codes of one feature for a block of rows.
///
/// They are stored with their upper bit flipped, so that comparing them as signed bytes, which
/// every vector unit can, orders them as unsigned ones.
pub(crate) type Codes = [i8; LANES];

type Mask = [u8; LANES];

/// A code as it is stored.
pub(crate) const fn biased(code: u8) -> i8 {
    (code ^ 0x80) as i8
}

/// A code as a number.
pub(crate) const fn unbiased(code: i8) -> u8 {
    code as u8 ^ 0x80
}

/// A split over codes: a row goes right if its code, less the shift, is above the limit.
///
/// A shift of one makes the greatest code of the code of a missing value, which is the least
/// otherwise: this is how a missing value goes right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CodeSplit {
    feature: u32,
    limit: i8,
    shift: i8,
}

impl CodeSplit {
    /// Sends everything to the left.
    pub(crate) const LEFT: Self = Self { feature: 0, limit: i8::MAX, shift: 0 };

    /// Codes up to `code` go left; missing values go where they are told.
    pub(crate) const fn new(feature: u32, code: u8, missing: Side) -> Self {
        let shift = match missing {
            Side::Left => 0,
            Side::Right => 1,
        };
        Self { feature, limit: biased(code).wrapping_sub(shift), shift }
    }

    pub(crate) const fn feature(self) -> usize {
        self.feature as usize
    }

    /// Whether a row goes right.
    #[inline]
    pub(crate) const fn goes_right(self, code: i8) -> bool {
        code.wrapping_sub(self.shift) > self.limit
    }
}

/// A tree as a perfect one of this depth: its splits level by level, and its leaves. A leaf that
/// comes early is repeated; `code` turns a split into one over codes.
pub(crate) fn perfect(
    tree: &Tree,
    depth: usize,
    code: impl Fn(&Split) -> CodeSplit,
) -> (Vec<CodeSplit>, Vec<f64>) {
    let mut splits = Vec::with_capacity((1 << depth) - 1);
    let mut level = vec![0_u32];
    for _ in 0..depth {
        let mut below = Vec::with_capacity(level.len() * 2);
        for place in level {
            match tree.node(place) {
                Node::Leaf(_) => {
                    splits.push(CodeSplit::LEFT);
                    below.extend([place, place]);
                }
                Node::Split(split) => {
                    splits.push(code(&split));
                    below.extend([split.left, split.right]);
                }
            }
        }
        level = below;
    }
    let leaves = level.into_iter().map(|place| match tree.node(place) {
        Node::Leaf(value) => value,
        Node::Split(_) => 0.0,
    });
    (splits, leaves.collect())
}

/// The ways of 64 rows through a tree.
#[derive(Debug)]
pub(crate) struct Paths {
    /// Whether each row went right, level by level.
    rights: [Mask; MAX_DEPTH],
    /// Answers that wait for the one of the sibling's subtree, by the height of the subtree.
    waiting: [Mask; MAX_DEPTH],
    depth: usize,
}

impl Default for Paths {
    fn default() -> Self {
        Self { rights: [[0; LANES]; MAX_DEPTH], waiting: [[0; LANES]; MAX_DEPTH], depth: 0 }
    }
}

impl Paths {
    /// Goes through a perfect tree, whose splits are given level by level.
    pub(crate) fn follow<'a>(&mut self, splits: &[CodeSplit], codes: impl Fn(usize) -> &'a Codes) {
        self.depth = 0;
        let mut rest = splits;
        while !rest.is_empty() && self.depth < MAX_DEPTH {
            let (level, below) = rest.split_at((1 << self.depth).min(rest.len()));
            self.rights[self.depth] = self.answers(level, &codes);
            self.depth += 1;
            rest = below;
        }
    }

    /// For each row, the answer of the split of this level that the row reaches.
    fn answers<'a>(&mut self, level: &[CodeSplit], codes: &impl Fn(usize) -> &'a Codes) -> Mask {
        let mut answer = [0; LANES];
        for (place, split) in level.iter().enumerate() {
            answer = compare(*split, codes(split.feature()));
            // Siblings are joined as soon as both are there, by the answer of their parent.
            let mut height = 0;
            while place >> height & 1 == 1 {
                let parents = &self.rights[self.depth - 1 - height];
                answer = select(parents, &self.waiting[height], &answer);
                height += 1;
            }
            if height < MAX_DEPTH {
                self.waiting[height] = answer;
            }
        }
        answer
    }

    /// The number of each row's leaf, from the left.
    fn leaf_numbers(&self) -> Mask {
        let mut numbers = [0_u8; LANES];
        for rights in &self.rights[..self.depth] {
            for (number, right) in numbers.iter_mut().zip(rights) {
                *number = *number << 1 | right & 1;
            }
        }
        numbers
    }

    /// Adds to each row's sum the value of its leaf.
    pub(crate) fn add_leaves<T: Copy + std::ops::AddAssign>(
        &self,
        leaves: &[T],
        sums: &mut [T; LANES],
    ) {
        for (sum, number) in sums.iter_mut().zip(self.leaf_numbers()) {
            *sum += leaves[usize::from(number)];
        }
    }
}

#[inline(always)]
fn compare(split: CodeSplit, codes: &Codes) -> Mask {
    let mut right = [0; LANES];
    for (right, code) in right.iter_mut().zip(codes) {
        *right = if split.goes_right(*code) { 0xFF } else { 0 };
    }
    right
}

/// `right` where the mask is set and `left` elsewhere.
#[inline(always)]
fn select(mask: &Mask, left: &Mask, right: &Mask) -> Mask {
    let mut chosen = [0; LANES];
    for lane in 0..LANES {
        chosen[lane] = (left[lane] & !mask[lane]) | (right[lane] & mask[lane]);
    }
    chosen
}
