//! No file is ever written over.

use std::collections::BTreeMap;

use icecore_core::{CommitOptions, WriteMode};

use super::*;
use crate::{CompactOptions, CompactStrategy, ExpireOptions, RewriteManifestsOptions};

/// Every file with what is in it.
fn contents(lake: &Lake) -> BTreeMap<String, Vec<u8>> {
    let paths = lake.files_on_disk().into_iter();
    paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn a_name_is_used_once_whoever_does_the_same_again() {
    // R11.
    let lake = Lake::new().await;
    let mut seen: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut check = |lake: &Lake| {
        for (path, bytes) in contents(lake) {
            match seen.get(&path) {
                Some(before) => assert_eq!(*before, bytes, "{path} was written over"),
                None => drop(seen.insert(path, bytes)),
            }
        }
    };
    for round in 0..3 {
        // The same job of a new process, on the same state as the round before.
        let catalog = lake.reopened().await;
        for mode in [WriteMode::Append, WriteMode::OverwritePartitions, WriteMode::Overwrite] {
            let options = CommitOptions::new(mode).with_job_id(format!("job-{round}"));
            let rows = crate::catalog::tests::stream(&[(1, 1), (2, 2)]);
            icecore_core::SnapshotCatalog::commit(&catalog, &lake.table, rows, options)
                .await
                .unwrap();
            check(&lake);
        }
        for strategy in [CompactStrategy::BinPack, CompactStrategy::Sort] {
            let options = CompactOptions::default().with_all(true).with_strategy(strategy);
            catalog.compact(&lake.table, options).await.unwrap();
            check(&lake);
        }
        let options = RewriteManifestsOptions::default().with_force(true);
        catalog.rewrite_manifests(&lake.table, options).await.unwrap();
        check(&lake);
        catalog.expire(&lake.table, ExpireOptions::default()).await.unwrap();
        check(&lake);
    }
    assert_sound(&lake).await;
}
