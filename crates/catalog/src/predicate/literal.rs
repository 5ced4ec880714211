//! Where a literal lies among the values of a column.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int32Array, Int64Array, LargeBinaryArray, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, TimestampNanosecondArray,
};
use iceberg::spec::{Datum, Literal as IcebergLiteral, PrimitiveLiteral, PrimitiveType, Type};
use icecore_core::{Date, Error, Literal, Result, Timestamp};

use crate::error::Context as _;

/// A literal's place among all values of a type, which need not be one of them: 2.5 lies after 2
/// among whole numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place<T = Datum> {
    At(T),
    /// Between this value and the next.
    After(T),
    Below,
    Above,
}

impl<T> Place<T> {
    fn map<U>(self, convert: impl FnOnce(T) -> U) -> Place<U> {
        match self {
            Self::At(value) => Place::At(convert(value)),
            Self::After(value) => Place::After(convert(value)),
            Self::Below => Place::Below,
            Self::Above => Place::Above,
        }
    }
}

/// # Errors
///
/// `InvalidInput` for a literal that values of the column cannot be compared with.
pub(super) fn place(column: &str, column_type: &Type, literal: &Literal) -> Result<Place> {
    use PrimitiveType as P;
    let mismatch = || {
        Error::invalid(format!(
            "column `{column}` is `{column_type}` and cannot be compared with {}",
            describe(literal)
        ))
    };
    let Type::Primitive(primitive) = column_type else { return Err(mismatch()) };
    Ok(match (primitive, literal) {
        (P::Boolean, Literal::Bool(value)) => Place::At(Datum::bool(*value)),
        (P::String, Literal::Text(text)) => Place::At(Datum::string(text)),
        (P::Int, Literal::Int(_) | Literal::Float(_)) => {
            within(whole(literal), i32::MIN.into(), i32::MAX.into())
                .map(|value| Datum::int(i32::try_from(value).unwrap_or_default()))
        }
        (P::Long, Literal::Int(_) | Literal::Float(_)) => {
            within(whole(literal), i64::MIN.into(), i64::MAX.into())
                .map(|value| Datum::long(i64::try_from(value).unwrap_or_default()))
        }
        (P::Double, Literal::Float(value)) => Place::At(Datum::double(*value)),
        (P::Double, Literal::Int(value)) => double(*value).map(Datum::double),
        (P::Float, Literal::Float(value)) => single(*value).map(Datum::float),
        (P::Float, Literal::Int(value)) => match double(*value) {
            Place::At(value) => single(value).map(Datum::float),
            // Too wide for 53 bits, and so for 24: the value before it is the same.
            other => after(other, |value| single(value).map(Datum::float)),
        },
        (P::Decimal { precision, scale }, _) => {
            let scaled = decimal(literal, *scale).ok_or_else(mismatch)?;
            let max = 10_i128.checked_pow(*precision).map_or(i128::MAX, |power| power - 1);
            match within(scaled, -max, max) {
                Place::At(value) => Place::At(decimal_datum(value, primitive)?),
                Place::After(value) => Place::After(decimal_datum(value, primitive)?),
                Place::Below => Place::Below,
                Place::Above => Place::Above,
            }
        }
        (P::Date, _) => {
            let moment = moment(literal).ok_or_else(mismatch)??;
            let date = moment.date();
            let day = Datum::date(date.days());
            if date.midnight() == moment { Place::At(day) } else { Place::After(day) }
        }
        (P::Timestamp, _) => {
            Place::At(Datum::timestamp_micros(moment(literal).ok_or_else(mismatch)??.micros()))
        }
        (P::Timestamptz, _) => {
            Place::At(Datum::timestamptz_micros(moment(literal).ok_or_else(mismatch)??.micros()))
        }
        (P::TimestampNs | P::TimestamptzNs, _) => {
            let micros = moment(literal).ok_or_else(mismatch)??.micros();
            let nanos = Place::At(i128::from(micros) * 1000);
            within(nanos, i64::MIN.into(), i64::MAX.into()).map(|nanos| {
                let nanos = i64::try_from(nanos).unwrap_or_default();
                match primitive {
                    P::TimestampNs => Datum::timestamp_nanos(nanos),
                    _ => Datum::timestamptz_nanos(nanos),
                }
            })
        }
        _ => return Err(mismatch()),
    })
}

/// The value of a column's type that is this literal.
///
/// # Errors
///
/// `InvalidInput` for a literal that no value of the column is.
pub(crate) fn exact_literal(
    column: &str,
    column_type: &Type,
    literal: &Literal,
) -> Result<IcebergLiteral> {
    match place(column, column_type, literal)? {
        Place::At(datum) => Ok(IcebergLiteral::Primitive(datum.literal().clone())),
        _ => Err(Error::invalid(format!(
            "column `{column}` is `{column_type}` and cannot hold {}",
            describe(literal)
        ))),
    }
}

