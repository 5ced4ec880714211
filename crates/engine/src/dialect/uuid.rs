//! `UUID '…'` and `CAST(text AS UUID)`: the sixteen bytes that tables keep.

use std::any::Any;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, FixedSizeBinaryBuilder};
use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// The function that casts become.
pub(super) const TO_UUID: &str = "to_uuid";
/// Bytes of a UUID.
pub(crate) const UUID_BYTES: i32 = 16;

/// The bytes of a UUID in its usual form, `8-4-4-4-12` hexadecimal digits.
pub(crate) fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let groups: Vec<&str> = text.split('-').collect();
    if groups.iter().map(|group| group.len()).ne([8, 4, 4, 4, 12]) {
        return None;
    }
    let digits = groups.concat();
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToUuid {
    signature: Signature,
}

impl Default for ToUuid {
    fn default() -> Self {
        Self { signature: Signature::string(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ToUuid {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        TO_UUID
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::FixedSizeBinary(UUID_BYTES))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [texts] = args.args.as_slice() else {
            return exec_err!("{TO_UUID} takes one text");
        };
        let column = arrow::compute::cast(&texts.to_array(1)?, &DataType::Utf8)?;
        let mut uuids = FixedSizeBinaryBuilder::with_capacity(column.len(), UUID_BYTES);
        for text in column.as_string::<i32>() {
            match text.map(|text| (text, parse_uuid(text))) {
                None => uuids.append_null(),
                Some((_, Some(uuid))) => uuids.append_value(uuid)?,
                Some((text, None)) => {
                    return exec_err!(
                        "`{text}` is no UUID; write one such as \
                         '123e4567-e89b-12d3-a456-426614174000'"
                    );
                }
            }
        }
        let uuids: ArrayRef = Arc::new(uuids.finish());
        Ok(match texts {
            ColumnarValue::Scalar(_) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&uuids, 0)?)
            }
            ColumnarValue::Array(_) => ColumnarValue::Array(uuids),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_read_in_their_usual_form_only() {
        let bytes = parse_uuid("00000000-0000-0000-0000-0000000000Ff").unwrap();
        assert_eq!(bytes[15], 255);
        for text in [
            "",
            "0000000000000000000000000000000000ff",
            "00000000-0000-0000-0000-00000000ff",
            "g0000000-0000-0000-0000-0000000000ff",
            "+0000000-0000-0000-0000-0000000000ff",
        ] {
            assert_eq!(parse_uuid(text), None, "{text}");
        }
    }
}
