//! Slices of texts: `'2026-11-22 22:04'[:10]`.

use datafusion::common::{DFSchema, Result};
use datafusion::functions::expr_fn::{substr, substring};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable as _, GetFieldAccess, lit};

/// Plans slices of texts; bounds count characters from one and are part of the slice, as those of
/// lists.
#[derive(Debug)]
pub(super) struct TextSlices;

impl ExprPlanner for TextSlices {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        let GetFieldAccess::ListRange { start, stop, .. } = &access.field_access else {
            return Ok(PlannerResult::Original(access));
        };
        if !access.expr.get_type(schema)?.is_string() {
            return Ok(PlannerResult::Original(access));
        }
        let (text, start) = (access.expr.clone(), start.as_ref().clone());
        Ok(PlannerResult::Planned(match stop.as_ref() {
            Expr::Literal(value, _) if *value == lit_minus_one() => substr(text, start),
            stop => {
                let count = stop.clone() - start.clone() + lit(1i64);
                substring(text, start, count)
            }
        }))
    }
}

fn lit_minus_one() -> datafusion::common::ScalarValue {
    datafusion::common::ScalarValue::Int64(Some(-1))
}
