//! Rows that wait for being encoded, by partition.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
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
        self.bytes += piece.get_array_memory_size();
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
        let before: usize = loose.iter().map(RecordBatch::get_array_memory_size).sum();
        self.bytes = self.bytes - before + whole.get_array_memory_size();
        self.pieces.push(whole);
        self.loose = 1;
        Ok(())
    }
}
