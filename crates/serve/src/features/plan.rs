//! From names of features to what has to be read.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, FieldRef, Schema};
use icecore_core::{
    Error, OnlineForm, PinnedTable, RequestInput, Result, SnapshotCatalog, SnapshotSelector,
};
use icecore_engine::Engine;
use icecore_features::{
    Definitions, OnDemandPlan, feature_source, resolve_features, select_features,
};
use icecore_materialize::{TileView, ViewShape, vectors_of, view_shape};
use icecore_online::{Vectors, ViewRead};

use super::ask::FeatureQuery;
use super::join_key::in_type_of;

/// What a request reads.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) views: Vec<PlannedView>,
    pub(super) outputs: Vec<Output>,
    /// There where what is asked for is kept as one row for each entity.
    pub(super) vectors: Option<Vectors>,
}

/// One view of it.
#[derive(Debug)]
pub(super) struct PlannedView {
    pub(super) shape: ViewShape,
    pub(super) pin: PinnedTable,
    /// The stored features that are asked for, and those that others are computed from.
    pub(super) stored: Vec<FieldRef>,
    pub(super) requests: Vec<RequestInput>,
    pub(super) on_demand: Option<OnDemandPlan>,
    /// There where windows are computed up to the moment.
    pub(super) tiles: Option<TileView>,
}

/// One feature of the answer.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) view: usize,
    pub(super) feature: String,
    pub(super) name: String,
}

impl Plan {
    pub(super) async fn new(
        engine: &Engine,
        definitions: &Definitions,
        query: &FeatureQuery,
    ) -> Result<Self> {
        if query.features.is_empty() {
            return Err(Error::invalid("no feature is asked for")
                .with_help("name `features`, or a `feature_service`"));
        }
        let resolved = resolve_features(definitions, &query.features)?;
        let (mut views, mut outputs) = (Vec::new(), Vec::new());
        for (at, (name, features)) in resolved.iter().enumerate() {
            views.push(view(engine, definitions, name, features).await?);
            for feature in features {
                let name = match query.full_feature_names {
                    true => format!("{name}__{feature}"),
                    false => feature.clone(),
                };
                outputs.push(Output { view: at, feature: feature.clone(), name });
            }
        }
        let mut names: Vec<&String> = outputs.iter().map(|output| &output.name).collect();
        names.sort();
        if let Some([twice, _]) = names.windows(2).find(|pair| pair.first() == pair.last()) {
            return Err(Error::invalid(format!("two features are called `{twice}`"))
                .with_help("ask with `full_feature_names`"));
        }
        let service = definitions
            .services
            .iter()
            .find(|service| !service.online.is_views() && service.features == query.features);
        let vectors = match service {
            Some(service) => vectors_of(definitions, &service.name)?,
            None => None,
        };
        Ok(Self { views, outputs, vectors })
    }

    /// What to read for these entities.
    pub(super) fn reads(&self, entities: &BTreeMap<String, ArrayRef>) -> Result<Vec<ViewRead>> {
        let read = |view: &PlannedView| {
            let keys = view.shape.keys.iter().map(|key| join_key(view, key, entities));
            Ok(ViewRead {
                view: view.shape.view.clone(),
                keys: keys.collect::<Result<_>>()?,
                features: view.stored.clone(),
                ttl: view.shape.ttl,
            })
        };
        self.views.iter().map(read).collect()
    }

    /// The join keys as they were sent, each once.
    pub(super) fn join_keys(
        &self,
        entities: &BTreeMap<String, ArrayRef>,
    ) -> Result<Vec<(String, ArrayRef)>> {
        let mut keys: Vec<(String, ArrayRef)> = Vec::new();
        for view in &self.views {
            for key in &view.shape.keys {
                if keys.iter().all(|(name, _)| name != key.name()) {
                    keys.push((key.name().clone(), join_key(view, key, entities)?));
                }
            }
        }
        Ok(keys)
    }
}

async fn view(
    engine: &Engine,
    definitions: &Definitions,
    name: &str,
    features: &[String],
) -> Result<PlannedView> {
    let view = definitions.view(name)?;
    let catalog = engine.catalog();
    let (shape, pin, tiles) = match &view.source {
        Some(source) if view.online == OnlineForm::Tiles => {
            let pin = catalog.pin(source, &SnapshotSelector::Latest).await?;
            let tiles = TileView::open(engine, definitions, view, &pin).await?;
            (tiles.shape()?, pin, Some(tiles))
        }
        _ => {
            let pin = catalog.pin(feature_source(view)?, &SnapshotSelector::Latest).await?;
            let columns = catalog.schema(&pin).await?;
            (view_shape(definitions, view, &pin, &columns)?, pin, None)
        }
    };
    let selection = select_features(view, features)?;
    let find = |name: &String| -> Result<FieldRef> {
        shape.features.iter().find(|field| field.name() == name).cloned().ok_or_else(|| {
            Error::internal(format!("feature `{name}` of `{}` has no column", view.name))
        })
    };
    let stored = selection.stored.iter().map(find).collect::<Result<Vec<_>>>()?;
    let on_demand = match selection.on_demand.steps.is_empty() {
        true => None,
        false => {
            let inputs = selection.on_demand.requests.iter();
            let inputs = inputs
                .map(|input| Arc::new(Field::new(&input.name, input.value_type.arrow(), true)));
            let columns = Schema::new(stored.iter().cloned().chain(inputs).collect::<Vec<_>>());
            Some(OnDemandPlan::new(engine, &selection.on_demand, &columns).await?)
        }
    };
    let requests = selection.on_demand.requests;
    Ok(PlannedView { shape, pin, stored, requests, on_demand, tiles })
}

/// The column of a join key, in the type that the view has it in.
fn join_key(
    view: &PlannedView,
    key: &FieldRef,
    entities: &BTreeMap<String, ArrayRef>,
) -> Result<ArrayRef> {
    let column = entities.get(key.name()).ok_or_else(|| {
        let keys: Vec<&str> = view.shape.keys.iter().map(|key| key.name().as_str()).collect();
        Error::invalid(format!("the request does not say which `{}`", key.name())).with_note(
            format!("features of `{}` are found by {}", view.shape.view, keys.join(", ")),
        )
    })?;
    in_type_of(column, key)
}
