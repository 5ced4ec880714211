//! `to_char(moment, format)`: DataFusion's, which takes moments of every unit, but whose signature
//! makes nanoseconds of those with a zone. A format of another engine's kind, which would come out
//! as it was written, is refused.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, plan_err};
use datafusion::functions::datetime::to_char::ToCharFunc;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
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

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let format = args.scalar_arguments.get(1).copied().flatten();
        if let Some(format) = format.and_then(|format| format.try_as_str().flatten()) {
            check(format)?;
        }
        let types = args.arg_fields.iter().map(|field| field.data_type().clone());
        let data_type = self.return_type(&types.collect::<Vec<_>>())?;
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }
}

/// Fails for a format without a `%` that has letters: that of another engine.
fn check(format: &str) -> Result<()> {
    if format.contains('%') || !format.contains(|c: char| c.is_ascii_alphabetic()) {
        return Ok(());
    }
    plan_err!(
        "the format `{format}` has no `%`: formats are those of strftime, so write `{}`",
        translated(format)
    )
}

/// What other engines write, longest first, and what strftime has for it.
const OTHERS: [(&str, &str); 21] = [
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("YYYY", "%Y"),
    ("yyyy", "%Y"),
    ("MONTH", "%B"),
    ("Month", "%B"),
    ("MMMM", "%B"),
    ("MMM", "%b"),
    ("MON", "%b"),
    ("Mon", "%b"),
    ("DDD", "%j"),
    ("MI", "%M"),
    ("MM", "%m"),
    ("mm", "%M"),
    ("DD", "%d"),
    ("dd", "%d"),
    ("HH", "%H"),
    ("hh", "%I"),
    ("SS", "%S"),
    ("ss", "%S"),
    ("YY", "%y"),
];

/// A format of another engine in the words of strftime, as far as they are known.
fn translated(format: &str) -> String {
    let (mut rest, mut known) = (format, String::new());
    while let Some(first) = rest.chars().next() {
        let (taken, meant) = match OTHERS.iter().find(|(other, _)| rest.starts_with(other)) {
            Some((other, meant)) => (other.len(), (*meant).to_owned()),
            None => (first.len_utf8(), first.to_string()),
        };
        known.push_str(&meant);
        rest = rest.get(taken..).unwrap_or_default();
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_others_are_told_from_ours() {
        for format in ["%Y-%m", "%d. %B", "-", "", "2026"] {
            check(format).unwrap();
        }
        for (format, ours) in [
            ("YYYY-MM-DD", "%Y-%m-%d"),
            ("yyyy-MM-dd HH:mm:ss", "%Y-%m-%d %H:%M:%S"),
            ("DD Mon YYYY HH24:MI", "%d %b %Y %H:%M"),
            ("é", "é"),
        ] {
            assert_eq!(translated(format), ours);
        }
        let error = check("YYYY-MM").unwrap_err().to_string();
        assert!(error.contains("has no `%`") && error.contains("write `%Y-%m`"), "{error}");
    }
}
