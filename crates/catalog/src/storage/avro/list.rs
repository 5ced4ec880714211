//! Reading and writing manifest lists (specification, "Manifest Lists").

use iceberg::spec::{FieldSummary, FormatVersion, ManifestContentType, ManifestFile};
use icecore_core::{Error, Result};

use super::codec::Codec;
use super::cursor::Cursor;
use super::datum::{Field, Shape};
use super::encode::{ContainerWriter, Encoder};
use super::manifest::UNASSIGNED;
use super::values::{Odd, count, flag, number, raw, some, text, truth};
use super::{Container, Failed, schema};

/// The snapshot that a list is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListKind {
    pub(crate) version: FormatVersion,
    pub(crate) snapshot: i64,
    pub(crate) parent: Option<i64>,
    pub(crate) sequence: i64,
    /// The first id that its rows may get, where rows have ids.
    pub(crate) first_row_id: Option<u64>,
    pub(crate) codec: Codec,
}

/// A list's bytes, and the first id that no row of it has, where rows have ids.
///
/// # Errors
///
/// `DataCorrupt` for a manifest that does not say what a list has to; `Internal` for one that is
/// part of no snapshot yet.
pub(crate) fn write_list(
    kind: &ListKind,
    manifests: Vec<ManifestFile>,
) -> Result<(Vec<u8>, Option<u64>)> {
    let or_null = |number: Option<String>| number.unwrap_or_else(|| "null".to_owned());
    let text = |number: &dyn ToString| number.to_string().into_bytes();
    let ids = schema::has_rows_with_ids(kind.version);
    let mut notes = vec![
        ("snapshot-id", text(&kind.snapshot)),
        ("parent-snapshot-id", text(&or_null(kind.parent.map(|parent| parent.to_string())))),
        ("sequence-number", text(&kind.sequence)),
        ("format-version", text(&(kind.version as u8))),
    ];
    if ids {
        notes.push(("first-row-id", text(&or_null(kind.first_row_id.map(|id| id.to_string())))));
    }
    let mut file = ContainerWriter::new(&schema::manifests(kind.version), &notes, kind.codec);
    let mut next_row_id = kind.first_row_id.filter(|_| ids);
    for mut manifest in manifests {
        assign(kind, &mut manifest)?;
        next_row_id = assign_ids(next_row_id, &mut manifest)?;
        file.row(|out| {
            row(out, &manifest)?;
            if ids {
                let id = manifest.first_row_id.map(signed).transpose()?;
                out.some(id, Encoder::long);
            }
            Ok(())
        })?;
    }
    Ok((file.finish()?, next_row_id))
}

/// Gives sequence numbers to a manifest that the snapshot brings.
fn assign(kind: &ListKind, manifest: &mut ManifestFile) -> Result<()> {
    for number in [&mut manifest.sequence_number, &mut manifest.min_sequence_number] {
        if *number != UNASSIGNED {
            continue;
        }
        if manifest.added_snapshot_id != kind.snapshot {
            let path = &manifest.manifest_path;
            return Err(Error::internal(format!("manifest `{path}` is part of no snapshot")));
        }
        *number = kind.sequence;
    }
    Ok(())
}

/// Gives the ids of its rows to a manifest that has none; returns the id after them.
fn assign_ids(next: Option<u64>, manifest: &mut ManifestFile) -> Result<Option<u64>> {
    if manifest.content == ManifestContentType::Deletes {
        manifest.first_row_id = None;
    }
    let Some(first) = next else { return Ok(None) };
    if manifest.content == ManifestContentType::Deletes || manifest.first_row_id.is_some() {
        return Ok(next);
    }
    let rows = [manifest.existing_rows_count, manifest.added_rows_count];
    let [Some(existing), Some(added)] = rows else { return Err(says_too_little(manifest)) };
    manifest.first_row_id = Some(first);
    let after = first.checked_add(existing).and_then(|after| after.checked_add(added));
    after.map(Some).ok_or_else(|| {
        let path = &manifest.manifest_path;
        Error::corrupt(format!("there are no ids left for the rows of manifest `{path}`"))
    })
}

