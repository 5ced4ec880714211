//! Column chunks of a Parquet file as they are stored, for a file that keeps most of them.

use std::ops::Range;

use bytes::{Buf, Bytes, buf::Reader};
use iceberg::io::FileIO;
use icecore_core::Result;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::Statistics;

use super::input::{Input, cannot_read, read_footer};
use crate::error::Context as _;
use crate::storage::{self, KnownFile as _, ListedFile};

/// A Parquet file whose chunks are taken as they are.
pub(crate) struct StoredFile {
    input: Input,
    path: String,
    size: u64,
    metadata: std::sync::Arc<ParquetMetaData>,
}

/// A chunk with all that a footer and its indexes say of it.
pub(crate) struct StoredChunk {
    pub(crate) bytes: FilePart,
    pub(crate) close: ColumnCloseResult,
}

impl StoredFile {
    /// Reads the footer and the page index.
    ///
    /// # Errors
    ///
    /// `DataCorrupt` naming the file, and those of the storage.
    pub(crate) async fn open(io: &FileIO, file: &ListedFile) -> Result<Self> {
        let (path, size) = (file.file_path().to_owned(), file.file_size_in_bytes());
        let open = async {
            let mut input = Input::open(io, &path, size).await?;
            let footer = read_footer(&mut input, PageIndexPolicy::Optional, false).await?;
            Ok((input, footer.metadata().clone()))
        };
        let (input, metadata) = storage::guarded(&path, open).await?;
        Ok(Self { input, path, size, metadata })
    }

    pub(crate) fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    /// Whether a chunk can be told again in another file, with nothing that is known of it lost or
    /// taken on trust that another writer may have meant otherwise.
    pub(crate) fn can_be_moved(&self, group: usize, leaf: usize) -> bool {
        let groups = self.metadata.row_groups();
        let chunk = groups.get(group).and_then(|group| group.columns().get(leaf));
        let (Some(chunk), Some(pages)) = (chunk, self.pages(group, leaf)) else { return false };
        let Some(range) = self.range(chunk) else { return false };
        let within = |offset: i64, size: i64| {
            let (offset, size) = (u64::try_from(offset).ok(), u64::try_from(size).ok());
            let end = offset.zip(size).and_then(|(offset, size)| offset.checked_add(size));
            offset.zip(end).is_some_and(|(offset, end)| range.start <= offset && end <= range.end)
        };
        let has_bloom = chunk.bloom_filter_offset().is_some();
        let values = u64::try_from(chunk.num_values()).ok();
        chunk.statistics().is_some_and(|statistics| is_sound(statistics, values))
            && chunk.crypto_metadata().is_none()
            && within(chunk.data_page_offset(), 0)
            && pages.iter().all(|page| within(page.offset, page.compressed_page_size.into()))
            && (!has_bloom || self.bloom_range(chunk).is_some())
    }

    fn pages(
        &self,
        group: usize,
        leaf: usize,
    ) -> Option<&[parquet::file::page_index::offset_index::PageLocation]> {
        let pages = self.metadata.offset_index()?.get(group)?.get(leaf)?.page_locations();
        (!pages.is_empty()).then_some(pages.as_slice())
    }

    /// Where a chunk's bytes are.
    fn range(&self, chunk: &ColumnChunkMetaData) -> Option<Range<u64>> {
        let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
        let start = u64::try_from(start).ok().filter(|start| *start > 0)?;
        let end = start.checked_add(u64::try_from(chunk.compressed_size()).ok()?)?;
        (end <= self.size).then_some(start..end)
    }

    fn bloom_range(&self, chunk: &ColumnChunkMetaData) -> Option<Range<u64>> {
        let start = u64::try_from(chunk.bloom_filter_offset()?).ok()?;
        let end = start.checked_add(u64::try_from(chunk.bloom_filter_length()?).ok()?)?;
        (end <= self.size).then_some(start..end)
    }

