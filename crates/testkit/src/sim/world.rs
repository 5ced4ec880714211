//! A table, those who work on it, and what they do to it.
#![expect(clippy::expect_used, reason = "what a simulation is made of is right or a bug of it")]

use std::time::Duration;

use icecore_catalog::{CleanOptions, FsckOptions, IcebergCatalog, Timer};
use icecore_core::{ErrorKind, NewTable, SnapshotCatalog, Span, TableName};

use super::actor::{columns, perform};
use super::checker::Checker;
use super::effect::{Effect, Row};
use super::ledger::{Action, Job, Ledger, Said};
use super::process::{Ground, Process};
use super::{Played, SimTime};
use crate::Random;
use crate::faults::Rates;

/// Rounds at least, and how many more there may be.
const ROUNDS: (u64, u64) = (2, 3);
const PROCESSES: usize = 4;
const PARTITIONS: u64 = 3;

/// How often calls fail on an ordinary day.
const ORDINARY: Rates = Rates {
    refused: 0.008,
    timeout: 0.004,
    lost: 0.015,
    late: 0.080,
    conflict: 0.040,
    slow: 0.020,
    short: 0.004,
    death: 0.004,
};

/// How much worse than ordinary days are.
const DAYS: [f64; 5] = [0.0, 0.3, 1.0, 2.0, 5.0];

pub(super) struct World {
    random: Random,
    rates: Rates,
    ground: Ground,
    observer: IcebergCatalog,
    table: TableName,
    processes: Vec<Process>,
    started: u64,
    ledger: Ledger,
    checker: Checker,
    /// What happened, one line each.
    story: Vec<String>,
    ids: i64,
    played: Played,
}

impl World {
    pub(super) fn new(seed: u64, time: SimTime) -> Self {
        let random = Random::new(seed);
        let ground = Ground::new(time);
        let observer = ground.observer(random.of(1)).expect("a catalog in memory");
        let day = usize::try_from(random.of(2).below(DAYS.len() as u64)).unwrap_or(0);
        Self {
            random,
            rates: ORDINARY.times(DAYS[day]),
            ground,
            observer,
            table: TableName::parse("sim.events").expect("a name"),
            processes: Vec::new(),
            started: 0,
            ledger: Ledger::new(),
            checker: Checker::default(),
            story: Vec::new(),
            ids: 0,
            played: Played::default(),
        }
    }

    pub(super) fn played(&self) -> Played {
        let mut played = self.played.clone();
        played.tries = self.ledger.values().map(|job| job.said.len() as u64).sum();
        played.snapshots = self.checker.snapshots().len() as u64;
        played.trace = self.story.iter().fold(played.trace, |trace, line| {
            Random::new(trace).of(crate::faults::hash(line)).bits()
        });
        played.story.clone_from(&self.story);
        played
    }

    pub(super) fn story(&self) -> String {
        self.story.join("\n")
    }

    /// Lives through all rounds, and looks around after each.
    pub(super) async fn live(&mut self) -> Result<(), String> {
        let version = 2 + u8::try_from(self.random.of(6).below(2)).unwrap_or(0);
        let new = NewTable::new(columns()).with_partition_by(["part"]).with_format_version(version);
        let created = self.observer.ensure_table(&self.table, &new).await;
        created.map_err(|error| format!("cannot create the table: {error:?}"))?;
        for round in 0..ROUNDS.0 + self.random.of(7).below(ROUNDS.1) {
            self.round(round).await?;
            self.look().await?;
            let pause = self.random.of(3).of(round).below(7_000);
            self.ground.time.sleep(Duration::from_secs(pause)).await;
        }
        // Whatever was late is there by now.
        self.ground.time.sleep(Duration::from_secs(3_600)).await;
        self.look().await?;
        if self.random.of(8).unit() < 0.5 {
            self.tidy_up().await?;
        }
        let left: Vec<i64> = self.checker.state.snapshots.keys().copied().collect();
        self.checker.check_reads(left, (&self.observer, &self.table)).await?;
        self.retire();
        Ok(())
    }