fn describe(literal: &Literal) -> String {
    match literal {
        Literal::Bool(value) => format!("`{value}`"),
        Literal::Int(value) => format!("the number `{value}`"),
        Literal::Float(value) => format!("the number `{value}`"),
        Literal::Text(value) => format!("the text `{value}`"),
        Literal::Date(value) => format!("the date `{value}`"),
        Literal::Timestamp(value) => format!("the time `{value}`"),
        other => format!("`{other:?}`"),
    }
}

/// The moment that a literal means; `None` where it means none, an error for text that is no time.
fn moment(literal: &Literal) -> Option<Result<Timestamp>> {
    match literal {
        Literal::Timestamp(moment) => Some(Ok(*moment)),
        Literal::Date(date) => Some(Ok(date.midnight())),
        Literal::Text(text) => Some(Timestamp::parse(text)),
        _ => None,
    }
}

fn whole(literal: &Literal) -> Place<i128> {
    match literal {
        Literal::Int(value) => Place::At((*value).into()),
        Literal::Float(value) if value.is_nan() => Place::Above,
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a cast from float to integer saturates, and `within` sorts that out"
        )]
        Literal::Float(value) => {
            let floor = value.floor();
            if floor == *value { Place::At(floor as i128) } else { Place::After(floor as i128) }
        }
        _ => Place::Above,
    }
}

fn within(place: Place<i128>, min: i128, max: i128) -> Place<i128> {
    match place {
        Place::At(value) | Place::After(value) if value < min => Place::Below,
        Place::At(value) if value > max => Place::Above,
        Place::After(value) if value >= max => Place::Above,
        other => other,
    }
}

#[expect(clippy::cast_precision_loss, reason = "what is lost is found and accounted for")]
fn double(value: i64) -> Place<f64> {
    let near = value as f64;
    // Exact in 128 bits, whatever the value.
    let back = near as i128;
    match back.cmp(&i128::from(value)) {
        std::cmp::Ordering::Equal => Place::At(near),
        std::cmp::Ordering::Less => Place::After(near),
        std::cmp::Ordering::Greater => Place::After(near.next_down()),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "what is lost is found and accounted for")]
fn single(value: f64) -> Place<f32> {
    let near = value as f32;
    if value.is_nan() || f64::from(near) == value {
        Place::At(near)
    } else if f64::from(near) > value {
        Place::After(near.next_down())
    } else {
        Place::After(near)
    }
}

/// The place of what lies after a value, in a narrower type.
fn after<T, U>(place: Place<T>, convert: impl FnOnce(T) -> Place<U>) -> Place<U> {
    match place {
        Place::At(value) | Place::After(value) => match convert(value) {
            Place::At(value) => Place::After(value),
            other => other,
        },
        Place::Below => Place::Below,
        Place::Above => Place::Above,
    }
}

