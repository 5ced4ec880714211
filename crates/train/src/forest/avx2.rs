//! Trees of few leaves over blocks of 64 rows, with AVX2: a block's codes fill two registers, and
//! the leaves of a tree are looked up in registers, too.

use std::arch::x86_64::{
    __m128i, __m256i, _mm256_add_epi16, _mm256_and_si256, _mm256_blendv_epi8,
    _mm256_broadcastsi128_si256, _mm256_cmpgt_epi8, _mm256_set1_epi8, _mm256_set1_epi16,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16, _mm256_srli_epi16,
    _mm256_sub_epi8,
};

use super::blocks::{BlockTree, BlockTrees, Slots};
use super::code::{Ask, Coding};
use super::hardware::Avx2;
use super::mask::{Codes, LANES};
use super::row::RowTrees;
use super::{Fixed, LEAF_BITS};
use crate::tree::{Node, Tree};

/// The most leaves whose values are looked up in registers.
pub(super) const FEW: usize = 32;
/// Perfect trees of this depth have as many.
const DEPTH: usize = 5;
/// Bytes of a leaf.
const PLANES: usize = 5;
/// What makes leaves positive.
const BIAS: i64 = 1 << LEAF_BITS;
/// Trees whose leaves are found before their values are added.
const GROUP: usize = 8;
/// Groups whose bytes can be added in 16 bits.
const WINDOW: usize = 256 / GROUP;

/// The leaves of a tree byte by byte, the lowest first.
type Planes = [[u8; FEW]; PLANES];
/// A vector of 64 bytes.
type Wide = [__m256i; 2];
/// The sums of the bytes of leaves: of rows at even places of each half, and at odd ones.
type Sums = [[Wide; 2]; PLANES];

/// Trees of at most [`FEW`] leaves.
#[derive(Debug)]
pub(super) struct FewLeaves {
    /// The splits of each tree, level by level, where all trees are made perfect ones.
    perfect: Option<Vec<[Ask; FEW - 1]>>,
    /// The trees for single rows, if they do not ask for too many columns.
    rows: Option<RowTrees>,
    planes: Vec<Planes>,
}

impl FewLeaves {
    /// The same trees, if none of them has too many leaves.
    pub(super) fn new<'a>(
        blocks: &BlockTrees,
        trees: impl Iterator<Item = &'a Tree> + Clone,
        coding: &Coding,
        fixed: Fixed,
    ) -> Option<Self> {
        if blocks.width() > FEW {
            return None;
        }
        let rows = RowTrees::new(trees.clone(), coding, fixed);
        if coding.inputs.is_empty() || trees.clone().any(|tree| tree.depth() > DEPTH) {
            let planes = blocks.trees().map(|tree| planes(tree.leaves())).collect();
            return Some(Self { perfect: None, rows, planes });
        }
        let trees: Vec<_> = trees.map(|tree| made_perfect(tree, coding, fixed)).collect();
        Some(Self {
            planes: trees.iter().map(|(_, leaves)| planes(leaves)).collect(),
            rows,
            perfect: Some(trees.into_iter().map(|(asks, _)| asks).collect()),
        })
    }

    /// The trees for single rows.
    pub(super) const fn rows(&self) -> Option<&RowTrees> {
        self.rows.as_ref()
    }

    /// Adds to the sum of each row of a block the values of its leaves.
    #[expect(unsafe_code, reason = "AVX2 code on a machine that has it")]
    pub(super) fn add_sums(
        &self,
        _proof: Avx2,
        blocks: &BlockTrees,
        (codes, slots): (&[Codes], &mut Slots),
        sums: &mut [i64; LANES],
    ) {
        // SAFETY: a value of `Avx2` is made only where the machine has AVX2.
        unsafe {
            match &self.perfect {
                Some(perfect) => add_perfect(perfect, &self.planes, codes, sums),
                None => add_any(blocks, &self.planes, (codes, slots), sums),
            }
        }
    }
}

/// Adds the leaves of trees of any shape with many leaves.
#[expect(unsafe_code, reason = "AVX2 code on a machine that has it")]
pub(super) fn add_many_leaves(
    _proof: Avx2,
    blocks: &BlockTrees,
    (codes, slots): (&[Codes], &mut Slots),
    sums: &mut [i64; LANES],
) {
    // SAFETY: a value of `Avx2` is made only where the machine has AVX2.
    unsafe { add_many(blocks, codes, slots, sums) }
}

fn planes(leaves: &[i64]) -> Planes {
    let mut planes = [[0; FEW]; PLANES];
    for (number, leaf) in leaves.iter().take(FEW).enumerate() {
        for (plane, byte) in planes.iter_mut().zip((leaf + BIAS).to_le_bytes()) {
            plane[number] = byte;
        }
    }
    planes
}

