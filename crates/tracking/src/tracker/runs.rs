//! Runs: what was done, with which data, and what came out.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use icecore_core::{
    Error, NewRun, PinnedTable, Result, Run, RunEntries, RunId, RunStatus, RunTracker, SnapshotId,
    TableName, Timestamp,
};
use sqlx::sqlite::SqliteRow;
use tracing::info;
use uuid::Uuid;

use super::{SqlTracker, check_name, column, expect_run, moment, unknown_run};
use crate::database::{Tx, cannot_read, cannot_write, commit};

/// One value of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricPoint {
    /// The value; NaN and the infinities are values.
    pub value: f64,
    /// The step of the training that it belongs to, from zero.
    pub step: i64,
    /// When it was logged.
    pub logged_at: Timestamp,
}

/// Which runs are meant.
#[derive(Clone, Copy)]
pub(super) enum Runs<'a> {
    One(&'a str),
    Experiment(&'a str),
    All,
    /// Those that can be brought back. The others do not have them.
    Deleted,
}

impl<'a> Runs<'a> {
    /// The condition on a run, and the value of its only parameter.
    const fn condition(self) -> (&'static str, Option<&'a str>) {
        match self {
            Self::One(id) => ("run_id = ?1 AND deleted_at IS NULL", Some(id)),
            Self::Experiment(name) => ("experiment = ?1 AND deleted_at IS NULL", Some(name)),
            Self::All => ("?1 IS NULL AND deleted_at IS NULL", None),
            Self::Deleted => ("?1 IS NULL AND deleted_at IS NOT NULL AND removing = 0", None),
        }
    }

    /// The rows about these runs in a table, in an order.
    async fn rows(self, tx: &mut Tx, table: &str, order: &str) -> Result<Vec<SqliteRow>> {
        let (condition, value) = self.condition();
        let query = format!(
            "SELECT * FROM {table} WHERE run_id IN
                 (SELECT run_id FROM icecore_runs WHERE {condition})
             ORDER BY {order}"
        );
        sqlx::query(&query).bind(value).fetch_all(&mut **tx).await.map_err(cannot_read)
    }

    /// The rows of the runs themselves, newest first.
    pub(super) async fn rows_of_runs(self, tx: &mut Tx) -> Result<Vec<SqliteRow>> {
        self.rows(tx, "icecore_runs", "started_at DESC, entry DESC").await
    }

    /// The runs, newest first.
    pub(super) async fn load(self, tx: &mut Tx) -> Result<Vec<Run>> {
        let rows = self.rows_of_runs(tx).await?;
        let mut runs = rows.iter().map(run).collect::<Result<Vec<_>>>()?;
        let index: HashMap<RunId, usize> =
            runs.iter().enumerate().map(|(at, run)| (run.id.clone(), at)).collect();
        let mut each = |rows: Vec<SqliteRow>, add: fn(&mut Run, &SqliteRow) -> Result<()>| {
            rows.iter().try_for_each(|row| {
                let id = of_row(row)?;
                match index.get(&id).and_then(|at| runs.get_mut(*at)) {
                    Some(run) => add(run, row),
                    None => Ok(()),
                }
            })
        };
        each(self.rows(tx, "icecore_run_inputs", "position").await?, |run, row| {
            run.inputs.push(input(row)?);
            Ok(())
        })?;
        each(self.rows(tx, "icecore_run_params", "key").await?, |run, row| {
            run.params.insert(column(row, "key")?, column(row, "value")?);
            Ok(())
        })?;
        each(self.rows(tx, "icecore_run_tags", "key").await?, |run, row| {
            run.tags.insert(column(row, "key")?, column(row, "value")?);
            Ok(())
        })?;
        // The value of the greatest step counts, and of one step the last.
        each(self.rows(tx, "icecore_run_metrics", "step, entry").await?, |run, row| {
            run.metrics.insert(column(row, "key")?, metric(row)?);
            Ok(())
        })?;
        Ok(runs)
    }
}

impl SqlTracker {
    /// Adds values of metrics at steps of a training, in one step.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown run.
    pub async fn log_steps(
        &self,
        run: &RunId,
        step: i64,
        metrics: &BTreeMap<String, f64>,
    ) -> Result<()> {
        let mut tx = self.database.begin_write().await?;
        expect_run(&mut tx, run).await?;
        add_metrics(&mut tx, run, metrics, (step, self.clock.now())).await?;
        commit(tx).await
    }

    /// Every value that a metric had in a run, in the order of steps and of logging.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown run or metric.
    pub async fn metric_history(&self, run: &RunId, metric_name: &str) -> Result<Vec<MetricPoint>> {
        let mut tx = self.database.begin_read().await?;
        expect_run(&mut tx, run).await?;
        let rows = Runs::One(run.as_str()).rows(&mut tx, "icecore_run_metrics", "step, entry");
        let rows = rows.await?;
        let mut points = Vec::new();
        let mut others = Vec::new();
        for row in &rows {
            let key: String = column(row, "key")?;
            if key == metric_name {
                let logged_at = moment(row, "logged_at")?;
                let step = column(row, "step")?;
                points.push(MetricPoint { value: metric(row)?, step, logged_at });
            } else {
                others.push(key);
            }
        }
        if points.is_empty() {
            others.sort();
            others.dedup();
            return Err(Error::not_found(format!("run `{run}` has no metric `{metric_name}`"))
                .with_note(format!("its metrics: {}", others.join(", ")))
                .with_candidates(metric_name, others.iter().map(String::as_str)));
        }
        Ok(points)
    }
}

#[async_trait]
impl RunTracker for SqlTracker {
    async fn start(&self, new: NewRun) -> Result<RunId> {
        check_name("an experiment", &new.experiment)?;
        check_name("a run", &new.name)?;
        let id = RunId::new(Uuid::new_v4().simple().to_string());
        let mut tx = self.database.begin_write().await?;
        sqlx::query(
            "INSERT INTO icecore_runs (run_id, experiment, name, status, started_at)
             VALUES (?, ?, ?, 'RUNNING', ?)",
        )
        .bind(id.as_str())
        .bind(&new.experiment)
        .bind(&new.name)
        .bind(self.clock.now().micros())
        .execute(&mut *tx)
        .await
        .map_err(cannot_write)?;
        for (position, pin) in (0_i64..).zip(&new.inputs) {
            sqlx::query("INSERT INTO icecore_run_inputs VALUES (?, ?, ?, ?, ?)")
                .bind(id.as_str())
                .bind(position)
                .bind(pin.table.as_str())
                .bind(&pin.uuid)
                .bind(pin.snapshot.get())
                .execute(&mut *tx)
                .await
                .map_err(cannot_write)?;
        }
        set_tags(&mut tx, &id, &new.tags).await?;
        commit(tx).await?;
        info!(run = %id, experiment = new.experiment, name = new.name, "started a run");
        Ok(id)
    }

    async fn log(&self, run: &RunId, entries: RunEntries) -> Result<()> {
        let mut tx = self.database.begin_write().await?;
        expect_run(&mut tx, run).await?;
        add_params(&mut tx, run, &entries.params).await?;
        add_metrics(&mut tx, run, &entries.metrics, (0, self.clock.now())).await?;
        set_tags(&mut tx, run, &entries.tags).await?;
        commit(tx).await
    }

    async fn finish(&self, run: &RunId, status: RunStatus) -> Result<()> {
        let new = match status {
            RunStatus::Finished => "FINISHED",
            RunStatus::Failed => "FAILED",
            RunStatus::Running => {
                return Err(Error::invalid(format!("run `{run}` cannot end as running")));
            }
        };
        let mut tx = self.database.begin_write().await?;
        expect_run(&mut tx, run).await?;
        let ended = sqlx::query(
            "UPDATE icecore_runs SET status = ?, ended_at = ?
             WHERE run_id = ? AND status = 'RUNNING'",
        )
        .bind(new)
        .bind(self.clock.now().micros())
        .bind(run.as_str())
        .execute(&mut *tx)
        .await
        .map_err(cannot_write)?;
        if ended.rows_affected() == 0 {
            let old: String =
                sqlx::query_scalar("SELECT status FROM icecore_runs WHERE run_id = ?")
                    .bind(run.as_str())
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(cannot_read)?;
            // Ending twice alike is a retry, which keeps the first time.
            if old != new {
                return Err(Error::invalid(format!("run `{run}` has already ended as {old}")));
            }
            return Ok(());
        }
        commit(tx).await?;
        info!(%run, status = new, "ended a run");
        Ok(())
    }

    async fn get(&self, run: &RunId) -> Result<Run> {
        let mut tx = self.database.begin_read().await?;
        match Runs::One(run.as_str()).load(&mut tx).await?.pop() {
            Some(run) => Ok(run),
            None => Err(unknown_run(&mut tx, run).await),
        }
    }

    async fn list(&self, experiment: Option<&str>) -> Result<Vec<Run>> {
        let mut tx = self.database.begin_read().await?;
        experiment.map_or(Runs::All, Runs::Experiment).load(&mut tx).await
    }
}

async fn add_params(tx: &mut Tx, run: &RunId, params: &BTreeMap<String, String>) -> Result<()> {
    for (key, value) in params {
        check_name("a parameter", key)?;
        let stored: String = sqlx::query_scalar(
            // The update changes nothing, and makes the statement return the row that is there.
            "INSERT INTO icecore_run_params VALUES (?, ?, ?)
             ON CONFLICT DO UPDATE SET value = value RETURNING value",
        )
        .bind(run.as_str())
        .bind(key)
        .bind(value)
        .fetch_one(&mut **tx)
        .await
        .map_err(cannot_write)?;
        if stored != *value {
            return Err(Error::invalid(format!(
                "parameter `{key}` of run `{run}` is `{}` and cannot become `{}`",
                stored.escape_debug(),
                value.escape_debug()
            ))
            .with_help("log what changes as a metric or a tag, or start another run"));
        }
    }
    Ok(())
}

async fn add_metrics(
    tx: &mut Tx,
    run: &RunId,
    metrics: &BTreeMap<String, f64>,
    (step, now): (i64, Timestamp),
) -> Result<()> {
    for (key, value) in metrics {
        check_name("a metric", key)?;
        sqlx::query(
            "INSERT INTO icecore_run_metrics (run_id, key, value, step, logged_at)
             VALUES (?, ?, ?, ?, ?)",
        )
        .bind(run.as_str())
        .bind(key)
        .bind(value)
        .bind(step)
        .bind(now.micros())
        .execute(&mut **tx)
        .await
        .map_err(cannot_write)?;
    }
    Ok(())
}

async fn set_tags(tx: &mut Tx, run: &RunId, tags: &BTreeMap<String, String>) -> Result<()> {
    for (key, value) in tags {
        check_name("a tag", key)?;
        sqlx::query("INSERT OR REPLACE INTO icecore_run_tags VALUES (?, ?, ?)")
            .bind(run.as_str())
            .bind(key)
            .bind(value)
            .execute(&mut **tx)
            .await
            .map_err(cannot_write)?;
    }
    Ok(())
}

/// The run that a row is about.
pub(super) fn of_row(row: &SqliteRow) -> Result<RunId> {
    column::<String>(row, "run_id").map(RunId::new)
}

fn run(row: &SqliteRow) -> Result<Run> {
    let status: String = column(row, "status")?;
    Ok(Run {
        id: of_row(row)?,
        experiment: column(row, "experiment")?,
        name: column(row, "name")?,
        status: match status.as_str() {
            "RUNNING" => RunStatus::Running,
            "FINISHED" => RunStatus::Finished,
            "FAILED" => RunStatus::Failed,
            other => return Err(Error::corrupt(format!("`{other}` is no status of a run"))),
        },
        started_at: moment(row, "started_at")?,
        ended_at: column::<Option<i64>>(row, "ended_at")?.map(Timestamp::from_micros),
        inputs: Vec::new(),
        params: BTreeMap::new(),
        metrics: BTreeMap::new(),
        tags: BTreeMap::new(),
        artifacts: Vec::new(),
    })
}

fn input(row: &SqliteRow) -> Result<PinnedTable> {
    let table: String = column(row, "table_name")?;
    let table = TableName::parse(&table)
        .map_err(|error| Error::corrupt("a run's input has no table name").with_source(error))?;
    let snapshot = SnapshotId::new(column(row, "snapshot_id")?);
    Ok(PinnedTable { table, uuid: column(row, "table_uuid")?, snapshot })
}

fn metric(row: &SqliteRow) -> Result<f64> {
    Ok(column::<Option<f64>>(row, "value")?.unwrap_or(f64::NAN))
}
