//! The codec from which a column of measured numbers is read fastest.
//!
//! zstd gains little on such numbers, and takes most of the time that reading them takes. What is
//! read more often than it is written is better a little larger: LZ4 unpacks several times as fast,
//! and what does not shrink anyway is best left alone. A look at some of a file's first values tells
//! which of them costs the least to read.

use arrow::array::{Array, ArrayRef};
use lz4_flex::block::{compress_into, get_maximum_output_size};
use parquet::basic::{Compression, ZstdLevel};

/// So many values are looked at: enough that a compressor treats them like a page.
const SAMPLE_VALUES: usize = 4096;
/// What it takes to fetch a byte, in picoseconds: a quarter of a gigabyte a second, which is what one
/// core gets of an object store or of a disk that many share.
const FETCH_PS: usize = 4_000;
/// What it takes to unpack a byte of values: 2 GB/s of LZ4 and 0.55 of zstd, as measured on rounded
/// numbers on pages of this size.
const LZ4_PS: usize = 500;
const ZSTD_PS: usize = 1_800;
/// What is faster to read is at most so much larger, in tenths.
const TENTHS_MAX: usize = 15;

/// The codec for a column that begins with these values, and would be compressed with zstd of this
/// level; none if zstd is best, or the column is not of numbers.
pub(super) fn faster_codec(column: &ArrayRef, level: ZstdLevel) -> Option<Compression> {
    let plain = plain(column)?;
    let zstd = zstd::bulk::compress(&plain, level.compression_level()).ok()?.len();
    let mut space = vec![0; get_maximum_output_size(plain.len())];
    let lz4 = compress_into(&plain, &mut space).ok()?;
    let cost = |stored: usize, unpack_ps: usize| stored * FETCH_PS + plain.len() * unpack_ps;
    let faster = [(Compression::UNCOMPRESSED, plain.len(), 0), (Compression::LZ4_RAW, lz4, LZ4_PS)];
    let faster = faster.into_iter().filter(|(_, stored, _)| stored * 10 <= zstd * TENTHS_MAX);
    let faster = faster.map(|(codec, stored, unpack_ps)| (codec, cost(stored, unpack_ps)));
    let (codec, least) = faster.min_by_key(|(_, cost)| *cost)?;
    (least < cost(zstd, ZSTD_PS)).then_some(codec)
}

/// The column's first values as Parquet stores them; nothing if there are none, or not of numbers.
fn plain(column: &ArrayRef) -> Option<Vec<u8>> {
    let width = column.data_type().primitive_width()?;
    let data = column.slice(0, column.len().min(SAMPLE_VALUES)).to_data();
    let all = data.buffers().first()?.as_slice().get(data.offset() * width..)?;
    let rows = (0..data.len()).filter(|row| data.is_valid(*row));
    let values = rows.filter_map(|row| all.get(row * width..(row + 1) * width));
    let plain: Vec<u8> = values.flatten().copied().collect();
    (!plain.is_empty()).then_some(plain)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float32Array, Float64Array, StringArray};
    use icecore_testkit::Random;

    use super::*;

    fn codec(value: impl FnMut(u64) -> f64) -> Option<Compression> {
        let values: Float64Array = (0..9_000).map(value).map(Some).collect();
        faster_codec(&(Arc::new(values) as _), ZstdLevel::default())
    }

    #[test]
    fn what_does_not_shrink_is_left_alone() {
        let mut random = Random::new(1);
        assert_eq!(
            codec(|_| (random.below(1 << 52) as f64).sqrt()),
            Some(Compression::UNCOMPRESSED)
        );
    }

    #[test]
    fn rounded_numbers_are_unpacked_fast() {
        let mut random = Random::new(2);
        let rounded = |_| random.below(200_000) as f64 / 1_000.0;
        assert_eq!(codec(rounded), Some(Compression::LZ4_RAW));
    }

    #[test]
    fn what_zstd_makes_much_smaller_stays_with_zstd() {
        let mut random = Random::new(3);
        assert_eq!(codec(|_| random.below(100) as f64), None);
    }

    #[test]
    fn only_values_count_and_only_numbers() {
        let mut random = Random::new(4);
        let mut number =
            |row: usize| row.is_multiple_of(2).then(|| (random.below(1 << 40) as f32).sqrt());
        let holes: Float32Array = (0..9_000).map(&mut number).collect();
        let part: ArrayRef = Arc::new(holes.slice(1_001, 7_000));
        assert_eq!(plain(&part).unwrap().len(), 4 * SAMPLE_VALUES / 2);
        assert_eq!(faster_codec(&part, ZstdLevel::default()), Some(Compression::UNCOMPRESSED));
        let none: [ArrayRef; 3] = [
            Arc::new(Float64Array::new_null(5_000)),
            Arc::new(Float64Array::from(Vec::<f64>::new())),
            Arc::new(StringArray::from(vec!["a"; 5_000])),
        ];
        assert!(none.iter().all(|column| faster_codec(column, ZstdLevel::default()).is_none()));
    }
}
