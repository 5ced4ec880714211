//! What a manifest list says of the partitions in a manifest.

use std::cmp::Ordering;

use iceberg::spec::{FieldSummary, PrimitiveLiteral};

/// What is known of the values of one partition field.
#[derive(Debug, Default)]
pub(super) struct Summary {
    null: bool,
    nan: bool,
    min: Option<PrimitiveLiteral>,
    max: Option<PrimitiveLiteral>,
}

impl Summary {
    /// Takes note of a value.
    pub(super) fn add(&mut self, value: Option<PrimitiveLiteral>) {
        let Some(value) = value else {
            self.null = true;
            return;
        };
        if value.is_nan() {
            self.nan = true;
            return;
        }
        if self.min.as_ref().is_none_or(|min| order(&value, min).is_lt()) {
            self.min = Some(value.clone());
        }
        if self.max.as_ref().is_none_or(|max| order(&value, max).is_gt()) {
            self.max = Some(value);
        }
    }

    pub(super) fn finish(self) -> FieldSummary {
        FieldSummary {
            contains_null: self.null,
            contains_nan: Some(self.nan),
            lower_bound: self.min.as_ref().and_then(single_value).map(Into::into),
            upper_bound: self.max.as_ref().and_then(single_value).map(Into::into),
        }
    }
}

/// How values of one type lie; of two zeros the negative one is less.
fn order(left: &PrimitiveLiteral, right: &PrimitiveLiteral) -> Ordering {
    match (left, right) {
        (PrimitiveLiteral::Float(left), PrimitiveLiteral::Float(right)) => left.total_cmp(right),
        (PrimitiveLiteral::Double(left), PrimitiveLiteral::Double(right)) => left.total_cmp(right),
        (left, right) => left.partial_cmp(right).unwrap_or(Ordering::Equal),
    }
}

/// A value in bytes (specification, appendix D, "Binary single-value serialization"); `None` for
/// those that stand for no value of a column.
fn single_value(value: &PrimitiveLiteral) -> Option<Vec<u8>> {
    Some(match value {
        PrimitiveLiteral::Boolean(value) => vec![u8::from(*value)],
        PrimitiveLiteral::Int(value) => value.to_le_bytes().to_vec(),
        PrimitiveLiteral::Long(value) => value.to_le_bytes().to_vec(),
        PrimitiveLiteral::Float(value) => value.to_le_bytes().to_vec(),
        PrimitiveLiteral::Double(value) => value.to_le_bytes().to_vec(),
        PrimitiveLiteral::String(value) => value.as_bytes().to_vec(),
        PrimitiveLiteral::Binary(value) => value.clone(),
        PrimitiveLiteral::UInt128(value) => value.to_be_bytes().to_vec(),
        PrimitiveLiteral::Int128(value) => shortest(*value),
        PrimitiveLiteral::AboveMax | PrimitiveLiteral::BelowMin => return None,
    })
}

/// A number in as few bytes as hold it, the most significant first.
fn shortest(value: i128) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let sign = if value < 0 { 0xff } else { 0 };
    let spare = bytes.windows(2).take_while(
        |pair| matches!(pair, [first, next] if *first == sign && (next ^ sign) & 0x80 == 0),
    );
    bytes.iter().skip(spare.count()).copied().collect()
}
