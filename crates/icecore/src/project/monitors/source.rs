//! What can be profiled, by name.

use futures::TryStreamExt;
use icecore_core::{
    ArtifactStore, Date, Error, ErrorKind, ModelRegistry, PinnedTable, Result, RunId, RunTracker,
    SnapshotCatalog, SnapshotSelector, TableName,
};
use icecore_dataset::{LoadOptions, Lock};
use icecore_monitor::{PartitionFilter, Profile, ProfileOptions, profile_of_table, scan_profile};
use icecore_score::{ModelUri, ScorePlan};

use super::{FEATURES_FILE, PREDICTIONS_FILE, Profiled};
use crate::Project;
use crate::project::score::PLAN_FILE;
use crate::project::train::LOCK_FILE;

/// Something with statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Table { table: TableName, at: SnapshotSelector, filter: Option<PartitionFilter> },
    Dataset(String),
    Run(RunId),
    Model(ModelUri),
    Scoring { name: String, date: Option<Date>, predictions: bool },
}

impl Source {
    pub(super) fn parse(text: &str) -> Result<Self> {
        if text.starts_with("models:/") {
            return Ok(Self::Model(text.parse()?));
        }
        match text.split_once(':') {
            Some(("dataset", name)) => Ok(Self::Dataset(name.to_owned())),
            Some(("run", id)) => Ok(Self::Run(RunId::new(id))),
            Some(("model", name)) => {
                let name = if name.contains(['/', '@']) {
                    name.to_owned()
                } else {
                    format!("{name}/latest")
                };
                Ok(Self::Model(format!("models:/{name}").parse()?))
            }
            Some((kind @ ("scoring" | "predictions"), name)) => {
                let (name, date) = match name.split_once('@') {
                    Some((name, date)) => (name, Some(Date::parse(date)?)),
                    None => (name, None),
                };
                let (name, predictions) = (name.to_owned(), kind == "predictions");
                Ok(Self::Scoring { name, date, predictions })
            }
            _ => Self::table(text),
        }
    }

    /// `TABLE@SELECTOR[PARTITIONS]`, of which only the table has to be there.
    fn table(text: &str) -> Result<Self> {
        let (rest, filter) = match text.strip_suffix(']').and_then(|text| text.split_once('[')) {
            Some((rest, filter)) => (rest, Some(filter.parse()?)),
            None => (text, None),
        };
        let (table, at) = match rest.split_once('@') {
            Some((table, at)) => (table, SnapshotSelector::parse(at)?),
            None => (rest, SnapshotSelector::Latest),
        };
        let table = TableName::parse(table).map_err(|error| {
            error.with_help(
                "name a table as `TABLE@SELECTOR[FIELD=VALUE]`, or `dataset:NAME`, `run:ID`, \
                 `model:NAME/SELECTOR`, `scoring:NAME@DATE`, `predictions:NAME@DATE`",
            )
        })?;
        Ok(Self::Table { table, at, filter })
    }

    pub(super) async fn profile(&self, project: &Project, exact: bool) -> Result<Profiled> {
        match self {
            Self::Table { table, at, filter } => {
                let (catalog, now) = (project.catalog(), project.clock().now());
                let pin = catalog.pin(table, at).await?;
                let filter = match filter {
                    Some(filter) => Some(filter.resolve(catalog, &pin, now).await?),
                    None => None,
                };
                of_table(project, &pin, filter.as_ref(), exact).await
            }
            Self::Dataset(name) => {
                let lock = project.dataset_lock(name)?;
                let found = of_table(project, &lock.materialized, None, exact).await?;
                Ok(Profiled { name: format!("dataset {name}, {}", lock.materialized), ..found })
            }
            Self::Model(uri) => {
                let version = project.tracker().resolve(&uri.name, &uri.selector).await?;
                let found = of_run(project, &version.run, exact, false).await?;
                let name = format!("model {} version {}", version.model, version.version);
                Ok(Profiled { name, ..found })
            }
            Self::Run(run) => of_run(project, run, exact, false).await,
            Self::Scoring { name, date, predictions } => {
                let (run, date) = project.scoring_run(name, *date).await?;
                let found = of_run(project, &run, exact, *predictions).await?;
                let what = if *predictions { "predictions" } else { "scoring" };
                Ok(Profiled { name: format!("{what} {name} of {date}"), ..found })
            }
        }
    }
}

