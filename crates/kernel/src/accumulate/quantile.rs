//! A sketch that finds percentiles.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use icecore_core::{Error, Finite, Result};

use crate::window::float_key;

/// Bits of a float below its sign, its exponent and the first seven of its fraction.
const SHIFT: u32 = 45;
const INFINITE: i32 = (f64::INFINITY.to_bits() >> SHIFT) as i32;
const VERSION: u8 = 1;
/// Places of the table that values added together are counted in.
const PLACES: usize = 512;
/// A bucket and its count.
const ENTRY_BYTES: usize = 4 + 8;

/// The bucket that a float falls into. Buckets are in the order of their values.
#[inline]
pub(crate) fn bucket_of(value: f64) -> i32 {
    // What is not normal has too few digits for a bucket of its own.
    let value = if value.abs() < f64::MIN_POSITIVE { 0.0 } else { value };
    // Keys are 64 bits wide, so this fits.
    (float_key(value) >> SHIFT) as i32
}

/// The middle of a bucket.
pub(crate) fn value_of(bucket: i32) -> f64 {
    // A negative number has the bucket of the positive one with all bits turned around.
    let magnitude = if bucket < 0 { !bucket } else { bucket };
    let value = match magnitude {
        0 => 0.0,
        INFINITE => f64::INFINITY,
        1..INFINITE => f64::from_bits((magnitude as u64) << SHIFT | 1 << (SHIFT - 1)),
        _ => f64::NAN,
    };
    if bucket < 0 { -value } else { value }
}

/// Between which numbers the values of a bucket lie.
fn bounds_of(bucket: i32) -> (f64, f64) {
    let magnitude = if bucket < 0 { !bucket } else { bucket };
    let (low, high) = match magnitude {
        1..INFINITE => {
            let bits = (magnitude as u64) << SHIFT;
            (f64::from_bits(bits), f64::from_bits(bits | ((1 << SHIFT) - 1)))
        }
        _ => (value_of(magnitude), value_of(magnitude)),
    };
    if bucket < 0 { (-high, -low) } else { (low, high) }
}

/// The rank, counted from zero, of the value that a share of so many values lies below.
pub(crate) fn rank_of(share: Finite, count: u64) -> Option<u64> {
    let last = count.checked_sub(1)?;
    // Shares are from zero to one, so this is a rank that there is.
    Some(((share.get() * last as f64).floor() as u64).min(last))
}

/// A bucket of a [`QuantileSketch`]: how many values lie between two numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantileBucket {
    /// The least number of the bucket.
    pub low: f64,
    /// The greatest number of the bucket.
    pub high: f64,
    /// The number that stands for the values.
    pub value: f64,
    /// How many values there are.
    pub count: u64,
}

/// Counts of values in buckets that are 1/128 of a power of two wide: any percentile within 0.4 %
/// of the value that has its rank.
///
/// A [DDSketch](https://arxiv.org/abs/1908.10693) (Masson, Rim and Lee 2019) whose buckets are those
/// of the floats themselves: the exponent and the first seven bits of the fraction. So there is no
/// logarithm that platforms might round differently, no bucket is ever joined to another, and what
/// comes out depends on the values alone: not on their order, nor on how sketches were merged, nor
/// on what was added and taken out again. Values below 2.3e-308 in size count as zero; infinities
/// and NaN have buckets of their own, NaN as the greatest value.
///
/// ```
/// use icecore_core::Finite;
/// use icecore_kernel::QuantileSketch;
///
/// let mut sketch = QuantileSketch::default();
/// (1..=1000).for_each(|value| sketch.add(f64::from(value)));
/// let p95 = sketch.quantile(Finite::new(0.95).unwrap()).unwrap();
/// assert!((p95 / 950.0 - 1.0).abs() < 0.004);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuantileSketch {
    count: u64,
    buckets: BTreeMap<i32, u64>,
}

impl QuantileSketch {
    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        *self.buckets.entry(bucket_of(value)).or_default() += 1;
    }

    /// Adds values: the same as adding them one by one, in less time.
    pub fn add_all(&mut self, values: &[f64]) {
        // Buckets of one feature lie close together: a small table takes most counts without a
        // search, each of its places for one of the buckets that share it.
        let mut places = [(0_i32, 0_u32); PLACES];
        for value in values {
            let bucket = bucket_of(*value);
            let (holder, count) = &mut places[(bucket as usize) % PLACES];
            if *holder != bucket || *count == u32::MAX {
                self.add_to(*holder, *count);
                (*holder, *count) = (bucket, 0);
            }
            *count += 1;
        }
        for (bucket, count) in places {
            self.add_to(bucket, count);
        }
    }

    fn add_to(&mut self, bucket: i32, count: u32) {
        if count > 0 {
            self.count += u64::from(count);
            *self.buckets.entry(bucket).or_default() += u64::from(count);
        }
    }

    /// The buckets that hold values, in the order of their values.
    pub fn buckets(&self) -> impl Iterator<Item = QuantileBucket> {
        self.buckets.iter().map(|(bucket, count)| QuantileBucket {
            low: bounds_of(*bucket).0,
            high: bounds_of(*bucket).1,
            value: value_of(*bucket),
            count: *count,
        })
    }

    /// Takes out a value that was added. Tells whether there was one.
    pub fn sub(&mut self, value: f64) -> bool {
        let bucket = bucket_of(value);
        let Some(count) = self.buckets.get_mut(&bucket) else { return false };
        *count -= 1;
        self.count -= 1;
        if *count == 0 {
            self.buckets.remove(&bucket);
        }
        true
    }

    /// Adds everything that another sketch has seen.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
    }

    /// How many values there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// About the value of rank `floor(share * (n - 1))`, counted from zero; absent over no value.
    #[must_use]
    pub fn quantile(&self, share: Finite) -> Option<f64> {
        let mut left = rank_of(share, self.count)?;
        for (bucket, count) in &self.buckets {
            match left.checked_sub(*count) {
                None => return Some(value_of(*bucket)),
                Some(rest) => left = rest,
            }
        }
        None
    }

    /// A compact form: sketches of the same values have the same bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + ENTRY_BYTES * self.buckets.len());
        bytes.push(VERSION);
        for (bucket, count) in &self.buckets {
            bytes.extend_from_slice(&bucket.to_le_bytes());
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DataCorrupt`](icecore_core::ErrorKind::DataCorrupt) for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::decode(bytes).ok_or_else(|| Error::corrupt("these bytes are not a quantile sketch"))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&version, body) = bytes.split_first()?;
        let (entries, rest) = body.as_chunks::<ENTRY_BYTES>();
        if version != VERSION || !rest.is_empty() {
            return None;
        }
        let mut sketch = Self::default();
        let mut before = None;
        for entry in entries {
            let (bucket, count) = entry.split_first_chunk::<4>()?;
            let bucket = i32::from_le_bytes(*bucket);
            let count = u64::from_le_bytes(count.try_into().ok()?);
            let is_known = bucket_of(value_of(bucket)) == bucket;
            if !is_known || count == 0 || before.is_some_and(|before| before >= bucket) {
                return None;
            }
            before = Some(bucket);
            // Of sums of counts that were once there, none is this large.
            sketch.count = sketch.count.checked_add(count).filter(|count| *count < 1 << 62)?;
            sketch.buckets.insert(bucket, count);
        }
        Some(sketch)
    }
}
