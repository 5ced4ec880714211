//! Profiles as bytes: what a Puffin blob and a run's artifact hold.
//!
//! A magic word, then zstd of: the number of rows, the number of columns, and for each of them its
//! name, kind, counts, range, moments and sketches. Numbers are little-endian; texts and sketches
//! begin with their length. Equal profiles have equal bytes.

use std::collections::BTreeMap;

use icecore_core::{Error, Result};
use icecore_kernel::{HyperLogLog, QuantileSketch};

use crate::sketch::Moments;
use crate::{Categories, ColumnKind, ColumnProfile, Profile};

const MAGIC: &[u8; 8] = b"icprof1\n";
/// What a profile may unpack to.
const BYTES_MAX: usize = 256 << 20;
const LEVEL: i32 = 3;

impl Profile {
    /// A compact form.
    ///
    /// # Errors
    ///
    /// `Internal` if it cannot be compressed.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        pack(MAGIC, &self.encoded())
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// `DataCorrupt` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let body = unpack(MAGIC, bytes)?;
        let mut reader = Reader(&body);
        let profile = Self::decoded(&mut reader).filter(|_| reader.0.is_empty());
        profile.ok_or_else(|| Error::corrupt("these bytes are not statistics"))
    }

    pub(crate) fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.rows);
        put(&mut out, self.columns.len() as u64);
        for (name, column) in &self.columns {
            put_bytes(&mut out, name.as_bytes());
            encode_column(column, &mut out);
        }
        out
    }

    pub(crate) fn decoded(reader: &mut Reader<'_>) -> Option<Self> {
        let rows = reader.number()?;
        let mut columns = BTreeMap::new();
        for _ in 0..reader.number()? {
            let name = reader.text()?;
            columns.insert(name, decode_column(reader)?);
        }
        Some(Self { rows, columns })
    }
}

pub(crate) fn pack(magic: &[u8; 8], body: &[u8]) -> Result<Vec<u8>> {
    let packed = zstd::bulk::compress(body, LEVEL)
        .map_err(|error| Error::internal("cannot compress statistics").with_source(error))?;
    let mut out = magic.to_vec();
    put(&mut out, body.len() as u64);
    out.extend(packed);
    Ok(out)
}

pub(crate) fn unpack(magic: &[u8; 8], bytes: &[u8]) -> Result<Vec<u8>> {
    let corrupt = || Error::corrupt("these bytes are not statistics");
    let rest = bytes.strip_prefix(magic).ok_or_else(corrupt)?;
    let mut reader = Reader(rest);
    let size = reader.number().and_then(|size| usize::try_from(size).ok());
    let size = size.filter(|size| *size <= BYTES_MAX).ok_or_else(corrupt)?;
    let body = zstd::bulk::decompress(reader.0, size).map_err(|_| corrupt())?;
    if body.len() == size { Ok(body) } else { Err(corrupt()) }
}

fn encode_column(column: &ColumnProfile, out: &mut Vec<u8>) {
    out.push(match column.kind {
        ColumnKind::Whole => 0,
        ColumnKind::Number => 1,
        ColumnKind::Category => 2,
        ColumnKind::Moment => 3,
        ColumnKind::Opaque => 4,
    });
    for count in [column.rows, column.nulls, column.nans, column.zeros] {
        put(out, count);
    }
    let (min, max) = column.range.unwrap_or((f64::NAN, f64::NAN));
    put(out, min.to_bits());
    put(out, max.to_bits());
    let (sum, squares, infinite) = column.moments.parts();
    put_bytes(out, &sum);
    put_bytes(out, &squares);
    put(out, infinite);
    put_bytes(out, &column.quantiles.to_bytes());
    put_bytes(out, &column.distinct.to_bytes());
    put(out, column.categories.total());
    put(out, column.categories.error());
    let ranked = column.categories.ranked();
    put(out, ranked.len() as u64);
    for (value, count) in ranked {
        put_bytes(out, value.as_bytes());
        put(out, count);
    }
}

fn decode_column(reader: &mut Reader<'_>) -> Option<ColumnProfile> {
    let kind = match reader.byte()? {
        0 => ColumnKind::Whole,
        1 => ColumnKind::Number,
        2 => ColumnKind::Category,
        3 => ColumnKind::Moment,
        4 => ColumnKind::Opaque,
        _ => return None,
    };
    let (rows, nulls) = (reader.number()?, reader.number()?);
    let (nans, zeros) = (reader.number()?, reader.number()?);
    nulls.checked_add(nans).filter(|missing| *missing <= rows)?;
    let (min, max) = (f64::from_bits(reader.number()?), f64::from_bits(reader.number()?));
    let (sum, squares) = (reader.bytes()?, reader.bytes()?);
    let moments = Moments::from_parts(sum, squares, reader.number()?).ok()?;
    let quantiles = QuantileSketch::from_bytes(reader.bytes()?).ok()?;
    let distinct = HyperLogLog::from_bytes(reader.bytes()?).ok()?;
    let (total, error) = (reader.number()?, reader.number()?);
    let mut counts = Vec::new();
    for _ in 0..reader.number()? {
        counts.push((reader.text()?, reader.number()?));
    }
    let categories = Categories::from_parts(counts, total, error);
    let range = (!min.is_nan() && !max.is_nan()).then_some((min, max));
    Some(ColumnProfile {
        kind,
        rows,
        nulls,
        nans,
        zeros,
        range,
        moments,
        quantiles,
        distinct,
        categories,
    })
}

pub(crate) fn put(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What is left to read.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*first))
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        std::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }
}
