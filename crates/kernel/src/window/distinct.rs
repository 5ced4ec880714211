//! How many different values each window has, exactly and by sketch.

use arrow::array::{Array, ArrayRef, AsArray, LargeBinaryArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use icecore_core::{Error, Result};

use super::bounds::{Bounds, Slide, slide};
use super::events::NO_ROW;
use crate::accumulate::{Histogram, REGISTERS, register_and_rank};
use crate::hash::canonical::{Canonical, float_bits};
use crate::hash::hash_values;
use crate::hash::xxh::{avalanche, xxh64};

/// The code of an event that has no value.
pub(crate) const NO_CODE: u32 = u32::MAX;

/// A small number for each different value.
#[derive(Debug)]
pub(crate) struct Codes {
    codes: Vec<u32>,
    different: usize,
}

impl Codes {
    pub(crate) fn try_new(input: &ArrayRef, valid: Option<&BooleanBuffer>) -> Result<Self> {
        let mut codes = Self::of_values(input)?;
        if let Some(valid) = valid {
            for (code, valid) in codes.codes.iter_mut().zip(valid.iter()) {
                if !valid {
                    *code = NO_CODE;
                }
            }
        }
        Ok(codes)
    }

    /// Codes of all slots; those of nulls are arbitrary.
    fn of_values(input: &ArrayRef) -> Result<Self> {
        if let DataType::Dictionary(..) = input.data_type() {
            let dictionary = input.as_any_dictionary();
            if dictionary.values().is_empty() {
                return Ok(Self { codes: vec![NO_CODE; input.len()], different: 0 });
            }
            // A dictionary may hold a value twice.
            let values = Self::of_values(dictionary.values())?;
            let keys = dictionary.normalized_keys().into_iter();
            let codes = keys.map(|key| values.codes[key]).collect();
            return Ok(Self { codes, different: values.different });
        }
        Ok(match Canonical::try_new(input)? {
            Canonical::Boolean(array) => {
                Self { codes: array.values().iter().map(u32::from).collect(), different: 2 }
            }
            Canonical::Int(array) => Self::of_ints(array.values()),
            Canonical::Unsigned(array) => Self::of_words(array.values()),
            Canonical::Float(array) => {
                Self::of_words(&array.values().iter().map(|v| float_bits(*v)).collect::<Vec<_>>())
            }
            Canonical::Decimal(array) => Self::of_wide(array.values()),
            Canonical::Bytes(array) => Self::of_bytes(&array),
            Canonical::List(..) | Canonical::Struct(..) => {
                return Err(Error::internal("lists are not counted"));
            }
        })
    }

    fn of_ints(values: &[i64]) -> Self {
        let (Some(&least), Some(&greatest)) = (values.iter().min(), values.iter().max()) else {
            return Self { codes: Vec::new(), different: 0 };
        };
        // Dense ids are codes already.
        let different = greatest.abs_diff(least).saturating_add(1);
        if different <= 4 * values.len() as u64 {
            let codes = values.iter().map(|value| value.abs_diff(least) as u32).collect();
            return Self { codes, different: different as usize };
        }
        let hash = |row: usize| avalanche(values[row] as u64);
        intern(values.len(), hash, |a, b| values[a] == values[b])
    }

    fn of_words(values: &[u64]) -> Self {
        intern(values.len(), |row| avalanche(values[row]), |a, b| values[a] == values[b])
    }

    fn of_wide(values: &[i128]) -> Self {
        let hash =
            |row: usize| avalanche(values[row] as u64 ^ avalanche((values[row] >> 64) as u64));
        intern(values.len(), hash, |a, b| values[a] == values[b])
    }

    fn of_bytes(values: &LargeBinaryArray) -> Self {
        let hash = |row: usize| xxh64(values.value(row), 0);
        intern(values.len(), hash, |a, b| values.value(a) == values.value(b))
    }

    pub(crate) fn in_windows(&self, bounds: Bounds<'_>) -> Vec<u32> {
        let counts = vec![0; self.different];
        let mut state = Occurrences { codes: &self.codes, counts, different: 0 };
        slide(bounds, &mut state, |state| state.different)
    }
}

/// Numbers the different values in the order in which they come.
fn intern(rows: usize, hash: impl Fn(usize) -> u64, equal: impl Fn(usize, usize) -> bool) -> Codes {
    const EMPTY: u32 = u32::MAX;
    // (the hash's upper half, code) by the hash's lower bits, at most half full
    let mut slots = vec![(0_u32, EMPTY); 1024];
    let mut firsts: Vec<(u64, u32)> = Vec::new();
    let mut codes = Vec::with_capacity(rows);
    for row in 0..rows {
        let hash = hash(row);
        let tag = (hash >> 32) as u32;
        let mut at = hash as usize & (slots.len() - 1);
        let code = loop {
            let (slot_tag, code) = slots[at];
            if code == EMPTY {
                let code = firsts.len() as u32;
                firsts.push((hash, row as u32));
                slots[at] = (tag, code);
                break code;
            }
            if slot_tag == tag && equal(firsts[code as usize].1 as usize, row) {
                break code;
            }
            at = (at + 1) & (slots.len() - 1);
        };
        codes.push(code);
        if firsts.len() * 2 > slots.len() {
            slots = grown(&firsts, slots.len() * 4);
        }
    }
    Codes { codes, different: firsts.len() }
}

fn grown(firsts: &[(u64, u32)], size: usize) -> Vec<(u32, u32)> {
    let mut slots = vec![(0, u32::MAX); size];
    for (code, (hash, _)) in (0..).zip(firsts) {
        let mut at = *hash as usize & (size - 1);
        while slots[at].1 != u32::MAX {
            at = (at + 1) & (size - 1);
        }
        slots[at] = ((*hash >> 32) as u32, code);
    }
    slots
}

/// How often each code occurs in the window.
struct Occurrences<'a> {
    codes: &'a [u32],
    counts: Vec<u32>,
    different: u32,
}

