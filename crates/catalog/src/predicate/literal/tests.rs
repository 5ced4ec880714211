use std::borrow::Borrow;

use super::*;

#[track_caller]
fn check(primitive: PrimitiveType, literal: impl Borrow<Literal>, expected: impl Borrow<Place>) {
    let literal = literal.borrow();
    let found = place("x", &Type::Primitive(primitive), literal).unwrap();
    assert_eq!(&found, expected.borrow(), "{literal:?}");
}

#[test]
fn a_number_lies_between_those_that_a_column_can_hold() {
    let int = |value| Datum::int(value);
    check(PrimitiveType::Int, Literal::Float(2.5), Place::After(int(2)));
    check(PrimitiveType::Int, Literal::Float(-2.5), Place::After(int(-3)));
    check(PrimitiveType::Int, Literal::Float(-2.0), Place::At(int(-2)));
    check(PrimitiveType::Int, Literal::Int(1 << 31), Place::Above);
    check(PrimitiveType::Int, Literal::Float(f64::from(i32::MAX) + 0.5), Place::Above);
    check(PrimitiveType::Int, Literal::Int(-(1 << 31) - 1), Place::Below);
    check(PrimitiveType::Int, Literal::Float(f64::NAN), Place::Above);
    check(PrimitiveType::Long, Literal::Float(f64::NEG_INFINITY), Place::Below);
    check(PrimitiveType::Long, Literal::Float(9_223_372_036_854_775_808.0), Place::Above);
    let wide = (1_i64 << 53) + 1;
    check(
        PrimitiveType::Double,
        Literal::Int(wide),
        Place::After(Datum::double((1_i64 << 53) as f64)),
    );
    check(
        PrimitiveType::Double,
        Literal::Int(i64::MAX),
        Place::After(Datum::double((1_u64 << 63) as f64)).below(),
    );
    check(
        PrimitiveType::Float,
        Literal::Float(0.1),
        Place::After(Datum::float(0.1_f32.next_down())),
    );
    check(PrimitiveType::Float, Literal::Float(0.25), Place::At(Datum::float(0.25_f32)));
    check(PrimitiveType::Float, Literal::Float(1e300), Place::After(Datum::float(f32::MAX)));
    check(
        PrimitiveType::Float,
        Literal::Float(-1e300),
        Place::After(Datum::float(f32::NEG_INFINITY)),
    );
}

impl Place {
    /// The same place, seen from the number before.
    fn below(self) -> Self {
        match self {
            Self::After(datum) => match datum.literal() {
                PrimitiveLiteral::Double(value) => Self::After(Datum::double(value.0.next_down())),
                _ => Self::After(datum),
            },
            other => other,
        }
    }
}

#[test]
fn decimals_are_compared_digit_by_digit() {
    let money = PrimitiveType::Decimal { precision: 6, scale: 2 };
    let cents = |cents: i128| Datum::try_from_bytes(&cents.to_be_bytes(), money.clone()).unwrap();
    let text = |text: &str| Literal::Text(text.to_owned());
    check(money.clone(), text("12.34"), Place::At(cents(1234)));
    check(money.clone(), text("-0.5"), Place::At(cents(-50)));
    check(money.clone(), text("0.005"), Place::After(cents(0)));
    check(money.clone(), text("-0.005"), Place::After(cents(-1)));
    check(money.clone(), Literal::Float(0.1), Place::At(cents(10)));
    check(money.clone(), Literal::Int(9999), Place::At(cents(999_900)));
    check(money.clone(), Literal::Int(10_000), Place::Above);
    check(money.clone(), Literal::Float(-1e300), Place::Below);
    check(money.clone(), Literal::Float(f64::NEG_INFINITY), Place::Below);
    for wrong in ["", "1.2.3", "1e5", "x", ".", "-"] {
        assert!(place("x", &Type::Primitive(money.clone()), &text(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn a_moment_lies_in_a_day_and_a_day_begins_at_a_moment() {
    let noon = Literal::Timestamp(Timestamp::parse("1969-12-31T12:00:00Z").unwrap());
    check(PrimitiveType::Date, noon.clone(), Place::After(Datum::date(-1)));
    check(
        PrimitiveType::Timestamp,
        noon.clone(),
        Place::At(Datum::timestamp_micros(-43_200_000_000)),
    );
    check(
        PrimitiveType::TimestamptzNs,
        noon,
        Place::At(Datum::timestamptz_nanos(-43_200_000_000_000)),
    );
    let day = Literal::Text("1970-01-02".to_owned());
    check(PrimitiveType::Date, day.clone(), Place::At(Datum::date(1)));
    check(PrimitiveType::Timestamptz, day, Place::At(Datum::timestamptz_micros(86_400_000_000)));
    let far = Literal::Timestamp(Timestamp::parse("9999-01-01").unwrap());
    check(PrimitiveType::TimestampNs, far, Place::Above);
}
