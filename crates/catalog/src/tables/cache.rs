//! Loaded tables by the location of their metadata, which never changes its content.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use iceberg::table::Table;
use icecore_core::TableName;

/// Tables that stay loaded.
const TABLES_MAX: usize = 32;
/// States of one table that stay: the newest, and the one before it that work may have begun with.
/// Each holds the table's whole history, so a table that many commits are made to must not fill
/// memory with its own past.
const STATES_MAX: usize = 2;

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
    /// The table of this name whose metadata is there. One that was renamed since knows its old name.
    pub(super) fn get(&self, name: &TableName, location: &str) -> Option<Table> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.uses += 1;
        let uses = entries.uses;
        let (used, table) = entries.tables.get_mut(location)?;
        if !is_named(table, name) {
            return None;
        }
        *used = uses;
        Some(table.clone())
    }

    pub(super) fn insert(&self, location: &str, table: &Table) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.uses += 1;
        let uses = entries.uses;
        entries.tables.insert(location.to_owned(), (uses, table.clone()));
        let uuid = table.metadata().uuid();
        entries.keep(STATES_MAX, |table| table.metadata().uuid() == uuid);
        entries.keep(TABLES_MAX, |_| true);
    }

    /// How many states of a table are there.
    #[cfg(test)]
    pub(super) fn states_of(&self, table: &Table) -> usize {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let uuid = table.metadata().uuid();
        entries.tables.values().filter(|(_, table)| table.metadata().uuid() == uuid).count()
    }
}

fn is_named(table: &Table, name: &TableName) -> bool {
    let (namespace, parts) = (table.identifier().namespace(), name.namespace().split('.'));
    table.identifier().name() == name.table() && namespace.iter().eq(parts)
}

impl Entries {
    /// Of those that `counts` is true of, lets go of the ones that are unused for longest, until so
    /// many are left.
    fn keep(&mut self, most: usize, counts: impl Fn(&Table) -> bool) {
        loop {
            let counted = self.tables.iter().filter(|(_, (_, table))| counts(table));
            let oldest = counted.clone().min_by_key(|(_, (used, _))| *used);
            match oldest.map(|(location, _)| location.clone()) {
                Some(oldest) if counted.count() > most => self.tables.remove(&oldest),
                _ => return,
            };
        }
    }
}
