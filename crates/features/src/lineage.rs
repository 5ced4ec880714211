//! Which columns of its source a feature comes from.

use std::collections::BTreeSet;

use icecore_core::{FeatureView, PinnedTable, Result, TableName};
use icecore_engine::{Engine, Scope};

use crate::Definitions;
use crate::expression::Expression;

/// A feature and what it is computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureLineage {
    /// The feature's column.
    pub feature: String,
    /// The columns of the source, in order.
    pub inputs: Vec<SourceUse>,
    /// What requests have to bring, in order; nothing for a feature that is stored.
    pub requests: Vec<String>,
}

/// A column of a source, in one of its parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceUse {
    /// The table; absent for a column of the source's query.
    pub table: Option<TableName>,
    /// The column.
    pub column: String,
    /// Whether the feature's value is computed from it. Otherwise it only decides which events
    /// count: a condition, the time, a key.
    pub is_value: bool,
}

/// What each feature of a view is computed from. Columns are those of the source table, or those
/// that the source's query gives; [`source_lineage`] looks through the query.
#[must_use]
pub fn view_lineage(definitions: &Definitions, view: &FeatureView) -> Vec<FeatureLineage> {
    let used = |column: &String, is_value| SourceUse {
        table: view.source.clone(),
        column: column.clone(),
        is_value,
    };
    let value = |column: &String| used(column, true);
    let decides = |column: &String| used(column, false);
    let mut always: BTreeSet<SourceUse> = BTreeSet::new();
    always.extend(definitions.join_keys(view).unwrap_or_default().iter().map(decides));
    always.insert(decides(&view.event_timestamp));
    always.extend(condition(view.filter.as_ref()).iter().map(decides));
    let mut lineage: Vec<Traced> = Vec::new();
    for column in &view.columns {
        lineage.push(Traced::new(column, always.iter().cloned().chain([value(column)]).collect()));
    }
    for aggregate in &view.aggregates {
        let mut inputs = always.clone();
        inputs.extend(aggregate.column.as_ref().map(value));
        inputs.extend(condition(aggregate.filter.as_ref()).iter().map(decides));
        for window in &aggregate.windows {
            lineage.push(Traced::new(&aggregate.column_name(*window), inputs.clone()));
        }
    }
    for at in crate::order::derived(view).unwrap_or_default() {
        let Some(derived) = view.derived.get(at) else { continue };
        let used = condition(Some(&derived.expression));
        let mut traced = Traced::new(&derived.name, BTreeSet::new());
        for other in lineage.iter().filter(|other| used.contains(&other.feature)) {
            traced.inputs.extend(other.inputs.iter().cloned());
            traced.requests.extend(other.requests.iter().cloned());
        }
        let requests = view.request_inputs.iter().map(|input| &input.name);
        traced.requests.extend(requests.filter(|name| used.contains(*name)).cloned());
        lineage.push(traced);
    }
    let order = view.feature_names();
    lineage.sort_by_key(|traced| order.iter().position(|known| *known == traced.feature));
    lineage.into_iter().map(Traced::finish).collect()
}

/// The same, with the columns of a query followed to the tables that it reads at these pins.
///
/// # Errors
///
/// Those of planning the query.
pub async fn source_lineage(
    engine: &Engine,
    definitions: &Definitions,
    view: &FeatureView,
    pins: &[PinnedTable],
) -> Result<Vec<FeatureLineage>> {
    let mut lineage = view_lineage(definitions, view);
    let Some(query) = &view.source_sql else { return Ok(lineage) };
    let query = engine.lineage(query, &Scope::new(pins)).await?;
    let influences: Vec<SourceUse> = query
        .influences
        .into_iter()
        .map(|by| SourceUse { table: Some(by.table), column: by.column, is_value: false })
        .collect();
    for feature in &mut lineage {
        let mut inputs: BTreeSet<SourceUse> = BTreeSet::new();
        // What is computed from a request alone reads no row of the query.
        if !feature.inputs.is_empty() {
            inputs.extend(influences.iter().cloned());
        }
        for used in &feature.inputs {
            let columns = query.columns.iter().filter(|column| column.name == used.column);
            inputs.extend(columns.flat_map(|column| &column.inputs).map(|input| SourceUse {
                table: Some(input.table.clone()),
                column: input.column.clone(),
                is_value: used.is_value,
            }));
        }
        feature.inputs = inputs.into_iter().collect();
    }
    Ok(lineage)
}

struct Traced {
    feature: String,
    inputs: BTreeSet<SourceUse>,
    requests: BTreeSet<String>,
}

impl Traced {
    fn new(feature: &str, inputs: BTreeSet<SourceUse>) -> Self {
        Self { feature: feature.to_owned(), inputs, requests: BTreeSet::new() }
    }

    fn finish(self) -> FeatureLineage {
        FeatureLineage {
            feature: self.feature,
            inputs: self.inputs.into_iter().collect(),
            requests: self.requests.into_iter().collect(),
        }
    }
}

/// The columns of an expression; none of one that cannot be read.
fn condition(text: Option<&String>) -> BTreeSet<String> {
    let parsed = text.and_then(|text| Expression::parse(text).ok());
    parsed.map(|parsed| parsed.columns()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Lakehouse, events};
    use crate::local::pin_sources;

    #[tokio::test]
    async fn columns_of_a_query_are_followed_to_its_tables() {
        let lake = Lakehouse::open(1).await;
        lake.append(&events(1, 20), 20).await;
        let definitions = Definitions::parse(
            "f.toml",
            r#"
            [[entity]]
            name = "user"
            join_keys = ["who"]
            [[feature_view]]
            name = "v"
            entities = ["user"]
            source_sql = """
                SELECT user_token AS who, event_timestamp, amount * 2 AS doubled
                FROM events.raw_transactions WHERE status = 'approved'
            """
            table = "ml_features.v"
            [[feature_view.request]]
            name = "now"
            type = "double"
            [[feature_view.aggregate]]
            name = "spend"
            function = "sum"
            column = "doubled"
            windows = ["7d"]
            [[feature_view.derived]]
            name = "share"
            expression = "now / spend_7d"
            [[feature_view.derived]]
            name = "only_request"
            expression = "now > 1"
            "#,
        )
        .unwrap();
        let view = &definitions.views[0];
        let pins = pin_sources(&lake.engine, view, &[]).await.unwrap();
        let lineage = source_lineage(&lake.engine, &definitions, view, &pins).await.unwrap();
        let inputs = |feature: &FeatureLineage| -> Vec<String> {
            let text = |used: &SourceUse| {
                let table = used.table.as_ref().map_or("?", TableName::as_str);
                format!("{table}.{}{}", used.column, if used.is_value { " value" } else { "" })
            };
            feature.inputs.iter().map(text).collect()
        };
        let table = "events.raw_transactions";
        let expected = ["amount value", "event_timestamp", "status", "user_token"];
        let expected = expected.map(|column| format!("{table}.{column}"));
        assert_eq!(inputs(&lineage[0]), expected);
        assert_eq!(inputs(&lineage[1]), expected, "a derived feature has what it is made of");
        assert_eq!(
            (lineage[0].requests.len(), &lineage[1].requests[..]),
            (0, &["now".to_owned()][..])
        );
        assert!(lineage[2].inputs.is_empty() && lineage[2].requests == ["now"]);
        // Without looking through the query, they are its own columns.
        let plain = view_lineage(&definitions, view);
        assert_eq!(inputs(&plain[0]), ["?.doubled value", "?.event_timestamp", "?.who"]);
    }
}
