//! Timestamps and times are in microseconds, as tables have them, unless more digits are written:
//! DataFusion's are in nanoseconds, which begin in 1677 and end in 2262.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{
    DataType as SqlType, Expr, TimezoneInfo, TypedString, Value,
};

/// Digits of a second that tables keep.
const DIGITS: usize = 6;
const MICROS: Option<u64> = Some(6);
const NANOS: Option<u64> = Some(9);

/// What types mean that DataFusion reads otherwise.
#[derive(Debug)]
pub(super) struct TableTypes;

impl TypePlanner for TableTypes {
    fn plan_type(&self, sql_type: &SqlType) -> Result<Option<DataType>> {
        let SqlType::Time(digits, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) = sql_type
        else {
            return Ok(None);
        };
        Ok(Some(DataType::Time64(match digits {
            Some(7..) => TimeUnit::Nanosecond,
            _ => TimeUnit::Microsecond,
        })))
    }
}

/// Says of a cast to `TIMESTAMP` or `TIME` how many digits are meant.
pub(super) fn rewrite(expr: &mut Expr) {
    match expr {
        Expr::TypedString(TypedString { data_type, value, .. }) => {
            if let Value::SingleQuotedString(text) = &value.value {
                measure(data_type, text);
            }
        }
        Expr::Cast { expr: inner, data_type, .. } => {
            if let Expr::Value(value) = inner.as_ref() {
                if let Value::SingleQuotedString(text) = &value.value {
                    measure(data_type, text);
                }
                return;
            }
            let SqlType::Timestamp(None, zone) = data_type else { return };
            // A number of seconds is one to DataFusion if it is cast to `TIMESTAMP`, so that stays.
            let whole = SqlType::Timestamp(MICROS, *zone);
            let mut outer = expr.clone();
            if let Expr::Cast { expr: inner, data_type, .. } = &mut outer {
                *data_type = whole;
                **inner = expr.clone();
            }
            *expr = outer;
        }
        _ => {}
    }
}

fn measure(data_type: &mut SqlType, text: &str) {
    match data_type {
        SqlType::Timestamp(digits @ None, _) if !is_finer(text) => *digits = MICROS,
        SqlType::Time(digits @ None, _) if is_finer(text) => *digits = NANOS,
        _ => {}
    }
}

/// Whether a text has more digits of a second than tables keep.
pub(crate) fn is_finer(text: &str) -> bool {
    text.split_once('.').is_some_and(|(_, rest)| {
        let digits = rest.bytes().take_while(u8::is_ascii_digit);
        digits.skip(DIGITS).any(|digit| digit != b'0')
    })
}
