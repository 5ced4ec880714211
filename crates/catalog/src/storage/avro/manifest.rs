//! Reading the entries of a manifest, and writing them.
//!
//! A table of many files is planned as fast as its manifests are read, and what reads any Avro file
//! builds a tree of values for each entry before it looks at one. Here bytes become entries at
//! once. What is written otherwise than Iceberg's specification says (appendix A, "Avro", and
//! "Manifests") is left to the reader that knows everything.

mod columns;
mod partition;
mod summary;
mod write;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use iceberg::spec::{
    DataContentType, DataFileFormat, FormatVersion, ManifestFile, ManifestMetadata, ManifestStatus,
    Struct,
};
use icecore_core::Result;

use super::cursor::Cursor;
use super::datum::{Field, Shape};
use super::values::{self, Odd, count, flag, number, numbers, text};
use super::{Failed, Parts};
use crate::error::Context;
use crate::storage::listed::{ListedEntry, ListedFile, Rare, Statistics};
use columns::Types;
pub(in crate::storage) use columns::{Bounds, Columns, Counts};
use partition::PartitionReader;
pub(in crate::storage) use write::UNASSIGNED;
pub(crate) use write::{ManifestKind, ManifestWriter, NewEntry};

/// What is in a manifest.
#[derive(Debug)]
pub(in crate::storage) struct Manifest {
    header: Arc<Header>,
    pub(in crate::storage) entries: Vec<ListedEntry>,
}

impl Manifest {
    /// The same in the form that manifests are written from.
    ///
    /// # Errors
    ///
    /// As [`ListedFile::unpacked`].
    pub(in crate::storage) fn unpacked(&self) -> Result<iceberg::spec::Manifest> {
        let entries = self.entries.iter().map(ListedEntry::unpacked).collect::<Result<_>>()?;
        Ok(iceberg::spec::Manifest::new(self.header.metadata.clone(), entries))
    }
}

/// The manifest in these bytes, whose list says this of it; `None` where another reader has to
/// look, to understand it or to say what is wrong.
///
/// # Errors
///
/// `DataCorrupt` for a header that says nothing of a table.
pub(in crate::storage) fn manifest(
    bytes: &[u8],
    listed: &ManifestFile,
    limit: u64,
    headers: &Headers,
) -> Result<Option<Manifest>> {
    let Ok(parts) = Parts::of(bytes) else { return Ok(None) };
    let header = match headers.get(&parts) {
        Some(known) => known,
        None => {
            let cannot = || format!("cannot read manifest `{}`", listed.manifest_path);
            let Some(header) = Header::parse(&parts).context(cannot)? else { return Ok(None) };
            headers.insert(&parts, header)
        }
    };
    let entries = EntryReader { header: &header, listed }.all(&parts, limit);
    Ok(entries.map(|entries| Manifest { header, entries }))
}

/// Headers that are kept, and how long they may be.
const HEADERS_MAX: usize = 16;
const HEADER_BYTES_MAX: usize = 1 << 20;

/// What the headers of manifests say, understood once where many have it alike.
#[derive(Debug, Default)]
pub(crate) struct Headers(Mutex<HashMap<Box<[u8]>, Arc<Header>>>);

impl Headers {
    fn get(&self, parts: &Parts<'_>) -> Option<Arc<Header>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(parts.header).cloned()
    }

    fn insert(&self, parts: &Parts<'_>, header: Header) -> Arc<Header> {
        let header = Arc::new(header);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < HEADERS_MAX && parts.header.len() <= HEADER_BYTES_MAX {
            known.insert(parts.header.into(), header.clone());
        }
        header
    }
}

#[derive(Debug)]
struct Header {
    shape: Shape,
    metadata: ManifestMetadata,
    partition: PartitionReader,
    types: Arc<Types>,
}

impl Header {
    /// `None` for one of which another reader has to know what it means.
    fn parse(parts: &Parts<'_>) -> iceberg::Result<Option<Self>> {
        let Ok(shape) = Shape::parse(parts.schema) else { return Ok(None) };
        let metadata = ManifestMetadata::parse(&parts.notes())?;
        // Entries of version 1 say less, and other things.
        if metadata.format_version == FormatVersion::V1 {
            return Ok(None);
        }
        let partition = metadata.partition_spec.partition_type(&metadata.schema);
        let partition = partition.ok().and_then(|partition| PartitionReader::new(&partition));
        let types = Arc::new(Types::of_schema(&metadata.schema));
        Ok(partition.map(|partition| Self { shape, metadata, partition, types }))
    }
}

struct EntryReader<'a> {
    header: &'a Header,
    listed: &'a ManifestFile,
}