/// A number in units of `10^-scale`; `None` for a literal that is no number.
fn decimal(literal: &Literal, scale: u32) -> Option<Place<i128>> {
    let text = match literal {
        Literal::Int(value) => value.to_string(),
        Literal::Float(value) if value.is_nan() => return Some(Place::Above),
        Literal::Float(value) if value.is_infinite() => {
            return Some(if *value > 0.0 { Place::Above } else { Place::Below });
        }
        // The shortest decimal that is this float, which is what was typed.
        Literal::Float(value) => value.to_string(),
        Literal::Text(text) => text.trim().to_owned(),
        _ => return None,
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !(whole.chars().chain(fraction.chars())).all(|c| c.is_ascii_digit()) {
        return None;
    }
    let scale = scale as usize;
    let kept: String = fraction.chars().chain(std::iter::repeat('0')).take(scale).collect();
    let is_exact = fraction.chars().skip(scale).all(|digit| digit == '0');
    let Ok(units) = format!("{whole}{kept}").parse::<i128>() else {
        return Some(if negative { Place::Below } else { Place::Above });
    };
    Some(match (negative, is_exact) {
        (false, true) => Place::At(units),
        (true, true) => Place::At(-units),
        (false, false) => Place::After(units),
        (true, false) => Place::After(-units - 1),
    })
}

fn decimal_datum(units: i128, primitive: &PrimitiveType) -> Result<Datum> {
    Datum::try_from_bytes(&units.to_be_bytes(), primitive.clone())
        .context(|| "cannot compare decimals")
}

/// An array of these values, which are of one type.
pub(super) fn array_of(values: &[Datum]) -> Result<ArrayRef> {
    let Some(first) = values.first() else {
        return Err(Error::internal("a list of no values has no type"));
    };
    let literals: Vec<&PrimitiveLiteral> = values.iter().map(Datum::literal).collect();
    array_of_literals(first.data_type(), &literals)
}

/// An array of these values of one type.
///
/// # Errors
///
/// `DataCorrupt` for a value that is not of the type.
pub(crate) fn array_of_literals(
    of: &PrimitiveType,
    values: &[&PrimitiveLiteral],
) -> Result<ArrayRef> {
    use PrimitiveLiteral as L;
    use PrimitiveType as P;
    let misfit = || Error::corrupt(format!("a value that should be `{of}` is not"));
    let ints = || all(values, |value| if let L::Int(value) = value { Some(*value) } else { None });
    let longs =
        || all(values, |value| if let L::Long(value) = value { Some(*value) } else { None });
    let bytes = || {
        all(
            values,
            |value| if let L::Binary(value) = value { Some(value.as_slice()) } else { None },
        )
    };
    let array: Option<ArrayRef> = match of {
        P::Boolean => all(values, |v| if let L::Boolean(v) = v { Some(*v) } else { None })
            .map(|values| Arc::new(BooleanArray::from(values)) as ArrayRef),
        P::Int => ints().map(|values| Arc::new(Int32Array::from(values)) as ArrayRef),
        P::Date => ints().map(|values| Arc::new(Date32Array::from(values)) as ArrayRef),
        P::Long => longs().map(|values| Arc::new(Int64Array::from(values)) as ArrayRef),
        P::Time => longs().map(|v| Arc::new(Time64MicrosecondArray::from(v)) as ArrayRef),
        P::Timestamp => longs().map(|v| Arc::new(TimestampMicrosecondArray::from(v)) as ArrayRef),
        P::Timestamptz => longs().map(|values| {
            Arc::new(TimestampMicrosecondArray::from(values).with_timezone("+00:00")) as ArrayRef
        }),
        P::TimestampNs => longs().map(|v| Arc::new(TimestampNanosecondArray::from(v)) as ArrayRef),
        P::TimestamptzNs => longs().map(|values| {
            Arc::new(TimestampNanosecondArray::from(values).with_timezone("+00:00")) as ArrayRef
        }),
        P::Float => all(values, |v| if let L::Float(v) = v { Some(v.0) } else { None })
            .map(|values| Arc::new(Float32Array::from(values)) as ArrayRef),
        P::Double => all(values, |v| if let L::Double(v) = v { Some(v.0) } else { None })
            .map(|values| Arc::new(Float64Array::from(values)) as ArrayRef),
        P::String => all(values, |v| if let L::String(v) = v { Some(v.as_str()) } else { None })
            .map(|values| Arc::new(StringArray::from(values)) as ArrayRef),
        P::Binary => bytes().map(|values| Arc::new(LargeBinaryArray::from(values)) as ArrayRef),
        P::Fixed(_) => match bytes() {
            Some(values) => {
                Some(Arc::new(FixedSizeBinaryArray::try_from_iter(values.into_iter())?))
            }
            None => None,
        },
        P::Uuid => match all(values, |v| if let L::UInt128(v) = v { Some(*v) } else { None }) {
            Some(values) => {
                let values: Vec<[u8; 16]> = values.into_iter().map(u128::to_be_bytes).collect();
                Some(Arc::new(FixedSizeBinaryArray::try_from_iter(values.iter())?))
            }
            None => None,
        },
        P::Decimal { precision, scale } => {
            let (Ok(precision), Ok(scale)) = (u8::try_from(*precision), i8::try_from(*scale))
            else {
                return Err(Error::corrupt("a decimal has more digits than there can be"));
            };
            match all(values, |v| if let L::Int128(v) = v { Some(*v) } else { None }) {
                Some(units) => Some(Arc::new(
                    Decimal128Array::from(units).with_precision_and_scale(precision, scale)?,
                )),
                None => None,
            }
        }
    };
    array.ok_or_else(misfit)
}

/// The values, if each is of the wanted kind.
fn all<'v, T>(
    values: &[&'v PrimitiveLiteral],
    get: impl Fn(&'v PrimitiveLiteral) -> Option<T>,
) -> Option<Vec<T>> {
    values.iter().map(|value| get(value)).collect()
}

/// A value of a table as a literal; `None` for one that no literal says exactly.
pub(crate) fn from_datum(datum: &Datum) -> Option<Literal> {
    from_primitive(datum.data_type(), datum.literal())
}

/// A value of this type as a literal; `None` for one that no literal says exactly.
pub(crate) fn from_literal(field_type: &Type, literal: &IcebergLiteral) -> Option<Literal> {
    match (field_type, literal) {
        (Type::Primitive(primitive), IcebergLiteral::Primitive(value)) => {
            from_primitive(primitive, value)
        }
        _ => None,
    }
}

fn from_primitive(primitive: &PrimitiveType, value: &PrimitiveLiteral) -> Option<Literal> {
    use PrimitiveType as P;
    Some(match (primitive, value) {
        (P::Boolean, PrimitiveLiteral::Boolean(value)) => Literal::Bool(*value),
        (P::Date, PrimitiveLiteral::Int(days)) => Literal::Date(Date::from_days(*days)),
        (P::Int, PrimitiveLiteral::Int(value)) => Literal::Int((*value).into()),
        (P::Long, PrimitiveLiteral::Long(value)) => Literal::Int(*value),
        (P::Timestamp | P::Timestamptz, PrimitiveLiteral::Long(micros)) => {
            Literal::Timestamp(Timestamp::from_micros(*micros))
        }
        (P::Float, PrimitiveLiteral::Float(value)) => Literal::Float(value.0.into()),
        (P::Double, PrimitiveLiteral::Double(value)) => Literal::Float(value.0),
        (P::String, PrimitiveLiteral::String(text)) => Literal::Text(text.clone()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
