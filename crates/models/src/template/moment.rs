//! `{{ run_started_at }}`: a moment that prints as Python's does.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use icecore_core::{Error, Timestamp};
use minijinja::State;
use minijinja::value::{Object, ObjectRepr, Value, from_args};

use super::to_jinja;

/// A moment, UTC.
#[derive(Debug)]
pub(super) struct Moment(DateTime<Utc>);

impl Moment {
    pub(super) fn new(at: Timestamp) -> Self {
        Self(DateTime::from_timestamp_micros(at.micros()).unwrap_or_default())
    }
}

impl Object for Moment {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `str(datetime)`: microseconds only where there are some.
        let format = if self.0.timestamp_subsec_micros() == 0 {
            "%Y-%m-%d %H:%M:%S+00:00"
        } else {
            "%Y-%m-%d %H:%M:%S%.6f+00:00"
        };
        write!(f, "{}", self.0.format(format))
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        use chrono::{Datelike as _, Timelike as _};
        Some(match key.as_str()? {
            "year" => Value::from(self.0.year()),
            "month" => Value::from(self.0.month()),
            "day" => Value::from(self.0.day()),
            "hour" => Value::from(self.0.hour()),
            "minute" => Value::from(self.0.minute()),
            "second" => Value::from(self.0.second()),
            _ => return None,
        })
    }

    fn call_method(
        self: &Arc<Self>,
        _state: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, minijinja::Error> {
        match method {
            "strftime" => {
                let (format,): (&str,) = from_args(args)?;
                let items: Result<Vec<_>, _> =
                    chrono::format::StrftimeItems::new(format).parse_to_owned().map_err(|_| {
                        to_jinja(
                            Error::invalid(format!("`{format}` is no format of a moment"))
                                .with_help("write one such as `%Y-%m-%d`"),
                        )
                    });
                let items = items?;
                Ok(Value::from(self.0.format_with_items(items.iter()).to_string()))
            }
            "date" => Ok(Value::from(self.0.format("%Y-%m-%d").to_string())),
            "isoformat" => {
                Ok(Value::from(self.0.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()))
            }
            "timestamp" => Ok(Value::from(self.0.timestamp_micros() as f64 / 1e6)),
            "astimezone" => Ok(Value::from_object(Self(self.0))),
            _ => Err(to_jinja(
                Error::not_found(format!("`run_started_at` has no `{method}`"))
                    .with_note("it has: strftime, date, isoformat, timestamp, year, month, day"),
            )),
        }
    }
}
