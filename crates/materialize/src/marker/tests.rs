use std::sync::Arc;

use icecore_core::{FixedClock, OnlineEntry, TableName};
use icecore_online::EmbeddedStore;
use icecore_testkit::FaultyOnlineStore;

use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
/// As an earlier release wrote it.
const OLD: &str = r#"{"source":{"table":"ml.account","uuid":"u","snapshot":"1"},"towards":null,
    "schema":7,"shape":"s","at":"2023-11-14T22:13:20Z","generation":3}"#;
const TOWARDS: &str = r#""towards":{"table":"ml.account","uuid":"u","snapshot":"2"}"#;

struct World {
    store: EmbeddedStore,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), Arc::new(FixedClock(NOW))).await.unwrap();
        Self { store, _dir: dir }
    }

    async fn open(&self) -> (Claim<'_>, Option<Marker>) {
        let options = MaterializeOptions::default().with_take_over(true);
        Claim::open(&self.store, "account", (NOW, &options)).await.unwrap()
    }

    /// A run that takes over from nobody.
    async fn open_politely(&self, now: Timestamp) -> Result<(Claim<'_>, Option<Marker>)> {
        Claim::open(&self.store, "account", (now, &MaterializeOptions::default())).await
    }

    /// A marker as earlier releases wrote it.
    async fn put_old(&self, json: &str) {
        let value = Bytes::copy_from_slice(json.as_bytes());
        let entry = OnlineEntry { key: old_key("account"), value, ttl: None };
        self.store.put(vec![entry]).await.unwrap();
    }

    async fn marker(&self) -> Option<Marker> {
        Marker::read(&self.store, "account").await.unwrap()
    }

    /// A run that has begun.
    async fn begun(&self) -> Claim<'_> {
        let (mut claim, _) = self.open().await;
        claim.begin(&marker(Some(2))).await.unwrap();
        claim
    }
}

fn pin(snapshot: i64) -> PinnedTable {
    let table = TableName::parse("ml.account").unwrap();
    let snapshot = icecore_core::SnapshotId::new(snapshot);
    PinnedTable { table, uuid: "u".to_owned(), snapshot }
}

fn marker(towards: Option<i64>) -> Marker {
    Marker {
        source: Some(pin(1)),
        towards: towards.map(pin),
        schema: 7,
        shape: "s".to_owned(),
        at: NOW,
        alive: None,
        birth: None,
        generation: 3,
        covered: BTreeMap::new(),
    }
}

fn is_conflict<T: std::fmt::Debug>(told: Result<T>) -> bool {
    told.unwrap_err().kind() == ErrorKind::Conflict
}

#[tokio::test]
async fn of_two_runs_that_begin_at_once_one_comes_too_late() {
    let world = World::new().await;
    for _ in 0..2 {
        let ((mut first, _), (mut second, _)) = (world.open().await, world.open().await);
        first.begin(&marker(Some(2))).await.unwrap();
        assert!(is_conflict(second.begin(&marker(Some(9))).await));
        first.hold().await.unwrap();
        first.end(&marker(None)).await.unwrap();
        assert!(is_conflict(second.end(&marker(Some(9))).await));
        let there = world.marker().await.unwrap();
        assert_eq!((there.source, there.towards), (Some(pin(1)), None));
    }
}

#[tokio::test]
async fn who_was_taken_over_from_finds_out_and_has_no_last_word() {
    let world = World::new().await;
    let mut first = world.begun().await;
    let mut second = world.begun().await;
    assert!(second.number() > first.number());
    assert!(is_conflict(first.hold().await));
    assert!(is_conflict(first.begin(&marker(Some(9))).await));
    assert!(is_conflict(first.end(&marker(None)).await));
    assert_eq!(world.marker().await.unwrap().towards, Some(pin(2)));
    second.hold().await.unwrap();
    second.end(&marker(None)).await.unwrap();
    assert_eq!(world.marker().await.unwrap().towards, None);
}

#[tokio::test]
async fn a_store_that_was_emptied_is_nobodys() {
    let world = World::new().await;
    let mut claim = world.begun().await;
    let until = claim.version;
    let gone = OnlineChange { key: key("account"), row: None, until };
    world.store.apply(vec![gone]).await.unwrap();
    assert!(is_conflict(claim.hold().await));
    assert!(is_conflict(claim.end(&marker(None)).await));
    assert_eq!(world.marker().await, None);
}

#[tokio::test]
async fn a_run_says_now_and_then_that_it_goes_on() {
    let world = World::new().await;
    let mut claim = world.begun().await;
    let later = |minutes: i64| Timestamp::from_micros(NOW.micros() + minutes * 60_000_000);
    let is_running = async |minutes| world.marker().await.unwrap().is_running(later(minutes));
    assert!(is_running(1).await && !is_running(5).await);
    claim.now = later(10);
    claim.hold().await.unwrap();
    assert!(is_running(11).await && !is_running(15).await);
    assert_eq!(world.marker().await.unwrap().at, NOW);
    claim.end(&marker(None)).await.unwrap();
    assert!(!is_running(10).await);
}

#[tokio::test]
async fn work_that_takes_long_is_kept_and_ends_where_the_view_is_lost() {
    let world = World::new().await;
    let mut claim = world.begun().await;
    claim.renew_every = Duration::from_millis(1);
    let began = world.marker().await.unwrap().alive;
    let work = async {
        while world.marker().await.unwrap().alive == began {
            tokio::task::yield_now().await;
        }
        Ok::<_, Error>(7)
    };
    assert_eq!(keep(Some(&claim), Box::pin(work)).await.unwrap(), 7);
    world.begun().await;
    let work = std::future::pending::<Result<()>>();
    assert!(is_conflict(keep(Some(&claim), work).await));
}

