//! Whether what was served is what the tables say of its moment: a proof on values.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{and, cast, is_null, not};
use arrow::datatypes::DataType;
use futures::TryStreamExt;
use icecore_core::{Error, Result, SnapshotCatalog, SnapshotSelector, Span, TableName};
use icecore_dataset::{Asked, Retrieval};
use icecore_features::{Definitions, resolve_features, select_features};
use serde::Serialize;

use crate::Project;

/// What a log of requests has beside keys and features.
const OF_THE_LOG: [&str; 6] =
    ["request_id", "source", "reason", "feature_status", "others", "model_version"];
/// Before the name of a feature: its logged values.
const LOGGED: &str = "logged__";

/// How a feature was served, against its table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServedFeature {
    /// Rows with the same value in both; null is a value.
    pub same: u64,
    /// Rows with another value in the table.
    pub differ: u64,
    /// Rows that were served no value, and the table has one.
    pub only_table: u64,
    /// Rows that were served a value, and the table has none.
    pub only_served: u64,
}

/// What was served, against the tables as of each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServedSkew {
    /// The log.
    pub table: TableName,
    /// The feature service.
    pub service: String,
    /// Rows that were compared.
    pub rows: u64,
    /// What was found of each feature.
    pub features: BTreeMap<String, ServedFeature>,
    /// Features that cannot be computed again, since the log does not have what they are computed
    /// from.
    pub left_out: Vec<String>,
}

impl ServedSkew {
    /// Whether everything that was served is what the tables say.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.features.values().all(|of| of.differ + of.only_table + of.only_served == 0)
    }
}

impl Project {
    /// Compares features in a log of requests with what the tables say of the same entities at the
    /// same moments, as a training set would have them. Only rows of the last `since` count.
    ///
    /// The log of a service's features names the service; for the log of a model's predictions it
    /// has to be named.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a log that says of no service, `NotFound` for an unknown table or service.
    pub async fn serving_skew(
        &self,
        table: &TableName,
        service: Option<&str>,
        since: Span,
    ) -> Result<ServedSkew> {
        let definitions = self.definitions()?;
        let service = service.or_else(|| table.table().strip_prefix("features_"));
        let service = service.ok_or_else(|| {
            Error::invalid(format!("`{table}` does not say of which feature service it is"))
                .with_help("name it: `--service NAME`")
        })?;
        let wanted = &definitions.service(service)?.features;
        let pin = self.catalog().pin(table, &SnapshotSelector::Latest).await?;
        let schema = self.catalog().schema(&pin).await?;
        let columns: BTreeSet<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let (features, left_out) = recomputable(&definitions, wanted, &columns)?;
        let names: BTreeSet<&str> = features.iter().map(|(_, feature)| feature.as_str()).collect();
        let mut retrieval =
            Retrieval::new(features.iter().map(|(view, feature)| format!("{view}:{feature}")));
        retrieval.event_timestamp = "event_timestamp".to_owned();
        let from = self.clock().now().micros().saturating_sub(since.micros());
        let asked = Asked::Query(spine(table, (&columns, &names), from));
        let mut rows = self.retrieve_features(asked, &retrieval).await?.rows;
        let mut found = ServedSkew {
            table: table.clone(),
            service: service.to_owned(),
            rows: 0,
            features: names.iter().map(|name| ((*name).to_owned(), <_>::default())).collect(),
            left_out,
        };
        while let Some(batch) = rows.try_next().await? {
            found.rows += batch.num_rows() as u64;
            for (name, of) in &mut found.features {
                of.add(&column(&batch, &format!("{LOGGED}{name}"))?, &column(&batch, name)?)?;
            }
        }
        Ok(found)
    }
}

/// A view and one of its features.
type ViewFeature = (String, String);

