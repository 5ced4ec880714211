//! Conditions on the rows of a table, as people write them: `amount < 0 AND user_token = 'u1'`.

use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use icecore_catalog::{RowFilter, RowTest};
use icecore_core::{Error, Predicate, Result};

use crate::dialect;
use crate::error::OrOurs as _;
use crate::literals::as_typed;
use crate::parse::parse_expression;
use crate::provider::{exact_predicate, fit, implied_predicate, plain};

/// Understands a condition on rows of these columns.
pub(crate) fn row_filter(
    state: &SessionState,
    columns: &SchemaRef,
    condition: &str,
) -> Result<RowFilter> {
    let columns = &plain(columns);
    let schema = DFSchema::try_from(columns.as_ref().clone()).or_ours()?;
    let expr = simplified(state, &schema, condition)?;
    if let Expr::Literal(ScalarValue::Boolean(answer), _) = &expr {
        let none = Vec::new();
        let all = *answer == Some(true);
        return Ok(if all { Predicate::And(none) } else { Predicate::Or(none) }.into());
    }
    if let Some(predicate) = exact_predicate(&expr, columns) {
        return Ok(predicate.into());
    }
    Ok(test(state, columns, &expr, condition)?.into())
}

/// Understands a condition on rows of these columns, to be asked of each row.
pub(crate) fn row_test(
    state: &SessionState,
    columns: &SchemaRef,
    condition: &str,
) -> Result<Arc<dyn RowTest>> {
    let columns = &plain(columns);
    let schema = DFSchema::try_from(columns.as_ref().clone()).or_ours()?;
    let expr = simplified(state, &schema, condition)?;
    test(state, columns, &expr, condition)
}

fn test(
    state: &SessionState,
    columns: &SchemaRef,
    expr: &Expr,
    condition: &str,
) -> Result<Arc<dyn RowTest>> {
    let mut names: Vec<String> =
        expr.column_refs().into_iter().map(|column| column.name.clone()).collect();
    names.sort_unstable();
    let fields = names.iter().map(|name| columns.field_with_name(name).cloned());
    let fields = fields.collect::<std::result::Result<Vec<_>, _>>()?;
    let columns_read = Arc::new(Schema::new(fields));
    let schema = DFSchema::try_from(columns_read.as_ref().clone()).or_ours()?;
    let physical = state.create_physical_expr(expr.clone(), &schema).or_ours()?;
    let implied = implied_predicate(expr, columns);
    Ok(Arc::new(Condition { text: condition.to_owned(), columns: columns_read, implied, physical }))
}

fn simplified(state: &SessionState, schema: &DFSchema, condition: &str) -> Result<Expr> {
    let expr = as_typed(parse(state, schema, condition)?, schema).or_ours()?;
    let context = SimplifyContext::default()
        .with_schema(Arc::new(schema.clone()))
        .with_config_options(Arc::clone(state.config_options()))
        // `now()` is one moment for all rows.
        .with_current_time();
    let simplifier = ExprSimplifier::new(context);
    let expr = simplifier.coerce(expr, schema).or_ours()?;
    let of = expr.get_type(schema).or_ours()?;
    if of != DataType::Boolean {
        return Err(Error::invalid(format!("`{condition}` is `{of}`, and not true or false"))
            .with_help("write a condition such as `amount < 0`"));
    }
    let expr = simplifier.simplify(expr).or_ours()?;
    if expr.is_volatile() {
        return Err(Error::invalid(format!(
            "`{condition}` has another answer each time that it is asked"
        )));
    }
    Ok(expr)
}

fn parse(state: &SessionState, schema: &DFSchema, condition: &str) -> Result<Expr> {
    // Nothing may follow: `true); …` is no condition.
    let mut parsed = parse_expression(condition).or_ours()?;
    dialect::rewrite_expressions(&mut parsed.expr);
    state.create_logical_expr_from_sql_expr(parsed, schema).or_ours()
}

/// A condition that no predicate says.
struct Condition {
    text: String,
    /// What it reads.
    columns: SchemaRef,
    implied: Option<Predicate>,
    physical: Arc<dyn PhysicalExpr>,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.text).finish()
    }
}

impl RowTest for Condition {
    fn columns(&self) -> Vec<String> {
        self.columns.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn implied(&self) -> Option<Predicate> {
        self.implied.clone()
    }

    fn passes(&self, rows: &RecordBatch) -> Result<BooleanArray> {
        let mut columns = rows.columns().iter().zip(self.columns.fields());
        let is_fit = columns.all(|(column, field)| column.data_type() == field.data_type());
        let answer = if is_fit {
            self.physical.evaluate(rows)
        } else {
            fit(rows, &self.columns).and_then(|rows| self.physical.evaluate(&rows))
        };
        let answer = answer.and_then(|answer| answer.into_array(rows.num_rows())).or_ours();
        let answer = answer.map_err(|error| {
            let message = format!("`{}` cannot be asked of a row: {error}", self.text);
            let named = Error::new(error.kind(), message);
            match error.help() {
                Some(help) => named.with_help(help),
                None => named,
            }
        })?;
        answer
            .as_boolean_opt()
            .cloned()
            .ok_or_else(|| Error::internal(format!("`{}` is not true or false", self.text)))
    }
}

#[cfg(test)]
mod tests;
