//! Writers that die or lose an answer at any step.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use iceberg::io::{
    FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage,
    StorageConfig, StorageFactory,
};
use serde::{Deserialize, Serialize};

use super::*;
use crate::pointer::{PointerStore, Swap};
use crate::storage::LocalStorageFactory;

/// When the faults begin, and what they are.
#[derive(Debug, Default)]
struct Faults {
    /// Changes of files and pointers until the fault; negative means never.
    left: AtomicI64,
    /// The process dies: nothing that it does comes to pass any more. Otherwise that one change
    /// fails, as on a full disk.
    die: AtomicBool,
    struck: AtomicBool,
}

impl Faults {
    async fn step(&self) -> iceberg::Result<()> {
        let struck = self.struck.load(Ordering::SeqCst);
        if !struck && self.left.fetch_sub(1, Ordering::SeqCst) != 0 {
            return Ok(());
        }
        self.struck.store(true, Ordering::SeqCst);
        if self.die.load(Ordering::SeqCst) {
            pending::<()>().await;
        }
        if struck {
            return Ok(());
        }
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        Err(iceberg::Error::new(iceberg::ErrorKind::Unexpected, "disk full").with_source(full))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct FaultyFactory {
    #[serde(skip)]
    faults: Arc<Faults>,
}

#[typetag::serde(name = "IcecoreFaultyFactory")]
impl StorageFactory for FaultyFactory {
    fn build(&self, config: &StorageConfig) -> iceberg::Result<Arc<dyn Storage>> {
        let inner = LocalStorageFactory.build(config)?;
        Ok(Arc::new(FaultyStorage { inner: Some(inner), faults: self.faults.clone() }))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct FaultyStorage {
    #[serde(skip)]
    inner: Option<Arc<dyn Storage>>,
    #[serde(skip)]
    faults: Arc<Faults>,
}

impl FaultyStorage {
    fn inner(&self) -> &dyn Storage {
        &**self.inner.as_ref().unwrap()
    }
}

#[async_trait]
#[typetag::serde(name = "IcecoreFaultyStorage")]
impl Storage for FaultyStorage {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        self.inner().exists(path).await
    }
    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        self.inner().metadata(path).await
    }
    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        self.inner().read(path).await
    }
    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        self.inner().reader(path).await
    }
    async fn write(&self, path: &str, bytes: Bytes) -> iceberg::Result<()> {
        self.faults.step().await?;
        self.inner().write(path, bytes).await
    }
    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        self.faults.step().await?;
        let inner = self.inner().writer(path).await?;
        Ok(Box::new(FaultyWriter { inner, faults: self.faults.clone() }))
    }
    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        self.faults.step().await?;
        self.inner().delete(path).await
    }
    async fn delete_prefix(&self, path: &str) -> iceberg::Result<()> {
        self.inner().delete_prefix(path).await
    }
    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> iceberg::Result<()> {
        self.inner().delete_stream(paths).await
    }
    fn new_input(&self, path: &str) -> iceberg::Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
    fn new_output(&self, path: &str) -> iceberg::Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

struct FaultyWriter {
    inner: Box<dyn FileWrite>,
    faults: Arc<Faults>,
}

#[async_trait]
impl FileWrite for FaultyWriter {
    async fn write(&mut self, bytes: Bytes) -> iceberg::Result<()> {
        self.inner.write(bytes).await
    }
    async fn close(&mut self) -> iceberg::Result<()> {
        self.faults.step().await?;
        self.inner.close().await
    }
}

/// What a pointer store does with the next swaps.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    /// It happens, and the answer comes.
    Given,
    /// It happens, and the answer is lost.
    LostAfter,
    /// It does not happen, and neither comes an answer.
    LostBefore,
    /// It happens only when the next one is asked for.
    Late,
    /// It fails for sure.
    Refused,
    /// It happens, the answer is lost, and then the catalog cannot be read.
    LostForGood,
}

#[derive(Debug)]
struct FaultyPointers {
    inner: SqlitePointers,
    faults: Arc<Faults>,
    answers: Mutex<Vec<Answer>>,
    late: Mutex<Option<(String, String)>>,
    blind: AtomicBool,
}

fn lost() -> Error {
    Error::unavailable("the connection was closed")
}

