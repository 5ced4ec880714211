//! Writing manifests.
//!
//! What writes any Avro file builds a tree of values for each entry, and resolves it against the
//! schema before it is written. Here entries become bytes at once.

use std::collections::HashMap;

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, Datum, FormatVersion, Literal, ManifestContentType, ManifestFile,
    ManifestStatus, PartitionSpecRef, PrimitiveLiteral, PrimitiveType, SchemaRef, StructType, Type,
};
use icecore_core::{Error, Result};

use super::super::codec::Codec;
use super::super::encode::{ContainerWriter, Encoder};
use super::super::schema;
use super::summary::Summary;
use crate::error::Context as _;

/// What a manifest that is not yet part of a snapshot has as a sequence number.
pub(in crate::storage) const UNASSIGNED: i64 = -1;

/// What all entries of a manifest have in common.
#[derive(Debug, Clone)]
pub(crate) struct ManifestKind {
    pub(crate) version: FormatVersion,
    pub(crate) content: ManifestContentType,
    pub(crate) schema: SchemaRef,
    pub(crate) spec: PartitionSpecRef,
    pub(crate) codec: Codec,
}

/// An entry that is to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEntry<'a> {
    pub(crate) file: &'a DataFile,
    pub(crate) status: ManifestStatus,
    /// The snapshot that the status is of.
    pub(crate) snapshot: i64,
    /// `None` where it is that of the snapshot which the manifest becomes part of.
    pub(crate) sequence: Option<i64>,
    pub(crate) file_sequence: Option<i64>,
    /// The id of the file's first row (format version 3).
    pub(crate) first_row_id: Option<i64>,
}

/// Writes a manifest, entry by entry.
#[derive(Debug)]
pub(crate) struct ManifestWriter {
    kind: ManifestKind,
    location: String,
    /// The snapshot that the manifest is made for.
    snapshot: i64,
    types: Vec<PrimitiveType>,
    summaries: Vec<Summary>,
    file: ContainerWriter,
    /// Files and rows by their status.
    added: (u32, u64),
    existing: (u32, u64),
    deleted: (u32, u64),
    min_sequence: Option<i64>,
}

impl ManifestWriter {
    /// One without entries, for a snapshot.
    ///
    /// # Errors
    ///
    /// `DataCorrupt` for a partitioning by columns that the schema does not have.
    pub(crate) fn new(kind: ManifestKind, location: String, snapshot: i64) -> Result<Self> {
        let partition = kind.spec.partition_type(&kind.schema);
        let partition = partition.context(|| "cannot write a manifest of such partitions")?;
        let types = types(&partition)?;
        let content = match kind.content {
            ManifestContentType::Data => "data",
            ManifestContentType::Deletes => "deletes",
        };
        let json = |value: serde_json::Result<Vec<u8>>| {
            value.context(|| "cannot say what columns a manifest's table has")
        };
        let notes = [
            ("schema", json(serde_json::to_vec(&*kind.schema))?),
            ("schema-id", kind.schema.schema_id().to_string().into_bytes()),
            ("partition-spec", json(serde_json::to_vec(kind.spec.fields()))?),
            ("partition-spec-id", kind.spec.spec_id().to_string().into_bytes()),
            ("format-version", (kind.version as u8).to_string().into_bytes()),
            ("content", content.as_bytes().to_vec()),
        ];
        let file =
            ContainerWriter::new(&schema::entries(kind.version, &partition)?, &notes, kind.codec);
        Ok(Self {
            kind,
            location,
            snapshot,
            summaries: types.iter().map(|_| Summary::default()).collect(),
            types,
            file,
            added: (0, 0),
            existing: (0, 0),
            deleted: (0, 0),
            min_sequence: None,
        })
    }

    /// Adds an entry.
    ///
    /// # Errors
    ///
    /// `Internal` for one that does not belong into the manifest.
    pub(crate) fn push(&mut self, entry: &NewEntry<'_>) -> Result<()> {
        let NewEntry { file, status, sequence, file_sequence, .. } = *entry;
        self.check(entry)?;
        let counts = match status {
            ManifestStatus::Added => &mut self.added,
            ManifestStatus::Existing => &mut self.existing,
            ManifestStatus::Deleted => &mut self.deleted,
        };
        counts.0 += 1;
        counts.1 += file.record_count();
        if status != ManifestStatus::Deleted
            && let Some(sequence) = sequence
        {
            self.min_sequence = Some(self.min_sequence.map_or(sequence, |min| min.min(sequence)));
        }
        let values = self.partition(file)?;
        let ids = schema::has_rows_with_ids(self.kind.version);
        let (types, summaries) = (&self.types, &mut self.summaries);
        self.file.row(|out| {
            out.int(status as i32);
            out.some(Some(entry.snapshot), Encoder::long);
            out.some(sequence, Encoder::long);
            out.some(file_sequence, Encoder::long);
            out.int(file.content_type() as i32);
            out.bytes(file.file_path().as_bytes());
            out.bytes(file.file_format().to_string().to_ascii_uppercase().as_bytes());
            for ((value, of), summary) in values.into_iter().zip(types).zip(summaries) {
                out.some(value.as_ref(), |out, value| partition_value(out, value, of));
                summary.add(value);
            }
            out.long(whole(file.record_count())?);
            out.long(whole(file.file_size_in_bytes())?);
            metrics(out, file)?;
            details(out, file, ids.then_some(entry.first_row_id));
            Ok(())
        })
    }

