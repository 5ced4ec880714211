//! Looking after tables: what is not needed goes, what is scattered is put together.
//!
//! Everything here is safe beside readers and writers, by three rules:
//!
//! - Metadata first: a file is deleted only once no state of the table that can still be read or
//!   committed on names it, and never after an outcome that nobody knows.
//! - What is needed is found by following every reference of every snapshot, never by what a
//!   snapshot says that it removed.
//! - A file that nothing names yet may belong to a writer: it has to be old before it is garbage.

mod clean;
mod compact;
mod delete;
mod expire;
mod hold;
mod list;
mod neighbours;
mod place;
mod reach;
mod regroup;
mod retention;

pub(crate) use clean::clean;
pub use clean::{CleanOptions, CleanReport, OnMismatch, Orphan};
pub(crate) use compact::compact;
pub use compact::{CompactOptions, CompactProgress, CompactReport, CompactStrategy};
pub(crate) use expire::expire;
pub use expire::{ExpireOptions, ExpireReport, HeldSnapshot};
pub use hold::{Hold, SnapshotHolder};
pub(crate) use neighbours::GC_ENABLED;
pub(crate) use regroup::rewrite_manifests;
pub use regroup::{RewriteManifestsOptions, RewriteManifestsReport};

#[cfg(test)]
mod tests;
