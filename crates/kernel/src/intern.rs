//! Small numbers for different values.

use crate::hash::xxh::xxh64;

const EMPTY: u32 = u32::MAX;
/// Values of up to so many bytes are told apart by their ends alone.
const SHORT_MAX: usize = 16;

/// Numbers different byte strings in the order in which they come.
///
/// ```
/// use icecore_kernel::Interner;
///
/// let mut users = Interner::default();
/// assert_eq!((users.code(b"ann"), users.code(b"bob"), users.code(b"ann")), (0, 1, 0));
/// assert_eq!((users.value(1), users.find(b"eve")), (&b"bob"[..], None));
/// ```
#[derive(Debug, Clone)]
pub struct Interner {
    /// (the hash's upper half, code) by the hash's lower bits, at most half full.
    slots: Vec<(u32, u32)>,
    /// The ends of each value, so that most comparisons look at nothing else.
    heads: Vec<Ends>,
    hashes: Vec<u64>,
    /// Where each value ends in `bytes`, after a zero.
    stops: Vec<usize>,
    bytes: Vec<u8>,
}

/// The first and the last bytes of a value, and its length: all of a short one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ends {
    first: u64,
    last: u64,
    len: usize,
}

impl Ends {
    #[inline]
    fn of(value: &[u8]) -> Self {
        let len = value.len();
        if let (Some(first), Some(last)) = (value.first_chunk(), value.last_chunk()) {
            return Self {
                first: u64::from_le_bytes(*first),
                last: u64::from_le_bytes(*last),
                len,
            };
        }
        if let (Some(first), Some(last)) = (value.first_chunk(), value.last_chunk()) {
            let [first, last] = [first, last].map(|half| u64::from(u32::from_le_bytes(*half)));
            return Self { first, last, len };
        }
        let first = value.iter().fold(0, |packed, byte| packed << 8 | u64::from(*byte));
        Self { first, last: 0, len }
    }

    /// The hash of a value with these ends.
    #[inline]
    fn hash(self, value: &[u8]) -> u64 {
        if self.len > SHORT_MAX {
            return xxh64(value, 0);
        }
        // Both halves of a product of two words depend on all bits of both; wyhash
        // (https://github.com/wangyi-fudan/wyhash) folds them so.
        let left = self.first ^ 0xa076_1d64_78bd_642f ^ self.len as u64;
        let product = u128::from(left) * u128::from(self.last ^ 0xe703_7ed1_a0b4_28db);
        let folded = (product >> 64) as u64 ^ product as u64;
        let product = u128::from(folded ^ 0x8ebc_6af0_9c88_c6e3) * 0x5899_65cc_7537_4cc3;
        (product >> 64) as u64 ^ product as u64
    }
}

impl Default for Interner {
    fn default() -> Self {
        Self {
            slots: vec![(0, EMPTY); 1024],
            heads: Vec::new(),
            hashes: Vec::new(),
            stops: vec![0],
            bytes: Vec::new(),
        }
    }
}

impl Interner {
    /// How many different values there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The number of a value, a new one if it is new. There is room for 2^32 - 1 of them.
    #[inline]
    pub fn code(&mut self, value: &[u8]) -> u32 {
        let ends = Ends::of(value);
        let hash = ends.hash(value);
        match self.look(value, ends, hash) {
            Ok(code) => code,
            Err(at) => self.insert(value, (ends, hash), at),
        }
    }

    /// The number that a value was given, if it was.
    #[inline]
    #[must_use]
    pub fn find(&self, value: &[u8]) -> Option<u32> {
        let ends = Ends::of(value);
        self.look(value, ends, ends.hash(value)).ok()
    }

