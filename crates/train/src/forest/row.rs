//! One row through perfect trees, with AVX2: all splits of a tree are asked at once, and their
//! answers, a word of bits, show the way.

use std::arch::x86_64::{
    __m128i, __m256i, _mm256_adds_epu8, _mm256_broadcastsi128_si256, _mm256_cmpgt_epi8,
    _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_sub_epi8,
};

use super::avx2::{DEPTH, FEW};
use super::code::Ask;
use super::hardware::Avx2;

/// Columns that one register has the codes of.
const CHUNK: usize = 16;
/// With more columns than this, step after step is as fast.
const COLUMNS_MAX: usize = 64;

/// A perfect tree: of each split, level by level, the column and the limit; then its leaves.
#[derive(Debug)]
struct RowTree {
    columns: [u8; FEW],
    limits: [i8; FEW],
    leaves: [i64; FEW],
}

/// Trees whose leaves are summed.
#[derive(Debug)]
pub(super) struct RowTrees {
    trees: Vec<RowTree>,
    chunks: usize,
}

impl RowTrees {
    /// The trees, if they do not ask for too many columns.
    pub(super) fn new(trees: &[([Ask; FEW - 1], [i64; FEW])], columns: usize) -> Option<Self> {
        if columns > COLUMNS_MAX {
            return None;
        }
        let tree = |(asks, leaves): &([Ask; FEW - 1], [i64; FEW])| {
            let mut tree = RowTree { columns: [0; FEW], limits: [0; FEW], leaves: *leaves };
            for ((ask, column), limit) in asks.iter().zip(&mut tree.columns).zip(&mut tree.limits) {
                (*column, *limit) = (ask.column as u8, ask.limit);
            }
            tree
        };
        Some(Self { trees: trees.iter().map(tree).collect(), chunks: columns.div_ceil(CHUNK) })
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
            let right = _mm256_movemask_epi8(right) as u32;
            let mut split = 0;
            for _ in 0..DEPTH {
                split = 2 * split + 1 + (right >> split & 1);
            }
            sum += tree.leaves[(split as usize + 1) % FEW];
        }
        sum
    }
}

/// The numbers in a register.
#[inline]
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "loading a register")]
fn register<T: Copy>(numbers: &[T; FEW]) -> __m256i {
    const { assert!(size_of::<T>() == 1) };
    // SAFETY: the 32 bytes behind the reference may be read, unaligned as they are, and any bytes
    // make a register.
    unsafe { std::ptr::from_ref(numbers).cast::<__m256i>().read_unaligned() }
}

/// Sixteen codes, in both halves of a register.
#[inline]
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "loading a register")]
fn twice(codes: &[i8; CHUNK]) -> __m256i {
    // SAFETY: both types are 16 bytes without padding, any of which are valid.
    let half = unsafe { std::mem::transmute::<[i8; CHUNK], __m128i>(*codes) };
    _mm256_broadcastsi128_si256(half)
}