    /// Once nobody works any more, a clean brings the folder back to what the table needs.
    async fn tidy_up(&self) -> Result<(), String> {
        let all = CleanOptions::default().with_older_than(Span::from_micros(0));
        let cleaned = self.observer.clean(&self.table, all.clone()).await;
        cleaned.map_err(|error| format!("cannot clean: {error:?}"))?;
        let again = self.observer.clean(&self.table, all.with_dry_run(true)).await;
        let again = again.map_err(|error| format!("cannot clean again: {error:?}"))?;
        if !again.orphans.is_empty() {
            return Err(format!("a clean left {:?}", again.orphans));
        }
        let report = self.observer.fsck(&self.table, FsckOptions::default()).await;
        let report = report.map_err(|error| format!("cannot check: {error:?}"))?;
        let wrong: Vec<_> = report.tables.iter().flat_map(|table| &table.findings).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("the check found {wrong:?}")) }
    }

    async fn look(&mut self) -> Result<(), String> {
        let subject = (&self.observer, &self.table);
        self.checker.follow(&self.ground, subject, &self.ledger).await
    }

    /// Lets every process do a piece of work or two at the same time.
    async fn round(&mut self, round: u64) -> Result<(), String> {
        self.start();
        let mut running = Vec::new();
        let mut random = self.random.of(4).of(round);
        let count = 2 + random.below(5);
        for place in 0..count {
            let number = self.choose(&mut random, round * 100 + place);
            let process = usize::try_from(random.below(PROCESSES as u64)).unwrap_or(0);
            let process = self.processes[process].clone();
            let (table, time) = (self.table.clone(), self.ground.time.clone());
            let action = self.ledger[&number].action.clone();
            let delay = Duration::from_micros(random.below(40_000));
            running.push((
                number,
                tokio::spawn(async move {
                    time.sleep(delay).await;
                    let life = process.weather.life().clone();
                    let work = perform(&process.catalog, &table, (number, &action));
                    let said = tokio::select! {
                        biased;
                        () = life.over() => Said::Died,
                        said = work => said,
                    };
                    (said, time.now_micros())
                }),
            ));
        }
        for (number, task) in running {
            let (said, at) = task.await.map_err(|error| format!("job {number}: {error}"))?;
            self.note(number, at, said)?;
        }
        Ok(())
    }

    /// Starts processes in the place of those that died.
    fn start(&mut self) {
        self.retire();
        while self.processes.len() < PROCESSES {
            self.started += 1;
            let random = self.random.of(5).of(self.started);
            let process = Process::start(&self.ground, random, self.rates);
            self.processes.push(process.expect("a catalog in memory"));
        }
    }

    /// Takes down what the dead have met.
    fn retire(&mut self) {
        let all = std::mem::take(&mut self.processes);
        for process in all {
            if process.is_dead() {
                self.played.deaths += 1;
                self.count(&process);
            } else {
                self.processes.push(process);
            }
        }
    }

    fn count(&mut self, process: &Process) {
        for (fault, count) in process.weather.met() {
            *self.played.faults.entry(fault).or_default() += count;
        }
        self.played.trace = self.played.trace.wrapping_add(process.weather.trace());
    }

    /// Takes down what was said of a job.
    fn note(&mut self, number: u64, at: u64, said: Said) -> Result<(), String> {
        let Some(job) = self.ledger.get_mut(&number) else { return Ok(()) };
        let (name, words) = (job.action.name(), said.in_words());
        self.story.push(format!("{at:>12} µs: job {number}, {name}: {words}"));
        let wrong = match &said {
            // A fault is not always called by its name, but it is never a defect.
            Said::Failed(ErrorKind::Internal, error) if self.rates.short == 0.0 => {
                Some(error.clone())
            }
            Said::Failed(kind, error) if self.rates == Rates::CALM => match kind {
                ErrorKind::Conflict | ErrorKind::NotFound => None,
                _ => Some(error.clone()),
            },
            _ => None,
        };
        job.said.push(said);
        match wrong {
            Some(error) => Err(format!("job {number}, {name}, failed: {error}")),
            None => Ok(()),
        }
    }

    /// A job that is new, or one that is tried again because nobody knows whether it is done.
    fn choose(&mut self, random: &mut Random, number: u64) -> u64 {
        let open = self.ledger.iter().filter(|(_, job)| {
            matches!(job.action, Action::Change(_))
                && job.said.last().is_some_and(Said::is_open)
                && job.said.len() < 3
        });
        let open: Vec<u64> = open.map(|(number, _)| *number).collect();
        if let Some(number) = pick(random, &open).filter(|_| random.unit() < 0.7) {
            return number;
        }
        let action = self.action(random, number);
        self.ledger.insert(number, Job { action, said: Vec::new() });
        number
    }

    fn action(&mut self, random: &mut Random, number: u64) -> Action {
        let snapshots = self.checker.snapshots();
        let partition = i32::try_from(random.below(PARTITIONS)).unwrap_or(0);
        match random.below(30) {
            0..=5 => Action::Change(Effect::Append(self.rows(random, None))),
            6..=10 => {
                let row = self.rows(random, Some(partition))[0];
                Action::Change(Effect::Amend(partition, row))
            }
            11..=12 => {
                let rows = self.rows(random, Some(partition));
                Action::Change(Effect::Replace(partition, rows))
            }
            13 => Action::Change(Effect::ReplaceAll(self.rows(random, None))),
            14..=15 => match pick(random, &snapshots) {
                Some(snapshot) => Action::Tag(format!("tag-{number}"), snapshot),
                None => Action::Read(None),
            },
            16 => match pick(random, &snapshots) {
                Some(snapshot) => Action::Rollback(snapshot),
                None => Action::Read(None),
            },
            17..=18 => Action::Expire,
            19..=20 => Action::Clean,
            21..=23 => {
                let below = i64::try_from(random.below(100)).unwrap_or(0);
                Action::Change(Effect::Delete(partition, below))
            }
            24..=27 => {
                let mut rows = self.rows(random, None);
                // Half of them are rows that may be there, which nobody else adds.
                for row in rows.iter_mut().step_by(2) {
                    row.0 = -1 - i64::try_from(random.below(12)).unwrap_or(0);
                }
                rows.sort_unstable();
                rows.dedup_by_key(|row| row.0);
                Action::Change(Effect::Upsert(rows))
            }
            _ => Action::Read(pick(random, &snapshots)),
        }
    }

    fn rows(&mut self, random: &mut Random, partition: Option<i32>) -> Vec<Row> {
        let count = 1 + random.below(4);
        let mut rows = Vec::new();
        for _ in 0..count {
            self.ids += 1;
            let part = i32::try_from(random.below(PARTITIONS)).unwrap_or(0);
            let value = i64::try_from(random.below(100)).unwrap_or(0);
            rows.push((self.ids, partition.unwrap_or(part), value));
        }
        rows
    }
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> Option<T> {
    let at = usize::try_from(random.below(from.len() as u64)).ok()?;
    from.get(at).copied()
}
