//! Jobs beside each other, jobs that wait, and those that die.

use std::time::Duration;

use super::*;

impl World {
    /// A job of another process over one of the views, which takes over.
    async fn run_elsewhere(&self, view: &str, full: bool) {
        let options = MaterializeOptions::default().with_full(full).with_take_over(true);
        self.start_elsewhere(view, options).await.unwrap();
    }

    async fn start_elsewhere(&self, view: &str, options: MaterializeOptions) -> Result<ViewReport> {
        let store = FeatureStore::new(self.faulty.sound());
        let source = Source { store: &store, ..self.source() };
        Box::pin(materialize_view(&source, view, options)).await
    }

    /// Every row of a kind.
    async fn rows_of(&self, prefix: &str) -> Vec<(Bytes, Bytes)> {
        let (mut rows, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.faulty.sound().scan(prefix.as_bytes(), cursor).await.unwrap();
            rows.extend(page.rows);
            cursor = page.cursor;
            if cursor.is_none() {
                return rows;
            }
        }
    }

    /// Puts a row in the place of whatever is there.
    async fn force(&self, key: Bytes, row: Bytes) {
        let until = RowVersion::of_row(&[u8::MAX; RowVersion::LEN]).unwrap();
        let change = OnlineChange { key, row: Some(row), until };
        self.faulty.sound().apply(vec![change]).await.unwrap();
    }

    /// A job over `ever`, of which a batch waits until something else has happened.
    async fn run_around(
        &self,
        full: bool,
        batch: u64,
        meanwhile: impl Future<Output = ()>,
    ) -> Result<ViewReport> {
        self.faulty.wait_after_batches(batch);
        let (source, options) = (self.source(), MaterializeOptions::default().with_full(full));
        let job = Box::pin(materialize_view(&source, "ever", options));
        let other = Box::pin(async {
            self.faulty.until_waiting().await;
            meanwhile.await;
            self.faulty.go_on();
        });
        let both = async { tokio::join!(job, other).0 };
        tokio::time::timeout(Duration::from_secs(120), both).await.unwrap()
    }
}

#[tokio::test]
async fn a_job_adds_to_what_the_store_has_and_not_to_what_was_read_of_it_before() {
    let mut world = World::new(5).await;
    let events = world.events(20);
    world.ingest(events.clone()).await;
    world.run(false).await.unwrap();
    world.faulty.remember();
    for view in ["spend", "ever"] {
        for kind in ["t", "c"] {
            let prefix = format!("ic:{view}~{kind}:");
            let page = world.faulty.scan(prefix.as_bytes(), None).await.unwrap();
            let keys: Vec<Bytes> = page.rows.into_iter().map(|(key, _)| key).collect();
            assert!(!keys.is_empty());
            world.faulty.rows(&keys).await.unwrap();
        }
    }
    // More of the same tiles: first by a job of another process, and then by one of this.
    let more = |from: i64| {
        let next = events.iter().enumerate();
        next.map(|(at, event)| Event { id: from + at as i64, ..event.clone() }).collect::<Vec<_>>()
    };
    world.ingest(more(1_000)).await;
    for view in ["spend", "ever"] {
        world.run_elsewhere(view, false).await;
    }
    world.ingest(more(2_000)).await;
    world.run(false).await.unwrap();
    world.faulty.forget();
    world.check("after a job beside another one").await;
    for view in ["spend", "ever"] {
        assert!(verify_view(&world.source(), view).await.unwrap().is_equal());
    }
}

#[tokio::test]
async fn a_job_that_another_one_takes_over_from_ends_and_harms_nothing() {
    let mut world = World::new(7).await;
    let events = world.events(20);
    world.ingest(events).await;
    world.run(false).await.unwrap();
    for full in [true, false] {
        // The marker of the begin, events of tiles, tiles, and the marker of the end.
        for batch in 0..4 {
            let events = world.events(6);
            world.ingest(events).await;
            let later = world.events(6);
            let other = async {
                world.commit("raw.events", &later, CommitOptions::default()).await;
                world.run_elsewhere("ever", full).await;
            };
            let what = format!("full {full}, batch {batch}");
            let error = world.run_around(full, batch, other).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{what}: {error:?}");
            assert!(error.to_string().contains("has taken over"), "{what}: {error}");
            world.lake.extend(later);
            assert_eq!(world.state("ever").await, "current", "{what}");
            let report = verify_view(&world.source(), "ever").await.unwrap();
            assert!(report.is_equal(), "{what}: {report:?}");
        }
    }
    world.run(false).await.unwrap();
    world.check("at the end").await;
}

