//! Batches that are pushed again under their key.

use icecore_core::{OnlineChange, RowVersion};
use icecore_online::row_keys;

use super::outage::frail_world;
use super::*;

fn keyed(user: &str, value: i64) -> Push {
    let mut push = Push::new("balances", balance(user, "2026-11-21", value));
    push.key = Some(format!("{user}-1"));
    push
}

/// Removes the row of a user from the store, as a correction of the table does.
async fn remove(world: &World, user: &str) {
    let users: ArrayRef = Arc::new(StringArray::from(vec![user]));
    let key = row_keys("account", &[users]).unwrap().remove(0).unwrap();
    let latest = Timestamp::from_micros(i64::MAX);
    let until = RowVersion { event: latest, created: latest };
    let change = OnlineChange { key, row: None, until };
    assert_eq!(world.store.store().apply(vec![change]).await.unwrap().applied, 1);
}

#[tokio::test]
async fn a_batch_that_the_store_has_had_is_not_written_again() {
    let world = World::new().await;
    let pushes = world.pushes();
    assert_eq!(pushes.push(keyed("a", 7)).await.unwrap().online, OnlineOutcome::Written);
    assert_eq!(world.online("a").await, Some(7));
    remove(&world, "a").await;
    for is_committed in [false, true] {
        if is_committed {
            pushes.commit("balances").await.unwrap();
        }
        let receipt = pushes.push(keyed("a", 7)).await.unwrap();
        assert_eq!((receipt.repeated, receipt.online), (true, OnlineOutcome::Written));
        assert_eq!(world.online("a").await, None, "{is_committed}");
    }
    assert_eq!(world.lake().await, [7]);
}

#[tokio::test]
async fn a_batch_that_the_store_lacks_is_written_when_it_is_pushed_again() {
    let (world, store) = frail_world().await;
    let pushes = world.pushes();
    store.goes_down();
    for _ in 0..2 {
        assert_eq!(pushes.push(keyed("a", 7)).await.unwrap().online, OnlineOutcome::Later);
    }
    store.comes_back();
    let receipt = pushes.push(keyed("a", 7)).await.unwrap();
    assert_eq!((receipt.repeated, receipt.online), (true, OnlineOutcome::Written));
    assert_eq!((world.online("a").await, pushes.status()[0].behind), (Some(7), 0));
}
