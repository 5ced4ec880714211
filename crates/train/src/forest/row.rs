//! One row through trees of few leaves, with AVX2: all splits of a tree are asked at once. Each that
//! sends the row right rules out the leaves on its left; of those that remain, the first is the row's
//! (QuickScorer, Lucchese et al., SIGIR 2015).

use std::arch::x86_64::{
    __m128i, __m256i, _mm_cvtsi128_si32, _mm_or_si128, _mm_shuffle_epi32, _mm_srli_si128,
    _mm256_adds_epu8, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_castsi256_si128,
    _mm256_cmpgt_epi8, _mm256_cvtepi8_epi32, _mm256_extracti128_si256, _mm256_or_si256,
    _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_sub_epi8,
};

use super::Fixed;
use super::avx2::FEW;
use super::code::Coding;
use super::hardware::Avx2;
use crate::tree::{Node, Tree};

/// Columns that one register has the codes of.
const CHUNK: usize = 16;
/// With more columns than this, step after step is as fast.
const COLUMNS_MAX: usize = 64;
/// Splits that one register has the leaves of.
const QUARTER: usize = FEW / 4;

/// A tree: of each split the column, the limit and the leaves on its left; then the leaves. It
/// begins with a cache line, of which a row needs three and that of its leaf.
#[derive(Debug)]
#[repr(align(64))]
struct RowTree {
    columns: [u8; FEW],
    limits: [i8; FEW],
    /// A bit for each leaf, from the left, in quarters of the splits.
    lefts: [[u32; QUARTER]; 4],
    leaves: [i64; FEW],
}

/// Trees whose leaves are summed.
#[derive(Debug)]
pub(super) struct RowTrees {
    trees: Vec<RowTree>,
    chunks: usize,
}

impl RowTrees {
    /// The trees, which have at most [`FEW`] leaves, if they do not ask for too many columns.
    pub(super) fn new<'a>(
        trees: impl Iterator<Item = &'a Tree>,
        coding: &Coding,
        fixed: Fixed,
    ) -> Option<Self> {
        let columns = coding.inputs.len();
        if columns > COLUMNS_MAX {
            return None;
        }
        let trees = trees.map(|tree| RowTree::new(tree, coding, fixed)).collect();
        Some(Self { trees, chunks: columns.div_ceil(CHUNK) })
    }

    /// The sum of the leaves of one row, given its code in each column.
    #[expect(unsafe_code, reason = "AVX2 code on a machine that has it")]
    pub(super) fn sum_of_row(&self, _proof: Avx2, codes: &[i8]) -> i64 {
        let mut padded = [[0; CHUNK]; COLUMNS_MAX / CHUNK];
        for (padded, code) in padded.as_flattened_mut().iter_mut().zip(codes) {
            *padded = *code;
        }
        // SAFETY: a value of `Avx2` is made only where the machine has AVX2.
        unsafe { self.sum(&padded[..self.chunks]) }
    }

    #[target_feature(enable = "avx2")]
    fn sum(&self, codes: &[[i8; CHUNK]]) -> i64 {
        let mut sum = 0;
        for tree in &self.trees {
            let columns = register(&tree.columns);
            let mut code = _mm256_setzero_si256();
            for (chunk, codes) in codes.iter().enumerate() {
                // What is not of this chunk gets an upper bit, and so becomes zero.
                let place = _mm256_sub_epi8(columns, _mm256_set1_epi8((chunk * CHUNK) as i8));
                let place = _mm256_adds_epu8(place, _mm256_set1_epi8(0x70));
                code = _mm256_or_si256(code, _mm256_shuffle_epi8(twice(codes), place));
            }
            let right = _mm256_cmpgt_epi8(code, register(&tree.limits));
            let leaf = ruled_out(right, &tree.lefts).trailing_ones() as usize;
            sum += tree.leaves[leaf % FEW];
        }
        sum
    }
}

impl RowTree {
    fn new(tree: &Tree, coding: &Coding, fixed: Fixed) -> Self {
        // A split that is not there sends no row right.
        let mut made = Self {
            columns: [0; FEW],
            limits: [i8::MAX; FEW],
            lefts: [[0; QUARTER]; 4],
            leaves: [0; FEW],
        };
        let numbers = tree.leaf_numbers();
        let mut below = vec![0_u32; tree.nodes().len()];
        let mut splits = 0;
        // Children come after their parents.
        for (place, node) in tree.nodes().iter().enumerate().rev() {
            match node {
                Node::Leaf(value) => {
                    let number = numbers[place] as usize % FEW;
                    below[place] = 1 << number;
                    made.leaves[number] = fixed.of(*value);
                }
                Node::Split(split) => {
                    let ask = coding.ask(split);
                    made.columns[splits] = ask.column as u8;
                    made.limits[splits] = ask.limit;
                    let left = below[split.left as usize];
                    made.lefts.as_flattened_mut()[splits] = left;
                    below[place] = left | below[split.right as usize];
                    splits += 1;
                }
            }
        }
        made
    }
}

/// The leaves that are on the left of splits that send the row right.
#[inline]
#[target_feature(enable = "avx2")]
fn ruled_out(right: __m256i, lefts: &[[u32; QUARTER]; 4]) -> u32 {
    let (low, high) = (_mm256_castsi256_si128(right), _mm256_extracti128_si256::<1>(right));
    let quarters = [low, _mm_srli_si128::<8>(low), high, _mm_srli_si128::<8>(high)];
    let mut all = _mm256_setzero_si256();
    for (quarter, lefts) in quarters.into_iter().zip(lefts) {
        let right = _mm256_cvtepi8_epi32(quarter);
        all = _mm256_or_si256(all, _mm256_and_si256(right, register(lefts)));
    }
    let half = _mm_or_si128(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
    let pair = _mm_or_si128(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
    _mm_cvtsi128_si32(_mm_or_si128(pair, _mm_shuffle_epi32::<0b10_11_00_01>(pair))) as u32
}

/// The numbers in a register.
#[inline]
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "loading a register")]
fn register<T: Whole, const COUNT: usize>(numbers: &[T; COUNT]) -> __m256i {
    const { assert!(size_of::<[T; COUNT]>() == size_of::<__m256i>()) };
    // SAFETY: the 32 bytes behind the reference may be read, unaligned as they are, and any bytes
    // make a register.
    unsafe { std::ptr::from_ref(numbers).cast::<__m256i>().read_unaligned() }
}

/// What is a whole number, all of whose bits may be anything.
trait Whole {}
impl Whole for i8 {}
impl Whole for u8 {}
impl Whole for u32 {}

/// Sixteen codes, in both halves of a register.
#[inline]
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "loading a register")]
fn twice(codes: &[i8; CHUNK]) -> __m256i {
    // SAFETY: both types are 16 bytes without padding, any of which are valid.
    let half = unsafe { std::mem::transmute::<[i8; CHUNK], __m128i>(*codes) };
    _mm256_broadcastsi128_si256(half)
}
