//! What changes of names would come to now: everything but the change.

use icecore_core::{ErrorKind, PinnedTable, RefName, Result, TableName};

use super::IcebergCatalog;
use crate::commit;
use crate::pointer::taken;
use crate::refs::{self, NewTag, Retention, TagMove};

impl IcebergCatalog {
    /// What [`tag_with`](Self::tag_with) would say now. Changes nothing.
    ///
    /// # Errors
    ///
    /// Those of `tag_with`.
    pub async fn check_tag(
        &self,
        pinned: &PinnedTable,
        name: &RefName,
        moving: TagMove,
        retention: Retention,
    ) -> Result<()> {
        self.check_pin(pinned).await?;
        let head = self.tables_now().load(&pinned.table).await?;
        commit::check_writable(&head)?;
        let now = self.tables_now().clock().now();
        NewTag { pinned, name, moving, retention, now }.plan(&head).map(drop)
    }

    /// What [`branch_with`](Self::branch_with) would say now. Changes nothing.
    ///
    /// # Errors
    ///
    /// Those of `branch_with`.
    pub async fn check_branch(
        &self,
        pinned: &PinnedTable,
        name: &RefName,
        retention: Retention,
    ) -> Result<()> {
        self.check_pin(pinned).await?;
        let head = self.tables_now().load(&pinned.table).await?;
        commit::check_writable(&head)?;
        refs::plan_branch(&head, pinned, name, retention).map(drop)
    }

    /// What [`drop_ref`](Self::drop_ref) would say now. Changes nothing.
    ///
    /// # Errors
    ///
    /// Those of `drop_ref`.
    pub async fn check_drop_ref(&self, table: &TableName, name: &RefName) -> Result<()> {
        let head = self.tables_now().load(table).await?;
        commit::check_writable(&head)?;
        refs::plan_drop(&head, table, name).map(drop)
    }

    /// What [`rename_table`](Self::rename_table) would say now. Changes nothing.
    ///
    /// # Errors
    ///
    /// Those of `rename_table`.
    pub async fn check_rename_table(&self, table: &TableName, to: &TableName) -> Result<()> {
        self.tables_now().load(table).await?;
        self.check_free(to).await
    }

    /// What [`register_table`](Self::register_table) would say now. Changes nothing.
    ///
    /// # Errors
    ///
    /// Those of `register_table`.
    pub async fn check_register_table(
        &self,
        table: &TableName,
        metadata_location: &str,
    ) -> Result<()> {
        self.tables_now().check_register(table, metadata_location).await?;
        self.check_free(table).await
    }

    /// Whether a name leads to no table.
    async fn check_free(&self, name: &TableName) -> Result<()> {
        match self.tables_now().find(name).await {
            Ok(None) => Ok(()),
            // A table whose metadata is broken has its name all the same.
            Ok(Some(_)) => Err(taken(name)),
            Err(error) if error.kind() == ErrorKind::DataCorrupt => Err(taken(name)),
            Err(error) => Err(error),
        }
    }
}
