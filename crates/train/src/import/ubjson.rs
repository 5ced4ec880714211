//! Universal Binary JSON (ubjson.org, draft 12), in which XGBoost saves to names that end in `.ubj`.

use icecore_core::Result;
use serde_json::{Map, Number, Value};

use super::{corrupt, unsupported};

/// The most arrays and objects within each other.
const DEPTH_MAX: usize = 64;
/// A number in a list takes so many times the memory of its byte.
const BYTES_MAX: usize = 1 << 29;

/// The document, if it is one.
pub(super) fn read(bytes: &[u8]) -> Result<Value> {
    if bytes.len() > BYTES_MAX {
        return Err(unsupported("a file of more than 512 MiB"));
    }
    let mut reader = Reader { rest: bytes };
    let marker = reader.marker()?;
    let value = reader.value(marker, 0)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(corrupt("something follows its end")) }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (bytes, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| corrupt("it is cut off"))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (bytes, rest) =
            self.rest.split_first_chunk().ok_or_else(|| corrupt("it is cut off"))?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// The next marker that says something.
    fn marker(&mut self) -> Result<u8> {
        loop {
            let [marker] = self.array()?;
            if marker != b'N' {
                return Ok(marker);
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn integer(&mut self, marker: u8) -> Result<i64> {
        Ok(match marker {
            b'i' => i64::from(i8::from_be_bytes(self.array()?)),
            b'U' => i64::from(u8::from_be_bytes(self.array()?)),
            b'I' => i64::from(i16::from_be_bytes(self.array()?)),
            b'l' => i64::from(i32::from_be_bytes(self.array()?)),
            b'L' => i64::from_be_bytes(self.array()?),
            _ => return Err(corrupt("a length in it is no integer")),
        })
    }

    fn length(&mut self) -> Result<usize> {
        let marker = self.marker()?;
        usize::try_from(self.integer(marker)?).map_err(|_| corrupt("a length in it is negative"))
    }

    fn text(&mut self) -> Result<String> {
        let length = self.length()?;
        let text = std::str::from_utf8(self.take(length)?);
        text.map(str::to_owned).map_err(|_| corrupt("a text in it is none"))
    }

    fn value(&mut self, marker: u8, depth: usize) -> Result<Value> {
        if depth > DEPTH_MAX {
            return Err(corrupt("it is nested too deeply"));
        }
        let number = |number: f64| Number::from_f64(number).map_or(Value::Null, Value::Number);
        Ok(match marker {
            b'Z' => Value::Null,
            b'T' => Value::Bool(true),
            b'F' => Value::Bool(false),
            b'd' => number(f64::from(f32::from_be_bytes(self.array()?))),
            b'D' => number(f64::from_be_bytes(self.array()?)),
            b'S' => Value::String(self.text()?),
            b'C' => {
                let [byte] = self.array()?;
                Value::String(char::from(byte).to_string())
            }
            b'[' => Value::Array(self.list(depth)?),
            b'{' => Value::Object(self.object(depth)?),
            integer => Value::Number(self.integer(integer)?.into()),
        })
    }

    /// What a container says before its items: their type and their number.
    fn header(&mut self) -> Result<(Option<u8>, Option<usize>)> {
        let kind = if self.peek() == Some(b'$') {
            self.take(1)?;
            Some(self.marker()?)
        } else {
            None
        };
        if self.peek() != Some(b'#') {
            if kind.is_some() {
                return Err(corrupt("a list in it has a type and no length"));
            }
            return Ok((None, None));
        }
        self.take(1)?;
        let count = self.length()?;
        // Items of a type take a byte at least; `Z`, `T` and `F` would take none.
        if count > self.rest.len() || kind.is_some_and(|kind| b"ZTFN".contains(&kind)) {
            return Err(corrupt("a list in it has fewer items than it says"));
        }
        Ok((kind, Some(count)))
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value>> {
        let (kind, count) = self.header()?;
        let mut items = Vec::new();
        while count.is_none_or(|count| items.len() < count) {
            let marker = match kind {
                Some(kind) => kind,
                None => self.marker()?,
            };
            if count.is_none() && marker == b']' {
                break;
            }
            items.push(self.value(marker, depth + 1)?);
        }
        Ok(items)
    }

    fn object(&mut self, depth: usize) -> Result<Map<String, Value>> {
        let (kind, count) = self.header()?;
        let (mut items, mut read) = (Map::new(), 0);
        while count.is_none_or(|count| read < count) {
            if count.is_none() && self.peek() == Some(b'}') {
                self.take(1)?;
                break;
            }
            let name = self.text()?;
            let marker = match kind {
                Some(kind) => kind,
                None => self.marker()?,
            };
            items.insert(name, self.value(marker, depth + 1)?);
            read += 1;
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_read() {
        let bytes =
            b"{i\x01a[$d#i\x02\x3f\xc0\x00\x00\xc0\x00\x00\x00i\x01b[ZTSi\x02hii\xff]i\x01c{}}";
        let expected = json!({"a": [1.5, -2.0], "b": [null, true, "hi", -1], "c": {}});
        assert_eq!(read(bytes).unwrap(), expected);
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{length}");
        }
        assert!(read(b"[$Z#l\x7f\xff\xff\xff").is_err(), "a list of nothings takes no bytes");
        assert!(read(&[b'['; 1_000]).is_err());
    }

    proptest! {
        #[test]
        fn whatever_it_is_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
