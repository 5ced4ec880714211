//! Loaded tables by the location of their metadata, which never changes its content.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use iceberg::table::Table;

/// Tables that stay loaded.
const TABLES_MAX: usize = 32;

/// The tables that were used last.
#[derive(Debug, Default)]
pub(super) struct TableCache(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    tables: HashMap<String, (u64, Table)>,
    /// Counts uses, so that the entry with the smallest count is the one unused for longest.
    uses: u64,
}

impl TableCache {
    pub(super) fn get(&self, location: &str) -> Option<Table> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.uses += 1;
        let uses = entries.uses;
        let (used, table) = entries.tables.get_mut(location)?;
        *used = uses;
        Some(table.clone())
    }

    pub(super) fn insert(&self, location: &str, table: &Table) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.uses += 1;
        let uses = entries.uses;
        entries.tables.insert(location.to_owned(), (uses, table.clone()));
        if entries.tables.len() > TABLES_MAX {
            let oldest = entries.tables.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(location, _)| location.clone()) {
                entries.tables.remove(&oldest);
            }
        }
    }
}