#[async_trait]
impl PointerStore for FaultyPointers {
    async fn list(&self) -> Result<Vec<TableName>> {
        self.inner.list().await
    }
    async fn find(&self, table: &TableName) -> Result<Option<String>> {
        if self.blind.load(Ordering::SeqCst) { Err(lost()) } else { self.inner.find(table).await }
    }
    async fn create(&self, table: &TableName, location: &str) -> Swap {
        match self.next() {
            Answer::LostAfter => {
                assert!(matches!(self.inner.create(table, location).await, Swap::Done));
                Swap::Unknown(lost())
            }
            Answer::LostBefore => Swap::Unknown(lost()),
            _ => self.inner.create(table, location).await,
        }
    }
    async fn swap(&self, table: &TableName, from: &str, to: &str) -> Swap {
        let _ = self.faults.step().await;
        let late = self.late.lock().unwrap().take();
        if let Some((from, to)) = late {
            assert!(matches!(self.inner.swap(table, &from, &to).await, Swap::Done));
        }
        match self.next() {
            Answer::Given => self.inner.swap(table, from, to).await,
            Answer::Refused => Swap::Failed(lost()),
            Answer::LostBefore => Swap::Unknown(lost()),
            Answer::Late => {
                *self.late.lock().unwrap() = Some((from.to_owned(), to.to_owned()));
                Swap::Unknown(lost())
            }
            answer @ (Answer::LostAfter | Answer::LostForGood) => {
                assert!(matches!(self.inner.swap(table, from, to).await, Swap::Done));
                self.blind.store(answer == Answer::LostForGood, Ordering::SeqCst);
                Swap::Unknown(lost())
            }
        }
    }
    async fn remove(&self, table: &TableName) -> Result<bool> {
        self.inner.remove(table).await
    }
}

impl FaultyPointers {
    fn next(&self) -> Answer {
        self.answers.lock().unwrap().pop().unwrap_or(Answer::Given)
    }
}

/// Another process, whose changes go wrong.
async fn faulty(lake: &Lake, answers: &[Answer]) -> (IcebergCatalog, Arc<Faults>) {
    let options = options(&lake.root, &lake.clock);
    let faults = Arc::new(Faults { left: AtomicI64::new(-1), ..Faults::default() });
    let pointers = FaultyPointers {
        inner: SqlitePointers::open(&options.uri, &options.name).await.unwrap(),
        faults: faults.clone(),
        answers: Mutex::new(answers.iter().rev().copied().collect()),
        late: Mutex::default(),
        blind: AtomicBool::new(false),
    };
    let io = FileIOBuilder::new(Arc::new(FaultyFactory { faults: faults.clone() })).build();
    let tables = Tables::new(Arc::new(pointers), io, options.clock);
    let warehouse = Warehouse::open(&options.warehouse).await.unwrap();
    (IcebergCatalog::of(tables, options.name, warehouse), faults)
}

const OLD: [Row; 2] = [(1, 1), (2, 2)];
const NEW: [Row; 2] = [(3, 2), (4, 3)];

/// Commits `NEW` over the partitions of `OLD` with a fault at each step in turn, until a commit has
/// so few steps that none fails. Returns how many steps it has.
async fn sweep(die: bool, check: impl AsyncFn(&Lake, Result<Committed>, bool)) -> i64 {
    for steps in 0.. {
        let lake = Lake::new().await;
        lake.append(&OLD).await;
        let (catalog, faults) = faulty(&lake, &[]).await;
        faults.die.store(die, Ordering::SeqCst);
        faults.left.store(steps, Ordering::SeqCst);
        let options = CommitOptions::new(WriteMode::OverwritePartitions).with_job_id("j");
        let commit = catalog.commit(&lake.table, stream(&NEW), options);
        // A process that died says nothing; the future is dropped where it stands.
        let died = async {
            while !(die && faults.struck.load(Ordering::SeqCst)) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let result = tokio::select! {
            result = commit => result,
            () = died => Err(lost()),
        };
        let struck = faults.struck.load(Ordering::SeqCst);
        check(&lake, result, struck).await;
        if !struck {
            return steps;
        }
    }
    unreachable!("a commit has an end")
}

#[tokio::test]
async fn a_writer_that_dies_at_any_step_leaves_the_table_as_it_was() {
    let steps = sweep(true, async |lake, result, struck| {
        let reopened = lake.reopened().await;
        let pin = async || reopened.pin(&lake.table, &SnapshotSelector::Latest).await.unwrap();
        let rows = rows_of(&reopened, &pin().await).await;
        assert_eq!(rows, if struck { OLD.to_vec() } else { vec![(1, 1), (3, 2), (4, 3)] });
        assert_eq!(result.is_err(), struck);
        // The job is started again by someone else, and done exactly once.
        let options = CommitOptions::new(WriteMode::OverwritePartitions).with_job_id("j");
        let done = reopened.commit(&lake.table, stream(&NEW), options).await.unwrap();
        assert_eq!(done.changed, struck);
        assert_eq!(rows_of(&reopened, &pin().await).await, [(1, 1), (3, 2), (4, 3)]);
    })
    .await;
    // Two data files, three manifests, a list, the metadata, the swap.
    assert!(steps > 8, "{steps}");
}

#[tokio::test]
async fn a_full_disk_at_any_step_is_an_error_and_leaves_nothing_behind() {
    sweep(false, async |lake, result, struck| {
        let before = {
            let untouched = Lake::new().await;
            untouched.append(&OLD).await;
            untouched.files_on_disk().len()
        };
        match result {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                assert_eq!(
                    rows_of(&lake.reopened().await, &lake.pin("latest").await.unwrap()).await,
                    OLD
                );
                assert_eq!(lake.files_on_disk().len(), before);
            }
            // The swap and the deletion of leftovers do not fail for want of space.
            Ok(_) => assert_eq!(lake.rows_now().await, [(1, 1), (3, 2), (4, 3)], "{struck}"),
        }
    })
    .await;
}

