//! States as bytes: a version, the kind of state, and what it holds.
//!
//! There is one way to write each state. What is read is written again and must come out the same,
//! so everything that the rules below do not say themselves is refused with it: lists out of order,
//! counts of nothing, numbers with leading zeros.

use arrow::datatypes::{DataType, i256};
use icecore_core::AggregateFunction;

use super::datum::{Datum, DatumKind};
use super::state::{State, kept};
use crate::accumulate::WholePowers;
use crate::{ExactSum, HyperLogLog, PowerSums, QuantileSketch};

const VERSION: u8 = 1;

const fn tag(state: &State) -> u8 {
    match state {
        State::Count(_) => 0,
        State::Whole { .. } => 1,
        State::Float { .. } => 2,
        State::WholePowers(_) => 3,
        State::FloatPowers(_) => 4,
        State::Distinct(_) => 5,
        State::Bounded(_) => 6,
        State::Sketch(_) => 7,
        State::Best(_) => 8,
        State::Timed(_) => 9,
        State::Quantiles(_) => 10,
        State::Histogram(_) => 11,
        State::Latest(_) => 12,
    }
}

pub(super) fn write(state: &State) -> Vec<u8> {
    let mut bytes = vec![VERSION, tag(state)];
    match state {
        State::Count(count) => number(&mut bytes, *count),
        State::Whole { count, sum } => {
            number(&mut bytes, *count);
            bytes.extend_from_slice(&sum.to_le_bytes());
        }
        State::Float { count, sum } => {
            number(&mut bytes, *count);
            bytes.extend_from_slice(&sum.to_bytes());
        }
        State::WholePowers(powers) => powers.write(&mut bytes),
        State::FloatPowers(powers) => bytes.extend_from_slice(&powers.to_bytes()),
        State::Distinct(counts) => {
            for (value, count) in counts {
                datum(&mut bytes, value);
                number(&mut bytes, *count);
            }
        }
        State::Bounded(values) => values.iter().for_each(|value| datum(&mut bytes, value)),
        State::Sketch(sketch) => bytes.extend_from_slice(&sketch.to_bytes()),
        State::Best(best) => best.iter().for_each(|value| datum(&mut bytes, value)),
        State::Timed(best) => {
            for (time, value) in best {
                bytes.extend_from_slice(&time.to_le_bytes());
                datum(&mut bytes, value);
            }
        }
        State::Quantiles(sketch) => bytes.extend_from_slice(&sketch.to_bytes()),
        State::Histogram(counts) => counts.iter().for_each(|count| number(&mut bytes, *count)),
        State::Latest(latest) => {
            if let Some(time) = latest {
                bytes.extend_from_slice(&time.to_le_bytes());
            }
        }
    }
    bytes
}

/// A number in groups of seven bits, the lowest first; the last one has no eighth bit (LEB128).
fn number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn datum(bytes: &mut Vec<u8>, value: &Datum) {
    match value {
        Datum::Word(value) => bytes.extend_from_slice(&value.to_le_bytes()),
        Datum::Wide(value) => bytes.extend_from_slice(&value.to_le_bytes()),
        Datum::Float(value) => bytes.extend_from_slice(&value.to_bits().to_le_bytes()),
        Datum::Bytes(value) => {
            number(bytes, value.len() as u64);
            bytes.extend_from_slice(value);
        }
    }
}

pub(super) fn read(
    function: &AggregateFunction,
    input: Option<&DataType>,
    bytes: &[u8],
) -> Option<State> {
    let empty = State::empty(function, input);
    let (&[version, kind], body) = bytes.split_first_chunk::<2>()?;
    if version != VERSION || kind != tag(&empty) {
        return None;
    }
    let kind = input.map_or(DatumKind::Word, DatumKind::of);
    let state = state(function, empty, &mut Reader { bytes: body, kind, text: is_text(input) })?;
    let is_kept = match (&state, kept(function)) {
        (State::Best(best), Some((most, greatest))) => is_best(best, most, greatest),
        (State::Timed(best), Some((most, greatest))) => is_best(best, most, greatest),
        _ => true,
    };
    (is_kept && write(&state) == bytes).then_some(state)
}

