//! Properties of tables.

use clap::Args;
use icecore_core::{Error, TableName};

#[derive(Debug, Args)]
pub(crate) struct PropertyArgs {
    /// The table
    pub(crate) table: TableName,
    /// Properties to set, such as `write.parquet.compression-codec=lz4`
    #[arg(value_name = "NAME=VALUE", value_parser = parse, required_unless_present = "unset")]
    pub(crate) set: Vec<(String, String)>,
    /// A property to remove; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) unset: Vec<String>,
    /// Say what would happen, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A property as it is typed.
pub(super) fn parse(text: &str) -> Result<(String, String), Error> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Error::invalid(format!("`{text}` sets no property"))
            .with_help("write it as `name=value`")),
    }
}
