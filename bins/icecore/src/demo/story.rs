//! The chapters of the story, in order.

use std::path::Path;

use icecore::catalog::TagMove;
use icecore::{ComputeOptions, IngestJob, MaterializeOptions, Project, ScoreOptions};
use icecore_core::{
    Date, ModelRegistry, RefName, Result, SnapshotCatalog, SnapshotSelector, TableName,
};
use serde_json::json;

use super::world::World;
use super::{Found, questions};
use crate::commands;

/// A part of the story.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chapter {
    Events,
    Features,
    TrainingSets,
    Models,
    Scores,
    Cache,
    Serving,
    Versions,
}

/// The whole story.
pub(super) const CHAPTERS: [(&str, Chapter); 8] = [
    ("1. Events become tables", Chapter::Events),
    ("2. One definition becomes features", Chapter::Features),
    ("3. Training sets are joined point-in-time, and pinned", Chapter::TrainingSets),
    ("4. Models are trained from the pin", Chapter::Models),
    ("5. The production model scores everyone", Chapter::Scores),
    ("6. High risks go to the cache", Chapter::Cache),
    ("7. Scores are served", Chapter::Serving),
    ("8. Every version stays", Chapter::Versions),
];

/// The training definitions; the first one goes to production.
const TRAININGS: [&str; 3] = ["churn", "churn_logistic", "churn_forest"];

/// What the story is told with.
#[derive(Debug)]
pub(super) struct Story<'a> {
    pub(super) project: &'a Project,
    pub(super) world: &'a World,
    pub(super) dir: &'a Path,
}