async fn of_table(
    project: &Project,
    pin: &PinnedTable,
    filter: Option<&PartitionFilter>,
    exact: bool,
) -> Result<Profiled> {
    let name = match filter {
        Some(filter) => format!("{pin}[{filter}]"),
        None => pin.to_string(),
    };
    let catalog = project.catalog();
    if exact {
        let options = project.profile_options()?;
        let mut rows = Vec::new();
        let keep = |batch| rows.push(batch);
        let profile = scan_profile(catalog, pin, filter, &options, keep).await?;
        return Ok(Profiled { name, profile, complete: true, notes: Vec::new(), rows: Some(rows) });
    }
    let known = profile_of_table(catalog, pin, filter).await?;
    if known.profile.rows() == 0 && !known.complete {
        // Statistics that are not there are made of the rows, of which none is kept.
        let options = project.profile_options()?;
        let profile = scan_profile(catalog, pin, filter, &options, drop).await?;
        let notes = vec![format!(
            "the table has no statistics, so its rows were read: keep them with \
             `icecore monitor profile {} --store`",
            pin.table
        )];
        return Ok(Profiled { name, profile, complete: true, notes, rows: None });
    }
    let (complete, notes) = (known.complete, known.notes);
    Ok(Profiled { name, profile: known.profile, complete, notes, rows: None })
}

/// The statistics that a run kept; with `exact`, the rows that it read, read again.
async fn of_run(
    project: &Project,
    run: &RunId,
    exact: bool,
    predictions: bool,
) -> Result<Profiled> {
    // An unknown run is told as such.
    let recorded = project.tracker().get(run).await?;
    let name = format!("run {run} ({})", recorded.name);
    if exact && !predictions {
        let rows = read_again(project, &recorded).await?;
        let mut profile = Profile::default();
        for batch in &rows {
            profile.merge(&Profile::of(batch, &ProfileOptions::default())?);
        }
        return Ok(Profiled { name, profile, complete: true, notes: Vec::new(), rows: Some(rows) });
    }
    let path = if predictions { PREDICTIONS_FILE } else { FEATURES_FILE };
    let profile = project.kept_profile(run, path).await?;
    Ok(Profiled { name, profile, complete: true, notes: Vec::new(), rows: None })
}

/// The rows that a training or a scoring read, from the states that it read.
async fn read_again(
    project: &Project,
    run: &icecore_core::Run,
) -> Result<Vec<arrow::array::RecordBatch>> {
    let plan = match project.artifacts().get(&run.id, PLAN_FILE).await {
        Ok(plan) => Some(plan),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    if let Some(plan) = plan {
        let plan: ScorePlan = serde_json::from_slice(&plan).map_err(|error| {
            Error::corrupt(format!("the plan of run `{}` cannot be read", run.id))
                .with_source(error)
        })?;
        let definitions = project.definitions()?;
        let rows = icecore_score::scored_rows(project.engine(), &definitions, &plan).await?;
        return rows.try_collect().await;
    }
    let lock =
        project.artifacts().get(&run.id, LOCK_FILE).await.map_err(|error| {
            error.with_note(format!("run `{}` neither trained nor scored", run.id))
        })?;
    let lock = Lock::parse(LOCK_FILE, &String::from_utf8_lossy(&lock))?;
    let mut options = LoadOptions::default();
    if let Some(snapshot) = run.params.get("training_data_snapshot_id") {
        options = options.with_at(SnapshotSelector::parse(snapshot)?);
    }
    let loaded = icecore_dataset::load(project.engine(), &lock, options).await?;
    Ok(vec![loaded.set.features().clone()])
}

impl Project {
    /// The run that wrote the predictions of a date, or the newest ones.
    pub(super) async fn scoring_run(
        &self,
        name: &str,
        date: Option<Date>,
    ) -> Result<(RunId, Date)> {
        let spec = self.scoring(name)?;
        let found = icecore_score::scored_by(self.engine(), &spec, date).await?;
        found.ok_or_else(|| {
            let of = date.map_or_else(String::new, |date| format!(" of {date}"));
            Error::not_found(format!("`{}` has no predictions{of} that say their run", spec.table))
                .with_help(format!("score first: `icecore score {name}`"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart_by_how_they_are_written() {
        let parse = |text: &str| Source::parse(text).unwrap();
        let Source::Table { table, at, filter } = parse("a.b@7[day=2026-07-01..2026-07-03]") else {
            panic!("no table")
        };
        assert_eq!((table.as_str(), at.to_string()), ("a.b", "7".to_owned()));
        assert_eq!(filter.unwrap().to_string(), "day=2026-07-01..2026-07-03");
        assert_eq!(parse("models:/m/3"), parse("model:m/3"));
        assert_eq!(parse("model:m"), parse("models:/m/latest"));
        let date = Date::parse("2026-07-01").unwrap();
        let scoring = Source::Scoring { name: "c".into(), date: Some(date), predictions: false };
        assert_eq!(parse("scoring:c@2026-07-01"), scoring);
        assert!(Source::parse("nothing").is_err());
        assert!(Source::parse("a.b[day]").is_err());
    }
}