/// The splits of a tree level by level, and its leaves.
type Perfect = ([Ask; FEW - 1], [i64; FEW]);

/// A tree as a perfect one: its splits level by level, and its leaves. A leaf that comes early is
/// repeated.
fn made_perfect(tree: &Tree, coding: &Coding, fixed: Fixed) -> Perfect {
    let mut asks = [Ask { column: 0, limit: i8::MAX }; FEW - 1];
    let mut level = vec![0_u32];
    let mut next = 0;
    for _ in 0..DEPTH {
        let mut below = Vec::with_capacity(FEW);
        for place in level {
            match tree.node(place) {
                Node::Leaf(_) => below.extend([place, place]),
                Node::Split(split) => {
                    asks[next] = coding.ask(&split);
                    below.extend([split.left, split.right]);
                }
            }
            next += 1;
        }
        level = below;
    }
    let leaf = |place| match tree.node(place) {
        Node::Leaf(value) => fixed.of(value),
        Node::Split(_) => 0,
    };
    let mut leaves = [0; FEW];
    for (value, place) in leaves.iter_mut().zip(level) {
        *value = leaf(place);
    }
    (asks, leaves)
}

/// The codes or numbers as a vector.
#[inline]
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "loading registers")]
fn wide<T: Byte>(numbers: &[T; LANES]) -> Wide {
    // SAFETY: the 64 bytes behind the reference may be read, unaligned as they are, and any bytes
    // make registers.
    unsafe { std::ptr::from_ref(numbers).cast::<Wide>().read_unaligned() }
}

/// The vector as numbers.
#[inline]
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "storing registers")]
fn bytes(wide: Wide) -> [u8; LANES] {
    // SAFETY: both types are 64 bytes without padding, any of which are valid.
    unsafe { std::mem::transmute(wide) }
}

/// What is one byte, all of whose bits may be anything.
trait Byte {}
impl Byte for i8 {}
impl Byte for u8 {}

/// Sixteen bytes, in both halves of a register.
#[inline]
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "loading a register")]
fn twice(bytes: &[u8; 16]) -> __m256i {
    // SAFETY: both types are 16 bytes without padding, any of which are valid.
    let half = unsafe { std::mem::transmute::<[u8; 16], __m128i>(*bytes) };
    _mm256_broadcastsi128_si256(half)
}

