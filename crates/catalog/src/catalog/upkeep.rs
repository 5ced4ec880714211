//! Looking after tables.

use std::path::PathBuf;

use futures::FutureExt;
use futures::future::BoxFuture;
use icecore_core::{Error, Result, TableName};

use super::IcebergCatalog;
use crate::fsck::{self, FsckOptions, FsckReport};
use crate::maintenance::{
    self, CleanOptions, CleanReport, CompactOptions, CompactReport, ExpireOptions, ExpireReport,
    GC_ENABLED, RewriteManifestsOptions, RewriteManifestsReport,
};
use crate::storage::local_path;

impl IcebergCatalog {
    /// Checks a table: its history, its snapshots, and every file that they need. What is wrong
    /// is in the report; nothing is changed.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table, `Unavailable` or `Denied` for what cannot be reached.
    pub async fn fsck(&self, table: &TableName, options: FsckOptions) -> Result<FsckReport> {
        let check = erased(fsck::check(self.tables_now(), table, &options)).await?;
        Ok(FsckReport { tables: vec![check] })
    }

    /// Expires snapshots that nobody needs: first in the metadata, in one commit, then their files,
    /// unless another snapshot of the table needs them.
    ///
    /// What a branch keeps follows its own settings, then the options, then the table's
    /// `history.expire.*` properties. A tag keeps its snapshot, and so does every holder.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if a snapshot that was named is needed, if the table's files may be those of
    /// another (`gc.enabled = false`), or if another name leads to them; `OutcomeUnknown` if nobody
    /// knows whether the commit is stored, in which case no file is deleted.
    pub async fn expire(&self, table: &TableName, options: ExpireOptions) -> Result<ExpireReport> {
        self.check_in_warehouse(table).await?;
        erased(maintenance::expire(self.tables_now(), table, options)).await
    }

    /// Deletes the files below a table's location that no state of the table names and that are
    /// old: what writers left that died, and past metadata.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the files are not in this catalog's warehouse, if another table shares the location, if the table's files may be those of
    /// another (`gc.enabled = false`), or if metadata names files on another storage;
    /// `DataCorrupt` if something cannot be read that may name files. In each case nothing was
    /// deleted.
    pub async fn clean(&self, table: &TableName, options: CleanOptions) -> Result<CleanReport> {
        self.check_in_warehouse(table).await?;
        let store = self.object_store();
        erased(maintenance::clean(self.tables_now(), table, &*store, &options)).await
    }

    /// Fails for a table whose files are on this machine, but not in this catalog's warehouse: where a
    /// project was copied, the copy's catalog names the files of the original, which needs them.
    /// A table that says `gc.enabled = true` has them for itself.
    async fn check_in_warehouse(&self, table: &TableName) -> Result<()> {
        let head = self.tables_now().load(table).await?;
        let (metadata, warehouse) = (head.metadata(), self.warehouse());
        if self.tables_now().is_remote() || metadata.properties().contains_key(GC_ENABLED) {
            return Ok(());
        }
        let location = metadata.location();
        let (Ok(own), Ok(files)) = (local_path(warehouse), local_path(location)) else {
            return Ok(());
        };
        if real(files).await.starts_with(real(own).await) {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the files of `{table}` are not in the warehouse of this catalog"
        ))
        .with_note(format!("they are in `{location}`, and the warehouse is `{warehouse}`"))
        .with_note("where a project was copied, they are those of the original, which needs them")
        .with_help(format!(
            "if no other catalog has them: `icecore table set {table} {GC_ENABLED}=true`"
        )))
    }

    /// Names the files of a branch in fewer manifests, each of neighbouring partitions, so that a
    /// read has fewer to open. No row and no file changes, and pins stay valid.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown branch; those of a commit.
    pub async fn rewrite_manifests(
        &self,
        table: &TableName,
        options: RewriteManifestsOptions,
    ) -> Result<RewriteManifestsReport> {
        erased(maintenance::rewrite_manifests(self.tables_now(), table, &options)).await
    }

    /// Writes files of a branch anew: small ones put together, deletes folded in, rows in order if
    /// that is asked for. The rows stay the same, and pins stay valid.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown branch; `Conflict` if other writers were first every time;
    /// `DataCorrupt` if a file does not hold what its manifest says. What was committed until then
    /// stays.
    pub async fn compact(
        &self,
        table: &TableName,
        options: CompactOptions,
    ) -> Result<CompactReport> {
        erased(maintenance::compact(self, table, &options)).await
    }
}

/// A future whose type is forgotten: whether it may be sent is decided here, and callers need not
/// look into it.
fn erased<'f, T>(future: impl Future<Output = T> + Send + 'f) -> BoxFuture<'f, T> {
    future.boxed()
}

/// A path without links; one that is not there is taken as it is.
async fn real(path: PathBuf) -> PathBuf {
    tokio::fs::canonicalize(&path).await.unwrap_or(path)
}
