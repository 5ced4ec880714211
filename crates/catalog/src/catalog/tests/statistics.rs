//! Statistics of snapshots.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::join_all;

use super::*;
use crate::StatisticsBlob;

fn blob(kind: &str, data: &str) -> StatisticsBlob {
    StatisticsBlob {
        kind: kind.to_owned(),
        fields: vec![1],
        properties: BTreeMap::new(),
        data: Bytes::copy_from_slice(data.as_bytes()),
    }
}

/// What is there, in order of kind.
async fn stored(lake: &Lake, pin: &PinnedTable) -> Vec<StatisticsBlob> {
    let mut blobs = lake.reopened().await.statistics(pin).await.unwrap();
    blobs.sort_by(|left, right| left.kind.cmp(&right.kind));
    blobs
}

#[tokio::test]
async fn statistics_take_the_place_of_those_of_their_kind() {
    let lake = Lake::new().await;
    let pin = lake.append(&[(1, 1)]).await;
    lake.catalog.put_statistics(&pin, vec![blob("a", "1"), blob("b", "1")]).await.unwrap();
    lake.catalog.put_statistics(&pin, vec![blob("b", "2"), blob("c", "2")]).await.unwrap();
    assert_eq!(stored(&lake, &pin).await, [blob("a", "1"), blob("b", "2"), blob("c", "2")]);
}

#[tokio::test]
async fn statistics_of_other_kinds_that_come_at_the_same_time_are_all_there() {
    let lake = Lake::new().await;
    let pin = lake.append(&[(1, 1)]).await;
    let kinds = ["a", "b", "c", "d", "e", "f"];
    let puts = kinds.map(async |kind| {
        let other = lake.reopened().await;
        other.put_statistics(&pin, vec![blob(kind, kind)]).await.unwrap();
    });
    join_all(puts).await;
    assert_eq!(stored(&lake, &pin).await, kinds.map(|kind| blob(kind, kind)));
    // Each was stored once; what was written for nothing is gone.
    let files = lake.files_on_disk();
    assert_eq!(files.iter().filter(|path| path.ends_with(".stats")).count(), kinds.len());
}
