//! Answers that are lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use icecore_catalog::{TagMove, Timer};
use icecore_core::{CommitOptions, ErrorKind, SnapshotCatalog, TableName, WriteMode};
use icecore_testkit::faults::MemoryStore;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::lake::{Answer, Lake, named, play, stream};

/// What a store does with the first file of this name that is put.
#[derive(Debug)]
struct OneBadPut {
    inner: Arc<MemoryStore>,
    name: &'static str,
    was: AtomicBool,
    /// Whether the file is stored.
    lands: bool,
    /// Whether the answer is that the file is there already (409, 412).
    is_conflict: bool,
}

impl std::fmt::Display for OneBadPut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("one bad put")
    }
}

#[async_trait]
impl ObjectStore for OneBadPut {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let is_it = location.as_ref().contains(self.name) && !self.was.swap(true, Ordering::SeqCst);
        if !is_it {
            return self.inner.put_opts(location, payload, opts).await;
        }
        if self.lands {
            self.inner.put_opts(location, payload, opts).await?;
        }
        Err(if self.is_conflict {
            Error::AlreadyExists { path: location.to_string(), source: "409 Conflict".into() }
        } else {
            Error::Generic { store: "test", source: "the connection was closed".into() }
        })
    }
    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }
    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// Files of each kind that a commit puts.
const KINDS: [&str; 4] = [".parquet", "-a0.avro", "snap-", ".metadata.json"];

#[test]
fn r1_a_lost_reply_to_a_put_deletes_no_committed_snapshot() {
    play(async |lake| {
        lake.commit(WriteMode::Append, &[(1, 1)]).await;
        let mut expected = vec![1];
        for (name, number) in KINDS.into_iter().zip(2..) {
            let inner = lake.store.clone();
            let (was, lands) = (AtomicBool::new(false), true);
            let store = OneBadPut { inner, name, was, lands, is_conflict: false };
            let catalog = lake.on(Arc::new(store));
            let options = CommitOptions::default();
            let result = catalog.commit(&lake.table, stream(&[(number, 1)]), options).await;
            // It may say that it failed; then it did.
            match result {
                Ok(_) => expected.push(number),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}: {error:?}"),
            }
            assert_eq!(lake.rows_now().await, expected, "{name}");
            lake.check().await;
        }
    });
}

#[test]
fn r1_a_lost_reply_to_the_swap_is_no_conflict() {
    play(async |lake| {
        let catalog = lake.process(&[Answer::LostAfter]);
        let options = CommitOptions::default();
        let done = catalog.commit(&lake.table, stream(&[(1, 1)]), options).await.unwrap();
        assert!(done.changed);
        assert_eq!(lake.rows_now().await, [1]);
        lake.check().await;
    });
}

#[test]
fn r2_what_is_acknowledged_after_a_lost_reply_is_readable() {
    play(async |lake| {
        let catalog = lake.process(&[Answer::LostAfter, Answer::LostBefore, Answer::LostAfter]);
        let mut expected = Vec::new();
        for number in 0..6 {
            let options = CommitOptions::default();
            let done = catalog.commit(&lake.table, stream(&[(number, 1)]), options).await.unwrap();
            expected.push(number);
            assert_eq!(lake.rows(&done.pinned).await, expected);
        }
        assert_eq!(lake.catalog.history(&lake.table).await.unwrap().len(), 6);
    });
}