    fn check(&self, entry: &NewEntry<'_>) -> Result<()> {
        let file = entry.file;
        let is_data = file.content_type() == DataContentType::Data;
        if is_data != (self.kind.content == ManifestContentType::Data) {
            let message = format!("`{}` does not belong into such a manifest", file.file_path());
            return Err(Error::internal(message));
        }
        let is_known = entry.sequence.is_some() && entry.file_sequence.is_some();
        if entry.status != ManifestStatus::Added && !is_known {
            let message = format!("nothing says when `{}` was added", file.file_path());
            return Err(Error::internal(message));
        }
        Ok(())
    }

    /// The values of a file's partition, in the types that the manifest has for them.
    fn partition(&self, file: &DataFile) -> Result<Vec<Option<PrimitiveLiteral>>> {
        let odd = || {
            let message = format!("the partition of `{}` is not the table's", file.file_path());
            Error::internal(message)
        };
        let values = file.partition().iter();
        if values.len() != self.types.len() {
            return Err(odd());
        }
        let typed = values.zip(&self.types).map(|(value, of)| match value {
            None => Ok(None),
            Some(Literal::Primitive(value)) => typed(value, of).map(Some).ok_or_else(odd),
            Some(_) => Err(odd()),
        });
        typed.collect()
    }

    /// Writes the file, and says what a manifest list is to say of it.
    ///
    /// # Errors
    ///
    /// Those of the storage.
    pub(crate) async fn finish(self, io: &FileIO) -> Result<ManifestFile> {
        let location = self.location;
        let cannot = || format!("cannot write manifest `{location}`");
        let bytes = self.file.finish()?;
        let length = bytes.len() as i64;
        let output = io.new_output(&location).context(cannot)?;
        output.write(Bytes::from(bytes)).await.context(cannot)?;
        Ok(ManifestFile {
            manifest_path: location,
            manifest_length: length,
            partition_spec_id: self.kind.spec.spec_id(),
            content: self.kind.content,
            sequence_number: UNASSIGNED,
            min_sequence_number: self.min_sequence.unwrap_or(UNASSIGNED),
            added_snapshot_id: self.snapshot,
            added_files_count: Some(self.added.0),
            existing_files_count: Some(self.existing.0),
            deleted_files_count: Some(self.deleted.0),
            added_rows_count: Some(self.added.1),
            existing_rows_count: Some(self.existing.1),
            deleted_rows_count: Some(self.deleted.1),
            partitions: Some(self.summaries.into_iter().map(Summary::finish).collect()),
            key_metadata: None,
            first_row_id: None,
        })
    }
}

fn types(partition: &StructType) -> Result<Vec<PrimitiveType>> {
    let fields = partition.fields().iter();
    let types = fields.map(|field| match field.field_type.as_ref() {
        Type::Primitive(of) => Ok(of.clone()),
        _ => Err(Error::internal(format!("partition field `{}` is no value", field.name))),
    });
    types.collect()
}

/// A value in this type, if it is one or was one before a column became wider.
fn typed(value: &PrimitiveLiteral, of: &PrimitiveType) -> Option<PrimitiveLiteral> {
    use PrimitiveLiteral as L;
    use PrimitiveType as T;
    match (of, value) {
        (T::Long, L::Int(value)) => Some(L::Long((*value).into())),
        (T::Double, L::Float(value)) => Some(L::Double(f64::from(value.0).into())),
        (T::Fixed(size), L::Binary(bytes)) => {
            (bytes.len() as u64 == *size).then(|| L::Binary(bytes.clone()))
        }
        (T::Decimal { precision, .. }, L::Int128(number)) => {
            let spare = 128 - 8 * schema::decimal_bytes(*precision) as u32;
            let fits = (*number << spare) >> spare == *number;
            fits.then_some(L::Int128(*number))
        }
        (T::Boolean, L::Boolean(_))
        | (T::Int | T::Date, L::Int(_))
        | (
            T::Long | T::Time | T::Timestamp | T::Timestamptz | T::TimestampNs | T::TimestamptzNs,
            L::Long(_),
        )
        | (T::Float, L::Float(_))
        | (T::Double, L::Double(_))
        | (T::String, L::String(_))
        | (T::Binary, L::Binary(_))
        | (T::Uuid, L::UInt128(_)) => Some(value.clone()),
        _ => None,
    }
}

