//! Row filters in Iceberg's terms.
