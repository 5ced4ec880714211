//! What changes files and no rows.

use icecore_catalog::{CompactOptions, ExpireOptions, RewriteManifestsOptions, RowMode};
use icecore_core::{Clock as _, Error, Result, SystemClock, Timestamp};

use super::{fresh, overwrite_partitions, row_changes};
use crate::matrix::lake::Lake;
use crate::rows::Rows;

/// Everything but the last state goes, with the files of what was overwritten before.
pub(super) async fn expire(lake: &Lake, rows: Rows) -> Result<Rows> {
    let rows = overwrite_partitions(lake, rows).await?;
    let later = Timestamp::from_micros(SystemClock.now().micros() + 3_600_000_000);
    let options = ExpireOptions::default().with_older_than(Some(later)).with_retain_last(Some(1));
    let report = lake.catalog.expire(&lake.table, options).await?;
    if report.expired.len() != 2 || report.deleted_files == 0 {
        return Err(Error::internal(format!("it expired otherwise: {report:?}")));
    }
    Ok(rows)
}

/// Small files of several commits become few, each of them in order where the table has one.
pub(super) async fn compact(lake: &Lake, rows: Rows) -> Result<Rows> {
    let mut rows = rows;
    for _ in 0..4 {
        let more = fresh(&rows, 6);
        lake.append(&more).await?;
        rows.rows.extend(more.rows);
    }
    let before = files(lake).await?;
    lake.catalog.compact(&lake.table, CompactOptions::default().with_all(true)).await?;
    let after = files(lake).await?;
    if after >= before {
        return Err(Error::internal(format!("{before} files became {after}")));
    }
    Ok(rows)
}

/// Deletes are folded in: no delete file is left.
pub(super) async fn compact_deletes(lake: &Lake, rows: Rows) -> Result<Rows> {
    let rows = row_changes::delete_twice(lake, RowMode::MergeOnRead, rows).await?;
    fold(lake, rows).await
}

/// After this, readers that know no equality deletes are back.
pub(super) async fn compact_equality_deletes(lake: &Lake, rows: Rows) -> Result<Rows> {
    let rows = row_changes::row_delta(lake, rows).await?;
    fold(lake, rows).await
}

async fn fold(lake: &Lake, rows: Rows) -> Result<Rows> {
    lake.catalog.compact(&lake.table, CompactOptions::default()).await?;
    let pin = lake.pin().await;
    let plan = lake.catalog.plan_files(&pin, None).await?;
    let planned: u64 = plan.files.iter().map(|file| file.rows).sum();
    if planned != rows.rows.len() as u64 {
        return Err(Error::internal(format!("files of {planned} rows are left")));
    }
    Ok(rows)
}

pub(super) async fn rewrite_manifests(lake: &Lake, rows: Rows) -> Result<Rows> {
    let mut rows = rows;
    for _ in 0..3 {
        let more = fresh(&rows, 3);
        lake.append(&more).await?;
        rows.rows.extend(more.rows);
    }
    let rows = overwrite_partitions(lake, rows).await?;
    let options = RewriteManifestsOptions::default().with_force(true);
    lake.catalog.rewrite_manifests(&lake.table, options).await?;
    Ok(rows)
}

async fn files(lake: &Lake) -> Result<usize> {
    Ok(lake.catalog.plan_files(&lake.pin().await, None).await?.files.len())
}
