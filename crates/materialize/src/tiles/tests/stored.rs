//! What the store has of an entity.

use super::*;
use crate::tiles::stored::Tiles;

#[tokio::test]
async fn tiles_that_were_changed_behind_the_jobs_back_are_found_and_made_anew() {
    let mut world = World::new(99).await;
    let events = world.events(30);
    world.commit("raw.events", &events, CommitOptions::default()).await;
    world.lake.extend(events);
    world.run(false).await.unwrap();
    assert!(verify_view(&world.source(), "ever").await.unwrap().is_equal());
    let store = world.faulty.sound();
    let page = store.scan(b"ic:ever~t:", None).await.unwrap();
    let (key, row) = page.rows[0].clone();
    let mut tiles = Tiles::read(&row).unwrap();
    assert_eq!(Tiles::read(&tiles.write()).unwrap(), tiles);
    let first = *tiles.tiles.keys().next().unwrap();
    tiles.tiles.remove(&first);
    let change = OnlineChange { key, row: Some(tiles.write()), until: tiles.tag };
    store.apply(vec![change]).await.unwrap();
    let report = verify_view(&world.source(), "ever").await.unwrap();
    assert!(report.different == 1 && report.ranges_differing == 1, "{report:?}");
    world.run(true).await.unwrap();
    assert!(verify_view(&world.source(), "ever").await.unwrap().is_equal());
    assert!(Tiles::read(&row.slice(..row.len() - 1)).is_err());
}

#[tokio::test]
async fn an_entity_that_was_quiet_for_longer_than_the_time_to_live_is_no_difference() {
    let mut world = World::new(11).await;
    let event = |user, days, id| Event {
        user,
        at: world.now - days * DAY,
        amount: 1.0,
        kind: Some("card"),
        id,
    };
    // The features of `spend` live for 20 days, and its widest window is one of 30.
    let events = vec![event("a", 25, 1), event("b", 19, 2)];
    world.ingest(events).await;
    world.run(false).await.unwrap();
    let report = verify_view(&world.source(), "spend").await.unwrap();
    assert!(report.is_equal(), "{report:?}");
    assert_eq!((report.offline_rows, report.online_rows), (1, 1));
}

#[tokio::test]
async fn whether_an_entity_has_no_tiles_is_said_whatever_was_pushed() {
    let mut world = World::new(10).await;
    let events = world.events(20);
    world.ingest(events).await;
    world.run(false).await.unwrap();
    let view = world.definitions.view("ever").unwrap();
    let catalog = world.engine.catalog();
    let pin = catalog.pin(&table("raw.events"), &SnapshotSelector::Latest).await.unwrap();
    let tiles = TileView::open(&world.engine, &world.definitions, view, &pin).await.unwrap();
    let event = Event { user: "new", at: world.now, amount: 1.0, kind: None, id: 0 };
    let rows = batch(&[event]);
    let now = Timestamp::from_micros(world.now);
    let pushed = PushedEvents { queue: "q", position: 0, rows: &rows, now };
    let of = (&world.engine, &world.definitions);
    world.views().await.apply(of, &world.store, &pushed).await.unwrap();
    let read = async |users: Vec<Option<&str>>| {
        let keys: Vec<ArrayRef> = vec![Arc::new(StringArray::from(users))];
        let found = tiles.read(&*world.faulty.sound(), &keys, now).await.unwrap();
        (found.rows.rows[0], found.lacks_tiles)
    };
    assert_eq!(read(vec![Some("a"), None]).await, (RowStatus::Found, false));
    assert_eq!(read(vec![Some("new")]).await, (RowStatus::Found, true));
    assert_eq!(read(vec![Some("a"), Some("nobody")]).await, (RowStatus::Found, true));
    world.empty().await;
    assert_eq!(read(vec![Some("a")]).await, (RowStatus::NotFound, true));
}