#[tokio::test]
async fn nobody_waits_for_a_run_that_has_said_that_it_failed() {
    let world = World::new().await;
    let claim = world.begun().await;
    assert!(world.marker().await.unwrap().is_running(NOW));
    let work = async { Err::<(), Error>(Error::unavailable("the catalog is gone")) };
    let outcome = keep(Some(&claim), Box::pin(work)).await;
    let error = ended(&claim, outcome).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let there = world.marker().await.unwrap();
    assert!(!there.is_running(NOW) && there.towards.is_some());
    world.open_politely(NOW).await.unwrap();
}

#[tokio::test]
async fn a_run_that_goes_on_is_left_alone_by_those_that_were_not_told_to_take_over() {
    let world = World::new().await;
    let mut first = world.begun().await;
    let error = world.open_politely(NOW).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.help().unwrap().contains("--take-over"), "{error:?}");
    // A run that fails before it has begun says nothing of the one that goes on.
    let (other, _) = world.open().await;
    ended(&other, Err::<(), Error>(Error::unavailable("no table"))).await.unwrap_err();
    assert!(world.marker().await.unwrap().is_running(NOW));
    first.hold().await.unwrap();
    // A dry run is in nobody's way, and one that was silent for long has died.
    let dry = MaterializeOptions::default().with_dry_run(true);
    Claim::open(&world.store, "account", (NOW, &dry)).await.unwrap();
    let later = Timestamp::from_micros(NOW.micros() + 300_000_000);
    world.open_politely(later).await.unwrap();
    first.end(&marker(None)).await.unwrap();
    world.open_politely(NOW).await.unwrap();
}

#[tokio::test]
async fn a_run_ends_with_the_first_answer_that_it_lost_its_view_and_not_without_an_answer() {
    let world = World::new().await;
    let store = FaultyOnlineStore::new(Arc::new(world.store.clone()));
    let options = MaterializeOptions::default();
    let (mut claim, _) = Claim::open(&store, "account", (NOW, &options)).await.unwrap();
    claim.begin(&marker(Some(2))).await.unwrap();
    claim.renew_every = Duration::from_millis(1);
    store.leave_unanswered(3);
    let began = world.marker().await.unwrap().alive;
    let work = async {
        while world.marker().await.unwrap().alive == began {
            tokio::task::yield_now().await;
        }
        Ok::<_, Error>(7)
    };
    assert_eq!(keep(Some(&claim), Box::pin(work)).await.unwrap(), 7);
    assert_eq!(store.unanswered(), 0);
    claim.end(&marker(None)).await.unwrap();
}

#[tokio::test]
async fn a_run_that_is_stopped_has_let_its_view_go() {
    let world = World::new().await;
    let claim = world.begun().await;
    let options = MaterializeOptions::default().with_stop(async {});
    let work = std::future::pending::<Result<()>>();
    let outcome = options.unless_stopped(work).await;
    let error = ended(&claim, outcome).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    world.open_politely(NOW).await.unwrap();
}

#[tokio::test]
async fn a_store_has_a_birth_that_stays_until_it_is_emptied() {
    let world = World::new().await;
    let birth = async || world.marker().await.unwrap().birth.unwrap();
    world.begun().await.end(&marker(None)).await.unwrap();
    let first = birth().await;
    let claim = world.begun().await;
    assert_eq!(birth().await, first);
    let gone = OnlineChange { key: key("account"), row: None, until: claim.version };
    world.store.apply(vec![gone]).await.unwrap();
    world.begun().await;
    assert_ne!(birth().await, first);
}

#[tokio::test]
async fn what_an_earlier_release_wrote_is_gone_on_from() {
    let world = World::new().await;
    world.put_old(OLD).await;
    assert_eq!(world.marker().await, Some(marker(None)));
    let (mut claim, found) = world.open().await;
    assert_eq!(found, Some(marker(None)));
    claim.begin(&marker(Some(2))).await.unwrap();
    assert!(claim.number() > 4, "rows of a run that was killed have the number 4");
    assert_eq!(world.store.get(&[old_key("account")]).await.unwrap(), [None]);
    assert_eq!(world.marker().await.unwrap().towards, Some(pin(2)));
    // What nobody can read is nothing.
    let until = claim.version;
    let gone = OnlineChange { key: key("account"), row: None, until };
    world.store.apply(vec![gone]).await.unwrap();
    world.put_old("{").await;
    assert_eq!(world.marker().await, None);
    world.begun().await.hold().await.unwrap();
}

#[tokio::test]
async fn beside_a_job_of_an_earlier_release_nobody_knows_what_is_there() {
    let world = World::new().await;
    world.begun().await.end(&marker(None)).await.unwrap();
    world.put_old(OLD).await;
    let there = world.marker().await.unwrap();
    assert_eq!((there.source, there.towards, there.generation), (None, None, 3));
    // While that one is on its way it is left alone, as any other.
    world.put_old(&OLD.replace("\"towards\":null", TOWARDS)).await;
    assert!(is_conflict(world.open_politely(NOW).await));
    let (mut claim, found) = world.open().await;
    assert_eq!(found.unwrap().source, None);
    claim.begin(&marker(Some(2))).await.unwrap();
    assert_eq!(world.store.get(&[old_key("account")]).await.unwrap(), [None]);
    claim.end(&marker(None)).await.unwrap();
    assert_eq!(world.marker().await.unwrap().source, Some(pin(1)));
    // What nobody can read says nothing.
    world.put_old("{").await;
    assert_eq!(world.marker().await.unwrap().source, Some(pin(1)));
}