    /// Reads chunks of a row group that can be moved.
    ///
    /// # Errors
    ///
    /// `DataCorrupt` naming the file, and those of the storage.
    pub(crate) async fn chunks(
        &mut self,
        group: usize,
        leaves: &[usize],
    ) -> Result<Vec<StoredChunk>> {
        let path = self.path.clone();
        let cannot = || cannot_read(&path);
        let odd = || ParquetError::General("a row group lacks a column".to_owned());
        let metadata = self.metadata.clone();
        let of = metadata.row_groups().get(group).ok_or_else(odd).context(cannot)?;
        let (mut chunks, mut ranges, mut blooms) = (Vec::new(), Vec::new(), Vec::new());
        for leaf in leaves {
            let chunk = of.columns().get(*leaf).ok_or_else(odd).context(cannot)?;
            ranges.push(self.range(chunk).ok_or_else(odd).context(cannot)?);
            blooms.extend(self.bloom_range(chunk));
            chunks.push((*leaf, chunk));
        }
        let count = ranges.len();
        ranges.extend(blooms.iter().cloned());
        let mut read = self.input.get_byte_ranges(ranges.clone()).await.context(cannot)?;
        let mut blooms = read.split_off(count.min(read.len())).into_iter().zip(blooms);
        let mut found = Vec::with_capacity(count);
        for (((leaf, chunk), bytes), range) in chunks.into_iter().zip(read).zip(ranges) {
            let bloom_filter = match self.bloom_range(chunk).and_then(|_| blooms.next()) {
                Some((bytes, range)) => {
                    let part = FilePart { start: range.start, bytes };
                    Sbbf::read_from_column_chunk(chunk, &part).context(cannot)?
                }
                None => None,
            };
            let bytes = FilePart { start: range.start, bytes };
            let close = self.close((group, leaf), (of.num_rows(), chunk), bloom_filter);
            found.push(StoredChunk { bytes, close });
        }
        Ok(found)
    }

    fn close(
        &self,
        (group, leaf): (usize, usize),
        (rows, chunk): (i64, &ColumnChunkMetaData),
        bloom_filter: Option<Sbbf>,
    ) -> ColumnCloseResult {
        let index = self.metadata.column_index().and_then(|index| index.get(group)?.get(leaf));
        let offsets = self.metadata.offset_index().and_then(|index| index.get(group)?.get(leaf));
        ColumnCloseResult {
            bytes_written: chunk.compressed_size().unsigned_abs(),
            rows_written: rows.unsigned_abs(),
            metadata: chunk.clone(),
            bloom_filter,
            column_index: index
                .filter(|index| !matches!(index, ColumnIndexMetaData::NONE))
                .cloned(),
            offset_index: offsets.cloned(),
        }
    }
}

/// Whether bounds of so many values are what every reader takes them for. Old writers ordered text
/// by signed bytes, and some let a NaN be a bound, or took a zero of one sign for one of the other.
/// Some give no bounds to numbers among which a NaN is, and others mean by that that all are NaN.
fn is_sound(statistics: &Statistics, values: Option<u64>) -> bool {
    let is_float = |min: f64, max: f64| {
        let is_positive_zero = min == 0.0 && min.is_sign_positive();
        let is_negative_zero = max == 0.0 && max.is_sign_negative();
        !min.is_nan() && !max.is_nan() && !is_positive_zero && !is_negative_zero
    };
    let floats: Option<(Option<f64>, Option<f64>)> = match statistics {
        Statistics::Float(of) => {
            Some((of.min_opt().copied().map(f64::from), of.max_opt().copied().map(f64::from)))
        }
        Statistics::Double(of) => Some((of.min_opt().copied(), of.max_opt().copied())),
        _ => None,
    };
    let nulls = statistics.null_count_opt();
    let are_sound = match floats {
        None => true,
        Some((Some(min), Some(max))) => is_float(min, max),
        Some(_) => nulls == values,
    };
    !statistics.is_min_max_deprecated() && nulls.is_some() && are_sound
}

/// Bytes of a file, and where in it they are.
#[derive(Debug)]
pub(crate) struct FilePart {
    start: u64,
    bytes: Bytes,
}

impl FilePart {
    fn at(&self, start: u64) -> Result<Bytes, ParquetError> {
        let from = start.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let from = from.filter(|from| *from <= self.bytes.len());
        from.map(|from| self.bytes.slice(from..))
            .ok_or_else(|| ParquetError::EOF("a column lies elsewhere".to_owned()))
    }
}

impl Length for FilePart {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for FilePart {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        self.at(start).map(Buf::reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let rest = self.at(start)?;
        if length <= rest.len() {
            Ok(rest.slice(..length))
        } else {
            Err(ParquetError::EOF("a column is cut short".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_bounds_are_sound_only_if_all_are_null() {
        let sound = |min: Option<f64>, max: Option<f64>, nulls: Option<u64>| {
            let double = Statistics::double(min, max, None, nulls, false);
            let narrow = |bound: Option<f64>| bound.map(|bound| bound as f32);
            let float = Statistics::float(narrow(min), narrow(max), None, nulls, false);
            let (double, float) = (is_sound(&double, Some(4)), is_sound(&float, Some(4)));
            assert_eq!(double, float);
            double
        };
        assert!(sound(Some(1.0), Some(2.0), Some(1)));
        assert!(sound(None, None, Some(4)));
        // As parquet-java leaves it where a NaN is among the numbers.
        assert!(!sound(None, None, Some(1)));
        assert!(!sound(Some(1.0), None, Some(0)));
        assert!(!sound(None, None, None));
        assert!(!sound(Some(f64::NAN), Some(2.0), Some(0)));
        assert!(is_sound(&Statistics::int64(None, None, None, Some(1), false), Some(4)));
    }
}
