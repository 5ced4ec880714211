//! Creating tables.

use std::collections::{BTreeMap, HashMap};

use arrow::datatypes::{Field, SchemaRef};
use iceberg::TableCreation;
use iceberg::spec::{FormatVersion, Schema, TableMetadata, TableMetadataBuilder, TableProperties};
use iceberg::table::Table;
use icecore_core::{Error, ErrorKind, NewTable, Result, TableName};
use uuid::Uuid;

use super::IcebergCatalog;
use crate::error::Context;
use crate::ids::new_uuid;
use crate::schema::{self, ColumnType};
use crate::tables::Created;
use crate::write::check_written;

/// Stands for a location that somebody else chooses.
const NOWHERE: &str = "memory:///nowhere";

/// Properties that a table gets unless it asks for others.
const DEFAULT_PROPERTIES: [(&str, &str); 1] = [("write.parquet.compression-codec", "zstd")];

/// What a table is that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableDesign {
    /// Its columns by name, each with what it holds and whether every row has a value.
    pub columns: Vec<(String, ColumnType, bool)>,
    /// Paths of the columns that tell a row from every other one.
    pub identifier: Vec<String>,
    /// What its files are partitioned by.
    pub partition_by: Vec<String>,
    /// What the rows of its files are sorted by.
    pub sort_by: Vec<String>,
    /// Its properties, with those that every table has.
    pub properties: BTreeMap<String, String>,
    /// The version of Iceberg's format.
    pub format_version: u8,
}

impl IcebergCatalog {
    /// What [`ensure_table`](icecore_core::SnapshotCatalog::ensure_table) would make of a name that
    /// is free, and everything that is wrong with it. Makes nothing.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` for a name that is taken; `InvalidInput` and `Unsupported` for what no table
    /// can be.
    pub async fn design_table(&self, name: &TableName, new: &NewTable) -> Result<TableDesign> {
        check_properties(new.properties.keys())?;
        if self.tables_now().find(name).await?.is_some() {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("there is a table `{name}` already"),
            )
            .with_help(format!("choose another name, or change it: icecore table alter {name}")));
        }
        let metadata = first_metadata(new, NOWHERE.to_owned(), Uuid::nil())?;
        let columns = metadata.current_schema();
        let fields = columns.as_struct().fields().iter();
        let properties = metadata.properties().clone().into_iter().collect();
        Ok(TableDesign {
            columns: fields
                .map(|field| (field.name.clone(), ColumnType::stored(field), field.required))
                .collect(),
            identifier: schema::describe_identifier(columns),
            partition_by: schema::describe_partition(columns, metadata.default_partition_spec()),
            sort_by: schema::describe_sort(columns, metadata.default_sort_order()),
            properties,
            format_version: metadata.format_version() as u8,
        })
    }

    /// Creates a table if there is none; checks that it is what is wanted if there is.
    pub(super) async fn ensure(&self, name: &TableName, new: &NewTable) -> Result<bool> {
        check_properties(new.properties.keys())?;
        let tables = self.tables_now();
        if let Some(table) = tables.find(name).await? {
            check_same(name, &table, new)?;
            return Ok(false);
        }
        let uuid = new_uuid(&**tables.ids());
        let metadata = first_metadata(new, self.new_location(name).await?, uuid)?;
        match tables.create(name, metadata).await? {
            Created::Done => {
                tracing::info!(table = %name, "created");
                Ok(true)
            }
            Created::Taken => {
                check_same(name, &tables.load(name).await?, new)?;
                Ok(false)
            }
        }
    }

    /// Where a new table's files go. The files of a dropped table stay, so a second table of that
    /// name gets a directory of its own.
    pub(super) async fn new_location(&self, name: &TableName) -> Result<String> {
        if !self.shared.warehouse.is_place() {
            // The catalog's server finds a place.
            return Ok(NOWHERE.to_owned());
        }
        let plain = format!("{}/{}/{}", self.warehouse(), name.namespace(), name.table());
        let taken = self
            .tables_now()
            .io()
            .exists(&plain)
            .await
            .context(|| format!("cannot look for `{plain}`"))?;
        let id = new_uuid(&**self.tables_now().ids());
        Ok(if taken { format!("{plain}-{}", id.simple()) } else { plain })
    }
}

