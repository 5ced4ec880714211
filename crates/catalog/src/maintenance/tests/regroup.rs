//! The same files in fewer manifests.

use icecore_core::{ErrorKind, SnapshotCatalog};

use super::*;
use crate::MetadataTable;
use crate::RewriteManifestsOptions;
use crate::catalog::tests::named;

async fn manifests(lake: &Lake) -> usize {
    let table = lake.catalog.metadata_table(&lake.table, MetadataTable::Manifests).await.unwrap();
    table.num_rows()
}

/// Twelve commits into three partitions.
async fn scattered() -> Lake {
    let lake = Lake::new().await;
    for number in 0..12 {
        lake.append(&[(number, i32::try_from(number % 3).unwrap())]).await;
    }
    lake
}

#[tokio::test]
async fn many_manifests_become_one_and_the_rows_stay_the_same() {
    let lake = scattered().await;
    let before = lake.pin("latest").await.unwrap();
    let (rows, paths) = (lake.rows_now().await, lake.paths().await);
    assert_eq!(manifests(&lake).await, 12);
    let dry = RewriteManifestsOptions::default().with_dry_run(true);
    let said = lake.catalog.rewrite_manifests(&lake.table, dry).await.unwrap();
    assert_eq!((said.manifests_before, said.manifests_after, said.entries), (12, 1, 12));
    assert_eq!(manifests(&lake).await, 12);
    let options = RewriteManifestsOptions::default();
    let report = lake.catalog.rewrite_manifests(&lake.table, options.clone()).await.unwrap();
    assert_eq!((report.manifests_before, report.manifests_after, report.entries), (12, 1, 12));
    assert_eq!(manifests(&lake).await, 1);
    assert_eq!((lake.rows_now().await, lake.paths().await), (rows.clone(), paths));
    assert_eq!(lake.rows(&before).await, rows);
    assert_sound(&lake).await;
    let history = lake.catalog.history(&lake.table).await.unwrap();
    let last = history.last().unwrap();
    assert_eq!(last.operation, "replace");
    assert_eq!(last.summary.get("total-data-files").map(String::as_str), Some("12"));
    // Once is enough.
    let again = lake.catalog.rewrite_manifests(&lake.table, options).await.unwrap();
    assert_eq!((again.manifests_before, again.entries), (1, 0));
    assert_eq!(lake.catalog.history(&lake.table).await.unwrap().len(), history.len());
}

#[tokio::test]
async fn each_manifest_holds_neighbouring_partitions() {
    let lake = scattered().await;
    // The twelve files in three manifests.
    let table = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let current = table.metadata().current_snapshot().unwrap().clone();
    let list = table.manifest_list_reader(&current).load().await.unwrap();
    let bytes: i64 = list.entries().iter().map(|manifest| manifest.manifest_length).sum();
    let target = usize::try_from(bytes).unwrap().div_ceil(3);
    let options = RewriteManifestsOptions::default().with_target_bytes(Some(target));
    let report = lake.catalog.rewrite_manifests(&lake.table, options).await.unwrap();
    assert_eq!(report.manifests_after, 3);
    let table = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let current = table.metadata().current_snapshot().unwrap().clone();
    let list = table.manifest_list_reader(&current).load().await.unwrap();
    for manifest in list.entries() {
        let day = &manifest.partitions.as_ref().unwrap()[0];
        assert_eq!(day.lower_bound, day.upper_bound);
    }
    assert_sound(&lake).await;
}

#[tokio::test]
async fn appends_beside_it_are_all_there() {
    let lake = scattered().await;
    let other = lake.reopened().await;
    let writes = async {
        for number in 100..110 {
            lake.append(&[(number, 5)]).await;
        }
    };
    let rewrites = async {
        for _ in 0..5 {
            let options = RewriteManifestsOptions::default().with_force(true);
            other.rewrite_manifests(&lake.table, options).await.unwrap();
        }
    };
    tokio::join!(writes, rewrites);
    assert_eq!(lake.rows_now().await.len(), 22);
    assert_sound(&lake).await;
}

#[tokio::test]
async fn an_empty_table_has_nothing_to_rewrite() {
    let lake = Lake::new().await;
    let options = RewriteManifestsOptions::default().with_force(true);
    let report = lake.catalog.rewrite_manifests(&lake.table, options).await.unwrap();
    assert_eq!((report.manifests_before, report.entries), (0, 0));
}

#[tokio::test]
async fn a_branch_that_is_not_there_is_not_made() {
    let lake = scattered().await;
    let before = (lake.catalog.refs(&lake.table).await.unwrap(), files(&lake));
    for dry_run in [true, false] {
        let options = RewriteManifestsOptions::default()
            .with_branch(named("nowhere"))
            .with_force(true)
            .with_dry_run(dry_run);
        let error = lake.catalog.rewrite_manifests(&lake.table, options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
    assert_eq!((lake.catalog.refs(&lake.table).await.unwrap(), files(&lake)), before);
    // One that is there is rewritten by itself.
    let pinned = lake.pin("latest").await.unwrap();
    lake.catalog.branch(&pinned, &named("dev")).await.unwrap();
    let options = RewriteManifestsOptions::default().with_branch(named("dev"));
    let report = lake.catalog.rewrite_manifests(&lake.table, options).await.unwrap();
    assert_eq!((report.manifests_before, report.manifests_after), (12, 1));
    assert_eq!(lake.pin("latest").await.unwrap(), pinned);
    assert_sound(&lake).await;
}
