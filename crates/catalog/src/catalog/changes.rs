//! Reading what changed.

use icecore_core::{PinnedTable, Result};

use super::IcebergCatalog;
use crate::changes::{self, ChangeOptions, Changes};

impl IcebergCatalog {
    /// Reads which rows were inserted, updated and deleted from one pinned state of a table to
    /// another, whatever operations did it. To go on later, begin where this ended: the later pin
    /// is all that has to be remembered.
    ///
    /// Files that both states have, with the same deletes applied to them, are not opened. A row
    /// that was only moved to another file did not change; nor did one that was deleted and
    /// inserted with the same values in one step.
    ///
    /// Columns are those of the later state, found by their ids: a renamed column did not change,
    /// one that was added is null or its default before, and one that was dropped does not count.
    ///
    /// # Errors
    ///
    /// `NotFound` for a snapshot that is gone, which says what is left, and for a key that is no
    /// column; `InvalidInput` for pins of two tables.
    pub async fn changes(
        &self,
        from: &PinnedTable,
        to: &PinnedTable,
        options: ChangeOptions,
    ) -> Result<Changes> {
        if from.table != to.table {
            return Err(icecore_core::Error::invalid(format!(
                "`{from}` and `{to}` are two tables, and changes are those of one"
            ))
            .with_help("compare two tables with `icecore table diff`"));
        }
        let table = self.tables_now().load(&to.table).await?;
        changes::changes(&table, from, to, options).await
    }
}
