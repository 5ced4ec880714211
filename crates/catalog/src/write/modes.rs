//! How much a manifest says about each column.

use std::collections::{BTreeSet, HashMap};

use iceberg::spec::{Datum, PrimitiveLiteral, PrimitiveType, TableMetadata};
use icecore_core::{Error, Result};

use super::options::{leaves, named};

const DEFAULT: &str = "write.metadata.metrics.default";
const COLUMN: &str = "write.metadata.metrics.column.";
const MAX_COLUMNS: &str = "write.metadata.metrics.max-inferred-column-defaults";

/// How much is said about a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Only how many bytes it takes.
    None,
    /// Also how many values, nulls and NaNs it has.
    Counts,
    /// Also bounds, of which text and bytes are cut to so many characters or bytes.
    Truncate(usize),
    /// Also exact bounds.
    Full,
}

impl Mode {
    /// Iceberg's default.
    const USUAL: Self = Self::Truncate(16);

    fn parse(name: &str, text: &str) -> Result<Self> {
        let lower = text.trim().to_ascii_lowercase();
        let width = lower.strip_prefix("truncate(").and_then(|rest| rest.strip_suffix(')'));
        match (lower.as_str(), width.map(|width| width.trim().parse())) {
            ("none", _) => Ok(Self::None),
            ("counts", _) => Ok(Self::Counts),
            ("full", _) => Ok(Self::Full),
            (_, Some(Ok(width))) if width > 0 => Ok(Self::Truncate(width)),
            _ => Err(Error::invalid(format!("table property `{name}` is `{text}`"))
                .with_help("set it to `none`, `counts`, `truncate(16)` or `full`")),
        }
    }

    pub(super) fn counts(self) -> bool {
        self != Self::None
    }

    pub(super) const fn bounds(self) -> bool {
        matches!(self, Self::Truncate(_) | Self::Full)
    }

    /// A bound that no value is less than.
    pub(super) fn lower(self, bound: Datum) -> Datum {
        let Self::Truncate(width) = self else { return bound };
        match (bound.data_type(), bound.literal()) {
            (PrimitiveType::String, PrimitiveLiteral::String(text)) => match cut(text, width) {
                Some(text) => Datum::string(text),
                None => bound,
            },
            (PrimitiveType::Binary, PrimitiveLiteral::Binary(bytes)) => match bytes.get(..width) {
                Some(bytes) => Datum::binary(bytes.iter().copied()),
                None => bound,
            },
            _ => bound,
        }
    }

    /// A bound that no value is greater than; `None` where there is none that is short enough.
    pub(super) fn upper(self, bound: Datum) -> Option<Datum> {
        let Self::Truncate(width) = self else { return Some(bound) };
        match (bound.data_type(), bound.literal()) {
            (PrimitiveType::String, PrimitiveLiteral::String(text)) => match cut(text, width) {
                Some(text) => next_text(text).map(Datum::string),
                None => Some(bound),
            },
            (PrimitiveType::Binary, PrimitiveLiteral::Binary(bytes)) if bytes.len() > width => {
                next_bytes(bytes.get(..width)?).map(Datum::binary)
            }
            _ => Some(bound),
        }
    }
}

/// The first characters of a text that has more.
fn cut(text: &str, width: usize) -> Option<&str> {
    text.char_indices().nth(width).and_then(|(end, _)| text.get(..end))
}

/// The least text of at most this length that is greater than every text that begins so.
fn next_text(text: &str) -> Option<String> {
    let mut letters: Vec<char> = text.chars().collect();
    while let Some(last) = letters.pop() {
        // The range of surrogates is no character.
        let next =
            if last == '\u{d7ff}' { Some('\u{e000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(next) = next {
            letters.push(next);
            return Some(letters.into_iter().collect());
        }
    }
    None
}

fn next_bytes(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    while let Some(last) = bytes.pop() {
        if let Some(next) = last.checked_add(1) {
            bytes.push(next);
            return Some(bytes);
        }
    }
    None
}

/// The modes of a table's columns.
#[derive(Debug)]
pub(super) struct Modes {
    of: HashMap<i32, Mode>,
    otherwise: Mode,
}

impl Modes {
    /// # Errors
    ///
    /// `InvalidInput` naming a property whose value is no mode.
    pub(super) fn of(metadata: &TableMetadata) -> Result<Self> {
        let (schema, properties) = (metadata.current_schema(), metadata.properties());
        let mut of = HashMap::new();
        let otherwise = match properties.get(DEFAULT) {
            Some(text) => Mode::parse(DEFAULT, text)?,
            None => {
                let most = properties.get(MAX_COLUMNS).and_then(|text| text.parse().ok());
                let columns = leaves(schema.as_struct().fields(), &[]);
                // Of a very wide table only the first columns are worth their bounds.
                for (id, _) in columns.iter().skip(most.unwrap_or(100)) {
                    of.insert(*id, Mode::None);
                }
                Mode::USUAL
            }
        };
        let sorted = metadata.default_sort_order().fields.iter();
        let sorted: BTreeSet<i32> = sorted.map(|field| field.source_id).collect();
        for id in sorted {
            // Files of a sorted table are told apart by the bounds of what they are sorted by.
            if !of.get(&id).copied().unwrap_or(otherwise).bounds() {
                of.insert(id, Mode::USUAL);
            }
        }
        for (id, text) in named(schema, properties, COLUMN) {
            of.insert(id, Mode::parse(COLUMN, text)?);
        }
        Ok(Self { of, otherwise })
    }

    pub(super) fn get(&self, id: i32) -> Mode {
        self.of.get(&id).copied().unwrap_or(self.otherwise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_are_cut_stay_bounds() {
        let cut = Mode::Truncate(2);
        let text = |text: &str| Datum::string(text);
        assert_eq!(cut.lower(text("äöü")), text("äö"));
        assert_eq!(cut.upper(text("äöü")), Some(text("ä÷")));
        assert_eq!(cut.upper(text("ab")), Some(text("ab")));
        assert_eq!(cut.upper(text("a\u{10ffff}x")), Some(text("b")));
        assert_eq!(cut.upper(text("\u{d7ff}\u{d7ff}x")), Some(text("\u{d7ff}\u{e000}")));
        assert_eq!(cut.upper(text("\u{10ffff}\u{10ffff}x")), None);
        let bytes = |bytes: &[u8]| Datum::binary(bytes.iter().copied());
        assert_eq!(cut.lower(bytes(&[1, 2, 3])), bytes(&[1, 2]));
        assert_eq!(cut.upper(bytes(&[1, 255, 3])), Some(bytes(&[2])));
        assert_eq!(cut.upper(bytes(&[255, 255, 3])), None);
        assert_eq!(cut.upper(Datum::long(5)), Some(Datum::long(5)));
        assert_eq!(Mode::Full.upper(text("äöü")), Some(text("äöü")));
    }

    #[test]
    fn a_mode_that_is_none_is_named() {
        for (text, mode) in
            [("Full", Mode::Full), ("truncate( 4 )", Mode::Truncate(4)), ("counts", Mode::Counts)]
        {
            assert_eq!(Mode::parse("p", text).unwrap(), mode);
        }
        for text in ["truncate", "truncate(0)", "truncate(x)", "some"] {
            assert!(Mode::parse("p", text).unwrap_err().to_string().contains("`p`"));
        }
    }
}
