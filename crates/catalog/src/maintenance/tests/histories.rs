//! Random histories with everything that looks after tables in between.

use std::collections::BTreeMap;

use icecore_core::{
    Clock, RefName, SnapshotCatalog, SnapshotId, SnapshotSelector, Timestamp, WriteMode,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::catalog::tests::{Row, named};
use crate::refs::{RollbackPolicy, TagMove};
use crate::{
    CleanOptions, CompactOptions, CompactStrategy, ExpireOptions, Hold, RewriteManifestsOptions,
};

#[derive(Debug, Clone)]
enum Step {
    Commit(WriteMode, Vec<Row>),
    Rollback(Index),
    Tag(Index),
    Branch(Index),
    Untag(Index),
    /// Keeps so many, and what a run read.
    Expire(usize, Index),
    Clean,
    Compact(CompactStrategy),
    RewriteManifests,
    /// A writer that died left a file.
    LeaveBehind,
}

fn step() -> impl Strategy<Value = Step> {
    let rows = || vec((0..50_i64, 0..3_i32), 1..6);
    prop_oneof![
        5 => rows().prop_map(|rows| Step::Commit(WriteMode::Append, rows)),
        2 => rows().prop_map(|rows| Step::Commit(WriteMode::OverwritePartitions, rows)),
        1 => rows().prop_map(|rows| Step::Commit(WriteMode::Overwrite, rows)),
        1 => any::<Index>().prop_map(Step::Rollback),
        1 => any::<Index>().prop_map(Step::Tag),
        1 => any::<Index>().prop_map(Step::Branch),
        1 => any::<Index>().prop_map(Step::Untag),
        2 => (1..4_usize, any::<Index>()).prop_map(|(keep, held)| Step::Expire(keep, held)),
        1 => Just(Step::Clean),
        2 => prop_oneof![Just(CompactStrategy::BinPack), Just(CompactStrategy::Sort)]
            .prop_map(Step::Compact),
        1 => Just(Step::RewriteManifests),
        1 => Just(Step::LeaveBehind),
    ]
}

/// What each snapshot holds that was ever made, and which refs there are.
#[derive(Default)]
struct Oracle {
    rows: BTreeMap<SnapshotId, Vec<Row>>,
    now: Vec<Row>,
    refs: BTreeMap<RefName, SnapshotId>,
    names: usize,
    left: usize,
}

impl Oracle {
    fn commit(&mut self, mode: WriteMode, rows: &[Row]) {
        match mode {
            WriteMode::Overwrite => self.now.clear(),
            WriteMode::OverwritePartitions => {
                self.now.retain(|(_, day)| !rows.iter().any(|(_, new)| new == day));
            }
            _ => {}
        }
        self.now.extend(rows);
        self.now.sort_unstable();
    }

    fn name(&mut self) -> RefName {
        self.names += 1;
        named(&format!("ref-{}", self.names))
    }
}

async fn ids(lake: &Lake) -> Vec<SnapshotId> {
    lake.catalog.history(&lake.table).await.unwrap().iter().map(|of| of.id).collect()
}

async fn some_pin(lake: &Lake, index: Index) -> Option<PinnedTable> {
    let ids = ids(lake).await;
    if ids.is_empty() {
        return None;
    }
    let selector = SnapshotSelector::Id(*index.get(&ids));
    Some(lake.catalog.pin(&lake.table, &selector).await.unwrap())
}

async fn take(lake: &Lake, oracle: &mut Oracle, step: Step) {
    match step {
        Step::Commit(mode, rows) => {
            oracle.commit(mode, &rows);
            lake.commit(mode, &rows).await;
        }
        Step::Rollback(index) => {
            let Some(pinned) = some_pin(lake, index).await else { return };
            let policy = RollbackPolicy::Force;
            lake.catalog.rollback(&lake.table, pinned.snapshot, policy).await.unwrap();
            oracle.now = oracle.rows[&pinned.snapshot].clone();
        }
        Step::Tag(index) => {
            let Some(pinned) = some_pin(lake, index).await else { return };
            let name = oracle.name();
            lake.catalog.tag(&pinned, &name, TagMove::Refuse).await.unwrap();
            oracle.refs.insert(name, pinned.snapshot);
        }
        Step::Branch(index) => {
            let Some(pinned) = some_pin(lake, index).await else { return };
            let name = oracle.name();
            lake.catalog.branch(&pinned, &name).await.unwrap();
            oracle.refs.insert(name, pinned.snapshot);
        }
        Step::Untag(index) => {
            let names: Vec<RefName> = oracle.refs.keys().cloned().collect();
            if !names.is_empty() {
                let name = index.get(&names);
                lake.catalog.drop_ref(&lake.table, name).await.unwrap();
                oracle.refs.remove(name);
            }
        }
        Step::Expire(keep, index) => expire(lake, oracle, keep, index).await,
        Step::Clean => clean(lake, oracle).await,
        Step::Compact(strategy) => {
            let options = CompactOptions::default().with_strategy(strategy).with_min_input_files(2);
            lake.catalog.compact(&lake.table, options).await.unwrap();
        }
        Step::RewriteManifests => {
            let options = RewriteManifestsOptions::default();
            lake.catalog.rewrite_manifests(&lake.table, options).await.unwrap();
        }
        Step::LeaveBehind => {
            oracle.left += 1;
            let name = format!("warehouse/ns/events/data/left-{}.parquet", oracle.left);
            let path = lake.root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"half a file").unwrap();
        }
    }
}

