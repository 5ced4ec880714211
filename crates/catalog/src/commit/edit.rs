//! Changes that write no files: refs, properties, columns.

use async_trait::async_trait;
use iceberg::table::Table;
use icecore_core::Result;

use super::{Attempt, Change, Plan};

/// A change that a function of the table's present state describes.
pub(crate) struct Edit<F>(pub(crate) F);

#[async_trait]
impl<F> Change for Edit<F>
where
    F: Fn(&Table) -> Result<Plan> + Send + Sync,
{
    async fn plan(&self, head: &Table, _attempt: &mut Attempt) -> Result<Plan> {
        (self.0)(head)
    }

    fn is_repeatable(&self) -> bool {
        true
    }
}
