//! Rows that are deleted by their place in a file.

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use iceberg::metadata_columns::{delete_file_path_field, delete_file_pos_field};
use iceberg::spec::{DataContentType, DataFileFormat, Schema};
use iceberg::table::Table;
use icecore_core::{Error, ErrorKind, Result};
use roaring::RoaringTreemap;

use super::DeletedKeys;
use crate::error::Context as _;
use crate::scan::file::{Decode, Decoded, Names, decode};
use crate::scan::task::{DeleteTask, FileTask};
use crate::storage::KnownFile as _;

/// What a delete file says.
#[derive(Debug)]
pub(in crate::scan) enum Deleted {
    /// Places by the path of the data file.
    Positions(HashMap<String, RoaringTreemap>),
    /// Places in the one data file that it is of.
    Vector(RoaringTreemap),
    Keys(Arc<DeletedKeys>),
}

impl DeleteTask {
    /// What it says. Reads it the first time.
    ///
    /// # Errors
    ///
    /// `DataCorrupt` for a file that cannot be understood, and those of the storage.
    pub(in crate::scan) async fn content(&self, table: &Table) -> Result<&Deleted> {
        self.content.get_or_try_init(|| self.load(table)).await
    }

    async fn load(&self, table: &Table) -> Result<Deleted> {
        let path = self.file.file_path();
        if self.file.is_encrypted() {
            return Err(Error::unsupported(format!("delete file `{path}` is encrypted")));
        }
        match (self.file.content_type(), self.file.file_format()) {
            (DataContentType::PositionDeletes, DataFileFormat::Puffin) => {
                self.load_vector(table).await.map(Deleted::Vector)
            }
            (DataContentType::PositionDeletes, DataFileFormat::Parquet) => {
                self.load_positions(table).await.map(Deleted::Positions)
            }
            (DataContentType::EqualityDeletes, DataFileFormat::Parquet) => {
                let keys = DeletedKeys::load(table, &self.file).await?;
                Ok(Deleted::Keys(Arc::new(keys)))
            }
            (_, format) => Err(Error::unsupported(format!(
                "delete file `{path}` is {format}, and icecore reads Parquet and Puffin"
            ))),
        }
    }

    async fn load_positions(&self, table: &Table) -> Result<HashMap<String, RoaringTreemap>> {
        let columns = vec![delete_file_path_field().clone(), delete_file_pos_field().clone()];
        let schema = Schema::builder().with_fields(columns.clone()).build();
        let schema = schema.context(|| "cannot describe a position delete file")?;
        let names = Names::OfTable(Arc::new(schema));
        let decode_all = Decode::all(columns, names);
        let mut batches = decode(table.file_io(), &self.file, decode_all).await?;
        let mut by_path: HashMap<String, RoaringTreemap> = HashMap::new();
        while let Some(rows) = batches.try_next().await? {
            self.take_positions(&rows, &mut by_path)?;
        }
        Ok(by_path)
    }

    fn take_positions(
        &self,
        rows: &Decoded,
        by_path: &mut HashMap<String, RoaringTreemap>,
    ) -> Result<()> {
        let odd = |what: &str| {
            Error::corrupt(format!("position delete file `{}` has {what}", self.file.file_path()))
        };
        let [paths, places] = rows.columns() else { return Err(odd("other columns")) };
        let (paths, places) = (paths.as_string::<i32>(), places.as_primitive::<Int64Type>());
        if paths.null_count() > 0 || places.null_count() > 0 {
            return Err(odd("a null"));
        }
        // Rows of one file stand together, so most are looked up with the one before.
        let mut row = 0;
        while row < paths.len() {
            let path = paths.value(row);
            let map = match by_path.get_mut(path) {
                Some(map) => map,
                None => by_path.entry(path.to_owned()).or_default(),
            };
            while row < paths.len() && paths.value(row) == path {
                let place =
                    u64::try_from(places.value(row)).map_err(|_| odd("a negative place"))?;
                map.insert(place);
                row += 1;
            }
        }
        Ok(())
    }

    async fn load_vector(&self, table: &Table) -> Result<RoaringTreemap> {
        let path = self.file.file_path();
        let cannot = || format!("cannot read deletion vector `{path}`");
        let odd = || Error::corrupt(format!("deletion vector `{path}` is damaged"));
        let (Some(offset), Some(length)) =
            (self.file.content_offset(), self.file.content_size_in_bytes())
        else {
            return Err(Error::corrupt(format!("nothing says where in `{path}` a vector is")));
        };
        let (Ok(start), Ok(length)) = (u64::try_from(offset), u64::try_from(length)) else {
            return Err(odd());
        };
        let end = start.checked_add(length).ok_or_else(odd)?;
        if end > self.file.file_size_in_bytes() {
            return Err(odd());
        }
        let input = table.file_io().new_input(path).context(cannot)?;
        let reader = input.reader().await.context(cannot)?;
        let bytes = reader.read(start..end).await.context(cannot)?;
        vector(&bytes).ok_or_else(odd)
    }
}

const VECTOR_MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];

/// The places of a `deletion-vector-v1` blob: its length, a magic number, 64-bit Roaring bitmaps
/// and a checksum.
fn vector(blob: &[u8]) -> Option<RoaringTreemap> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    let (content, checksum) = rest.split_last_chunk::<4>()?;
    if usize::try_from(u32::from_be_bytes(*length)).ok()? != content.len()
        || u32::from_be_bytes(*checksum) != crc32fast::hash(content)
    {
        return None;
    }
    let bitmaps = content.strip_prefix(&VECTOR_MAGIC)?;
    let mut cursor = Cursor::new(bitmaps);
    let places = RoaringTreemap::deserialize_from(&mut cursor).ok()?;
    (cursor.position() == bitmaps.len() as u64).then_some(places)
}

/// The places of a file's rows that are deleted by position; those deleted by equality are not
/// among them.
///
/// # Errors
///
/// `DataCorrupt` for a delete file that cannot be understood, and those of the storage.
pub(crate) async fn deleted_positions(table: &Table, task: &FileTask) -> Result<RoaringTreemap> {
    let mut all = RoaringTreemap::new();
    for delete in &task.deletes {
        if delete.file.content_type() != DataContentType::PositionDeletes {
            continue;
        }
        match delete.content(table).await? {
            Deleted::Positions(by_path) => {
                if let Some(places) = by_path.get(task.file.file_path()) {
                    all |= places;
                }
            }
            Deleted::Vector(places) => all |= places,
            Deleted::Keys(_) => {}
        }
    }
    if all.max().is_some_and(|last| last >= task.file.record_count()) {
        return Err(Error::new(
            ErrorKind::DataCorrupt,
            format!("a delete file names rows that `{}` does not have", task.file.file_path()),
        ));
    }
    Ok(all)
}

/// The parts of a range that are not deleted, in order.
pub(in crate::scan) fn live_ranges(deleted: &RoaringTreemap, of: Range<u64>) -> Vec<Range<u64>> {
    let (mut live, mut from) = (Vec::new(), of.start);
    let mut places = deleted.iter();
    places.advance_to(of.start);
    for place in places.take_while(|place| *place < of.end) {
        if from < place {
            live.push(from..place);
        }
        from = place + 1;
    }
    if from < of.end {
        live.push(from..of.end);
    }
    live
}