impl EntryReader<'_> {
    fn all(&self, parts: &Parts<'_>, limit: u64) -> Option<Vec<ListedEntry>> {
        let mut found = Vec::new();
        let read = parts.each(&self.header.shape, limit, |shape, data, block| {
            data.value()?;
            found.push(self.entry(shape, data, block)?);
            Ok(())
        });
        match read {
            Ok(()) => Some(found),
            Err(Failed::Value(Odd::Unfamiliar | Odd::Malformed) | Failed::TooLarge) => None,
        }
    }

    fn entry(
        &self,
        shape: &Shape,
        data: &mut Cursor<'_>,
        block: &Bytes,
    ) -> Result<ListedEntry, Odd> {
        let Shape::Record(fields) = shape else { return Err(Odd::Unfamiliar) };
        let (mut status, mut snapshot, mut sequence, mut file_sequence) = (None, None, None, None);
        let mut file = None;
        for Field { id, shape } in fields {
            match id {
                Some(0) => status = number(shape, data)?,
                Some(1) => snapshot = number(shape, data)?,
                Some(3) => sequence = number(shape, data)?,
                Some(4) => file_sequence = number(shape, data)?,
                Some(2) => file = Some(self.file(shape, data, block)?),
                _ => shape.skip(data)?,
            }
        }
        let status = status.and_then(|status| i32::try_from(status).ok());
        let status = status.and_then(|status| ManifestStatus::try_from(status).ok());
        let (Some(status), Some(file)) = (status, file) else { return Err(Odd::Unfamiliar) };
        // What an entry does not say it inherits (specification, "Manifest Entry Fields").
        let added = self.listed.added_snapshot_id;
        let is_new = status == ManifestStatus::Added || self.listed.sequence_number == 0;
        let inherited = is_new.then_some(self.listed.sequence_number);
        Ok(ListedEntry {
            status,
            snapshot: Some(snapshot.unwrap_or(added)),
            sequence: sequence.or(inherited),
            file_sequence: file_sequence.or(inherited),
            file,
        })
    }

    fn file(&self, shape: &Shape, data: &mut Cursor<'_>, block: &Bytes) -> Result<ListedFile, Odd> {
        let Shape::Record(fields) = shape else { return Err(Odd::Unfamiliar) };
        let mut draft = Draft::default();
        let mut columns = Columns::new(block, &self.header.types);
        for Field { id, shape } in fields {
            data.value()?;
            match id {
                Some(102) => draft.partition = Some(self.header.partition.read(shape, data)?),
                Some(108) => columns.read_counts(Counts::Sizes, shape, data)?,
                Some(109) => columns.read_counts(Counts::Values, shape, data)?,
                Some(110) => columns.read_counts(Counts::Nulls, shape, data)?,
                Some(137) => columns.read_counts(Counts::Nans, shape, data)?,
                Some(125) => columns.read_bounds(Bounds::Lower, shape, data)?,
                Some(128) => columns.read_bounds(Bounds::Upper, shape, data)?,
                Some(132) => columns.read_splits(shape, data)?,
                Some(id) => draft.read(*id, shape, data)?,
                None => shape.skip(data)?,
            }
        }
        let spec_id = self.header.metadata.partition_spec.spec_id();
        draft.finish(spec_id, columns).ok_or(Odd::Unfamiliar)
    }
}

/// What is read so far of a file.
#[derive(Default)]
struct Draft {
    path: Option<String>,
    content: Option<DataContentType>,
    format: Option<DataFileFormat>,
    partition: Option<Struct>,
    rows: Option<u64>,
    size_bytes: Option<u64>,
    sort_order_id: Option<i32>,
    first_row_id: Option<i64>,
    rare: Option<Box<Rare>>,
}

impl Draft {
    /// Reads a field of this id.
    fn read(&mut self, id: i64, shape: &Shape, data: &mut Cursor<'_>) -> Result<(), Odd> {
        match id {
            134 => {
                let content = flag(shape, data)?.unwrap_or(0);
                self.content = Some(content.try_into().map_err(|_| Odd::Unfamiliar)?);
            }
            100 => self.path = Some(text(shape, data)?.ok_or(Odd::Unfamiliar)?),
            101 => {
                let format = values::raw(shape, data)?.and_then(|raw| str::from_utf8(raw).ok());
                let format = format.ok_or(Odd::Unfamiliar)?;
                self.format = Some(format.parse().map_err(|_| Odd::Unfamiliar)?);
            }
            103 => self.rows = Some(count(shape, data)?),
            104 => self.size_bytes = Some(count(shape, data)?),
            140 => self.sort_order_id = flag(shape, data)?,
            142 => self.first_row_id = number(shape, data)?,
            131 => {
                if let Some(key) = values::raw(shape, data)? {
                    self.rare().key_metadata = Some(key.to_vec());
                }
            }
            135 => {
                if let Some(ids) = numbers(shape, data)? {
                    let ids = ids.into_iter().map(i32::try_from).collect::<Result<_, _>>();
                    self.rare().equality_ids = Some(ids.map_err(|_| Odd::Unfamiliar)?);
                }
            }
            143 => {
                if let Some(path) = text(shape, data)? {
                    self.rare().referenced_data_file = Some(path);
                }
            }
            144 => {
                if let Some(offset) = number(shape, data)? {
                    self.rare().content_offset = Some(offset);
                }
            }
            145 => {
                if let Some(size) = number(shape, data)? {
                    self.rare().content_size_bytes = Some(size);
                }
            }
            _ => shape.skip(data)?,
        }
        Ok(())
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// `None` where something is missing that every file has.
    fn finish(self, spec_id: i32, columns: Columns) -> Option<ListedFile> {
        Some(ListedFile {
            path: self.path?,
            content: self.content?,
            format: self.format?,
            partition: self.partition.unwrap_or_else(Struct::empty),
            spec_id,
            rows: self.rows?,
            size_bytes: self.size_bytes?,
            sort_order_id: self.sort_order_id,
            first_row_id: self.first_row_id,
            rare: self.rare,
            statistics: Statistics::Written(columns),
        })
    }
}

#[cfg(test)]
mod tests;