fn says_too_little(manifest: &ManifestFile) -> Error {
    let path = &manifest.manifest_path;
    Error::corrupt(format!("nothing says how many files and rows manifest `{path}` has"))
        .with_help("rewrite the table's manifests with the engine that wrote them")
}

fn signed(count: u64) -> Result<i64> {
    i64::try_from(count).map_err(|_| Error::corrupt("a count of rows is too large"))
}

fn row(out: &mut Encoder, manifest: &ManifestFile) -> Result<()> {
    let needed = || says_too_little(manifest);
    out.bytes(manifest.manifest_path.as_bytes());
    out.long(manifest.manifest_length);
    out.int(manifest.partition_spec_id);
    out.int(manifest.content as i32);
    out.long(manifest.sequence_number);
    out.long(manifest.min_sequence_number);
    out.long(manifest.added_snapshot_id);
    for count in
        [manifest.added_files_count, manifest.existing_files_count, manifest.deleted_files_count]
    {
        out.long(count.ok_or_else(needed)?.into());
    }
    for count in
        [manifest.added_rows_count, manifest.existing_rows_count, manifest.deleted_rows_count]
    {
        out.long(signed(count.ok_or_else(needed)?)?);
    }
    out.some(manifest.partitions.as_ref(), |out, summaries| {
        out.array(summaries.iter(), |out, summary| {
            out.flag(summary.contains_null);
            out.some(summary.contains_nan, Encoder::flag);
            out.some(summary.lower_bound.as_deref(), |out, bytes| out.bytes(bytes));
            out.some(summary.upper_bound.as_deref(), |out, bytes| out.bytes(bytes));
        });
    });
    let key = manifest.key_metadata.as_deref().filter(|key| !key.is_empty());
    out.some(key, Encoder::bytes);
    Ok(())
}

/// The manifests that the list in these bytes names; `None` where another reader has to look, to
/// understand it or to say what is wrong.
pub(in crate::storage) fn list(bytes: &[u8], limit: u64) -> Option<Vec<ManifestFile>> {
    let container = Container::open(bytes).ok()?;
    // Lists of version 1 say less.
    let notes = container.parts.notes();
    let version = notes.get("format-version")?;
    if !matches!(version.as_slice(), b"2" | b"3") {
        return None;
    }
    let mut found = Vec::new();
    let read = container.each(limit, |shape, data| {
        data.value()?;
        found.push(manifest(shape, data)?);
        Ok(())
    });
    match read {
        Ok(()) => Some(found),
        Err(Failed::Value(Odd::Unfamiliar | Odd::Malformed) | Failed::TooLarge) => None,
    }
}

/// What has to be there.
#[derive(Default)]
struct Needed {
    path: Option<String>,
    /// Length, sequence numbers, snapshot.
    numbers: [Option<i64>; 4],
    spec: Option<i32>,
    content: Option<i32>,
    files: [Option<u64>; 3],
    rows: [Option<u64>; 3],
}

fn manifest(shape: &Shape, data: &mut Cursor<'_>) -> Result<ManifestFile, Odd> {
    let Shape::Record(fields) = shape else { return Err(Odd::Unfamiliar) };
    let mut needed = Needed::default();
    let (mut partitions, mut key_metadata, mut first_row_id) = (None, None, None);
    for Field { id, shape } in fields {
        data.value()?;
        match id {
            Some(507) => partitions = summaries(shape, data)?,
            Some(519) => key_metadata = raw(shape, data)?.map(<[u8]>::to_vec),
            Some(520) => {
                let id = number(shape, data)?.map(u64::try_from).transpose();
                first_row_id = id.map_err(|_| Odd::Unfamiliar)?;
            }
            Some(id) => needed.take(*id, shape, data)?,
            None => shape.skip(data)?,
        }
    }
    needed.complete(partitions, key_metadata, first_row_id).ok_or(Odd::Unfamiliar)
}

