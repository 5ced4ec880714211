//! What a request gets is what the view gives for its moment.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::compute::{cast, concat_batches};
use icecore_features::{AskedMoments, MomentColumns, MomentRules, features_at};
use icecore_online::FeatureStatus;

use super::*;

impl World {
    /// Compares what a request would get with what the view gives for the moment, to the bit.
    pub(super) async fn check(&self, what: &str) {
        let mut all = self.lake.clone();
        all.extend(self.queue.iter().flat_map(|(_, events)| events.clone()));
        self.commit("raw.mirror", &all, CommitOptions::new(WriteMode::Overwrite)).await;
        let catalog = self.engine.catalog();
        let pin = catalog.pin(&table("raw.mirror"), &SnapshotSelector::Latest).await.unwrap();
        for name in ["spend", "ever"] {
            let view = self.mirror.view(name).unwrap();
            let expected = self.offline(name, &pin).await;
            let tiles = TileView::open(&self.engine, &self.definitions, view, &pin).await.unwrap();
            let keys: Vec<ArrayRef> = vec![Arc::new(StringArray::from(USERS.to_vec()))];
            let now = Timestamp::from_micros(self.now);
            let found = tiles.read(&*self.faulty.sound(), &keys, now).await.unwrap().rows;
            for (at, field) in tiles.fields().iter().enumerate() {
                let online = &found.columns[at];
                let offline =
                    cast(expected.column_by_name(field.name()).unwrap(), online.data_type());
                let offline = offline.unwrap();
                let bits = online.as_ref() == offline.as_ref();
                assert!(
                    bits,
                    "{what}: `{name}:{}` at {now} is {online:?}, and should be {offline:?}",
                    field.name()
                );
            }
            for (row, user) in USERS.iter().enumerate() {
                let newest = all.iter().filter(|event| {
                    event.user == *user && event.at <= self.now && is_in(name, event)
                });
                let newest = newest.map(|event| event.at).max();
                let version = found.versions[row].map(|version| version.event.micros());
                if found.rows[row] == RowStatus::Found {
                    assert_eq!(version, newest, "{what}: {name} of {user}");
                }
                assert_eq!(found.rows[row] == RowStatus::NotFound, version.is_none());
                assert_eq!(
                    found.status(row, 0) == FeatureStatus::Present,
                    found.rows[row] == RowStatus::Found
                );
            }
        }
    }

    /// The features of every user at the moment, in the order of users.
    async fn offline(&self, name: &str, pin: &icecore_core::PinnedTable) -> RecordBatch {
        let view = self.mirror.view(name).unwrap();
        let users: ArrayRef = Arc::new(StringArray::from(USERS.to_vec()));
        let at = TimestampMicrosecondArray::from(vec![self.now; USERS.len()]);
        let at: ArrayRef = Arc::new(at.with_timezone("+00:00"));
        let spine = RecordBatch::try_from_iter([("user", users), ("at", at)]).unwrap();
        let spine = self.engine.rows(spine).await.unwrap();
        let keys = [("user".to_owned(), "user".to_owned())];
        let asked = AskedMoments::of(&self.engine, spine, &keys, "at").await.unwrap();
        let pins = std::slice::from_ref(pin);
        let rules = MomentRules::default();
        let frame = features_at(&self.engine, (&self.mirror, view), pins, &asked, rules);
        let rows = self.engine.stream(frame.await.unwrap()).await.unwrap().concat().await.unwrap();
        assert!(rows.column_by_name(MomentColumns::ANSWERED).is_some());
        let order: BTreeMap<String, usize> = (0..rows.num_rows())
            .map(|row| (rows.column(0).as_string::<i32>().value(row).to_owned(), row))
            .collect();
        let rows: Vec<RecordBatch> = USERS.iter().map(|user| rows.slice(order[*user], 1)).collect();
        concat_batches(&rows[0].schema(), &rows).unwrap()
    }
}

fn is_in(view: &str, event: &Event) -> bool {
    view == "ever" || event.kind.is_some_and(|kind| kind != "void")
}

async fn history(seed: u64) {
    let mut world = World::new(seed).await;
    let events = world.events(40);
    world.commit("raw.events", &events, CommitOptions::default()).await;
    world.lake.extend(events);
    world.push(3).await;
    world.materialize(false).await;
    world.check("at the start").await;
    for round in 0..6 {
        let what = format!("seed {seed}, round {round}");
        world.now += [1, 1_000_000, DAY / 3, 3 * DAY, 0][world.random.below(5) as usize];
        if world.random.below(2) == 0 {
            world.change_lake().await;
            world.materialize(false).await;
            world.check(&format!("{what}, after a run")).await;
        }
        let count = world.random.below(4) + 1;
        world.push(count).await;
        world.check(&format!("{what}, after a push")).await;
        world.commit_pushed().await;
        world.check(&format!("{what}, after the commit of a push")).await;
        if world.random.below(2) == 0 {
            world.materialize(true).await;
            world.repeat().await;
            world.check(&format!("{what}, after a run")).await;
        }
    }
    while !world.queue.is_empty() {
        world.commit_pushed().await;
    }
    world.materialize(true).await;
    world.check(&format!("seed {seed}, at the end")).await;
    for view in ["spend", "ever"] {
        let report = verify_view(&world.source(), view).await.unwrap();
        assert!(report.is_equal(), "seed {seed}: {report:?}");
        assert!(report.offline_rows > 0 && report.pushed_rows == 0, "seed {seed}: {report:?}");
        assert_eq!(view_status(&world.source(), view).await.unwrap().state, "current");
    }
}

// C97 C98
#[tokio::test]
async fn whatever_is_pushed_committed_and_materialized_a_value_is_that_of_the_moment_to_the_bit() {
    let seeds = std::env::var("ICECORE_TILES_SEEDS").ok().and_then(|text| text.parse().ok());
    for seed in 0..seeds.unwrap_or(3) {
        history(seed).await;
    }
}
