//! Features that are computed when they are asked for: from a row of the view and what the request
//! brings. Training computes them from the spine's columns, with the same code.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{DFSchema, ToDFSchema};
use datafusion::physical_expr::PhysicalExpr;
use icecore_core::{Derived, Error, FeatureView, RequestInput, Result, ValueType};
use icecore_engine::{Engine, from_datafusion};
use serde::{Deserialize, Serialize};

use crate::expression::{Expression, unknown_column};
use crate::order;
use crate::placed::Place;
use crate::select::require_feature;

/// Features that are computed when they are asked for, as data: what a lockfile or a service keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OnDemandFeatures {
    /// What the request has to bring.
    #[serde(default, rename = "request", skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<RequestInput>,
    /// The features, and those that they are computed from, each after what it uses.
    #[serde(rename = "feature")]
    pub steps: Vec<Derived>,
}

/// Some features of a view, by where their values come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FeatureSelection {
    /// Columns of the view's table: the features that were asked for and are stored, in the order
    /// of mention, and then those that others are computed from.
    pub stored: Vec<String>,
    /// How many of them were asked for.
    pub asked: usize,
    /// What is computed when it is asked for; nothing in most views.
    pub on_demand: OnDemandFeatures,
}

/// Whether a feature of a view is computed when it is asked for: one that looks at a request,
/// itself or through another, and one that is derived from stored columns of others.
#[must_use]
pub fn is_on_demand(view: &FeatureView, feature: &str) -> bool {
    names(view).contains(feature)
}

/// The features of a view that its table holds, in order.
#[must_use]
pub fn stored_features(view: &FeatureView) -> Vec<String> {
    let on_demand = names(view);
    view.feature_names().into_iter().filter(|name| !on_demand.contains(name)).collect()
}

/// The features of a view that are computed when they are asked for.
pub(crate) fn names(view: &FeatureView) -> BTreeSet<String> {
    if view.is_stored() {
        return view.derived.iter().map(|derived| derived.name.clone()).collect();
    }
    let mut names = BTreeSet::new();
    if view.request_inputs.is_empty() {
        return names;
    }
    let asked = |column: &String| view.request_inputs.iter().any(|input| input.name == *column);
    // What is computed from itself is reported where definitions are checked.
    for derived in order::derived(view).unwrap_or_default() {
        let Some(derived) = view.derived.get(derived) else { continue };
        if columns(derived).iter().any(|column| asked(column) || names.contains(column)) {
            names.insert(derived.name.clone());
        }
    }
    names
}

fn columns(derived: &Derived) -> BTreeSet<String> {
    Expression::parse(&derived.expression).map(|parsed| parsed.columns()).unwrap_or_default()
}

/// Splits features of a view by where their values come from.
///
/// # Errors
///
/// `NotFound` for a name that is no feature of the view.
pub fn select_features(view: &FeatureView, features: &[String]) -> Result<FeatureSelection> {
    for feature in features {
        require_feature(view, feature)?;
    }
    let on_demand = names(view);
    let (mut needed, mut stored) = (BTreeSet::new(), Vec::new());
    for feature in features {
        if on_demand.contains(feature) {
            needed.insert(feature.clone());
        } else {
            stored.push(feature.clone());
        }
    }
    let asked = stored.len();
    let mut steps = Vec::new();
    // Backwards: what a feature uses comes before it.
    for at in order::derived(view).map_err(|(_, error)| error)?.into_iter().rev() {
        let Some(derived) = view.derived.get(at) else { continue };
        if needed.contains(&derived.name) && on_demand.contains(&derived.name) {
            needed.extend(columns(derived));
            steps.push(Derived { description: None, ..derived.clone() });
        }
    }
    steps.reverse();
    let inputs = view.request_inputs.iter().filter(|input| needed.contains(&input.name));
    let requests: Vec<RequestInput> =
        inputs.map(|input| RequestInput { description: None, ..input.clone() }).collect();
    for name in stored_features(view) {
        if needed.contains(&name) && !stored.contains(&name) {
            stored.push(name);
        }
    }
    Ok(FeatureSelection { stored, asked, on_demand: OnDemandFeatures { requests, steps } })
}

/// Features that are computed when they are asked for, ready to be computed.
///
/// The same expressions over the same values give the same bits, in a training set of a million
/// rows and for one request.
#[derive(Clone)]
pub struct OnDemandPlan {
    requests: Vec<RequestInput>,
    schema: SchemaRef,
    steps: Vec<(Place, Arc<dyn PhysicalExpr>)>,
    fields: Vec<FieldRef>,
}

impl fmt::Debug for OnDemandPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.fields.iter().map(|field| field.name()).collect();
        f.debug_struct("OnDemandPlan").field("features", &names).finish_non_exhaustive()
    }
}