/// Which rows go right: all bits of their bytes are set.
#[inline]
#[target_feature(enable = "avx2")]
fn above(ask: Ask, codes: &[Codes]) -> Wide {
    let limit = _mm256_set1_epi8(ask.limit);
    let [a, b] = wide(&codes[usize::from(ask.column)]);
    [_mm256_cmpgt_epi8(a, limit), _mm256_cmpgt_epi8(b, limit)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn choose(above: Wide, left: Wide, right: Wide) -> Wide {
    [
        _mm256_blendv_epi8(left[0], right[0], above[0]),
        _mm256_blendv_epi8(left[1], right[1], above[1]),
    ]
}

/// What a split between two leaves chooses.
#[inline]
#[target_feature(enable = "avx2")]
fn lowest(ask: Ask, left: u8, codes: &[Codes]) -> Wide {
    let [a, b] = above(ask, codes);
    let left = _mm256_set1_epi8(left as i8);
    // What goes right has the next number: subtracting a byte with all bits set adds one.
    [_mm256_sub_epi8(left, a), _mm256_sub_epi8(left, b)]
}

/// The numbers of the rows' leaves in a perfect tree.
#[inline]
#[target_feature(enable = "avx2")]
fn follow_perfect(asks: &[Ask; FEW - 1], codes: &[Codes]) -> Wide {
    macro_rules! fifth {
        ($split:expr) => {
            lowest(asks[$split], 2 * $split - 30, codes)
        };
    }
    macro_rules! level {
        ($below:ident, $split:expr) => {{
            let (left, right) = ($below!(2 * $split + 1), $below!(2 * $split + 2));
            choose(above(asks[$split], codes), left, right)
        }};
    }
    macro_rules! fourth {
        ($split:expr) => {
            level!(fifth, $split)
        };
    }
    macro_rules! third {
        ($split:expr) => {
            level!(fourth, $split)
        };
    }
    macro_rules! second {
        ($split:expr) => {
            level!(third, $split)
        };
    }
    level!(second, 0)
}

/// The numbers of the rows' leaves in a tree of any shape.
#[inline]
#[target_feature(enable = "avx2")]
fn follow(tree: BlockTree<'_>, codes: &[Codes], slots: &mut Slots) -> Wide {
    for split in tree.lowest {
        slots[usize::from(split.place)] = bytes(lowest(split.ask, split.left, codes));
    }
    for choice in tree.choices {
        let left = wide(&slots[usize::from(choice.left)]);
        let right = wide(&slots[usize::from(choice.right)]);
        let chosen = choose(above(choice.ask, codes), left, right);
        slots[usize::from(choice.place)] = bytes(chosen);
    }
    wide(&slots[tree.root()])
}

#[target_feature(enable = "avx2")]
fn add_perfect(
    perfect: &[[Ask; FEW - 1]],
    planes: &[Planes],
    codes: &[Codes],
    sums: &mut [i64; LANES],
) {
    let mut parts = [[[_mm256_setzero_si256(); 2]; 2]; PLANES];
    let mut numbers = [[_mm256_setzero_si256(); 2]; GROUP];
    for (group, (trees, planes)) in perfect.chunks(GROUP).zip(planes.chunks(GROUP)).enumerate() {
        for (numbers, asks) in numbers.iter_mut().zip(trees) {
            *numbers = follow_perfect(asks, codes);
        }
        add_group(&numbers, planes, &mut parts);
        if group % WINDOW == WINDOW - 1 {
            flush(&mut parts, sums);
        }
    }
    flush(&mut parts, sums);
    subtract_bias(perfect.len(), sums);
}

#[target_feature(enable = "avx2")]
fn add_any(
    blocks: &BlockTrees,
    planes: &[Planes],
    (codes, slots): (&[Codes], &mut Slots),
    sums: &mut [i64; LANES],
) {
    let mut parts = [[[_mm256_setzero_si256(); 2]; 2]; PLANES];
    let mut numbers = [[_mm256_setzero_si256(); 2]; GROUP];
    let mut trees = blocks.trees();
    for (group, of_group) in planes.chunks(GROUP).enumerate() {
        for (numbers, tree) in numbers.iter_mut().take(of_group.len()).zip(&mut trees) {
            *numbers = follow(tree, codes, slots);
        }
        add_group(&numbers, of_group, &mut parts);
        if group % WINDOW == WINDOW - 1 {
            flush(&mut parts, sums);
        }
    }
    flush(&mut parts, sums);
    subtract_bias(planes.len(), sums);
}

#[target_feature(enable = "avx2")]
fn add_many(blocks: &BlockTrees, codes: &[Codes], slots: &mut Slots, sums: &mut [i64; LANES]) {
    for tree in blocks.trees() {
        let numbers = bytes(follow(tree, codes, slots));
        tree.add_leaves(&numbers, sums);
    }
}

/// Adds the leaves of a group of trees, byte by byte.
#[inline]
#[target_feature(enable = "avx2")]
fn add_group(numbers: &[Wide; GROUP], planes: &[Planes], parts: &mut Sums) {
    let even = _mm256_set1_epi16(0xFF);
    for (plane, parts) in parts.iter_mut().enumerate() {
        for (half, [evens, odds]) in parts.iter_mut().enumerate() {
            for (numbers, planes) in numbers.iter().zip(planes) {
                let number = numbers[half];
                let (tables, _) = planes[plane].as_chunks::<16>();
                let low = _mm256_shuffle_epi8(twice(&tables[0]), number);
                let high = _mm256_shuffle_epi8(twice(&tables[1]), number);
                // The bit worth 16 says which table, and the upper bit of a byte what is blended.
                let is_high = _mm256_slli_epi16::<3>(number);
                let byte = _mm256_blendv_epi8(low, high, is_high);
                *evens = _mm256_add_epi16(*evens, _mm256_and_si256(byte, even));
                *odds = _mm256_add_epi16(*odds, _mm256_srli_epi16::<8>(byte));
            }
        }
    }
}

/// Adds the sums of bytes to the sums, and starts again.
#[inline]
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "storing registers")]
fn flush(parts: &mut Sums, sums: &mut [i64; LANES]) {
    for (plane, parts) in parts.iter_mut().enumerate() {
        for (part, sums) in parts.iter_mut().zip(sums.chunks_exact_mut(LANES / 2)) {
            // SAFETY: both types are 64 bytes without padding, any of which are valid.
            let [evens, odds] = unsafe { std::mem::transmute::<Wide, [[u16; 16]; 2]>(*part) };
            for ((sums, even), odd) in sums.as_chunks_mut::<2>().0.iter_mut().zip(evens).zip(odds) {
                sums[0] += i64::from(even) << (8 * plane);
                sums[1] += i64::from(odd) << (8 * plane);
            }
            *part = [_mm256_setzero_si256(); 2];
        }
    }
}

fn subtract_bias(trees: usize, sums: &mut [i64; LANES]) {
    for sum in sums {
        *sum -= trees as i64 * BIAS;
    }
}
