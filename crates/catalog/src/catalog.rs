//! The catalog of tables, and the trait that readers and writers use it through.
