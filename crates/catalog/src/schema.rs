//! Columns, partitions and sort orders between Arrow and Iceberg.