    /// The value's number, or the slot that is free for it.
    #[inline]
    fn look(&self, value: &[u8], ends: Ends, hash: u64) -> Result<u32, usize> {
        let tag = (hash >> 32) as u32;
        let mut at = hash as usize & (self.slots.len() - 1);
        loop {
            let (slot_tag, code) = self.slots[at];
            if code == EMPTY {
                return Err(at);
            }
            let same = slot_tag == tag && self.heads[code as usize] == ends;
            if same && (ends.len <= SHORT_MAX || self.value(code) == value) {
                return Ok(code);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// The value of a number that was given.
    #[must_use]
    pub fn value(&self, code: u32) -> &[u8] {
        let at = code as usize;
        match (self.stops.get(at), self.stops.get(at + 1)) {
            (Some(start), Some(stop)) => self.bytes.get(*start..*stop).unwrap_or_default(),
            _ => &[],
        }
    }

    /// The memory that the values take, with what is set aside for more of them.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<(u32, u32)>()
            + self.heads.capacity() * size_of::<Ends>()
            + self.hashes.capacity() * size_of::<u64>()
            + self.stops.capacity() * size_of::<usize>()
            + self.bytes.capacity()
    }

    #[cold]
    fn insert(&mut self, value: &[u8], (ends, hash): (Ends, u64), at: usize) -> u32 {
        // Callers hold fewer rows than this.
        let code = self.hashes.len() as u32;
        self.hashes.push(hash);
        self.heads.push(ends);
        self.bytes.extend_from_slice(value);
        self.stops.push(self.bytes.len());
        self.slots[at] = ((hash >> 32) as u32, code);
        if self.hashes.len() * 2 > self.slots.len() {
            self.grow();
        }
        code
    }

    fn grow(&mut self) {
        let mut slots = vec![(0, EMPTY); self.slots.len() * 4];
        for (code, hash) in (0..).zip(&self.hashes) {
            let mut at = *hash as usize & (slots.len() - 1);
            while slots[at].1 != EMPTY {
                at = (at + 1) & (slots.len() - 1);
            }
            slots[at] = ((*hash >> 32) as u32, code);
        }
        self.slots = slots;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_values_have_one_number_and_others_have_others() {
        let mut interner = Interner::default();
        let mut expected: HashMap<String, u32> = HashMap::new();
        for number in 0..20_000_u64 {
            let value = format!("{}", number * number % 7919);
            let next = expected.len() as u32;
            let code = *expected.entry(value.clone()).or_insert(next);
            assert_eq!(interner.code(value.as_bytes()), code);
            assert_eq!(interner.value(code), value.as_bytes());
        }
        assert_eq!(interner.len(), expected.len());
        assert_eq!(interner.code(b""), expected.len() as u32);
        assert_eq!(interner.value(expected.len() as u32 + 1), b"");
    }

    // Lists double: what they set aside is memory, too, and is not there a second time when it is
    // used.
    #[test]
    fn room_for_more_values_is_counted_once() {
        let mut interner = Interner::default();
        let (mut sizes, mut least) = (std::collections::BTreeSet::new(), 0);
        for number in 0..10_000 {
            let value = format!("a value of some length, {number:08}");
            interner.code(value.as_bytes());
            least += value.len() + size_of::<Ends>() + size_of::<u64>() + size_of::<usize>();
            assert!(interner.size_bytes() >= least);
            sizes.insert(interner.size_bytes());
        }
        assert!(sizes.len() < 200, "{} sizes", sizes.len());
    }

    proptest! {
        // Short ones, ones that differ only in the middle, ones of equal ends and other lengths.
        #[test]
        fn numbers_are_those_of_a_map(
            values in prop::collection::vec(prop::collection::vec(0_u8..3, 0..40), 0..300),
        ) {
            let mut interner = Interner::default();
            let mut expected: HashMap<Vec<u8>, u32> = HashMap::new();
            for value in &values {
                let known = expected.get(value).copied();
                prop_assert_eq!(interner.find(value), known);
                let next = expected.len() as u32;
                let code = *expected.entry(value.clone()).or_insert(next);
                prop_assert_eq!(interner.code(value), code);
                prop_assert_eq!(interner.value(code), value.as_slice());
            }
        }
    }
}