impl Needed {
    fn take(&mut self, id: i64, shape: &Shape, data: &mut Cursor<'_>) -> Result<(), Odd> {
        let [length, sequence, min_sequence, snapshot] = &mut self.numbers;
        let ([added, existing, deleted], [added_rows, existing_rows, deleted_rows]) =
            (&mut self.files, &mut self.rows);
        match id {
            500 => self.path = text(shape, data)?,
            501 => *length = number(shape, data)?,
            502 => self.spec = flag(shape, data)?,
            503 => *snapshot = number(shape, data)?,
            504 => *added = Some(count(shape, data)?),
            505 => *existing = Some(count(shape, data)?),
            506 => *deleted = Some(count(shape, data)?),
            512 => *added_rows = Some(count(shape, data)?),
            513 => *existing_rows = Some(count(shape, data)?),
            514 => *deleted_rows = Some(count(shape, data)?),
            515 => *sequence = number(shape, data)?,
            516 => *min_sequence = number(shape, data)?,
            517 => self.content = flag(shape, data)?,
            _ => shape.skip(data)?,
        }
        Ok(())
    }

    fn complete(
        self,
        partitions: Option<Vec<FieldSummary>>,
        key_metadata: Option<Vec<u8>>,
        first_row_id: Option<u64>,
    ) -> Option<ManifestFile> {
        let [length, sequence, min_sequence, snapshot] = self.numbers;
        let [added_files, existing_files, deleted_files] = self.files;
        let [added_rows, existing_rows, deleted_rows] = self.rows;
        let files = |count: Option<u64>| count.and_then(|count| u32::try_from(count).ok());
        Some(ManifestFile {
            manifest_path: self.path?,
            manifest_length: length?,
            partition_spec_id: self.spec?,
            content: ManifestContentType::try_from(self.content?).ok()?,
            sequence_number: sequence?,
            min_sequence_number: min_sequence?,
            added_snapshot_id: snapshot?,
            added_files_count: Some(files(added_files)?),
            existing_files_count: Some(files(existing_files)?),
            deleted_files_count: Some(files(deleted_files)?),
            added_rows_count: Some(added_rows?),
            existing_rows_count: Some(existing_rows?),
            deleted_rows_count: Some(deleted_rows?),
            partitions,
            key_metadata,
            first_row_id,
        })
    }
}

fn summaries(shape: &Shape, data: &mut Cursor<'_>) -> Result<Option<Vec<FieldSummary>>, Odd> {
    let items = match some(shape, data)? {
        None => return Ok(None),
        Some(Shape::Array(items)) => items,
        Some(_) => return Err(Odd::Unfamiliar),
    };
    let Shape::Record(fields) = &**items else { return Err(Odd::Unfamiliar) };
    let mut found = Vec::new();
    while let Some(count) = data.block_length()? {
        for _ in 0..count {
            data.value()?;
            let (mut summary, mut says_null) = (FieldSummary::default(), false);
            for Field { id, shape } in fields {
                data.value()?;
                match id {
                    Some(509) => {
                        summary.contains_null = truth(shape, data)?.ok_or(Odd::Unfamiliar)?;
                        says_null = true;
                    }
                    Some(518) => summary.contains_nan = truth(shape, data)?,
                    Some(510) => summary.lower_bound = bound(shape, data)?,
                    Some(511) => summary.upper_bound = bound(shape, data)?,
                    _ => shape.skip(data)?,
                }
            }
            if !says_null {
                return Err(Odd::Unfamiliar);
            }
            found.push(summary);
        }
    }
    Ok(Some(found))
}

fn bound<B: From<Vec<u8>>>(shape: &Shape, data: &mut Cursor<'_>) -> Result<Option<B>, Odd> {
    Ok(raw(shape, data)?.map(|bytes| bytes.to_vec().into()))
}

#[cfg(test)]
mod tests;
