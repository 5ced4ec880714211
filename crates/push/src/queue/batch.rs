//! A batch of events in a queue.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use icecore_core::{Error, Result, Timestamp};

use crate::Target;

/// Events that were pushed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Its place in the queue.
    pub(crate) position: u64,
    /// The name that the client gave it, or one of ours.
    pub(crate) key: String,
    /// SHA-256 of its rows, to tell a repetition from another batch under the same name.
    pub(crate) hash: [u8; 32],
    pub(crate) to: Target,
    /// When it came.
    pub(crate) at: Timestamp,
    pub(crate) rows: u32,
    /// The rows as an Arrow stream.
    pub(crate) events: Bytes,
}

impl Batch {
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        to.push(self.to.code());
        to.extend_from_slice(&(self.key.len() as u16).to_le_bytes());
        to.extend_from_slice(self.key.as_bytes());
        to.extend_from_slice(&self.hash);
        to.extend_from_slice(&self.at.micros().to_le_bytes());
        to.extend_from_slice(&self.rows.to_le_bytes());
        to.extend_from_slice(&(self.events.len() as u32).to_le_bytes());
        to.extend_from_slice(&self.events);
    }

    /// Reads a batch, and what comes after it.
    pub(super) fn read(position: u64, bytes: &Bytes) -> Result<(Self, Bytes)> {
        let mut taken = 0;
        let mut take = |len: usize| -> Result<Bytes> {
            let part = bytes.get(taken..).and_then(|rest| rest.get(..len));
            let part = part.ok_or_else(|| Error::corrupt("a batch of the queue is cut off"))?;
            let part = bytes.slice_ref(part);
            taken += len;
            Ok(part)
        };
        let damaged = |_| Error::corrupt("a batch of the queue is damaged");
        let to = Target::of_code(take(1)?.first().copied().unwrap_or_default())?;
        let len = u16::from_le_bytes(take(2)?.as_ref().try_into().map_err(damaged)?);
        let key = String::from_utf8_lossy(&take(usize::from(len))?).into_owned();
        let hash = take(32)?.as_ref().try_into().map_err(damaged)?;
        let at = i64::from_le_bytes(take(8)?.as_ref().try_into().map_err(damaged)?);
        let at = Timestamp::from_micros(at);
        let rows = u32::from_le_bytes(take(4)?.as_ref().try_into().map_err(damaged)?);
        let len = u32::from_le_bytes(take(4)?.as_ref().try_into().map_err(damaged)?);
        let events = take(len as usize)?;
        Ok((Self { position, key, hash, to, at, rows, events }, bytes.slice(taken..)))
    }

    /// The rows.
    pub(crate) fn events(&self) -> Result<RecordBatch> {
        let damaged = |error| Error::corrupt("events of the queue are damaged").with_source(error);
        let mut reader = StreamReader::try_new(Cursor::new(&self.events), None).map_err(damaged)?;
        match reader.next() {
            Some(batch) => batch.map_err(damaged),
            None => Ok(RecordBatch::new_empty(reader.schema())),
        }
    }
}

/// Rows as an Arrow stream.
pub(crate) fn to_bytes(rows: &RecordBatch) -> Result<Bytes> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &rows.schema())?;
    writer.write(rows)?;
    writer.finish()?;
    drop(writer);
    Ok(Bytes::from(bytes))
}
