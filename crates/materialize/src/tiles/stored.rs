//! The bytes of tiles, events and pushed events.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use icecore_core::{Error, Result, RowVersion, SnapshotId, Timestamp};

use super::event::EventRow;
use super::spec::fnv;

/// Which step of a run wrote a row: its number, and the state of the table that it was on its way
/// to. A run that goes on with the step of one that died has another number and the same state.
pub(super) fn tag(generation: u64, to: SnapshotId) -> RowVersion {
    let number = Timestamp::from_micros(i64::try_from(generation).unwrap_or(i64::MAX));
    RowVersion { event: number, created: Timestamp::from_micros(to.get()) }
}

/// How far in each queue a state of the table is, by [`queue_id`].
pub(super) type Covered = BTreeMap<u64, u64>;

/// What stands for the name of a queue.
pub(super) fn queue_id(name: &str) -> u64 {
    fnv(name.as_bytes())
}

/// The tiles of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tiles {
    pub(super) tag: RowVersion,
    pub(super) spec: u64,
    pub(super) covered: Covered,
    pub(super) tiles: BTreeMap<i64, Tile>,
}

/// The states of one tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tile {
    /// How many events it has.
    pub(super) count: u32,
    /// The newest of them.
    pub(super) last: i64,
    /// A state of each measure.
    pub(super) states: Vec<Bytes>,
}

impl Tiles {
    pub(super) fn write(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_slice(&self.tag.to_bytes());
        bytes.put_u64_le(self.spec);
        bytes.put_u32_le(self.covered.len() as u32);
        for (queue, position) in &self.covered {
            bytes.put_u64_le(*queue);
            bytes.put_u64_le(*position);
        }
        bytes.put_u32_le(self.tiles.len() as u32);
        for (index, tile) in &self.tiles {
            bytes.put_i64_le(*index);
            bytes.put_u32_le(tile.count);
            bytes.put_i64_le(tile.last);
            bytes.put_u32_le(tile.states.len() as u32);
            for state in &tile.states {
                bytes.put_u32_le(state.len() as u32);
                bytes.put_slice(state);
            }
        }
        bytes.freeze()
    }

    pub(super) fn read(bytes: &Bytes) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let tag = reader.version()?;
        let spec = reader.u64()?;
        let mut covered = Covered::new();
        for _ in 0..reader.u32()? {
            covered.insert(reader.u64()?, reader.u64()?);
        }
        let mut tiles = BTreeMap::new();
        for _ in 0..reader.u32()? {
            let index = reader.u64()?.cast_signed();
            let (count, last) = (reader.u32()?, reader.u64()?.cast_signed());
            let states = (0..reader.u32()?).map(|_| reader.part()).collect::<Result<_>>()?;
            tiles.insert(index, Tile { count, last, states });
        }
        Ok(Self { tag, spec, covered, tiles })
    }
}

/// The events of a tile.
pub(super) fn write_events(tag: RowVersion, events: &[EventRow]) -> Bytes {
    let len: usize = events.iter().map(|event| event.len() + 4).sum();
    let mut bytes = BytesMut::with_capacity(RowVersion::LEN + 4 + len);
    bytes.put_slice(&tag.to_bytes());
    bytes.put_u32_le(events.len() as u32);
    for event in events {
        bytes.put_u32_le(event.len() as u32);
        bytes.put_slice(event);
    }
    bytes.freeze()
}

/// Which run wrote the events of a tile, and the events.
pub(super) fn read_events(bytes: &Bytes) -> Result<(RowVersion, Vec<EventRow>)> {
    let mut reader = Reader::new(bytes);
    let tag = reader.version()?;
    let events = (0..reader.u32()?).map(|_| reader.part()).collect::<Result<_>>()?;
    Ok((tag, events))
}

/// A pushed event: its queue, its batch's position and its row in the batch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PushedEvent {
    pub(super) queue: u64,
    pub(super) position: u64,
    pub(super) row: u32,
    pub(super) event: EventRow,
}

impl PushedEvent {
    /// Whether a state of the table that is so far has it.
    pub(super) fn is_in(&self, covered: &Covered) -> bool {
        covered.get(&self.queue).is_some_and(|end| self.position < *end)
    }

    pub(super) const fn id(&self) -> (u64, u64, u32) {
        (self.queue, self.position, self.row)
    }
}

/// The pushed events of an entity. The number grows with each change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Overlay {
    pub(super) number: i64,
    pub(super) events: Vec<PushedEvent>,
}

impl Overlay {
    pub(super) fn version(&self) -> RowVersion {
        let nothing = Timestamp::from_micros(0);
        RowVersion { event: Timestamp::from_micros(self.number), created: nothing }
    }

    pub(super) fn write(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_slice(&self.version().to_bytes());
        bytes.put_u32_le(self.events.len() as u32);
        for event in &self.events {
            bytes.put_u64_le(event.queue);
            bytes.put_u64_le(event.position);
            bytes.put_u32_le(event.row);
            bytes.put_u32_le(event.event.len() as u32);
            bytes.put_slice(&event.event);
        }
        bytes.freeze()
    }

    pub(super) fn read(bytes: &Bytes) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let number = reader.version()?.event.micros();
        let mut events = Vec::new();
        for _ in 0..reader.u32()? {
            let (queue, position, row) = (reader.u64()?, reader.u64()?, reader.u32()?);
            events.push(PushedEvent { queue, position, row, event: reader.part()? });
        }
        Ok(Self { number, events })
    }
}

/// Takes bytes apart.
struct Reader<'b> {
    bytes: &'b Bytes,
    at: usize,
}

impl<'b> Reader<'b> {
    const fn new(bytes: &'b Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, len: usize) -> Result<&'b [u8]> {
        let part = self.bytes.get(self.at..).and_then(|rest| rest.get(..len));
        self.at += len;
        part.ok_or_else(damaged)
    }

    fn u32(&mut self) -> Result<u32> {
        self.take(4)?.try_into().map(u32::from_le_bytes).map_err(|_| damaged())
    }

    fn u64(&mut self) -> Result<u64> {
        self.take(8)?.try_into().map(u64::from_le_bytes).map_err(|_| damaged())
    }

    fn version(&mut self) -> Result<RowVersion> {
        RowVersion::of_row(self.take(RowVersion::LEN)?).ok_or_else(damaged)
    }

    fn part(&mut self) -> Result<Bytes> {
        let len = self.u32()? as usize;
        Ok(self.bytes.slice_ref(self.take(len)?))
    }
}

fn damaged() -> Error {
    Error::corrupt("tiles of the online store are cut off")
        .with_help("materialize the view again with `--full`")
}
