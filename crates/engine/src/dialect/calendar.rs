//! `date_add_units(unit, n, moment)` and `date_diff_units(unit, from, to)`: what `DATEADD` and
//! `DATEDIFF` become; and what DataFusion has of the same kind, put right: `date_trunc`,
//! `date_part`, `date_bin`, `to_char`.

mod bin;
mod civil;
mod part;
mod text;
mod trunc;
mod unit;

use std::any::Any;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int64Array, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

pub(super) use bin::DateBin;
pub(super) use part::DatePart;
pub(super) use text::ToChar;
pub(super) use trunc::DateTrunc;
pub(super) use unit::Unit;

pub(crate) const DATE_ADD: &str = "date_add_units";
pub(super) const DATE_DIFF: &str = "date_diff_units";

/// A date or moment, so many units later: a date stays one if the unit is a day or more.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateAdd {
    signature: Signature,
}

impl Default for DateAdd {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// How many borders of a unit lie between two moments: days begin at midnight UTC, weeks on Monday.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateDiff {
    signature: Signature,
}

impl Default for DateDiff {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DateAdd {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        DATE_ADD
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [_, _, moment] = types else {
            return plan_err!("DATEADD takes a unit, a number and a date or timestamp");
        };
        Ok(vec![DataType::Utf8, DataType::Int64, moment_type("DATEADD", moment)?])
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        plan_err!("the type of DATEADD depends on its unit")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let unit = unit_of(args.scalar_arguments.first().copied().flatten())?;
        let is_nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        let moment = args.arg_fields.last().map_or(&DataType::Date32, |field| field.data_type());
        let returned = match moment {
            DataType::Date32 if unit.is_date() => DataType::Date32,
            DataType::Date32 => DataType::Timestamp(TimeUnit::Microsecond, None),
            other => other.clone(),
        };
        Ok(Arc::new(Field::new(self.name(), returned, is_nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let returned = args.return_type().clone();
        let (unit, counts, moments, is_scalar) = operands(&args)?;
        let counts = counts.as_primitive::<Int64Type>();
        let later = |row: usize, micros: i64| match unit.later(micros, counts.value(row)) {
            Some(later) => Ok(later),
            None => exec_err!("DATEADD leaves the range of timestamps"),
        };
        let is_null = |row: usize| counts.is_null(row) || moments.is_null(row);
        let values: Vec<Option<i64>> =
            {
                let micros = micros(&moments)?;
                (0..micros.len())
                    .map(|row| {
                        if is_null(row) {
                            Ok(None)
                        } else {
                            later(row, micros.value(row)).map(Some)
                        }
                    })
                    .collect::<Result<_>>()?
            };
        let column: ArrayRef = match &returned {
            DataType::Date32 => {
                let days = values.into_iter().map(|micros| {
                    micros.and_then(|micros| i32::try_from(micros.div_euclid(unit::DAY)).ok())
                });
                Arc::new(days.collect::<Date32Array>())
            }
            DataType::Timestamp(_, zone) => {
                let column: TimestampMicrosecondArray = values.into_iter().collect();
                Arc::new(column.with_timezone_opt(zone.clone()))
            }
            other => return exec_err!("DATEADD cannot answer {other}"),
        };
        answer(column, is_scalar)
    }
}

impl ScalarUDFImpl for DateDiff {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        DATE_DIFF
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [_, from, to] = types else {
            return plan_err!("DATEDIFF takes a unit and two dates or timestamps");
        };
        Ok(vec![DataType::Utf8, moment_type("DATEDIFF", from)?, moment_type("DATEDIFF", to)?])
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (unit, from, to, is_scalar) = operands(&args)?;
        let (from, to) = (micros(&from)?, micros(&to)?);
        let count: Int64Array = from
            .iter()
            .zip(to.iter())
            .map(|(from, to)| Some(unit.border(to?).saturating_sub(unit.border(from?))))
            .collect();
        answer(Arc::new(count), is_scalar)
    }
}

/// The unit, the two other arguments as columns, and whether all of them are single values.
fn operands(args: &ScalarFunctionArgs) -> Result<(Unit, ArrayRef, ArrayRef, bool)> {
    let is_scalar = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
    let rows = if is_scalar { 1 } else { args.number_rows };
    let [unit, left, right] = args.args.as_slice() else {
        return exec_err!("a calendar function takes three arguments");
    };
    let ColumnarValue::Scalar(unit) = unit else {
        return exec_err!("the unit must be written in the query");
    };
    let unit = unit_of(Some(unit))?;
    Ok((unit, left.to_array(rows)?, right.to_array(rows)?, is_scalar))
}

fn answer(column: ArrayRef, is_scalar: bool) -> Result<ColumnarValue> {
    Ok(if is_scalar {
        ColumnarValue::Scalar(ScalarValue::try_from_array(&column, 0)?)
    } else {
        ColumnarValue::Array(column)
    })
}

fn unit_of(value: Option<&ScalarValue>) -> Result<Unit> {
    let unit = match value {
        Some(ScalarValue::Utf8(Some(text))) => Unit::parse(text),
        _ => None,
    };
    match unit {
        Some(unit) => Ok(unit),
        None => plan_err!("the unit must be written in the query, such as `day`"),
    }
}

/// The type in which a date or moment is computed with.
fn moment_type(function: &str, data_type: &DataType) -> Result<DataType> {
    Ok(match data_type {
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        other => return plan_err!("{function} takes a date or timestamp, not {other}"),
    })
}

/// Dates and moments in microseconds.
fn micros(moments: &ArrayRef) -> Result<Int64Array> {
    Ok(match moments.data_type() {
        DataType::Date32 => moments
            .as_primitive::<Date32Type>()
            .iter()
            .map(|day| day.map(|day| i64::from(day) * unit::DAY))
            .collect(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            moments.as_primitive::<TimestampMicrosecondType>().reinterpret_cast::<Int64Type>()
        }
        _ => cast(moments, &DataType::Int64)?.as_primitive::<Int64Type>().clone(),
    })
}
