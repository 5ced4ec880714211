//! Tags and branches of tables, and moving them.

use iceberg::table::Table;
use icecore_core::{
    Committed, PinnedTable, RefName, Result, SnapshotCatalog as _, SnapshotId, SnapshotSelector,
    TableName,
};

use super::IcebergCatalog;
use crate::commit::{self, CherryPick};
use crate::history;
use crate::refs::{self, NewTag, RefInfo, Retention, RollbackPolicy, TagMove};

impl IcebergCatalog {
    /// The tags and branches of a table, in order of name.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table.
    pub async fn refs(&self, table: &TableName) -> Result<Vec<RefInfo>> {
        refs::all(self.tables_now().load(table).await?.metadata())
    }

    /// Names a pinned state. A tag keeps its snapshot from being expired, and is mirrored in the
    /// table properties `training-dataset.TAG.snapshot_id`, `.created_at` and `.row_count`.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the name is taken by a branch, or by a tag of another snapshot that may
    /// not move; `NotFound` if the pinned snapshot is gone.
    pub async fn tag(&self, pinned: &PinnedTable, name: &RefName, moving: TagMove) -> Result<()> {
        self.tag_with(pinned, name, moving, Retention::default()).await
    }

    /// [`tag`](Self::tag) that says how long the tag is kept.
    ///
    /// # Errors
    ///
    /// Those of `tag`; `InvalidInput` for a retention that tags do not have.
    pub async fn tag_with(
        &self,
        pinned: &PinnedTable,
        name: &RefName,
        moving: TagMove,
        retention: Retention,
    ) -> Result<()> {
        self.check_pin(pinned).await?;
        let now = self.tables_now().clock().now();
        let tag = NewTag { pinned, name, moving, retention, now };
        self.edit(&pinned.table, |head| tag.plan(head)).await?;
        tracing::info!(table = %pinned.table, snapshot = %pinned.snapshot, tag = %name, "tagged");
        Ok(())
    }

    /// Begins a branch at a pinned state.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the name is taken; `NotFound` if the pinned snapshot is gone.
    pub async fn branch(&self, pinned: &PinnedTable, name: &RefName) -> Result<()> {
        self.branch_with(pinned, name, Retention::default()).await
    }

    /// [`branch`](Self::branch) that says how long it and its snapshots are kept.
    ///
    /// # Errors
    ///
    /// Those of `branch`; `InvalidInput` for a limit that is not positive.
    pub async fn branch_with(
        &self,
        pinned: &PinnedTable,
        name: &RefName,
        retention: Retention,
    ) -> Result<()> {
        self.check_pin(pinned).await?;
        self.edit(&pinned.table, |head| refs::plan_branch(head, pinned, name, retention)).await?;
        tracing::info!(table = %pinned.table, snapshot = %pinned.snapshot, branch = %name, "branched");
        Ok(())
    }

    /// Says how long a tag or branch and its snapshots are kept, in place of what was said before.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none of that name; `InvalidInput` for a limit that it cannot have.
    pub async fn set_retention(
        &self,
        table: &TableName,
        name: &RefName,
        retention: Retention,
    ) -> Result<()> {
        self.edit(table, |head| refs::plan_retention(head, table, name, retention)).await?;
        Ok(())
    }

    /// Moves a branch along to where another ref is, and returns that state. Nothing happens if
    /// it is there.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown ref; `Conflict` if the branch has snapshots that the other ref
    /// does not descend from.
    pub async fn fast_forward(
        &self,
        table: &TableName,
        branch: &RefName,
        to: &RefName,
    ) -> Result<PinnedTable> {
        let plan = |head: &Table| refs::plan_fast_forward(head, table, branch, to);
        let after = self.edit(table, plan).await?;
        let pinned = history::at_ref(table, &after, branch);
        tracing::info!(table = %table, branch = %branch, snapshot = %pinned.snapshot, "moved along");
        Ok(pinned)
    }

    /// What [`fast_forward`](Self::fast_forward) would come to now. Changes nothing.
    ///
    /// # Errors
    ///
    /// Those of `fast_forward`.
    pub async fn check_fast_forward(
        &self,
        table: &TableName,
        branch: &RefName,
        to: &RefName,
    ) -> Result<PinnedTable> {
        let head = self.tables_now().load(table).await?;
        refs::plan_fast_forward(&head, table, branch, to)?;
        Ok(history::at_ref(table, &head, to))
    }

