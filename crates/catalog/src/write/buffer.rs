//! Rows that wait for being encoded, by partition.

use arrow::array::{Array, AsArray, OffsetSizeTrait, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use iceberg::spec::Struct;
use icecore_core::{Error, Result};

use super::CHUNK_ROWS;
use super::encode::Encoding;

/// Small pieces of one partition that are kept before they are put together.
const LOOSE_MAX: usize = 32;

/// All partitions that rows were seen of.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    partitions: Vec<Buffer>,
    bytes: usize,
}

#[derive(Debug)]
struct Buffer {
    partition: Struct,
    directories: String,
    pieces: Vec<RecordBatch>,
    /// How many pieces at the end are small, and their rows.
    loose: usize,
    loose_rows: usize,
    rows: usize,
    bytes: usize,
}

/// The rows of one partition, on their way to a file.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) index: usize,
    pub(super) partition: Struct,
    pub(super) directories: String,
    pub(super) pieces: Vec<RecordBatch>,
    pub(super) bytes: usize,
}

impl Buffers {
    /// One partition that takes every row.
    pub(super) fn unpartitioned() -> Self {
        let mut buffers = Self::default();
        buffers.add(Struct::empty(), String::new());
        buffers
    }

    /// Adds a partition and returns its index.
    pub(super) fn add(&mut self, partition: Struct, directories: String) -> usize {
        self.partitions.push(Buffer {
            partition,
            directories,
            pieces: Vec::new(),
            loose: 0,
            loose_rows: 0,
            rows: 0,
            bytes: 0,
        });
        self.partitions.len() - 1
    }

    pub(super) const fn len(&self) -> usize {
        self.partitions.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds rows to a partition.
    pub(super) fn push(&mut self, index: usize, rows: RecordBatch) -> Result<()> {
        let buffer = self
            .partitions
            .get_mut(index)
            .ok_or_else(|| Error::internal("rows of a partition that nobody knows"))?;
        self.bytes -= buffer.bytes;
        buffer.push(rows)?;
        self.bytes += buffer.bytes;
        Ok(())
    }

    /// A partition whose rows are enough for a row group, or for a file where files are sorted.
    pub(super) fn full(&self, encoding: &Encoding) -> Option<usize> {
        self.partitions.iter().position(|buffer| encoding.is_enough(buffer.rows, buffer.bytes))
    }

    /// The partition that holds the most bytes.
    pub(super) fn largest(&self) -> Option<usize> {
        let sized = self.partitions.iter().enumerate().filter(|(_, buffer)| buffer.rows > 0);
        // Of equals the first, so that the choice depends on the rows alone.
        sized
            .max_by_key(|(index, buffer)| (buffer.bytes, usize::MAX - index))
            .map(|(index, _)| index)
    }

    /// Takes a partition's rows out.
    pub(super) fn take(&mut self, index: usize) -> Option<Load> {
        let buffer = self.partitions.get_mut(index)?;
        let load = Load {
            index,
            partition: buffer.partition.clone(),
            directories: buffer.directories.clone(),
            pieces: std::mem::take(&mut buffer.pieces),
            bytes: buffer.bytes,
        };
        self.bytes -= buffer.bytes;
        (buffer.loose, buffer.loose_rows, buffer.rows, buffer.bytes) = (0, 0, 0, 0);
        Some(load)
    }
}

impl Buffer {
    fn push(&mut self, piece: RecordBatch) -> Result<()> {
        self.rows += piece.num_rows();
        self.bytes += bytes_of(&piece);
        self.loose += 1;
        self.loose_rows += piece.num_rows();
        self.pieces.push(piece);
        // Small pieces cost more than their values, so they are put together from time to time.
        if self.loose >= LOOSE_MAX || (self.loose > 1 && self.loose_rows >= CHUNK_ROWS) {
            self.compact()?;
        }
        if self.loose_rows >= CHUNK_ROWS {
            (self.loose, self.loose_rows) = (0, 0);
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        let start = self.pieces.len().saturating_sub(self.loose);
        let loose = self.pieces.split_off(start);
        let Some(first) = loose.first() else { return Ok(()) };
        let whole = concat_batches(&first.schema(), &loose)?;
        let before: usize = loose.iter().map(bytes_of).sum();
        self.bytes = self.bytes - before + bytes_of(&whole);
        self.pieces.push(whole);
        self.loose = 1;
        Ok(())
    }
}

/// Bytes that rows take. It depends on the rows alone: not on how they are cut, nor on what else
/// their buffers hold.
pub(super) fn bytes_of(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| bytes_of_column(column)).sum()
}

fn bytes_of_column(column: &dyn Array) -> usize {
    let rows = column.len();
    let values = match column.data_type() {
        DataType::Utf8 => text_bytes(column.as_string::<i32>().offsets()),
        DataType::LargeBinary => text_bytes(column.as_binary::<i64>().offsets()),
        DataType::FixedSizeBinary(width) => rows * usize::try_from(*width).unwrap_or(0),
        DataType::Struct(_) => {
            column.as_struct().columns().iter().map(|column| bytes_of_column(column)).sum()
        }
        DataType::List(_) => {
            let list = column.as_list::<i32>();
            items_bytes(list.offsets(), list.values())
        }
        DataType::Map(..) => {
            let map = column.as_map();
            items_bytes(map.offsets(), map.entries())
        }
        fixed => rows * fixed.primitive_width().unwrap_or(1),
    };
    values + rows / 8
}

fn text_bytes<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> usize {
    let (start, end) = range(offsets);
    end - start + size_of::<O>() * offsets.len()
}

fn items_bytes(offsets: &OffsetBuffer<i32>, items: &dyn Array) -> usize {
    let (start, end) = range(offsets);
    bytes_of_column(&items.slice(start, end - start)) + size_of::<i32>() * offsets.len()
}

/// Where the values of a column begin and end.
fn range<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> (usize, usize) {
    let at = |offset: Option<&O>| offset.map_or(0, |offset| offset.as_usize());
    (at(offsets.first()), at(offsets.last()))
}
