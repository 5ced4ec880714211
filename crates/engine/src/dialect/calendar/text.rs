//! `to_char(moment, format)`: DataFusion's, which takes moments of every unit, but whose signature
//! makes nanoseconds of those with a zone.

use std::any::Any;

use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::functions::datetime::to_char::ToCharFunc;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// A date, time, timestamp or duration as text.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::dialect) struct ToChar {
    inner: ToCharFunc,
    signature: Signature,
}

impl Default for ToChar {
    fn default() -> Self {
        let signature = Signature::user_defined(Volatility::Immutable);
        Self { inner: ToCharFunc::new(), signature }
    }
}

impl ScalarUDFImpl for ToChar {
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
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [moment, _] = types else {
            return plan_err!("to_char takes a date, time or timestamp, and a format");
        };
        let moment = match moment {
            DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                DataType::Date32
            }
            temporal if temporal.is_temporal() => temporal.clone(),
            other => return plan_err!("to_char takes a date, time or timestamp, not {other}"),
        };
        Ok(vec![moment, DataType::Utf8])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }
}
