//! Runs at the same time.

use std::sync::{Arc, Once};

use icecore_catalog::RowOptions;
use icecore_core::{ErrorKind, Literal, Predicate};

use super::{TABLE, TRANSACTIONS, incremental, views};
use crate::compute::{ComputeMode, ComputeOptions};
use crate::fixture::{Lakehouse, event, events, source};
use crate::{ProgressCallback, compute_view};

/// Runs a future to its end on another thread, in the middle of something else.
fn elsewhere<F: Future<Output = ()> + Send + 'static>(work: F) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::spawn(move || runtime().block_on(work)).join().unwrap();
}

// A run that looked at older sources and commits last must not bring back what a newer run removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_overtaken_looks_again() {
    let lake = Arc::new(Lakehouse::open(1).await);
    lake.append(&events(3, 200), 100).await;
    incremental(&lake, &views(), TRANSACTIONS).await.unwrap();
    // An event of somebody new, which is deleted while its row is computed.
    lake.append(&[event("newcomer", "2024-03-01", 1.0)], 10).await;
    let (begun, other) = (Once::new(), Arc::clone(&lake));
    let progress = ProgressCallback::new(move |_| {
        begun.call_once(|| {
            let lake = Arc::clone(&other);
            elsewhere(async move {
                let newcomer = Predicate::equal("user_token", Literal::Text("newcomer".to_owned()));
                let options = RowOptions::default();
                lake.catalog.delete(&source(), newcomer, options).await.unwrap();
                incremental(&lake, &views(), TRANSACTIONS).await.unwrap();
            });
        });
    });
    let options = ComputeOptions {
        mode: ComputeMode::Incremental,
        progress: Some(progress),
        ..ComputeOptions::default()
    };
    let report = compute_view(&lake.engine, &views(), TRANSACTIONS, options).await.unwrap();
    assert!(report.changed);
    let kept = lake.rows(TABLE).await;
    assert!(!kept.iter().any(|row| row.contains("newcomer")), "what was deleted is there again");
    full(&lake).await;
    assert_eq!(lake.rows(TABLE).await, kept);
}

/// Computes everything again.
async fn full(lake: &Lakehouse) {
    let options = ComputeOptions { mode: ComputeMode::Full, ..ComputeOptions::default() };
    compute_view(&lake.engine, &views(), TRANSACTIONS, options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn runs_at_the_same_time_end_where_a_full_one_does() {
    let lake = Arc::new(Lakehouse::open(1).await);
    lake.append(&events(7, 150), 80).await;
    incremental(&lake, &views(), TRANSACTIONS).await.unwrap();
    let mut runs = tokio::task::JoinSet::new();
    for worker in 0..3_u64 {
        let lake = Arc::clone(&lake);
        runs.spawn(async move {
            for round in 0..3 {
                lake.append(&events(100 * worker + round, 12), 12).await;
                match incremental(&lake, &views(), TRANSACTIONS).await {
                    // Too many others in the way is no harm.
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
                    Ok(report) => assert!(report.entities.is_some()),
                }
            }
        });
    }
    while let Some(done) = runs.join_next().await {
        done.unwrap();
    }
    incremental(&lake, &views(), TRANSACTIONS).await.unwrap();
    let kept = lake.rows(TABLE).await;
    full(&lake).await;
    assert_eq!(lake.rows(TABLE).await, kept);
}
