//! The tables and statements, which SQLite and Postgres share. The tables are those of PyIceberg's
//! `SqlCatalog`, which opens the same database.

pub(super) const CREATE_TABLES: &str = "
CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000),
    previous_metadata_location VARCHAR(1000),
    iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name)
)";
pub(super) const CREATE_NAMESPACES: &str = "
CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL,
    namespace VARCHAR(255) NOT NULL,
    property_key VARCHAR(255) NOT NULL,
    property_value VARCHAR(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key)
)";
/// Catalogs of before views were in it lack the column.
pub(super) const ADD_TYPE: &str = "ALTER TABLE iceberg_tables ADD COLUMN iceberg_type VARCHAR(5)";

pub(super) const LIST: &str = "
SELECT table_namespace, table_name FROM iceberg_tables
WHERE catalog_name = $1 AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";
pub(super) const FIND: &str = "
SELECT metadata_location FROM iceberg_tables
WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3
    AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";
pub(super) const INSERT: &str = "
INSERT INTO iceberg_tables
    (catalog_name, table_namespace, table_name, metadata_location, iceberg_type)
VALUES ($1, $2, $3, $4, 'TABLE') ON CONFLICT DO NOTHING";
pub(super) const SWAP: &str = "
UPDATE iceberg_tables SET metadata_location = $5, previous_metadata_location = $4
WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 AND metadata_location = $4
    AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";
pub(super) const RENAME: &str = "
UPDATE iceberg_tables SET table_namespace = $5, table_name = $6
WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3 AND metadata_location = $4
    AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)
    AND NOT EXISTS (SELECT 1 FROM iceberg_tables WHERE catalog_name = $1
        AND table_namespace = $5 AND table_name = $6)";
/// Whatever has a name: views share it with tables.
pub(super) const IS_TAKEN: &str = "
SELECT COUNT(*) FROM iceberg_tables
WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3";
pub(super) const REMOVE: &str = "
DELETE FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3
    AND metadata_location = $4 AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";

pub(super) const NAMESPACES: &str = "
SELECT namespace, property_key, property_value FROM iceberg_namespace_properties
WHERE catalog_name = $1";
/// PyIceberg takes a namespace to exist when it has a property.
pub(super) const EXISTS: (&str, &str) = ("exists", "true");
pub(super) const INSERT_PROPERTY: &str = "
INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value)
VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
pub(super) const REMOVE_NAMESPACE: &str = "
DELETE FROM iceberg_namespace_properties WHERE catalog_name = $1 AND namespace = $2";
