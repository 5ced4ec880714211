//! Times of any kind as moments: microseconds, UTC.

use std::any::Any;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
    lit,
};
use icecore_core::{TimeRange, Timestamp};

use super::moment_type;

/// A column of times or dates as moments. A time without a zone is UTC, and nanoseconds are rounded
/// down, as point-in-time joins do it.
///
/// It is a cast that costs nothing where only the zone is missing; DataFusion's takes each value
/// apart into a calendar date and puts it together again.
#[must_use]
pub fn moment_of(time: Expr, data_type: &DataType) -> Expr {
    let time = match data_type {
        DataType::Date32 | DataType::Date64 => {
            cast(time, DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        _ => time,
    };
    ScalarUDF::new_from_impl(MomentOf::default()).call(vec![time])
}

/// The condition that the moments of a column lie in a range, as [`moment_of`] has them: comparisons
/// that scans know how to look through. `None` where every moment does.
///
/// Nanoseconds are compared as they are: a cast would round those before 1970 up, out of the range.
#[must_use]
pub fn moment_within(time: &Expr, data_type: &DataType, range: TimeRange) -> Option<Expr> {
    let compared = match data_type {
        _ if *data_type == moment_type() => time.clone(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => time.clone(),
        DataType::Date32 | DataType::Date64 => {
            let plain = cast(time.clone(), DataType::Timestamp(TimeUnit::Microsecond, None));
            cast(plain, moment_type())
        }
        _ => cast(time.clone(), moment_type()),
    };
    let bound = |moment: Timestamp| match data_type {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            let nanos = moment.micros().checked_mul(1000)?;
            Some(ScalarValue::TimestampNanosecond(Some(nanos), zone.clone()))
        }
        _ => Some(ScalarValue::TimestampMicrosecond(Some(moment.micros()), Some("+00:00".into()))),
    };
    // A bound that nanoseconds cannot hold lies before all of them or after.
    let from = range.from.and_then(|from| match bound(from) {
        Some(bound) => Some(compared.clone().gt_eq(lit(bound))),
        None => (from.micros() > 0).then(|| lit(false)),
    });
    let to = range.to.and_then(|to| match bound(to) {
        Some(bound) => Some(compared.lt(lit(bound))),
        None => (to.micros() < 0).then(|| lit(false)),
    });
    from.into_iter().chain(to).reduce(Expr::and)
}

/// Times as moments.
pub(crate) fn moments_of(times: &ArrayRef) -> Result<ArrayRef> {
    let DataType::Timestamp(_, zone) = times.data_type() else {
        return Ok(cast_with_options(times, &moment_type(), &CastOptions::default())?);
    };
    if let Some(nanos) = times.as_primitive_opt::<TimestampNanosecondType>() {
        // Before 1970 a division would round up: two events that are in order could change places.
        let micros: TimestampMicrosecondArray = nanos.unary(|nanos| nanos.div_euclid(1000));
        return Ok(Arc::new(micros.with_timezone("+00:00")));
    }
    // Values count from the epoch, in UTC, whatever the zone is that they are shown in.
    let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
    let times = cast_with_options(times, &micros, &CastOptions::default())?;
    let times = times.as_primitive::<TimestampMicrosecondType>().clone();
    Ok(Arc::new(times.with_timezone("+00:00")))
}

#[derive(Debug)]
struct MomentOf {
    signature: Signature,
}

impl Default for MomentOf {
    fn default() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl PartialEq for MomentOf {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for MomentOf {}

impl Hash for MomentOf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for MomentOf {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        "moment_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(moment_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut moments = Vec::with_capacity(1);
        for times in ColumnarValue::values_to_arrays(&args.args)? {
            moments.push(moments_of(&times)?);
        }
        let moments = moments.pop().ok_or_else(|| {
            datafusion::error::DataFusionError::Internal("`moment_of` takes a time".into())
        })?;
        Ok(ColumnarValue::Array(moments))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BooleanArray, Date32Array, RecordBatch, TimestampMillisecondArray,
        TimestampNanosecondArray, TimestampSecondArray,
    };
    use arrow::compute::cast;
    use datafusion::common::DFSchema;
    use datafusion::prelude::{SessionContext, ident};

    use super::*;

    #[test]
    fn moments_are_what_a_cast_gives() {
        let seconds = vec![Some(0), None, Some(-1), Some(1_700_000_000), Some(-62_135_596_800)];
        let nanos: TimestampNanosecondArray =
            vec![Some(1_999), Some(-1_000), None, Some(i64::MAX)].into();
        let times: Vec<ArrayRef> = vec![
            Arc::new(TimestampSecondArray::from(seconds.clone())),
            Arc::new(TimestampSecondArray::from(seconds.clone()).with_timezone("+00:00")),
            Arc::new(TimestampMillisecondArray::from(seconds).with_timezone("+02:00")),
            Arc::new(nanos),
            Arc::new(Date32Array::from(vec![Some(19_700), None, Some(-1)])),
        ];
        for times in times {
            let moments = moments_of(&times).unwrap();
            assert_eq!(moments.data_type(), &moment_type());
            let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
            let expected = match times.data_type() {
                DataType::Date32 => cast(&cast(&times, &micros).unwrap(), &moment_type()),
                _ => cast(&times, &moment_type()),
            };
            assert_eq!(&moments, &expected.unwrap(), "{}", times.data_type());
        }
        let nanos: ArrayRef =
            Arc::new(TimestampNanosecondArray::from(vec![-1, -1_000, -1_001, 999]));
        let expected = TimestampMicrosecondArray::from(vec![-1, -1, -2, 0]).with_timezone("+00:00");
        assert_eq!(moments_of(&nanos).unwrap().as_primitive(), &expected);
        // Which a cast cannot take apart into a date, and which is a moment all the same.
        let far: ArrayRef = Arc::new(TimestampSecondArray::from(vec![9_000_000_000_000]));
        assert_eq!(moments_of(&far).unwrap().null_count(), 0);
    }

    // Which of them are inside is what the moments themselves say.
    #[test]
    fn conditions_are_of_the_moments() {
        let nanos = vec![i64::MIN, -1_001, -1_000, -1, 0, 999, 1_000, i64::MAX];
        let seconds = vec![-1, 0, 1];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampNanosecondArray::from(nanos.clone())),
            Arc::new(TimestampNanosecondArray::from(nanos.clone()).with_timezone("+02:00")),
            Arc::new(TimestampMicrosecondArray::from(nanos).with_timezone("+00:00")),
            Arc::new(TimestampSecondArray::from(seconds)),
            Arc::new(Date32Array::from(vec![-1, 0, 1])),
        ];
        let bounds = [None, Some(i64::MIN), Some(-1), Some(0), Some(1), Some(i64::MAX)];
        for times in columns {
            let moments = moments_of(&times).unwrap();
            let moments = moments.as_primitive::<TimestampMicrosecondType>();
            let batch = RecordBatch::try_from_iter([("t", Arc::clone(&times))]).unwrap();
            let schema = DFSchema::try_from(batch.schema()).unwrap();
            for (from, to) in bounds.iter().flat_map(|from| bounds.map(|to| (*from, to))) {
                let [from, to] = [from, to].map(|at| at.map(Timestamp::from_micros));
                let range = TimeRange { from, to };
                let within = moment_within(&ident("t"), times.data_type(), range);
                let found = within.unwrap_or_else(|| lit(true));
                let found = SessionContext::new().create_physical_expr(found, &schema).unwrap();
                let found = found.evaluate(&batch).unwrap().into_array(batch.num_rows()).unwrap();
                let inside = moments.values().iter();
                let inside = inside.map(|at| Some(range.contains(Timestamp::from_micros(*at))));
                let expected: BooleanArray = inside.collect();
                assert_eq!(found.as_boolean(), &expected, "{} {range:?}", times.data_type());
            }
        }
    }
}
