//! Iceberg tables: connect, scan a pinned snapshot, commit atomically, history, refs, diff, rollback.

mod catalog;
mod commit;
mod error;
mod history;
mod metadata_table;
mod pointer;
mod predicate;
mod refs;
mod scan;
mod schema;
mod sql;
mod storage;
mod tables;
mod write;
