//! `date_trunc(unit, moment)`: the last border of a unit at or before a moment.
//!
//! It is DataFusion's, but computes in the unit that the moments are counted in. DataFusion's counts
//! nanoseconds, in which a moment before 1677 or after 2262 becomes another one.

use std::any::Any;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowTimestampType, DataType, Field, FieldRef, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use chrono::{DateTime, LocalResult, NaiveDateTime, Offset as _, TimeDelta, TimeZone};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::Unit;

const NAME: &str = "date_trunc";

/// A moment's or time's last border of a unit. Days and what is longer begin at midnight in the zone
/// of the moments, weeks on Monday.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::dialect) struct DateTrunc {
    signature: Signature,
    aliases: [String; 1],
}

impl Default for DateTrunc {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
            aliases: ["datetrunc".to_owned()],
        }
    }
}

impl ScalarUDFImpl for DateTrunc {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [unit, moment] = types else {
            return plan_err!("{NAME} takes a unit and a date, timestamp or time");
        };
        if !unit.is_string() && !unit.is_null() {
            return plan_err!("{NAME} takes a unit first, such as 'day', not {unit}");
        }
        let micros = || DataType::Timestamp(TimeUnit::Microsecond, None);
        let moment = match moment {
            DataType::Timestamp(..) | DataType::Time32(_) | DataType::Time64(_) => moment.clone(),
            DataType::Date32 | DataType::Date64 | DataType::Null => micros(),
            text if text.is_string() => micros(),
            other => return plan_err!("{NAME} takes a date, timestamp or time, not {other}"),
        };
        Ok(vec![DataType::Utf8, moment])
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        plan_err!("the type of {NAME} depends on its fields")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [_, moment] = args.arg_fields else {
            return plan_err!("{NAME} takes a unit and a date, timestamp or time");
        };
        if let Some(Some(unit)) = args.scalar_arguments.first() {
            unit_for(unit, moment.data_type())?;
        }
        Ok(Arc::new(Field::new(NAME, moment.data_type().clone(), moment.is_nullable())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(unit), moments] = args.args.as_slice() else {
            return exec_err!("the unit of {NAME} must be written in the query, such as 'day'");
        };
        let unit = unit_for(unit, &moments.data_type())?;
        let column = moments.to_array(1)?;
        let starts = starts(unit, &column)?;
        Ok(match moments {
            ColumnarValue::Scalar(_) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&starts, 0)?)
            }
            ColumnarValue::Array(_) => ColumnarValue::Array(starts),
        })
    }

    /// Later moments have later borders.
    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        Ok(match input {
            [unit, moment] if unit.sort_properties == SortProperties::Singleton => {
                moment.sort_properties
            }
            _ => SortProperties::Unordered,
        })
    }
}

/// The unit that a text names, if values of this type have borders of it.
fn unit_for(text: &ScalarValue, of: &DataType) -> Result<Unit> {
    let Some(Some(text)) = text.try_as_str() else {
        return plan_err!("{NAME} takes a unit, such as 'day', not null");
    };
    let Some(unit) = Unit::parse(text) else {
        return plan_err!(
            "{NAME} knows no unit '{text}'; write one of: microsecond, millisecond, second, \
             minute, hour, day, week, month, quarter, year"
        );
    };
    if unit.is_date() && matches!(of, DataType::Time32(_) | DataType::Time64(_)) {
        return plan_err!("a time has no {}; it has hours, minutes and seconds", unit.name());
    }
    Ok(unit)
}

fn starts(unit: Unit, column: &ArrayRef) -> Result<ArrayRef> {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Second, zone) => {
            of_moments::<TimestampSecondType>(unit, column, zone.as_ref(), 1)
        }
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            of_moments::<TimestampMillisecondType>(unit, column, zone.as_ref(), 1000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            of_moments::<TimestampMicrosecondType>(unit, column, zone.as_ref(), 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            of_moments::<TimestampNanosecondType>(unit, column, zone.as_ref(), 1_000_000_000)
        }
        DataType::Time32(TimeUnit::Second) => of_times::<Time32SecondType>(unit, column, 1),
        DataType::Time32(_) => of_times::<Time32MillisecondType>(unit, column, 1000),
        DataType::Time64(TimeUnit::Microsecond) => {
            of_times::<Time64MicrosecondType>(unit, column, 1_000_000)
        }
        DataType::Time64(_) => of_times::<Time64NanosecondType>(unit, column, 1_000_000_000),
        other => exec_err!("{NAME} takes a date, timestamp or time, not {other}"),
    }
}

fn of_moments<T: ArrowTimestampType>(
    unit: Unit,
    column: &ArrayRef,
    zone: Option<&Arc<str>>,
    per_second: i64,
) -> Result<ArrayRef> {
    // The zone of all moments in tables needs no calendar of its own.
    let is_utc = |zone: &&Arc<str>| matches!(zone.as_ref(), "+00:00" | "UTC");
    let local = match zone.filter(|zone| unit.is_local() && !is_utc(zone)) {
        Some(zone) => Some(Tz::from_str(zone)?),
        None => None,
    };
    let start = |moment: i64| match local {
        Some(local) => start_in(local, unit, moment, per_second),
        None => unit.start(moment, per_second),
    };
    let moments = column.as_primitive::<T>();
    let starts: PrimitiveArray<T> = moments.try_unary(|moment| {
        start(moment).ok_or_else(|| {
            ArrowError::ComputeError(format!(
                "the {} of a timestamp begins outside of the range of timestamps",
                unit.name()
            ))
        })
    })?;
    Ok(Arc::new(starts.with_timezone_opt(zone.cloned())))
}

fn of_times<T>(unit: Unit, column: &ArrayRef, per_second: i64) -> Result<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64> + TryFrom<i64> + Copy,
{
    let starts: PrimitiveArray<T> = column.as_primitive::<T>().unary(|time| {
        // What begins at or after midnight is a time, too.
        let start = unit.start(time.into(), per_second);
        start.and_then(|start| T::Native::try_from(start).ok()).unwrap_or(time)
    });
    Ok(Arc::new(starts))
}

/// The last border in a zone, where clocks are moved. A border that a zone leaves out lies as far
/// from UTC as three hours before it.
fn start_in(zone: Tz, unit: Unit, moment: i64, per_second: i64) -> Option<i64> {
    let seconds_at = |moment: i64| -> Option<NaiveDateTime> {
        Some(DateTime::from_timestamp(moment.div_euclid(per_second), 0)?.naive_utc())
    };
    let offset = zone.offset_from_utc_datetime(&seconds_at(moment)?).fix();
    let parts = |offset: chrono::FixedOffset| i64::from(offset.local_minus_utc()) * per_second;
    let start = unit.start(moment.checked_add(parts(offset))?, per_second)?;
    let clock = seconds_at(start)?;
    let offset_there = match zone.offset_from_local_datetime(&clock) {
        LocalResult::Single(there) => there.fix(),
        // Of an hour that comes twice, the one that the moment is in.
        LocalResult::Ambiguous(first, _) if first.fix() == offset => offset,
        LocalResult::Ambiguous(_, second) => second.fix(),
        LocalResult::None => {
            let before = clock.checked_sub_signed(TimeDelta::try_hours(3)?)?;
            zone.offset_from_local_datetime(&before).single()?.fix()
        }
    };
    start.checked_sub(parts(offset_there))
}

#[cfg(test)]
mod tests;
