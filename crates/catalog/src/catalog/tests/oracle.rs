//! Random histories against an oracle in memory.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Row>),
    Overwrite(Vec<Row>),
    OverwritePartitions(Vec<Row>),
    /// Goes to the snapshot at this place in the history, wherever it is.
    Rollback(prop::sample::Index),
    Tag(prop::sample::Index),
    /// Does the last commit of rows again as the same job.
    Again,
    Reopen,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    vec((0..50_i64, 0..4_i32), 0..6)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => rows().prop_map(Step::Append),
        1 => rows().prop_map(Step::Overwrite),
        3 => rows().prop_map(Step::OverwritePartitions),
        1 => any::<prop::sample::Index>().prop_map(Step::Rollback),
        1 => any::<prop::sample::Index>().prop_map(Step::Tag),
        1 => Just(Step::Again),
        1 => Just(Step::Reopen),
    ]
}

/// What the table must hold: obviously right, and in memory.
#[derive(Default)]
struct Oracle {
    now: Vec<Row>,
    past: Vec<(PinnedTable, Vec<Row>)>,
    tags: Vec<(RefName, PinnedTable)>,
    jobs: usize,
    last: Option<(CommitOptions, Vec<Row>, PinnedTable)>,
}

impl Oracle {
    fn apply(&mut self, mode: WriteMode, rows: &[Row]) {
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
}

async fn commit(lake: &Lake, oracle: &mut Oracle, mode: WriteMode, rows: Vec<Row>) {
    oracle.jobs += 1;
    let options = CommitOptions::new(mode).with_job_id(format!("job-{}", oracle.jobs));
    let before = oracle.now.len();
    oracle.apply(mode, &rows);
    let done = lake.try_commit(options.clone(), &rows).await.unwrap();
    assert_eq!(done.added_rows as usize, rows.len());
    assert_eq!(before + rows.len() - done.removed_rows as usize, oracle.now.len());
    if done.changed {
        oracle.past.push((done.pinned.clone(), oracle.now.clone()));
        oracle.last = Some((options, rows, done.pinned));
    } else {
        assert!(rows.is_empty());
    }
}

async fn take(lake: &mut Lake, oracle: &mut Oracle, step: Step) {
    match step {
        Step::Append(rows) => commit(lake, oracle, WriteMode::Append, rows).await,
        Step::Overwrite(rows) => commit(lake, oracle, WriteMode::Overwrite, rows).await,
        Step::OverwritePartitions(rows) => {
            commit(lake, oracle, WriteMode::OverwritePartitions, rows).await;
        }
        Step::Rollback(_) | Step::Tag(_) if oracle.past.is_empty() => {}
        Step::Rollback(index) => {
            let (pinned, rows) = index.get(&oracle.past).clone();
            let policy = RollbackPolicy::Force;
            lake.catalog.rollback(&lake.table, pinned.snapshot, policy).await.unwrap();
            oracle.now = rows;
            oracle.last = None;
        }
        Step::Tag(index) => {
            let (pinned, _) = index.get(&oracle.past).clone();
            let name = named(&format!("tag-{}", oracle.tags.len()));
            lake.catalog.tag(&pinned, &name, TagMove::Refuse).await.unwrap();
            oracle.tags.push((name, pinned));
        }
        Step::Again => {
            if let Some((options, rows, pinned)) = oracle.last.clone() {
                let done = lake.try_commit(options, &rows).await.unwrap();
                assert_eq!((done.pinned, done.changed), (pinned, false));
            }
        }
        Step::Reopen => lake.catalog = lake.reopened().await,
    }
}

async fn check(steps: Vec<Step>) {
    let mut lake = Lake::new().await;
    let merge_often = [("commit.manifest.min-count-to-merge".to_owned(), "2".to_owned())].into();
    lake.catalog.set_properties(&lake.table, merge_often, vec![]).await.unwrap();
    let mut oracle = Oracle::default();
    for step in steps {
        lake.clock.advance_ms(7);
        take(&mut lake, &mut oracle, step).await;
        assert_eq!(lake.rows_now().await, oracle.now);
    }
    let reopened = lake.reopened().await;
    for (pinned, rows) in &oracle.past {
        assert_eq!(rows_of(&reopened, pinned).await, *rows);
    }
    for (name, pinned) in &oracle.tags {
        let selector = SnapshotSelector::Ref(name.clone());
        assert_eq!(reopened.pin(&lake.table, &selector).await.unwrap(), *pinned);
    }
    let log = reopened.history(&lake.table).await.unwrap();
    let ids: Vec<SnapshotId> = log.iter().map(|snapshot| snapshot.id).collect();
    assert_eq!(ids, oracle.past.iter().map(|(pinned, _)| pinned.snapshot).collect::<Vec<_>>());
    for (snapshot, (_, rows)) in log.iter().zip(&oracle.past) {
        assert_eq!(snapshot.count("total-records") as usize, rows.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_history_of_commits_reads_as_the_oracle_says(steps in vec(step(), 1..10)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(steps));
    }
}
