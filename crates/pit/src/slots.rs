//! The different keys and moments of a spine: what feature rows are looked up in.

use std::sync::OnceLock;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, concat, max, min};
use arrow::datatypes::{DataType, Int64Type};
use arrow::row::{RowConverter, SortField};
use icecore_core::{Error, Result};
use icecore_kernel::Interner;

use crate::held::Held;

/// Stands for no slot, and for no key.
pub(crate) const NOWHERE: u32 = u32::MAX;
/// A range of whole numbers is looked up by subtraction where it has at most this many numbers for
/// each row of the spine.
const NUMBERS_PER_ROW_MAX: usize = 8;

/// The moments of each key, in order. Rows of one key and moment share a slot, since they see the
/// same.
pub(crate) struct Slots {
    lookup: Lookup,
    /// Where the slots of each key begin, and where the last ones end.
    starts: Vec<u32>,
    times: Vec<i64>,
    /// The slot of each row of the spine; [`NOWHERE`] for a null key or moment.
    of_row: Vec<u32>,
    by_time: OnceLock<Vec<Moment>>,
}

/// A slot, in the order of time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) time: i64,
    pub(crate) slot: u32,
    /// The number of its key.
    pub(crate) code: u32,
}

/// How a key becomes a small number.
enum Lookup {
    /// Whole numbers that lie close to each other.
    Near {
        least: i64,
        count: u64,
    },
    Numbers(Interner),
    Texts(Interner),
    Rows(Interner, RowConverter),
}

impl Slots {
    /// The slots of a spine by the columns of a key, with moments in the column `moment`.
    ///
    /// # Errors
    ///
    /// `Internal` if a column is not of the type that the spine says.
    pub(crate) fn new(held: &Held, keys: &[usize], moment: usize) -> Result<Self> {
        let columns = keys.iter().map(|key| whole(&held.batches, *key));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let moments = whole(&held.batches, moment)?;
        let moments = moments.as_primitive::<Int64Type>();
        let mut lookup = Lookup::new(&columns)?;
        let codes = lookup.number(&columns)?;
        let places = Places { codes: &codes, moments };
        Ok(places.slots(lookup))
    }

    /// How many slots there are.
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    /// How many numbers keys have.
    pub(crate) fn keys(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The moments of the slots.
    pub(crate) fn times(&self) -> &[i64] {
        &self.times
    }

    /// The slots in the order of time.
    pub(crate) fn by_time(&self) -> &[Moment] {
        self.by_time.get_or_init(|| {
            let keys = (0_u32..).zip(self.groups());
            let moments = keys.flat_map(|(code, (start, end))| {
                let slots = (start as u32..).zip(&self.times[start..end]);
                slots.map(move |(slot, time)| Moment { time: *time, slot, code })
            });
            let mut moments: Vec<Moment> = moments.collect();
            moments.sort_unstable_by_key(|moment| moment.time);
            moments
        })
    }

    /// The slot of each row of the spine.
    pub(crate) fn of_rows(&self) -> &[u32] {
        &self.of_row
    }

    /// The slots of each key, from and to.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (usize, usize)> {
        let ends = self.starts.iter().skip(1);
        self.starts.iter().zip(ends).map(|(start, end)| (*start as usize, *end as usize))
    }

    /// The slots of the key with a number.
    pub(crate) fn group(&self, code: u32) -> Option<(usize, usize)> {
        let start = *self.starts.get(code as usize)?;
        let end = *self.starts.get(code as usize + 1)?;
        Some((start as usize, end as usize))
    }

    /// The number of each row's key, [`NOWHERE`] for one that the spine does not have.
    pub(crate) fn codes(&self, keys: &[ArrayRef]) -> Result<Vec<u32>> {
        self.lookup.find(keys)
    }
}

/// All rows of a column.
fn whole(batches: &[RecordBatch], at: usize) -> Result<ArrayRef> {
    let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(at).as_ref()).collect();
    match parts.as_slice() {
        [] => Ok(std::sync::Arc::new(Int64Array::from(Vec::<i64>::new()))),
        parts => Ok(concat(parts)?),
    }
}

/// Each row's key and moment.
struct Places<'a> {
    codes: &'a [u32],
    moments: &'a Int64Array,
}

impl Places<'_> {
    fn rows(&self) -> impl Iterator<Item = (u32, u32, i64)> {
        let rows = (0_u32..).zip(self.codes).zip(self.moments.iter());
        rows.filter_map(|((row, code), moment)| {
            (*code != NOWHERE).then_some(())?;
            Some((row, *code, moment?))
        })
    }

    /// Puts rows in the order of their keys by counting, and those of one key by their moments.
    fn slots(&self, lookup: Lookup) -> Slots {
        let mut ends = vec![0_u32; lookup.len() + 1];
        self.rows().for_each(|(_, code, _)| ends[code as usize + 1] += 1);
        let mut total = 0;
        for end in &mut ends {
            total += *end;
            *end = total;
        }
        let mut next = ends.clone();
        let mut ordered = vec![(0_i64, 0_u32); total as usize];
        for (row, code, moment) in self.rows() {
            let place = &mut next[code as usize];
            ordered[*place as usize] = (moment, row);
            *place += 1;
        }
        let mut of_row = vec![NOWHERE; self.codes.len()];
        let (mut starts, mut times) = (Vec::with_capacity(ends.len()), Vec::new());
        for (from, to) in ends.iter().zip(ends.iter().skip(1)) {
            let start = times.len();
            starts.push(start as u32);
            let rows = &mut ordered[*from as usize..*to as usize];
            rows.sort_unstable();
            for (moment, row) in rows {
                if times.len() == start || times.last() != Some(moment) {
                    times.push(*moment);
                }
                of_row[*row as usize] = times.len() as u32 - 1;
            }
        }
        starts.push(times.len() as u32);
        Slots { lookup, starts, times, of_row, by_time: OnceLock::new() }
    }
}