impl OnDemandPlan {
    /// Plans features over rows of these columns: features of the view under their own names, and
    /// what requests bring.
    ///
    /// # Errors
    ///
    /// `NotFound` for a column that is missing, `InvalidInput` for one of another type than the
    /// request declares and for expressions that do not fit the types.
    pub async fn new(
        engine: &Engine,
        features: &OnDemandFeatures,
        columns: &Schema,
    ) -> Result<Self> {
        let context = engine.session(&[]).await?;
        // Where an entity has no row there are nulls, also in a column that is never null in a row.
        let nullable = |field: &FieldRef| Arc::new(field.as_ref().clone().with_nullable(true));
        let mut fields: Vec<FieldRef> = columns.fields().iter().map(nullable).collect();
        for input in &features.requests {
            let at = fields.iter().position(|field| *field.name() == input.name);
            let Some(field) = at.and_then(|at| fields.get_mut(at)) else {
                return Err(missing(input, columns));
            };
            check_type(input, field.data_type())?;
            *field = Arc::new(Field::new(&input.name, input.value_type.arrow(), true));
        }
        let schema = Arc::new(Schema::new(fields.clone()));
        let (mut steps, mut computed) = (Vec::new(), Vec::new());
        for step in &features.steps {
            let known: DFSchema =
                Schema::new(fields.clone()).to_dfschema().map_err(from_datafusion)?;
            let expression = Expression::parse(&step.expression)?;
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            expression.check_columns(&names, &format!("feature `{}`", step.name))?;
            let physical = expression.compile(&context, &known)?;
            let data_type = physical.data_type(known.as_arrow()).map_err(from_datafusion)?;
            expression.check_type(&data_type)?;
            let field = Arc::new(Field::new(&step.name, data_type, true));
            fields.push(Arc::clone(&field));
            computed.push(field);
            let what = format!("feature `{}`", step.name);
            let place = Place { what, text: step.expression.clone(), location: None };
            steps.push((place, physical));
        }
        Ok(Self { requests: features.requests.clone(), schema, steps, fields: computed })
    }

    /// The columns that come out of [`compute`](Self::compute).
    #[must_use]
    pub fn fields(&self) -> &[FieldRef] {
        &self.fields
    }

    /// Computes every step over rows of the columns that it was planned for.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if a value does not fit its declared type, or an expression fails on a value.
    pub fn compute(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let mut columns = rows.columns().to_vec();
        let mut fields: Vec<FieldRef> = self.schema.fields().iter().cloned().collect();
        for input in &self.requests {
            let at = fields.iter().position(|field| *field.name() == input.name);
            if let Some(column) = at.and_then(|at| columns.get_mut(at)) {
                *column = typed(input, column)?;
            }
        }
        for ((place, step), field) in self.steps.iter().zip(&self.fields) {
            let schema = Arc::new(Schema::new(fields.clone()));
            let options =
                arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            let batch = RecordBatch::try_new_with_options(schema, columns.clone(), &options)?;
            let value = step.evaluate(&batch).and_then(|value| value.into_array(rows.num_rows()));
            columns.push(value.map_err(|error| place.error(error))?);
            fields.push(Arc::clone(field));
        }
        Ok(columns.split_off(columns.len() - self.steps.len()))
    }
}

fn missing(input: &RequestInput, columns: &Schema) -> Error {
    let names: Vec<&str> = columns.fields().iter().map(|field| field.name().as_str()).collect();
    unknown_column(&input.name, &names, "the request")
        .with_note(format!("features that are computed on demand take it as {}", input.value_type))
}

fn check_type(input: &RequestInput, found: &DataType) -> Result<()> {
    if input.value_type.holds(found) || found.is_null() {
        return Ok(());
    }
    let RequestInput { name, value_type, .. } = input;
    Err(Error::invalid(format!("`{name}` is {found}, and the request declares {value_type}"))
        .with_help(format!("cast it: `CAST({name} AS {})`", sql_name(*value_type))))
}

fn sql_name(value_type: ValueType) -> String {
    match value_type {
        ValueType::Long => "BIGINT".to_owned(),
        ValueType::String => "VARCHAR".to_owned(),
        other => other.to_string().to_uppercase(),
    }
}

fn typed(input: &RequestInput, column: &ArrayRef) -> Result<ArrayRef> {
    let data_type = input.value_type.arrow();
    if *column.data_type() == data_type {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, &data_type, &options).map_err(|error| {
        Error::invalid(format!("a value of `{}` is no {}", input.name, input.value_type))
            .with_source(error)
    })
}

#[cfg(test)]
mod tests;