#[test]
fn r3_an_unknown_outcome_deletes_no_data_files() {
    play(async |lake| {
        lake.commit(WriteMode::Append, &[(1, 1)]).await;
        let catalog = lake.process(&[Answer::LostForGood]);
        let options = CommitOptions::new(WriteMode::OverwritePartitions);
        let error = catalog.commit(&lake.table, stream(&[(2, 1)]), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
        assert!(lake.store.deleted().is_empty(), "{:?}", lake.store.deleted());
        assert_eq!(lake.rows_now().await, [2]);
        lake.check().await;
        let attempt = error.attempt().unwrap();
        let found = lake.catalog.find_attempt(attempt).await.unwrap().unwrap();
        assert_eq!(found.pinned, lake.pin("latest").await);
    });
}

#[test]
fn r4_a_job_that_is_started_again_after_a_lost_reply_adds_its_files_once() {
    play(async |lake| {
        let options = || CommitOptions::default().with_job_id("nightly-2026-01-01");
        let catalog = lake.process(&[Answer::LostForGood]);
        let error = catalog.commit(&lake.table, stream(&[(1, 1)]), options()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
        for _ in 0..3 {
            let again = lake.process(&[]);
            let done = again.commit(&lake.table, stream(&[(1, 1)]), options()).await.unwrap();
            assert!(!done.changed);
        }
        assert_eq!(lake.rows_now().await, [1]);
        assert_eq!(lake.catalog.history(&lake.table).await.unwrap().len(), 1);
        lake.check().await;
    });
}

#[test]
fn r5_a_swap_that_comes_after_its_writer_looked_finds_all_of_its_files() {
    for answers in [
        vec![Answer::Late],
        vec![Answer::Late, Answer::LostBefore],
        vec![Answer::Late, Answer::Late],
        vec![Answer::LostBefore, Answer::Late],
        vec![Answer::Late; 30],
    ] {
        play(async |lake| {
            lake.commit(WriteMode::Append, &[(1, 1)]).await;
            let catalog = lake.process(&answers);
            let options = CommitOptions::new(WriteMode::OverwritePartitions);
            let done = catalog.commit(&lake.table, stream(&[(2, 1)]), options).await;
            lake.time.sleep(Duration::from_secs(3_600)).await;
            match done {
                Ok(done) => assert_eq!(lake.pin("latest").await, done.pinned),
                Err(error) => assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}"),
            }
            assert_eq!(lake.rows_now().await, [2], "{answers:?}");
            assert_eq!(lake.catalog.history(&lake.table).await.unwrap().len(), 2);
            lake.check().await;
        });
    }
}

#[test]
fn r6_what_landed_is_not_said_to_have_failed() {
    play(async |lake| {
        lake.commit(WriteMode::Append, &[(1, 1), (2, 2)]).await;
        for mode in [WriteMode::Append, WriteMode::OverwritePartitions, WriteMode::Overwrite] {
            let catalog = lake.process(&[Answer::LostAfter]);
            let options = CommitOptions::new(mode);
            let done = catalog.commit(&lake.table, stream(&[(3, 1)]), options).await.unwrap();
            assert!(done.changed, "{mode:?}");
            assert_eq!(lake.pin("latest").await, done.pinned, "{mode:?}");
        }
        let catalog = lake.process(&[Answer::LostAfter]);
        let pin = lake.pin("latest").await;
        catalog.tag(&pin, &named("v1"), TagMove::Refuse).await.unwrap();
        assert_eq!(lake.pin("v1").await, pin);
        lake.check().await;
    });
}

#[test]
fn r11_no_two_writers_ever_use_the_same_name() {
    play(async |lake| {
        // The same work, started again and again by processes that know nothing of each other.
        let mut names = BTreeSet::new();
        for run in 0..20 {
            let catalog = lake.process(&[]);
            let options = CommitOptions::default();
            let done = catalog.commit(&lake.table, stream(&[(1, 1)]), options).await.unwrap();
            let plan = catalog.plan_files(&done.pinned, None).await.unwrap();
            names.extend(plan.files.iter().map(|file| file.path().to_string()));
            assert_eq!(names.len(), run + 1);
        }
        assert_eq!(lake.rows_now().await, [1; 20]);
        // And a name that is taken is not written over.
        let taken = Path::from(names.first().unwrap().as_str());
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        assert!(lake.store.put_opts(&taken, "other".into(), create).await.is_err());
    });
}

#[test]
fn r19_a_conditional_put_that_is_refused_though_nothing_landed_loses_nothing() {
    play(async |lake| {
        let mut expected = Vec::new();
        for (name, number) in KINDS.into_iter().zip(1..) {
            for lands in [false, true] {
                let (inner, was) = (lake.store.clone(), AtomicBool::new(false));
                let store = OneBadPut { inner, name, was, lands, is_conflict: true };
                let catalog = lake.on(Arc::new(store));
                let options = CommitOptions::default();
                let row = number * 10 + i64::from(lands);
                let result = catalog.commit(&lake.table, stream(&[(row, 1)]), options).await;
                match result {
                    Ok(_) => expected.push(row),
                    // A file that did land is recognized as the writer's own.
                    Err(error) => assert!(!lands, "{name}: {error:?}"),
                }
                assert_eq!(lake.rows_now().await, expected, "{name} {lands}");
                lake.check().await;
            }
        }
    });
}

#[test]
fn a_thousand_commits_whose_every_reply_is_lost_are_stored_once() {
    const TABLES: usize = 20;
    const COMMITS: i64 = 50;
    play(async |lake| {
        let catalog = lake.unlucky(Answer::LostAfter);
        let mut snapshots = 0;
        for number in 0..TABLES {
            let table = TableName::parse(&format!("lost.t{number}")).unwrap();
            lake.create(&table).await;
            for row in 0..COMMITS {
                let options = CommitOptions::default();
                let done = catalog.commit(&table, stream(&[(row, 1)]), options).await.unwrap();
                assert!(done.changed);
            }
            let lake = Lake { table, ..lake_of(&lake) };
            let log = lake.catalog.history(&lake.table).await.unwrap();
            let attempts: BTreeSet<_> =
                log.iter().map(|snapshot| &snapshot.summary["icecore.attempt-id"]).collect();
            assert_eq!(attempts.len(), log.len());
            snapshots += log.len();
            assert_eq!(lake.rows_now().await, (0..COMMITS).collect::<Vec<_>>());
        }
        assert_eq!(snapshots, 1_000);
        assert!(lake.store.deleted().is_empty(), "{:?}", lake.store.deleted().len());
    });
}

fn lake_of(lake: &Lake) -> Lake {
    Lake {
        time: lake.time.clone(),
        store: lake.store.clone(),
        pointers: lake.pointers.clone(),
        table: lake.table.clone(),
        catalog: lake.catalog.clone(),
    }
}