impl Lookup {
    fn new(keys: &[ArrayRef]) -> Result<Self> {
        match keys {
            [key] if is_number(key.data_type()) => {
                let numbers = cast(key, &DataType::Int64)?;
                let numbers = numbers.as_primitive::<Int64Type>();
                let (Some(least), Some(most)) = (min(numbers), max(numbers)) else {
                    return Ok(Self::Near { least: 0, count: 0 });
                };
                let count = most.abs_diff(least).saturating_add(1);
                let near = numbers.len().saturating_mul(NUMBERS_PER_ROW_MAX).min(1 << 30) as u64;
                Ok(match count <= near {
                    true => Self::Near { least, count },
                    false => Self::Numbers(Interner::default()),
                })
            }
            [key] if *key.data_type() == DataType::Utf8 => Ok(Self::Texts(Interner::default())),
            keys => {
                let fields = keys.iter().map(|key| SortField::new(key.data_type().clone()));
                Ok(Self::Rows(Interner::default(), RowConverter::new(fields.collect())?))
            }
        }
    }

    /// How many numbers there are.
    fn len(&self) -> usize {
        match self {
            Self::Near { count, .. } => *count as usize,
            Self::Numbers(known) | Self::Texts(known) | Self::Rows(known, _) => known.len(),
        }
    }

    /// Numbers the keys of the spine.
    fn number(&mut self, keys: &[ArrayRef]) -> Result<Vec<u32>> {
        match self {
            Self::Near { .. } => self.find(keys),
            Self::Numbers(known) => {
                let numbers = numbers(keys)?;
                let code = |key: Option<i64>| key.map(|key| known.code(&key.to_le_bytes()));
                Ok(numbers.iter().map(code).map(|code| code.unwrap_or(NOWHERE)).collect())
            }
            Self::Texts(known) => {
                let code = |key: Option<&str>| key.map(|key| known.code(key.as_bytes()));
                Ok(texts(keys)?.iter().map(code).map(|code| code.unwrap_or(NOWHERE)).collect())
            }
            Self::Rows(known, converter) => {
                let rows = converter.convert_columns(keys)?;
                let valid = valid(keys);
                let code = |row: usize| match valid.as_ref().is_none_or(|v| v.is_valid(row)) {
                    true => known.code(rows.row(row).as_ref()),
                    false => NOWHERE,
                };
                Ok((0..rows.num_rows()).map(code).collect())
            }
        }
    }

    fn find(&self, keys: &[ArrayRef]) -> Result<Vec<u32>> {
        match self {
            Self::Near { least, count } => {
                let numbers = numbers(keys)?;
                let near = |key: i64| {
                    let code = key.wrapping_sub(*least) as u64;
                    if key >= *least && code < *count { code as u32 } else { NOWHERE }
                };
                if numbers.null_count() == 0 {
                    return Ok(numbers.values().iter().copied().map(near).collect());
                }
                Ok(numbers.iter().map(|key| key.map_or(NOWHERE, near)).collect())
            }
            Self::Numbers(known) => {
                let find = |key: Option<i64>| known.find(&key?.to_le_bytes());
                Ok(numbers(keys)?.iter().map(|key| find(key).unwrap_or(NOWHERE)).collect())
            }
            Self::Texts(known) => {
                let find = |key: Option<&str>| known.find(key?.as_bytes());
                Ok(texts(keys)?.iter().map(|key| find(key).unwrap_or(NOWHERE)).collect())
            }
            Self::Rows(known, converter) => {
                let rows = converter.convert_columns(keys)?;
                Ok(rows.iter().map(|key| known.find(key.as_ref()).unwrap_or(NOWHERE)).collect())
            }
        }
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() && *data_type != DataType::UInt64
}

fn numbers(keys: &[ArrayRef]) -> Result<Int64Array> {
    let key = keys.first().ok_or_else(|| Error::internal("a key has no column"))?;
    Ok(cast(key, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

fn texts(keys: &[ArrayRef]) -> Result<&StringArray> {
    let key = keys.first().and_then(|key| key.as_string_opt::<i32>());
    key.ok_or_else(|| Error::internal("a key is no text"))
}

/// Where no part of a key is null.
fn valid(keys: &[ArrayRef]) -> Option<NullBuffer> {
    keys.iter().fold(None, |nulls: Option<NullBuffer>, key| {
        NullBuffer::union(nulls.as_ref(), key.logical_nulls().as_ref())
    })
}
