//! A project's training sets and features for Arrow Flight clients.

use std::sync::Arc;

use async_trait::async_trait;
use icecore_catalog::RowFilter;
use icecore_core::{BatchStream, Error, ErrorKind, Result, SnapshotCatalog};
use icecore_dataset::{Asked, HandOff, Lock, Retrieval, ViewRules, Windows};
use icecore_flight::{
    DatasetRequest, DatasetSummary, FeatureRequest, FlightOptions, FlightSource, ViewRequest,
};

use crate::Project;

impl Project {
    /// What [`flight::serve`](crate::flight::serve) takes to serve the project, with the token and
    /// the certificates of its settings.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for certificates that cannot be used.
    pub fn flights(self: &Arc<Self>) -> Result<(Arc<dyn FlightSource>, FlightOptions)> {
        let mut options = FlightOptions::default();
        if let Some(token) = &self.config().serve.token {
            options = options.with_token(token);
        }
        if let Some(tls) = self.config().serve.certificates(self.dir()) {
            tls.check()?;
            options = options.with_tls(tls);
        }
        Ok((Arc::new(Flights { project: Arc::clone(self) }), options))
    }
}

#[derive(Debug)]
struct Flights {
    project: Arc<Project>,
}

impl Flights {
    async fn rows(&self, lock: &Lock, request: &DatasetRequest) -> Result<BatchStream> {
        let engine = self.project.engine();
        let mut options = HandOff::default();
        if let Some(columns) = &request.columns {
            options = options.with_columns(columns.clone());
        }
        if let Some(part) = &request.part {
            options = options.with_part(part);
        }
        if let Some(rows) = request.batch_rows {
            options = options.with_batch_rows(rows);
        }
        if let Some(condition) = &request.filter {
            let columns = engine.catalog().schema(&lock.materialized).await?;
            match engine.row_filter(&columns, condition)? {
                RowFilter::Predicate(predicate) => options = options.with_filter(predicate),
                _ => {
                    let error =
                        format!("`{condition}` is more than comparisons of columns with values");
                    return Err(Error::invalid(error)
                        .with_help("compare columns with values, and filter the rest yourself"));
                }
            }
        }
        icecore_dataset::stream(engine, lock, options).await
    }
}

fn summary(lock: &Lock, request: &DatasetRequest, rows: &BatchStream) -> DatasetSummary {
    let whole = request.part.is_none() && request.filter.is_none();
    DatasetSummary {
        name: lock.plan.dataset.clone(),
        schema: Arc::clone(rows.schema()),
        rows: whole.then_some(lock.rows),
        content_hash: lock.content_hash.clone(),
    }
}

#[async_trait]
impl FlightSource for Flights {
    async fn datasets(&self) -> Result<Vec<DatasetSummary>> {
        let mut found = Vec::new();
        for name in self.project.definition_names("training")? {
            let lock = match self.project.dataset_lock(&name) {
                // It was not built yet.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                lock => lock?,
            };
            let request = DatasetRequest { dataset: name, ..DatasetRequest::default() };
            let rows = self.rows(&lock, &request).await?;
            found.push(summary(&lock, &request, &rows));
        }
        Ok(found)
    }

    async fn dataset(&self, request: &DatasetRequest) -> Result<(DatasetSummary, BatchStream)> {
        let lock = self.project.dataset_lock(&request.dataset)?;
        let rows = self.rows(&lock, request).await?;
        Ok((summary(&lock, request, &rows), rows))
    }

    async fn features(&self, request: &FeatureRequest, rows: BatchStream) -> Result<BatchStream> {
        let mut retrieval = Retrieval::new(request.features.clone());
        retrieval.event_timestamp.clone_from(&request.event_timestamp);
        retrieval.keys.clone_from(&request.keys);
        retrieval.strict = request.strict;
        retrieval.full_feature_names = request.full_feature_names;
        retrieval.knowledge = request.knowledge;
        retrieval.with_event_timestamps = request.with_event_timestamps;
        retrieval.with_ages = request.with_ages;
        let views = request.views.iter();
        retrieval.views = views.map(|(name, view)| (name.clone(), rules(view))).collect();
        if request.ttl.is_some() || request.delay.is_some() || request.at_moments {
            let all = ViewRules {
                ttl: request.ttl,
                delay: request.delay,
                windows: windows(request.at_moments),
                ..ViewRules::default()
            };
            retrieval = retrieval.with_rules_for_all(&self.project.definitions()?, &all)?;
        }
        Ok(self.project.retrieve_features(Asked::Rows(rows), &retrieval).await?.rows)
    }
}

/// What a client says of a view.
fn rules(view: &ViewRequest) -> ViewRules {
    ViewRules {
        of: view.of.clone(),
        keys: view.keys.clone(),
        knowledge: view.knowledge,
        ttl: view.ttl,
        delay: view.delay,
        strict: view.strict,
        windows: windows(view.at_moments),
    }
}

fn windows(at_moments: bool) -> Windows {
    if at_moments { Windows::Moment } else { Windows::Stored }
}