#[tokio::test]
async fn a_store_that_is_emptied_under_a_job_is_not_said_to_be_filled() {
    let mut world = World::new(8).await;
    let events = world.events(20);
    world.ingest(events).await;
    // Events of tiles are on their way, or tiles.
    for batch in [1, 2] {
        let error = world.run_around(true, batch, world.empty()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "batch {batch}: {error:?}");
        assert_eq!(world.state("ever").await, "never", "batch {batch}");
    }
    world.run(false).await.unwrap();
    world.check("at the end").await;
}

#[tokio::test]
async fn a_job_of_which_nothing_is_heard_for_long_was_interrupted() {
    let mut world = World::new(9).await;
    let events = world.events(20);
    world.ingest(events).await;
    world.faulty.fail_after_batches(2);
    world.run(true).await.unwrap_err();
    world.faulty.recover();
    assert_eq!(world.state("spend").await, "running");
    let ordinary = MaterializeOptions::default();
    let error = world.start_elsewhere("spend", ordinary.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    world.now += 3_600_000_000;
    assert_eq!(world.state("spend").await, "interrupted");
    world.start_elsewhere("spend", ordinary).await.unwrap();
    assert_eq!(world.state("spend").await, "current");
    // One that is told to takes over at once.
    world.faulty.fail_after_batches(2);
    world.run(true).await.unwrap_err();
    world.faulty.recover();
    assert_eq!(world.state("spend").await, "running");
    world.run(false).await.unwrap();
    assert_eq!(world.state("spend").await, "current");
    world.check("at the end").await;
}

#[tokio::test]
async fn a_job_that_takes_longer_than_its_schedule_comes_to_its_end() {
    let mut world = World::new(11).await;
    let events = world.events(20);
    world.ingest(events).await;
    // Events of tiles are on their way, or tiles.
    for batch in [1, 2] {
        let next = async {
            let next = world.start_elsewhere("ever", MaterializeOptions::default()).await;
            assert_eq!(next.unwrap_err().kind(), ErrorKind::Conflict, "batch {batch}");
        };
        let report = world.run_around(true, batch, next).await.unwrap();
        assert!(report.written > 0, "batch {batch}: {report:?}");
        assert_eq!(world.state("ever").await, "current", "batch {batch}");
    }
    world.run(false).await.unwrap();
    world.check("at the end").await;
}

#[tokio::test]
async fn what_a_job_of_an_earlier_release_did_beside_a_later_one_is_counted_once() {
    let mut world = World::new(12).await;
    let events = world.events(20);
    world.ingest(events).await;
    world.run(false).await.unwrap();
    let marker = world.rows_of("ic:ever~m:").await.remove(0);
    let more = world.events(20);
    world.ingest(more).await;
    // It finds nothing of its own, and writes everything under the number 1, over whatever is there.
    world.run_elsewhere("ever", true).await;
    let said = world.rows_of("ic:ever~m:").await.remove(0).1;
    for kind in ["t", "c"] {
        for (key, row) in world.rows_of(&format!("ic:ever~{kind}:")).await {
            let version = RowVersion::of_row(&row).unwrap();
            let version = RowVersion { event: Timestamp::from_micros(1), ..version };
            let row = [&version.to_bytes()[..], &row[RowVersion::LEN..]].concat();
            world.force(key, row.into()).await;
        }
    }
    world.force(marker.0, marker.1).await;
    let (key, value) = ("icecore:view:ever".to_owned(), said.slice(RowVersion::LEN..));
    let entry = OnlineEntry { key: key.clone(), value, ttl: None };
    world.faulty.sound().put(vec![entry]).await.unwrap();
    let report = world.start_elsewhere("ever", MaterializeOptions::default()).await.unwrap();
    assert!(report.full.is_some(), "{report:?}");
    let report = verify_view(&world.source(), "ever").await.unwrap();
    assert!(report.is_equal(), "{report:?}");
    assert_eq!(world.faulty.sound().get(&[key]).await.unwrap(), [None]);
    world.run(false).await.unwrap();
    world.check("at the end").await;
}
