//! Where the columns of a query come from.
//!
//! A query's plan is followed from its tables upward. What a column's values are made of is its
//! [inputs](ColumnLineage::inputs); what decides which rows there are, or how they are grouped and
//! ordered, are the query's [influences](QueryLineage::influences). The words are those of
//! OpenLineage's column lineage facet (`DIRECT` and `INDIRECT` transformations).

mod trace;

use icecore_core::{Result, TableName};
use serde::{Deserialize, Serialize};

use trace::trace;

use crate::describe::type_name;
use crate::engine::Engine;
use crate::resolve::Scope;

/// Where the columns of a query come from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct QueryLineage {
    /// The columns of the answer, in order.
    pub columns: Vec<ColumnLineage>,
    /// Columns that decide which rows there are, in order of table and column.
    pub influences: Vec<Influence>,
}

impl QueryLineage {
    /// The tables and views that are read, in order of name.
    #[must_use]
    pub fn tables(&self) -> Vec<&TableName> {
        let inputs =
            self.columns.iter().flat_map(|column| &column.inputs).map(|input| &input.table);
        let mut tables: Vec<&TableName> =
            inputs.chain(self.influences.iter().map(|influence| &influence.table)).collect();
        tables.sort();
        tables.dedup();
        tables
    }
}

/// Where the values of a column come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnLineage {
    /// The column's name.
    pub name: String,
    /// What it holds, in Iceberg's words; in Arrow's where no table stores it.
    pub data_type: String,
    /// The columns that its values are made of, in order of table and column; none for a constant.
    pub inputs: Vec<ColumnInput>,
}

/// A column that values are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnInput {
    /// The table or view.
    pub table: TableName,
    /// The column.
    pub column: String,
    /// What is done to its values.
    pub how: Derivation,
}

/// What becomes of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Derivation {
    /// They are taken as they are.
    Identity,
    /// Each is computed with.
    Transformation,
    /// Several become one.
    Aggregation,
}

/// A column that decides which rows there are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Influence {
    /// The table or view.
    pub table: TableName,
    /// The column.
    pub column: String,
    /// How it decides.
    pub by: InfluenceKind,
}

/// How a column decides which rows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InfluenceKind {
    /// Rows are left out by it.
    Filter,
    /// Rows are matched by it.
    Join,
    /// Rows are put together by it.
    GroupBy,
    /// Rows are ordered by it.
    Sort,
    /// Rows are divided or ordered by it for a window function.
    Window,
}

impl Engine {
    /// Says where the columns of a query come from. Views are sources of their own, which are not
    /// looked through.
    ///
    /// # Errors
    ///
    /// As [`Engine::query`].
    pub async fn lineage(&self, sql: &str, scope: &Scope) -> Result<QueryLineage> {
        let frame = self.query_in(sql, &scope.clone().with_opaque_views()).await?;
        let schema = frame.schema().clone();
        let traced = trace(frame.logical_plan());
        let columns =
            schema.fields().iter().zip(traced.columns).map(|(field, inputs)| ColumnLineage {
                name: field.name().clone(),
                data_type: type_name(field),
                inputs: inputs
                    .into_iter()
                    .map(|((table, column), how)| ColumnInput { table, column, how })
                    .collect(),
            });
        Ok(QueryLineage {
            columns: columns.collect(),
            influences: traced
                .influences
                .into_iter()
                .map(|((table, column), by)| Influence { table, column, by })
                .collect(),
        })
    }
}
