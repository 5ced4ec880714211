//! `date_part(part, moment)`: DataFusion's, but Monday is the first day of a week of ISO 8601 and
//! Sunday the seventh, as PostgreSQL and DuckDB have it. There Monday is day 0.

use std::any::Any;

use arrow::array::{AsArray, Int32Array};
use arrow::datatypes::{DataType, FieldRef, Int32Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::datetime::date_part::DatePartFunc;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
};

/// A part of a date, time, timestamp or interval.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::dialect) struct DatePart {
    inner: DatePartFunc,
}

impl ScalarUDFImpl for DatePart {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_week_day = args.args.first().is_some_and(is_iso_day);
        let part = self.inner.invoke_with_args(args)?;
        Ok(match part {
            ColumnarValue::Scalar(ScalarValue::Int32(Some(day))) if is_week_day => {
                ColumnarValue::Scalar(ScalarValue::Int32(Some(day + 1)))
            }
            ColumnarValue::Array(days) if is_week_day => {
                let days: Int32Array = days.as_primitive::<Int32Type>().unary(|day| day + 1);
                ColumnarValue::Array(std::sync::Arc::new(days))
            }
            other => other,
        })
    }

    fn preimage(
        &self,
        args: &[Expr],
        literal: &Expr,
        context: &SimplifyContext,
    ) -> Result<PreimageResult> {
        self.inner.preimage(args, literal, context)
    }
}

fn is_iso_day(part: &ColumnarValue) -> bool {
    let ColumnarValue::Scalar(part) = part else { return false };
    // DataFusion takes parts in quotes, too.
    let text = part.try_as_str().flatten().unwrap_or_default();
    text.trim_matches(|c| c == '\'' || c == '"').eq_ignore_ascii_case("isodow")
}