impl Slide for Occurrences<'_> {
    #[inline]
    fn enter(&mut self, row: usize) {
        if let Some(count) = self.counts.get_mut(self.codes[row] as usize) {
            self.different += u32::from(*count == 0);
            *count += 1;
        }
    }

    #[inline]
    fn leave(&mut self, row: usize) {
        if let Some(count) = self.counts.get_mut(self.codes[row] as usize) {
            *count -= 1;
            self.different -= u32::from(*count == 0);
        }
    }
}

/// The register and rank of each value in a HyperLogLog; rank zero where there is no value.
#[derive(Debug)]
pub(crate) struct Ranks {
    registers: Vec<u16>,
    ranks: Vec<u8>,
}

impl Ranks {
    pub(crate) fn try_new(input: &ArrayRef, valid: Option<&BooleanBuffer>) -> Result<Self> {
        let hashes = hash_values(input)?;
        let hashes = hashes.values().iter().map(|hash| register_and_rank(*hash));
        let (registers, mut ranks): (Vec<_>, Vec<_>) = hashes.unzip();
        if let Some(valid) = valid {
            for (rank, valid) in ranks.iter_mut().zip(valid.iter()) {
                *rank *= u8::from(valid);
            }
        }
        Ok(Self { registers, ranks })
    }

    pub(crate) fn in_windows(&self, bounds: Bounds<'_>) -> Vec<i64> {
        let mut state = Registers {
            of: self,
            links: vec![Link { older: NO_ROW, newer: NO_ROW }; self.ranks.len()],
            ends: vec![Link { older: NO_ROW, newer: NO_ROW }; REGISTERS],
            histogram: Histogram::default(),
        };
        slide(bounds, &mut state, |state| state.histogram.estimate().round() as i64)
    }
}

/// The registers of a sliding HyperLogLog.
///
/// Each register keeps the values that hold its rank or may come to hold it once older ones left:
/// ranks fall from the oldest to the newest, so that the oldest has the register's rank. The lists
/// live in one array over the events, and the estimate only needs the histogram of ranks, so an
/// entity costs what its events cost and nothing for its registers.
struct Registers<'a> {
    of: &'a Ranks,
    /// The neighbours of each event in its register's list.
    links: Vec<Link>,
    /// The oldest and the newest event of each register's list.
    ends: Vec<Link>,
    histogram: Histogram,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    older: u32,
    newer: u32,
}

impl Registers<'_> {
    fn rank(&self, row: u32) -> u8 {
        self.of.ranks.get(row as usize).copied().unwrap_or(0)
    }
}

impl Slide for Registers<'_> {
    fn enter(&mut self, row: usize) {
        let rank = self.of.ranks[row];
        if rank == 0 {
            return;
        }
        let ends = self.ends[usize::from(self.of.registers[row])];
        let mut newest = ends.newer;
        while newest != NO_ROW && self.rank(newest) <= rank {
            newest = self.links[newest as usize].older;
        }
        let number = row as u32;
        self.links[row] = Link { older: newest, newer: NO_ROW };
        let ends = if newest == NO_ROW {
            self.histogram.change(self.rank(ends.older), rank);
            Link { older: number, newer: number }
        } else {
            self.links[newest as usize].newer = number;
            Link { older: ends.older, newer: number }
        };
        self.ends[usize::from(self.of.registers[row])] = ends;
    }

    fn leave(&mut self, row: usize) {
        let ends = &mut self.ends[usize::from(self.of.registers[row])];
        if ends.older != row as u32 {
            return;
        }
        let next = self.links[row].newer;
        ends.older = next;
        if next == NO_ROW {
            ends.newer = NO_ROW;
        } else {
            self.links[next as usize].older = NO_ROW;
        }
        let (from, to) = (self.of.ranks[row], self.rank(next));
        self.histogram.change(from, to);
    }
}