/// Writes a value that is of this type.
fn partition_value(out: &mut Encoder, value: &PrimitiveLiteral, of: &PrimitiveType) {
    match (value, of) {
        (PrimitiveLiteral::Boolean(value), _) => out.flag(*value),
        (PrimitiveLiteral::Int(value), _) => out.int(*value),
        (PrimitiveLiteral::Long(value), _) => out.long(*value),
        (PrimitiveLiteral::Float(value), _) => out.raw(&value.to_le_bytes()),
        (PrimitiveLiteral::Double(value), _) => out.raw(&value.to_le_bytes()),
        (PrimitiveLiteral::String(value), _) => out.bytes(value.as_bytes()),
        (PrimitiveLiteral::Binary(value), PrimitiveType::Fixed(_)) => out.raw(value),
        (PrimitiveLiteral::Binary(value), _) => out.bytes(value),
        (PrimitiveLiteral::UInt128(value), _) => out.raw(&value.to_be_bytes()),
        (PrimitiveLiteral::Int128(value), PrimitiveType::Decimal { precision, .. }) => {
            let bytes = value.to_be_bytes();
            let spare = bytes.len().saturating_sub(schema::decimal_bytes(*precision));
            out.raw(bytes.get(spare..).unwrap_or(&bytes));
        }
        // Nothing else is of any type.
        (
            PrimitiveLiteral::Int128(_) | PrimitiveLiteral::AboveMax | PrimitiveLiteral::BelowMin,
            _,
        ) => {}
    }
}

fn whole(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(|_| Error::internal("a data file is too large"))
}

/// What is known of the columns.
fn metrics(out: &mut Encoder, file: &DataFile) -> Result<()> {
    let counts = [
        file.column_sizes(),
        file.value_counts(),
        file.null_value_counts(),
        file.nan_value_counts(),
    ];
    for counts in counts {
        let mut counts: Vec<(i32, i64)> = counts
            .iter()
            .map(|(column, count)| Ok((*column, whole(*count)?)))
            .collect::<Result<_>>()?;
        counts.sort_unstable_by_key(|(column, _)| *column);
        out.some(Some(counts), |out, counts| {
            out.array(counts.into_iter(), |out, (column, count)| {
                out.int(column);
                out.long(count);
            });
        });
    }
    bounds(out, file.lower_bounds())?;
    bounds(out, file.upper_bounds())
}

fn bounds(out: &mut Encoder, bounds: &HashMap<i32, Datum>) -> Result<()> {
    let mut sorted: Vec<(i32, &Datum)> =
        bounds.iter().map(|(column, bound)| (*column, bound)).collect();
    sorted.sort_unstable_by_key(|(column, _)| *column);
    let mut written = Vec::with_capacity(sorted.len());
    for (column, bound) in sorted {
        written.push((column, bound.to_bytes().context(|| "cannot write a column's bounds")?));
    }
    out.some(Some(written), |out, written| {
        out.array(written.into_iter(), |out, (column, bytes)| {
            out.int(column);
            out.bytes(&bytes);
        });
    });
    Ok(())
}

/// The rest of a description; `first_row_id` where the format version has it.
fn details(out: &mut Encoder, file: &DataFile, first_row_id: Option<Option<i64>>) {
    out.some(file.key_metadata(), Encoder::bytes);
    out.some(file.split_offsets(), |out, offsets| {
        out.array(offsets.iter(), |out, offset| out.long(*offset));
    });
    out.some(file.equality_ids(), |out, ids| {
        out.array(ids.into_iter(), Encoder::int);
    });
    out.some(file.sort_order_id(), Encoder::int);
    if let Some(id) = first_row_id {
        out.some(id, Encoder::long);
    }
    out.some(file.referenced_data_file(), |out, path| out.bytes(path.as_bytes()));
    out.some(file.content_offset(), Encoder::long);
    out.some(file.content_size_in_bytes(), Encoder::long);
}

#[cfg(test)]
pub(in crate::storage::avro) mod tests;
