//! Comparing what is stored with what was acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use icecore_catalog::IcebergCatalog;
use icecore_core::{
    ErrorKind, PinnedTable, SnapshotCatalog, SnapshotId, SnapshotSelector, TableName,
};

use super::actor::rows_of;
use super::chain::{self, Snapshot, State};
use super::effect::{Row, Rows, listed};
use super::ledger::{Action, Job, Ledger, Said};
use super::process::Ground;

/// Everything that the table ever was, as far as it was looked at.
#[derive(Debug, Default)]
pub(super) struct Checker {
    seen: usize,
    pub(super) state: State,
    /// Every snapshot that ever was, and what it must hold.
    known: BTreeMap<i64, (Snapshot, Rows)>,
    /// How often `main` was pointed at an older snapshot.
    rollbacks: BTreeMap<i64, usize>,
}

type Check = Result<(), String>;

impl Checker {
    /// The snapshots that ever were, oldest first.
    pub(super) fn snapshots(&self) -> Vec<i64> {
        let mut ids: Vec<_> = self.known.iter().map(|(id, (of, _))| (of.sequence, *id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// Follows what happened since the last time.
    pub(super) async fn follow(
        &mut self,
        ground: &Ground,
        (observer, table): (&IcebergCatalog, &TableName),
        ledger: &Ledger,
    ) -> Check {
        let log = ground.pointers.log();
        for swapped in log.iter().skip(self.seen) {
            let Some(location) = &swapped.to else { return Err("the table is gone".to_owned()) };
            let next = chain::read(&*ground.store, location).await?;
            if swapped.from.is_some() {
                chain::check_step(&self.state, &next)?;
            }
            let new: Vec<i64> =
                next.snapshots.keys().filter(|id| !self.known.contains_key(id)).copied().collect();
            for id in &new {
                self.learn(*id, &next, ledger)?;
            }
            self.follow_main(&next, &new, ledger)?;
            self.follow_expiry(&next, ledger)?;
            self.state = next;
            self.check_reads(new, (observer, table)).await?;
        }
        self.seen = log.len();
        self.check_answers(ledger)
    }

    /// Works out what a new snapshot must hold.
    fn learn(&mut self, id: i64, next: &State, ledger: &Ledger) -> Check {
        let snapshot = &next.snapshots[&id];
        let mut rows = match snapshot.parent {
            None => Rows::new(),
            Some(parent) => match self.known.get(&parent) {
                Some((_, rows)) => rows.clone(),
                None => return Err(format!("snapshot {id} follows {parent}, which never was")),
            },
        };
        let attempt = snapshot.attempt.as_ref();
        if attempt.is_none() || self.known.values().any(|(of, _)| of.attempt.as_ref() == attempt) {
            return Err(format!("snapshot {id} was made by attempt {attempt:?}, as another was"));
        }
        match snapshot.job {
            Some(number) => {
                let Some(Job { action: Action::Change(effect), .. }) = ledger.get(&number) else {
                    return Err(format!("snapshot {id} is of job {number}, which never was"));
                };
                if let Some(twin) = self.ancestor_of_job(snapshot.parent, number) {
                    return Err(format!("job {number} made snapshot {id}, and {twin} before"));
                }
                effect.apply(&mut rows);
            }
            None if snapshot.operation == "replace" => {}
            None => return Err(format!("snapshot {id} is of no job")),
        }
        self.known.insert(id, (snapshot.clone(), rows));
        Ok(())
    }

    fn ancestor_of_job(&self, from: Option<i64>, number: u64) -> Option<i64> {
        let mut next = from;
        while let Some(id) = next {
            let (snapshot, _) = self.known.get(&id)?;
            if snapshot.job == Some(number) {
                return Some(id);
            }
            next = snapshot.parent;
        }
        None
    }

    /// `main` goes to a new snapshot, or where a rollback sent it.
    fn follow_main(&mut self, next: &State, new: &[i64], ledger: &Ledger) -> Check {
        let Some(main) = next.main.filter(|main| !new.contains(main)) else { return Ok(()) };
        if self.state.main == Some(main) {
            return Ok(());
        }
        let times = self.rollbacks.entry(main).or_default();
        *times += 1;
        let is_asked = |job: &&Job| {
            matches!(job.action, Action::Rollback(to) if to == main) && !job.is_refused()
        };
        if ledger.values().filter(is_asked).count() < *times {
            return Err(format!("`main` went to {main} without being told to"));
        }
        Ok(())
    }

    fn follow_expiry(&self, next: &State, ledger: &Ledger) -> Check {
        let gone = self.state.snapshots.keys().find(|id| !next.snapshots.contains_key(id));
        let is_asked = || ledger.values().any(|job| matches!(job.action, Action::Expire));
        match gone {
            Some(id) if !is_asked() => Err(format!("snapshot {id} vanished")),
            _ => Ok(()),
        }
    }

    /// Reads snapshots and compares their rows with what they must be.
    pub(super) async fn check_reads(
        &self,
        snapshots: impl IntoIterator<Item = i64>,
        (observer, table): (&IcebergCatalog, &TableName),
    ) -> Check {
        for id in snapshots {
            let selector = SnapshotSelector::Id(SnapshotId::new(id));
            let pin = match observer.pin(table, &selector).await {
                Ok(pin) => pin,
                // Expired in the meantime.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(format!("cannot pin snapshot {id}: {error:?}")),
            };
            let rows = rows_of(observer, &pin).await;
            let rows = rows.map_err(|error| format!("cannot read snapshot {id}: {error:?}"))?;
            self.check_rows(id, &rows)?;
        }
        Ok(())
    }

    fn check_rows(&self, id: i64, rows: &[Row]) -> Check {
        let expected = match self.known.get(&id) {
            Some((_, rows)) => listed(rows),
            None if id == PinnedTable::EMPTY.get() => Vec::new(),
            None => return Err(format!("snapshot {id} was read and never was")),
        };
        if expected == rows {
            return Ok(());
        }
        let set = |rows: &[Row]| rows.iter().copied().collect::<BTreeSet<Row>>();
        let (is, should) = (set(rows), set(&expected));
        let lost: Vec<_> = should.difference(&is).collect();
        let ghosts: Vec<_> = is.difference(&should).collect();
        Err(format!(
            "snapshot {id} has {} rows instead of {}: lost {lost:?}, from nowhere {ghosts:?}",
            rows.len(),
            expected.len()
        ))
    }

    /// What was said must be true.
    fn check_answers(&self, ledger: &Ledger) -> Check {
        let mut made: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
        for (id, (snapshot, _)) in &self.known {
            made.entry(snapshot.job.unwrap_or(u64::MAX)).or_default().push(*id);
        }
        for (number, job) in ledger {
            let made = made.get(number).map(Vec::as_slice).unwrap_or_default();
            if job.is_refused() && !made.is_empty() {
                return Err(format!("job {number} was refused and made {made:?}"));
            }
            for said in &job.said {
                self.check_answer(*number, (job, said), made)?;
            }
        }
        Ok(())
    }

    fn check_answer(&self, number: u64, (job, said): (&Job, &Said), made: &[i64]) -> Check {
        match (&job.action, said) {
            (Action::Change(_), Said::Done(Some(id), changed)) => {
                if (*changed || !made.is_empty()) && !made.contains(&id.get()) {
                    return Err(format!("job {number} made {made:?}, and was told {id}"));
                }
                Ok(())
            }
            (Action::Tag(name, to), Said::Done(..)) if self.state.refs.get(name) != Some(to) => {
                Err(format!("tag `{name}` was acknowledged and is not there"))
            }
            (_, Said::Rows(id, rows)) => self.check_rows(*id, rows),
            _ => Ok(()),
        }
    }
}
