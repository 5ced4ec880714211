//! Iceberg tables: connect, scan a pinned snapshot, commit atomically, history, refs, diff, rollback.