fn is_text(input: Option<&DataType>) -> bool {
    match input {
        Some(DataType::Dictionary(_, value)) => is_text(Some(value)),
        Some(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => true,
        _ => false,
    }
}

fn is_best<T: Ord>(best: &[T], most: usize, greatest: bool) -> bool {
    let is_sorted = match greatest {
        true => best.is_sorted_by(|a, b| a >= b),
        false => best.is_sorted(),
    };
    is_sorted && best.len() <= most
}

fn state(function: &AggregateFunction, empty: State, reader: &mut Reader<'_>) -> Option<State> {
    Some(match empty {
        State::Count(_) => State::Count(reader.last(Reader::number)?),
        State::Whole { .. } => {
            let count = reader.number()?;
            let sum = reader.array::<32>().map(i256::from_le_bytes)?;
            // No sum of so many values of 128 bits is larger.
            let fits = (sum >> 200_u8) == i256::ZERO || (sum >> 200_u8) == i256::MINUS_ONE;
            fits.then_some(State::Whole { count, sum })?
        }
        State::Float { .. } => {
            let count = reader.number()?;
            let sum = Box::new(ExactSum::from_bytes(reader.rest()).ok()?);
            State::Float { count, sum }
        }
        State::WholePowers(_) => {
            State::WholePowers(Box::new(reader.last(|r| WholePowers::read(&mut r.bytes))?))
        }
        State::FloatPowers(_) => State::FloatPowers(PowerSums::from_bytes(reader.rest()).ok()?),
        State::Distinct(_) => {
            let pairs = reader.all(|reader| {
                let value = reader.datum()?.identity();
                Some((value, reader.number().filter(|count| *count > 0)?))
            });
            State::Distinct(pairs?.into_iter().collect())
        }
        State::Bounded(_) => {
            let AggregateFunction::BoundedCountDistinct(most) = function else { return None };
            let values = reader.all(|reader| Some(reader.datum()?.identity()))?;
            let fits = values.len() <= *most as usize;
            fits.then(|| State::Bounded(values.into_iter().collect()))?
        }
        State::Sketch(_) => State::Sketch(HyperLogLog::from_bytes(reader.rest()).ok()?),
        State::Best(_) => State::Best(reader.all(Reader::datum)?),
        State::Timed(_) => State::Timed(reader.all(|reader| {
            let time = reader.array().map(i64::from_le_bytes)?;
            Some((time, reader.datum()?))
        })?),
        State::Quantiles(_) => State::Quantiles(QuantileSketch::from_bytes(reader.rest()).ok()?),
        State::Histogram(counts) => {
            let found = reader.all(Reader::number)?;
            (found.len() == counts.len()).then_some(State::Histogram(found))?
        }
        State::Latest(_) => match reader.bytes.is_empty() {
            true => State::Latest(None),
            false => State::Latest(Some(reader.last(Reader::array).map(i64::from_le_bytes)?)),
        },
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    kind: DatumKind,
    /// Whether bytes are UTF-8.
    text: bool,
}

impl<'a> Reader<'a> {
    /// The last thing that there is.
    fn last<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let value = read(self)?;
        self.bytes.is_empty().then_some(value)
    }

    /// Things up to the end. Each takes at least a byte.
    fn all<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut values = Vec::new();
        while !self.bytes.is_empty() {
            values.push(read(self)?);
        }
        Some(values)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for group in 0..9 {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << (7 * group);
            if byte & 0x80 == 0 {
                // Counts of what was once there stay far below.
                return (number < 1 << 62).then_some(number);
            }
        }
        None
    }

    fn datum(&mut self) -> Option<Datum> {
        Some(match self.kind {
            DatumKind::Word => Datum::Word(self.array().map(i64::from_le_bytes)?),
            DatumKind::Wide => Datum::Wide(self.array().map(i128::from_le_bytes)?),
            DatumKind::Float => Datum::float(self.array().map(f64::from_le_bytes)?),
            DatumKind::Bytes => {
                let length = usize::try_from(self.number()?).ok()?;
                let (value, rest) = self.bytes.split_at_checked(length)?;
                self.bytes = rest;
                if self.text && std::str::from_utf8(value).is_err() {
                    return None;
                }
                Datum::Bytes(value.into())
            }
        })
    }
}