impl Story<'_> {
    /// Tells a chapter.
    pub(super) async fn tell(&self, chapter: Chapter) -> Result<Vec<Found>> {
        match chapter {
            Chapter::Events => self.events().await,
            Chapter::Features => self.features().await,
            Chapter::TrainingSets => self.training_sets().await,
            Chapter::Models => self.models().await,
            Chapter::Scores => self.scores().await,
            Chapter::Cache => self.cache().await,
            Chapter::Serving => questions::ask(self.project, self.world.scoring_date).await,
            Chapter::Versions => self.versions().await,
        }
    }

    async fn events(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for file in &self.world.events {
            found.push(self.ingest("events.raw_transactions", file, "day(event_timestamp)").await?);
        }
        found.push(
            self.ingest("labels.churn_outcomes", &self.world.outcomes, "day(observed_at)").await?,
        );
        Ok(found)
    }

    async fn ingest(&self, table: &str, file: &Path, partition: &str) -> Result<Found> {
        let name = file.strip_prefix(self.dir).unwrap_or(file).display().to_string();
        let job = IngestJob::new(TableName::parse(table)?, vec![file.to_owned()])
            .with_partition_by(vec![partition.to_owned()])
            .with_job_id(format!("demo/{name}"));
        let report = self.project.ingest(job).await?;
        let state = report.pinned.as_ref().map(ToString::to_string).unwrap_or_default();
        let line = if report.changed {
            format!("{} rows -> {state}", report.rows)
        } else {
            format!("is in already: {state}")
        };
        Ok(Found {
            command: format!("ingest {table} {name} --partition-by '{partition}'"),
            lines: vec![line],
            json: commands::ingest::document(&report),
        })
    }

    async fn features(&self) -> Result<Vec<Found>> {
        let mut found = vec![self.compute("user_transaction_features", None).await?];
        if self.world.is_real() {
            // Midnights that nobody looks at are not computed.
            for day in &self.world.observation_days {
                found.push(
                    self.compute("churn_features", Some((*day, Some(day.plus_days(1))))).await?,
                );
            }
            found
                .push(self.compute("churn_features", Some((self.world.scoring_date, None))).await?);
        } else {
            let from = self.world.observation_days.iter().min().map(|day| (*day, None));
            found.push(self.compute("churn_features", from).await?);
        }
        Ok(found)
    }

    async fn compute(&self, view: &str, days: Option<(Date, Option<Date>)>) -> Result<Found> {
        let mut command = format!("features compute {view}");
        let mut options = ComputeOptions::default();
        if let Some((from, to)) = days {
            command.push_str(&format!(" --from {from}"));
            options.from = Some(from.midnight());
            if let Some(to) = to {
                command.push_str(&format!(" --to {to}"));
                options.to = Some(to.midnight());
            }
        }
        let report = self.project.compute_features(view, options).await?;
        let line = commands::features::summary(&report);
        Ok(Found { command, lines: vec![line], json: commands::features::document(&report) })
    }

    async fn training_sets(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for name in TRAININGS {
            let built = self.project.build_dataset(name).await?;
            found.push(Found {
                command: format!("dataset build {name}"),
                lines: commands::dataset::lines(&built),
                json: commands::dataset::document(&built),
            });
        }
        Ok(found)
    }

    async fn models(&self) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for name in TRAININGS {
            let report = self.project.train(name, None).await?;
            let metric = |name: &str| report.metrics.get(name).copied().unwrap_or(f64::NAN);
            found.push(Found {
                command: format!("train {name}"),
                lines: vec![
                    format!(
                        "{} version {}: validation AUC {:.4}, cross-validated {:.4} ± {:.4} on {} rows",
                        report.model,
                        report.version,
                        metric("val_auc_roc"),
                        metric("cv_auc_mean"),
                        metric("cv_auc_std"),
                        report.rows
                    ),
                    format!("model {}", report.model_hash),
                    format!("run {}", report.run_id),
                ],
                json: json!(report),
            });
            if name == TRAININGS[0] {
                let (model, version) = (&report.model, report.version);
                self.project.tracker().set_alias(model, "Production", version).await?;
                found.push(Found {
                    command: format!("models promote {model} {version} --to Production"),
                    lines: vec![format!("models:/{model}/Production is version {version}")],
                    json: json!({ "model": model, "alias": "Production", "version": version }),
                });
            }
        }
        Ok(found)
    }

    async fn scores(&self) -> Result<Vec<Found>> {
        let date = self.world.scoring_date;
        let options = ScoreOptions::default().with_date(Some(date));
        let scored = self.project.score("churn", options).await?;
        let report = &scored.report;
        Ok(vec![Found {
            command: format!("score churn --date {date}"),
            lines: vec![format!(
                "{} users, {} of high risk, mean {:.4} -> {}",
                report.rows,
                report.high_rows,
                report.mean_prediction.unwrap_or(f64::NAN),
                report.predictions
            )],
            json: commands::score::document(&scored),
        }])
    }

    async fn cache(&self) -> Result<Vec<Found>> {
        let done = self.project.materialize("churn", MaterializeOptions::default()).await?;
        let report = &done.report;
        Ok(vec![Found {
            command: "materialize churn".to_owned(),
            lines: vec![format!(
                "{} written, {} removed, {} unchanged in {}",
                report.written, report.removed, report.unchanged, done.store
            )],
            json: json!(done),
        }])
    }

    async fn versions(&self) -> Result<Vec<Found>> {
        let catalog = self.project.catalog();
        let table = TableName::parse("events.raw_transactions")?;
        let pin = catalog.pin(&table, &SnapshotSelector::Latest).await?;
        let tag = RefName::parse("demo")?;
        catalog.tag(&pin, &tag, TagMove::Force).await?;
        let history = catalog.history(&table).await?;
        let mut lines = Vec::new();
        for snapshot in history.iter().rev().take(3) {
            let names: Vec<String> = snapshot.refs.iter().map(ToString::to_string).collect();
            lines.push(format!(
                "{}  {}  {}  +{} rows  {}",
                snapshot.id,
                snapshot.committed_at,
                snapshot.operation,
                snapshot.count("added-records"),
                names.join(" ")
            ));
        }
        let log = Found {
            command: format!("table log {table} --limit 3"),
            lines,
            json: json!({ "table": table, "snapshots": history.len(), "tag": tag }),
        };
        let mut found = vec![
            Found {
                command: format!("table tag {table} {tag} --force"),
                lines: vec![format!("tag `{tag}` is {pin}")],
                json: json!({ "table": table, "tag": tag, "snapshot_id": pin.snapshot }),
            },
            log,
        ];
        if let Some(first) = history.first() {
            found.push(self.as_of(&table, &SnapshotSelector::Id(first.id)).await?);
        }
        Ok(found)
    }

    /// Reads a table as it was.
    async fn as_of(&self, table: &TableName, at: &SnapshotSelector) -> Result<Found> {
        let query = format!("SELECT count(*) AS n FROM {table}");
        let pins = self.project.engine().pin_query(&query, &[(table.clone(), at.clone())]).await?;
        let answer = self.project.engine().sql(&query, &pins).await?.concat().await?;
        let json = icecore::rows::to_json(&answer)?;
        let count = json.pointer("/0/n").cloned().unwrap_or_default();
        Ok(Found {
            command: format!("sql '{query}' --at {table}={at}"),
            lines: vec![format!("{count} rows, as of the first commit")],
            json,
        })
    }
}
