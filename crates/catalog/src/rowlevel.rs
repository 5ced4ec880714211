//! Changing rows: delete by filter, overwrite by filter, upsert by key.
//!
//! Each is computed from one state of a table: which rows of which data files leave it or change
//! is found by reading as few columns as possible. Only files with such rows are written again, or
//! get a delete file; the others are not opened. What results is one change of files, which is
//! checked against everything that was committed since that state.

mod compare;
mod delete;
mod delta;
mod filter;
mod hash;
mod keys;
mod operation;
mod options;
mod overwrite;
mod patch;
mod range;
mod source;
mod splice;
mod target;
mod upsert;
mod writing;

pub(crate) use delete::Delete;
pub use delta::RowDelta;
pub(crate) use delta::delete_keys;
pub use filter::{RowFilter, RowTest};
pub(crate) use operation::RowOperation;
pub use options::{
    DuplicateKeys, NullKeys, RowChanges, RowMode, RowOptions, UpsertOptions, WhenMatched,
    WhenNotMatched,
};
pub(crate) use overwrite::Overwrite;
pub(crate) use source::Source;
pub(crate) use target::Target;
pub(crate) use upsert::Upsert;
pub(crate) use writing::Writing;
