//! `date_bin(width, moment, origin)`: DataFusion's, which counts nanoseconds. A moment that is out
//! of their range is an error here, and not a moment of another century.

use std::any::Any;

use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, exec_err};
use datafusion::functions::datetime::date_bin::DateBinFunc;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature};

/// The start of the window of a width that a moment lies in.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::dialect) struct DateBin {
    inner: DateBinFunc,
}

impl ScalarUDFImpl for DateBin {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(moments) = args.args.get(1) {
            check(moments)?;
        }
        self.inner.invoke_with_args(args)
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(input)
    }
}

/// Fails where a moment has no number of nanoseconds.
fn check(moments: &ColumnarValue) -> Result<()> {
    let DataType::Timestamp(unit, zone) = moments.data_type() else { return Ok(()) };
    if unit == TimeUnit::Nanosecond {
        return Ok(());
    }
    let column = moments.to_array(1)?;
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let nanos = DataType::Timestamp(TimeUnit::Nanosecond, zone);
    let counted = cast_with_options(&column, &nanos, &options)?;
    if counted.null_count() > column.null_count() {
        return exec_err!(
            "date_bin takes timestamps from 1677-09-21 to 2262-04-11 only; leave the others out, \
             or use date_trunc"
        );
    }
    Ok(())
}
