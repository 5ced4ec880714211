//! A sketch that counts different values.

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use icecore_core::{Error, Result};

/// Bits of a hash that name its register.
const PRECISION: u32 = 12;
/// How many registers a sketch has.
pub(crate) const REGISTERS: usize = 1 << PRECISION;
/// The greatest rank: all other bits of the hash are zero.
const MAX_RANK: usize = (64 - PRECISION + 1) as usize;
/// With more registers than this in use, all of them are kept.
const SPARSE_MAX: usize = 512;
const VERSION: u8 = 1;

/// The register that a hash falls into, and its rank there: one more than the zeros it begins with.
#[inline]
pub(crate) const fn register_and_rank(hash: u64) -> (u16, u8) {
    let register = (hash >> (64 - PRECISION)) as u16;
    // A guard bit below the last one bounds the rank.
    let rank = (hash << PRECISION | 1 << (PRECISION - 1)).leading_zeros() + 1;
    (register, rank as u8)
}

/// How many registers hold each rank: all that the estimate depends on.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: [u32; MAX_RANK + 1],
}

impl Default for Histogram {
    fn default() -> Self {
        let mut counts = [0; MAX_RANK + 1];
        counts[0] = REGISTERS as u32;
        Self { counts }
    }
}

impl Histogram {
    /// A register goes from one rank to another.
    #[inline]
    pub(crate) fn change(&mut self, from: u8, to: u8) {
        self.counts[usize::from(from)] -= 1;
        self.counts[usize::from(to)] += 1;
    }

    /// The improved estimator of Ertl (2017), arXiv:1702.01284, algorithm 6: no tables of bias and
    /// no thresholds, accurate from nothing to the full range.
    pub(crate) fn estimate(&self) -> f64 {
        let registers = REGISTERS as f64;
        let full = f64::from(self.counts[MAX_RANK]) / registers;
        let mut z = registers * tau(1.0 - full);
        for count in self.counts[1..MAX_RANK].iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += EMPTY_TERMS.get(self.counts[0] as usize).copied().unwrap_or(f64::INFINITY);
        registers * registers / (2.0 * std::f64::consts::LN_2 * z)
    }
}

/// `m * sigma(n / m)` for each number of empty registers n.
static EMPTY_TERMS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let registers = REGISTERS as f64;
    (0..=REGISTERS).map(|empty| registers * sigma(empty as f64 / registers)).collect()
});

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// A HyperLogLog of 4,096 registers: how many different values were added, with a relative standard
/// error of 1.63 %.
///
/// Sketches of few values are small: they keep only the registers in use.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow::array::{ArrayRef, Int64Array};
/// use icecore_kernel::{HyperLogLog, hash_values};
///
/// # fn main() -> icecore_core::Result<()> {
/// let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
/// let mut sketch = HyperLogLog::default();
/// hash_values(&ids)?.iter().flatten().for_each(|hash| sketch.add_hash(hash));
/// assert!((950..1050).contains(&sketch.estimate()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HyperLogLog {
    registers: Registers,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Registers {
    /// Registers that are not empty, in order.
    Sparse(Vec<(u16, u8)>),
    All(Box<[u8]>),
}

impl Default for HyperLogLog {
    fn default() -> Self {
        Self { registers: Registers::Sparse(Vec::new()) }
    }
}

impl HyperLogLog {
    /// Adds a value by its hash, of [`hash_values`](crate::hash_values).
    pub fn add_hash(&mut self, hash: u64) {
        let (register, rank) = register_and_rank(hash);
        self.raise(register, rank);
    }

    /// Adds every value that another sketch has seen.
    pub fn merge(&mut self, other: &Self) {
        other.for_each(|register, rank| self.raise(register, rank));
    }

    /// The estimated number of different values.
    #[must_use]
    pub fn estimate(&self) -> u64 {
        let mut histogram = Histogram::default();
        self.for_each(|_, rank| histogram.change(0, rank));
        histogram.estimate().round() as u64
    }

    /// A compact form: sketches of the same values have the same bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        match &self.registers {
            Registers::Sparse(entries) => {
                for (register, rank) in entries {
                    bytes.extend_from_slice(&register.to_le_bytes());
                    bytes.push(*rank);
                }
            }
            Registers::All(ranks) => bytes.extend_from_slice(ranks),
        }
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DataCorrupt`](icecore_core::ErrorKind::DataCorrupt) for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::decode(bytes).ok_or_else(|| Error::corrupt("these bytes are not a HyperLogLog"))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, body) = bytes.split_first()?;
        let valid = |rank: u8| (1..=MAX_RANK).contains(&usize::from(rank));
        if version != VERSION {
            return None;
        }
        if body.len() == REGISTERS {
            let used = body.iter().filter(|rank| **rank != 0).count();
            let known = body.iter().all(|rank| *rank == 0 || valid(*rank));
            let all = Self { registers: Registers::All(body.into()) };
            return (known && used > SPARSE_MAX).then_some(all);
        }
        let (entries, rest) = body.as_chunks::<3>();
        let entries =
            entries.iter().map(|[low, high, rank]| (u16::from_le_bytes([*low, *high]), *rank));
        let entries = entries.collect::<Vec<_>>();
        let sorted = entries.is_sorted_by(|a, b| a.0 < b.0);
        let known = entries.iter().all(|(at, rank)| usize::from(*at) < REGISTERS && valid(*rank));
        let sound = rest.is_empty() && sorted && known && entries.len() <= SPARSE_MAX;
        sound.then_some(Self { registers: Registers::Sparse(entries) })
    }

    fn for_each(&self, mut visit: impl FnMut(u16, u8)) {
        match &self.registers {
            Registers::Sparse(entries) => {
                entries.iter().for_each(|(register, rank)| visit(*register, *rank));
            }
            Registers::All(ranks) => {
                let used = (0..).zip(ranks.iter()).filter(|(_, rank)| **rank != 0);
                used.for_each(|(register, rank)| visit(register, *rank));
            }
        }
    }

    fn raise(&mut self, register: u16, rank: u8) {
        let entries = match &mut self.registers {
            Registers::All(ranks) => {
                if let Some(held) = ranks.get_mut(usize::from(register)) {
                    *held = rank.max(*held);
                }
                return;
            }
            Registers::Sparse(entries) => entries,
        };
        match entries.binary_search_by_key(&register, |entry| entry.0) {
            Ok(at) => entries[at].1 = rank.max(entries[at].1),
            Err(at) => entries.insert(at, (register, rank)),
        }
        if entries.len() > SPARSE_MAX {
            let mut ranks = vec![0; REGISTERS].into_boxed_slice();
            entries.iter().for_each(|(at, rank)| ranks[usize::from(*at)] = *rank);
            self.registers = Registers::All(ranks);
        }
    }
}
