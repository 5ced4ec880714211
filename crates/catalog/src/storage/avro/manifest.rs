//! Reading the entries of a manifest, and writing them.
//!
//! A table of many files is planned as fast as its manifests are read, and what reads any Avro file
//! builds a tree of values for each entry before it looks at one. Here bytes become entries at
//! once. What is written otherwise than Iceberg's specification says (appendix A, "Avro", and
//! "Manifests") is left to the reader that knows everything.

mod partition;
mod summary;
mod write;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use iceberg::metadata_columns::get_metadata_field;
use iceberg::spec::{
    DataFile, DataFileBuilder, Datum, FormatVersion, Manifest, ManifestEntry, ManifestFile,
    ManifestMetadata, ManifestStatus, PrimitiveType, Schema, Struct,
};
use icecore_core::Result;

use super::cursor::Cursor;
use super::datum::{Field, Shape};
use super::values::{self, Odd, count, entries, flag, number, numbers, text};
use super::{Failed, Parts};
use crate::error::Context;
use partition::PartitionReader;
pub(in crate::storage) use write::UNASSIGNED;
pub(crate) use write::{ManifestKind, ManifestWriter, NewEntry};

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
    let metadata = &header.metadata;
    let reader = EntryReader {
        partition: &header.partition,
        bounds: Bounds { schema: &metadata.schema, types: HashMap::new() },
        spec_id: metadata.partition_spec.spec_id(),
        listed,
    };
    let entries = reader.all(&parts, &header.shape, limit);
    Ok(entries.map(|entries| Manifest::new(metadata.clone(), entries)))
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
        let types = metadata.partition_spec.partition_type(&metadata.schema);
        let partition = types.ok().and_then(|types| PartitionReader::new(&types));
        Ok(partition.map(|partition| Self { shape, metadata, partition }))
    }
}

struct EntryReader<'a> {
    partition: &'a PartitionReader,
    bounds: Bounds<'a>,
    spec_id: i32,
    listed: &'a ManifestFile,
}

impl EntryReader<'_> {
    fn all(mut self, parts: &Parts<'_>, shape: &Shape, limit: u64) -> Option<Vec<ManifestEntry>> {
        let mut found = Vec::new();
        let read = parts.each(shape, limit, |shape, data| {
            data.value()?;
            found.push(self.entry(shape, data)?);
            Ok(())
        });
        match read {
            Ok(()) => Some(found),
            Err(Failed::Value(Odd::Unfamiliar | Odd::Malformed) | Failed::TooLarge) => None,
        }
    }

    fn entry(&mut self, shape: &Shape, data: &mut Cursor<'_>) -> Result<ManifestEntry, Odd> {
        let Shape::Record(fields) = shape else { return Err(Odd::Unfamiliar) };
        let (mut status, mut snapshot, mut sequence, mut file_sequence) = (None, None, None, None);
        let mut file = None;
        for Field { id, shape } in fields {
            match id {
                Some(0) => status = number(shape, data)?,
                Some(1) => snapshot = number(shape, data)?,
                Some(3) => sequence = number(shape, data)?,
                Some(4) => file_sequence = number(shape, data)?,
                Some(2) => file = Some(self.file(shape, data)?),
                _ => shape.skip(data)?,
            }
        }
        let status = status.and_then(|status| i32::try_from(status).ok());
        let status = status.and_then(|status| ManifestStatus::try_from(status).ok());
        let (Some(status), Some(data_file)) = (status, file) else { return Err(Odd::Unfamiliar) };
        // What an entry does not say it inherits (specification, "Manifest Entry Fields").
        let added = self.listed.added_snapshot_id;
        let is_new = status == ManifestStatus::Added || self.listed.sequence_number == 0;
        let inherited = is_new.then_some(self.listed.sequence_number);
        Ok(ManifestEntry::builder()
            .status(status)
            .snapshot_id(snapshot.unwrap_or(added))
            .sequence_number_opt(sequence.or(inherited))
            .file_sequence_number_opt(file_sequence.or(inherited))
            .data_file(data_file)
            .build())
    }

    fn file(&mut self, shape: &Shape, data: &mut Cursor<'_>) -> Result<DataFile, Odd> {
        let Shape::Record(fields) = shape else { return Err(Odd::Unfamiliar) };
        let mut file = DataFileBuilder::default();
        file.partition(Struct::empty()).partition_spec_id(self.spec_id);
        for Field { id, shape } in fields {
            data.value()?;
            match id {
                Some(100) => {
                    file.file_path(text(shape, data)?.ok_or(Odd::Unfamiliar)?);
                }
                Some(102) => {
                    file.partition(self.partition.read(shape, data)?);
                }
                Some(103) => {
                    file.record_count(count(shape, data)?);
                }
                Some(104) => {
                    file.file_size_in_bytes(count(shape, data)?);
                }
                Some(125) => {
                    file.lower_bounds(self.bounds.read(shape, data)?);
                }
                Some(128) => {
                    file.upper_bounds(self.bounds.read(shape, data)?);
                }
                Some(id) => other(&mut file, (*id, shape), data)?,
                None => shape.skip(data)?,
            }
        }
        file.build().map_err(|_| Odd::Unfamiliar)
    }
}