async fn expire(lake: &Lake, oracle: &Oracle, keep: usize, index: Index) {
    let held = some_pin(lake, index).await;
    let holds: Vec<Hold> = held.iter().map(|pin| Hold::of_pin(pin, "run `r`")).collect();
    let later = Timestamp::from_micros(lake.clock.now().micros() + 1000);
    let options = ExpireOptions::default()
        .with_older_than(Some(later))
        .with_retain_last(Some(keep))
        .with_holder(std::sync::Arc::new(holds));
    lake.catalog.expire(&lake.table, options).await.unwrap();
    // C134, I12
    let left = ids(lake).await;
    for snapshot in oracle.refs.values().chain(held.iter().map(|pin| &pin.snapshot)) {
        assert!(left.contains(snapshot), "{snapshot} is gone");
    }
}

/// A clean at a time when every file is old.
async fn clean(lake: &Lake, oracle: &mut Oracle) {
    let now = lake.clock.now();
    lake.clock.set("2040-01-01");
    let report = lake.catalog.clean(&lake.table, CleanOptions::default()).await.unwrap();
    lake.clock.set(&now.to_string());
    assert_eq!(report.failed, []);
    oracle.left = 0;
    // I5: nothing that can be reached goes, and nothing else stays.
    assert_eq!(files(lake), reachable(lake).await);
}

async fn check(steps: Vec<Step>) {
    let lake = Lake::new().await;
    let mut oracle = Oracle::default();
    for step in steps {
        lake.clock.advance_ms(5);
        take(&lake, &mut oracle, step).await;
        assert_eq!(lake.rows_now().await, oracle.now);
        let main = lake.pin("latest").await.unwrap();
        oracle.rows.entry(main.snapshot).or_insert_with(|| oracle.now.clone());
        assert_sound(&lake).await;
    }
    for id in ids(&lake).await {
        let pinned = lake.catalog.pin(&lake.table, &SnapshotSelector::Id(id)).await.unwrap();
        // Snapshots between two steps hold what the later one holds: a compaction moves rows.
        if let Some(rows) = oracle.rows.get(&id) {
            assert_eq!(lake.rows(&pinned).await, *rows, "{id}");
        }
    }
    clean(&lake, &mut oracle).await;
    assert_sound(&lake).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_retained_reads_the_same_and_the_folder_holds_what_is_reachable(
        steps in vec(step(), 1..12)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(steps));
    }
}
