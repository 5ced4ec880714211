//! `icecore table create`.

use std::path::PathBuf;

use clap::Args;
use icecore::catalog::ColumnType;
use icecore_core::{Error, TableName};

use super::properties;

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The table
    pub(crate) table: TableName,
    /// Its columns, each a name and what it holds: `'price decimal(10, 2)'`, `'tags list<string>'`
    #[arg(value_name = "COLUMN", value_parser = column, required_unless_present = "from")]
    pub(crate) columns: Vec<NamedType>,
    /// Take the columns of this file before those that are named; no row of it is read into the table
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Columns that have a value in every row
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) required: Vec<String>,
    /// Columns that tell a row from every other one; they are required
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) identifier: Vec<String>,
    /// Partition fields, such as `day(event_timestamp);bucket(16, id)`
    #[arg(long, visible_alias = "partition-by", value_name = "FIELDS", value_delimiter = ';')]
    pub(crate) partition: Vec<String>,
    /// Columns that the rows of each file are sorted by, each with `desc` after it where it matters
    #[arg(long, visible_alias = "sort-by", value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) sort: Vec<String>,
    /// A property, such as `write.target-file-size-bytes=134217728`; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = properties::parse)]
    pub(crate) property: Vec<(String, String)>,
    /// The version of Iceberg's format, 2 or 3 [default: 2]
    #[arg(long, value_name = "VERSION")]
    pub(crate) format_version: Option<u8>,
    /// Check it and say what the table would be, make nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A column as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedType {
    pub(crate) name: String,
    pub(crate) column_type: ColumnType,
}

/// `price double`, or `price: double` as fields of structs are written.
fn column(text: &str) -> Result<NamedType, Error> {
    let text = text.trim();
    let place = text.find(|c: char| c == ':' || c.is_whitespace());
    let (name, rest) = text.split_at(place.unwrap_or(text.len()));
    let rest = rest.trim_start();
    let rest = rest.strip_prefix(':').unwrap_or(rest).trim();
    if name.is_empty() || rest.is_empty() {
        return Err(Error::invalid(format!("`{text}` is no column with a type"))
            .with_help("write its name and what it holds: 'price double'"));
    }
    Ok(NamedType { name: name.to_owned(), column_type: ColumnType::parse(rest)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_a_name_and_a_type() {
        for text in ["p decimal(10, 2)", " p: decimal(10,2) ", "p :decimal(10, 2)"] {
            let found = column(text).unwrap();
            assert_eq!(
                (found.name.as_str(), found.column_type.to_string().as_str()),
                ("p", "decimal(10, 2)"),
                "{text}"
            );
        }
        let found = column("a struct<x: int, y: date not null>").unwrap();
        assert_eq!(found.column_type.to_string(), "struct<x: int, y: date not null>");
        for text in ["price", "", ": int", "price: ", "price strin"] {
            assert!(column(text).is_err(), "{text}");
        }
    }
}
