//! Writers that die or lose an answer at any step.

mod answers;
mod disk;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use answers::{Answer, FaultyPointers, lost};
use async_trait::async_trait;
use disk::{Faults, FaultyStore};

use super::*;
use crate::pointer::{PointerStore, Swap};
use crate::sql::SqlitePointers;
use crate::storage::{Files, Warehouse};

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
    let warehouse = Warehouse::open(&options.warehouse).await.unwrap();
    let disk = Files::open(&warehouse, &options.storage).unwrap().into_store();
    let store = FaultyStore { inner: disk, faults: faults.clone() };
    let parts = CatalogParts::new(Arc::new(pointers), Arc::new(store), warehouse.url());
    let parts = CatalogParts { clock: options.clock, ..parts };
    (IcebergCatalog::from_parts(parts).unwrap(), faults)
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
    // Two data files, manifests, a list, the metadata, the swap.
    assert!(steps >= 7, "{steps}");
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
    let unknown = uuid::Uuid::from_u128(7).to_string();
    assert_eq!(lake.catalog.find_attempt(&unknown).await.unwrap(), None);
    let error = lake.catalog.find_attempt("no-such-attempt").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
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