/// Reads a field that every file has alike.
fn other(
    file: &mut DataFileBuilder,
    (id, shape): (i64, &Shape),
    data: &mut Cursor<'_>,
) -> Result<(), Odd> {
    match id {
        134 => {
            let content = flag(shape, data)?.unwrap_or(0);
            file.content(content.try_into().map_err(|_| Odd::Unfamiliar)?);
        }
        101 => {
            let format = text(shape, data)?.ok_or(Odd::Unfamiliar)?;
            file.file_format(format.parse().map_err(|_| Odd::Unfamiliar)?);
        }
        108 => {
            file.column_sizes(counts(shape, data)?);
        }
        109 => {
            file.value_counts(counts(shape, data)?);
        }
        110 => {
            file.null_value_counts(counts(shape, data)?);
        }
        137 => {
            file.nan_value_counts(counts(shape, data)?);
        }
        132 => {
            file.split_offsets(numbers(shape, data)?);
        }
        135 => {
            let ids = numbers(shape, data)?.map(|ids| ids.into_iter().map(i32::try_from).collect());
            file.equality_ids(ids.transpose().map_err(|_| Odd::Unfamiliar)?);
        }
        140 => {
            if let Some(order) = flag(shape, data)? {
                file.sort_order_id(order);
            }
        }
        142 => {
            file.first_row_id(number(shape, data)?);
        }
        143 => {
            file.referenced_data_file(text(shape, data)?);
        }
        144 => {
            file.content_offset(number(shape, data)?);
        }
        145 => {
            file.content_size_in_bytes(number(shape, data)?);
        }
        131 => {
            file.key_metadata(values::raw(shape, data)?.map(<[u8]>::to_vec));
        }
        _ => shape.skip(data)?,
    }
    Ok(())
}

/// Counts by column. A negative one says nothing.
fn counts(shape: &Shape, data: &mut Cursor<'_>) -> Result<HashMap<i32, u64>, Odd> {
    let mut counts = HashMap::new();
    entries(shape, data, |column, shape, data| {
        let count = number(shape, data)?.ok_or(Odd::Unfamiliar)?;
        if let Ok(count) = u64::try_from(count) {
            counts.insert(column, count);
        }
        Ok(())
    })?;
    Ok(counts)
}

/// Bounds of columns, in the types that the manifest's schema gives them.
struct Bounds<'a> {
    schema: &'a Schema,
    types: HashMap<i32, Option<PrimitiveType>>,
}

impl Bounds<'_> {
    fn read(&mut self, shape: &Shape, data: &mut Cursor<'_>) -> Result<HashMap<i32, Datum>, Odd> {
        let mut bounds = HashMap::new();
        entries(shape, data, |column, shape, data| {
            let bytes = values::raw(shape, data)?.ok_or(Odd::Unfamiliar)?;
            // A column that the schema does not have any more is not asked for.
            if let Some(of) = self.type_of(column)? {
                let bound = Datum::try_from_bytes(bytes, of).map_err(|_| Odd::Unfamiliar)?;
                bounds.insert(column, bound);
            }
            Ok(())
        })?;
        Ok(bounds)
    }

    fn type_of(&mut self, column: i32) -> Result<Option<PrimitiveType>, Odd> {
        if let Some(known) = self.types.get(&column) {
            return Ok(known.clone());
        }
        let field = self.schema.field_by_id(column).or_else(|| get_metadata_field(column).ok());
        let of = match field {
            Some(field) => {
                Some(field.field_type.as_primitive_type().ok_or(Odd::Unfamiliar)?.clone())
            }
            None => None,
        };
        self.types.insert(column, of.clone());
        Ok(of)
    }
}

#[cfg(test)]
mod tests;
