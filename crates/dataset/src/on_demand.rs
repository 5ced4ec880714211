//! Features that no table holds: computed from a joined row and the spine's columns, as a service
//! computes them from a stored row and what the request brings.

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use futures::StreamExt;
use icecore_core::{BatchStream, Error, Result};
use icecore_engine::Engine;
use icecore_features::{OnDemandFeatures, OnDemandPlan};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::lock::{DatasetPlan, LockedView};

/// The features of a view that are computed on demand, as they were locked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedOnDemand {
    /// Features that come out, each with its name in the set.
    pub columns: Vec<(String, String)>,
    /// Columns of the view's table that are only read to compute others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub helpers: Vec<String>,
    /// How they are computed; what requests bring are columns of the spine here.
    #[serde(flatten)]
    pub features: OnDemandFeatures,
}

/// The joined column with what is only read to compute others.
pub(crate) fn helper_column(view: &str, column: &str) -> String {
    format!("{view}__on_demand__{column}")
}

/// Adds what is computed on demand to joined rows.
///
/// # Errors
///
/// `NotFound` and `InvalidInput` if the spine does not bring what features of a view take.
pub(crate) async fn with_on_demand(
    engine: &Engine,
    plan: &DatasetPlan,
    joined: BatchStream,
) -> Result<BatchStream> {
    let (mut computed, mut fields) = (Vec::new(), joined.schema().fields().to_vec());
    for view in &plan.views {
        let Some(on_demand) = &view.on_demand else { continue };
        let of_view = OfView::new(engine, (view, on_demand), joined.schema()).await;
        let of_view = of_view.map_err(|error| {
            error.with_note(format!("features of `{}` take it from the spine", view.name))
        })?;
        fields.extend(of_view.fields.iter().cloned());
        computed.push(of_view);
    }
    if computed.is_empty() {
        return Ok(joined);
    }
    let schema = Arc::new(Schema::new(fields));
    let output = Arc::clone(&schema);
    let rows = joined.map(move |batch| {
        let batch = batch?;
        let mut columns = batch.columns().to_vec();
        for of_view in &computed {
            columns.extend(of_view.compute(&batch)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&output), columns)?)
    });
    Ok(BatchStream::new(schema, rows))
}

/// What is computed of one view.
struct OfView {
    plan: OnDemandPlan,
    /// The joined columns that it is computed from.
    inputs: Vec<usize>,
    /// The steps that come out, and their columns.
    steps: Vec<usize>,
    fields: Vec<FieldRef>,
}

impl OfView {
    async fn new(
        engine: &Engine,
        (view, on_demand): (&LockedView, &LockedOnDemand),
        joined: &SchemaRef,
    ) -> Result<Self> {
        let taken = view.columns.iter().map(|(feature, name)| (feature.clone(), name.clone()));
        let helpers = on_demand.helpers.iter();
        let helpers = helpers.map(|column| (column.clone(), helper_column(&view.name, column)));
        let requests = on_demand.features.requests.iter();
        let requests = requests.map(|input| (input.name.clone(), input.name.clone()));
        let (mut inputs, mut fields) = (Vec::new(), Vec::new());
        for (name, column) in taken.chain(helpers).chain(requests) {
            // Planning says what is missing, and what there is.
            let Some((at, field)) = joined.column_with_name(&column) else { continue };
            inputs.push(at);
            fields.push(field.clone().with_name(name));
        }
        let plan = OnDemandPlan::new(engine, &on_demand.features, &Schema::new(fields)).await?;
        let (mut steps, mut fields) = (Vec::new(), Vec::new());
        for (feature, name) in &on_demand.columns {
            let at = plan.fields().iter().position(|field| field.name() == feature);
            let found = at.and_then(|at| Some((at, plan.fields().get(at)?)));
            let (at, field) = found.ok_or_else(|| {
                Error::corrupt(format!("the lock does not say how `{feature}` is computed"))
            })?;
            steps.push(at);
            fields.push(Arc::new(field.as_ref().clone().with_name(name)));
        }
        Ok(Self { plan, inputs, steps, fields })
    }

    fn compute(&self, joined: &RecordBatch) -> Result<Vec<arrow::array::ArrayRef>> {
        let computed = self.plan.compute(&joined.project(&self.inputs)?)?;
        Ok(self.steps.iter().filter_map(|at| computed.get(*at).cloned()).collect())
    }
}
