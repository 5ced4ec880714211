//! Where keys of TOML documents stand.

use icecore_core::Location;
use toml::de::{DeTable, DeValue};

/// Where a key of a document and its value stand.
pub(crate) struct KeyPlace {
    pub(crate) key: Location,
    pub(crate) value: Location,
}

/// The place of the key that a path leads to: `["view", "account", "ttl"]`.
pub(crate) fn place_of_key(file: &str, text: &str, path: &[&str]) -> Option<KeyPlace> {
    let document = DeTable::parse(text).ok()?;
    let (last, tables) = path.split_last()?;
    let mut table = document.get_ref();
    for name in tables {
        table = match table.get(*name)?.get_ref() {
            DeValue::Table(table) => table,
            _ => return None,
        };
    }
    let (key, value) = table.get_key_value(*last)?;
    let place = |offset: usize| Location::of_offset(file, text, offset);
    Some(KeyPlace { key: place(key.span().start), value: place(value.span().start) })
}
