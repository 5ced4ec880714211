//! The pointer to each table's current metadata, in SQL.