/// The features of a service that the log has and that are not computed from what a request brought;
/// and the others.
fn recomputable(
    definitions: &Definitions,
    wanted: &[String],
    columns: &BTreeSet<&str>,
) -> Result<(Vec<ViewFeature>, Vec<String>)> {
    let (mut features, mut left_out) = (Vec::new(), Vec::new());
    for (view, names) in resolve_features(definitions, wanted)? {
        for name in names {
            let one = std::slice::from_ref(&name);
            let selection = select_features(definitions.view(&view)?, one)?;
            match selection.on_demand.requests.is_empty() && columns.contains(name.as_str()) {
                true => features.push((view.clone(), name)),
                false => left_out.push(name),
            }
        }
    }
    if features.is_empty() {
        return Err(Error::invalid("the log has none of the service's features")
            .with_help("name the service whose features it has: `--service NAME`"));
    }
    Ok((features, left_out))
}

/// The logged rows, with features under names of their own.
fn spine(
    table: &TableName,
    (columns, features): (&BTreeSet<&str>, &BTreeSet<&str>),
    from: i64,
) -> String {
    let select =
        columns.iter().filter(|name| !OF_THE_LOG.contains(name)).map(|name| {
            match features.contains(name) {
                true => format!("{} AS {}", ident(name), ident(&format!("{LOGGED}{name}"))),
                false => ident(name),
            }
        });
    let select = select.collect::<Vec<_>>().join(", ");
    let parts = table.namespace().split('.').chain([table.table()]);
    let table = parts.map(ident).collect::<Vec<_>>().join(".");
    format!(
        "SELECT {select} FROM {table} WHERE event_timestamp >= \
         arrow_cast({from}, 'Timestamp(Microsecond, Some(\"+00:00\"))')"
    )
}

fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn column(batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
    batch
        .column_by_name(name)
        .cloned()
        .ok_or_else(|| Error::internal(format!("the joined rows have lost `{name}`")))
}

impl ServedFeature {
    fn add(&mut self, served: &ArrayRef, table: &ArrayRef) -> Result<()> {
        // What models read is logged as doubles, whatever the table has.
        let common = match (served.data_type(), table.data_type()) {
            (served, table) if served == table => table.clone(),
            (served, table) if served.is_numeric() && table.is_numeric() => DataType::Float64,
            (_, table) if table.is_nested() => return Err(nested()),
            _ => DataType::Utf8,
        };
        let (served, table) = (cast(served, &common)?, cast(table, &common)?);
        if common.is_nested() {
            return Err(nested());
        }
        let same = not_distinct(&served, &table)?;
        let (no_served, no_table) = (is_null(&served)?, is_null(&table)?);
        let count = |flags: &BooleanArray| flags.true_count() as u64;
        let only_table = count(&and(&no_served, &not(&no_table)?)?);
        let only_served = count(&and(&not(&no_served)?, &no_table)?);
        let same = count(&same);
        self.same += same;
        self.only_table += only_table;
        self.only_served += only_served;
        self.differ += (served.len() as u64).saturating_sub(same + only_table + only_served);
        Ok(())
    }
}

fn nested() -> Error {
    Error::unsupported("features of lists and structs are not compared value by value")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn values_are_the_same_or_told_apart_by_who_has_them() {
        let mut found = ServedFeature::default();
        let nan = f64::NAN;
        let served = [Some(1.0), Some(nan), None, None, Some(4.0), Some(5.0)];
        let table = [Some(1.0), Some(nan), None, Some(3.0), None, Some(5.5)];
        let array =
            |values: &[Option<f64>]| Arc::new(Float64Array::from(values.to_vec())) as ArrayRef;
        found.add(&array(&served), &array(&table)).unwrap();
        let expected = ServedFeature { same: 3, differ: 1, only_table: 1, only_served: 1 };
        assert_eq!(found, expected);
        let whole: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        found.add(&array(&[Some(1.0), None]), &whole).unwrap();
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        found.add(&texts, &texts).unwrap();
        assert_eq!(found, ServedFeature { same: 7, ..expected });
    }

    #[test]
    fn logged_features_have_names_of_their_own() {
        let table = TableName::parse("serving.features_churn").unwrap();
        let columns = BTreeSet::from(["user", "event_timestamp", "amount", "request_id"]);
        let sql = spine(&table, (&columns, &BTreeSet::from(["amount"])), 7);
        assert!(sql.starts_with(
            "SELECT \"amount\" AS \"logged__amount\", \"event_timestamp\", \"user\" FROM \
             \"serving\".\"features_churn\" WHERE"
        ));
    }
}