/// Commits with these answers to its swaps, and says how it ended and what the table holds.
async fn commit_with(answers: &[Answer]) -> (Lake, Result<Committed>, Vec<Row>) {
    let lake = Lake::new().await;
    lake.append(&OLD).await;
    let (catalog, _) = faulty(&lake, answers).await;
    let options = CommitOptions::new(WriteMode::OverwritePartitions);
    let result = catalog.commit(&lake.table, stream(&NEW), options).await;
    let rows = lake.rows_now().await;
    (lake, result, rows)
}

const AFTER: [Row; 3] = [(1, 1), (3, 2), (4, 3)];

#[tokio::test]
async fn a_lost_answer_is_found_out_and_nothing_is_done_twice() {
    use Answer::{Late, LostAfter, LostBefore};
    // R1, R3, R4, R5: the reply is lost before or after the fact, or the fact comes late.
    for answers in [
        vec![LostAfter],
        vec![LostBefore],
        vec![LostBefore, LostBefore, LostAfter],
        vec![Late],
        vec![Late, LostBefore],
        vec![LostBefore, Late],
    ] {
        let (lake, result, rows) = commit_with(&answers).await;
        let done = result.unwrap_or_else(|error| panic!("{answers:?}: {error:?}"));
        assert_eq!((done.changed, done.added_rows), (true, 2), "{answers:?}");
        assert_eq!(rows, AFTER, "{answers:?}");
        assert_eq!(lake.pin("latest").await.unwrap(), done.pinned, "{answers:?}");
        assert_eq!(lake.catalog.history(&lake.table).await.unwrap().len(), 2, "{answers:?}");
    }
}

#[tokio::test]
async fn a_swap_that_failed_for_sure_is_cleaned_up() {
    let (lake, result, rows) = commit_with(&[Answer::Refused]).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(rows, OLD);
    let untouched = Lake::new().await;
    untouched.append(&OLD).await;
    assert_eq!(lake.files_on_disk().len(), untouched.files_on_disk().len());
}

#[tokio::test]
async fn an_outcome_that_stays_unknown_is_said_to_be_and_nothing_is_deleted() {
    let (lake, result, rows) = commit_with(&[Answer::LostForGood]).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    // It did happen, and every file that it needs is there.
    assert_eq!(rows, AFTER);
    let attempt = error.attempt().unwrap();
    let found = lake.catalog.find_attempt(attempt).await.unwrap().unwrap();
    assert_eq!(found.pinned, lake.pin("latest").await.unwrap());
    assert_eq!(lake.catalog.find_attempt("no-such-attempt").await.unwrap(), None);
}

#[tokio::test]
async fn an_open_swap_that_others_overtook_never_happened() {
    let lake = Lake::new().await;
    lake.append(&OLD).await;
    let (catalog, _) = faulty(&lake, &[Answer::LostBefore]).await;
    let other = lake.reopened().await;
    let table = lake.table.clone();
    // Commits as soon as the swap is open.
    let options = CommitOptions::default();
    let mine = catalog.commit(&lake.table, stream(&[(7, 7)]), options);
    let theirs = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        other.commit(&table, stream(&[(8, 8)]), CommitOptions::default()).await.unwrap();
    };
    let (mine, ()) = tokio::join!(mine, theirs);
    assert!(mine.unwrap().changed);
    assert_eq!(lake.rows_now().await, [(1, 1), (2, 2), (7, 7), (8, 8)]);
}

#[tokio::test]
async fn refs_survive_lost_answers_too() {
    for answer in [Answer::LostAfter, Answer::LostBefore, Answer::Late] {
        let lake = Lake::new().await;
        let pinned = lake.append(&OLD).await;
        let (catalog, _) = faulty(&lake, &[answer]).await;
        catalog.tag(&pinned, &named("v1"), TagMove::Refuse).await.unwrap();
        assert_eq!(lake.pin("v1").await.unwrap(), pinned, "{answer:?}");
    }
}

#[tokio::test]
async fn a_creation_whose_answer_was_lost_is_found_out() {
    let lake = Lake::empty().await;
    let (catalog, _) = faulty(&lake, &[Answer::LostAfter]).await;
    let new = NewTable::new(columns());
    assert!(catalog.ensure_table(&lake.table, &new).await.unwrap());
    let lake = Lake::empty().await;
    let (catalog, _) = faulty(&lake, &[Answer::LostBefore]).await;
    let error = catalog.ensure_table(&lake.table, &new).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert!(catalog.ensure_table(&lake.table, &new).await.unwrap());
}
