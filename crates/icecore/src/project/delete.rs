//! Deleting rows of tables.

use std::sync::Arc;

use icecore_catalog::{RowChanges, RowFilter, RowOptions};
use icecore_core::{Result, TableName};

use crate::Project;

impl Project {
    /// Deletes the rows of a table for which a condition is true, as SQL writes it after `WHERE`:
    /// `user_token = 'u_17'`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is no condition, `NotFound` for an unknown table or column;
    /// `Conflict` if what others committed contradicts the change.
    pub async fn delete_rows(
        &self,
        table: &TableName,
        condition: &str,
        options: RowOptions,
    ) -> Result<RowChanges> {
        let filter = self.row_filter(table, condition).await?;
        self.catalog().delete(table, filter, options).await
    }

    /// Understands a condition on the rows of a table.
    pub(crate) async fn row_filter(&self, table: &TableName, condition: &str) -> Result<RowFilter> {
        let columns = Arc::clone(&self.catalog().describe(table).await?.schema);
        self.engine().row_filter(&columns, condition)
    }
}
