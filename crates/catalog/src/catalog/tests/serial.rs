//! Random histories of writers that compute from states of before.

use std::collections::BTreeMap;

use icecore_core::Isolation;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Append(Vec<Row>),
    /// Replaces the rows of a day by one with their sum.
    Sum(i32),
    /// Replaces all rows by one for each day with the sum.
    SumAll,
}

#[derive(Debug, Clone)]
struct Step {
    op: Op,
    /// How many commits ago the writer read the table.
    behind: usize,
}

fn step() -> impl Strategy<Value = Step> {
    let op = prop_oneof![
        3 => vec((1..20_i64, 1..4_i32), 1..4).prop_map(Op::Append),
        3 => (1..4_i32).prop_map(Op::Sum),
        1 => Just(Op::SumAll),
    ];
    (op, 0..4_usize).prop_map(|(op, behind)| Step { op, behind })
}

impl Op {
    /// What it does to rows: obviously right.
    fn apply(&self, rows: &[Row]) -> Vec<Row> {
        let mut kept: Vec<Row> = rows.iter().copied().filter(|row| !self.replaces(row)).collect();
        kept.extend(self.new_rows(rows));
        kept.sort_unstable();
        kept
    }

    fn replaces(&self, (_, day): &Row) -> bool {
        match self {
            Self::Append(_) => false,
            Self::Sum(of) => day == of,
            Self::SumAll => true,
        }
    }

    /// The rows that it writes, having read these.
    fn new_rows(&self, rows: &[Row]) -> Vec<Row> {
        if let Self::Append(new) = self {
            return new.clone();
        }
        let mut sums: BTreeMap<i32, i64> = BTreeMap::new();
        for (number, day) in rows.iter().filter(|row| self.replaces(row)) {
            *sums.entry(*day).or_default() += number;
        }
        sums.into_iter().map(|(day, sum)| (sum, day)).collect()
    }

    fn mode(&self) -> WriteMode {
        match self {
            Self::Append(_) => WriteMode::Append,
            Self::Sum(_) => WriteMode::OverwritePartitions,
            Self::SumAll => WriteMode::Overwrite,
        }
    }
}

/// A state that was, and the change that led to it.
struct Past {
    pinned: PinnedTable,
    rows: Vec<Row>,
    /// The rows that it added.
    added: Vec<Row>,
    op: Op,
}

async fn check(steps: Vec<Step>, isolation: Isolation) {
    let lake = Lake::new().await;
    let mut past = Vec::new();
    let first = Op::Append(vec![(1, 1), (2, 2), (3, 3)]);
    let rows = first.apply(&[]);
    let pinned = lake.append(&rows).await;
    past.push(Past { pinned, added: rows.clone(), rows, op: first });
    for Step { op, behind } in steps {
        let from = past.len() - 1 - behind.min(past.len() - 1);
        let (base, now) = (&past[from], &past[past.len() - 1].rows);
        let options =
            CommitOptions::new(op.mode()).with_base(base.pinned.snapshot).with_isolation(isolation);
        let new = op.new_rows(&base.rows);
        let result = lake.try_commit(options, &new).await;
        // What was committed since, and matters.
        let added = past[from + 1..].iter().any(|later| later.added.iter().any(|r| op.replaces(r)));
        let removed = past[from + 1..].iter().any(|later| match &later.op {
            Op::Append(_) => false,
            Op::Sum(day) => op.replaces(&(0, *day)),
            Op::SumAll => !matches!(op, Op::Append(_)),
        });
        let conflicts = removed || added && isolation == Isolation::Serializable;
        match result {
            Ok(done) if !done.changed => assert!(new.is_empty()),
            Ok(done) => {
                assert!(!conflicts, "{op:?} from {behind} commits before");
                let rows = match isolation {
                    // As if it had been made from the state that it met.
                    Isolation::Serializable => op.apply(now),
                    // As if it had been made before what others appended since.
                    _ => {
                        let mut rows = now.clone();
                        for row in base.rows.iter().filter(|row| op.replaces(row)) {
                            let at = rows.iter().position(|other| other == row).unwrap();
                            rows.remove(at);
                        }
                        rows.extend(&new);
                        rows.sort_unstable();
                        rows
                    }
                };
                assert_eq!(lake.rows(&done.pinned).await, rows);
                past.push(Past { pinned: done.pinned, rows, added: new, op });
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
                assert!(conflicts, "{op:?} from {behind} commits before: {error:?}");
            }
        }
        assert_eq!(&lake.rows_now().await, &past[past.len() - 1].rows);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn serializable_commits_come_out_as_if_made_one_after_the_other(steps in vec(step(), 1..8)) {
        run(check(steps, Isolation::Serializable));
    }

    #[test]
    fn commits_under_snapshot_isolation_lose_no_rows(steps in vec(step(), 1..8)) {
        run(check(steps, Isolation::Snapshot));
    }
}

fn run(check: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(check);
}
