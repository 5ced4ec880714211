//! Deleted rows: which delete files apply to which data files, and what they say.

mod keys;
mod positions;

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::metadata_columns::RESERVED_FIELD_ID_DELETE_FILE_PATH;
use iceberg::spec::{DataContentType, Datum, PrimitiveLiteral, Struct};
use icecore_core::{Error, Result};

use super::task::DeleteTask;
use crate::described::wide_partition;
use crate::storage::{KnownFile, ListedFile};

pub(super) use keys::DeletedKeys;
pub(crate) use positions::deleted_positions;
pub(super) use positions::{Deleted, live_ranges};

/// Delete files by what they apply to.
#[derive(Debug, Default)]
pub(super) struct DeleteIndex {
    /// Deletion vectors by the data file that they are of.
    vectors: HashMap<String, Arc<DeleteTask>>,
    /// Position deletes that are of one data file.
    by_path: HashMap<String, Vec<Arc<DeleteTask>>>,
    /// Position deletes by partition.
    positions: HashMap<Partition, Vec<Arc<DeleteTask>>>,
    /// Equality deletes by partition.
    keys: HashMap<Partition, Vec<Arc<DeleteTask>>>,
    /// Equality deletes that apply to every partition.
    everywhere: Vec<Arc<DeleteTask>>,
}

/// A partition of a spec, in its widest form: a column may become wider between the rows and what
/// deletes them.
type Partition = (i32, Struct);

impl DeleteIndex {
    /// Takes in a delete file.
    ///
    /// # Errors
    ///
    /// `DataCorrupt` for a second deletion vector of one data file, or for a vector of none.
    pub(super) fn add(&mut self, delete: DeleteTask, is_global: bool) -> Result<()> {
        let partition = (delete.spec_id, wide_partition(delete.file.partition()));
        let path = delete.only_path().map(str::to_owned);
        let delete = Arc::new(delete);
        if delete.is_vector() {
            let name = delete.file.file_path();
            let Some(path) = path else {
                return Err(Error::corrupt(format!("deletion vector `{name}` is of no file")));
            };
            if self.vectors.insert(path.clone(), delete.clone()).is_some() {
                return Err(Error::corrupt(format!("`{path}` has two deletion vectors")));
            }
            return Ok(());
        }
        match (delete.file.content_type(), path) {
            (DataContentType::EqualityDeletes, _) if is_global => self.everywhere.push(delete),
            (DataContentType::EqualityDeletes, _) => {
                self.keys.entry(partition).or_default().push(delete);
            }
            (_, Some(path)) => self.by_path.entry(path).or_default().push(delete),
            (_, None) => self.positions.entry(partition).or_default().push(delete),
        }
        Ok(())
    }

    /// The delete files that apply to a data file.
    pub(super) fn of(
        &self,
        file: &ListedFile,
        spec_id: i32,
        sequence: i64,
    ) -> Vec<Arc<DeleteTask>> {
        let mut found = Vec::new();
        if self.is_empty() {
            return found;
        }
        let path = file.file_path();
        let partition = (spec_id, wide_partition(file.partition()));
        let from = |deletes: Option<&Vec<Arc<DeleteTask>>>| deletes.cloned().unwrap_or_default();
        let vector = self.vectors.get(path).filter(|vector| sequence <= vector.sequence);
        if let Some(vector) = vector {
            // It holds what the position deletes before it said.
            found.push(vector.clone());
        } else {
            let all = from(self.by_path.get(path))
                .into_iter()
                .chain(from(self.positions.get(&partition)));
            let may_name =
                |delete: &DeleteTask| delete.paths.as_ref().is_none_or(|paths| paths.hold(path));
            found.extend(all.filter(|delete| sequence <= delete.sequence && may_name(delete)));
        }
        let all =
            from(self.keys.get(&partition)).into_iter().chain(self.everywhere.iter().cloned());
        found.extend(all.filter(|delete| sequence < delete.sequence));
        found
    }

    fn is_empty(&self) -> bool {
        self.vectors.is_empty()
            && self.by_path.is_empty()
            && self.positions.is_empty()
            && self.keys.is_empty()
            && self.everywhere.is_empty()
    }
}

impl DeleteTask {
    /// The data file that all of its position deletes are of, if the manifest says so.
    fn only_path(&self) -> Option<&str> {
        let said = self.file.referenced_data_file();
        said.or_else(|| self.paths.as_ref().and_then(PathBounds::only))
    }
}

/// Between which paths those of the data files are that position deletes are of.
#[derive(Debug)]
pub(super) struct PathBounds {
    lower: String,
    upper: String,
}

impl PathBounds {
    /// Those of a delete file, if the manifest says so.
    pub(super) fn of(file: &ListedFile) -> Option<Self> {
        let path = |bound: &Datum| match bound.literal() {
            PrimitiveLiteral::String(path) => Some(path.clone()),
            _ => None,
        };
        Some(Self {
            lower: path(&*file.lower(RESERVED_FIELD_ID_DELETE_FILE_PATH)?)?,
            upper: path(&*file.upper(RESERVED_FIELD_ID_DELETE_FILE_PATH)?)?,
        })
    }

    fn only(&self) -> Option<&str> {
        (self.lower == self.upper).then_some(self.lower.as_str())
    }

    fn hold(&self, path: &str) -> bool {
        // An upper bound may be a prefix of the greatest path.
        let is_below = path <= self.upper.as_str() || path.starts_with(&self.upper);
        self.lower.as_str() <= path && is_below
    }
}
