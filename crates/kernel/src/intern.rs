//! Small numbers for different values.

use crate::hash::xxh::xxh64;

const EMPTY: u32 = u32::MAX;

/// Numbers different byte strings in the order in which they come.
///
/// ```
/// use icecore_kernel::Interner;
///
/// let mut users = Interner::default();
/// assert_eq!((users.code(b"ann"), users.code(b"bob"), users.code(b"ann")), (0, 1, 0));
/// assert_eq!(users.value(1), b"bob");
/// ```
#[derive(Debug, Clone)]
pub struct Interner {
    /// (the hash's upper half, code) by the hash's lower bits, at most half full.
    slots: Vec<(u32, u32)>,
    hashes: Vec<u64>,
    /// Where each value ends in `bytes`, after a zero.
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl Default for Interner {
    fn default() -> Self {
        Self { slots: vec![(0, EMPTY); 1024], hashes: Vec::new(), ends: vec![0], bytes: Vec::new() }
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
        let hash = xxh64(value, 0);
        let tag = (hash >> 32) as u32;
        let mut at = hash as usize & (self.slots.len() - 1);
        loop {
            let (slot_tag, code) = self.slots[at];
            if code == EMPTY {
                return self.insert(value, hash, at);
            }
            if slot_tag == tag && self.value(code) == value {
                return code;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// The value of a number that was given.
    #[must_use]
    pub fn value(&self, code: u32) -> &[u8] {
        let at = code as usize;
        match (self.ends.get(at), self.ends.get(at + 1)) {
            (Some(start), Some(end)) => self.bytes.get(*start..*end).unwrap_or_default(),
            _ => &[],
        }
    }

    /// The memory that the values take.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        8 * self.slots.len() + 16 * self.hashes.len() + self.bytes.len()
    }

    fn insert(&mut self, value: &[u8], hash: u64, at: usize) -> u32 {
        // Callers hold fewer rows than this.
        let code = self.hashes.len() as u32;
        self.hashes.push(hash);
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
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
}
