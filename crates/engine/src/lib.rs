//! DataFusion sessions over pinned Iceberg tables, the window operator, and readers of the user's files.

pub mod files;
