//! What changes files and no rows.

use icecore_catalog::{ExpireOptions, RewriteManifestsOptions};
use icecore_core::{Clock as _, Error, Result, SystemClock, Timestamp};

use super::{fresh, overwrite_partitions};
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
