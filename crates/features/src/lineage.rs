//! Which columns of its source a feature comes from.

use std::collections::BTreeSet;

use icecore_core::FeatureView;

use crate::Definitions;
use crate::expression::Expression;

/// A feature and what it is computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureLineage {
    /// The feature's column.
    pub feature: String,
    /// The columns of the source, in order.
    pub inputs: Vec<SourceUse>,
}

/// A column of a source, in one of its parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceUse {
    /// The column.
    pub column: String,
    /// Whether the feature's value is computed from it. Otherwise it only decides which events
    /// count: a condition, the time, a key.
    pub is_value: bool,
}

/// What each feature of a view is computed from. Columns are those of the source table, or those
/// that the source's query gives.
#[must_use]
pub fn view_lineage(definitions: &Definitions, view: &FeatureView) -> Vec<FeatureLineage> {
    let mut always: BTreeSet<SourceUse> = BTreeSet::new();
    let keys = definitions.join_keys(view).unwrap_or_default();
    let decides = |column: String| SourceUse { column, is_value: false };
    always.extend(keys.into_iter().map(decides));
    always.insert(decides(view.event_timestamp.clone()));
    always.extend(condition(view.filter.as_ref()).into_iter().map(decides));
    let value = |column: &String| SourceUse { column: column.clone(), is_value: true };
    let mut lineage: Vec<(String, BTreeSet<SourceUse>)> = Vec::new();
    for column in &view.columns {
        lineage.push((column.clone(), always.iter().cloned().chain([value(column)]).collect()));
    }
    for aggregate in &view.aggregates {
        let mut inputs = always.clone();
        inputs.extend(aggregate.column.as_ref().map(value));
        inputs.extend(condition(aggregate.filter.as_ref()).into_iter().map(decides));
        for window in &aggregate.windows {
            lineage.push((aggregate.column_name(*window), inputs.clone()));
        }
    }
    for at in crate::order::derived(view).unwrap_or_default() {
        let Some(derived) = view.derived.get(at) else { continue };
        let used = condition(Some(&derived.expression));
        let inputs = lineage.iter().filter(|(name, _)| used.contains(name));
        let inputs = inputs.flat_map(|(_, inputs)| inputs.iter().cloned()).collect();
        lineage.push((derived.name.clone(), inputs));
    }
    let order = view.feature_names();
    lineage.sort_by_key(|(name, _)| order.iter().position(|known| known == name));
    let features = lineage
        .into_iter()
        .map(|(feature, inputs)| FeatureLineage { feature, inputs: inputs.into_iter().collect() });
    features.collect()
}

/// The columns of an expression; none of one that cannot be read.
fn condition(text: Option<&String>) -> BTreeSet<String> {
    let parsed = text.and_then(|text| Expression::parse(text).ok());
    parsed.map(|parsed| parsed.columns()).unwrap_or_default()
}