    /// Makes what was written to a branch the current state of the table (write, audit, publish):
    /// `main` moves along to it. The branch stays.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown branch; `Conflict` if `main` has moved on since the branch began:
    /// then [`cherry_pick`](Self::cherry_pick) takes over its appends one by one.
    pub async fn publish(&self, table: &TableName, branch: &RefName) -> Result<PinnedTable> {
        let after = self.edit(table, |head| refs::plan_publish(head, table, branch)).await?;
        let pinned = history::at_ref(table, &after, &RefName::main());
        tracing::info!(table = %table, branch = %branch, snapshot = %pinned.snapshot, "published");
        Ok(pinned)
    }

    /// Does again on a branch what a snapshot that is no part of it did: adds the rows that it
    /// appended. A snapshot that was made from the branch's head becomes its head itself.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown snapshot or branch; `AlreadyExists` if the branch has its rows;
    /// `Unsupported` for a snapshot that is no append.
    pub async fn cherry_pick(
        &self,
        table: &TableName,
        snapshot: SnapshotId,
        onto: &RefName,
    ) -> Result<Committed> {
        let picked = self.pin(table, &SnapshotSelector::Id(snapshot)).await?;
        let change = CherryPick { snapshot, uuid: picked.uuid, branch: onto };
        let outcome = commit::commit(self.tables_now(), table, &change).await?;
        let done = self.committed(table, outcome, onto);
        tracing::info!(table = %table, picked = %snapshot, snapshot = %done.pinned.snapshot, "cherry-picked");
        Ok(done)
    }

    /// How many rows [`cherry_pick`](Self::cherry_pick) would take over now. Changes nothing.
    ///
    /// # Errors
    ///
    /// Those of `cherry_pick`.
    pub async fn check_cherry_pick(
        &self,
        table: &TableName,
        snapshot: SnapshotId,
        onto: &RefName,
    ) -> Result<u64> {
        let picked = self.pin(table, &SnapshotSelector::Id(snapshot)).await?;
        let head = self.tables_now().load(table).await?;
        CherryPick { snapshot, uuid: picked.uuid, branch: onto }.check(&head)
    }

    /// Drops a tag or branch. The snapshot stays until it is expired.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none of that name; `InvalidInput` for `main`.
    pub async fn drop_ref(&self, table: &TableName, name: &RefName) -> Result<()> {
        self.edit(table, |head| refs::plan_drop(head, table, name)).await?;
        Ok(())
    }

    /// Points `main` at another snapshot. Nothing is lost: what `main` pointed at stays in the
    /// history, and going there again is another rollback.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown snapshot; `InvalidInput` if `main` does not descend from it,
    /// unless forced.
    pub async fn rollback(
        &self,
        table: &TableName,
        to: SnapshotId,
        policy: RollbackPolicy,
    ) -> Result<PinnedTable> {
        self.rollback_branch(table, &RefName::main(), to, policy).await
    }

    /// Points a branch at another snapshot, as [`rollback`](Self::rollback) does with `main`. What
    /// the branch pointed at stays until it is expired: tag it first to keep it.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown branch or snapshot; `InvalidInput` for a tag, and if the branch does
    /// not descend from the snapshot, unless forced.
    pub async fn rollback_branch(
        &self,
        table: &TableName,
        branch: &RefName,
        to: SnapshotId,
        policy: RollbackPolicy,
    ) -> Result<PinnedTable> {
        let pinned = self.pin(table, &SnapshotSelector::Id(to)).await?;
        self.edit(table, |head| refs::plan_rollback(head, (table, branch), to, policy)).await?;
        tracing::info!(table = %table, branch = %branch, snapshot = %to, "rolled back");
        Ok(pinned)
    }

    /// What [`rollback_branch`](Self::rollback_branch) would come to now. Changes nothing.
    ///
    /// # Errors
    ///
    /// Those of `rollback_branch`.
    pub async fn check_rollback(
        &self,
        table: &TableName,
        branch: &RefName,
        to: SnapshotId,
        policy: RollbackPolicy,
    ) -> Result<PinnedTable> {
        let pinned = self.pin(table, &SnapshotSelector::Id(to)).await?;
        let head = self.tables_now().load(table).await?;
        refs::plan_rollback(&head, (table, branch), to, policy)?;
        Ok(pinned)
    }
}
