//! Expressions of definitions that say where they stand when a value is too much for them.

use std::any::Any;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use icecore_core::{Error, Location};
use icecore_engine::from_datafusion;

use crate::expression::{coerced, physical};

/// Whose an expression is, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// What cannot be computed if it fails.
    pub(crate) what: String,
    /// The expression as it was written.
    pub(crate) text: String,
    /// Absent where the definition is not at hand, as in a server.
    pub(crate) location: Option<Location>,
}

impl Place {
    /// The same expression, whose errors name this place. One that fails for no value stays as it
    /// is, for the optimizer to look through.
    pub(crate) fn of(
        &self,
        expr: Expr,
        schema: &DFSchema,
        context: &SessionContext,
    ) -> Result<Expr, DataFusionError> {
        if !can_fail(&coerced(expr.clone(), schema)?, schema)? {
            return Ok(expr);
        }
        let mut columns: Vec<Column> = expr.column_refs().into_iter().cloned().collect();
        columns.sort();
        let mut fields = Vec::with_capacity(columns.len());
        for column in &columns {
            let (qualifier, field) = schema.qualified_field_from_column(column)?;
            let field: FieldRef = Arc::new(field.as_ref().clone().with_nullable(true));
            fields.push((qualifier.cloned(), field));
        }
        let schema = DFSchema::new_with_metadata(fields, HashMap::new())?;
        let expression = physical(context, expr, &schema)?;
        let schema: SchemaRef = Arc::new(schema.as_arrow().clone());
        let returns = expression.data_type(&schema)?;
        let signature = match columns.len() {
            0 => Signature::nullary(Volatility::Immutable),
            count => Signature::any(count, Volatility::Immutable),
        };
        let placed = Placed { place: self.clone(), expression, schema, returns, signature };
        let columns = columns.into_iter().map(Expr::Column).collect();
        Ok(ScalarUDF::new_from_impl(placed).call(columns))
    }

    /// The same condition. Its parts stay apart, so that scans look through those that cannot fail.
    pub(crate) fn of_condition(
        &self,
        condition: Expr,
        schema: &DFSchema,
        context: &SessionContext,
    ) -> Result<Expr, DataFusionError> {
        let parts = split_conjunction_owned(condition.clone()).into_iter();
        let parts = parts.map(|part| self.of(part, schema, context));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        Ok(conjunction(parts).unwrap_or(condition))
    }

    /// An error of the expression, at its place.
    pub(crate) fn error(&self, error: DataFusionError) -> Error {
        let inner = from_datafusion(error);
        let message = format!("{} cannot be computed: {inner}", self.what);
        let mut error = Error::new(inner.kind(), message).with_note(format!("`{}`", self.text));
        for note in inner.notes() {
            error = error.with_note(note.clone());
        }
        let help = "`NULLIF(x, 0)` and `TRY_CAST(x AS …)` give null where there is no value";
        error = error.with_help(inner.help().unwrap_or(help));
        match &self.location {
            Some(location) => error.at(location.clone()),
            None => error,
        }
    }
}

/// An expression as a function of the columns that it reads.
#[derive(Debug)]
struct Placed {
    place: Place,
    expression: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
    returns: DataType,
    signature: Signature,
}

impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
            && self.schema == other.schema
            && self.expression.as_ref() == other.expression.as_ref()
    }
}

impl Eq for Placed {}

impl Hash for Placed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place.what.hash(state);
        self.place.text.hash(state);
    }
}

impl ScalarUDFImpl for Placed {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        "placed"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let rows = args.number_rows;
        let mut columns = Vec::with_capacity(args.args.len());
        for (value, field) in args.args.into_iter().zip(self.schema.fields()) {
            let column = value.into_array(rows)?;
            // A file may lay text out in another way than the plan says.
            columns.push(match column.data_type() == field.data_type() {
                true => column,
                false => cast(&column, field.data_type())?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.schema);
        let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let value = self.expression.evaluate(&batch);
        let value = value.and_then(|value| value.into_array(rows));
        let value =
            value.map_err(|error| DataFusionError::External(Box::new(self.place.error(error))))?;
        Ok(ColumnarValue::Array(value))
    }
}

/// Whether there are values for which an expression has none, not even null.
fn can_fail(expr: &Expr, schema: &DFSchema) -> Result<bool, DataFusionError> {
    let mut found = false;
    expr.apply(|node| {
        found = match node {
            Expr::Column(_)
            | Expr::Literal(..)
            | Expr::Alias(_)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsNotUnknown(_)
            | Expr::Between(_)
            | Expr::Case(_)
            | Expr::InList(_)
            | Expr::TryCast(_) => false,
            Expr::BinaryExpr(binary) => operator_can_fail(binary, node, schema)?,
            // What true division is made of.
            Expr::ScalarFunction(call) => {
                !["nullif", "coalesce", "greatest", "least"].contains(&call.name())
            }
            Expr::Cast(cast) => {
                cast_can_fail(&cast.expr.get_type(schema)?, &node.get_type(schema)?)
            }
            _ => true,
        };
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn operator_can_fail(
    binary: &BinaryExpr,
    node: &Expr,
    schema: &DFSchema,
) -> Result<bool, DataFusionError> {
    use Operator::{
        And, Divide, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, Minus, Modulo,
        Multiply, NotEq, Or, Plus,
    };
    Ok(match binary.op {
        And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom => false,
        // Whole numbers wrap around, and floats are infinite.
        Plus | Minus | Multiply => {
            let value = node.get_type(schema)?;
            !value.is_integer() && !value.is_floating()
        }
        Divide | Modulo => !node.get_type(schema)?.is_floating(),
        _ => true,
    })
}

fn cast_can_fail(from: &DataType, to: &DataType) -> bool {
    use DataType::{Float32, Float64, LargeUtf8, Utf8, Utf8View};
    let is_whole = from.is_integer() && to.is_integer();
    let is_wider = match (from.primitive_width(), to.primitive_width()) {
        (Some(from_width), Some(to_width)) if is_whole => {
            to_width > from_width && (to.is_signed_integer() || from.is_unsigned_integer())
        }
        _ => false,
    };
    let is_float = from.is_numeric() && matches!(to, Float32 | Float64);
    let is_text = matches!(from, Utf8 | LargeUtf8 | Utf8View);
    let stays_text = is_text && matches!(to, Utf8 | LargeUtf8 | Utf8View);
    !(from == to || from.is_null() || is_wider || is_float || stays_text)
}

#[cfg(test)]
mod tests;