fn first_metadata(new: &NewTable, location: String, uuid: Uuid) -> Result<TableMetadata> {
    let version = format_version(new.format_version)?;
    let columns = schema::to_iceberg_of(&new.schema, version)?;
    let columns = identified(columns, &new.identifier)?;
    let partition_spec = schema::partition_spec(&columns, &new.partition_by)?;
    let sort_order = schema::sort_order(&columns, &new.sort_by)?;
    let mut properties: HashMap<String, String> =
        DEFAULT_PROPERTIES.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    properties.extend(new.properties.clone());
    let creation = TableCreation::builder()
        .name(String::new())
        .location(location)
        .schema(columns)
        .partition_spec(partition_spec)
        .sort_order(sort_order)
        .properties(properties)
        .format_version(version)
        .build();
    let cannot = || "cannot create the table's metadata";
    let built = TableMetadataBuilder::from_table_creation(creation).context(cannot)?;
    let metadata = built.assign_uuid(uuid).build().context(cannot)?.metadata;
    check_written(&metadata)?;
    Ok(metadata)
}

/// The columns, of which some tell a row from every other one.
fn identified(columns: Schema, paths: &[String]) -> Result<Schema> {
    if paths.is_empty() {
        return Ok(columns);
    }
    let id = |path: &String| {
        let field = columns.field_by_name(path);
        let field = field.ok_or_else(|| schema::no_such_column(&columns, path))?;
        if field.required {
            return Ok(field.id);
        }
        Err(Error::invalid(format!("column `{path}` cannot identify rows: it is optional"))
            .with_help("make it one in which every row has a value"))
    };
    let ids = paths.iter().map(id).collect::<Result<Vec<_>>>()?;
    columns.into_builder().with_identifier_field_ids(ids).build().map_err(|error| {
        Error::invalid(format!("`{}` cannot identify rows", paths.join("`, `")))
            .with_note("an identifier is one value that is no floating-point number")
            .with_source(error)
    })
}

/// The version of the format that a table is created in.
fn format_version(wanted: Option<u8>) -> Result<FormatVersion> {
    match wanted {
        None | Some(2) => Ok(FormatVersion::V2),
        Some(3) => Ok(FormatVersion::V3),
        Some(1) => Err(Error::unsupported("icecore creates no tables of format version 1")
            .with_help("use version 2, which every engine reads")),
        Some(other) => Err(Error::invalid(format!("there is no format version {other}"))
            .with_help("use 2, which every engine reads, or 3")),
    }
}

/// Refuses properties that Iceberg keeps to itself.
pub(super) fn check_properties<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<()> {
    let reserved = TableProperties::RESERVED_PROPERTIES;
    match names.into_iter().find(|name| reserved.contains(&name.as_str())) {
        Some(name) => Err(Error::invalid(format!("property `{name}` is part of the table format"))
            .with_note("it follows from the table and cannot be set")),
        None => Ok(()),
    }
}

/// Whether a table has the columns and the partitioning that are wanted.
fn check_same(name: &TableName, table: &Table, new: &NewTable) -> Result<()> {
    let metadata = table.metadata();
    let wanted = schema::to_iceberg_of(&new.schema, metadata.format_version())?;
    let columns =
        differences(&schema::to_arrow(metadata.current_schema())?, &schema::to_arrow(&wanted)?);
    let exists = || {
        Error::new(ErrorKind::AlreadyExists, format!("table `{name}` exists and is another one"))
    };
    if !columns.is_empty() {
        let error = columns.into_iter().fold(exists(), Error::with_note);
        return Err(error.with_help("evolve the table, or choose another name"));
    }
    let spec = schema::partition_spec(&wanted, &new.partition_by)?
        .bind(wanted.clone())
        .context(|| "cannot bind the partitioning to the columns")?;
    let wanted_by = schema::describe_partition(&wanted, &spec);
    let stored_by =
        schema::describe_partition(metadata.current_schema(), metadata.default_partition_spec());
    if wanted_by != stored_by {
        return Err(exists().with_note(format!(
            "it is partitioned by ({}), not by ({})",
            stored_by.join(", "),
            wanted_by.join(", ")
        )));
    }
    Ok(())
}

/// How the stored columns differ from the wanted ones in name or type, in words. The order of
/// columns and whether they may be null do not matter to a writer.
fn differences(stored: &SchemaRef, wanted: &SchemaRef) -> Vec<String> {
    let find = |schema: &SchemaRef, field: &Field| {
        schema.field_with_name(field.name()).ok().map(|found| found.data_type().clone())
    };
    let mut found = Vec::new();
    for field in stored.fields() {
        let (name, is) = (field.name(), field.data_type());
        match find(wanted, field) {
            None => found.push(format!("it has a column `{name}` that is not wanted")),
            Some(wanted) if !same_type(is, &wanted) => {
                found.push(format!("its column `{name}` is {is}, not {wanted}"));
            }
            Some(_) => {}
        }
    }
    for field in wanted.fields() {
        if find(stored, field).is_none() {
            found.push(format!("it has no column `{}`", field.name()));
        }
    }
    found
}

/// Field ids, which Arrow carries in the metadata of nested fields, do not matter.
fn same_type(left: &arrow::datatypes::DataType, right: &arrow::datatypes::DataType) -> bool {
    left.equals_datatype(right)
}
